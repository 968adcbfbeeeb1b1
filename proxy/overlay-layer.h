/* SPDX-License-Identifier: Apache-2.0
 *
 * One layer of an overlay: its files, what is present and masked in it,
 * and its durability (docs/overlay.md, whose invariants O1 to O9 are
 * cited here).
 *
 * Threads: everything but open and close may be called by any threads at
 * once.  Functions named _locked want the caller to hold the locks of the
 * blocks.  Lock order: stripes in ascending order (struct lm_layer_range
 * does that), then mask_lock, then sync_lock; none is held while the
 * backup or another layer is read for a guest's read.
 */
#ifndef LM_PROXY_OVERLAY_LAYER_H
#define LM_PROXY_OVERLAY_LAYER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "formats/native/keys.h"
#include "proxy/overlay-header.h"

struct lm_layer;

/* At most this many blocks in one call of read, write and discard. */
#define LM_LAYER_RANGE_MAX 256

/* A set of blocks, relative to the first one of a call. */
struct lm_block_set {
  uint64_t words[LM_LAYER_RANGE_MAX / 64];
};

static inline bool
lm_block_set_test (const struct lm_block_set *s, size_t i)
{
  return s->words[i / 64] >> (i % 64) & 1;
}

static inline void
lm_block_set_add (struct lm_block_set *s, size_t i)
{
  s->words[i / 64] |= UINT64_C (1) << (i % 64);
}

static inline void
lm_block_set_remove (struct lm_block_set *s, size_t i)
{
  s->words[i / 64] &= ~(UINT64_C (1) << (i % 64));
}

/* Make DIRFD/layer-<id> with an empty layer in it, durably. */
extern int lm_layer_create (int dirfd, const struct lm_keys *keys,
                            const struct lm_layer_header *header,
                            struct lm_error *err)
  __attribute__ ((nonnull));

/* Open DIRFD/layer-<id>.  EXPECTED gives the id and, but for the key,
 * what the header must say (O1).  A layer that is opened to be written is
 * synced first, and verified when it was poisoned.  WHERE names the
 * folder in messages. */
extern struct lm_layer *lm_layer_open (int dirfd, const char *where,
                                       const struct lm_keys *keys,
                                       const struct lm_layer_header *expected,
                                       bool writable, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Does not sync.  NULL is fine. */
extern void lm_layer_close (struct lm_layer *l);

extern uint64_t lm_layer_blocks (const struct lm_layer *l)
  __attribute__ ((nonnull));

/* The locks of the blocks [first, first + count). */
struct lm_layer_range {
  struct lm_layer *layer;
  uint64_t first;
  size_t count;
};
extern struct lm_layer_range
lm_layer_lock_shared (struct lm_layer *l, uint64_t first, size_t count)
  __attribute__ ((nonnull));
extern struct lm_layer_range
lm_layer_lock_exclusive (struct lm_layer *l, uint64_t first, size_t count)
  __attribute__ ((nonnull));
extern void lm_layer_unlock (struct lm_layer_range *range)
  __attribute__ ((nonnull));

/* False if the layer certainly decides none of these blocks; without
 * locks. */
extern bool lm_layer_may_decide (const struct lm_layer *l, uint64_t first,
                                 size_t count)
  __attribute__ ((nonnull));

/* For the blocks of WANTED: read those which this layer decides into BUF
 * (COUNT blocks) and remove them from WANTED. */
extern int lm_layer_read_locked (struct lm_layer *l, uint64_t first,
                                 size_t count, uint8_t *buf,
                                 struct lm_block_set *wanted,
                                 struct lm_error *err)
  __attribute__ ((nonnull));

/* Write whole blocks; BUF NULL writes zeros that stay allocated.
 * LM_ERR_NO_SPACE: each block is old or new, and the layer is sound. */
extern int lm_layer_write_locked (struct lm_layer *l, uint64_t first,
                                  size_t count, const uint8_t *buf,
                                  struct lm_error *err)
  __attribute__ ((nonnull (1, 5)));

/* Make whole blocks read as zeros and give their space back where that
 * pays; any number of blocks; takes its locks itself. */
extern int lm_layer_discard (struct lm_layer *l, uint64_t first,
                             uint64_t count, struct lm_error *err)
  __attribute__ ((nonnull));

/* Everything answered before is durable when this returns 0 (O6). */
extern int lm_layer_flush (struct lm_layer *l, struct lm_error *err)
  __attribute__ ((nonnull));

/* What the layer knows of a run of blocks. */
enum lm_layer_state {
  LM_LAYER_ABSENT,              /* the next layer decides */
  LM_LAYER_DATA,
  LM_LAYER_ZERO,
};

/* The state of block FROM, and the end (<= END) of its run. */
extern enum lm_layer_state lm_layer_state (const struct lm_layer *l,
                                           uint64_t from, uint64_t end,
                                           uint64_t *ret_end)
  __attribute__ ((nonnull));

#endif
