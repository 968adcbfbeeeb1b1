/* SPDX-License-Identifier: Apache-2.0
 * Copying and comparing disks over several threads.
 */
#include <config.h>

#include "mount/restore-disk.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "tests/support/memory-disk.h"
#include "tests/support/scratch.h"
#include "tests/support/store-memory.h"
#include "tests/support/test-repository.h"

#define MIB (UINT64_C (1) << 20)
#define SIZE (19 * MIB + 777)   /* several pieces, and no multiple */

/* A target in memory that sees whether each byte is written once. */
struct memory_target {
  struct lm_target target;
  uint8_t *data;
  uint8_t *times;               /* how often each 4 KiB was covered */
  uint64_t zeroed;
  uint64_t full_at;             /* no space from here on; 0: enough */
};

static int
target_pwrite (struct lm_target *t, const void *buf, size_t len,
               uint64_t offset, struct lm_error *err)
{
  struct memory_target *m = (struct memory_target *) t;
  uint64_t i;

  if (m->full_at && offset + len > m->full_at)
    return lm_error_set (err, LM_ERR_NO_SPACE, "no space left");
  memcpy (m->data + offset, buf, len);
  for (i = offset / 4096; i <= (offset + len - 1) / 4096; i++)
    __atomic_add_fetch (&m->times[i], 1, __ATOMIC_RELAXED);
  return 0;
}

static int
target_zero (struct lm_target *t, uint64_t offset, uint64_t len,
             struct lm_error *err)
{
  struct memory_target *m = (struct memory_target *) t;
  uint64_t i;

  (void) err;
  memset (m->data + offset, 0, len);
  __atomic_add_fetch (&m->zeroed, len, __ATOMIC_RELAXED);
  for (i = offset / 4096; i <= (offset + len - 1) / 4096; i++)
    __atomic_add_fetch (&m->times[i], 1, __ATOMIC_RELAXED);
  return 0;
}

static const struct lm_target_ops target_ops = {
  .name = "memory", .pwrite = target_pwrite, .zero = target_zero,
};

static struct memory_target target;
static struct memory_disk *from;
static struct lm_copy_progress done, last;
static struct lm_error err;
static volatile sig_atomic_t cancel;

static void
on_progress (void *opaque, const struct lm_copy_progress *p)
{
  (void) opaque;
  last = *p;
  if (cancel == -1 && p->data > 4 * MIB)
    cancel = 1;
}

static struct lm_copy_params params = {
  .threads = 4, .progress = on_progress, .cancel = &cancel,
};

static void
set_up (void)
{
  from = memory_disk_new (NULL, SIZE, 65536);
  cr_assert_not_null (from);
  from->zero_offset = 5 * MIB;
  from->zero_len = 7 * MIB;
  target = (struct memory_target) {
    .target = { &target_ops, SIZE },
    .data = malloc (SIZE), .times = calloc (SIZE / 4096 + 1, 1),
  };
  memset (target.data, 0xee, SIZE);
}

/* ---- damage ---- */

#define RANGES_MAX 32

static struct { uint64_t offset, len; } ranges[RANGES_MAX];
static size_t nr_ranges;

static void
on_damaged (void *opaque, uint64_t offset, uint64_t len)
{
  (void) opaque;
  cr_assert (lt (sz, nr_ranges, RANGES_MAX));
  ranges[nr_ranges].offset = offset;
  ranges[nr_ranges++].len = len;
}

/* Whatever is listed is zeros, everything else as in DISK, all of it
 * written once. */
static void
expect_all_else (struct lm_disk *disk)
{
  CLEANUP_FREE uint8_t *expected = calloc (disk->size, 1);
  uint64_t at, sum = 0;
  size_t i;

  for (i = 0; i < nr_ranges; i++) {
    sum += ranges[i].len;
    if (i > 0)
      cr_assert (lt (u64, ranges[i - 1].offset + ranges[i - 1].len,
                     ranges[i].offset));
  }
  for (at = 0, i = 0; at < disk->size;) {
    uint64_t len = lm_min_u64 (4096, disk->size - at);

    while (i < nr_ranges && ranges[i].offset + ranges[i].len <= at)
      i++;
    if (i == nr_ranges || at < ranges[i].offset)
      cr_assert (eq (int, lm_disk_pread (disk, expected + at, len, at, &err),
                     0), "%s", err.message);
    at += len;
  }
  cr_expect (memcmp (expected, target.data, disk->size) == 0);
  for (at = 0; at < disk->size; at += 4096)
    cr_assert (eq (int, target.times[at / 4096], 1), "0x%x", (int) at);
  cr_expect (eq (u64, done.damaged, sum));
  cr_expect (eq (u64, done.damaged + done.data + done.zero, disk->size));
}

static void
tear_down (void)
{
  lm_disk_close (&from->disk);
  free (target.data);
  free (target.times);
}

TestSuite (restore_disk, .init = set_up, .fini = tear_down, .timeout = 60);

Test (restore_disk, every_byte_is_covered_once_and_right)
{
  CLEANUP_FREE uint8_t *expected = malloc (SIZE);
  uint64_t i;

  cr_assert (eq (int, lm_copy_disk (&from->disk, &target.target, &params,
                                    &done, &err), 0), "%s", err.message);
  cr_assert (eq (int, lm_disk_pread (&from->disk, expected, SIZE, 0, &err),
                 0));
  cr_expect (memcmp (expected, target.data, SIZE) == 0);
  for (i = 0; i < SIZE / 4096 + 1; i++)
    cr_assert (eq (int, target.times[i], 1), "block %d", (int) i);
  cr_expect (eq (u64, done.data, SIZE - 7 * MIB));
  cr_expect (eq (u64, done.zero, 7 * MIB));
  cr_expect (eq (u64, target.zeroed, 7 * MIB));
  cr_expect (eq (u64, last.data + last.zero, SIZE));
}

Test (restore_disk, what_can_not_be_read_ends_it)
{
  from->bad_offset = 15 * MIB;
  from->bad_len = 1;
  cr_assert (eq (int, lm_copy_disk (&from->disk, &target.target, &params,
                                    &done, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_CORRUPT));
  cr_expect (eq (str, err.hint, (char *) "--skip-damaged restores all but "
                 "what can't be read, and lists that"));
}

Test (restore_disk, damaged_chunks_are_skipped_and_nothing_else)
{
  static const struct { uint64_t bad, len, first, end; } cases[] = {
    { 15 * MIB + 70000, 1, 15 * MIB + 65536, 15 * MIB + 131072 },
    { 0, 1, 0, 65536 },
    { 0, 5 * MIB, 0, 5 * MIB },
    /* Over the border of two pieces, and the last chunk, which is short. */
    { 14 * MIB - 1, 3 * MIB, 14 * MIB - 65536, 17 * MIB },
    { SIZE - 1, 1, 19 * MIB, SIZE },
    { 0, SIZE, 0, 0 },
  };
  size_t i;

  params.damaged = on_damaged;
  for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    from->bad_offset = cases[i].bad;
    from->bad_len = cases[i].len;
    from->bad_errno = i % 2 ? EIO : 0;
    nr_ranges = 0;
    memset (target.data, 0xee, SIZE);
    memset (target.times, 0, SIZE / 4096 + 1);
    cr_assert (eq (int, lm_copy_disk (&from->disk, &target.target, &params,
                                      &done, &err), 0), "%s", err.message);
    from->bad_len = 0;
    expect_all_else (&from->disk);
    if (cases[i].end > 0) {
      cr_assert (eq (sz, nr_ranges, 1));
      cr_expect (eq (u64, ranges[0].offset, cases[i].first));
      cr_expect (eq (u64, ranges[0].len, cases[i].end - cases[i].first));
    }
    else {
      /* All but a piece that is known to be zeros. */
      cr_assert (eq (sz, nr_ranges, 2));
      cr_expect (eq (u64, ranges[0].len, 8 * MIB));
      cr_expect (eq (u64, ranges[1].offset, 12 * MIB));
    }
  }
}

Test (restore_disk, only_damage_is_skipped)
{
  params.damaged = on_damaged;
  from->bad_offset = 15 * MIB;
  from->bad_len = 1;
  from->bad_errno = EACCES;
  cr_assert (eq (int, lm_copy_disk (&from->disk, &target.target, &params,
                                    &done, &err), -1));
  cr_expect (eq (sz, nr_ranges, 0));
  cr_expect (eq (str, err.hint, (char *) ""));
  /* A target that fails where there is damage, too. */
  from->bad_errno = 0;
  target.full_at = 15 * MIB + 1;
  cr_assert (eq (int, lm_copy_disk (&from->disk, &target.target, &params,
                                    &done, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_NO_SPACE));
}

Test (restore_disk, what_was_skipped_must_be_zeros_to_compare_equal)
{
  CLEANUP_FREE uint8_t *data = malloc (SIZE);
  struct memory_disk *other;

  cr_assert (eq (int, lm_disk_pread (&from->disk, data, SIZE, 0, &err), 0));
  memset (data + 15 * MIB, 0, 65536);
  other = memory_disk_new (data, SIZE, 4096);
  from->bad_offset = 15 * MIB + 7;
  from->bad_len = 1;
  params.damaged = on_damaged;
  cr_expect (eq (int, lm_compare_disks (&from->disk, &other->disk, &params,
                                        &done, &err), 0), "%s", err.message);
  cr_expect (eq (u64, done.damaged, 65536));
  other->data[15 * MIB + 9] = 1;
  cr_expect (eq (int, lm_compare_disks (&from->disk, &other->disk, &params,
                                        &done, &err), -1));
  cr_expect (eq (str, err.message,
                 (char *) "the target differs at 0xf00009"));
  cr_expect (eq (str, err.hint, (char *) ""));
  lm_disk_close (&other->disk);
}

static char pack[LM_STORE_NAME_MAX + 1];

static int
note_pack (void *opaque, const char *name, uint64_t size, struct lm_error *e)
{
  (void) opaque;
  (void) size;
  (void) e;
  snprintf (pack, sizeof pack, "%s", name);
  return 0;
}

Test (restore_disk, of_a_damaged_pack_all_that_authenticates_is_restored)
{
  struct test_repository t;
  struct lm_backup_result result;
  struct lm_repository *repo;
  struct lm_disk *disk;
  uint8_t *bytes;
  size_t len, i, some = 0;

  lm_scratch_in_memory ();
  test_repository_make (&t, true, 4096);
  repo = test_repository_open (&t, NULL, &err);
  from->disk.size = 6 * MIB;    /* three leaves below a root, and a hole */
  target.target.size = 6 * MIB;
  cr_assert (eq (int, test_backup (repo, &from->disk, &result, &err), 0),
             "%s", err.message);
  cr_assert (eq (int, lm_store_list (t.memory, "packs", note_pack, NULL,
                                     &err), 0));
  bytes = lm_store_memory_data (t.memory, pack, &len);
  params.damaged = on_damaged;
  for (i = 0; i < 60; i++) {
    /* Of the map nodes, which come last, each. */
    size_t at = i < 30 ? len * i / 30 : len - (60 - i) * 1500;

    bytes[at] ^= 0x10;
    nr_ranges = 0;
    memset (target.data, 0xee, SIZE);
    memset (target.times, 0, SIZE / 4096 + 1);
    /* Opened anew: nothing of the map is remembered. */
    disk = test_snapshot_disk (repo, "vm", &err);
    cr_assert (ne (ptr, disk, NULL), "%s", err.message);
    cr_assert (eq (int, lm_copy_disk (disk, &target.target, &params, &done,
                                      &err), 0), "%s", err.message);
    lm_disk_close (disk);
    some += nr_ranges;
    from->bad_len = 0;
    expect_all_else (&from->disk);
    bytes[at] ^= 0x10;
  }
  cr_expect (lt (sz, 20, some));
  lm_repository_close (repo);
  test_repository_release (&t);
}

Test (restore_disk, a_full_target_ends_it)
{
  target.full_at = 14 * MIB;
  cr_assert (eq (int, lm_copy_disk (&from->disk, &target.target, &params,
                                    &done, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_NO_SPACE));
}

Test (restore_disk, it_can_be_cancelled)
{
  cancel = -1;
  from->delay_us = 2000;
  params.threads = 1;
  cr_assert (eq (int, lm_copy_disk (&from->disk, &target.target, &params,
                                    &done, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_INTERRUPTED));
  cr_expect (last.data + last.zero < SIZE);
}

Test (restore_disk, an_empty_disk_is_done_at_once)
{
  struct memory_disk *empty = memory_disk_new (NULL, 0, 65536);

  cr_assert (eq (int, lm_copy_disk (&empty->disk, &target.target, &params,
                                    &done, &err), 0));
  cr_expect (eq (u64, done.data, 0));
  lm_disk_close (&empty->disk);
}

Test (restore_disk, compare_finds_a_single_bit)
{
  CLEANUP_FREE uint8_t *data = malloc (SIZE + 4096);
  struct memory_disk *other;

  cr_assert (eq (int, lm_disk_pread (&from->disk, data, SIZE, 0, &err), 0));
  memset (data + SIZE, 0x55, 4096);
  /* A larger target is fine. */
  other = memory_disk_new (data, SIZE + 4096, 4096);
  cr_expect (eq (int, lm_compare_disks (&from->disk, &other->disk, &params,
                                        &done, &err), 0), "%s", err.message);
  /* In what is data, and in what should be zeros. */
  other->data[17 * MIB + 5] ^= 0x10;
  cr_expect (eq (int, lm_compare_disks (&from->disk, &other->disk, &params,
                                        &done, &err), -1));
  cr_expect (eq (str, err.message,
                 (char *) "the target differs at 0x1100005"));
  other->data[17 * MIB + 5] ^= 0x10;
  other->data[6 * MIB] = 1;
  cr_expect (eq (int, lm_compare_disks (&from->disk, &other->disk, &params,
                                        &done, &err), -1));
  cr_expect (eq (str, err.message,
                 (char *) "the target differs at 0x600000"));
  lm_disk_close (&other->disk);
  other = memory_disk_new (data, SIZE - 1, 4096);
  cr_expect (eq (int, lm_compare_disks (&from->disk, &other->disk, &params,
                                        &done, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_CORRUPT));
  lm_disk_close (&other->disk);
}
