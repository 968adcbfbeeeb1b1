/* SPDX-License-Identifier: Apache-2.0
 * A growable byte buffer.
 */
#ifndef LM_COMMON_BUFFER_H
#define LM_COMMON_BUFFER_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/* Zero-initialise with LM_BUFFER_INIT.  DATA belongs to the buffer. */
struct lm_buffer {
  uint8_t *data;
  size_t len;
  size_t alloc;
};

#define LM_BUFFER_INIT { NULL, 0, 0 }

extern void lm_buffer_release (struct lm_buffer *b)
  __attribute__ ((nonnull));

/* Make room for MORE bytes after len, growing geometrically. */
extern int lm_buffer_reserve (struct lm_buffer *b, size_t more,
                              struct lm_error *err)
  __attribute__ ((nonnull));

/* For an empty buffer: the same, beginning at a page, for as long as it
 * does not have to grow. */
extern int lm_buffer_reserve_pages (struct lm_buffer *b, size_t len,
                                    struct lm_error *err)
  __attribute__ ((nonnull));

extern int lm_buffer_append (struct lm_buffer *b, const void *data,
                             size_t len, struct lm_error *err)
  __attribute__ ((nonnull (1, 4)));

extern int lm_buffer_printf (struct lm_buffer *b, struct lm_error *err,
                             const char *fmt, ...)
  __attribute__ ((nonnull, format (printf, 3, 4)));

/* Hand the (malloc'ed, NUL-terminated) bytes to the caller. */
extern char *lm_buffer_steal_string (struct lm_buffer *b,
                                     struct lm_error *err)
  __attribute__ ((nonnull));

#define CLEANUP_BUFFER __attribute__ ((cleanup (lm_buffer_release)))

#endif
