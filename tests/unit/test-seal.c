/* SPDX-License-Identifier: Apache-2.0
 * Sealing: what goes in comes out, and nothing that was changed does.
 */
#include <config.h>

#include "formats/native/seal.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"

static const uint8_t repository[16] = "repository-00001";
static const uint8_t master[32] = "this master key is only for test";
static struct lm_error err;

static struct lm_keys *
keys (bool encrypted)
{
  struct lm_keys *k = lm_keys_new (repository, encrypted ? master : NULL,
                                   &err);

  cr_assert (ne (ptr, k, NULL), "%s", err.message);
  return k;
}

static void
fill (uint8_t *p, size_t len, bool compressible)
{
  uint32_t x = 1;
  size_t i;

  for (i = 0; i < len; i++) {
    x = x * 1664525 + 1013904223;
    p[i] = compressible ? "livemount"[i % 9] + (x >> 31) : x >> 24;
  }
}

static void
round_trip (bool encrypted, bool compressible, size_t len)
{
  struct lm_keys *k = keys (encrypted);
  struct lm_sealer *s = lm_sealer_for_thread (k, &err);
  CLEANUP_FREE uint8_t *plain = malloc (len), *back = malloc (len);
  CLEANUP_FREE uint8_t *stored = malloc (lm_seal_chunk_bound (len));
  CLEANUP_FREE uint8_t *copy = malloc (lm_seal_chunk_bound (len));
  struct lm_chunk_ref ref = { .type = LM_TYPE_CHUNK, .plain_len = len };
  size_t i, step;

  fill (plain, len, compressible);
  cr_assert (eq (int, lm_seal_id (s, ref.type, plain, len, ref.id, &err), 0));
  cr_assert (eq (int, lm_seal_chunk (s, &ref, plain, 1, stored, &err), 0));
  cr_expect (eq (int, ref.encoding, compressible ? LM_ENCODING_ZSTD
                 : LM_ENCODING_RAW));
  memcpy (copy, stored, ref.stored_len);
  cr_assert (eq (int, lm_open_chunk (s, &ref, copy, back, 1, &err), 0),
             "%s", err.message);
  cr_expect (memcmp (plain, back, len) == 0);

  /* Every change is noticed, wherever it is. */
  step = ref.stored_len / 97 + 1;
  for (i = 0; i < ref.stored_len; i += step) {
    memcpy (copy, stored, ref.stored_len);
    copy[i] ^= 0x10;
    if (lm_open_chunk (s, &ref, copy, back, 0, &err) == 0) {
      /* zstd frames have a few bits without a meaning. */
    bool harmless = !encrypted && memcmp (plain, back, len) == 0;

      cr_expect (harmless, "byte %zu", i);
    }
  }
  lm_keys_free (k);
}

Test (seal, chunks_round_trip)
{
  static const size_t sizes[] = { 1, 20, 4096, 4116, 65536, 1048576 };
  size_t i;

  for (i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    round_trip (true, false, sizes[i]);
    round_trip (false, false, sizes[i]);
    if (sizes[i] >= 4096) {
      round_trip (true, true, sizes[i]);
      round_trip (false, true, sizes[i]);
    }
  }
}

Test (seal, every_part_of_a_chunk_ref_is_bound)
{
  struct lm_keys *k = keys (true);
  struct lm_sealer *s = lm_sealer_for_thread (k, &err);
  uint8_t plain[4096], back[8192], *stored;
  struct lm_chunk_ref ref = { .type = LM_TYPE_CHUNK, .plain_len = 4096 };
  struct lm_chunk_ref r[5];
  size_t i;

  fill (plain, sizeof plain, true);
  stored = malloc (2 * lm_seal_chunk_bound (4096));
  cr_assert (eq (int, lm_seal_id (s, ref.type, plain, 4096, ref.id, &err),
                 0));
  cr_assert (eq (int, lm_seal_chunk (s, &ref, plain, 1, stored, &err), 0));
  for (i = 0; i < 5; i++)
    r[i] = ref;
  r[0].type = LM_TYPE_NODE;
  r[1].encoding = LM_ENCODING_ZSTD_BASE;
  r[2].plain_len = 4097;
  r[3].id[31] ^= 1;
  r[4].base[0] ^= 1;
  for (i = 0; i < 5; i++) {
    uint8_t *copy = malloc (ref.stored_len);

    memcpy (copy, stored, ref.stored_len);
    cr_expect (eq (int, lm_open_chunk (s, &r[i], copy, back, 0, &err), -1),
               "%zu", i);
    cr_expect (eq (str, err.message,
                   (char *) "does not authenticate (damaged or forged)"));
    free (copy);
  }
  free (stored);
  lm_keys_free (k);
}

/* A chunk and what it was before: a few bytes in it differ. */
static void
fill_pair (uint8_t *base, uint8_t *plain, size_t len)
{
  fill (base, len, false);
  memcpy (plain, base, len);
  memcpy (plain + len / 3, "changed", 7);
}

static void
seal_pair (struct lm_sealer *s, struct lm_chunk_ref *ref,
           const uint8_t *base, const uint8_t *plain, uint8_t *stored)
{
  const struct lm_codec_base b = { base, ref->plain_len };
  size_t len = ref->plain_len;

  ref->type = LM_TYPE_CHUNK;
  cr_assert (eq (int, lm_seal_id (s, ref->type, plain, len, ref->id, &err),
                 0));
  cr_assert (eq (int, lm_seal_id (s, ref->type, base, len, ref->base, &err),
                 0));
  cr_assert (eq (int, lm_seal_delta (s, ref, &b, plain, stored, &err), 0));
}

static void
delta_round_trip (bool encrypted, size_t len)
{
  struct lm_keys *k = keys (encrypted);
  struct lm_sealer *s = lm_sealer_for_thread (k, &err);
  CLEANUP_FREE uint8_t *plain = malloc (len), *base = malloc (len);
  CLEANUP_FREE uint8_t *stored = malloc (lm_seal_chunk_bound (len));
  CLEANUP_FREE uint8_t *copy = malloc (lm_seal_chunk_bound (len));
  CLEANUP_FREE uint8_t *back = malloc (len);
  struct lm_chunk_ref ref = { .plain_len = len };
  const struct lm_codec_base b = { base, len };
  size_t i;

  fill_pair (base, plain, len);
  /* What looks like a zstd dictionary is none. */
  memcpy (base, "\x37\xa4\x30\xec", 4);
  seal_pair (s, &ref, base, plain, stored);
  cr_assert (eq (int, ref.encoding, LM_ENCODING_ZSTD_BASE));
  cr_assert (lt (u32, ref.stored_len, len / 20 + 60));
  memcpy (copy, stored, ref.stored_len);
  cr_assert (eq (int, lm_open_delta (s, &ref, &b, copy, back, 0, &err), 0),
             "%s", err.message);
  cr_expect (memcmp (plain, back, len) == 0);
  for (i = 0; i < ref.stored_len; i++) {
    memcpy (copy, stored, ref.stored_len);
    copy[i] ^= 0x10;
    if (lm_open_delta (s, &ref, &b, copy, back, 0, &err) == 0) {
      bool harmless = !encrypted && memcmp (plain, back, len) == 0;

      cr_expect (harmless, "byte %zu", i);
    }
  }
  lm_keys_free (k);
}

Test (seal, chunks_round_trip_against_a_base)
{
  static const size_t sizes[] = { 4096, 65536, 1048576 };
  size_t i;

  for (i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    delta_round_trip (true, sizes[i]);
    delta_round_trip (false, sizes[i]);
  }
}

Test (seal, what_is_not_clearly_smaller_is_stored_in_full)
{
  struct lm_keys *k = keys (true);
  struct lm_sealer *s = lm_sealer_for_thread (k, &err);
  uint8_t base[8192], plain[8192], stored[9000], back[8192];
  struct lm_chunk_ref ref = { .plain_len = sizeof plain };
  uint8_t zeros[LM_ID_LEN] = { 0 };

  /* Nothing in common. */
  fill (base, sizeof base, false);
  fill (plain, sizeof plain, true);
  seal_pair (s, &ref, base, plain, stored);
  cr_expect (eq (int, ref.encoding, LM_ENCODING_ZSTD));
  cr_expect (eq (int, memcmp (ref.base, zeros, LM_ID_LEN), 0));
  cr_assert (eq (int, lm_open_chunk (s, &ref, stored, back, 1, &err), 0));

  /* Alike, but more than half is new. */
  memcpy (plain, base, sizeof plain);
  for (size_t i = 3000; i < sizeof plain; i++)
    plain[i] = base[(i * 7919) % sizeof base] ^ i;
  ref = (struct lm_chunk_ref) { .plain_len = sizeof plain };
  seal_pair (s, &ref, base, plain, stored);
  cr_expect (eq (int, ref.encoding, LM_ENCODING_RAW));
  cr_assert (eq (int, lm_open_chunk (s, &ref, stored, back, 1, &err), 0));
  cr_expect (eq (int, memcmp (back, plain, sizeof plain), 0));

  /* By itself it is as small as against any base. */
  memset (base, 'x', sizeof base);
  memset (plain, 'x', sizeof plain);
  base[77] = 'y';
  ref = (struct lm_chunk_ref) { .plain_len = sizeof plain };
  seal_pair (s, &ref, base, plain, stored);
  cr_expect (eq (int, ref.encoding, LM_ENCODING_ZSTD));
  lm_keys_free (k);
}

Test (seal, a_delta_opens_with_its_own_base_only)
{
  struct lm_keys *k = keys (true);
  struct lm_sealer *s = lm_sealer_for_thread (k, &err);
  uint8_t base[4096], plain[4096], stored[5000], copy[5000], back[4096];
  struct lm_chunk_ref ref = { .plain_len = sizeof plain };
  const struct lm_codec_base b = { base, sizeof base };

  fill_pair (base, plain, sizeof plain);
  seal_pair (s, &ref, base, plain, stored);
  cr_assert (eq (int, ref.encoding, LM_ENCODING_ZSTD_BASE));

  memcpy (copy, stored, sizeof copy);
  cr_expect (eq (int, lm_open_chunk (s, &ref, copy, back, 0, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_CORRUPT));
  cr_expect (eq (str, err.message, (char *) "stored against a base chunk "
                 "where a copy in full is expected"));

  /* An entry that names another base. */
  ref.base[5] ^= 1;
  memcpy (copy, stored, sizeof copy);
  cr_expect (eq (int, lm_open_delta (s, &ref, &b, copy, back, 0, &err), -1));
  cr_expect (eq (str, err.message,
                 (char *) "does not authenticate (damaged or forged)"));
  lm_keys_free (k);

  /* Without encryption the content tells. */
  k = keys (false);
  s = lm_sealer_for_thread (k, &err);
  ref = (struct lm_chunk_ref) { .plain_len = sizeof plain };
  seal_pair (s, &ref, base, plain, stored);
  base[0] ^= 1;
  cr_expect (eq (int, lm_open_delta (s, &ref, &b, stored, back, 0, &err),
                 -1));
  cr_expect (eq (str, err.message, (char *) "content does not have the id "
                 "it is stored under"));
  lm_keys_free (k);
}

/* Frames as no writer makes them, in an unencrypted repository, where
 * anybody can. */
Test (seal, frames_beyond_the_format_are_refused)
{
  static const struct {
    const char *frame;
    size_t len;
    bool with_base;
    const char *message;
  } rows[] = {
    { "\x28\xb5\x2f\xfd\0", 5, false, "zstd: not a frame" },
    { "\x50\x2a\x4d\x18\1\0\0\0x", 9, false, "zstd: not a frame" },
    /* Windows: 1 MiB and an eighth, 2 MiB and an eighth, 3.75 TiB. */
    { "\x28\xb5\x2f\xfd\0\x51\1\0\0", 9, false,
      "zstd: window of 1179648 bytes, the limit is 1048576" },
    { "\x28\xb5\x2f\xfd\0\x59\1\0\0", 9, true,
      "zstd: window of 2359296 bytes, the limit is 2097152" },
    { "\x28\xb5\x2f\xfd\0\xff\1\0\0", 9, true,
      "zstd: window of 4123168604160 bytes, the limit is 2097152" },
    { "\x28\xb5\x2f\xfd\4\x50\1\0\0\x99\xe9\xd8\x51", 13, false,
      "zstd: a frame with a checksum" },
    { "\x28\xb5\x2f\xfd\1\x50\7\1\0\0", 10, true,
      "zstd: a frame with a dictionary id" },
    /* One frame after the other, and one cut short. */
    { "\x28\xb5\x2f\xfd\0\x50\1\0\0\x28\xb5\x2f\xfd\0\x50\1\0\0", 18,
      false, "zstd: frame of 9 bytes, expected 18" },
    { "\x28\xb5\x2f\xfd\0\x50\x81\0\0", 9, false,
      "zstd: Src size is incorrect" },
    /* A run of one byte, repeated 4 GiB times by many blocks: it ends at
     * the plain length. */
    { "\x28\xb5\x2f\xfd\0\x58\2\0\x10x\2\0\x10x\3\0\x10x", 18, true,
      "zstd: Destination buffer is too small" },
    { "\x28\xb5\x2f\xfd\0\x50\1\0\0", 9, false,
      "decodes to 0, expected 4096 bytes" },
  };
  struct lm_keys *k = keys (false);
  struct lm_sealer *s = lm_sealer_for_thread (k, &err);
  uint8_t base[4096] = { 1 }, stored[64], plain[4096];
  const struct lm_codec_base b = { base, sizeof base };
  size_t i;

  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct lm_chunk_ref ref = {
      .type = LM_TYPE_CHUNK, .plain_len = sizeof plain,
      .stored_len = rows[i].len, .encoding = rows[i].with_base
      ? LM_ENCODING_ZSTD_BASE : LM_ENCODING_ZSTD,
    };

    lm_error_clear (&err);
    memcpy (stored, rows[i].frame, rows[i].len);
    cr_expect (eq (int, rows[i].with_base
                   ? lm_open_delta (s, &ref, &b, stored, plain, 0, &err)
                   : lm_open_chunk (s, &ref, stored, plain, 0, &err), -1));
    cr_expect (eq (int, err.kind, LM_ERR_CORRUPT));
    cr_expect (eq (str, err.message, (char *) rows[i].message), "%zu", i);
  }
  lm_keys_free (k);
}

Test (seal, chunk_and_node_ids_differ)
{
  uint8_t a[32], b[32];
  int encrypted;

  for (encrypted = 0; encrypted < 2; encrypted++) {
    struct lm_keys *k = keys (encrypted);
    struct lm_sealer *s = lm_sealer_for_thread (k, &err);

    cr_assert (eq (int, lm_seal_id (s, LM_TYPE_CHUNK, "x", 1, a, &err), 0));
    cr_assert (eq (int, lm_seal_id (s, LM_TYPE_NODE, "x", 1, b, &err), 0));
    cr_expect (memcmp (a, b, 32) != 0);
    lm_keys_free (k);
  }
}

Test (seal, objects_round_trip_and_every_byte_counts)
{
  static const char text[] = "{\"sequence\":7}";
  int encrypted;

  for (encrypted = 0; encrypted < 2; encrypted++) {
    struct lm_keys *k = keys (encrypted);
    CLEANUP_FREE uint8_t *object = NULL;
    uint8_t *plain = NULL;
    size_t len, n, i;

    cr_assert (eq (int, lm_seal_object (k, LM_TYPE_JOURNAL, "\7", 1, text,
                                        sizeof text, &object, &len, &err),
                   0));
    cr_assert (eq (int, lm_open_object (k, LM_TYPE_JOURNAL, "\7", 1, object,
                                        len, "record", &plain, &n, &err),
                   0), "%s", err.message);
    cr_expect (eq (sz, n, sizeof text));
    cr_expect (eq (str, (char *) plain, (char *) text));
    free (plain);
    for (i = 0; i < len; i++) {
      object[i] ^= 1;
      cr_expect (eq (int, lm_open_object (k, LM_TYPE_JOURNAL, "\7", 1,
                                          object, len, "record", &plain, &n,
                                          &err), -1), "byte %zu", i);
      object[i] ^= 1;
      cr_expect (eq (int, lm_open_object (k, LM_TYPE_JOURNAL, "\7", 1,
                                          object, i, "record", &plain, &n,
                                          &err), -1), "cut at %zu", i);
    }
    cr_expect (eq (int, lm_open_object (k, LM_TYPE_SNAPSHOT, "\7", 1, object,
                                        len, "record", &plain, &n, &err),
                   -1));
    cr_expect (eq (str, err.message,
                   (char *) "record: object type 6 at 0x6, expected 5"));
    cr_expect (eq (int, lm_open_object (k, LM_TYPE_JOURNAL, "\10", 1, object,
                                        len, "record", &plain, &n, &err),
                   -1));
    cr_expect (eq (str, err.message,
                   (char *) "record: is another object under this name"));
    lm_keys_free (k);
  }
}
