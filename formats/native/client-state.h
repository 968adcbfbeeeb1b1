/* SPDX-License-Identifier: Apache-2.0
 *
 * What this client has seen of a repository's journal, kept outside the
 * store, so that a store that was rolled back or replaced is noticed
 * (native.md section 9.4).
 *
 * One file per repository id, `<state dir>/<id>.json`.  It may be deleted:
 * then nothing has been seen yet.
 */
#ifndef LM_FORMATS_NATIVE_CLIENT_STATE_H
#define LM_FORMATS_NATIVE_CLIENT_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "formats/native/native-wire.h"

struct lm_client_state {
  bool known;                   /* false: nothing was seen yet */
  uint64_t sequence;
  uint8_t record[LM_SHA256_LEN];
};

extern int lm_client_state_read (const char *state_dir,
                                 const uint8_t repository[LM_NAME_ID_LEN],
                                 struct lm_client_state *ret_state,
                                 struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Remember a record, unless a later one is remembered already: of several
 * processes that do this at once the latest wins. */
extern int lm_client_state_advance (const char *state_dir,
                                    const uint8_t repository[LM_NAME_ID_LEN],
                                    uint64_t sequence,
                                    const uint8_t record[LM_SHA256_LEN],
                                    struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Remember a record, whatever was remembered: a person accepts it. */
extern int lm_client_state_reset (const char *state_dir,
                                  const uint8_t repository[LM_NAME_ID_LEN],
                                  uint64_t sequence,
                                  const uint8_t record[LM_SHA256_LEN],
                                  struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
