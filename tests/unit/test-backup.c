/* SPDX-License-Identifier: Apache-2.0
 * What a backup stores is what a snapshot's disk reads, whatever happened
 * in between.
 */
#include <config.h>

#include "formats/native/backup.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/checked.h"
#include "common/random.h"
#include "formats/native/check.h"
#include "formats/native/disk-map.h"
#include "tests/support/memory-disk.h"
#include "tests/support/scratch.h"
#include "tests/support/store-fault.h"
#include "tests/support/store-memory.h"
#include "tests/support/test-repository.h"

static struct lm_error err;

/* Random data with runs of zeros and of repetition. */
static uint8_t *
make_data (uint64_t size)
{
  uint8_t *p = calloc (size + 1, 1);
  uint64_t at = 0;

  while (at < size) {
    uint8_t r[4];
    uint64_t n;

    lm_random_bytes (r, sizeof r);
    n = lm_min_u64 (1 + r[0] * 700u + r[1], size - at);
    if (r[2] % 4 == 0)
      memset (p + at, r[3], n);
    else if (r[2] % 4 == 1)
      lm_random_bytes (p + at, n);
    at += n;
  }
  return p;
}

static void
expect_same (struct lm_disk *disk, const uint8_t *data, uint64_t size)
{
  CLEANUP_FREE uint8_t *back = malloc (size + 1);
  uint64_t at, n;
  int i;

  cr_assert (ne (ptr, disk, NULL), "%s", err.message);
  cr_assert (eq (u64, disk->size, size));
  cr_assert (eq (int, lm_disk_pread (disk, back, size, 0, &err), 0), "%s",
             err.message);
  cr_assert (eq (int, memcmp (back, data, size), 0));
  for (i = 0; i < 200 && size > 0; i++) {
    lm_random_bytes (&at, sizeof at);
    lm_random_bytes (&n, sizeof n);
    at %= size;
    n = n % 9000 % (size - at + 1);
    cr_assert (eq (int, lm_disk_pread (disk, back, n, at, &err), 0));
    cr_assert (eq (int, memcmp (back, data + at, n), 0));
  }
}

struct extents { const uint8_t *data; uint64_t at; };

static int
check_extent (void *opaque, uint64_t offset, uint64_t len,
              enum lm_extent_type type, struct lm_error *e)
{
  struct extents *x = opaque;
  uint64_t i;

  (void) e;
  cr_assert (eq (u64, offset, x->at));
  x->at += len;
  for (i = 0; type == LM_EXTENT_ZERO && i < len; i++)
    cr_assert (eq (u8, x->data[offset + i], 0));
  return 0;
}

static void
backup_and_expect (struct lm_repository *repo, const uint8_t *data,
                   uint64_t size, struct lm_backup_result *result)
{
  struct memory_disk *source = memory_disk_new (data, size, 4096);
  struct lm_disk *disk;
  struct extents x = { .data = data };

  cr_assert (eq (int, test_backup (repo, &source->disk, result, &err), 0),
             "%s", err.message);
  lm_disk_close (&source->disk);
  disk = test_snapshot_disk (repo, "vm/latest", &err);
  expect_same (disk, data, size);
  cr_assert (eq (int, lm_disk_extents (disk, 0, size, check_extent, &x,
                                       &err), 0));
  cr_assert (eq (u64, x.at, size));
  lm_disk_close (disk);
}

static void
expect_clean (struct lm_repository *repo, bool read_data)
{
  struct lm_check_params params = { .read_data = read_data };
  struct lm_check_result result;

  cr_assert (eq (int, lm_check_run (repo, &params, &result, &err), 0), "%s",
             err.message);
  cr_assert (eq (u64, result.damaged, 0));
}

static void
sizes (bool encrypted)
{
  /* With chunks of 4 KiB: one leaf, its border, three levels. */
  static const uint64_t all[] = {
    0, 1, 511, 4096, 4097, 128 * 4096 - 1, 128 * 4096, 128 * 4096 + 1,
    128 * 128 * 4096 + 5000,
  };
  size_t i;

  for (i = 0; i < sizeof all / sizeof all[0]; i++) {
    struct test_repository t;
    struct lm_repository *repo;
    struct lm_backup_result result;
    CLEANUP_FREE uint8_t *data = make_data (all[i]);

    test_repository_make (&t, encrypted, 4096);
    repo = test_repository_open (&t, NULL, &err);
    cr_assert (ne (ptr, repo, NULL), "%s", err.message);
    backup_and_expect (repo, data, all[i], &result);
    expect_clean (repo, true);
    lm_repository_close (repo);
    test_repository_release (&t);
  }
}

Test (backup, every_size_reads_back_encrypted)
{
  sizes (true);
}

Test (backup, every_size_reads_back_unencrypted)
{
  sizes (false);
}

Test (backup, a_second_one_stores_only_what_changed)
{
  struct test_repository t;
  struct lm_repository *repo;
  struct lm_backup_result first, second, third;
  uint64_t size = 20 << 20;
  CLEANUP_FREE uint8_t *data = malloc (2 * size);

  lm_random_bytes (data, 2 * size);
  test_repository_make (&t, true, 65536);
  repo = test_repository_open (&t, NULL, &err);
  backup_and_expect (repo, data, size, &first);
  cr_expect (eq (u64, first.statistics.new_, size));
  data[5 << 20] ^= 1;
  data[(9 << 20) + 7] ^= 1;
  backup_and_expect (repo, data, size, &second);
  cr_expect (eq (u64, second.statistics.new_, 2 * 65536));
  cr_expect (second.time > first.time);
  /* The disk may grow, and shrink again. */
  backup_and_expect (repo, data, size + 70000, &third);
  cr_expect (le (u64, third.statistics.new_, 2 * 65536));
  backup_and_expect (repo, data, size - 70000, &third);
  expect_clean (repo, true);
  lm_repository_close (repo);
  test_repository_release (&t);
}

struct changed { uint64_t chunks[8]; size_t n; };

static int
note_change (void *opaque, uint64_t chunk, uint64_t count,
             struct lm_error *e)
{
  struct changed *c = opaque;

  (void) e;
  while (count-- > 0 && c->n < 8)
    c->chunks[c->n++] = chunk++;
  return 0;
}

static struct lm_disk_map *
open_map (struct lm_repository *repo, size_t nr)
{
  size_t n;
  const struct lm_snapshot_entry *all = lm_repository_snapshots (repo, &n);
  struct lm_snapshot *s = lm_snapshot_open (repo, &all[nr], &err);
  struct lm_disk_map *map = lm_disk_map_new (
    repo, lm_div_up (s->disks[0].size, 4096),
    s->disks[0].has_root ? s->disks[0].root : NULL, "t", &err);

  lm_snapshot_free (s);
  return map;
}

Test (backup, diff_finds_exactly_the_chunks_that_changed)
{
  struct test_repository t;
  struct lm_repository *repo;
  struct lm_backup_result result;
  uint64_t size = 300 * 128 * 4096;
  CLEANUP_FREE uint8_t *data = calloc (size, 1);
  struct lm_disk_map *a, *b;
  struct changed c = { 0 };

  memset (data, 'x', 4096);
  test_repository_make (&t, true, 4096);
  repo = test_repository_open (&t, NULL, &err);
  backup_and_expect (repo, data, 4096, &result);        /* height 1 */
  backup_and_expect (repo, data, size, &result);        /* height 3 */
  data[4096 * 129] = 1;
  data[size - 1] = 1;
  backup_and_expect (repo, data, size, &result);
  a = open_map (repo, 0);
  b = open_map (repo, 1);
  cr_assert (eq (int, lm_disk_map_diff (a, b, note_change, &c, &err), 0));
  cr_expect (eq (sz, c.n, 0));  /* it only grew, with zeros */
  lm_disk_map_free (b);
  b = open_map (repo, 2);
  cr_assert (eq (int, lm_disk_map_diff (a, b, note_change, &c, &err), 0));
  cr_assert (eq (sz, c.n, 2));
  cr_expect (eq (u64, c.chunks[0], 129));
  cr_expect (eq (u64, c.chunks[1], size / 4096 - 1));
  c.n = 0;
  cr_assert (eq (int, lm_disk_map_diff (b, a, note_change, &c, &err), 0));
  cr_expect (eq (sz, c.n, 2));
  lm_disk_map_free (a);
  lm_disk_map_free (b);
  lm_repository_close (repo);
  test_repository_release (&t);
}

Test (backup, unreadable_sectors_are_noted_and_the_rest_is_kept)
{
  struct test_repository t;
  struct lm_repository *repo;
  struct lm_backup_result result;
  uint64_t size = 1 << 20;
  CLEANUP_FREE uint8_t *data = make_data (size);
  struct memory_disk *source;
  struct lm_disk *disk;

  memset (data, 'x', size);
  test_repository_make (&t, true, 65536);
  repo = test_repository_open (&t, NULL, &err);
  source = memory_disk_new (data, size, 4096);
  source->bad_offset = 200000;
  source->bad_len = 10;
  source->bad_errno = EIO;
  cr_assert (eq (int, test_backup (repo, &source->disk, &result, &err), 0),
             "%s", err.message);
  cr_expect (eq (u64, result.unreadable, 4096));
  lm_disk_close (&source->disk);
  memset (data + 200000 / 4096 * 4096, 0, 4096);
  disk = test_snapshot_disk (repo, "vm", &err);
  expect_same (disk, data, size);
  lm_disk_close (disk);
  lm_repository_close (repo);
  test_repository_release (&t);
}

/* Fail at every step of the store, in every way, then go on with a fresh
 * client: the repository is as it was or has the whole new snapshot. */
static void
fail_everywhere (enum lm_fault_kind kind, bool alike)
{
  uint64_t size = 300000, step;
  bool reached = true;          /* did the fault take place? */
  CLEANUP_FREE uint8_t *one = make_data (size);
  CLEANUP_FREE uint8_t *two = make_data (size);

  /* So that much is stored against what it replaces. */
  if (alike)
    for (step = 0; step < size; step++)
      two[step] = one[step] + (step % 4000 == 7);
  for (step = 1; reached; step++) {
    struct test_repository t;
    struct lm_store *fault;
    struct lm_repository *repo;
    struct lm_backup_result result;
    struct memory_disk *source;
    struct lm_disk *disk;
    size_t n;
    int r;

    test_repository_make (&t, true, 4096);
    repo = test_repository_open (&t, NULL, &err);
    backup_and_expect (repo, one, size, &result);
    lm_repository_close (repo);

    fault = lm_store_fault_new (t.memory);
    repo = test_repository_open (&t, fault, &err);
    cr_assert (ne (ptr, repo, NULL), "%s", err.message);
    lm_store_fault_arm (fault, kind, step, true);
    source = memory_disk_new (two, size, 4096);
    lm_error_clear (&err);
    r = test_backup (repo, &source->disk, &result, &err);
    reached = lm_store_fault_steps (fault) >= step;
    lm_disk_close (&source->disk);
    lm_repository_close (repo);

    lm_error_clear (&err);
    repo = test_repository_open (&t, NULL, &err);
    cr_assert (ne (ptr, repo, NULL), "step %lu: %s", step, err.message);
    lm_repository_snapshots (repo, &n);
    cr_assert (n == 1 || n == 2);
    if (r == 0)
      cr_assert (eq (sz, n, 2), "step %lu", step);
    disk = test_snapshot_disk (repo, "vm", &err);
    expect_same (disk, n == 2 ? two : one, size);
    lm_disk_close (disk);
    expect_clean (repo, true);
    /* The next backup works, and uses what was stored. */
    backup_and_expect (repo, two, size, &result);
    expect_clean (repo, true);
    lm_repository_close (repo);
    test_repository_release (&t);
  }
  /* Lease, pack, segment, manifest, record, at least. */
  cr_expect (step > 5, "%lu steps", step);
}

Test (backup, an_error_at_any_step_loses_nothing)
{
  fail_everywhere (LM_FAULT_FAIL, false);
  fail_everywhere (LM_FAULT_FAIL, true);
}

Test (backup, a_lost_reply_at_any_step_loses_nothing)
{
  fail_everywhere (LM_FAULT_LOST_REPLY, false);
  fail_everywhere (LM_FAULT_LOST_REPLY, true);
}

struct flips { uint64_t damaged, affected; };

static void
count_damage (void *opaque, const char *object, const struct lm_error *why)
{
  struct flips *f = opaque;

  cr_assert (strlen (object) > 5 && why->message[0]);
  f->damaged++;
}

static void
count_affected (void *opaque, const char *snapshot, const char *disk,
                uint64_t offset, uint64_t len)
{
  struct flips *f = opaque;

  (void) offset;
  (void) len;
  cr_assert (eq (int, strncmp (snapshot, "vm/", 3), 0));
  cr_assert (eq (str, (char *) disk, (char *) "disk0"));
  f->affected++;
}

static char damaged_pack[LM_STORE_NAME_MAX + 1];

static int
first_pack (void *opaque, const char *name, uint64_t size,
            struct lm_error *e)
{
  (void) opaque;
  (void) size;
  (void) e;
  memcpy (damaged_pack, name, strlen (name) + 1);
  return 0;
}

Test (backup, a_damaged_pack_gives_errors_and_never_wrong_data)
{
  struct test_repository t;
  struct lm_repository *repo;
  struct lm_backup_result result;
  uint64_t size = 150000, at;
  CLEANUP_FREE uint8_t *data = malloc (size), *back = malloc (4096);
  uint8_t *pack;
  size_t len, i;

  lm_random_bytes (data, size);
  test_repository_make (&t, true, 4096);
  repo = test_repository_open (&t, NULL, &err);
  backup_and_expect (repo, data, size, &result);
  cr_assert (eq (int, lm_store_list (t.memory, "packs", first_pack, NULL,
                                     &err), 0));
  pack = lm_store_memory_data (t.memory, damaged_pack, &len);
  for (i = 0; i < len; i += 1 + len / 199) {
    struct flips f = { 0 };
    struct lm_check_params params = {
      .read_data = true, .damage = count_damage, .affected = count_affected,
      .opaque = &f,
    };
    struct lm_check_result checked;
    struct lm_disk *disk;
    unsigned failed = 0;

    pack[i] ^= 0x40;
    disk = test_snapshot_disk (repo, "vm", &err);
    cr_assert (ne (ptr, disk, NULL));
    for (at = 0; at + 4096 <= size; at += 4096)
      if (lm_disk_pread (disk, back, 4096, at, &err) == 0)
        cr_assert (eq (int, memcmp (back, data + at, 4096), 0));
      else
        failed++;
    lm_disk_close (disk);
    lm_error_clear (&err);
    cr_assert (eq (int, lm_check_run (repo, &params, &checked, &err), 0));
    cr_assert (f.damaged > 0, "byte %zu of %zu", i, len);
    if (failed > 0)
      cr_assert (f.affected > 0, "byte %zu of %zu", i, len);
    pack[i] ^= 0x40;
  }
  /* A backup of the same data does not trust a pack that was cut. */
  lm_repository_close (repo);
  test_repository_release (&t);
}

static int
ignore_extent (void *opaque, uint64_t offset, uint64_t len,
               enum lm_extent_type type, struct lm_error *e)
{
  (void) opaque;
  (void) offset;
  (void) len;
  (void) type;
  (void) e;
  return 0;
}

/* Extents look at no part of the map that they were not asked for. */
Test (backup, where_a_disk_can_be_read_its_extents_are_known)
{
  struct test_repository t;
  struct lm_repository *repo;
  struct lm_backup_result result;
  const uint64_t size = 4 << 20;
  CLEANUP_FREE uint8_t *data = calloc (size, 1), *back = malloc (4096);
  unsigned failed = 0;
  uint8_t *pack;
  size_t len, i;

  /* A leaf is 512 KiB: data, a hole of several, data again. */
  lm_random_bytes (data, 600000);
  lm_random_bytes (data + 3000000, size - 3000000);
  test_repository_make (&t, true, 4096);
  repo = test_repository_open (&t, NULL, &err);
  backup_and_expect (repo, data, size, &result);
  cr_assert (eq (int, lm_store_list (t.memory, "packs", first_pack, NULL,
                                     &err), 0));
  pack = lm_store_memory_data (t.memory, damaged_pack, &len);
  for (i = 0; i < len; i += 3000) {
    struct lm_disk *disk;
    uint64_t at;

    pack[i] ^= 0x40;
    for (at = 0; at < size; at += 256 * 1024) {
      disk = test_snapshot_disk (repo, "vm", &err);
      cr_assert (ne (ptr, disk, NULL));
      if (lm_disk_pread (disk, back, 4096, at, &err) == 0)
        cr_assert (eq (int, lm_disk_extents (disk, at, 4096, ignore_extent,
                                             NULL, &err), 0), "%s",
                   err.message);
      else
        failed++;
      lm_disk_close (disk);
    }
    pack[i] ^= 0x40;
  }
  cr_expect (lt (uint, 0, failed));
  lm_repository_close (repo);
  test_repository_release (&t);
}

static int
remove_object (void *opaque, const char *name, uint64_t size,
               struct lm_error *e)
{
  (void) size;
  return lm_store_remove (opaque, name, e);
}

Test (backup, a_lost_index_segment_is_found_again_from_the_packs)
{
  struct test_repository t;
  struct lm_repository *repo;
  struct lm_backup_result result;
  struct lm_check_params params = { .read_data = true };
  struct lm_check_result checked;
  uint64_t size = 3 << 20;
  CLEANUP_FREE uint8_t *data = make_data (size);
  struct lm_disk *disk;

  test_repository_make (&t, true, 4096);
  repo = test_repository_open (&t, NULL, &err);
  backup_and_expect (repo, data, size, &result);
  lm_repository_close (repo);
  cr_assert (eq (int, lm_store_list (t.memory, "index", remove_object,
                                     t.memory, &err), 0));
  lm_scratch_remove ();         /* and with it the mapped form */

  repo = test_repository_open (&t, NULL, &err);
  cr_assert (ne (ptr, repo, NULL), "%s", err.message);
  disk = test_snapshot_disk (repo, "vm", &err);
  expect_same (disk, data, size);
  lm_disk_close (disk);
  cr_assert (eq (int, lm_check_run (repo, &params, &checked, &err), 0));
  cr_expect (eq (u64, checked.damaged, 1));     /* the segment itself */

  /* The next backup stores no chunk again, and mends the index. */
  backup_and_expect (repo, data, size, &result);
  cr_expect (eq (u64, result.statistics.new_, 0));
  expect_clean (repo, true);
  lm_repository_close (repo);
  test_repository_release (&t);
}
