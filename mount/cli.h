/* SPDX-License-Identifier: Apache-2.0
 *
 * One run of the program: what was asked, and how to answer.  Every
 * command gets it; it lives as long as main.
 */
#ifndef LM_MOUNT_CLI_H
#define LM_MOUNT_CLI_H

#include <stdbool.h>

#include "mount/options.h"

struct lm_command;

struct lm_cli {
  const struct lm_command *command;     /* NULL until one is known */
  struct lm_args args;                  /* options and operands */
  bool json;                            /* --json */
  bool quiet;                           /* -q */
  bool verbose;                         /* -v */
};

#endif
