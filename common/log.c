/* SPDX-License-Identifier: Apache-2.0
 * Debug flags; see log.h.
 */
#include <config.h>

#include "common/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/banned.h"

static const char *const flag_names[] = {
  [LM_DEBUG_REPOSITORY] = "repository",
  [LM_DEBUG_STORE] = "store",
  [LM_DEBUG_REQUEST] = "request",
  [LM_DEBUG_CHUNK] = "chunk",
  [LM_DEBUG_MACHINE] = "machine",
};

#define NR_FLAGS (sizeof flag_names / sizeof flag_names[0])

static pthread_once_t once = PTHREAD_ONCE_INIT;
static unsigned enabled;

static void
read_environment (void)
{
  const char *p = getenv ("LIVEMOUNT_DEBUG");
  size_t i, n;

  for (; p && *p; p += n + (p[n] == ',')) {
    n = strcspn (p, ",");
    for (i = 0; i < NR_FLAGS; i++)
      if ((strlen (flag_names[i]) == n && !strncmp (p, flag_names[i], n)) ||
          (n == 3 && !strncmp (p, "all", 3)))
        enabled |= 1u << i;
  }
}

bool
lm_debug_enabled (enum lm_debug_flag flag)
{
  pthread_once (&once, read_environment);
  return enabled & 1u << flag;
}

void
lm_debug_at (enum lm_debug_flag flag, const char *fmt, ...)
{
  char line[1024];
  va_list ap;

  va_start (ap, fmt);
  vsnprintf (line, sizeof line, fmt, ap);
  va_end (ap);
  fprintf (stderr, "livemount: debug: %s: %s\n", flag_names[flag], line);
}
