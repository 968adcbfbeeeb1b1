/* SPDX-License-Identifier: Apache-2.0
 * Leases and pins.
 */
#include <config.h>

#include "formats/native/lease.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/random.h"
#include "formats/native/journal.h"
#include "formats/native/object-io.h"
#include "formats/native/pin.h"
#include "formats/native/repository-internal.h"
#include "formats/native/whoami.h"
#include "tests/support/store-fault.h"
#include "tests/support/store-memory.h"
#include "tests/support/test-repo.h"

static struct lm_error err;
static struct lm_store *inner;
static struct lm_repository *repo;

static void
setup (void)
{
  inner = lm_test_repo_new (true);
  repo = lm_test_repo_open (inner);
}

static void
teardown (void)
{
  lm_repository_close (repo);
  lm_store_close (inner);
}

TestSuite (lease, .init = setup, .fini = teardown);

static struct lm_lease *
acquire (uint32_t seconds)
{
  struct lm_lease *lease = lm_lease_acquire (repo, "backup", seconds, &err);

  cr_assert_not_null (lease, "%s", err.message);
  return lease;
}

static struct lm_lease_info *
list (size_t *ret_n)
{
  struct lm_lease_info *infos;

  cr_assert (eq (int, lm_lease_list (repo, &infos, ret_n, &err), 0), "%s",
             err.message);
  return infos;
}

/* Wait for it, at most a minute. */
static bool
becomes_lost (struct lm_lease *lease)
{
  int i;

  for (i = 0; i < 6000 && !lm_lease_lost (lease); i++)
    usleep (10000);
  return lm_lease_lost (lease);
}

Test (lease, it_is_listed_while_it_is_held)
{
  struct lm_lease *lease;
  struct lm_lease_info *infos;
  size_t n;

  lm_whoami_set_test ("host1", "operator", "livemount 9");
  lease = acquire (0);
  infos = list (&n);
  cr_assert (eq (sz, n, 1));
  cr_expect (memcmp (infos[0].id, lm_lease_id (lease), 16) == 0);
  cr_expect (eq (str, infos[0].kind, (char *) "backup"));
  cr_expect (eq (str, infos[0].host, (char *) "host1"));
  cr_expect (eq (str, infos[0].user, (char *) "operator"));
  cr_expect (eq (str, infos[0].program, (char *) "livemount 9"));
  cr_expect (eq (u64, infos[0].pid, (uint64_t) getpid ()));
  cr_expect (eq (u32, infos[0].seconds, 300));
  cr_expect (eq (u64, infos[0].counter, 0));
  lm_lease_infos_free (infos, n);
  cr_expect_not (lm_lease_lost (lease));
  lm_lease_release (lease);
  infos = list (&n);
  cr_expect (eq (sz, n, 0));
  lm_lease_infos_free (infos, n);
  lm_lease_release (NULL);
}

Test (lease, the_counter_moves_while_it_is_held)
{
  /* Every two seconds; one that is starved for twelve is lost. */
  struct lm_lease *lease = acquire (12);
  struct lm_lease_info *infos;
  uint64_t counter = 0;
  size_t n;
  int i;

  for (i = 0; i < 6000 && counter < 2; i++) {
    usleep (10000);
    infos = list (&n);
    cr_assert (eq (sz, n, 1));
    cr_expect (infos[0].counter >= counter);
    counter = infos[0].counter;
    lm_lease_infos_free (infos, n);
  }
  cr_expect (counter >= 2);
  cr_expect_not (lm_lease_lost (lease));
  lm_lease_release (lease);
}

Test (lease, a_holder_that_cannot_refresh_stops_by_itself)
{
  struct lm_lease *lease = acquire (1);
  json_t *changes = json_array ();

  lm_store_fault_arm (repo->store, LM_FAULT_FAIL, 1, true);
  cr_expect (becomes_lost (lease));
  lm_store_fault_arm (repo->store, LM_FAULT_NONE, 0, false);
  /* Once lost it stays lost, though the store is back. */
  usleep (300000);
  cr_expect (lm_lease_lost (lease));
  cr_expect (eq (int, lm_journal_commit (repo, lease, "test", changes, &err),
                 -1));
  cr_expect (eq (int, err.kind, LM_ERR_LOCKED));
  cr_expect (eq (str, err.message, (char *) "this operation's lease was "
                 "lost: it could not be refreshed in time"));
  json_decref (changes);
  lm_lease_release (lease);
}

Test (lease, a_short_trouble_is_survived)
{
  struct lm_lease *lease = acquire (12);
  struct lm_lease_info *infos;
  uint64_t counter = 0;
  size_t n;
  int i;

  lm_store_fault_arm (repo->store, LM_FAULT_FAIL, 1, false);
  for (i = 0; i < 6000 && counter < 2; i++) {
    usleep (10000);
    infos = list (&n);
    counter = n ? infos[0].counter : 0;
    lm_lease_infos_free (infos, n);
  }
  cr_expect (counter >= 2);
  cr_expect_not (lm_lease_lost (lease));
  lm_lease_release (lease);
}

Test (lease, one_that_was_removed_is_lost_and_does_not_come_back)
{
  struct lm_lease *lease = acquire (1);
  struct lm_lease_info *infos;
  char name[LM_OBJECT_NAME_LEN];
  size_t n;

  lm_object_name ("leases", lm_lease_id (lease), 16, name);
  cr_assert (eq (int, lm_store_remove (inner, name, &err), 0));
  cr_expect (becomes_lost (lease));
  infos = list (&n);
  cr_expect (eq (sz, n, 0));
  lm_lease_infos_free (infos, n);
  lm_lease_release (lease);
}

Test (lease, revoking_is_a_record_and_removes_the_object)
{
  struct lm_lease *lease = acquire (0);
  struct lm_repository *other = lm_test_repo_open (inner);
  uint8_t id[16];
  struct lm_lease_info *infos;
  size_t n;

  memcpy (id, lm_lease_id (lease), 16);
  cr_assert (eq (int, lm_lease_revoke (other, id, "test", &err), 0), "%s",
             err.message);
  cr_expect (lm_journal_state_revoked (lm_repository_state (other), id));
  infos = list (&n);
  cr_expect (eq (sz, n, 0));
  lm_lease_infos_free (infos, n);
  /* Again, though it is gone: nothing to complain of. */
  cr_expect (eq (int, lm_lease_revoke (other, id, "test", &err), 0));
  lm_lease_release (lease);
  lm_repository_close (other);
}

Test (lease, what_does_not_open_is_passed_over)
{
  struct lm_lease *lease = acquire (0);
  struct lm_store *elsewhere = lm_test_repo_new (true);
  struct lm_repository *theirs = lm_test_repo_open (elsewhere);
  struct lm_lease *foreign = lm_lease_acquire (theirs, "gc", 0, &err);
  struct iovec junk = { (char *) "junk", 4 }, iov;
  char name[LM_OBJECT_NAME_LEN];
  struct lm_lease_info *infos;
  size_t n;

  cr_assert_not_null (foreign);
  lm_object_name ("leases", lm_lease_id (foreign), 16, name);
  iov.iov_base = lm_store_memory_data (elsewhere, name, &iov.iov_len);
  cr_assert (eq (int, lm_store_put (inner, name, &iov, 1, &err), 0));
  cr_assert (eq (int, lm_store_put (
    inner, "leases/00000000000000000000000000000000", &junk, 1, &err), 0));
  cr_assert (eq (int, lm_store_put (inner, "leases/notes.txt", &junk, 1,
                                    &err), 0));
  infos = list (&n);
  cr_expect (eq (sz, n, 1));
  lm_lease_infos_free (infos, n);
  lm_lease_release (foreign);
  lm_lease_release (lease);
  lm_repository_close (theirs);
  lm_store_close (elsewhere);
}

Test (lease, a_lease_that_cannot_be_put_is_not_held)
{
  lm_store_fault_arm (repo->store, LM_FAULT_FAIL, 1, false);
  cr_expect (eq (ptr, lm_lease_acquire (repo, "backup", 0, &err), NULL));
  cr_expect (eq (int, err.kind, LM_ERR_IO));
}

Test (lease, pins_are_put_listed_and_removed)
{
  const uint8_t s1[16] = "snapshot-1", s2[16] = "snapshot-2";
  struct iovec junk = { (char *) "junk", 4 };
  uint8_t p1[16], p2[16];
  struct lm_pin_info *infos;
  size_t n, bad;

  lm_clock_set_test_time (1795329000);
  cr_assert (eq (int, lm_pin_put (repo, s1, "red-fox", p1, &err), 0), "%s",
             err.message);
  cr_assert (eq (int, lm_pin_put (repo, s2, "blue-owl", p2, &err), 0));
  cr_assert (eq (int, lm_store_put (
    inner, "pins/00000000000000000000000000000000", &junk, 1, &err), 0));
  cr_assert (eq (int, lm_pin_list (repo, &infos, &n, &bad, &err), 0));
  cr_assert (eq (sz, n, 2));
  cr_expect (eq (sz, bad, 1));
  {
    struct lm_pin_info *red = memcmp (infos[0].id, p1, 16) == 0
      ? &infos[0] : &infos[1];

    cr_expect (memcmp (red->id, p1, 16) == 0);
    cr_expect (memcmp (red->snapshot, s1, 16) == 0);
    cr_expect (eq (str, red->session, (char *) "red-fox"));
    cr_expect (eq (i64, red->created, 1795329000));
  }
  lm_pin_infos_free (infos, n);
  cr_assert (eq (int, lm_pin_remove (repo, p1, &err), 0));
  cr_expect (eq (int, lm_pin_remove (repo, p1, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_NOT_FOUND));
  cr_assert (eq (int, lm_pin_list (repo, &infos, &n, NULL, &err), 0));
  cr_assert (eq (sz, n, 1));
  cr_expect (eq (str, infos[0].session, (char *) "blue-owl"));
  lm_pin_infos_free (infos, n);
}
