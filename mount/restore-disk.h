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
  uint64_t damaged;             /* bytes that can't be read */
};

struct lm_copy_params {
  unsigned threads;             /* 0: what suits the machine */
  /* From one thread at a time, and often. */
  void (*progress) (void *opaque, const struct lm_copy_progress *p);
  /* NULL: the first chunk that can't be read ends it.  Otherwise such
   * chunks are zeros in the target, and at the end this is called for
   * every range of them, in order of offset, apart, and also when
   * something else ended it. */
  void (*damaged) (void *opaque, uint64_t offset, uint64_t len);
  void *opaque;
  const volatile sig_atomic_t *cancel;  /* or NULL */
};

/* Write all of FROM to TO.  What FROM calls zero is not written where the
 * target can do without.  The caller finishes the target.  The first
 * error ends it, but for what params->damaged takes. */
extern int lm_copy_disk (struct lm_disk *from, struct lm_target *to,
                         const struct lm_copy_params *params,
                         struct lm_copy_progress *ret_done,
                         struct lm_error *err) __attribute__ ((nonnull));

/* Read both; B may be larger than A.  LM_ERR_CORRUPT with the offset of a
 * difference.  What of A can't be read must, with params->damaged, be
 * zeros in B. */
extern int lm_compare_disks (struct lm_disk *a, struct lm_disk *b,
                             const struct lm_copy_params *params,
                             struct lm_copy_progress *ret_done,
                             struct lm_error *err) __attribute__ ((nonnull));

#endif
