/* SPDX-License-Identifier: Apache-2.0
 *
 * Where is a chunk?  The live index segments, as a few mapped runs in
 * this client's cache folder.
 *
 * Runs are kept like the levels of a log-structured merge tree: what is
 * new becomes a small run, small ones are merged when they add up, so a
 * look-up asks a handful of runs, and what a backup adds costs what it
 * is, not what the repository is.
 *
 * After lm_chunk_index_sync, finding is thread-safe, also beside
 * lm_chunk_index_refresh.
 */
#ifndef LM_FORMATS_NATIVE_CHUNK_INDEX_H
#define LM_FORMATS_NATIVE_CHUNK_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "formats/native/id-set.h"
#include "formats/native/index-run.h"
#include "formats/native/keys.h"
#include "formats/native/seal.h"
#include "formats/store.h"

struct lm_chunk_index;

/* CACHE_DIR is made when it is missing; its sub-folder for the repository
 * is what may be deleted at any time.  STORE and KEYS are borrowed. */
extern struct lm_chunk_index *
lm_chunk_index_new (struct lm_store *store, const struct lm_keys *keys,
                    const char *cache_dir, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* NULL is fine. */
extern void lm_chunk_index_free (struct lm_chunk_index *index);

/* Make the index that of exactly these segments (16-byte ids): map the
 * runs that exist, build what is missing.  What a segment that is gone or
 * damaged named is found again from the packs: slower, and only for this
 * handle.  No other thread may use the index meanwhile. */
extern int lm_chunk_index_sync (struct lm_chunk_index *index,
                                const uint8_t (*segments)[LM_NAME_ID_LEN],
                                size_t n, struct lm_error *err)
  __attribute__ ((nonnull (1, 4), warn_unused_result));

/* The same, and what segments that are not live named is gone from the
 * index, which otherwise is left in until it is half of a run. */
extern int
lm_chunk_index_sync_strict (struct lm_chunk_index *index,
                            const uint8_t (*segments)[LM_NAME_ID_LEN],
                            size_t n, struct lm_error *err)
  __attribute__ ((nonnull (1, 4), warn_unused_result));

/* For readers that meet a pack that is gone, since `gc` moved what was in
 * it: make it the index of these segments while others go on finding.
 * Returns 1, or 0 if it was refreshed since GENERATION was looked at. */
extern uint64_t
lm_chunk_index_generation (const struct lm_chunk_index *index)
  __attribute__ ((nonnull));
extern int
lm_chunk_index_refresh (struct lm_chunk_index *index, uint64_t generation,
                        const uint8_t (*segments)[LM_NAME_ID_LEN], size_t n,
                        struct lm_error *err)
  __attribute__ ((nonnull (1, 5), warn_unused_result));

struct lm_chunk_location {
  uint8_t pack[LM_NAME_ID_LEN];
  uint32_t offset;              /* bytes, within the pack */
  struct lm_chunk_ref ref;
};

/* Up to MAX places where the chunk or node is stored.  Returns how many,
 * or -1 when the mapped form is damaged (delete it then). */
extern int lm_chunk_index_find (struct lm_chunk_index *index,
                                enum lm_object_type type,
                                const uint8_t id[LM_ID_LEN],
                                struct lm_chunk_location *ret_locations,
                                int max, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* The same, but only places where the chunk is stored in full: where it
 * can serve as a base. */
extern int lm_chunk_index_find_full (struct lm_chunk_index *index,
                                     enum lm_object_type type,
                                     const uint8_t id[LM_ID_LEN],
                                     struct lm_chunk_location *ret_locations,
                                     int max, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* For deduplication only packs count that are in the store with the right
 * size and not condemned: WHOLE maps pack ids to sizes.  After this,
 * lm_chunk_index_has tells whether such a copy exists, and for one that is
 * stored against a base, such a copy of the base in full. */
extern int lm_chunk_index_set_whole (struct lm_chunk_index *index,
                                     const struct lm_id_set *whole,
                                     struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
extern bool lm_chunk_index_has (struct lm_chunk_index *index,
                                enum lm_object_type type,
                                const uint8_t id[LM_ID_LEN])
  __attribute__ ((nonnull));

/* What may be stored against chunk ID's bytes is stored against *ret_base:
 * ID itself, or its own base when it is stored against one.  That counts
 * for deduplication in full; false if neither does. */
extern bool lm_chunk_index_find_base (struct lm_chunk_index *index,
                                      const uint8_t id[LM_ID_LEN],
                                      uint8_t ret_base[LM_ID_LEN])
  __attribute__ ((nonnull));

/* The runs themselves, for a pass over all entries.  A run may also cover
 * segments that are not live any more; after _sync_strict none does. */
extern size_t lm_chunk_index_nr_runs (const struct lm_chunk_index *index)
  __attribute__ ((nonnull));
extern const struct lm_index_run *
lm_chunk_index_run (const struct lm_chunk_index *index, size_t i)
  __attribute__ ((nonnull));

/* The segments that were gone or damaged, 16 bytes each, and the packs
 * that were found again (value: size); borrowed. */
extern const uint8_t (*lm_chunk_index_bad_segments (
    const struct lm_chunk_index *index, size_t *ret_n))[LM_NAME_ID_LEN];
extern const struct lm_id_set *
lm_chunk_index_salvaged (const struct lm_chunk_index *index);

/* Add the ids of all packs that good segments name to SET (value:
 * size). */
extern int lm_chunk_index_packs (const struct lm_chunk_index *index,
                                 struct lm_id_set *set,
                                 struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
