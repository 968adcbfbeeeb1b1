/* SPDX-License-Identifier: Apache-2.0
 *
 * What is looked at before anything is authenticated: sealed objects,
 * whole packs, stored chunks.
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "formats/native/object-io.h"
#include "formats/native/pack-read.h"
#include "formats/native/pack-write.h"
#include "formats/native/seal.h"
#include "tests/fuzz/fuzz.h"
#include "common/banned.h"

#define CHUNK_MAX 65536

/* Open OBJECT as what its own header says that it is, so that the checks
 * behind those of type and id are reached too. */
static void
open_as_claimed (const struct lm_keys *keys, const uint8_t *object,
                 size_t len)
{
  struct lm_object_wire h;
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_FREE uint8_t *plain = NULL;
  size_t plain_len;

  memset (&h, 0, sizeof h);
  memcpy (&h, object, len < sizeof h ? len : sizeof h);
  if (lm_open_object (keys, h.type, h.id, sizeof h.id, object, len,
                      "object", &plain, &plain_len, &err) == -1)
    fuzz_expect_error (&err);
  else {
    fuzz_expect (plain_len + sizeof h < len);
    fuzz_expect (plain[plain_len] == '\0');
  }
}

/* Make the sum of an unencrypted object right, so that more than the
 * first check is reached. */
static void
fix_sum (uint8_t *object, size_t len)
{
  if (len > LM_SHA256_LEN)
    lm_sha256 (object, len - LM_SHA256_LEN, object + len - LM_SHA256_LEN);
}

static void
run_object (const uint8_t *data, size_t len)
{
  CLEANUP_FREE uint8_t *copy = (uint8_t *) fuzz_string (data, len);

  open_as_claimed (fuzz_keys (1), data, len);
  open_as_claimed (fuzz_keys (0), data, len);
  fix_sum (copy, len);
  open_as_claimed (fuzz_keys (0), copy, len);
}

static void
seed_object (fuzz_emit_fn emit)
{
  struct lm_error err = LM_ERROR_INIT;
  uint8_t id[LM_NAME_ID_LEN] = "an object's id..";
  int encrypted;

  for (encrypted = 0; encrypted < 2; encrypted++) {
    CLEANUP_FREE uint8_t *object = NULL;
    size_t len;

    fuzz_expect (lm_seal_object (fuzz_keys (encrypted), LM_TYPE_LEASE, id,
                                 sizeof id, "{}", 2, &object, &len,
                                 &err) == 0);
    emit (encrypted ? "encrypted" : "plain", object, len);
  }
}

/* A pack of an unencrypted repository, its table's sum made right. */
static void
run_pack (const uint8_t *data, size_t len)
{
  CLEANUP_FREE uint8_t *pack = (uint8_t *) fuzz_string (data, len);
  uint8_t id[LM_NAME_ID_LEN] = { 0 };
  char name[LM_PACK_NAME_LEN + 1];
  struct lm_pack_trailer_wire trailer;
  struct lm_pack_toc toc;
  struct lm_error err = LM_ERROR_INIT;
  struct lm_store *store;

  if (len >= 48)
    memcpy (id, pack + 32, sizeof id);
  if (len > sizeof trailer) {
    uint64_t at, end = len - sizeof trailer;

    memcpy (&trailer, pack + end, sizeof trailer);
    at = lm_get_le64 (trailer.toc_offset);
    if (at < end)
      fix_sum (pack + at, end - at);
  }
  lm_pack_name (id, name);
  store = fuzz_store (name, pack, len);
  if (lm_pack_toc_read (store, fuzz_keys (0), id, len, &toc, &err) == -1)
    fuzz_expect_error (&err);
  else {
    fuzz_expect (toc.data_end < len);
    lm_pack_toc_release (&toc);
  }
  lm_store_close (store);
}

static uint8_t pack_id[LM_NAME_ID_LEN];

static int
note_pack (void *opaque, const struct lm_pack_done *done,
           struct lm_error *err)
{
  (void) opaque;
  (void) err;
  memcpy (pack_id, done->id, sizeof pack_id);
  return 0;
}

static void
seed_pack (fuzz_emit_fn emit)
{
  struct lm_error err = LM_ERROR_INIT;
  struct lm_store *store = fuzz_store ("other", "", 0);
  struct lm_pack_writer *w = lm_pack_writer_new (store, fuzz_keys (0),
                                                 note_pack, NULL, &err);
  struct lm_chunk_ref ref = {
    .type = LM_TYPE_CHUNK, .encoding = LM_ENCODING_ZSTD,
    .plain_len = 4096, .stored_len = 20, .id = "a chunk's id",
  };
  CLEANUP_FREE uint8_t *pack = NULL;
  char name[LM_PACK_NAME_LEN + 1];
  uint8_t stored[20] = "stored bytes";
  size_t len;

  fuzz_expect (w != NULL);
  fuzz_expect (lm_pack_writer_add (w, &ref, stored, &err) == 0);
  ref.id[0] = 'b';
  fuzz_expect (lm_pack_writer_add (w, &ref, stored, &err) == 0);
  fuzz_expect (lm_pack_writer_finish (w, &err) == 0);
  lm_pack_writer_free (w);
  lm_pack_name (pack_id, name);
  fuzz_expect (lm_store_get (store, name, 1 << 20, &pack, &len, &err) == 0);
  emit ("two-chunks", pack, len);
  lm_store_close (store);
}

/* What all chunks with a base are stored against. */
static struct lm_codec_base
chunk_base (void)
{
  static uint8_t plain[4096];
  size_t i;

  for (i = 0; i < sizeof plain; i++)
    plain[i] = i * i >> 7;
  return (struct lm_codec_base) { plain, sizeof plain };
}

/* Stored bytes of a chunk: its encoding, the plain length that its entry
 * claims (3 bytes), and whether it is sealed. */
static void
run_chunk (const uint8_t *data, size_t len)
{
  struct lm_error err = LM_ERROR_INIT;
  struct lm_chunk_ref ref = { .type = LM_TYPE_CHUNK };
  const struct lm_codec_base base = chunk_base ();
  CLEANUP_FREE uint8_t *stored = NULL, *plain = NULL;
  struct lm_sealer *s;
  int encrypted;

  if (len < 5)
    return;
  ref.encoding = data[0];
  ref.plain_len = 1 + (data[1] | data[2] << 8 | data[3] << 16) % CHUNK_MAX;
  encrypted = data[4] & 1;
  stored = (uint8_t *) fuzz_string (data + 5, len - 5);
  ref.stored_len = len - 5;
  plain = malloc (ref.plain_len);
  fuzz_expect (plain != NULL);
  s = lm_sealer_for_thread (fuzz_keys (encrypted), &err);
  fuzz_expect (s != NULL);
  if (lm_open_delta (s, &ref, &base, stored, plain, 0, &err) == -1)
    fuzz_expect_error (&err);
}

static void
emit_chunk (fuzz_emit_fn emit, const char *name,
            const struct lm_chunk_ref *ref, int encrypted, uint8_t *out)
{
  out[0] = ref->encoding;
  out[1] = (ref->plain_len - 1) & 0xff;
  out[2] = (ref->plain_len - 1) >> 8;
  out[3] = 0;
  out[4] = encrypted;
  emit (name, out, 5 + ref->stored_len);
}

static void
seed_chunk (fuzz_emit_fn emit)
{
  static uint8_t plain[4096];
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_FREE uint8_t *out = malloc (5 + lm_seal_chunk_bound (4096));
  int encrypted;

  fuzz_expect (out != NULL);
  memset (plain, 'x', 2000);
  for (encrypted = 0; encrypted < 2; encrypted++) {
    struct lm_chunk_ref ref = {
      .type = LM_TYPE_CHUNK, .plain_len = sizeof plain,
    };
    struct lm_sealer *s = lm_sealer_for_thread (fuzz_keys (encrypted),
                                                &err);

    fuzz_expect (s != NULL);
    fuzz_expect (lm_seal_chunk (s, &ref, plain, 1, out + 5, &err) == 0);
    emit_chunk (emit, encrypted ? "sealed" : "zstd", &ref, encrypted, out);
  }
  for (encrypted = 0; encrypted < 2; encrypted++) {
    const struct lm_codec_base base = chunk_base ();
    struct lm_chunk_ref ref = {
      .type = LM_TYPE_CHUNK, .plain_len = sizeof plain,
    };
    struct lm_sealer *s = lm_sealer_for_thread (fuzz_keys (encrypted),
                                                &err);

    fuzz_expect (s != NULL);
    memcpy (plain, base.plain, sizeof plain);
    memset (plain + 1000, 'x', 50);
    fuzz_expect (lm_seal_delta (s, &ref, &base, plain, out + 5, &err) == 0);
    fuzz_expect (ref.encoding == LM_ENCODING_ZSTD_BASE);
    emit_chunk (emit, encrypted ? "sealed-base" : "base", &ref, encrypted,
                out);
  }
  memcpy (out, "\0\7\0\0\0raw bytes", 14);
  emit ("raw", out, 13);
}

/* Any two chunks: what is encoded against the other, or is not because
 * that does not pay, decodes to itself.  The first byte says how much of
 * the input is the base, in 256ths. */
static void
run_codec (const uint8_t *data, size_t len)
{
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_FREE uint8_t *plain = NULL, *out = NULL, *back = NULL;
  struct lm_codec *c = lm_codec_new (&err);
  struct lm_codec_base base;
  enum lm_encoding encoding;
  size_t plain_len, n;

  fuzz_expect (c != NULL);
  if (len >= 2 && len <= CHUNK_MAX) {
    base.plain = data + 1;
    base.len = (len - 1) * data[0] / 256;
    plain_len = len - 1 - base.len;
    plain = (uint8_t *) fuzz_string (data + 1 + base.len, plain_len);
    out = malloc (lm_codec_bound (plain_len) + 1);
    back = malloc (plain_len);
    fuzz_expect (out != NULL && back != NULL);
    n = lm_codec_encode (c, &base, plain, plain_len, out, &encoding);
    fuzz_expect (n <= plain_len);
    fuzz_expect (lm_codec_decode (c, encoding, &base,
                                  encoding == LM_ENCODING_RAW ? plain : out,
                                  n, back, plain_len, &err) == 0);
    fuzz_expect (memcmp (plain, back, plain_len) == 0);
  }
  lm_codec_free (c);
}

static void
seed_codec (fuzz_emit_fn emit)
{
  const struct lm_codec_base base = chunk_base ();
  static uint8_t pair[1 + 2 * 4096];

  pair[0] = 128;
  memcpy (pair + 1, base.plain, base.len);
  memcpy (pair + 1 + base.len, base.plain, base.len);
  emit ("same", pair, sizeof pair);
  memset (pair + 1 + base.len + 2000, 'x', 100);
  emit ("alike", pair, sizeof pair);
  memset (pair + 1 + base.len, 'x', base.len);
  emit ("other", pair, sizeof pair);
}

const struct fuzz_target fuzz_object_targets[] = {
  { "object", run_object, seed_object },
  { "pack", run_pack, seed_pack },
  { "chunk", run_chunk, seed_chunk },
  { "codec", run_codec, seed_codec },
  { NULL, NULL, NULL },
};
