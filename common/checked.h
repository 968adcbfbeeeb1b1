/* SPDX-License-Identifier: Apache-2.0
 *
 * Checked arithmetic and the one table checker.  Counts and lengths that
 * come from a disk, a peer or a person go through here before anything
 * is allocated or indexed with them.
 */
#ifndef LM_COMMON_CHECKED_H
#define LM_COMMON_CHECKED_H

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/* Return -1 on overflow and leave *ret_sum alone. */
static inline int
lm_add_u64 (uint64_t a, uint64_t b, uint64_t *ret_sum)
{
  uint64_t r;

  if (__builtin_add_overflow (a, b, &r))
    return -1;
  *ret_sum = r;
  return 0;
}

static inline int
lm_mul_u64 (uint64_t a, uint64_t b, uint64_t *ret_product)
{
  uint64_t r;

  if (__builtin_mul_overflow (a, b, &r))
    return -1;
  *ret_product = r;
  return 0;
}

/* Does [offset, offset+len) lie within [0, size)?  Overflow counts as no. */
static inline bool
lm_range_ok (uint64_t offset, uint64_t len, uint64_t size)
{
  return offset <= size && len <= size - offset;
}

static inline uint64_t
lm_min_u64 (uint64_t a, uint64_t b)
{
  return a < b ? a : b;
}

static inline uint64_t
lm_max_u64 (uint64_t a, uint64_t b)
{
  return a > b ? a : b;
}

/* n / d, rounded up; d > 0; cannot overflow. */
static inline uint64_t
lm_div_up (uint64_t n, uint64_t d)
{
  return n / d + (n % d != 0);
}

static inline bool
lm_is_power_of_2 (uint64_t n)
{
  return n != 0 && (n & (n - 1)) == 0;
}

/* Are all LEN bytes zero, as reserved ones must be? */
static inline bool
lm_is_zero (const void *bytes, size_t len)
{
  const uint8_t *p = bytes;

  while (len > 0 && *p == 0) {
    p++;
    len--;
  }
  return len == 0;
}

/* Check a table of COUNT entries of ENTRY_SIZE bytes at OFFSET within an
 * object of OBJECT_SIZE bytes against LIMIT entries.  WHAT names the
 * table in the message ("pack ab12: table of contents"). */
static inline int
lm_check_table (uint64_t offset, uint64_t count, uint64_t entry_size,
                uint64_t limit, uint64_t object_size, const char *what,
                struct lm_error *err)
{
  uint64_t len;

  if (count > limit)
    return lm_corrupt (err, "%s: %" PRIu64 " entries, the limit is %" PRIu64,
                       what, count, limit);
  if (lm_mul_u64 (count, entry_size, &len) == -1 ||
      !lm_range_ok (offset, len, object_size))
    return lm_corrupt (err, "%s: %" PRIu64 " entries at 0x%" PRIx64
                       " run past the end (0x%" PRIx64 ")",
                       what, count, offset, object_size);
  return 0;
}

#endif
