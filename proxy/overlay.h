/* SPDX-License-Identifier: Apache-2.0
 *
 * An overlay: the folder that keeps what is written to the disks of one
 * snapshot (docs/overlay.md), and each of its disks as an lm_disk that
 * can be written.
 */
#ifndef LM_PROXY_OVERLAY_H
#define LM_PROXY_OVERLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "formats/disk.h"
#include "formats/native/keys.h"

struct lm_overlay;

struct lm_overlay_disk_spec {
  const char *name;
  uint64_t size;                /* bytes */
};

/* What the overlay is for; all borrowed for the call, but KEYS for as
 * long as the overlay is open. */
struct lm_overlay_spec {
  const struct lm_keys *keys;
  const uint8_t *repository;    /* LM_NAME_ID_LEN bytes */
  const uint8_t *snapshot;      /* LM_NAME_ID_LEN bytes */
  const struct lm_overlay_disk_spec *disks;
  size_t nr_disks;
};

/* Which snapshot the overlay in FOLDER is for.  *RET_EXISTS is false, and
 * nothing else set, when there is no overlay yet.  Takes no lock. */
extern int lm_overlay_peek (const char *folder, bool *ret_exists,
                            uint8_t *ret_repository, uint8_t *ret_snapshot,
                            struct lm_error *err)
  __attribute__ ((nonnull));

/* Open the overlay in FOLDER, or make one with an empty layer for each
 * disk.  LM_ERR_LOCKED when another process has it open. */
extern struct lm_overlay *
lm_overlay_open (const char *folder, const struct lm_overlay_spec *spec,
                 struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* After the last of its disks was closed.  NULL is fine. */
extern void lm_overlay_close (struct lm_overlay *o);

/* The disk called NAME upon BASE, which must have the size it had when
 * the overlay was made.  Takes BASE on success.  At most one lm_disk for
 * each disk of an overlay at a time.  Not synced by close. */
extern struct lm_disk *lm_overlay_disk_open (struct lm_overlay *o,
                                             const char *name,
                                             struct lm_disk *base,
                                             struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* The following are for disks of lm_overlay_disk_open only, from any
 * threads at once; the range is checked. */

extern int lm_overlay_disk_pwrite (struct lm_disk *disk, const void *buf,
                                   size_t len, uint64_t offset,
                                   struct lm_error *err)
  __attribute__ ((nonnull));

/* Make the range read as zeros.  MAY_TRIM: its space may be given back. */
extern int lm_overlay_disk_zero (struct lm_disk *disk, uint64_t len,
                                 uint64_t offset, bool may_trim,
                                 struct lm_error *err)
  __attribute__ ((nonnull));

/* All that was answered before is durable. */
extern int lm_overlay_disk_flush (struct lm_disk *disk, struct lm_error *err)
  __attribute__ ((nonnull));

#endif
