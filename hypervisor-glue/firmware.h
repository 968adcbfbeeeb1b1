/* SPDX-License-Identifier: Apache-2.0
 *
 * UEFI firmware on this host: pairs of a read-only code image and a
 * template of its variables (NVRAM).  A machine writes to its own copy of
 * the variables, which must have been made for code of the same layout:
 * the file's size tells.
 *
 * A table of known places rather than QEMU's firmware descriptors: the
 * descriptors of Debian 12 name the same files, and a secure-boot pair
 * would need a machine type with SMM on top.
 */
#ifndef LM_FIRMWARE_H
#define LM_FIRMWARE_H

#include <stdint.h>

#include "common/error.h"

struct lm_firmware_pair {
  const char *code;             /* absolute paths, for ever valid */
  const char *vars;
};

/* The pairs that are looked for, best first; ends with { NULL, NULL }. */
extern const struct lm_firmware_pair lm_firmware_pairs[];

/* The best pair of TABLE that is installed and whose variables have
 * NVRAM_SIZE bytes (0: any).  LM_ERR_NOT_FOUND, with the package in the
 * hint. */
extern int lm_firmware_find (const struct lm_firmware_pair *table,
                             uint64_t nvram_size,
                             struct lm_firmware_pair *ret_pair,
                             struct lm_error *err)
  __attribute__ ((nonnull));

/* Choose the pair for a machine whose variables are, or will be, at
 * NVRAM_PATH: if there is such a file, its pair, and the file is left
 * alone; if not, the best pair, and a copy of its template is put there,
 * whole or not at all. */
extern int lm_firmware_prepare (const struct lm_firmware_pair *table,
                                const char *nvram_path,
                                struct lm_firmware_pair *ret_pair,
                                struct lm_error *err)
  __attribute__ ((nonnull));

#endif
