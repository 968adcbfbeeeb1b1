/* SPDX-License-Identifier: Apache-2.0
 * Manifests to JSON and back; see snapshot-wire.h.
 */
#include <config.h>

#include "formats/native/snapshot-wire.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/hex.h"
#include "common/timestamp.h"
#include "common/banned.h"

#define MANIFEST_VERSION 1

static json_t *
hex_or_null (bool has, const void *data, size_t len)
{
  char hex[2 * LM_ID_LEN + 1];

  if (!has)
    return json_null ();
  lm_hex_encode (data, len, hex);
  return json_string (hex);
}

static json_t *
encode_disk (const struct lm_snapshot_disk *disk)
{
  json_t *ranges = json_array ();
  size_t i;

  for (i = 0; i < disk->nr_unreadable; i++)
    if (json_array_append_new (ranges, json_pack (
          "[I, I]", (json_int_t) disk->unreadable[i].offset,
          (json_int_t) disk->unreadable[i].len)) == -1) {
      json_decref (ranges);
      return NULL;
    }
  return json_pack ("{ss, sI, sI, so, ss, so}", "name", disk->name, "size",
                    (json_int_t) disk->size, "sector_size",
                    (json_int_t) disk->sector_size, "root",
                    hex_or_null (disk->has_root, disk->root, LM_ID_LEN),
                    "source", disk->source ? : "", "unreadable", ranges);
}

static json_t *
encode_file (const struct lm_snapshot_file *file)
{
  return json_pack ("{ss, ss, sI, sI, so}", "kind", file->kind, "name",
                    file->name, "size", (json_int_t) file->size, "mode",
                    (json_int_t) file->mode, "root",
                    hex_or_null (file->has_root, file->root, LM_ID_LEN));
}

static json_t *
encode_statistics (const struct lm_snapshot_statistics *st)
{
  return json_pack ("{sI, sI, sI, sI, sI, sf}", "read",
                    (json_int_t) st->read, "new", (json_int_t) st->new_,
                    "deduplicated", (json_int_t) st->deduplicated, "zero",
                    (json_int_t) st->zero, "stored",
                    (json_int_t) st->stored, "seconds", st->seconds);
}

static json_t *
encode_head (const struct lm_snapshot *s)
{
  char time[LM_TIMESTAMP_LEN + 1];

  lm_timestamp_format (s->time, time);
  return json_pack ("{si, ss, ss, so, ss, ss, ss, s{ss?}, so}", "version",
                    MANIFEST_VERSION, "vm", s->vm, "time", time, "parent",
                    hex_or_null (s->has_parent, s->parent, LM_NAME_ID_LEN),
                    "created_by", s->created_by ? : "", "host",
                    s->host ? : "", "consistency", s->consistency,
                    "machine", "config", s->machine_config_kind,
                    "statistics", encode_statistics (&s->statistics));
}

json_t *
lm_snapshot_encode (const struct lm_snapshot *s, struct lm_error *err)
{
  CLEANUP_JSON json_t *v = NULL;
  json_t *tags, *disks, *files;
  size_t i;
  int r = 0;

  if (lm_snapshot_check (s, "new snapshot", err) == -1)
    return NULL;
  v = encode_head (s);
  tags = json_array ();
  for (i = 0; i < s->nr_tags; i++)
    r |= json_array_append_new (tags, json_string (s->tags[i]));
  disks = json_array ();
  for (i = 0; i < s->nr_disks; i++)
    r |= json_array_append_new (disks, encode_disk (&s->disks[i]));
  files = json_array ();
  for (i = 0; i < s->nr_files; i++)
    r |= json_array_append_new (files, encode_file (&s->files[i]));
  r |= json_object_set_new (v, "tags", tags);
  r |= json_object_set_new (v, "disks", disks);
  r |= json_object_set_new (v, "files", files);
  if (r != 0) {
    lm_error_set (err, LM_ERR_USAGE, "a text of the snapshot is not UTF-8 "
                  "(or memory ran out)");
    return NULL;
  }
  return lm_steal (v);
}

static int
copy_string (const json_t *v, const char *key, const char *what,
             char **ret_copy, struct lm_error *err)
{
  const char *s = lm_json_string (v, key, what, err);

  if (s == NULL)
    return -1;
  *ret_copy = strdup (s);
  if (*ret_copy == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  return 0;
}

/* Hex of LEN bytes, or null. */
static int
decode_hex_or_null (const json_t *v, const char *key, size_t len,
                    const char *what, bool *ret_has, uint8_t *ret_data,
                    struct lm_error *err)
{
  if (json_is_null (json_object_get (v, key))) {
    *ret_has = false;
    return 0;
  }
  *ret_has = true;
  return lm_json_hex (v, key, ret_data, len, what, err);
}

/* An array with at most MAX elements; room for them. */
static int
start_array (const json_t *v, const char *key, size_t max, size_t size,
             const char *what, json_t **ret_list, void **ret_room,
             struct lm_error *err)
{
  json_t *list = lm_json_array (v, key, what, err);

  if (list == NULL)
    return -1;
  if (json_array_size (list) > max)
    return lm_corrupt (err, "%s: %zu %s, the limit is %zu", what,
                       json_array_size (list), key, max);
  *ret_room = calloc (json_array_size (list) + 1, size);
  if (*ret_room == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  *ret_list = list;
  return 0;
}

static int
decode_unreadable (const json_t *v, const char *what,
                   struct lm_snapshot_disk *disk, struct lm_error *err)
{
  json_t *list, *item;
  void *room;
  size_t i;

  if (start_array (v, "unreadable", SIZE_MAX, sizeof *disk->unreadable,
                   what, &list, &room, err) == -1)
    return -1;
  disk->unreadable = room;
  json_array_foreach (list, i, item) {
    json_t *offset = json_array_get (item, 0), *len = json_array_get (item,
                                                                      1);

    if (json_array_size (item) != 2 || !json_is_integer (offset) ||
        !json_is_integer (len) || json_integer_value (offset) < 0 ||
        json_integer_value (len) < 0)
      return lm_corrupt (err, "%s: unreadable range %zu is not a pair of "
                         "whole numbers", what, i);
    disk->unreadable[i].offset = json_integer_value (offset);
    disk->unreadable[i].len = json_integer_value (len);
    disk->nr_unreadable++;
  }
  return 0;
}

static int
decode_disk (const json_t *v, const char *what,
             struct lm_snapshot_disk *disk, struct lm_error *err)
{
  uint64_t sector_size;

  if (json_typeof (v) != JSON_OBJECT)
    return lm_corrupt (err, "%s: a disk is not an object", what);
  if (copy_string (v, "name", what, &disk->name, err) == -1 ||
      copy_string (v, "source", what, &disk->source, err) == -1 ||
      lm_json_u64 (v, "size", LM_DISK_SIZE_MAX, what, &disk->size,
                   err) == -1 ||
      lm_json_u64 (v, "sector_size", UINT32_MAX, what, &sector_size,
                   err) == -1 ||
      decode_hex_or_null (v, "root", LM_ID_LEN, what, &disk->has_root,
                          disk->root, err) == -1)
    return -1;
  disk->sector_size = sector_size;
  return decode_unreadable (v, what, disk, err);
}

static int
decode_file (const json_t *v, const char *what,
             struct lm_snapshot_file *file, struct lm_error *err)
{
  uint64_t mode;

  if (json_typeof (v) != JSON_OBJECT)
    return lm_corrupt (err, "%s: a file is not an object", what);
  if (copy_string (v, "kind", what, &file->kind, err) == -1 ||
      copy_string (v, "name", what, &file->name, err) == -1 ||
      lm_json_u64 (v, "size", INT64_MAX, what, &file->size, err) == -1 ||
      lm_json_u64 (v, "mode", UINT32_MAX, what, &mode, err) == -1)
    return -1;
  file->mode = mode;
  return decode_hex_or_null (v, "root", LM_ID_LEN, what, &file->has_root,
                             file->root, err);
}

static int
decode_disks (const json_t *v, const char *what, struct lm_snapshot *s,
              struct lm_error *err)
{
  json_t *list, *item;
  void *room;
  size_t i;

  if (start_array (v, "disks", LM_DISKS_MAX, sizeof *s->disks, what, &list,
                   &room, err) == -1)
    return -1;
  s->disks = room;
  json_array_foreach (list, i, item) {
    s->nr_disks++;
    if (decode_disk (item, what, &s->disks[i], err) == -1)
      return -1;
  }
  return 0;
}

static int
decode_files (const json_t *v, const char *what, struct lm_snapshot *s,
              struct lm_error *err)
{
  json_t *list, *item;
  void *room;
  size_t i;

  if (start_array (v, "files", LM_FILES_MAX, sizeof *s->files, what, &list,
                   &room, err) == -1)
    return -1;
  s->files = room;
  json_array_foreach (list, i, item) {
    s->nr_files++;
    if (decode_file (item, what, &s->files[i], err) == -1)
      return -1;
  }
  return 0;
}

static int
decode_tags (const json_t *v, const char *what, struct lm_snapshot *s,
             struct lm_error *err)
{
  json_t *list, *item;
  void *room;
  size_t i;

  if (start_array (v, "tags", LM_TAGS_MAX, sizeof *s->tags, what, &list,
                   &room, err) == -1)
    return -1;
  s->tags = room;
  json_array_foreach (list, i, item) {
    if (!json_is_string (item))
      return lm_corrupt (err, "%s: a tag is not a string", what);
    s->tags[i] = strdup (json_string_value (item));
    if (s->tags[i] == NULL)
      return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    s->nr_tags++;
  }
  return 0;
}

static int
decode_statistics (const json_t *v, const char *what,
                   struct lm_snapshot_statistics *st, struct lm_error *err)
{
  json_t *obj = lm_json_object (v, "statistics", what, err);

  if (obj == NULL ||
      lm_json_u64 (obj, "read", INT64_MAX, what, &st->read, err) == -1 ||
      lm_json_u64 (obj, "new", INT64_MAX, what, &st->new_, err) == -1 ||
      lm_json_u64 (obj, "deduplicated", INT64_MAX, what, &st->deduplicated,
                   err) == -1 ||
      lm_json_u64 (obj, "zero", INT64_MAX, what, &st->zero, err) == -1 ||
      lm_json_u64 (obj, "stored", INT64_MAX, what, &st->stored, err) == -1)
    return -1;
  if (!json_is_number (json_object_get (obj, "seconds")))
    return lm_corrupt (err, "%s: 'seconds' is missing or not a number",
                       what);
  st->seconds = json_number_value (json_object_get (obj, "seconds"));
  return 0;
}

static int
decode_head (const json_t *v, const char *what, struct lm_snapshot *s,
             struct lm_error *err)
{
  const char *time, *kind;
  uint64_t version;
  json_t *machine;

  if (lm_json_u64 (v, "version", INT32_MAX, what, &version, err) == -1)
    return -1;
  if (version != MANIFEST_VERSION)
    return lm_error_set (err, LM_ERR_UNSUPPORTED, "%s: manifest version %"
                         PRIu64 ", this program knows version %d", what,
                         version, MANIFEST_VERSION);
  time = lm_json_string (v, "time", what, err);
  if (time == NULL)
    return -1;
  if (lm_timestamp_parse (time, &s->time) == -1)
    return lm_corrupt (err, "%s: 'time' is '%.40s', which is not a time",
                       what, time);
  machine = lm_json_object (v, "machine", what, err);
  if (machine == NULL)
    return -1;
  kind = lm_json_string_or_null (machine, "config");
  if (kind && (s->machine_config_kind = strdup (kind)) == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  if (copy_string (v, "vm", what, &s->vm, err) == -1 ||
      copy_string (v, "created_by", what, &s->created_by, err) == -1 ||
      copy_string (v, "host", what, &s->host, err) == -1 ||
      copy_string (v, "consistency", what, &s->consistency, err) == -1)
    return -1;
  return decode_hex_or_null (v, "parent", LM_NAME_ID_LEN, what,
                             &s->has_parent, s->parent, err);
}

struct lm_snapshot *
lm_snapshot_decode (const json_t *v, const uint8_t id[LM_NAME_ID_LEN],
                    const char *what, struct lm_error *err)
{
  struct lm_snapshot *s = calloc (1, sizeof *s);

  if (s == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  memcpy (s->id, id, LM_NAME_ID_LEN);
  if (decode_head (v, what, s, err) == -1 ||
      decode_tags (v, what, s, err) == -1 ||
      decode_disks (v, what, s, err) == -1 ||
      decode_files (v, what, s, err) == -1 ||
      decode_statistics (v, what, &s->statistics, err) == -1 ||
      lm_snapshot_check (s, what, err) == -1) {
    lm_snapshot_free (s);
    return NULL;
  }
  return s;
}
