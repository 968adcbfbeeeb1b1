/* SPDX-License-Identifier: Apache-2.0
 *
 * A map from ids of one length to a number: open addressing in one array,
 * so a million condemned packs cost 48 MiB and no allocation each.
 *
 * Ids are random bits or keyed hashes, so their own first bytes are the
 * hash.  One thread at a time may change it.
 */
#ifndef LM_FORMATS_NATIVE_ID_SET_H
#define LM_FORMATS_NATIVE_ID_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct lm_id_set {
  size_t id_len;                /* bytes, at least 8 */
  size_t n;                     /* ids in it */
  size_t slots;                 /* 0 or a power of two */
  uint8_t *data;                /* slots × (id_len + 8) bytes */
};

/* Values are below this. */
#define LM_ID_SET_VALUE_MAX (UINT64_MAX - 1)

#define LM_ID_SET_INIT(len) { (len), 0, 0, NULL }

extern void lm_id_set_release (struct lm_id_set *set)
  __attribute__ ((nonnull));

/* Make room for MORE ids, so that adding them cannot fail. */
extern int lm_id_set_reserve (struct lm_id_set *set, size_t more,
                              struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Add ID; one that is there already keeps its value. */
extern int lm_id_set_add (struct lm_id_set *set, const void *id,
                          uint64_t value, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Give an id that is there another value. */
extern void lm_id_set_update (struct lm_id_set *set, const void *id,
                              uint64_t value)
  __attribute__ ((nonnull));

/* False if it was not there. */
extern bool lm_id_set_remove (struct lm_id_set *set, const void *id)
  __attribute__ ((nonnull));

extern bool lm_id_set_has (const struct lm_id_set *set, const void *id)
  __attribute__ ((nonnull));
extern bool lm_id_set_get (const struct lm_id_set *set, const void *id,
                           uint64_t *ret_value)
  __attribute__ ((nonnull));

/* All ids, sorted bytewise: n pointers to an id, borrowed until the next
 * change.  The array is to be freed; never NULL but on failure. */
extern const uint8_t **lm_id_set_sorted (const struct lm_id_set *set,
                                         struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* The value that belongs to an id pointer of lm_id_set_sorted. */
extern uint64_t lm_id_set_value_at (const struct lm_id_set *set,
                                    const uint8_t *id)
  __attribute__ ((nonnull));

#endif
