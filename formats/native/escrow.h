/* SPDX-License-Identifier: Apache-2.0
 *
 * The public-key half of escrow slots (native.md section 5.2): X25519 keys
 * in PEM, and the key-encryption key that both sides arrive at.
 *
 * PEM is read by us, not by OpenSSL: there are two forms of 44 and 48
 * bytes, and so nothing of a private key passes through buffers that
 * nobody wipes, and nobody asks for a passphrase on the terminal.
 */
#ifndef LM_FORMATS_NATIVE_ESCROW_H
#define LM_FORMATS_NATIVE_ESCROW_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

#define LM_ESCROW_KEY_LEN 32
#define LM_ESCROW_KEK_LEN 32
#define LM_ESCROW_PEM_MAX 16384         /* bytes of a file with one key */

/* The key in LEN bytes of PEM.  LM_ERR_USAGE when there is none, with
 * what there is instead.  WHAT names the file. */
extern int lm_escrow_public_parse (const void *pem, size_t len,
                                   const char *what,
                                   uint8_t ret_key[LM_ESCROW_KEY_LEN],
                                   struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
extern int lm_escrow_private_parse (const void *pem, size_t len,
                                    const char *what,
                                    uint8_t ret_key[LM_ESCROW_KEY_LEN],
                                    struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* The public half of a private key. */
extern int lm_escrow_public_of (const uint8_t private_key[LM_ESCROW_KEY_LEN],
                                uint8_t ret_public[LM_ESCROW_KEY_LEN],
                                struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* For who makes a slot: a fresh ephemeral key, and the KEK. */
extern int lm_escrow_kek_new (const uint8_t recipient[LM_ESCROW_KEY_LEN],
                              uint8_t ret_ephemeral[LM_ESCROW_KEY_LEN],
                              uint8_t ret_kek[LM_ESCROW_KEK_LEN],
                              struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* For who opens it.  LM_ERR_KEY when PRIVATE_KEY is not that of
 * RECIPIENT. */
extern int lm_escrow_kek (const uint8_t private_key[LM_ESCROW_KEY_LEN],
                          const uint8_t ephemeral[LM_ESCROW_KEY_LEN],
                          const uint8_t recipient[LM_ESCROW_KEY_LEN],
                          uint8_t ret_kek[LM_ESCROW_KEK_LEN],
                          struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
