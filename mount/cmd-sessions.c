/* SPDX-License-Identifier: Apache-2.0
 * `livemount sessions`.
 */
#include <config.h>

#include <stdio.h>

#include "mount/commands.h"
#include "mount/report.h"
#include "mount/session-mount.h"
#include "mount/table.h"
#include "common/banned.h"

static const struct lm_option options[] = {
  { .name = "dropped",
    .help = "list what unmount dropped in the last 24 hours instead" },
  { .name = NULL }
};

static const struct lm_column columns[] = {
  { "session", "SESSION", LM_COLUMN_TEXT },
  { "state", "STATE", LM_COLUMN_TEXT },
  { "machine", "MACHINE", LM_COLUMN_TEXT },
  { "snapshot", "SNAPSHOT", LM_COLUMN_TEXT },
  { "created", "AGE", LM_COLUMN_AGE },
  { "changes", "CHANGES", LM_COLUMN_SIZE },
};

static int
add_row (struct lm_cli *cli, json_t *rows, const char *name, bool dropped)
{
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_SESSION struct lm_session *s =
    dropped ? lm_session_open_dropped (name, false, &err)
            : lm_session_open (name, false, &err);
  json_t *row = s ? lm_session_to_json (s, &err) : NULL;

  if (row == NULL) {
    if (err.kind == LM_ERR_NOT_FOUND)
      return 0;                 /* gone since we listed it */
    lm_report_warning (cli, "session %s: %s", name, err.message);
    return 1;
  }
  json_array_append_new (rows, row);
  return 0;
}

static int
run_sessions (struct lm_cli *cli, struct lm_error *err)
{
  bool dropped = lm_args_flag (&cli->args, "dropped");
  json_t *rows;
  char **names;
  size_t i;
  int code = 0;

  lm_sessions_sweep (cli);
  names = lm_session_names (dropped, err);
  if (names == NULL)
    return -1;
  rows = json_array ();
  for (i = 0; names[i]; i++)
    code |= add_row (cli, rows, names[i], dropped);
  lm_session_names_free (names);
  if (lm_table_print (cli, "sessions", rows, columns,
                      sizeof columns / sizeof columns[0], "No sessions.",
                      err) == -1)
    return -1;
  return code;
}

const struct lm_command lm_cmd_sessions = {
  .name = "sessions",
  .area = "Live mount",
  .summary = "list the live mounts and their machines",
  .usage = "",
  .description =
    "STATE is that of the proxy: running, stopped (by 'stop'), or dead (it "
    "ended by itself, or the host was restarted: 'resume' continues).",
  .options = options,
  .run = run_sessions,
};
