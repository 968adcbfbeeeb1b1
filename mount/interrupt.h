/* SPDX-License-Identifier: Apache-2.0
 *
 * Ctrl-C and SIGTERM, for commands that have something to undo.  The flag
 * is the one piece of process-wide state, because a signal handler has no
 * other.
 */
#ifndef LM_MOUNT_INTERRUPT_H
#define LM_MOUNT_INTERRUPT_H

#include <signal.h>
#include <stdbool.h>

#include "common/error.h"

/* From now on the first SIGINT, SIGTERM or SIGHUP sets the flag; a second
 * one ends the program as usual. */
extern const volatile sig_atomic_t *lm_interrupt_catch (void);

extern bool lm_interrupted (void);

/* -1 with LM_ERR_INTERRUPTED if the flag is set, else 0. */
extern int lm_interrupt_check (const char *what, struct lm_error *err)
  __attribute__ ((nonnull));

#endif
