/* SPDX-License-Identifier: Apache-2.0
 *
 * Room kept free, so that something can be forgotten when the file system
 * has none left (native.md section 2.1).
 *
 *   while ((r = work (…, err)) == -1 && lm_reserve_drop (store, err))
 *     ;
 *   lm_reserve_restore (store);
 *
 * WORK must be something that can be tried again from its beginning.
 */
#ifndef LM_FORMATS_NATIVE_RESERVE_H
#define LM_FORMATS_NATIVE_RESERVE_H

#include <stdbool.h>

#include "common/error.h"
#include "formats/store.h"

#define LM_RESERVE_PIECES 8
#define LM_RESERVE_PIECE_LEN (1u << 20)         /* bytes */

/* Work failed as *ERR says.  Was that for want of room, and could a piece
 * of the reserve be removed?  Then true, with *ERR cleared: try again.
 * Else *ERR stays.  Not for what only stores more, like backups. */
extern bool lm_reserve_drop (struct lm_store *store, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Put the pieces that are missing, as far as there is room, into a store
 * whose room is bounded.  Best effort: there is nothing to report. */
extern void lm_reserve_restore (struct lm_store *store)
  __attribute__ ((nonnull));

#endif
