/* SPDX-License-Identifier: Apache-2.0
 * From plain bytes to a stored chunk; see chunk-write.h.
 */
#include <config.h>

#include "formats/native/chunk-write.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/hex.h"
#include "common/log.h"
#include "formats/native/chunk-index.h"
#include "formats/native/chunk-read.h"
#include "formats/native/disk-map.h"
#include "formats/native/id-set.h"
#include "formats/native/journal.h"
#include "formats/native/pack-read.h"
#include "formats/native/pack-write.h"
#include "formats/native/repository-internal.h"
#include "formats/native/segment-list.h"
#include "common/banned.h"

/* A segment with fewer entries than this is small; when there are this
 * many small ones, they are merged (native.md section 8). */
#define SMALL_ENTRIES (1u << 17)
#define SMALL_SEGMENTS 8

/* How something in `seen_chunks` is stored. */
enum seen {
  SEEN_STORED,                  /* by this writer */
  SEEN_FULL,                    /* in full, in a pack without a segment */
  SEEN_DELTA,                   /* likewise, against a base that counts */
};

struct lm_chunk_writer {
  struct lm_repository *repo;
  struct lm_pack_writer *packs;

  pthread_mutex_t lock;         /* everything below */
  /* What this writer stored or is about to store, and what it found in
   * packs without a segment: per type; see enum seen. */
  struct lm_id_set seen_chunks, seen_nodes;
  struct lm_chunk_writer_statistics statistics;
  /* Packs that the segments of this writer will name. */
  struct lm_segment_list segments;
};

/* From the pack writer's thread: a pack is durable. */
static int
pack_done (void *opaque, const struct lm_pack_done *done,
           struct lm_error *err)
{
  struct lm_chunk_writer *w = opaque;
  LM_LOCK_FOR_SCOPE (&w->lock);
  struct lm_segment *seg = lm_segment_list_room (&w->segments,
                                                 done->nr_entries, err);

  if (seg == NULL)
    return -1;
  return lm_segment_add_pack (seg, done->id, done->size, done->entries,
                              done->nr_entries, done->bases, err);
}

/* --- what is in the store already --- */

struct listing {
  struct lm_chunk_writer *w;
  struct lm_id_set known;       /* packs of live segments */
  struct lm_id_set whole;       /* packs that count for deduplication */
};

/* Remember what is in an adopted pack, but for what has a base. */
static int
see_full (struct lm_chunk_writer *w, const struct lm_pack_toc *toc,
          struct lm_error *err)
{
  uint32_t i;

  for (i = 0; i < toc->nr_entries; i++) {
    const struct lm_entry *e = &toc->entries[i];

    if (e->base == 0 &&
        lm_id_set_add (e->type == LM_TYPE_NODE ? &w->seen_nodes
                       : &w->seen_chunks, e->id, SEEN_FULL, err) == -1)
      return -1;
  }
  return 0;
}

/* Take over the entries of a pack that no segment names. */
static int
adopt_pack (struct lm_chunk_writer *w, const uint8_t id[LM_NAME_ID_LEN],
            uint64_t size, struct lm_error *err)
{
  CLEANUP (lm_pack_toc_release) struct lm_pack_toc toc = { 0 };
  struct lm_error why = LM_ERROR_INIT;
  struct lm_segment *seg;

  if (lm_pack_toc_read (w->repo->store, w->repo->keys, id, size, &toc,
                        &why) == -1) {
    /* Not whole: it counts as absent. */
    lm_debug (LM_DEBUG_REPOSITORY, "ignored: %s", why.message);
    return why.kind == LM_ERR_NOMEM ? (*err = why, -1) : 0;
  }
  seg = lm_segment_list_room (&w->segments, toc.nr_entries, err);
  if (seg == NULL ||
      lm_segment_add_pack (seg, id, size, toc.entries, toc.nr_entries,
                           (const uint8_t (*)[LM_ID_LEN]) toc.bases,
                           err) == -1)
    return -1;
  return see_full (w, &toc, err);
}

/* Does chunk ID count for deduplication in full?  Only while the writer is
 * made: later `seen_chunks` has what is not stored yet. */
static bool
counts_in_full (const struct lm_chunk_writer *w, const uint8_t id[LM_ID_LEN])
{
  uint8_t base[LM_ID_LEN];
  uint64_t how;

  if (lm_id_set_get (&w->seen_chunks, id, &how) && how == SEEN_FULL)
    return true;
  return lm_chunk_index_find_base (w->repo->index, id, base) &&
    memcmp (base, id, LM_ID_LEN) == 0;
}

/* Once it is known what counts: of the adopted packs, what has a base. */
static int
see_deltas (struct lm_chunk_writer *w, struct lm_error *err)
{
  size_t i;
  uint32_t k;

  for (i = 0; i < w->segments.n; i++) {
    const struct lm_segment *seg = &w->segments.segments[i];
    const uint8_t (*bases)[LM_ID_LEN] = (const uint8_t (*)[LM_ID_LEN])
      seg->bases;

    for (k = 0; k < seg->nr_entries; k++) {
      const uint8_t *base = lm_entry_base (&seg->entries[k], bases);

      if (base != NULL && counts_in_full (w, base) &&
          lm_id_set_add (&w->seen_chunks, seg->entries[k].id, SEEN_DELTA,
                         err) == -1)
        return -1;
    }
  }
  return 0;
}

static int
list_pack (void *opaque, const char *name, uint64_t size,
           struct lm_error *err)
{
  struct listing *l = opaque;
  struct lm_chunk_writer *w = l->w;
  uint8_t id[LM_NAME_ID_LEN];

  if (strlen (name) != LM_PACK_NAME_LEN ||
      lm_hex_decode (name + 9, id, sizeof id) == -1)
    return 0;                   /* a stranger */
  if (lm_journal_state_condemned (lm_repository_state (w->repo), id))
    return 0;
  if (lm_id_set_has (&l->known, id))
    return lm_id_set_add (&l->whole, id, size, err);
  return adopt_pack (w, id, size, err);
}

static int
take_stock (struct lm_chunk_writer *w, struct lm_error *err)
{
  struct listing l = {
    .w = w,
    .known = LM_ID_SET_INIT (LM_NAME_ID_LEN),
    .whole = LM_ID_SET_INIT (LM_NAME_ID_LEN),
  };
  int r = lm_chunk_index_packs (w->repo->index, &l.known, err);

  if (r == 0)
    r = lm_store_list (w->repo->store, "packs", list_pack, &l, err);
  if (r == 0)
    r = lm_chunk_index_set_whole (w->repo->index, &l.whole, err);
  if (r == 0)
    r = see_deltas (w, err);
  lm_id_set_release (&l.known);
  lm_id_set_release (&l.whole);
  return r;
}

struct lm_chunk_writer *
lm_chunk_writer_new (struct lm_repository *repo, struct lm_error *err)
{
  struct lm_chunk_writer *w = calloc (1, sizeof *w);

  if (w == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  w->repo = repo;
  pthread_mutex_init (&w->lock, NULL);
  w->seen_chunks.id_len = w->seen_nodes.id_len = LM_ID_LEN;
  if (take_stock (w, err) == -1)
    goto fail;
  w->packs = lm_pack_writer_new (repo->store, repo->keys, pack_done, w, err);
  if (w->packs == NULL)
    goto fail;
  return w;

fail:
  lm_chunk_writer_free (w);
  return NULL;
}

void
lm_chunk_writer_free (struct lm_chunk_writer *w)
{
  if (w == NULL)
    return;
  lm_pack_writer_free (w->packs);
  lm_segment_list_release (&w->segments);
  lm_id_set_release (&w->seen_chunks);
  lm_id_set_release (&w->seen_nodes);
  pthread_mutex_destroy (&w->lock);
  free (w);
}

/* Claim ID for the calling thread: 1 if somebody has it already. */
static int
claim (struct lm_chunk_writer *w, enum lm_object_type type,
       const uint8_t id[LM_ID_LEN], uint32_t len, bool known,
       struct lm_error *err)
{
  LM_LOCK_FOR_SCOPE (&w->lock);
  struct lm_id_set *seen = type == LM_TYPE_NODE ? &w->seen_nodes
    : &w->seen_chunks;

  if (known || lm_id_set_has (seen, id)) {
    w->statistics.chunks_deduplicated++;
    if (type == LM_TYPE_CHUNK)
      w->statistics.deduplicated_plain += len;
    return 1;
  }
  if (lm_id_set_add (seen, id, SEEN_STORED, err) == -1)
    return -1;
  w->statistics.chunks_new++;
  if (type == LM_TYPE_CHUNK)
    w->statistics.new_plain += len;
  return 0;
}

/* Is there something that ID, which is not stored, may be stored against?
 * Whatever goes wrong here only costs space. */
static bool
find_base (struct lm_chunk_writer *w, const struct lm_chunk_parent *parent,
           const uint8_t id[LM_ID_LEN], uint8_t ret_base_id[LM_ID_LEN],
           struct lm_codec_base *ret_base)
{
  struct lm_error why = LM_ERROR_INIT;
  struct lm_chunk_location l;
  uint8_t before[LM_ID_LEN];

  /* What the index names in full, though it is lost or condemned, may be
   * others' base: it is stored in full again. */
  if (lm_chunk_index_find_full (w->repo->index, LM_TYPE_CHUNK, id, &l, 1,
                                &why) != 0)
    return false;
  if (lm_disk_map_get (parent->map, parent->nr, before, &why) == 0) {
    if (lm_id_is_zero (before) ||
        !lm_chunk_index_find_base (w->repo->index, before, ret_base_id))
      return false;
    if (lm_chunk_read_base (w->repo, ret_base_id, ret_base, &why) == 0)
      return true;
  }
  lm_debug (LM_DEBUG_CHUNK, "stored without a base: %s", why.message);
  return false;
}

/* Encode, seal and hand over what was claimed. */
static int
store (struct lm_chunk_writer *w, struct lm_sealer *sealer,
       struct lm_chunk_ref *ref, const struct lm_codec_base *base_or_null,
       const void *plain, struct lm_error *err)
{
  CLEANUP_FREE uint8_t *stored = malloc (lm_seal_chunk_bound
                                         (ref->plain_len));
  int r;

  if (stored == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  /* Ids do not compress. */
  r = base_or_null
    ? lm_seal_delta (sealer, ref, base_or_null, plain, stored, err)
    : lm_seal_chunk (sealer, ref, plain, ref->type == LM_TYPE_CHUNK, stored,
                     err);
  if (r == -1 || lm_pack_writer_add (w->packs, ref, stored, err) == -1)
    return -1;
  LM_LOCK_FOR_SCOPE (&w->lock);
  w->statistics.stored += ref->stored_len;
  return 0;
}

static int
write_chunk (struct lm_chunk_writer *w, enum lm_object_type type,
             const struct lm_chunk_parent *parent_or_null, const void *plain,
             uint32_t len, uint8_t ret_id[LM_ID_LEN], struct lm_error *err)
{
  struct lm_sealer *sealer = lm_sealer_for_thread (w->repo->keys, err);
  struct lm_chunk_ref ref = { .type = type, .plain_len = len };
  struct lm_codec_base base;
  int r;

  if (sealer == NULL ||
      lm_seal_id (sealer, type, plain, len, ref.id, err) == -1)
    return -1;
  memcpy (ret_id, ref.id, LM_ID_LEN);
  r = claim (w, type, ref.id, len,
             lm_chunk_index_has (w->repo->index, type, ref.id), err);
  if (r != 0)
    return r == 1 ? 0 : -1;
  if (parent_or_null == NULL ||
      !find_base (w, parent_or_null, ref.id, ref.base, &base))
    return store (w, sealer, &ref, NULL, plain, err);
  return store (w, sealer, &ref, &base, plain, err);
}

int
lm_chunk_write (struct lm_chunk_writer *w, enum lm_object_type type,
                const void *plain, uint32_t len, uint8_t ret_id[LM_ID_LEN],
                struct lm_error *err)
{
  return write_chunk (w, type, NULL, plain, len, ret_id, err);
}

int
lm_chunk_write_near (struct lm_chunk_writer *w,
                     const struct lm_chunk_parent *parent, const void *plain,
                     uint32_t len, uint8_t ret_id[LM_ID_LEN],
                     struct lm_error *err)
{
  return write_chunk (w, LM_TYPE_CHUNK, parent, plain, len, ret_id, err);
}

/* --- segments --- */

/* Add a small live segment to SEG if it fits; says so in CHANGES. */
static int
absorb (struct lm_chunk_writer *w, const struct lm_journal_segment *live,
        struct lm_segment *seg, json_t *changes, struct lm_error *err)
{
  CLEANUP (lm_segment_release) struct lm_segment old = LM_SEGMENT_INIT;
  CLEANUP_FREE struct lm_entry *entries = NULL;
  struct lm_error why = LM_ERROR_INIT;
  uint32_t i, j, n;

  if (live->entries > LM_ENTRIES_MAX - seg->nr_entries)
    return 0;
  if (lm_segment_get (w->repo->store, w->repo->keys, live->id, &old,
                      &why) == -1)
    return 0;                   /* merging can wait for better days */
  if (old.nr_entries > LM_ENTRIES_MAX - seg->nr_entries)
    return 0;
  entries = calloc (old.nr_entries + 1, sizeof *entries);
  if (entries == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  for (i = 0; i < old.nr_packs; i++) {
    for (j = n = 0; j < old.nr_entries; j++)
      if (old.entries[j].pack == i)
        entries[n++] = old.entries[j];
    if (lm_segment_add_pack (seg, old.packs[i].id, old.packs[i].size,
                             entries, n,
                             (const uint8_t (*)[LM_ID_LEN]) old.bases,
                             err) == -1)
      return -1;
  }
  return lm_change_by_id (changes, LM_CHANGE_SEGMENT_REMOVE, live->id, err);
}

static int
merge_small (struct lm_chunk_writer *w, struct lm_segment *seg,
             json_t *changes, struct lm_error *err)
{
  const struct lm_journal_state *state = lm_repository_state (w->repo);
  size_t i, small = 0;

  for (i = 0; i < state->nr_segments; i++)
    small += state->segments[i].entries < SMALL_ENTRIES;
  if (small + 1 < SMALL_SEGMENTS)
    return 0;
  for (i = 0; i < state->nr_segments; i++)
    if (state->segments[i].entries < SMALL_ENTRIES &&
        absorb (w, &state->segments[i], seg, changes, err) == -1)
      return -1;
  return 0;
}

/* Packs that a bad segment named were adopted: it is not needed any more. */
static int
remove_bad_segments (struct lm_chunk_writer *w, json_t *changes,
                     struct lm_error *err)
{
  size_t n, i;
  const uint8_t (*bad)[LM_NAME_ID_LEN] =
    lm_chunk_index_bad_segments (w->repo->index, &n);

  for (i = 0; i < n; i++)
    if (lm_change_by_id (changes, LM_CHANGE_SEGMENT_REMOVE, bad[i],
                         err) == -1)
      return -1;
  return 0;
}

/* The first segment with a base brings the feature with it. */
static int
add_feature (struct lm_chunk_writer *w, json_t *changes,
             struct lm_error *err)
{
  size_t i;

  for (i = 0; i < w->segments.n; i++)
    if (w->segments.segments[i].nr_bases > 0)
      return lm_repository_has_feature (w->repo, LM_FEATURE_REQUIRED,
                                        LM_FEATURE_BASE_CHUNKS) ? 0
        : lm_change_feature_add (changes, LM_FEATURE_REQUIRED,
                                 LM_FEATURE_BASE_CHUNKS, err);
  return 0;
}

int
lm_chunk_writer_finish (struct lm_chunk_writer *w, json_t *changes,
                        struct lm_error *err)
{
  size_t i;

  if (lm_pack_writer_finish (w->packs, err) == -1 ||
      add_feature (w, changes, err) == -1 ||
      remove_bad_segments (w, changes, err) == -1)
    return -1;
  for (i = 0; i < w->segments.n; i++) {
    struct lm_segment *seg = &w->segments.segments[i];
    struct lm_journal_segment live;

    if (i + 1 == w->segments.n &&
        merge_small (w, seg, changes, err) == -1)
      return -1;
    if (lm_segment_put (w->repo->store, w->repo->keys, seg, live.id,
                        &live.size, err) == -1)
      return -1;
    live.entries = seg->nr_entries;
    if (lm_change_segment_add (changes, &live, err) == -1)
      return -1;
  }
  return 0;
}

void
lm_chunk_writer_get_statistics (struct lm_chunk_writer *w,
                                struct lm_chunk_writer_statistics *ret)
{
  LM_LOCK_FOR_SCOPE (&w->lock);

  *ret = w->statistics;
}
