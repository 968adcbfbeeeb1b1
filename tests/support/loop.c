/* SPDX-License-Identifier: Apache-2.0
 * Loop devices; see loop.h.
 */
#include <config.h>

#include "tests/support/loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/cleanup.h"
#include "common/banned.h"

char *
lm_loop_attach (const char *path, bool read_only)
{
  CLEANUP_FREE char *cmd = NULL;
  char name[64] = "";
  FILE *p;

  if (asprintf (&cmd, "losetup -f --show %s '%s' 2>/dev/null",
                read_only ? "-r" : "", path) == -1)
    abort ();
  p = popen (cmd, "r");
  if (p == NULL || fgets (name, sizeof name, p) == NULL)
    name[0] = '\0';
  if (p)
    pclose (p);
  name[strcspn (name, "\n")] = '\0';
  if (name[0] == '\0')
    cr_skip_test ("no loop devices here");
  return strdup (name);
}

void
lm_loop_detach (const char *name)
{
  CLEANUP_FREE char *cmd = NULL;

  if (asprintf (&cmd, "losetup -d '%s'", name) == -1 || system (cmd) != 0)
    cr_assert_fail ("losetup -d %s", name);
}
