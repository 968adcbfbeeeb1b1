/* SPDX-License-Identifier: Apache-2.0
 *
 * Small repositories for tests: made in memory, opened any number of
 * times over one store.  Every failure is a failed assertion.
 */
#ifndef LM_TESTS_SUPPORT_TEST_REPO_H
#define LM_TESTS_SUPPORT_TEST_REPO_H

#include <stdbool.h>

#include "formats/native/repository.h"
#include "formats/store.h"

/* A key file's content, the same in all tests. */
extern struct lm_credentials lm_test_credentials (void);

/* An initialised repository in a new memory store, to be closed with
 * lm_store_close after everything opened on it. */
extern struct lm_store *lm_test_repo_new (bool encrypted)
  __attribute__ ((returns_nonnull, warn_unused_result));

/* Open and load it.  INNER stays the caller's.  Memory and cache are in
 * the scratch folder, shared by all handles of a test. */
extern struct lm_repository *lm_test_repo_open (struct lm_store *inner)
  __attribute__ ((nonnull, returns_nonnull, warn_unused_result));

/* The options that it uses. */
extern struct lm_open_options lm_test_open_options (void);

/* A snapshot entry of VM at TIME with a random
 * id; vm is borrowed. */
extern struct lm_snapshot_entry lm_test_entry (const char *vm, int64_t time);

#endif
