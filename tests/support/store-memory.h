/* SPDX-License-Identifier: Apache-2.0
 *
 * A store in memory: the simplest thing that obeys store.h, to test what
 * lies above without a file system, and to hold other stores against.
 */
#ifndef LM_TESTS_SUPPORT_STORE_MEMORY_H
#define LM_TESTS_SUPPORT_STORE_MEMORY_H

#include "formats/store.h"

/* Aborts when out of memory.  Close it with lm_store_close. */
extern struct lm_store *lm_store_memory_new (void)
  __attribute__ ((returns_nonnull, warn_unused_result));

/* The bytes of an object, to look at or to damage; NULL if there is no
 * such object.  They stay until the object is replaced or removed. */
extern uint8_t *lm_store_memory_data (struct lm_store *store,
                                      const char *name, size_t *ret_len)
  __attribute__ ((nonnull));

#endif
