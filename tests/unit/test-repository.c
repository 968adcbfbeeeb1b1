/* SPDX-License-Identifier: Apache-2.0
 * Making, opening and loading repositories.
 */
#include <config.h>

#include "formats/native/repository.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/random.h"
#include "formats/native/journal.h"
#include "formats/native/repository-internal.h"
#include "formats/store/store-dir.h"
#include "tests/support/scratch.h"
#include "tests/support/store-fault.h"
#include "tests/support/store-memory.h"
#include "tests/support/test-repo.h"

static struct lm_error err;

static int
init (struct lm_store *store, bool encrypted)
{
  struct lm_credentials c = lm_test_credentials ();
  struct lm_init_options options = {
    .encrypted = encrypted, .credentials = &c,
  };
  int r = lm_repository_init (store, &options, &err);

  lm_credentials_release (&c);
  return r;
}

static void
check_usable (struct lm_store *store, bool encrypted)
{
  struct lm_repository *repo = lm_test_repo_open (store);
  size_t n;

  cr_expect (eq (int, lm_repository_encrypted (repo), encrypted));
  cr_expect (eq (u32, lm_repository_chunk_size (repo), 65536));
  lm_repository_snapshots (repo, &n);
  cr_expect (eq (sz, n, 0));
  lm_repository_close (repo);
}

Test (repository, init_open_load)
{
  struct lm_store *plain = lm_test_repo_new (false);
  struct lm_store *sealed = lm_test_repo_new (true);

  check_usable (plain, false);
  check_usable (sealed, true);
  lm_store_close (plain);
  lm_store_close (sealed);
}

Test (repository, works_in_a_directory)
{
  char *path = lm_scratch_path ("repo");
  struct lm_store *store;

  cr_assert (eq (int, lm_store_dir_open (path, true, &store, &err), 0), "%s",
             err.message);
  cr_assert (eq (int, init (store, true), 0), "%s", err.message);
  check_usable (store, true);
  cr_expect (eq (int, init (store, true), -1));
  cr_expect (eq (int, err.kind, LM_ERR_EXISTS));
  lm_store_close (store);
  free (path);
}

Test (repository, an_empty_store_has_no_repository)
{
  struct lm_store *store = lm_store_memory_new ();
  struct lm_open_options options = lm_test_open_options ();

  cr_expect (eq (ptr, lm_repository_open (store, NULL, &options, &err),
                 NULL));
  cr_expect (eq (int, err.kind, LM_ERR_NO_REPOSITORY));
  cr_expect (eq (str, err.message, (char *) "memory: there is no repository"));
  lm_store_close (store);
}

Test (repository, init_wants_a_key_and_a_possible_chunk_size)
{
  struct lm_store *store = lm_store_memory_new ();
  struct lm_credentials none = LM_CREDENTIALS_INIT;
  struct lm_init_options options = {
    .encrypted = true, .credentials = &none,
  };

  cr_expect (eq (int, lm_repository_init (store, &options, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_USAGE));
  options.encrypted = false;
  options.chunk_size = 65537;
  cr_expect (eq (int, lm_repository_init (store, &options, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_USAGE));
  options.chunk_size = 4096;
  cr_expect (eq (int, lm_repository_init (store, &options, &err), 0));
  lm_store_close (store);
}

/* At every step of init: it fails, or stops for good, or its answer is
 * lost.  A second init then makes the repository or says that it is
 * there; and the repository can be used. */
Test (repository, init_can_be_run_again_after_any_failure)
{
  static const enum lm_fault_kind kinds[] = {
    LM_FAULT_FAIL, LM_FAULT_LOST_REPLY,
  };
  uint64_t steps, step;
  size_t k;
  int dead;

  {
    struct lm_store *inner = lm_store_memory_new ();
    struct lm_store *store = lm_store_fault_new (inner);

    cr_assert (eq (int, init (store, true), 0));
    steps = lm_store_fault_steps (store);
    cr_assert (steps >= 6);     /* probe 4, slot, config, record 0 */
    lm_store_close (store);
    lm_store_close (inner);
  }
  for (k = 0; k < 2; k++)
    for (dead = 0; dead < 2; dead++)
      for (step = 1; step <= steps; step++) {
        struct lm_store *inner = lm_store_memory_new ();
        struct lm_store *store = lm_store_fault_new (inner);
        int r;

        lm_store_fault_arm (store, kinds[k], step, dead);
        lm_error_clear (&err);
        if (init (store, true) == -1 && !dead)
          cr_expect (ne (int, err.kind, LM_ERR_EXISTS), "step %d: %s",
                     (int) step, err.message);
        lm_error_clear (&err);
        r = init (inner, true);
        cr_assert (r == 0 || err.kind == LM_ERR_EXISTS, "step %d: %s",
                   (int) step, err.message);
        check_usable (inner, true);
        lm_store_close (store);
        lm_store_close (inner);
      }
}

Test (repository, a_begun_repository_is_finished_only_with_its_own_key)
{
  struct lm_store *inner = lm_store_memory_new ();
  struct lm_store *store = lm_store_fault_new (inner);
  struct lm_credentials other = lm_test_credentials ();
  struct lm_init_options options = {
    .encrypted = true, .credentials = &other,
  };
  struct lm_open_options open = lm_test_open_options ();
  struct lm_repository *repo;

  lm_store_fault_arm (store, LM_FAULT_NONE, 0, false);
  cr_assert (eq (int, init (store, true), 0));
  lm_store_fault_arm (store, LM_FAULT_NONE, 0, false);
  cr_assert (eq (int, lm_store_remove (inner, "journal/0000000000000000",
                                       &err), 0));
  /* Opening what has no journal explains itself. */
  repo = lm_repository_open (store, &other, &open, &err);
  cr_assert_not_null (repo);
  cr_expect (eq (int, lm_repository_load (repo, &err), -1));
  cr_expect (eq (str, err.message,
                 (char *) "the journal is empty: record 0 is missing"));
  cr_expect (strstr (err.hint, "run it again") != NULL);
  lm_repository_close (repo);

  other.key_file[0] = 'x';
  cr_expect (eq (int, lm_repository_init (inner, &options, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_KEY), "%s", err.message);
  other.key_file[0] = 'k';
  options.chunk_size = 4096;
  cr_expect (eq (int, lm_repository_init (inner, &options, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_EXISTS), "%s", err.message);
  options.chunk_size = 0;
  cr_expect (eq (int, lm_repository_init (inner, &options, &err), 0), "%s",
             err.message);
  check_usable (inner, true);
  lm_credentials_release (&other);
  lm_store_close (inner);
}

/* A store whose put_if_absent does not look. */
static char probed[64];

static int
blind_put (struct lm_store *s, const char *name, const struct iovec *iov,
           int iovcnt, struct lm_error *e)
{
  snprintf (probed, sizeof probed, "%s", name);
  return s->ops->put (s, name, iov, iovcnt, e);
}

Test (repository, init_refuses_a_store_that_cannot_decide_a_race)
{
  struct lm_store *store = lm_store_memory_new ();
  struct lm_store_ops ops = *store->ops;
  const struct lm_store_ops *good = store->ops;
  uint64_t size;

  ops.put_if_absent = blind_put;
  store->ops = &ops;
  cr_expect (eq (int, init (store, true), -1));
  cr_expect (eq (int, err.kind, LM_ERR_UNSUPPORTED));
  cr_expect (eq (str, err.message, (char *) "memory: this store lets two "
                 "writers put the same object, so it cannot hold a "
                 "repository"));
  cr_expect (eq (int, strncmp (probed, "tmp-probe-", 10), 0));
  cr_expect (eq (int, lm_store_stat (store, probed, &size, &err), -1));
  cr_expect (eq (int, lm_store_stat (store, "config", &size, &err), -1));
  store->ops = good;
  lm_store_close (store);
}

Test (repository, a_wrong_key_and_no_key_are_told_apart)
{
  struct lm_store *inner = lm_test_repo_new (true);
  struct lm_credentials c = lm_test_credentials ();
  struct lm_open_options options = lm_test_open_options ();

  c.key_file[5] ^= 1;
  cr_expect (eq (ptr, lm_repository_open (inner, &c, &options, &err), NULL));
  cr_expect (eq (int, err.kind, LM_ERR_KEY));
  cr_expect (eq (str, err.message, (char *) "memory: wrong key file: it "
                 "opens none of the key slots"));
  cr_expect (eq (str, err.hint, (char *) "its key slots: 1 key-file"));
  cr_expect (eq (ptr, lm_repository_open (inner, NULL, &options, &err),
                 NULL));
  cr_expect (eq (int, err.kind, LM_ERR_KEY));
  cr_expect (eq (str, err.message, (char *) "memory: the repository is "
                 "encrypted, and neither a passphrase nor a key file was "
                 "given"));
  lm_credentials_release (&c);
  lm_store_close (inner);
}

Test (repository, the_master_key_alone_opens_it)
{
  struct lm_store *inner = lm_test_repo_new (true);
  struct lm_repository *repo = lm_test_repo_open (inner), *again;
  struct lm_credentials c = LM_CREDENTIALS_INIT;
  struct lm_open_options options = lm_test_open_options ();
  int fds[2];

  cr_assert (eq (int, pipe (fds), 0));
  cr_assert (eq (sz, write (fds[1], lm_repository_keys (repo)->master, 32),
                 32));
  close (fds[1]);
  cr_assert (eq (int, lm_credentials_master_fd (&c, fds[0], &err), 0), "%s",
             err.message);
  again = lm_repository_open (lm_store_fault_new (inner), &c, &options,
                              &err);
  cr_assert_not_null (again);
  cr_expect (eq (int, lm_repository_load (again, &err), 0), "%s",
             err.message);
  lm_credentials_release (&c);
  lm_repository_close (again);
  lm_repository_close (repo);
  lm_store_close (inner);
}

Test (repository, open_survives_a_fork)
{
  struct lm_store *inner = lm_test_repo_new (true);
  struct lm_credentials c = lm_test_credentials ();
  struct lm_open_options options = lm_test_open_options ();
  struct lm_repository *repo;
  pid_t pid;
  int status;

  repo = lm_repository_open (lm_store_fault_new (inner), &c, &options, &err);
  cr_assert_not_null (repo);
  pid = fork ();
  if (pid == 0) {
    json_t *changes = json_array ();
    struct lm_lease *lease;
    bool ok = lm_repository_load (repo, &err) == 0;

    lease = ok ? lm_lease_acquire (repo, "backup", 0, &err) : NULL;
    ok = lease != NULL &&
      lm_journal_commit (repo, lease, "test", changes, &err) == 0;
    lm_lease_release (lease);
    _exit (ok ? 0 : 1);
  }
  cr_assert (eq (int, waitpid (pid, &status, 0), pid));
  cr_expect (eq (int, status, 0));
  lm_credentials_release (&c);
  lm_repository_close (repo);
  lm_store_close (inner);
}

Test (repository, a_relative_folder_stays_right_after_chdir)
{
  struct lm_store *inner = lm_test_repo_new (false);
  struct lm_open_options options = {
    .cache_dir = "rel-cache", .state_dir = "rel-state",
  };
  struct lm_repository *repo;
  const char *dir = lm_scratch_dir ();
  char *path = lm_scratch_path ("rel-state");

  cr_assert (eq (int, chdir (dir), 0));
  repo = lm_repository_open (lm_store_fault_new (inner), NULL, &options,
                             &err);
  cr_assert_not_null (repo);
  cr_assert (eq (int, chdir ("/"), 0));
  cr_expect (eq (int, lm_repository_load (repo, &err), 0), "%s",
             err.message);
  cr_expect (eq (int, access (path, F_OK), 0));
  lm_repository_close (repo);
  lm_store_close (inner);
  free (path);
}

Test (repository, another_config_is_noticed)
{
  struct lm_store *inner = lm_test_repo_new (true);
  struct lm_credentials c = lm_test_credentials ();
  struct lm_open_options options = lm_test_open_options ();
  struct lm_repository *repo;
  size_t len;
  char *data = (char *) lm_store_memory_data (inner, "config", &len);
  char *at = memmem (data, len, "65536", 5);

  cr_assert_not_null (at);
  memcpy (at, "32768", 5);
  repo = lm_repository_open (lm_store_fault_new (inner), &c, &options, &err);
  cr_assert_not_null (repo);
  cr_expect (eq (int, lm_repository_load (repo, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_CORRUPT));
  cr_expect (strstr (err.message, "config is not the one that the journal "
                     "began with") != NULL, "%s", err.message);
  lm_credentials_release (&c);
  lm_repository_close (repo);
  lm_store_close (inner);
}

Test (repository, reading_only_refuses_to_change)
{
  struct lm_store *inner = lm_test_repo_new (false);
  struct lm_open_options options = lm_test_open_options ();
  json_t *changes = json_array ();
  struct lm_repository *repo;

  options.read_only = true;
  repo = lm_repository_open (lm_store_fault_new (inner), NULL, &options,
                             &err);
  cr_assert_not_null (repo);
  cr_assert (eq (int, lm_repository_load (repo, &err), 0));
  cr_expect (eq (int, lm_journal_commit (repo, NULL, "test", changes, &err),
                 -1));
  cr_expect (eq (int, err.kind, LM_ERR_USAGE));
  cr_expect (eq (ptr, lm_lease_acquire (repo, "backup", 0, &err), NULL));
  cr_expect (eq (int, err.kind, LM_ERR_USAGE));
  json_decref (changes);
  lm_repository_close (repo);
  lm_store_close (inner);
}

Test (repository, one_that_claims_not_to_be_encrypted_takes_no_key)
{
  struct lm_store *plain = lm_test_repo_new (false);
  struct lm_credentials c = lm_test_credentials ();
  struct lm_open_options options = lm_test_open_options ();
  struct lm_error e = LM_ERROR_INIT;

  cr_expect (eq (ptr, lm_repository_open (plain, &c, &options, &e), NULL));
  cr_expect (eq (int, e.kind, LM_ERR_KEY));
  cr_expect (ne (ptr, strstr (e.message, "says that it is not encrypted"),
                 NULL));
  lm_credentials_release (&c);
  lm_store_close (plain);
}
