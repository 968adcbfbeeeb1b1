/* SPDX-License-Identifier: Apache-2.0
 * Spans of time; see duration.h.
 */
#include <config.h>

#include "common/duration.h"

#include <ctype.h>
#include <stddef.h>

#include "common/banned.h"

#define HOUR UINT64_C (3600)
#define DAY (24 * HOUR)
#define DURATION_MAX (1000 * 366 * DAY)

/* 0: no such unit. */
static uint64_t
unit (char c)
{
  switch (c) {
  case 'h': return HOUR;
  case 'd': return DAY;
  case 'w': return 7 * DAY;
  case 'm': return 31 * DAY;
  case 'y': return 366 * DAY;
  default: return 0;
  }
}

static int
bad (const char *text, struct lm_error *err)
{
  lm_error_set (err, LM_ERR_USAGE, "'%.40s' is not a span of time", text);
  return lm_error_hint (err, "for example 36h, 30d, 8w, 6m (months), 1y6m");
}

int
lm_duration_parse (const char *text, uint64_t *ret_seconds,
                   struct lm_error *err)
{
  const char *p = text;
  uint64_t total = 0, n;

  while (*p) {
    if (!isdigit ((unsigned char) *p))
      return bad (text, err);
    for (n = 0; isdigit ((unsigned char) *p) && n <= DURATION_MAX; p++)
      n = n * 10 + (*p - '0');
    if (n > DURATION_MAX)
      break;
    if (unit (*p) == 0)
      return bad (text, err);
    total += n * unit (*p++);
    if (total > DURATION_MAX)
      break;
  }
  if (*p || total > DURATION_MAX)
    return lm_error_set (err, LM_ERR_USAGE, "'%.40s' is more than 1000 "
                         "years", text);
  if (total == 0)
    return bad (text, err);
  *ret_seconds = total;
  return 0;
}
