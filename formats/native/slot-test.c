/* SPDX-License-Identifier: Apache-2.0
 * The drill; see slot-test.h.
 */
#include <config.h>

#include "formats/native/slot-test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "common/random.h"
#include "common/timestamp.h"
#include "formats/native/chunk-read.h"
#include "formats/native/disk-map.h"
#include "formats/native/repository-internal.h"
#include "common/banned.h"

struct drill {
  struct lm_repository *repo;
  const struct lm_slot_test_params *params;
  struct lm_slot_test_result *result;
  const char *snapshot;         /* its name */
  uint8_t *plain;               /* room for a chunk */
};

static void
free_map (struct lm_disk_map **map)
{
  lm_disk_map_free (*map);
}

/* The chunk at a random place, or the next one after it that there is,
 * and around the end.  *RET_NR is N for a disk of zeros. */
static int
choose (struct lm_disk_map *map, uint64_t n, uint64_t *ret_nr,
        struct lm_error *err)
{
  uint64_t from;

  lm_random_bytes (&from, sizeof from);
  if (lm_disk_map_next (map, from % n, n, ret_nr, err) == -1)
    return -1;
  return *ret_nr < n ? 0 : lm_disk_map_next (map, 0, n, ret_nr, err);
}

static int
decrypt_one (struct drill *d, uint64_t size, const uint8_t *root,
             const char *what, struct lm_error *err)
{
  const uint32_t chunk_size = d->repo->config.chunk_size;
  const uint64_t n = lm_div_up (size, chunk_size);
  CLEANUP (free_map) struct lm_disk_map *map = NULL;
  uint8_t id[LM_ID_LEN];
  uint64_t nr;
  uint32_t len;

  if (n == 0 || root == NULL)
    return 0;
  map = lm_disk_map_new (d->repo, n, root, what, err);
  if (map == NULL || choose (map, n, &nr, err) == -1)
    return -1;
  if (nr == n)
    return 0;
  if (lm_disk_map_get (map, nr, id, err) == -1 ||
      lm_chunk_read (d->repo, LM_TYPE_CHUNK, id, d->plain, chunk_size, &len,
                     err) == -1)
    return -1;
  d->result->chunks++;
  return 0;
}

static void
report (struct drill *d, const char *disk, const struct lm_error *why)
{
  d->result->failed++;
  if (d->params->failed)
    d->params->failed (d->params->opaque, d->snapshot, disk, why);
}

static int
try_disk (struct drill *d, const char *name, uint64_t size,
          const uint8_t *root, struct lm_error *err)
{
  struct lm_error why = LM_ERROR_INIT;

  d->result->disks++;
  if (decrypt_one (d, size, root, name, &why) == 0)
    return 0;
  if (why.kind == LM_ERR_NOMEM) {
    *err = why;
    return -1;
  }
  report (d, name, &why);
  return 0;
}

static int
try_snapshot (struct drill *d, const struct lm_snapshot_entry *entry,
              struct lm_error *err)
{
  struct lm_error why = LM_ERROR_INIT;
  char time[LM_TIMESTAMP_LEN + 1];
  CLEANUP_FREE char *name = NULL;
  struct lm_snapshot *s;
  size_t i;
  int r = 0;

  lm_timestamp_format (entry->time, time);
  if (asprintf (&name, "%s/%s", entry->vm, time) == -1) {
    name = NULL;
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  }
  d->snapshot = name;
  d->result->snapshots++;
  s = lm_snapshot_open (d->repo, entry, &why);
  if (s == NULL) {
    report (d, "(all)", &why);
    return 0;
  }
  for (i = 0; i < s->nr_disks && r == 0; i++)
    r = try_disk (d, s->disks[i].name, s->disks[i].size,
                  s->disks[i].has_root ? s->disks[i].root : NULL, err);
  for (i = 0; i < s->nr_files && r == 0; i++)
    r = try_disk (d, s->files[i].name, s->files[i].size,
                  s->files[i].has_root ? s->files[i].root : NULL, err);
  lm_snapshot_free (s);
  return r;
}

int
lm_slot_test (struct lm_repository *repo,
              const struct lm_slot_test_params *params,
              struct lm_slot_test_result *ret_result, struct lm_error *err)
{
  struct lm_slot_test_result result = { 0 };
  CLEANUP_FREE uint8_t *plain = malloc (repo->config.chunk_size);
  struct drill d = {
    .repo = repo, .params = params, .result = &result, .plain = plain,
  };
  const struct lm_snapshot_entry *all;
  size_t i, n;

  if (plain == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  all = lm_repository_snapshots (repo, &n);
  for (i = 0; i < n; i++) {
    if (params->cancel && *params->cancel)
      return lm_error_set (err, LM_ERR_INTERRUPTED, "interrupted");
    if (try_snapshot (&d, &all[i], err) == -1)
      return -1;
    if (params->progress)
      params->progress (params->opaque, i + 1, n);
  }
  *ret_result = result;
  return 0;
}
