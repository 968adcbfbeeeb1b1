/* SPDX-License-Identifier: Apache-2.0
 * Waits end when they should by the monotonic clock.  (The wall clock is
 * decades ahead of it: a wait by that one would end at once.)
 */
#include <config.h>

#include "common/timed-wait.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "common/cleanup.h"
#include "common/random.h"

#define MS UINT64_C (1000000)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond;
static bool said;

TestSuite (timed_wait, .timeout = 60);

Test (timed_wait, it_lasts_as_long_as_was_asked)
{
  uint64_t until = lm_clock_monotonic () + 300 * MS;

  lm_cond_init (&cond);
  pthread_mutex_lock (&lock);
  while (lm_cond_wait_until (&cond, &lock, until))
    ;
  pthread_mutex_unlock (&lock);
  cr_expect (le (u64, until, lm_clock_monotonic ()));
  pthread_cond_destroy (&cond);
}

Test (timed_wait, what_is_past_is_not_waited_for)
{
  lm_cond_init (&cond);
  pthread_mutex_lock (&lock);
  while (lm_cond_wait_until (&cond, &lock, 0))
    ;
  pthread_mutex_unlock (&lock);
  pthread_cond_destroy (&cond);
}

static void *
say (void *opaque)
{
  LM_LOCK_FOR_SCOPE (&lock);

  (void) opaque;
  said = true;
  pthread_cond_signal (&cond);
  return NULL;
}

Test (timed_wait, a_signal_ends_it)
{
  uint64_t until = lm_clock_monotonic () + 3600 * 1000 * MS;
  pthread_t thread;

  lm_cond_init (&cond);
  pthread_mutex_lock (&lock);
  cr_assert (eq (int, pthread_create (&thread, NULL, say, NULL), 0));
  while (!said)
    cr_assert (lm_cond_wait_until (&cond, &lock, until));
  pthread_mutex_unlock (&lock);
  pthread_join (thread, NULL);
  pthread_cond_destroy (&cond);
}
