/* SPDX-License-Identifier: Apache-2.0
 * All that can be read from a repository, as text; see fixtures.h.
 */
#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/hex.h"
#include "common/timestamp.h"
#include "formats/native/inspect.h"
#include "formats/native/seal.h"
#include "tests/support/fixtures.h"

static int
describe_disk (struct lm_repository *repo,
               const struct lm_snapshot_disk *disk, struct lm_buffer *out,
               struct lm_error *err)
{
  CLEANUP_FREE uint8_t *data = malloc (disk->size + 1);
  CLEANUP_DISK struct lm_disk *d = NULL;
  uint8_t sha256[LM_SHA256_LEN];
  char hex[2 * LM_SHA256_LEN + 1];

  d = lm_snapshot_disk_open (repo, disk->size,
                             disk->has_root ? disk->root : NULL, disk->name,
                             err);
  if (d == NULL || lm_disk_pread (d, data, disk->size, 0, err) == -1)
    return -1;
  lm_sha256 (data, disk->size, sha256);
  lm_hex_encode (sha256, sizeof sha256, hex);
  return lm_buffer_printf (out, err, "  disk %s: %" PRIu64 " bytes, sectors "
                           "of %" PRIu32 ", from %s, sha256 %s\n",
                           disk->name, disk->size, disk->sector_size,
                           disk->source, hex);
}

static int
describe_file (struct lm_repository *repo,
               const struct lm_snapshot_file *file, struct lm_buffer *out,
               struct lm_error *err)
{
  CLEANUP_FREE uint8_t *data = NULL;
  uint8_t sha256[LM_SHA256_LEN];
  char hex[2 * LM_SHA256_LEN + 1];

  if (lm_snapshot_file_read (repo, file, &data, err) == -1)
    return -1;
  lm_sha256 (data, file->size, sha256);
  lm_hex_encode (sha256, sizeof sha256, hex);
  return lm_buffer_printf (out, err, "  file %s (%s): %" PRIu64 " bytes, "
                           "mode 0%" PRIo32 ", sha256 %s\n", file->name,
                           file->kind, file->size, file->mode, hex);
}

static int
describe_snapshot (struct lm_repository *repo,
                   const struct lm_snapshot_entry *e, struct lm_buffer *out,
                   struct lm_error *err)
{
  struct lm_snapshot *s = lm_snapshot_open (repo, e, err);
  char time[LM_TIMESTAMP_LEN + 1];
  size_t i;
  int r;

  if (s == NULL)
    return -1;
  lm_timestamp_format (e->time, time);
  r = lm_buffer_printf (out, err, "snapshot %s/%s: record %" PRIu64
                        "%s%s\n", e->vm, time, e->sequence,
                        e->has_parent ? ", with parent" : "",
                        e->is_protected ? ", protected" : "");
  for (i = 0; r == 0 && i < s->nr_disks; i++)
    r = describe_disk (repo, &s->disks[i], out, err);
  for (i = 0; r == 0 && i < s->nr_files; i++)
    r = describe_file (repo, &s->files[i], out, err);
  lm_snapshot_free (s);
  return r;
}

struct names {
  char **list;
  size_t n;
};

static int
add_name (void *opaque, const char *name, uint64_t size,
          struct lm_error *err)
{
  struct names *names = opaque;

  (void) size;
  (void) err;
  names->list = reallocarray (names->list, names->n + 1,
                              sizeof *names->list);
  names->list[names->n++] = strdup (name);
  return 0;
}

static int
compare_names (const void *a, const void *b)
{
  return strcmp (*(char *const *) a, *(char *const *) b);
}

static int
describe_folder (struct lm_repository *repo, const char *folder,
                 struct lm_buffer *out, struct lm_error *err)
{
  struct lm_store *store = lm_repository_store (repo);
  struct names names = { NULL, 0 };
  size_t i;
  int r;

  r = lm_store_list (store, folder, add_name, &names, err);
  if (names.n > 0)
    qsort (names.list, names.n, sizeof *names.list, compare_names);
  for (i = 0; i < names.n; i++) {
    if (r == 0)
      r = lm_buffer_printf (out, err, "\n");
    if (r == 0)
      r = lm_inspect (repo, store, names.list[i], out, err);
    free (names.list[i]);
  }
  free (names.list);
  return r;
}

int
lm_fixture_describe (struct lm_repository *repo, struct lm_buffer *out,
                     struct lm_error *err)
{
  static const char *const folders[] = {
    "keys", "journal", "checkpoints", "packs", "index", "snapshots",
    "leases", "pins",
  };
  const struct lm_snapshot_entry *list;
  size_t i, n;

  list = lm_repository_snapshots (repo, &n);
  for (i = 0; i < n; i++)
    if (describe_snapshot (repo, &list[i], out, err) == -1)
      return -1;
  if (lm_buffer_printf (out, err, "\n") == -1 ||
      lm_inspect (repo, lm_repository_store (repo), "config", out,
                  err) == -1)
    return -1;
  for (i = 0; i < sizeof folders / sizeof folders[0]; i++)
    if (describe_folder (repo, folders[i], out, err) == -1)
      return -1;
  return 0;
}
