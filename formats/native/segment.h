/* SPDX-License-Identifier: Apache-2.0
 *
 * Index segments (native.md section 8): sealed, sorted tables that say
 * which pack holds a chunk.
 */
#ifndef LM_FORMATS_NATIVE_SEGMENT_H
#define LM_FORMATS_NATIVE_SEGMENT_H

#include <stdint.h>

#include "common/error.h"
#include "formats/native/entry.h"
#include "formats/native/keys.h"
#include "formats/store.h"

struct lm_segment_pack {
  uint8_t id[LM_NAME_ID_LEN];
  uint32_t size;                /* bytes */
};

struct lm_segment {
  uint32_t nr_packs, alloc_packs;
  struct lm_segment_pack *packs;
  uint32_t nr_entries, alloc_entries;
  struct lm_entry *entries;     /* sorted by id, pack, offset once stored */
  uint32_t nr_bases, alloc_bases;
  uint8_t (*bases)[LM_ID_LEN];
};

#define LM_SEGMENT_INIT { 0 }

extern void lm_segment_release (struct lm_segment *seg)
  __attribute__ ((nonnull));

/* Add a pack and its entries: `pack` is set here, and bases are numbered
 * anew, those of ENTRIES being an index + 1 into BASES. */
extern int lm_segment_add_pack (struct lm_segment *seg,
                                const uint8_t id[LM_NAME_ID_LEN],
                                uint32_t size,
                                const struct lm_entry *entries,
                                uint32_t nr_entries,
                                const uint8_t (*bases)[LM_ID_LEN],
                                struct lm_error *err)
  __attribute__ ((nonnull (1, 2, 7), warn_unused_result));

/* By id, pack and offset, as they are stored. */
extern void lm_segment_sort (struct lm_segment *seg)
  __attribute__ ((nonnull));

/* Sort, seal and store; *ret_id is its random name. */
extern int lm_segment_put (struct lm_store *store,
                           const struct lm_keys *keys,
                           struct lm_segment *seg,
                           uint8_t ret_id[LM_NAME_ID_LEN],
                           uint64_t *ret_size, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

extern int lm_segment_get (struct lm_store *store,
                           const struct lm_keys *keys,
                           const uint8_t id[LM_NAME_ID_LEN],
                           struct lm_segment *ret_seg, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Decode the plain bytes (after authentication). */
extern int lm_segment_decode (const uint8_t *plain, size_t len,
                              const char *what, struct lm_segment *ret_seg,
                              struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
