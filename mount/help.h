/* SPDX-License-Identifier: Apache-2.0
 * What --help and `livemount help` print, made from the tables.
 */
#ifndef LM_MOUNT_HELP_H
#define LM_MOUNT_HELP_H

#include "mount/commands.h"

/* The overview, on standard output. */
extern void lm_help_overview (void);

/* One command. */
extern void lm_help_command (const struct lm_command *command)
  __attribute__ ((nonnull));

#endif
