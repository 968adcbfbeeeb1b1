/* SPDX-License-Identifier: Apache-2.0
 * Reading ahead: what is fetched for whom, and that disks can go.
 */
#include <config.h>

#include "proxy/readahead.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/cache.h"
#include "tests/support/memory-disk.h"

#define CHUNK 65536

static struct lm_error err;
static struct lm_cache *cache;
static struct memory_disk *inner;
static struct lm_disk *disk;
static struct lm_readahead *readahead;
static struct lm_readahead_stream stream;

static void
start (unsigned chunks)
{
  cache = lm_cache_new (64 * CHUNK, CHUNK, &err);
  inner = memory_disk_new (NULL, 100 * CHUNK + 5, CHUNK);
  disk = lm_cache_disk_new (cache, &inner->disk, &err);
  readahead = lm_readahead_new (chunks, &err);
  cr_assert (eq (int, lm_readahead_start (readahead, &err), 0));
  lm_readahead_stream_init (&stream);
}

static void
fini (void)
{
  lm_readahead_free (readahead);
  lm_readahead_stream_release (&stream);
  lm_disk_close (disk);
  lm_cache_free (cache);
}

static void
note (uint64_t offset, uint64_t len)
{
  lm_readahead_note (readahead, &stream, disk, offset, len);
}

/* The chunks read, once nothing changes any more.  At least EXPECTED come,
 * however busy the machine is. */
static uint64_t
settled (uint64_t expected)
{
  uint64_t before;
  int i;

  for (i = 0; i < 2000 && inner->reads < expected; i++)
    usleep (10000);
  do {
    before = inner->reads;
    usleep (100000);
  } while (before != inner->reads);
  return before;
}

Test (readahead, a_sequential_reader_finds_the_next_chunks, .fini = fini)
{
  uint64_t o;

  start (4);
  for (o = 0; o < 8 * 4096; o += 4096)
    note (o, 4096);
  cr_expect (eq (u64, settled (4), 4));
  for (; o < 3 * CHUNK; o += 4096)
    note (o, 4096);
  /* Chunks 1 to 7, each once. */
  cr_expect (eq (u64, settled (7), 7));
}

Test (readahead, a_random_reader_is_left_alone, .fini = fini)
{
  unsigned i;

  start (4);
  for (i = 0; i < 200; i++)
    note ((uint64_t) i * 37 % 100 * CHUNK, 4096);
  cr_expect (eq (u64, settled (0), 0));
}

Test (readahead, large_requests_are_left_alone, .fini = fini)
{
  uint64_t o;

  start (4);
  for (o = 0; o < 64 * CHUNK; o += 4 * CHUNK)
    note (o, 4 * CHUNK);
  cr_expect (eq (u64, settled (0), 0));
}

Test (readahead, stops_at_the_end_of_the_disk, .fini = fini)
{
  uint64_t o;

  start (8);
  for (o = 99 * CHUNK; o + 4096 <= disk->size; o += 4096)
    note (o, 4096);
  note (disk->size - 5, 5);
  cr_expect (eq (u64, settled (1), 1));
}

Test (readahead, can_be_off, .fini = fini)
{
  uint64_t o;

  start (0);
  for (o = 0; o < 8 * CHUNK; o += 4096)
    note (o, 4096);
  cr_expect (eq (u64, settled (0), 0));
}

Test (readahead, a_forgotten_disk_is_not_read_any_more, .fini = fini)
{
  uint64_t reads;
  unsigned i;

  start (4);
  inner->delay_us = 20000;
  for (i = 0; i < 40; i++)
    lm_readahead_queue (readahead, disk, (uint64_t) i * CHUNK, CHUNK);
  usleep (50000);
  lm_readahead_forget (readahead, disk);
  reads = inner->reads;
  cr_expect (lt (u64, reads, 40));
  usleep (100000);
  cr_expect (eq (u64, inner->reads, reads));
}
