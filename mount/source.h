/* SPDX-License-Identifier: Apache-2.0
 * From what a person names as a source to an open disk.
 */
#ifndef LM_MOUNT_SOURCE_H
#define LM_MOUNT_SOURCE_H

#include <stdbool.h>

#include "common/error.h"
#include "formats/disk.h"

struct lm_source_options {
  const char *format;           /* NULL or "raw", or an image format */
  bool allow_live;
  bool read_holes;
};

/* TEXT is a path, or an NBD URI. */
extern struct lm_disk *lm_source_open (const char *text,
                                       const struct lm_source_options *o,
                                       struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Is it an NBD URI? */
extern bool lm_is_nbd_uri (const char *text) __attribute__ ((nonnull));

#endif
