/* SPDX-License-Identifier: Apache-2.0
 * RFC 3339 times; see timestamp.h.
 */
#include <config.h>

#include "common/timestamp.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/banned.h"

#define YEAR_1 (-62135596800LL)
#define YEAR_9999_END 253402300799LL

void
lm_timestamp_format (int64_t seconds, char out[LM_TIMESTAMP_LEN + 1])
{
  time_t t = seconds < YEAR_1 ? YEAR_1
    : seconds > YEAR_9999_END ? YEAR_9999_END : seconds;
  struct tm tm;

  gmtime_r (&t, &tm);
  strftime (out, LM_TIMESTAMP_LEN + 1, "%Y-%m-%dT%H:%M:%SZ", &tm);
  if (tm.tm_year + 1900 < 1000) {
    /* glibc's %Y does not pad. */
    char tail[17];

    strftime (tail, sizeof tail, "-%m-%dT%H:%M:%SZ", &tm);
    snprintf (out, LM_TIMESTAMP_LEN + 1, "%04u%s",
              (unsigned) (tm.tm_year + 1900) % 10000, tail);
  }
}

int
lm_timestamp_parse (const char *text, int64_t *ret_seconds)
{
  static const char shape[] = "dddd-dd-ddTdd:dd:ddZ";
  char again[LM_TIMESTAMP_LEN + 1];
  struct tm tm = { 0 };
  size_t i;
  time_t t;

  if (strlen (text) != LM_TIMESTAMP_LEN)
    return -1;
  for (i = 0; i < LM_TIMESTAMP_LEN; i++)
    if (shape[i] == 'd' ? text[i] < '0' || text[i] > '9'
        : text[i] != shape[i])
      return -1;
#define D(i) (text[i] - '0')
  tm.tm_year = D (0) * 1000 + D (1) * 100 + D (2) * 10 + D (3) - 1900;
  tm.tm_mon = D (5) * 10 + D (6) - 1;
  tm.tm_mday = D (8) * 10 + D (9);
  tm.tm_hour = D (11) * 10 + D (12);
  tm.tm_min = D (14) * 10 + D (15);
  tm.tm_sec = D (17) * 10 + D (18);
#undef D
  t = timegm (&tm);
  /* timegm accepts 31 February; the round trip does not. */
  lm_timestamp_format (t, again);
  if (strcmp (again, text) != 0)
    return -1;
  *ret_seconds = t;
  return 0;
}
