/* SPDX-License-Identifier: Apache-2.0
 *
 * Disks as files; see session-fuse.h.
 *
 * nbdfuse mounts over an existing regular file, so several disks can
 * share a folder.  An empty file is made for each, and removed after.
 */
#include <config.h>

#include "mount/session-fuse.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/process.h"
#include "common/random.h"
#include "mount/capture.h"
#include "mount/session-proxy.h"
#include "common/banned.h"

#define FUSE_MAGIC 0x65735546
#define START_TIMEOUT_S 20

static char *
file_path (const struct lm_session *s, size_t i, struct lm_error *err)
{
  char *path;

  if (asprintf (&path, "%s/%s", s->fuse, s->disks[i].name) == -1) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  return path;
}

/* Something of FUSE is there, be it that its server died. */
static bool
is_mounted (const char *path)
{
  struct statfs sfs;
  struct stat st, parent;
  char folder[4096];
  const char *slash = strrchr (path, '/');

  if (statfs (path, &sfs) == -1)
    return errno == ENOTCONN;
  if (sfs.f_type != FUSE_MAGIC || slash == NULL)
    return false;
  /* The folder may itself be on a FUSE file system. */
  snprintf (folder, sizeof folder, "%.*s", (int) (slash - path), path);
  return stat (path, &st) == 0 && stat (folder, &parent) == 0 &&
         st.st_dev != parent.st_dev;
}

static int
mount_disk (const struct lm_session *s, size_t i, const char *path,
            struct lm_error *err)
{
  CLEANUP_FREE char *uri = lm_session_uri (s, s->disks[i].name, err);
  CLEANUP_FREE char *log_path = lm_session_path (s, "fuse.log", err);
  const char *argv[] = { "nbdfuse", "-C", "4", path, uri, NULL, NULL };
  struct lm_spawn spawn = { .argv = argv, .folder = "/",
                            .log_path = log_path, .umask = 077,
                            .detach = true };
  struct lm_process process;
  struct lm_process_end end;
  uint64_t start = lm_clock_monotonic (), log_from;
  CLEANUP_CLOSE int fd = -1;
  bool ended;

  if (uri == NULL || log_path == NULL)
    return -1;
  if (s->read_only) {
    argv[3] = "-r";
    argv[4] = path;
    argv[5] = uri;
  }
  fd = open (path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
  if (fd == -1)
    return lm_error_errno (err, errno, "--fuse: %s", path);
  log_from = lm_process_log_size (log_path);
  if (lm_process_spawn (&spawn, &process, err) == -1) {
    if (err->kind == LM_ERR_NOT_FOUND)
      lm_error_hint (err, "install the package libnbd-bin");
    return -1;
  }
  while (!is_mounted (path)) {
    if (lm_process_wait (&process, 10, &ended, &end, err) == -1)
      return -1;
    if (ended) {
      char line[512];

      if (!lm_process_log_last_line (log_path, log_from, line, sizeof line))
        snprintf (line, sizeof line, "it ended without a word");
      return lm_error_set (err, LM_ERR_IO, "--fuse: %s: %s", path, line);
    }
    if (lm_clock_monotonic () - start >
        START_TIMEOUT_S * UINT64_C (1000000000)) {
      struct lm_error ignored = LM_ERROR_INIT;

      lm_process_stop (&process, 1000, &ignored);
      return lm_error_set (err, LM_ERR_IO, "--fuse: %s: nbdfuse did not "
                           "mount it within %d s", path, START_TIMEOUT_S);
    }
  }
  return 0;
}

int
lm_session_fuse_start (const struct lm_session *s, struct lm_error *err)
{
  struct lm_error ignored = LM_ERROR_INIT;
  size_t i;

  for (i = 0; i < s->nr_disks; i++) {
    CLEANUP_FREE char *path = file_path (s, i, err);

    if (path == NULL || mount_disk (s, i, path, err) == -1) {
      lm_session_fuse_stop (s, &ignored);
      return -1;
    }
  }
  return 0;
}

static int
unmount_disk (const char *path, struct lm_error *err)
{
  const char *argv[] = { "fusermount3", "-u", path, NULL };
  CLEANUP_FREE char *text = NULL;
  unsigned tries;
  int code;

  if (lm_capture (argv, 30000, &text, &code, err) == -1)
    return -1;
  if (code != 0) {
    text[strcspn (text, "\n")] = '\0';
    lm_error_set (err, strstr (text, "busy") ? LM_ERR_LOCKED : LM_ERR_IO,
                  "unmount %s: %s", path, text);
    return lm_error_hint (err, "close what uses it: 'fuser -vm %.200s' says "
                          "which program that is", path);
  }
  /* The last writes go through nbdfuse after that; it ends when they
   * are done, and the mount is gone when it says so. */
  for (tries = 0; is_mounted (path) && tries < 500; tries++)
    usleep (10000);
  return 0;
}

int
lm_session_fuse_stop (const struct lm_session *s, struct lm_error *err)
{
  size_t i;

  for (i = 0; s->fuse && i < s->nr_disks; i++) {
    CLEANUP_FREE char *path = file_path (s, i, err);
    struct stat st;

    if (path == NULL || (is_mounted (path) && unmount_disk (path, err) == -1))
      return -1;
    if (lstat (path, &st) == 0 && S_ISREG (st.st_mode) && st.st_size == 0)
      unlink (path);
  }
  return 0;
}
