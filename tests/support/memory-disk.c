/* SPDX-License-Identifier: Apache-2.0
 * A disk in memory for tests; see memory-disk.h.
 */
#include <config.h>

#include "tests/support/memory-disk.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/checked.h"
#include "common/wire.h"
#include "common/banned.h"

void
memory_disk_pattern (uint8_t *buf, uint64_t len, uint64_t offset)
{
  uint64_t end = offset + len;

  while (offset < end) {
    uint64_t in = offset % 8, n = lm_min_u64 (8 - in, end - offset);
    lm_le64 word = lm_put_le64 ((offset / 8 + 1) *
                                UINT64_C (0x9e3779b97f4a7c15) |
                                UINT64_C (0x0101010101010101));

    memcpy (buf, word.b + in, n);
    buf += n;
    offset += n;
  }
}

static bool
touches (uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
  return a_len > 0 && b_len > 0 && a < b + b_len && b < a + a_len;
}

static int
memory_pread (struct lm_disk *disk, void *buf, size_t len, uint64_t offset,
              struct lm_error *err)
{
  struct memory_disk *d = (struct memory_disk *) disk;
  uint64_t z_end = d->zero_offset + d->zero_len;

  atomic_fetch_add (&d->reads, 1);
  atomic_fetch_add (&d->read_bytes, len);
  if (d->delay_us)
    usleep (d->delay_us);
  if (touches (offset, len, d->bad_offset, d->bad_len))
    return d->bad_errno
      ? lm_error_errno (err, d->bad_errno, "memory: read at 0x%" PRIx64,
                        offset)
      : lm_corrupt (err, "memory: bad bytes at 0x%" PRIx64,
                       d->bad_offset);
  if (d->data)
    memcpy (buf, d->data + offset, len);
  else
    memory_disk_pattern (buf, len, offset);
  if (touches (offset, len, d->zero_offset, d->zero_len)) {
    uint64_t from = lm_max_u64 (offset, d->zero_offset);
    uint64_t to = lm_min_u64 (offset + len, z_end);

    memset ((uint8_t *) buf + (from - offset), 0, to - from);
  }
  return 0;
}

static int
memory_extents (struct lm_disk *disk, uint64_t offset, uint64_t len,
                lm_extent_cb cb, void *opaque, struct lm_error *err)
{
  struct memory_disk *d = (struct memory_disk *) disk;
  uint64_t z_end = d->zero_offset + d->zero_len;
  uint64_t end = offset + len;

  while (offset < end) {
    bool zero = offset >= d->zero_offset && offset < z_end;
    uint64_t stop = end;

    if (zero)
      stop = lm_min_u64 (end, z_end);
    else if (offset < d->zero_offset && d->zero_len > 0)
      stop = lm_min_u64 (end, d->zero_offset);
    if (cb (opaque, offset, stop - offset,
            zero ? LM_EXTENT_ZERO : LM_EXTENT_DATA, err) == -1)
      return -1;
    offset = stop;
  }
  return 0;
}

static void
memory_close (struct lm_disk *disk)
{
  struct memory_disk *d = (struct memory_disk *) disk;

  free (d->data);
  free (d);
}

static const struct lm_disk_ops memory_ops = {
  .name = "memory",
  .pread = memory_pread,
  .extents = memory_extents,
  .close = memory_close,
};

struct memory_disk *
memory_disk_new (const void *data, uint64_t size, uint32_t preferred_block)
{
  struct memory_disk *d = calloc (1, sizeof *d);

  if (d == NULL)
    abort ();
  d->disk.ops = &memory_ops;
  d->disk.size = size;
  d->disk.preferred_block = preferred_block;
  if (data) {
    d->data = malloc (size + 1);
    if (d->data == NULL)
      abort ();
    memcpy (d->data, data, size);
  }
  return d;
}
