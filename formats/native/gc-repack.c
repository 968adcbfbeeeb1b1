/* SPDX-License-Identifier: Apache-2.0
 * Repacking; see gc-repack.h.
 */
#include <config.h>

#include "formats/native/gc-repack.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "formats/native/chunk-read.h"
#include "formats/native/pack-read.h"
#include "formats/native/pack-write.h"
#include "formats/native/repository-internal.h"
#include "formats/native/segment-list.h"
#include "common/banned.h"

#define THREADS_MAX 16

struct work {
  struct lm_repository *repo;
  const struct lm_gc_packs *packs;
  const struct lm_gc_repack *what;
  struct lm_pack_writer *writer;

  pthread_mutex_t lock;         /* everything below */
  struct lm_segment_list segments;
  size_t next;
  bool failed;
  struct lm_error error;
  struct lm_gc_repacked result;
};

/* From the pack writer's thread. */
static int
pack_done (void *opaque, const struct lm_pack_done *done,
           struct lm_error *err)
{
  struct work *w = opaque;
  LM_LOCK_FOR_SCOPE (&w->lock);
  struct lm_segment *seg = lm_segment_list_room (&w->segments,
                                                 done->nr_entries, err);

  return seg ? lm_segment_add_pack (seg, done->id, done->size, done->entries,
                                    done->nr_entries, done->bases, err) : -1;
}

/* A thread's memory for one chunk. */
struct buffers {
  uint8_t *stored, *opened, *plain;
};

static int
open_copy (struct lm_repository *repo, const struct lm_chunk_ref *ref,
           struct buffers *b, struct lm_error *err)
{
  struct lm_sealer *sealer = lm_sealer_for_thread (repo->keys, err);
  struct lm_codec_base base;

  if (sealer == NULL)
    return -1;
  memcpy (b->opened, b->stored, ref->stored_len);
  if (ref->encoding != LM_ENCODING_ZSTD_BASE)
    return lm_open_chunk (sealer, ref, b->opened, b->plain, true, err);
  if (lm_chunk_read_base (repo, ref->base, &base, err) == -1)
    return -1;
  return lm_open_delta (sealer, ref, &base, b->opened, b->plain, true, err);
}

static int
copy_entry (struct work *w, const char *name, const struct lm_entry *e,
            const struct lm_pack_toc *toc, struct buffers *b,
            struct lm_error *err)
{
  struct lm_chunk_ref ref = {
    .type = e->type, .encoding = e->encoding, .plain_len = e->plain_len,
    .stored_len = e->stored_len,
  };

  memcpy (ref.id, e->id, LM_ID_LEN);
  if (e->base > 0)
    memcpy (ref.base, toc->bases[e->base - 1], LM_ID_LEN);
  if (e->stored_len > lm_seal_chunk_bound (LM_CHUNK_SIZE_MAX))
    return lm_corrupt (err, "%s: stored length of %u bytes", name,
                       e->stored_len);
  if (lm_store_get_range (w->repo->store, name, b->stored, e->stored_len,
                          e->offset, err) == -1 ||
      open_copy (w->repo, &ref, b, err) == -1 ||
      lm_pack_writer_add (w->writer, &ref, b->stored, err) == -1)
    return -1;
  LM_LOCK_FOR_SCOPE (&w->lock);
  w->result.copied += e->stored_len;
  return 0;
}

static int
copy_pack (struct work *w, size_t nr, struct buffers *b,
           struct lm_error *err)
{
  CLEANUP (lm_pack_toc_release) struct lm_pack_toc toc = { 0 };
  const struct lm_gc_pack *pack = &w->packs->packs[nr];
  char name[LM_PACK_NAME_LEN + 1];
  uint32_t i;

  lm_pack_name (pack->id, name);
  if (lm_pack_toc_read (w->repo->store, w->repo->keys, pack->id, pack->size,
                        &toc, err) == -1)
    return -1;
  for (i = 0; i < toc.nr_entries; i++) {
    const struct lm_entry *e = &toc.entries[i];

    if (w->what->cancel && *w->what->cancel)
      return lm_error_set (err, LM_ERR_INTERRUPTED, "interrupted");
    if (lm_gc_packs_chosen (w->packs, nr, e->offset, e->id) &&
        copy_entry (w, name, e, &toc, b, err) == -1)
      return -1;
  }
  return 0;
}

/* The pack stays; what was copied of it already is stored twice. */
static int
note_damage (struct work *w, size_t nr, const struct lm_error *why,
             struct lm_error *err)
{
  LM_LOCK_FOR_SCOPE (&w->lock);
  uint8_t (*bigger)[LM_NAME_ID_LEN] =
    realloc (w->result.damaged,
             (w->result.nr_damaged + 1) * sizeof *bigger);

  lm_debug (LM_DEBUG_REPOSITORY, "not repacked: %s", why->message);
  if (bigger == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  w->result.damaged = bigger;
  memcpy (bigger[w->result.nr_damaged++], w->packs->packs[nr].id,
          LM_NAME_ID_LEN);
  return 0;
}

static bool
is_damage (const struct lm_error *why)
{
  return why->kind == LM_ERR_CORRUPT || why->kind == LM_ERR_NOT_FOUND;
}

static int
copy_packs (struct work *w, struct buffers *b, struct lm_error *err)
{
  size_t max = lm_seal_chunk_bound (LM_CHUNK_SIZE_MAX), i;

  b->stored = malloc (max);
  b->opened = malloc (max);
  b->plain = malloc (LM_CHUNK_SIZE_MAX);
  if (b->stored == NULL || b->opened == NULL || b->plain == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory for a chunk");
  for (;;) {
    struct lm_error why = LM_ERROR_INIT;

    pthread_mutex_lock (&w->lock);
    i = w->failed ? w->what->n : w->next;
    w->next = lm_min_u64 (i + 1, w->what->n);
    pthread_mutex_unlock (&w->lock);
    if (i >= w->what->n)
      return 0;
    if (copy_pack (w, w->what->packs[i], b, &why) == 0)
      continue;
    if (!is_damage (&why)) {
      *err = why;
      return -1;
    }
    if (note_damage (w, w->what->packs[i], &why, err) == -1)
      return -1;
  }
}

static void *
copier (void *opaque)
{
  struct work *w = opaque;
  struct lm_error err = LM_ERROR_INIT;
  struct buffers b = { NULL, NULL, NULL };

  if (copy_packs (w, &b, &err) == -1) {
    LM_LOCK_FOR_SCOPE (&w->lock);
    if (!w->failed)
      w->error = err;
    w->failed = true;
  }
  free (b.stored);
  free (b.opened);
  free (b.plain);
  return NULL;
}

static void
run_threads (struct work *w)
{
  pthread_t ids[THREADS_MAX];
  unsigned n = lm_min_u64 (w->what->threads, THREADS_MAX), started = 0;

  while (started < n &&
         pthread_create (&ids[started], NULL, copier, w) == 0)
    started++;
  if (started == 0)
    copier (w);
  while (started > 0)
    pthread_join (ids[--started], NULL);
}

int
lm_gc_repack_run (struct lm_repository *repo,
                  const struct lm_gc_packs *packs,
                  const struct lm_gc_repack *what, json_t *changes,
                  struct lm_gc_repacked *ret_repacked, struct lm_error *err)
{
  struct work w = { .repo = repo, .packs = packs, .what = what };
  int r = -1;

  w.writer = lm_pack_writer_new (repo->store, repo->keys, pack_done, &w,
                                 err);
  if (w.writer == NULL)
    return -1;
  pthread_mutex_init (&w.lock, NULL);
  run_threads (&w);
  if (w.failed)
    *err = w.error;
  else if (lm_pack_writer_finish (w.writer, err) == 0 &&
           lm_segment_list_put (&w.segments, repo->store, repo->keys,
                                changes, err) == 0)
    r = 0;
  lm_pack_writer_free (w.writer);
  lm_segment_list_release (&w.segments);
  pthread_mutex_destroy (&w.lock);
  if (r == 0)
    *ret_repacked = w.result;
  else
    free (w.result.damaged);
  return r;
}
