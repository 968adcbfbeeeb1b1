/* SPDX-License-Identifier: Apache-2.0
 *
 * jansson with our errors: one strict loader, and getters that say which
 * member of which object is wrong.
 */
#ifndef LM_COMMON_JSON_H
#define LM_COMMON_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "common/error.h"

static inline void
lm_cleanup_json (json_t **p)
{
  json_decref (*p);
}

#define CLEANUP_JSON __attribute__ ((cleanup (lm_cleanup_json)))

/* Parse LEN bytes as one JSON object; duplicate keys are refused.  A new
 * reference, or NULL with LM_ERR_CORRUPT. */
extern json_t *lm_json_parse (const void *data, size_t len,
                              const char *what, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Compact, keys sorted: the same value gives the same bytes.  Free it. */
extern char *lm_json_dump (const json_t *v, size_t *ret_len,
                           struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Members.  A missing one or one of another type is LM_ERR_CORRUPT.
 * Borrowed pointers live as long as OBJ. */
extern const char *lm_json_string (const json_t *obj, const char *key,
                                   const char *what, struct lm_error *err)
  __attribute__ ((nonnull));
/* NULL without an error when it is missing or not a string. */
extern const char *lm_json_string_or_null (const json_t *obj,
                                           const char *key)
  __attribute__ ((nonnull));
/* 0 <= value <= MAX. */
extern int lm_json_u64 (const json_t *obj, const char *key, uint64_t max,
                        const char *what, uint64_t *ret_value,
                        struct lm_error *err)
  __attribute__ ((nonnull));
extern json_t *lm_json_array (const json_t *obj, const char *key,
                              const char *what, struct lm_error *err)
  __attribute__ ((nonnull));
extern json_t *lm_json_object (const json_t *obj, const char *key,
                               const char *what, struct lm_error *err)
  __attribute__ ((nonnull));
/* Exactly LEN bytes as lower-case hex. */
extern int lm_json_hex (const json_t *obj, const char *key, void *ret_data,
                        size_t len, const char *what, struct lm_error *err)
  __attribute__ ((nonnull));

/* A string from whatever the system or a user called something: bytes
 * that are no UTF-8 become U+FFFD.  For output only.  NULL when out of
 * memory. */
extern json_t *lm_json_text (const char *text)
  __attribute__ ((nonnull, warn_unused_result));

/* Set obj[key] to LEN bytes as hex.  0 or -1 (out of memory). */
extern int lm_json_set_hex (json_t *obj, const char *key, const void *data,
                            size_t len)
  __attribute__ ((nonnull));

#endif
