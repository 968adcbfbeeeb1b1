/* SPDX-License-Identifier: Apache-2.0
 * Talk to a machine over its serial port.
 */
#ifndef LM_CONSOLE_TALK_H
#define LM_CONSOLE_TALK_H

#include <signal.h>

#include "common/error.h"

#define LM_CONSOLE_ESCAPE 0x1d  /* Ctrl-] */

enum lm_console_end {
  LM_CONSOLE_DETACHED,          /* by the escape key */
  LM_CONSOLE_CLOSED,            /* by the machine */
  LM_CONSOLE_INPUT_ENDED,       /* end of file; all of it was delivered */
};

struct lm_console_talk {
  const char *socket_path;
  int in_fd;            /* a terminal is put into raw mode, and back */
  int out_fd;
  const volatile sig_atomic_t *cancel;  /* NULL, or set by a handler */
};

/* Connect the two descriptors to the port until one of the three ends.
 * LM_ERR_LOCKED when another console is connected, LM_ERR_NOT_FOUND when
 * nobody serves the socket, LM_ERR_INTERRUPTED when cancelled.  The
 * terminal is as before in every case. */
extern int lm_console_talk (const struct lm_console_talk *talk,
                            enum lm_console_end *ret_end,
                            struct lm_error *err)
  __attribute__ ((nonnull));

#endif
