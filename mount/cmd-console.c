/* SPDX-License-Identifier: Apache-2.0
 *
 * `livemount console`: the serial port of a session's machine, for people
 * at a terminal and for scripts.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "hypervisor-glue/console-talk.h"
#include "mount/commands.h"
#include "mount/interrupt.h"
#include "mount/report.h"
#include "mount/session-machine.h"
#include "common/banned.h"

#define DEFAULT_TIMEOUT_S 300

static const struct lm_option options[] = {
  { .name = "log",
    .help = "print everything that the console showed so far, and end" },
  { .name = "wait-for", .argument = "REGEX",
    .help = "after the input: go on until the console shows this, and print "
            "what it showed" },
  { .name = "timeout", .argument = "SECONDS",
    .help = "with --wait-for: for how long (default 300)" },
  { .name = NULL }
};

/* Copy the serial log from FROM on to standard output. */
static int
print_log (const struct lm_session *s, uint64_t from, struct lm_error *err)
{
  CLEANUP_CLOSE int fd = openat (s->folder_fd, "serial.log",
                                 O_RDONLY | O_CLOEXEC);
  char buf[65536];
  ssize_t n;

  if (fd == -1 && errno == ENOENT) {
    lm_error_set (err, LM_ERR_NOT_FOUND, "session %s has not been booted",
                  s->name);
    return lm_error_hint (err, "'livemount boot %s' does that", s->name);
  }
  if (fd == -1)
    return lm_error_errno (err, errno, "session %s: serial.log", s->name);
  while ((n = lm_io->pread (fd, buf, sizeof buf, from)) > 0) {
    fwrite (buf, 1, n, stdout);
    from += n;
  }
  if (n == -1)
    return lm_error_errno (err, errno, "session %s: serial.log", s->name);
  return lm_report_flush (err);
}

static int
talk (const struct lm_session *s, int out_fd, struct lm_error *err)
{
  CLEANUP_FREE char *path = lm_session_path (s, "serial.sock", err);
  const struct lm_console_talk params = {
    .socket_path = path, .in_fd = STDIN_FILENO, .out_fd = out_fd,
    .cancel = lm_interrupt_catch (),
  };
  enum lm_console_end end;

  if (path == NULL)
    return -1;
  return lm_console_talk (&params, &end, err);
}

static int
talk_and_wait (const struct lm_session *s, struct lm_machine *machine,
               const char *regex, uint64_t timeout, struct lm_error *err)
{
  CLEANUP_CLOSE int null = open ("/dev/null", O_WRONLY | O_CLOEXEC);
  uint64_t from = lm_session_console_size (s);
  struct lm_console_result result;
  struct lm_error ignored = LM_ERROR_INIT;

  if (null == -1)
    return lm_error_errno (err, errno, "/dev/null");
  if (lm_console_check_regex (regex, err) == -1 || talk (s, null, err) == -1)
    return -1;
  if (lm_session_wait_for (s, machine, regex, from, timeout * 1000,
                           lm_interrupt_catch (), &result, err) == -1) {
    print_log (s, from, &ignored);
    return -1;
  }
  return print_log (s, from, err);
}

static int
run_console (struct lm_cli *cli, struct lm_error *err)
{
  const char *regex = lm_args_string (&cli->args, "wait-for");
  CLEANUP_SESSION struct lm_session *s = NULL;
  CLEANUP_MACHINE struct lm_machine *machine = NULL;
  uint64_t timeout = DEFAULT_TIMEOUT_S;

  if (lm_args_number (&cli->args, "timeout", 0, 1000000, &timeout, err)
      == -1)
    return -1;
  s = lm_session_open (cli->args.operands[0], false, err);
  if (s == NULL)
    return -1;
  if (lm_args_flag (&cli->args, "log"))
    return print_log (s, 0, err);
  if (lm_session_machine_attach (s, &machine, err) == -1)
    return -1;
  if (machine == NULL) {
    lm_error_set (err, LM_ERR_NOT_FOUND, "session %s: no machine is "
                  "running", s->name);
    return lm_error_hint (err, "'livemount boot %s' starts it, 'livemount "
                          "console --log %s' shows its last words", s->name,
                          s->name);
  }
  if (regex)
    return talk_and_wait (s, machine, regex, timeout, err);
  if (isatty (STDIN_FILENO))
    lm_report_note (cli, "The console of %s; Ctrl-] leaves it, the machine "
                    "runs on.", s->name);
  return talk (s, STDOUT_FILENO, err);
}

const struct lm_command lm_cmd_console = {
  .name = "console",
  .area = "Live mount",
  .summary = "talk to a session's machine over its serial port",
  .usage = "SESSION",
  .description =
    "On a terminal Ctrl-] leaves. Otherwise standard input is typed into "
    "the guest, what it answers is copied to standard output, and the "
    "command ends when the input has ended and the guest is silent.",
  .min_operands = 1,
  .max_operands = 1,
  .completion = LM_COMPLETE_SESSION,
  .options = options,
  .run = run_console,
};
