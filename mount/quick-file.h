/* SPDX-License-Identifier: Apache-2.0
 * Small files that need to be whole, but not to survive a power cut.
 */
#ifndef LM_MOUNT_QUICK_FILE_H
#define LM_MOUNT_QUICK_FILE_H

#include "common/error.h"
#include "common/json.h"

/* Replace PATH by VALUE: whoever reads it sees the old or the new one.
 * Nothing is synced: after power loss it may be gone, or empty.  For what
 * is about processes, which are gone then, too. */
extern int lm_quick_file_json (int dirfd, const char *path,
                               const json_t *value, struct lm_error *err)
  __attribute__ ((nonnull));

#endif
