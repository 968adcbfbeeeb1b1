/* SPDX-License-Identifier: Apache-2.0
 * `livemount key list`: what opens the repository.
 */
#include <config.h>

#include "common/cleanup.h"
#include "common/hex.h"
#include "common/timestamp.h"
#include "formats/native/key-slot.h"
#include "mount/commands.h"
#include "mount/open-repository.h"
#include "mount/report.h"
#include "mount/table.h"
#include "common/banned.h"

static const struct lm_column columns[] = {
  { "id", "SLOT", LM_COLUMN_TEXT },
  { "kind", "KIND", LM_COLUMN_TEXT },
  { "label", "LABEL", LM_COLUMN_TEXT },
  { "created", "CREATED", LM_COLUMN_TEXT },
};

static json_t *
to_json (const struct lm_key_slot *slot)
{
  char id[2 * LM_SLOT_ID_LEN + 1], created[LM_TIMESTAMP_LEN + 1];

  lm_hex_encode (slot->id, sizeof slot->id, id);
  lm_timestamp_format (slot->created, created);
  return json_pack ("{s:s, s:s, s:s, s:s, s:i}", "id", id,
                    "kind", lm_slot_kind_name (slot->kind),
                    "label", slot->label, "created", created,
                    "epoch", (int) slot->epoch);
}

static int
run_key_list (struct lm_cli *cli, struct lm_error *err)
{
  const struct lm_repository_request open = { .read_only = true };
  CLEANUP_REPOSITORY struct lm_repository *repo =
    lm_cli_open_repository (cli, &open, NULL, err);
  CLEANUP_FREE struct lm_key_slot *slots = NULL;
  struct lm_error first = LM_ERROR_INIT;
  json_t *rows;
  size_t i, n;

  if (repo == NULL ||
      lm_key_slots_list (lm_repository_store (repo), lm_repository_id (repo),
                         &slots, &n, &first, err) == -1)
    return -1;
  if (first.kind != LM_ERR_NONE)
    lm_report_warning (cli, "%s", first.message);
  rows = json_array ();
  for (i = 0; i < n; i++)
    json_array_append_new (rows, to_json (&slots[i]));
  return lm_table_print (cli, "slots", rows, columns,
                         sizeof columns / sizeof columns[0],
                         "No key slots: the repository is not encrypted.",
                         err);
}

const struct lm_command lm_cmd_key_list = {
  .name = "key list",
  .area = "Repository",
  .summary = "list the key slots: what opens the repository",
  .usage = "",
  .run = run_key_list,
};
