/* SPDX-License-Identifier: Apache-2.0
 *
 * A process that holds a disk image open as a running VM does: qemu-io.
 */
#ifndef LM_TESTS_SUPPORT_IMAGE_HOLDER_H
#define LM_TESTS_SUPPORT_IMAGE_HOLDER_H

#include <stdbool.h>
#include <sys/types.h>

struct lm_image_holder {
  pid_t pid;
  int to, from;
};

/* Open PATH with FORMAT; false when QEMU refuses it (or isn't there). */
extern bool lm_image_holder_start (struct lm_image_holder *h,
                                   const char *path, const char *format,
                                   bool read_only)
  __attribute__ ((nonnull));
extern void lm_image_holder_stop (struct lm_image_holder *h)
  __attribute__ ((nonnull));

#endif
