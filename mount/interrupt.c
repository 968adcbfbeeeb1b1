/* SPDX-License-Identifier: Apache-2.0
 * Ctrl-C and SIGTERM; see interrupt.h.
 */
#include <config.h>

#include "mount/interrupt.h"

#include <stddef.h>

#include "common/banned.h"

static volatile sig_atomic_t interrupted;

static void
handler (int sig)
{
  (void) sig;
  interrupted = 1;
}

const volatile sig_atomic_t *
lm_interrupt_catch (void)
{
  static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
  size_t i;

  for (i = 0; i < sizeof signals / sizeof signals[0]; i++) {
    struct sigaction sa = { .sa_handler = handler,
                            .sa_flags = SA_RESETHAND }, old;

    /* nohup and the like: what is ignored stays ignored. */
    if (sigaction (signals[i], NULL, &old) == 0 &&
        old.sa_handler == SIG_IGN)
      continue;
    sigaction (signals[i], &sa, NULL);
  }
  return &interrupted;
}

bool
lm_interrupted (void)
{
  return interrupted;
}

int
lm_interrupt_check (const char *what, struct lm_error *err)
{
  if (!interrupted)
    return 0;
  return lm_error_set (err, LM_ERR_INTERRUPTED, "%s: interrupted", what);
}
