/* SPDX-License-Identifier: Apache-2.0
 *
 * An NBD export as a disk.
 */
#ifndef LM_FORMATS_DISK_NBD_H
#define LM_FORMATS_DISK_NBD_H

#include <stdbool.h>

#include "formats/disk.h"
#include "formats/nbd-client.h"

struct lm_disk_nbd_options {
  bool read_holes;              /* do not ask for base:allocation */
  unsigned timeout_ms;          /* 0: LM_NBD_TIMEOUT_MS */
};

/* Connect to an NBD URI; the schemes are those of nbd-client.h.  OPTIONS
 * may be NULL.  An export that can be written is live: others may write. */
extern struct lm_disk *
lm_disk_nbd_open (const char *uri, const struct lm_disk_nbd_options *options,
                  struct lm_error *err)
  __attribute__ ((nonnull (1, 3), warn_unused_result));

/* The same over a connection made elsewhere, which is taken over. */
extern struct lm_disk *
lm_disk_nbd_wrap (struct lm_nbd_client *client, bool read_holes,
                  struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
