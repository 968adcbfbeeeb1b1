/* SPDX-License-Identifier: Apache-2.0
 * `livemount snapshots`: what there is.
 */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "mount/commands.h"
#include "mount/open-repository.h"
#include "mount/report.h"
#include "mount/snapshot-json.h"
#include "mount/table.h"
#include "common/banned.h"

static const struct lm_option options[] = {
  { .name = "tag", .argument = "TAG", .help = "only those with this tag" },
  { .name = NULL }
};

static const struct lm_column columns[] = {
  { "snapshot", "SNAPSHOT", LM_COLUMN_TEXT },
  { "disk_names", "DISKS", LM_COLUMN_TEXT },
  { "size", "SIZE", LM_COLUMN_SIZE },
  { "stored", "STORED", LM_COLUMN_SIZE },
  { "consistency", "CONSISTENCY", LM_COLUMN_TEXT },
  { "protected", "PROTECTED", LM_COLUMN_TEXT },
  { "tags", "TAGS", LM_COLUMN_TEXT },
};

static bool
has_tag (const json_t *row, const char *tag)
{
  const json_t *tags = json_object_get (row, "tags"), *t;
  size_t i;

  json_array_foreach (tags, i, t)
    if (strcmp (json_string_value (t), tag) == 0)
      return true;
  return false;
}

/* What the table shows and the object itself has deeper down. */
static void
add_columns (json_t *row)
{
  json_t *names = json_array (), *disk;
  json_int_t size = 0;
  size_t i;

  json_array_foreach (json_object_get (row, "disks"), i, disk) {
    json_array_append (names, json_object_get (disk, "name"));
    size += json_integer_value (json_object_get (disk, "size"));
  }
  json_object_set_new (row, "disk_names", names);
  json_object_set_new (row, "size", json_integer (size));
  json_object_set (row, "stored",
                   json_object_get (json_object_get (row, "statistics"),
                                    "stored"));
}

static int
run_snapshots (struct lm_cli *cli, struct lm_error *err)
{
  const struct lm_repository_request open = { .read_only = true };
  const char *vm = cli->args.operands[0];
  const char *tag = lm_args_string (&cli->args, "tag");
  CLEANUP_REPOSITORY struct lm_repository *repo = NULL;
  const struct lm_snapshot_entry *entries;
  CLEANUP_JSON json_t *rows = json_array ();
  size_t i, n;
  int code = 0;

  if (vm && lm_name_check ("VM", vm, err) == -1)
    return -1;
  repo = lm_cli_open_repository (cli, &open, NULL, err);
  if (repo == NULL)
    return -1;
  entries = lm_repository_snapshots (repo, &n);
  for (i = 0; i < n; i++) {
    struct lm_error why = LM_ERROR_INIT;
    json_t *row;

    if (vm && strcmp (entries[i].vm, vm) != 0)
      continue;
    row = lm_cli_snapshot_json (repo, &entries[i], &why);
    if (row == NULL) {
      /* One damaged manifest must not hide the others. */
      row = lm_cli_snapshot_brief (&entries[i], &why);
      lm_report_warning (cli, "%s", why.message);
      code = LM_EXIT_DAMAGE;
    }
    else
      add_columns (row);
    if (tag && !has_tag (row, tag)) {
      json_decref (row);
      continue;
    }
    json_array_append_new (rows, row);
  }
  if (vm && json_array_size (rows) == 0 && !tag) {
    lm_error_set (err, LM_ERR_NOT_FOUND, "there are no snapshots of '%s'",
                  vm);
    return -1;
  }
  if (lm_table_print (cli, "snapshots", lm_steal (rows), columns,
                      sizeof columns / sizeof columns[0], "No snapshots.",
                      err) == -1)
    return -1;
  return code;
}

const struct lm_command lm_cmd_snapshots = {
  .name = "snapshots",
  .area = "Repository",
  .summary = "list the snapshots, of all VMs or of one",
  .usage = "[VM]",
  .description =
    "SIZE is that of the disks, STORED what the snapshot added to the "
    "repository.",
  .max_operands = 1,
  .completion = LM_COMPLETE_SNAPSHOT,
  .options = options,
  .run = run_snapshots,
};
