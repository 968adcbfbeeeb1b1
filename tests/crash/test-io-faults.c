/* SPDX-License-Identifier: Apache-2.0
 *
 * Each system call of an init, a backup and a read fails once: the answer
 * is an error or the truth, and the repository is fine afterwards.
 *
 * The truth about an acknowledged backup is that it survives the power
 * cut that comes next; so the disk that forgets is asked, too.
 */
#include <config.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/random.h"
#include "formats/native/check.h"
#include "tests/support/io-crash.h"
#include "tests/support/memory-disk.h"
#include "tests/support/scratch.h"
#include "tests/support/test-repository.h"

#define SIZE 60000

static struct lm_error err;
static uint8_t data[2][SIZE];

static int
backup (struct lm_repository *repo, const uint8_t *bytes)
{
  struct memory_disk *source = memory_disk_new (bytes, SIZE, 4096);
  struct lm_backup_result result;
  int r = test_backup (repo, &source->disk, &result, &err);

  lm_disk_close (&source->disk);
  return r;
}

static int
read_newest (struct lm_repository *repo, uint8_t *back)
{
  struct lm_disk *disk = test_snapshot_disk (repo, "vm", &err);
  int r;

  if (disk == NULL)
    return -1;
  memset (back, 0, SIZE);
  r = lm_disk_pread (disk, back, SIZE, 0, &err);
  lm_disk_close (disk);
  return r;
}

/* A backup with bytes of its own, so that it writes something. */
static int
open_and_backup (const char *disk, unsigned nr)
{
  struct lm_repository *repo = test_directory_open (disk, &err);
  int r;

  if (repo == NULL)
    return -1;
  memcpy (data[1], data[0], SIZE);
  memcpy (data[1], &nr, sizeof nr);
  r = backup (repo, data[1]);
  lm_repository_close (repo);
  return r;
}

/* Without faults: FIRST or FIRST + 1 snapshots, the newest of which is
 * data[1] if it is new; everything reads, and another backup works. */
static void
expect_all_is_well (const char *disk, size_t first, bool acknowledged,
                    const char *when)
{
  struct lm_check_params params = { .read_data = true };
  struct lm_check_result result;
  struct lm_repository *repo;
  uint8_t back[SIZE];
  size_t n;

  lm_error_clear (&err);
  repo = test_directory_open (disk, &err);
  cr_assert (ne (ptr, repo, NULL), "%s: %s", when, err.message);
  lm_repository_snapshots (repo, &n);
  cr_assert (n == first || n == first + 1, "%s: %zu snapshots", when, n);
  if (acknowledged)
    cr_assert (eq (sz, n, first + 1), "%s: it is not there", when);
  cr_assert (eq (int, lm_check_run (repo, &params, &result, &err), 0),
             "%s: %s", when, err.message);
  cr_assert (eq (u64, result.damaged, 0), "%s", when);
  if (n > first) {
    cr_assert (eq (int, read_newest (repo, back), 0), "%s: %s", when,
               err.message);
    cr_assert (eq (int, memcmp (back, data[1], SIZE), 0), "%s", when);
  }
  cr_assert (eq (int, backup (repo, data[0]), 0), "%s: %s", when,
             err.message);
  lm_repository_close (repo);
}

static void
describe (char *when, size_t size, size_t call, int errnum)
{
  snprintf (when, size, "call %zu (%s) with %s", call,
            io_crash_failed () ? : "none", errnum ? strerrorname_np (errnum)
            : "half of it");
}

static void
fail_backups (int errnum)
{
  CLEANUP_FREE char *disk = lm_scratch_path ("disk");
  CLEANUP_FREE char *after = lm_scratch_path ("after");
  struct lm_repository *repo;
  bool reached = true;
  size_t call, n;
  char when[80];

  lm_random_bytes (data[0], SIZE);
  for (call = 1; reached; call++) {
    int r;

    /* The whole life of a repository, so that the log has it. */
    cr_assert (eq (int, mkdir (disk, 0700), 0));
    io_crash_start (disk);
    cr_assert (eq (int, test_directory_init (disk, &err), 0));
    repo = test_directory_open (disk, &err);
    cr_assert (ne (ptr, repo, NULL), "%s", err.message);
    cr_assert (eq (int, backup (repo, data[0]), 0), "%s", err.message);
    lm_repository_snapshots (repo, &n);
    lm_repository_close (repo);

    lm_error_clear (&err);
    io_crash_fail (call, errnum);
    r = open_and_backup (disk, call);
    reached = io_crash_failed () != NULL;
    describe (when, sizeof when, call, errnum);
    io_crash_fail (0, 0);
    io_crash_stop ();
    if (r == -1) {
      cr_assert (err.kind != LM_ERR_NONE && err.message[0], "%s", when);
      cr_assert (reached, "%s: %s", when, err.message);
    }
    else if (io_crash_make (io_crash_steps (), IO_LOSE_UNSYNCED, 0,
                            after)) {
      expect_all_is_well (after, n, true, when);
      lm_scratch_remove_tree (after);
    }
    expect_all_is_well (disk, n, r == 0, when);
    lm_scratch_remove_tree (disk);
  }
  /* Lease, pack, segment, manifest, record and their folders. */
  cr_assert (lt (sz, 60, call));
  io_crash_release ();
}

Test (io_faults, a_backup_copes_with_eio_anywhere,
      .init = lm_scratch_in_memory, .timeout = 300)
{
  fail_backups (EIO);
}

Test (io_faults, a_backup_copes_with_a_full_disk_anywhere,
      .init = lm_scratch_in_memory, .timeout = 300)
{
  fail_backups (ENOSPC);
}

Test (io_faults, a_backup_copes_with_short_reads_and_writes,
      .init = lm_scratch_in_memory, .timeout = 300)
{
  fail_backups (0);
}

/* What init made in part is finished, or refused with a reason, by the
 * next init; a repository that answers is whole. */
static void
fail_init (int errnum)
{
  CLEANUP_FREE char *disk = lm_scratch_path ("disk");
  CLEANUP_FREE char *after = lm_scratch_path ("after");
  struct lm_repository *repo;
  bool reached = true;
  char when[80];
  size_t call;

  for (call = 1; reached; call++) {
    int r;

    cr_assert (eq (int, mkdir (disk, 0700), 0));
    io_crash_start (disk);
    lm_error_clear (&err);
    io_crash_fail (call, errnum);
    r = test_directory_init (disk, &err);
    reached = io_crash_failed () != NULL;
    describe (when, sizeof when, call, errnum);
    io_crash_fail (0, 0);
    io_crash_stop ();
    if (r == -1)
      cr_assert (err.kind != LM_ERR_NONE && reached, "%s: %s", when,
                 err.message);
    else if (io_crash_make (io_crash_steps (), IO_LOSE_UNSYNCED, 0,
                            after)) {
      repo = test_directory_open (after, &err);
      cr_assert (ne (ptr, repo, NULL), "%s: %s", when, err.message);
      lm_repository_close (repo);
      lm_scratch_remove_tree (after);
    }
    repo = test_directory_open (disk, &err);
    if (repo == NULL) {
      cr_assert (eq (int, r, -1), "%s: %s", when, err.message);
      lm_error_clear (&err);
      cr_assert (eq (int, test_directory_init (disk, &err), 0), "%s: %s",
                 when, err.message);
      repo = test_directory_open (disk, &err);
    }
    cr_assert (ne (ptr, repo, NULL), "%s: %s", when, err.message);
    lm_repository_close (repo);
    lm_scratch_remove_tree (disk);
  }
  cr_assert (lt (sz, 30, call));
  io_crash_release ();
}

Test (io_faults, an_init_copes_with_eio_anywhere,
      .init = lm_scratch_in_memory, .timeout = 300)
{
  fail_init (EIO);
}

Test (io_faults, an_init_copes_with_a_full_disk_anywhere,
      .init = lm_scratch_in_memory, .timeout = 300)
{
  fail_init (ENOSPC);
}

/* With and without an index in the cache. */
static void
fail_reads (int errnum, bool cached)
{
  CLEANUP_FREE char *disk = lm_scratch_path ("disk");
  CLEANUP_FREE char *cache = lm_scratch_path ("disk/cache");
  struct lm_repository *repo;
  uint8_t back[SIZE];
  bool reached = true;
  char when[80];
  size_t call;

  lm_random_bytes (data[0], SIZE);
  cr_assert (eq (int, mkdir (disk, 0700), 0));
  cr_assert (eq (int, test_directory_init (disk, &err), 0));
  cr_assert (eq (int, open_and_backup (disk, 0), 0), "%s", err.message);
  io_crash_start (disk);
  for (call = 1; reached; call++) {
    int r = -1;

    if (!cached)
      lm_scratch_remove_tree (cache);
    lm_error_clear (&err);
    io_crash_fail (call, errnum);
    repo = test_directory_open (disk, &err);
    if (repo) {
      r = read_newest (repo, back);
      lm_repository_close (repo);
    }
    reached = io_crash_failed () != NULL;
    describe (when, sizeof when, call, errnum);
    io_crash_fail (0, 0);
    if (r == 0)
      cr_assert (eq (int, memcmp (back, data[1], SIZE), 0), "%s", when);
    else
      cr_assert (err.kind != LM_ERR_NONE && reached, "%s: %s", when,
                 err.message);
  }
  cr_assert (lt (sz, 10, call));
  io_crash_stop ();
  io_crash_release ();
}

Test (io_faults, a_read_gives_an_error_or_the_right_bytes,
      .init = lm_scratch_in_memory, .timeout = 300)
{
  fail_reads (EIO, false);
  lm_scratch_remove ();
  fail_reads (EIO, true);
  lm_scratch_remove ();
  fail_reads (0, false);
}
