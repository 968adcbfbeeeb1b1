/* SPDX-License-Identifier: Apache-2.0
 *
 * Index segments that are being made: as many as the packs that are added
 * need, each within its limit of entries.
 */
#ifndef LM_FORMATS_NATIVE_SEGMENT_LIST_H
#define LM_FORMATS_NATIVE_SEGMENT_LIST_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/json.h"
#include "formats/native/keys.h"
#include "formats/native/segment.h"
#include "formats/store.h"

struct lm_segment_list {
  struct lm_segment *segments;
  size_t n;
};

#define LM_SEGMENT_LIST_INIT { NULL, 0 }

extern void lm_segment_list_release (struct lm_segment_list *list)
  __attribute__ ((nonnull));

/* The segment that a pack with so many entries goes to; borrowed until the
 * next call. */
extern struct lm_segment *
lm_segment_list_room (struct lm_segment_list *list, uint32_t entries,
                      struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Store all, and append to CHANGES (a JSON array) a segment-add for
 * each. */
extern int lm_segment_list_put (struct lm_segment_list *list,
                                struct lm_store *store,
                                const struct lm_keys *keys, json_t *changes,
                                struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
