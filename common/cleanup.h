/* SPDX-License-Identifier: Apache-2.0
 *
 * Cleanup attributes: a local that owns something says so where it is
 * declared, and is released on every way out.  Initialise at the
 * declaration; hand ownership out with lm_steal.
 */
#ifndef LM_COMMON_CLEANUP_H
#define LM_COMMON_CLEANUP_H

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* CLEANUP (fn): call fn (&variable) when the variable goes out of scope. */
#define CLEANUP(fn) __attribute__ ((cleanup (fn)))

static inline void
lm_cleanup_free (void *p)
{
  free (*(void **) p);
}

static inline void
lm_cleanup_close (int *fd)
{
  if (*fd >= 0)
    close (*fd);
}

static inline void
lm_cleanup_fclose (FILE **fp)
{
  if (*fp)
    fclose (*fp);
}

static inline void
lm_cleanup_closedir (DIR **dp)
{
  if (*dp)
    closedir (*dp);
}

static inline void
lm_cleanup_unlock (pthread_mutex_t **m)
{
  if (*m)
    pthread_mutex_unlock (*m);
}

#define CLEANUP_FREE CLEANUP (lm_cleanup_free)
#define CLEANUP_CLOSE CLEANUP (lm_cleanup_close)
#define CLEANUP_FCLOSE CLEANUP (lm_cleanup_fclose)
#define CLEANUP_CLOSEDIR CLEANUP (lm_cleanup_closedir)

/* Take the pointer out of VAR, leaving NULL. */
#define lm_steal(var) \
  ({ __typeof__ (var) lm_steal_ = (var); (var) = NULL; lm_steal_; })

/* Take the descriptor out of VAR, leaving -1. */
#define lm_steal_fd(var) \
  ({ int lm_steal_ = (var); (var) = -1; lm_steal_; })

static inline pthread_mutex_t *
lm_lock (pthread_mutex_t *m)
{
  pthread_mutex_lock (m);
  return m;
}

#define LM_PASTE_(a, b) a##b
#define LM_PASTE(a, b) LM_PASTE_ (a, b)

/* Hold MUTEX until the end of the block.  (Both functions exist so that
 * no macro hides a return.) */
#define LM_LOCK_FOR_SCOPE(mutex) \
  __attribute__ ((cleanup (lm_cleanup_unlock), unused)) \
  pthread_mutex_t *LM_PASTE (lm_locked_, __LINE__) = lm_lock (mutex)

#endif
