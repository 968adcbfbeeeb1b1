/* SPDX-License-Identifier: Apache-2.0
 *
 * What a restore writes to.
 *
 * The caller covers every byte from 0 to the size exactly once, by pwrite
 * or by zero, in any order and from any number of threads, and then calls
 * finish.  A target that is closed before that is incomplete: a file that
 * was made for it is removed again.
 */
#ifndef LM_FORMATS_TARGET_H
#define LM_FORMATS_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct lm_target;

struct lm_target_ops {
  const char *name;             /* "file", for messages */

  /* All are required.  Ranges have been checked, lengths are not 0. */
  int (*pwrite) (struct lm_target *t, const void *buf, size_t len,
                 uint64_t offset, struct lm_error *err);
  /* Make the range read as zeros; no space is used where that can be. */
  int (*zero) (struct lm_target *t, uint64_t offset, uint64_t len,
               struct lm_error *err);
  /* When it returns 0, all that was written survives power loss. */
  int (*finish) (struct lm_target *t, struct lm_error *err);
  void (*close) (struct lm_target *t);
};

/* Implementations embed this as their first member. */
struct lm_target {
  const struct lm_target_ops *ops;
  uint64_t size;                /* of the disk; the target may be larger */
};

struct lm_target_options {
  /* Write over what the target holds. */
  bool overwrite;
};

/* Open LOCATION (a path or an NBD URI) for a disk of SIZE bytes.  OPTIONS
 * may be NULL.  A path that does not exist becomes a file.  Nothing has
 * been changed when this fails.
 *
 * LM_ERR_EXISTS: it holds data.  LM_ERR_LOCKED: in use.  LM_ERR_USAGE: it
 * is too small, read-only, or no file or block device. */
extern int lm_target_open (const char *location, uint64_t size,
                           const struct lm_target_options *options,
                           struct lm_target **ret, struct lm_error *err)
  __attribute__ ((nonnull (1, 4, 5), warn_unused_result));

/* The checked entry points. */
extern int lm_target_pwrite (struct lm_target *t, const void *buf,
                             size_t len, uint64_t offset,
                             struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
extern int lm_target_zero (struct lm_target *t, uint64_t offset,
                           uint64_t len, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
extern int lm_target_finish (struct lm_target *t, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* NULL is fine. */
extern void lm_target_close (struct lm_target *t);

#endif
