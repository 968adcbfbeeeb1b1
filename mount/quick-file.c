/* SPDX-License-Identifier: Apache-2.0
 * Small files; see quick-file.h.  (lm_file_replace syncs twice, and a mount
 * is judged by its milliseconds.)
 */
#include <config.h>

#include "mount/quick-file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "common/banned.h"

int
lm_quick_file_json (int dirfd, const char *path, const json_t *value,
                    struct lm_error *err)
{
  CLEANUP_FREE char *text = NULL, *temporary = NULL;
  CLEANUP_CLOSE int fd = -1;
  size_t len;

  text = lm_json_dump (value, &len, err);
  if (text == NULL)
    return -1;
  if (asprintf (&temporary, "%s.tmp", path) == -1) {
    temporary = NULL;
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  }
  fd = openat (dirfd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC |
               O_NOFOLLOW, 0600);
  if (fd == -1)
    return lm_error_errno (err, errno, "%s", temporary);
  if (lm_pwrite_full (fd, text, len, 0, path, err) == -1)
    return -1;
  if (renameat (dirfd, temporary, dirfd, path) == -1)
    return lm_error_errno (err, errno, "%s", path);
  return 0;
}
