/* SPDX-License-Identifier: Apache-2.0
 *
 * A virtual disk to read: what every source of a backup, every foreign
 * format and every snapshot of our own repository looks like.
 *
 * A disk does not change its size while it is open.  All members of the
 * table may be called from any thread at once, except close, which is
 * called once, last.
 */
#ifndef LM_FORMATS_DISK_H
#define LM_FORMATS_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct lm_disk;

/* What a range of a disk is. */
enum lm_extent_type {
  LM_EXTENT_DATA,       /* stored bytes; may still happen to be zero */
  LM_EXTENT_ZERO,       /* known to read as zeros */
};

/* Called for consecutive ranges, in order, together covering exactly what
 * was asked for.  Return -1 (with *err set) to stop. */
typedef int (*lm_extent_cb) (void *opaque, uint64_t offset, uint64_t len,
                             enum lm_extent_type type,
                             struct lm_error *err);

struct lm_disk_ops {
  /* The name of the implementation, for messages: "file", "nbd". */
  const char *name;

  /* Required.  Read exactly LEN bytes at OFFSET; the caller has checked
   * that the range lies within the disk.  On failure BUF is undefined.
   * Data that cannot be authenticated is never returned. */
  int (*pread) (struct lm_disk *disk, void *buf, size_t len,
                uint64_t offset, struct lm_error *err);

  /* Optional; NULL means that everything is data.  A range may be called
   * zero only if it reads as zeros for as long as the disk is open. */
  int (*extents) (struct lm_disk *disk, uint64_t offset, uint64_t len,
                  lm_extent_cb cb, void *opaque, struct lm_error *err);

  /* Required.  Release everything, the struct included. */
  void (*close) (struct lm_disk *disk);
};

/* Implementations embed this as their first member. */
struct lm_disk {
  const struct lm_disk_ops *ops;
  uint64_t size;                /* bytes; any number, also 0 */
  uint32_t preferred_block;     /* bytes; a good read granularity */
  /* May the source change while it is read?  True for a disk that a
   * running VM or another writer can hold open. */
  bool live;
};

/* The checked entry points: these verify the range against the size. */
extern int lm_disk_pread (struct lm_disk *disk, void *buf, size_t len,
                          uint64_t offset, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

extern int lm_disk_extents (struct lm_disk *disk, uint64_t offset,
                            uint64_t len, lm_extent_cb cb, void *opaque,
                            struct lm_error *err)
  __attribute__ ((nonnull (1, 4, 6), warn_unused_result));

/* NULL is fine. */
extern void lm_disk_close (struct lm_disk *disk);

static inline void
lm_cleanup_disk (struct lm_disk **disk)
{
  lm_disk_close (*disk);
}

#define CLEANUP_DISK __attribute__ ((cleanup (lm_cleanup_disk)))

#endif
