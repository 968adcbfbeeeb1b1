/* SPDX-License-Identifier: Apache-2.0
 * `livemount protect` and its opposite, `livemount unprotect`: snapshots
 * that neither forget nor prune removes.
 */
#include <config.h>

#include "common/cleanup.h"
#include "formats/native/journal.h"
#include "formats/native/reserve.h"
#include "formats/native/whoami.h"
#include "mount/commands.h"
#include "mount/open-repository.h"
#include "mount/report.h"
#include "mount/snapshot-list.h"
#include "common/banned.h"

/* One record for all that are not so yet. */
static int
set_protection (struct lm_repository *repo,
                const struct lm_snapshot_list *list, bool is_protected,
                struct lm_error *err)
{
  CLEANUP_FREE char *writer =
    lm_whoami_writer (is_protected ? "protect" : "unprotect", err);
  CLEANUP_JSON json_t *changes = json_array ();
  size_t i;
  int r;

  if (writer == NULL)
    return -1;
  for (i = 0; i < list->n; i++) {
    const struct lm_snapshot_entry *e =
      lm_journal_state_snapshot (lm_repository_state (repo), list->ids[i]);

    if ((e == NULL || e->is_protected != is_protected) &&
        lm_change_snapshot_protect (changes, list->ids[i], is_protected,
                                    err) == -1)
      return -1;
  }
  if (json_array_size (changes) == 0)
    return 0;
  while ((r = lm_journal_commit (repo, NULL, writer, changes, err)) == -1 &&
         lm_reserve_drop (lm_repository_store (repo), err))
    ;
  lm_reserve_restore (lm_repository_store (repo));
  return r;
}

static int
run (struct lm_cli *cli, bool is_protected, struct lm_error *err)
{
  const struct lm_repository_request open = { .read_only = false };
  CLEANUP_REPOSITORY struct lm_repository *repo =
    lm_cli_open_repository (cli, &open, NULL, err);
  CLEANUP (lm_snapshot_list_release)
    struct lm_snapshot_list list = { .n = 0 };
  size_t i;

  if (repo == NULL ||
      lm_snapshot_list_resolve (repo, cli->args.operands,
                                cli->args.nr_operands, false, &list,
                                err) == -1 ||
      set_protection (repo, &list, is_protected, err) == -1)
    return -1;
  if (cli->json)
    return lm_report_json (json_pack ("{s:b, s:o}", "protected",
                                      is_protected, "snapshots",
                                      lm_snapshot_list_to_json (&list)),
                           err);
  for (i = 0; i < list.n; i++)
    lm_report_note (cli, "snapshot %s is %s", list.names[i],
                    is_protected ? "protected" : "not protected any more");
  return 0;
}

static int
run_protect (struct lm_cli *cli, struct lm_error *err)
{
  return run (cli, true, err);
}

static int
run_unprotect (struct lm_cli *cli, struct lm_error *err)
{
  return run (cli, false, err);
}

const struct lm_command lm_cmd_protect = {
  .name = "protect",
  .area = "Repository",
  .summary = "protect snapshots from forget and prune",
  .usage = "SNAPSHOT...",
  .min_operands = 1,
  .max_operands = -1,
  .completion = LM_COMPLETE_SNAPSHOT,
  .run = run_protect,
};

const struct lm_command lm_cmd_unprotect = {
  .name = "unprotect",
  .area = "Repository",
  .summary = "take back what protect did",
  .usage = "SNAPSHOT...",
  .min_operands = 1,
  .max_operands = -1,
  .completion = LM_COMPLETE_SNAPSHOT,
  .run = run_unprotect,
};
