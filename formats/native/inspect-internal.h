/* SPDX-License-Identifier: Apache-2.0
 * What inspect.c and inspect-pack.c share.
 */
#ifndef LM_FORMATS_NATIVE_INSPECT_INTERNAL_H
#define LM_FORMATS_NATIVE_INSPECT_INTERNAL_H

#include <stdint.h>

#include "formats/native/inspect.h"
#include "formats/native/native-wire.h"

/* "  <NAME>: <hex>" on a line. */
extern int lm_inspect_hex (struct lm_buffer *out, const char *name,
                           const void *data, size_t len,
                           struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* The header of the sealed object at OBJECT. */
extern int lm_inspect_header (const uint8_t *object, size_t len,
                              const char *name, struct lm_buffer *out,
                              struct lm_object_wire *ret_header,
                              struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* In inspect-pack.c. */
extern int lm_inspect_pack (struct lm_repository *repo,
                            struct lm_store *store, const char *name,
                            struct lm_buffer *out, struct lm_error *err)
  __attribute__ ((nonnull (2, 3, 4, 5), warn_unused_result));
extern int lm_inspect_segment (const uint8_t *plain, size_t len,
                               const char *name, struct lm_buffer *out,
                               struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
extern int lm_inspect_chunk (struct lm_repository *repo,
                             enum lm_object_type type,
                             const uint8_t id[LM_ID_LEN],
                             struct lm_buffer *out, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
