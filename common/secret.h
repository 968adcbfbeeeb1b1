/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory for keys: locked where the limits allow it, left out of core
 * dumps, wiped when freed.
 */
#ifndef LM_COMMON_SECRET_H
#define LM_COMMON_SECRET_H

#include <stddef.h>

/* Zeroed pages of their own.  NULL when out of memory. */
extern void *lm_secret_alloc (size_t len)
  __attribute__ ((warn_unused_result));

/* Lock it again: a fork's child does not inherit that. */
extern void lm_secret_relock (const void *p, size_t len);

/* Wipe and free; LEN as allocated; NULL is fine. */
extern void lm_secret_free (void *p, size_t len);

/* No core dumps and no ptrace of this process by other users. */
extern void lm_secret_harden_process (void);

#endif
