/* SPDX-License-Identifier: Apache-2.0
 * Sizes as people write and read them.
 */
#ifndef LM_COMMON_SIZE_H
#define LM_COMMON_SIZE_H

#include <stdint.h>

#include "common/error.h"

/* "4096", "64K", "1.5G", "2TiB": powers of 1024, case-insensitive, no
 * sign, bytes without a suffix. */
extern int lm_size_parse (const char *text, uint64_t *ret_bytes,
                          struct lm_error *err) __attribute__ ((nonnull));

#define LM_SIZE_LEN 16

/* "1.4 GiB" for people. */
extern void lm_size_format (uint64_t bytes, char out[LM_SIZE_LEN]);

/* Decimal digits only, whole string, at most MAX. */
extern int lm_number_parse (const char *text, uint64_t max,
                            uint64_t *ret_number, struct lm_error *err)
  __attribute__ ((nonnull));

#endif
