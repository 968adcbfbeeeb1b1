/* SPDX-License-Identifier: Apache-2.0
 *
 * The overlay on a real ext4 that loses power: its shutdown ioctl drops
 * everything that was not synced, journal included.  What was flushed is
 * there afterwards, again and again.
 */
#include <config.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/loop.h"
#include "tests/support/overlay-rig.h"
#include "tests/support/scratch.h"

/* linux/fs/ext4/ext4.h has them and no header for programs does. */
#define EXT4_SHUTDOWN _IOR ('X', 125, uint32_t)
#define EXT4_SHUTDOWN_NO_LOG_FLUSH 2

#define HALF (SIZE / 2 / 4096 * 4096)

static char *mnt, *loop;

static bool
mount_again (void)
{
  return mount (loop, mnt, "ext4", 0, NULL) == 0;
}

static void
power_cut (void)
{
  uint32_t flags = EXT4_SHUTDOWN_NO_LOG_FLUSH;
  int fd = open (mnt, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

  cr_assert (eq (int, ioctl (fd, EXT4_SHUTDOWN, &flags), 0));
  close (fd);
  rig_close ();
  cr_assert (eq (int, umount (mnt), 0));
  cr_assert (mount_again ());
  rig_open ();
}

static void
init (void)
{
  char *image = lm_scratch_path ("ext4"), *cmd = NULL;

  mnt = lm_scratch_path ("mnt");
  cr_assert (eq (int, mkdir (mnt, 0700), 0));
  cr_assert (lt (int, 0, asprintf (&cmd, "truncate -s 64M %s && mkfs.ext4 "
                                   "-q -b 1024 %s 2>&1", image, image)));
  if (system (cmd) != 0)
    cr_skip_test ("there is no mkfs.ext4");
  free (cmd);
  loop = lm_loop_attach (image, false);
  if (!mount_again ())
    cr_skip_test ("ext4 can't be mounted");
  rig_init ();
  rig_close ();
  free (folder);
  cr_assert (lt (int, 0, asprintf (&folder, "%s/overlay", mnt)));
  rig_open ();
}

static void
fini (void)
{
  rig_fini ();
  cr_expect (eq (int, umount (mnt), 0));
  lm_loop_detach (loop);
}

/* Anything, anywhere in [start, start+len). */
static void
change (unsigned *seed, uint64_t start, uint64_t len)
{
  uint64_t o = rand_r (seed) % len, n = rand_r (seed) % 300000 + 1;

  if (rand_r (seed) % 2)
    o &= ~UINT64_C (4095);
  if (n > len - o)
    n = len - o;
  if (rand_r (seed) % 3)
    cr_assert (eq (int, rig_put (rand_r (seed), start + o, n), 0), "%s",
               err.message);
  else
    cr_assert (eq (int, rig_zero (start + o, n, rand_r (seed) % 4), 0),
               "%s", err.message);
}

/* With blocks of 1 KiB, so that one of ours is several of ext4's. */
Test (overlay_ext4, what_was_flushed_survives_power_cuts,
      .init = init, .fini = fini)
{
  unsigned seed = 5, cut, i;

  for (cut = 0; cut < 12; cut++) {
    for (i = 0; i < 20; i++)
      change (&seed, 0, SIZE);
    cr_assert (eq (int, lm_overlay_disk_flush (disk, &err), 0));
    if (cut % 2 == 0)           /* of the other half nothing is promised */
      for (i = 0; i < 10; i++)
        change (&seed, HALF, SIZE - HALF);
    power_cut ();
    rig_check (0, cut % 2 == 0 ? HALF : SIZE);
    cr_assert (eq (int, lm_disk_pread (disk, model, SIZE, 0, &err), 0));
  }
}

/* The overlay that was just made is there, or is not at all. */
Test (overlay_ext4, a_new_overlay_survives_at_once,
      .init = init, .fini = fini)
{
  power_cut ();
  rig_check (0, SIZE);
}
