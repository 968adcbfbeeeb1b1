/* SPDX-License-Identifier: Apache-2.0
 * `livemount key list`: what opens the repository.
 *
 * Needs no key: who has lost theirs wants to know what there is.
 */
#include <config.h>

#include "common/cleanup.h"
#include "mount/commands.h"
#include "mount/key-cli.h"
#include "mount/table.h"
#include "common/banned.h"

static const struct lm_column columns[] = {
  { "id", "SLOT", LM_COLUMN_TEXT },
  { "kind", "KIND", LM_COLUMN_TEXT },
  { "label", "LABEL", LM_COLUMN_TEXT },
  { "created", "CREATED", LM_COLUMN_TEXT },
};

static int
run_key_list (struct lm_cli *cli, struct lm_error *err)
{
  CLEANUP (lm_key_place_release)
    struct lm_key_place place = LM_KEY_PLACE_INIT;
  json_t *rows;
  size_t i;

  if (lm_key_place_open (cli, false, &place, err) == -1)
    return -1;
  rows = json_array ();
  for (i = 0; i < place.n; i++)
    json_array_append_new (rows, lm_key_slot_json (&place.slots[i]));
  return lm_table_print (cli, "slots", rows, columns,
                         sizeof columns / sizeof columns[0],
                         place.config.encrypted
                         ? "No key slots: nothing opens the repository."
                         : "No key slots: the repository is not encrypted.",
                         err);
}

const struct lm_command lm_cmd_key_list = {
  .name = "key list",
  .area = "Keys",
  .summary = "list the key slots: what opens the repository",
  .usage = "",
  .description = "Needs no key.",
  .run = run_key_list,
};
