/* SPDX-License-Identifier: Apache-2.0
 *
 * Watching leases, and writers that slept through theirs.  Time passes by
 * lm_clock_test_skip; spans are so long that a busy machine adds nothing
 * to them that matters.
 */
#include <config.h>

#include "formats/native/lease-watch.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/random.h"
#include "formats/native/backup.h"
#include "formats/native/journal.h"
#include "formats/native/object-io.h"
#include "formats/native/repository-internal.h"
#include "mount/report.h"
#include "tests/support/store-fault.h"
#include "tests/support/store-memory.h"
#include "tests/support/test-repo.h"

#define NS UINT64_C (1000000000)
#define YEAR (INT64_C (365) * 86400)
#define TIME 3000               /* s: what the leases here last */

static struct lm_error err;
static struct lm_store *inner;
static struct lm_repository *repo;
static struct lm_lease_watch *watch;

static void
setup (void)
{
  inner = lm_test_repo_new (true);
  repo = lm_test_repo_open (inner);
  watch = lm_lease_watch_new (repo->store, repo->keys, &err);
  cr_assert_not_null (watch);
}

static void
teardown (void)
{
  lm_lease_watch_free (watch);
  lm_repository_close (repo);
  lm_store_close (inner);
}

TestSuite (lease_watch, .init = setup, .fini = teardown, .timeout = 120);

/* The lease whose id is all N, as its holder would put it. */
static void
put_lease (uint8_t n, const char *kind, int counter, int seconds)
{
  char name[LM_OBJECT_NAME_LEN];
  uint8_t id[16];
  json_t *v = json_pack ("{ss, si, si, ss, ss, si, ss, ss}", "kind", kind,
                         "counter", counter, "seconds", seconds, "host",
                         "h", "user", "u", "pid", 1, "program", "p",
                         "started", "2026-11-22T06:30:00Z");

  memset (id, n, sizeof id);
  lm_json_set_hex (v, "id", id, sizeof id);
  lm_object_name ("leases", id, sizeof id, name);
  cr_assert (eq (int, lm_object_put_json (inner, repo->keys, LM_TYPE_LEASE,
                                          name, id, sizeof id, v,
                                          LM_OBJECT_REPLACE, NULL, &err),
                 0));
  json_decref (v);
}

static void
put_bytes (uint8_t n, const char *bytes)
{
  struct iovec iov = { (char *) bytes, strlen (bytes) };
  char name[LM_OBJECT_NAME_LEN];
  uint8_t id[16];

  memset (id, n, sizeof id);
  lm_object_name ("leases", id, sizeof id, name);
  cr_assert (eq (int, lm_store_put (inner, name, &iov, 1, &err), 0));
}

static void
remove_lease (uint8_t n)
{
  char name[LM_OBJECT_NAME_LEN];
  uint8_t id[16];

  memset (id, n, sizeof id);
  lm_object_name ("leases", id, sizeof id, name);
  cr_assert (eq (int, lm_store_remove (inner, name, &err), 0));
}

static size_t
count_leases (void)
{
  uint8_t (*ids)[16];
  size_t n;

  cr_assert (eq (int, lm_object_list_ids (inner, "leases", &ids, &n, &err),
                 0));
  free (ids);
  return n;
}

static void
look (void)
{
  cr_assert (eq (int, lm_lease_watch_look (watch, &err), 0), "%s",
             err.message);
}

/* What the last look says of lease N; -1 when it is not there. */
static int
life (uint8_t n)
{
  const struct lm_lease_seen *seen;
  size_t i, count;

  seen = lm_lease_watch_seen (watch, &count);
  for (i = 0; i < count; i++)
    if (seen[i].id[0] == n && seen[i].id[15] == n)
      return seen[i].life;
  return -1;
}

static bool
revoked (uint8_t n)
{
  uint8_t id[16];

  memset (id, n, sizeof id);
  return lm_journal_state_revoked (lm_repository_state (repo), id);
}

static size_t
revoke_dead (void)
{
  size_t n = 99;

  cr_assert (eq (int, lm_lease_watch_revoke (watch, repo, "test", &n, &err),
                 0), "%s", err.message);
  return n;
}

Test (lease_watch, dead_is_what_stands_still_for_its_whole_time)
{
  put_lease (1, "backup", 7, TIME);
  look ();
  cr_expect (eq (int, life (1), LM_LEASE_UNKNOWN));
  lm_clock_test_skip ((TIME - 100) * NS);
  look ();
  cr_expect (eq (int, life (1), LM_LEASE_UNKNOWN));
  lm_clock_test_skip (200 * NS);
  look ();
  cr_expect (eq (int, life (1), LM_LEASE_DEAD));
}

Test (lease_watch, a_counter_that_moves_is_a_sign_of_life)
{
  put_lease (1, "backup", 7, TIME);
  look ();
  lm_clock_test_skip ((TIME - 100) * NS);
  put_lease (1, "backup", 8, TIME);
  look ();
  cr_expect (eq (int, life (1), LM_LEASE_ALIVE));
  /* The time counts from here. */
  lm_clock_test_skip (200 * NS);
  look ();
  cr_expect (eq (int, life (1), LM_LEASE_ALIVE));
  lm_clock_test_skip (TIME * NS);
  look ();
  cr_expect (eq (int, life (1), LM_LEASE_DEAD));
  put_lease (1, "backup", 9, TIME);
  look ();
  cr_expect (eq (int, life (1), LM_LEASE_ALIVE));
  remove_lease (1);
  look ();
  cr_expect (eq (int, life (1), -1));
}

/* The first look of another observer, or of a program that was started
 * anew, finds a lease that may be new. */
Test (lease_watch, what_others_saw_does_not_count)
{
  struct lm_lease_watch *mine = watch;

  put_lease (1, "backup", 7, TIME);
  look ();
  lm_clock_test_skip (2 * TIME * NS);
  watch = lm_lease_watch_new (repo->store, repo->keys, &err);
  look ();
  cr_expect (eq (int, life (1), LM_LEASE_UNKNOWN));
  cr_expect (eq (sz, revoke_dead (), 0));
  lm_lease_watch_free (watch);
  watch = mine;
  look ();
  cr_expect (eq (int, life (1), LM_LEASE_DEAD));
}

Test (lease_watch, one_that_was_away_begins_anew)
{
  put_lease (1, "backup", 7, TIME);
  look ();
  remove_lease (1);
  look ();
  lm_clock_test_skip (TIME * NS);
  put_lease (1, "backup", 7, TIME);
  look ();
  cr_expect (eq (int, life (1), LM_LEASE_UNKNOWN));
}

Test (lease_watch, wall_clocks_decide_nothing)
{
  put_lease (1, "backup", 7, TIME);
  lm_clock_set_test_time (1795329000);
  look ();
  lm_clock_set_test_time (1795329000 + YEAR);
  look ();
  cr_expect (eq (int, life (1), LM_LEASE_UNKNOWN));
  lm_clock_set_test_time (1795329000 - YEAR);
  look ();
  cr_expect (eq (int, life (1), LM_LEASE_UNKNOWN));
  lm_clock_test_skip (TIME * NS);
  look ();
  cr_expect (eq (int, life (1), LM_LEASE_DEAD));
}

Test (lease_watch, what_can_not_be_read_is_watched_by_its_bytes)
{
  size_t n;

  put_bytes (1, "junk");
  put_bytes (2, "other junk");
  put_bytes (3, "torn");
  look ();
  cr_expect_not (lm_lease_watch_seen (watch, &n)[0].readable);
  cr_expect (eq (sz, n, 3));
  lm_clock_test_skip (200 * NS);
  put_bytes (2, "and other bytes");
  put_lease (3, "backup", 1, TIME);
  look ();
  cr_expect (eq (int, life (1), LM_LEASE_UNKNOWN));
  cr_expect (eq (int, life (2), LM_LEASE_ALIVE));
  cr_expect (eq (int, life (3), LM_LEASE_ALIVE));
  lm_clock_test_skip (150 * NS);
  look ();
  cr_expect (eq (int, life (1), LM_LEASE_DEAD));
  cr_expect (eq (int, life (2), LM_LEASE_ALIVE));
  cr_expect (eq (sz, revoke_dead (), 1));
  look ();
  cr_expect (eq (int, life (1), -1));
  cr_expect (eq (int, life (2), LM_LEASE_ALIVE));
}

Test (lease_watch, a_lease_of_no_seconds_is_not_dead_at_once)
{
  put_lease (1, "backup", 7, 0);
  look ();
  look ();
  cr_expect (eq (int, life (1), LM_LEASE_UNKNOWN));
  lm_clock_test_skip (LM_LEASE_SECONDS * NS);
  look ();
  cr_expect (eq (int, life (1), LM_LEASE_DEAD));
}

Test (lease_watch, a_look_that_fails_spoils_nothing)
{
  put_lease (1, "backup", 7, TIME);
  put_lease (2, "backup", 7, TIME);
  look ();
  lm_clock_test_skip (TIME * NS);
  lm_store_fault_arm_read (repo->store, 2);
  cr_expect (eq (int, lm_lease_watch_look (watch, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_IO));
  lm_error_clear (&err);
  look ();
  cr_expect (eq (int, life (1), LM_LEASE_DEAD));
  cr_expect (eq (int, life (2), LM_LEASE_DEAD));
}

Test (lease_watch, all_the_dead_are_revoked_by_one_record)
{
  uint64_t before = lm_repository_state (repo)->sequence;

  put_lease (1, "backup", 7, TIME);
  put_lease (2, "copy", 7, 2 * TIME);
  put_lease (3, "gc", 7, TIME);
  look ();
  cr_expect (eq (sz, revoke_dead (), 0));
  cr_expect (eq (u64, lm_repository_state (repo)->sequence, before));
  lm_clock_test_skip (TIME * NS);
  look ();
  cr_expect (eq (sz, revoke_dead (), 2));
  cr_expect (eq (u64, lm_repository_state (repo)->sequence, before + 1));
  cr_expect (revoked (1) && !revoked (2) && revoked (3));
  cr_expect (eq (sz, count_leases (), 1));
}

/* Who may not remove leaves the object, and nobody puts a second record
 * for it. */
Test (lease_watch, one_that_was_revoked_before_is_only_removed)
{
  struct lm_repository *other = lm_test_repo_open (inner);
  uint64_t before;

  put_lease (1, "backup", 7, TIME);
  look ();
  lm_clock_test_skip (TIME * NS);
  look ();
  lm_store_fault_arm (repo->store, LM_FAULT_FAIL, 2, false);
  cr_expect (eq (sz, revoke_dead (), 1));
  cr_expect (eq (sz, count_leases (), 1));
  cr_expect (revoked (1));
  before = lm_repository_state (repo)->sequence;
  cr_expect (eq (sz, revoke_dead (), 1));
  cr_expect (eq (u64, lm_repository_state (repo)->sequence, before));
  cr_expect (eq (sz, count_leases (), 0));
  lm_repository_close (other);
}

Test (lease_watch, waiting_ends_when_all_of_the_kind_are_known)
{
  static const char *const kinds[] = { "backup", "copy", NULL };
  const sig_atomic_t cancel = 1;

  /* Nothing to wait for, or nothing of the kind. */
  cr_expect (eq (int, lm_lease_watch_wait (watch, NULL, 0, NULL, &err), 0));
  put_lease (1, "gc", 7, TIME);
  cr_expect (eq (int, lm_lease_watch_wait (watch, kinds, 0, NULL, &err), 0));
  put_lease (2, "copy", 7, TIME);
  cr_expect (eq (int, lm_lease_watch_wait (watch, kinds, 0, &cancel, &err),
                 -1));
  cr_expect (eq (int, err.kind, LM_ERR_INTERRUPTED));
  lm_error_clear (&err);
  /* Alive will do, or not. */
  put_lease (2, "copy", 8, TIME);
  cr_expect (eq (int, lm_lease_watch_wait (
    watch, kinds, LM_LEASE_WAIT_ALIVE_WILL_DO, NULL, &err), 0));
  cr_expect (eq (int, lm_lease_watch_wait (watch, kinds, 0, &cancel, &err),
                 -1));
  lm_error_clear (&err);
  lm_clock_test_skip (TIME * NS);
  cr_expect (eq (int, lm_lease_watch_wait (watch, kinds, 0, NULL, &err), 0));
  cr_expect (eq (int, life (2), LM_LEASE_DEAD));
  /* What can't be read may be of the kind. */
  put_bytes (3, "junk");
  cr_expect (eq (int, lm_lease_watch_wait (watch, kinds, 0, &cancel, &err),
                 -1));
  lm_error_clear (&err);
  cr_expect (eq (int, lm_lease_watch_wait (
    watch, kinds, LM_LEASE_WAIT_READABLE_ONLY, NULL, &err), 0));
}

/* A dead lease of a second, seen by the thread of a holder that does
 * something else. */
Test (lease_watch, a_holder_finds_the_dead_while_it_works)
{
  struct lm_lease *lease;
  int i;

  put_lease (1, "backup", 7, 1);
  lease = lm_lease_acquire (repo, "backup", 12, &err);
  cr_assert_not_null (lease);
  for (i = 0; i < 1000 && !revoked (1); i++) {
    usleep (50000);
    lm_lease_revoke_dead (lease, repo, "test");
  }
  cr_expect (revoked (1));
  lm_lease_release (lease);
  cr_expect (eq (sz, count_leases (), 0));
}

/* ---- writers that slept ---- */

static json_t *
snapshot_add (const char *vm, int64_t time)
{
  struct lm_snapshot_entry e = lm_test_entry (vm, time);
  json_t *changes = json_array ();

  cr_assert (eq (int, lm_change_snapshot_add (changes, &e, &err), 0));
  return changes;
}

static void
expect_locked (struct lm_repository *r, struct lm_lease *lease,
               const char *message)
{
  json_t *changes = snapshot_add ("web01", 1000);
  size_t n;

  lm_error_clear (&err);
  cr_expect (eq (int, lm_journal_commit (r, lease, "test", changes, &err),
                 -1));
  cr_expect (eq (int, err.kind, LM_ERR_LOCKED));
  cr_expect (eq (str, err.message, (char *) message));
  cr_expect (eq (str, err.hint, (char *) "Nothing was lost; run it again"));
  cr_expect (eq (int, lm_exit_of (err.kind), 11));
  cr_assert (eq (int, lm_repository_load (repo, &err), 0));
  lm_repository_snapshots (repo, &n);
  cr_expect (eq (sz, n, 0));
  json_decref (changes);
}

Test (lease_watch, a_writer_that_slept_and_was_revoked_publishes_nothing)
{
  struct lm_repository *writer = lm_test_repo_open (inner);
  struct lm_lease *lease = lm_lease_acquire (writer, "backup", 0, &err);

  cr_assert_not_null (lease);
  look ();
  lm_clock_test_skip ((LM_LEASE_SECONDS + 1) * NS);
  look ();
  cr_expect (eq (sz, revoke_dead (), 1));
  expect_locked (writer, lease, "this operation's lease was revoked: "
                 "another program took it for dead");
  lm_lease_release (lease);
  lm_repository_close (writer);
}

/* It slept in a machine that was suspended, where the monotonic clock
 * stands still: by its own clock all is well. */
Test (lease_watch, a_writer_that_knows_of_nothing_publishes_nothing)
{
  struct lm_repository *writer = lm_test_repo_open (inner);
  struct lm_lease *lease = lm_lease_acquire (writer, "backup", 0, &err);
  json_t *changes = json_array ();

  cr_assert_not_null (lease);
  cr_assert (eq (int, lm_change_by_id (changes, LM_CHANGE_LEASE_REVOKE,
                                       lm_lease_id (lease), &err), 0));
  cr_assert (eq (int, lm_journal_commit (repo, NULL, "test", changes, &err),
                 0));
  json_decref (changes);
  cr_expect_not (lm_lease_lost (lease));
  expect_locked (writer, lease, "this operation's lease was revoked: "
                 "another program took it for dead");
  lm_lease_release (lease);
  lm_repository_close (writer);
}

Test (lease_watch, a_writer_that_slept_unseen_stops_by_itself)
{
  struct lm_repository *writer = lm_test_repo_open (inner);
  struct lm_lease *lease = lm_lease_acquire (writer, "backup", 0, &err);

  cr_assert_not_null (lease);
  lm_clock_test_skip ((LM_LEASE_SECONDS + 1) * NS);
  expect_locked (writer, lease, "this operation's lease was lost: it could "
                 "not be refreshed in time");
  lm_lease_release (lease);
  lm_repository_close (writer);
}

static bool slept;

/* The disk stands for what SIGSTOP does to a backup: when it goes on, five
 * minutes have passed and somebody has looked twice. */
static int
sleep_pread (struct lm_disk *disk, void *buf, size_t len, uint64_t offset,
             struct lm_error *e)
{
  (void) disk;
  (void) offset;
  (void) e;
  memset (buf, 'x', len);
  if (!slept) {
    slept = true;
    look ();
    lm_clock_test_skip ((LM_LEASE_SECONDS + 1) * NS);
    look ();
    cr_expect (eq (sz, revoke_dead (), 1));
  }
  return 0;
}

static void
sleep_close (struct lm_disk *disk)
{
  (void) disk;
}

static const struct lm_disk_ops sleep_ops = {
  .name = "sleep", .pread = sleep_pread, .close = sleep_close,
};

static int
back_up (struct lm_repository *r, struct lm_backup_result *ret_result)
{
  struct lm_disk disk = {
    .ops = &sleep_ops, .size = 65536, .preferred_block = 65536,
  };
  const struct lm_backup_disk d = {
    .name = "disk0", .disk = &disk, .source = "test",
  };
  const struct lm_backup_params params = {
    .vm = "web01", .disks = &d, .nr_disks = 1, .consistency = "consistent",
    .program = "test", .threads = 1,
  };

  return lm_backup_run (r, &params, ret_result, &err);
}

Test (lease_watch, a_backup_that_slept_fails_and_the_next_one_does_not)
{
  struct lm_repository *writer = lm_test_repo_open (inner);
  struct lm_backup_result result;
  size_t n;

  cr_expect (eq (int, back_up (writer, &result), -1));
  cr_expect (eq (int, lm_exit_of (err.kind), 11));
  cr_expect (eq (str, err.message, (char *) "this operation's lease was "
                 "revoked: another program took it for dead"));
  lm_error_clear (&err);
  cr_expect (eq (int, back_up (writer, &result), 0), "%s", err.message);
  lm_repository_snapshots (writer, &n);
  cr_expect (eq (sz, n, 1));
  cr_expect (eq (sz, count_leases (), 0));
  lm_repository_close (writer);
}

Test (lease_watch, wall_clocks_that_jump_lose_no_backup)
{
  static const int64_t jumps[] = { 0, YEAR, -YEAR, 0, -YEAR, YEAR };
  const struct lm_snapshot_entry *all;
  struct lm_backup_result result;
  size_t i, n;

  slept = true;
  for (i = 0; i < sizeof jumps / sizeof jumps[0]; i++) {
    lm_clock_set_test_time (1795329000 + jumps[i]);
    cr_assert (eq (int, back_up (repo, &result), 0), "%s", err.message);
  }
  all = lm_repository_snapshots (repo, &n);
  cr_assert (eq (sz, n, sizeof jumps / sizeof jumps[0]));
  cr_expect (eq (i64, all[0].time, 1795329000));
  for (i = 1; i < n; i++)
    cr_expect (all[i].time > all[i - 1].time);
}
