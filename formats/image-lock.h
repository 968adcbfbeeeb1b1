/* SPDX-License-Identifier: Apache-2.0
 *
 * The locks by which QEMU processes keep off each other's disk images.
 *
 * For every permission there are two bytes of the image file: one that
 * says "I have it" (100 + bit) and one that says "nobody else may"
 * (200 + bit).  Both are taken as shared open-file-description locks, so
 * a lock held by another shows only when one asks for an exclusive one.
 * Like QEMU we lock first and look then: of two who start together at
 * least one sees the other.
 *
 * They are advisory and tell about QEMU, libvirt's tools and ourselves;
 * a program that knows nothing of them is not seen.
 */
#ifndef LM_FORMATS_IMAGE_LOCK_H
#define LM_FORMATS_IMAGE_LOCK_H

#include "common/error.h"

enum lm_image_lock {
  /* I read; nobody may write or resize. */
  LM_IMAGE_LOCK_READ,
  /* I write and resize; nobody may read, write or resize. */
  LM_IMAGE_LOCK_WRITE,
};

/* Take the locks on FD; they are held until its open file description is
 * closed.  LM_ERR_LOCKED when another process is in the way: nothing is
 * locked then.  LM_ERR_UNSUPPORTED where the file system has no locks.
 * PATH is for messages. */
extern int lm_image_lock (int fd, enum lm_image_lock lock, const char *path,
                          struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
