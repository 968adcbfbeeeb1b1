/* SPDX-License-Identifier: Apache-2.0
 *
 * A raw file or block device as a disk.
 *
 * That no-one fills a hole between the question (SEEK_HOLE) and the
 * backup's end rests on QEMU's image locks.  Trusting mtime or size
 * instead was rejected: a guest writes without changing either in time.
 */
#include <config.h>

#include "formats/disk-file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "common/io.h"
#include "formats/image-lock.h"
#include "common/banned.h"

#define PREFERRED_BLOCK 65536
#define ZFS_MAGIC 0x2fc12fc1

struct disk_file {
  struct lm_disk base;
  char *path;
  int fd;
  bool holes;                   /* are what they claim to be */
};

static int
fail_shrunk (struct disk_file *d, uint64_t now, struct lm_error *err)
{
  return lm_error_set (err, LM_ERR_IO, "%s: ends at 0x%" PRIx64 " now, but "
                       "at 0x%" PRIx64 " when it was opened", d->path, now,
                       d->base.size);
}

static int
file_pread (struct lm_disk *disk, void *buf, size_t len, uint64_t offset,
            struct lm_error *err)
{
  struct disk_file *d = (struct disk_file *) disk;
  char *p = buf;

  while (len > 0) {
    ssize_t r = lm_io->pread (d->fd, p, len, offset);

    if (r == -1)
      return lm_error_errno (err, errno, "%s: read at 0x%" PRIx64, d->path,
                             offset);
    if (r == 0)
      return fail_shrunk (d, offset, err);
    p += r;
    offset += r;
    len -= r;
  }
  return 0;
}

/* Where the next data (SEEK_DATA) or hole (SEEK_HOLE) after OFFSET is, at
 * most END.  Where the file system can't tell, everything is data. */
static int
seek (struct disk_file *d, uint64_t offset, uint64_t end, int whence,
      uint64_t *ret_pos, struct lm_error *err)
{
  off_t r = lseek (d->fd, offset, whence);
  struct stat st;

  if (r != -1)
    *ret_pos = lm_min_u64 (lm_max_u64 (r, offset), end);
  else if (errno == ENXIO && whence == SEEK_DATA) {
    /* The rest is a hole; or the file has become smaller. */
    if (fstat (d->fd, &st) == -1)
      return lm_error_errno (err, errno, "%s: stat", d->path);
    if (S_ISREG (st.st_mode) && (uint64_t) st.st_size < end)
      return fail_shrunk (d, st.st_size, err);
    *ret_pos = end;
  }
  else
    *ret_pos = whence == SEEK_DATA ? offset : end;
  return 0;
}

static int
file_extents (struct lm_disk *disk, uint64_t offset, uint64_t len,
              lm_extent_cb cb, void *opaque, struct lm_error *err)
{
  struct disk_file *d = (struct disk_file *) disk;
  uint64_t end = offset + len;

  if (!d->holes)
    return cb (opaque, offset, len, LM_EXTENT_DATA, err);
  while (offset < end) {
    uint64_t data = end, hole = end;

    if (seek (d, offset, end, SEEK_DATA, &data, err) == -1 ||
        (data < end && seek (d, data, end, SEEK_HOLE, &hole, err) == -1))
      return -1;
    if (hole <= data && data < end)     /* cannot be; call it data */
      hole = end;
    if (data > offset &&
        cb (opaque, offset, data - offset, LM_EXTENT_ZERO, err) == -1)
      return -1;
    if (hole > data &&
        cb (opaque, data, hole - data, LM_EXTENT_DATA, err) == -1)
      return -1;
    offset = hole;
  }
  return 0;
}

static void
file_close (struct lm_disk *disk)
{
  struct disk_file *d = (struct disk_file *) disk;

  if (d->fd != -1)
    lm_io->close (d->fd);
  free (d->path);
  free (d);
}

static const struct lm_disk_ops file_ops = {
  .name = "file",
  .pread = file_pread,
  .extents = file_extents,
  .close = file_close,
};

static int
fail_locked (struct lm_error *err)
{
  return lm_error_hint (err, "shut the VM down or use a snapshot of the "
                        "disk; --allow-live reads it as it is, while it "
                        "changes");
}

static int
open_block_device (struct disk_file *d, bool allow_live,
                   struct lm_error *err)
{
  int read_only = 0, excl;
  uint64_t size;

  d->fd = lm_io->openat (AT_FDCWD, d->path, O_RDONLY, 0);
  if (d->fd == -1)
    return lm_error_errno (err, errno, "%s: open", d->path);
  if (ioctl (d->fd, BLKGETSIZE64, &size) == -1)
    return lm_error_errno (err, errno, "%s: get size", d->path);
  d->base.size = size;
  if (ioctl (d->fd, BLKROGET, &read_only) == 0 && read_only) {
    d->holes = true;
    return 0;
  }
  /* The kernel gives this to one holder: not while it is mounted, and
   * nobody mounts it while we have it. */
  excl = lm_io->openat (AT_FDCWD, d->path, O_RDONLY | O_EXCL, 0);
  if (excl != -1) {
    lm_io->close (d->fd);
    d->fd = excl;
    return 0;
  }
  if (errno != EBUSY)
    return lm_error_errno (err, errno, "%s: open", d->path);
  d->base.live = true;
  if (allow_live)
    return 0;
  lm_error_set (err, LM_ERR_LOCKED, "%s: in use: mounted, or a part of "
                "another device", d->path);
  return fail_locked (err);
}

static int
lock_image (struct disk_file *d, bool allow_live, struct lm_error *err)
{
  struct statfs sfs;

  if (lm_image_lock (d->fd, LM_IMAGE_LOCK_READ, d->path, err) == 0) {
    if (!d->base.live)
      d->holes = true;
    /* ZFS knows of holes only what it has written out. */
    if (fstatfs (d->fd, &sfs) == -1 ||
        ((unsigned long) sfs.f_type == ZFS_MAGIC &&
         lm_io->fsync (d->fd) == -1))
      d->holes = false;
    return 0;
  }
  if (err->kind == LM_ERR_LOCKED && !allow_live)
    return fail_locked (err);
  lm_error_clear (err);
  d->base.live = true;
  d->holes = false;
  return 0;
}

static int
open_file (struct disk_file *d, bool allow_live, struct lm_error *err)
{
  struct stat st;

  /* A look first: opening can have effects (a FIFO, a tape). */
  if (stat (d->path, &st) == -1)
    return lm_error_errno (err, errno, "%s", d->path);
  if (S_ISBLK (st.st_mode)) {
    if (open_block_device (d, allow_live, err) == -1)
      return -1;
    /* QEMU locks devices, too. */
    return d->holes ? 0 : lock_image (d, allow_live, err);
  }
  if (!S_ISREG (st.st_mode))
    return lm_error_set (err, LM_ERR_USAGE,
                         "%s: neither a file nor a block device", d->path);
  d->fd = lm_io->openat (AT_FDCWD, d->path, O_RDONLY | O_NONBLOCK, 0);
  if (d->fd == -1 || fstat (d->fd, &st) == -1)
    return lm_error_errno (err, errno, "%s: open", d->path);
  if (!S_ISREG (st.st_mode))
    return lm_error_set (err, LM_ERR_USAGE, "%s: was replaced just now",
                         d->path);
  if (lock_image (d, allow_live, err) == -1)
    return -1;
  /* After the lock: until then its size could change. */
  if (fstat (d->fd, &st) == -1)
    return lm_error_errno (err, errno, "%s: stat", d->path);
  d->base.size = st.st_size;
  return 0;
}

struct lm_disk *
lm_disk_file_open (const char *path,
                   const struct lm_disk_file_options *options,
                   struct lm_error *err)
{
  static const struct lm_disk_file_options defaults;
  struct disk_file *d = calloc (1, sizeof *d);

  if (options == NULL)
    options = &defaults;
  if (d == NULL || (d->path = strdup (path)) == NULL) {
    free (d);
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  d->base.ops = &file_ops;
  d->base.preferred_block = PREFERRED_BLOCK;
  d->fd = -1;
  if (open_file (d, options->allow_live, err) == -1) {
    file_close (&d->base);
    return NULL;
  }
  if (options->read_holes)
    d->holes = false;
  return &d->base;
}
