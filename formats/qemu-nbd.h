/* SPDX-License-Identifier: Apache-2.0
 *
 * A qemu-nbd process that serves one image, read-only, to us alone.
 */
#ifndef LM_FORMATS_QEMU_NBD_H
#define LM_FORMATS_QEMU_NBD_H

#include "common/error.h"
#include "common/process.h"
#include "formats/nbd-client.h"

struct lm_qemu_nbd {
  struct lm_process process;
  int log_fd;                   /* what it said */
};

#define LM_QEMU_NBD_INIT { LM_PROCESS_INIT, -1 }

/* Start it on the block node that the JSON text SPEC describes and connect
 * to it.  It ends when the client is freed, or when we die, however that
 * happens: it serves one client and ours is connected before it starts. */
extern struct lm_nbd_client *
lm_qemu_nbd_start (struct lm_qemu_nbd *q, const char *spec,
                   const char *name, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* After the client was freed. */
extern void lm_qemu_nbd_release (struct lm_qemu_nbd *q)
  __attribute__ ((nonnull));

#endif
