/* SPDX-License-Identifier: Apache-2.0
 *
 * Key slots: the master key, wrapped for someone (native.md section 5.2).
 */
#ifndef LM_FORMATS_NATIVE_KEY_SLOT_H
#define LM_FORMATS_NATIVE_KEY_SLOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "formats/native/native-wire.h"
#include "formats/native/repository.h"
#include "formats/store.h"

#define LM_SLOT_SIZE_MAX ((size_t) 64 << 10)
#define LM_SLOT_LABEL_MAX 128           /* bytes */
#define LM_KEY_FILE_MIN 32              /* bytes */
#define LM_KEY_FILE_MAX 65536
#define LM_PASSPHRASE_MAX 4096

/* Limits on what a slot may cost who opens it (section 5.2). */
#define LM_SCRYPT_N_DEFAULT (UINT32_C (1) << 17)
#define LM_SCRYPT_N_MIN (UINT32_C (1) << 14)
#define LM_SCRYPT_N_MAX (UINT32_C (1) << 22)
#define LM_SCRYPT_R_MAX 32
#define LM_SCRYPT_P_MAX 16
#define LM_SCRYPT_MEMORY_MAX (UINT64_C (1) << 30)

enum lm_slot_kind {
  LM_SLOT_PASSPHRASE,
  LM_SLOT_KEY_FILE,
  LM_SLOT_ESCROW,
  LM_SLOT_UNKNOWN,              /* a kind or version of later programs */
};

/* "passphrase", … */
extern const char *lm_slot_kind_name (enum lm_slot_kind kind);

/* A slot.  Plain data without secrets: `wrapped` is ciphertext. */
struct lm_key_slot {
  uint8_t id[LM_SLOT_ID_LEN];
  uint8_t repository[LM_NAME_ID_LEN];
  int64_t created;              /* seconds since the epoch */
  char label[LM_SLOT_LABEL_MAX + 1];
  uint32_t epoch;
  enum lm_slot_kind kind;       /* nothing below is set for UNKNOWN */
  uint64_t scrypt_n;            /* passphrase only */
  uint32_t scrypt_r, scrypt_p;
  uint8_t salt[32];             /* passphrase and key file */
  uint8_t ephemeral[32];        /* escrow only */
  uint8_t recipient[32];
  uint8_t nonce[LM_NONCE_LEN];
  uint8_t wrapped[LM_MASTER_KEY_LEN + LM_TAG_LEN];
};

/* The bytes of the object; free the result. */
extern char *lm_key_slot_encode (const struct lm_key_slot *slot,
                                 size_t *ret_len, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Decode and check, the cost of the KDF included.  A slot of a later kind
 * or version decodes to LM_SLOT_UNKNOWN.  WHAT names it in messages. */
extern int lm_key_slot_decode (const void *data, size_t len,
                               const char *what,
                               struct lm_key_slot *ret_slot,
                               struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Fill in nonce and wrapped (in an escrow slot ephemeral and recipient, too)
 * from everything else in SLOT.  Scrypt takes 128·N·r bytes of memory and,
 * with the default, 0.4 s. */
extern int lm_key_slot_wrap (struct lm_key_slot *slot,
                             const struct lm_credentials *c,
                             const uint8_t master[LM_MASTER_KEY_LEN],
                             struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* LM_ERR_KEY when the credentials do not fit or are not there. */
extern int lm_key_slot_unwrap (const struct lm_key_slot *slot,
                               const struct lm_credentials *c,
                               uint8_t ret_master[LM_MASTER_KEY_LEN],
                               struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Make a slot of KIND under a fresh id, and put it into the store.  The
 * record about it is the caller's to write. */
extern int lm_key_slot_add (struct lm_store *store,
                            const uint8_t repository[LM_NAME_ID_LEN],
                            const uint8_t master[LM_MASTER_KEY_LEN],
                            const struct lm_credentials *c,
                            enum lm_slot_kind kind, const char *label,
                            struct lm_key_slot *ret_slot,
                            struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Get and decode keys/<ID>, which must be what its name says. */
extern int lm_key_slot_read (struct lm_store *store,
                             const uint8_t id[LM_SLOT_ID_LEN],
                             struct lm_key_slot *ret_slot,
                             struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* All slots of this repository that decode, in the order of their ids;
 * those of others (an interrupted init leaves them) are left out.  FIRST
 * (or NULL) gets the error of the first one that did not decode.
 * *RET_SLOTS is to be freed. */
extern int lm_key_slots_list (struct lm_store *store,
                              const uint8_t repository[LM_NAME_ID_LEN],
                              struct lm_key_slot **ret_slots, size_t *ret_n,
                              struct lm_error *first, struct lm_error *err)
  __attribute__ ((nonnull (1, 2, 3, 4, 6), warn_unused_result));

/* Find the slot that the credentials open.  Passphrases last: the others
 * cost nothing.  A master key among the credentials is taken as it is, and
 * RET_SLOT_ID is then zeros.  LM_ERR_KEY when nothing fits, with what the
 * repository has in the hint. */
extern int lm_key_slots_unlock (struct lm_store *store,
                                const uint8_t repository[LM_NAME_ID_LEN],
                                const struct lm_credentials *c,
                                uint8_t ret_master[LM_MASTER_KEY_LEN],
                                uint8_t ret_slot_id[LM_SLOT_ID_LEN],
                                struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
