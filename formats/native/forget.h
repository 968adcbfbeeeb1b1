/* SPDX-License-Identifier: Apache-2.0
 *
 * Forgetting snapshots, and what keeps a session from losing the one
 * that it stands on (native.md section 12).
 */
#ifndef LM_FORMATS_NATIVE_FORGET_H
#define LM_FORMATS_NATIVE_FORGET_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "formats/native/native-wire.h"
#include "formats/native/repository.h"

#define LM_FORGET_LEASE "forget"
#define LM_FORGET_LEASE_SECONDS 15

/* Forget N snapshots by one record, or none of them.  WHAT does it, for
 * people ("prune").  The data stays until gc.  Works without any room
 * left, if there is a reserve.
 *
 *   LM_ERR_NOT_FOUND   one is not there (any more)
 *   LM_ERR_USAGE       one is protected
 *   LM_ERR_LOCKED      one is pinned; or our lease was lost
 *   LM_ERR_CORRUPT     a pin can't be read: it might be for any of them
 *
 * Afterwards the repository's state is the newest that was seen, so the
 * caller may choose again. */
extern int lm_forget_run (struct lm_repository *repo,
                          const uint8_t (*ids)[LM_NAME_ID_LEN], size_t n,
                          const char *what, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* For who has put a pin: wait until everybody is done who may have looked
 * at the pins before.  Then load, and see whether the snapshot is there.
 * Usually at once; 15 seconds when somebody was killed in the act.
 * CANCEL as for lm_lease_watch_wait. */
extern int lm_forget_wait (struct lm_repository *repo,
                           const volatile sig_atomic_t *cancel,
                           struct lm_error *err)
  __attribute__ ((nonnull (1, 3), warn_unused_result));

#endif
