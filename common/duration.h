/* SPDX-License-Identifier: Apache-2.0
 * Spans of time as people write them.
 */
#ifndef LM_COMMON_DURATION_H
#define LM_COMMON_DURATION_H

#include <stdint.h>

#include "common/error.h"

/* "36h", "30d", "1y6m": whole numbers, each with a unit: h, d, w, m
 * (months, of 31 days) or y (years, of 366 days); at least an hour, and
 * 1000 years at most. */
extern int lm_duration_parse (const char *text, uint64_t *ret_seconds,
                              struct lm_error *err) __attribute__ ((nonnull));

#endif
