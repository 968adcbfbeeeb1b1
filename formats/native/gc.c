/* SPDX-License-Identifier: Apache-2.0
 *
 * Collecting garbage; see gc.h, and docs/gc.md for why it is safe.
 *
 *   lease → mark → condemn and repack by record → which leases are older?
 *   → mark again → delete by record → remove the objects
 *
 * Nothing is decided before the second mark that it could not take back,
 * and nothing that it decides is older than its own lease says.
 */
#include <config.h>

#include "formats/native/gc.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "common/random.h"
#include "formats/native/forget.h"
#include "formats/native/gc-packs.h"
#include "formats/native/gc-repack.h"
#include "formats/native/gc-sweep.h"
#include "formats/native/gc-walk.h"
#include "formats/native/journal-change.h"
#include "formats/native/journal.h"
#include "formats/native/lease-watch.h"
#include "formats/native/lease.h"
#include "formats/native/pin.h"
#include "formats/native/repository-internal.h"
#include "formats/native/reserve.h"
#include "formats/native/snapshot-wire.h"
#include "formats/native/whoami.h"
#include "common/banned.h"

/* Other writers may come between so often. */
#define TRIES 10

/* Packs in one record: 40 bytes each, of 16 MiB. */
#define PACKS_PER_RECORD ((size_t) 10000)

/* Packs below this are small; so many of them are copied together. */
#define SMALL_PACK (4u << 20)
#define SMALL_PACKS 32

struct gc {
  struct lm_repository *repo;
  const struct lm_gc_params *params;
  struct lm_gc_result *result;
  struct lm_lease *lease;
  struct lm_lease_watch *watch;
  char *writer;                 /* for the journal */
  struct lm_id_set pinned;      /* snapshots */
  struct lm_id_set repacked;    /* packs, by this run */
  struct lm_gc_packs packs;     /* after the last mark */
  struct lm_gc_strays strays;   /* as the first mark found them */
};

static void
report (const struct gc *gc, const char *phase, uint64_t done,
        uint64_t total)
{
  if (gc->params->progress)
    gc->params->progress (gc->params->opaque, phase, done, total);
}

static void
count (struct lm_gc_count *c, const struct lm_gc_pack *pack)
{
  c->packs++;
  c->bytes += pack->size;
}

/* --- mark --- */

static int
list_pins (struct gc *gc, struct lm_error *err)
{
  struct lm_pin_info *pins;
  size_t n, bad, i;
  int r = 0;

  if (lm_pin_list (gc->repo, &pins, &n, &bad, err) == -1)
    return -1;
  lm_id_set_release (&gc->pinned);
  gc->pinned.id_len = LM_NAME_ID_LEN;
  for (i = 0; i < n && r == 0; i++)
    r = lm_id_set_add (&gc->pinned, pins[i].snapshot, 0, err);
  lm_pin_infos_free (pins, n);
  if (r == 0 && bad > 0) {
    lm_corrupt (err, "%zu pins can't be read: what they keep is not known",
                bad);
    return lm_error_hint (err, "'check' names them; 'leases break' removes "
                          "one");
  }
  return r;
}

/* Live snapshots, and those that are only pinned. */
static int
add_snapshots (struct gc *gc, struct lm_gc_walk *walk, struct lm_error *err)
{
  CLEANUP_FREE const uint8_t **pinned = lm_id_set_sorted (&gc->pinned, err);
  const struct lm_snapshot_entry *all;
  struct lm_snapshot *s;
  size_t n, i;
  int r = pinned ? 0 : -1;

  gc->result->snapshots = gc->result->pinned = 0;
  all = lm_repository_snapshots (gc->repo, &n);
  for (i = 0; i < n && r == 0; i++) {
    s = lm_snapshot_open (gc->repo, &all[i], err);
    r = s ? lm_gc_walk_add (walk, s, err) : -1;
    lm_snapshot_free (s);
    gc->result->snapshots++;
  }
  for (i = 0; i < gc->pinned.n && r == 0; i++) {
    if (lm_journal_state_snapshot (lm_repository_state (gc->repo),
                                   pinned[i]))
      continue;
    s = lm_snapshot_read (gc->repo, pinned[i], NULL, err);
    if (s == NULL && err->kind == LM_ERR_NOT_FOUND) {
      lm_error_clear (err);     /* a pin of what is gone keeps nothing */
      continue;
    }
    r = s ? lm_gc_walk_add (walk, s, err) : -1;
    lm_snapshot_free (s);
    gc->result->snapshots++;
    gc->result->pinned++;
  }
  return r;
}

static int
walk_all (struct gc *gc, struct lm_error *err)
{
  struct lm_gc_walk_statistics statistics;
  struct lm_gc_walk *walk;
  int r;

  if (lm_gc_packs_init (&gc->packs, gc->repo, err) == -1)
    return -1;
  walk = lm_gc_walk_new (gc->repo, &gc->packs, gc->params->threads,
                         gc->params->cancel, err);
  if (walk == NULL)
    return -1;
  r = add_snapshots (gc, walk, err);
  if (r == 0)
    r = lm_gc_walk_run (walk, &statistics, err);
  lm_gc_walk_free (walk);
  if (r == -1) {
    if (err->kind == LM_ERR_CORRUPT || err->kind == LM_ERR_NOT_FOUND) {
      err->kind = LM_ERR_CORRUPT;
      lm_error_hint (err, "What is below the damage is not known, so nothing "
                     "is deleted: see 'check', then 'repair' or 'forget'");
    }
    return -1;
  }
  gc->result->nodes = statistics.nodes;
  gc->result->node_bytes = statistics.node_bytes;
  gc->result->references = statistics.references;
  gc->result->missing = gc->packs.missing;
  return 0;
}

/* The order matters: a pin that is put after its snapshot was seen live
 * is seen here if the snapshot is forgotten by now (native.md 12). */
static int
mark (struct gc *gc, const char *phase, struct lm_error *err)
{
  report (gc, phase, 0, 0);
  lm_gc_packs_release (&gc->packs);
  if (lm_repository_load_strict (gc->repo, err) == -1)
    return -1;
  if (gc->lease)
    lm_lease_set_loaded (gc->lease,
                         lm_repository_state (gc->repo)->sequence, true);
  if (list_pins (gc, err) == -1)
    return -1;
  return walk_all (gc, err);
}

/* --- decide --- */

static bool
is_dead (const struct lm_gc_pack *pack)
{
  return pack->live_entries == 0 && pack->size > 0;
}

/* Every pack has this beside its entries: header, the sealed table's own
 * header and tag, trailer (native.md section 7). */
#define PACK_OVERHEAD 256

static uint64_t
unused (const struct lm_gc_pack *pack)
{
  uint64_t used = pack->live + PACK_OVERHEAD;

  return used < pack->size ? pack->size - used : 0;
}

struct candidate {
  size_t nr;
  double unused;                /* of its size */
};

static int
compare_candidates (const void *a, const void *b)
{
  double x = ((const struct candidate *) a)->unused;
  double y = ((const struct candidate *) b)->unused;

  return x > y ? -1 : x < y;
}

/* Packs to be copied together: the emptiest, until no more than MAX_UNUSED
 * percent of the rest is unused; and small ones, if they are many. */
static int
choose_repacks (const struct gc *gc, size_t **ret_packs, size_t *ret_n,
                struct lm_error *err)
{
  const struct lm_gc_packs *p = &gc->packs;
  CLEANUP_FREE struct candidate *c = calloc (p->n + 1, sizeof *c);
  CLEANUP_FREE size_t *out = calloc (p->n + 1, sizeof *out);
  uint64_t waste = 0, total = 0, small = 0;
  size_t i, n = 0, nr_out = 0;

  if (c == NULL || out == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory for packs");
  for (i = 0; i < p->n; i++) {
    const struct lm_gc_pack *pack = &p->packs[i];

    if (pack->condemned || !pack->whole || is_dead (pack))
      continue;
    total += pack->size;
    waste += unused (pack);
    small += pack->size < SMALL_PACK;
    c[n++] = (struct candidate) { i, (double) unused (pack) / pack->size };
  }
  qsort (c, n, sizeof *c, compare_candidates);
  for (i = 0; i < n; i++) {
    const struct lm_gc_pack *pack = &p->packs[c[i].nr];
    bool emptiest = waste * 100 > (double) gc->params->max_unused * total;

    if ((!emptiest || unused (pack) == 0) &&
        (small < SMALL_PACKS || pack->size >= SMALL_PACK))
      continue;
    waste -= unused (pack);
    total -= unused (pack);
    out[nr_out++] = c[i].nr;
  }
  *ret_packs = lm_steal (out);
  *ret_n = nr_out;
  return 0;
}

/* --- records about packs --- */

/* Condemn, together with the changes of WITH.  Packs that another
 * collection condemned meanwhile are left out: their entries do not
 * count for anybody from that record on. */
static int
condemn (struct gc *gc, const uint8_t (*ids)[LM_NAME_ID_LEN], size_t n,
         json_t *with_or_null, struct lm_error *err)
{
  CLEANUP_FREE uint8_t (*now)[LM_NAME_ID_LEN] = calloc (n + 1, sizeof *now);
  int try;

  if (now == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory for packs");
  for (try = 0; try < TRIES; try++) {
    const struct lm_journal_state *state = lm_repository_state (gc->repo);
    CLEANUP_JSON json_t *changes = with_or_null
      ? json_deep_copy (with_or_null) : json_array ();
    size_t i, k = 0;

    lm_error_clear (err);
    for (i = 0; i < n; i++)
      if (!lm_journal_state_condemned (state, ids[i]))
        memcpy (now[k++], ids[i], LM_NAME_ID_LEN);
    if (changes == NULL)
      return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    if (k > 0 &&
        lm_change_packs (changes, LM_CHANGE_PACK_CONDEMN,
                         (const uint8_t (*)[LM_NAME_ID_LEN]) now, k,
                         err) == -1)
      return -1;
    if (json_array_size (changes) == 0 ||
        lm_journal_commit (gc->repo, gc->lease, gc->writer, changes,
                           err) == 0)
      return 0;
    if (err->kind != LM_ERR_EXISTS && err->kind != LM_ERR_NOT_FOUND)
      return -1;
  }
  return -1;
}

static int
condemn_dead (struct gc *gc, struct lm_error *err)
{
  CLEANUP_FREE uint8_t (*ids)[LM_NAME_ID_LEN] = calloc (gc->packs.n + 1,
                                                        sizeof *ids);
  size_t i, n = 0, done, k;

  if (ids == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory for packs");
  for (i = 0; i < gc->packs.n; i++) {
    const struct lm_gc_pack *pack = &gc->packs.packs[i];

    if (pack->condemned || !is_dead (pack))
      continue;
    memcpy (ids[n++], pack->id, LM_NAME_ID_LEN);
    count (&gc->result->condemned, pack);
  }
  for (done = 0; done < n && !gc->params->dry_run; done += k) {
    k = n - done < PACKS_PER_RECORD ? n - done : PACKS_PER_RECORD;
    if (condemn (gc, (const uint8_t (*)[LM_NAME_ID_LEN]) ids + done, k,
                 NULL, err) == -1)
      return -1;
  }
  return 0;
}

/* Condemned packs that are needed after all.  LM_ERR_EXISTS when another
 * collection spared or deleted one since the mark. */
static int
spare_needed (struct gc *gc, struct lm_error *err)
{
  const struct lm_journal_state *state = lm_repository_state (gc->repo);
  CLEANUP (lm_id_set_release) struct lm_id_set packs =
    LM_ID_SET_INIT (LM_NAME_ID_LEN);
  CLEANUP_FREE uint8_t (*ids)[LM_NAME_ID_LEN] = calloc (gc->packs.n + 1,
                                                        sizeof *ids);
  CLEANUP_JSON json_t *changes = json_array ();
  struct lm_gc_count spared = { 0, 0 };
  size_t i;

  if (ids == NULL || changes == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory for packs");
  for (i = 0; i < gc->packs.n; i++) {
    const struct lm_gc_pack *pack = &gc->packs.packs[i];
    uint64_t since;

    if (pack->live_entries == 0 ||
        !lm_id_set_get (&state->condemned, pack->id, &since))
      continue;
    memcpy (ids[packs.n], pack->id, LM_NAME_ID_LEN);
    if (lm_id_set_add (&packs, pack->id, since, err) == -1)
      return -1;
    count (&spared, pack);
  }
  gc->result->spared = spared;
  if (packs.n == 0 || gc->params->dry_run)
    return 0;
  if (lm_change_packs (changes, LM_CHANGE_PACK_SPARE,
                       (const uint8_t (*)[LM_NAME_ID_LEN]) ids, packs.n,
                       err) == -1)
    return -1;
  if (lm_journal_commit_if (gc->repo, gc->lease, gc->writer, changes,
                            lm_gc_still_condemned, &packs, err) == 0)
    return 0;
  if (err->kind == LM_ERR_NOT_FOUND)
    err->kind = LM_ERR_EXISTS;
  return -1;
}

/* --- repack --- */

static bool
is_in (const uint8_t (*ids)[LM_NAME_ID_LEN], size_t n, const uint8_t *id)
{
  size_t i;

  for (i = 0; i < n; i++)
    if (memcmp (ids[i], id, LM_NAME_ID_LEN) == 0)
      return true;
  return false;
}

/* One record says where the chunks are now, and condemns the packs that
 * they came from. */
static int
commit_repacked (struct gc *gc, const size_t *packs, size_t n,
                 const struct lm_gc_repacked *done, json_t *changes,
                 struct lm_error *err)
{
  CLEANUP_FREE uint8_t (*ids)[LM_NAME_ID_LEN] = calloc (n + 1, sizeof *ids);
  size_t i, k = 0;

  if (ids == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory for packs");
  for (i = 0; i < n; i++) {
    const struct lm_gc_pack *pack = &gc->packs.packs[packs[i]];

    if (is_in ((const uint8_t (*)[LM_NAME_ID_LEN]) done->damaged,
               done->nr_damaged, pack->id))
      continue;
    memcpy (ids[k++], pack->id, LM_NAME_ID_LEN);
    count (&gc->result->repacked, pack);
    if (lm_id_set_add (&gc->repacked, pack->id, 0, err) == -1)
      return -1;
  }
  return condemn (gc, (const uint8_t (*)[LM_NAME_ID_LEN]) ids, k, changes,
                  err);
}

static unsigned
threads_of (const struct gc *gc)
{
  long cores = sysconf (_SC_NPROCESSORS_ONLN);

  return gc->params->threads ? : cores < 1 ? 1 : (unsigned) cores;
}

static int
repack_some (struct gc *gc, const size_t *packs, size_t n,
             struct lm_error *err)
{
  const struct lm_gc_repack what = {
    .packs = packs, .n = n, .threads = threads_of (gc),
    .cancel = gc->params->cancel,
  };
  CLEANUP_JSON json_t *changes = json_array ();
  struct lm_gc_repacked done = { .copied = 0 };
  int r;

  if (changes == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  if (lm_gc_repack_run (gc->repo, &gc->packs, &what, changes, &done,
                        err) == -1)
    return -1;
  r = commit_repacked (gc, packs, n, &done, changes, err);
  gc->result->copied += done.copied;
  gc->result->damaged += done.nr_damaged;
  free (done.damaged);
  return r;
}

/* In parts, so that one that is killed has not worked for nothing, and a
 * full disk is not made fuller than by this. */
#define REPACK_AT_ONCE ((size_t) 64)

static int
repack (struct gc *gc, struct lm_error *err)
{
  CLEANUP_FREE size_t *packs = NULL;
  size_t n = 0, done, k, i;

  if (choose_repacks (gc, &packs, &n, err) == -1)
    return -1;
  for (done = 0; done < n; done += k) {
    k = n - done < REPACK_AT_ONCE ? n - done : REPACK_AT_ONCE;
    report (gc, "repack", done, n);
    for (i = 0; gc->params->dry_run && i < k; i++) {
      count (&gc->result->repacked, &gc->packs.packs[packs[done + i]]);
      gc->result->copied += gc->packs.packs[packs[done + i]].live;
    }
    if (!gc->params->dry_run && repack_some (gc, packs + done, k, err) == -1)
      return -1;
  }
  return 0;
}

/* --- other writers --- */

/* What every other operation has seen of the journal: packs that were
 * condemned at or before that record are used by none of them.  It is no
 * later than what we have seen ourselves, for of a writer that came after
 * this look, and of what was condemned after that, nothing is known.
 * (Readers hold pins, not leases.) */
static int
horizon (struct gc *gc, uint64_t *ret_sequence, struct lm_error *err)
{
  const uint8_t *mine = lm_lease_id (gc->lease);
  uint64_t least = lm_repository_state (gc->repo)->sequence, blockers = 0;
  const struct lm_lease_seen *seen;
  size_t n, i;

  if (lm_lease_watch_look (gc->watch, err) == -1)
    return -1;
  seen = lm_lease_watch_seen (gc->watch, &n);
  for (i = 0; i < n; i++) {
    uint64_t loaded = 0;

    if (memcmp (seen[i].id, mine, LM_NAME_ID_LEN) == 0 ||
        (seen[i].readable &&
         strcmp (seen[i].info.kind, LM_FORGET_LEASE) == 0))
      continue;
    blockers++;
    if (seen[i].readable && seen[i].info.has_loaded)
      loaded = seen[i].info.loaded;
    if (loaded < least)
      least = loaded;
  }
  gc->result->blockers = blockers;
  *ret_sequence = least;
  return 0;
}

/* Give those that seem dead the time to prove it, so that no lease ever
 * needs a person; and with `wait` the backups that live the time to end.
 * (That another collection lives is enough: it never holds on to what it has
 * seen while it waits.) */
static int
wait_for_others (struct gc *gc, struct lm_error *err)
{
  static const char *const writers[] = { "backup", "copy", NULL };
  static const char *const all[] = { "backup", "copy", "gc", NULL };
  uint64_t mine = lm_repository_state (gc->repo)->sequence, seen;
  size_t revoked;

  /* What was marked is not used any more: let no one wait for us. */
  lm_lease_set_loaded (gc->lease, mine, true);
  if (horizon (gc, &seen, err) == -1)
    return -1;
  if (seen >= mine)
    return 0;
  report (gc, "wait", 0, 0);
  /* Once more, so that our own lease is seen alive at once. */
  lm_lease_set_loaded (gc->lease, mine, true);
  if (gc->params->wait &&
      lm_lease_watch_wait (gc->watch, writers, 0, gc->params->cancel,
                           err) == -1)
    return -1;
  if (lm_lease_watch_wait (gc->watch, all, LM_LEASE_WAIT_ALIVE_WILL_DO,
                           gc->params->cancel, err) == -1)
    return -1;
  return lm_lease_watch_revoke (gc->watch, gc->repo, gc->writer, &revoked,
                                err);
}

/* --- delete --- */

/* Condemned, not needed, and seen as condemned by all who are at work.
 * What was repacked just now may still be read through older indexes of
 * mounts: while there are pins it is left for the next time. */
static int
choose_deletable (struct gc *gc, uint64_t seen, struct lm_id_set *ret,
                  struct lm_error *err)
{
  const struct lm_journal_state *state = lm_repository_state (gc->repo);
  size_t i;

  memset (&gc->result->waiting, 0, sizeof gc->result->waiting);
  for (i = 0; i < gc->packs.n; i++) {
    const struct lm_gc_pack *pack = &gc->packs.packs[i];
    uint64_t since;

    if (pack->live_entries > 0 ||
        !lm_id_set_get (&state->condemned, pack->id, &since))
      continue;
    if (since > seen ||
        (gc->pinned.n > 0 && lm_id_set_has (&gc->repacked, pack->id)))
      count (&gc->result->waiting, pack);
    else if (lm_id_set_add (ret, pack->id, since, err) == -1)
      return -1;
  }
  return 0;
}

static void
count_deleted (struct gc *gc, const struct lm_id_set *packs)
{
  size_t i;

  for (i = 0; i < gc->packs.n; i++)
    if (lm_id_set_has (packs, gc->packs.packs[i].id))
      count (&gc->result->deleted, &gc->packs.packs[i]);
}

/* LM_ERR_EXISTS: once more, from the mark. */
static int
try_delete (struct gc *gc, struct lm_error *err)
{
  CLEANUP (lm_id_set_release) struct lm_id_set packs =
    LM_ID_SET_INIT (LM_NAME_ID_LEN);
  uint64_t seen, removed = 0;

  /* The leases first, then the state: whoever comes later has seen it. */
  if (horizon (gc, &seen, err) == -1 ||
      mark (gc, "mark again", err) == -1 ||
      spare_needed (gc, err) == -1 ||
      choose_deletable (gc, seen, &packs, err) == -1)
    return -1;
  report (gc, "delete", 0, packs.n);
  if (packs.n > 0 &&
      lm_gc_sweep_packs (gc->repo, gc->lease, gc->writer, &packs, &removed,
                         err) == -1)
    return -1;
  count_deleted (gc, &packs);
  if (gc->result->blockers == 0)
    gc->result->objects = lm_gc_strays_remove (gc->repo, &gc->strays);
  return 0;
}

static int
delete (struct gc *gc, struct lm_error *err)
{
  int try, r = -1;

  for (try = 0; try < TRIES && r == -1; try++) {
    lm_error_clear (err);
    r = try_delete (gc, err);
    if (r == -1 && err->kind != LM_ERR_EXISTS)
      break;
  }
  return r;
}

/* --- all of it --- */

static void
take_totals (struct gc *gc)
{
  size_t i;

  for (i = 0; i < gc->packs.n; i++) {
    count (&gc->result->stored, &gc->packs.packs[i]);
    gc->result->live_bytes += gc->packs.packs[i].live;
  }
}

static int
run_dry (struct gc *gc, struct lm_error *err)
{
  const struct lm_journal_state *state = lm_repository_state (gc->repo);
  size_t i;

  if (condemn_dead (gc, err) == -1 || spare_needed (gc, err) == -1)
    return -1;
  for (i = 0; i < gc->packs.n; i++)
    if (gc->packs.packs[i].live_entries == 0 &&
        lm_journal_state_condemned (state, gc->packs.packs[i].id))
      count (&gc->result->waiting, &gc->packs.packs[i]);
  return repack (gc, err);
}

static int
run (struct gc *gc, struct lm_error *err)
{
  uint64_t start = lm_clock_monotonic ();

  if (mark (gc, "mark", err) == -1)
    return -1;
  gc->result->mark_seconds = (lm_clock_monotonic () - start) / 1e9;
  take_totals (gc);
  if (gc->params->dry_run)
    return run_dry (gc, err);
  if (lm_gc_strays_list (gc->repo, &gc->pinned, &gc->strays, err) == -1 ||
      condemn_dead (gc, err) == -1 || repack (gc, err) == -1 ||
      wait_for_others (gc, err) == -1)
    return -1;
  return delete (gc, err);
}

static int
run_once (struct lm_repository *repo, const struct lm_gc_params *params,
          struct lm_gc_result *result, struct lm_error *err)
{
  struct gc gc = {
    .repo = repo, .params = params, .result = result,
    .pinned = LM_ID_SET_INIT (LM_NAME_ID_LEN),
    .repacked = LM_ID_SET_INIT (LM_NAME_ID_LEN),
  };
  int r = -1;

  memset (result, 0, sizeof *result);
  gc.writer = lm_whoami_writer ("gc", err);
  gc.watch = lm_lease_watch_new (repo->store, repo->keys, err);
  if (gc.writer && gc.watch && !params->dry_run)
    gc.lease = lm_lease_acquire (repo, "gc", 0, err);
  if (gc.writer && gc.watch && (gc.lease || params->dry_run))
    r = run (&gc, err);
  lm_gc_strays_release (&gc.strays);
  lm_gc_packs_release (&gc.packs);
  lm_id_set_release (&gc.pinned);
  lm_id_set_release (&gc.repacked);
  lm_lease_watch_free (gc.watch);
  lm_lease_release (gc.lease);
  free (gc.writer);
  return r;
}

int
lm_gc_run (struct lm_repository *repo, const struct lm_gc_params *params,
           struct lm_gc_result *ret_result, struct lm_error *err)
{
  struct lm_gc_result result;
  int r;

  if (!params->dry_run && lm_repository_check_writable (repo, err) == -1)
    return -1;
  /* On a full file system the room that was kept is used. */
  while ((r = run_once (repo, params, &result, err)) == -1 &&
         !params->dry_run && lm_reserve_drop (repo->store, err))
    ;
  if (!params->dry_run)
    lm_reserve_restore (repo->store);
  if (r == 0)
    *ret_result = result;
  return r;
}
