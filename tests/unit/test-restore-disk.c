/* SPDX-License-Identifier: Apache-2.0
 * Copying and comparing disks over several threads.
 */
#include <config.h>

#include "mount/restore-disk.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "tests/support/memory-disk.h"

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
