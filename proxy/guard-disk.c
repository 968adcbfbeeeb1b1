/* SPDX-License-Identifier: Apache-2.0
 * A disk that is read under a lock; see guard-disk.h.
 */
#include <config.h>

#include "proxy/guard-disk.h"

#include <stdlib.h>

#include "common/banned.h"

struct guard_disk {
  struct lm_disk disk;
  struct lm_disk *inner;
  pthread_rwlock_t *lock;
};

static int
guard_pread (struct lm_disk *disk, void *buf, size_t len, uint64_t offset,
             struct lm_error *err)
{
  struct guard_disk *d = (struct guard_disk *) disk;
  int r;

  pthread_rwlock_rdlock (d->lock);
  r = lm_disk_pread (d->inner, buf, len, offset, err);
  pthread_rwlock_unlock (d->lock);
  return r;
}

static int
guard_extents (struct lm_disk *disk, uint64_t offset, uint64_t len,
               lm_extent_cb cb, void *opaque, struct lm_error *err)
{
  struct guard_disk *d = (struct guard_disk *) disk;
  int r;

  pthread_rwlock_rdlock (d->lock);
  r = lm_disk_extents (d->inner, offset, len, cb, opaque, err);
  pthread_rwlock_unlock (d->lock);
  return r;
}

static void
guard_close (struct lm_disk *disk)
{
  struct guard_disk *d = (struct guard_disk *) disk;

  lm_disk_close (d->inner);
  free (d);
}

static const struct lm_disk_ops guard_ops = {
  .name = "guard",
  .pread = guard_pread,
  .extents = guard_extents,
  .close = guard_close,
};

struct lm_disk *
lm_guard_disk_new (struct lm_disk *inner, pthread_rwlock_t *lock,
                   struct lm_error *err)
{
  struct guard_disk *d = calloc (1, sizeof *d);

  if (d == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  d->disk = *inner;
  d->disk.ops = &guard_ops;
  d->inner = inner;
  d->lock = lock;
  return &d->disk;
}
