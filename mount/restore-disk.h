/* SPDX-License-Identifier: Apache-2.0
 *
 * Copy a disk to a target, or compare the two, over several threads.
 */
#ifndef LM_MOUNT_RESTORE_DISK_H
#define LM_MOUNT_RESTORE_DISK_H

#include <signal.h>
#include <stdint.h>

#include "common/error.h"
#include "formats/disk.h"
#include "formats/target.h"

struct lm_copy_progress {
  uint64_t data;                /* bytes that were copied or compared */
  uint64_t zero;                /* bytes that are zeros */
};

struct lm_copy_params {
  unsigned threads;             /* 0: what suits the machine */
  /* From one thread at a time, and often. */
  void (*progress) (void *opaque, const struct lm_copy_progress *p);
  void *opaque;
  const volatile sig_atomic_t *cancel;  /* or NULL */
};

/* Write all of FROM to TO.  What FROM calls zero is not written where the
 * target can do without.  The caller finishes the target.  The first
 * error ends it. */
extern int lm_copy_disk (struct lm_disk *from, struct lm_target *to,
                         const struct lm_copy_params *params,
                         struct lm_copy_progress *ret_done,
                         struct lm_error *err) __attribute__ ((nonnull));

/* Read both; B may be larger than A.  LM_ERR_CORRUPT with the offset of a
 * difference. */
extern int lm_compare_disks (struct lm_disk *a, struct lm_disk *b,
                             const struct lm_copy_params *params,
                             struct lm_copy_progress *ret_done,
                             struct lm_error *err) __attribute__ ((nonnull));

#endif
