/* SPDX-License-Identifier: Apache-2.0
 *
 * The commands.  Each cmd-<verb>.c defines one struct lm_command (or two
 * that are opposites); the list of them is in commands.c, in the order of
 * --help.
 */
#ifndef LM_MOUNT_COMMANDS_H
#define LM_MOUNT_COMMANDS_H

#include "common/error.h"
#include "mount/cli.h"
#include "mount/options.h"

struct lm_command {
  const char *name;             /* one word, or two: "key list" */
  const char *area;             /* the heading that it stands under */
  const char *summary;          /* one line, no full stop */
  const char *usage;            /* its operands: "VM [NAME=]SOURCE..." */
  const char *description;      /* more for `help COMMAND`; may be NULL */
  int min_operands;
  int max_operands;             /* -1: any number */
  enum lm_completion completion;        /* of its operands */
  const struct lm_option *options;      /* NULL: only the global ones */
  bool hidden;                  /* for our own scripts: not in --help */

  /* Returns an exit code (0, 3, 4, 5 or another that the manual names),
   * or -1 with *err set.  Only main reports the error. */
  int (*run) (struct lm_cli *cli, struct lm_error *err);
};

/* NULL ends it. */
extern const struct lm_command *const lm_commands[];

/* The command that ARGV begins with; *RET_WORDS is how many words its
 * name took.  LM_ERR_USAGE with what was perhaps meant in the hint. */
extern const struct lm_command *
lm_command_find (int argc, char *const argv[], int *ret_words,
                 struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Was what COMMAND got enough, and not too much? */
extern int lm_command_check_operands (const struct lm_command *command,
                                      const struct lm_args *args,
                                      struct lm_error *err)
  __attribute__ ((nonnull));

extern const struct lm_command lm_cmd_backup;
extern const struct lm_command lm_cmd_boot;
extern const struct lm_command lm_cmd_check;
extern const struct lm_command lm_cmd_completion;
extern const struct lm_command lm_cmd_console;
extern const struct lm_command lm_cmd_diff;
extern const struct lm_command lm_cmd_doctor;
extern const struct lm_command lm_cmd_forget;
extern const struct lm_command lm_cmd_gc;
extern const struct lm_command lm_cmd_help;
extern const struct lm_command lm_cmd_init;
extern const struct lm_command lm_cmd_inspect;
extern const struct lm_command lm_cmd_key_add;
extern const struct lm_command lm_cmd_key_export;
extern const struct lm_command lm_cmd_key_import;
extern const struct lm_command lm_cmd_key_list;
extern const struct lm_command lm_cmd_key_passwd;
extern const struct lm_command lm_cmd_key_remove;
extern const struct lm_command lm_cmd_key_test;
extern const struct lm_command lm_cmd_leases;
extern const struct lm_command lm_cmd_leases_break;
extern const struct lm_command lm_cmd_mount;
extern const struct lm_command lm_cmd_protect;
extern const struct lm_command lm_cmd_prune;
extern const struct lm_command lm_cmd_restore;
extern const struct lm_command lm_cmd_resume;
extern const struct lm_command lm_cmd_sessions;
extern const struct lm_command lm_cmd_show;
extern const struct lm_command lm_cmd_snapshots;
extern const struct lm_command lm_cmd_stats;
extern const struct lm_command lm_cmd_stop;
extern const struct lm_command lm_cmd_unmount;
extern const struct lm_command lm_cmd_unprotect;
extern const struct lm_command lm_cmd_version;

#endif
