/* SPDX-License-Identifier: Apache-2.0
 * The block cache over a disk in memory that counts, sleeps and fails.
 */
#include <config.h>

#include "proxy/cache.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/memory-disk.h"

#define BLOCK 65536

static struct lm_error err;
static struct lm_cache *cache;
static struct memory_disk *inner;
static struct lm_disk *disk;

static void
make (uint64_t cache_bytes, uint64_t size)
{
  cache = lm_cache_new (cache_bytes, BLOCK, &err);
  cr_assert (ne (ptr, cache, NULL), "%s", err.message);
  inner = memory_disk_new (NULL, size, BLOCK);
  disk = lm_cache_disk_new (cache, &inner->disk, &err);
  cr_assert (ne (ptr, disk, NULL), "%s", err.message);
}

static void
fini (void)
{
  lm_disk_close (disk);
  lm_cache_free (cache);
}

/* Read and compare with what the inner disk holds. */
static void
check (uint64_t offset, size_t len)
{
  uint8_t *got = malloc (len + 1), *want = malloc (len + 1);

  cr_assert (eq (int, lm_disk_pread (disk, got, len, offset, &err), 0),
             "%s", err.message);
  memory_disk_pattern (want, len, offset);
  cr_assert (eq (int, memcmp (got, want, len), 0), "%zu bytes at 0x%lx",
             len, offset);
  free (got);
  free (want);
}

Test (cache, a_block_is_loaded_once, .fini = fini)
{
  uint64_t o;

  make (1 << 20, 1 << 20);
  for (o = 0; o < BLOCK; o += 4096)
    check (o, 4096);
  cr_expect (eq (u64, inner->reads, 1));
  cr_expect (eq (u64, inner->read_bytes, BLOCK));
}

Test (cache, every_alignment_reads_right, .fini = fini)
{
  const uint64_t size = 10 * BLOCK + 1234;
  unsigned i;

  make (4 * BLOCK, size);
  srandom (2);
  for (i = 0; i < 5000; i++) {
    uint64_t o = random () % size;
    uint64_t n = random () % (i % 2 ? 70 : 6 * BLOCK) + 1;

    check (o, n < size - o ? n : size - o);
  }
  check (0, size);
  check (size - 1, 1);
}

Test (cache, stays_within_its_bound, .fini = fini)
{
  struct lm_cache_stats stats;
  unsigned i;

  make (16 * BLOCK, UINT64_C (1) << 40);
  for (i = 0; i < 2000; i++)
    check ((uint64_t) i * 7919 * BLOCK % (UINT64_C (1) << 39), 512);
  lm_cache_get_stats (cache, &stats);
  cr_expect (eq (u64, lm_cache_capacity (cache), 16 * BLOCK));
  cr_expect (eq (u64, stats.misses, 2000));
}

Test (cache, what_is_used_stays, .fini = fini)
{
  uint64_t reads;
  unsigned i;

  make (64 * BLOCK, UINT64_C (1) << 30);
  check (0, 512);
  reads = inner->reads;
  for (i = 1; i < 500; i++) {
    check ((uint64_t) i * BLOCK, 512);
    check (0, 512);
  }
  cr_expect (eq (u64, inner->reads, reads + 499));
}

Test (cache, a_large_read_passes_it_by, .fini = fini)
{
  struct lm_cache_stats stats;

  make (64 * BLOCK, UINT64_C (1) << 30);
  check (BLOCK + 1, 10);        /* one block in the midst is there */
  check (0, 32 * BLOCK);
  lm_cache_get_stats (cache, &stats);
  cr_expect (eq (u64, stats.misses, 1));
  cr_expect (eq (u64, stats.direct, 31));
  cr_expect (eq (u64, inner->reads, 3));
  check (4 * BLOCK, 512);       /* nothing of it was kept */
  cr_expect (eq (u64, inner->reads, 4));
}

Test (cache, zeros_are_not_kept, .fini = fini)
{
  uint8_t buf[512] = { 1 }, zeros[512] = { 0 };
  struct lm_cache_stats stats;

  make (64 * BLOCK, UINT64_C (1) << 30);
  inner->zero_offset = BLOCK;
  inner->zero_len = 10 * BLOCK;
  cr_assert (eq (int, lm_disk_pread (disk, buf, sizeof buf, 2 * BLOCK,
                                     &err), 0));
  cr_expect (eq (int, memcmp (buf, zeros, sizeof buf), 0));
  lm_cache_get_stats (cache, &stats);
  cr_expect (eq (u64, stats.zeros, 1));
  cr_expect (eq (u64, stats.misses, 0));
  cr_expect (eq (u64, inner->reads, 0));
}

Test (cache, a_failure_is_for_its_range_only_and_not_kept, .fini = fini)
{
  uint8_t buf[4096];

  make (64 * BLOCK, UINT64_C (1) << 30);
  inner->bad_offset = 3 * BLOCK + 4096;
  inner->bad_len = 1;
  check (2 * BLOCK, BLOCK);
  check (4 * BLOCK, BLOCK);
  check (3 * BLOCK, 4096);
  cr_expect (eq (int, lm_disk_pread (disk, buf, sizeof buf,
                                     3 * BLOCK + 4096, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_CORRUPT));
  cr_expect (eq (str, err.message, "memory: bad bytes at 0x31000"));
  inner->bad_len = 0;           /* repaired meanwhile */
  check (3 * BLOCK, BLOCK);
}

Test (cache, works_with_nothing_to_keep_it_in, .fini = fini)
{
  make (0, 1 << 20);
  check (0, 4096);
  check (4096, 4096);
  check (100, 10 * BLOCK);
  cr_expect (eq (int, lm_cache_disk_prefetch (disk, 0, BLOCK, &err), 0));
}

Test (cache, prefetch_makes_hits, .fini = fini)
{
  make (64 * BLOCK, UINT64_C (1) << 30);
  cr_expect (eq (int, lm_cache_disk_prefetch (disk, 100, 3 * BLOCK, &err),
                 0));
  cr_expect (eq (u64, inner->reads, 4));
  check (0, 512);
  check (3 * BLOCK, 512);
  cr_expect (eq (u64, inner->reads, 4));
  /* Beyond the end, and more than the cache holds. */
  cr_expect (eq (int, lm_cache_disk_prefetch (disk, (1 << 30) - 1, 1 << 20,
                                              &err), 0));
  cr_expect (eq (int, lm_cache_disk_prefetch (disk, 1 << 30, 1, &err), 0));
  cr_expect (eq (int, lm_cache_disk_prefetch (disk, 0, 1 << 30, &err), 0));
  cr_expect (le (u64, inner->reads, 5 + 32));
}

Test (cache, disks_do_not_see_each_others_blocks, .fini = fini)
{
  static uint8_t data[2 * BLOCK];
  struct memory_disk *other;
  struct lm_disk *other_disk;
  uint8_t byte;

  make (64 * BLOCK, 2 * BLOCK);
  memset (data, 7, sizeof data);
  other = memory_disk_new (data, sizeof data, BLOCK);
  other_disk = lm_cache_disk_new (cache, &other->disk, &err);
  check (0, 512);
  cr_assert (eq (int, lm_disk_pread (other_disk, &byte, 1, 0, &err), 0));
  cr_expect (eq (int, byte, 7));
  lm_disk_close (other_disk);
  check (0, 512);
  cr_expect (eq (u64, inner->reads, 1));
}

/* Threads. */
enum { THREADS = 16 };
static uint64_t thread_range;
static unsigned thread_rounds;
static int expect_failure;

static void *
reader (void *arg)
{
  struct lm_error e = LM_ERROR_INIT;
  unsigned seed = (uintptr_t) arg, i;
  uint8_t got[9000], want[9000];

  for (i = 0; i < thread_rounds; i++) {
    uint64_t o = thread_range ? rand_r (&seed) % thread_range : 0;
    size_t n = thread_range ? rand_r (&seed) % sizeof got + 1 : 4096;
    int r = lm_disk_pread (disk, got, n, o, &e);

    if (r != -expect_failure)
      return (void *) 1;
    memory_disk_pattern (want, n, o);
    if (r == 0 && memcmp (got, want, n) != 0)
      return (void *) 1;
  }
  return NULL;
}

static void
run_readers (void)
{
  pthread_t t[THREADS];
  uintptr_t i;

  for (i = 0; i < THREADS; i++)
    pthread_create (&t[i], NULL, reader, (void *) i);
  for (i = 0; i < THREADS; i++) {
    void *r;

    pthread_join (t[i], &r);
    cr_expect (eq (ptr, r, NULL));
  }
}

Test (cache, concurrent_misses_decode_once, .fini = fini)
{
  struct lm_cache_stats stats;

  make (64 * BLOCK, 1 << 20);
  inner->delay_us = 50000;
  thread_rounds = 1;
  run_readers ();
  lm_cache_get_stats (cache, &stats);
  cr_expect (eq (u64, inner->reads, 1));
  cr_expect (eq (u64, stats.misses, 1));
  cr_expect (eq (u64, stats.waits + stats.hits, THREADS - 1));
}

Test (cache, concurrent_misses_on_a_bad_block_all_fail, .fini = fini)
{
  make (64 * BLOCK, 1 << 20);
  inner->delay_us = 20000;
  inner->bad_len = 1;
  expect_failure = 1;
  thread_rounds = 2;
  run_readers ();
  expect_failure = 0;
  inner->bad_len = 0;
  check (0, BLOCK);
}

Test (cache, threads_read_right_while_blocks_come_and_go, .fini = fini)
{
  make (8 * BLOCK, 64 * BLOCK);
  thread_range = 64 * BLOCK - 9000;
  thread_rounds = 3000;
  run_readers ();
}
