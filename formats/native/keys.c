/* SPDX-License-Identifier: Apache-2.0
 * Derived keys; see keys.h.
 */
#include <config.h>

#include "formats/native/keys.h"

#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>

#include "common/secret.h"
#include "common/banned.h"

static int
hmac (const void *key, size_t key_len, const void *data, size_t len,
      uint8_t out[32])
{
  unsigned n = 32;

  return HMAC (EVP_sha256 (), key, key_len, data, len, out, &n) ? 0 : -1;
}

/* HKDF-Expand for one block of output: T(1) = HMAC (PRK, info ‖ 1). */
static int
expand (const uint8_t prk[32], const char *info, uint8_t out[32])
{
  uint8_t block[64];
  size_t n = strlen (info);

  memcpy (block, info, n);
  block[n] = 1;
  return hmac (prk, 32, block, n + 1, out);
}

struct lm_keys *
lm_keys_new (const uint8_t repository[LM_NAME_ID_LEN],
             const uint8_t master[LM_MASTER_KEY_LEN], struct lm_error *err)
{
  struct lm_keys *k = lm_secret_alloc (sizeof *k);
  uint8_t prk[32];
  int r = 0;

  if (k == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory for keys");
    return NULL;
  }
  memcpy (k->repository, repository, LM_NAME_ID_LEN);
  if (master == NULL)
    return k;
  k->encrypted = true;
  memcpy (k->master, master, LM_MASTER_KEY_LEN);
  r |= hmac (repository, LM_NAME_ID_LEN, master, LM_MASTER_KEY_LEN, prk);
  r |= expand (prk, "livemount 1 chunk id", k->chunk_id);
  r |= expand (prk, "livemount 1 node id", k->node_id);
  r |= expand (prk, "livemount 1 chunk seal", k->chunk_prk);
  r |= expand (prk, "livemount 1 object seal", k->object_prk);
  explicit_bzero (prk, sizeof prk);
  if (r != 0) {
    lm_keys_free (k);
    lm_error_set (err, LM_ERR_IO, "OpenSSL: HMAC-SHA-256 failed");
    return NULL;
  }
  return k;
}

void
lm_keys_relock (const struct lm_keys *keys)
{
  lm_secret_relock (keys, sizeof *keys);
}

void
lm_keys_free (struct lm_keys *keys)
{
  lm_secret_free (keys, sizeof *keys);
}

int
lm_hkdf (const void *ikm, size_t ikm_len, const void *salt, size_t salt_len,
         const void *info, size_t info_len, uint8_t *out, size_t out_len,
         struct lm_error *err)
{
  EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id (EVP_PKEY_HKDF, NULL);
  int ok;

  ok = ctx != NULL && EVP_PKEY_derive_init (ctx) > 0 &&
    EVP_PKEY_CTX_set_hkdf_md (ctx, EVP_sha256 ()) > 0 &&
    EVP_PKEY_CTX_set1_hkdf_salt (ctx, salt, salt_len) > 0 &&
    EVP_PKEY_CTX_set1_hkdf_key (ctx, ikm, ikm_len) > 0 &&
    EVP_PKEY_CTX_add1_hkdf_info (ctx, info, info_len) > 0 &&
    EVP_PKEY_derive (ctx, out, &out_len) > 0;
  EVP_PKEY_CTX_free (ctx);
  if (!ok)
    return lm_error_set (err, LM_ERR_IO, "OpenSSL: HKDF failed");
  return 0;
}
