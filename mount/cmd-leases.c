/* SPDX-License-Identifier: Apache-2.0
 * `livemount leases`: operations that hold a lease on the repository, and
 * sessions that hold a pin on a snapshot.
 */
#include <config.h>

#include "common/cleanup.h"
#include "common/hex.h"
#include "common/json.h"
#include "common/timestamp.h"
#include "formats/native/lease-watch.h"
#include "formats/native/pin.h"
#include "mount/commands.h"
#include "mount/interrupt.h"
#include "mount/open-repository.h"
#include "mount/report.h"
#include "mount/table.h"
#include "common/banned.h"

static const struct lm_column columns[] = {
  { "id", "LEASE", LM_COLUMN_TEXT },
  { "kind", "KIND", LM_COLUMN_TEXT },
  { "host", "HOST", LM_COLUMN_TEXT },
  { "user", "USER", LM_COLUMN_TEXT },
  { "pid", "PID", LM_COLUMN_NUMBER },
  { "started", "SINCE", LM_COLUMN_AGE },
  { "session", "SESSION", LM_COLUMN_TEXT },
  { "state", "STATE", LM_COLUMN_TEXT },         /* the last: for --watch */
};

static const struct lm_option options[] = {
  { .name = "watch",
    .help = "look until it is known which leases are dead: five minutes at "
            "most" },
  { .name = NULL }
};

static json_t *
to_json (const struct lm_lease_seen *seen)
{
  static const char *const states[] = {
    [LM_LEASE_UNKNOWN] = "unknown", [LM_LEASE_ALIVE] = "alive",
    [LM_LEASE_DEAD] = "dead",
  };
  const struct lm_lease_info *l = &seen->info;
  char id[2 * LM_NAME_ID_LEN + 1], started[LM_TIMESTAMP_LEN + 1];

  lm_hex_encode (seen->id, sizeof seen->id, id);
  if (!seen->readable)
    return json_pack ("{s:s, s:s, s:s}", "id", id, "kind", "unreadable",
                      "state", states[seen->life]);
  lm_timestamp_format (l->started, started);
  return json_pack ("{s:s, s:s*, s:s*, s:s*, s:I, s:s*, s:s, s:I, s:I, "
                    "s:s}",
                    "id", id, "kind", l->kind, "host", l->host,
                    "user", l->user, "pid", (json_int_t) l->pid,
                    "program", l->program, "started", started,
                    "counter", (json_int_t) l->counter,
                    "seconds", (json_int_t) l->seconds,
                    "state", states[seen->life]);
}

static json_t *
pin_to_json (const struct lm_pin_info *p)
{
  char id[2 * LM_NAME_ID_LEN + 1], snapshot[sizeof id];
  char created[LM_TIMESTAMP_LEN + 1];

  lm_hex_encode (p->id, sizeof p->id, id);
  lm_hex_encode (p->snapshot, sizeof p->snapshot, snapshot);
  lm_timestamp_format (p->created, created);
  return json_pack ("{s:s, s:s, s:s*, s:s*, s:s*, s:s, s:s}", "id", id,
                    "kind", "pin", "host", p->host, "user", p->user,
                    "session", p->session, "snapshot", snapshot,
                    "started", created);
}

/* One look can't tell who is alive; that takes as long as a lease
 * lasts. */
static int
look (const struct lm_cli *cli, struct lm_lease_watch *watch,
      struct lm_error *err)
{
  if (!lm_args_flag (&cli->args, "watch"))
    return lm_lease_watch_look (watch, err);
  lm_report_note (cli, "Watching; it takes up to %d minutes to say that one "
                  "is dead.", LM_LEASE_SECONDS / 60);
  return lm_lease_watch_wait (watch, NULL, LM_LEASE_WAIT_ALIVE_WILL_DO,
                              lm_interrupt_catch (), err);
}

static int
add_leases (const struct lm_cli *cli, struct lm_repository *repo,
            json_t *rows, struct lm_error *err)
{
  struct lm_lease_watch *watch =
    lm_lease_watch_new (lm_repository_store (repo),
                        lm_repository_keys (repo), err);
  const struct lm_lease_seen *seen;
  size_t i, n, dead = 0;
  int r = -1;

  if (watch == NULL)
    return -1;
  if (look (cli, watch, err) == 0) {
    seen = lm_lease_watch_seen (watch, &n);
    for (i = 0; i < n; i++) {
      json_array_append_new (rows, to_json (&seen[i]));
      dead += seen[i].life == LM_LEASE_DEAD;
    }
    r = 0;
  }
  lm_lease_watch_free (watch);
  if (dead > 0)
    lm_report_note (cli, "%zu of them are dead. They harm nobody and go by "
                    "themselves, with the next gc; 'livemount leases break "
                    "ID' removes one now.", dead);
  return r;
}

static int
add_pins (const struct lm_cli *cli, struct lm_repository *repo, json_t *rows,
          struct lm_error *err)
{
  struct lm_pin_info *pins;
  size_t i, n, bad;

  if (lm_pin_list (repo, &pins, &n, &bad, err) == -1)
    return -1;
  for (i = 0; i < n; i++)
    json_array_append_new (rows, pin_to_json (&pins[i]));
  lm_pin_infos_free (pins, n);
  if (bad)
    lm_report_warning (cli, "%zu pins can't be read: nothing is forgotten "
                       "before they are removed ('livemount check' names "
                       "them)", bad);
  return 0;
}

static int
run_leases (struct lm_cli *cli, struct lm_error *err)
{
  const struct lm_repository_request open = { .read_only = true };
  const size_t nr_columns = sizeof columns / sizeof columns[0];
  CLEANUP_REPOSITORY struct lm_repository *repo =
    lm_cli_open_repository (cli, &open, NULL, err);
  CLEANUP_JSON json_t *rows = json_array ();

  if (repo == NULL || add_leases (cli, repo, rows, err) == -1 ||
      add_pins (cli, repo, rows, err) == -1)
    return -1;
  return lm_table_print (cli, "leases", lm_steal (rows), columns,
                         lm_args_flag (&cli->args, "watch")
                         ? nr_columns : nr_columns - 1,
                         "No leases and no pins.", err);
}

const struct lm_command lm_cmd_leases = {
  .name = "leases",
  .area = "Repository",
  .summary = "list who is at work on the repository, and pinned snapshots",
  .usage = "",
  .description =
    "A lease belongs to a running operation and dies with it; a pin belongs "
    "to a session, keeps its snapshot, and stays until 'unmount', or until "
    "a person removes it.",
  .options = options,
  .run = run_leases,
};
