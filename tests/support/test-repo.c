/* SPDX-License-Identifier: Apache-2.0
 * Small repositories for tests; see test-repo.h.
 */
#include <config.h>

#include "tests/support/test-repo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/random.h"
#include "tests/support/scratch.h"
#include "tests/support/store-fault.h"
#include "tests/support/store-memory.h"

#define KEY_LEN 64

static void
must (bool ok, const char *what, const struct lm_error *err)
{
  if (!ok) {
    fprintf (stderr, "test-repo: %s: %s\n", what, err->message);
    abort ();
  }
}

struct lm_credentials
lm_test_credentials (void)
{
  struct lm_credentials c = LM_CREDENTIALS_INIT;
  struct lm_error err = LM_ERROR_INIT;

  c.key_file = malloc (KEY_LEN);
  must (c.key_file != NULL, "malloc", &err);
  memset (c.key_file, 'k', KEY_LEN);
  c.key_file_len = KEY_LEN;
  return c;
}

struct lm_store *
lm_test_repo_new (bool encrypted)
{
  struct lm_store *store = lm_store_memory_new ();
  struct lm_credentials c = lm_test_credentials ();
  struct lm_init_options options = {
    .encrypted = encrypted, .credentials = &c,
  };
  struct lm_error err = LM_ERROR_INIT;

  must (lm_repository_init (store, &options, &err) == 0, "init", &err);
  lm_credentials_release (&c);
  return store;
}

struct lm_open_options
lm_test_open_options (void)
{
  static char *cache, *state;

  if (cache == NULL) {
    cache = lm_scratch_path ("cache");
    state = lm_scratch_path ("state");
  }
  return (struct lm_open_options) { .cache_dir = cache, .state_dir = state };
}

struct lm_repository *
lm_test_repo_open (struct lm_store *inner)
{
  struct lm_store *store = lm_store_fault_new (inner);
  struct lm_credentials c = lm_test_credentials ();
  struct lm_open_options options = lm_test_open_options ();
  struct lm_error err = LM_ERROR_INIT;
  struct lm_repository *repo;

  repo = lm_repository_open (store, &c, &options, &err);
  if (repo == NULL && err.kind == LM_ERR_KEY) {
    /* One without encryption takes no key. */
    lm_error_clear (&err);
    repo = lm_repository_open (store, NULL, &options, &err);
  }
  must (repo != NULL, "open", &err);
  lm_credentials_release (&c);
  must (lm_repository_load (repo, &err) == 0, "load", &err);
  return repo;
}

struct lm_snapshot_entry
lm_test_entry (const char *vm, int64_t time)
{
  struct lm_snapshot_entry e = { .vm = (char *) vm, .time = time };

  lm_random_bytes (e.id, sizeof e.id);
  lm_random_bytes (e.manifest_sha256, sizeof e.manifest_sha256);
  return e;
}
