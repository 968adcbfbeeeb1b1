/* SPDX-License-Identifier: Apache-2.0
 * `livemount resume`: start a session's proxy again, where it was.
 */
#include <config.h>

#include <stdio.h>

#include "mount/commands.h"
#include "mount/report.h"
#include "mount/session-boot.h"
#include "mount/session-mount.h"
#include "mount/session-proxy.h"
#include "common/banned.h"

static const struct lm_option options[] = {
  { .name = "boot", .help = "start its machine, too, as it was last time" },
  { .name = "dropped",
    .help = "bring back a session that was unmounted in the last 24 hours "
            "('livemount sessions --dropped' lists them)" },
  { .name = "name", .argument = "NAME",
    .help = "with --dropped: its name from now on" },
  { .name = NULL }
};

static int
run_resume (struct lm_cli *cli, struct lm_error *err)
{
  const char *name = cli->args.operands[0];
  const char *new_name = lm_args_string (&cli->args, "name");
  bool dropped = lm_args_flag (&cli->args, "dropped");
  CLEANUP_SESSION struct lm_session *s = NULL;

  if (new_name && !dropped)
    return lm_error_set (err, LM_ERR_USAGE, "--name goes with --dropped");
  s = dropped ? lm_session_open_dropped (name, true, err)
              : lm_session_open (name, true, err);
  if (s == NULL) {
    if (dropped && err->kind == LM_ERR_NOT_FOUND)
      lm_error_hint (err, "'livemount sessions --dropped' lists what can be "
                     "brought back");
    return -1;
  }
  if (s->stage != LM_SESSION_KEPT)
    return lm_error_set (err, LM_ERR_NOT_FOUND, "session %s is half-made or "
                         "half-removed: there is nothing to resume", name);
  if (dropped && lm_session_bring_back (s, new_name, err) == -1)
    return -1;
  if (lm_session_proxy_serves (s))
    lm_report_note (cli, "the proxy of session %s runs already", s->name);
  else if (lm_session_restart (cli, s, err) == -1)
    return -1;
  if (lm_args_flag (&cli->args, "boot") && lm_session_boot_again (s, err)
      == -1)
    return -1;
  return lm_session_print (cli, s, err);
}

const struct lm_command lm_cmd_resume = {
  .name = "resume",
  .area = "Live mount",
  .summary = "continue a session that was stopped, died or was dropped",
  .usage = "SESSION",
  .description =
    "The proxy starts again at the same address, with everything that was "
    "flushed before; a machine that is still running goes on.",
  .min_operands = 1,
  .max_operands = 1,
  .completion = LM_COMPLETE_SESSION,
  .options = options,
  .run = run_resume,
};
