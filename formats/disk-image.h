/* SPDX-License-Identifier: Apache-2.0
 *
 * A disk image in a foreign format (qcow2, vmdk, vhdx, vdi, vpc), read by
 * a qemu-nbd of our own.
 *
 * The format is forced, never probed: a guest can write any header into
 * its raw disk.  No file but the image is opened unless it was allowed:
 * backing files, a qcow2 data file, the extents of a VMDK.
 */
#ifndef LM_FORMATS_DISK_IMAGE_H
#define LM_FORMATS_DISK_IMAGE_H

#include <stdbool.h>

#include "formats/disk.h"

struct lm_disk_image_options {
  const char *format;           /* required: "qcow2", … */
  bool allow_live;              /* as in disk-file.h */
  bool read_holes;
  /* Further files that the image may refer to, as paths. */
  const char *const *allowed_files;
  size_t nr_allowed_files;
};

/* Open PATH.  LM_ERR_USAGE: no such format, or the image refers to a file
 * that was not allowed (the hint names it).  LM_ERR_CORRUPT: not an image
 * of that format.  LM_ERR_LOCKED: a running VM has it.
 *
 * A vpc (VHD) image tells its size twice, in bytes and as a geometry that
 * may be smaller; the size in bytes is taken, whoever made the image. */
extern struct lm_disk *
lm_disk_image_open (const char *path,
                    const struct lm_disk_image_options *options,
                    struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
