/* SPDX-License-Identifier: Apache-2.0
 *
 * Sealed objects in a store: names, limits, put and get in one step
 * (native.md sections 2 and 3).
 *
 * All functions may be called from any thread at once.
 */
#ifndef LM_FORMATS_NATIVE_OBJECT_IO_H
#define LM_FORMATS_NATIVE_OBJECT_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/json.h"
#include "formats/native/keys.h"
#include "formats/native/native-wire.h"
#include "formats/store.h"

/* Long enough for every name of section 2. */
#define LM_OBJECT_NAME_LEN 56

/* "<folder>/<hex of ID>". */
extern void lm_object_name (const char *folder, const void *id,
                            size_t id_len, char out[LM_OBJECT_NAME_LEN])
  __attribute__ ((nonnull));

/* "<folder>/<sequence, 16 hex>": the number reads as people write it, so
 * that names sort like numbers. */
extern void lm_object_name_sequence (const char *folder, uint64_t sequence,
                                     char out[LM_OBJECT_NAME_LEN])
  __attribute__ ((nonnull));

/* The id in a listed NAME below FOLDER: false if the name is no object of
 * that folder (a reader ignores strangers). */
extern bool lm_object_name_parse (const char *name, const char *folder,
                                  void *ret_id, size_t id_len)
  __attribute__ ((nonnull, warn_unused_result));
extern bool lm_object_name_parse_sequence (const char *name,
                                           const char *folder,
                                           uint64_t *ret_sequence)
  __attribute__ ((nonnull, warn_unused_result));

/* The ids of all objects "<FOLDER>/<32 hex>", sorted.  Strangers are left
 * out.  *RET_IDS is to be freed. */
extern int lm_object_list_ids (struct lm_store *store, const char *folder,
                               uint8_t (**ret_ids)[LM_NAME_ID_LEN],
                               size_t *ret_n, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* The limit on the plain length of a sealed object, in bytes; 0 for types
 * that are not sealed as objects or are unknown. */
extern size_t lm_object_limit (enum lm_object_type type);

/* The largest stored object of that type: header and tag included. */
extern size_t lm_object_stored_limit (enum lm_object_type type);

/* "pack", "journal record", …, for messages and inspect. */
extern const char *lm_object_type_name (enum lm_object_type type);

enum lm_object_put { LM_OBJECT_NEW, LM_OBJECT_REPLACE };

/* Seal LEN plain bytes and store them under NAME.  LM_OBJECT_NEW uses
 * put_if_absent: LM_ERR_EXISTS when the name is taken.  RET_SHA256 (or
 * NULL) gets the hash of the stored object, also when the put failed:
 * whoever must know whether a failed put took place compares it. */
extern int lm_object_put (struct lm_store *store, const struct lm_keys *keys,
                          enum lm_object_type type, const char *name,
                          const void *id, size_t id_len, const void *plain,
                          size_t len, enum lm_object_put how,
                          uint8_t *ret_sha256, struct lm_error *err)
  __attribute__ ((nonnull (1, 2, 4, 5, 7, 11), warn_unused_result));

/* Get and open one.  *RET_PLAIN is to be freed and has one NUL byte after
 * it; RET_SHA256 may be NULL. */
extern int lm_object_get (struct lm_store *store, const struct lm_keys *keys,
                          enum lm_object_type type, const char *name,
                          const void *id, size_t id_len, uint8_t **ret_plain,
                          size_t *ret_len, uint8_t *ret_sha256,
                          struct lm_error *err)
  __attribute__ ((nonnull (1, 2, 4, 5, 7, 8, 10), warn_unused_result));

/* The same with JSON inside.  A new reference, or NULL. */
extern int lm_object_put_json (struct lm_store *store,
                               const struct lm_keys *keys,
                               enum lm_object_type type, const char *name,
                               const void *id, size_t id_len,
                               const json_t *value, enum lm_object_put how,
                               uint8_t *ret_sha256, struct lm_error *err)
  __attribute__ ((nonnull (1, 2, 4, 5, 7, 10), warn_unused_result));
extern json_t *lm_object_get_json (struct lm_store *store,
                                   const struct lm_keys *keys,
                                   enum lm_object_type type,
                                   const char *name, const void *id,
                                   size_t id_len, uint8_t *ret_sha256,
                                   struct lm_error *err)
  __attribute__ ((nonnull (1, 2, 4, 5, 8), warn_unused_result));

#endif
