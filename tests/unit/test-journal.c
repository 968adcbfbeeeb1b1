/* SPDX-License-Identifier: Apache-2.0
 * The journal: order, races, revocation, checkpoints, foul records.
 */
#include <config.h>

#include "formats/native/journal.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/hex.h"
#include "formats/native/checkpoint.h"
#include "formats/native/object-io.h"
#include "formats/native/repository-internal.h"
#include "tests/support/store-fault.h"
#include "tests/support/store-memory.h"
#include "tests/support/test-repo.h"

static struct lm_error err;
static struct lm_store *inner;

static void
setup (void)
{
  inner = lm_test_repo_new (true);
}

static void
teardown (void)
{
  lm_store_close (inner);
}

TestSuite (journal, .init = setup, .fini = teardown);

static json_t *
snapshot_add (const char *vm, int64_t time)
{
  struct lm_snapshot_entry e = lm_test_entry (vm, time);
  json_t *changes = json_array ();

  cr_assert (eq (int, lm_change_snapshot_add (changes, &e, &err), 0));
  return changes;
}

/* Commit and drop CHANGES. */
static int
commit (struct lm_repository *repo, struct lm_lease *lease, json_t *changes)
{
  int r;

  lm_error_clear (&err);
  r = lm_journal_commit (repo, lease, "test", changes, &err);
  json_decref (changes);
  return r;
}

static void
must_commit (struct lm_repository *repo, json_t *changes)
{
  cr_assert (eq (int, commit (repo, NULL, changes), 0), "%s", err.message);
}

/* Put any JSON as record SEQUENCE, chained to what REPO has seen. */
static void
put_raw (struct lm_repository *repo, uint64_t sequence, const char *extra,
         const char *changes)
{
  const lm_le64 id = lm_put_le64 (sequence);
  char name[LM_OBJECT_NAME_LEN];
  json_t *list = json_loads (changes, 0, NULL), *v;

  cr_assert_not_null (list, "%s", changes);
  v = json_pack ("{sI, ss, ss, so}", "sequence", (json_int_t) sequence,
                 "time", "2026-11-22T06:30:00Z", "writer", "raw", "changes",
                 list);
  lm_json_set_hex (v, "previous", repo->state.record, 32);
  if (*extra) {
    json_t *more = json_loads (extra, 0, NULL);

    cr_assert_not_null (more, "%s", extra);
    json_object_update (v, more);
    json_decref (more);
  }
  lm_object_name_sequence ("journal", sequence, name);
  cr_assert (eq (int, lm_object_put_json (repo->store, repo->keys,
                                          LM_TYPE_JOURNAL, name, &id, 8, v,
                                          LM_OBJECT_REPLACE, NULL, &err), 0));
  json_decref (v);
}

static bool
same_state (struct lm_repository *a, struct lm_repository *b)
{
  json_t *x = lm_journal_state_to_json (&a->state, &err);
  json_t *y = lm_journal_state_to_json (&b->state, &err);
  bool same = x && y && json_equal (x, y);

  json_decref (x);
  json_decref (y);
  return same;
}

Test (journal, a_commit_is_seen_by_those_who_look_again)
{
  struct lm_repository *a = lm_test_repo_open (inner);
  struct lm_repository *b = lm_test_repo_open (inner);
  const struct lm_snapshot_entry *list;
  size_t n;

  cr_expect (eq (u64, lm_repository_state (a)->sequence, 0));
  must_commit (a, snapshot_add ("web01", 1000));
  cr_expect (eq (u64, lm_repository_state (a)->sequence, 1));
  list = lm_repository_snapshots (a, &n);
  cr_assert (eq (sz, n, 1));
  cr_expect (eq (str, list[0].vm, (char *) "web01"));
  cr_expect (eq (u64, list[0].sequence, 1));
  lm_repository_snapshots (b, &n);
  cr_expect (eq (sz, n, 0));
  cr_assert (eq (int, lm_repository_load (b, &err), 0), "%s", err.message);
  cr_expect (same_state (a, b));
  lm_repository_close (a);
  lm_repository_close (b);
}

Test (journal, a_lost_number_is_no_lost_change)
{
  struct lm_repository *a = lm_test_repo_open (inner);
  struct lm_repository *b = lm_test_repo_open (inner);

  must_commit (a, snapshot_add ("web01", 1000));
  must_commit (a, snapshot_add ("web01", 1001));
  must_commit (b, snapshot_add ("db", 1000));
  cr_expect (eq (u64, lm_repository_state (b)->sequence, 3));
  cr_expect (eq (sz, b->state.nr_snapshots, 3));
  cr_expect (eq (str, b->state.snapshots[2].vm, (char *) "db"));
  lm_repository_close (a);
  lm_repository_close (b);
}

Test (journal, what_was_overtaken_is_refused_so_it_can_be_made_anew)
{
  struct lm_repository *a = lm_test_repo_open (inner);
  struct lm_repository *b = lm_test_repo_open (inner);
  struct lm_journal_segment s1 = { "segment-1", 10, 1 };
  struct lm_journal_segment s2 = { "segment-2", 10, 1 };
  json_t *changes = json_array ();

  must_commit (a, snapshot_add ("web01", 1000));
  cr_expect (eq (int, commit (b, NULL, snapshot_add ("web01", 1000)), -1));
  cr_expect (eq (int, err.kind, LM_ERR_EXISTS));
  cr_expect (eq (str, err.message, (char *) "web01: there is a snapshot of "
                 "1970-01-01T00:16:40Z already, and a new one must be "
                 "later"));
  /* The state is the new one, so a later time can be taken from it. */
  cr_expect (eq (sz, b->state.nr_snapshots, 1));
  must_commit (b, snapshot_add ("web01", 1001));

  cr_assert (eq (int, lm_change_segment_add (changes, &s1, &err), 0));
  must_commit (b, changes);
  /* There is no such object: its packs are looked for instead. */
  cr_assert (eq (int, lm_repository_load (b, &err), 0));
  cr_assert (eq (int, lm_journal_replay (a->store, a->keys, &a->state, &err),
                 0));
  changes = json_array ();
  cr_assert (eq (int, lm_change_segment_add (changes, &s2, &err), 0));
  cr_assert (eq (int, lm_change_by_id (changes, LM_CHANGE_SEGMENT_REMOVE,
                                       s1.id, &err), 0));
  must_commit (a, json_incref (changes));
  cr_expect (eq (sz, a->state.nr_segments, 1));
  lm_error_clear (&err);
  cr_expect (eq (int, commit (b, NULL, changes), -1));
  cr_expect (eq (int, err.kind, LM_ERR_EXISTS));
  cr_expect (eq (sz, b->state.nr_segments, 1));
  cr_expect (memcmp (b->state.segments[0].id, s2.id, 16) == 0);
  lm_repository_close (a);
  lm_repository_close (b);
}

Test (journal, two_new_snapshots_in_one_record_are_in_order)
{
  struct lm_repository *a = lm_test_repo_open (inner);
  json_t *changes = snapshot_add ("web01", 1000), *more;

  more = snapshot_add ("web01", 1000);
  json_array_extend (changes, more);
  json_decref (more);
  cr_expect (eq (int, commit (a, NULL, changes), -1));
  cr_expect (eq (int, err.kind, LM_ERR_EXISTS));
  lm_repository_close (a);
}

Test (journal, ids_that_do_not_exist_are_refused)
{
  static const enum lm_change_type types[] = {
    LM_CHANGE_SNAPSHOT_FORGET, LM_CHANGE_SNAPSHOT_PROTECT,
    LM_CHANGE_PACK_SPARE, LM_CHANGE_PACK_DELETE,
  };
  struct lm_repository *a = lm_test_repo_open (inner);
  const uint8_t id[1][16] = { "nobody" };
  size_t i;

  for (i = 0; i < 4; i++) {
    json_t *changes = json_array ();

    if (i == 0)
      cr_assert (eq (int, lm_change_by_id (changes, types[i], id[0], &err),
                     0));
    else if (i == 1)
      cr_assert (eq (int, lm_change_snapshot_protect (changes, id[0], true,
                                                      &err), 0));
    else
      cr_assert (eq (int, lm_change_packs (changes, types[i], id, 1, &err),
                     0));
    cr_expect (eq (int, commit (a, NULL, changes), -1));
    cr_expect (eq (int, err.kind, LM_ERR_NOT_FOUND), "%d", (int) i);
  }
  cr_expect (eq (u64, a->state.sequence, 0));
  lm_repository_close (a);
}

Test (journal, every_change_has_its_effect)
{
  struct lm_repository *a = lm_test_repo_open (inner), *b;
  const uint8_t packs[2][16] = { "pack-1", "pack-2" };
  const uint8_t chunks[1][32] = { "chunk" };
  struct lm_snapshot_entry e;
  json_t *c = json_array ();

  must_commit (a, snapshot_add ("web01", 1000));
  e = a->state.snapshots[0];
  cr_assert (lm_change_snapshot_protect (c, e.id, true, &err) == 0);
  cr_assert (lm_change_packs (c, LM_CHANGE_PACK_CONDEMN, packs, 2,
                              &err) == 0);
  cr_assert (lm_change_lost (c, LM_CHANGE_CHUNK_LOST, LM_TYPE_CHUNK, chunks,
                             1, &err) == 0);
  cr_assert (lm_change_slot (c, LM_CHANGE_SLOT_ADD, packs[0], "passphrase",
                             "mine", &err) == 0);
  cr_assert (lm_change_feature_add (c, LM_FEATURE_OPTIONAL, "sugar",
                                    &err) == 0);
  json_array_append_new (c, json_pack (
    "{ss, ss, so, ss}", "change", "state", "kind", "boots", "snapshot",
    json_string ("00000000000000000000000000000000"), "object",
    "00000000000000000000000000000001"));
  must_commit (a, c);
  cr_expect (a->state.snapshots[0].is_protected);
  cr_expect (lm_journal_state_condemned (&a->state, packs[1]));
  cr_expect (lm_journal_state_lost (&a->state, LM_TYPE_CHUNK, chunks[0]));
  cr_expect_not (lm_journal_state_lost (&a->state, LM_TYPE_NODE,
                                        chunks[0]));
  cr_expect (eq (sz, a->state.features.n, 1));
  cr_expect (eq (sz, a->state.nr_verifications, 0));    /* not its */

  c = json_array ();
  cr_assert (lm_change_packs (c, LM_CHANGE_PACK_SPARE, packs, 1, &err) == 0);
  cr_assert (lm_change_packs (c, LM_CHANGE_PACK_DELETE, packs + 1, 1,
                              &err) == 0);
  cr_assert (lm_change_lost (c, LM_CHANGE_LOST_FOUND, LM_TYPE_CHUNK, chunks,
                             1, &err) == 0);
  cr_assert (lm_change_snapshot_protect (c, e.id, false, &err) == 0);
  must_commit (a, c);
  cr_expect_not (a->state.snapshots[0].is_protected);
  cr_expect_not (lm_journal_state_condemned (&a->state, packs[0]));
  cr_expect_not (lm_journal_state_condemned (&a->state, packs[1]));
  cr_expect_not (lm_journal_state_lost (&a->state, LM_TYPE_CHUNK,
                                        chunks[0]));
  b = lm_test_repo_open (inner);
  cr_expect (same_state (a, b));
  lm_repository_close (a);
  lm_repository_close (b);
}

struct racer {
  struct lm_repository *repo;
  int number, commits, failed;
};

static void *
race (void *opaque)
{
  struct racer *r = opaque;
  struct lm_error e = LM_ERROR_INIT;
  char vm[16];
  int i;

  snprintf (vm, sizeof vm, "vm%d", r->number);
  for (i = 0; i < r->commits; i++) {
    struct lm_snapshot_entry entry = lm_test_entry (vm, 1000 + i);
    json_t *changes = json_array ();

    if (lm_change_snapshot_add (changes, &entry, &e) == -1 ||
        lm_journal_commit (r->repo, NULL, "racer", changes, &e) == -1)
      r->failed++;
    json_decref (changes);
  }
  return NULL;
}

Test (journal, writers_that_race_all_succeed_once)
{
  enum { WRITERS = 4, COMMITS = 50 };
  struct racer racers[WRITERS];
  pthread_t threads[WRITERS];
  struct lm_repository *all;
  int i;

  for (i = 0; i < WRITERS; i++) {
    racers[i] = (struct racer) { lm_test_repo_open (inner), i, COMMITS, 0 };
    pthread_create (&threads[i], NULL, race, &racers[i]);
  }
  for (i = 0; i < WRITERS; i++) {
    pthread_join (threads[i], NULL);
    cr_expect (eq (int, racers[i].failed, 0));
  }
  all = lm_test_repo_open (inner);
  cr_expect (eq (u64, all->state.sequence, WRITERS * COMMITS));
  cr_expect (eq (sz, all->state.nr_snapshots, WRITERS * COMMITS));
  for (i = 0; i < WRITERS; i++) {
    cr_assert (eq (int, lm_repository_load (racers[i].repo, &err), 0));
    cr_expect (same_state (all, racers[i].repo));
    lm_repository_close (racers[i].repo);
  }
  lm_repository_close (all);
}

Test (journal, racers_for_one_name_have_one_winner)
{
  struct lm_repository *a = lm_test_repo_open (inner);
  struct lm_repository *b = lm_test_repo_open (inner);
  int wins = 0, i;

  for (i = 0; i < 20; i++) {
    wins += commit (a, NULL, snapshot_add ("web01", 1000 + i)) == 0;
    wins += commit (b, NULL, snapshot_add ("web01", 1000 + i)) == 0;
  }
  cr_expect (eq (int, wins, 20));
  lm_repository_close (a);
  lm_repository_close (b);
}

Test (journal, a_lost_answer_is_not_a_lost_record)
{
  struct lm_repository *a = lm_test_repo_open (inner), *b;

  lm_store_fault_arm (a->store, LM_FAULT_LOST_REPLY, 1, false);
  must_commit (a, snapshot_add ("web01", 1000));
  must_commit (a, snapshot_add ("web01", 1001));
  b = lm_test_repo_open (inner);
  cr_expect (eq (u64, b->state.sequence, 2));
  cr_expect (same_state (a, b));
  lm_repository_close (a);
  lm_repository_close (b);
}

Test (journal, a_failed_put_changes_nothing)
{
  struct lm_repository *a = lm_test_repo_open (inner);

  lm_store_fault_arm (a->store, LM_FAULT_FAIL, 1, false);
  cr_expect (eq (int, commit (a, NULL, snapshot_add ("web01", 1000)), -1));
  cr_expect (eq (int, err.kind, LM_ERR_IO));
  cr_expect (eq (u64, a->state.sequence, 0));
  cr_expect (eq (sz, a->state.nr_snapshots, 0));
  must_commit (a, snapshot_add ("web01", 1000));
  cr_expect (eq (u64, a->state.sequence, 1));
  lm_repository_close (a);
}

static int
always_there (struct lm_store *store, const char *name,
              const struct iovec *iov, int iovcnt, struct lm_error *e)
{
  (void) store;
  (void) iov;
  (void) iovcnt;
  return lm_error_set (e, LM_ERR_EXISTS, "%s: exists already", name);
}

/* A folder journal/0000000000000001 did that to the directory store. */
Test (journal, what_has_the_name_but_is_no_record_ends_a_commit,
      .timeout = 120)
{
  struct lm_repository *a = lm_test_repo_open (inner);
  const struct lm_store_ops *ops = a->store->ops;
  struct lm_store_ops odd = *ops;

  odd.put_if_absent = always_there;
  a->store->ops = &odd;
  cr_expect (eq (int, commit (a, NULL, snapshot_add ("web01", 1000)), -1));
  cr_expect (eq (int, err.kind, LM_ERR_CORRUPT));
  cr_expect (eq (str, err.message, "journal/0000000000000001: something has "
                 "that name, and it is no record"));
  a->store->ops = ops;
  must_commit (a, snapshot_add ("web01", 1000));
  lm_repository_close (a);
}

Test (journal, a_revoked_lease_can_commit_nothing_more)
{
  struct lm_repository *a = lm_test_repo_open (inner);
  struct lm_repository *b = lm_test_repo_open (inner);
  struct lm_lease *lease = lm_lease_acquire (a, "backup", 0, &err);
  uint8_t id[16];
  char extra[128], hex[33];

  cr_assert_not_null (lease, "%s", err.message);
  memcpy (id, lm_lease_id (lease), 16);
  cr_assert (eq (int, commit (a, lease, snapshot_add ("web01", 1000)), 0));
  cr_assert (eq (int, lm_lease_revoke (b, id, "test", &err), 0), "%s",
             err.message);
  cr_expect (eq (int, commit (a, lease, snapshot_add ("web01", 1001)), -1));
  cr_expect (eq (int, err.kind, LM_ERR_LOCKED));
  cr_expect (eq (str, err.message, (char *) "this operation's lease was "
                 "revoked: another program took it for dead"));
  cr_expect (eq (sz, a->state.nr_snapshots, 1));
  lm_lease_release (lease);

  /* A record under it that is there all the same has no effect. */
  {
    json_t *changes = snapshot_add ("web01", 1002);
    char *text = json_dumps (changes, 0);

    lm_hex_encode (id, 16, hex);
    snprintf (extra, sizeof extra, "{\"lease\": \"%s\"}", hex);
    put_raw (a, a->state.sequence + 1, extra, text);
    free (text);
    json_decref (changes);
  }
  cr_assert (eq (int, lm_repository_load (a, &err), 0), "%s", err.message);
  cr_expect (eq (u64, a->state.sequence, 3));
  cr_expect (eq (sz, a->state.nr_snapshots, 1));
  /* But it keeps its place. */
  must_commit (b, snapshot_add ("web01", 1003));
  cr_expect (eq (u64, b->state.sequence, 4));
  cr_expect (eq (sz, b->state.nr_snapshots, 2));
  lm_repository_close (a);
  lm_repository_close (b);
}

/* A record that must be refused, as number 1 or 2. */
static void
expect_refused (struct lm_repository *repo, enum lm_error_kind kind,
                const char *message)
{
  struct lm_open_options options = lm_test_open_options ();
  struct lm_credentials c = lm_test_credentials ();
  struct lm_repository *fresh;

  lm_error_clear (&err);
  cr_expect (eq (int, lm_repository_load (repo, &err), -1));
  cr_expect (eq (int, err.kind, kind));
  cr_expect (eq (str, err.message, (char *) message));
  options.accept_rollback = true;
  fresh = lm_repository_open (lm_store_fault_new (inner), &c, &options,
                              &err);
  cr_assert_not_null (fresh);
  lm_error_clear (&err);
  cr_expect (eq (int, lm_repository_load (fresh, &err), -1));
  cr_expect (eq (str, err.message, (char *) message));
  lm_repository_close (fresh);
  lm_credentials_release (&c);
}

Test (journal, foul_records_are_refused_by_what_is_wrong)
{
#define R1 "journal/0000000000000001: "
#define ZEROS16 "00000000000000000000000000000000"
  static const struct {
    const char *extra, *changes;
    enum lm_error_kind kind;
    const char *message;
  } rows[] = {
    { "{\"sequence\": 2}", "[]", LM_ERR_CORRUPT,
      R1 "says sequence 2, expected 1" },
    { "{\"sequence\": -1}", "[]", LM_ERR_CORRUPT,
      R1 "'sequence' is -1, the limit is 9223372036854775807" },
    { "{\"previous\": \"" ZEROS16 ZEROS16 "\"}", "[]", LM_ERR_CORRUPT,
      R1 "does not follow the record before it (its 'previous' is another "
      "hash)" },
    { "{\"previous\": 1}", "[]", LM_ERR_CORRUPT,
      R1 "'previous' is missing or not a string" },
    { "{\"lease\": \"12\"}", "[]", LM_ERR_CORRUPT,
      R1 "'lease' is not 16 bytes of hex" },
    { "{\"changes\": 1}", "[]", LM_ERR_CORRUPT,
      R1 "'changes' is missing or not an array" },
    { "", "[1]", LM_ERR_CORRUPT, R1 "a change is not an object" },
    { "", "[{}]", LM_ERR_CORRUPT,
      R1 "'change' is missing or not a string" },
    { "", "[{\"change\": \"sing\"}]", LM_ERR_UNSUPPORTED,
      R1 "the change 'sing' is not known to this program" },
    { "", "[{\"change\": \"sing\", \"optional\": 1}]", LM_ERR_UNSUPPORTED,
      R1 "the change 'sing' is not known to this program" },
    { "", "[{\"change\": \"init\", \"config\": \"" ZEROS16 ZEROS16 "\"}]",
      LM_ERR_CORRUPT, R1 "'init' must be the first change of record 0 and "
      "stand nowhere else" },
    { "", "[{\"change\": \"segment-add\", \"id\": \"" ZEROS16 "\", "
      "\"size\": 1, \"entries\": 1048577}]", LM_ERR_CORRUPT,
      R1 "segment-add: 'entries' is 1048577, the limit is 1048576" },
    { "", "[{\"change\": \"snapshot-add\", \"id\": \"" ZEROS16 "\", "
      "\"vm\": \"/\"}]", LM_ERR_CORRUPT,
      R1 "snapshot-add: '/' is not a name for a VM" },
    { "", "[{\"change\": \"snapshot-add\", \"id\": \"" ZEROS16 "\", "
      "\"vm\": \"a\", \"time\": \"now\"}]", LM_ERR_CORRUPT,
      R1 "snapshot-add: 'now' is not a time" },
    { "", "[{\"change\": \"snapshot-forget\"}]", LM_ERR_CORRUPT,
      R1 "snapshot-forget: 'id' is missing or not a string" },
    { "", "[{\"change\": \"snapshot-protect\", \"id\": \"" ZEROS16 "\"}]",
      LM_ERR_CORRUPT, R1 "snapshot-protect: 'protected' is missing or "
      "neither true nor false" },
    { "", "[{\"change\": \"pack-condemn\", \"ids\": [\"12\"]}]",
      LM_ERR_CORRUPT, R1 "pack-condemn: id 0 is not 16 bytes of hex" },
    { "", "[{\"change\": \"chunk-lost\", \"type\": 0, \"ids\": []}]",
      LM_ERR_CORRUPT, R1 "chunk-lost: 'type' is 0, expected 1 or 2" },
    { "", "[{\"change\": \"feature-add\", \"class\": \"x\", \"name\": "
      "\"y\"}]", LM_ERR_CORRUPT,
      R1 "feature-add: 'x' is not a class of features" },
    { "", "[{\"change\": \"feature-add\", \"class\": \"write\", \"name\": "
      "\"A\"}]", LM_ERR_CORRUPT,
      R1 "feature-add: 'A' is not the name of a feature" },
    { "", "[{\"change\": \"feature-add\", \"class\": \"required\", "
      "\"name\": \"from-later\"}]", LM_ERR_UNSUPPORTED,
      "journal: this repository needs the feature 'from-later', which this "
      "program does not know" },
    { "", "[{\"change\": \"key-epoch\", \"epoch\": 1}]", LM_ERR_UNSUPPORTED,
      "journal: key epoch 1 is not supported" },
    { "", "[{\"change\": \"state\", \"snapshot\": \"" ZEROS16 "\"}]",
      LM_ERR_CORRUPT, R1 "state: 'kind' is missing or not a string" },
  };
  size_t i;

  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct lm_repository *repo;

    lm_error_clear (&err);
    if (lm_store_remove (inner, "journal/0000000000000001", &err) == -1)
      cr_assert (eq (int, err.kind, LM_ERR_NOT_FOUND));
    repo = lm_test_repo_open (inner);
    put_raw (repo, 1, rows[i].extra, rows[i].changes);
    expect_refused (repo, rows[i].kind, rows[i].message);
    lm_repository_close (repo);
  }
}

Test (journal, optional_changes_are_passed_over)
{
  struct lm_repository *repo = lm_test_repo_open (inner);

  put_raw (repo, 1, "{\"future\": 1}", "[{\"change\": \"sing\", "
           "\"optional\": true}]");
  cr_expect (eq (int, lm_repository_load (repo, &err), 0), "%s",
             err.message);
  cr_expect (eq (u64, repo->state.sequence, 1));
  lm_repository_close (repo);
}

Test (journal, a_write_feature_lets_readers_in)
{
  struct lm_repository *repo = lm_test_repo_open (inner), *reader;
  struct lm_open_options options = lm_test_open_options ();
  struct lm_credentials c = lm_test_credentials ();

  put_raw (repo, 1, "", "[{\"change\": \"feature-add\", \"class\": "
           "\"write\", \"name\": \"new-packs\"}]");
  cr_expect (eq (int, lm_repository_load (repo, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_UNSUPPORTED));
  cr_expect (eq (str, err.message, (char *) "memory: to change this "
                 "repository a program must know the feature 'new-packs', "
                 "which this one does not"));
  options.read_only = true;
  reader = lm_repository_open (lm_store_fault_new (inner), &c, &options,
                               &err);
  cr_assert_not_null (reader);
  cr_expect (eq (int, lm_repository_load (reader, &err), 0), "%s",
             err.message);
  lm_repository_close (reader);
  lm_repository_close (repo);
  lm_credentials_release (&c);
}

Test (journal, a_gap_is_damage)
{
  struct lm_repository *repo = lm_test_repo_open (inner);

  must_commit (repo, snapshot_add ("web01", 1000));
  must_commit (repo, snapshot_add ("web01", 1001));
  cr_assert (eq (int, lm_store_remove (inner, "journal/0000000000000001",
                                       &err), 0));
  lm_repository_close (repo);
  {
    struct lm_open_options options = lm_test_open_options ();
    struct lm_credentials c = lm_test_credentials ();

    options.accept_rollback = true;
    repo = lm_repository_open (lm_store_fault_new (inner), &c, &options,
                               &err);
    cr_assert_not_null (repo);
    cr_expect (eq (int, lm_repository_load (repo, &err), -1));
    cr_expect (eq (str, err.message, (char *) "journal: record 1 is "
                   "missing, but there is a record 2"));
    lm_credentials_release (&c);
  }
  lm_repository_close (repo);
}

static void
copy_object (struct lm_store *to, const char *to_name, struct lm_store *from,
             const char *from_name)
{
  struct iovec iov;

  iov.iov_base = lm_store_memory_data (from, from_name, &iov.iov_len);
  cr_assert_not_null (iov.iov_base);
  cr_assert (eq (int, lm_store_put (to, to_name, &iov, 1, &err), 0));
}

Test (journal, a_record_counts_only_under_its_name_and_here)
{
  struct lm_store *other = lm_test_repo_new (true);
  struct lm_repository *repo = lm_test_repo_open (inner);

  copy_object (inner, "journal/0000000000000001", inner,
               "journal/0000000000000000");
  expect_refused (repo, LM_ERR_CORRUPT, "journal/0000000000000001: is "
                  "another object under this name");
  copy_object (inner, "journal/0000000000000001", other,
               "journal/0000000000000000");
  expect_refused (repo, LM_ERR_CORRUPT, "journal/0000000000000001: belongs "
                  "to another repository");
  lm_repository_close (repo);
  lm_store_close (other);
}

static int
count_cb (void *opaque, const char *name, uint64_t size, struct lm_error *e)
{
  (void) name;
  (void) size;
  (void) e;
  ++*(int *) opaque;
  return 0;
}

static int
count (const char *prefix)
{
  int n = 0;

  cr_assert (eq (int, lm_store_list (inner, prefix, count_cb, &n, &err), 0));
  return n;
}

Test (journal, checkpoints_hold_the_same_state_and_do_not_pile_up)
{
  struct lm_repository *a = lm_test_repo_open (inner), *b;
  struct lm_journal_state from_zero;
  size_t len;
  int i;

  for (i = 1; i <= 130; i++) {
    must_commit (a, snapshot_add (i % 3 ? "web01" : "db", 1000 + i));
    if (i % 5 == 0) {
      json_t *changes = json_array ();
      uint8_t id[1][16];

      memcpy (id[0], a->state.snapshots[0].id, 16);
      cr_assert (lm_change_by_id (changes, LM_CHANGE_SNAPSHOT_FORGET, id[0],
                                  &err) == 0);
      cr_assert (lm_change_packs (changes, LM_CHANGE_PACK_CONDEMN,
                                  (const uint8_t (*)[16]) id, 1, &err) == 0);
      must_commit (a, changes);
    }
  }
  cr_expect (eq (u64, a->state.sequence, 156));
  cr_expect (eq (int, count ("checkpoints"), 2));
  cr_expect_not_null (lm_store_memory_data (
    inner, "checkpoints/0000000000000080", &len));
  b = lm_test_repo_open (inner);
  cr_expect (same_state (a, b));
  lm_repository_close (b);

  /* A damaged one is passed over, and so are both. */
  for (i = 0; i < 2; i++) {
    char name[LM_OBJECT_NAME_LEN];

    lm_object_name_sequence ("checkpoints", 128 - 32 * i, name);
    lm_store_memory_data (inner, name, &len)[200] ^= 1;
    b = lm_test_repo_open (inner);
    cr_expect (same_state (a, b));
    lm_repository_close (b);
  }
  cr_assert (eq (int, lm_journal_state_init (&from_zero, &err), 0));
  cr_assert (eq (int, lm_journal_replay (inner, a->keys, &from_zero, &err),
                 0));
  cr_expect (eq (sz, from_zero.nr_snapshots, 104));
  lm_journal_state_release (&from_zero);
  lm_repository_close (a);
}

Test (journal, a_forgotten_name_stays_taken_through_a_checkpoint)
{
  struct lm_repository *a = lm_test_repo_open (inner), *b;
  json_t *changes = json_array ();
  int i;

  must_commit (a, snapshot_add ("web01", 5000));
  cr_assert (lm_change_by_id (changes, LM_CHANGE_SNAPSHOT_FORGET,
                              a->state.snapshots[0].id, &err) == 0);
  must_commit (a, changes);
  for (i = 0; i < 31; i++)
    must_commit (a, json_array ());
  b = lm_test_repo_open (inner);
  cr_expect (eq (sz, b->state.nr_snapshots, 0));
  cr_expect (eq (int, commit (b, NULL, snapshot_add ("web01", 5000)), -1));
  cr_expect (eq (int, err.kind, LM_ERR_EXISTS));
  cr_expect (eq (int, commit (b, NULL, snapshot_add ("web01", 5001)), 0));
  lm_repository_close (a);
  lm_repository_close (b);
}

Test (journal, a_checkpoint_that_cannot_be_written_or_removed_is_no_failure)
{
  struct lm_repository *a = lm_test_repo_open (inner);
  int i;

  for (i = 1; i < 32; i++)
    must_commit (a, json_array ());
  lm_store_fault_arm (a->store, LM_FAULT_FAIL, 2, false);
  must_commit (a, json_array ());
  cr_expect (eq (int, count ("checkpoints"), 0));
  for (i = 33; i < 128; i++)
    must_commit (a, json_array ());
  cr_expect (eq (int, count ("checkpoints"), 2));
  lm_store_fault_arm (a->store, LM_FAULT_FAIL, 3, false);
  must_commit (a, json_array ());
  cr_expect (eq (int, count ("checkpoints"), 3));
  lm_repository_close (a);
}

Test (journal, a_record_that_is_too_large_is_refused)
{
  struct lm_repository *a = lm_test_repo_open (inner);
  enum { N = 500000 };
  uint8_t (*ids)[16] = calloc (N, 16);
  json_t *changes = json_array ();

  cr_assert (lm_change_packs (changes, LM_CHANGE_PACK_CONDEMN,
                              (const uint8_t (*)[16]) ids, N, &err) == 0);
  cr_expect (eq (int, commit (a, NULL, changes), -1));
  cr_expect (eq (int, err.kind, LM_ERR_LIMIT));
  cr_expect (eq (u64, a->state.sequence, 0));
  free (ids);
  lm_repository_close (a);
}
