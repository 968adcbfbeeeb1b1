/* SPDX-License-Identifier: Apache-2.0
 *
 * The power fails at each step of init and of some backups into a
 * directory store: what was acknowledged is there, what is there is
 * whole, and work goes on.
 *
 * The client's own folders are on the disk that forgets, too.  LM_TEST_LONG
 * tries more of what could be left.
 */
#include <config.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
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

#define SIZE_MAX_TESTED 300000
#define BACKUPS_MAX 36

static struct lm_error err;
static size_t size, backups;
static uint8_t *data[BACKUPS_MAX];
/* After so many steps these were acknowledged. */
static size_t init_done, backup_done[BACKUPS_MAX];

static int
backup (struct lm_repository *repo, const uint8_t *bytes)
{
  struct memory_disk *source = memory_disk_new (bytes, size, 4096);
  struct lm_backup_result result;
  int r = test_backup (repo, &source->disk, &result, &err);

  lm_disk_close (&source->disk);
  return r;
}

static void
expect_clean (struct lm_repository *repo, const char *when)
{
  struct lm_check_params params = { .read_data = true };
  struct lm_check_result result;

  cr_assert (eq (int, lm_check_run (repo, &params, &result, &err), 0),
             "%s: %s", when, err.message);
  cr_assert (eq (u64, result.damaged, 0), "%s", when);
}

static void
expect_snapshot (struct lm_repository *repo, size_t nr, const char *when)
{
  const struct lm_snapshot_entry *e;
  CLEANUP_FREE uint8_t *back = malloc (size);
  struct lm_snapshot *s;
  struct lm_disk *disk;
  size_t n;

  e = lm_repository_snapshots (repo, &n) + nr;
  s = lm_snapshot_open (repo, e, &err);
  cr_assert (ne (ptr, s, NULL), "%s: %s", when, err.message);
  disk = lm_snapshot_disk_open (repo, s->disks[0].size, s->disks[0].root,
                                "disk", &err);
  cr_assert (ne (ptr, disk, NULL), "%s: %s", when, err.message);
  cr_assert (eq (int, lm_disk_pread (disk, back, size, 0, &err), 0),
             "%s: %s", when, err.message);
  cr_assert (eq (int, memcmp (back, data[nr], size), 0), "%s", when);
  lm_disk_close (disk);
  lm_snapshot_free (s);
}

/* What a client finds after the power came back. */
static void
expect_all_is_well (const char *disk, size_t step, bool go_on,
                    const char *when)
{
  struct lm_repository *repo = test_directory_open (disk, &err);
  size_t n, i;

  if (repo == NULL) {
    cr_assert (lt (sz, step, init_done), "%s: %s", when, err.message);
    lm_error_clear (&err);
    cr_assert (eq (int, test_directory_init (disk, &err), 0), "%s: %s",
               when, err.message);
    repo = test_directory_open (disk, &err);
    cr_assert (ne (ptr, repo, NULL), "%s: %s", when, err.message);
  }
  lm_repository_snapshots (repo, &n);
  for (i = 0; i < backups; i++)
    if (step >= backup_done[i])
      cr_assert (lt (sz, i, n), "%s: snapshot %zu is lost", when, i);
  for (i = 0; i < n; i++)
    expect_snapshot (repo, i, when);
  expect_clean (repo, when);
  if (go_on) {
    cr_assert (eq (int, backup (repo, data[n % backups]), 0), "%s: %s",
               when, err.message);
    expect_clean (repo, when);
  }
  lm_repository_close (repo);
}

/* Take notes of init and of backups by two processes. */
static void
record (const char *disk)
{
  struct lm_repository *repo;
  size_t i;

  for (i = 0; i < backups; i++) {
    data[i] = malloc (size);
    if (i == 0)
      lm_random_bytes (data[i], size);
    else {
      memcpy (data[i], data[i - 1], size);
      lm_random_bytes (data[i] + size / 8 * (i % 8), size / 10);
    }
  }
  io_crash_start (disk);
  cr_assert (eq (int, test_directory_init (disk, &err), 0), "%s", err.message);
  init_done = io_crash_steps ();
  repo = test_directory_open (disk, &err);
  cr_assert (ne (ptr, repo, NULL), "%s", err.message);
  for (i = 0; i < backups; i++) {
    if (i == 2) {
      lm_repository_close (repo);
      repo = test_directory_open (disk, &err);
      cr_assert (ne (ptr, repo, NULL), "%s", err.message);
    }
    cr_assert (eq (int, backup (repo, data[i]), 0), "%s", err.message);
    backup_done[i] = io_crash_steps ();
  }
  lm_repository_close (repo);
  io_crash_stop ();
}

/* See what is left of DISK after each step from step FROM on. */
static void
try_all (size_t from, unsigned seeds)
{
  CLEANUP_FREE char *after = lm_scratch_path ("after");
  size_t step, steps = io_crash_steps ();
  unsigned seed, tried = 0;
  enum io_loss loss;

  for (step = from; step <= steps; step++)
    for (loss = IO_LOSE_UNSYNCED; loss <= IO_LOSE_NOTHING; loss++)
      for (seed = 0; seed < (loss == IO_LOSE_SOME ? seeds : 1); seed++) {
        char when[64];

        if (!io_crash_make (step, loss, step * 100 + seed, after))
          continue;
        snprintf (when, sizeof when, "step %zu of %zu, loss %d, seed %u",
                  step, steps, loss, seed);
        expect_all_is_well (after, step, tried++ % 4 == 0, when);
        lm_scratch_remove_tree (after);
      }
  cr_assert (lt (u32, 50, tried));
}

Test (power_loss, nothing_acknowledged_is_lost,
      .init = lm_scratch_in_memory,
      .timeout = 900)
{
  CLEANUP_FREE char *disk = lm_scratch_path ("disk");

  size = SIZE_MAX_TESTED;
  backups = 3;
  cr_assert (eq (int, mkdir (disk, 0700), 0));
  record (disk);
  cr_assert (lt (sz, 100, io_crash_steps ()));
  try_all (0, getenv ("LM_TEST_LONG") ? 20 : 3);
  io_crash_release ();
}

/* Segments are merged, a checkpoint is written. */
Test (power_loss, nothing_is_lost_around_a_checkpoint,
      .init = lm_scratch_in_memory,
      .timeout = 900)
{
  CLEANUP_FREE char *disk = lm_scratch_path ("disk");

  size = 40000;
  backups = 34;
  cr_assert (eq (int, mkdir (disk, 0700), 0));
  record (disk);
  try_all (backup_done[getenv ("LM_TEST_LONG") ? 5 : 29],
           getenv ("LM_TEST_LONG") ? 5 : 1);
  io_crash_release ();
}
