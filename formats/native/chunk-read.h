/* SPDX-License-Identifier: Apache-2.0
 *
 * From an id to plain bytes: find, fetch, authenticate, decode.
 */
#ifndef LM_FORMATS_NATIVE_CHUNK_READ_H
#define LM_FORMATS_NATIVE_CHUNK_READ_H

#include <stdint.h>

#include "common/error.h"
#include "formats/native/codec.h"
#include "formats/native/native-wire.h"

struct lm_repository;

/* Read the chunk or node ID into PLAIN, which has room for MAX_LEN bytes;
 * *ret_len is its length.  When one stored copy is missing or damaged
 * and there is another, that one is used.  Any thread.  A copy that is
 * stored against a base is read with it.
 *
 * LM_ERR_NOT_FOUND when the index does not know it, LM_ERR_CORRUPT when
 * no copy authenticates; the message names the id and the pack. */
extern int lm_chunk_read (struct lm_repository *repo,
                          enum lm_object_type type,
                          const uint8_t id[LM_ID_LEN], void *plain,
                          uint32_t max_len, uint32_t *ret_len,
                          struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Read what others are stored against: the data chunk ID, from a copy in
 * full.  Its bytes are the calling thread's until it reads the next base.
 * LM_ERR_CORRUPT when there is no such copy. */
extern int lm_chunk_read_base (struct lm_repository *repo,
                               const uint8_t id[LM_ID_LEN],
                               struct lm_codec_base *ret_base,
                               struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
