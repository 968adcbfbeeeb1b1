/* SPDX-License-Identifier: Apache-2.0
 *
 * A raw file or block device to restore to.
 *
 * A file is emptied and set to its size first, so that what is never
 * written is a hole, and zeros cost nothing, not even a call.  A block
 * device is told to write zeros (FALLOC_FL_ZERO_RANGE) and never to
 * discard: what it gives back for discarded blocks is its own affair.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "common/io.h"
#include "formats/image-lock.h"
#include "formats/target-internal.h"
#include "common/banned.h"

/* Zeros within what is written become holes in this granularity. */
#define HOLE 4096u
#define ZEROS (1024 * 1024u)

struct target_file {
  struct lm_target base;
  char *path;
  int fd;
  bool block;
  bool created;                 /* by us, just now */
  bool finished;
  bool no_zero_range;           /* the device can't; only ever set */
  /* An existing file is emptied by the first write, so that it is still
   * there when another target of the same restore is refused. */
  _Atomic (bool) emptied;
  pthread_mutex_t empty_lock;
};

static int
fail_errno (struct target_file *t, int errnum, const char *what,
            struct lm_error *err)
{
  return lm_error_errno (err, errnum, "%s: %s", t->path, what);
}

/* How many bytes at P, from OFFSET on, are (or are not) zero in units of
 * HOLE. */
static size_t
run_len (const char *p, size_t len, uint64_t offset, bool zero)
{
  size_t done = 0;

  while (done < len) {
    size_t n = lm_min_u64 (HOLE - (offset + done) % HOLE, len - done);

    if (lm_target_is_zero (p + done, n) != zero)
      break;
    done += n;
  }
  return done;
}

static int
empty_once (struct target_file *t, struct lm_error *err)
{
  if (t->block || atomic_load (&t->emptied))
    return 0;
  {
    LM_LOCK_FOR_SCOPE (&t->empty_lock);

    if (atomic_load (&t->emptied))
      return 0;
    if (lm_io->ftruncate (t->fd, 0) == -1)
      return fail_errno (t, errno, "truncate", err);
    if (lm_io->ftruncate (t->fd, t->base.size) == -1)
      return fail_errno (t, errno, "set the size", err);
    atomic_store (&t->emptied, true);
  }
  return 0;
}

static int
file_pwrite (struct lm_target *target, const void *buf, size_t len,
             uint64_t offset, struct lm_error *err)
{
  struct target_file *t = (struct target_file *) target;
  const char *p = buf;

  if (t->block)
    return lm_pwrite_full (t->fd, buf, len, offset, t->path, err);
  if (empty_once (t, err) == -1)
    return -1;
  while (len > 0) {
    size_t skip = run_len (p, len, offset, true);
    size_t n = run_len (p + skip, len - skip, offset + skip, false);

    if (n > 0 && lm_pwrite_full (t->fd, p + skip, n, offset + skip, t->path,
                                 err) == -1)
      return -1;
    p += skip + n;
    offset += skip + n;
    len -= skip + n;
  }
  return 0;
}

static int
write_zeros (struct target_file *t, uint64_t offset, uint64_t len,
             struct lm_error *err)
{
  CLEANUP_FREE char *zeros = calloc (1, ZEROS);

  if (zeros == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "%s: out of memory", t->path);
  while (len > 0) {
    size_t n = lm_min_u64 (len, ZEROS);

    if (lm_pwrite_full (t->fd, zeros, n, offset, t->path, err) == -1)
      return -1;
    offset += n;
    len -= n;
  }
  return 0;
}

static int
file_zero (struct lm_target *target, uint64_t offset, uint64_t len,
           struct lm_error *err)
{
  struct target_file *t = (struct target_file *) target;
  /* The device takes whole sectors only. */
  uint64_t first = lm_min_u64 ((offset + 4095) & ~UINT64_C (4095),
                               offset + len);
  uint64_t end = lm_max_u64 ((offset + len) & ~UINT64_C (4095), first);

  if (!t->block)
    return empty_once (t, err); /* nobody has written there */
  if (end > first && !__atomic_load_n (&t->no_zero_range,
                                       __ATOMIC_RELAXED)) {
    if (lm_io->fallocate (t->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
                          first, end - first) == 0)
      return write_zeros (t, offset, first - offset, err) == -1 ? -1
        : write_zeros (t, end, offset + len - end, err);
    if (errno != EOPNOTSUPP && errno != EINVAL && errno != ENODEV)
      return fail_errno (t, errno, "write zeros", err);
    __atomic_store_n (&t->no_zero_range, true, __ATOMIC_RELAXED);
  }
  return write_zeros (t, offset, len, err);
}

static int
file_finish (struct lm_target *target, struct lm_error *err)
{
  struct target_file *t = (struct target_file *) target;

  if (empty_once (t, err) == -1)        /* a disk of no bytes */
    return -1;
  if (lm_io->fsync (t->fd) == -1)
    return fail_errno (t, errno, "fsync", err);
  if (t->created && lm_sync_parent (AT_FDCWD, t->path, err) == -1)
    return -1;
  t->finished = true;
  return 0;
}

static void
file_close (struct lm_target *target)
{
  struct target_file *t = (struct target_file *) target;

  if (t->created && !t->finished)
    lm_io->unlinkat (AT_FDCWD, t->path, 0);
  if (t->fd != -1)
    lm_io->close (t->fd);
  pthread_mutex_destroy (&t->empty_lock);
  free (t->path);
  free (t);
}

static const struct lm_target_ops file_ops = {
  .name = "file",
  .pwrite = file_pwrite,
  .zero = file_zero,
  .finish = file_finish,
  .close = file_close,
};

/* Are LEN bytes at OFFSET all zero? */
static int
check_zero (struct target_file *t, uint64_t offset, uint64_t len,
            struct lm_error *err)
{
  CLEANUP_FREE char *buf = malloc (ZEROS);

  if (buf == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "%s: out of memory", t->path);
  while (len > 0) {
    size_t n = lm_min_u64 (len, ZEROS);

    if (lm_pread_full (t->fd, buf, n, offset, t->path, err) == -1)
      return -1;
    if (!lm_target_is_zero (buf, n))
      return lm_target_fail_data (t->path, err);
    offset += n;
    len -= n;
  }
  return 0;
}

/* A file may have blocks that were allocated in advance, but they must
 * hold zeros.  A large one isn't read through: it counts as data. */
static int
check_file_empty (struct target_file *t, uint64_t size,
                  struct lm_error *err)
{
  uint64_t pos = 0, looked_at = 0;

  while (pos < size) {
    off_t data = lseek (t->fd, pos, SEEK_DATA);
    off_t hole;

    if (data == -1 && errno == ENXIO)
      break;
    if (data == -1)
      data = pos;
    hole = lseek (t->fd, data, SEEK_HOLE);
    if (hole == -1)
      hole = size;
    looked_at += hole - data;
    if (looked_at > 64 * LM_TARGET_LOOK)
      return lm_target_fail_data (t->path, err);
    if (check_zero (t, data, hole - data, err) == -1)
      return -1;
    pos = hole;
  }
  return 0;
}

static int
take_lock (struct target_file *t, struct lm_error *err)
{
  if (lm_image_lock (t->fd, LM_IMAGE_LOCK_WRITE, t->path, err) == 0)
    return 0;
  if (err->kind == LM_ERR_LOCKED)
    return -1;
  lm_error_clear (err);         /* a file system without locks */
  return 0;
}

static int
open_block_device (struct target_file *t, bool overwrite,
                   struct lm_error *err)
{
  uint64_t size, look, end;
  int read_only = 0;

  /* O_EXCL: not while it is mounted or a part of another device. */
  t->fd = lm_io->openat (AT_FDCWD, t->path, O_RDWR | O_EXCL, 0);
  if (t->fd == -1 && errno == EBUSY)
    return lm_error_set (err, LM_ERR_LOCKED, "%s: in use: mounted, or a "
                         "part of another device", t->path);
  if (t->fd == -1)
    return fail_errno (t, errno, "open for writing", err);
  if (ioctl (t->fd, BLKROGET, &read_only) == 0 && read_only)
    return lm_error_set (err, LM_ERR_USAGE, "%s: is read-only", t->path);
  if (take_lock (t, err) == -1)
    return -1;
  if (ioctl (t->fd, BLKGETSIZE64, &size) == -1)
    return fail_errno (t, errno, "get size", err);
  if (size < t->base.size)
    return lm_target_fail_small (t->path, size, t->base.size, err);
  if (overwrite)
    return 0;
  look = lm_min_u64 (size, LM_TARGET_LOOK);
  end = lm_max_u64 (size - look, look);
  if (check_zero (t, 0, look, err) == -1)
    return -1;
  return check_zero (t, end, size - end, err);
}

static int
open_existing_file (struct target_file *t, bool overwrite,
                    struct lm_error *err)
{
  struct stat st;

  t->fd = lm_io->openat (AT_FDCWD, t->path, O_RDWR | O_NONBLOCK, 0);
  if (t->fd == -1)
    return fail_errno (t, errno, "open for writing", err);
  if (take_lock (t, err) == -1)
    return -1;
  if (fstat (t->fd, &st) == -1)
    return fail_errno (t, errno, "stat", err);
  if (!S_ISREG (st.st_mode))
    return lm_error_set (err, LM_ERR_USAGE, "%s: was replaced just now",
                         t->path);
  if (!overwrite && check_file_empty (t, st.st_size, err) == -1)
    return -1;
  return 0;
}

static int
open_target (struct target_file *t, bool overwrite, struct lm_error *err)
{
  struct stat st;

  if (stat (t->path, &st) == -1) {
    if (errno != ENOENT)
      return fail_errno (t, errno, "stat", err);
    t->fd = lm_io->openat (AT_FDCWD, t->path, O_RDWR | O_CREAT | O_EXCL,
                           0600);
    if (t->fd == -1)
      return fail_errno (t, errno, "create", err);
    t->created = true;
    if (take_lock (t, err) == -1)
      return -1;
  }
  else if (S_ISBLK (st.st_mode)) {
    t->block = true;
    return open_block_device (t, overwrite, err);
  }
  else if (!S_ISREG (st.st_mode))
    return lm_error_set (err, LM_ERR_USAGE,
                         "%s: neither a file nor a block device", t->path);
  else
    return open_existing_file (t, overwrite, err);
  return empty_once (t, err);   /* the new file */
}

int
lm_target_file_open (const char *path, uint64_t size, bool overwrite,
                     struct lm_target **ret, struct lm_error *err)
{
  struct target_file *t = calloc (1, sizeof *t);

  if (t == NULL || (t->path = strdup (path)) == NULL) {
    free (t);
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  }
  t->base.ops = &file_ops;
  t->base.size = size;
  t->fd = -1;
  pthread_mutex_init (&t->empty_lock, NULL);
  if (size > INT64_MAX)
    lm_error_set (err, LM_ERR_LIMIT, "%s: no file can have %" PRIu64
                  " bytes", path, size);
  else if (open_target (t, overwrite, err) == 0) {
    *ret = &t->base;
    return 0;
  }
  file_close (&t->base);
  return -1;
}
