/* SPDX-License-Identifier: Apache-2.0
 * Between target.c and its implementations.
 */
#ifndef LM_FORMATS_TARGET_INTERNAL_H
#define LM_FORMATS_TARGET_INTERNAL_H

#include "formats/target.h"

/* Of a target that is not a fresh file, so much at its beginning and at
 * its end is looked at: partition tables, file systems, LVM, RAID. */
#define LM_TARGET_LOOK (1024 * 1024)

/* Raw files and block devices: target-file.c. */
extern int lm_target_file_open (const char *path, uint64_t size,
                                bool overwrite, struct lm_target **ret,
                                struct lm_error *err)
  __attribute__ ((nonnull));

/* NBD exports: target-nbd.c. */
extern int lm_target_nbd_open (const char *uri, uint64_t size,
                               bool overwrite, struct lm_target **ret,
                               struct lm_error *err)
  __attribute__ ((nonnull));

extern bool lm_target_is_zero (const void *buf, size_t len)
  __attribute__ ((nonnull));
extern int lm_target_fail_data (const char *name, struct lm_error *err)
  __attribute__ ((nonnull));
extern int lm_target_fail_small (const char *name, uint64_t has,
                                 uint64_t needs, struct lm_error *err)
  __attribute__ ((nonnull));

#endif
