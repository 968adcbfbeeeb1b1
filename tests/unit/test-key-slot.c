/* SPDX-License-Identifier: Apache-2.0
 * Key slots: wrapping, the limits of what they may cost, and which one
 * opens a repository.
 */
#include <config.h>

#include "formats/native/key-slot.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/hex.h"
#include "common/json.h"
#include "formats/native/object-io.h"
#include "tests/support/store-fault.h"
#include "tests/support/store-memory.h"

static const uint8_t repository[16] = "repository-00001";
static const uint8_t master[32] = "this master key is only for test";
static struct lm_error err;

static struct lm_credentials
with_passphrase (const char *text)
{
  struct lm_credentials c = LM_CREDENTIALS_INIT;

  c.passphrase = strdup (text);
  return c;
}

static struct lm_credentials
with_key_file (char fill, size_t len)
{
  struct lm_credentials c = LM_CREDENTIALS_INIT;

  c.key_file = malloc (len + 1);
  memset (c.key_file, fill, len);
  c.key_file_len = len;
  return c;
}

/* As cheap as the format allows. */
static struct lm_key_slot
cheap_slot (enum lm_slot_kind kind)
{
  struct lm_key_slot slot = {
    .id = "slot-001", .created = 1795329000, .label = "on paper",
    .kind = kind, .scrypt_n = LM_SCRYPT_N_MIN, .scrypt_r = 1, .scrypt_p = 1,
    .salt = "salt",
  };

  memcpy (slot.repository, repository, 16);
  return slot;
}

/* Equal as far as they are stored. */
static bool
same_slot (const struct lm_key_slot *a, const struct lm_key_slot *b)
{
  size_t len;
  char *x = lm_key_slot_encode (a, &len, &err);
  char *y = lm_key_slot_encode (b, &len, &err);
  bool same = x && y && strcmp (x, y) == 0;

  free (x);
  free (y);
  return same;
}

static void
put_slot (struct lm_store *store, const struct lm_key_slot *slot)
{
  char name[LM_OBJECT_NAME_LEN];
  struct iovec iov;

  iov.iov_base = lm_key_slot_encode (slot, &iov.iov_len, &err);
  cr_assert_not_null (iov.iov_base, "%s", err.message);
  lm_object_name ("keys", slot->id, 8, name);
  cr_assert (eq (int, lm_store_put (store, name, &iov, 1, &err), 0));
  free (iov.iov_base);
}

static void
round_trip (enum lm_slot_kind kind, struct lm_credentials good,
            struct lm_credentials wrong)
{
  struct lm_key_slot slot = cheap_slot (kind), back;
  uint8_t found[32] = { 0 };
  char *text;
  size_t len;

  cr_assert (eq (int, lm_key_slot_wrap (&slot, &good, master, &err), 0),
             "%s", err.message);
  text = lm_key_slot_encode (&slot, &len, &err);
  cr_assert_not_null (text, "%s", err.message);
  cr_expect (memmem (text, len, master, 32) == NULL);
  cr_assert (eq (int, lm_key_slot_decode (text, len, "keys/x", &back, &err),
                 0), "%s", err.message);
  cr_expect (same_slot (&slot, &back));
  cr_expect (eq (int, lm_key_slot_unwrap (&back, &wrong, found, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_KEY));
  cr_expect (found[0] == 0 && memcmp (found, found + 1, 31) == 0);
  cr_assert (eq (int, lm_key_slot_unwrap (&back, &good, found, &err), 0),
             "%s", err.message);
  cr_expect (memcmp (found, master, 32) == 0);
  free (text);

  /* Everything that names the slot is authenticated. */
  {
    struct lm_key_slot moved = back;

    moved.id[0] ^= 1;
    cr_expect (eq (int, lm_key_slot_unwrap (&moved, &good, found, &err),
                   -1));
    moved = back;
    moved.repository[0] ^= 1;
    cr_expect (eq (int, lm_key_slot_unwrap (&moved, &good, found, &err),
                   -1));
    moved = back;
    moved.epoch = 1;
    cr_expect (eq (int, lm_key_slot_unwrap (&moved, &good, found, &err),
                   -1));
    moved = back;
    moved.salt[31] ^= 1;
    cr_expect (eq (int, lm_key_slot_unwrap (&moved, &good, found, &err),
                   -1));
    moved = back;
    moved.wrapped[47] ^= 1;
    cr_expect (eq (int, lm_key_slot_unwrap (&moved, &good, found, &err),
                   -1));
    cr_expect (eq (int, err.kind, LM_ERR_KEY));
  }
  lm_credentials_release (&good);
  lm_credentials_release (&wrong);
}

Test (key_slot, passphrase_round_trip)
{
  round_trip (LM_SLOT_PASSPHRASE, with_passphrase ("open sesame"),
              with_passphrase ("open sesame "));
}

Test (key_slot, key_file_round_trip)
{
  round_trip (LM_SLOT_KEY_FILE, with_key_file ('k', 32),
              with_key_file ('k', 33));
}

/* Wrapped by an independent program: Python's hashlib.scrypt, and HKDF and
 * AESGCM of its cryptography package. */
Test (key_slot, slots_of_another_implementation_open)
{
  static const struct { enum lm_slot_kind kind; const char *wrapped; }
  rows[] = {
    { LM_SLOT_PASSPHRASE,
      "97130479ed8a12dccb34a80b41066623e296c15bdd9327b237ccd7c8"
      "0202108232aea12a07ba86245ff4818b07fc428d" },
    { LM_SLOT_KEY_FILE,
      "eb2af52fbdeaa41450a84110c38080e077e843cb46d918718ae03a39"
      "bbfe9064001f2cf610230b97fa968c30211389a6" },
  };
  struct lm_credentials c = with_key_file ('k', 64);
  uint8_t found[32];
  size_t i;

  c.passphrase = strdup ("pleaseletmein");
  for (i = 0; i < 2; i++) {
    struct lm_key_slot slot = cheap_slot (rows[i].kind);

    slot.scrypt_r = 8;
    memcpy (slot.salt, "0123456789abcdef0123456789abcdef", 32);
    cr_assert (eq (int, lm_hex_decode ("000102030405060708090a0b",
                                       slot.nonce, 12), 0));
    cr_assert (eq (int, lm_hex_decode (rows[i].wrapped, slot.wrapped, 48),
                   0));
    cr_assert (eq (int, lm_key_slot_unwrap (&slot, &c, found, &err), 0),
               "%s", err.message);
    cr_expect (memcmp (found, master, 32) == 0);
  }
  lm_credentials_release (&c);
}

Test (key_slot, a_key_file_has_limits)
{
  struct lm_key_slot slot = cheap_slot (LM_SLOT_KEY_FILE);
  struct lm_credentials small = with_key_file ('k', 31);
  struct lm_credentials large = with_key_file ('k', 65537);

  cr_expect (eq (int, lm_key_slot_wrap (&slot, &small, master, &err), -1));
  cr_expect (eq (str, err.message, (char *) "a key file has 32 to 65536 "
                 "bytes, this one has 31"));
  cr_expect (eq (int, lm_key_slot_wrap (&slot, &large, master, &err), -1));
  lm_credentials_release (&small);
  lm_credentials_release (&large);
}

/* Refused before any work: each would otherwise take minutes, or more
 * memory than there is. */
Test (key_slot, bad_slots_are_refused_by_what_is_wrong)
{
#define SCRYPT(n, r, p) "{\"name\": \"scrypt\", \"n\": " n ", \"r\": " r \
    ", \"p\": " p ", \"salt\": \"" Z32 "\"}"
#define Z32 "00000000000000000000000000000000" \
    "00000000000000000000000000000000"
  static const struct { const char *key, *value, *message; } rows[] = {
    { "format", "\"x\"", "k: 'format' is not 'livemount-key-slot'" },
    { "version", "\"1\"", "k: 'version' is missing or not a whole number" },
    { "kind", "1", "k: 'kind' is missing or not a string" },
    { "id", "\"12\"", "k: 'id' is not 8 bytes of hex" },
    { "repository", "\"12\"", "k: 'repository' is not 16 bytes of hex" },
    { "created", "\"now\"", "k: 'created' is not a time" },
    { "label", "3", "k: 'label' is missing or not a string" },
    { "epoch", "-1", "k: 'epoch' is -1, the limit is 4294967295" },
    { "kdf", "[]", "k: 'kdf' is missing or not an object" },
    { "kdf", "{\"name\": \"md5\"}",
      "k: key derivation 'md5', expected 'scrypt'" },
    { "kdf", SCRYPT ("8192", "8", "1"), "k: scrypt N is 8192, expected a "
      "power of two from 16384 to 4194304" },
    { "kdf", SCRYPT ("16385", "8", "1"), "k: scrypt N is 16385, expected a "
      "power of two from 16384 to 4194304" },
    { "kdf", SCRYPT ("8388608", "1", "1"), "k: scrypt N is 8388608, "
      "expected a power of two from 16384 to 4194304" },
    { "kdf", SCRYPT ("131072", "33", "1"), "k: 'r' is 33, the limit is 32" },
    { "kdf", SCRYPT ("131072", "8", "17"), "k: 'p' is 17, the limit is 16" },
    { "kdf", SCRYPT ("131072", "0", "1"),
      "k: scrypt r and p must not be 0" },
    { "kdf", SCRYPT ("131072", "8", "0"),
      "k: scrypt r and p must not be 0" },
    { "kdf", SCRYPT ("4194304", "8", "1"), "k: scrypt would take 4294967296 "
      "bytes of memory, the limit is 1073741824" },
    { "nonce", "\"12\"", "k: 'nonce' is not 12 bytes of hex" },
    { "wrapped", "\"12\"", "k: 'wrapped' is not 48 bytes of hex" },
  };
  struct lm_key_slot slot = cheap_slot (LM_SLOT_PASSPHRASE), back;
  size_t i, len;

  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char *text = lm_key_slot_encode (&slot, &len, &err);
    json_t *v = lm_json_parse (text, len, "k", &err);

    free (text);
    json_object_set_new (v, rows[i].key,
                         json_loads (rows[i].value, JSON_DECODE_ANY, NULL));
    text = lm_json_dump (v, &len, &err);
    lm_error_clear (&err);
    cr_expect (eq (int, lm_key_slot_decode (text, len, "k", &back, &err),
                   -1), "%s", rows[i].message);
    cr_expect (eq (str, err.message, (char *) rows[i].message));
    free (text);
    json_decref (v);
  }
  cr_expect (eq (int, lm_key_slot_decode ("{", 1, "k", &back, &err), -1));
  memset (slot.label, 'x', 128);
  {
    char *text = lm_key_slot_encode (&slot, &len, &err);
    json_t *v = lm_json_parse (text, len, "k", &err);
    char label[130];

    memset (label, 'x', 129);
    label[129] = '\0';
    free (text);
    json_object_set_new (v, "label", json_string (label));
    text = lm_json_dump (v, &len, &err);
    cr_expect (eq (int, lm_key_slot_decode (text, len, "k", &back, &err),
                   -1));
    cr_expect (eq (str, err.message,
                   (char *) "k: 'label' is longer than 128 bytes"));
    free (text);
    json_decref (v);
  }
}

Test (key_slot, later_kinds_and_versions_are_not_for_us)
{
  struct lm_key_slot slot = cheap_slot (LM_SLOT_ESCROW), back;
  struct lm_credentials c = with_passphrase ("x");
  uint8_t found[32];
  size_t len;
  char *text = lm_key_slot_encode (&slot, &len, &err);
  json_t *v = lm_json_parse (text, len, "k", &err);

  cr_assert (eq (int, lm_key_slot_decode (text, len, "k", &back, &err), 0));
  cr_expect (eq (int, back.kind, LM_SLOT_ESCROW));
  cr_expect (eq (int, lm_key_slot_unwrap (&back, &c, found, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_KEY));
  free (text);
  json_object_set_new (v, "kind", json_string ("moon-phase"));
  json_object_set_new (v, "kdf", json_null ());
  text = lm_json_dump (v, &len, &err);
  cr_assert (eq (int, lm_key_slot_decode (text, len, "k", &back, &err), 0));
  cr_expect (eq (int, back.kind, LM_SLOT_UNKNOWN));
  free (text);
  json_object_set_new (v, "kind", json_string ("passphrase"));
  json_object_set_new (v, "version", json_integer (2));
  text = lm_json_dump (v, &len, &err);
  cr_assert (eq (int, lm_key_slot_decode (text, len, "k", &back, &err), 0));
  cr_expect (eq (int, back.kind, LM_SLOT_UNKNOWN));
  free (text);
  json_decref (v);
  lm_credentials_release (&c);
}

/* Slots of all sorts in one store. */
static struct lm_store *
crowded_store (void)
{
  struct lm_store *store = lm_store_memory_new ();
  struct lm_credentials p = with_passphrase ("open sesame");
  struct lm_credentials k = with_key_file ('k', 64);
  struct lm_key_slot slot;
  struct iovec junk = { (char *) "junk", 4 };

  slot = cheap_slot (LM_SLOT_PASSPHRASE);
  cr_assert (eq (int, lm_key_slot_wrap (&slot, &p, master, &err), 0));
  put_slot (store, &slot);
  slot = cheap_slot (LM_SLOT_KEY_FILE);
  slot.id[0] = 'z';
  cr_assert (eq (int, lm_key_slot_wrap (&slot, &k, master, &err), 0));
  put_slot (store, &slot);
  slot = cheap_slot (LM_SLOT_ESCROW);
  slot.id[0] = 'e';
  put_slot (store, &slot);
  /* Of another repository, as an interrupted init leaves it. */
  slot = cheap_slot (LM_SLOT_PASSPHRASE);
  slot.id[0] = 'a';
  slot.repository[0] ^= 1;
  put_slot (store, &slot);
  cr_assert (eq (int, lm_store_put (store, "keys/0000000000000000", &junk, 1,
                                    &err), 0));
  cr_assert (eq (int, lm_store_put (store, "keys/readme", &junk, 1, &err),
                 0));
  lm_credentials_release (&p);
  lm_credentials_release (&k);
  return store;
}

Test (key_slot, the_slot_that_fits_opens)
{
  struct lm_store *store = crowded_store ();
  struct lm_credentials c = with_passphrase ("open sesame");
  struct lm_credentials k = with_key_file ('k', 64);
  uint8_t found[32] = { 0 }, id[8];

  cr_assert (eq (int, lm_key_slots_unlock (store, repository, &c, found, id,
                                           &err), 0), "%s", err.message);
  cr_expect (memcmp (found, master, 32) == 0);
  cr_expect (memcmp (id, "slot-001", 8) == 0);
  /* With both, the key file comes first: it is cheap. */
  c.key_file = k.key_file;
  c.key_file_len = k.key_file_len;
  cr_assert (eq (int, lm_key_slots_unlock (store, repository, &c, found, id,
                                           &err), 0));
  cr_expect (memcmp (id, "zlot-001", 8) == 0);
  lm_credentials_release (&c);
  lm_store_close (store);
}

static void
expect_locked (struct lm_store *store, struct lm_credentials c,
               const char *message, const char *hint)
{
  uint8_t found[32], id[8];

  lm_error_clear (&err);
  cr_expect (eq (int, lm_key_slots_unlock (store, repository, &c, found, id,
                                           &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_KEY));
  cr_expect (eq (str, err.message, (char *) message));
  cr_expect (eq (str, err.hint, (char *) hint));
  lm_credentials_release (&c);
}

Test (key_slot, when_nothing_fits_the_hint_says_what_there_is)
{
  static const char hint[] = "its key slots: 1 passphrase, 1 key-file, 1 "
    "escrow; unusable: keys/0000000000000000: not valid JSON: '[' or '{' "
    "expected near 'junk' (line 1)";
  struct lm_store *store = crowded_store (), *empty = lm_store_memory_new ();
  struct lm_credentials both = with_key_file ('y', 64);

  expect_locked (store, with_passphrase ("open, barley"), "wrong "
                 "passphrase: it opens none of the key slots", hint);
  expect_locked (store, with_key_file ('x', 64), "wrong key file: it opens "
                 "none of the key slots", hint);
  both.passphrase = strdup ("x");
  expect_locked (store, both, "wrong passphrase and key file: it opens none "
                 "of the key slots", hint);
  expect_locked (store, (struct lm_credentials) LM_CREDENTIALS_INIT, "the "
                 "repository is encrypted, and neither a passphrase nor a "
                 "key file was given", hint);
  expect_locked (empty, with_passphrase ("x"), "the repository has no key "
                 "slot for a passphrase", "its key slots are gone: 'livemount "
                 "key import' brings back an exported slot or a paper key");
  lm_store_close (store);
  lm_store_close (empty);
}

Test (key_slot, a_slot_under_another_name_is_not_used)
{
  struct lm_store *store = lm_store_memory_new ();
  struct lm_credentials k = with_key_file ('k', 64);
  struct lm_key_slot slot = cheap_slot (LM_SLOT_KEY_FILE);
  struct iovec iov;

  cr_assert (eq (int, lm_key_slot_wrap (&slot, &k, master, &err), 0));
  iov.iov_base = lm_key_slot_encode (&slot, &iov.iov_len, &err);
  cr_assert (eq (int, lm_store_put (store, "keys/00000000000000ff", &iov, 1,
                                    &err), 0));
  free (iov.iov_base);
  expect_locked (store, k, "the repository has no key slot for a key file",
                 "its key slots: none; unusable: keys/00000000000000ff: is "
                 "another slot under this name");
  lm_store_close (store);
}

Test (key_slot, a_store_that_fails_is_not_a_wrong_key)
{
  struct lm_store *inner = crowded_store ();
  struct lm_store *store = lm_store_fault_new (inner);
  struct lm_credentials k = with_key_file ('k', 64);
  uint8_t found[32], id[8];

  lm_store_fault_arm_read (store, 2);
  cr_expect (eq (int, lm_key_slots_unlock (store, repository, &k, found, id,
                                           &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_IO));
  lm_credentials_release (&k);
  lm_store_close (store);
  lm_store_close (inner);
}

Test (key_slot, writers_use_what_the_document_says)
{
  struct lm_store *store = lm_store_memory_new ();
  struct lm_credentials c = with_passphrase ("x");
  struct lm_key_slot slot, *list;
  uint8_t found[32], id[8];
  size_t n;

  cr_assert (eq (int, lm_key_slot_add (store, repository, master, &c,
                                       LM_SLOT_PASSPHRASE, "mine", &slot,
                                       &err), 0), "%s", err.message);
  cr_expect (eq (u64, slot.scrypt_n, 1 << 17));
  cr_expect (eq (u32, slot.scrypt_r, 8));
  cr_assert (eq (int, lm_key_slots_list (store, repository, &list, &n, NULL,
                                         &err), 0));
  cr_assert (eq (sz, n, 1));
  cr_expect (same_slot (&list[0], &slot));
  cr_expect (eq (str, list[0].label, (char *) "mine"));
  cr_expect (eq (int, lm_key_slots_unlock (store, repository, &c, found, id,
                                           &err), 0));
  cr_expect (memcmp (found, master, 32) == 0);
  free (list);
  lm_credentials_release (&c);
  lm_store_close (store);
}
