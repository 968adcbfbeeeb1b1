/* SPDX-License-Identifier: Apache-2.0
 *
 * A machine that is a QEMU process on this host, controlled over QMP; see
 * machine.h for what each function does.
 *
 * The process is ours to start but not to keep: it leads its own session
 * and is known again by its identity in the record.  QMP connections are
 * opened for one command and closed, because QEMU serves one client at a
 * time and other commands of ours may come at any moment.
 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/process.h"
#include "common/random.h"
#include "hypervisor-glue/accel.h"
#include "hypervisor-glue/firmware.h"
#include "hypervisor-glue/machine-internal.h"
#include "hypervisor-glue/machine.h"
#include "hypervisor-glue/qemu-command.h"
#include "hypervisor-glue/qmp.h"
#include "common/banned.h"

/* QEMU answers QMP within milliseconds; on a host that swaps it may take
 * seconds.  A start opens every disk first. */
#define QMP_TIMEOUT_MS 10000
#define START_TIMEOUT_MS 60000
#define QUIT_TIMEOUT_MS 4000

struct qemu_machine {
  struct lm_machine base;       /* first: handles are cast */
  struct lm_process process;
  char *qmp_path;
};

static struct qemu_machine *
qemu_of (struct lm_machine *machine)
{
  return (struct qemu_machine *) machine;
}

static void
qemu_free (struct lm_machine *machine)
{
  free (qemu_of (machine)->qmp_path);
  free (machine);
}

static struct qemu_machine *
qemu_new (const char *qmp_path, struct lm_error *err)
{
  struct qemu_machine *m = calloc (1, sizeof *m);

  if (m == NULL || (m->qmp_path = strdup (qmp_path)) == NULL) {
    free (m);
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  m->base.ops = &lm_machine_qemu;
  return m;
}

/* ---- start ---- */

/* QEMU prefixes its messages with its name; the reader knows that. */
static const char *
skip_program_name (const char *line)
{
  const char *colon = strstr (line, ": ");

  return colon && strncmp (line, "qemu-system", 11) == 0 ? colon + 2 : line;
}

/* The process ended instead of starting: say why, in its own words. */
static int
explain_early_end (const struct lm_machine_config *config,
                   uint64_t log_from, const struct lm_process_end *end,
                   struct lm_error *err)
{
  char line[512];

  if (lm_process_log_last_line (config->log_path, log_from, line,
                                sizeof line))
    lm_error_set (err, LM_ERR_IO, "machine %s: QEMU ended at once: %s",
                  config->name, skip_program_name (line));
  else if (end->known && end->signum)
    lm_error_set (err, LM_ERR_IO, "machine %s: QEMU was ended by signal %d",
                  config->name, end->signum);
  else
    lm_error_set (err, LM_ERR_IO, "machine %s: QEMU ended at once without "
                  "a message", config->name);
  return lm_error_hint (err, "all of its messages are in %s",
                        config->log_path);
}

/* Wait until QMP answers: then all disks are open and the guest runs. */
static int
wait_until_up (struct qemu_machine *m,
               const struct lm_machine_config *config, uint64_t log_from,
               struct lm_error *err)
{
  uint64_t deadline = lm_clock_monotonic () +
                      (uint64_t) START_TIMEOUT_MS * 1000000;

  for (;;) {
    CLEANUP_QMP struct lm_qmp *qmp = NULL;
    CLEANUP_JSON json_t *status = NULL;
    struct lm_process_end end;
    bool ended;

    /* A short limit, to notice early when QEMU ends behind its socket. */
    qmp = lm_qmp_connect (m->qmp_path, 1000, err);
    if (qmp)
      status = lm_qmp_command (qmp, "query-status", NULL, QMP_TIMEOUT_MS,
                               err);
    if (status)
      return 0;
    if (lm_process_wait (&m->process, 0, &ended, &end, err) == -1)
      return -1;
    if (ended)
      return explain_early_end (config, log_from, &end, err);
    if (lm_clock_monotonic () > deadline) {
      lm_error_set (err, LM_ERR_IO, "machine %s: QEMU is not up after %d s; "
                    "does the NBD server of its disks answer?",
                    config->name, START_TIMEOUT_MS / 1000);
      return -1;
    }
    usleep (5000);
  }
}

/* Starting over a machine that runs would take its sockets away. */
static int
check_not_running (const struct lm_machine_config *config,
                   struct lm_error *err)
{
  CLEANUP_QMP struct lm_qmp *qmp = lm_qmp_connect (config->control_socket,
                                                   200, err);

  if (qmp || err->kind == LM_ERR_LOCKED)
    return lm_error_set (err, LM_ERR_LOCKED, "machine %s: runs already, it "
                         "answers at %s", config->name,
                         config->control_socket);
  if (err->kind != LM_ERR_NOT_FOUND)
    return -1;
  lm_error_clear (err);
  return 0;
}

static struct lm_machine *
qemu_start (const struct lm_machine_config *config, struct lm_error *err)
{
  CLEANUP_QEMU_COMMAND struct lm_qemu_command command = LM_QEMU_COMMAND_INIT;
  struct lm_firmware_pair firmware;
  struct lm_accel_choice accel;
  struct qemu_machine *m;
  struct lm_spawn spawn = { .folder = "/", .umask = 077, .detach = true };
  uint64_t log_from;
  bool uefi = config->firmware == LM_FIRMWARE_UEFI;

  if (lm_accel_choose (&lm_accel_this_host, config->accel, &accel, err)
      == -1)
    return NULL;
  if (uefi) {
    if (config->nvram_path == NULL || *config->nvram_path != '/') {
      lm_error_set (err, LM_ERR_USAGE, "machine: UEFI needs the absolute "
                    "path of a file for its variables");
      return NULL;
    }
    if (lm_firmware_prepare (lm_firmware_pairs, config->nvram_path,
                             &firmware, err) == -1)
      return NULL;
  }
  if (lm_qemu_command_make (config, accel.accel, uefi ? &firmware : NULL,
                            &command, err) == -1 ||
      check_not_running (config, err) == -1)
    return NULL;
  m = qemu_new (config->control_socket, err);
  if (m == NULL)
    return NULL;
  m->base.accel = accel;
  spawn.argv = (const char *const *) command.args;
  spawn.log_path = config->log_path;
  log_from = lm_process_log_size (config->log_path);
  if (lm_process_spawn (&spawn, &m->process, err) == -1) {
    if (err->kind == LM_ERR_NOT_FOUND)
      lm_error_hint (err, "install the package qemu-system-x86");
    qemu_free (&m->base);
    return NULL;
  }
  if (wait_until_up (m, config, log_from, err) == -1) {
    struct lm_error ignored = LM_ERROR_INIT;

    lm_process_stop (&m->process, 0, &ignored);
    qemu_free (&m->base);
    return NULL;
  }
  return &m->base;
}

/* ---- records ---- */

static json_t *
qemu_to_json (const struct lm_machine *machine)
{
  const struct qemu_machine *m = (const struct qemu_machine *) machine;

  return json_pack ("{s:o, s:s, s:s, s:s}", "process",
                    lm_process_to_json (&m->process), "qmp", m->qmp_path,
                    "accel", lm_accel_name (machine->accel.accel),
                    "accel_reason", machine->accel.reason);
}

static struct lm_machine *
qemu_attach (const json_t *record, const char *what, struct lm_error *err)
{
  json_t *process = lm_json_object (record, "process", what, err);
  const char *qmp_path = process ? lm_json_string (record, "qmp", what, err)
                                 : NULL;
  const char *accel = qmp_path ? lm_json_string (record, "accel", what, err)
                               : NULL;
  const char *reason = lm_json_string_or_null (record, "accel_reason");
  struct qemu_machine *m;

  if (accel == NULL)
    return NULL;
  m = qemu_new (qmp_path, err);
  if (m == NULL)
    return NULL;
  if (lm_process_from_json (process, what, &m->process, err) == -1) {
    qemu_free (&m->base);
    return NULL;
  }
  if (lm_accel_parse (accel, &m->base.accel.accel, err) == -1) {
    lm_corrupt (err, "%s: unknown accelerator '%s'", what, accel);
    qemu_free (&m->base);
    return NULL;
  }
  snprintf (m->base.accel.reason, sizeof m->base.accel.reason, "%s",
            reason ? : "");
  return &m->base;
}

/* ---- control ---- */

/* A connection to a machine that runs; LM_ERR_NOT_FOUND if it doesn't. */
static struct lm_qmp *
connect_running (struct qemu_machine *m, struct lm_error *err)
{
  struct lm_qmp *qmp;

  if (!lm_process_alive (&m->process)) {
    lm_error_set (err, LM_ERR_NOT_FOUND, "the machine has ended");
    return NULL;
  }
  qmp = lm_qmp_connect (m->qmp_path, QMP_TIMEOUT_MS, err);
  if (qmp)
    return qmp;
  if (!lm_process_alive (&m->process))
    lm_error_set (err, LM_ERR_NOT_FOUND, "the machine has ended");
  else if (err->kind == LM_ERR_NOT_FOUND)
    lm_error_set (err, LM_ERR_IO, "%s: the machine runs but its control "
                  "socket is gone", m->qmp_path);
  return NULL;
}

/* One command whose return value says nothing.  ARGUMENTS is used up. */
static int
run_command (struct lm_machine *machine, const char *command,
             json_t *arguments, struct lm_error *err)
{
  CLEANUP_JSON json_t *args = arguments;
  CLEANUP_JSON json_t *done = NULL;
  CLEANUP_QMP struct lm_qmp *qmp = connect_running (qemu_of (machine), err);

  if (qmp == NULL)
    return -1;
  done = lm_qmp_command (qmp, command, json_incref (args), QMP_TIMEOUT_MS,
                         err);
  return done ? 0 : -1;
}

/* QEMU's run states, as far as they are not "stopped". */
static enum lm_machine_state
state_of (const char *word)
{
  if (strcmp (word, "running") == 0)
    return LM_MACHINE_RUNNING;
  if (strcmp (word, "paused") == 0 || strcmp (word, "prelaunch") == 0)
    return LM_MACHINE_PAUSED;
  return LM_MACHINE_STOPPED;
}

static int
qemu_status (struct lm_machine *machine,
             struct lm_machine_status *ret_status, struct lm_error *err)
{
  struct lm_machine_status status = { .state = LM_MACHINE_STUCK };
  CLEANUP_QMP struct lm_qmp *qmp = connect_running (qemu_of (machine), err);
  CLEANUP_JSON json_t *reply = NULL;
  const char *word;

  if (qmp)
    reply = lm_qmp_command (qmp, "query-status", NULL, QMP_TIMEOUT_MS, err);
  if (reply == NULL) {
    if (err->kind == LM_ERR_NOMEM)
      return -1;
    /* It may have ended while we asked. */
    if (!lm_process_alive (&qemu_of (machine)->process))
      status.state = LM_MACHINE_ENDED;
    else
      snprintf (status.detail, sizeof status.detail, "%.*s",
                (int) sizeof status.detail - 1, err->message);
    lm_error_clear (err);
    *ret_status = status;
    return 0;
  }
  word = lm_json_string (reply, "status", "QMP query-status", err);
  if (word == NULL)
    return -1;
  status.state = state_of (word);
  snprintf (status.detail, sizeof status.detail, "%s", word);
  *ret_status = status;
  return 0;
}

static int
qemu_powerdown (struct lm_machine *machine, struct lm_error *err)
{
  return run_command (machine, "system_powerdown", NULL, err);
}

static int
qemu_wait (struct lm_machine *machine, int64_t timeout_ms, bool *ret_ended,
           struct lm_error *err)
{
  struct lm_process_end end;

  return lm_process_wait (&qemu_of (machine)->process, timeout_ms, ret_ended,
                          &end, err);
}

/* "quit" and SIGTERM both let QEMU drain and flush its disks; SIGKILL is
 * for one that hangs. */
static int
qemu_kill (struct lm_machine *machine, struct lm_error *err)
{
  struct qemu_machine *m = qemu_of (machine);

  /* SIGTERM is "quit" without a reply to wait for.  A QEMU that waits for
   * an NBD server that is gone does neither, and has nothing that could
   * still be saved. */
  return lm_process_stop (&m->process, QUIT_TIMEOUT_MS, err);
}

static int
qemu_pause (struct lm_machine *machine, struct lm_error *err)
{
  return run_command (machine, "stop", NULL, err);
}

static int
qemu_resume (struct lm_machine *machine, struct lm_error *err)
{
  return run_command (machine, "cont", NULL, err);
}

static int
qemu_reset (struct lm_machine *machine, struct lm_error *err)
{
  return run_command (machine, "system_reset", NULL, err);
}

static int
qemu_screenshot (struct lm_machine *machine, const char *path,
                 struct lm_error *err)
{
  json_t *args;

  if (*path != '/')
    return lm_error_set (err, LM_ERR_USAGE, "screenshot: the path %s is not "
                         "absolute", path);
  args = json_pack ("{s:s, s:s}", "filename", path, "format", "png");
  if (args == NULL)
    return lm_error_set (err, LM_ERR_USAGE, "screenshot: the path is not "
                         "valid UTF-8");
  return run_command (machine, "screendump", args, err);
}

const struct lm_machine_ops lm_machine_qemu = {
  .kind = "qemu",
  .start = qemu_start,
  .attach = qemu_attach,
  .to_json = qemu_to_json,
  .status = qemu_status,
  .powerdown = qemu_powerdown,
  .wait = qemu_wait,
  .kill = qemu_kill,
  .pause = qemu_pause,
  .resume = qemu_resume,
  .reset = qemu_reset,
  .screenshot = qemu_screenshot,
  .free = qemu_free,
};
