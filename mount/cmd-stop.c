/* SPDX-License-Identifier: Apache-2.0
 * `livemount stop`: machine and proxy end, everything is kept.
 */
#include <config.h>

#include <stdio.h>

#include "mount/commands.h"
#include "mount/interrupt.h"
#include "mount/report.h"
#include "mount/session-machine.h"
#include "mount/session-mount.h"
#include "common/banned.h"

#define DEFAULT_GRACE_S 60

static const struct lm_option options[] = {
  { .name = "grace", .argument = "SECONDS",
    .help = "how long the guest has to shut down before its power is cut "
            "(default 60; 0: at once)" },
  { .name = NULL }
};

static int
run_stop (struct lm_cli *cli, struct lm_error *err)
{
  CLEANUP_SESSION struct lm_session *s = NULL;
  uint64_t grace = DEFAULT_GRACE_S;

  if (lm_args_number (&cli->args, "grace", 0, 86400, &grace, err) == -1)
    return -1;
  s = lm_session_open (cli->args.operands[0], true, err);
  if (s == NULL)
    return -1;
  if (lm_session_machine_stop (s, grace * 1000, lm_interrupt_catch (), err)
      == -1 || lm_session_halt (s, err) == -1)
    return -1;
  if (cli->json)
    return lm_report_json (lm_session_to_json (s, err), err);
  lm_report_note (cli, "session %s is stopped; 'livemount resume %s' "
                  "continues it", s->name, s->name);
  return 0;
}

const struct lm_command lm_cmd_stop = {
  .name = "stop",
  .area = "Live mount",
  .summary = "end a session's machine and proxy, and keep everything",
  .usage = "SESSION",
  .min_operands = 1,
  .max_operands = 1,
  .completion = LM_COMPLETE_SESSION,
  .options = options,
  .run = run_stop,
};
