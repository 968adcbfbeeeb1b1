/* SPDX-License-Identifier: Apache-2.0
 * A growable byte buffer; see buffer.h.
 */
#include <config.h>

#include "common/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/banned.h"

void
lm_buffer_release (struct lm_buffer *b)
{
  free (b->data);
  *b = (struct lm_buffer) LM_BUFFER_INIT;
}

int
lm_buffer_reserve (struct lm_buffer *b, size_t more, struct lm_error *err)
{
  size_t need, alloc;
  uint8_t *p;

  if (__builtin_add_overflow (b->len, more, &need))
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  if (need <= b->alloc)
    return 0;
  alloc = b->alloc ? b->alloc : 256;
  while (alloc < need)
    if (__builtin_mul_overflow (alloc, 2, &alloc))
      return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  p = realloc (b->data, alloc);
  if (p == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory (%zu bytes)",
                         alloc);
  b->data = p;
  b->alloc = alloc;
  return 0;
}

int
lm_buffer_reserve_pages (struct lm_buffer *b, size_t len,
                         struct lm_error *err)
{
  void *p;

  if (b->alloc >= len)
    return 0;
  if (posix_memalign (&p, 4096, len) != 0)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory (%zu bytes)",
                         len);
  free (b->data);
  b->data = p;
  b->alloc = len;
  return 0;
}

int
lm_buffer_append (struct lm_buffer *b, const void *data, size_t len,
                  struct lm_error *err)
{
  if (lm_buffer_reserve (b, len, err) == -1)
    return -1;
  if (len > 0)
    memcpy (b->data + b->len, data, len);
  b->len += len;
  return 0;
}

int
lm_buffer_printf (struct lm_buffer *b, struct lm_error *err,
                  const char *fmt, ...)
{
  va_list ap;
  int n;

  va_start (ap, fmt);
  n = vsnprintf (NULL, 0, fmt, ap);
  va_end (ap);
  if (n < 0)
    return lm_error_set (err, LM_ERR_NOMEM, "cannot format");
  if (lm_buffer_reserve (b, (size_t) n + 1, err) == -1)
    return -1;
  va_start (ap, fmt);
  vsnprintf ((char *) b->data + b->len, (size_t) n + 1, fmt, ap);
  va_end (ap);
  b->len += n;
  return 0;
}

char *
lm_buffer_steal_string (struct lm_buffer *b, struct lm_error *err)
{
  char *s;

  if (lm_buffer_reserve (b, 1, err) == -1)
    return NULL;
  b->data[b->len] = '\0';
  s = (char *) b->data;
  *b = (struct lm_buffer) LM_BUFFER_INIT;
  return s;
}
