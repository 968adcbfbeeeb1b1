/* SPDX-License-Identifier: Apache-2.0
 *
 * A sparse bitmap for disks of any size: memory grows with what is set,
 * not with the disk.  Two levels: a table of pointers in pages that the
 * kernel gives on first touch, and leaves of 4096 bits (one leaf is 16 MiB
 * of disk at 4 KiB a bit).  A leaf of ones costs nothing either, so that
 * the trim of a whole disk is cheap.
 *
 * All functions but _new and _free may be called from any threads at once
 * without a lock.  Each bit changes atomically; a test that follows a set
 * sees what the setter wrote before (release and acquire).  Ranges are
 * not atomic as a whole: callers that need it hold a lock of their own.
 */
#ifndef LM_PROXY_BITMAP_H
#define LM_PROXY_BITMAP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

struct lm_bitmap;

/* Bits: 64 PiB of disk.  The table of such a bitmap takes 32 GiB of
 * address space, none of it touched. */
#define LM_BITMAP_BITS_MAX (UINT64_C (1) << 44)

/* All bits are clear. */
extern struct lm_bitmap *lm_bitmap_new (uint64_t bits, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
extern void lm_bitmap_free (struct lm_bitmap *b);

extern bool lm_bitmap_test (const struct lm_bitmap *b, uint64_t bit)
  __attribute__ ((nonnull));

/* Set or clear COUNT bits from FIRST on.  -1 when out of memory, with a
 * first part of the range done. */
extern int lm_bitmap_set (struct lm_bitmap *b, uint64_t first,
                          uint64_t count, struct lm_error *err)
  __attribute__ ((nonnull));
extern int lm_bitmap_clear (struct lm_bitmap *b, uint64_t first,
                            uint64_t count, struct lm_error *err)
  __attribute__ ((nonnull));

/* The first bit in [FROM, END) that is set (clear), or END. */
extern uint64_t lm_bitmap_next_set (const struct lm_bitmap *b,
                                    uint64_t from, uint64_t end)
  __attribute__ ((nonnull));
extern uint64_t lm_bitmap_next_clear (const struct lm_bitmap *b,
                                      uint64_t from, uint64_t end)
  __attribute__ ((nonnull));

/* Bits FIRST to FIRST + 8*LEN - 1, FIRST a multiple of 8, as bytes with
 * the lowest bit first; bits beyond the end are zero. */
extern void lm_bitmap_get_bytes (const struct lm_bitmap *b, uint64_t first,
                                 uint8_t *ret_bytes, uint64_t len)
  __attribute__ ((nonnull));

#endif
