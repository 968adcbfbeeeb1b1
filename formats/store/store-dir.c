/* SPDX-License-Identifier: Apache-2.0
 *
 * The directory store.
 *
 * An object is written as tmp/<random>, synced, published under its name
 * and the folder is synced.  To publish without replacing,
 * renameat2 (RENAME_NOREPLACE) is one atomic step; where a file system
 * lacks it (NFS), link and unlink do the same in two, and a crash between
 * them leaves one more name in tmp/.  O_TMPFILE was the other candidate:
 * it never leaves anything behind, but needs linkat through /proc and
 * does not exist on NFS.
 *
 * What happens after a failed fsync depends on when: before publication
 * nothing is left.  After it (the folder's fsync) the object stays and
 * the call fails: another process can have seen the name already and have
 * built on it (the next record of a journal), so taking it away again
 * would do more harm than a name that may or may not survive.
 *
 * A folder that another process made a moment ago may not be durable
 * yet.  So each handle syncs the parents of a folder once, the first
 * time it puts something there.
 */
#include <config.h>

#include "formats/store/store-dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "common/io.h"
#include "common/random.h"
#include "formats/store/fd-cache.h"
#include "common/banned.h"

#define MAX_CACHED_FDS 64
#define STALE_SECONDS (24 * 60 * 60)
#define TMP_NAME_LEN 24         /* hex digits */

/* Writeback begins whenever so much is dirty.  Measured on ext4: a put of
 * 16 MiB takes 9.4 ms instead of 11.9, of 64 MiB 27 ms instead of 42. */
#define WRITEBACK_STEP (4 * 1024 * 1024)

/* From this size on, in bytes, an object is worth a direct write. */
#define DIRECT_MIN (1024 * 1024)
#define PAGE 4096

struct dir_store {
  struct lm_store base;
  int root;
  mode_t file_mode, folder_mode;
  struct lm_fd_cache *fds;      /* only objects > LM_STORE_PUT_MAX */
  pthread_mutex_t lock;         /* guards the folders, nothing slow */
  char **folders;               /* known to be durable */
  size_t nr_folders;
};

static int
fail_errno (struct dir_store *s, int errnum, const char *name,
            const char *what, struct lm_error *err)
{
  return lm_error_errno (err, errnum, "%s: %s: %s", s->base.location, name,
                         what);
}

static int
fail_not_found (struct dir_store *s, const char *name, struct lm_error *err)
{
  return lm_error_set (err, LM_ERR_NOT_FOUND, "%s: %s: no such object",
                       s->base.location, name);
}

static bool
means_absent (int errnum)
{
  return errnum == ENOENT || errnum == ENOTDIR;
}

/* "packs" of "packs/ab", "." of "packs". */
static char *
parent_name (const char *name)
{
  const char *slash = strrchr (name, '/');

  return slash ? strndup (name, slash - name) : strdup (".");
}

static const char *
last_component (const char *name)
{
  const char *slash = strrchr (name, '/');

  return slash ? slash + 1 : name;
}

static int
open_folder (struct dir_store *s, const char *folder)
{
  return lm_io->openat_beneath (s->root, folder, O_RDONLY | O_DIRECTORY, 0);
}

static bool
folder_is_known (struct dir_store *s, const char *folder)
{
  size_t i;

  LM_LOCK_FOR_SCOPE (&s->lock);
  for (i = 0; i < s->nr_folders; i++)
    if (strcmp (s->folders[i], folder) == 0)
      return true;
  return false;
}

static int
remember_folder (struct dir_store *s, const char *folder,
                 struct lm_error *err)
{
  char *copy = strdup (folder);
  char **more;

  LM_LOCK_FOR_SCOPE (&s->lock);
  more = copy ? realloc (s->folders, (s->nr_folders + 1) * sizeof *more)
    : NULL;
  if (more == NULL) {
    free (copy);
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  }
  s->folders = more;
  s->folders[s->nr_folders++] = copy;
  return 0;
}

/* Make FOLDER and what it lies in, all durable. */
static int
make_folder (struct dir_store *s, const char *folder, struct lm_error *err)
{
  CLEANUP_FREE char *parent = NULL;
  CLEANUP_CLOSE int fd = -1;

  if (strcmp (folder, ".") == 0 || folder_is_known (s, folder))
    return 0;
  parent = parent_name (folder);
  if (parent == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  if (make_folder (s, parent, err) == -1)
    return -1;
  fd = open_folder (s, parent);
  if (fd == -1)
    return fail_errno (s, errno, parent, "open folder", err);
  if (lm_io->mkdirat (fd, last_component (folder), s->folder_mode) == -1 &&
      errno != EEXIST)
    return fail_errno (s, errno, folder, "mkdir", err);
  if (lm_io->fsync (fd) == -1)
    return fail_errno (s, errno, parent, "fsync of the folder", err);
  return remember_folder (s, folder, err);
}

/* The whole pages that LEN bytes at P begin with, if they are worth it,
 * straight from memory to the device: a pack is read again weeks later if
 * at all, and copying it into the page cache took a sixth of a backup's
 * processor time.  Returns how many bytes were written; the caller goes on
 * from there as always, and hears there of whatever went wrong here. */
static size_t
write_direct (int fd, const char *p, size_t len)
{
  size_t whole = len & -(size_t) PAGE, done = 0;

  if (whole < DIRECT_MIN || (uintptr_t) p % PAGE != 0 ||
      lm_io->set_direct (fd, true) == -1)
    return 0;
  while (done < whole) {
    size_t n = lm_min_u64 (whole - done, WRITEBACK_STEP);

    if (lm_io->pwrite (fd, p + done, n, done) != (ssize_t) n)
      break;
    done += n;
  }
  lm_io->set_direct (fd, false);
  return done;
}

static int
write_and_sync (struct dir_store *s, int fd, const char *name,
                const struct iovec *iov, int iovcnt, struct lm_error *err)
{
  uint64_t offset = 0, started;
  size_t skip = iovcnt > 0
    ? write_direct (fd, iov[0].iov_base, iov[0].iov_len) : 0;
  int i;

  offset = started = skip;
  for (i = 0; i < iovcnt; i++, skip = 0) {
    const char *p = (const char *) iov[i].iov_base + skip;
    size_t left = iov[i].iov_len - skip;

    while (left > 0) {
      size_t n = lm_min_u64 (left, WRITEBACK_STEP);

      if (lm_pwrite_full (fd, p, n, offset, name, err) == -1)
        return lm_error_prefix (err, "%s", s->base.location);
      p += n;
      left -= n;
      offset += n;
      if (offset - started >= WRITEBACK_STEP) {
        /* If it fails, fsync says so. */
        lm_io->start_writeback (fd, started, offset - started);
        started = offset;
      }
    }
  }
  if (lm_io->fsync (fd) == -1)
    return fail_errno (s, errno, name, "fsync", err);
  return 0;
}

/* Move TMP to BASE, refusing to replace; -1 with errno. */
static int
publish (int tmp_fd, const char *tmp, int folder_fd, const char *base)
{
  struct stat st;
  int saved;

  if (lm_io->renameat2 (tmp_fd, tmp, folder_fd, base,
                        RENAME_NOREPLACE) == 0)
    return 0;
  if (errno != EINVAL && errno != ENOSYS)
    return -1;
  if (lm_io->linkat (tmp_fd, tmp, folder_fd, base, 0) == -1) {
    saved = errno;
    /* On NFS a link whose reply was lost is tried again and then fails;
     * the count of links tells. */
    if (saved != EEXIST || fstatat (tmp_fd, tmp, &st, 0) == -1 ||
        st.st_nlink != 2) {
      errno = saved;
      return -1;
    }
  }
  lm_io->unlinkat (tmp_fd, tmp, 0);
  return 0;
}

static int
exists_already (struct dir_store *s, int folder_fd, const char *folder,
                const char *name, struct lm_error *err)
{
  /* Whoever is told that it exists relies on it. */
  if (lm_io->fsync (folder_fd) == -1)
    return fail_errno (s, errno, folder, "fsync of the folder", err);
  return lm_error_set (err, LM_ERR_EXISTS, "%s: %s: exists already",
                       s->base.location, name);
}

static int
put_object (struct dir_store *s, const char *name, const struct iovec *iov,
            int iovcnt, bool replace, struct lm_error *err)
{
  CLEANUP_FREE char *folder = parent_name (name);
  CLEANUP_CLOSE int folder_fd = -1;
  CLEANUP_CLOSE int tmp_fd = -1;
  CLEANUP_CLOSE int fd = -1;
  const char *base = last_component (name);
  char tmp[TMP_NAME_LEN + 1];
  uint64_t unique[2];
  struct stat st;
  int r;

  if (folder == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  if (make_folder (s, folder, err) == -1 || make_folder (s, "tmp", err) == -1)
    return -1;
  folder_fd = open_folder (s, folder);
  if (folder_fd == -1)
    return fail_errno (s, errno, folder, "open folder", err);
  /* Saves writing for nothing; what decides is publish. */
  if (!replace && fstatat (folder_fd, base, &st, AT_SYMLINK_NOFOLLOW) == 0)
    return exists_already (s, folder_fd, folder, name, err);
  tmp_fd = open_folder (s, "tmp");
  if (tmp_fd == -1)
    return fail_errno (s, errno, "tmp", "open folder", err);

  lm_random_bytes (unique, sizeof unique);
  snprintf (tmp, sizeof tmp, "%016" PRIx64 "%08" PRIx32, unique[0],
            (uint32_t) unique[1]);
  fd = lm_io->openat (tmp_fd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW,
                      s->file_mode);
  if (fd == -1)
    return fail_errno (s, errno, name, "create temporary file", err);
  if (write_and_sync (s, fd, name, iov, iovcnt, err) == -1)
    goto unlink_tmp;
  r = lm_io->close (lm_steal_fd (fd));
  if (r == -1) {
    fail_errno (s, errno, name, "close", err);
    goto unlink_tmp;
  }
  if (replace)
    r = lm_io->renameat (tmp_fd, tmp, folder_fd, base);
  else
    r = publish (tmp_fd, tmp, folder_fd, base);
  if (r == -1) {
    r = errno;
    lm_io->unlinkat (tmp_fd, tmp, 0);
    if (r == EEXIST && !replace)
      return exists_already (s, folder_fd, folder, name, err);
    return fail_errno (s, r, name, "rename", err);
  }
  lm_fd_cache_drop (s->fds, name);
  if (lm_io->fsync (folder_fd) == -1)
    return fail_errno (s, errno, folder, "fsync of the folder", err);
  return 0;

unlink_tmp:
  lm_io->unlinkat (tmp_fd, tmp, 0);
  return -1;
}

static int
dir_put (struct lm_store *store, const char *name, const struct iovec *iov,
         int iovcnt, struct lm_error *err)
{
  return put_object ((struct dir_store *) store, name, iov, iovcnt, true,
                     err);
}

static int
dir_put_if_absent (struct lm_store *store, const char *name,
                   const struct iovec *iov, int iovcnt,
                   struct lm_error *err)
{
  return put_object ((struct dir_store *) store, name, iov, iovcnt, false,
                     err);
}

/* Open NAME and see that it is an object.  FLAGS are O_PATH, or those
 * with which not even a FIFO or a terminal stops us. */
static int
open_object (struct dir_store *s, const char *name, int flags,
             struct stat *ret_st, struct lm_error *err)
{
  CLEANUP_CLOSE int fd = -1;

  fd = lm_io->openat_beneath (s->root, name, flags, 0);
  if (fd == -1 && (errno == EMFILE || errno == ENFILE)) {
    lm_fd_cache_trim (s->fds);
    fd = lm_io->openat_beneath (s->root, name, flags, 0);
  }
  if (fd == -1) {
    if (means_absent (errno))
      return fail_not_found (s, name, err);
    return fail_errno (s, errno, name, "open", err);
  }
  if (fstat (fd, ret_st) == -1)
    return fail_errno (s, errno, name, "stat", err);
  if (!S_ISREG (ret_st->st_mode))
    return fail_not_found (s, name, err);
  return lm_steal_fd (fd);
}

static int
dir_get_range (struct lm_store *store, const char *name, void *buf,
               size_t len, uint64_t offset, struct lm_error *err)
{
  struct dir_store *s = (struct dir_store *) store;
  CLEANUP_CLOSE int own_fd = -1;
  uint64_t generation;
  struct stat st;
  int slot, fd, r;

  if (!lm_range_ok (offset, len, INT64_MAX))
    return lm_corrupt (err, "%s: %s: ends before 0x%" PRIx64,
                       s->base.location, name, offset);
  slot = lm_fd_cache_acquire (s->fds, name, &fd, &generation);
  if (slot == -1) {
    fd = own_fd = open_object (s, name, O_RDONLY | O_NOCTTY | O_NONBLOCK,
                               &st, err);
    if (fd == -1)
      return -1;
    if (st.st_size > LM_STORE_PUT_MAX) {
      slot = lm_fd_cache_insert (s->fds, name, own_fd, generation, &fd);
      if (slot != -1)
        own_fd = -1;
    }
  }
  r = lm_pread_full (fd, buf, len, offset, name, err);
  if (slot != -1)
    lm_fd_cache_release (s->fds, slot);
  if (r == -1)
    lm_error_prefix (err, "%s", s->base.location);
  return r;
}

static int
dir_stat (struct lm_store *store, const char *name, uint64_t *ret_size,
          struct lm_error *err)
{
  struct dir_store *s = (struct dir_store *) store;
  struct stat st;
  CLEANUP_CLOSE int fd = open_object (s, name, O_PATH, &st, err);

  if (fd == -1)
    return -1;
  *ret_size = st.st_size;
  return 0;
}

static int
dir_remove (struct lm_store *store, const char *name, struct lm_error *err)
{
  struct dir_store *s = (struct dir_store *) store;
  CLEANUP_FREE char *folder = parent_name (name);
  CLEANUP_CLOSE int folder_fd = -1;

  if (folder == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  folder_fd = open_folder (s, folder);
  if (folder_fd == -1) {
    if (means_absent (errno))
      return fail_not_found (s, name, err);
    return fail_errno (s, errno, folder, "open folder", err);
  }
  if (lm_io->unlinkat (folder_fd, last_component (name), 0) == -1) {
    if (means_absent (errno) || errno == EISDIR)
      return fail_not_found (s, name, err);
    return fail_errno (s, errno, name, "remove", err);
  }
  lm_fd_cache_drop (s->fds, name);
  if (lm_io->fsync (folder_fd) == -1)
    return fail_errno (s, errno, folder, "fsync of the folder", err);
  return 0;
}

/* List what lies in the open folder FD, which is called NAME and is taken
 * over.  Names that no object can have are not ours and are passed over. */
static int
list_folder (struct dir_store *s, int fd, const char *name,
             lm_store_list_cb cb, void *opaque, struct lm_error *err)
{
  CLEANUP_CLOSEDIR DIR *dir = fdopendir (fd);
  struct lm_error unused = LM_ERROR_INIT;

  if (dir == NULL) {
    fail_errno (s, errno, name, "list", err);
    close (fd);
    return -1;
  }
  for (;;) {
    char child[LM_STORE_NAME_MAX + 1];
    struct dirent *d;
    struct stat st;
    int r, n, sub;

    errno = 0;
    d = readdir (dir);
    if (d == NULL)
      return errno ? fail_errno (s, errno, name, "list", err) : 0;
    n = snprintf (child, sizeof child, "%s/%s", name, d->d_name);
    if (n < 0 || (size_t) n >= sizeof child ||
        lm_store_check_name (child, &unused) == -1)
      continue;
    if (fstatat (dirfd (dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) == -1) {
      if (errno == ENOENT)      /* removed since readdir */
        continue;
      return fail_errno (s, errno, child, "stat", err);
    }
    if (S_ISREG (st.st_mode))
      r = cb (opaque, child, st.st_size, err);
    else if (S_ISDIR (st.st_mode)) {
      sub = lm_io->openat (dirfd (dir), d->d_name,
                           O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
      if (sub == -1)
        return fail_errno (s, errno, child, "open folder", err);
      r = list_folder (s, sub, child, cb, opaque, err);
    }
    else
      continue;
    if (r == -1)
      return -1;
  }
}

static int
dir_list (struct lm_store *store, const char *prefix, lm_store_list_cb cb,
          void *opaque, struct lm_error *err)
{
  struct dir_store *s = (struct dir_store *) store;
  int fd = open_folder (s, prefix);

  if (fd == -1)
    return means_absent (errno) ? 0
      : fail_errno (s, errno, prefix, "open folder", err);
  return list_folder (s, fd, prefix, cb, opaque, err);
}

static void
dir_close (struct lm_store *store)
{
  struct dir_store *s = (struct dir_store *) store;
  size_t i;

  lm_fd_cache_free (s->fds);
  for (i = 0; i < s->nr_folders; i++)
    free (s->folders[i]);
  free (s->folders);
  if (s->root != -1)
    lm_io->close (s->root);
  pthread_mutex_destroy (&s->lock);
  free (s->base.location);
  free (s);
}

static const struct lm_store_ops dir_ops = {
  .name = "dir",
  .put = dir_put,
  .put_if_absent = dir_put_if_absent,
  .get_range = dir_get_range,
  .stat = dir_stat,
  .remove = dir_remove,
  .list = dir_list,
  .close = dir_close,
  .bounded = true,
};

/* Remove what writers that died left in tmp/.  A writer that is alive
 * has touched its file within the last day; should the clock have jumped,
 * its rename fails and so does its put.  Nothing here is an error. */
static void
remove_stale_files (struct dir_store *s)
{
  int fd = open_folder (s, "tmp");
  CLEANUP_CLOSEDIR DIR *dir = fd == -1 ? NULL : fdopendir (fd);
  int64_t now = lm_clock_now ();
  struct dirent *d;

  if (dir == NULL) {
    if (fd != -1)
      close (fd);
    return;
  }
  while ((d = readdir (dir)) != NULL) {
    struct stat st;

    if (strspn (d->d_name, "0123456789abcdef") == TMP_NAME_LEN &&
        d->d_name[TMP_NAME_LEN] == '\0' &&
        fstatat (dirfd (dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISREG (st.st_mode) && st.st_mtime < now - STALE_SECONDS)
      lm_io->unlinkat (dirfd (dir), d->d_name, 0);
  }
}

/* A new store goes into an empty folder, or into one that an interrupted
 * init has begun to fill: that begins with tmp. */
static int
check_new_root (struct dir_store *s, struct lm_error *err)
{
  int fd = open_folder (s, ".");
  CLEANUP_CLOSEDIR DIR *dir = fd == -1 ? NULL : fdopendir (fd);
  bool foreign = false, ours = false;
  struct dirent *d;

  if (dir == NULL) {
    fail_errno (s, errno, ".", "list", err);
    if (fd != -1)
      close (fd);
    return -1;
  }
  while ((d = readdir (dir)) != NULL) {
    if (strcmp (d->d_name, "tmp") == 0)
      ours = true;
    else if (d->d_name[0] != '.' && strcmp (d->d_name, "lost+found") != 0)
      foreign = true;
  }
  if (foreign && !ours) {
    lm_error_set (err, LM_ERR_EXISTS, "%s: the folder is not empty",
                  s->base.location);
    return lm_error_hint (err, "a new repository needs a folder of its own");
  }
  return 0;
}

int
lm_store_dir_open (const char *path, bool create, struct lm_store **ret,
                   struct lm_error *err)
{
  struct dir_store *s;
  struct stat st;

  if (create && lm_mkdir_p (path, 0700, err) == -1)
    return -1;
  s = calloc (1, sizeof *s);
  if (s == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  s->base.ops = &dir_ops;
  s->root = -1;
  pthread_mutex_init (&s->lock, NULL);
  s->base.location = strdup (path);
  if (s->base.location == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    goto fail;
  }
  s->root = lm_io->openat (AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
  if (s->root == -1 || fstat (s->root, &st) == -1) {
    int errnum = errno;

    lm_error_errno (err, errnum, "%s", path);
    if (means_absent (errnum))
      err->kind = LM_ERR_NO_REPOSITORY;
    goto fail;
  }
  s->folder_mode = st.st_mode & 0777;
  s->file_mode = st.st_mode & 0666;
  s->fds = lm_fd_cache_new (MAX_CACHED_FDS, err);
  if (s->fds == NULL)
    goto fail;
  if (create && (check_new_root (s, err) == -1 ||
                 make_folder (s, "tmp", err) == -1))
    goto fail;
  remove_stale_files (s);
  *ret = &s->base;
  return 0;

fail:
  dir_close (&s->base);
  return -1;
}
