/* SPDX-License-Identifier: Apache-2.0
 * A stack of layers upon a disk, as one disk: reading through the stack,
 * and writing of any number of bytes into its top.
 */
#ifndef LM_PROXY_OVERLAY_DISK_H
#define LM_PROXY_OVERLAY_DISK_H

#include <stddef.h>

#include "common/error.h"
#include "formats/disk.h"
#include "proxy/overlay-layer.h"

/* LAYERS[0] is the lowest; the last one was opened to be written.  Takes
 * the layers and BASE on success. */
extern struct lm_disk *lm_overlay_disk_new (struct lm_layer *const *layers,
                                            size_t nr_layers,
                                            struct lm_disk *base,
                                            struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
