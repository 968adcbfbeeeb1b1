/* SPDX-License-Identifier: Apache-2.0
 *
 * AES-256-XTS of 4 KiB blocks (docs/overlay.md, section 1).  Key
 * schedules are kept in a pool, one pair for each thread that is at work
 * at the same moment.
 */
#ifndef LM_PROXY_OVERLAY_CRYPT_H
#define LM_PROXY_OVERLAY_CRYPT_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

#define LM_OVERLAY_BLOCK 4096
#define LM_LAYER_KEY_LEN 64

struct lm_xts;

/* Any thread may use it. */
extern struct lm_xts *lm_xts_new (const uint8_t key[LM_LAYER_KEY_LEN],
                                  struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
extern void lm_xts_free (struct lm_xts *x);

/* COUNT blocks, the first being number FIRST.  SRC and DST are the same
 * or do not overlap. */
extern int lm_xts_encrypt (struct lm_xts *x, uint64_t first, size_t count,
                           const void *src, void *dst, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
extern int lm_xts_decrypt (struct lm_xts *x, uint64_t first, size_t count,
                           const void *src, void *dst, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
