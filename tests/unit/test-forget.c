/* SPDX-License-Identifier: Apache-2.0
 * Forgetting: what is protected or pinned stays, whoever comes first.
 */
#include <config.h>

#include "formats/native/forget.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/hex.h"
#include "common/random.h"
#include "formats/native/journal.h"
#include "formats/native/lease.h"
#include "formats/native/object-io.h"
#include "formats/native/pin.h"
#include "formats/native/repository-internal.h"
#include "formats/native/reserve.h"
#include "formats/native/whoami.h"
#include "tests/support/store-memory.h"
#include "tests/support/test-repo.h"

#define NS UINT64_C (1000000000)

static struct lm_error err;
static struct lm_store *inner;
static struct lm_repository *repo;
static uint8_t ids[3][16];

/* web01/1970-01-01T00:16:40Z, …41Z, …42Z. */
static void
setup (void)
{
  int i;

  inner = lm_test_repo_new (true);
  repo = lm_test_repo_open (inner);
  for (i = 0; i < 3; i++) {
    struct lm_snapshot_entry e = lm_test_entry ("web01", 1000 + i);
    json_t *changes = json_array ();

    memcpy (ids[i], e.id, 16);
    cr_assert (eq (int, lm_change_snapshot_add (changes, &e, &err), 0));
    cr_assert (eq (int, lm_journal_commit (repo, NULL, "test", changes,
                                           &err), 0));
    json_decref (changes);
  }
}

static void
teardown (void)
{
  lm_repository_close (repo);
  lm_store_close (inner);
}

TestSuite (forget, .init = setup, .fini = teardown, .timeout = 120);

static size_t
count (struct lm_repository *r)
{
  size_t n;

  lm_repository_snapshots (r, &n);
  return n;
}

static size_t
count_objects (const char *folder)
{
  struct lm_error e = LM_ERROR_INIT;
  uint8_t (*list)[16];
  size_t n;

  cr_assert (eq (int, lm_object_list_ids (inner, folder, &list, &n, &e), 0));
  free (list);
  return n;
}

static int
forget (struct lm_repository *r, int first, size_t n)
{
  lm_error_clear (&err);
  return lm_forget_run (r, (const uint8_t (*)[16]) ids + first, n, "forget",
                        &err);
}

static void
protect (struct lm_repository *r, int i, bool on)
{
  json_t *changes = json_array ();

  cr_assert (eq (int, lm_change_snapshot_protect (changes, ids[i], on, &err),
                 0));
  cr_assert (eq (int, lm_journal_commit (r, NULL, "test", changes, &err),
                 0));
  json_decref (changes);
}

Test (forget, several_go_by_one_record)
{
  const uint64_t before = lm_repository_state (repo)->sequence;

  cr_assert (eq (int, forget (repo, 0, 2), 0), "%s", err.message);
  cr_expect (eq (u64, lm_repository_state (repo)->sequence, before + 1));
  cr_expect (eq (sz, count (repo), 1));
  cr_expect (eq (sz, count_objects ("leases"), 0));
}

Test (forget, one_that_is_gone_is_an_error)
{
  cr_assert (eq (int, forget (repo, 0, 1), 0));
  cr_expect (eq (int, forget (repo, 0, 3), -1));
  cr_expect (eq (int, err.kind, LM_ERR_NOT_FOUND));
  cr_expect (eq (sz, count (repo), 2));
}

Test (forget, a_protected_one_stays_and_so_do_the_others)
{
  protect (repo, 1, true);
  cr_expect (eq (int, forget (repo, 0, 3), -1));
  cr_expect (eq (int, err.kind, LM_ERR_USAGE));
  cr_expect (eq (str, err.message, (char *) "snapshot "
                 "web01/1970-01-01T00:16:41Z is protected, so it is not "
                 "forgotten"));
  cr_expect (eq (str, err.hint, (char *) "'livemount unprotect "
                 "web01/1970-01-01T00:16:41Z' takes that back"));
  cr_expect (eq (sz, count (repo), 3));
  protect (repo, 1, false);
  cr_expect (eq (int, forget (repo, 0, 3), 0), "%s", err.message);
}

Test (forget, one_that_was_protected_by_another_just_now)
{
  struct lm_repository *other = lm_test_repo_open (inner);

  protect (other, 1, true);
  cr_expect (eq (int, forget (repo, 0, 3), -1));
  cr_expect (eq (int, err.kind, LM_ERR_USAGE));
  cr_expect (eq (str, err.message, (char *) "snapshot "
                 "web01/1970-01-01T00:16:41Z is protected, so it is not "
                 "forgotten"));
  cr_expect (eq (sz, count (repo), 3));
  lm_repository_close (other);
}

Test (forget, a_pinned_one_stays_and_its_session_is_named)
{
  char wanted[200], hex[33];
  uint8_t pin[16];

  lm_whoami_set_test ("host1", "operator", "livemount 9");
  cr_assert (eq (int, lm_pin_put (repo, ids[2], "red-fox", pin, &err), 0));
  cr_expect (eq (int, forget (repo, 0, 3), -1));
  cr_expect (eq (int, err.kind, LM_ERR_LOCKED));
  cr_expect (eq (str, err.message, (char *) "snapshot "
                 "web01/1970-01-01T00:16:42Z is in use by session red-fox "
                 "of operator@host1, so it is not forgotten"));
  lm_hex_encode (pin, sizeof pin, hex);
  snprintf (wanted, sizeof wanted, "'livemount unmount' ends the session "
            "there; if it is lost for good, 'livemount leases break %s' "
            "removes what it left", hex);
  cr_expect (eq (str, err.hint, wanted));
  cr_expect (eq (sz, count (repo), 3));
  cr_expect (eq (int, forget (repo, 0, 2), 0));
  lm_error_clear (&err);
  cr_assert (eq (int, lm_pin_remove (repo, pin, &err), 0));
  cr_expect (eq (int, forget (repo, 2, 1), 0), "%s", err.message);
}

Test (forget, a_pin_that_can_not_be_read_keeps_everything)
{
  struct iovec junk = { (char *) "junk", 4 };

  cr_assert (eq (int, lm_store_put (
    inner, "pins/00000000000000000000000000000000", &junk, 1, &err), 0));
  cr_expect (eq (int, forget (repo, 0, 1), -1));
  cr_expect (eq (int, err.kind, LM_ERR_CORRUPT));
  cr_expect (eq (str, err.message, (char *) "1 pins can't be read: what they "
                 "keep is not known, so nothing is forgotten"));
  cr_expect (eq (sz, count (repo), 3));
}

Test (forget, the_journal_refuses_it_too)
{
  json_t *changes = json_array ();
  char wanted[80], hex[33];

  protect (repo, 0, true);
  cr_assert (eq (int, lm_change_by_id (changes, LM_CHANGE_SNAPSHOT_FORGET,
                                       ids[0], &err), 0));
  cr_expect (eq (int, lm_journal_commit (repo, NULL, "test", changes, &err),
                 -1));
  cr_expect (eq (int, err.kind, LM_ERR_USAGE));
  lm_hex_encode (ids[0], 16, hex);
  snprintf (wanted, sizeof wanted, "snapshot %s is protected", hex);
  cr_expect (eq (str, err.message, wanted));
  json_decref (changes);
}

/* ---- who forgets, and who mounts at the same time ---- */

static int
wait_for_others (struct lm_repository *r)
{
  return lm_forget_wait (r, NULL, &err);
}

Test (forget, who_has_put_a_pin_does_not_wait_for_nothing)
{
  struct lm_lease *backup = lm_lease_acquire (repo, "backup", 0, &err);
  struct iovec junk = { (char *) "junk", 4 };

  cr_assert (eq (int, lm_store_put (
    inner, "leases/00000000000000000000000000000000", &junk, 1, &err), 0));
  cr_expect (eq (int, wait_for_others (repo), 0), "%s", err.message);
  lm_lease_release (backup);
}

static void *
release_later (void *lease)
{
  usleep (300000);
  lm_lease_release (lease);
  return NULL;
}

/* The forgetter has looked at the pins, and puts its record after the pin:
 * the session sees it. */
Test (forget, who_has_put_a_pin_waits_for_who_may_have_looked_before)
{
  struct lm_repository *mounter = lm_test_repo_open (inner);
  struct lm_lease *lease = lm_lease_acquire (repo, LM_FORGET_LEASE, 300,
                                             &err);
  json_t *changes = json_array ();
  uint8_t pin[16];
  pthread_t thread;

  cr_assert (eq (int, lm_pin_put (mounter, ids[0], "s", pin, &err), 0));
  cr_assert (eq (int, lm_change_by_id (changes, LM_CHANGE_SNAPSHOT_FORGET,
                                       ids[0], &err), 0));
  cr_assert (eq (int, lm_journal_commit (repo, lease, "test", changes, &err),
                 0));
  json_decref (changes);
  pthread_create (&thread, NULL, release_later, lease);
  cr_assert (eq (int, wait_for_others (mounter), 0), "%s", err.message);
  cr_expect (eq (sz, count_objects ("leases"), 0));
  cr_assert (eq (int, lm_repository_load (mounter, &err), 0));
  cr_expect (eq (sz, count (mounter), 2));
  pthread_join (thread, NULL);
  lm_repository_close (mounter);
}

/* It was killed, or sleeps; when it wakes its record has no effect. */
Test (forget, one_that_was_stopped_in_the_act_forgets_nothing)
{
  struct lm_repository *mounter = lm_test_repo_open (inner);
  struct lm_lease *lease = lm_lease_acquire (repo, LM_FORGET_LEASE, 1, &err);
  json_t *changes = json_array ();
  uint8_t pin[16];

  cr_assert_not_null (lease);
  /* Its own thread sees this at its next turn, and refreshes no more. */
  lm_clock_test_skip (2 * NS);
  cr_assert (eq (int, lm_pin_put (mounter, ids[0], "s", pin, &err), 0));
  cr_assert (eq (int, wait_for_others (mounter), 0), "%s", err.message);
  cr_expect (lm_journal_state_revoked (lm_repository_state (mounter),
                                       lm_lease_id (lease)));
  cr_assert (eq (int, lm_change_by_id (changes, LM_CHANGE_SNAPSHOT_FORGET,
                                       ids[0], &err), 0));
  cr_expect (eq (int, lm_journal_commit (repo, lease, "test", changes, &err),
                 -1));
  cr_expect (eq (int, err.kind, LM_ERR_LOCKED));
  lm_error_clear (&err);
  json_decref (changes);
  lm_lease_release (lease);
  cr_assert (eq (int, lm_repository_load (mounter, &err), 0));
  cr_expect (eq (sz, count (mounter), 3));
  lm_repository_close (mounter);
}

struct mounter {
  struct lm_repository *repo;
  int snapshot;
  bool pinned;
};

/* What mount does, session-mount.c. */
static void *
mount_it (void *opaque)
{
  struct mounter *m = opaque;
  struct lm_error e = LM_ERROR_INIT;
  uint8_t pin[16];

  if (lm_pin_put (m->repo, ids[m->snapshot], "s", pin, &e) == -1 ||
      lm_forget_wait (m->repo, NULL, &e) == -1 ||
      lm_repository_load (m->repo, &e) == -1)
    return NULL;
  m->pinned = lm_journal_state_snapshot (lm_repository_state (m->repo),
                                         ids[m->snapshot]) != NULL;
  return NULL;
}

Test (forget, a_mount_that_succeeds_finds_its_snapshot_ever_after)
{
  int round;

  for (round = 0; round < 3; round++) {
    struct mounter m = { lm_test_repo_open (inner), round, false };
    struct lm_repository *after;
    pthread_t thread;
    int r;

    pthread_create (&thread, NULL, mount_it, &m);
    r = forget (repo, round, 1);
    pthread_join (thread, NULL);
    after = lm_test_repo_open (inner);
    cr_expect (m.pinned == (r == -1), "round %d: %d", round, r);
    cr_expect (m.pinned == (lm_journal_state_snapshot (
      lm_repository_state (after), ids[round]) != NULL));
    lm_repository_close (after);
    lm_repository_close (m.repo);
  }
}

/* ---- the reserve ---- */

static const struct lm_store_ops *real_ops;

/* No room for anything but what the first three pieces gave. */
static int
full_put (struct lm_store *store, const char *name, const struct iovec *iov,
          int iovcnt, struct lm_error *e)
{
  uint64_t size;

  if (real_ops->stat (store, "reserve/05", &size, e) == 0 ||
      strncmp (name, "reserve/", 8) == 0)
    return lm_error_set (e, LM_ERR_NO_SPACE, "%s: no room", name);
  lm_error_clear (e);
  return real_ops->put_if_absent (store, name, iov, iovcnt, e);
}

static size_t
count_pieces (void)
{
  char name[32];
  uint64_t size;
  size_t i, n = 0;

  for (i = 0; i < LM_RESERVE_PIECES + 1; i++) {
    struct lm_error e = LM_ERROR_INIT;

    snprintf (name, sizeof name, "reserve/%02zx", i);
    if (lm_store_stat (inner, name, &size, &e) == 0) {
      cr_expect (eq (u64, size, LM_RESERVE_PIECE_LEN));
      n++;
    }
  }
  return n;
}

/* The fault store hides the memory store's table: use that directly. */
Test (forget, the_reserve_gives_way_piece_by_piece)
{
  struct lm_store *store = repo->store;
  struct lm_store_ops ops;

  repo->store = inner;
  real_ops = inner->ops;
  lm_reserve_restore (inner);
  cr_expect (eq (sz, count_pieces (), 0));      /* not bounded */
  ops = *real_ops;
  ops.bounded = true;
  inner->ops = &ops;
  lm_reserve_restore (inner);
  cr_expect (eq (sz, count_pieces (), LM_RESERVE_PIECES));

  ops.put_if_absent = full_put;
  cr_expect (eq (int, forget (repo, 0, 1), 0), "%s", err.message);
  cr_expect (eq (sz, count (repo), 2));
  cr_expect (eq (sz, count_pieces (), 5));
  ops.put_if_absent = real_ops->put_if_absent;
  cr_expect (eq (int, forget (repo, 1, 1), 0), "%s", err.message);
  cr_expect (eq (sz, count_pieces (), LM_RESERVE_PIECES));
  inner->ops = real_ops;
  repo->store = store;
}

Test (forget, without_a_reserve_the_error_stays)
{
  struct lm_store_ops ops;

  real_ops = inner->ops;
  ops = *real_ops;
  lm_error_set (&err, LM_ERR_NO_SPACE, "no room");
  cr_expect_not (lm_reserve_drop (inner, &err));
  cr_expect (eq (int, err.kind, LM_ERR_NO_SPACE));
  cr_expect (eq (str, err.message, (char *) "no room"));
  ops.bounded = true;
  inner->ops = &ops;
  lm_reserve_restore (inner);
  inner->ops = real_ops;
  /* Only for want of room. */
  lm_error_set (&err, LM_ERR_IO, "broken");
  cr_expect_not (lm_reserve_drop (inner, &err));
  cr_expect (eq (sz, count_pieces (), LM_RESERVE_PIECES));
}
