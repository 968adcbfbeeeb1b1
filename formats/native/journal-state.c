/* SPDX-License-Identifier: Apache-2.0
 *
 * The replayed state; see journal-state.h.  Its JSON is in
 * journal-state-json.c.
 *
 * Forgetting a snapshot takes its name away (vm = NULL) and leaves a gap
 * in the array until the replay is over: closing gaps one by one would
 * make a replay of n forgets cost n².
 */
#include <config.h>

#include "formats/native/journal-state.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/hex.h"
#include "common/timestamp.h"
#include "common/banned.h"

int
lm_journal_state_init (struct lm_journal_state *state, struct lm_error *err)
{
  *state = (struct lm_journal_state) {
    .condemned = LM_ID_SET_INIT (LM_NAME_ID_LEN),
    .revoked = LM_ID_SET_INIT (LM_NAME_ID_LEN),
    .lost = LM_ID_SET_INIT (LM_LOST_KEY_LEN),
    .live = LM_ID_SET_INIT (LM_NAME_ID_LEN),
    .vms = json_object (),
  };
  if (state->vms == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  return 0;
}

void
lm_journal_state_release (struct lm_journal_state *state)
{
  size_t i;

  for (i = 0; i < state->nr_snapshots; i++)
    free (state->snapshots[i].vm);
  for (i = 0; i < state->nr_verifications; i++)
    free (state->verifications[i].kind);
  free (state->snapshots);
  free (state->segments);
  free (state->verifications);
  lm_id_set_release (&state->condemned);
  lm_id_set_release (&state->revoked);
  lm_id_set_release (&state->lost);
  lm_id_set_release (&state->live);
  json_decref (state->vms);
  memset (state, 0, sizeof *state);
}

/* Room for one more of N elements. */
static int
grow (void **array, size_t n, size_t *alloc, size_t size,
      struct lm_error *err)
{
  size_t more = *alloc ? *alloc * 2 : 16;
  void *bigger;

  if (n < *alloc)
    return 0;
  bigger = reallocarray (*array, more, size);
  if (bigger == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  *array = bigger;
  *alloc = more;
  return 0;
}

bool
lm_journal_state_newest (const struct lm_journal_state *state,
                         const char *vm, int64_t *ret_time)
{
  json_t *v = json_object_get (state->vms, vm);

  if (v == NULL)
    return false;
  *ret_time = json_integer_value (v);
  return true;
}

const struct lm_snapshot_entry *
lm_journal_state_snapshot (const struct lm_journal_state *state,
                           const uint8_t id[LM_NAME_ID_LEN])
{
  uint64_t i;

  if (!lm_id_set_get (&state->live, id, &i))
    return NULL;
  return &state->snapshots[i];
}

bool
lm_journal_state_condemned (const struct lm_journal_state *state,
                            const uint8_t pack[LM_NAME_ID_LEN])
{
  return lm_id_set_has (&state->condemned, pack);
}

bool
lm_journal_state_revoked (const struct lm_journal_state *state,
                          const uint8_t lease[LM_NAME_ID_LEN])
{
  return lm_id_set_has (&state->revoked, lease);
}

static void
lost_key (enum lm_object_type type, const uint8_t *id,
          uint8_t key[LM_LOST_KEY_LEN])
{
  key[0] = type;
  memcpy (key + 1, id, LM_ID_LEN);
}

bool
lm_journal_state_lost (const struct lm_journal_state *state,
                       enum lm_object_type type, const uint8_t id[LM_ID_LEN])
{
  uint8_t key[LM_LOST_KEY_LEN];

  lost_key (type, id, key);
  return lm_id_set_has (&state->lost, key);
}

/* Takes entry->vm on success. */
int
lm_journal_state_add_snapshot (struct lm_journal_state *state,
                               struct lm_snapshot_entry *entry,
                               struct lm_error *err)
{
  if (grow ((void **) &state->snapshots, state->nr_snapshots,
            &state->alloc_snapshots, sizeof *state->snapshots, err) == -1 ||
      lm_id_set_add (&state->live, entry->id, state->nr_snapshots,
                     err) == -1)
    return -1;
  if (json_object_set_new (state->vms, entry->vm,
                           json_integer (entry->time)) == -1)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  state->snapshots[state->nr_snapshots] = *entry;
  lm_steal (entry->vm);
  state->nr_snapshots++;
  return 0;
}

static ssize_t
find_segment (const struct lm_journal_state *state, const uint8_t *id)
{
  size_t i;

  for (i = 0; i < state->nr_segments; i++)
    if (memcmp (state->segments[i].id, id, LM_NAME_ID_LEN) == 0)
      return i;
  return -1;
}

int
lm_journal_state_add_segment (struct lm_journal_state *state,
                              const struct lm_journal_segment *segment,
                              struct lm_error *err)
{
  if (find_segment (state, segment->id) != -1)
    return 0;
  if (grow ((void **) &state->segments, state->nr_segments,
            &state->alloc_segments, sizeof *state->segments, err) == -1)
    return -1;
  state->segments[state->nr_segments++] = *segment;
  return 0;
}

static void
remove_segment (struct lm_journal_state *state, const uint8_t *id)
{
  ssize_t i = find_segment (state, id);

  if (i == -1)
    return;
  state->nr_segments--;
  memmove (&state->segments[i], &state->segments[i + 1],
           (state->nr_segments - i) * sizeof *state->segments);
}

int
lm_journal_state_set_verification (struct lm_journal_state *state,
                                   const struct lm_journal_verification *v,
                                   struct lm_error *err)
{
  struct lm_journal_verification *bigger;
  size_t i, n = state->nr_verifications;
  char *kind;

  if (!lm_id_set_has (&state->live, v->snapshot))
    return 0;
  for (i = 0; i < n; i++) {
    struct lm_journal_verification *old = &state->verifications[i];

    if (memcmp (old->snapshot, v->snapshot, LM_NAME_ID_LEN) == 0 &&
        strcmp (old->kind, v->kind) == 0) {
      memcpy (old->object, v->object, LM_NAME_ID_LEN);
      return 0;
    }
  }
  bigger = reallocarray (state->verifications, n + 1, sizeof *bigger);
  if (bigger == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  state->verifications = bigger;
  kind = strdup (v->kind);
  if (kind == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  bigger[n] = *v;
  bigger[n].kind = kind;
  state->nr_verifications++;
  return 0;
}

/* Verification states go with their snapshots. */
static void
drop_verifications (struct lm_journal_state *state)
{
  size_t i, n = 0;

  for (i = 0; i < state->nr_verifications; i++) {
    struct lm_journal_verification *v = &state->verifications[i];

    if (lm_id_set_has (&state->live, v->snapshot))
      state->verifications[n++] = *v;
    else
      free (v->kind);
  }
  state->nr_verifications = n;
}

static bool
is_later (const struct lm_journal_state *state,
          const struct lm_snapshot_entry *entry)
{
  int64_t newest;

  return !lm_journal_state_newest (state, entry->vm, &newest) ||
    entry->time > newest;
}

static int
apply_snapshot_add (struct lm_journal_state *state, uint64_t sequence,
                    const struct lm_snapshot_entry *entry,
                    struct lm_error *err)
{
  struct lm_snapshot_entry copy = *entry;

  if (lm_id_set_has (&state->live, entry->id) || !is_later (state, entry))
    return 0;
  copy.sequence = sequence;
  copy.is_protected = false;
  copy.vm = strdup (entry->vm);
  if (copy.vm == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  if (lm_journal_state_add_snapshot (state, &copy, err) == -1) {
    free (copy.vm);
    return -1;
  }
  return 0;
}

static void
apply_snapshot_forget (struct lm_journal_state *state, const uint8_t *id)
{
  uint64_t i;

  if (!lm_id_set_get (&state->live, id, &i))
    return;
  lm_id_set_remove (&state->live, id);
  free (state->snapshots[i].vm);
  state->snapshots[i].vm = NULL;
  state->nr_dead++;
}

static int
apply_ids (struct lm_journal_state *state, uint64_t sequence,
           const struct lm_change *c, struct lm_error *err)
{
  uint8_t key[LM_LOST_KEY_LEN];
  size_t i;

  for (i = 0; i < c->nr_ids; i++)
    switch (c->type) {
    case LM_CHANGE_PACK_CONDEMN:
      if (lm_id_set_add (&state->condemned, c->ids + i * LM_NAME_ID_LEN,
                         sequence, err) == -1)
        return -1;
      break;
    case LM_CHANGE_CHUNK_LOST:
      lost_key (c->object_type, c->ids + i * LM_ID_LEN, key);
      if (lm_id_set_add (&state->lost, key, 0, err) == -1)
        return -1;
      break;
    case LM_CHANGE_LOST_FOUND:
      lost_key (c->object_type, c->ids + i * LM_ID_LEN, key);
      lm_id_set_remove (&state->lost, key);
      break;
    default:                    /* spared or deleted */
      lm_id_set_remove (&state->condemned, c->ids + i * LM_NAME_ID_LEN);
      break;
    }
  return 0;
}

static int
apply (struct lm_journal_state *state, uint64_t sequence,
       const struct lm_change *c, struct lm_error *err)
{
  uint64_t i;

  switch (c->type) {
  case LM_CHANGE_INIT:
    memcpy (state->config, c->config, LM_SHA256_LEN);
    return 0;
  case LM_CHANGE_SEGMENT_ADD:
    return lm_journal_state_add_segment (state, &c->segment, err);
  case LM_CHANGE_SEGMENT_REMOVE:
    remove_segment (state, c->id);
    return 0;
  case LM_CHANGE_SNAPSHOT_ADD:
    return apply_snapshot_add (state, sequence, &c->snapshot, err);
  case LM_CHANGE_SNAPSHOT_FORGET:
    apply_snapshot_forget (state, c->id);
    return 0;
  case LM_CHANGE_SNAPSHOT_PROTECT:
    if (lm_id_set_get (&state->live, c->id, &i))
      state->snapshots[i].is_protected = c->is_protected;
    return 0;
  case LM_CHANGE_PACK_CONDEMN:
  case LM_CHANGE_PACK_SPARE:
  case LM_CHANGE_PACK_DELETE:
  case LM_CHANGE_CHUNK_LOST:
  case LM_CHANGE_LOST_FOUND:
    return apply_ids (state, sequence, c, err);
  case LM_CHANGE_LEASE_REVOKE:
    return lm_id_set_add (&state->revoked, c->id, sequence, err);
  case LM_CHANGE_FEATURE_ADD:
    return lm_features_add (&state->features, c->feature_class, c->feature,
                            "journal", err);
  case LM_CHANGE_KEY_EPOCH:
    state->epoch = c->epoch;
    return 0;
  case LM_CHANGE_STATE:
    return lm_journal_state_set_verification (state, &c->verification, err);
  case LM_CHANGE_SLOT_ADD:
  case LM_CHANGE_SLOT_REMOVE:
  case LM_CHANGE_OPTIONAL:
    break;
  }
  return 0;
}

int
lm_journal_state_apply (struct lm_journal_state *state, uint64_t sequence,
                        const struct lm_change *changes, size_t n,
                        struct lm_error *err)
{
  size_t i;

  for (i = 0; i < n; i++)
    if (apply (state, sequence, &changes[i], err) == -1)
      return -1;
  return 0;
}

void
lm_journal_state_settle (struct lm_journal_state *state)
{
  size_t i, n = 0;

  if (state->nr_dead == 0)
    return;
  for (i = 0; i < state->nr_snapshots; i++) {
    if (state->snapshots[i].vm == NULL)
      continue;
    lm_id_set_update (&state->live, state->snapshots[i].id, n);
    state->snapshots[n++] = state->snapshots[i];
  }
  state->nr_snapshots = n;
  state->nr_dead = 0;
  drop_verifications (state);
}

static int
validate_segment (const struct lm_journal_state *state, const uint8_t *id,
                  bool add, struct lm_error *err)
{
  char hex[2 * LM_NAME_ID_LEN + 1];

  if ((find_segment (state, id) != -1) != add)
    return 0;
  lm_hex_encode (id, LM_NAME_ID_LEN, hex);
  return lm_error_set (err, LM_ERR_EXISTS, add
                       ? "index segment %s is live already"
                       : "index segment %s is no longer live", hex);
}

/* SEEN maps the VMs of earlier changes of the same record to their time. */
static int
validate_snapshot_add (const struct lm_journal_state *state, json_t *seen,
                       const struct lm_snapshot_entry *entry,
                       struct lm_error *err)
{
  json_t *earlier = json_object_get (seen, entry->vm);
  char hex[2 * LM_NAME_ID_LEN + 1], time[LM_TIMESTAMP_LEN + 1];
  bool known;
  int64_t newest;

  if (lm_id_set_has (&state->live, entry->id)) {
    lm_hex_encode (entry->id, LM_NAME_ID_LEN, hex);
    return lm_error_set (err, LM_ERR_EXISTS, "snapshot %s exists already",
                         hex);
  }
  known = lm_journal_state_newest (state, entry->vm, &newest);
  if (earlier) {
    newest = json_integer_value (earlier);
    known = true;
  }
  if (known && entry->time <= newest) {
    lm_timestamp_format (newest, time);
    return lm_error_set (err, LM_ERR_EXISTS, "%s: there is a snapshot of %s "
                         "already, and a new one must be later", entry->vm,
                         time);
  }
  if (json_object_set_new (seen, entry->vm, json_integer (entry->time)) == -1)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  return 0;
}

static int
validate_live (const struct lm_journal_state *state, const uint8_t *id,
               struct lm_error *err)
{
  char hex[2 * LM_NAME_ID_LEN + 1];

  if (lm_id_set_has (&state->live, id))
    return 0;
  lm_hex_encode (id, LM_NAME_ID_LEN, hex);
  return lm_error_set (err, LM_ERR_NOT_FOUND, "snapshot %s does not exist",
                       hex);
}

static int
validate_forget (const struct lm_journal_state *state, const uint8_t *id,
                 struct lm_error *err)
{
  char hex[2 * LM_NAME_ID_LEN + 1];

  if (validate_live (state, id, err) == -1)
    return -1;
  if (!lm_journal_state_snapshot (state, id)->is_protected)
    return 0;
  lm_hex_encode (id, LM_NAME_ID_LEN, hex);
  return lm_error_set (err, LM_ERR_USAGE, "snapshot %s is protected", hex);
}

static int
validate_condemned (const struct lm_journal_state *state,
                    const struct lm_change *c, struct lm_error *err)
{
  char hex[2 * LM_NAME_ID_LEN + 1];
  size_t i;

  for (i = 0; i < c->nr_ids; i++)
    if (!lm_journal_state_condemned (state, c->ids + i * LM_NAME_ID_LEN)) {
      lm_hex_encode (c->ids + i * LM_NAME_ID_LEN, LM_NAME_ID_LEN, hex);
      return lm_error_set (err, LM_ERR_NOT_FOUND,
                           "pack %s is not condemned", hex);
    }
  return 0;
}

int
lm_journal_state_validate (const struct lm_journal_state *state,
                           const struct lm_change *changes, size_t n,
                           struct lm_error *err)
{
  CLEANUP_JSON json_t *seen = json_object ();
  size_t i;
  int r = 0;

  for (i = 0; i < n && r == 0; i++) {
    const struct lm_change *c = &changes[i];

    switch (c->type) {
    case LM_CHANGE_SEGMENT_ADD:
      r = validate_segment (state, c->segment.id, true, err);
      break;
    case LM_CHANGE_SEGMENT_REMOVE:
      r = validate_segment (state, c->id, false, err);
      break;
    case LM_CHANGE_SNAPSHOT_ADD:
      r = validate_snapshot_add (state, seen, &c->snapshot, err);
      break;
    case LM_CHANGE_SNAPSHOT_FORGET:
      r = validate_forget (state, c->id, err);
      break;
    case LM_CHANGE_SNAPSHOT_PROTECT:
      r = validate_live (state, c->id, err);
      break;
    case LM_CHANGE_PACK_SPARE:
    case LM_CHANGE_PACK_DELETE:
      r = validate_condemned (state, c, err);
      break;
    case LM_CHANGE_INIT:
      if (state->started)
        r = lm_error_set (err, LM_ERR_EXISTS,
                          "the journal has been started already");
      break;
    default:
      break;
    }
  }
  return r;
}
