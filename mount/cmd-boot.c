/* SPDX-License-Identifier: Apache-2.0
 *
 * `livemount boot`: the machine of a snapshot, or of a session that is
 * there already.
 */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/random.h"
#include "mount/commands.h"
#include "mount/interrupt.h"
#include "mount/report.h"
#include "mount/session-boot.h"
#include "mount/session-machine.h"
#include "mount/session-mount.h"
#include "mount/session-proxy.h"
#include "common/banned.h"

#define DEFAULT_TIMEOUT_S 300

static const struct lm_option options[] = {
  { .name = "name", .argument = "NAME",
    .help = "the session's name (default: the VM's)" },
  LM_BOOT_OPTIONS,
  { .name = "wait-for", .argument = "REGEX",
    .help = "return when the serial console shows this" },
  { .name = "timeout", .argument = "SECONDS",
    .help = "with --wait-for: for how long (default 300)" },
  { .name = "cache-size", .argument = "SIZE",
    .help = "memory for decoded chunks" },
  { .name = NULL }
};

/* A name without '/' that a session has means that session. */
static struct lm_session *
open_existing (const char *name, struct lm_error *err)
{
  struct lm_session *s;

  if (strchr (name, '/'))
    return NULL;
  s = lm_session_open (name, true, err);
  if (s == NULL &&
      (err->kind == LM_ERR_NOT_FOUND || err->kind == LM_ERR_USAGE))
    lm_error_clear (err);
  return s;
}

static struct lm_session *
open_or_mount (struct lm_cli *cli, bool *ret_new, struct lm_error *err)
{
  struct lm_mount_request request = {
    .snapshot = cli->args.operands[0],
    .name = lm_args_string (&cli->args, "name"),
  };
  struct lm_session *s = NULL;

  *ret_new = false;
  if (lm_args_size (&cli->args, "cache-size", &request.cache_size, err)
      == -1)
    return NULL;
  if (request.name == NULL) {
    s = open_existing (request.snapshot, err);
    if (s == NULL && err->kind != LM_ERR_NONE)
      return NULL;
  }
  if (s == NULL) {
    *ret_new = true;
    return lm_session_mount (cli, &request, err);
  }
  if (!lm_session_proxy_serves (s) &&
      lm_session_restart (cli, s, err) == -1) {
    lm_session_free (s);
    return NULL;
  }
  return s;
}

static int
prepare_settings (const struct lm_cli *cli, const struct lm_session *s,
                  struct lm_boot_settings *b, struct lm_error *err)
{
  bool found;

  if (lm_boot_settings_load (b, s, &found, err) == -1)
    return -1;
  if (!found && lm_boot_settings_config (b, s, err) == -1) {
    lm_report_warning (cli, "%s: defaults are used instead", err->message);
    lm_error_clear (err);
  }
  return lm_boot_settings_options (b, &cli->args, err);
}

/* The machine did not start: a session that was made for it goes again. */
static void
undo (struct lm_session *s)
{
  struct lm_error ignored = LM_ERROR_INIT;

  if (lm_session_halt (s, &ignored) == 0)
    lm_session_purge (s, &ignored);
}

static int
print_result (const struct lm_cli *cli, const struct lm_session *s,
              const struct lm_machine *machine, const char *line,
              double seconds, struct lm_error *err)
{
  json_t *v;

  if (cli->json) {
    v = lm_session_to_json (s, err);
    if (v == NULL)
      return -1;
    json_object_set_new (v, "accel", json_string (
      lm_accel_name (lm_machine_accel (machine))));
    json_object_set_new (v, "accel_reason", json_string (
      lm_machine_accel_reason (machine)));
    if (line) {
      json_object_set_new (v, "seen", json_string (line));
      json_object_set_new (v, "seconds", json_real (seconds));
    }
    return lm_report_json (v, err);
  }
  if (lm_session_print (cli, s, err) == -1)
    return -1;
  printf ("  machine    %s (%s)\n",
          lm_accel_name (lm_machine_accel (machine)),
          lm_machine_accel_reason (machine));
  if (line)
    printf ("  after %.1f s its console shows: %s\n", seconds, line);
  lm_report_note (cli, "'livemount console %s' talks to it, 'livemount "
                  "stop %s' keeps it for later, 'livemount unmount %s' ends "
                  "it", s->name, s->name, s->name);
  return 0;
}

static int
run_boot (struct lm_cli *cli, struct lm_error *err)
{
  const char *regex = lm_args_string (&cli->args, "wait-for");
  uint64_t timeout = DEFAULT_TIMEOUT_S, start = lm_clock_monotonic (), from;
  CLEANUP_SESSION struct lm_session *s = NULL;
  CLEANUP_MACHINE struct lm_machine *machine = NULL;
  CLEANUP (lm_boot_settings_release)
    struct lm_boot_settings settings = LM_BOOT_SETTINGS_INIT;
  CLEANUP (lm_boot_settings_release)
    struct lm_boot_settings scratch = LM_BOOT_SETTINGS_INIT;
  struct lm_console_result seen = { .line = "" };
  bool new;

  /* Mistakes first. */
  if (lm_boot_settings_options (&scratch, &cli->args, err) == -1 ||
      lm_args_number (&cli->args, "timeout", 0, 1000000, &timeout, err)
      == -1 ||
      (regex && lm_console_check_regex (regex, err) == -1))
    return -1;
  lm_interrupt_catch ();
  lm_sessions_sweep (cli);
  s = open_or_mount (cli, &new, err);
  if (s == NULL)
    return -1;
  from = lm_session_console_size (s);
  if (prepare_settings (cli, s, &settings, err) == -1 ||
      lm_interrupt_check ("boot", err) == -1 ||
      lm_session_boot (s, &settings, &machine, err) == -1) {
    if (new)
      undo (s);
    return -1;
  }
  /* Others may stop or look at it while we wait. */
  lm_session_unlock (s);
  if (regex &&
      lm_session_wait_for (s, machine, regex, from, timeout * 1000,
                           lm_interrupt_catch (), &seen, err) == -1)
    return -1;
  return print_result (cli, s, machine, regex ? seen.line : NULL,
                       (lm_clock_monotonic () - start) / 1e9, err);
}

const struct lm_command lm_cmd_boot = {
  .name = "boot",
  .area = "Live mount",
  .summary = "start the machine of a snapshot, or of a session",
  .usage = "SNAPSHOT|SESSION",
  .description =
    "The disks are mounted as 'mount' does it, and the machine boots from "
    "them through its firmware and its own boot loader. What it looks like "
    "comes from the options, from the VM's configuration in the backup, or "
    "from the last boot of the session. It runs until 'stop' or 'unmount', "
    "or until the guest shuts it down.",
  .min_operands = 1,
  .max_operands = 1,
  .completion = LM_COMPLETE_SNAPSHOT,
  .options = options,
  .run = run_boot,
};
