/* SPDX-License-Identifier: Apache-2.0
 *
 * Randomness and the clock, in one place, so that tests can make golden
 * files byte for byte.  Only tests replace the sources.
 */
#ifndef LM_COMMON_RANDOM_H
#define LM_COMMON_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* Fill BUF from getrandom(2).  Does not fail: a kernel without randomness
 * is a reason to abort. */
extern void lm_random_bytes (void *buf, size_t len)
  __attribute__ ((nonnull));

/* Seconds since the epoch: for display and names, never for safety. */
extern int64_t lm_clock_now (void);

/* Nanoseconds of CLOCK_MONOTONIC: for time-outs, leases and rates. */
extern uint64_t lm_clock_monotonic (void);

/* Tests only: the monotonic clock goes on by NS at once, as it does for
 * who was stopped meanwhile.  From any thread. */
extern void lm_clock_test_skip (uint64_t ns);

/* Tests only: a repeatable stream instead of getrandom, and a fixed
 * clock; NULL and 0 restore the real ones.  Not thread-safe. */
extern void lm_random_set_test_seed (const uint8_t seed[32]);
extern void lm_clock_set_test_time (int64_t seconds);

#endif
