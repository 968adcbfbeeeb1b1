/* SPDX-License-Identifier: Apache-2.0
 *
 * What an image file in a foreign format refers to: other files that
 * whoever opens it would open as well.  Looked up in the header by
 * ourselves, so that nothing is opened before it was allowed.
 */
#ifndef LM_FORMATS_IMAGE_HEADER_H
#define LM_FORMATS_IMAGE_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

enum lm_image_format {
  LM_IMAGE_RAW,         /* only as a backing file here */
  LM_IMAGE_QCOW2,
  LM_IMAGE_VMDK,
  LM_IMAGE_VHDX,
  LM_IMAGE_VDI,
  LM_IMAGE_VPC,
};

/* Names as in the header, to be judged: anything a stranger wrote. */
struct lm_image_refs {
  char *backing;                /* NULL: none */
  char *backing_format;         /* NULL: not named */
  char *data_file;              /* qcow2; NULL: none */
  bool needs_data_file;         /* qcow2, perhaps without its name */
  char **extents;               /* vmdk */
  bool *extent_is_sparse;       /* which has a header of its own */
  size_t nr_extents;
};

#define LM_IMAGE_REFS_INIT { NULL, NULL, NULL, false, NULL, NULL, 0 }

/* "qcow2", …; -1 if there is no such format. */
extern int lm_image_format_parse (const char *name) __attribute__ ((nonnull));
extern const char *lm_image_format_name (enum lm_image_format format)
  __attribute__ ((returns_nonnull));

/* Read the header of FD.  LM_ERR_CORRUPT if it is not one of FORMAT,
 * LM_ERR_UNSUPPORTED for what we know that QEMU would read wrongly (a
 * differencing VPC or VDI image) or can't read without a key.  Release
 * *ret_refs in any case. */
extern int lm_image_header_read (int fd, const char *path,
                                 enum lm_image_format format,
                                 struct lm_image_refs *ret_refs,
                                 struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#define LM_IMAGE_SECTOR 512

/* The same for LEN bytes from the beginning of an image, which a NUL must
 * follow, and its last sector. */
extern int lm_image_header_parse (const uint8_t *data, size_t len,
                                  const uint8_t footer[LM_IMAGE_SECTOR],
                                  const char *path,
                                  enum lm_image_format format,
                                  struct lm_image_refs *ret_refs,
                                  struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

extern void lm_image_refs_release (struct lm_image_refs *refs)
  __attribute__ ((nonnull));

#define CLEANUP_IMAGE_REFS \
  __attribute__ ((cleanup (lm_image_refs_release)))

#endif
