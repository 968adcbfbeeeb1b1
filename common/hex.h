/* SPDX-License-Identifier: Apache-2.0
 * Lower-case hexadecimal.
 */
#ifndef LM_COMMON_HEX_H
#define LM_COMMON_HEX_H

#include <stddef.h>
#include <stdint.h>

/* Write 2*LEN digits and a NUL to OUT. */
extern void lm_hex_encode (const void *data, size_t len, char *out)
  __attribute__ ((nonnull));

/* Decode exactly 2*LEN lower-case digits followed by a NUL.  -1 if HEX is
 * anything else. */
extern int lm_hex_decode (const char *hex, void *ret_data, size_t len)
  __attribute__ ((nonnull));

#endif
