/* SPDX-License-Identifier: Apache-2.0
 *
 * Records: read, replay, commit; see journal.h and native.md section 9.
 *
 * A put that fails may have taken place all the same (the answer got
 * lost).  Salt and nonce of each attempt are random, so the hash of the
 * stored object says whether the record that is there is ours.  That it
 * is there to stay is said by a second put: it is told that there is one
 * already, which a store says only of what is durable.
 */
#include <config.h>

#include "formats/native/journal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/random.h"
#include "common/timestamp.h"
#include "formats/native/checkpoint.h"
#include "formats/native/client-state.h"
#include "formats/native/object-io.h"
#include "formats/native/repository-internal.h"
#include "formats/native/seal.h"
#include "common/banned.h"

#define FOLDER "journal"

static void
free_changes (struct lm_change *changes, size_t n)
{
  size_t i;

  for (i = 0; i < n; i++)
    lm_change_release (&changes[i]);
  free (changes);
}

static int
decode_changes (const json_t *list, const char *what,
                struct lm_change **ret_changes, size_t *ret_n,
                struct lm_error *err)
{
  size_t i, n = json_array_size (list);
  struct lm_change *changes = calloc (n + 1, sizeof *changes);

  if (changes == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  for (i = 0; i < n; i++)
    if (lm_change_decode (json_array_get (list, i), what, &changes[i],
                          err) == -1) {
      free_changes (changes, i);
      return -1;
    }
  *ret_changes = changes;
  *ret_n = n;
  return 0;
}

void
lm_journal_record_release (struct lm_journal_record *record)
{
  free_changes (record->changes, record->nr_changes);
  json_decref (record->json);
  *record = (struct lm_journal_record) LM_JOURNAL_RECORD_INIT;
}

/* `init` is the first change of record 0 and stands nowhere else. */
static int
check_init (const struct lm_journal_record *r, const char *name,
            struct lm_error *err)
{
  size_t i;

  for (i = 0; i < r->nr_changes; i++)
    if ((r->changes[i].type == LM_CHANGE_INIT) !=
        (r->sequence == 0 && i == 0))
      break;
  if (i < r->nr_changes || (r->sequence == 0 && r->nr_changes == 0))
    return lm_corrupt (err, "%s: 'init' must be the first change of record "
                       "0 and stand nowhere else", name);
  return 0;
}

static int
decode_record (struct lm_journal_record *r, const char *name,
               struct lm_error *err)
{
  uint64_t sequence;
  json_t *changes;

  if (lm_json_u64 (r->json, "sequence", INT64_MAX, name, &sequence,
                   err) == -1)
    return -1;
  if (sequence != r->sequence)
    return lm_corrupt (err, "%s: says sequence %" PRIu64 ", expected %"
                       PRIu64, name, sequence, r->sequence);
  if (lm_json_hex (r->json, "previous", r->previous, LM_SHA256_LEN, name,
                   err) == -1)
    return -1;
  r->has_lease = json_object_get (r->json, "lease") != NULL;
  if (r->has_lease &&
      lm_json_hex (r->json, "lease", r->lease, LM_NAME_ID_LEN, name,
                   err) == -1)
    return -1;
  changes = lm_json_array (r->json, "changes", name, err);
  if (changes == NULL ||
      decode_changes (changes, name, &r->changes, &r->nr_changes, err) == -1)
    return -1;
  return check_init (r, name, err);
}

int
lm_journal_record_read (struct lm_store *store, const struct lm_keys *keys,
                        uint64_t sequence,
                        struct lm_journal_record *ret_record,
                        struct lm_error *err)
{
  struct lm_journal_record r = { .sequence = sequence };
  const lm_le64 id = lm_put_le64 (sequence);
  char name[LM_OBJECT_NAME_LEN];

  lm_object_name_sequence (FOLDER, sequence, name);
  r.json = lm_object_get_json (store, keys, LM_TYPE_JOURNAL, name, &id,
                               sizeof id, r.sha256, err);
  if (r.json == NULL)
    return -1;
  if (decode_record (&r, name, err) == -1) {
    lm_journal_record_release (&r);
    return -1;
  }
  *ret_record = r;
  return 0;
}

/* What the journal says that this program must know. */
static int
check_state (const struct lm_journal_state *state, struct lm_error *err)
{
  if (lm_features_check (&state->features, true, "journal", err) == -1)
    return -1;
  if (state->epoch != 0)
    return lm_error_set (err, LM_ERR_UNSUPPORTED, "journal: key epoch %"
                         PRIu32 " is not supported", state->epoch);
  return 0;
}

static int
apply_record (struct lm_journal_state *state,
              const struct lm_journal_record *r, struct lm_error *err)
{
  static const uint8_t zeros[LM_SHA256_LEN];

  if (memcmp (r->previous, state->started ? state->record : zeros,
              LM_SHA256_LEN) != 0)
    return lm_corrupt (err, "journal/%016" PRIx64 ": does not follow the "
                       "record before it (its 'previous' is another hash)",
                       r->sequence);
  if (r->has_lease && lm_journal_state_revoked (state, r->lease))
    lm_debug (LM_DEBUG_REPOSITORY, "journal: record %" PRIu64 " has no "
              "effect: its lease was revoked", r->sequence);
  else if (lm_journal_state_apply (state, r->sequence, r->changes,
                                   r->nr_changes, err) == -1)
    return -1;
  state->started = true;
  state->sequence = r->sequence;
  memcpy (state->record, r->sha256, LM_SHA256_LEN);
  return check_state (state, err);
}

static uint64_t
next_sequence (const struct lm_journal_state *state)
{
  return state->started ? state->sequence + 1 : 0;
}

/* The next record is not there.  Is that the end, or a gap?  One that
 * follows was written after the missing one, so look for that again. */
static int
check_end (struct lm_store *store, const struct lm_journal_state *state,
           bool *ret_end, struct lm_error *err)
{
  uint64_t next = next_sequence (state), size;
  char name[LM_OBJECT_NAME_LEN];

  *ret_end = true;
  lm_object_name_sequence (FOLDER, next + 1, name);
  if (lm_store_stat (store, name, &size, err) == -1) {
    if (err->kind != LM_ERR_NOT_FOUND)
      return -1;
    lm_error_clear (err);
    return 0;
  }
  lm_object_name_sequence (FOLDER, next, name);
  if (lm_store_stat (store, name, &size, err) == -1) {
    if (err->kind != LM_ERR_NOT_FOUND)
      return -1;
    return lm_corrupt (err, "journal: record %" PRIu64 " is missing, but "
                       "there is a record %" PRIu64, next, next + 1);
  }
  *ret_end = false;
  return 0;
}

static int
replay_rest (struct lm_store *store, const struct lm_keys *keys,
             struct lm_journal_state *state, struct lm_error *err)
{
  for (;;) {
    struct lm_journal_record r;
    bool end;
    int applied;

    if (lm_journal_record_read (store, keys, next_sequence (state), &r,
                                err) == -1) {
      if (err->kind != LM_ERR_NOT_FOUND)
        return -1;
      lm_error_clear (err);
      if (check_end (store, state, &end, err) == -1)
        return -1;
      if (end)
        return 0;
      continue;
    }
    applied = apply_record (state, &r, err);
    lm_journal_record_release (&r);
    if (applied == -1)
      return -1;
  }
}

int
lm_journal_replay (struct lm_store *store, const struct lm_keys *keys,
                   struct lm_journal_state *state, struct lm_error *err)
{
  int r;

  if (!state->started) {
    struct lm_journal_state newest;
    bool found;

    if (lm_checkpoint_read_newest (store, keys, &newest, &found, err) == -1)
      return -1;
    if (found) {
      lm_journal_state_release (state);
      *state = newest;
      if (check_state (state, err) == -1)
        return -1;
    }
  }
  r = replay_rest (store, keys, state, err);
  lm_journal_state_settle (state);
  if (r == 0 && !state->started)
    return lm_corrupt (err, "the journal is empty: record 0 is missing");
  return r;
}

/* The JSON of the record after STATE. */
static json_t *
make_record (const struct lm_journal_state *state,
             const struct lm_lease *lease, const char *writer,
             const json_t *changes, struct lm_error *err)
{
  char time[LM_TIMESTAMP_LEN + 1];
  json_t *v;

  lm_timestamp_format (lm_clock_now (), time);
  v = json_pack ("{sI, ss, ss, sO}", "sequence",
                 (json_int_t) next_sequence (state), "time", time,
                 "writer", writer, "changes", (json_t *) changes);
  if (v == NULL ||
      lm_json_set_hex (v, "previous", state->record, LM_SHA256_LEN) == -1 ||
      (lease && lm_json_set_hex (v, "lease", lm_lease_id (lease),
                                 LM_NAME_ID_LEN) == -1)) {
    json_decref (v);
    lm_error_set (err, LM_ERR_NOMEM, "out of memory for a journal record");
    return NULL;
  }
  return v;
}

/* Is the record of that number the one with this hash? */
static bool
is_ours (struct lm_store *store, const char *name,
         const uint8_t sha256[LM_SHA256_LEN])
{
  struct lm_error ignored = LM_ERROR_INIT;
  CLEANUP_FREE uint8_t *object = NULL;
  uint8_t found[LM_SHA256_LEN];
  size_t len;

  if (lm_store_get (store, name, lm_object_stored_limit (LM_TYPE_JOURNAL),
                    &object, &len, &ignored) == -1)
    return false;
  lm_sha256 (object, len, found);
  return memcmp (found, sha256, LM_SHA256_LEN) == 0;
}

/* Put the record after STATE.  LM_ERR_EXISTS when another was first. */
static int
put_record (struct lm_store *store, const struct lm_keys *keys,
            const struct lm_journal_state *state,
            const struct lm_lease *lease, const char *writer,
            const json_t *changes, uint8_t ret_sha256[LM_SHA256_LEN],
            struct lm_error *err)
{
  const uint64_t sequence = next_sequence (state);
  const lm_le64 id = lm_put_le64 (sequence);
  char name[LM_OBJECT_NAME_LEN];
  CLEANUP_JSON json_t *v = make_record (state, lease, writer, changes, err);

  if (v == NULL)
    return -1;
  lm_object_name_sequence (FOLDER, sequence, name);
  memset (ret_sha256, 0, LM_SHA256_LEN);
  if (lm_object_put_json (store, keys, LM_TYPE_JOURNAL, name, &id, sizeof id,
                          v, LM_OBJECT_NEW, ret_sha256, err) == 0)
    return 0;
  if (!is_ours (store, name, ret_sha256))
    return -1;
  if (err->kind != LM_ERR_EXISTS) {
    struct lm_error again = LM_ERROR_INIT;
    uint8_t sha256[LM_SHA256_LEN];

    if (lm_object_put_json (store, keys, LM_TYPE_JOURNAL, name, &id,
                            sizeof id, v, LM_OBJECT_NEW, sha256,
                            &again) == 0)
      memcpy (ret_sha256, sha256, sizeof sha256);
    else if (again.kind != LM_ERR_EXISTS)
      return -1;
  }
  lm_error_clear (err);
  return 0;
}

int
lm_journal_start (struct lm_store *store, const struct lm_keys *keys,
                  const char *writer, const json_t *changes,
                  struct lm_error *err)
{
  const struct lm_journal_state nothing = { .started = false };
  uint8_t sha256[LM_SHA256_LEN];

  return put_record (store, keys, &nothing, NULL, writer, changes, sha256,
                     err);
}

/* Who lost a lease wants to know why: the journal may say it. */
static int
check_lease (struct lm_repository *repo, struct lm_lease *lease,
             struct lm_error *err)
{
  const struct lm_journal_state *state = &repo->state;

  if (lease == NULL)
    return 0;
  if (lm_lease_lost (lease) &&
      lm_journal_replay (repo->store, repo->keys, &repo->state, err) == -1)
    lm_error_clear (err);
  if (lm_journal_state_revoked (state, lm_lease_id (lease))) {
    lm_error_set (err, LM_ERR_LOCKED, "this operation's lease was revoked: "
                  "another program took it for dead");
    return lm_error_hint (err, "Nothing was lost; run it again");
  }
  if (lm_lease_lost (lease)) {
    lm_error_set (err, LM_ERR_LOCKED, "this operation's lease was lost: it "
                  "could not be refreshed in time");
    return lm_error_hint (err, "Nothing was lost; run it again");
  }
  return 0;
}

/* After a record was put: the state, the checkpoint, the memory. */
static int
committed (struct lm_repository *repo, const uint8_t sha256[LM_SHA256_LEN],
           const struct lm_change *changes, size_t n, struct lm_error *err)
{
  struct lm_journal_state *state = &repo->state;
  const uint64_t sequence = next_sequence (state);
  struct lm_error minor = LM_ERROR_INIT;

  if (lm_journal_state_apply (state, sequence, changes, n, err) == -1)
    return lm_error_prefix (err, "record %" PRIu64 " was written, but",
                            sequence);
  state->sequence = sequence;
  memcpy (state->record, sha256, LM_SHA256_LEN);
  lm_journal_state_settle (state);
  if (sequence % LM_CHECKPOINT_INTERVAL == 0 &&
      lm_checkpoint_write (repo->store, repo->keys, state, &minor) == -1)
    lm_debug (LM_DEBUG_REPOSITORY, "checkpoint %" PRIu64 " not written: %s",
              sequence, minor.message);
  if (lm_client_state_advance (repo->state_dir, repo->config.repository,
                               sequence, sha256, &minor) == -1)
    lm_debug (LM_DEBUG_REPOSITORY, "record %" PRIu64 " not remembered: %s",
              sequence, minor.message);
  return 0;
}

/* Every failed attempt is another writer's success, so this ends; what has
 * the name but can't be read as a record (a folder) would never. */
static int
commit (struct lm_repository *repo, struct lm_lease *lease,
        const char *writer, json_t *list, const struct lm_change *changes,
        size_t n, lm_journal_guard guard, const void *opaque,
        struct lm_error *err)
{
  struct lm_journal_state *state = &repo->state;
  uint8_t sha256[LM_SHA256_LEN];
  uint64_t lost;

  for (;;) {
    if (check_lease (repo, lease, err) == -1 ||
        lm_journal_state_validate (state, changes, n, err) == -1 ||
        guard (state, opaque, err) == -1)
      return -1;
    if (put_record (repo->store, repo->keys, state, lease, writer, list,
                    sha256, err) == 0)
      return committed (repo, sha256, changes, n, err);
    if (err->kind != LM_ERR_EXISTS)
      return -1;
    lm_error_clear (err);
    lost = next_sequence (state);
    if (lm_journal_replay (repo->store, repo->keys, state, err) == -1)
      return -1;
    if (next_sequence (state) == lost)
      return lm_corrupt (err, "journal/%016" PRIx64 ": something has that "
                         "name, and it is no record", lost);
  }
}

static int
no_guard (const struct lm_journal_state *state, const void *opaque,
          struct lm_error *err)
{
  (void) state;
  (void) opaque;
  (void) err;
  return 0;
}

int
lm_journal_commit (struct lm_repository *repo, struct lm_lease *lease,
                   const char *writer, json_t *list, struct lm_error *err)
{
  return lm_journal_commit_if (repo, lease, writer, list, no_guard, NULL,
                               err);
}

int
lm_journal_commit_if (struct lm_repository *repo, struct lm_lease *lease,
                      const char *writer, json_t *list,
                      lm_journal_guard guard, const void *opaque,
                      struct lm_error *err)
{
  struct lm_change *changes;
  size_t n;
  int r;

  if (lm_repository_check_writable (repo, err) == -1 ||
      decode_changes (list, "new record", &changes, &n, err) == -1)
    return -1;
  r = commit (repo, lease, writer, list, changes, n, guard, opaque, err);
  free_changes (changes, n);
  return r;
}

const struct lm_journal_state *
lm_repository_state (const struct lm_repository *repo)
{
  return &repo->state;
}
