/* SPDX-License-Identifier: Apache-2.0
 * Garbage collection: what is not needed goes, what is needed stays,
 * whoever is at work meanwhile and whenever it ends.
 */
#include <config.h>

#include "formats/native/gc.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/random.h"
#include "formats/native/check.h"
#include "formats/native/chunk-index.h"
#include "formats/native/forget.h"
#include "formats/native/gc-refs.h"
#include "formats/native/journal.h"
#include "formats/native/lease.h"
#include "formats/native/pack-write.h"
#include "formats/native/pin.h"
#include "formats/native/repository-internal.h"
#include "tests/support/memory-disk.h"
#include "tests/support/scratch.h"
#include "tests/support/store-fault.h"
#include "tests/support/store-memory.h"
#include "tests/support/test-repository.h"
#include "common/banned.h"

#define CHUNK 4096
#define SIZE ((uint64_t) 3 << 20)

static struct lm_error err;
static struct test_repository t;
static struct lm_repository *repo;
static uint8_t *data;

static void
start (void)
{
  test_repository_make (&t, true, CHUNK);
  repo = test_repository_open (&t, NULL, &err);
  cr_assert (ne (ptr, repo, NULL), "%s", err.message);
  data = malloc (SIZE);
  lm_random_bytes (data, SIZE);
}

static void
stop (void)
{
  lm_repository_close (repo);
  test_repository_release (&t);
  free (data);
}

TestSuite (gc, .init = start, .fini = stop, .timeout = 300);

static void
backup_of (struct lm_repository *r, const uint8_t *bytes)
{
  struct memory_disk *source = memory_disk_new (bytes, SIZE, CHUNK);
  struct lm_backup_result result;

  cr_assert (eq (int, test_backup (r, &source->disk, &result, &err), 0),
             "%s", err.message);
  lm_disk_close (&source->disk);
}

static void
backup (void)
{
  backup_of (repo, data);
}

static void
forget (size_t nr)
{
  size_t n;
  const struct lm_snapshot_entry *all = lm_repository_snapshots (repo, &n);
  uint8_t id[1][LM_NAME_ID_LEN];

  cr_assert (lt (sz, nr, n));
  memcpy (id[0], all[nr].id, LM_NAME_ID_LEN);
  cr_assert (eq (int, lm_forget_run (repo,
                                     (const uint8_t (*)[LM_NAME_ID_LEN]) id,
                                     1, "forget", &err), 0), "%s",
             err.message);
  cr_assert (eq (int, lm_repository_load (repo, &err), 0));
}

static struct lm_gc_result
collect (unsigned max_unused)
{
  struct lm_gc_params params = { .max_unused = max_unused, .threads = 2 };
  struct lm_gc_result result;

  cr_assert (eq (int, lm_gc_run (repo, &params, &result, &err), 0), "%s",
             err.message);
  return result;
}

static int
count_name (void *opaque, const char *name, uint64_t size,
            struct lm_error *e)
{
  (void) name;
  (void) size;
  (void) e;
  ++*(size_t *) opaque;
  return 0;
}

static size_t
count (const char *prefix)
{
  size_t n = 0;

  cr_assert (eq (int, lm_store_list (t.memory, prefix, count_name, &n, &err),
                 0));
  return n;
}

static void
say_damage (void *opaque, const char *object, const struct lm_error *why)
{
  (void) opaque;
  cr_expect (false, "%s: %s", object, why->message);
}

static void
expect_clean (void)
{
  const struct lm_check_params params = { .read_data = true,
                                          .damage = say_damage };
  struct lm_check_result result;

  cr_assert (eq (int, lm_repository_load (repo, &err), 0));
  cr_assert (eq (int, lm_check_run (repo, &params, &result, &err), 0), "%s",
             err.message);
  cr_expect (eq (u64, result.damaged, 0));
}

static void
expect_reads (struct lm_disk *disk, const uint8_t *want)
{
  CLEANUP_FREE uint8_t *back = malloc (SIZE);

  cr_assert (eq (int, lm_disk_pread (disk, back, SIZE, 0, &err), 0), "%s",
             err.message);
  cr_expect (zero (int, memcmp (back, want, SIZE)));
}

static void
expect_latest (struct lm_repository *r, const uint8_t *want)
{
  struct lm_disk *disk = test_snapshot_disk (r, "vm", &err);

  cr_assert (ne (ptr, disk, NULL), "%s", err.message);
  expect_reads (disk, want);
  lm_disk_close (disk);
}

/* A lease says what its holder has seen a moment later. */
static void
set_loaded (struct lm_lease *lease, struct lm_repository *r)
{
  uint64_t loaded = lm_repository_state (r)->sequence;
  struct lm_lease_info info = { .has_loaded = false };
  int i;

  lm_lease_set_loaded (lease, loaded, true);
  for (i = 0; i < 3000 && info.loaded != loaded; i++) {
    usleep (10000);
    cr_assert (eq (int, lm_lease_read (r->store, r->keys, lm_lease_id (lease),
                                       &info, &err), 0), "%s", err.message);
    lm_lease_info_release (&info);
  }
  cr_assert (eq (u64, info.loaded, loaded));
}

/* What five minutes of standing still would do to those who died. */
static void
revoke_all (void)
{
  struct lm_lease_info *leases;
  size_t n, i;

  cr_assert (eq (int, lm_lease_list (repo, &leases, &n, &err), 0), "%s",
             err.message);
  for (i = 0; i < n; i++)
    cr_assert (eq (int, lm_lease_revoke (repo, leases[i].id, "test", &err),
                   0), "%s", err.message);
  lm_lease_infos_free (leases, n);
}

/* Bytes FROM to TO (in chunks) become others. */
static void
change (size_t from, size_t to)
{
  lm_random_bytes (data + from * CHUNK, (to - from) * CHUNK);
}

Test (gc, where_nothing_is_forgotten_nothing_goes)
{
  struct lm_gc_result r;
  size_t packs;

  backup ();
  change (0, 100);
  backup ();
  packs = count ("packs");
  r = collect (10);
  cr_expect (eq (u64, r.snapshots, 2));
  cr_expect (eq (u64, r.deleted.packs, 0));
  cr_expect (eq (u64, r.condemned.packs, 0));
  cr_expect (eq (sz, count ("packs"), packs));
  cr_expect (eq (sz, count ("leases"), 0));
  expect_latest (repo, data);
  expect_clean ();
}

Test (gc, an_empty_repository_is_no_problem)
{
  struct lm_gc_result r = collect (0);

  cr_expect (eq (u64, r.snapshots, 0));
  cr_expect (eq (u64, r.deleted.packs, 0));
}

Test (gc, what_only_a_forgotten_snapshot_needed_goes)
{
  struct lm_gc_result r;

  backup ();
  change (0, SIZE / CHUNK);
  backup ();
  forget (0);
  r = collect (10);
  cr_expect (eq (u64, r.snapshots, 1));
  cr_expect (eq (u64, r.deleted.packs, 1));
  cr_expect (eq (u64, r.objects, 1), "its manifest");
  cr_expect (eq (sz, count ("packs"), 1));
  cr_expect (eq (sz, count ("snapshots"), 1));
  expect_latest (repo, data);
  expect_clean ();
  /* And the last one, too. */
  forget (0);
  r = collect (10);
  cr_expect (eq (sz, count ("packs"), 0));
  cr_expect (eq (sz, count ("snapshots"), 0));
  r = collect (10);
  cr_expect (eq (sz, count ("index"), 0));
  expect_clean ();
  backup ();
  expect_latest (repo, data);
  expect_clean ();
}

Test (gc, a_dry_run_changes_nothing)
{
  struct lm_gc_params params = { .dry_run = true, .max_unused = 0 };
  struct lm_gc_result r;
  uint64_t steps;

  backup ();
  change (0, 300);
  backup ();
  forget (0);
  steps = lm_store_fault_steps (repo->store);
  cr_assert (eq (int, lm_gc_run (repo, &params, &r, &err), 0), "%s",
             err.message);
  cr_expect (eq (u64, lm_store_fault_steps (repo->store), steps));
  cr_expect (eq (u64, r.repacked.packs, 1));
}

Test (gc, partly_used_packs_are_copied_together)
{
  struct lm_gc_result r;

  backup ();
  change (0, 300);
  backup ();
  forget (0);
  /* 300 of 768 chunks of the first pack are unused: 37 %. */
  r = collect (50);
  cr_expect (eq (u64, r.repacked.packs, 0));
  cr_expect (eq (u64, r.deleted.packs, 0));
  r = collect (10);
  cr_expect (eq (u64, r.repacked.packs, 1));
  cr_expect (eq (u64, r.deleted.packs, 1));
  cr_expect (lt (u64, r.copied, 470 * (CHUNK + 28) + 4 * 4200));
  expect_latest (repo, data);
  expect_clean ();
  r = collect (0);
  cr_expect (eq (u64, r.repacked.packs, 0));
  cr_expect (lt (u64, r.stored.bytes - r.live_bytes, 600),
             "%" PRIu64 " of %" PRIu64, r.live_bytes, r.stored.bytes);
}

Test (gc, bases_of_what_is_needed_stay)
{
  size_t i;

  backup ();
  for (i = 0; i < SIZE / CHUNK; i += 2)
    data[i * CHUNK + 9] ^= 1;
  backup ();
  forget (0);
  collect (0);
  expect_latest (repo, data);
  expect_clean ();
  collect (0);
  expect_latest (repo, data);
  expect_clean ();
}

Test (gc, a_reader_with_an_old_index_reads_on)
{
  struct lm_repository *reader;
  CLEANUP_FREE uint8_t *second = malloc (SIZE);
  struct lm_disk *disk;

  backup ();
  change (0, 300);
  memcpy (second, data, SIZE);
  backup ();
  reader = test_repository_open (&t, NULL, &err);
  disk = test_snapshot_disk (reader, "vm", &err);
  cr_assert (ne (ptr, disk, NULL), "%s", err.message);
  forget (0);
  cr_expect (eq (u64, collect (0).deleted.packs, 1));
  expect_reads (disk, second);
  /* Again, and with more in between. */
  change (300, 600);
  backup ();
  change (600, 700);
  backup ();
  forget (1);
  collect (0);
  expect_reads (disk, second);
  lm_disk_close (disk);
  lm_repository_close (reader);
}

Test (gc, packs_of_an_interrupted_backup_go)
{
  struct memory_disk *source = memory_disk_new (data, SIZE, CHUNK);
  struct lm_store *faulty = lm_store_fault_new (t.memory);
  struct lm_repository *other = test_repository_open (&t, faulty, &err);
  struct lm_backup_result result;

  /* Lease, pack, segment. */
  lm_store_fault_arm (faulty, LM_FAULT_FAIL, 3, true);
  cr_expect (eq (int, test_backup (other, &source->disk, &result, &err),
                 -1));
  lm_store_fault_arm (faulty, LM_FAULT_NONE, 0, false);
  lm_disk_close (&source->disk);
  lm_repository_close (other);
  cr_assert (lt (sz, 0, count ("packs")));
  lm_error_clear (&err);
  /* Its lease is still there, since it could not be removed. */
  cr_expect (eq (sz, count ("leases"), 1));
  revoke_all ();
  collect (10);
  cr_expect (eq (sz, count ("packs"), 0));
  expect_clean ();
}

Test (gc, what_a_running_backup_may_use_waits)
{
  struct lm_lease *lease;
  struct lm_gc_result r;
  size_t packs;

  backup ();
  change (0, SIZE / CHUNK);
  backup ();
  lease = lm_lease_acquire (repo, "backup", 24, &err);
  cr_assert (ne (ptr, lease, NULL));
  set_loaded (lease, repo);
  forget (0);
  packs = count ("packs");
  r = collect (10);
  cr_expect (eq (u64, r.condemned.packs, 1));
  cr_expect (eq (u64, r.deleted.packs, 0));
  cr_expect (eq (u64, r.waiting.packs, 1));
  cr_expect (eq (u64, r.blockers, 1));
  cr_expect (eq (sz, count ("packs"), packs));
  lm_lease_release (lease);
  r = collect (10);
  cr_expect (eq (u64, r.deleted.packs, 1));
  cr_expect (eq (sz, count ("packs"), packs - 1));
  expect_latest (repo, data);
  expect_clean ();
}

Test (gc, who_has_seen_the_condemnation_is_not_waited_for)
{
  struct lm_lease *early, *late;
  struct lm_gc_result r;

  backup ();
  change (0, SIZE / CHUNK);
  backup ();
  forget (0);
  early = lm_lease_acquire (repo, "backup", 24, &err);
  set_loaded (early, repo);
  r = collect (10);
  cr_expect (eq (u64, r.waiting.packs, 1));
  late = lm_lease_acquire (repo, "backup", 24, &err);
  set_loaded (late, repo);
  lm_lease_release (early);
  r = collect (10);
  cr_expect (eq (u64, r.deleted.packs, 1));
  cr_expect (eq (u64, r.blockers, 1));
  lm_lease_release (late);
  expect_clean ();
}

Test (gc, a_dead_collection_stops_nobody)
{
  struct lm_store *faulty = lm_store_fault_new (t.memory);
  struct lm_repository *other = test_repository_open (&t, faulty, &err);
  struct lm_lease *lease;
  struct lm_gc_result r;

  backup ();
  change (0, SIZE / CHUNK);
  backup ();
  lease = lm_lease_acquire (other, "gc", 1, &err);
  cr_assert (ne (ptr, lease, NULL));
  /* From now on it can neither be refreshed nor removed. */
  lm_store_fault_arm (faulty, LM_FAULT_FAIL, 1, true);
  forget (0);
  r = collect (10);
  cr_expect (eq (u64, r.deleted.packs, 1));
  cr_expect (eq (u64, r.blockers, 0));
  cr_expect (eq (sz, count ("leases"), 0));
  lm_lease_release (lease);
  lm_repository_close (other);
  expect_latest (repo, data);
}

Test (gc, a_backup_that_used_what_was_condemned_saves_it)
{
  CLEANUP_FREE uint8_t *first = malloc (SIZE);
  struct lm_repository *other;
  struct lm_gc_result r;
  struct lm_lease *lease;

  memcpy (first, data, SIZE);
  backup ();
  change (0, SIZE / CHUNK);
  backup ();
  /* It looks before the collection... */
  other = test_repository_open (&t, NULL, &err);
  lease = lm_lease_acquire (other, "backup", 24, &err);
  set_loaded (lease, other);
  forget (0);
  collect (10);
  lm_lease_release (lease);
  /* ...and publishes after it.  (A backup loads anew, so this one does
   * not use them: it stores again, and the condemned ones go.) */
  backup_of (other, first);
  r = collect (10);
  cr_expect (eq (u64, r.deleted.packs, 1));
  cr_assert (eq (int, lm_repository_load (repo, &err), 0));
  expect_latest (repo, first);
  lm_repository_close (other);
  expect_clean ();
}

Test (gc, condemned_packs_that_are_needed_are_spared)
{
  CLEANUP_JSON json_t *changes = json_array ();
  struct lm_gc_result r;
  uint8_t pack[LM_NAME_ID_LEN] = { 0 };
  struct lm_id_set packs = LM_ID_SET_INIT (LM_NAME_ID_LEN);
  CLEANUP_FREE const uint8_t **ids = NULL;

  backup ();
  cr_assert (eq (int, lm_chunk_index_packs (repo->index, &packs, &err), 0));
  ids = lm_id_set_sorted (&packs, &err);
  memcpy (pack, ids[0], sizeof pack);
  cr_assert (eq (int, lm_change_packs (changes, LM_CHANGE_PACK_CONDEMN,
                                       (const uint8_t (*)[LM_NAME_ID_LEN])
                                       pack, 1, &err), 0));
  cr_assert (eq (int, lm_journal_commit (repo, NULL, "test", changes, &err),
                 0));
  r = collect (10);
  cr_expect (eq (u64, r.spared.packs, 1));
  cr_expect (eq (u64, r.deleted.packs, 0));
  cr_expect (not (lm_journal_state_condemned (lm_repository_state (repo),
                                              pack)));
  expect_latest (repo, data);
  lm_id_set_release (&packs);
}

Test (gc, a_pin_keeps_a_snapshot_that_an_older_program_forgot)
{
  CLEANUP_JSON json_t *changes = json_array ();
  uint8_t snapshot[LM_NAME_ID_LEN], pin[LM_NAME_ID_LEN];
  struct lm_gc_result r;
  size_t n, packs;

  backup ();
  memcpy (snapshot, lm_repository_snapshots (repo, &n)[0].id,
          sizeof snapshot);
  cr_assert (eq (int, lm_pin_put (repo, snapshot, "s", pin, &err), 0));
  cr_assert (eq (int, lm_change_by_id (changes, LM_CHANGE_SNAPSHOT_FORGET,
                                       snapshot, &err), 0));
  cr_assert (eq (int, lm_journal_commit (repo, NULL, "test", changes, &err),
                 0));
  packs = count ("packs");
  r = collect (0);
  cr_expect (eq (u64, r.pinned, 1));
  cr_expect (eq (sz, count ("packs"), packs));
  cr_expect (eq (sz, count ("snapshots"), 1));
  cr_assert (eq (int, lm_pin_remove (repo, pin, &err), 0));
  collect (0);
  cr_expect (eq (sz, count ("packs"), 0));
}

Test (gc, moved_chunks_wait_while_something_is_mounted)
{
  uint8_t pin[LM_NAME_ID_LEN];
  struct lm_gc_result r;
  size_t n;

  backup ();
  change (0, 300);
  backup ();
  cr_assert (eq (int, lm_pin_put (repo, lm_repository_snapshots (repo, &n)
                                  [1].id, "s", pin, &err), 0));
  forget (0);
  r = collect (0);
  cr_expect (eq (u64, r.repacked.packs, 1));
  cr_expect (eq (u64, r.waiting.packs, 1));
  cr_expect (eq (u64, r.deleted.packs, 0));
  r = collect (0);
  cr_expect (eq (u64, r.deleted.packs, 1));
  expect_latest (repo, data);
  expect_clean ();
}

Test (gc, below_damage_nothing_is_known_and_nothing_goes)
{
  struct lm_gc_params params = { .max_unused = 10 };
  struct lm_gc_result r;
  struct lm_id_set packs = LM_ID_SET_INIT (LM_NAME_ID_LEN);
  CLEANUP_FREE const uint8_t **ids = NULL;
  size_t n, i, before;

  backup ();
  change (0, SIZE / CHUNK);
  backup ();
  forget (0);
  /* All bytes of both packs are hit, nodes included. */
  cr_assert (eq (int, lm_chunk_index_packs (repo->index, &packs, &err), 0));
  ids = lm_id_set_sorted (&packs, &err);
  for (n = 0; n < packs.n; n++) {
    char name[LM_PACK_NAME_LEN + 1];
    uint8_t *bytes;
    size_t len;

    lm_pack_name (ids[n], name);
    bytes = lm_store_memory_data (t.memory, name, &len);
    for (i = 100; i < len - 80000; i += 500)
      bytes[i] ^= 1;
  }
  before = count ("packs");
  cr_expect (eq (int, lm_gc_run (repo, &params, &r, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_CORRUPT), "%s", err.message);
  cr_expect (ne (ptr, strstr (err.message, "map node"), NULL), "%s",
             err.message);
  cr_expect (eq (sz, count ("packs"), before));
  cr_expect (eq (sz, count ("leases"), 0));
  cr_expect (eq (sz, lm_repository_state (repo)->condemned.n, 0));
  lm_id_set_release (&packs);
}

/* Whatever fails, at whatever step: what is live stays, and the next
 * collection finishes. */
static void
fail_everywhere (enum lm_fault_kind kind)
{
  struct lm_gc_params params = { .max_unused = 0, .threads = 1 };
  uint64_t step, last = 1;

  for (step = 1; step <= last; step++) {
    struct lm_store *faulty;
    struct lm_repository *other;
    struct lm_gc_result r;
    uint64_t begun;
    int ended;

    backup ();
    change (step % 8 * 90, step % 8 * 90 + 130);
    backup ();
    forget (0);
    faulty = lm_store_fault_new (t.memory);
    other = test_repository_open (&t, faulty, &err);
    begun = lm_store_fault_steps (faulty);
    lm_store_fault_arm (faulty, kind, begun + step, true);
    ended = lm_gc_run (other, &params, &r, &err);
    last = ended == 0 ? step : step + 1;
    lm_store_fault_arm (faulty, LM_FAULT_NONE, 0, false);
    lm_repository_close (other);
    lm_error_clear (&err);
    cr_assert (eq (int, lm_repository_load (repo, &err), 0), "%s",
               err.message);
    revoke_all ();
    expect_latest (repo, data);
    expect_clean ();
    cr_assert (lt (u64, step, 500));
  }
  collect (0);
  expect_latest (repo, data);
  expect_clean ();
  cr_log_info ("%" PRIu64 " steps", last);
}

Test (gc, every_step_may_fail)
{
  fail_everywhere (LM_FAULT_FAIL);
}

Test (gc, every_answer_may_be_lost)
{
  fail_everywhere (LM_FAULT_LOST_REPLY);
}

Test (gc_refs, are_sorted_and_different)
{
  struct lm_gc_refs refs;
  uint8_t id[LM_ID_LEN];
  size_t i, n = 300000;

  cr_assert (eq (int, lm_gc_refs_init (&refs, 2 * n, &err), 0));
  for (i = 0; i < n; i++) {
    lm_random_bytes (id, sizeof id);
    if (i % 3 == 0) {           /* not uniform at all */
      memset (id, (int) (i % 251), 5);
      id[5] = i >> 16;
      id[6] = i >> 8;
      id[7] = i;
    }
    lm_gc_refs_add (&refs, id);
    if (i % 2 == 0)
      lm_gc_refs_add (&refs, id);
  }
  cr_expect (eq (sz, refs.n, n + n / 2));
  cr_assert (eq (int, lm_gc_refs_sort (&refs, &err), 0));
  cr_expect (eq (sz, refs.n, n));
  for (i = 1; i < refs.n; i++)
    cr_assert (lt (u64, refs.keys[i - 1], refs.keys[i]));
  cr_expect (lm_gc_refs_has_room (&refs, n));
  cr_expect_not (lm_gc_refs_has_room (&refs, n + 1));
  lm_gc_refs_release (&refs);
}

Test (gc_refs, none_and_one)
{
  struct lm_gc_refs refs;
  uint8_t id[LM_ID_LEN] = { 7 };

  cr_assert (eq (int, lm_gc_refs_init (&refs, 1, &err), 0));
  cr_assert (eq (int, lm_gc_refs_sort (&refs, &err), 0));
  cr_expect (eq (sz, refs.n, 0));
  lm_gc_refs_add (&refs, id);
  cr_assert (eq (int, lm_gc_refs_sort (&refs, &err), 0));
  cr_expect (eq (u64, refs.keys[0], UINT64_C (7) << 56));
  lm_gc_refs_release (&refs);
}
