/* SPDX-License-Identifier: Apache-2.0
 * A QMP client; see qmp.h.
 */
#include <config.h>

#include "hypervisor-glue/qmp.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/random.h"
#include "hypervisor-glue/nbd-uri.h"
#include "common/banned.h"

struct lm_qmp {
  int fd;
  char *what;
  struct lm_buffer in;          /* bytes not yet made into messages */
  size_t scanned;               /* of them, known to hold no newline */
  json_t *events[LM_QMP_EVENTS_MAX];    /* a ring */
  size_t first_event, nr_events;
  uint64_t next_id;
  bool broken;                  /* no message boundary to go on from */
};

static uint64_t
deadline_of (int64_t timeout_ms)
{
  if (timeout_ms < 0)
    return UINT64_MAX;
  return lm_clock_monotonic () + (uint64_t) timeout_ms * 1000000;
}

/* 1 when FD is ready for EVENTS, 0 when the deadline is over. */
static int
wait_fd (int fd, short events, uint64_t deadline)
{
  for (;;) {
    struct pollfd pfd = { .fd = fd, .events = events };
    uint64_t now = lm_clock_monotonic ();
    int left = -1, r;

    if (deadline != UINT64_MAX) {
      uint64_t ms = deadline > now ? (deadline - now + 999999) / 1000000
                                   : 0;

      left = ms > INT_MAX ? INT_MAX : (int) ms;
    }
    r = poll (&pfd, 1, left);
    if (r > 0)
      return 1;
    if (r == 0 && left != INT_MAX)
      return 0;
    if (r == -1 && errno != EINTR)
      return 0;
  }
}

static int
break_off (struct lm_qmp *qmp)
{
  qmp->broken = true;
  return -1;
}

static int
send_all (struct lm_qmp *qmp, const char *data, size_t len,
          uint64_t deadline, struct lm_error *err)
{
  while (len > 0) {
    ssize_t r = send (qmp->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (r > 0) {
      data += r;
      len -= (size_t) r;
      continue;
    }
    if (errno == EINTR)
      continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) {
      lm_error_errno (err, errno, "%s: send", qmp->what);
      return break_off (qmp);
    }
    if (!wait_fd (qmp->fd, POLLOUT, deadline)) {
      lm_error_set (err, LM_ERR_IO, "%s: does not take commands", qmp->what);
      return break_off (qmp);   /* half a command may be out */
    }
  }
  return 0;
}

/* Take one complete message out of the buffer: 1, or 0 if there is none
 * yet, or -1. */
static int
take_message (struct lm_qmp *qmp, json_t **ret_message, struct lm_error *err)
{
  for (;;) {
    uint8_t *newline = NULL;
    size_t len;

    if (qmp->in.len > qmp->scanned)
      newline = memchr (qmp->in.data + qmp->scanned, '\n',
                        qmp->in.len - qmp->scanned);
    if (newline == NULL) {
      qmp->scanned = qmp->in.len;
      if (qmp->in.len <= LM_QMP_MESSAGE_MAX)
        return 0;
      lm_corrupt (err, "%s: a message of more than %d bytes", qmp->what,
                  LM_QMP_MESSAGE_MAX);
      return break_off (qmp);
    }
    len = (size_t) (newline - qmp->in.data);
    /* Empty lines mean nothing. */
    if (len > 0 && !(len == 1 && qmp->in.data[0] == '\r')) {
      *ret_message = lm_json_parse (qmp->in.data, len, qmp->what, err);
      if (*ret_message == NULL)
        return break_off (qmp);
      lm_debug (LM_DEBUG_MACHINE, "%s > %.*s", qmp->what,
                (int) (len > 500 ? 500 : len), (char *) qmp->in.data);
    }
    qmp->in.len -= len + 1;
    memmove (qmp->in.data, newline + 1, qmp->in.len);
    qmp->scanned = 0;
    if (*ret_message)
      return 1;
  }
}

/* The next message: 1, or 0 at the deadline, or -1.  The deadline holds
 * also against a peer that never stops sending. */
static int
receive (struct lm_qmp *qmp, uint64_t deadline, json_t **ret_message,
         struct lm_error *err)
{
  bool late = false;

  *ret_message = NULL;
  for (;;) {
    int r = take_message (qmp, ret_message, err);
    ssize_t n;

    if (r != 0)
      return r;
    if (late || !wait_fd (qmp->fd, POLLIN, deadline))
      return 0;
    if (lm_buffer_reserve (&qmp->in, 16384, err) == -1)
      return break_off (qmp);
    n = recv (qmp->fd, qmp->in.data + qmp->in.len, 16384, MSG_DONTWAIT);
    if (n == -1 && (errno == EINTR || errno == EAGAIN))
      continue;
    if (n <= 0) {
      if (n == 0 || errno == ECONNRESET)
        lm_error_set (err, LM_ERR_IO, "%s: the hypervisor closed the "
                      "connection", qmp->what);
      else
        lm_error_errno (err, errno, "%s: receive", qmp->what);
      return break_off (qmp);
    }
    qmp->in.len += (size_t) n;
    late = lm_clock_monotonic () >= deadline;
  }
}

/* Takes over the reference. */
static void
keep_event (struct lm_qmp *qmp, json_t *event)
{
  if (qmp->nr_events == LM_QMP_EVENTS_MAX) {
    json_decref (qmp->events[qmp->first_event]);
    qmp->first_event = (qmp->first_event + 1) % LM_QMP_EVENTS_MAX;
    qmp->nr_events--;
  }
  qmp->events[(qmp->first_event + qmp->nr_events) % LM_QMP_EVENTS_MAX] =
    event;
  qmp->nr_events++;
}

static int
refuse_broken (struct lm_qmp *qmp, struct lm_error *err)
{
  if (!qmp->broken)
    return 0;
  return lm_error_set (err, LM_ERR_IO, "%s: the connection has failed "
                       "before", qmp->what);
}

static int
check_refusal (struct lm_qmp *qmp, const char *command,
               const json_t *reply, struct lm_error *err)
{
  json_t *error = json_object_get (reply, "error");
  const char *class, *desc;

  if (error == NULL)
    return 0;
  class = lm_json_string_or_null (error, "class");
  desc = lm_json_string_or_null (error, "desc");
  return lm_error_set (err,
                       class && strcmp (class, "CommandNotFound") == 0
                       ? LM_ERR_UNSUPPORTED : LM_ERR_IO,
                       "%s: %s: %s", qmp->what, command,
                       desc ? : "refused without a reason");
}

json_t *
lm_qmp_command (struct lm_qmp *qmp, const char *command, json_t *arguments,
                int64_t timeout_ms, struct lm_error *err)
{
  CLEANUP_JSON json_t *args = arguments;
  CLEANUP_JSON json_t *request = NULL;
  CLEANUP_FREE char *text = NULL;
  uint64_t deadline = deadline_of (timeout_ms);
  uint64_t id = qmp->next_id++;
  size_t len;

  if (refuse_broken (qmp, err) == -1)
    return NULL;
  request = json_pack ("{s:s, s:I, s:O*}", "execute", command, "id",
                       (json_int_t) id, "arguments", args);
  if (request == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  text = lm_json_dump (request, &len, err);
  if (text == NULL)
    return NULL;
  lm_debug (LM_DEBUG_MACHINE, "%s < %s", qmp->what, text);
  if (send_all (qmp, text, len, deadline, err) == -1 ||
      send_all (qmp, "\n", 1, deadline, err) == -1)
    return NULL;

  for (;;) {
    CLEANUP_JSON json_t *message = NULL;
    json_t *value, *reply_id;
    int r = receive (qmp, deadline, &message, err);

    if (r == -1)
      return NULL;
    if (r == 0 || lm_clock_monotonic () > deadline) {
      lm_error_set (err, LM_ERR_IO, "%s: no answer to %s within %" PRId64
                    " ms", qmp->what, command, timeout_ms);
      return NULL;
    }
    if (json_object_get (message, "event")) {
      keep_event (qmp, lm_steal (message));
      continue;
    }
    reply_id = json_object_get (message, "id");
    /* An error without an id answers what could not even be parsed. */
    if (reply_id == NULL ? json_object_get (message, "error") == NULL
        : !json_is_integer (reply_id) ||
          json_integer_value (reply_id) != (json_int_t) id)
      continue;                 /* to an earlier, given-up command */
    if (check_refusal (qmp, command, message, err) == -1)
      return NULL;
    value = json_object_get (message, "return");
    if (value == NULL) {
      lm_corrupt (err, "%s: the answer to %s has neither a return value nor "
                  "an error", qmp->what, command);
      return NULL;
    }
    return json_incref (value);
  }
}

int
lm_qmp_next_event (struct lm_qmp *qmp, int64_t timeout_ms,
                   json_t **ret_event, struct lm_error *err)
{
  uint64_t deadline = deadline_of (timeout_ms);

  while (qmp->nr_events == 0) {
    CLEANUP_JSON json_t *message = NULL;
    int r;

    if (refuse_broken (qmp, err) == -1)
      return -1;
    r = receive (qmp, deadline, &message, err);
    if (r == -1)
      return -1;
    if (r == 1 && json_object_get (message, "event"))
      keep_event (qmp, lm_steal (message));
    else if (r == 0 || lm_clock_monotonic () > deadline) {
      *ret_event = NULL;
      return 0;
    }
  }
  *ret_event = lm_steal (qmp->events[qmp->first_event]);
  qmp->first_event = (qmp->first_event + 1) % LM_QMP_EVENTS_MAX;
  qmp->nr_events--;
  return 0;
}

/* The greeting is {"QMP":{…}}; then qmp_capabilities ends negotiation. */
static int
negotiate (struct lm_qmp *qmp, int64_t timeout_ms, struct lm_error *err)
{
  CLEANUP_JSON json_t *greeting = NULL;
  CLEANUP_JSON json_t *done = NULL;
  int r = receive (qmp, deadline_of (timeout_ms), &greeting, err);

  if (r == -1)
    return -1;
  if (r == 0)
    return lm_error_set (err, LM_ERR_LOCKED, "%s: no greeting within %" PRId64
                         " ms: another program is connected to it, or the "
                         "hypervisor hangs", qmp->what, timeout_ms);
  if (!json_is_object (json_object_get (greeting, "QMP")))
    return lm_corrupt (err, "%s: what answers does not speak QMP",
                       qmp->what);
  done = lm_qmp_command (qmp, "qmp_capabilities", NULL, timeout_ms, err);
  return done ? 0 : -1;
}

struct lm_qmp *
lm_qmp_from_fd (int fd_, const char *what, int64_t timeout_ms,
                struct lm_error *err)
{
  CLEANUP_CLOSE int fd = fd_;
  CLEANUP_QMP struct lm_qmp *qmp = calloc (1, sizeof *qmp);

  if (qmp == NULL || (qmp->what = strdup (what)) == NULL) {
    if (qmp)
      qmp->fd = -1;
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  qmp->fd = lm_steal_fd (fd);
  qmp->next_id = 1;
  if (negotiate (qmp, timeout_ms, err) == -1)
    return NULL;
  return lm_steal (qmp);
}

struct lm_qmp *
lm_qmp_connect (const char *path, int64_t timeout_ms, struct lm_error *err)
{
  CLEANUP_CLOSE int fd = -1;
  struct sockaddr_un addr = { .sun_family = AF_UNIX };
  uint64_t deadline = deadline_of (timeout_ms);

  if (lm_socket_path_check (path, "QMP", err) == -1)
    return NULL;
  memcpy (addr.sun_path, path, strlen (path));
  fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd == -1) {
    lm_error_errno (err, errno, "%s: socket", path);
    return NULL;
  }
  while (connect (fd, (struct sockaddr *) &addr, sizeof addr) == -1) {
    if (errno == EINTR)
      continue;
    if (errno == ECONNREFUSED || errno == ENOENT) {
      lm_error_set (err, LM_ERR_NOT_FOUND, "%s: nobody listens", path);
      return NULL;
    }
    /* EAGAIN: the queue of clients is full. */
    if (errno != EAGAIN) {
      lm_error_errno (err, errno, "%s: connect", path);
      return NULL;
    }
    if (lm_clock_monotonic () > deadline) {
      lm_error_set (err, LM_ERR_LOCKED, "%s: other programs are connected "
                    "to it", path);
      return NULL;
    }
    usleep (10000);
  }
  return lm_qmp_from_fd (lm_steal_fd (fd), path, timeout_ms, err);
}

void
lm_qmp_free (struct lm_qmp *qmp)
{
  size_t i;

  if (qmp == NULL)
    return;
  for (i = 0; i < qmp->nr_events; i++)
    json_decref (qmp->events[(qmp->first_event + i) % LM_QMP_EVENTS_MAX]);
  lm_buffer_release (&qmp->in);
  if (qmp->fd >= 0)
    close (qmp->fd);
  free (qmp->what);
  free (qmp);
}
