/* SPDX-License-Identifier: Apache-2.0
 * rm -r and du -s; see remove-tree.h.  session.json goes last, so that a
 * half-removed session is still known as one.
 */
#include <config.h>

#include "mount/remove-tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/banned.h"

#define DEPTH_MAX 32

/* Open a folder without following a link; NULL with errno. */
static DIR *
open_dir (int at, const char *path, dev_t *ret_dev)
{
  int fd = openat (at, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW |
                   O_CLOEXEC);
  struct stat st;
  DIR *dir;

  if (fd == -1)
    return NULL;
  if (fstat (fd, &st) == -1 || (dir = fdopendir (fd)) == NULL) {
    close (fd);
    return NULL;
  }
  *ret_dev = st.st_dev;
  return dir;
}

static int
remove_inside (int at, const char *path, dev_t dev, int depth,
               struct lm_error *err)
{
  dev_t here;
  CLEANUP_CLOSEDIR DIR *dir = open_dir (at, path, &here);
  struct dirent *d;

  if (dir == NULL)
    return lm_error_errno (err, errno, "remove %s", path);
  if (dev != 0 && here != dev)
    return lm_error_set (err, LM_ERR_IO, "remove %s: something is mounted "
                         "there", path);
  if (depth > DEPTH_MAX)
    return lm_error_set (err, LM_ERR_LIMIT, "remove %s: too deep", path);
  while (errno = 0, (d = readdir (dir)) != NULL) {
    if (strcmp (d->d_name, ".") == 0 || strcmp (d->d_name, "..") == 0 ||
        strcmp (d->d_name, "session.json") == 0)
      continue;
    if (unlinkat (dirfd (dir), d->d_name, 0) == 0 || errno == ENOENT)
      continue;
    if (errno != EISDIR)
      return lm_error_errno (err, errno, "remove %s/%s", path, d->d_name);
    if (remove_inside (dirfd (dir), d->d_name, here, depth + 1, err) == -1)
      return lm_error_prefix (err, "%s", path);
    if (unlinkat (dirfd (dir), d->d_name, AT_REMOVEDIR) == -1)
      return lm_error_errno (err, errno, "remove %s/%s", path, d->d_name);
  }
  if (errno != 0)
    return lm_error_errno (err, errno, "remove %s", path);
  if (unlinkat (dirfd (dir), "session.json", 0) == -1 && errno != ENOENT)
    return lm_error_errno (err, errno, "remove %s/session.json", path);
  return 0;
}

int
lm_remove_tree (int at, const char *path, struct lm_error *err)
{
  if (remove_inside (at, path, 0, 0, err) == -1) {
    if (err->kind != LM_ERR_NOT_FOUND)
      return -1;
    lm_error_clear (err);
    return 0;
  }
  if (unlinkat (at, path, AT_REMOVEDIR) == -1 && errno != ENOENT)
    return lm_error_errno (err, errno, "remove %s", path);
  return 0;
}

static bool
is_one_of (const char *name, const char *const *names)
{
  for (; *names; names++)
    if (strcmp (name, *names) == 0)
      return true;
  return false;
}

static int
usage (int at, const char *path, const char *const *names, int depth,
       uint64_t *bytes, struct lm_error *err)
{
  dev_t here;
  CLEANUP_CLOSEDIR DIR *dir = open_dir (at, path, &here);
  struct dirent *d;
  struct stat st;

  if (dir == NULL)
    return errno == ENOENT ? 0 : lm_error_errno (err, errno, "%s", path);
  while ((d = readdir (dir)) != NULL) {
    if (strcmp (d->d_name, ".") == 0 || strcmp (d->d_name, "..") == 0)
      continue;
    if (fstatat (dirfd (dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) == -1)
      continue;                 /* just removed */
    if (S_ISREG (st.st_mode) && is_one_of (d->d_name, names))
      *bytes += (uint64_t) st.st_blocks * 512;
    else if (S_ISDIR (st.st_mode) && depth < DEPTH_MAX &&
             usage (dirfd (dir), d->d_name, names, depth + 1, bytes, err) == -1)
      return -1;
  }
  return 0;
}

int
lm_tree_usage (int at, const char *path, const char *const *names,
               uint64_t *ret_bytes, struct lm_error *err)
{
  uint64_t bytes = 0;

  if (usage (at, path, names, 0, &bytes, err) == -1)
    return -1;
  *ret_bytes = bytes;
  return 0;
}
