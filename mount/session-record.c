/* SPDX-License-Identifier: Apache-2.0
 *
 * session.json: version 1.
 *
 *   {"format": "livemount-session", "version": 1, "name": "web01",
 *    "stage": "creating" | "kept" | "purging",
 *    "created": TIME, "dropped": TIME or absent,
 *    "repository": LOCATION, "repository_id": HEX,
 *    "key_file": PATH or absent, "passphrase_file": PATH or absent,
 *    "vm": …, "snapshot": "VM/TIME", "snapshot_id": HEX, "pin": HEX,
 *    "read_only": BOOL, "fuse": PATH or absent, "cache_size": BYTES,
 *    "disks": [{"name": …, "size": BYTES}, …]}
 */
#include <config.h>

#include "mount/session-internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/hex.h"
#include "common/io.h"
#include "common/timestamp.h"
#include "formats/native/native-wire.h"
#include "mount/quick-file.h"
#include "common/banned.h"

#define RECORD_MAX (1 << 20)

static const char *const stage_names[] = {
  [LM_SESSION_CREATING] = "creating",
  [LM_SESSION_KEPT] = "kept",
  [LM_SESSION_PURGING] = "purging",
};

void
lm_session_record_release (struct lm_session *s)
{
  size_t i;

  free (s->repository);
  lm_key_source_release (&s->key);
  free (s->vm);
  free (s->snapshot);
  free (s->fuse);
  for (i = 0; i < s->nr_disks; i++)
    free (s->disks[i].name);
  free (s->disks);
  s->repository = s->vm = s->snapshot = s->fuse = NULL;
  s->disks = NULL;
  s->nr_disks = 0;
}

static json_t *
disks_to_json (const struct lm_session *s)
{
  json_t *disks = json_array ();
  size_t i;

  for (i = 0; disks && i < s->nr_disks; i++)
    if (json_array_append_new (disks,
          json_pack ("{s:s, s:I}", "name", s->disks[i].name, "size",
                     (json_int_t) s->disks[i].size)) == -1) {
      json_decref (disks);
      return NULL;
    }
  return disks;
}

static json_t *
record_to_json (const struct lm_session *s, struct lm_error *err)
{
  char created[LM_TIMESTAMP_LEN + 1], dropped[LM_TIMESTAMP_LEN + 1];
  CLEANUP_JSON json_t *v = NULL;

  lm_timestamp_format (s->created, created);
  lm_timestamp_format (s->dropped, dropped);
  v = json_pack ("{s:s, s:i, s:s, s:s, s:s, s:s*, s:s*, s:s*, s:s*, s:s*, "
                 "s:s*, s:b, s:s*, s:I, s:o}",
                 "format", "livemount-session", "version", 1,
                 "name", s->name, "stage", stage_names[s->stage],
                 "created", created,
                 "dropped", s->dropped ? dropped : NULL,
                 "repository", s->repository,
                 "key_file", s->key.key_file,
                 "passphrase_file", s->key.passphrase_file,
                 "vm", s->vm, "snapshot", s->snapshot,
                 "read_only", s->read_only, "fuse", s->fuse,
                 "cache_size", (json_int_t) s->cache_size,
                 "disks", disks_to_json (s));
  if (v == NULL ||
      lm_json_set_hex (v, "repository_id", s->repository_id,
                       sizeof s->repository_id) == -1 ||
      lm_json_set_hex (v, "snapshot_id", s->snapshot_id,
                       sizeof s->snapshot_id) == -1 ||
      lm_json_set_hex (v, "pin", s->pin, sizeof s->pin) == -1) {
    lm_error_set (err, LM_ERR_NOMEM, "session %s: out of memory, or a path "
                  "that is not UTF-8", s->name);
    return NULL;
  }
  return lm_steal (v);
}

int
lm_session_save (const struct lm_session *s, struct lm_error *err)
{
  CLEANUP_JSON json_t *v = record_to_json (s, err);
  CLEANUP_FREE char *text = NULL;
  size_t len;

  if (v == NULL)
    return -1;
  text = lm_json_dump (v, &len, err);
  if (text == NULL ||
      lm_file_replace (s->folder_fd, "session.json", text, len, 0600, err)
      == -1 ||
      /* Later its name does not change any more. */
      (s->stage == LM_SESSION_CREATING &&
       lm_sync_parent (AT_FDCWD, s->folder, err) == -1))
    return lm_error_prefix (err, "session %s", s->name);
  return 0;
}

int
lm_session_record_begin (const struct lm_session *s, struct lm_error *err)
{
  CLEANUP_JSON json_t *v = record_to_json (s, err);

  if (v == NULL)
    return -1;
  return lm_quick_file_json (s->folder_fd, "session.json", v, err);
}

static int
copy_string (const json_t *v, const char *key, char **ret,
             struct lm_error *err)
{
  const char *text = lm_json_string_or_null (v, key);

  if (text == NULL)
    return 0;
  *ret = strdup (text);
  if (*ret == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  return 0;
}

static int
read_time (const json_t *v, const char *key, const char *what, int64_t *ret,
           struct lm_error *err)
{
  const char *text = lm_json_string_or_null (v, key);

  if (text && lm_timestamp_parse (text, ret) == -1)
    return lm_corrupt (err, "%s: %s is not a time", what, key);
  return 0;
}

static int
read_disks (struct lm_session *s, const json_t *v, const char *what,
            struct lm_error *err)
{
  json_t *disks = lm_json_array (v, "disks", what, err);
  size_t i, n;

  if (disks == NULL)
    return -1;
  n = json_array_size (disks);
  if (n > LM_DISKS_MAX)
    return lm_corrupt (err, "%s: %zu disks, the limit is %d", what, n,
                       LM_DISKS_MAX);
  s->disks = calloc (n + 1, sizeof *s->disks);
  if (s->disks == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  for (i = 0; i < n; i++) {
    const json_t *d = json_array_get (disks, i);
    const char *name = lm_json_string (d, "name", what, err);

    if (name == NULL || lm_name_check ("disk", name, err) == -1 ||
        lm_json_u64 (d, "size", LM_DISK_SIZE_MAX, what, &s->disks[i].size,
                     err) == -1)
      return -1;
    s->disks[i].name = strdup (name);
    if (s->disks[i].name == NULL)
      return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    s->nr_disks = i + 1;
  }
  return 0;
}

static int
read_members (struct lm_session *s, const json_t *v, const char *what,
              struct lm_error *err)
{
  const char *format = lm_json_string (v, "format", what, err);
  const char *stage = lm_json_string (v, "stage", what, err);
  uint64_t version;
  size_t i;

  if (format == NULL || stage == NULL ||
      lm_json_u64 (v, "version", UINT32_MAX, what, &version, err) == -1)
    return -1;
  if (strcmp (format, "livemount-session") != 0)
    return lm_corrupt (err, "%s: format '%.40s', expected "
                       "'livemount-session'", what, format);
  if (version != 1)
    return lm_error_set (err, LM_ERR_UNSUPPORTED, "%s: version %u, this "
                         "program knows 1", what, (unsigned) version);
  for (i = 0; i < sizeof stage_names / sizeof stage_names[0]; i++)
    if (strcmp (stage, stage_names[i]) == 0)
      break;
  if (i == sizeof stage_names / sizeof stage_names[0])
    return lm_corrupt (err, "%s: stage '%.40s' is unknown", what, stage);
  s->stage = i;
  s->read_only = json_is_true (json_object_get (v, "read_only"));
  if (read_time (v, "created", what, &s->created, err) == -1 ||
      read_time (v, "dropped", what, &s->dropped, err) == -1 ||
      lm_json_u64 (v, "cache_size", INT64_MAX, what, &s->cache_size, err)
      == -1 ||
      lm_json_hex (v, "repository_id", s->repository_id,
                   sizeof s->repository_id, what, err) == -1 ||
      lm_json_hex (v, "snapshot_id", s->snapshot_id, sizeof s->snapshot_id,
                   what, err) == -1 ||
      lm_json_hex (v, "pin", s->pin, sizeof s->pin, what, err) == -1 ||
      copy_string (v, "repository", &s->repository, err) == -1 ||
      copy_string (v, "key_file", &s->key.key_file, err) == -1 ||
      copy_string (v, "passphrase_file", &s->key.passphrase_file, err) == -1
      || copy_string (v, "vm", &s->vm, err) == -1 ||
      copy_string (v, "snapshot", &s->snapshot, err) == -1 ||
      copy_string (v, "fuse", &s->fuse, err) == -1 ||
      read_disks (s, v, what, err) == -1)
    return -1;
  if (s->stage == LM_SESSION_KEPT &&
      !(s->repository && s->vm && s->snapshot && s->nr_disks > 0))
    return lm_corrupt (err, "%s: the repository, the VM, the snapshot or "
                       "the disks are missing", what);
  return 0;
}

int
lm_session_record_read (struct lm_session *s, struct lm_error *err)
{
  CLEANUP_FREE char *what = lm_session_path (s, "session.json", err);
  CLEANUP_FREE char *text = NULL;
  CLEANUP_JSON json_t *v = NULL;
  size_t len;

  if (what == NULL ||
      lm_file_read (s->folder_fd, "session.json", RECORD_MAX, &text, &len,
                    err) == -1)
    return -1;
  v = lm_json_parse (text, len, what, err);
  if (v == NULL)
    return -1;
  lm_session_record_release (s);
  return read_members (s, v, what, err);
}
