/* SPDX-License-Identifier: Apache-2.0
 * An overlay to be tested; see overlay-rig.h.
 */
#include <config.h>

#include "tests/support/overlay-rig.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/memory-disk.h"
#include "tests/support/scratch.h"

const uint8_t repository[16] = "repository-00001";
const uint8_t snapshot[16] = "snapshot-0000001";
static const uint8_t master[32] = "this master key is only for test";
struct lm_error err;
struct lm_keys *keys;
struct lm_overlay_disk_spec disks[2] = {
  { "disk0", SIZE }, { "lock", 4096 },
};
struct lm_overlay_spec spec;
char *folder;
struct lm_overlay *overlay;
struct lm_disk *disk;
uint8_t *model, *got;

void
rig_open (void)
{
  struct memory_disk *base = memory_disk_new (NULL, disks[0].size, 65536);

  base->zero_offset = 1 << 20;
  base->zero_len = 300000;
  overlay = lm_overlay_open (folder, &spec, &err);
  cr_assert (ne (ptr, overlay, NULL), "%s", err.message);
  disk = lm_overlay_disk_open (overlay, "disk0", &base->disk, &err);
  cr_assert (ne (ptr, disk, NULL), "%s", err.message);
}

void
rig_close (void)
{
  lm_disk_close (disk);
  lm_overlay_close (overlay);
  disk = NULL;
  overlay = NULL;
}

void
rig_start (bool encrypted)
{
  folder = lm_scratch_path ("overlay");
  keys = lm_keys_new (repository, encrypted ? master : NULL, &err);
  spec = (struct lm_overlay_spec) { keys, repository, snapshot, disks, 2 };
  model = malloc (SIZE);
  got = malloc (SIZE);
  memory_disk_pattern (model, SIZE, 0);
  memset (model + (1 << 20), 0, 300000);
  rig_open ();
}

void
rig_init (void)
{
  rig_start (true);
}

void
rig_fini (void)
{
  rig_close ();
  lm_keys_free (keys);
  free (model);
  free (got);
  free (folder);
}

void
rig_check (uint64_t offset, size_t len)
{
  cr_assert (eq (int, lm_disk_pread (disk, got, len, offset, &err), 0),
             "%s", err.message);
  cr_assert (eq (int, memcmp (got, model + offset, len), 0),
             "%zu bytes at 0x%lx", len, offset);
}

int
rig_put (uint8_t byte, uint64_t offset, size_t len)
{
  int r;

  memset (got, byte, len);
  r = lm_overlay_disk_pwrite (disk, got, len, offset, &err);
  if (r == 0)
    memset (model + offset, byte, len);
  return r;
}

int
rig_zero (uint64_t offset, size_t len, bool may_trim)
{
  int r = lm_overlay_disk_zero (disk, len, offset, may_trim, &err);

  if (r == 0)
    memset (model + offset, 0, len);
  return r;
}

/* Extents cover the range exactly, and what they call zero is. */
struct seen {
  uint64_t next;
  uint64_t zero;
};

static int
see (void *opaque, uint64_t offset, uint64_t len, enum lm_extent_type type,
     struct lm_error *e)
{
  struct seen *s = opaque;
  uint64_t i;

  (void) e;
  cr_assert (eq (u64, offset, s->next));
  cr_assert (lt (u64, 0, len));
  s->next += len;
  if (type == LM_EXTENT_ZERO) {
    s->zero += len;
    for (i = offset; i < offset + len; i++)
      cr_assert (eq (int, model[i], 0), "0x%lx", i);
  }
  return 0;
}

uint64_t
rig_check_extents (uint64_t offset, uint64_t len)
{
  struct seen s = { offset, 0 };

  cr_assert (eq (int, lm_disk_extents (disk, offset, len, see, &s, &err),
                 0));
  cr_assert (eq (u64, s.next, offset + len));
  return s.zero;
}

void
rig_random_ops (unsigned seed, unsigned rounds)
{
  unsigned i;

  for (i = 0; i < rounds; i++) {
    uint64_t o, n;
    int r = 0;

    o = rand_r (&seed) % SIZE;
    n = rand_r (&seed) % (i % 3 ? 9000 : 600000) + 1;
    if (i % 5 == 0)
      o &= ~UINT64_C (4095);
    if (i % 7 == 0)
      n = SIZE;
    if (n > SIZE - o)
      n = SIZE - o;
    switch (rand_r (&seed) % 10) {
    case 0: case 1: case 2: case 3:
      r = rig_put (i + 1, o, n);
      break;
    case 4: case 5:
      r = rig_zero (o, n, true);
      break;
    case 6:
      r = rig_zero (o, n, false);
      break;
    case 7:
      r = lm_overlay_disk_flush (disk, &err);
      break;
    case 8:
      rig_check_extents (o, n);
      break;
    case 9:
      rig_check (o, n);
      break;
    }
    cr_assert (eq (int, r, 0), "%s", err.message);
    if (i % 100 == 99) {
      rig_close ();
      rig_open ();
    }
  }
  rig_check (0, SIZE);
  rig_check_extents (0, SIZE);
}
