/* SPDX-License-Identifier: Apache-2.0
 * Writing packs; see pack-write.h.
 */
#include <config.h>

#include "formats/native/pack-write.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/hex.h"
#include "common/random.h"
#include "common/banned.h"

/* A pack in memory. */
struct pack {
  uint8_t id[LM_NAME_ID_LEN];
  struct lm_buffer data;        /* header and chunks */
  struct lm_entry *entries;
  uint32_t nr, alloc;
  uint8_t (*bases)[LM_ID_LEN];
  uint32_t nr_bases, alloc_bases;
};

struct lm_pack_writer {
  struct lm_store *store;
  const struct lm_keys *keys;
  lm_pack_done_cb done;
  void *opaque;
  pthread_t thread;
  bool thread_started;

  pthread_mutex_t lock;         /* everything below */
  pthread_cond_t changed;
  struct pack *filling;         /* or NULL */
  struct pack *queued;          /* full, waiting for the thread, or NULL */
  struct pack *spare;           /* stored; its memory is for the next one */
  bool busy;                    /* the thread is storing one */
  bool quit;
  bool failed;
  struct lm_error error;
};

void
lm_pack_name (const uint8_t id[LM_NAME_ID_LEN],
              char out[LM_PACK_NAME_LEN + 1])
{
  memcpy (out, "packs/", 6);
  lm_hex_encode (id, 1, out + 6);
  out[8] = '/';
  lm_hex_encode (id, LM_NAME_ID_LEN, out + 9);
}

static void
pack_free (struct pack *p)
{
  if (p == NULL)
    return;
  lm_buffer_release (&p->data);
  free (p->entries);
  free (p->bases);
  free (p);
}

/* An empty pack, in the memory of SPARE if there is one: fresh memory
 * costs a page fault for every 4 KiB. */
static struct pack *
pack_new (const struct lm_keys *keys, struct pack *spare,
          struct lm_error *err)
{
  struct pack *p = spare ? : calloc (1, sizeof *p);
  struct lm_pack_header_wire h = { 0 };

  if (p == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory for a pack");
    return NULL;
  }
  p->data.len = 0;
  p->nr = p->nr_bases = 0;
  lm_random_bytes (p->id, sizeof p->id);
  memcpy (h.magic, LM_PACK_MAGIC, 4);
  h.version = lm_put_le16 (LM_NATIVE_VERSION);
  memcpy (h.repository, keys->repository, LM_NAME_ID_LEN);
  memcpy (h.id, p->id, LM_NAME_ID_LEN);
  /* Whole pages can be stored without a copy in the page cache. */
  if (lm_buffer_reserve_pages (&p->data, LM_PACK_TARGET_SIZE, err) == -1 ||
      lm_buffer_append (&p->data, &h, sizeof h, err) == -1) {
    pack_free (p);
    return NULL;
  }
  return p;
}

/* Bytes of the plain table of contents. */
static size_t
toc_len (const struct pack *p)
{
  return sizeof (struct lm_toc_head_wire) +
    p->nr * sizeof (struct lm_entry_wire) + (size_t) p->nr_bases * LM_ID_LEN;
}

/* The sealed table of contents and the trailer, which follow the chunks. */
static int
make_tail (const struct lm_keys *keys, const struct pack *p,
           uint8_t **ret_toc, size_t *ret_len,
           struct lm_pack_trailer_wire *trailer, struct lm_error *err)
{
  struct lm_toc_head_wire head = {
    .entries = lm_put_le32 (p->nr), .bases = lm_put_le32 (p->nr_bases),
  };
  size_t len = toc_len (p);
  CLEANUP_FREE uint8_t *plain = malloc (len);
  struct lm_entry_wire *wire;
  uint32_t i;

  if (plain == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  memcpy (plain, &head, sizeof head);
  wire = (void *) (plain + sizeof head);
  for (i = 0; i < p->nr; i++)
    lm_entry_encode (&p->entries[i], &wire[i]);
  if (p->nr_bases > 0)
    memcpy (&wire[p->nr], p->bases, (size_t) p->nr_bases * LM_ID_LEN);
  memset (trailer, 0, sizeof *trailer);
  trailer->toc_offset = lm_put_le64 (p->data.len);
  memcpy (trailer->magic, LM_PACK_MAGIC, 4);
  return lm_seal_object (keys, LM_TYPE_PACK_TOC, p->id, sizeof p->id, plain,
                         len, ret_toc, ret_len, err);
}

static int
store_pack (struct lm_pack_writer *w, struct pack *p, struct lm_error *err)
{
  CLEANUP_FREE uint8_t *toc = NULL;
  struct lm_pack_trailer_wire trailer;
  struct lm_pack_done done;
  char name[LM_PACK_NAME_LEN + 1];
  struct iovec iov[3];
  size_t len;

  if (make_tail (w->keys, p, &toc, &len, &trailer, err) == -1)
    return -1;
  iov[0] = (struct iovec) { p->data.data, p->data.len };
  iov[1] = (struct iovec) { toc, len };
  iov[2] = (struct iovec) { &trailer, sizeof trailer };
  lm_pack_name (p->id, name);
  if (lm_store_put_if_absent (w->store, name, iov, 3, err) == -1)
    return lm_error_prefix (err, "%s", name);
  memcpy (done.id, p->id, sizeof done.id);
  done.size = p->data.len + len + sizeof trailer;
  done.entries = p->entries;
  done.nr_entries = p->nr;
  done.bases = (const uint8_t (*)[LM_ID_LEN]) p->bases;
  return w->done (w->opaque, &done, err);
}

static void *
writer_thread (void *opaque)
{
  struct lm_pack_writer *w = opaque;

  pthread_mutex_lock (&w->lock);
  for (;;) {
    struct lm_error err = LM_ERROR_INIT;
    struct pack *p;
    int r;

    while (w->queued == NULL && !w->quit)
      pthread_cond_wait (&w->changed, &w->lock);
    if (w->quit)
      break;
    p = lm_steal (w->queued);
    w->busy = true;
    pthread_cond_broadcast (&w->changed);
    pthread_mutex_unlock (&w->lock);

    r = store_pack (w, p, &err);

    pthread_mutex_lock (&w->lock);
    pack_free (w->spare);
    w->spare = p;
    w->busy = false;
    if (r == -1 && !w->failed) {
      w->failed = true;
      w->error = err;
    }
    pthread_cond_broadcast (&w->changed);
  }
  pthread_mutex_unlock (&w->lock);
  return NULL;
}

struct lm_pack_writer *
lm_pack_writer_new (struct lm_store *store, const struct lm_keys *keys,
                    lm_pack_done_cb done, void *opaque, struct lm_error *err)
{
  struct lm_pack_writer *w = calloc (1, sizeof *w);

  if (w == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  w->store = store;
  w->keys = keys;
  w->done = done;
  w->opaque = opaque;
  pthread_mutex_init (&w->lock, NULL);
  pthread_cond_init (&w->changed, NULL);
  if (pthread_create (&w->thread, NULL, writer_thread, w) != 0) {
    lm_pack_writer_free (w);
    lm_error_set (err, LM_ERR_IO, "cannot start a thread");
    return NULL;
  }
  w->thread_started = true;
  return w;
}

static int
failed_locked (const struct lm_pack_writer *w, struct lm_error *err)
{
  if (!w->failed)
    return 0;
  *err = w->error;
  return -1;
}

/* Hand the pack that is being filled to the thread.  Waiting releases the
 * lock: another thread may have done it meanwhile. */
static int
queue_locked (struct lm_pack_writer *w, struct lm_error *err)
{
  const struct pack *mine = w->filling;

  while (w->queued != NULL && !w->failed)
    pthread_cond_wait (&w->changed, &w->lock);
  if (failed_locked (w, err) == -1)
    return -1;
  if (w->filling == mine)
    w->queued = lm_steal (w->filling);
  pthread_cond_broadcast (&w->changed);
  return 0;
}

/* Room for one more entry and its base. */
static int
reserve_entry (struct pack *p, struct lm_error *err)
{
  if (p->nr == p->alloc) {
    uint32_t alloc = p->alloc ? 2 * p->alloc : 1024;
    struct lm_entry *bigger = realloc (p->entries, alloc * sizeof *bigger);

    if (bigger == NULL)
      return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    p->entries = bigger;
    p->alloc = alloc;
  }
  if (p->nr_bases == p->alloc_bases) {
    uint32_t alloc = p->alloc_bases ? 2 * p->alloc_bases : 64;
    uint8_t (*bigger)[LM_ID_LEN] = realloc (p->bases,
                                            alloc * sizeof *bigger);

    if (bigger == NULL)
      return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    p->bases = bigger;
    p->alloc_bases = alloc;
  }
  return 0;
}

static int
append_locked (struct lm_pack_writer *w, const struct lm_chunk_ref *ref,
               const uint8_t *stored, struct lm_error *err)
{
  struct pack *p;
  struct lm_entry *e;

  if (w->filling == NULL &&
      (w->filling = pack_new (w->keys, lm_steal (w->spare), err)) == NULL)
    return -1;
  p = w->filling;
  if (reserve_entry (p, err) == -1)
    return -1;
  e = &p->entries[p->nr];
  memset (e, 0, sizeof *e);
  memcpy (e->id, ref->id, LM_ID_LEN);
  e->offset = p->data.len;
  e->stored_len = ref->stored_len;
  e->plain_len = ref->plain_len;
  e->type = ref->type;
  e->encoding = ref->encoding;
  if (lm_buffer_append (&p->data, stored, ref->stored_len, err) == -1)
    return -1;
  p->nr++;
  if (ref->encoding == LM_ENCODING_ZSTD_BASE) {
    memcpy (p->bases[p->nr_bases++], ref->base, LM_ID_LEN);
    e->base = p->nr_bases;
  }
  return 0;
}

int
lm_pack_writer_add (struct lm_pack_writer *w, const struct lm_chunk_ref *ref,
                    const uint8_t *stored, struct lm_error *err)
{
  LM_LOCK_FOR_SCOPE (&w->lock);

  if (failed_locked (w, err) == -1)
    return -1;
  while (w->filling != NULL &&
         (w->filling->data.len + ref->stored_len > LM_PACK_TARGET_SIZE ||
          toc_len (w->filling) > LM_PACK_TOC_TARGET_SIZE ||
          w->filling->nr == LM_ENTRIES_MAX))
    if (queue_locked (w, err) == -1)
      return -1;
  return append_locked (w, ref, stored, err);
}

int
lm_pack_writer_finish (struct lm_pack_writer *w, struct lm_error *err)
{
  LM_LOCK_FOR_SCOPE (&w->lock);

  if (w->filling != NULL && queue_locked (w, err) == -1)
    return -1;
  while ((w->queued != NULL || w->busy) && !w->failed)
    pthread_cond_wait (&w->changed, &w->lock);
  return failed_locked (w, err);
}

void
lm_pack_writer_free (struct lm_pack_writer *w)
{
  if (w == NULL)
    return;
  if (w->thread_started) {
    pthread_mutex_lock (&w->lock);
    w->quit = true;
    pthread_cond_broadcast (&w->changed);
    pthread_mutex_unlock (&w->lock);
    pthread_join (w->thread, NULL);
  }
  pack_free (w->filling);
  pack_free (w->queued);
  pack_free (w->spare);
  pthread_cond_destroy (&w->changed);
  pthread_mutex_destroy (&w->lock);
  free (w);
}
