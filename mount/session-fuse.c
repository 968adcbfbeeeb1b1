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
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/hex.h"
#include "common/process.h"
#include "common/random.h"
#include "mount/capture.h"
#include "mount/session-proxy.h"
#include "common/banned.h"

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

/* What the kernel calls the source of our mounts: the pin's id, which no
 * other session has. */
static void
source_name (const struct lm_session *s, char out[64])
{
  char hex[2 * sizeof s->pin + 1];

  lm_hex_encode (s->pin, sizeof s->pin, hex);
  snprintf (out, 64, "livemount-%s", hex);
}

/* mountinfo has blanks and backslashes of paths as \ooo. */
static bool
same_path (const char *escaped, size_t len, const char *path)
{
  size_t i;

  for (i = 0; i < len; i++, path++) {
    unsigned char c = escaped[i];

    if (c == '\\' && i + 3 < len + 1) {
      c = (escaped[i + 1] - '0') << 6 | (escaped[i + 2] - '0') << 3 |
          (escaped[i + 3] - '0');
      i += 3;
    }
    if (*path == '\0' || c != (unsigned char) *path)
      return false;
  }
  return *path == '\0';
}

enum mounted { NOT_MOUNTED, MOUNTED_BY_US, MOUNTED_BY_OTHERS };

/* Who has something mounted on PATH?  Asked of the kernel, not of PATH:
 * a mount whose server died doesn't answer. */
static enum mounted
who_mounted (const struct lm_session *s, const char *path)
{
  CLEANUP_FCLOSE FILE *fp = fopen ("/proc/self/mountinfo", "re");
  CLEANUP_FREE char *line = NULL;
  enum mounted found = NOT_MOUNTED;
  char source[64];
  size_t alloc = 0;

  source_name (s, source);
  while (fp && getline (&line, &alloc, fp) != -1) {
    const char *p = line, *end;
    unsigned field;

    for (field = 1; field < 5 && p; field++)
      if ((p = strchr (p, ' ')) != NULL)
        p++;
    end = p ? strchr (p, ' ') : NULL;
    if (end && same_path (p, end - p, path))
      found = strstr (end, source) ? MOUNTED_BY_US : MOUNTED_BY_OTHERS;
  }
  return found;
}

/* A file to mount over: a new one, or an empty one that nobody uses. */
static int
make_place (const struct lm_session *s, const char *path,
            struct lm_error *err)
{
  CLEANUP_CLOSE int fd = open (path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC,
                               0600);
  int why = errno;
  struct stat st;

  if (fd >= 0)
    return 0;
  if (why == EEXIST && lstat (path, &st) == 0 && S_ISREG (st.st_mode) &&
      st.st_size == 0 && who_mounted (s, path) == NOT_MOUNTED)
    return 0;
  return lm_error_errno (err, why, "--fuse: %s", path);
}

static int
mount_disk (const struct lm_session *s, size_t i, const char *path,
            struct lm_error *err)
{
  CLEANUP_FREE char *uri = lm_session_uri (s, s->disks[i].name, err);
  CLEANUP_FREE char *log_path = lm_session_path (s, "fuse.log", err);
  char option[80] = "fsname=";
  const char *argv[] = { "nbdfuse", "-C", "4", "-o", option, path, uri, NULL,
                         NULL };
  struct lm_spawn spawn = { .argv = argv, .folder = "/",
                            .log_path = log_path, .umask = 077,
                            .detach = true };
  struct lm_process process;
  struct lm_process_end end;
  uint64_t start = lm_clock_monotonic (), log_from;
  bool ended;

  if (uri == NULL || log_path == NULL || make_place (s, path, err) == -1)
    return -1;
  source_name (s, option + strlen (option));
  if (s->read_only) {
    argv[5] = "-r";
    argv[6] = path;
    argv[7] = uri;
  }
  log_from = lm_process_log_size (log_path);
  if (lm_process_spawn (&spawn, &process, err) == -1) {
    if (err->kind == LM_ERR_NOT_FOUND)
      lm_error_hint (err, "install the package libnbd-bin");
    return -1;
  }
  while (who_mounted (s, path) != MOUNTED_BY_US) {
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

/* Root, who can mount without fusermount3, can unmount without it. */
static int
unmount (const char *path, struct lm_error *err)
{
  const char *argv[] = { "fusermount3", "-u", path, NULL };
  CLEANUP_FREE char *text = NULL;
  int code;

  if (umount2 (path, UMOUNT_NOFOLLOW) == 0)
    return 0;
  if (errno == EBUSY) {
    lm_error_errno (err, errno, "unmount %s", path);
    err->kind = LM_ERR_LOCKED;
  }
  else {
    if (lm_capture (argv, 30000, &text, &code, err) == -1)
      return -1;
    if (code == 0)
      return 0;
    text[strcspn (text, "\n")] = '\0';
    lm_error_set (err, strstr (text, "busy") ? LM_ERR_LOCKED : LM_ERR_IO,
                  "unmount %s: %s", path, text);
  }
  return lm_error_hint (err, "close what uses it: 'fuser -vm %.200s' says "
                        "which program that is", path);
}

static int
unmount_disk (const struct lm_session *s, const char *path,
              struct lm_error *err)
{
  unsigned tries;

  if (unmount (path, err) == -1)
    return -1;
  /* The last writes go through nbdfuse after that; it ends when they
   * are done, and the mount is gone when it says so. */
  for (tries = 0; tries < 500; tries++) {
    if (who_mounted (s, path) != MOUNTED_BY_US)
      break;
    usleep (10000);
  }
  return 0;
}

int
lm_session_fuse_stop (const struct lm_session *s, struct lm_error *err)
{
  size_t i;

  for (i = 0; s->fuse && i < s->nr_disks; i++) {
    CLEANUP_FREE char *path = file_path (s, i, err);
    struct stat st;

    if (path == NULL)
      return -1;
    if (who_mounted (s, path) != MOUNTED_BY_US)
      continue;
    if (unmount_disk (s, path, err) == -1)
      return -1;
    if (lstat (path, &st) == 0 && S_ISREG (st.st_mode) && st.st_size == 0)
      unlink (path);
  }
  return 0;
}
