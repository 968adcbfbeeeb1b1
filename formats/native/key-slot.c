/* SPDX-License-Identifier: Apache-2.0
 *
 * One key slot: JSON and wrapping; see key-slot.h and native.md section
 * 5.2.  Which slots a repository has is key-slots.c's.
 *
 * Everything that a slot demands of who opens it is checked when it is
 * decoded, so nothing after that can be made to work or allocate without
 * bound.
 */
#include <config.h>

#include "formats/native/key-slot.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "common/json.h"
#include "common/random.h"
#include "common/timestamp.h"
#include "formats/native/escrow.h"
#include "formats/native/keys.h"
#include "common/banned.h"

#define FORMAT "livemount-key-slot"
#define KEK_LEN 32
#define AAD_TEXT "livemount 1 key slot"
#define KEY_FILE_INFO "livemount 1 key file"

static const struct {
  const char *name;             /* in `kind` */
  const char *kdf;              /* in `kdf.name` */
} kinds[] = {
  [LM_SLOT_PASSPHRASE] = { "passphrase", "scrypt" },
  [LM_SLOT_KEY_FILE] = { "key-file", "hkdf-sha256" },
  [LM_SLOT_ESCROW] = { "escrow", "x25519-hkdf-sha256" },
};

#define NR_KINDS (sizeof kinds / sizeof kinds[0])

const char *
lm_slot_kind_name (enum lm_slot_kind kind)
{
  return kind < NR_KINDS ? kinds[kind].name : "unknown";
}

static json_t *
encode_kdf (const struct lm_key_slot *slot)
{
  json_t *v = json_pack ("{ss}", "name", kinds[slot->kind].kdf);

  if (v == NULL)
    return NULL;
  if (slot->kind == LM_SLOT_PASSPHRASE) {
    json_object_set_new (v, "n", json_integer (slot->scrypt_n));
    json_object_set_new (v, "r", json_integer (slot->scrypt_r));
    json_object_set_new (v, "p", json_integer (slot->scrypt_p));
  }
  if (slot->kind == LM_SLOT_ESCROW) {
    lm_json_set_hex (v, "ephemeral", slot->ephemeral, 32);
    lm_json_set_hex (v, "recipient", slot->recipient, 32);
  }
  else
    lm_json_set_hex (v, "salt", slot->salt, sizeof slot->salt);
  return v;
}

char *
lm_key_slot_encode (const struct lm_key_slot *slot, size_t *ret_len,
                    struct lm_error *err)
{
  char created[LM_TIMESTAMP_LEN + 1];
  CLEANUP_JSON json_t *v = NULL;

  if (slot->kind >= NR_KINDS) {
    lm_error_set (err, LM_ERR_UNSUPPORTED,
                  "a key slot of an unknown kind cannot be written");
    return NULL;
  }
  lm_timestamp_format (slot->created, created);
  v = json_pack ("{ss, si, ss, ss, sI, ss, so}", "format", FORMAT,
                 "version", LM_NATIVE_VERSION, "created", created,
                 "label", slot->label, "epoch", (json_int_t) slot->epoch,
                 "kind", kinds[slot->kind].name, "kdf", encode_kdf (slot));
  if (v == NULL ||
      lm_json_set_hex (v, "id", slot->id, LM_SLOT_ID_LEN) == -1 ||
      lm_json_set_hex (v, "repository", slot->repository,
                       LM_NAME_ID_LEN) == -1 ||
      lm_json_set_hex (v, "nonce", slot->nonce, LM_NONCE_LEN) == -1 ||
      lm_json_set_hex (v, "wrapped", slot->wrapped,
                       sizeof slot->wrapped) == -1) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory for a key slot");
    return NULL;
  }
  return lm_json_dump (v, ret_len, err);
}

static int
check_scrypt (const struct lm_key_slot *slot, const char *what,
              struct lm_error *err)
{
  if (!lm_is_power_of_2 (slot->scrypt_n) ||
      slot->scrypt_n < LM_SCRYPT_N_MIN || slot->scrypt_n > LM_SCRYPT_N_MAX)
    return lm_corrupt (err, "%s: scrypt N is %" PRIu64 ", expected a power "
                       "of two from %u to %u", what, slot->scrypt_n,
                       LM_SCRYPT_N_MIN, LM_SCRYPT_N_MAX);
  if (slot->scrypt_r < 1 || slot->scrypt_p < 1)
    return lm_corrupt (err, "%s: scrypt r and p must not be 0", what);
  if (128 * slot->scrypt_n * slot->scrypt_r > LM_SCRYPT_MEMORY_MAX)
    return lm_corrupt (err, "%s: scrypt would take %" PRIu64
                       " bytes of memory, the limit is %" PRIu64, what,
                       128 * slot->scrypt_n * slot->scrypt_r,
                       LM_SCRYPT_MEMORY_MAX);
  return 0;
}

static int
decode_kdf (const json_t *v, const char *what, struct lm_key_slot *slot,
            struct lm_error *err)
{
  json_t *kdf = lm_json_object (v, "kdf", what, err);
  const char *name;
  uint64_t r, p;

  if (kdf == NULL)
    return -1;
  name = lm_json_string (kdf, "name", what, err);
  if (name == NULL)
    return -1;
  if (strcmp (name, kinds[slot->kind].kdf) != 0)
    return lm_corrupt (err, "%s: key derivation '%.64s', expected '%s'",
                       what, name, kinds[slot->kind].kdf);
  switch (slot->kind) {
  case LM_SLOT_PASSPHRASE:
    if (lm_json_u64 (kdf, "n", INT64_MAX, what, &slot->scrypt_n,
                     err) == -1 ||
        lm_json_u64 (kdf, "r", LM_SCRYPT_R_MAX, what, &r, err) == -1 ||
        lm_json_u64 (kdf, "p", LM_SCRYPT_P_MAX, what, &p, err) == -1)
      return -1;
    slot->scrypt_r = r;
    slot->scrypt_p = p;
    if (check_scrypt (slot, what, err) == -1)
      return -1;
    break;
  case LM_SLOT_ESCROW:
    if (lm_json_hex (kdf, "ephemeral", slot->ephemeral, 32, what,
                     err) == -1)
      return -1;
    return lm_json_hex (kdf, "recipient", slot->recipient, 32, what, err);
  case LM_SLOT_KEY_FILE:
  case LM_SLOT_UNKNOWN:
    break;
  }
  return lm_json_hex (kdf, "salt", slot->salt, sizeof slot->salt, what, err);
}

/* Format, version and kind: they say whether the rest is for us. */
static int
decode_kind (const json_t *v, const char *what, struct lm_key_slot *slot,
             struct lm_error *err)
{
  const char *format = lm_json_string (v, "format", what, err);
  const char *kind;
  uint64_t version;
  size_t i;

  if (format == NULL)
    return -1;
  if (strcmp (format, FORMAT) != 0)
    return lm_corrupt (err, "%s: 'format' is not '%s'", what, FORMAT);
  if (lm_json_u64 (v, "version", INT32_MAX, what, &version, err) == -1)
    return -1;
  kind = lm_json_string (v, "kind", what, err);
  if (kind == NULL)
    return -1;
  slot->kind = LM_SLOT_UNKNOWN;
  for (i = 0; version == LM_NATIVE_VERSION && i < NR_KINDS; i++)
    if (strcmp (kind, kinds[i].name) == 0)
      slot->kind = i;
  return 0;
}

int
lm_key_slot_decode (const void *data, size_t len, const char *what,
                    struct lm_key_slot *ret_slot, struct lm_error *err)
{
  struct lm_key_slot slot = { .kind = LM_SLOT_UNKNOWN };
  CLEANUP_JSON json_t *v = lm_json_parse (data, len, what, err);
  const char *created, *label;
  uint64_t epoch;

  if (v == NULL || decode_kind (v, what, &slot, err) == -1 ||
      lm_json_hex (v, "id", slot.id, LM_SLOT_ID_LEN, what, err) == -1 ||
      lm_json_hex (v, "repository", slot.repository, LM_NAME_ID_LEN, what,
                   err) == -1)
    return -1;
  if (slot.kind == LM_SLOT_UNKNOWN) {
    *ret_slot = slot;
    return 0;
  }
  created = lm_json_string (v, "created", what, err);
  if (created == NULL)
    return -1;
  if (lm_timestamp_parse (created, &slot.created) == -1)
    return lm_corrupt (err, "%s: 'created' is not a time", what);
  label = lm_json_string (v, "label", what, err);
  if (label == NULL)
    return -1;
  if (strlen (label) > LM_SLOT_LABEL_MAX)
    return lm_corrupt (err, "%s: 'label' is longer than %d bytes", what,
                       LM_SLOT_LABEL_MAX);
  snprintf (slot.label, sizeof slot.label, "%s", label);
  if (lm_json_u64 (v, "epoch", UINT32_MAX, what, &epoch, err) == -1 ||
      decode_kdf (v, what, &slot, err) == -1 ||
      lm_json_hex (v, "nonce", slot.nonce, LM_NONCE_LEN, what, err) == -1 ||
      lm_json_hex (v, "wrapped", slot.wrapped, sizeof slot.wrapped, what,
                   err) == -1)
    return -1;
  slot.epoch = epoch;
  *ret_slot = slot;
  return 0;
}

static int
scrypt_kek (const struct lm_key_slot *slot, const char *passphrase,
            uint8_t kek[KEK_LEN], struct lm_error *err)
{
  uint64_t n = slot->scrypt_n;
  uint32_t r = slot->scrypt_r, p = slot->scrypt_p;
  /* OpenSSL counts a little more than the formula: give it room. */
  uint64_t maxmem = 128 * n * r + 128 * (uint64_t) r * p + (1 << 20);
  EVP_KDF *kdf = EVP_KDF_fetch (NULL, "SCRYPT", NULL);
  EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new (kdf) : NULL;
  OSSL_PARAM params[] = {
    OSSL_PARAM_construct_octet_string (OSSL_KDF_PARAM_PASSWORD,
                                       (char *) passphrase,
                                       strlen (passphrase)),
    OSSL_PARAM_construct_octet_string (OSSL_KDF_PARAM_SALT,
                                       (uint8_t *) slot->salt,
                                       sizeof slot->salt),
    OSSL_PARAM_construct_uint64 (OSSL_KDF_PARAM_SCRYPT_N, &n),
    OSSL_PARAM_construct_uint32 (OSSL_KDF_PARAM_SCRYPT_R, &r),
    OSSL_PARAM_construct_uint32 (OSSL_KDF_PARAM_SCRYPT_P, &p),
    OSSL_PARAM_construct_uint64 (OSSL_KDF_PARAM_SCRYPT_MAXMEM, &maxmem),
    OSSL_PARAM_construct_end (),
  };
  int ok = ctx && EVP_KDF_derive (ctx, kek, KEK_LEN, params) == 1;

  EVP_KDF_CTX_free (ctx);
  EVP_KDF_free (kdf);
  if (!ok)
    return lm_error_set (err, LM_ERR_NOMEM, "scrypt failed (it takes %"
                         PRIu64 " MiB of memory)", maxmem >> 20);
  return 0;
}

/* The key-encryption key of a slot that is there; LM_ERR_KEY when C lacks
 * what the kind needs. */
static int
slot_kek (const struct lm_key_slot *slot, const struct lm_credentials *c,
          uint8_t kek[KEK_LEN], struct lm_error *err)
{
  switch (slot->kind) {
  case LM_SLOT_PASSPHRASE:
    if (c->passphrase == NULL || c->passphrase[0] == '\0')
      return lm_error_set (err, LM_ERR_KEY, "no passphrase was given");
    return scrypt_kek (slot, c->passphrase, kek, err);
  case LM_SLOT_KEY_FILE:
    if (c->key_file == NULL)
      return lm_error_set (err, LM_ERR_KEY, "no key file was given");
    if (c->key_file_len < LM_KEY_FILE_MIN ||
        c->key_file_len > LM_KEY_FILE_MAX)
      return lm_error_set (err, LM_ERR_KEY, "a key file has %d to %d bytes, "
                           "this one has %zu", LM_KEY_FILE_MIN,
                           LM_KEY_FILE_MAX, c->key_file_len);
    return lm_hkdf (c->key_file, c->key_file_len, slot->salt,
                    sizeof slot->salt, KEY_FILE_INFO,
                    strlen (KEY_FILE_INFO), kek, KEK_LEN, err);
  case LM_SLOT_ESCROW:
    if (c->escrow_key == NULL)
      return lm_error_set (err, LM_ERR_KEY, "no escrow key was given");
    return lm_escrow_kek (c->escrow_key, slot->ephemeral, slot->recipient,
                          kek, err);
  case LM_SLOT_UNKNOWN:
    break;
  }
  return lm_error_set (err, LM_ERR_UNSUPPORTED, "key slots of kind '%s' are "
                       "not supported", lm_slot_kind_name (slot->kind));
}

/* The same for one that is being made. */
static int
new_slot_kek (struct lm_key_slot *slot, const struct lm_credentials *c,
              uint8_t kek[KEK_LEN], struct lm_error *err)
{
  if (slot->kind != LM_SLOT_ESCROW)
    return slot_kek (slot, c, kek, err);
  if (c->escrow_recipient == NULL)
    return lm_error_set (err, LM_ERR_KEY, "no escrow public key was given");
  memcpy (slot->recipient, c->escrow_recipient, sizeof slot->recipient);
  return lm_escrow_kek_new (slot->recipient, slot->ephemeral, kek, err);
}

struct aad {
  uint8_t bytes[sizeof AAD_TEXT + LM_NAME_ID_LEN + LM_SLOT_ID_LEN + 4 + 16];
  size_t len;
};

static void
aad_append (struct aad *aad, const void *data, size_t len)
{
  memcpy (aad->bytes + aad->len, data, len);
  aad->len += len;
}

static void
slot_aad (const struct lm_key_slot *slot, struct aad *aad)
{
  const lm_le32 epoch = lm_put_le32 (slot->epoch);
  const char *kind = kinds[slot->kind].name;

  aad->len = 0;
  aad_append (aad, AAD_TEXT, strlen (AAD_TEXT));
  aad_append (aad, slot->repository, LM_NAME_ID_LEN);
  aad_append (aad, slot->id, LM_SLOT_ID_LEN);
  aad_append (aad, epoch.b, sizeof epoch.b);
  aad_append (aad, kind, strlen (kind));
}

static void
free_cipher (EVP_CIPHER_CTX **ctx)
{
  EVP_CIPHER_CTX_free (*ctx);
}

static int
gcm_wrap (struct lm_key_slot *slot, const uint8_t kek[KEK_LEN],
          const uint8_t *master, struct lm_error *err)
{
  CLEANUP (free_cipher) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new ();
  struct aad aad;
  int n;

  slot_aad (slot, &aad);
  if (ctx == NULL ||
      !EVP_EncryptInit_ex (ctx, EVP_aes_256_gcm (), NULL, kek,
                           slot->nonce) ||
      !EVP_EncryptUpdate (ctx, NULL, &n, aad.bytes, aad.len) ||
      !EVP_EncryptUpdate (ctx, slot->wrapped, &n, master,
                          LM_MASTER_KEY_LEN) ||
      !EVP_EncryptFinal_ex (ctx, slot->wrapped + n, &n) ||
      !EVP_CIPHER_CTX_ctrl (ctx, EVP_CTRL_AEAD_GET_TAG, LM_TAG_LEN,
                            slot->wrapped + LM_MASTER_KEY_LEN))
    return lm_error_set (err, LM_ERR_IO, "OpenSSL: AES-256-GCM failed");
  return 0;
}

static int
gcm_unwrap (const struct lm_key_slot *slot, const uint8_t kek[KEK_LEN],
            uint8_t *master, struct lm_error *err)
{
  CLEANUP (free_cipher) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new ();
  struct aad aad;
  int n;

  slot_aad (slot, &aad);
  if (ctx == NULL ||
      !EVP_DecryptInit_ex (ctx, EVP_aes_256_gcm (), NULL, kek,
                           slot->nonce) ||
      !EVP_DecryptUpdate (ctx, NULL, &n, aad.bytes, aad.len) ||
      !EVP_DecryptUpdate (ctx, master, &n, slot->wrapped,
                          LM_MASTER_KEY_LEN) ||
      !EVP_CIPHER_CTX_ctrl (ctx, EVP_CTRL_AEAD_SET_TAG, LM_TAG_LEN,
                            (uint8_t *) slot->wrapped + LM_MASTER_KEY_LEN))
    return lm_error_set (err, LM_ERR_IO, "OpenSSL: AES-256-GCM failed");
  if (!EVP_DecryptFinal_ex (ctx, master + n, &n))
    return lm_error_set (err, LM_ERR_KEY, slot->kind == LM_SLOT_PASSPHRASE
                         ? "wrong passphrase"
                         : slot->kind == LM_SLOT_KEY_FILE
                         ? "wrong key file" : "wrong escrow key");
  return 0;
}

int
lm_key_slot_wrap (struct lm_key_slot *slot, const struct lm_credentials *c,
                  const uint8_t master[LM_MASTER_KEY_LEN],
                  struct lm_error *err)
{
  uint8_t kek[KEK_LEN];
  int r;

  if (new_slot_kek (slot, c, kek, err) == -1)
    return -1;
  lm_random_bytes (slot->nonce, sizeof slot->nonce);
  r = gcm_wrap (slot, kek, master, err);
  explicit_bzero (kek, sizeof kek);
  return r;
}

int
lm_key_slot_unwrap (const struct lm_key_slot *slot,
                    const struct lm_credentials *c,
                    uint8_t ret_master[LM_MASTER_KEY_LEN],
                    struct lm_error *err)
{
  uint8_t kek[KEK_LEN], master[LM_MASTER_KEY_LEN];
  int r;

  if (slot_kek (slot, c, kek, err) == -1)
    return -1;
  r = gcm_unwrap (slot, kek, master, err);
  if (r == 0)
    memcpy (ret_master, master, sizeof master);
  explicit_bzero (master, sizeof master);
  explicit_bzero (kek, sizeof kek);
  return r;
}
