/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshots of a repository: put, open, look into; declared in
 * repository.h and snapshot-wire.h.
 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/timestamp.h"
#include "formats/native/object-io.h"
#include "formats/native/repository-internal.h"
#include "formats/native/snapshot-wire.h"
#include "common/banned.h"

#define FOLDER "snapshots"

void
lm_snapshot_free (struct lm_snapshot *s)
{
  size_t i;

  if (s == NULL)
    return;
  for (i = 0; i < s->nr_disks; i++) {
    free (s->disks[i].name);
    free (s->disks[i].source);
    free (s->disks[i].unreadable);
  }
  for (i = 0; i < s->nr_files; i++) {
    free (s->files[i].kind);
    free (s->files[i].name);
  }
  for (i = 0; i < s->nr_tags; i++)
    free (s->tags[i]);
  free (s->disks);
  free (s->files);
  free (s->tags);
  free (s->vm);
  free (s->created_by);
  free (s->host);
  free (s->consistency);
  free (s->machine_config_kind);
  free (s);
}

int
lm_snapshot_put (struct lm_repository *repo, const struct lm_snapshot *s,
                 uint8_t ret_sha256[LM_SHA256_LEN], struct lm_error *err)
{
  CLEANUP_JSON json_t *v = NULL;
  char name[LM_OBJECT_NAME_LEN];

  if (lm_repository_check_writable (repo, err) == -1)
    return -1;
  v = lm_snapshot_encode (s, err);
  if (v == NULL)
    return -1;
  lm_object_name (FOLDER, s->id, LM_NAME_ID_LEN, name);
  return lm_object_put_json (repo->store, repo->keys, LM_TYPE_SNAPSHOT, name,
                             s->id, LM_NAME_ID_LEN, v, LM_OBJECT_NEW,
                             ret_sha256, err);
}

struct lm_snapshot *
lm_snapshot_read (struct lm_repository *repo,
                  const uint8_t id[LM_NAME_ID_LEN], uint8_t *ret_sha256,
                  struct lm_error *err)
{
  char name[LM_OBJECT_NAME_LEN];
  CLEANUP_JSON json_t *v = NULL;

  lm_object_name (FOLDER, id, LM_NAME_ID_LEN, name);
  v = lm_object_get_json (repo->store, repo->keys, LM_TYPE_SNAPSHOT, name,
                          id, LM_NAME_ID_LEN, ret_sha256, err);
  return v ? lm_snapshot_decode (v, id, name, err) : NULL;
}

/* The manifest must be the one that the journal means. */
static int
check_entry (const struct lm_snapshot *s,
             const struct lm_snapshot_entry *entry,
             const uint8_t sha256[LM_SHA256_LEN], struct lm_error *err)
{
  if (memcmp (sha256, entry->manifest_sha256, LM_SHA256_LEN) != 0)
    return lm_corrupt (err, "its manifest is not the one that the journal "
                       "names (its SHA-256 differs)");
  if (strcmp (s->vm, entry->vm) != 0 || s->time != entry->time ||
      s->has_parent != entry->has_parent ||
      (s->has_parent &&
       memcmp (s->parent, entry->parent, LM_NAME_ID_LEN) != 0))
    return lm_corrupt (err, "its manifest says another VM, time or parent "
                       "than the journal");
  return 0;
}

struct lm_snapshot *
lm_snapshot_open (struct lm_repository *repo,
                  const struct lm_snapshot_entry *entry,
                  struct lm_error *err)
{
  uint8_t sha256[LM_SHA256_LEN];
  char time[LM_TIMESTAMP_LEN + 1];
  struct lm_snapshot *s = lm_snapshot_read (repo, entry->id, sha256, err);

  if (s && check_entry (s, entry, sha256, err) == 0)
    return s;
  lm_snapshot_free (s);
  lm_timestamp_format (entry->time, time);
  lm_error_prefix (err, "snapshot %s/%s", entry->vm, time);
  return NULL;
}

/* "disk0, disk1, …" */
static int
hint_disks (const struct lm_snapshot *s, struct lm_error *err)
{
  char text[320] = "";
  size_t i, len = 0;

  for (i = 0; i < s->nr_disks && len < sizeof text - 150; i++)
    len += snprintf (text + len, sizeof text - len, "%s%s", i ? ", " : "",
                     s->disks[i].name);
  return lm_error_hint (err, "Its disks are: %s%s", text,
                        i < s->nr_disks ? ", …" : "");
}

const struct lm_snapshot_disk *
lm_snapshot_find_disk (const struct lm_snapshot *s, const char *name,
                       struct lm_error *err)
{
  char time[LM_TIMESTAMP_LEN + 1];
  size_t i;

  lm_timestamp_format (s->time, time);
  if (name == NULL && s->nr_disks == 1)
    return &s->disks[0];
  for (i = 0; name && i < s->nr_disks; i++)
    if (strcmp (s->disks[i].name, name) == 0)
      return &s->disks[i];
  if (s->nr_disks == 0)
    lm_error_set (err, LM_ERR_NOT_FOUND, "snapshot %s/%s has no disks",
                  s->vm, time);
  else if (name == NULL) {
    lm_error_set (err, LM_ERR_USAGE, "snapshot %s/%s has %zu disks: say "
                  "which, VM/TIME/DISK", s->vm, time, s->nr_disks);
    hint_disks (s, err);
  }
  else {
    lm_error_set (err, LM_ERR_NOT_FOUND, "snapshot %s/%s has no disk "
                  "'%.128s'", s->vm, time, name);
    hint_disks (s, err);
  }
  return NULL;
}
