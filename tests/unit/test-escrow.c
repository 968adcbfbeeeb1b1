/* SPDX-License-Identifier: Apache-2.0
 * Escrow keys: against values computed with other programs (openssl
 * pkeyutl, and HKDF in Python), and what is no key.
 */
#include <config.h>

#include "formats/native/escrow.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "common/hex.h"
#include "formats/native/key-slot.h"
#include "formats/native/repository.h"

static const char private_pem[] =
  "-----BEGIN PRIVATE KEY-----\n"
  "MC4CAQAwBQYDK2VuBCIEIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g\n"
  "-----END PRIVATE KEY-----\n";
static const char public_pem[] =
  "-----BEGIN PUBLIC KEY-----\n"
  "MCowBQYDK2VuAyEAB6N8vBQgk8i3VdwbEOhstCY3StFqqFPtC9/AsrhtHHw=\n"
  "-----END PUBLIC KEY-----\n";
static const char recipient_hex[] =
  "07a37cbc142093c8b755dc1b10e86cb426374ad16aa853ed0bdfc0b2b86d1c7c";
static const char ephemeral_hex[] =
  "5714769d116bf76436ae74bc793d2c30ad1903c59ac5273805c7e2698b410c36";
static const char kek_hex[] =
  "3a6ebe2496f9df97884455dc0474f239523c1137eef60ed810b18807afc0d184";

static struct lm_error err;

static void
from_hex (const char *hex, uint8_t out[32])
{
  cr_assert (eq (int, lm_hex_decode (hex, out, 32), 0));
}

Test (escrow, keys_are_read_from_pem)
{
  uint8_t key[32], want[32], other[32];

  cr_assert (eq (int, lm_escrow_public_parse (public_pem,
                                              strlen (public_pem), "f", key,
                                              &err), 0), "%s", err.message);
  from_hex (recipient_hex, want);
  cr_expect (memcmp (key, want, 32) == 0);
  cr_assert (eq (int, lm_escrow_private_parse (private_pem,
                                               strlen (private_pem), "f",
                                               key, &err), 0),
             "%s", err.message);
  cr_expect (eq (int, key[0], 1));
  cr_expect (eq (int, key[31], 32));
  cr_assert (eq (int, lm_escrow_public_of (key, other, &err), 0));
  cr_expect (memcmp (other, want, 32) == 0);
}

Test (escrow, both_sides_arrive_at_the_known_value)
{
  uint8_t key[32], recipient[32], ephemeral[32], kek[32], want[32];

  from_hex (recipient_hex, recipient);
  from_hex (ephemeral_hex, ephemeral);
  from_hex (kek_hex, want);
  cr_assert (eq (int, lm_escrow_private_parse (private_pem,
                                               strlen (private_pem), "f",
                                               key, &err), 0));
  cr_assert (eq (int, lm_escrow_kek (key, ephemeral, recipient, kek, &err),
                 0), "%s", err.message);
  cr_expect (memcmp (kek, want, 32) == 0);

  cr_assert (eq (int, lm_escrow_kek_new (recipient, ephemeral, want, &err),
                 0));
  cr_assert (eq (int, lm_escrow_kek (key, ephemeral, recipient, kek, &err),
                 0));
  cr_expect (memcmp (kek, want, 32) == 0);
}

Test (escrow, another_key_and_a_key_of_small_order_are_refused)
{
  uint8_t key[32] = { 9 }, recipient[32], zeros[32] = { 0 }, kek[32];

  from_hex (recipient_hex, recipient);
  cr_expect (eq (int, lm_escrow_kek (key, zeros, recipient, kek, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_KEY));
  cr_expect (eq (str, err.message, (char *) "wrong escrow key"));
  cr_expect (eq (int, lm_escrow_kek_new (zeros, recipient, kek, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_KEY));
  cr_assert (eq (int, lm_escrow_public_of (key, recipient, &err), 0));
  cr_expect (eq (int, lm_escrow_kek (key, zeros, recipient, kek, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_KEY));
}

Test (escrow, what_is_no_key_is_named)
{
  static const struct { const char *pem, *as_public, *as_private; } rows[] = {
    { "", "f: is not an X25519 public key in PEM",
      "f: is not an X25519 private key in PEM" },
    { private_pem, "f: is a private key; what is wanted here is its public "
      "half", NULL },
    { public_pem, NULL, "f: is a public key; what opens an escrow slot is "
      "the private half" },
    { "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n",
      "f: is a private key; what is wanted here is its public half",
      "f: is protected by a passphrase of its own" },
    /* Ed25519, cut short, without an end, too long, no base64 */
    { "-----BEGIN PUBLIC KEY-----\n"
      "MCowBQYDK2VwAyEAB6N8vBQgk8i3VdwbEOhstCY3StFqqFPtC9/AsrhtHHw=\n"
      "-----END PUBLIC KEY-----\n", "f: is not an X25519 public key in PEM",
      "f: is a public key; what opens an escrow slot is the private half" },
    { "-----BEGIN PRIVATE KEY-----\n"
      "MC4CAQAwBQYDK2VuBCIEIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd\n"
      "-----END PRIVATE KEY-----\n",
      "f: is a private key; what is wanted here is its public half",
      "f: is not an X25519 private key in PEM" },
    { "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VuAyEAB6N8", "f: is not an "
      "X25519 public key in PEM", "f: is a public key; what opens an escrow "
      "slot is the private half" },
    { "-----BEGIN PRIVATE KEY-----\n"
      "MC4CAQAwBQYDK2VuBCIEIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gAAAA"
      "\n-----END PRIVATE KEY-----\n",
      "f: is a private key; what is wanted here is its public half",
      "f: is not an X25519 private key in PEM" },
    { "-----BEGIN PUBLIC KEY-----\n????\n-----END PUBLIC KEY-----\n",
      "f: is not an X25519 public key in PEM", "f: is a public key; what "
      "opens an escrow slot is the private half" },
  };
  uint8_t key[32];
  size_t i;

  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    const size_t len = strlen (rows[i].pem);
    int r = lm_escrow_public_parse (rows[i].pem, len, "f", key, &err);

    cr_expect (eq (int, r, rows[i].as_public ? -1 : 0), "row %zu", i);
    if (rows[i].as_public)
      cr_expect (eq (str, err.message, (char *) rows[i].as_public));
    r = lm_escrow_private_parse (rows[i].pem, len, "f", key, &err);
    cr_expect (eq (int, r, rows[i].as_private ? -1 : 0), "row %zu", i);
    if (rows[i].as_private)
      cr_expect (eq (str, err.message, (char *) rows[i].as_private));
  }
}

Test (escrow, a_slot_opens_with_the_private_half_alone)
{
  static const uint8_t master[32] = "this master key is only for test";
  struct lm_key_slot slot = { .id = "slot-001", .kind = LM_SLOT_ESCROW };
  uint8_t key[32], recipient[32], found[32] = { 0 };
  struct lm_credentials c = LM_CREDENTIALS_INIT;

  cr_assert (eq (int, lm_escrow_private_parse (private_pem,
                                               strlen (private_pem), "f",
                                               key, &err), 0));
  from_hex (recipient_hex, recipient);
  cr_expect (eq (int, lm_key_slot_wrap (&slot, &c, master, &err), -1));
  cr_expect (eq (str, err.message,
                 (char *) "no escrow public key was given"));
  c.escrow_recipient = recipient;
  cr_assert (eq (int, lm_key_slot_wrap (&slot, &c, master, &err), 0),
             "%s", err.message);
  cr_expect (eq (int, lm_key_slot_unwrap (&slot, &c, found, &err), -1));
  cr_expect (eq (str, err.message, (char *) "no escrow key was given"));
  c.escrow_key = key;
  cr_assert (eq (int, lm_key_slot_unwrap (&slot, &c, found, &err), 0),
             "%s", err.message);
  cr_expect (memcmp (found, master, 32) == 0);

  /* Another ephemeral key is another slot. */
  slot.ephemeral[0] ^= 1;
  cr_expect (eq (int, lm_key_slot_unwrap (&slot, &c, found, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_KEY));
}
