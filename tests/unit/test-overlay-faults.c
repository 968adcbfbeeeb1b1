/* SPDX-License-Identifier: Apache-2.0
 * What the overlay does when the disk below it fails or is full.
 */
#include <config.h>

#include "proxy/overlay.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "common/io.h"
#include "tests/support/memory-disk.h"
#include "tests/support/overlay-rig.h"
#include "tests/support/scratch.h"

/* Faults.  FAIL_AT counts calls down; at zero, and from then on, the call
 * fails with FAIL_ERRNO. */
static _Atomic (int) fail_write = -1, fail_sync = -1, fail_punch = -1;
static int fail_errno, short_bytes;
static _Atomic (int) syncs;

static bool
now (_Atomic (int) *countdown)
{
  if (*countdown < 0)
    return false;
  if (*countdown == 0)
    return true;
  --*countdown;
  return false;
}

static ssize_t
faulty_pwrite (int fd, const void *buf, size_t len, off_t offset)
{
  if (now (&fail_write)) {
    if (short_bytes > 0) {
      size_t n = short_bytes;

      short_bytes = 0;
      return lm_io_system.pwrite (fd, buf, n < len ? n : len, offset);
    }
    errno = fail_errno;
    return -1;
  }
  return lm_io_system.pwrite (fd, buf, len, offset);
}

static int
faulty_fdatasync (int fd)
{
  syncs++;
  if (now (&fail_sync)) {
    errno = fail_errno;
    return -1;
  }
  return lm_io_system.fdatasync (fd);
}

static int
faulty_fallocate (int fd, int mode, off_t offset, off_t len)
{
  if (now (&fail_punch)) {
    errno = fail_errno;
    return -1;
  }
  return lm_io_system.fallocate (fd, mode, offset, len);
}

static struct lm_io_ops faulty;

static void
init_faulty (void)
{
  faulty = lm_io_system;
  faulty.pwrite = faulty_pwrite;
  faulty.fdatasync = faulty_fdatasync;
  faulty.fallocate = faulty_fallocate;
  lm_io = &faulty;
  rig_start (true);
}

static bool
marked (void)
{
  char *cmd = NULL;
  int r;

  cr_assert (lt (int, 0, asprintf (&cmd, "test -e %s/disks/disk0/layer-*/"
                                "poisoned", folder)));
  r = system (cmd);
  free (cmd);
  return r == 0;
}

static void
expect_poisoned (const char *reason)
{
  fail_write = fail_sync = fail_punch = -1;
  cr_expect (marked ());
  cr_expect (eq (int, rig_put (9, 0, 4096), -1));
  cr_expect (eq (int, err.kind, LM_ERR_IO));
  cr_expect (ne (ptr, strstr (err.message, "because of an earlier failure"),
                 NULL), "%s", err.message);
  cr_expect (ne (ptr, strstr (err.message, reason), NULL), "%s",
             err.message);
  cr_expect (eq (int, rig_zero (0, 4096, true), -1));
  cr_expect (eq (int, lm_overlay_disk_flush (disk, &err), -1));
  cr_assert (eq (int, lm_disk_pread (disk, got, 4096, 0, &err), 0));
  rig_close ();
  rig_open ();
  cr_expect (not (marked ()));
  cr_expect (eq (int, rig_put (9, 0, 4096), 0));
  cr_expect (eq (int, lm_overlay_disk_flush (disk, &err), 0));
}

Test (overlay_faults, a_failed_sync_poisons_until_opened_again,
      .init = init_faulty, .fini = rig_fini)
{
  cr_assert (eq (int, rig_put (1, 0, 65536), 0));
  fail_errno = EIO;
  fail_sync = 0;
  cr_expect (eq (int, lm_overlay_disk_flush (disk, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_IO));
  cr_expect (eq (int, err.sys_errno, EIO));
  expect_poisoned ("data: fdatasync: Input/output error");
}

Test (overlay_faults, a_failed_write_poisons_until_opened_again,
      .init = init_faulty, .fini = rig_fini)
{
  cr_assert (eq (int, rig_put (1, 0, 65536), 0));
  fail_errno = EIO;
  fail_write = 0;
  cr_expect (eq (int, rig_put (2, 0, 4096), -1));
  expect_poisoned ("write at 0x0: Input/output error");
}

Test (overlay_faults, a_failed_sync_of_the_mask_poisons,
      .init = init_faulty, .fini = rig_fini)
{
  cr_assert (eq (int, rig_put (1, 0, 1 << 20), 0));
  cr_assert (eq (int, lm_overlay_disk_flush (disk, &err), 0));
  fail_errno = EIO;
  fail_sync = 0;
  cr_expect (eq (int, rig_zero (0, 1 << 20, true), -1));
  expect_poisoned ("mask: fdatasync");
  /* O4: nothing was punched. */
  memset (model, 9, 4096);
  rig_check (0, 1 << 20);
}

Test (overlay_faults, a_failed_verification_keeps_it_closed,
      .init = init_faulty, .fini = rig_fini)
{
  struct memory_disk *base = memory_disk_new (NULL, SIZE, 65536);

  cr_assert (eq (int, rig_put (1, 0, 65536), 0));
  fail_errno = EIO;
  fail_sync = 0;
  cr_expect (eq (int, lm_overlay_disk_flush (disk, &err), -1));
  rig_close ();
  overlay = lm_overlay_open (folder, &spec, &err);
  cr_assert (ne (ptr, overlay, NULL));
  disk = lm_overlay_disk_open (overlay, "disk0", &base->disk, &err);
  cr_expect (eq (ptr, disk, NULL));
  cr_expect (marked ());
  fail_sync = -1;
  disk = lm_overlay_disk_open (overlay, "disk0", &base->disk, &err);
  cr_expect (ne (ptr, disk, NULL));
  cr_expect (not (marked ()));
}

Test (overlay_faults, no_space_does_not_poison,
      .init = init_faulty, .fini = rig_fini)
{
  cr_assert (eq (int, rig_put (1, 0, 65536), 0));
  fail_errno = ENOSPC;
  fail_write = 1;               /* the second half of the request */
  cr_expect (eq (int, rig_put (2, 0, 128 * 1024), -1));
  cr_expect (eq (int, err.kind, LM_ERR_NO_SPACE));
  fail_write = -1;
  memset (model, 2, 65536);     /* each block old or new: here is which */
  rig_check (0, SIZE);
  cr_expect (not (marked ()));
  cr_expect (eq (int, lm_overlay_disk_flush (disk, &err), 0));
  cr_expect (eq (int, rig_put (3, 0, 128 * 1024), 0));
  rig_check (0, SIZE);
}

Test (overlay_faults, no_space_within_an_absent_block_leaves_it_absent,
      .init = init_faulty, .fini = rig_fini)
{
  fail_errno = ENOSPC;
  short_bytes = 2 * 4096 + 1024;
  fail_write = 0;
  cr_expect (eq (int, rig_put (2, 0, 65536), -1));
  cr_expect (eq (int, err.kind, LM_ERR_NO_SPACE));
  fail_write = -1;
  memset (model, 2, 8192);
  rig_check (0, SIZE);
  cr_expect (not (marked ()));
  rig_close ();
  rig_open ();
  rig_check (0, SIZE);
}

Test (overlay_faults, no_space_within_a_present_block_poisons,
      .init = init_faulty, .fini = rig_fini)
{
  cr_assert (eq (int, rig_put (1, 0, 65536), 0));
  fail_errno = ENOSPC;
  short_bytes = 1024;
  fail_write = 0;
  cr_expect (eq (int, rig_put (2, 0, 65536), -1));
  expect_poisoned ("No space left on device");
}

Test (overlay_faults, no_space_for_the_mask_fails_the_trim_only,
      .init = init_faulty, .fini = rig_fini)
{
  fail_errno = ENOSPC;
  fail_write = 0;
  cr_expect (eq (int, rig_zero (0, 1 << 20, true), -1));
  cr_expect (eq (int, err.kind, LM_ERR_NO_SPACE));
  fail_write = -1;
  rig_check (0, SIZE);
  cr_expect (eq (int, rig_zero (0, 1 << 20, true), 0));
  rig_check (0, SIZE);
}

Test (overlay_faults, works_where_holes_cannot_be_punched,
      .init = init_faulty, .fini = rig_fini)
{
  fail_errno = EOPNOTSUPP;
  fail_punch = 0;
  rig_random_ops (3, 600);
}

Test (overlay_faults, a_flush_is_one_sync_of_the_data,
      .init = init_faulty, .fini = rig_fini)
{
  unsigned i;

  syncs = 0;
  for (i = 0; i < 32; i++)
    cr_assert (eq (int, rig_put (i, i * 8192, 4096), 0));
  cr_assert (eq (int, lm_overlay_disk_flush (disk, &err), 0));
  cr_expect (eq (int, syncs, 1));
  cr_assert (eq (int, lm_overlay_disk_flush (disk, &err), 0));
  cr_expect (eq (int, syncs, 1));       /* nothing new */
}

/* A real full disk. */
Test (overlay_faults, a_full_file_system_loses_nothing,
      .init = rig_init, .fini = rig_fini)
{
  char *mnt = lm_scratch_path ("tmpfs");
  uint64_t o, failed = 0;

  rig_close ();
  cr_assert (eq (int, mkdir (mnt, 0700), 0));
  if (mount ("tmpfs", mnt, "tmpfs", 0, "size=1m") == -1)
    cr_skip_test ("no permission to mount a tmpfs");
  free (folder);
  cr_assert (lt (int, 0, asprintf (&folder, "%s/overlay", mnt)));
  rig_open ();
  /* A first bit of `mask`, for later there is no space for it. */
  cr_assert (eq (int, rig_zero (SIZE - 4096, 4096, true), 0));
  for (o = 0; o + 50000 <= SIZE; o += 50000)
    if (rig_put (o / 50000 + 1, o, 50000) == -1) {
      cr_assert (eq (int, err.kind, LM_ERR_NO_SPACE), "%s", err.message);
      failed++;
      /* Its blocks are old or new: take what is there. */
      cr_assert (eq (int, lm_disk_pread (disk, model + o, 50000, o, &err),
                     0));
    }
  cr_expect (lt (u64, 10, failed));
  cr_expect (eq (int, lm_overlay_disk_flush (disk, &err), 0));
  rig_check (0, SIZE);
  /* Space can be given back, and then there is space again. */
  cr_expect (eq (int, rig_zero (0, 600000, true), 0), "%s", err.message);
  cr_expect (eq (int, lm_overlay_disk_flush (disk, &err), 0));
  cr_expect (eq (int, rig_put (0x42, 2 << 20, 300000), 0), "%s", err.message);
  rig_check (0, SIZE);
  rig_close ();
  rig_open ();
  rig_check (0, SIZE);
  rig_close ();
  cr_expect (eq (int, umount (mnt), 0));
  free (mnt);
  free (folder);
  folder = lm_scratch_path ("overlay");
  rig_open ();
}
