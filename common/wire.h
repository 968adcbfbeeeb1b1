/* SPDX-License-Identifier: Apache-2.0
 *
 * Integers as they are stored: little-endian byte arrays, so a forgotten
 * conversion does not compile and alignment never matters.
 */
#ifndef LM_COMMON_WIRE_H
#define LM_COMMON_WIRE_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

typedef struct { uint8_t b[2]; } lm_le16;
typedef struct { uint8_t b[4]; } lm_le32;
typedef struct { uint8_t b[8]; } lm_le64;

static inline uint16_t
lm_get_le16 (lm_le16 v)
{
  uint16_t r;

  memcpy (&r, v.b, sizeof r);
  return le16toh (r);
}

static inline uint32_t
lm_get_le32 (lm_le32 v)
{
  uint32_t r;

  memcpy (&r, v.b, sizeof r);
  return le32toh (r);
}

static inline uint64_t
lm_get_le64 (lm_le64 v)
{
  uint64_t r;

  memcpy (&r, v.b, sizeof r);
  return le64toh (r);
}

static inline lm_le16
lm_put_le16 (uint16_t n)
{
  lm_le16 v;

  n = htole16 (n);
  memcpy (v.b, &n, sizeof n);
  return v;
}

static inline lm_le32
lm_put_le32 (uint32_t n)
{
  lm_le32 v;

  n = htole32 (n);
  memcpy (v.b, &n, sizeof n);
  return v;
}

static inline lm_le64
lm_put_le64 (uint64_t n)
{
  lm_le64 v;

  n = htole64 (n);
  memcpy (v.b, &n, sizeof n);
  return v;
}

/* Big-endian order keeps numeric and bytewise order the same: used to
 * compare and interpolate hashes. */
static inline uint64_t
lm_get_be64 (const uint8_t *p)
{
  uint64_t r;

  memcpy (&r, p, sizeof r);
  return be64toh (r);
}

#endif
