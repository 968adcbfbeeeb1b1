/* SPDX-License-Identifier: Apache-2.0
 *
 * Encodings of chunks; see codec.h.
 *
 * A base is handed to zstd as a prefix: raw content, so that a chunk that
 * looks like a zstd dictionary is none.  The prefix is of one use, and
 * what decoding builds for it is a small allocation.
 *
 * zstd's decoder of whole buffers needs no memory for a window and looks
 * at no limit for it, and it takes several frames, skippable ones and
 * check sums.  The format allows none of that, so the frame's header is
 * read here first.
 */
#include <config.h>

#include "formats/native/codec.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <zstd.h>

#include "common/banned.h"

/* Measured on three days of a Debian server's disk in 64 KiB chunks:
 *
 *   level   processor time of the first backup   stored after three days
 *   3       10.1 s                               584 MiB
 *   2        9.1 s                               591 MiB
 *   1        8.7 s                               605 MiB
 */
#define ZSTD_LEVEL 2

/* The largest window in bytes, by encoding (native.md section 14). */
#define WINDOW_MAX (UINT64_C (1) << 20)
#define WINDOW_MAX_BASE (UINT64_C (1) << 21)

/* A delta must save this much of what the chunk takes by itself, for it
 * keeps its base alive and makes its read slower (native.md 6.2). */
#define DELTA_PAYS(delta, alone) (2 * (delta) <= (alone))

/* Bytes that are compared at once to see whether two chunks are alike. */
#define CELL 256

struct lm_codec {
  ZSTD_CCtx *cctx;
  ZSTD_DCtx *dctx;
  uint8_t *spare;               /* lm_codec_bound (spare_len) bytes */
  size_t spare_len;
};

static int test_level;          /* or 0 */

void
lm_codec_set_test_level (int level)
{
  test_level = level;
}

struct lm_codec *
lm_codec_new (struct lm_error *err)
{
  struct lm_codec *c = calloc (1, sizeof *c);

  if (c == NULL)
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  return c;
}

void
lm_codec_free (struct lm_codec *c)
{
  if (c == NULL)
    return;
  ZSTD_freeCCtx (c->cctx);
  ZSTD_freeDCtx (c->dctx);
  free (c->spare);
  free (c);
}

size_t
lm_codec_bound (size_t len)
{
  return ZSTD_compressBound (len);
}

/* --- encoding --- */

static bool
prepare_encoder (struct lm_codec *c)
{
  if (c->cctx)
    return true;
  c->cctx = ZSTD_createCCtx ();
  if (c->cctx == NULL)
    return false;
  ZSTD_CCtx_setParameter (c->cctx, ZSTD_c_compressionLevel,
                          test_level ? : ZSTD_LEVEL);
  ZSTD_CCtx_setParameter (c->cctx, ZSTD_c_contentSizeFlag, 0);
  ZSTD_CCtx_setParameter (c->cctx, ZSTD_c_checksumFlag, 0);
  return true;
}

static bool
prepare_spare (struct lm_codec *c, size_t len)
{
  if (c->spare && c->spare_len >= len)
    return true;
  free (c->spare);
  c->spare = malloc (lm_codec_bound (len));
  c->spare_len = len;
  return c->spare != NULL;
}

/* Is a quarter of it where it is in the base?  If not, the delta is hardly
 * ever half as small as the chunk alone (2 of 4,798 chunks of two Debian
 * disks at the same offsets), and to find that out takes longer than to
 * compress it. */
static bool
is_alike (const struct lm_codec_base *base, const uint8_t *plain, size_t len)
{
  const uint8_t *p = base->plain;
  size_t at, same = 0;

  for (at = 0; at + CELL <= len && at + CELL <= base->len; at += CELL)
    same += memcmp (p + at, plain + at, CELL) == 0 ? CELL : 0;
  return 4 * same >= len;
}

/* By itself: the encoded length, or LEN when raw is as good. */
static size_t
encode_alone (struct lm_codec *c, const void *plain, size_t len,
              uint8_t *out)
{
  size_t n = ZSTD_compress2 (c->cctx, out, lm_codec_bound (len), plain, len);

  return ZSTD_isError (n) || n > len - len / 32 ? len : n;
}

/* Against BASE: the encoded length, or 0 without memory. */
static size_t
encode_delta (struct lm_codec *c, const struct lm_codec_base *base,
              const void *plain, size_t len, uint8_t *out)
{
  size_t n;

  if (ZSTD_isError (ZSTD_CCtx_refPrefix (c->cctx, base->plain, base->len)))
    return 0;
  n = ZSTD_compress2 (c->cctx, out, lm_codec_bound (len), plain, len);
  return ZSTD_isError (n) ? 0 : n;
}

/* Does a delta of N bytes pay for certain?  A chunk takes no less than a
 * part of it does.  (Compressing all of it to compare takes ten times as
 * long as the delta.) */
static bool
surely_pays (struct lm_codec *c, size_t n, const void *plain, size_t len)
{
  size_t part = len / 16;

  return DELTA_PAYS (n, part) &&
    DELTA_PAYS (n, encode_alone (c, plain, part, c->spare));
}

size_t
lm_codec_encode (struct lm_codec *c,
                 const struct lm_codec_base *base_or_null, const void *plain,
                 size_t len, uint8_t *out, enum lm_encoding *ret_encoding)
{
  uint8_t *alone = out;
  size_t n, delta = 0;

  *ret_encoding = LM_ENCODING_RAW;
  if (!prepare_encoder (c))
    return len;
  if (base_or_null && is_alike (base_or_null, plain, len) &&
      prepare_spare (c, len))
    delta = encode_delta (c, base_or_null, plain, len, out);
  if (delta > 0) {
    *ret_encoding = LM_ENCODING_ZSTD_BASE;
    if (surely_pays (c, delta, plain, len))
      return delta;
    alone = c->spare;
  }
  n = encode_alone (c, plain, len, alone);
  if (delta > 0 && DELTA_PAYS (delta, n))
    return delta;
  *ret_encoding = n < len ? LM_ENCODING_ZSTD : LM_ENCODING_RAW;
  if (n < len && alone != out)
    memcpy (out, alone, n);
  return n;
}

/* --- decoding --- */

/* RFC 8878, 3.1.1.1: the frame header's descriptor byte. */
#define FRAME_SINGLE_SEGMENT 0x20
#define FRAME_CHECKSUM 0x04
#define FRAME_DICTIONARY 0x03

/* The window that a frame asks for.  Of a single segment it is the content
 * size, which the caller compares with the plain length anyway. */
static uint64_t
frame_window (const uint8_t *frame)
{
  unsigned log = 10 + (frame[5] >> 3);

  if (frame[4] & FRAME_SINGLE_SEGMENT)
    return 0;
  return (UINT64_C (1) << log) + (UINT64_C (1) << log) / 8 * (frame[5] & 7);
}

static int
check_frame (const uint8_t *body, size_t len, uint64_t window_max,
             struct lm_error *err)
{
  static const uint8_t magic[4] = { 0x28, 0xb5, 0x2f, 0xfd };
  uint64_t window;
  size_t n;

  if (len < 6 || memcmp (body, magic, sizeof magic) != 0)
    return lm_corrupt (err, "zstd: not a frame");
  if (body[4] & FRAME_CHECKSUM)
    return lm_corrupt (err, "zstd: a frame with a checksum");
  if (body[4] & FRAME_DICTIONARY)
    return lm_corrupt (err, "zstd: a frame with a dictionary id");
  window = frame_window (body);
  if (window > window_max)
    return lm_corrupt (err, "zstd: window of %" PRIu64 " bytes, the limit is "
                       "%" PRIu64, window, window_max);
  n = ZSTD_findFrameCompressedSize (body, len);
  if (ZSTD_isError (n))
    return lm_corrupt (err, "zstd: %s", ZSTD_getErrorName (n));
  if (n != len)
    return lm_corrupt (err, "zstd: frame of %zu bytes, expected %zu", n, len);
  return 0;
}

static int
decode_zstd (struct lm_codec *c, const struct lm_codec_base *base_or_null,
             const uint8_t *body, size_t len, void *plain,
             uint32_t plain_len, struct lm_error *err)
{
  size_t n;

  if (check_frame (body, len, base_or_null ? WINDOW_MAX_BASE : WINDOW_MAX,
                   err) == -1)
    return -1;
  if (c->dctx == NULL && (c->dctx = ZSTD_createDCtx ()) == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory for zstd");
  n = base_or_null ? ZSTD_DCtx_refPrefix (c->dctx, base_or_null->plain,
                                          base_or_null->len) : 0;
  if (ZSTD_isError (n))
    return lm_error_set (err, LM_ERR_NOMEM, "zstd: %s",
                         ZSTD_getErrorName (n));
  n = ZSTD_decompressDCtx (c->dctx, plain, plain_len, body, len);
  if (ZSTD_isError (n))
    return lm_corrupt (err, "zstd: %s", ZSTD_getErrorName (n));
  if (n != plain_len)
    return lm_corrupt (err, "decodes to %zu, expected %u bytes", n,
                       plain_len);
  return 0;
}

int
lm_codec_decode (struct lm_codec *c, enum lm_encoding encoding,
                 const struct lm_codec_base *base_or_null,
                 const uint8_t *body, size_t len, void *plain,
                 uint32_t plain_len, struct lm_error *err)
{
  switch (encoding) {
  case LM_ENCODING_RAW:
    if (len != plain_len)
      return lm_corrupt (err, "raw length is %zu, expected %u bytes", len,
                         plain_len);
    if (plain != body)
      memcpy (plain, body, len);
    return 0;

  case LM_ENCODING_ZSTD:
    return decode_zstd (c, NULL, body, len, plain, plain_len, err);

  case LM_ENCODING_ZSTD_BASE:
    if (base_or_null == NULL)
      return lm_corrupt (err, "stored against a base chunk where a copy in "
                         "full is expected");
    return decode_zstd (c, base_or_null, body, len, plain, plain_len, err);
  }
  return lm_error_set (err, LM_ERR_UNSUPPORTED, "unknown encoding %u",
                       (unsigned) encoding);
}
