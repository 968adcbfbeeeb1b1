/* SPDX-License-Identifier: Apache-2.0
 *
 * A disk in memory for tests: its bytes are a function of the offset or
 * what the test put there; reads are counted and can be slowed down or
 * made to fail.
 */
#ifndef LM_TESTS_SUPPORT_MEMORY_DISK_H
#define LM_TESTS_SUPPORT_MEMORY_DISK_H

#include <stdatomic.h>
#include <stdint.h>

#include "formats/disk.h"

struct memory_disk {
  struct lm_disk disk;
  uint8_t *data;                /* disk.size bytes, or NULL: a pattern */
  _Atomic (uint64_t) reads;     /* calls of pread */
  _Atomic (uint64_t) read_bytes;
  unsigned delay_us;            /* each read takes this long */
  uint64_t bad_offset, bad_len; /* reads that touch it fail */
  int bad_errno;                /* with this, or 0: as corrupt */
  uint64_t zero_offset, zero_len;       /* extents call it zero */
};

/* DATA is copied; NULL gives a pattern without zero bytes that differs
 * for each 8 bytes, and a disk as large as you like. */
extern struct memory_disk *memory_disk_new (const void *data, uint64_t size,
                                            uint32_t preferred_block);

/* What a pattern disk holds. */
extern void memory_disk_pattern (uint8_t *buf, uint64_t len,
                                 uint64_t offset);

#endif
