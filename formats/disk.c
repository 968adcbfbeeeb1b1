/* SPDX-License-Identifier: Apache-2.0
 * The checked entry points of disk.h.
 */
#include <config.h>

#include "formats/disk.h"

#include <inttypes.h>

#include "common/checked.h"
#include "common/banned.h"

static int
check_range (const struct lm_disk *disk, uint64_t offset, uint64_t len,
             struct lm_error *err)
{
  if (!lm_range_ok (offset, len, disk->size))
    return lm_error_set (err, LM_ERR_USAGE,
                         "%s: %" PRIu64 " bytes at 0x%" PRIx64
                         " lie beyond the end of the disk (0x%" PRIx64 ")",
                         disk->ops->name, len, offset, disk->size);
  return 0;
}

int
lm_disk_pread (struct lm_disk *disk, void *buf, size_t len, uint64_t offset,
               struct lm_error *err)
{
  if (check_range (disk, offset, len, err) == -1)
    return -1;
  if (len == 0)
    return 0;
  return disk->ops->pread (disk, buf, len, offset, err);
}

int
lm_disk_extents (struct lm_disk *disk, uint64_t offset, uint64_t len,
                 lm_extent_cb cb, void *opaque, struct lm_error *err)
{
  if (check_range (disk, offset, len, err) == -1)
    return -1;
  if (len == 0)
    return 0;
  if (disk->ops->extents == NULL)
    return cb (opaque, offset, len, LM_EXTENT_DATA, err);
  return disk->ops->extents (disk, offset, len, cb, opaque, err);
}

void
lm_disk_close (struct lm_disk *disk)
{
  if (disk)
    disk->ops->close (disk);
}
