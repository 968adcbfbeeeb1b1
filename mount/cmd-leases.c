/* SPDX-License-Identifier: Apache-2.0
 * `livemount leases`: operations that hold a lease on the repository.
 */
#include <config.h>

#include "common/cleanup.h"
#include "common/hex.h"
#include "common/timestamp.h"
#include "formats/native/lease.h"
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

static int
run_leases (struct lm_cli *cli, struct lm_error *err)
{
  const struct lm_repository_request open = { .read_only = true };
  CLEANUP_REPOSITORY struct lm_repository *repo =
    lm_cli_open_repository (cli, &open, NULL, err);
  struct lm_lease_info *infos;
  json_t *rows;
  size_t i, n;

  if (repo == NULL || lm_lease_list (repo, &infos, &n, err) == -1)
    return -1;
  rows = json_array ();
  for (i = 0; i < n; i++)
    json_array_append_new (rows, to_json (&infos[i]));
  lm_lease_infos_free (infos, n);
  return lm_table_print (cli, "leases", rows, columns,
                         sizeof columns / sizeof columns[0], "No leases.",
                         err);
}

const struct lm_command lm_cmd_leases = {
  .name = "leases",
  .area = "Repository",
  .summary = "list who is at work on the repository",
  .usage = "",
  .run = run_leases,
};
