/* SPDX-License-Identifier: Apache-2.0
 * What a client remembers, and what it notices by it.
 */
#include <config.h>

#include "formats/native/client-state.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/hex.h"
#include "formats/native/journal.h"
#include "formats/native/repository-internal.h"
#include "tests/support/scratch.h"
#include "tests/support/store-fault.h"
#include "tests/support/store-memory.h"
#include "tests/support/test-repo.h"

static const uint8_t repository[16] = "repository-0001";
static struct lm_error err;

Test (client_state, nothing_was_seen_at_first)
{
  struct lm_client_state s = { .known = true };

  cr_assert (eq (int, lm_client_state_read ("/no/such", repository, &s,
                                            &err), 0));
  cr_expect_not (s.known);
}

Test (client_state, it_never_moves_backwards_but_on_request)
{
  char *dir = lm_scratch_path ("a/b/state");
  const uint8_t r5[32] = "five", r7[32] = "seven";
  struct lm_client_state s;

  cr_assert (eq (int, lm_client_state_advance (dir, repository, 7, r7, &err),
                 0), "%s", err.message);
  cr_assert (eq (int, lm_client_state_advance (dir, repository, 5, r5, &err),
                 0));
  cr_assert (eq (int, lm_client_state_read (dir, repository, &s, &err), 0));
  cr_expect (s.known);
  cr_expect (eq (u64, s.sequence, 7));
  cr_expect (memcmp (s.record, r7, 32) == 0);
  cr_assert (eq (int, lm_client_state_reset (dir, repository, 5, r5, &err),
                 0));
  cr_assert (eq (int, lm_client_state_read (dir, repository, &s, &err), 0));
  cr_expect (eq (u64, s.sequence, 5));
  free (dir);
}

Test (client_state, processes_that_race_leave_the_latest)
{
  enum { PROCESSES = 4, STEPS = 50 };
  char *dir = lm_scratch_path ("state");
  const uint8_t record[32] = "r";
  struct lm_client_state s;
  pid_t pids[PROCESSES];
  int i, status;

  for (i = 0; i < PROCESSES; i++) {
    pids[i] = fork ();
    if (pids[i] == 0) {
      int k, r = 0;

      for (k = 0; k < STEPS; k++)
        r |= lm_client_state_advance (dir, repository,
                                      k * PROCESSES + i, record, &err);
      _exit (r == 0 ? 0 : 1);
    }
  }
  for (i = 0; i < PROCESSES; i++) {
    waitpid (pids[i], &status, 0);
    cr_expect (eq (int, status, 0));
  }
  cr_assert (eq (int, lm_client_state_read (dir, repository, &s, &err), 0));
  cr_expect (eq (u64, s.sequence, PROCESSES * STEPS - 1));
  free (dir);
}

Test (client_state, a_bad_file_is_named_and_may_be_deleted)
{
  static const struct { const char *text, *message; } rows[] = {
    { "junk", ": not valid JSON" },
    { "{}", ": 'repository' is missing or not a string" },
    { "{\"repository\":\"00000000000000000000000000000000\",\"sequence\":1,"
      "\"record\":\"00000000000000000000000000000000000000000000000000000000"
      "00000000\"}", ": is about another repository" },
  };
  const char *dir = lm_scratch_dir ();
  struct lm_client_state s;
  char hex[33], *path;
  size_t i;

  lm_hex_encode (repository, 16, hex);
  path = lm_scratch_path ("%s.json", hex);
  for (i = 0; i < 3; i++) {
    FILE *fp = fopen (path, "w");

    fputs (rows[i].text, fp);
    fclose (fp);
    cr_expect (eq (int, lm_client_state_read (dir, repository, &s, &err),
                   -1));
    cr_expect (eq (int, err.kind, LM_ERR_CORRUPT));
    cr_expect (strstr (err.message, path) == err.message);
    cr_expect (strstr (err.message, rows[i].message) != NULL, "%s",
               err.message);
    cr_expect (strstr (err.hint, "delete it") != NULL);
  }
  unlink (path);
  cr_expect (eq (int, lm_client_state_read (dir, repository, &s, &err), 0));
  free (path);
}

/* From here on: what opening a repository makes of it. */

static void
commit_nothing (struct lm_repository *repo)
{
  json_t *changes = json_array ();

  cr_assert (eq (int, lm_journal_commit (repo, NULL, "test", changes, &err),
                 0), "%s", err.message);
  json_decref (changes);
}

static int
load (struct lm_store *inner, bool accept)
{
  struct lm_open_options options = lm_test_open_options ();
  struct lm_credentials c = lm_test_credentials ();
  struct lm_repository *repo;
  int r;

  options.accept_rollback = accept;
  repo = lm_repository_open (lm_store_fault_new (inner), &c, &options, &err);
  cr_assert_not_null (repo, "%s", err.message);
  lm_error_clear (&err);
  r = lm_repository_load (repo, &err);
  lm_repository_close (repo);
  lm_credentials_release (&c);
  return r;
}

static void
expect_rollback (struct lm_store *inner, const char *message)
{
  cr_expect (eq (int, load (inner, false), -1));
  cr_expect (eq (int, err.kind, LM_ERR_CORRUPT));
  cr_expect (eq (str, err.message, (char *) message));
  cr_expect (strstr (err.hint, "--accept-rollback") != NULL);
  /* Asking again does not help, accepting does, for good. */
  cr_expect (eq (int, load (inner, false), -1));
  cr_expect (eq (int, load (inner, true), 0), "%s", err.message);
  cr_expect (eq (int, load (inner, false), 0), "%s", err.message);
}

Test (client_state, a_store_that_lost_its_newest_records_is_noticed)
{
  struct lm_store *inner = lm_test_repo_new (true);
  struct lm_repository *repo = lm_test_repo_open (inner);

  commit_nothing (repo);
  commit_nothing (repo);
  lm_repository_close (repo);
  cr_assert (eq (int, lm_store_remove (inner, "journal/0000000000000002",
                                       &err), 0));
  expect_rollback (inner, "memory: the repository was rolled back: its "
                   "journal ends with record 1, but record 2 was seen here "
                   "before");
  lm_store_close (inner);
}

/* A copy of the store as it was goes another way. */
Test (client_state, a_store_with_another_history_is_noticed)
{
  struct lm_store *inner = lm_test_repo_new (true);
  struct lm_repository *repo = lm_test_repo_open (inner);
  uint8_t record[32];

  commit_nothing (repo);
  memcpy (record, repo->state.record, 32);
  lm_repository_close (repo);
  cr_assert (eq (int, lm_store_remove (inner, "journal/0000000000000001",
                                       &err), 0));
  {
    /* By somebody who has not seen the first record 1. */
    struct lm_open_options options = lm_test_open_options ();
    struct lm_credentials c = lm_test_credentials ();
    char *elsewhere = lm_scratch_path ("elsewhere");

    options.state_dir = elsewhere;
    repo = lm_repository_open (lm_store_fault_new (inner), &c, &options,
                               &err);
    cr_assert_not_null (repo);
    cr_assert (eq (int, lm_repository_load (repo, &err), 0));
    commit_nothing (repo);
    lm_repository_close (repo);
    lm_credentials_release (&c);
    free (elsewhere);
  }
  expect_rollback (inner, "memory: the repository was replaced: journal "
                   "record 1 is another one than was seen here before");
  /* Also when the other history is longer. */
  {
    struct lm_open_options options = lm_test_open_options ();
    uint8_t id[16];

    repo = lm_test_repo_open (inner);
    commit_nothing (repo);
    memcpy (id, lm_repository_id (repo), 16);
    lm_repository_close (repo);
    cr_assert (eq (int, lm_client_state_reset (options.state_dir, id, 1,
                                               record, &err), 0));
  }
  expect_rollback (inner, "memory: the repository was replaced: journal "
                   "record 1 is another one than was seen here before");
  lm_store_close (inner);
}

Test (client_state, a_commit_is_remembered_at_once)
{
  struct lm_store *inner = lm_test_repo_new (false);
  struct lm_repository *repo = lm_test_repo_open (inner);
  struct lm_client_state s;

  commit_nothing (repo);
  cr_assert (eq (int, lm_client_state_read (repo->state_dir,
                                            lm_repository_id (repo), &s,
                                            &err), 0));
  cr_expect (eq (u64, s.sequence, 1));
  cr_expect (memcmp (s.record, repo->state.record, 32) == 0);
  lm_repository_close (repo);
  lm_store_close (inner);
}

Test (client_state, not_being_able_to_remember_stops_nobody)
{
  struct lm_store *inner = lm_test_repo_new (false);
  struct lm_open_options options = lm_test_open_options ();
  struct lm_repository *repo;

  options.state_dir = "/proc/no/such";
  repo = lm_repository_open (lm_store_fault_new (inner), NULL, &options,
                             &err);
  cr_assert_not_null (repo);
  cr_expect (eq (int, lm_repository_load (repo, &err), 0), "%s",
             err.message);
  commit_nothing (repo);
  lm_repository_close (repo);
  lm_store_close (inner);
}
