/* SPDX-License-Identifier: Apache-2.0
 * A session's proxy; see session-proxy.h.
 */
#include <config.h>

#include "mount/session-proxy.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/io.h"
#include "common/process.h"
#include "common/random.h"
#include "formats/nbd-client.h"
#include "hypervisor-glue/nbd-uri.h"
#include "mount/interrupt.h"
#include "mount/quick-file.h"
#include "common/banned.h"

#define PROXY_STOPPING "proxy.stopping"

#define KEY_FD 3
#define LOCK_FD 4
#define START_TIMEOUT_MS 60000
/* For a proxy that runs: one that does not answer is of no use. */
#define LOOK_TIMEOUT_MS 5000
#define STOP_GRACE_MS 20000

/* ---- is it there? ---- */

/* The lock, if nobody has it; -1 with errno EWOULDBLOCK if the proxy
 * does. */
static int
take_lock (const struct lm_session *s, int how)
{
  CLEANUP_CLOSE int fd = openat (s->folder_fd, "proxy.lock", O_RDWR |
                                 O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

  if (fd == -1 || TEMP_FAILURE_RETRY (flock (fd, how | LOCK_NB)) == -1)
    return -1;
  return lm_steal_fd (fd);
}

/* For a proxy: who only looks holds it, shared, for a moment. */
static int
take_lock_to_keep (const struct lm_session *s)
{
  unsigned tries;
  int fd = take_lock (s, LOCK_EX);

  for (tries = 0; fd == -1 && errno == EWOULDBLOCK && tries < 50; tries++) {
    usleep (10000);
    fd = take_lock (s, LOCK_EX);
  }
  return fd;
}

enum lm_proxy_state
lm_session_proxy_state (const struct lm_session *s)
{
  /* Shared, so that two who look don't take each other for a proxy. */
  CLEANUP_CLOSE int fd = take_lock (s, LOCK_SH);

  if (fd == -1 && errno == EWOULDBLOCK)
    return LM_PROXY_RUNNING;
  if (faccessat (s->folder_fd, "proxy.json", F_OK, 0) == 0)
    return LM_PROXY_DEAD;
  return LM_PROXY_STOPPED;
}

/* ---- addresses ---- */

int
lm_session_check_paths (const struct lm_session *s, struct lm_error *err)
{
  CLEANUP_FREE char *path = lm_session_path (s, "serial.sock", err);

  if (path == NULL)
    return -1;
  if (lm_socket_path_check (path, "session", err) == -1)
    return lm_error_hint (err, "take a shorter --name, or set "
                          "LIVEMOUNT_STATE_DIR to a shorter path");
  return 0;
}

/* RFC 3986: what may stand in a path or a query as it is. */
static int
append_escaped (struct lm_buffer *b, const char *text, struct lm_error *err)
{
  static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                              "abcdefghijklmnopqrstuvwxyz0123456789-._~/@";

  for (; *text; text++)
    if (lm_buffer_printf (b, err, strchr (plain, *text) ? "%c" : "%%%02X",
                          (unsigned char) *text) == -1)
      return -1;
  return 0;
}

char *
lm_session_uri (const struct lm_session *s, const char *disk,
                struct lm_error *err)
{
  CLEANUP_FREE char *path = lm_session_path (s, "nbd.sock", err);
  CLEANUP_BUFFER struct lm_buffer b = LM_BUFFER_INIT;

  if (path == NULL || lm_buffer_printf (&b, err, "nbd+unix:///") == -1 ||
      append_escaped (&b, disk, err) == -1 ||
      lm_buffer_printf (&b, err, "?socket=") == -1 ||
      append_escaped (&b, path, err) == -1)
    return NULL;
  return lm_buffer_steal_string (&b, err);
}

/* ---- start ---- */

/* The key as something to inherit: a pipe holds it, no file does. */
static int
key_pipe (const uint8_t *master, struct lm_error *err)
{
  int fds[2];

  if (pipe2 (fds, O_CLOEXEC) == -1)
    return lm_error_errno (err, errno, "pipe for the key");
  if (write (fds[1], master, LM_MASTER_KEY_LEN) != LM_MASTER_KEY_LEN) {
    lm_error_errno (err, errno, "pipe for the key");
    close (fds[0]);
    fds[0] = -1;
  }
  close (fds[1]);
  return fds[0];
}

#define ARGS_MAX 24

struct arguments {
  const char *argv[ARGS_MAX];
  size_t n;
  char *owned[ARGS_MAX];
  size_t nr_owned;
};

static void
arguments_release (struct arguments *a)
{
  while (a->nr_owned > 0)
    free (a->owned[--a->nr_owned]);
}

/* KEY=VALUE, in memory of its own. */
static int __attribute__ ((format (printf, 3, 4)))
add (struct arguments *a, struct lm_error *err, const char *fmt, ...)
{
  va_list ap;
  char *text;
  int r;

  va_start (ap, fmt);
  r = vasprintf (&text, fmt, ap);
  va_end (ap);
  if (r == -1)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  a->owned[a->nr_owned++] = text;
  a->argv[a->n++] = text;
  return 0;
}

static int
make_arguments (const struct lm_session *s, bool has_key,
                struct arguments *a, struct lm_error *err)
{
  const char *plugin = getenv ("LIVEMOUNT_PLUGIN");

  if (add (a, err, "nbdkit") == -1 || add (a, err, "-f") == -1 ||
      add (a, err, "-U") == -1 ||
      add (a, err, "%s/nbd.sock", s->folder) == -1 ||
      (s->read_only && add (a, err, "-r") == -1) ||
      add (a, err, "%s", plugin && *plugin ? plugin : "livemount") == -1 ||
      add (a, err, "repository=%s", s->repository) == -1 ||
      add (a, err, "snapshot=%s", s->snapshot) == -1 ||
      (!s->read_only &&
       add (a, err, "overlay=%s/overlay", s->folder) == -1) ||
      (has_key && add (a, err, "key-fd=%d", KEY_FD) == -1) ||
      (s->cache_size &&
       add (a, err, "cache-size=%" PRIu64, s->cache_size) == -1))
    return -1;
  a->argv[a->n] = NULL;
  return 0;
}

static int
save_process (const struct lm_session *s, const struct lm_process *process,
              struct lm_error *err)
{
  CLEANUP_JSON json_t *v = lm_process_to_json (process);

  if (v == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  return lm_quick_file_json (s->folder_fd, "proxy.json", v, err);
}

/* Open one export.  1 it answered, 0 not yet, -1 it refused, or said
 * nothing. */
static int
try_disk (const struct lm_session *s, const char *disk, unsigned timeout_ms,
          struct lm_error *err)
{
  CLEANUP_FREE char *uri = lm_session_uri (s, disk, err);
  struct lm_nbd_client *client;

  if (uri == NULL)
    return -1;
  client = lm_nbd_client_connect (uri, timeout_ms, err);
  lm_nbd_client_free (client);
  if (client)
    return 1;
  /* EAGAIN: it listens, and has not come to accept the others yet. */
  if (err->sys_errno != ENOENT && err->sys_errno != ECONNREFUSED &&
      err->sys_errno != EAGAIN)
    return -1;
  lm_error_clear (err);
  return 0;
}

/* nbdkit says "nbdkit: livemount[1]: error: …", and sometimes more after
 * it: the last such line, else the last line of all. */
static bool
find_words (const char *log_path, uint64_t from, char *words, size_t size)
{
  CLEANUP_FREE char *text = NULL;
  struct lm_error ignored = LM_ERROR_INIT;
  char *line, *next, *found = NULL;
  size_t len;

  if (lm_file_read (AT_FDCWD, log_path, 64 << 20, &text, &len, &ignored) == 0
      && from < len)
    for (line = text + from; line && *line; line = next) {
      char *p;

      next = strchr (line, '\n');
      if (next)
        *next++ = '\0';
      p = strstr (line, "error: ");
      if (p)
        found = p + strlen ("error: ");
    }
  if (found == NULL)
    return lm_process_log_last_line (log_path, from, words, size);
  snprintf (words, size, "%s", found);
  return true;
}

/* PROXY_STOPPING is there from before the proxy is told to end until it
 * has. */
bool
lm_session_proxy_serves (const struct lm_session *s)
{
  struct lm_error ignored = LM_ERROR_INIT;

  return s->nr_disks > 0 &&
         faccessat (s->folder_fd, PROXY_STOPPING, F_OK, 0) == -1 &&
         lm_session_proxy_state (s) == LM_PROXY_RUNNING &&
         try_disk (s, s->disks[0].name, LOOK_TIMEOUT_MS, &ignored) == 1;
}

/* The proxy's last words are worth more than libnbd's. */
static int
use_log (const struct lm_session *s, const char *log_path, uint64_t from,
         const char *otherwise, struct lm_error *err)
{
  char words[512];

  if (!find_words (log_path, from, words, sizeof words))
    snprintf (words, sizeof words, "%s", otherwise);
  lm_error_set (err, LM_ERR_IO, "session %s: the proxy: %s", s->name, words);
  if (s->stage == LM_SESSION_KEPT)
    lm_error_hint (err, "its messages are in %s", log_path);
  return -1;
}

static int
wait_until_ready (const struct lm_session *s,
                  const struct lm_process *process, const char *log_path,
                  uint64_t log_from, struct lm_error *err)
{
  uint64_t start = lm_clock_monotonic ();
  size_t i = 0;

  while (i < s->nr_disks) {
    struct lm_process_end end;
    bool ended;
    int r = try_disk (s, s->disks[i].name, START_TIMEOUT_MS, err);

    if (r == 1) {
      i++;
      continue;
    }
    if (r == -1) {
      char said[sizeof err->message];

      snprintf (said, sizeof said, "%s", err->message);
      return use_log (s, log_path, log_from, said, err);
    }
    if (lm_interrupt_check ("mount", err) == -1 ||
        lm_process_wait (process, 2, &ended, &end, err) == -1)
      return -1;
    if (ended)
      return use_log (s, log_path, log_from, "it ended without a word", err);
    if (lm_clock_monotonic () - start >
        START_TIMEOUT_MS * UINT64_C (1000000))
      return lm_error_set (err, LM_ERR_IO, "session %s: the proxy did not "
                           "answer within %d s", s->name,
                           START_TIMEOUT_MS / 1000);
  }
  return 0;
}

int
lm_session_proxy_start (const struct lm_session *s,
                        const uint8_t *master_or_null, struct lm_error *err)
{
  CLEANUP (arguments_release) struct arguments a = { .n = 0 };
  CLEANUP_CLOSE int lock = take_lock_to_keep (s);
  CLEANUP_CLOSE int key = -1;
  CLEANUP_FREE char *log_path = lm_session_path (s, "proxy.log", err);
  struct lm_process process;
  struct lm_spawn_fd fds[2];
  struct lm_spawn spawn = {
    .argv = a.argv, .folder = "/", .log_path = log_path, .fds = fds,
    .umask = 077, .detach = true, .orphan = true,
  };
  struct lm_error ignored = LM_ERROR_INIT;
  uint64_t log_from;

  if (log_path == NULL)
    return -1;
  if (lock == -1 && errno == EWOULDBLOCK)
    return lm_error_set (err, LM_ERR_LOCKED, "session %s: its proxy runs "
                         "already", s->name);
  if (lock == -1)
    return lm_error_errno (err, errno, "session %s: proxy.lock", s->name);
  if (lm_session_check_paths (s, err) == -1 ||
      make_arguments (s, master_or_null != NULL, &a, err) == -1)
    return -1;
  fds[spawn.nr_fds++] = (struct lm_spawn_fd) { lock, LOCK_FD };
  if (master_or_null) {
    key = key_pipe (master_or_null, err);
    if (key == -1)
      return -1;
    fds[spawn.nr_fds++] = (struct lm_spawn_fd) { key, KEY_FD };
  }
  if (!s->read_only && mkdirat (s->folder_fd, "overlay", 0700) == -1 &&
      errno != EEXIST)
    return lm_error_errno (err, errno, "session %s: overlay", s->name);
  /* Nobody listens there: we have the lock. */
  if (unlinkat (s->folder_fd, "nbd.sock", 0) == -1 && errno != ENOENT)
    return lm_error_errno (err, errno, "session %s: nbd.sock", s->name);
  log_from = lm_process_log_size (log_path);
  if (lm_process_spawn (&spawn, &process, err) == -1) {
    if (err->kind == LM_ERR_NOT_FOUND)
      lm_error_hint (err, "install the package nbdkit");
    return -1;
  }
  if (save_process (s, &process, err) == -1 ||
      wait_until_ready (s, &process, log_path, log_from, err) == -1) {
    if (lm_process_stop (&process, STOP_GRACE_MS, &ignored) == 0)
      unlinkat (s->folder_fd, "proxy.json", 0);
    return -1;
  }
  return 0;
}

/* ---- stop ---- */

/* Who listens on nbd.sock?  (With -f nbdkit does not fork, so it is the
 * one that called listen.) */
static int
ask_socket (const struct lm_session *s, struct lm_process *ret,
            struct lm_error *err)
{
  CLEANUP_FREE char *path = lm_session_path (s, "nbd.sock", err);
  CLEANUP_CLOSE int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_un sun = { .sun_family = AF_UNIX };
  /* One that has stopped accepting must not stop us. */
  const struct timeval patience = { .tv_sec = LOOK_TIMEOUT_MS / 1000 };
  struct ucred cred;
  socklen_t len = sizeof cred;

  if (path == NULL || lm_session_check_paths (s, err) == -1)
    return -1;
  memcpy (sun.sun_path, path, strlen (path) + 1);
  if (fd == -1 ||
      setsockopt (fd, SOL_SOCKET, SO_SNDTIMEO, &patience,
                  sizeof patience) == -1 ||
      connect (fd, (struct sockaddr *) &sun, sizeof sun) == -1 ||
      getsockopt (fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == -1)
    return lm_error_errno (err, errno, "%s", path);
  return lm_process_identify (cred.pid, ret, err);
}

static int
load_process (const struct lm_session *s, struct lm_process *ret,
              struct lm_error *err)
{
  CLEANUP_FREE char *text = NULL;
  CLEANUP_JSON json_t *v = NULL;
  size_t len;

  if (lm_file_read (s->folder_fd, "proxy.json", 65536, &text, &len, err)
      == -1)
    return -1;
  v = lm_json_parse (text, len, "proxy.json", err);
  if (v == NULL)
    return -1;
  return lm_process_from_json (v, "proxy.json", ret, err);
}

/* Wait until the lock is free: then the proxy is gone, whatever we knew
 * of it. */
static bool
lock_gets_free (const struct lm_session *s, unsigned timeout_ms)
{
  unsigned waited;

  for (waited = 0; ; waited += 10) {
    CLEANUP_CLOSE int fd = take_lock (s, LOCK_SH);

    if (fd >= 0 || errno != EWOULDBLOCK)
      return true;
    if (waited >= timeout_ms)
      return false;
    usleep (10000);
  }
}

static int
mark_stop (const struct lm_session *s, struct lm_error *err)
{
  CLEANUP_CLOSE int fd = openat (s->folder_fd, PROXY_STOPPING,
                                 O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

  if (fd == -1)
    return lm_error_errno (err, errno, "session %s: " PROXY_STOPPING,
                           s->name);
  return 0;
}

int
lm_session_proxy_stop (const struct lm_session *s, struct lm_error *err)
{
  struct lm_process process;
  unsigned tries;

  if (lm_session_proxy_state (s) == LM_PROXY_RUNNING &&
      mark_stop (s, err) == -1)
    return -1;
  /* A proxy that we know nothing of was started a moment ago by a
   * command that was killed: it will listen, or end, soon. */
  for (tries = 0; lm_session_proxy_state (s) == LM_PROXY_RUNNING; tries++) {
    if ((load_process (s, &process, err) == 0 &&
         lm_process_alive (&process)) ||
        ask_socket (s, &process, err) == 0) {
      if (lm_process_stop (&process, STOP_GRACE_MS, err) == -1)
        return -1;
      if (lock_gets_free (s, 2000))
        break;
    }
    if (tries == 50)
      return lm_error_set (err, LM_ERR_IO, "session %s: something holds "
                           "%s/proxy.lock, and it is not known which "
                           "process", s->name, s->folder);
    usleep (100000);
  }
  lm_error_clear (err);
  if (unlinkat (s->folder_fd, "proxy.json", 0) == -1 && errno != ENOENT)
    return lm_error_errno (err, errno, "session %s: proxy.json", s->name);
  unlinkat (s->folder_fd, "nbd.sock", 0);
  if (unlinkat (s->folder_fd, PROXY_STOPPING, 0) == -1 && errno != ENOENT)
    return lm_error_errno (err, errno, "session %s: " PROXY_STOPPING,
                           s->name);
  return 0;
}
