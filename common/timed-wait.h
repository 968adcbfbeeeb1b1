/* SPDX-License-Identifier: Apache-2.0
 *
 * Condition variables for waits with a time-out, by the monotonic clock:
 * with the default clock a wait stalls or spins when the wall clock jumps.
 */
#ifndef LM_COMMON_TIMED_WAIT_H
#define LM_COMMON_TIMED_WAIT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* For lm_cond_wait_until; to be destroyed with pthread_cond_destroy. */
extern void lm_cond_init (pthread_cond_t *cond) __attribute__ ((nonnull));

/* Wait, with LOCK held, until COND is signalled (true, also for no
 * reason) or lm_clock_monotonic () reaches UNTIL, in ns (false). */
extern bool lm_cond_wait_until (pthread_cond_t *cond, pthread_mutex_t *lock,
                                uint64_t until) __attribute__ ((nonnull));

#endif
