/* SPDX-License-Identifier: Apache-2.0
 *
 * Segments and packs; see check-packs.h.
 *
 * Packs are taken one by one, by several threads: the table of contents
 * is read and checked, and with read_data every chunk in the order in
 * which they lie.  A chunk is good when any copy of it is.
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
#include "formats/native/journal.h"
#include "formats/native/pack-read.h"
#include "formats/native/pack-write.h"
#include "formats/native/repository-internal.h"
#include "formats/native/segment.h"
#include "common/banned.h"

#define THREADS_MAX 64

struct packs {
  struct lm_check *c;
  pthread_mutex_t lock;         /* everything below, and c's members */
  pthread_cond_t changed;
  struct lm_segment_pack *packs;
  size_t nr, alloc, next;
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

/* Add an entry to `good` or `reported`. */
static int
add_to (struct packs *p, struct lm_id_set *set, const struct lm_entry *e,
        struct lm_error *err)
{
  LM_LOCK_FOR_SCOPE (&p->lock);
  uint8_t key[LM_CHECK_KEY_LEN];

  lm_check_key (e->type, e->id, key);
  return lm_id_set_add (set, key, 0, err);
}

/* Read, authenticate and decode one chunk of a pack, and compute its id. */
static int
check_chunk (struct packs *p, const char *name, const struct lm_entry *e,
             const struct lm_pack_toc *toc, uint8_t **stored,
             uint8_t *plain, struct lm_error *err)
{
  struct lm_repository *repo = p->c->repo;
  struct lm_sealer *sealer = lm_sealer_for_thread (repo->keys, err);
  struct lm_error why = LM_ERROR_INIT;
  struct lm_chunk_ref ref = {
    .type = e->type, .encoding = e->encoding, .plain_len = e->plain_len,
    .stored_len = e->stored_len,
  };
  char object[LM_PACK_NAME_LEN + 100], hex[2 * LM_ID_LEN + 1];
  uint8_t *bigger;

  if (sealer == NULL)
    return -1;
  memcpy (ref.id, e->id, LM_ID_LEN);
  if (e->base > 0)
    memcpy (ref.base, toc->bases[e->base - 1], LM_ID_LEN);
  bigger = realloc (*stored, e->stored_len + 1);
  if (bigger == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  *stored = bigger;
  if (lm_store_get_range (repo->store, name, *stored, e->stored_len,
                          e->offset, &why) == 0 &&
      lm_open_chunk (sealer, &ref, *stored, plain, 1, &why) == 0)
    return add_to (p, &p->c->good, e, err);
  lm_hex_encode (e->id, LM_ID_LEN, hex);
  snprintf (object, sizeof object, "%s: %s %s at 0x%" PRIx32, name,
            e->type == LM_TYPE_NODE ? "map node" : "chunk", hex, e->offset);
  damage_locked (p, object, &why);
  return add_to (p, &p->c->reported, e, err);
}

static int
check_pack (struct packs *p, const struct lm_segment_pack *pack,
            uint8_t **stored, uint8_t *plain, struct lm_error *err)
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
  for (i = 0; i < toc.nr_entries; i++) {
    if (cancelled (p->c))
      return lm_error_set (err, LM_ERR_INTERRUPTED, "interrupted");
    if ((p->c->params->read_data
         ? check_chunk (p, name, &toc.entries[i], &toc, stored, plain, err)
         : add_to (p, &p->c->good, &toc.entries[i], err)) == -1)
      return -1;
  }
  return 0;
}

static void *
worker (void *opaque)
{
  struct packs *p = opaque;
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_FREE uint8_t *stored = NULL;
  CLEANUP_FREE uint8_t *plain = malloc (LM_CHUNK_SIZE_MAX);
  int r = plain ? 0 : lm_error_set (&err, LM_ERR_NOMEM, "out of memory");

  pthread_mutex_lock (&p->lock);
  while (r == 0 && !p->failed && p->next < p->nr) {
    struct lm_segment_pack pack = p->packs[p->next++];

    pthread_mutex_unlock (&p->lock);
    r = check_pack (p, &pack, &stored, plain, &err);
    pthread_mutex_lock (&p->lock);
    p->bytes_done += pack.size;
  }
  if (r == -1 && !p->failed) {
    p->failed = true;
    p->error = err;
  }
  p->running--;
  pthread_cond_broadcast (&p->changed);
  pthread_mutex_unlock (&p->lock);
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

static int
run_threads (struct packs *p, struct lm_error *err)
{
  pthread_t ids[THREADS_MAX];
  long cores = sysconf (_SC_NPROCESSORS_ONLN);
  unsigned n = p->c->params->threads ? : cores < 1 ? 1 : (unsigned) cores;
  unsigned started;

  n = lm_min_u64 (n, THREADS_MAX);
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
    r = run_threads (&p, err);
  c->result->bytes_read = p.bytes_done;
  free (p.packs);
  pthread_cond_destroy (&p.changed);
  pthread_mutex_destroy (&p.lock);
  return r;
}
