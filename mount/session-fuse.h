/* SPDX-License-Identifier: Apache-2.0
 *
 * `mount --fuse DIR`: each disk of a session as a file DIR/DISK, shown by
 * nbdfuse.  What the kernel has mounted is the only record of it.
 */
#ifndef LM_MOUNT_SESSION_FUSE_H
#define LM_MOUNT_SESSION_FUSE_H

#include "common/error.h"
#include "mount/session.h"

/* Mount all disks in session->fuse, which exists.  The proxy must run.
 * On failure nothing stays mounted. */
extern int lm_session_fuse_start (const struct lm_session *session,
                                  struct lm_error *err)
  __attribute__ ((nonnull));

/* Unmount those that this session has mounted, and remove the files that
 * stood under them.  0 also when there is nothing to do.  LM_ERR_LOCKED
 * when one is in use. */
extern int lm_session_fuse_stop (const struct lm_session *session,
                                 struct lm_error *err)
  __attribute__ ((nonnull));

#endif
