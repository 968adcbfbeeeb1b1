/* SPDX-License-Identifier: Apache-2.0
 *
 * A bounded set of open read-only descriptors, by name: random reads from
 * large objects then cost one pread each.  Least recently used ones are
 * closed first; one that is being read from never is.  Any thread may
 * call anything at once, except _free.
 *
 * The lock is held for a look through a few dozen hashes and never over
 * a system call that touches the disk, close(2) of a file that was only
 * read included.
 */
#ifndef LM_FORMATS_STORE_FD_CACHE_H
#define LM_FORMATS_STORE_FD_CACHE_H

#include <stdint.h>

#include "common/error.h"

struct lm_fd_cache;

/* At most MAX descriptors, or fewer if RLIMIT_NOFILE is low. */
extern struct lm_fd_cache *lm_fd_cache_new (unsigned max,
                                            struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
extern void lm_fd_cache_free (struct lm_fd_cache *c);

/* The slot that holds NAME, its descriptor in *ret_fd, or -1.  A slot
 * stays valid until it is released.  On a miss *ret_generation is what
 * _insert wants to hear later. */
extern int lm_fd_cache_acquire (struct lm_fd_cache *c, const char *name,
                                int *ret_fd, uint64_t *ret_generation)
  __attribute__ ((nonnull));

/* Hand over FD, just opened as NAME.  Returns an acquired slot, the
 * descriptor to use in *ret_fd (another thread's, if that was faster).
 * -1 when there is no room or when something was dropped since
 * GENERATION: FD then remains the caller's. */
extern int lm_fd_cache_insert (struct lm_fd_cache *c, const char *name,
                               int fd, uint64_t generation, int *ret_fd)
  __attribute__ ((nonnull));

extern void lm_fd_cache_release (struct lm_fd_cache *c, int slot)
  __attribute__ ((nonnull));

/* NAME was removed or replaced: no later _acquire finds it. */
extern void lm_fd_cache_drop (struct lm_fd_cache *c, const char *name)
  __attribute__ ((nonnull));

/* Close everything that is not in use: the process is out of
 * descriptors. */
extern void lm_fd_cache_trim (struct lm_fd_cache *c)
  __attribute__ ((nonnull));

#endif
