/* SPDX-License-Identifier: Apache-2.0
 * Memory for keys; see secret.h.
 */
#include <config.h>

#include "common/secret.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "common/banned.h"

void *
lm_secret_alloc (size_t len)
{
  void *p = mmap (NULL, len, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

  if (p == MAP_FAILED)
    return NULL;
  /* Best effort: an unprivileged user may have no lock limit left. */
  (void) mlock (p, len);
  (void) madvise (p, len, MADV_DONTDUMP);
  return p;
}

void
lm_secret_relock (const void *p, size_t len)
{
  (void) mlock (p, len);
}

void
lm_secret_free (void *p, size_t len)
{
  if (p == NULL)
    return;
  explicit_bzero (p, len);
  munmap (p, len);
}

void
lm_secret_harden_process (void)
{
  prctl (PR_SET_DUMPABLE, 0);
}
