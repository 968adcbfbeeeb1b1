/* SPDX-License-Identifier: Apache-2.0
 *
 * A connection to an NBD server, for any number of threads.
 *
 * There is no thread of our own: whoever waits for an answer and finds
 * nobody polling the socket polls it for all, until its own answer is
 * there, and then wakes the next.  With one thread that is as fast as a
 * blocking call; a thread of our own would cost two context switches per
 * request.  Several connections were rejected because a server may accept
 * only one (qemu-nbd's default) and let the second hang.
 *
 * Locks: libnbd's own lock is taken inside its calls, and our completion
 * callback runs under it.  So c->lock comes after libnbd's: never call
 * libnbd with c->lock held.
 */
#include <config.h>

#include "formats/nbd-client.h"

#include <errno.h>
#include <inttypes.h>
#include <libnbd.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "common/random.h"
#include "formats/nbd-client-internal.h"
#include "common/banned.h"

#define ALLOCATION LIBNBD_CONTEXT_BASE_ALLOCATION

/* The longest request that servers must support without being asked. */
#define DEFAULT_MAX_BLOCK (32u * 1024 * 1024)
#define DEFAULT_PREFERRED_BLOCK 65536u

/* A request may take so many time-outs in all, whatever trickles in. */
#define TIMEOUTS_PER_REQUEST 10

#define GOODBYE_MS 1000

/* Remember the first reason why the connection is of no use. */
static void
set_failure (struct lm_nbd_client *c, const char *why)
{
  LM_LOCK_FOR_SCOPE (&c->lock);
  if (c->failure[0] == '\0')
    snprintf (c->failure, sizeof c->failure, "%s", why);
}

static const char *
last_nbd_error (void)
{
  return nbd_get_error () ? : "unknown error";
}

static bool
is_over (struct lm_nbd_client *c)
{
  return nbd_aio_is_dead (c->nbd) || nbd_aio_is_closed (c->nbd);
}

/* Wait for the socket once and let libnbd do what can be done.  False when
 * nothing happened for TIMEOUT_MS. */
static bool
poll_once (struct lm_nbd_client *c, int timeout_ms)
{
  struct pollfd fds[2] = {
    { .fd = nbd_aio_get_fd (c->nbd) },
    { .fd = c->wake_fd, .events = POLLIN },
  };
  unsigned dir = nbd_aio_get_direction (c->nbd);
  eventfd_t unused;
  int r;

  if (dir & LIBNBD_AIO_DIRECTION_READ)
    fds[0].events |= POLLIN;
  if (dir & LIBNBD_AIO_DIRECTION_WRITE)
    fds[0].events |= POLLOUT;
  r = TEMP_FAILURE_RETRY (poll (fds, 2, timeout_ms));
  if (r == 0)
    return false;
  if (r == -1)
    return true;
  if (fds[1].revents)
    eventfd_read (c->wake_fd, &unused);

  dir = nbd_aio_get_direction (c->nbd);
  if ((fds[0].revents & (POLLIN | POLLHUP | POLLERR)) &&
      (dir & LIBNBD_AIO_DIRECTION_READ))
    r = nbd_aio_notify_read (c->nbd);
  else if ((fds[0].revents & (POLLOUT | POLLHUP | POLLERR)) &&
           (dir & LIBNBD_AIO_DIRECTION_WRITE))
    r = nbd_aio_notify_write (c->nbd);
  else if (fds[0].revents & POLLNVAL)
    r = -1;
  else
    r = 0;
  if (r == -1)
    set_failure (c, last_nbd_error ());
  return true;
}

/* Give up: libnbd then sees the end of the stream and aborts everything. */
static void
hang_up (struct lm_nbd_client *c, const char *why)
{
  int fd = nbd_aio_get_fd (c->nbd);

  set_failure (c, why);
  if (fd != -1)
    shutdown (fd, SHUT_RDWR);
}

/* Requests. */

static int
on_completion (void *opaque, int *error)
{
  struct request *req = opaque;
  struct lm_nbd_client *c = req->client;

  LM_LOCK_FOR_SCOPE (&c->lock);
  if (*error && req->error == 0)
    req->error = *error;
  if (--req->pending == 0)
    pthread_cond_signal (&req->wake);
  return 1;
}

void
lm_nbd_request_begin (struct lm_nbd_client *c, struct request *req,
                      unsigned patience)
{
  memset (req, 0, sizeof *req);
  req->client = c;
  req->pending = 1;             /* for as long as we submit */
  req->timeout_ms = c->timeout_ms * patience;
  req->deadline = lm_clock_monotonic () + (uint64_t) req->timeout_ms *
    TIMEOUTS_PER_REQUEST * 1000000;
  pthread_cond_init (&req->wake, NULL);

  LM_LOCK_FOR_SCOPE (&c->lock);
  req->next = c->requests;
  if (req->next)
    req->next->prev = req;
  c->requests = req;
}

nbd_completion_callback
lm_nbd_request_callback (struct request *req)
{
  struct lm_nbd_client *c = req->client;

  LM_LOCK_FOR_SCOPE (&c->lock);
  req->pending++;
  return (nbd_completion_callback) { on_completion, req, NULL };
}

void
lm_nbd_request_submitted (struct request *req, int64_t cookie)
{
  struct lm_nbd_client *c = req->client;
  bool wake;

  if (cookie == -1) {
    int errnum = nbd_get_errno () ? : EIO;

    if (is_over (c))
      set_failure (c, last_nbd_error ());
    on_completion (req, &errnum);
    /* It may have been this call that found the server dead, and ended
     * the requests of all: who polls must look, for the socket is gone
     * and will not wake it. */
    eventfd_write (c->wake_fd, 1);
    return;
  }
  pthread_mutex_lock (&c->lock);
  wake = c->polling;
  pthread_mutex_unlock (&c->lock);
  /* Who polls for reading only must learn that there is more to send. */
  if (wake &&
      (is_over (c) ||
       (nbd_aio_get_direction (c->nbd) & LIBNBD_AIO_DIRECTION_WRITE)))
    eventfd_write (c->wake_fd, 1);
}

/* Poll for everyone until REQ is done.  Called with c->lock held, which
 * is released in between. */
static void
lead_locked (struct lm_nbd_client *c, struct request *req)
{
  bool gave_up = false;

  c->polling = true;
  while (req->pending > 0) {
    bool moved;

    pthread_mutex_unlock (&c->lock);
    moved = poll_once (c, req->timeout_ms);
    if (!gave_up && (!moved || lm_clock_monotonic () > req->deadline)) {
      hang_up (c, "the server does not answer");
      gave_up = true;
    }
    pthread_mutex_lock (&c->lock);
    /* libnbd has called back for all of them before this. */
    if (gave_up && req->pending > 0 && is_over (c)) {
      req->pending = 0;
      req->error = ENOTCONN;
    }
  }
  c->polling = false;
}

int
lm_nbd_request_end (struct request *req, const char *what, uint64_t offset,
                    struct lm_error *err)
{
  struct lm_nbd_client *c = req->client;
  char failure[sizeof c->failure];
  struct request *next;

  pthread_mutex_lock (&c->lock);
  req->pending--;
  while (req->pending > 0) {
    if (c->polling)
      pthread_cond_wait (&req->wake, &c->lock);
    else
      lead_locked (c, req);
  }
  if (req->prev)
    req->prev->next = req->next;
  else
    c->requests = req->next;
  if (req->next)
    req->next->prev = req->prev;
  /* One of those who still wait has to lead now. */
  if (!c->polling)
    for (next = c->requests; next; next = next->next)
      if (next->pending > 0) {
        pthread_cond_signal (&next->wake);
        break;
      }
  memcpy (failure, c->failure, sizeof failure);
  pthread_mutex_unlock (&c->lock);
  pthread_cond_destroy (&req->wake);

  if (req->error == 0)
    return 0;
  if (failure[0])
    return lm_error_set_at (err, LM_ERR_IO, req->error, __FILE__, __LINE__,
                            "%s: %s at 0x%" PRIx64 ": connection lost: %s",
                            c->name, what, offset, failure);
  return lm_error_errno (err, req->error, "%s: %s at 0x%" PRIx64
                         ": the server says", c->name, what, offset);
}

/* Connecting. */

static int
fail_nbd (struct lm_nbd_client *c, struct lm_error *err)
{
  const char *why = c->failure[0] ? c->failure : last_nbd_error ();
  int errnum = nbd_get_errno ();

  return lm_error_set_at (err, LM_ERR_IO, errnum, __FILE__, __LINE__,
                          "%s: %s", c->name, why);
}

/* Until the handshake is over. */
static int
finish_connecting (struct lm_nbd_client *c, struct lm_error *err)
{
  uint64_t deadline = lm_clock_monotonic () +
    (uint64_t) c->timeout_ms * 1000000;

  while (nbd_aio_is_connecting (c->nbd)) {
    if (!poll_once (c, c->timeout_ms) || lm_clock_monotonic () > deadline)
      return lm_error_set (err, LM_ERR_IO,
                           "%s: the server does not answer", c->name);
  }
  if (!nbd_aio_is_ready (c->nbd))
    return fail_nbd (c, err);
  return 0;
}

static int
check_block_sizes (struct lm_nbd_client *c, struct lm_error *err)
{
  int64_t min = nbd_get_block_size (c->nbd, LIBNBD_SIZE_MINIMUM);
  int64_t preferred = nbd_get_block_size (c->nbd, LIBNBD_SIZE_PREFERRED);
  int64_t max = nbd_get_block_size (c->nbd, LIBNBD_SIZE_MAXIMUM);

  if (min < 0 || preferred < 0 || max < 0)
    return fail_nbd (c, err);
  if (min == 0)
    min = 1;
  if (max == 0 || max > DEFAULT_MAX_BLOCK)
    max = DEFAULT_MAX_BLOCK;
  if (!lm_is_power_of_2 (min) || min > 65536 || max < min)
    return lm_error_set (err, LM_ERR_UNSUPPORTED, "%s: the server wants "
                         "blocks of %" PRId64 " to %" PRId64 " bytes",
                         c->name, min, max);
  if (!lm_is_power_of_2 (preferred) || preferred < min || preferred > max)
    preferred = lm_max_u64 (min, lm_min_u64 (max, DEFAULT_PREFERRED_BLOCK));
  c->info.min_block = min;
  c->info.preferred_block = preferred;
  c->info.max_block = max / min * min;
  return 0;
}

static int
learn (struct lm_nbd_client *c, struct lm_error *err)
{
  int64_t size = nbd_get_size (c->nbd);

  if (size < 0)
    return lm_error_set (err, LM_ERR_IO, "%s: the server's size of the "
                         "disk is no size", c->name);
  c->info.size = size;
  if (check_block_sizes (c, err) == -1)
    return -1;
  c->info.read_only = nbd_is_read_only (c->nbd) != 0;
  c->info.can_extents = nbd_can_meta_context (c->nbd, ALLOCATION) == 1;
  c->info.can_zero = nbd_can_zero (c->nbd) == 1;
  c->info.can_flush = nbd_can_flush (c->nbd) == 1;
  return 0;
}

static struct lm_nbd_client *
client_new (const char *name, unsigned timeout_ms, struct lm_error *err)
{
  struct lm_nbd_client *c = calloc (1, sizeof *c);

  if (c == NULL || (c->name = strdup (name)) == NULL) {
    free (c);
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  pthread_mutex_init (&c->lock, NULL);
  pthread_mutex_init (&c->edge_lock, NULL);
  c->timeout_ms = timeout_ms ? timeout_ms : LM_NBD_TIMEOUT_MS;
  c->wake_fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  c->nbd = nbd_create ();
  if (c->wake_fd == -1)
    lm_error_errno (err, errno, "eventfd");
  else if (c->nbd == NULL ||
           nbd_add_meta_context (c->nbd, ALLOCATION) == -1)
    fail_nbd (c, err);
  else
    return c;
  lm_nbd_client_free (c);
  return NULL;
}

static size_t
scheme_len (const char *uri)
{
  static const char *const schemes[] = {
    "nbd:", "nbds:", "nbd+unix:", "nbds+unix:",
    "nbd+vsock:", "nbds+vsock:", "nbd+ssh:",
  };
  size_t i;

  for (i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
    size_t n = strlen (schemes[i]);

    if (strncasecmp (uri, schemes[i], n) == 0 &&
        (uri[n] == '/' || uri[n] == '\0'))
      return n;
  }
  return 0;
}

bool
lm_nbd_is_uri (const char *location)
{
  return scheme_len (location) > 0;
}

struct lm_nbd_client *
lm_nbd_client_connect (const char *uri, unsigned timeout_ms,
                       struct lm_error *err)
{
  struct lm_nbd_client *c = client_new (uri, timeout_ms, err);

  if (c == NULL)
    return NULL;
  if (scheme_len (uri) == 0) {
    lm_error_set (err, LM_ERR_USAGE, "'%s' is not an NBD URI", uri);
    goto fail;
  }
  /* nbds: makes libnbd demand TLS; nbd: never uses it. */
  if (strncasecmp (uri, "nbds", 4) == 0 && !nbd_supports_tls (c->nbd)) {
    lm_error_set (err, LM_ERR_UNSUPPORTED,
                  "%s: this libnbd was built without TLS", uri);
    goto fail;
  }
  if (nbd_set_uri_allow_transports (c->nbd, LIBNBD_ALLOW_TRANSPORT_TCP |
                                    LIBNBD_ALLOW_TRANSPORT_UNIX) == -1 ||
      nbd_set_uri_allow_local_file (c->nbd, true) == -1 ||
      nbd_aio_connect_uri (c->nbd, uri) == -1) {
    fail_nbd (c, err);
    if (nbd_get_errno () == EPERM || nbd_get_errno () == EINVAL)
      err->kind = LM_ERR_USAGE;
    goto fail;
  }
  if (finish_connecting (c, err) == -1 || learn (c, err) == -1)
    goto fail;
  return c;

fail:
  lm_nbd_client_free (c);
  return NULL;
}

struct lm_nbd_client *
lm_nbd_client_attach (int sock, const char *name, unsigned timeout_ms,
                      struct lm_error *err)
{
  struct lm_nbd_client *c = client_new (name, timeout_ms, err);

  if (c == NULL) {
    close (sock);
    return NULL;
  }
  if (nbd_aio_connect_socket (c->nbd, sock) == -1)
    fail_nbd (c, err);
  else if (finish_connecting (c, err) == 0 && learn (c, err) == 0)
    return c;
  lm_nbd_client_free (c);
  return NULL;
}

void
lm_nbd_client_free (struct lm_nbd_client *c)
{
  uint64_t deadline = lm_clock_monotonic () + GOODBYE_MS * 1000000ull;

  if (c == NULL)
    return;
  if (c->nbd && nbd_aio_is_ready (c->nbd) &&
      nbd_aio_disconnect (c->nbd, 0) == 0)
    while (!is_over (c) && lm_clock_monotonic () < deadline)
      if (!poll_once (c, GOODBYE_MS))
        break;
  if (c->nbd)
    nbd_close (c->nbd);
  if (c->wake_fd != -1)
    close (c->wake_fd);
  pthread_mutex_destroy (&c->lock);
  pthread_mutex_destroy (&c->edge_lock);
  free (c->name);
  free (c);
}

const struct lm_nbd_info *
lm_nbd_client_info (const struct lm_nbd_client *c)
{
  return &c->info;
}

const char *
lm_nbd_client_name (const struct lm_nbd_client *c)
{
  return c->name;
}
