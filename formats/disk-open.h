/* SPDX-License-Identifier: Apache-2.0
 *
 * From the SOURCE of a backup that a person names to a disk.
 */
#ifndef LM_FORMATS_DISK_OPEN_H
#define LM_FORMATS_DISK_OPEN_H

#include <stdbool.h>

#include "formats/disk.h"

struct lm_disk_open_options {
  const char *format;           /* NULL is "raw" */
  bool allow_live;              /* disk-file.h */
  bool read_holes;
  const char *const *allowed_files;     /* disk-image.h */
  size_t nr_allowed_files;
};

/* SOURCE is an NBD URI, or the path of a file or block device in the
 * format that OPTIONS name (they may be NULL).  An NBD export has no
 * format: LM_ERR_USAGE for any but raw. */
extern struct lm_disk *
lm_disk_open (const char *source, const struct lm_disk_open_options *options,
              struct lm_error *err)
  __attribute__ ((nonnull (1, 3), warn_unused_result));

#endif
