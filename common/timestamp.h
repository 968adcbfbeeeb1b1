/* SPDX-License-Identifier: Apache-2.0
 * Times as people and names see them: RFC 3339, UTC, whole seconds.
 */
#ifndef LM_COMMON_TIMESTAMP_H
#define LM_COMMON_TIMESTAMP_H

#include <stdint.h>

#define LM_TIMESTAMP_LEN 20     /* 2026-11-22T06:30:00Z */

/* Times from 0001 to 9999 are valid; others are clamped. */
extern void lm_timestamp_format (int64_t seconds,
                                 char out[LM_TIMESTAMP_LEN + 1]);

/* -1 unless TEXT is exactly in that form and a real date. */
extern int lm_timestamp_parse (const char *text, int64_t *ret_seconds)
  __attribute__ ((nonnull));

#endif
