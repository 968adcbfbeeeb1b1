/* SPDX-License-Identifier: Apache-2.0
 * Output of helper programs; see capture.h.  It goes to a memory file, so
 * a program that prints much and one that prints nothing are alike.
 */
#include <config.h>

#include "mount/capture.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "common/process.h"
#include "common/banned.h"

#define TEXT_MAX (1 << 20)

int
lm_capture (const char *const *argv, int timeout_ms, char **ret_text,
            int *ret_code, struct lm_error *err)
{
  CLEANUP_CLOSE int fd = memfd_create ("output", MFD_CLOEXEC);
  const struct lm_spawn_fd fds[] = { { fd, 1 }, { fd, 2 } };
  const struct lm_spawn spawn = { .argv = argv, .fds = fds, .nr_fds = 2 };
  struct lm_process process;
  struct lm_process_end end;
  CLEANUP_FREE char *text = NULL;
  struct stat st;
  bool ended;

  if (fd == -1)
    return lm_error_errno (err, errno, "memfd_create");
  if (lm_process_spawn (&spawn, &process, err) == -1 ||
      lm_process_wait (&process, timeout_ms, &ended, &end, err) == -1)
    return -1;
  if (!ended) {
    if (lm_process_stop (&process, 0, err) == -1)
      return -1;
    return lm_error_set (err, LM_ERR_IO, "%s did not end within %d s",
                         argv[0], timeout_ms / 1000);
  }
  if (fstat (fd, &st) == -1)
    return lm_error_errno (err, errno, "output of %s", argv[0]);
  if (st.st_size > TEXT_MAX)
    st.st_size = TEXT_MAX;
  text = calloc (1, st.st_size + 1);
  if (text == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  if (lm_pread_full (fd, text, st.st_size, 0, "output", err) == -1)
    return -1;
  *ret_code = end.known ? end.exit_code : -1;
  *ret_text = lm_steal (text);
  return 0;
}
