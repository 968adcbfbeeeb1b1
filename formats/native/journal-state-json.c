/* SPDX-License-Identifier: Apache-2.0
 *
 * The state as a checkpoint has it (native.md section 9.3); declared in
 * journal-state.h.
 *
 * Lists that can be long are in a fixed order (journal order, or sorted
 * by id), so that equal states make equal bytes.
 */
#include <config.h>

#include "formats/native/journal-state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/hex.h"
#include "common/timestamp.h"
#include "common/banned.h"

static json_t *
hex_string (const void *data, size_t len)
{
  char hex[2 * LM_ID_LEN + 1];

  lm_hex_encode (data, len, hex);
  return json_string (hex);
}

static json_t *
encode_snapshots (const struct lm_journal_state *state)
{
  json_t *list = json_array ();
  size_t i;

  for (i = 0; i < state->nr_snapshots; i++) {
    const struct lm_snapshot_entry *e = &state->snapshots[i];
    json_t *v;

    if (e->vm == NULL)          /* forgotten */
      continue;
    v = lm_snapshot_entry_to_json (e);
    if (e->is_protected)
      json_object_set_new (v, "protected", json_true ());
    if (json_object_set_new (v, "sequence",
                             json_integer (e->sequence)) == -1 ||
        json_array_append_new (list, v) == -1) {
      json_decref (list);
      return NULL;
    }
  }
  return list;
}

static json_t *
encode_vms (const struct lm_journal_state *state)
{
  json_t *vms = json_object (), *newest;
  char time[LM_TIMESTAMP_LEN + 1];
  const char *vm;

  json_object_foreach (state->vms, vm, newest) {
    lm_timestamp_format (json_integer_value (newest), time);
    if (json_object_set_new (vms, vm, json_string (time)) == -1) {
      json_decref (vms);
      return NULL;
    }
  }
  return vms;
}

static json_t *
encode_segments (const struct lm_journal_state *state)
{
  json_t *list = json_array ();
  size_t i;

  for (i = 0; i < state->nr_segments; i++)
    if (json_array_append_new (list, lm_segment_to_json
                               (&state->segments[i])) == -1) {
      json_decref (list);
      return NULL;
    }
  return list;
}

struct condemned_item {
  uint64_t sequence;
  const uint8_t *id;
};

static int
compare_condemned (const void *a_, const void *b_)
{
  const struct condemned_item *a = a_, *b = b_;

  if (a->sequence != b->sequence)
    return a->sequence < b->sequence ? -1 : 1;
  return memcmp (a->id, b->id, LM_NAME_ID_LEN);
}

/* A group for each condemning record: the number once, not a million
 * times. */
static json_t *
encode_condemned (const struct lm_journal_state *state, struct lm_error *err)
{
  const struct lm_id_set *set = &state->condemned;
  CLEANUP_FREE const uint8_t **ids = lm_id_set_sorted (set, err);
  CLEANUP_FREE struct condemned_item *items = NULL;
  json_t *list = json_array (), *group = NULL;
  size_t i;

  items = ids ? calloc (set->n + 1, sizeof *items) : NULL;
  if (items == NULL)
    goto fail;
  for (i = 0; i < set->n; i++)
    items[i] = (struct condemned_item) {
      lm_id_set_value_at (set, ids[i]), ids[i]
    };
  qsort (items, set->n, sizeof *items, compare_condemned);
  for (i = 0; i < set->n; i++) {
    if (i == 0 || items[i].sequence != items[i - 1].sequence) {
      json_t *v = json_pack ("{sI, s[]}", "sequence",
                             (json_int_t) items[i].sequence, "ids");

      group = json_object_get (v, "ids");
      if (json_array_append_new (list, v) == -1)
        goto fail;
    }
    if (json_array_append_new (group, hex_string (items[i].id,
                                                  LM_NAME_ID_LEN)) == -1)
      goto fail;
  }
  return list;

fail:
  json_decref (list);
  return NULL;
}

static json_t *
encode_revoked (const struct lm_journal_state *state, struct lm_error *err)
{
  CLEANUP_FREE const uint8_t **ids = lm_id_set_sorted (&state->revoked, err);
  json_t *list = ids ? json_array () : NULL;
  size_t i;

  for (i = 0; list && i < state->revoked.n; i++)
    if (json_array_append_new (list, hex_string (ids[i],
                                                 LM_NAME_ID_LEN)) == -1) {
      json_decref (list);
      return NULL;
    }
  return list;
}

static json_t *
encode_lost (const struct lm_journal_state *state, struct lm_error *err)
{
  CLEANUP_FREE const uint8_t **keys = lm_id_set_sorted (&state->lost, err);
  json_t *list = keys ? json_array () : NULL;
  size_t i;

  for (i = 0; list && i < state->lost.n; i++) {
    json_t *v = json_pack ("{si, so}", "type", (int) keys[i][0], "id",
                           hex_string (keys[i] + 1, LM_ID_LEN));

    if (json_array_append_new (list, v) == -1) {
      json_decref (list);
      return NULL;
    }
  }
  return list;
}

static json_t *
encode_features (const struct lm_journal_state *state)
{
  json_t *list = json_array ();
  size_t i;

  for (i = 0; i < state->features.n; i++) {
    const struct lm_feature *f = &state->features.list[i];

    if (json_array_append_new (list, json_pack (
          "{ss, ss}", "class", lm_feature_class_name (f->class), "name",
          f->name)) == -1) {
      json_decref (list);
      return NULL;
    }
  }
  return list;
}

static json_t *
encode_verifications (const struct lm_journal_state *state)
{
  json_t *list = json_array ();
  size_t i;

  for (i = 0; i < state->nr_verifications; i++) {
    const struct lm_journal_verification *s = &state->verifications[i];
    json_t *v = json_pack ("{so, ss, so}", "snapshot",
                           hex_string (s->snapshot, LM_NAME_ID_LEN), "kind",
                           s->kind, "object",
                           hex_string (s->object, LM_NAME_ID_LEN));

    if (json_array_append_new (list, v) == -1) {
      json_decref (list);
      return NULL;
    }
  }
  return list;
}

json_t *
lm_journal_state_to_json (const struct lm_journal_state *state,
                          struct lm_error *err)
{
  json_t *v = json_pack ("{sI, so, so, sI}", "sequence",
                         (json_int_t) state->sequence, "record",
                         hex_string (state->record, LM_SHA256_LEN),
                         "config",
                         hex_string (state->config, LM_SHA256_LEN),
                         "epoch", (json_int_t) state->epoch);

  if (v == NULL ||
      json_object_set_new (v, "snapshots", encode_snapshots (state)) ||
      json_object_set_new (v, "vms", encode_vms (state)) ||
      json_object_set_new (v, "segments", encode_segments (state)) ||
      json_object_set_new (v, "condemned", encode_condemned (state, err)) ||
      json_object_set_new (v, "revoked", encode_revoked (state, err)) ||
      json_object_set_new (v, "lost", encode_lost (state, err)) ||
      json_object_set_new (v, "features", encode_features (state)) ||
      json_object_set_new (v, "states", encode_verifications (state))) {
    json_decref (v);
    lm_error_set (err, LM_ERR_NOMEM, "out of memory for a checkpoint");
    return NULL;
  }
  return v;
}

static int
decode_snapshots (const json_t *v, const char *what,
                  struct lm_journal_state *state, struct lm_error *err)
{
  json_t *list = lm_json_array (v, "snapshots", what, err), *item;
  size_t i;

  if (list == NULL)
    return -1;
  json_array_foreach (list, i, item) {
    struct lm_snapshot_entry e;

    if (lm_snapshot_entry_from_json (item, what, &e, err) == -1)
      return -1;
    e.is_protected = json_is_true (json_object_get (item, "protected"));
    if (lm_json_u64 (item, "sequence", INT64_MAX, what, &e.sequence,
                     err) == -1 ||
        lm_journal_state_add_snapshot (state, &e, err) == -1) {
      free (e.vm);
      return -1;
    }
  }
  if (state->live.n != state->nr_snapshots)
    return lm_corrupt (err, "%s: names a snapshot twice", what);
  return 0;
}

/* After the snapshots, whose times it overrides. */
static int
decode_vms (const json_t *v, const char *what,
            struct lm_journal_state *state, struct lm_error *err)
{
  json_t *vms = lm_json_object (v, "vms", what, err), *item;
  const char *vm;

  if (vms == NULL)
    return -1;
  json_object_foreach (vms, vm, item) {
    const char *text = json_string_value (item);
    int64_t time;

    if (text == NULL || lm_timestamp_parse (text, &time) == -1)
      return lm_corrupt (err, "%s: the newest time of '%.128s' is not a "
                         "time", what, vm);
    if (json_object_set_new (state->vms, vm, json_integer (time)) == -1)
      return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  }
  return 0;
}

static int
decode_segments (const json_t *v, const char *what,
                 struct lm_journal_state *state, struct lm_error *err)
{
  json_t *list = lm_json_array (v, "segments", what, err), *item;
  struct lm_journal_segment segment;
  size_t i;

  if (list == NULL)
    return -1;
  json_array_foreach (list, i, item)
    if (lm_segment_from_json (item, what, &segment, err) == -1 ||
        lm_journal_state_add_segment (state, &segment, err) == -1)
      return -1;
  return 0;
}

static int
decode_id_list (json_t *list, const char *what, struct lm_id_set *set,
                uint64_t value, struct lm_error *err)
{
  uint8_t id[LM_NAME_ID_LEN];
  json_t *item;
  size_t i;

  if (lm_id_set_reserve (set, json_array_size (list), err) == -1)
    return -1;
  json_array_foreach (list, i, item) {
    if (!json_is_string (item) ||
        lm_hex_decode (json_string_value (item), id, sizeof id) == -1)
      return lm_corrupt (err, "%s: id %zu of a list is not %zu bytes of hex",
                         what, i, sizeof id);
    if (lm_id_set_add (set, id, value, err) == -1)
      return -1;
  }
  return 0;
}

static int
decode_condemned (const json_t *v, const char *what,
                  struct lm_journal_state *state, struct lm_error *err)
{
  json_t *list = lm_json_array (v, "condemned", what, err), *group, *ids;
  uint64_t sequence;
  size_t i;

  if (list == NULL)
    return -1;
  json_array_foreach (list, i, group)
    if (lm_json_u64 (group, "sequence", INT64_MAX, what, &sequence,
                     err) == -1 ||
        (ids = lm_json_array (group, "ids", what, err)) == NULL ||
        decode_id_list (ids, what, &state->condemned, sequence, err) == -1)
      return -1;
  return 0;
}

static int
decode_lost (const json_t *v, const char *what,
             struct lm_journal_state *state, struct lm_error *err)
{
  json_t *list = lm_json_array (v, "lost", what, err), *item;
  uint8_t key[LM_LOST_KEY_LEN];
  uint64_t type;
  size_t i;

  if (list == NULL)
    return -1;
  json_array_foreach (list, i, item) {
    if (lm_json_u64 (item, "type", LM_TYPE_NODE, what, &type, err) == -1 ||
        lm_json_hex (item, "id", key + 1, LM_ID_LEN, what, err) == -1)
      return -1;
    key[0] = type;
    if (lm_id_set_add (&state->lost, key, 0, err) == -1)
      return -1;
  }
  return 0;
}

static int
decode_features (const json_t *v, const char *what,
                 struct lm_journal_state *state, struct lm_error *err)
{
  json_t *list = lm_json_array (v, "features", what, err), *item;
  enum lm_feature_class class;
  const char *text, *name;
  size_t i;

  if (list == NULL)
    return -1;
  json_array_foreach (list, i, item)
    if ((text = lm_json_string (item, "class", what, err)) == NULL ||
        (name = lm_json_string (item, "name", what, err)) == NULL ||
        lm_feature_class_parse (text, what, &class, err) == -1 ||
        lm_features_add (&state->features, class, name, what, err) == -1)
      return -1;
  return 0;
}

static int
decode_verifications (const json_t *v, const char *what,
                      struct lm_journal_state *state, struct lm_error *err)
{
  json_t *list = lm_json_array (v, "states", what, err), *item;
  size_t i;

  if (list == NULL)
    return -1;
  json_array_foreach (list, i, item) {
    struct lm_journal_verification s;

    s.kind = (char *) lm_json_string (item, "kind", what, err);
    if (s.kind == NULL ||
        lm_json_hex (item, "snapshot", s.snapshot, LM_NAME_ID_LEN, what,
                     err) == -1 ||
        lm_json_hex (item, "object", s.object, LM_NAME_ID_LEN, what,
                     err) == -1 ||
        lm_journal_state_set_verification (state, &s, err) == -1)
      return -1;
  }
  return 0;
}

static int
decode_all (const json_t *v, const char *what,
            struct lm_journal_state *state, struct lm_error *err)
{
  json_t *revoked;
  uint64_t epoch;

  if (lm_json_u64 (v, "sequence", INT64_MAX, what, &state->sequence,
                   err) == -1 ||
      lm_json_hex (v, "record", state->record, LM_SHA256_LEN, what,
                   err) == -1 ||
      lm_json_hex (v, "config", state->config, LM_SHA256_LEN, what,
                   err) == -1 ||
      lm_json_u64 (v, "epoch", UINT32_MAX, what, &epoch, err) == -1 ||
      decode_features (v, what, state, err) == -1 ||
      decode_snapshots (v, what, state, err) == -1 ||
      decode_vms (v, what, state, err) == -1 ||
      decode_segments (v, what, state, err) == -1 ||
      decode_condemned (v, what, state, err) == -1 ||
      (revoked = lm_json_array (v, "revoked", what, err)) == NULL ||
      decode_id_list (revoked, what, &state->revoked, 0, err) == -1 ||
      decode_lost (v, what, state, err) == -1 ||
      decode_verifications (v, what, state, err) == -1)
    return -1;
  state->started = true;
  state->epoch = epoch;
  return 0;
}

int
lm_journal_state_from_json (const json_t *v, const char *what,
                            struct lm_journal_state *ret_state,
                            struct lm_error *err)
{
  struct lm_journal_state state;

  if (lm_journal_state_init (&state, err) == -1)
    return -1;
  if (decode_all (v, what, &state, err) == -1) {
    lm_journal_state_release (&state);
    return -1;
  }
  *ret_state = state;
  return 0;
}
