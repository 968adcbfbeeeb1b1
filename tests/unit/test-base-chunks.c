/* SPDX-License-Identifier: Apache-2.0
 * Chunks that are stored against the one that they replace (native.md
 * section 6.2): they read back, they save what they should, and no base
 * that is lost, damaged or wrong makes a reader return wrong bytes.
 */
#include <config.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/hex.h"
#include "common/json.h"
#include "common/random.h"
#include "formats/native/check.h"
#include "formats/native/chunk-index.h"
#include "formats/native/chunk-read.h"
#include "formats/native/disk-map.h"
#include "formats/native/journal.h"
#include "formats/native/pack-write.h"
#include "formats/native/repository-internal.h"
#include "formats/native/seal.h"
#include "formats/native/segment.h"
#include "tests/support/memory-disk.h"
#include "tests/support/scratch.h"
#include "tests/support/store-memory.h"
#include "tests/support/test-repository.h"

#define CHUNK 4096
#define CHUNKS 300              /* three leaves */
#define SIZE (CHUNKS * CHUNK)

static struct lm_error err;
static uint8_t data[SIZE];

/* ---- backups ---- */

static void
back_up (struct lm_repository *repo, const char *vm, bool no_base_chunks,
         struct lm_backup_result *result)
{
  struct memory_disk *disk = memory_disk_new (data, SIZE, CHUNK);
  struct lm_backup_disk d = { "disk0", &disk->disk, "t", 512 };
  struct lm_backup_params params = {
    .vm = vm, .disks = &d, .nr_disks = 1, .consistency = "consistent",
    .program = "livemount test", .threads = 3,
    .no_base_chunks = no_base_chunks,
  };

  cr_assert (eq (int, lm_backup_run (repo, &params, result, &err), 0), "%s",
             err.message);
  lm_disk_close (&disk->disk);
}

/* A few bytes of each of the first N chunks. */
static void
change (unsigned n)
{
  unsigned i;

  for (i = 0; i < n; i++)
    lm_random_bytes (data + i * CHUNK + 8 * i, 8);
}

static void
expect_data (struct lm_repository *repo, const char *name,
             const uint8_t *want)
{
  CLEANUP_FREE uint8_t *back = malloc (SIZE);
  struct lm_disk *disk = test_snapshot_disk (repo, name, &err);

  cr_assert (ne (ptr, disk, NULL), "%s", err.message);
  cr_assert (eq (int, lm_disk_pread (disk, back, SIZE, 0, &err), 0), "%s",
             err.message);
  cr_assert (eq (int, memcmp (back, want, SIZE), 0));
  lm_disk_close (disk);
}

/* What a check says, one line each. */
struct verdict { char damage[4096], affected[4096]; };

static void
note_damage (void *opaque, const char *object, const struct lm_error *why)
{
  struct verdict *v = opaque;
  size_t n = strlen (v->damage);

  snprintf (v->damage + n, sizeof v->damage - n, "%s: %s\n", object,
            why->message);
}

static void
note_affected (void *opaque, const char *snapshot, const char *disk,
               uint64_t offset, uint64_t len)
{
  struct verdict *v = opaque;
  size_t n = strlen (v->affected);

  snprintf (v->affected + n, sizeof v->affected - n, "%s %s %llu+%llu\n",
            snapshot, disk, (unsigned long long) offset,
            (unsigned long long) len);
}

static uint64_t
check (struct lm_repository *repo, bool read_data, struct verdict *v)
{
  struct lm_check_params params = {
    .read_data = read_data, .damage = note_damage,
    .affected = note_affected, .opaque = v, .threads = 2,
  };
  struct lm_check_result result;

  memset (v, 0, sizeof *v);
  cr_assert (eq (int, lm_check_run (repo, &params, &result, &err), 0), "%s",
             err.message);
  return result.damaged;
}

static void
expect_clean (struct lm_repository *repo)
{
  struct verdict v;

  cr_expect (eq (u64, check (repo, false, &v), 0), "%s", v.damage);
  cr_expect (eq (u64, check (repo, true, &v), 0), "%s", v.damage);
  cr_expect (eq (str, v.affected, (char *) ""));
}

/* Where chunk NR of the newest snapshot is. */
static struct lm_chunk_location
locate (struct lm_repository *repo, uint64_t nr)
{
  size_t n;
  const struct lm_snapshot_entry *all = lm_repository_snapshots (repo, &n);
  struct lm_snapshot *s = lm_snapshot_open (repo, &all[n - 1], &err);
  struct lm_disk_map *map = lm_disk_map_new (repo, CHUNKS, s->disks[0].root,
                                             "t", &err);
  struct lm_chunk_location l;
  uint8_t id[LM_ID_LEN];

  cr_assert (eq (int, lm_disk_map_get (map, nr, id, &err), 0));
  cr_assert (eq (int, lm_chunk_index_find (repo->index, LM_TYPE_CHUNK, id,
                                           &l, 1, &err), 1));
  lm_disk_map_free (map);
  lm_snapshot_free (s);
  return l;
}

static bool
is_delta (struct lm_repository *repo, uint64_t nr)
{
  return locate (repo, nr).ref.encoding == LM_ENCODING_ZSTD_BASE;
}

static void
start (struct test_repository *t, bool encrypted,
       struct lm_repository **ret_repo)
{
  lm_random_bytes (data, SIZE);
  test_repository_make (t, encrypted, CHUNK);
  *ret_repo = test_repository_open (t, NULL, &err);
  cr_assert (ne (ptr, *ret_repo, NULL), "%s", err.message);
}

static void
reopen (struct test_repository *t, struct lm_repository **repo)
{
  lm_repository_close (*repo);
  *repo = test_repository_open (t, NULL, &err);
  cr_assert (ne (ptr, *repo, NULL), "%s", err.message);
}

static bool
has_feature (struct lm_repository *repo)
{
  return lm_repository_has_feature (repo, LM_FEATURE_REQUIRED,
                                    "base-chunks");
}

/* ---- what is stored ---- */

static void
small_changes (bool encrypted)
{
  struct lm_backup_result first, second, third, full;
  CLEANUP_FREE uint8_t *before = malloc (SIZE);
  struct lm_chunk_location l, l3;
  struct lm_repository *repo;
  struct test_repository t;

  start (&t, encrypted, &repo);
  memcpy (before, data, SIZE);
  back_up (repo, "vm", false, &first);
  cr_expect (not (has_feature (repo)));
  change (200);
  back_up (repo, "vm", false, &second);
  cr_expect (eq (u64, second.statistics.new_, 200 * CHUNK));
  cr_expect (lt (u64, second.statistics.stored, 200 * 150));
  cr_expect (has_feature (repo));
  expect_data (repo, "vm/latest", data);
  l = locate (repo, 0);
  cr_assert (eq (int, l.ref.encoding, LM_ENCODING_ZSTD_BASE));
  cr_expect (not (is_delta (repo, 250)));

  /* Depth one: what changes again has the same base. */
  change (100);
  back_up (repo, "vm", false, &third);
  cr_expect (lt (u64, third.statistics.stored, 100 * 200));
  l3 = locate (repo, 0);
  cr_assert (eq (int, l3.ref.encoding, LM_ENCODING_ZSTD_BASE));
  cr_expect (eq (int, memcmp (l.ref.base, l3.ref.base, LM_ID_LEN), 0));
  cr_expect (ne (int, memcmp (l.ref.id, l3.ref.id, LM_ID_LEN), 0));
  cr_expect (eq (int, lm_chunk_index_find_full (repo->index, LM_TYPE_CHUNK,
                                                l3.ref.base, &l, 1, &err),
                 1));

  /* What has come back is known, as what it was stored as. */
  back_up (repo, "vm", false, &third);
  cr_expect (eq (u64, third.statistics.new_, 0));
  memcpy (data, before, SIZE);
  back_up (repo, "vm", false, &third);
  cr_expect (eq (u64, third.statistics.new_, 0));

  /* The switch. */
  change (100);
  back_up (repo, "vm", true, &full);
  cr_expect (lt (u64, 100 * CHUNK, full.statistics.stored));
  expect_data (repo, "vm/latest", data);
  expect_clean (repo);

  /* With fresh eyes, and without a cache. */
  lm_scratch_remove ();
  reopen (&t, &repo);
  cr_expect (has_feature (repo));
  expect_data (repo, "vm/latest", data);
  expect_clean (repo);
  lm_repository_close (repo);
  test_repository_release (&t);
}

Test (base_chunks, small_changes_take_little)
{
  small_changes (true);
}

Test (base_chunks, small_changes_take_little_unencrypted)
{
  small_changes (false);
}

Test (base_chunks, without_them_the_feature_is_not_needed)
{
  struct lm_backup_result result;
  struct lm_repository *repo;
  struct test_repository t;

  start (&t, true, &repo);
  back_up (repo, "vm", true, &result);
  change (200);
  back_up (repo, "vm", true, &result);
  cr_expect (not (has_feature (repo)));
  /* Another VM has no parent, and other disks do not count. */
  change (10);
  back_up (repo, "other", false, &result);
  cr_expect (not (has_feature (repo)));
  cr_expect (not (is_delta (repo, 0)));
  lm_repository_close (repo);
  test_repository_release (&t);
}

/* Segments are merged when there are eight small ones. */
Test (base_chunks, survive_the_merging_of_segments)
{
  CLEANUP_FREE uint8_t *before = malloc (SIZE);
  struct lm_backup_result result;
  struct lm_repository *repo;
  struct test_repository t;
  int i;

  start (&t, true, &repo);
  for (i = 0; i < 11; i++) {
    change (20);
    if (i == 4)
      memcpy (before, data, SIZE);
    back_up (repo, i < 5 ? "early" : "vm", false, &result);
  }
  cr_assert (lt (sz, repo->state.nr_segments, 8));
  expect_data (repo, "vm/latest", data);
  expect_data (repo, "early/latest", before);
  cr_expect (is_delta (repo, 3));
  lm_scratch_remove ();
  reopen (&t, &repo);
  expect_data (repo, "early/latest", before);
  expect_clean (repo);
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

Test (base_chunks, are_found_again_without_segments)
{
  struct lm_backup_result result;
  struct lm_repository *repo;
  struct test_repository t;

  start (&t, true, &repo);
  back_up (repo, "vm", false, &result);
  change (50);
  back_up (repo, "vm", false, &result);
  cr_assert (eq (int, lm_store_list (t.memory, "index", remove_object,
                                     t.memory, &err), 0));
  lm_scratch_remove ();
  reopen (&t, &repo);
  expect_data (repo, "vm/latest", data);
  back_up (repo, "vm", false, &result);
  cr_expect (eq (u64, result.statistics.new_, 0));
  expect_clean (repo);
  lm_repository_close (repo);
  test_repository_release (&t);
}

/* A backup that ended before its record: its packs are used by the next
 * one, which brings the feature. */
Test (base_chunks, of_an_interrupted_backup_are_taken_over)
{
  struct lm_backup_result result;
  struct lm_repository *repo;
  struct test_repository t;
  char name[64];

  start (&t, true, &repo);
  back_up (repo, "vm", false, &result);
  change (50);
  back_up (repo, "vm", false, &result);
  snprintf (name, sizeof name, "journal/%016llx",
            (unsigned long long) repo->state.sequence);
  cr_assert (eq (int, lm_store_remove (t.memory, name, &err), 0));
  lm_scratch_remove ();
  reopen (&t, &repo);
  cr_expect (not (has_feature (repo)));
  expect_clean (repo);
  back_up (repo, "vm", false, &result);
  cr_expect (eq (u64, result.statistics.new_, 0));
  cr_expect (has_feature (repo));
  cr_expect (is_delta (repo, 7));
  expect_data (repo, "vm/latest", data);
  expect_clean (repo);
  lm_repository_close (repo);
  test_repository_release (&t);
}

/* Two writers that bring the feature at once. */
struct race { struct test_repository *t; bool done; };

static void
backup_beside (void *opaque, const struct lm_backup_progress *p)
{
  struct race *race = opaque;
  struct lm_repository *repo;
  struct lm_backup_result result;

  (void) p;
  if (race->done)
    return;
  race->done = true;
  repo = test_repository_open (race->t, NULL, &err);
  cr_assert (ne (ptr, repo, NULL), "%s", err.message);
  back_up (repo, "vm", false, &result);
  cr_expect (has_feature (repo));
  lm_repository_close (repo);
}

Test (base_chunks, two_writers_may_bring_the_feature)
{
  struct lm_backup_result result;
  struct lm_repository *repo;
  struct test_repository t;
  struct race race = { .t = &t };
  struct memory_disk *disk;
  struct lm_backup_disk d = { "disk0", NULL, "t", 512 };
  struct lm_backup_params params = {
    .vm = "vm", .disks = &d, .nr_disks = 1, .consistency = "consistent",
    .program = "livemount test", .threads = 1, .progress = backup_beside,
    .opaque = &race,
  };

  start (&t, true, &repo);
  back_up (repo, "vm", false, &result);
  change (50);
  disk = memory_disk_new (data, SIZE, CHUNK);
  /* So slow that progress is reported before it is read. */
  disk->delay_us = 500 * 1000;
  d.disk = &disk->disk;
  cr_assert (eq (int, lm_backup_run (repo, &params, &result, &err), 0),
             "%s", err.message);
  lm_disk_close (&disk->disk);
  cr_assert (race.done);
  cr_expect (eq (sz, repo->state.features.n, 1));
  expect_data (repo, "vm/latest", data);
  expect_clean (repo);
  lm_repository_close (repo);
  test_repository_release (&t);
}

/* ---- a base that is lost ---- */

static char first_pack[LM_STORE_NAME_MAX + 1];

static int
note_pack (void *opaque, const char *name, uint64_t size, struct lm_error *e)
{
  (void) opaque;
  (void) size;
  (void) e;
  snprintf (first_pack, sizeof first_pack, "%s", name);
  return 0;
}

/* Two snapshots, the second with deltas against the first. */
static void
start_with_delta (struct test_repository *t, struct lm_repository **repo,
                  uint8_t *before)
{
  struct lm_backup_result result;

  start (t, true, repo);
  memcpy (before, data, SIZE);
  back_up (*repo, "vm", false, &result);
  cr_assert (eq (int, lm_store_list (t->memory, "packs", note_pack, NULL,
                                     &err), 0));
  change (CHUNKS);
  back_up (*repo, "vm", false, &result);
  cr_assert (is_delta (*repo, 0));
}

/* Then the pack of the first is lost, but not its map, which the second
 * shares. */
static void
lose_bases (struct test_repository *t, struct lm_repository **repo,
            uint8_t *before)
{
  start_with_delta (t, repo, before);
  cr_assert (eq (int, lm_store_remove (t->memory, first_pack, &err), 0));
  reopen (t, repo);
}

/* What check says of a delta whose base it can't have. */
static void
base_line (struct lm_repository *repo, char out[200])
{
  struct lm_chunk_location l = locate (repo, 0);
  char hex[2 * LM_ID_LEN + 1];
  size_t n;

  lm_hex_encode (l.ref.id, LM_ID_LEN, hex);
  n = snprintf (out, 200, "chunk %s: referred to, but of its base chunk ",
                hex);
  lm_hex_encode (l.ref.base, LM_ID_LEN, hex);
  snprintf (out + n, 200 - n, "%.16s… no good copy is stored in full\n",
            hex);
}

/* The pack is named once, and not every chunk that needs it. */
Test (base_chunks, a_lost_base_names_the_snapshots_that_need_it)
{
  CLEANUP_FREE uint8_t *before = malloc (SIZE);
  struct lm_repository *repo;
  struct test_repository t;
  struct verdict v;
  char line[200], hurt[60];
  int read_data;

  lose_bases (&t, &repo, before);
  base_line (repo, line);
  for (read_data = 0; read_data < 2; read_data++) {
    cr_expect (eq (u64, 1, check (repo, read_data, &v)));
    cr_expect (ne (ptr, strstr (v.damage, first_pack), NULL));
    cr_expect (eq (ptr, strstr (v.damage, line), NULL), "%s", v.damage);
    snprintf (hurt, sizeof hurt, " disk0 0+%d\n", SIZE);
    cr_expect (ne (ptr, strstr (v.affected, hurt), NULL), "%s", v.affected);
  }
  lm_repository_close (repo);
  test_repository_release (&t);
}

Test (base_chunks, a_damaged_base_is_named_by_what_needs_it)
{
  CLEANUP_FREE uint8_t *before = malloc (SIZE);
  struct lm_repository *repo;
  struct test_repository t;
  struct lm_chunk_location delta, base;
  struct verdict v;
  uint8_t *pack;
  char line[200];
  size_t len;

  start_with_delta (&t, &repo, before);
  base_line (repo, line);
  delta = locate (repo, 0);
  cr_assert (eq (int, lm_chunk_index_find_full (repo->index, LM_TYPE_CHUNK,
                                                delta.ref.base, &base, 1,
                                                &err), 1));
  pack = lm_store_memory_data (t.memory, first_pack, &len);
  pack[base.offset + 20] ^= 1;
  cr_expect (eq (u64, 0, check (repo, false, &v)));
  cr_expect (eq (u64, 2, check (repo, true, &v)));
  cr_expect (ne (ptr, strstr (v.damage, line), NULL), "%s", v.damage);
  lm_repository_close (repo);
  test_repository_release (&t);
}

/* What is stored against a lost base is stored again, and a base that
 * comes back is stored in full: then everything is whole. */
Test (base_chunks, the_next_backup_mends_what_it_can)
{
  CLEANUP_FREE uint8_t *before = malloc (SIZE), *after = malloc (SIZE);
  struct lm_backup_result result;
  struct lm_repository *repo;
  struct test_repository t;
  struct verdict v;

  lose_bases (&t, &repo, before);
  memcpy (after, data, SIZE);
  back_up (repo, "vm", false, &result);
  cr_expect (eq (u64, result.statistics.new_, SIZE));
  expect_data (repo, "vm/latest", after);

  memcpy (data, before, SIZE);
  back_up (repo, "vm", false, &result);
  cr_expect (eq (u64, result.statistics.new_, SIZE));
  cr_expect (not (is_delta (repo, 0)));
  expect_data (repo, "vm/latest", before);
  /* The pack is still missing, but nobody needs it. */
  cr_expect (eq (u64, check (repo, true, &v), 1), "%s", v.damage);
  cr_expect (eq (str, v.affected, (char *) ""));
  lm_repository_close (repo);
  test_repository_release (&t);
}

/* ---- bytes that no writer of ours makes ---- */

struct hostile {
  struct test_repository t;
  struct lm_repository *repo;
  struct lm_segment segment;
  struct lm_pack_writer *packs;
  char pack[LM_PACK_NAME_LEN + 1];
};

static int
hostile_done (void *opaque, const struct lm_pack_done *done,
              struct lm_error *e)
{
  struct hostile *h = opaque;

  lm_pack_name (done->id, h->pack);
  return lm_segment_add_pack (&h->segment, done->id, done->size,
                              done->entries, done->nr_entries, done->bases,
                              e);
}

static void
hostile_start (struct hostile *h, bool encrypted)
{
  memset (h, 0, sizeof *h);
  start (&h->t, encrypted, &h->repo);
  h->packs = lm_pack_writer_new (h->repo->store, h->repo->keys, hostile_done,
                                 h, &err);
}

/* Store chunk NR of `data`, which is said to have the id of NR: against
 * chunk BASE unless that is -1, the entry saying that it is CLAIMED. */
static struct lm_chunk_ref
hostile_add (struct hostile *h, int nr, int base, int claimed)
{
  struct lm_sealer *s = lm_sealer_for_thread (h->repo->keys, &err);
  struct lm_chunk_ref ref = { .type = LM_TYPE_CHUNK, .plain_len = CHUNK };
  const struct lm_codec_base b = { data + base * CHUNK, CHUNK };
  uint8_t *plain = data + nr * CHUNK;
  CLEANUP_FREE uint8_t *stored = malloc (lm_seal_chunk_bound (CHUNK));

  if (base >= 0) {
    memcpy (plain, b.plain, CHUNK);
    snprintf ((char *) plain + 100, 20, "changed: %d", nr);
    cr_assert (eq (int, lm_seal_id (s, LM_TYPE_CHUNK, b.plain, CHUNK,
                                    ref.base, &err), 0));
  }
  cr_assert (eq (int, lm_seal_id (s, LM_TYPE_CHUNK, plain, CHUNK, ref.id,
                                  &err), 0));
  if (base >= 0) {
    cr_assert (eq (int, lm_seal_delta (s, &ref, &b, plain, stored, &err),
                   0));
    cr_assert (eq (int, ref.encoding, LM_ENCODING_ZSTD_BASE));
    /* The entry goes its own way from here. */
    cr_assert (eq (int, lm_seal_id (s, LM_TYPE_CHUNK, data + claimed * CHUNK,
                                    CHUNK, ref.base, &err), 0));
  }
  else
    cr_assert (eq (int, lm_seal_chunk (s, &ref, plain, 1, stored, &err), 0));
  cr_assert (eq (int, lm_pack_writer_add (h->packs, &ref, stored, &err), 0));
  return ref;
}

static void
hostile_publish (struct hostile *h)
{
  struct lm_journal_segment live;
  json_t *changes = json_array ();

  cr_assert (eq (int, lm_pack_writer_finish (h->packs, &err), 0));
  lm_pack_writer_free (h->packs);
  cr_assert (eq (int, lm_segment_put (h->repo->store, h->repo->keys,
                                      &h->segment, live.id, &live.size,
                                      &err), 0));
  live.entries = h->segment.nr_entries;
  cr_assert (eq (int, lm_change_segment_add (changes, &live, &err), 0));
  cr_assert (eq (int, lm_journal_commit (h->repo, NULL, "t", changes, &err),
                 0), "%s", err.message);
  json_decref (changes);
  cr_assert (eq (int, lm_repository_load (h->repo, &err), 0));
}

static void
hostile_release (struct hostile *h)
{
  lm_segment_release (&h->segment);
  lm_repository_close (h->repo);
  test_repository_release (&h->t);
}

/* It can't be read, and MESSAGE says why: %C is for the chunk, %B for the
 * base, %P for the pack. */
static void
expect_refused (struct hostile *h, const struct lm_chunk_ref *ref,
                const char *message)
{
  char want[400] = "", chunk[65], base[65];
  uint8_t plain[CHUNK];
  uint32_t len;
  size_t n = 0;

  lm_hex_encode (ref->id, LM_ID_LEN, chunk);
  lm_hex_encode (ref->base, LM_ID_LEN, base);
  for (; *message; message++) {
    if (*message != '%') {
      want[n++] = *message;
      continue;
    }
    message++;
    n += snprintf (want + n, sizeof want - n, "%.*s%s",
                   *message == 'P' ? 41 : 16, *message == 'P' ? h->pack
                   : *message == 'B' ? base : chunk,
                   *message == 'P' ? "" : "…");
  }
  lm_error_clear (&err);
  cr_expect (eq (int, lm_chunk_read (h->repo, LM_TYPE_CHUNK, ref->id, plain,
                                     sizeof plain, &len, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_CORRUPT));
  cr_expect (eq (str, err.message, want));
}

static void
hostile_bases (bool encrypted)
{
  const char *spliced = encrypted
    ? "chunk %C: %P at 0x105c: does not authenticate (damaged or forged)"
    : "chunk %C: %P at 0x1040: content does not have the id it is stored "
      "under";
  struct lm_chunk_ref full, missing, deep, wrong, good;
  struct hostile h;
  uint8_t plain[CHUNK], *pack;
  uint32_t len;
  size_t pack_len;

  hostile_start (&h, encrypted);
  full = hostile_add (&h, 0, -1, 0);
  wrong = hostile_add (&h, 1, 0, 9);
  hostile_add (&h, 9, -1, 0);
  good = hostile_add (&h, 2, 0, 0);
  deep = hostile_add (&h, 3, 2, 2);
  missing = hostile_add (&h, 4, 8, 8);
  hostile_publish (&h);

  cr_assert (eq (int, lm_chunk_read (h.repo, LM_TYPE_CHUNK, good.id, plain,
                                     CHUNK, &len, &err), 0), "%s",
             err.message);
  cr_expect (eq (int, memcmp (plain, data + 2 * CHUNK, CHUNK), 0));
  expect_refused (&h, &missing, "chunk %C: base chunk %B: is in no pack that "
                  "the index knows");
  expect_refused (&h, &deep, "chunk %C: base chunk %B: is itself stored "
                  "against a base");
  expect_refused (&h, &wrong, spliced);

  pack = lm_store_memory_data (h.t.memory, h.pack, &pack_len);
  pack[64 + 500] ^= 1;
  expect_refused (&h, &good, encrypted
                  ? "chunk %C: base chunk %B: %P at 0x40: does not "
                    "authenticate (damaged or forged)"
                  : "chunk %C: base chunk %B: %P at 0x40: content does not "
                    "have the id it is stored under");
  pack[64 + 500] ^= 1;
  cr_expect (eq (int, lm_chunk_read (h.repo, LM_TYPE_CHUNK, full.id, plain,
                                     CHUNK, &len, &err), 0));
  /* Of a base that is nobody's and of entries that nobody needs no check
   * complains, but what is there must be right. */
  {
    struct verdict v;

    cr_expect (eq (u64, check (h.repo, false, &v), 0), "%s", v.damage);
    cr_expect (eq (u64, check (h.repo, true, &v), 1), "%s", v.damage);
    cr_expect (ne (ptr, strstr (v.damage, encrypted
                                ? "does not authenticate"
                                : "content does not have the id"), NULL));
  }
  hostile_release (&h);
}

Test (base_chunks, wrong_bases_are_refused_by_name)
{
  hostile_bases (true);
}

Test (base_chunks, wrong_bases_are_refused_by_name_unencrypted)
{
  hostile_bases (false);
}

/* The same chunk twice, once against a base that is lost: the copy in
 * full is read, whichever the index names first. */
Test (base_chunks, a_copy_in_full_stands_by_itself)
{
  struct hostile h;
  struct lm_chunk_ref ref;
  uint8_t plain[CHUNK], base[LM_ID_LEN];
  uint32_t len;

  hostile_start (&h, true);
  ref = hostile_add (&h, 4, 8, 8);
  hostile_add (&h, 4, -1, 0);
  hostile_publish (&h);
  cr_assert (eq (int, lm_chunk_read (h.repo, LM_TYPE_CHUNK, ref.id, plain,
                                     CHUNK, &len, &err), 0), "%s",
             err.message);
  cr_expect (eq (int, memcmp (plain, data + 4 * CHUNK, CHUNK), 0));
  /* Nothing counts before it is known which packs are whole. */
  cr_expect (not (lm_chunk_index_find_base (h.repo->index, ref.id, base)));
  hostile_release (&h);
}
