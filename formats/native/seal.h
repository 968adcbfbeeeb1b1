/* SPDX-License-Identifier: Apache-2.0
 *
 * Sealing: authenticated encryption of chunks and objects, and ids
 * (native.md sections 3, 5 and 6).
 *
 * A `struct lm_sealer` holds the cipher contexts of one thread: make one
 * per thread (they are cheap, some KiB) and never share it.  The keys are
 * borrowed and must live longer.
 */
#ifndef LM_FORMATS_NATIVE_SEAL_H
#define LM_FORMATS_NATIVE_SEAL_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "formats/native/codec.h"
#include "formats/native/keys.h"
#include "formats/native/native-wire.h"

struct lm_sealer;

extern struct lm_sealer *lm_sealer_new (const struct lm_keys *keys,
                                        struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
extern void lm_sealer_free (struct lm_sealer *s);

/* The sealer that belongs to the calling thread for KEYS, made on first
 * use and freed when the thread ends.  NULL with *err on failure. */
extern struct lm_sealer *lm_sealer_for_thread (const struct lm_keys *keys,
                                               struct lm_error *err)
  __attribute__ ((nonnull));

/* Wipe and free that one, if it was made for KEYS: before they are freed,
 * for it still has the last keys' schedules. */
extern void lm_sealer_forget (const struct lm_keys *keys)
  __attribute__ ((nonnull));

/* The id of LEN plain bytes of TYPE (LM_TYPE_CHUNK or LM_TYPE_NODE). */
extern int lm_seal_id (struct lm_sealer *s, enum lm_object_type type,
                       const void *plain, size_t len,
                       uint8_t ret_id[LM_ID_LEN], struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* What a stored chunk or node is. */
struct lm_chunk_ref {
  enum lm_object_type type;
  enum lm_encoding encoding;
  uint32_t plain_len;           /* bytes */
  uint32_t stored_len;          /* bytes, nonce and tag included */
  uint8_t id[LM_ID_LEN];
  uint8_t base[LM_ID_LEN];      /* zeros when there is none */
};

/* Encode (compress when it pays) and seal PLAIN; ref->type, id and
 * plain_len are set by the caller, encoding and stored_len by this.
 * OUT has room for lm_seal_chunk_bound (plain_len) bytes.  COMPRESS false
 * stores raw. */
extern size_t lm_seal_chunk_bound (size_t plain_len);
extern int lm_seal_chunk (struct lm_sealer *s, struct lm_chunk_ref *ref,
                          const void *plain, int compress, uint8_t *out,
                          struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* The same, against the chunk ref->base with the plain bytes BASE when
 * that pays; otherwise in full, and ref->base is zeros afterwards. */
extern int lm_seal_delta (struct lm_sealer *s, struct lm_chunk_ref *ref,
                          const struct lm_codec_base *base,
                          const void *plain, uint8_t *out,
                          struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Authenticate and decode ref->stored_len bytes at STORED into exactly
 * ref->plain_len bytes at PLAIN.  STORED is overwritten.  In an
 * unencrypted repository, or with VERIFY_ID, the id is computed again.
 * On failure nothing useful is in PLAIN.  A copy that is stored against a
 * base is LM_ERR_CORRUPT. */
extern int lm_open_chunk (struct lm_sealer *s,
                          const struct lm_chunk_ref *ref, uint8_t *stored,
                          void *plain, int verify_id, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* The same for a copy that is stored against the chunk ref->base, of which
 * BASE has the plain bytes (authenticated); others may come here too. */
extern int lm_open_delta (struct lm_sealer *s,
                          const struct lm_chunk_ref *ref,
                          const struct lm_codec_base *base, uint8_t *stored,
                          void *plain, int verify_id, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Seal LEN bytes as one object (section 3).  *ret_object is to be freed.
 * ID has ID_LEN <= 32 bytes. */
extern int lm_seal_object (const struct lm_keys *keys,
                           enum lm_object_type type, const void *id,
                           size_t id_len, const void *plain, size_t len,
                           uint8_t **ret_object, size_t *ret_len,
                           struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Check and open an object.  *ret_plain is to be freed, and has one NUL
 * byte after it.  WHAT names the object in messages. */
extern int lm_open_object (const struct lm_keys *keys,
                           enum lm_object_type type, const void *id,
                           size_t id_len, const uint8_t *object, size_t len,
                           const char *what, uint8_t **ret_plain,
                           size_t *ret_len, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* SHA-256 of a whole stored object. */
extern void lm_sha256 (const void *data, size_t len,
                       uint8_t ret_digest[LM_SHA256_LEN])
  __attribute__ ((nonnull));

#endif
