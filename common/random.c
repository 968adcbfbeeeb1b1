/* SPDX-License-Identifier: Apache-2.0
 * Randomness and clock; see random.h.
 */
#include <config.h>

#include "common/random.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include <openssl/sha.h>

#include "common/cleanup.h"
#include "common/banned.h"

/* Set by tests only, before threads start; the counter has its lock. */
static pthread_mutex_t test_lock = PTHREAD_MUTEX_INITIALIZER;
static bool test_seeded;
static uint8_t test_seed[32];
static uint64_t test_counter;
static int64_t test_time;
static _Atomic uint64_t test_skipped;

/* SHA-256 (seed ‖ counter) blocks: repeatable, and plainly not secret. */
static void
test_random (uint8_t *p, size_t len)
{
  LM_LOCK_FOR_SCOPE (&test_lock);

  while (len > 0) {
    uint8_t in[40], out[32];
    size_t n = len < sizeof out ? len : sizeof out;

    memcpy (in, test_seed, 32);
    memcpy (in + 32, &test_counter, 8);
    test_counter++;
    SHA256 (in, sizeof in, out);
    memcpy (p, out, n);
    p += n;
    len -= n;
  }
}

void
lm_random_bytes (void *buf, size_t len)
{
  uint8_t *p = buf;

  if (test_seeded) {
    test_random (p, len);
    return;
  }
  while (len > 0) {
    ssize_t r = getrandom (p, len, 0);

    if (r == -1) {
      if (errno == EINTR)
        continue;
      abort ();
    }
    p += r;
    len -= r;
  }
}

int64_t
lm_clock_now (void)
{
  return test_time ? test_time : (int64_t) time (NULL);
}

uint64_t
lm_clock_monotonic (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_MONOTONIC, &ts);
  return (uint64_t) ts.tv_sec * 1000000000 + ts.tv_nsec + test_skipped;
}

void
lm_clock_test_skip (uint64_t ns)
{
  test_skipped += ns;
}

void
lm_random_set_test_seed (const uint8_t seed[32])
{
  test_seeded = seed != NULL;
  test_counter = 0;
  if (seed)
    memcpy (test_seed, seed, 32);
}

void
lm_clock_set_test_time (int64_t seconds)
{
  test_time = seconds;
}
