/* SPDX-License-Identifier: Apache-2.0
 * A real NBD server for a test; see nbdkit.h.
 */
#include <config.h>

#include "tests/support/nbdkit.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "common/cleanup.h"
#include "tests/support/scratch.h"
#include "common/banned.h"

#define MAX_ARGS 30

/* __SO_ACCEPTCON, as /proc/net/unix shows it. */
#define LISTENING 0x10000

/* Does somebody listen there?  The kernel is asked: a connection could be
 * the only one that the server accepts, and between bind, which makes the
 * name, and listen there is a moment. */
static bool
is_there (const char *path)
{
  CLEANUP_FCLOSE FILE *fp = fopen ("/proc/net/unix", "re");
  CLEANUP_FREE char *line = NULL;
  size_t alloc = 0;

  while (fp && getline (&line, &alloc, fp) != -1) {
    unsigned long flags = 0;
    char *name = strchr (line, '/');

    line[strcspn (line, "\n")] = '\0';
    if (name && strcmp (name, path) == 0 &&
        sscanf (line, "%*s %*s %*s %lx", &flags) == 1 &&
        (flags & LISTENING))
      return true;
  }
  return false;
}

void
nbd_process_start (struct nbd_process *p, const char *const *argv)
{
  static unsigned count;
  CLEANUP_FREE char *path = lm_scratch_path ("nbd%u", count++);
  const char *args[MAX_ARGS + 1] = { NULL };
  int i, status;

  for (i = 0; i < MAX_ARGS && argv[i]; i++)
    args[i] = strcmp (argv[i], "SOCKET") == 0 ? path : argv[i];
  p->pid = fork ();
  if (p->pid == -1)
    abort ();
  if (p->pid == 0) {
    prctl (PR_SET_PDEATHSIG, SIGKILL);
    execvp (args[0], (char **) args);
    _exit (127);
  }
  if (asprintf (&p->uri, "nbd+unix:///?socket=%s", path) == -1)
    abort ();
  for (i = 0; i < 6000 && !is_there (path); i++) {
    if (waitpid (p->pid, &status, WNOHANG) == p->pid) {
      if (WIFEXITED (status) && WEXITSTATUS (status) == 127)
        cr_skip_test ("%s is not installed", argv[0]);
      cr_assert_fail ("%s ended at once", argv[0]);
    }
    usleep (10000);
  }
}

void
nbd_process_stop (struct nbd_process *p)
{
  if (p->pid > 0) {
    kill (p->pid, SIGKILL);
    waitpid (p->pid, NULL, 0);
  }
  p->pid = 0;
  free (p->uri);
  p->uri = NULL;
}
