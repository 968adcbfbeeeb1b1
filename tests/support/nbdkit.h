/* SPDX-License-Identifier: Apache-2.0
 *
 * A real NBD server for a test: nbdkit or qemu-nbd on a Unix socket in the
 * scratch folder.
 */
#ifndef LM_TESTS_SUPPORT_NBDKIT_H
#define LM_TESTS_SUPPORT_NBDKIT_H

#include <sys/types.h>

struct nbd_process {
  pid_t pid;
  char *uri;
};

/* Run ARGV, in which an argument "SOCKET" stands for the path of the
 * socket; wait until that is there.  Skips the test when the program is
 * not installed. */
extern void nbd_process_start (struct nbd_process *p,
                               const char *const *argv)
  __attribute__ ((nonnull));

/* Kill it, if it is still there. */
extern void nbd_process_stop (struct nbd_process *p)
  __attribute__ ((nonnull));

#endif
