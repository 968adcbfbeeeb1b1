/* SPDX-License-Identifier: Apache-2.0
 * Sizes and numbers; see size.h.
 */
#include <config.h>

#include "common/size.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/banned.h"

static const char units[] = "KMGTPE";

int
lm_number_parse (const char *text, uint64_t max, uint64_t *ret_number,
                 struct lm_error *err)
{
  char *end;
  unsigned long long n;

  errno = 0;
  n = strtoull (text, &end, 10);
  if (text[0] < '0' || text[0] > '9' || *end != '\0')
    return lm_error_set (err, LM_ERR_USAGE, "'%.40s' is not a number", text);
  if (errno == ERANGE || n > max)
    return lm_error_set (err, LM_ERR_USAGE,
                         "'%.40s' is too large, the limit is %" PRIu64,
                         text, max);
  *ret_number = n;
  return 0;
}

int
lm_size_parse (const char *text, uint64_t *ret_bytes, struct lm_error *err)
{
  char *end;
  const char *unit;
  double d;
  unsigned shift = 0;

  if (text[0] < '0' || text[0] > '9')
    goto bad;
  if (text[strspn (text, "0123456789")] == '\0')
    return lm_number_parse (text, UINT64_MAX, ret_bytes, err);
  if (text[strspn (text, "0123456789.")] == '\0')
    goto bad;                   /* a fraction of a byte */
  d = strtod (text, &end);
  if (end != text + strspn (text, "0123456789."))
    goto bad;                   /* "0x10", "1e3" */
  if ((unit = strchr (units, *end & ~0x20)) != NULL && *unit) {
    shift = 10 * (unit - units + 1);
    end++;
    if (strcasecmp (end, "iB") == 0)
      end += 2;
  }
  else if (strcasecmp (end, "B") == 0)
    end++;
  if (*end != '\0')
    goto bad;
  d *= (double) (UINT64_C (1) << shift);
  if (d >= 9223372036854775808.0)
    return lm_error_set (err, LM_ERR_USAGE, "size '%.40s' is too large",
                         text);
  *ret_bytes = d;
  return 0;

bad:
  return lm_error_set (err, LM_ERR_USAGE,
                       "'%.40s' is not a size (like 4096, 64K or 1.5G)",
                       text);
}

void
lm_size_format (uint64_t bytes, char out[LM_SIZE_LEN])
{
  double d = bytes;
  int u = -1;

  if (bytes < 1024) {
    snprintf (out, LM_SIZE_LEN, "%" PRIu64 " B", bytes);
    return;
  }
  while (d >= 1023.95 && u < 5) {
    d /= 1024;
    u++;
  }
  snprintf (out, LM_SIZE_LEN, d < 99.95 ? "%.1f %ciB" : "%.0f %ciB", d,
            units[u]);
}
