/* SPDX-License-Identifier: Apache-2.0
 *
 * A qemu-nbd process that serves one image to us alone.
 *
 * It is handed a listening socket in the way of systemd's socket
 * activation.  We connect to that before it starts, and remove the name
 * of the socket: so nobody else can connect, nothing is left in /tmp
 * whatever happens, and because qemu-nbd ends when its only client goes
 * away, it ends with us.  (A parent-death signal was rejected: it comes
 * when the thread that started the process ends.)
 */
#include <config.h>

#include "formats/qemu-nbd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/banned.h"

#define END_MS 2000

/* LISTEN_PID must be the process's own id, which exec keeps.  A hostile
 * image must not take all memory, nor leave a core. */
#define SCRIPT \
  "ulimit -c 0; ulimit -v 8388608; " \
  "LISTEN_PID=$$ LISTEN_FDS=1; export LISTEN_PID LISTEN_FDS; exec \"$@\""

/* A listening socket and a connection to it, known to nobody else. */
static int
make_sockets (int *ret_listener, int *ret_client, struct lm_error *err)
{
  CLEANUP_CLOSE int listener = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC,
                                       0);
  CLEANUP_CLOSE int client = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_un addr = { .sun_family = AF_UNIX };
  char dir[sizeof addr.sun_path - 8];
  const char *tmp = getenv ("TMPDIR") ? : "/tmp";
  int r, errnum;

  if (listener == -1 || client == -1)
    return lm_error_errno (err, errno, "socket");
  r = snprintf (dir, sizeof dir, "%s/livemount.XXXXXX", tmp);
  if (r < 0 || (size_t) r >= sizeof dir)
    snprintf (dir, sizeof dir, "/tmp/livemount.XXXXXX");
  if (mkdtemp (dir) == NULL)            /* mode 0700 */
    return lm_error_errno (err, errno, "%s: make folder", dir);
  snprintf (addr.sun_path, sizeof addr.sun_path, "%s/nbd", dir);
  r = bind (listener, (struct sockaddr *) &addr, sizeof addr);
  if (r == 0)
    r = listen (listener, 1);
  if (r == 0)
    r = connect (client, (struct sockaddr *) &addr, sizeof addr);
  errnum = errno;
  unlink (addr.sun_path);
  rmdir (dir);
  if (r == -1)
    return lm_error_errno (err, errnum, "%s: socket", addr.sun_path);
  *ret_listener = lm_steal_fd (listener);
  *ret_client = lm_steal_fd (client);
  return 0;
}

/* Put the last line that it said into the message. */
static void
explain (struct lm_qemu_nbd *q, const char *name, struct lm_error *err)
{
  struct lm_error unused = LM_ERROR_INIT;
  struct lm_process_end end;
  char log[4096], *line;
  bool ended;
  ssize_t n;

  /* What it has to say comes before its end. */
  lm_process_wait (&q->process, END_MS, &ended, &end, &unused);
  n = pread (q->log_fd, log, sizeof log - 1, 0);
  while (n > 0 && (log[n - 1] == '\n' || log[n - 1] == '\r'))
    n--;
  if (n <= 0)
    return;
  log[n] = '\0';
  line = strrchr (log, '\n');
  line = line ? line + 1 : log;
  /* "qemu-nbd: Failed to blk_new_open 'json:{…}': reason" */
  if (strstr (line, "}': "))
    line = strstr (line, "}': ") + 4;
  lm_error_set (err, LM_ERR_IO, "%s: qemu-nbd: %s", name, line);
  if (strstr (line, "lock"))
    err->kind = LM_ERR_LOCKED;
}

struct lm_nbd_client *
lm_qemu_nbd_start (struct lm_qemu_nbd *q, const char *spec,
                   const char *name, struct lm_error *err)
{
  CLEANUP_FREE char *program = lm_program_find ("qemu-nbd", err);
  CLEANUP_FREE char *spec_arg = NULL;
  CLEANUP_CLOSE int listener = -1;
  CLEANUP_CLOSE int client = -1;
  struct lm_nbd_client *c;

  if (program == NULL) {
    lm_error_hint (err, "install the package qemu-utils");
    return NULL;
  }
  if (asprintf (&spec_arg, "json:%s", spec) == -1) {
    spec_arg = NULL;
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  q->log_fd = memfd_create ("qemu-nbd", MFD_CLOEXEC);
  if (q->log_fd == -1) {
    lm_error_errno (err, errno, "memfd_create");
    return NULL;
  }
  if (make_sockets (&listener, &client, err) == -1)
    return NULL;

  const char *const argv[] = {
    "/bin/sh", "-c", SCRIPT, "qemu-nbd",
    program, "--read-only", "--shared=1", spec_arg, NULL,
  };
  const struct lm_spawn_fd fds[] = {
    { q->log_fd, 1 }, { q->log_fd, 2 }, { listener, 3 },
  };
  const struct lm_spawn spawn = {
    .argv = argv, .fds = fds, .nr_fds = 3, .folder = "/", .detach = true,
  };

  if (lm_process_spawn (&spawn, &q->process, err) == -1)
    return NULL;
  close (lm_steal_fd (listener));
  c = lm_nbd_client_attach (lm_steal_fd (client), name, 0, err);
  if (c == NULL)
    explain (q, name, err);
  return c;
}

void
lm_qemu_nbd_release (struct lm_qemu_nbd *q)
{
  struct lm_error unused = LM_ERROR_INIT;
  struct lm_process_end end;
  bool ended = false;

  if (q->process.pid != 0) {
    lm_process_wait (&q->process, END_MS, &ended, &end, &unused);
    if (!ended)
      lm_process_stop (&q->process, END_MS, &unused);
  }
  if (q->log_fd != -1)
    close (q->log_fd);
  *q = (struct lm_qemu_nbd) LM_QEMU_NBD_INIT;
}
