/* SPDX-License-Identifier: Apache-2.0
 *
 * A repository in memory for tests: made once, opened as often as wanted,
 * with faults between it and its store.
 */
#ifndef LM_TESTS_SUPPORT_TEST_REPOSITORY_H
#define LM_TESTS_SUPPORT_TEST_REPOSITORY_H

#include <stdbool.h>
#include <stdint.h>

#include "formats/disk.h"
#include "formats/native/backup.h"
#include "formats/native/repository.h"

struct test_repository {
  struct lm_store *memory;      /* the objects */
  bool encrypted;
  uint32_t chunk_size;
};

/* Aborts when it can't be made. */
extern void test_repository_make (struct test_repository *t, bool encrypted,
                                  uint32_t chunk_size);
extern void test_repository_release (struct test_repository *t);

/* Open and load through STORE (NULL: the memory store itself), which is
 * closed with the repository.  NULL with *err on failure. */
extern struct lm_repository *
test_repository_open (struct test_repository *t, struct lm_store *store,
                      struct lm_error *err);

/* What opens an encrypted one; to be released. */
extern void test_repository_credentials (struct lm_credentials *c);

/* The same in a directory store, for tests of the file system below it:
 * the repository in DISK/repo, with chunks of 4 KiB and encrypted, the
 * client's own folders in DISK/cache and DISK/state. */
extern int test_directory_init (const char *disk, struct lm_error *err);
extern struct lm_repository *test_directory_open (const char *disk,
                                                  struct lm_error *err);

/* Back up one disk of a VM called "vm". */
extern int test_backup (struct lm_repository *repo, struct lm_disk *disk,
                        struct lm_backup_result *ret_result,
                        struct lm_error *err);

/* The only disk of a snapshot ("vm/latest"), to read. */
extern struct lm_disk *test_snapshot_disk (struct lm_repository *repo,
                                           const char *name,
                                           struct lm_error *err);

#endif
