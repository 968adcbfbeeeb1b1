/* SPDX-License-Identifier: Apache-2.0
 *
 * All file I/O that touches stored state goes through one table, so that
 * tests can inject faults, count system calls and simulate power loss
 * under everything.  The table is process-wide and replaced only by
 * tests, before any thread starts.
 *
 * Every member has the meaning of the system call of its name, except
 * that no member fails with EINTR, and pread_full and pwrite_full move
 * the whole range.  A test's table starts as a copy of lm_io_system, so
 * that a member added here is never NULL there.
 */
#ifndef LM_COMMON_IO_H
#define LM_COMMON_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "common/error.h"

struct lm_io_ops {
  int (*openat) (int dirfd, const char *path, int flags, mode_t mode);
  /* openat that follows no symbolic link in any component and never
   * leaves DIRFD: for names that others could have prepared. */
  int (*openat_beneath) (int dirfd, const char *path, int flags,
                         mode_t mode);
  int (*close) (int fd);
  ssize_t (*pread) (int fd, void *buf, size_t len, off_t offset);
  ssize_t (*pwrite) (int fd, const void *buf, size_t len, off_t offset);
  int (*fsync) (int fd);
  int (*fdatasync) (int fd);
  int (*ftruncate) (int fd, off_t size);
  int (*fallocate) (int fd, int mode, off_t offset, off_t len);
  int (*mkdirat) (int dirfd, const char *path, mode_t mode);
  int (*unlinkat) (int dirfd, const char *path, int flags);
  int (*linkat) (int olddir, const char *old, int newdir, const char *new_,
                 int flags);
  int (*renameat) (int olddir, const char *old, int newdir,
                   const char *new_);
  /* FLAGS is RENAME_NOREPLACE; EINVAL where the file system can't. */
  int (*renameat2) (int olddir, const char *old, int newdir,
                    const char *new_, unsigned flags);
  /* Begin to write back what was just written, and do not wait: an fsync
   * that follows has less to do.  Promises nothing. */
  int (*start_writeback) (int fd, off_t offset, off_t len);
  /* Let writes of whole pages go past the page cache (O_DIRECT), or not
   * any more; EINVAL where the file system can't. */
  int (*set_direct) (int fd, bool on);
};

/* The table in use; never NULL. */
extern const struct lm_io_ops *lm_io;

/* The real system calls. */
extern const struct lm_io_ops lm_io_system;

/* Read exactly LEN bytes at OFFSET.  A file that ends early is
 * LM_ERR_CORRUPT.  WHAT names the file in messages. */
extern int lm_pread_full (int fd, void *buf, size_t len, uint64_t offset,
                          const char *what, struct lm_error *err)
  __attribute__ ((nonnull));

/* Write exactly LEN bytes at OFFSET. */
extern int lm_pwrite_full (int fd, const void *buf, size_t len,
                           uint64_t offset, const char *what,
                           struct lm_error *err)
  __attribute__ ((nonnull));

/* Read a whole file of at most LIMIT bytes into *ret_data (to be freed;
 * one extra NUL byte follows the data, not counted in *ret_len). */
extern int lm_file_read (int dirfd, const char *path, size_t limit,
                         char **ret_data, size_t *ret_len,
                         struct lm_error *err)
  __attribute__ ((nonnull));

/* Replace PATH by LEN bytes, durably: temporary file in the same folder,
 * fsync, rename, fsync of the folder.  After a crash PATH is old or new. */
extern int lm_file_replace (int dirfd, const char *path, const void *data,
                            size_t len, mode_t mode, struct lm_error *err)
  __attribute__ ((nonnull));

/* fsync the folder that holds PATH. */
extern int lm_sync_parent (int dirfd, const char *path, struct lm_error *err)
  __attribute__ ((nonnull));

/* mkdir -p; what is made is fsynced into its parent. */
extern int lm_mkdir_p (const char *path, mode_t mode, struct lm_error *err)
  __attribute__ ((nonnull));

#endif
