/* SPDX-License-Identifier: Apache-2.0
 *
 * An NBD server in a thread, at the other end of a socket pair, that
 * misbehaves as told.  It serves memory_disk_pattern().
 */
#ifndef LM_TESTS_SUPPORT_FAKE_NBD_H
#define LM_TESTS_SUPPORT_FAKE_NBD_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fake_nbd {
  /* Set before the start; all zero is a well-behaved, empty export. */
  uint64_t size;
  uint32_t min_block, preferred_block, max_block;       /* 0: not told */
  bool writable;
  /* Answers a block status request: fills in pairs, returns how many
   * (at most 64).  NULL: base:allocation is not supported. */
  size_t (*block_status) (uint64_t offset, uint32_t len, uint32_t *pairs);
  bool status_fails;            /* with EIO */
  bool no_handshake;            /* says nothing at all */
  unsigned hang_at;             /* the n-th request gets no answer */
  unsigned close_at;            /* at the n-th request the line goes dead */
  unsigned torn_at;             /* half an answer, then the same */
  unsigned gather;              /* answer reads in batches, last first */
  uint64_t bad_offset, bad_len; /* reads that touch it fail with EIO */

  /* To look at afterwards. */
  unsigned requests;
  uint32_t longest;             /* read, bytes */
  bool misaligned;              /* a request against min_block */

  int sock;
  pthread_t thread;
};

/* Start it; the client's end of the line. */
extern int fake_nbd_start (struct fake_nbd *s) __attribute__ ((nonnull));

/* After the client has closed its end. */
extern void fake_nbd_wait (struct fake_nbd *s) __attribute__ ((nonnull));

#endif
