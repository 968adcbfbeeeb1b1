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

Test (seal, a_base_chunk_is_refused_by_name)
{
  struct lm_keys *k = keys (false);
  struct lm_sealer *s = lm_sealer_for_thread (k, &err);
  struct lm_chunk_ref ref = {
    .type = LM_TYPE_CHUNK, .plain_len = 16, .stored_len = 16,
    .encoding = LM_ENCODING_ZSTD_BASE,
  };
  uint8_t stored[16] = { 0 }, plain[16];

  cr_expect (eq (int, lm_open_chunk (s, &ref, stored, plain, 0, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_UNSUPPORTED));
  cr_expect (ne (ptr, strstr (err.message, "'base-chunks'"), NULL));
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
