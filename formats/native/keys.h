/* SPDX-License-Identifier: Apache-2.0
 *
 * The master key and what is derived from it (native.md section 5.1).
 * Immutable once made, so any thread may use it; the memory is wiped when
 * it is freed.
 */
#ifndef LM_FORMATS_NATIVE_KEYS_H
#define LM_FORMATS_NATIVE_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "formats/native/native-wire.h"

struct lm_keys {
  uint8_t repository[LM_NAME_ID_LEN];
  bool encrypted;               /* false: the keys below are unused */
  uint8_t master[LM_MASTER_KEY_LEN];
  uint8_t chunk_id[32];
  uint8_t node_id[32];
  uint8_t chunk_prk[32];
  uint8_t object_prk[32];
};

/* MASTER NULL means an unencrypted repository. */
extern struct lm_keys *
lm_keys_new (const uint8_t repository[LM_NAME_ID_LEN],
             const uint8_t master[LM_MASTER_KEY_LEN], struct lm_error *err)
  __attribute__ ((nonnull (1, 3), warn_unused_result));

/* In the child after a fork: keep the keys out of swap there, too. */
extern void lm_keys_relock (const struct lm_keys *keys)
  __attribute__ ((nonnull));

/* NULL is fine. */
extern void lm_keys_free (struct lm_keys *keys);

/* HKDF (RFC 5869) with SHA-256, extract and expand; OUT_LEN <= 255*32. */
extern int lm_hkdf (const void *ikm, size_t ikm_len, const void *salt,
                    size_t salt_len, const void *info, size_t info_len,
                    uint8_t *out, size_t out_len, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
