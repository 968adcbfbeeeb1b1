/* SPDX-License-Identifier: Apache-2.0
 *
 * Segments and packs; see check-packs.h.
 *
 * Packs are taken one by one, by several threads: the table of contents
 * is read and checked, and with read_data every chunk in the order in
 * which they lie.  A chunk is good when any copy of it is.  What is stored
 * against a base comes last, when it is known which bases are good: one
 * whose base is not is no damage by itself, for nobody may need it; the
 * walk over the snapshots knows.
 */
#include <config.h>

#include "formats/native/check-packs.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "common/hex.h"
#include "common/random.h"
#include "common/timed-wait.h"
#include "formats/native/chunk-index.h"
#include "formats/native/chunk-read.h"
#include "formats/native/journal.h"
#include "formats/native/pack-read.h"
#include "formats/native/pack-write.h"
#include "formats/native/repository-internal.h"
#include "formats/native/segment.h"
#include "common/banned.h"

#define THREADS_MAX 64

/* An entry that is stored against a base. */
struct delta {
  uint8_t pack[LM_NAME_ID_LEN];
  struct lm_entry entry;
  uint8_t base[LM_ID_LEN];
};

struct packs;

/* A thread's buffers. */
struct buffers {
  uint8_t *stored;
  uint8_t *plain;               /* LM_CHUNK_SIZE_MAX bytes */
};

struct packs {
  struct lm_check *c;
  /* What threads do with number NR of what there is to do. */
  int (*work) (struct packs *p, size_t nr, struct buffers *b,
               struct lm_error *err);
  size_t nr_work;
  struct lm_segment_pack *packs;
  size_t nr, alloc;

  pthread_mutex_t lock;         /* everything below, and c's members */
  pthread_cond_t changed;
  size_t next;
  struct delta *deltas;
  size_t nr_deltas, alloc_deltas;
  uint64_t bytes_total, bytes_done;
  unsigned running;
  bool failed;
  struct lm_error error;
};

void
lm_check_key (enum lm_object_type type, const uint8_t id[LM_ID_LEN],
              uint8_t out[LM_CHECK_KEY_LEN])
{
  /* The id first: sets hash by the first bytes. */
  memcpy (out, id, LM_ID_LEN);
  out[LM_ID_LEN] = type;
}

void
lm_check_damage (struct lm_check *c, const char *object,
                 const struct lm_error *why)
{
  c->result->damaged++;
  if (c->params->damage)
    c->params->damage (c->params->opaque, object, why);
}

static bool
cancelled (const struct lm_check *c)
{
  return c->params->cancel && *c->params->cancel;
}

static void
damage_locked (struct packs *p, const char *object,
               const struct lm_error *why)
{
  LM_LOCK_FOR_SCOPE (&p->lock);

  lm_check_damage (p->c, object, why);
}

static int
pack_damage (struct packs *p, const struct lm_segment_pack *pack,
             const char *name, const struct lm_error *why,
             struct lm_error *err)
{
  LM_LOCK_FOR_SCOPE (&p->lock);

  lm_check_damage (p->c, name, why);
  return lm_id_set_add (&p->c->reported_packs, pack->id, 0, err);
}

/* Add an entry to `good` (with that value) or `reported`. */
static int
add_to (struct packs *p, struct lm_id_set *set, const struct lm_entry *e,
        struct lm_error *err)
{
  LM_LOCK_FOR_SCOPE (&p->lock);
  uint8_t key[LM_CHECK_KEY_LEN];

  lm_check_key (e->type, e->id, key);
  return lm_id_set_add (set, key, e->base == 0 ? LM_CHECK_GOOD_FULL
                        : LM_CHECK_GOOD_DELTA, err);
}

/* Read, authenticate and decode one chunk of a pack, and compute its id.
 * BASE is NULL for one that is stored in full. */
static int
read_chunk (struct packs *p, const char *name, const struct lm_entry *e,
            const uint8_t *base_or_null, struct buffers *b,
            struct lm_error *err)
{
  struct lm_repository *repo = p->c->repo;
  struct lm_sealer *sealer = lm_sealer_for_thread (repo->keys, err);
  struct lm_chunk_ref ref = {
    .type = e->type, .encoding = e->encoding, .plain_len = e->plain_len,
    .stored_len = e->stored_len,
  };
  struct lm_codec_base base;
  uint8_t *bigger = realloc (b->stored, e->stored_len + 1);

  if (bigger == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  b->stored = bigger;
  memcpy (ref.id, e->id, LM_ID_LEN);
  if (sealer == NULL ||
      lm_store_get_range (repo->store, name, b->stored, e->stored_len,
                          e->offset, err) == -1)
    return -1;
  if (base_or_null == NULL)
    return lm_open_chunk (sealer, &ref, b->stored, b->plain, 1, err);
  memcpy (ref.base, base_or_null, LM_ID_LEN);
  if (lm_chunk_read_base (repo, base_or_null, &base, err) == -1)
    return -1;
  return lm_open_delta (sealer, &ref, &base, b->stored, b->plain, 1, err);
}

static int
check_chunk (struct packs *p, const char *name, const struct lm_entry *e,
             const uint8_t *base_or_null, struct buffers *b,
             struct lm_error *err)
{
  struct lm_error why = LM_ERROR_INIT;
  char object[LM_PACK_NAME_LEN + 100], hex[2 * LM_ID_LEN + 1];

  if (!p->c->params->read_data ||
      read_chunk (p, name, e, base_or_null, b, &why) == 0)
    return add_to (p, &p->c->good, e, err);
  if (why.kind == LM_ERR_NOMEM) {
    *err = why;
    return -1;
  }
  lm_hex_encode (e->id, LM_ID_LEN, hex);
  snprintf (object, sizeof object, "%s: %s %s at 0x%" PRIx32, name,
            e->type == LM_TYPE_NODE ? "map node" : "chunk", hex, e->offset);
  damage_locked (p, object, &why);
  return add_to (p, &p->c->reported, e, err);
}

/* Keep what has a base for later. */
static int
defer (struct packs *p, const struct lm_segment_pack *pack,
       const struct lm_entry *e, const uint8_t base[LM_ID_LEN],
       struct lm_error *err)
{
  LM_LOCK_FOR_SCOPE (&p->lock);
  struct delta *d;

  if (p->nr_deltas == p->alloc_deltas) {
    size_t alloc = p->alloc_deltas ? 2 * p->alloc_deltas : 64;
    struct delta *bigger = realloc (p->deltas, alloc * sizeof *bigger);

    if (bigger == NULL)
      return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    p->deltas = bigger;
    p->alloc_deltas = alloc;
  }
  d = &p->deltas[p->nr_deltas++];
  memcpy (d->pack, pack->id, LM_NAME_ID_LEN);
  d->entry = *e;
  memcpy (d->base, base, LM_ID_LEN);
  return 0;
}

static int
check_entry (struct packs *p, const char *name,
             const struct lm_segment_pack *pack, const struct lm_entry *e,
             const struct lm_pack_toc *toc, struct buffers *b,
             struct lm_error *err)
{
  const uint8_t *base =
    lm_entry_base (e, (const uint8_t (*)[LM_ID_LEN]) toc->bases);

  if (cancelled (p->c))
    return lm_error_set (err, LM_ERR_INTERRUPTED, "interrupted");
  return base ? defer (p, pack, e, base, err)
    : check_chunk (p, name, e, NULL, b, err);
}

static int
check_pack (struct packs *p, const struct lm_segment_pack *pack,
            struct buffers *b, struct lm_error *err)
{
  CLEANUP (lm_pack_toc_release) struct lm_pack_toc toc = { 0 };
  struct lm_repository *repo = p->c->repo;
  struct lm_error why = LM_ERROR_INIT;
  char name[LM_PACK_NAME_LEN + 1];
  uint64_t size;
  uint32_t i;

  lm_pack_name (pack->id, name);
  if (lm_store_stat (repo->store, name, &size, &why) == -1)
    return pack_damage (p, pack, name, &why, err);
  if (size != pack->size) {
    lm_corrupt (&why, "%" PRIu64 " bytes, the index says %" PRIu32, size,
                pack->size);
    if (pack_damage (p, pack, name, &why, err) == -1)
      return -1;
  }
  if (lm_pack_toc_read (repo->store, repo->keys, pack->id, size, &toc,
                        &why) == -1)
    return size == pack->size ? pack_damage (p, pack, name, &why, err) : 0;
  for (i = 0; i < toc.nr_entries; i++)
    if (check_entry (p, name, pack, &toc.entries[i], &toc, b, err) == -1)
      return -1;
  return 0;
}

static int
work_on_pack (struct packs *p, size_t nr, struct buffers *b,
              struct lm_error *err)
{
  int r = check_pack (p, &p->packs[nr], b, err);
  LM_LOCK_FOR_SCOPE (&p->lock);

  p->bytes_done += p->packs[nr].size;
  return r;
}

static int
add_orphan (struct lm_check *c, const struct delta *d, struct lm_error *err)
{
  uint8_t (*bigger)[LM_ID_LEN];

  if (lm_id_set_has (&c->orphans, d->entry.id))
    return 0;
  bigger = realloc (c->orphan_bases, (c->orphans.n + 1) * sizeof *bigger);
  if (bigger == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  c->orphan_bases = bigger;
  memcpy (bigger[c->orphans.n], d->base, LM_ID_LEN);
  return lm_id_set_add (&c->orphans, d->entry.id, c->orphans.n, err);
}

static int
work_on_delta (struct packs *p, size_t nr, struct buffers *b,
               struct lm_error *err)
{
  const struct delta *d = &p->deltas[nr];
  uint8_t key[LM_CHECK_KEY_LEN];
  char name[LM_PACK_NAME_LEN + 1];
  uint64_t how;
  int r = 0;

  if (cancelled (p->c))
    return lm_error_set (err, LM_ERR_INTERRUPTED, "interrupted");
  lm_check_key (LM_TYPE_CHUNK, d->base, key);
  pthread_mutex_lock (&p->lock);
  if (!lm_id_set_get (&p->c->good, key, &how) || how != LM_CHECK_GOOD_FULL)
    r = add_orphan (p->c, d, err) == -1 ? -1 : 1;
  pthread_mutex_unlock (&p->lock);
  if (r != 0)
    return r == 1 ? 0 : -1;
  lm_pack_name (d->pack, name);
  return check_chunk (p, name, &d->entry, d->base, b, err);
}

static void *
worker (void *opaque)
{
  struct packs *p = opaque;
  struct lm_error err = LM_ERROR_INIT;
  struct buffers b = { NULL, malloc (LM_CHUNK_SIZE_MAX) };
  int r = b.plain ? 0 : lm_error_set (&err, LM_ERR_NOMEM, "out of memory");

  pthread_mutex_lock (&p->lock);
  while (r == 0 && !p->failed && p->next < p->nr_work) {
    size_t nr = p->next++;

    pthread_mutex_unlock (&p->lock);
    r = p->work (p, nr, &b, &err);
    pthread_mutex_lock (&p->lock);
  }
  if (r == -1 && !p->failed) {
    p->failed = true;
    p->error = err;
  }
  p->running--;
  pthread_cond_broadcast (&p->changed);
  pthread_mutex_unlock (&p->lock);
  free (b.stored);
  free (b.plain);
  return NULL;
}

static int
add_pack (struct packs *p, const uint8_t id[LM_NAME_ID_LEN], uint32_t size,
          struct lm_id_set *seen, struct lm_error *err)
{
  if (lm_id_set_has (seen, id))
    return 0;
  if (p->nr == p->alloc) {
    size_t alloc = p->alloc ? 2 * p->alloc : 64;
    struct lm_segment_pack *bigger =
      realloc (p->packs, alloc * sizeof *bigger);

    if (bigger == NULL)
      return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    p->packs = bigger;
    p->alloc = alloc;
  }
  memcpy (p->packs[p->nr].id, id, LM_NAME_ID_LEN);
  p->packs[p->nr++].size = size;
  p->bytes_total += size;
  return lm_id_set_add (seen, id, 0, err);
}

/* Read every live segment; their packs, and what was found without a
 * segment that is damaged, become the list of work. */
static int
list_packs (struct packs *p, struct lm_error *err)
{
  struct lm_repository *repo = p->c->repo;
  const struct lm_journal_state *state = lm_repository_state (repo);
  const struct lm_id_set *salvaged = lm_chunk_index_salvaged (repo->index);
  CLEANUP (lm_id_set_release) struct lm_id_set seen =
    LM_ID_SET_INIT (LM_NAME_ID_LEN);
  CLEANUP_FREE const uint8_t **found = NULL;
  size_t i;
  uint32_t j;

  for (i = 0; i < state->nr_segments; i++) {
    CLEANUP (lm_segment_release) struct lm_segment seg = LM_SEGMENT_INIT;
    struct lm_error why = LM_ERROR_INIT;

    p->c->result->segments++;
    if (lm_segment_get (repo->store, repo->keys, state->segments[i].id, &seg,
                        &why) == -1) {
      char object[6 + 2 * LM_NAME_ID_LEN + 1] = "index/";

      lm_hex_encode (state->segments[i].id, LM_NAME_ID_LEN, object + 6);
      lm_check_damage (p->c, object, &why);
      continue;
    }
    for (j = 0; j < seg.nr_packs; j++)
      if (add_pack (p, seg.packs[j].id, seg.packs[j].size, &seen,
                    err) == -1)
        return -1;
  }
  found = lm_id_set_sorted (salvaged, err);
  if (found == NULL)
    return -1;
  for (i = 0; i < salvaged->n; i++)
    if (add_pack (p, found[i], lm_id_set_value_at (salvaged, found[i]),
                  &seen, err) == -1)
      return -1;
  p->c->result->packs = p->nr;
  return 0;
}

static void
report_progress (struct packs *p)
{
  struct lm_check_progress progress = {
    .phase = p->c->params->read_data ? "data" : "packs",
    .total = p->bytes_total, .done = p->bytes_done,
  };

  if (p->c->params->progress)
    p->c->params->progress (p->c->params->opaque, &progress);
}

/* Do WORK with all numbers below N. */
static int
run_threads (struct packs *p, size_t nr_work,
             int (*work) (struct packs *, size_t, struct buffers *,
                          struct lm_error *), struct lm_error *err)
{
  pthread_t ids[THREADS_MAX];
  long cores = sysconf (_SC_NPROCESSORS_ONLN);
  unsigned n = p->c->params->threads ? : cores < 1 ? 1 : (unsigned) cores;
  unsigned started;

  n = lm_min_u64 (n, THREADS_MAX);
  p->work = work;
  p->nr_work = nr_work;
  p->next = 0;
  p->running = n;
  for (started = 0; started < n; started++)
    if (pthread_create (&ids[started], NULL, worker, p) != 0)
      break;
  pthread_mutex_lock (&p->lock);
  p->running -= n - started;
  while (p->running > 0) {
    lm_cond_wait_until (&p->changed, &p->lock,
                        lm_clock_monotonic () + UINT64_C (1000000000));
    report_progress (p);
  }
  pthread_mutex_unlock (&p->lock);
  for (n = 0; n < started; n++)
    pthread_join (ids[n], NULL);
  if (started == 0)
    return lm_error_set (err, LM_ERR_IO, "cannot start a thread");
  if (p->failed)
    *err = p->error;
  return p->failed ? -1 : 0;
}

int
lm_check_packs (struct lm_check *c, struct lm_error *err)
{
  struct packs p = { .c = c };
  int r;

  pthread_mutex_init (&p.lock, NULL);
  lm_cond_init (&p.changed);
  r = list_packs (&p, err);
  if (r == 0)
    r = run_threads (&p, p.nr, work_on_pack, err);
  if (r == 0 && p.nr_deltas > 0)
    r = run_threads (&p, p.nr_deltas, work_on_delta, err);
  c->result->bytes_read = p.bytes_done;
  free (p.packs);
  free (p.deltas);
  pthread_cond_destroy (&p.changed);
  pthread_mutex_destroy (&p.lock);
  return r;
}
