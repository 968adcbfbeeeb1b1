/* SPDX-License-Identifier: Apache-2.0
 *
 * The only place that prints errors, warnings and remarks, and that turns
 * an error into an exit code.
 */
#ifndef LM_MOUNT_REPORT_H
#define LM_MOUNT_REPORT_H

#include <jansson.h>

#include "common/error.h"
#include "mount/cli.h"

/* As the manual promises them. */
enum lm_exit {
  LM_EXIT_OK = 0,
  LM_EXIT_FAILED = 1,
  LM_EXIT_USAGE = 2,
  LM_EXIT_PARTIAL = 3,          /* some of the source could not be read */
  LM_EXIT_DAMAGE = 4,
  LM_EXIT_INCONCLUSIVE = 5,
  LM_EXIT_NO_REPOSITORY = 10,
  LM_EXIT_LOCKED = 11,
  LM_EXIT_KEY = 12,
  LM_EXIT_INTERRUPTED = 130,
};

extern enum lm_exit lm_exit_of (enum lm_error_kind kind);

/* Print it on standard error: "livemount: MESSAGE" and "  hint: …", or
 * with --json one line of JSON.  Returns the exit code. */
extern enum lm_exit lm_report_error (const struct lm_cli *cli,
                                     const struct lm_error *err)
  __attribute__ ((nonnull));

/* Something that a person should know although it went on; also with -q. */
extern void lm_report_warning (const struct lm_cli *cli, const char *fmt, ...)
  __attribute__ ((nonnull, format (printf, 2, 3)));

/* What was done; silent with -q and --json. */
extern void lm_report_note (const struct lm_cli *cli, const char *fmt, ...)
  __attribute__ ((nonnull, format (printf, 2, 3)));

/* Only with -v. */
extern void lm_report_detail (const struct lm_cli *cli, const char *fmt, ...)
  __attribute__ ((nonnull, format (printf, 2, 3)));

/* Print VALUE on standard output, indented, and drop the reference.
 * NULL is an error: out of memory. */
extern int lm_report_json (json_t *value, struct lm_error *err)
  __attribute__ ((nonnull (2)));

/* Flush standard output: -1 if not all of it could be written. */
extern int lm_report_flush (struct lm_error *err) __attribute__ ((nonnull));

/* Ask for a yes on the terminal.  1 yes, 0 no; without a terminal (or
 * with --json) LM_ERR_USAGE with a hint to say --yes. */
extern int lm_report_confirm (const struct lm_cli *cli,
                              const char *question, struct lm_error *err)
  __attribute__ ((nonnull));

#endif
