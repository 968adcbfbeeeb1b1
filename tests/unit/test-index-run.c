/* SPDX-License-Identifier: Apache-2.0
 * Mapped index runs: everything that was put in is found, nothing else.
 */
#include <config.h>

#include "formats/native/index-run.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/random.h"
#include "common/io.h"

static const uint8_t repository[16] = "repository-00001";
static struct lm_error err;

static int
compare (const void *a, const void *b)
{
  return memcmp (a, b, LM_ID_LEN);
}

/* The base of every third entry, as far from its id as can be. */
static const uint8_t *
base_of (const struct lm_entry *e, uint32_t i)
{
  static uint8_t base[LM_ID_LEN];
  size_t k;

  for (k = 0; k < LM_ID_LEN; k++)
    base[k] = i % 3 == 1 ? ~e->id[k] : 0;
  return base;
}

/* A sorted segment with one pack and N random entries. */
static void
make_segment (struct lm_segment *seg, uint8_t pack, uint32_t n)
{
  struct lm_entry *e = calloc (n + 1, sizeof *e);
  uint8_t (*bases)[LM_ID_LEN] = calloc (n + 1, LM_ID_LEN);
  uint8_t id[LM_NAME_ID_LEN] = { pack };
  uint32_t i;

  for (i = 0; i < n; i++) {
    lm_random_bytes (e[i].id, LM_ID_LEN);
    e[i].type = LM_TYPE_CHUNK;
    e[i].offset = 64 + 100 * i;
    e[i].stored_len = 100;
    e[i].plain_len = 65536;
  }
  qsort (e, n, sizeof *e, compare);
  /* The table of bases of a pack is in no order that matters. */
  for (i = 1; i < n; i += 3) {
    e[i].encoding = LM_ENCODING_ZSTD_BASE;
    e[i].base = n - i + 1;
    memcpy (bases[n - i], base_of (&e[i], i), LM_ID_LEN);
  }
  cr_assert (eq (int, lm_segment_add_pack (seg, id, 64 + 100 * n, e, n,
                                           (const uint8_t (*)[LM_ID_LEN])
                                           bases, &err), 0));
  cr_assert (eq (u32, seg->nr_bases, (n + 1) / 3));
  free (e);
  free (bases);
}

static struct lm_index_run *
build (int dirfd, const struct lm_index_run_source *sources, size_t n)
{
  char name[LM_INDEX_RUN_NAME_LEN + 1];
  struct lm_index_run *run;

  cr_assert (eq (int, lm_index_run_build (dirfd, repository, sources, n,
                                          name, &err), 0), "%s",
             err.message);
  run = lm_index_run_open (dirfd, name, repository, &err);
  cr_assert (ne (ptr, run, NULL), "%s", err.message);
  return run;
}

static void
expect_all (const struct lm_index_run *run, const struct lm_segment *seg,
            uint8_t pack)
{
  uint32_t i;

  for (i = 0; i < seg->nr_entries; i++) {
    uint64_t pos = lm_index_run_find (run, seg->entries[i].id);
    uint8_t base[LM_ID_LEN];
    struct lm_segment_pack p;
    struct lm_entry e;

    cr_assert (eq (int, lm_index_run_get (run, pos, &e, base, &err), 0));
    cr_assert (eq (int, memcmp (e.id, seg->entries[i].id, 32), 0));
    cr_assert (eq (u32, e.offset, seg->entries[i].offset));
    cr_assert (eq (int, e.base > 0, i % 3 == 1));
    cr_assert (eq (int, memcmp (base, base_of (&e, i), LM_ID_LEN), 0));
    lm_index_run_pack (run, e.pack, &p);
    cr_assert (eq (u8, p.id[0], pack));
  }
}

static int
temporary_folder (char path[32])
{
  snprintf (path, 32, "/tmp/lm-run-XXXXXX");
  cr_assert (ne (ptr, mkdtemp (path), NULL));
  return open (path, O_RDONLY | O_DIRECTORY);
}

static void
remove_folder (const char *path)
{
  char command[64];

  snprintf (command, sizeof command, "rm -r %s", path);
  cr_assert (eq (int, system (command), 0));
}

Test (index_run, finds_what_was_put_in)
{
  static const uint32_t sizes[] = { 0, 1, 2, 17, 1000, 60000 };
  char path[32];
  CLEANUP_CLOSE int dirfd = temporary_folder (path);
  size_t k;

  for (k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
    struct lm_segment seg = LM_SEGMENT_INIT;
    uint8_t id[1][LM_NAME_ID_LEN] = { { k } };
    struct lm_index_run_source source = {
      .segments = id, .nr_segments = 1, .segment = &seg,
    };
    struct lm_index_run *run;
    uint8_t absent[LM_ID_LEN];
    int i;

    make_segment (&seg, 7, sizes[k]);
    run = build (dirfd, &source, 1);
    cr_expect (eq (u64, lm_index_run_entries (run), sizes[k]));
    expect_all (run, &seg, 7);
    for (i = 0; i < 1000; i++) {
      lm_random_bytes (absent, sizeof absent);
      cr_assert (eq (u64, lm_index_run_find (run, absent), sizes[k]));
    }
    memset (absent, 0, 32);
    cr_expect (eq (u64, lm_index_run_find (run, absent), sizes[k]));
    memset (absent, 255, 32);
    cr_expect (eq (u64, lm_index_run_find (run, absent), sizes[k]));
    lm_index_run_close (run);
    lm_segment_release (&seg);
  }
  remove_folder (path);
}

/* Ids that lie as badly as possible for interpolation. */
Test (index_run, finds_in_a_hostile_distribution)
{
  char path[32];
  CLEANUP_CLOSE int dirfd = temporary_folder (path);
  struct lm_segment seg = LM_SEGMENT_INIT;
  uint8_t id[1][LM_NAME_ID_LEN] = { { 1 } };
  struct lm_index_run_source source = {
    .segments = id, .nr_segments = 1, .segment = &seg,
  };
  struct lm_index_run *run;
  uint32_t i;

  make_segment (&seg, 7, 5000);
  for (i = 0; i < 5000; i++) {
    memset (seg.entries[i].id, 0, 32);
    if (i >= 4990)
      seg.entries[i].id[0] = 255;
    seg.entries[i].id[30] = i >> 8;
    seg.entries[i].id[31] = i;
    if (i % 3 == 1)
      memcpy (seg.bases[seg.entries[i].base - 1],
              base_of (&seg.entries[i], i), LM_ID_LEN);
  }
  run = build (dirfd, &source, 1);
  expect_all (run, &seg, 7);
  lm_index_run_close (run);
  lm_segment_release (&seg);
  remove_folder (path);
}

Test (index_run, merges_and_drops_what_is_there_twice)
{
  char path[32];
  CLEANUP_CLOSE int dirfd = temporary_folder (path);
  struct lm_segment a = LM_SEGMENT_INIT, b = LM_SEGMENT_INIT;
  uint8_t ids[2][LM_NAME_ID_LEN] = { { 1 }, { 2 } };
  struct lm_index_run_source two[3] = {
    { .segments = &ids[0], .nr_segments = 1, .segment = &a },
    { .segments = &ids[1], .nr_segments = 1, .segment = &b },
  };
  struct lm_index_run *first, *second;
  uint32_t n;

  make_segment (&a, 7, 3000);
  make_segment (&b, 8, 10);
  first = build (dirfd, two, 2);
  /* Pack 7 again, from a segment that was merged from others. */
  two[2] = (struct lm_index_run_source) {
    .segments = lm_index_run_segments (first, &n), .nr_segments = 2,
    .run = first,
  };
  second = build (dirfd, two, 3);
  cr_expect (eq (u64, lm_index_run_entries (second), 3010));
  cr_expect (eq (u32, lm_index_run_packs (second), 2));
  lm_index_run_segments (second, &n);
  cr_expect (eq (u32, n, 4));
  expect_all (second, &a, 7);
  expect_all (second, &b, 8);
  lm_index_run_close (first);
  lm_index_run_close (second);
  lm_segment_release (&a);
  lm_segment_release (&b);
  remove_folder (path);
}

Test (index_run, refuses_what_is_no_run)
{
  char path[32], name[LM_INDEX_RUN_NAME_LEN + 1];
  CLEANUP_CLOSE int dirfd = temporary_folder (path);
  struct lm_segment seg = LM_SEGMENT_INIT;
  uint8_t id[1][LM_NAME_ID_LEN] = { { 1 } };
  struct lm_index_run_source source = {
    .segments = id, .nr_segments = 1, .segment = &seg,
  };
  int fd;

  make_segment (&seg, 7, 100);
  cr_assert (eq (int, lm_index_run_build (dirfd, repository, &source, 1,
                                          name, &err), 0));
  cr_expect (eq (ptr, lm_index_run_open (dirfd, name,
                                         (const uint8_t *)
                                         "another-reposito", &err), NULL));
  cr_expect (eq (int, err.kind, LM_ERR_CORRUPT));
  fd = openat (dirfd, name, O_RDWR);
  cr_assert (eq (int, ftruncate (fd, 4096 + 16 + 24 + 32 * 33 + 52 * 99), 0));
  cr_expect (eq (ptr, lm_index_run_open (dirfd, name, repository, &err),
                 NULL));
  cr_assert (eq (int, ftruncate (fd, 100), 0));
  cr_expect (eq (ptr, lm_index_run_open (dirfd, name, repository, &err),
                 NULL));
  close (fd);
  lm_segment_release (&seg);
  remove_folder (path);
}
