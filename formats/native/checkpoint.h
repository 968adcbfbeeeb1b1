/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoints bound the replay of the journal (native.md section 9.3).
 */
#ifndef LM_FORMATS_NATIVE_CHECKPOINT_H
#define LM_FORMATS_NATIVE_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "formats/native/journal-state.h"
#include "formats/native/keys.h"
#include "formats/store.h"

/* One after each record whose sequence is a multiple of this. */
#define LM_CHECKPOINT_INTERVAL 32

/* The state of the newest checkpoint that opens; *RET_FOUND false (and
 * *RET_STATE untouched) when none does. */
extern int lm_checkpoint_read_newest (struct lm_store *store,
                                      const struct lm_keys *keys,
                                      struct lm_journal_state *ret_state,
                                      bool *ret_found, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

extern int lm_checkpoint_read (struct lm_store *store,
                               const struct lm_keys *keys, uint64_t sequence,
                               struct lm_journal_state *ret_state,
                               struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Put the one for STATE, and remove all but the two newest. */
extern int lm_checkpoint_write (struct lm_store *store,
                                const struct lm_keys *keys,
                                const struct lm_journal_state *state,
                                struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
