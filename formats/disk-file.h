/* SPDX-License-Identifier: Apache-2.0
 *
 * A raw file or block device as a disk.
 */
#ifndef LM_FORMATS_DISK_FILE_H
#define LM_FORMATS_DISK_FILE_H

#include <stdbool.h>

#include "formats/disk.h"

struct lm_disk_file_options {
  /* Open it although a running VM holds it for writing, or although it
   * is mounted; disk->live is then set. */
  bool allow_live;
  /* Report everything as data, holes too. */
  bool read_holes;
};

/* Open PATH.  OPTIONS may be NULL.  While it is open, no QEMU process can
 * open it for writing, and nobody can mount a block device.
 *
 * Holes are reported as zeros only where nothing can fill them meanwhile:
 * in a read-only device, or in a file that we could lock.  A file that
 * can't be locked is live.
 *
 * LM_ERR_LOCKED: in use.  Reading what the file no longer holds (it was
 * truncated) or what the medium can't read is LM_ERR_IO. */
extern struct lm_disk *
lm_disk_file_open (const char *path,
                   const struct lm_disk_file_options *options,
                   struct lm_error *err)
  __attribute__ ((nonnull (1, 3), warn_unused_result));

#endif
