/* SPDX-License-Identifier: Apache-2.0
 *
 * A disk that holds a lock, shared, while another disk is read: so that
 * the repository below can be loaded again, under the same lock held
 * exclusively, while its disks are open.
 */
#ifndef LM_PROXY_GUARD_DISK_H
#define LM_PROXY_GUARD_DISK_H

#include <pthread.h>

#include "common/error.h"
#include "formats/disk.h"

/* Takes INNER on success; LOCK is borrowed. */
extern struct lm_disk *lm_guard_disk_new (struct lm_disk *inner,
                                          pthread_rwlock_t *lock,
                                          struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
