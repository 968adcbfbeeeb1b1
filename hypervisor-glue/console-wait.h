/* SPDX-License-Identifier: Apache-2.0
 *
 * Wait for a text on a machine's serial log.  The log is complete whether
 * or not somebody is connected to the port, so waiting never needs the
 * port itself, and a console can be open meanwhile.
 */
#ifndef LM_CONSOLE_WAIT_H
#define LM_CONSOLE_WAIT_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

enum lm_console_outcome {
  LM_CONSOLE_SEEN,
  LM_CONSOLE_TIMEOUT,
  LM_CONSOLE_ENDED,             /* the machine ended before */
};

struct lm_console_wait {
  const char *log_path;         /* need not be there yet */
  uint64_t from;                /* where to begin: bytes of the log */
  /* An extended POSIX regular expression, matched line by line; a prompt,
   * that is a last line without its end, counts.  Lines are what a person
   * would read: escape sequences are taken out, a carriage return ends a
   * line too. */
  const char *regex;
  int64_t timeout_ms;           /* negative: no limit */
  /* Does the machine run?  Asked about every half second; NULL: assume
   * it. */
  bool (*running) (void *opaque);
  void *opaque;
  const volatile sig_atomic_t *cancel;  /* NULL, or set by a handler */
};

#define LM_CONSOLE_LINE_MAX 1024

/* What ended the waiting, and the line that matched; else the last line
 * that had something on it, to show how far the guest came.  Printable. */
struct lm_console_result {
  enum lm_console_outcome outcome;
  char line[LM_CONSOLE_LINE_MAX];
};

/* LM_ERR_USAGE for a bad expression, LM_ERR_INTERRUPTED within 0.1 s of a
 * cancellation. */
extern int lm_console_wait_for (const struct lm_console_wait *wait,
                                struct lm_console_result *ret_result,
                                struct lm_error *err)
  __attribute__ ((nonnull));

/* Is this an expression that lm_console_wait_for would take? */
extern int lm_console_check_regex (const char *regex, struct lm_error *err)
  __attribute__ ((nonnull));

#endif
