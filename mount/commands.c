/* SPDX-License-Identifier: Apache-2.0
 * The list of commands; see commands.h.
 */
#include <config.h>

#include "mount/commands.h"

#include <stdio.h>
#include <string.h>

#include "common/banned.h"

const struct lm_command *const lm_commands[] = {
  &lm_cmd_init,
  &lm_cmd_backup,
  &lm_cmd_snapshots,
  &lm_cmd_show,
  &lm_cmd_restore,
  &lm_cmd_diff,
  &lm_cmd_check,
  &lm_cmd_prune,
  &lm_cmd_forget,
  &lm_cmd_protect,
  &lm_cmd_unprotect,
  &lm_cmd_gc,
  &lm_cmd_stats,
  &lm_cmd_inspect,
  &lm_cmd_leases,
  &lm_cmd_leases_break,
  &lm_cmd_key_list,
  &lm_cmd_key_add,
  &lm_cmd_key_passwd,
  &lm_cmd_key_remove,
  &lm_cmd_key_test,
  &lm_cmd_key_export,
  &lm_cmd_key_import,
  &lm_cmd_mount,
  &lm_cmd_boot,
  &lm_cmd_console,
  &lm_cmd_sessions,
  &lm_cmd_stop,
  &lm_cmd_resume,
  &lm_cmd_unmount,
  &lm_cmd_doctor,
  &lm_cmd_version,
  &lm_cmd_help,
  &lm_cmd_completion,
  NULL
};

/* How many edits from A to B (at most 32 bytes each)? */
static unsigned
distance (const char *a, const char *b)
{
  unsigned row[33], i, j, la = strlen (a), lb = strlen (b);

  if (la > 32 || lb > 32)
    return 99;
  for (j = 0; j <= lb; j++)
    row[j] = j;
  for (i = 1; i <= la; i++) {
    unsigned diagonal = row[0];

    row[0] = i;
    for (j = 1; j <= lb; j++) {
      unsigned cost = diagonal + (a[i - 1] != b[j - 1]);

      diagonal = row[j];
      if (row[j] + 1 < cost)
        cost = row[j] + 1;
      if (row[j - 1] + 1 < cost)
        cost = row[j - 1] + 1;
      row[j] = cost;
    }
  }
  return row[lb];
}

static void
hint_nearest (const char *word, struct lm_error *err)
{
  const struct lm_command *const *c, *best = NULL;
  unsigned least = 3;

  for (c = lm_commands; *c; c++) {
    unsigned d = (*c)->hidden ? 99 : distance (word, (*c)->name);

    if (d < least) {
      least = d;
      best = *c;
    }
  }
  if (best)
    lm_error_hint (err, "did you mean '%s'?", best->name);
  else
    lm_error_hint (err, "'livemount help' lists the commands");
}

const struct lm_command *
lm_command_find (int argc, char *const argv[], int *ret_words,
                 struct lm_error *err)
{
  const struct lm_command *const *c, *one_word = NULL;

  for (c = lm_commands; *c; c++) {
    const char *name = (*c)->name;
    size_t len = strcspn (name, " ");

    if (strlen (argv[0]) != len || memcmp (argv[0], name, len) != 0)
      continue;
    if (name[len] == '\0')
      one_word = *c;
    else if (argc > 1 && strcmp (argv[1], name + len + 1) == 0) {
      *ret_words = 2;
      return *c;
    }
  }
  if (one_word) {
    *ret_words = 1;
    return one_word;
  }
  lm_error_set (err, LM_ERR_USAGE, "unknown command '%.40s'", argv[0]);
  for (c = lm_commands; *c; c++) {
    size_t len = strcspn ((*c)->name, " ");

    if ((*c)->name[len] && strlen (argv[0]) == len &&
        memcmp (argv[0], (*c)->name, len) == 0) {
      lm_error_set (err, LM_ERR_USAGE, argc > 1 ? "unknown command '%.40s "
                    "%.40s'" : "'%.40s%.0s' needs another word", argv[0],
                    argc > 1 ? argv[1] : "");
      lm_error_hint (err, "for example 'livemount %s'", (*c)->name);
      return NULL;
    }
  }
  hint_nearest (argv[0], err);
  return NULL;
}

int
lm_command_check_operands (const struct lm_command *command,
                           const struct lm_args *args, struct lm_error *err)
{
  int n = args->nr_operands;

  if (n >= command->min_operands &&
      (command->max_operands < 0 || n <= command->max_operands))
    return 0;
  if (n < command->min_operands)
    lm_error_set (err, LM_ERR_USAGE, "%s: something is missing: %s",
                  command->name, command->usage);
  else if (command->max_operands == 0)
    lm_error_set (err, LM_ERR_USAGE, "%s takes nothing more, but got '%.60s'",
                  command->name, args->operands[0]);
  else
    lm_error_set (err, LM_ERR_USAGE, "%s: '%.60s' is too much: %s",
                  command->name, args->operands[command->max_operands],
                  command->usage);
  return lm_error_hint (err, "'livemount help %s' says more", command->name);
}
