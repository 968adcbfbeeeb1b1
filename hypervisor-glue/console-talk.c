/* SPDX-License-Identifier: Apache-2.0
 * Talking to a machine over its serial port; see console-talk.h.
 *
 * QEMU serves one client of the port at a time and lets a second one wait
 * in silence.  A lock file beside the socket turns that silence into a
 * message.
 */
#include <config.h>

#include "hypervisor-glue/console-talk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/random.h"
#include "hypervisor-glue/nbd-uri.h"
#include "common/banned.h"

/* Input that is at its end: how long the guest's answers to it are still
 * shown, and how long a guest may take to read it. */
#define QUIET_NS UINT64_C (500000000)
#define DRAIN_NS UINT64_C (10000000000)

static int
take_lock (const char *socket_path, struct lm_error *err)
{
  CLEANUP_FREE char *path = NULL;
  CLEANUP_CLOSE int fd = -1;

  if (asprintf (&path, "%s.lock", socket_path) == -1) {
    path = NULL;
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  }
  fd = open (path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd == -1)
    return lm_error_errno (err, errno, "%s", path);
  if (flock (fd, LOCK_EX | LOCK_NB) == -1)
    return lm_error_set (err, LM_ERR_LOCKED, "another console is connected "
                         "to this machine");
  return lm_steal_fd (fd);
}

static int
connect_port (const char *path, struct lm_error *err)
{
  CLEANUP_CLOSE int fd = -1;
  struct sockaddr_un addr = { .sun_family = AF_UNIX };

  if (lm_socket_path_check (path, "serial port", err) == -1)
    return -1;
  memcpy (addr.sun_path, path, strlen (path));
  fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd == -1)
    return lm_error_errno (err, errno, "%s: socket", path);
  if (TEMP_FAILURE_RETRY (connect (fd, (struct sockaddr *) &addr,
                                   sizeof addr)) == -1) {
    if (errno == ENOENT || errno == ECONNREFUSED)
      return lm_error_set (err, LM_ERR_NOT_FOUND, "%s: no machine is "
                           "behind this serial port", path);
    return lm_error_errno (err, errno, "%s: connect", path);
  }
  return lm_steal_fd (fd);
}

struct relay {
  const struct lm_console_talk *talk;
  int port;
  bool terminal;
  bool input_over;
  char pending[4096];           /* read from in_fd, not yet taken */
  size_t start, end;
  uint64_t last_activity;
  uint64_t over_since;
};

static int
write_out (int fd, const char *data, size_t len, struct lm_error *err)
{
  while (len > 0) {
    ssize_t n = write (fd, data, len);

    if (n == -1 && errno == EAGAIN) {
      struct pollfd pfd = { .fd = fd, .events = POLLOUT };

      poll (&pfd, 1, 1000);
      continue;
    }
    if (n == -1 && errno == EINTR)
      continue;
    if (n == -1)
      return lm_error_errno (err, errno, "console: write to the output");
    data += n;
    len -= (size_t) n;
  }
  return 0;
}

/* Port to output: 1 when the machine closed it. */
static int
relay_output (struct relay *r, struct lm_error *err)
{
  char buf[4096];
  ssize_t n = recv (r->port, buf, sizeof buf, MSG_DONTWAIT);

  if (n == -1 && (errno == EAGAIN || errno == EINTR))
    return 0;
  if (n <= 0)
    return 1;
  r->last_activity = lm_clock_monotonic ();
  return write_out (r->talk->out_fd, buf, (size_t) n, err);
}

/* Input to the buffer: 1 when the escape key was pressed.  What was typed
 * before it in the same read still goes out. */
static int
read_input (struct relay *r, struct lm_error *err)
{
  char *escape = NULL;
  ssize_t n = read (r->talk->in_fd, r->pending, sizeof r->pending);

  if (n == -1 && (errno == EINTR || errno == EAGAIN))
    return 0;
  if (n == -1 && errno != EIO)  /* EIO: the terminal hung up */
    return lm_error_errno (err, errno, "console: read the input");
  if (n <= 0) {
    r->input_over = true;
    r->over_since = r->last_activity = lm_clock_monotonic ();
    return 0;
  }
  if (r->terminal)
    escape = memchr (r->pending, LM_CONSOLE_ESCAPE, (size_t) n);
  r->start = 0;
  r->end = escape ? (size_t) (escape - r->pending) : (size_t) n;
  return escape != NULL;
}

static int
send_pending (struct relay *r)
{
  ssize_t n = send (r->port, r->pending + r->start, r->end - r->start,
                    MSG_DONTWAIT | MSG_NOSIGNAL);

  if (n > 0)
    r->start += (size_t) n;
  return n == -1 && errno != EAGAIN && errno != EINTR ? 1 : 0;
}

/* Did the machine take everything, and has it fallen silent?  Closing the
 * socket earlier would drop what is still in it. */
static bool
input_is_delivered (const struct relay *r)
{
  uint64_t now = lm_clock_monotonic ();
  int queued = 0;

  if (!r->input_over || r->start != r->end)
    return false;
  if (now - r->over_since > DRAIN_NS)
    return true;
  if (ioctl (r->port, SIOCOUTQ, &queued) == 0 && queued > 0)
    return false;
  return now - r->last_activity > QUIET_NS;
}

static int
relay_loop (struct relay *r, enum lm_console_end *ret_end,
            struct lm_error *err)
{
  for (;;) {
    bool busy = r->start != r->end;
    struct pollfd pfd[2] = {
      { .fd = r->port, .events = (short) (POLLIN | (busy ? POLLOUT : 0)) },
      { .fd = busy || r->input_over ? -1 : r->talk->in_fd,
        .events = POLLIN },
    };
    int status;

    if (r->talk->cancel && *r->talk->cancel)
      return lm_error_set (err, LM_ERR_INTERRUPTED, "console: interrupted");
    if (input_is_delivered (r)) {
      *ret_end = LM_CONSOLE_INPUT_ENDED;
      return 0;
    }
    if (poll (pfd, 2, 100) == -1 && errno != EINTR)
      return lm_error_errno (err, errno, "console: poll");
    if (pfd[0].revents & (POLLIN | POLLHUP | POLLERR)) {
      status = relay_output (r, err);
      if (status != 0) {
        *ret_end = LM_CONSOLE_CLOSED;
        return status == -1 ? -1 : 0;
      }
    }
    if ((pfd[0].revents & POLLOUT) && send_pending (r) != 0) {
      *ret_end = LM_CONSOLE_CLOSED;
      return 0;
    }
    if (pfd[1].revents) {
      status = read_input (r, err);
      if (status == -1)
        return -1;
      if (status == 1) {
        send_pending (r);
        *ret_end = LM_CONSOLE_DETACHED;
        return 0;
      }
    }
  }
}

int
lm_console_talk (const struct lm_console_talk *talk,
                 enum lm_console_end *ret_end, struct lm_error *err)
{
  CLEANUP_CLOSE int lock = -1;
  CLEANUP_CLOSE int port = -1;
  struct termios before, raw;
  struct relay relay = { .talk = talk };
  int r;

  port = connect_port (talk->socket_path, err);
  if (port == -1)
    return -1;
  lock = take_lock (talk->socket_path, err);
  if (lock == -1)
    return -1;
  relay.port = port;
  relay.terminal = tcgetattr (talk->in_fd, &before) == 0;
  if (relay.terminal) {
    raw = before;
    cfmakeraw (&raw);
    if (tcsetattr (talk->in_fd, TCSADRAIN, &raw) == -1)
      return lm_error_errno (err, errno, "console: set up the terminal");
  }
  r = relay_loop (&relay, ret_end, err);
  if (relay.terminal)
    tcsetattr (talk->in_fd, TCSADRAIN, &before);
  return r;
}
