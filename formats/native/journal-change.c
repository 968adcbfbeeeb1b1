/* SPDX-License-Identifier: Apache-2.0
 *
 * Changes of the journal; see journal-change.h.
 *
 * Decoding is complete before anything is applied, so that a record takes
 * effect as a whole or not at all.
 */
#include <config.h>

#include "formats/native/journal-change.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/hex.h"
#include "common/timestamp.h"
#include "common/banned.h"

static const char *const names[] = {
  [LM_CHANGE_INIT] = "init",
  [LM_CHANGE_SEGMENT_ADD] = "segment-add",
  [LM_CHANGE_SEGMENT_REMOVE] = "segment-remove",
  [LM_CHANGE_SNAPSHOT_ADD] = "snapshot-add",
  [LM_CHANGE_SNAPSHOT_FORGET] = "snapshot-forget",
  [LM_CHANGE_SNAPSHOT_PROTECT] = "snapshot-protect",
  [LM_CHANGE_PACK_CONDEMN] = "pack-condemn",
  [LM_CHANGE_PACK_SPARE] = "pack-spare",
  [LM_CHANGE_PACK_DELETE] = "pack-delete",
  [LM_CHANGE_LEASE_REVOKE] = "lease-revoke",
  [LM_CHANGE_SLOT_ADD] = "slot-add",
  [LM_CHANGE_SLOT_REMOVE] = "slot-remove",
  [LM_CHANGE_FEATURE_ADD] = "feature-add",
  [LM_CHANGE_CHUNK_LOST] = "chunk-lost",
  [LM_CHANGE_LOST_FOUND] = "lost-found",
  [LM_CHANGE_KEY_EPOCH] = "key-epoch",
  [LM_CHANGE_STATE] = "state",
};

#define NR_NAMES (sizeof names / sizeof names[0])

void
lm_change_release (struct lm_change *change)
{
  free (change->snapshot.vm);
  free (change->ids);
  free (change->verification.kind);
  *change = (struct lm_change) { .type = LM_CHANGE_OPTIONAL };
}

json_t *
lm_snapshot_entry_to_json (const struct lm_snapshot_entry *e)
{
  char time[LM_TIMESTAMP_LEN + 1];
  json_t *v;

  lm_timestamp_format (e->time, time);
  v = json_pack ("{ss, ss}", "vm", e->vm, "time", time);
  if (v == NULL)
    return NULL;
  if (lm_json_set_hex (v, "id", e->id, LM_NAME_ID_LEN) == -1 ||
      (e->has_parent &&
       lm_json_set_hex (v, "parent", e->parent, LM_NAME_ID_LEN) == -1) ||
      lm_json_set_hex (v, "manifest", e->manifest_sha256,
                       LM_SHA256_LEN) == -1) {
    json_decref (v);
    return NULL;
  }
  return v;
}

int
lm_snapshot_entry_from_json (const json_t *v, const char *what,
                             struct lm_snapshot_entry *ret_entry,
                             struct lm_error *err)
{
  struct lm_snapshot_entry e = { .vm = NULL };
  struct lm_error name_err = LM_ERROR_INIT;
  const char *vm, *time;

  vm = lm_json_string (v, "vm", what, err);
  if (vm == NULL)
    return -1;
  if (lm_name_check ("VM", vm, &name_err) == -1)
    return lm_corrupt (err, "%s: %s", what, name_err.message);
  time = lm_json_string (v, "time", what, err);
  if (time == NULL)
    return -1;
  if (lm_timestamp_parse (time, &e.time) == -1)
    return lm_corrupt (err, "%s: '%.32s' is not a time", what, time);
  if (lm_json_hex (v, "id", e.id, LM_NAME_ID_LEN, what, err) == -1 ||
      lm_json_hex (v, "manifest", e.manifest_sha256, LM_SHA256_LEN, what,
                   err) == -1)
    return -1;
  e.has_parent = json_object_get (v, "parent") != NULL;
  if (e.has_parent &&
      lm_json_hex (v, "parent", e.parent, LM_NAME_ID_LEN, what, err) == -1)
    return -1;
  e.vm = strdup (vm);
  if (e.vm == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  *ret_entry = e;
  return 0;
}

json_t *
lm_segment_to_json (const struct lm_journal_segment *segment)
{
  json_t *v = json_pack ("{sI, sI}", "size", (json_int_t) segment->size,
                         "entries", (json_int_t) segment->entries);

  if (v && lm_json_set_hex (v, "id", segment->id, LM_NAME_ID_LEN) == -1) {
    json_decref (v);
    return NULL;
  }
  return v;
}

int
lm_segment_from_json (const json_t *v, const char *what,
                      struct lm_journal_segment *ret_segment,
                      struct lm_error *err)
{
  struct lm_journal_segment s;
  uint64_t entries;

  if (lm_json_hex (v, "id", s.id, LM_NAME_ID_LEN, what, err) == -1 ||
      lm_json_u64 (v, "size", INT64_MAX, what, &s.size, err) == -1 ||
      lm_json_u64 (v, "entries", LM_ENTRIES_MAX, what, &entries, err) == -1)
    return -1;
  s.entries = entries;
  *ret_segment = s;
  return 0;
}

static int
decode_ids (const json_t *v, const char *what, size_t id_len,
            struct lm_change *c, struct lm_error *err)
{
  json_t *ids = lm_json_array (v, "ids", what, err);
  json_t *id;
  size_t i;

  if (ids == NULL)
    return -1;
  c->nr_ids = json_array_size (ids);
  c->ids = malloc (c->nr_ids * id_len + 1);
  if (c->ids == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  json_array_foreach (ids, i, id)
    if (!json_is_string (id) ||
        lm_hex_decode (json_string_value (id), c->ids + i * id_len,
                       id_len) == -1)
      return lm_corrupt (err, "%s: id %zu is not %zu bytes of hex", what, i,
                         id_len);
  return 0;
}

static int
decode_lost (const json_t *v, const char *what, struct lm_change *c,
             struct lm_error *err)
{
  uint64_t type;

  if (lm_json_u64 (v, "type", LM_TYPE_NODE, what, &type, err) == -1)
    return -1;
  if (type != LM_TYPE_CHUNK && type != LM_TYPE_NODE)
    return lm_corrupt (err, "%s: 'type' is %" PRIu64 ", expected 1 or 2",
                       what, type);
  c->object_type = type;
  return decode_ids (v, what, LM_ID_LEN, c, err);
}

static int
decode_feature (const json_t *v, const char *what, struct lm_change *c,
                struct lm_error *err)
{
  const char *class = lm_json_string (v, "class", what, err);
  const char *name = class ? lm_json_string (v, "name", what, err) : NULL;
  struct lm_features checked = { .n = 0 };

  if (name == NULL ||
      lm_feature_class_parse (class, what, &c->feature_class, err) == -1 ||
      lm_features_add (&checked, c->feature_class, name, what, err) == -1)
    return -1;
  memcpy (c->feature, checked.list[0].name, sizeof c->feature);
  return 0;
}

static int
decode_state (const json_t *v, const char *what, struct lm_change *c,
              struct lm_error *err)
{
  struct lm_journal_verification *s = &c->verification;
  const char *kind = lm_json_string (v, "kind", what, err);

  if (kind == NULL ||
      lm_json_hex (v, "snapshot", s->snapshot, LM_NAME_ID_LEN, what,
                   err) == -1 ||
      lm_json_hex (v, "object", s->object, LM_NAME_ID_LEN, what, err) == -1)
    return -1;
  s->kind = strdup (kind);
  if (s->kind == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  return 0;
}

static int
decode_members (const json_t *v, const char *what, struct lm_change *c,
                struct lm_error *err)
{
  uint8_t slot_id[LM_SLOT_ID_LEN];
  json_t *flag;
  uint64_t n;

  switch (c->type) {
  case LM_CHANGE_INIT:
    return lm_json_hex (v, "config", c->config, LM_SHA256_LEN, what, err);
  case LM_CHANGE_SEGMENT_ADD:
    return lm_segment_from_json (v, what, &c->segment, err);
  case LM_CHANGE_SNAPSHOT_ADD:
    return lm_snapshot_entry_from_json (v, what, &c->snapshot, err);
  case LM_CHANGE_SNAPSHOT_PROTECT:
    flag = json_object_get (v, "protected");
    if (!json_is_boolean (flag))
      return lm_corrupt (err, "%s: 'protected' is missing or neither true "
                         "nor false", what);
    c->is_protected = json_is_true (flag);
    return lm_json_hex (v, "id", c->id, LM_NAME_ID_LEN, what, err);
  case LM_CHANGE_SEGMENT_REMOVE:
  case LM_CHANGE_SNAPSHOT_FORGET:
  case LM_CHANGE_LEASE_REVOKE:
    return lm_json_hex (v, "id", c->id, LM_NAME_ID_LEN, what, err);
  case LM_CHANGE_PACK_CONDEMN:
  case LM_CHANGE_PACK_SPARE:
  case LM_CHANGE_PACK_DELETE:
    return decode_ids (v, what, LM_NAME_ID_LEN, c, err);
  case LM_CHANGE_CHUNK_LOST:
  case LM_CHANGE_LOST_FOUND:
    return decode_lost (v, what, c, err);
  case LM_CHANGE_SLOT_ADD:
  case LM_CHANGE_SLOT_REMOVE:
    return lm_json_hex (v, "id", slot_id, LM_SLOT_ID_LEN, what, err);
  case LM_CHANGE_FEATURE_ADD:
    return decode_feature (v, what, c, err);
  case LM_CHANGE_KEY_EPOCH:
    if (lm_json_u64 (v, "epoch", UINT32_MAX, what, &n, err) == -1)
      return -1;
    c->epoch = n;
    return 0;
  case LM_CHANGE_STATE:
    return decode_state (v, what, c, err);
  case LM_CHANGE_OPTIONAL:
    break;
  }
  return 0;
}

int
lm_change_decode (const json_t *v, const char *what,
                  struct lm_change *ret_change, struct lm_error *err)
{
  struct lm_change c = { .type = LM_CHANGE_OPTIONAL };
  CLEANUP_FREE char *where = NULL;
  const char *name;
  size_t i;

  if (json_typeof (v) != JSON_OBJECT)
    return lm_corrupt (err, "%s: a change is not an object", what);
  name = lm_json_string (v, "change", what, err);
  if (name == NULL)
    return -1;
  for (i = 0; i < NR_NAMES; i++)
    if (strcmp (name, names[i]) == 0)
      c.type = i;
  if (c.type == LM_CHANGE_OPTIONAL &&
      !json_is_true (json_object_get (v, "optional"))) {
    lm_error_set (err, LM_ERR_UNSUPPORTED, "%s: the change '%.64s' is not "
                  "known to this program", what, name);
    return lm_error_hint (err, "A newer version of livemount may know it");
  }
  if (asprintf (&where, "%s: %.64s", what, name) == -1) {
    where = NULL;
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  }
  if (decode_members (v, where, &c, err) == -1) {
    lm_change_release (&c);
    return -1;
  }
  *ret_change = c;
  return 0;
}

/* Steals V, NULL included. */
static int
append (json_t *changes, enum lm_change_type type, json_t *v,
        struct lm_error *err)
{
  if (json_object_set_new (v, "change", json_string (names[type])) == -1) {
    json_decref (v);
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  }
  if (json_array_append_new (changes, v) == -1)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  return 0;
}

int
lm_change_segment_add (json_t *changes,
                       const struct lm_journal_segment *segment,
                       struct lm_error *err)
{
  return append (changes, LM_CHANGE_SEGMENT_ADD,
                 lm_segment_to_json (segment), err);
}

int
lm_change_snapshot_add (json_t *changes,
                        const struct lm_snapshot_entry *entry,
                        struct lm_error *err)
{
  return append (changes, LM_CHANGE_SNAPSHOT_ADD,
                 lm_snapshot_entry_to_json (entry), err);
}

static json_t *
object_with_hex (const char *key, const void *data, size_t len)
{
  json_t *v = json_object ();

  if (v && lm_json_set_hex (v, key, data, len) == -1) {
    json_decref (v);
    return NULL;
  }
  return v;
}

int
lm_change_by_id (json_t *changes, enum lm_change_type type,
                 const uint8_t id[LM_NAME_ID_LEN], struct lm_error *err)
{
  return append (changes, type, object_with_hex ("id", id, LM_NAME_ID_LEN),
                 err);
}

int
lm_change_snapshot_protect (json_t *changes,
                            const uint8_t id[LM_NAME_ID_LEN],
                            bool is_protected, struct lm_error *err)
{
  json_t *v = object_with_hex ("id", id, LM_NAME_ID_LEN);

  json_object_set_new (v, "protected", json_boolean (is_protected));
  return append (changes, LM_CHANGE_SNAPSHOT_PROTECT, v, err);
}

static json_t *
object_with_ids (const uint8_t *ids, size_t id_len, size_t n)
{
  json_t *v = json_object (), *list = json_array ();
  char hex[2 * LM_ID_LEN + 1];
  size_t i;

  for (i = 0; i < n; i++) {
    lm_hex_encode (ids + i * id_len, id_len, hex);
    if (json_array_append_new (list, json_string (hex)) == -1)
      goto fail;
  }
  if (json_object_set_new (v, "ids", list) == -1) {
    json_decref (v);
    return NULL;
  }
  return v;

fail:
  json_decref (list);
  json_decref (v);
  return NULL;
}

int
lm_change_packs (json_t *changes, enum lm_change_type type,
                 const uint8_t (*ids)[LM_NAME_ID_LEN], size_t n,
                 struct lm_error *err)
{
  return append (changes, type,
                 object_with_ids (ids[0], LM_NAME_ID_LEN, n), err);
}

int
lm_change_lost (json_t *changes, enum lm_change_type type,
                enum lm_object_type object_type,
                const uint8_t (*ids)[LM_ID_LEN], size_t n,
                struct lm_error *err)
{
  json_t *v = object_with_ids (ids[0], LM_ID_LEN, n);

  json_object_set_new (v, "type", json_integer (object_type));
  return append (changes, type, v, err);
}

int
lm_change_slot (json_t *changes, enum lm_change_type type,
                const uint8_t id[LM_SLOT_ID_LEN], const char *kind,
                const char *label, struct lm_error *err)
{
  json_t *v = object_with_hex ("id", id, LM_SLOT_ID_LEN);

  json_object_set_new (v, "kind", json_string (kind));
  json_object_set_new (v, "label", json_string (label));
  return append (changes, type, v, err);
}

int
lm_change_feature_add (json_t *changes, enum lm_feature_class class,
                       const char *name, struct lm_error *err)
{
  return append (changes, LM_CHANGE_FEATURE_ADD,
                 json_pack ("{ss, ss}", "class",
                            lm_feature_class_name (class), "name", name),
                 err);
}
