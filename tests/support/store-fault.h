/* SPDX-License-Identifier: Apache-2.0
 *
 * A store around another one that fails at a chosen step, to see what the
 * code above makes of it.  A step is a call that changes something: put,
 * put_if_absent, remove.  Reads are counted apart.
 */
#ifndef LM_TESTS_SUPPORT_STORE_FAULT_H
#define LM_TESTS_SUPPORT_STORE_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "formats/store.h"

enum lm_fault_kind {
  LM_FAULT_NONE,        /* only count */
  LM_FAULT_FAIL,        /* an error, and nothing was done */
  LM_FAULT_LOST_REPLY,  /* an error, but it was done */
  LM_FAULT_TEAR,        /* an error, and half of the object is there: what
                         * store.h forbids and bad storage does */
};

/* INNER must outlive the wrapper, which does not close it. */
extern struct lm_store *lm_store_fault_new (struct lm_store *inner)
  __attribute__ ((nonnull, returns_nonnull, warn_unused_result));

/* Begin to count anew; the STEP-th step from now (1 is the next) goes
 * wrong as KIND says.  With DEAD all that follows fails, reads included,
 * as if the machine had stopped. */
extern void lm_store_fault_arm (struct lm_store *store,
                                enum lm_fault_kind kind, uint64_t step,
                                bool dead)
  __attribute__ ((nonnull));

/* The READ-th get_range from now fails (once); 0 is never. */
extern void lm_store_fault_arm_read (struct lm_store *store, uint64_t read)
  __attribute__ ((nonnull));

/* Steps since the last _arm, the failed ones included. */
extern uint64_t lm_store_fault_steps (struct lm_store *store)
  __attribute__ ((nonnull));

#endif
