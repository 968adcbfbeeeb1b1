/* SPDX-License-Identifier: Apache-2.0
 * QEMU's image locks; see image-lock.h.
 */
#include <config.h>

#include "formats/image-lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/banned.h"

#define HAVE_BASE 100
#define FORBID_BASE 200

/* Permissions, as bits and as offsets from the bases. */
#define BIT_READ 0              /* "consistent read" */
#define BIT_WRITE 1
#define BIT_RESIZE 3
#define NR_BITS 4

static const struct {
  unsigned have, forbid;        /* masks of 1 << BIT_… */
} modes[] = {
  [LM_IMAGE_LOCK_READ] = {
    .have = 1 << BIT_READ,
    .forbid = 1 << BIT_WRITE | 1 << BIT_RESIZE,
  },
  [LM_IMAGE_LOCK_WRITE] = {
    .have = 1 << BIT_READ | 1 << BIT_WRITE | 1 << BIT_RESIZE,
    .forbid = 1 << BIT_READ | 1 << BIT_WRITE | 1 << BIT_RESIZE,
  },
};

static int
set_locks (int fd, short type, unsigned base, unsigned mask)
{
  unsigned i;

  for (i = 0; i < NR_BITS; i++) {
    struct flock fl = {
      .l_type = type,
      .l_whence = SEEK_SET,
      .l_start = base + i,
      .l_len = 1,
    };

    if ((mask & 1 << i) && fcntl (fd, F_OFD_SETLK, &fl) == -1)
      return -1;
  }
  return 0;
}

/* Does another hold one of the bytes?  -1 with errno if one can't ask. */
static int
others_hold (int fd, unsigned base, unsigned mask)
{
  unsigned i;

  for (i = 0; i < NR_BITS; i++) {
    struct flock fl = {
      .l_type = F_WRLCK,
      .l_whence = SEEK_SET,
      .l_start = base + i,
      .l_len = 1,
    };

    if (!(mask & 1 << i))
      continue;
    if (fcntl (fd, F_OFD_GETLK, &fl) == -1)
      return -1;
    if (fl.l_type != F_UNLCK)
      return 1;
  }
  return 0;
}

static void
unlock_all (int fd)
{
  set_locks (fd, F_UNLCK, HAVE_BASE, ~0u);
  set_locks (fd, F_UNLCK, FORBID_BASE, ~0u);
}

int
lm_image_lock (int fd, enum lm_image_lock lock, const char *path,
               struct lm_error *err)
{
  unsigned have = modes[lock].have, forbid = modes[lock].forbid;
  int conflict, saved;

  if (set_locks (fd, F_RDLCK, HAVE_BASE, have) == -1 ||
      set_locks (fd, F_RDLCK, FORBID_BASE, forbid) == -1) {
    saved = errno;
    unlock_all (fd);
    if (saved == EAGAIN || saved == EACCES)
      goto locked;
    return lm_error_set (err, LM_ERR_UNSUPPORTED,
                         "%s: its file system has no locks", path);
  }
  conflict = others_hold (fd, HAVE_BASE, forbid);
  if (conflict == 0)
    conflict = others_hold (fd, FORBID_BASE, have);
  if (conflict == 0)
    return 0;
  unlock_all (fd);
  if (conflict == -1)
    return lm_error_set (err, LM_ERR_UNSUPPORTED,
                         "%s: its file system has no locks", path);
locked:
  return lm_error_set (err, LM_ERR_LOCKED,
                       "%s: in use by another process, perhaps a running "
                       "VM", path);
}
