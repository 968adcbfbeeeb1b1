/* SPDX-License-Identifier: Apache-2.0
 * A folder of its own for each test; see scratch.h.
 */
#include <config.h>

#include "tests/support/scratch.h"

#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/banned.h"

static char *dir;
static pid_t owner;

static int
remove_one (const char *path, const struct stat *st, int type,
            struct FTW *ftw)
{
  (void) st;
  (void) type;
  (void) ftw;
  return remove (path);
}

void
lm_scratch_in_memory (void)
{
  if (access ("/dev/shm", W_OK) == 0)
    setenv ("TMPDIR", "/dev/shm", 0);
}

void
lm_scratch_remove_tree (const char *path)
{
  nftw (path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

void
lm_scratch_remove (void)
{
  if (dir == NULL || getpid () != owner)
    return;
  lm_scratch_remove_tree (dir);
  free (dir);
  dir = NULL;
}

const char *
lm_scratch_dir (void)
{
  if (dir)              /* a forked child shares its parent's */
    return dir;
  if (asprintf (&dir, "%s/livemount-test.XXXXXX",
                getenv ("TMPDIR") ? : "/tmp") == -1 ||
      mkdtemp (dir) == NULL)
    abort ();
  owner = getpid ();
  atexit (lm_scratch_remove);
  return dir;
}

char *
lm_scratch_path (const char *fmt, ...)
{
  char *name, *path;
  va_list ap;

  va_start (ap, fmt);
  if (vasprintf (&name, fmt, ap) == -1 ||
      asprintf (&path, "%s/%s", lm_scratch_dir (), name) == -1)
    abort ();
  va_end (ap);
  free (name);
  return path;
}
