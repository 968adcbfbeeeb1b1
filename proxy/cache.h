/* SPDX-License-Identifier: Apache-2.0
 *
 * A bounded cache of decoded blocks, shared by all disks of a process,
 * and an lm_disk around another lm_disk that reads through it.
 *
 * - A block is a whole number of the inner disk's preferred blocks long
 *   (its chunk), so a miss decodes what had to be decoded anyway.
 * - Misses of several threads on one block load it once; the others wait.
 *   A failure is not remembered: whoever waited tries for itself, and
 *   only for the bytes that it wants.
 * - What the inner disk calls zero is neither loaded nor kept.
 * - A large read that misses goes straight to the caller's buffer, so a
 *   copy of the disk does not wash out what a guest uses.
 */
#ifndef LM_PROXY_CACHE_H
#define LM_PROXY_CACHE_H

#include <stdint.h>

#include "common/error.h"
#include "formats/disk.h"

struct lm_cache;

struct lm_cache_stats {
  uint64_t hits;                /* blocks */
  uint64_t misses;              /* blocks loaded into the cache */
  uint64_t waits;               /* blocks that another thread was loading */
  uint64_t zeros;               /* blocks known to be zero */
  uint64_t direct;              /* blocks read past the cache */
};

/* BYTES of memory, taken as it fills; 0 means that nothing is kept.
 * BLOCK is a power of two, at least 512. */
extern struct lm_cache *lm_cache_new (uint64_t bytes, uint32_t block,
                                      struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* After the last of its disks was closed. */
extern void lm_cache_free (struct lm_cache *cache);

/* A disk that reads INNER through CACHE.  Takes INNER on success. */
extern struct lm_disk *lm_cache_disk_new (struct lm_cache *cache,
                                          struct lm_disk *inner,
                                          struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Bring [OFFSET, OFFSET+LEN) into the cache; DISK is one of
 * lm_cache_disk_new.  Any thread. */
extern int lm_cache_disk_prefetch (struct lm_disk *disk, uint64_t offset,
                                   uint64_t len, struct lm_error *err)
  __attribute__ ((nonnull));

/* Bytes that one block holds, and that the whole cache may hold. */
extern uint32_t lm_cache_block (const struct lm_cache *cache)
  __attribute__ ((nonnull));
extern uint64_t lm_cache_capacity (const struct lm_cache *cache)
  __attribute__ ((nonnull));

extern void lm_cache_get_stats (struct lm_cache *cache,
                                struct lm_cache_stats *ret_stats)
  __attribute__ ((nonnull));

#endif
