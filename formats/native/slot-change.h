/* SPDX-License-Identifier: Apache-2.0
 *
 * Adding, removing and bringing back key slots of an open repository, in
 * the order of writes that native.md section 5.2 demands.
 *
 * A slot is put before the record that speaks of it, and removed after it:
 * whatever happens in between, what opened the repository before still
 * does.
 */
#ifndef LM_FORMATS_NATIVE_SLOT_CHANGE_H
#define LM_FORMATS_NATIVE_SLOT_CHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "formats/native/key-slot.h"
#include "formats/native/repository.h"

/* The slot that NAME means: its label, its id, or the beginning of that.
 * LM_ERR_NOT_FOUND, or LM_ERR_USAGE when it fits several.  Borrowed from
 * SLOTS. */
extern const struct lm_key_slot *
lm_slot_find (const struct lm_key_slot *slots, size_t n, const char *name,
              struct lm_error *err)
  __attribute__ ((nonnull (3, 4), warn_unused_result));

/* Make a slot from what is in C for KIND, see that it opens (an escrow
 * slot can't be tried), and record it.  VERB says what for: "key add". */
extern int lm_slot_add (struct lm_repository *repo,
                        const struct lm_credentials *c,
                        enum lm_slot_kind kind, const char *label,
                        const char *verb, struct lm_key_slot *ret_slot,
                        struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* What is left when a slot is gone.  A passphrase and a key file open the
 * repository every day; an escrow slot only in an emergency. */
struct lm_slots_left {
  size_t daily, escrow;
};

/* Record that the slot is removed, and remove it; one that is damaged or
 * of an unknown kind, too.  LM_ERR_USAGE when it is the last one, or when
 * only escrow slots would be left and ESCROW_ONLY does not allow that.
 * LM_ERR_LOCKED when somebody else removes the others at this moment. */
extern int lm_slot_remove (struct lm_repository *repo,
                           const uint8_t id[LM_SLOT_ID_LEN],
                           bool escrow_only, const char *verb,
                           struct lm_slots_left *ret_left,
                           struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Put an exported slot, whose object has these bytes, back under its name,
 * and record it.  C opens it, as the caller has seen.  What is there under
 * that name is left alone if C opens it (*RET_NEW is false), and is damaged
 * and replaced otherwise. */
extern int lm_slot_restore (struct lm_repository *repo,
                            const struct lm_key_slot *slot,
                            const void *object, size_t len,
                            const struct lm_credentials *c, bool *ret_new,
                            struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
