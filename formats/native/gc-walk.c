/* SPDX-License-Identifier: Apache-2.0
 *
 * Walking all maps at once; see gc-walk.h.
 *
 * (The plain way, depth first with a set of the nodes seen, reads nodes in
 * the order of the disk instead of that of the packs, and asks the index
 * at random places for each.)
 */
#include <config.h>

#include "formats/native/gc-walk.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "common/wire.h"
#include "formats/native/chunk-read.h"
#include "formats/native/disk-map.h"
#include "formats/native/journal.h"
#include "formats/native/repository-internal.h"
#include "common/banned.h"

/* Nodes that are read in one go.  Each look-up maps some pages of the
 * index around its place, which are dropped after the batch: so either they
 * are few, or they lie among few entries (of 52 bytes). */
#define BATCH ((size_t) 16 << 10)
#define BATCH_FEW 128
#define BATCH_SPAN (UINT64_C (2) << 20)

/* References that are held before a pass over the index is made for them:
 * 256 MiB. */
#define REFS_MAX ((size_t) 32 << 20)

#define THREADS_MAX 16

/* Nodes of one level, in any order until they are sorted. */
struct level {
  uint8_t (*ids)[LM_ID_LEN];
  size_t n, alloc;
};

struct lm_gc_walk {
  struct lm_repository *repo;
  struct lm_gc_packs *packs;
  unsigned threads;
  const volatile sig_atomic_t *cancel;
  struct level levels[LM_NODE_LEVELS_MAX + 1];

  pthread_mutex_t lock;         /* everything below, and levels[] below the
                                 * one that is being read */
  struct lm_gc_refs refs;
  struct lm_gc_walk_statistics statistics;
  bool failed;
  struct lm_error error;        /* the first one */
};

/* Where a node of the batch is stored. */
struct place {
  const uint8_t *id;
  uint32_t pack;                /* a number of w->packs */
  uint32_t offset;
};

/* A thread's share of a batch. */
struct share {
  struct lm_gc_walk *w;
  int level;
  const struct place *places;
  size_t n;
  struct level children;        /* its own, merged at the end */
};

struct lm_gc_walk *
lm_gc_walk_new (struct lm_repository *repo, struct lm_gc_packs *packs,
                unsigned threads, const volatile sig_atomic_t *cancel,
                struct lm_error *err)
{
  struct lm_gc_walk *w = calloc (1, sizeof *w);
  long cores = sysconf (_SC_NPROCESSORS_ONLN);

  if (w == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  w->repo = repo;
  w->packs = packs;
  w->threads = threads ? threads : cores < 1 ? 1 : (unsigned) cores;
  w->threads = lm_min_u64 (w->threads, THREADS_MAX);
  w->cancel = cancel;
  pthread_mutex_init (&w->lock, NULL);
  if (lm_gc_refs_init (&w->refs, REFS_MAX, err) == -1) {
    lm_gc_walk_free (w);
    return NULL;
  }
  return w;
}

void
lm_gc_walk_free (struct lm_gc_walk *w)
{
  size_t i;

  if (w == NULL)
    return;
  for (i = 0; i <= LM_NODE_LEVELS_MAX; i++)
    free (w->levels[i].ids);
  lm_gc_refs_release (&w->refs);
  pthread_mutex_destroy (&w->lock);
  free (w);
}

static int
level_add (struct level *l, const uint8_t (*ids)[LM_ID_LEN], size_t n,
           struct lm_error *err)
{
  if (l->alloc - l->n < n) {
    size_t alloc = lm_max_u64 (l->n + n, l->alloc ? 2 * l->alloc : 256);
    uint8_t (*bigger)[LM_ID_LEN] = realloc (l->ids, alloc * sizeof *bigger);

    if (bigger == NULL)
      return lm_error_set (err, LM_ERR_NOMEM, "out of memory for %zu map "
                           "nodes", alloc);
    l->ids = bigger;
    l->alloc = alloc;
  }
  if (n > 0)
    memcpy (l->ids + l->n, ids, n * LM_ID_LEN);
  l->n += n;
  return 0;
}

static int
add_root (struct lm_gc_walk *w, bool has_root, uint64_t size,
          const uint8_t root[LM_ID_LEN], struct lm_error *err)
{
  uint64_t chunks = lm_div_up (size, lm_repository_chunk_size (w->repo));

  if (!has_root)
    return 0;
  return level_add (&w->levels[lm_map_height (chunks)],
                    (const uint8_t (*)[LM_ID_LEN]) root, 1, err);
}

int
lm_gc_walk_add (struct lm_gc_walk *w, const struct lm_snapshot *s,
                struct lm_error *err)
{
  size_t i;

  for (i = 0; i < s->nr_disks; i++)
    if (add_root (w, s->disks[i].has_root, s->disks[i].size,
                  s->disks[i].root, err) == -1)
      return -1;
  for (i = 0; i < s->nr_files; i++)
    if (add_root (w, s->files[i].has_root, s->files[i].size,
                  s->files[i].root, err) == -1)
      return -1;
  return 0;
}

/* --- references --- */

/* From one thread, or with the lock. */
static int
add_refs (struct lm_gc_walk *w, const uint8_t (*ids)[LM_ID_LEN],
                 size_t n, struct lm_error *err)
{
  size_t i;

  if (!lm_gc_refs_has_room (&w->refs, n) &&
      lm_gc_packs_apply (w->packs, &w->refs, err) == -1)
    return -1;
  for (i = 0; i < n; i++)
    lm_gc_refs_add (&w->refs, ids[i]);
  return 0;
}

/* The present entries of a node, packed. */
static size_t
present (const struct lm_map_node *node, uint8_t out[][LM_ID_LEN])
{
  size_t i, n = 0;

  for (i = 0; i < LM_NODE_FANOUT; i++)
    if (!lm_id_is_zero (node->ids[i]))
      memcpy (out[n++], node->ids[i], LM_ID_LEN);
  return n;
}

static int
take_node (struct share *s, const struct lm_map_node *node,
           struct lm_error *err)
{
  struct lm_gc_walk *w = s->w;
  uint8_t ids[LM_NODE_FANOUT][LM_ID_LEN];
  size_t n = present (node, ids);

  if (s->level > 1)
    return level_add (&s->children, ids, n, err);
  LM_LOCK_FOR_SCOPE (&w->lock);
  w->statistics.references += n;
  return add_refs (w, ids, n, err);
}

/* --- reading nodes --- */

static int
read_node (struct share *s, const struct place *p, struct lm_error *err)
{
  struct lm_gc_walk *w = s->w;
  uint8_t plain[LM_NODE_SIZE_MAX];
  struct lm_map_node node;
  uint32_t len;

  if (lm_journal_state_lost (lm_repository_state (w->repo), LM_TYPE_NODE,
                             p->id))
    return 0;
  if (lm_chunk_read (w->repo, LM_TYPE_NODE, p->id, plain, sizeof plain, &len,
                     err) == -1 ||
      lm_map_node_decode (plain, len, s->level, LM_NODE_FANOUT, &node,
                          err) == -1)
    return -1;
  __atomic_fetch_add (&w->statistics.nodes, 1, __ATOMIC_RELAXED);
  __atomic_fetch_add (&w->statistics.node_bytes, len, __ATOMIC_RELAXED);
  return take_node (s, &node, err);
}

static void *
reader (void *opaque)
{
  struct share *s = opaque;
  struct lm_gc_walk *w = s->w;
  struct lm_error err = LM_ERROR_INIT;
  size_t i;
  int r = 0;

  for (i = 0; i < s->n && r == 0; i++) {
    if (__atomic_load_n (&w->failed, __ATOMIC_RELAXED))
      return NULL;
    if (w->cancel && *w->cancel)
      r = lm_error_set (&err, LM_ERR_INTERRUPTED, "interrupted");
    else
      r = read_node (s, &s->places[i], &err);
  }
  if (r == -1) {
    LM_LOCK_FOR_SCOPE (&w->lock);
    if (!w->failed)
      w->error = err;
    __atomic_store_n (&w->failed, true, __ATOMIC_RELAXED);
  }
  return NULL;
}

/* Share the batch out; the calling thread takes what no thread could be
 * started for. */
static int
read_batch (struct lm_gc_walk *w, int level, const struct place *places,
            size_t n, struct lm_error *err)
{
  struct share shares[THREADS_MAX];
  pthread_t threads[THREADS_MAX];
  size_t each = lm_div_up (n, w->threads), done = 0;
  unsigned i, nr = 0, started = 0;
  int r = 0;

  for (nr = 0; nr < w->threads && done < n; nr++) {
    size_t count = lm_min_u64 (each, n - done);

    shares[nr] = (struct share) { .w = w, .level = level,
                                  .places = places + done, .n = count };
    done += count;
  }
  while (started < nr && pthread_create (&threads[started], NULL, reader,
                                         &shares[started]) == 0)
    started++;
  for (i = started; i < nr; i++)
    reader (&shares[i]);
  for (i = 0; i < started; i++)
    pthread_join (threads[i], NULL);
  for (i = 0; i < nr; i++) {
    if (r == 0 && shares[i].children.n > 0)
      r = level_add (&w->levels[level - 1],
                     (const uint8_t (*)[LM_ID_LEN]) shares[i].children.ids,
                     shares[i].children.n, err);
    free (shares[i].children.ids);
  }
  if (w->failed) {
    *err = w->error;
    return -1;
  }
  return r;
}

/* --- one level --- */

static int
compare_ids (const void *a, const void *b)
{
  return memcmp (a, b, LM_ID_LEN);
}

static void
sort_level (struct level *l)
{
  size_t i, out = 0;

  if (l->n == 0)
    return;
  qsort (l->ids, l->n, LM_ID_LEN, compare_ids);
  for (i = 0; i < l->n; i++)
    if (i == 0 || memcmp (l->ids[i], l->ids[out - 1], LM_ID_LEN) != 0)
      memmove (l->ids[out++], l->ids[i], LM_ID_LEN);
  l->n = out;
}

static int
compare_places (const void *va, const void *vb)
{
  const struct place *a = va, *b = vb;

  if (a->pack != b->pack)
    return a->pack < b->pack ? -1 : 1;
  return a->offset < b->offset ? -1 : a->offset > b->offset;
}

/* Where a copy lies, as the index says: for the order only.  POS are
 * places of the pass over the runs. */
static void
locate (const struct lm_gc_packs *packs, uint64_t *pos,
        const uint8_t id[LM_ID_LEN], struct place *ret)
{
  uint64_t key = lm_get_be64 (id);
  size_t i;

  *ret = (struct place) { .id = id, .pack = UINT32_MAX };
  for (i = 0; i < packs->nr_runs; i++) {
    const struct lm_gc_run *r = &packs->runs[i];
    struct lm_error ignored = LM_ERROR_INIT;
    uint8_t base[LM_ID_LEN];
    struct lm_entry e;

    pos[i] = lm_index_run_seek (r->run, pos[i], key);
    if (ret->pack == UINT32_MAX && pos[i] < lm_index_run_entries (r->run) &&
        lm_index_run_get (r->run, pos[i], &e, base, &ignored) == 0 &&
        memcmp (e.id, id, LM_ID_LEN) == 0) {
      ret->pack = r->packs[e.pack];
      ret->offset = e.offset;
    }
  }
}

/* How many nodes from DONE on make a batch.  Ids are uniform. */
static size_t
batch_size (const struct lm_gc_walk *w, const struct level *l, size_t done)
{
  size_t n = lm_min_u64 (l->n - done, BATCH), i;
  double entries = 0;

  for (i = 0; i < w->packs->nr_runs; i++)
    entries += lm_index_run_entries (w->packs->runs[i].run);
  while (n > BATCH_FEW &&
         (lm_get_be64 (l->ids[done + n - 1]) - lm_get_be64 (l->ids[done])) /
         (double) UINT64_MAX * entries > BATCH_SPAN)
    n /= 2;
  return n;
}

static int
walk_level (struct lm_gc_walk *w, int level, struct lm_error *err)
{
  struct level *l = &w->levels[level];
  CLEANUP_FREE struct place *places = NULL;
  CLEANUP_FREE uint64_t *pos = calloc (w->packs->nr_runs + 1, sizeof *pos);
  CLEANUP_FREE uint64_t *before = calloc (w->packs->nr_runs + 1,
                                          sizeof *before);
  size_t done, n, i;

  sort_level (l);
  places = calloc (lm_min_u64 (l->n, BATCH) + 1, sizeof *places);
  if (places == NULL || pos == NULL || before == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory for map nodes");
  for (done = 0; done < l->n; done += n) {
    n = batch_size (w, l, done);
    if (add_refs (w, (const uint8_t (*)[LM_ID_LEN]) l->ids + done, n,
                  err) == -1)
      return -1;
    for (i = 0; i < n; i++)
      locate (w->packs, pos, l->ids[done + i], &places[i]);
    qsort (places, n, sizeof *places, compare_places);
    if (read_batch (w, level, places, n, err) == -1)
      return -1;
    for (i = 0; i < w->packs->nr_runs; i++) {
      lm_index_run_passed (w->packs->runs[i].run, before[i], pos[i]);
      before[i] = pos[i];
    }
  }
  free (l->ids);
  *l = (struct level) { NULL, 0, 0 };
  return 0;
}

int
lm_gc_walk_run (struct lm_gc_walk *w,
                struct lm_gc_walk_statistics *ret_statistics,
                struct lm_error *err)
{
  int level;

  for (level = LM_NODE_LEVELS_MAX; level >= 1; level--)
    if (walk_level (w, level, err) == -1)
      return -1;
  if (lm_gc_packs_apply (w->packs, &w->refs, err) == -1 ||
      lm_gc_packs_apply_bases (w->packs, err) == -1)
    return -1;
  *ret_statistics = w->statistics;
  return 0;
}
