/* SPDX-License-Identifier: Apache-2.0
 * The I/O table and the few helpers over it; see io.h.
 */
#include <config.h>

#include "common/io.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/random.h"
#include "common/banned.h"

static int
sys_openat (int dirfd, const char *path, int flags, mode_t mode)
{
  return TEMP_FAILURE_RETRY (openat (dirfd, path, flags | O_CLOEXEC, mode));
}

/* openat that says ELOOP for a symbolic link, whatever FLAGS make of it. */
static int
open_component (int dirfd, const char *name, int flags, mode_t mode)
{
  int fd = TEMP_FAILURE_RETRY (openat (dirfd, name, flags | O_CLOEXEC |
                                       O_NOFOLLOW, mode));
  struct stat st;

  if (fd == -1 && errno == ENOTDIR) {
    if (fstatat (dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISLNK (st.st_mode))
      errno = ELOOP;
    else
      errno = ENOTDIR;
  }
  return fd;
}

/* The slow way for kernels before 5.6 and for sandboxes without openat2:
 * one component at a time, none of them a symbolic link or "..". */
static int
walk_beneath (int dirfd, const char *path, int flags, mode_t mode)
{
  CLEANUP_FREE char *copy = strdup (path);
  CLEANUP_CLOSE int held = -1;
  char *p = copy, *slash;

  if (copy == NULL)
    return -1;
  if (*p == '/') {
    errno = EXDEV;
    return -1;
  }
  for (;; p = slash + 1) {
    int fd;

    slash = strchr (p, '/');
    if (slash)
      *slash = '\0';
    if (strcmp (p, "..") == 0) {
      errno = EXDEV;
      return -1;
    }
    if (slash == NULL)
      return open_component (dirfd, p, flags, mode);
    if (*p == '\0' || strcmp (p, ".") == 0)
      continue;
    fd = open_component (dirfd, p, O_PATH | O_DIRECTORY, 0);
    if (fd == -1)
      return -1;
    if (held != -1)
      close (held);
    dirfd = held = fd;
  }
}

static int
sys_openat_beneath (int dirfd, const char *path, int flags, mode_t mode)
{
  struct open_how how = {
    .flags = flags | O_CLOEXEC,
    .mode = flags & O_CREAT ? mode : 0,
    .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
  };
  int fd;

  do
    fd = syscall (SYS_openat2, dirfd, path, &how, sizeof how);
  while (fd == -1 && (errno == EINTR || errno == EAGAIN));
  if (fd == -1 && (errno == ENOSYS || errno == EPERM))
    return walk_beneath (dirfd, path, flags, mode);
  return fd;
}

static ssize_t
sys_pread (int fd, void *buf, size_t len, off_t offset)
{
  return TEMP_FAILURE_RETRY (pread (fd, buf, len, offset));
}

static ssize_t
sys_pwrite (int fd, const void *buf, size_t len, off_t offset)
{
  return TEMP_FAILURE_RETRY (pwrite (fd, buf, len, offset));
}

static int
sys_fsync (int fd)
{
  return TEMP_FAILURE_RETRY (fsync (fd));
}

static int
sys_fdatasync (int fd)
{
  return TEMP_FAILURE_RETRY (fdatasync (fd));
}

static int
sys_ftruncate (int fd, off_t size)
{
  return TEMP_FAILURE_RETRY (ftruncate (fd, size));
}

static int
sys_fallocate (int fd, int mode, off_t offset, off_t len)
{
  return TEMP_FAILURE_RETRY (fallocate (fd, mode, offset, len));
}

static int
sys_set_direct (int fd, bool on)
{
  int flags = fcntl (fd, F_GETFL);

  return flags == -1 ? -1
    : fcntl (fd, F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT);
}

static int
sys_start_writeback (int fd, off_t offset, off_t len)
{
  return TEMP_FAILURE_RETRY (sync_file_range (fd, offset, len,
                                              SYNC_FILE_RANGE_WRITE));
}

const struct lm_io_ops lm_io_system = {
  .openat = sys_openat,
  .openat_beneath = sys_openat_beneath,
  .close = close,
  .pread = sys_pread,
  .pwrite = sys_pwrite,
  .fsync = sys_fsync,
  .fdatasync = sys_fdatasync,
  .ftruncate = sys_ftruncate,
  .fallocate = sys_fallocate,
  .mkdirat = mkdirat,
  .unlinkat = unlinkat,
  .linkat = linkat,
  .renameat = renameat,
  .renameat2 = renameat2,
  .start_writeback = sys_start_writeback,
  .set_direct = sys_set_direct,
};

const struct lm_io_ops *lm_io = &lm_io_system;

int
lm_pread_full (int fd, void *buf, size_t len, uint64_t offset,
               const char *what, struct lm_error *err)
{
  char *p = buf;

  while (len > 0) {
    ssize_t r = lm_io->pread (fd, p, len, offset);

    if (r == -1)
      return lm_error_errno (err, errno, "%s: read at 0x%" PRIx64, what,
                             offset);
    if (r == 0)
      return lm_corrupt (err, "%s: ends at 0x%" PRIx64
                         ", %zu bytes early", what, offset, len);
    p += r;
    offset += r;
    len -= r;
  }
  return 0;
}

int
lm_pwrite_full (int fd, const void *buf, size_t len, uint64_t offset,
                const char *what, struct lm_error *err)
{
  const char *p = buf;

  while (len > 0) {
    ssize_t r = lm_io->pwrite (fd, p, len, offset);

    if (r == -1)
      return lm_error_errno (err, errno, "%s: write at 0x%" PRIx64, what,
                             offset);
    p += r;
    offset += r;
    len -= r;
  }
  return 0;
}

int
lm_file_read (int dirfd, const char *path, size_t limit, char **ret_data,
              size_t *ret_len, struct lm_error *err)
{
  CLEANUP_CLOSE int fd = lm_io->openat (dirfd, path, O_RDONLY, 0);
  CLEANUP_FREE char *data = NULL;
  struct stat st;
  size_t len = 0, alloc;

  if (fd == -1)
    return lm_error_errno (err, errno, "%s", path);
  if (fstat (fd, &st) == -1)
    return lm_error_errno (err, errno, "%s: stat", path);
  if (S_ISDIR (st.st_mode))
    return lm_error_errno (err, EISDIR, "%s", path);
  if (st.st_size > 0 && (uint64_t) st.st_size > limit)
    return lm_error_set (err, LM_ERR_LIMIT,
                         "%s: %" PRIu64 " bytes, the limit is %zu",
                         path, (uint64_t) st.st_size, limit);
  /* Pipes and /proc have no size: grow as needed. */
  alloc = st.st_size > 0 ? (size_t) st.st_size + 1 : 4096;
  for (;;) {
    ssize_t r;
    char *bigger = realloc (data, alloc + 1);

    if (bigger == NULL)
      return lm_error_set (err, LM_ERR_NOMEM, "%s: out of memory", path);
    data = bigger;
    if (S_ISREG (st.st_mode))
      r = lm_io->pread (fd, data + len, alloc - len, len);
    else
      r = TEMP_FAILURE_RETRY (read (fd, data + len, alloc - len));
    if (r == -1)
      return lm_error_errno (err, errno, "%s: read", path);
    if (r == 0)
      break;
    len += r;
    if (len > limit)
      return lm_error_set (err, LM_ERR_LIMIT,
                           "%s: more than the limit of %zu bytes", path,
                           limit);
    if (len == alloc)
      alloc *= 2;
  }
  data[len] = '\0';
  *ret_data = lm_steal (data);
  *ret_len = len;
  return 0;
}

int
lm_sync_parent (int dirfd, const char *path, struct lm_error *err)
{
  const char *slash = strrchr (path, '/');
  CLEANUP_FREE char *parent = NULL;
  CLEANUP_CLOSE int fd = -1;

  if (slash == NULL)
    parent = strdup (".");
  else if (slash == path)
    parent = strdup ("/");
  else
    parent = strndup (path, slash - path);
  if (parent == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  fd = lm_io->openat (dirfd, parent, O_RDONLY | O_DIRECTORY, 0);
  if (fd == -1)
    return lm_error_errno (err, errno, "%s: open", parent);
  if (lm_io->fsync (fd) == -1)
    return lm_error_errno (err, errno, "%s: fsync", parent);
  return 0;
}

int
lm_file_replace (int dirfd, const char *path, const void *data, size_t len,
                 mode_t mode, struct lm_error *err)
{
  CLEANUP_FREE char *tmp = NULL;
  CLEANUP_CLOSE int fd = -1;
  uint64_t unique;

  lm_random_bytes (&unique, sizeof unique);
  if (asprintf (&tmp, "%s.%016" PRIx64 ".tmp", path, unique) == -1) {
    tmp = NULL;
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  }
  fd = lm_io->openat (dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL, mode);
  if (fd == -1)
    return lm_error_errno (err, errno, "%s: create", tmp);
  if (lm_pwrite_full (fd, data, len, 0, path, err) == -1)
    goto fail;
  if (lm_io->fsync (fd) == -1) {
    lm_error_errno (err, errno, "%s: fsync", path);
    goto fail;
  }
  if (lm_io->renameat (dirfd, tmp, dirfd, path) == -1) {
    lm_error_errno (err, errno, "%s: rename", path);
    goto fail;
  }
  return lm_sync_parent (dirfd, path, err);

fail:
  lm_io->unlinkat (dirfd, tmp, 0);
  return -1;
}

int
lm_mkdir_p (const char *path, mode_t mode, struct lm_error *err)
{
  CLEANUP_FREE char *p = strdup (path);
  char *s;

  if (p == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  for (s = p + 1;; s++) {
    char c = *s;

    if (c != '/' && c != '\0')
      continue;
    *s = '\0';
    if (lm_io->mkdirat (AT_FDCWD, p, mode) == 0) {
      if (lm_sync_parent (AT_FDCWD, p, err) == -1)
        return -1;
    }
    else if (errno != EEXIST)
      return lm_error_errno (err, errno, "%s: mkdir", p);
    *s = c;
    if (c == '\0')
      break;
  }
  return 0;
}
