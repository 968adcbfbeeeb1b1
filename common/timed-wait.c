/* SPDX-License-Identifier: Apache-2.0
 * Waits with a time-out; see timed-wait.h.
 */
#include <config.h>

#include "common/timed-wait.h"

#include <time.h>

#include "common/banned.h"

#define NS UINT64_C (1000000000)

void
lm_cond_init (pthread_cond_t *cond)
{
  pthread_condattr_t attr;

  pthread_condattr_init (&attr);
  pthread_condattr_setclock (&attr, CLOCK_MONOTONIC);
  pthread_cond_init (cond, &attr);
  pthread_condattr_destroy (&attr);
}

bool
lm_cond_wait_until (pthread_cond_t *cond, pthread_mutex_t *lock,
                    uint64_t until)
{
  const struct timespec ts = { until / NS, until % NS };

  return pthread_cond_timedwait (cond, lock, &ts) == 0;
}
