/* SPDX-License-Identifier: Apache-2.0
 *
 * Options, described once.  From the same table come the parser, --help,
 * the completion and the check against the manual, so they can't disagree.
 */
#ifndef LM_MOUNT_OPTIONS_H
#define LM_MOUNT_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/* What the shell can complete an operand or an option's argument with. */
enum lm_completion {
  LM_COMPLETE_NOTHING = 0,
  LM_COMPLETE_FILE,
  LM_COMPLETE_FOLDER,
  LM_COMPLETE_SNAPSHOT,
  LM_COMPLETE_SESSION,
  LM_COMPLETE_COMMAND,
  LM_COMPLETE_SLOT,
};

struct lm_option {
  const char *name;             /* without dashes; NULL ends a table */
  char letter;                  /* 0: none */
  const char *argument;         /* "FILE"; NULL: a flag */
  const char *help;             /* one sentence without its full stop */
  const char *choices;          /* "auto|kvm|tcg", the only valid ones */
  enum lm_completion completion;
};

/* Options that every command has; they may also stand before it. */
extern const struct lm_option lm_global_options[];

#define LM_OPTIONS_MAX 64       /* in one command, the global ones included */

struct lm_option_value {
  const struct lm_option *option;
  size_t n;                     /* how often it was given */
  const char **values;          /* N of them, borrowed from argv */
};

/* What was said.  All zero: nothing yet.  Strings are borrowed from
 * argv. */
struct lm_args {
  struct lm_option_value options[LM_OPTIONS_MAX];
  size_t nr_options;
  char **operands;              /* what is not an option, NULL at the end */
  int nr_operands;
};

extern void lm_args_release (struct lm_args *args)
  __attribute__ ((nonnull));

/* Parse argv[1] and on against the global options and OPTIONS (NULL: none).
 * Options and operands may be mixed, unless STOP: then the first operand
 * ends it.  May be called several times for one ARGS; options add up,
 * the operands are those of the last call and point into ARGV, which gets
 * reordered.  *RET_USED is the number of elements of ARGV that were
 * used.  LM_ERR_USAGE. */
extern int lm_args_parse (struct lm_args *args,
                          const struct lm_option *options, bool stop,
                          int argc, char *argv[], int *ret_used,
                          struct lm_error *err)
  __attribute__ ((nonnull (1, 5, 6, 7)));

/* Was it given?  NAME must be in one of the tables that were parsed (for
 * this and what follows): anything else is our own mistake. */
extern bool lm_args_flag (const struct lm_args *args, const char *name)
  __attribute__ ((nonnull));

/* The last value; NULL if it was not given. */
extern const char *lm_args_string (const struct lm_args *args,
                                   const char *name)
  __attribute__ ((nonnull));

/* All values, in order. */
extern const char *const *lm_args_list (const struct lm_args *args,
                                        const char *name, size_t *ret_n)
  __attribute__ ((nonnull));

/* As numbers; *RET is left alone when the option was not given.  The
 * error names the option. */
extern int lm_args_size (const struct lm_args *args, const char *name,
                         uint64_t *ret, struct lm_error *err)
  __attribute__ ((nonnull));
extern int lm_args_number (const struct lm_args *args, const char *name,
                           uint64_t min, uint64_t max, uint64_t *ret,
                           struct lm_error *err)
  __attribute__ ((nonnull));

/* Split "KEY=VALUE".  *RET_KEY is to be freed; NULL when there is no '='
 * or the part before it could be a path or URI (has '/' or ':').
 * *RET_VALUE is borrowed from TEXT. */
extern int lm_args_split (const char *text, char **ret_key,
                          const char **ret_value, struct lm_error *err)
  __attribute__ ((nonnull));

#endif
