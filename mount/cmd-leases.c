/* SPDX-License-Identifier: Apache-2.0
 * `livemount leases`: operations that hold a lease on the repository, and
 * sessions that hold a pin on a snapshot.
 */
#include <config.h>

#include "common/cleanup.h"
#include "common/hex.h"
#include "common/timestamp.h"
#include "formats/native/lease.h"
#include "formats/native/pin.h"
#include "mount/commands.h"
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
};

static json_t *
to_json (const struct lm_lease_info *l)
{
  char id[2 * LM_NAME_ID_LEN + 1], started[LM_TIMESTAMP_LEN + 1];

  lm_hex_encode (l->id, sizeof l->id, id);
  lm_timestamp_format (l->started, started);
  return json_pack ("{s:s, s:s*, s:s*, s:s*, s:I, s:s*, s:s, s:I, s:I}",
                    "id", id, "kind", l->kind, "host", l->host,
                    "user", l->user, "pid", (json_int_t) l->pid,
                    "program", l->program, "started", started,
                    "counter", (json_int_t) l->counter,
                    "seconds", (json_int_t) l->seconds);
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

static int
run_leases (struct lm_cli *cli, struct lm_error *err)
{
  const struct lm_repository_request open = { .read_only = true };
  CLEANUP_REPOSITORY struct lm_repository *repo =
    lm_cli_open_repository (cli, &open, NULL, err);
  struct lm_lease_info *infos;
  struct lm_pin_info *pins;
  json_t *rows;
  size_t i, n, bad;

  if (repo == NULL || lm_lease_list (repo, &infos, &n, err) == -1)
    return -1;
  rows = json_array ();
  for (i = 0; i < n; i++)
    json_array_append_new (rows, to_json (&infos[i]));
  lm_lease_infos_free (infos, n);
  if (lm_pin_list (repo, &pins, &n, &bad, err) == -1) {
    json_decref (rows);
    return -1;
  }
  for (i = 0; i < n; i++)
    json_array_append_new (rows, pin_to_json (&pins[i]));
  lm_pin_infos_free (pins, n);
  if (bad)
    lm_report_warning (cli, "%zu pins can't be read", bad);
  return lm_table_print (cli, "leases", rows, columns,
                         sizeof columns / sizeof columns[0],
                         "No leases and no pins.", err);
}

const struct lm_command lm_cmd_leases = {
  .name = "leases",
  .area = "Repository",
  .summary = "list who is at work on the repository, and pinned snapshots",
  .usage = "",
  .description =
    "A lease belongs to a running operation and dies with it; a pin belongs "
    "to a session, keeps its snapshot, and stays until 'unmount'.",
  .run = run_leases,
};
