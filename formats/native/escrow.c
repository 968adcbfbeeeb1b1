/* SPDX-License-Identifier: Apache-2.0
 * X25519 for escrow slots; see escrow.h.
 */
#include <config.h>

#include "formats/native/escrow.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>

#include "common/cleanup.h"
#include "common/random.h"
#include "formats/native/keys.h"
#include "common/banned.h"

#define INFO "livemount 1 escrow"

/* What stands before the 32 bytes of the key (RFC 8410). */
static const uint8_t public_prefix[] = {
  0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x03, 0x21, 0x00,
};
static const uint8_t private_prefix[] = {
  0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e,
  0x04, 0x22, 0x04, 0x20,
};

#define DER_MAX 48
#define BASE64_MAX 64           /* characters of DER_MAX bytes */

static bool
has (const void *pem, size_t len, const char *text)
{
  return memmem (pem, len, text, strlen (text)) != NULL;
}

/* The DER between the lines of a block.  -1 unless there is such a block,
 * it is not longer than ours are, and it is base64. */
static int
decode_block (const char *pem, size_t len, const char *begin,
              const char *end, uint8_t der[DER_MAX + 3], size_t *ret_len)
{
  const char *p = memmem (pem, len, begin, strlen (begin)), *stop;
  uint8_t text[BASE64_MAX];
  size_t n = 0;
  int r;

  if (p == NULL)
    return -1;
  p += strlen (begin);
  stop = memmem (p, pem + len - p, end, strlen (end));
  if (stop == NULL)
    return -1;
  for (; p < stop && n <= sizeof text; p++) {
    if (*p == '\n' || *p == '\r' || *p == ' ')
      continue;
    if (n < sizeof text)
      text[n] = *p;
    n++;
  }
  r = n > 0 && n <= sizeof text ? EVP_DecodeBlock (der, text, n) : -1;
  while (r > 0 && n > 0 && text[n - 1] == '=') {
    n--;
    r--;
  }
  explicit_bzero (text, sizeof text);
  *ret_len = r;
  return r < 0 ? -1 : 0;
}

static int
parse (const char *pem, size_t len, const char *begin, const char *end,
       const uint8_t *prefix, size_t prefix_len,
       uint8_t ret_key[LM_ESCROW_KEY_LEN])
{
  uint8_t der[DER_MAX + 3];
  size_t n;
  bool ok;

  ok = decode_block (pem, len, begin, end, der, &n) == 0 &&
    n == prefix_len + LM_ESCROW_KEY_LEN &&
    memcmp (der, prefix, prefix_len) == 0;
  if (ok)
    memcpy (ret_key, der + prefix_len, LM_ESCROW_KEY_LEN);
  explicit_bzero (der, sizeof der);
  return ok ? 0 : -1;
}

int
lm_escrow_public_parse (const void *pem, size_t len, const char *what,
                        uint8_t ret_key[LM_ESCROW_KEY_LEN],
                        struct lm_error *err)
{
  if (parse (pem, len, "-----BEGIN PUBLIC KEY-----",
             "-----END PUBLIC KEY-----", public_prefix,
             sizeof public_prefix, ret_key) == 0)
    return 0;
  if (has (pem, len, "PRIVATE KEY-----")) {
    lm_error_set (err, LM_ERR_USAGE, "%s: is a private key; what is wanted "
                  "here is its public half", what);
    return lm_error_hint (err, "'openssl pkey -in FILE -pubout' prints it; "
                          "keep the private half away from this machine");
  }
  lm_error_set (err, LM_ERR_USAGE, "%s: is not an X25519 public key in PEM",
                what);
  return lm_error_hint (err, "'openssl genpkey -algorithm x25519' makes a "
                        "private key, 'openssl pkey -pubout' its public "
                        "half");
}

int
lm_escrow_private_parse (const void *pem, size_t len, const char *what,
                         uint8_t ret_key[LM_ESCROW_KEY_LEN],
                         struct lm_error *err)
{
  if (parse (pem, len, "-----BEGIN PRIVATE KEY-----",
             "-----END PRIVATE KEY-----", private_prefix,
             sizeof private_prefix, ret_key) == 0)
    return 0;
  if (has (pem, len, "-----BEGIN ENCRYPTED PRIVATE KEY-----")) {
    lm_error_set (err, LM_ERR_USAGE, "%s: is protected by a passphrase of "
                  "its own", what);
    return lm_error_hint (err, "let openssl undo that, without a file: "
                          "--escrow-key <(openssl pkey -in FILE)");
  }
  if (has (pem, len, "-----BEGIN PUBLIC KEY-----"))
    return lm_error_set (err, LM_ERR_USAGE, "%s: is a public key; what "
                         "opens an escrow slot is the private half", what);
  return lm_error_set (err, LM_ERR_USAGE, "%s: is not an X25519 private key "
                       "in PEM", what);
}

static void
free_pkey (EVP_PKEY **key)
{
  EVP_PKEY_free (*key);
}

static void
free_pkey_ctx (EVP_PKEY_CTX **ctx)
{
  EVP_PKEY_CTX_free (*ctx);
}

static int
failed (struct lm_error *err)
{
  ERR_clear_error ();
  return lm_error_set (err, LM_ERR_IO, "OpenSSL: X25519 failed");
}

static EVP_PKEY *
private_pkey (const uint8_t key[LM_ESCROW_KEY_LEN])
{
  return EVP_PKEY_new_raw_private_key (EVP_PKEY_X25519, NULL, key,
                                       LM_ESCROW_KEY_LEN);
}

int
lm_escrow_public_of (const uint8_t private_key[LM_ESCROW_KEY_LEN],
                     uint8_t ret_public[LM_ESCROW_KEY_LEN],
                     struct lm_error *err)
{
  CLEANUP (free_pkey) EVP_PKEY *key = private_pkey (private_key);
  size_t len = LM_ESCROW_KEY_LEN;

  if (key == NULL ||
      EVP_PKEY_get_raw_public_key (key, ret_public, &len) != 1)
    return failed (err);
  return 0;
}

/* OpenSSL refuses a result of zeros, so a peer key of small order does not
 * get through. */
static int
shared_secret (const uint8_t ours[LM_ESCROW_KEY_LEN],
               const uint8_t theirs[LM_ESCROW_KEY_LEN],
               uint8_t ret_secret[32], struct lm_error *err)
{
  CLEANUP (free_pkey) EVP_PKEY *key = private_pkey (ours);
  CLEANUP (free_pkey) EVP_PKEY *peer =
    EVP_PKEY_new_raw_public_key (EVP_PKEY_X25519, NULL, theirs,
                                 LM_ESCROW_KEY_LEN);
  CLEANUP (free_pkey_ctx) EVP_PKEY_CTX *ctx =
    key ? EVP_PKEY_CTX_new (key, NULL) : NULL;
  size_t len = 32;

  if (ctx == NULL || peer == NULL || EVP_PKEY_derive_init (ctx) != 1 ||
      EVP_PKEY_derive_set_peer (ctx, peer) != 1)
    return failed (err);
  if (EVP_PKEY_derive (ctx, ret_secret, &len) != 1) {
    ERR_clear_error ();
    return lm_error_set (err, LM_ERR_KEY, "the escrow public key is not one "
                         "that a secret can be agreed on with");
  }
  return 0;
}

static int
derive (const uint8_t ours[LM_ESCROW_KEY_LEN],
        const uint8_t theirs[LM_ESCROW_KEY_LEN],
        const uint8_t ephemeral[LM_ESCROW_KEY_LEN],
        const uint8_t recipient[LM_ESCROW_KEY_LEN],
        uint8_t ret_kek[LM_ESCROW_KEK_LEN], struct lm_error *err)
{
  uint8_t secret[32], salt[2 * LM_ESCROW_KEY_LEN];
  int r;

  if (shared_secret (ours, theirs, secret, err) == -1)
    return -1;
  memcpy (salt, ephemeral, LM_ESCROW_KEY_LEN);
  memcpy (salt + LM_ESCROW_KEY_LEN, recipient, LM_ESCROW_KEY_LEN);
  r = lm_hkdf (secret, sizeof secret, salt, sizeof salt, INFO,
               strlen (INFO), ret_kek, LM_ESCROW_KEK_LEN, err);
  explicit_bzero (secret, sizeof secret);
  return r;
}

int
lm_escrow_kek_new (const uint8_t recipient[LM_ESCROW_KEY_LEN],
                   uint8_t ret_ephemeral[LM_ESCROW_KEY_LEN],
                   uint8_t ret_kek[LM_ESCROW_KEK_LEN], struct lm_error *err)
{
  uint8_t private_key[LM_ESCROW_KEY_LEN];
  int r;

  lm_random_bytes (private_key, sizeof private_key);
  r = lm_escrow_public_of (private_key, ret_ephemeral, err);
  if (r == 0)
    r = derive (private_key, recipient, ret_ephemeral, recipient, ret_kek,
                err);
  explicit_bzero (private_key, sizeof private_key);
  return r;
}

int
lm_escrow_kek (const uint8_t private_key[LM_ESCROW_KEY_LEN],
               const uint8_t ephemeral[LM_ESCROW_KEY_LEN],
               const uint8_t recipient[LM_ESCROW_KEY_LEN],
               uint8_t ret_kek[LM_ESCROW_KEK_LEN], struct lm_error *err)
{
  uint8_t public_key[LM_ESCROW_KEY_LEN];

  if (lm_escrow_public_of (private_key, public_key, err) == -1)
    return -1;
  if (memcmp (public_key, recipient, sizeof public_key) != 0)
    return lm_error_set (err, LM_ERR_KEY, "wrong escrow key");
  return derive (private_key, ephemeral, ephemeral, recipient, ret_kek, err);
}
