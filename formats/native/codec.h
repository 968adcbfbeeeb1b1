/* SPDX-License-Identifier: Apache-2.0
 *
 * Encodings of chunks (native.md section 6.2): from plain bytes to encoded
 * ones and back, without any cryptography.
 */
#ifndef LM_FORMATS_NATIVE_CODEC_H
#define LM_FORMATS_NATIVE_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "formats/native/native-wire.h"

/* The zstd contexts of one thread, each made on first use. */
struct lm_codec;

extern struct lm_codec *lm_codec_new (struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
extern void lm_codec_free (struct lm_codec *c);

/* The plain bytes that a chunk is encoded against.  They may be anything. */
struct lm_codec_base {
  const void *plain;
  uint32_t len;                 /* bytes, at most LM_CHUNK_SIZE_MAX */
};

/* Room for any encoding of LEN bytes. */
extern size_t lm_codec_bound (size_t len);

/* Encode LEN bytes into OUT (room for lm_codec_bound) in the way that
 * pays, LM_ENCODING_ZSTD_BASE only if there is a BASE.  Returns the
 * length; for LM_ENCODING_RAW that is LEN, and nothing is in OUT. */
extern size_t lm_codec_encode (struct lm_codec *c,
                               const struct lm_codec_base *base_or_null,
                               const void *plain, size_t len, uint8_t *out,
                               enum lm_encoding *ret_encoding)
  __attribute__ ((nonnull (1, 3, 5, 6), warn_unused_result));

/* Decode LEN bytes at BODY into exactly PLAIN_LEN bytes at PLAIN, which
 * may be BODY only for LM_ENCODING_RAW.  BASE is for
 * LM_ENCODING_ZSTD_BASE, and may be NULL where a copy in full is wanted. */
extern int lm_codec_decode (struct lm_codec *c, enum lm_encoding encoding,
                            const struct lm_codec_base *base_or_null,
                            const uint8_t *body, size_t len, void *plain,
                            uint32_t plain_len, struct lm_error *err)
  __attribute__ ((nonnull (1, 4, 6, 8), warn_unused_result));

/* Tests only: another zstd level than the program's, so that golden files
 * stay what they are; 0 is the program's own.  Before any thread starts. */
extern void lm_codec_set_test_level (int level);

#endif
