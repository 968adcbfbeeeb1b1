/* SPDX-License-Identifier: Apache-2.0
 * rm -r, for folders of our own.
 */
#ifndef LM_MOUNT_REMOVE_TREE_H
#define LM_MOUNT_REMOVE_TREE_H

#include <stdint.h>

#include "common/error.h"

/* Remove the folder PATH and all in it; never follows a link and never
 * goes to another file system.  A path that does not exist is fine. */
extern int lm_remove_tree (int dirfd, const char *path,
                           struct lm_error *err) __attribute__ ((nonnull));

/* The bytes that the files called one of NAMES (NULL ends them) take on
 * disk, anywhere below PATH. */
extern int lm_tree_usage (int dirfd, const char *path,
                          const char *const *names, uint64_t *ret_bytes,
                          struct lm_error *err) __attribute__ ((nonnull));

#endif
