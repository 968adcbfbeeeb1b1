/* SPDX-License-Identifier: Apache-2.0
 * `livemount forget`: snapshots that are not needed any more.
 */
#include <config.h>

#include <stdio.h>

#include "common/cleanup.h"
#include "formats/native/forget.h"
#include "mount/commands.h"
#include "mount/open-repository.h"
#include "mount/report.h"
#include "mount/snapshot-list.h"
#include "common/banned.h"

static const struct lm_option options[] = {
  { .name = "yes", .letter = 'y', .help = "don't ask" },
  { .name = NULL }
};

/* -1: no, with the error set. */
static int
confirm (struct lm_cli *cli, const struct lm_snapshot_list *list,
         struct lm_error *err)
{
  char question[256];
  size_t i;
  int r;

  if (lm_args_flag (&cli->args, "yes"))
    return 0;
  for (i = 0; i < list->n && list->n > 1; i++)
    lm_report_note (cli, "  %s", list->names[i]);
  if (list->n == 1)
    snprintf (question, sizeof question, "Forget snapshot %s?",
              list->names[0]);
  else
    snprintf (question, sizeof question, "Forget these %zu snapshots?",
              list->n);
  r = lm_report_confirm (cli, question, err);
  if (r == 0)
    lm_error_set (err, LM_ERR_USAGE, "nothing was forgotten");
  return r == 1 ? 0 : -1;
}

static int
run_forget (struct lm_cli *cli, struct lm_error *err)
{
  const struct lm_repository_request open = { .read_only = false };
  CLEANUP_REPOSITORY struct lm_repository *repo =
    lm_cli_open_repository (cli, &open, NULL, err);
  CLEANUP (lm_snapshot_list_release)
    struct lm_snapshot_list list = { .n = 0 };
  size_t i;

  if (repo == NULL ||
      lm_snapshot_list_resolve (repo, cli->args.operands,
                                cli->args.nr_operands, true, &list,
                                err) == -1 ||
      confirm (cli, &list, err) == -1 ||
      lm_forget_run (repo, (const uint8_t (*)[LM_NAME_ID_LEN]) list.ids,
                     list.n, "forget", err) == -1)
    return -1;
  if (cli->json)
    return lm_report_json (json_pack ("{s:o}", "forgotten",
                                      lm_snapshot_list_to_json (&list)),
                           err);
  for (i = 0; i < list.n; i++)
    lm_report_note (cli, "snapshot %s is forgotten", list.names[i]);
  return 0;
}

const struct lm_command lm_cmd_forget = {
  .name = "forget",
  .area = "Repository",
  .summary = "forget snapshots; gc frees their space later",
  .usage = "SNAPSHOT...",
  .description =
    "All of them are forgotten, or none. You are asked first; without a "
    "terminal --yes is needed. A snapshot that is protected, or that a "
    "session stands on, is refused.",
  .min_operands = 1,
  .max_operands = -1,
  .completion = LM_COMPLETE_SNAPSHOT,
  .options = options,
  .run = run_forget,
};
