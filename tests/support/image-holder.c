/* SPDX-License-Identifier: Apache-2.0
 * A process that holds a disk image open; see image-holder.h.
 */
#include <config.h>

#include "tests/support/image-holder.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

#include "common/banned.h"

bool
lm_image_holder_start (struct lm_image_holder *h, const char *path,
                       const char *format, bool read_only)
{
  const char *argv[] = {
    "qemu-io", "-f", format, path, read_only ? "-r" : NULL, NULL,
  };
  int in[2], out[2];
  char buf[4096];
  size_t len = 0;

  if (pipe2 (in, O_CLOEXEC) == -1 || pipe2 (out, O_CLOEXEC) == -1)
    abort ();
  h->pid = fork ();
  if (h->pid == -1)
    abort ();
  if (h->pid == 0) {
    int null = open ("/dev/null", O_WRONLY | O_CLOEXEC);

    prctl (PR_SET_PDEATHSIG, SIGKILL);
    dup2 (in[0], 0);
    dup2 (out[1], 1);
    dup2 (null, 2);
    execvp (argv[0], (char **) argv);
    _exit (127);
  }
  close (in[0]);
  close (out[1]);
  h->to = in[1];
  h->from = out[0];
  /* "length" answers with a number of bytes once the image is open. */
  signal (SIGPIPE, SIG_IGN);
  if (write (h->to, "length\n", 7) == 7)
    while (len < sizeof buf - 1) {
      ssize_t r = read (h->from, buf + len, sizeof buf - 1 - len);

      if (r <= 0)
        break;
      len += r;
      buf[len] = '\0';
      if (strstr (buf, "bytes") || strstr (buf, "KiB") ||
          strstr (buf, "MiB") || strstr (buf, "GiB"))
        return true;
    }
  lm_image_holder_stop (h);
  return false;
}

void
lm_image_holder_stop (struct lm_image_holder *h)
{
  close (h->to);
  close (h->from);
  waitpid (h->pid, NULL, 0);
}
