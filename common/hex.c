/* SPDX-License-Identifier: Apache-2.0
 * Lower-case hexadecimal; see hex.h.
 */
#include <config.h>

#include "common/hex.h"

#include <string.h>

#include "common/banned.h"

static const char digits[] = "0123456789abcdef";

void
lm_hex_encode (const void *data, size_t len, char *out)
{
  const uint8_t *p = data;
  size_t i;

  for (i = 0; i < len; i++) {
    *out++ = digits[p[i] >> 4];
    *out++ = digits[p[i] & 15];
  }
  *out = '\0';
}

static int
nibble (char c)
{
  if (c >= '0' && c <= '9')
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  return -1;
}

int
lm_hex_decode (const char *hex, void *ret_data, size_t len)
{
  uint8_t *p = ret_data;
  size_t i;

  if (strnlen (hex, 2 * len + 1) != 2 * len)
    return -1;
  for (i = 0; i < 2 * len; i++)
    if (nibble (hex[i]) == -1)
      return -1;
  for (i = 0; i < len; i++)
    p[i] = nibble (hex[2 * i]) << 4 | nibble (hex[2 * i + 1]);
  return 0;
}
