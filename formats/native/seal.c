/* SPDX-License-Identifier: Apache-2.0
 *
 * Sealing and opening; see seal.h.
 *
 * Every message has its own key, derived by one HMAC, so that a random
 * nonce is far from any bound.  OpenSSL contexts are kept per thread:
 * fetching algorithms takes global locks in OpenSSL 3.0.
 */
#include <config.h>

#include "formats/native/seal.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/sha.h>

#include "common/cleanup.h"
#include "common/random.h"
#include "common/banned.h"

#define SEAL_OVERHEAD (LM_NONCE_LEN + LM_TAG_LEN)

struct lm_sealer {
  const struct lm_keys *keys;   /* borrowed */
  EVP_MAC_CTX *mac;
  EVP_CIPHER_CTX *cipher;
  struct lm_codec *codec;
};

static int
crypto_failed (struct lm_error *err, const char *what)
{
  return lm_error_set (err, LM_ERR_IO, "OpenSSL: %s failed", what);
}

struct lm_sealer *
lm_sealer_new (const struct lm_keys *keys, struct lm_error *err)
{
  struct lm_sealer *s = calloc (1, sizeof *s);
  EVP_MAC *hmac = NULL;
  EVP_CIPHER *gcm = NULL;

  if (s == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  s->keys = keys;
  s->codec = lm_codec_new (err);
  if (s->codec == NULL) {
    free (s);
    return NULL;
  }
  if (!keys->encrypted)
    return s;
  hmac = EVP_MAC_fetch (NULL, "HMAC", NULL);
  gcm = EVP_CIPHER_fetch (NULL, "AES-256-GCM", NULL);
  if (hmac)
    s->mac = EVP_MAC_CTX_new (hmac);
  s->cipher = EVP_CIPHER_CTX_new ();
  if (s->mac) {
    OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string (OSSL_MAC_PARAM_DIGEST,
                                        (char *) "SHA256", 0),
      OSSL_PARAM_construct_end (),
    };

    if (!EVP_MAC_CTX_set_params (s->mac, params)) {
      EVP_MAC_CTX_free (s->mac);
      s->mac = NULL;
    }
  }
  if (s->cipher && gcm &&
      !EVP_CipherInit_ex2 (s->cipher, gcm, NULL, NULL, 1, NULL)) {
    EVP_CIPHER_CTX_free (s->cipher);
    s->cipher = NULL;
  }
  EVP_MAC_free (hmac);
  EVP_CIPHER_free (gcm);
  if (s->mac == NULL || s->cipher == NULL || gcm == NULL) {
    lm_sealer_free (s);
    crypto_failed (err, "HMAC-SHA-256 or AES-256-GCM set-up");
    return NULL;
  }
  return s;
}

void
lm_sealer_free (struct lm_sealer *s)
{
  if (s == NULL)
    return;
  EVP_MAC_CTX_free (s->mac);
  EVP_CIPHER_CTX_free (s->cipher);
  lm_codec_free (s->codec);
  free (s);
}

/* One sealer per thread: programs open one repository, or two one after
 * the other. */
static pthread_once_t thread_once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_key;

static void
thread_free (void *p)
{
  lm_sealer_free (p);
}

static void
thread_init (void)
{
  if (pthread_key_create (&thread_key, thread_free) != 0)
    abort ();
}

struct lm_sealer *
lm_sealer_for_thread (const struct lm_keys *keys, struct lm_error *err)
{
  struct lm_sealer *s;

  pthread_once (&thread_once, thread_init);
  s = pthread_getspecific (thread_key);
  if (s != NULL && s->keys == keys && (s->cipher != NULL) == keys->encrypted)
    return s;
  lm_sealer_free (s);
  s = lm_sealer_new (keys, err);
  pthread_setspecific (thread_key, s);
  return s;
}

void
lm_sealer_forget (const struct lm_keys *keys)
{
  struct lm_sealer *s;

  pthread_once (&thread_once, thread_init);
  s = pthread_getspecific (thread_key);
  if (s == NULL || s->keys != keys)
    return;
  lm_sealer_free (s);
  pthread_setspecific (thread_key, NULL);
}

/* Derived keys do not stay on the stack. */
static void
wipe_key (uint8_t (*key)[32])
{
  explicit_bzero (key, sizeof *key);
}

#define WIPED_KEY __attribute__ ((cleanup (wipe_key))) uint8_t

/* HMAC-SHA-256 over two parts. */
static int
mac2 (struct lm_sealer *s, const uint8_t key[32], const void *a, size_t alen,
      const void *b, size_t blen, uint8_t out[32], struct lm_error *err)
{
  size_t n = 32;

  if (!EVP_MAC_init (s->mac, key, 32, NULL) ||
      !EVP_MAC_update (s->mac, a, alen) ||
      (blen > 0 && !EVP_MAC_update (s->mac, b, blen)) ||
      !EVP_MAC_final (s->mac, out, &n, 32))
    return crypto_failed (err, "HMAC-SHA-256");
  return 0;
}

int
lm_seal_id (struct lm_sealer *s, enum lm_object_type type, const void *plain,
            size_t len, uint8_t ret_id[LM_ID_LEN], struct lm_error *err)
{
  static const char node_prefix[] = "livemount 1 node";

  if (!s->keys->encrypted) {
    EVP_MD_CTX *md = EVP_MD_CTX_new ();
    int ok = md != NULL && EVP_DigestInit_ex (md, EVP_sha256 (), NULL) &&
      (type != LM_TYPE_NODE ||
       EVP_DigestUpdate (md, node_prefix, sizeof node_prefix - 1)) &&
      EVP_DigestUpdate (md, plain, len) &&
      EVP_DigestFinal_ex (md, ret_id, NULL);

    EVP_MD_CTX_free (md);
    return ok ? 0 : crypto_failed (err, "SHA-256");
  }
  return mac2 (s, type == LM_TYPE_NODE ? s->keys->node_id
               : s->keys->chunk_id, plain, len, NULL, 0, ret_id, err);
}

/* AES-256-GCM in one step.  ENCRYPT 1 writes the tag, 0 checks it; a tag
 * that does not fit returns 1. */
static int
gcm (struct lm_sealer *s, int encrypt, const uint8_t key[32],
     const uint8_t nonce[LM_NONCE_LEN], const void *aad, size_t aad_len,
     const void *in, size_t len, uint8_t *out, uint8_t tag[LM_TAG_LEN],
     struct lm_error *err)
{
  EVP_CIPHER_CTX *c = s->cipher;
  const uint8_t *p = in;
  int n;

  if (!EVP_CipherInit_ex2 (c, NULL, key, nonce, encrypt, NULL) ||
      !EVP_CipherUpdate (c, NULL, &n, aad, aad_len))
    return crypto_failed (err, "AES-256-GCM");
  while (len > 0) {
    /* EVP counts in int. */
    int part = len > 1 << 30 ? 1 << 30 : (int) len;

    if (!EVP_CipherUpdate (c, out, &n, p, part))
      return crypto_failed (err, "AES-256-GCM");
    p += part;
    out += part;
    len -= part;
  }
  if (!encrypt &&
      !EVP_CIPHER_CTX_ctrl (c, EVP_CTRL_GCM_SET_TAG, LM_TAG_LEN, tag))
    return crypto_failed (err, "AES-256-GCM");
  if (!EVP_CipherFinal_ex (c, out, &n))
    return encrypt ? crypto_failed (err, "AES-256-GCM") : 1;
  if (encrypt &&
      !EVP_CIPHER_CTX_ctrl (c, EVP_CTRL_GCM_GET_TAG, LM_TAG_LEN, tag))
    return crypto_failed (err, "AES-256-GCM");
  return 0;
}

/* The key of one chunk: HKDF-Expand (chunk PRK, type ‖ id, 32). */
static int
chunk_key (struct lm_sealer *s, enum lm_object_type type,
           const uint8_t id[LM_ID_LEN], uint8_t key[32],
           struct lm_error *err)
{
  uint8_t info[1 + LM_ID_LEN + 1];

  info[0] = type;
  memcpy (info + 1, id, LM_ID_LEN);
  info[sizeof info - 1] = 1;
  return mac2 (s, s->keys->chunk_prk, info, sizeof info, NULL, 0, key, err);
}

static void
chunk_aad (const struct lm_keys *keys, const struct lm_chunk_ref *ref,
           struct lm_chunk_aad_wire *aad)
{
  memcpy (aad->magic, LM_CHUNK_MAGIC, 4);
  aad->version = lm_put_le16 (LM_NATIVE_VERSION);
  aad->type = ref->type;
  aad->encoding = ref->encoding;
  aad->plain_len = lm_put_le32 (ref->plain_len);
  memcpy (aad->repository, keys->repository, LM_NAME_ID_LEN);
  memcpy (aad->id, ref->id, LM_ID_LEN);
  memcpy (aad->base, ref->base, LM_ID_LEN);
}

size_t
lm_seal_chunk_bound (size_t plain_len)
{
  return SEAL_OVERHEAD + lm_codec_bound (plain_len);
}

/* Seal what was encoded: N bytes at BODY, which may be the plain bytes. */
static int
seal_encoded (struct lm_sealer *s, struct lm_chunk_ref *ref,
              const void *body, size_t n, uint8_t *out, struct lm_error *err)
{
  struct lm_chunk_aad_wire aad;
  WIPED_KEY key[32];

  ref->stored_len = n;
  if (!s->keys->encrypted) {
    if (body != out)
      memcpy (out, body, n);
    return 0;
  }
  ref->stored_len += SEAL_OVERHEAD;
  lm_random_bytes (out, LM_NONCE_LEN);
  chunk_aad (s->keys, ref, &aad);
  if (chunk_key (s, ref->type, ref->id, key, err) == -1)
    return -1;
  return gcm (s, 1, key, out, &aad, sizeof aad, body, n, out + LM_NONCE_LEN,
              out + LM_NONCE_LEN + n, err);
}

int
lm_seal_chunk (struct lm_sealer *s, struct lm_chunk_ref *ref,
               const void *plain, int compress, uint8_t *out,
               struct lm_error *err)
{
  uint8_t *body = s->keys->encrypted ? out + LM_NONCE_LEN : out;
  size_t n = ref->plain_len;

  memset (ref->base, 0, sizeof ref->base);
  ref->encoding = LM_ENCODING_RAW;
  if (compress)
    n = lm_codec_encode (s->codec, NULL, plain, n, body, &ref->encoding);
  return seal_encoded (s, ref,
                       ref->encoding == LM_ENCODING_RAW ? plain : body, n,
                       out, err);
}

int
lm_seal_delta (struct lm_sealer *s, struct lm_chunk_ref *ref,
               const struct lm_codec_base *base, const void *plain,
               uint8_t *out, struct lm_error *err)
{
  uint8_t *body = s->keys->encrypted ? out + LM_NONCE_LEN : out;
  size_t n = lm_codec_encode (s->codec, base, plain, ref->plain_len, body,
                              &ref->encoding);

  if (ref->encoding != LM_ENCODING_ZSTD_BASE)
    memset (ref->base, 0, sizeof ref->base);
  return seal_encoded (s, ref,
                       ref->encoding == LM_ENCODING_RAW ? plain : body, n,
                       out, err);
}

static int
open_chunk (struct lm_sealer *s, const struct lm_chunk_ref *ref,
            const struct lm_codec_base *base_or_null, uint8_t *stored,
            void *plain, int verify_id, struct lm_error *err)
{
  uint8_t *body = stored;
  size_t len = ref->stored_len;

  if (s->keys->encrypted) {
    struct lm_chunk_aad_wire aad;
    WIPED_KEY key[32];
    uint8_t *out;
    int r;

    if (len < SEAL_OVERHEAD)
      return lm_corrupt (err, "%zu bytes are too short for a chunk", len);
    len -= SEAL_OVERHEAD;
    body += LM_NONCE_LEN;
    if (ref->encoding == LM_ENCODING_RAW && len != ref->plain_len)
      return lm_corrupt (err, "raw length is %zu, expected %u bytes", len,
                         ref->plain_len);
    chunk_aad (s->keys, ref, &aad);
    if (chunk_key (s, ref->type, ref->id, key, err) == -1)
      return -1;
    /* A raw chunk is decrypted to where it is wanted; whoever ignores
     * the error must still not see unauthenticated bytes. */
    out = ref->encoding == LM_ENCODING_RAW ? plain : body;
    r = gcm (s, 0, key, stored, &aad, sizeof aad, body, len, out,
             body + len, err);
    if (r != 0) {
      memset (out, 0, len);
      return r == -1 ? -1
        : lm_corrupt (err, "does not authenticate (damaged or forged)");
    }
    body = out;
  }
  if (lm_codec_decode (s->codec, ref->encoding, base_or_null, body, len,
                       plain, ref->plain_len, err) == -1)
    return -1;

  if (verify_id || !s->keys->encrypted) {
    uint8_t id[LM_ID_LEN];

    if (lm_seal_id (s, ref->type, plain, ref->plain_len, id, err) == -1)
      return -1;
    if (memcmp (id, ref->id, LM_ID_LEN) != 0) {
      memset (plain, 0, ref->plain_len);
      return lm_corrupt (err, "content does not have the id it is "
                         "stored under");
    }
  }
  return 0;
}

int
lm_open_chunk (struct lm_sealer *s, const struct lm_chunk_ref *ref,
               uint8_t *stored, void *plain, int verify_id,
               struct lm_error *err)
{
  return open_chunk (s, ref, NULL, stored, plain, verify_id, err);
}

int
lm_open_delta (struct lm_sealer *s, const struct lm_chunk_ref *ref,
               const struct lm_codec_base *base, uint8_t *stored,
               void *plain, int verify_id, struct lm_error *err)
{
  return open_chunk (s, ref, base, stored, plain, verify_id, err);
}

void
lm_sha256 (const void *data, size_t len, uint8_t ret_digest[LM_SHA256_LEN])
{
  SHA256 (data, len, ret_digest);
}

/* The key of one object: HKDF-Expand (object PRK, type ‖ salt ‖ id, 32). */
static int
object_key (struct lm_sealer *s, const struct lm_object_wire *h,
            uint8_t key[32], struct lm_error *err)
{
  uint8_t info[1 + 32 + 32 + 1];

  info[0] = h->type;
  memcpy (info + 1, h->salt, 32);
  memcpy (info + 33, h->id, 32);
  info[sizeof info - 1] = 1;
  return mac2 (s, s->keys->object_prk, info, sizeof info, NULL, 0, key, err);
}

int
lm_seal_object (const struct lm_keys *keys, enum lm_object_type type,
                const void *id, size_t id_len, const void *plain, size_t len,
                uint8_t **ret_object, size_t *ret_len, struct lm_error *err)
{
  size_t tail = keys->encrypted ? LM_TAG_LEN : LM_SHA256_LEN;
  struct lm_object_wire h = { .type = type };
  CLEANUP_FREE uint8_t *object = malloc (sizeof h + len + tail);
  struct lm_sealer *s;
  WIPED_KEY key[32];

  if (object == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory (%zu bytes)",
                         sizeof h + len + tail);
  memcpy (h.magic, LM_OBJECT_MAGIC, 4);
  h.version = lm_put_le16 (LM_NATIVE_VERSION);
  h.method = keys->encrypted ? LM_METHOD_AES_256_GCM : LM_METHOD_NONE;
  h.plain_len = lm_put_le64 (len);
  memcpy (h.repository, keys->repository, LM_NAME_ID_LEN);
  memcpy (h.id, id, id_len);
  lm_random_bytes (h.salt, sizeof h.salt);
  if (keys->encrypted) {
    lm_random_bytes (h.nonce, sizeof h.nonce);
    s = lm_sealer_for_thread (keys, err);
    if (s == NULL || object_key (s, &h, key, err) == -1)
      return -1;
    if (gcm (s, 1, key, h.nonce, &h, sizeof h, plain, len,
             object + sizeof h, object + sizeof h + len, err) != 0)
      return -1;
    memcpy (object, &h, sizeof h);
  }
  else {
    memcpy (object, &h, sizeof h);
    memcpy (object + sizeof h, plain, len);
    lm_sha256 (object, sizeof h + len, object + sizeof h + len);
  }
  *ret_object = lm_steal (object);
  *ret_len = sizeof h + len + tail;
  return 0;
}

/* Everything about the header that can be said without a key. */
static int
check_header (const struct lm_keys *keys, enum lm_object_type type,
              const void *id, size_t id_len, const struct lm_object_wire *h,
              size_t len, const char *what, struct lm_error *err)
{
  uint8_t full_id[32] = { 0 };
  size_t tail = keys->encrypted ? LM_TAG_LEN : LM_SHA256_LEN;
  unsigned method = keys->encrypted ? LM_METHOD_AES_256_GCM
    : LM_METHOD_NONE;

  memcpy (full_id, id, id_len);
  if (memcmp (h->magic, LM_OBJECT_MAGIC, 4) != 0)
    return lm_corrupt (err, "%s: not a sealed object (wrong magic at 0x0)",
                       what);
  if (lm_get_le16 (h->version) != LM_NATIVE_VERSION)
    return lm_error_set (err, LM_ERR_UNSUPPORTED,
                         "%s: object version %u, this program knows 1", what,
                         lm_get_le16 (h->version));
  if (h->type != type)
    return lm_corrupt (err, "%s: object type %u at 0x6, expected %u", what,
                       h->type, type);
  if (h->method != method)
    return lm_corrupt (err, "%s: method %u at 0x7, expected %u", what,
                       h->method, method);
  if (memcmp (h->repository, keys->repository, LM_NAME_ID_LEN) != 0)
    return lm_corrupt (err, "%s: belongs to another repository", what);
  if (memcmp (h->id, full_id, 32) != 0)
    return lm_corrupt (err, "%s: is another object under this name", what);
  if (lm_get_le32 (h->epoch) != 0)
    return lm_error_set (err, LM_ERR_UNSUPPORTED,
                         "%s: key epoch %u; this program lacks the feature "
                         "'key-epochs'", what, lm_get_le32 (h->epoch));
  if (len < sizeof *h + tail ||
      lm_get_le64 (h->plain_len) != len - sizeof *h - tail)
    return lm_corrupt (err, "%s: %zu bytes stored, expected %llu", what, len,
                       (unsigned long long) lm_get_le64 (h->plain_len) +
                       sizeof *h + tail);
  return 0;
}

int
lm_open_object (const struct lm_keys *keys, enum lm_object_type type,
                const void *id, size_t id_len, const uint8_t *object,
                size_t len, const char *what, uint8_t **ret_plain,
                size_t *ret_len, struct lm_error *err)
{
  CLEANUP_FREE uint8_t *plain = NULL;
  struct lm_object_wire h;
  size_t plain_len;

  if (len < sizeof h)
    return lm_corrupt (err, "%s: %zu bytes are too short for an object",
                       what, len);
  memcpy (&h, object, sizeof h);
  if (check_header (keys, type, id, id_len, &h, len, what, err) == -1)
    return -1;
  plain_len = lm_get_le64 (h.plain_len);
  plain = malloc (plain_len + 1);
  if (plain == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "%s: out of memory", what);

  if (keys->encrypted) {
    struct lm_sealer *s = lm_sealer_for_thread (keys, err);
    WIPED_KEY key[32];
    uint8_t tag[LM_TAG_LEN];
    int r;

    if (s == NULL || object_key (s, &h, key, err) == -1)
      return -1;
    memcpy (tag, object + sizeof h + plain_len, LM_TAG_LEN);
    r = gcm (s, 0, key, h.nonce, &h, sizeof h, object + sizeof h, plain_len,
             plain, tag, err);
    if (r == -1)
      return -1;
    if (r == 1)
      return lm_corrupt (err, "%s: does not authenticate (damaged or "
                         "forged)", what);
  }
  else {
    uint8_t sum[LM_SHA256_LEN];

    lm_sha256 (object, sizeof h + plain_len, sum);
    if (memcmp (sum, object + sizeof h + plain_len, LM_SHA256_LEN) != 0)
      return lm_corrupt (err, "%s: SHA-256 does not fit (damaged)", what);
    memcpy (plain, object + sizeof h, plain_len);
  }
  plain[plain_len] = '\0';
  *ret_plain = lm_steal (plain);
  *ret_len = plain_len;
  return 0;
}
