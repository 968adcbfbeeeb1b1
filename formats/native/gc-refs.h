/* SPDX-License-Identifier: Apache-2.0
 *
 * What snapshots refer to, as the first 8 bytes of the ids: a quarter of
 * the memory, and two ids that begin alike can only make `gc` keep too
 * much.  Filled in any order, then sorted once and passed through beside
 * the sorted index: that takes a tenth of looking each one up.
 */
#ifndef LM_FORMATS_NATIVE_GC_REFS_H
#define LM_FORMATS_NATIVE_GC_REFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "formats/native/native-wire.h"

struct lm_gc_refs {
  uint64_t *keys;
  size_t n;
  size_t limit;                 /* how many there is room for */
};

/* Address space for LIMIT references, 8 bytes each; memory is taken as it
 * is filled. */
extern int lm_gc_refs_init (struct lm_gc_refs *refs, size_t limit,
                            struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
extern void lm_gc_refs_release (struct lm_gc_refs *refs)
  __attribute__ ((nonnull));

static inline bool
lm_gc_refs_has_room (const struct lm_gc_refs *refs, size_t more)
{
  return refs->limit - refs->n >= more;
}

/* Only when there is room. */
extern void lm_gc_refs_add (struct lm_gc_refs *refs,
                            const uint8_t id[LM_ID_LEN])
  __attribute__ ((nonnull));

/* Sort them and leave one of each. */
extern int lm_gc_refs_sort (struct lm_gc_refs *refs, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
