/* SPDX-License-Identifier: Apache-2.0
 * Run a helper program to its end and take what it prints.
 */
#ifndef LM_MOUNT_CAPTURE_H
#define LM_MOUNT_CAPTURE_H

#include "common/error.h"

/* Standard output and error together (at most 1 MiB), NUL-terminated, to be
 * freed.  *RET_CODE is its exit code, -1 if a signal ended it.  After
 * TIMEOUT_MS it is killed: LM_ERR_IO.  LM_ERR_NOT_FOUND when there is no
 * such program. */
extern int lm_capture (const char *const *argv, int timeout_ms,
                       char **ret_text, int *ret_code, struct lm_error *err)
  __attribute__ ((nonnull));

#endif
