/* SPDX-License-Identifier: Apache-2.0
 * Loop devices, for tests of block devices.
 */
#ifndef LM_TESTS_SUPPORT_LOOP_H
#define LM_TESTS_SUPPORT_LOOP_H

#include <stdbool.h>

/* The name of a loop device on the file PATH, to be freed.  Skips the
 * test where there are none: they need root. */
extern char *lm_loop_attach (const char *path, bool read_only)
  __attribute__ ((nonnull, returns_nonnull));
extern void lm_loop_detach (const char *name) __attribute__ ((nonnull));

#endif
