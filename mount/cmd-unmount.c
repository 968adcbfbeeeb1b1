/* SPDX-License-Identifier: Apache-2.0
 * `livemount unmount`: end a session and drop what was written in it.
 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "common/size.h"
#include "mount/commands.h"
#include "mount/report.h"
#include "mount/session-machine.h"
#include "mount/session-mount.h"
#include "common/banned.h"

static const struct lm_option options[] = {
  { .name = "yes", .letter = 'y', .help = "don't ask" },
  { .name = "purge",
    .help = "remove what was written now, instead of keeping it for 24 "
            "hours" },
  { .name = "dropped",
    .help = "remove a session that was unmounted before; implies --purge" },
  { .name = NULL }
};

/* -1: no, with the error set. */
static int
confirm (struct lm_cli *cli, const struct lm_session *s, uint64_t changes,
         bool purge, struct lm_error *err)
{
  char size[LM_SIZE_LEN], question[256];
  int r;

  if (changes == 0 || lm_args_flag (&cli->args, "yes"))
    return 0;
  lm_size_format (changes, size);
  snprintf (question, sizeof question, "Drop the %s that were written in "
            "session %s%s?", size, s->name, purge ? " for good" : "");
  r = lm_report_confirm (cli, question, err);
  if (r == 0)
    lm_error_set (err, LM_ERR_USAGE, "session %s is left as it is",
                  s->name);
  return r == 1 ? 0 : -1;
}

static int
run_unmount (struct lm_cli *cli, struct lm_error *err)
{
  const char *name = cli->args.operands[0];
  bool dropped = lm_args_flag (&cli->args, "dropped");
  bool purge = dropped || lm_args_flag (&cli->args, "purge");
  CLEANUP_SESSION struct lm_session *s = NULL;
  CLEANUP_FREE char *kept_as = NULL;
  uint64_t changes = 0;

  s = dropped ? lm_session_open_dropped (name, true, err)
              : lm_session_open (name, true, err);
  if (s == NULL)
    return -1;
  if (s->stage == LM_SESSION_KEPT) {
    if (lm_session_changes (s, &changes, err) == -1 ||
        confirm (cli, s, changes, purge, err) == -1)
      return -1;
  }
  if (lm_session_halt (s, err) == -1)
    return -1;
  if (changes == 0 || purge) {
    if (lm_session_purge (s, err) == -1)
      return -1;
  }
  else if (lm_session_drop (s, &kept_as, err) == -1)
    return -1;
  lm_sessions_sweep (cli);
  if (cli->json)
    return lm_report_json (json_pack ("{s:s, s:I, s:s*}", "session", name,
                                      "changes", (json_int_t) changes,
                                      "dropped", kept_as), err);
  lm_report_note (cli, "session %s is unmounted", name);
  if (kept_as)
    lm_report_note (cli, "what was written is kept for 24 hours: 'livemount "
                    "resume --dropped %s' brings it back", kept_as);
  return 0;
}

const struct lm_command lm_cmd_unmount = {
  .name = "unmount",
  .area = "Live mount",
  .summary = "end a session and drop what was written in it",
  .usage = "SESSION",
  .description =
    "The machine's power is cut, the proxy ends. If something was written, "
    "you are asked first (without a terminal --yes is needed), and it is "
    "kept for 24 hours.",
  .min_operands = 1,
  .max_operands = 1,
  .completion = LM_COMPLETE_SESSION,
  .options = options,
  .run = run_unmount,
};
