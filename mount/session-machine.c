/* SPDX-License-Identifier: Apache-2.0
 * A session's machine; see session-machine.h.
 */
#include <config.h>

#include "mount/session-machine.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "common/process.h"
#include "common/random.h"
#include "common/size.h"
#include "mount/quick-file.h"
#include "mount/session-proxy.h"
#include "common/banned.h"

/* A proxy that died can be resumed by a person: until then the guest's
 * requests wait, and its disks don't fail. */
#define RECONNECT_DELAY_S 3600

int
lm_session_machine_attach (const struct lm_session *s,
                           struct lm_machine **ret, struct lm_error *err)
{
  CLEANUP_FREE char *text = NULL;
  CLEANUP_JSON json_t *v = NULL;
  struct lm_machine *machine;
  bool ended;
  size_t len;

  if (lm_file_read (s->folder_fd, "vm.json", 1 << 20, &text, &len, err)
      == -1) {
    if (err->kind != LM_ERR_NOT_FOUND)
      return -1;
    lm_error_clear (err);
    *ret = NULL;
    return 0;
  }
  v = lm_json_parse (text, len, "vm.json", err);
  if (v == NULL)
    return -1;
  machine = lm_machine_attach (v, "vm.json", err);
  if (machine == NULL)
    return -1;
  if (lm_machine_wait (machine, 0, NULL, &ended, err) == -1) {
    lm_machine_free (machine);
    return -1;
  }
  if (ended) {
    lm_machine_free (machine);
    machine = NULL;
  }
  *ret = machine;
  return 0;
}

const char *
lm_session_machine_word (const struct lm_session *s)
{
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_MACHINE struct lm_machine *machine = NULL;
  struct lm_machine_status status;

  if (lm_session_machine_attach (s, &machine, &err) == -1)
    return "unknown";
  if (machine == NULL)
    return "none";
  if (lm_machine_status (machine, &status, &err) == -1)
    return "unknown";
  return lm_machine_state_name (status.state);
}

/* ---- a start that was killed half-way ---- */

/* Between vm.starting and vm.json a machine may exist that no record
 * knows; QEMU's own pid file does.  Its command line names our control
 * socket, or it is somebody else. */
static bool
find_stray (const struct lm_session *s, struct lm_process *ret)
{
  CLEANUP_FREE char *qmp = NULL, *text = NULL, *cmdline = NULL;
  struct lm_error err = LM_ERROR_INIT;
  char path[64];
  uint64_t pid;
  size_t len;

  qmp = lm_session_path (s, "qmp.sock", &err);
  if (qmp == NULL ||
      lm_file_read (s->folder_fd, "vm.pid", 64, &text, &len, &err) == -1)
    return false;
  text[strcspn (text, "\n")] = '\0';
  if (lm_number_parse (text, INT32_MAX, &pid, &err) == -1 ||
      lm_process_identify (pid, ret, &err) == -1)
    return false;
  snprintf (path, sizeof path, "/proc/%" PRIu64 "/cmdline", pid);
  if (lm_file_read (AT_FDCWD, path, 1 << 20, &cmdline, &len, &err) == -1)
    return false;
  return memmem (cmdline, len, qmp, strlen (qmp)) != NULL;
}

static int
stop_stray (const struct lm_session *s, struct lm_error *err)
{
  struct lm_process process;
  unsigned tries;

  if (faccessat (s->folder_fd, "vm.starting", F_OK, 0) == -1)
    return 0;
  for (tries = 0; tries < 20; tries++) {
    if (find_stray (s, &process)) {
      if (lm_process_stop (&process, 5000, err) == -1)
        return -1;
      break;
    }
    usleep (100000);            /* perhaps it is just starting */
  }
  if (unlinkat (s->folder_fd, "vm.starting", 0) == -1 && errno != ENOENT)
    return lm_error_errno (err, errno, "session %s: vm.starting", s->name);
  return 0;
}

static int
mark_start (const struct lm_session *s, struct lm_error *err)
{
  CLEANUP_CLOSE int fd = openat (s->folder_fd, "vm.starting",
                                 O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

  if (fd == -1)
    return lm_error_errno (err, errno, "session %s: vm.starting", s->name);
  return 0;
}

/* ---- start ---- */

struct paths {
  char *uris[LM_MACHINE_DISKS_MAX];
  char *nvram, *vnc, *serial_log, *serial, *control, *pid, *log;
};

static void
paths_release (struct paths *p)
{
  size_t i;

  for (i = 0; i < LM_MACHINE_DISKS_MAX; i++)
    free (p->uris[i]);
  free (p->nvram);
  free (p->vnc);
  free (p->serial_log);
  free (p->serial);
  free (p->control);
  free (p->pid);
  free (p->log);
}

static int
make_paths (const struct lm_session *s, struct paths *p,
            struct lm_machine_disk *disks, enum lm_disk_bus bus,
            struct lm_error *err)
{
  size_t i;

  if (s->nr_disks > LM_MACHINE_DISKS_MAX)
    return lm_error_set (err, LM_ERR_LIMIT, "session %s: %zu disks, a "
                         "machine can have %d", s->name, s->nr_disks,
                         LM_MACHINE_DISKS_MAX);
  if ((p->nvram = lm_session_path (s, "nvram.fd", err)) == NULL ||
      (p->vnc = lm_session_path (s, "vnc.sock", err)) == NULL ||
      (p->serial_log = lm_session_path (s, "serial.log", err)) == NULL ||
      (p->serial = lm_session_path (s, "serial.sock", err)) == NULL ||
      (p->control = lm_session_path (s, "qmp.sock", err)) == NULL ||
      (p->pid = lm_session_path (s, "vm.pid", err)) == NULL ||
      (p->log = lm_session_path (s, "qemu.log", err)) == NULL)
    return -1;
  for (i = 0; i < s->nr_disks; i++) {
    p->uris[i] = lm_session_uri (s, s->disks[i].name, err);
    if (p->uris[i] == NULL)
      return -1;
    disks[i] = (struct lm_machine_disk) {
      .name = s->disks[i].name, .nbd_uri = p->uris[i],
      .size = s->disks[i].size, .bus = bus, .read_only = s->read_only,
      .reconnect_delay = RECONNECT_DELAY_S,
    };
  }
  return 0;
}

static int
save_machine (const struct lm_session *s, const struct lm_machine *machine,
              struct lm_error *err)
{
  CLEANUP_JSON json_t *v = lm_machine_to_json (machine);

  if (v == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  return lm_quick_file_json (s->folder_fd, "vm.json", v, err);
}

int
lm_session_machine_start (const struct lm_session *s,
                          const struct lm_machine_config *asked,
                          enum lm_disk_bus bus, struct lm_machine **ret,
                          struct lm_error *err)
{
  CLEANUP (paths_release) struct paths p = { .nvram = NULL };
  struct lm_machine_disk disks[LM_MACHINE_DISKS_MAX];
  struct lm_machine_config config = *asked;
  struct lm_machine *machine = NULL;

  if (lm_session_machine_attach (s, &machine, err) == -1)
    return -1;
  if (machine) {
    lm_machine_free (machine);
    lm_error_set (err, LM_ERR_EXISTS, "session %s: its machine runs already",
                  s->name);
    return lm_error_hint (err, "'livemount console %s' shows it", s->name);
  }
  if (make_paths (s, &p, disks, bus, err) == -1 ||
      stop_stray (s, err) == -1 || mark_start (s, err) == -1)
    return -1;
  config.name = s->name;
  config.disks = disks;
  config.nr_disks = s->nr_disks;
  config.serial_log = p.serial_log;
  config.serial_socket = p.serial;
  config.control_socket = p.control;
  config.pid_path = p.pid;
  config.log_path = p.log;
  if (config.firmware == LM_FIRMWARE_UEFI)
    config.nvram_path = p.nvram;
  if (config.vnc_socket)
    config.vnc_socket = p.vnc;
  machine = lm_machine_start (&config, err);
  if (machine == NULL) {
    unlinkat (s->folder_fd, "vm.starting", 0);
    return lm_error_prefix (err, "session %s", s->name);
  }
  if (save_machine (s, machine, err) == -1) {
    struct lm_error ignored = LM_ERROR_INIT;

    lm_machine_kill (machine, &ignored);
    lm_machine_free (machine);
    return -1;
  }
  unlinkat (s->folder_fd, "vm.starting", 0);
  *ret = machine;
  return 0;
}

int
lm_session_machine_stop (const struct lm_session *s, int64_t grace_ms,
                         const volatile sig_atomic_t *cancel,
                         struct lm_error *err)
{
  CLEANUP_MACHINE struct lm_machine *machine = NULL;
  bool ended = false;

  if (lm_session_machine_attach (s, &machine, err) == -1)
    return -1;
  if (machine) {
    if (grace_ms > 0 &&
        lm_machine_shutdown (machine, grace_ms, cancel, &ended, err) == -1) {
      if (err->kind == LM_ERR_INTERRUPTED)
        return -1;
      lm_error_clear (err);     /* it does not even answer */
    }
    if (!ended && lm_machine_kill (machine, err) == -1)
      return lm_error_prefix (err, "session %s", s->name);
  }
  else if (stop_stray (s, err) == -1)
    return -1;
  if (unlinkat (s->folder_fd, "vm.json", 0) == -1 && errno != ENOENT)
    return lm_error_errno (err, errno, "session %s: vm.json", s->name);
  return 0;
}

/* ---- waiting for the console ---- */

static bool
machine_runs (void *opaque)
{
  struct lm_error ignored = LM_ERROR_INIT;
  bool ended = false;

  return lm_machine_wait (opaque, 0, NULL, &ended, &ignored) == -1 || !ended;
}

int
lm_session_wait_for (const struct lm_session *s, struct lm_machine *machine,
                     const char *regex, uint64_t from, int64_t timeout_ms,
                     const volatile sig_atomic_t *cancel,
                     struct lm_console_result *ret, struct lm_error *err)
{
  CLEANUP_FREE char *path = lm_session_path (s, "serial.log", err);
  const struct lm_console_wait wait = {
    .log_path = path, .from = from, .regex = regex,
    .timeout_ms = timeout_ms, .running = machine_runs, .opaque = machine,
    .cancel = cancel,
  };
  const char *line;

  if (path == NULL || lm_console_wait_for (&wait, ret, err) == -1)
    return -1;
  line = ret->line[0] ? ret->line : "(nothing)";
  switch (ret->outcome) {
  case LM_CONSOLE_SEEN:
    return 0;
  case LM_CONSOLE_ENDED:
    return lm_error_set (err, LM_ERR_IO, "session %s: the machine ended "
                         "before its console showed '%s'; the last line "
                         "was: %s", s->name, regex, line);
  case LM_CONSOLE_TIMEOUT:
    break;
  }
  lm_error_set (err, LM_ERR_IO, "session %s: the console did not show '%s' "
                "within %" PRIi64 " s; its last line is: %s", s->name, regex,
                timeout_ms / 1000, line);
  return lm_error_hint (err, "the machine runs on: 'livemount console %s' "
                        "shows it, 'livemount unmount %s' ends it", s->name,
                        s->name);
}

uint64_t
lm_session_console_size (const struct lm_session *s)
{
  struct stat st;

  return fstatat (s->folder_fd, "serial.log", &st, 0) == 0
         ? (uint64_t) st.st_size : 0;
}
