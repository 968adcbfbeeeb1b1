/* SPDX-License-Identifier: Apache-2.0
 * Files and block devices as sources: locks, holes, and what goes wrong
 * while they are read.
 */
#include <config.h>

#include "formats/disk-file.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "formats/image-lock.h"
#include "tests/support/image-holder.h"
#include "tests/support/loop.h"
#include "tests/support/scratch.h"
#include "common/banned.h"

#define MIB (1024 * 1024)

/* 4 MiB: data in the second and the last. */
static char *
make_image (void)
{
  char *path = lm_scratch_path ("disk.img");
  CLEANUP_CLOSE int fd = open (path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  struct lm_error err = LM_ERROR_INIT;
  static char data[MIB];

  memset (data, 0x5a, sizeof data);
  cr_assert (zero (int, ftruncate (fd, 4 * MIB)));
  cr_assert (zero (int, lm_pwrite_full (fd, data, MIB, MIB, path, &err)));
  cr_assert (zero (int, lm_pwrite_full (fd, data, MIB, 3 * MIB, path,
                                        &err)));
  return path;
}

static struct lm_disk *
must_open (const char *path, const struct lm_disk_file_options *options)
{
  struct lm_error err = LM_ERROR_INIT;
  struct lm_disk *disk = lm_disk_file_open (path, options, &err);

  cr_assert (ne (ptr, disk, NULL), "%s", err.message);
  return disk;
}

static int
print_extent (void *opaque, uint64_t offset, uint64_t len,
              enum lm_extent_type type, struct lm_error *err)
{
  char *text = opaque;
  size_t n = strlen (text);

  (void) offset;
  (void) err;
  snprintf (text + n, 200 - n, "%s%.2f", type == LM_EXTENT_ZERO ? "z" : "d",
            len / (double) MIB);
  return 0;
}

static char *
extents_text (struct lm_disk *disk, uint64_t offset, uint64_t len)
{
  static char text[200];
  struct lm_error err = LM_ERROR_INIT;

  text[0] = '\0';
  cr_assert (zero (int, lm_disk_extents (disk, offset, len, print_extent,
                                         text, &err)), "%s", err.message);
  return text;
}

Test (disk_file, holes_are_zeros)
{
  CLEANUP_FREE char *path = make_image ();
  CLEANUP_DISK struct lm_disk *disk = must_open (path, NULL);

  cr_expect (eq (u64, disk->size, 4 * MIB));
  cr_expect (not (disk->live));
  cr_expect (eq (str, extents_text (disk, 0, 4 * MIB),
                 (char *) "z1.00d1.00z1.00d1.00"));
  cr_expect (eq (str, extents_text (disk, MIB / 2, 2 * MIB),
                 (char *) "z0.50d1.00z0.50"));
  cr_expect (eq (str, extents_text (disk, 2 * MIB, MIB), (char *) "z1.00"));
}

Test (disk_file, holes_can_be_read)
{
  struct lm_disk_file_options options = { .read_holes = true };
  CLEANUP_FREE char *path = make_image ();
  CLEANUP_DISK struct lm_disk *disk = must_open (path, &options);

  cr_expect (eq (str, extents_text (disk, 0, 4 * MIB), (char *) "d4.00"));
}

static void
need_qemu_io (void)
{
  if (system ("qemu-io --version >/dev/null 2>&1") != 0)
    cr_skip_test ("qemu-io is not installed");
}

Test (disk_file, what_a_vm_writes_to_is_refused)
{
  struct lm_disk_file_options live = { .allow_live = true };
  CLEANUP_FREE char *path = make_image ();
  struct lm_error err = LM_ERROR_INIT;
  struct lm_image_holder vm;
  struct lm_disk *disk;

  need_qemu_io ();
  cr_assert (lm_image_holder_start (&vm, path, "raw", false));
  cr_expect (eq (ptr, lm_disk_file_open (path, NULL, &err), NULL));
  cr_expect (eq (int, err.kind, LM_ERR_LOCKED), "%s", err.message);
  cr_expect (ne (ptr, strstr (err.hint, "--allow-live"), NULL));
  cr_expect (ne (ptr, strstr (err.message, path), NULL));

  disk = must_open (path, &live);
  cr_expect (disk->live);
  cr_expect (eq (str, extents_text (disk, 0, 4 * MIB), (char *) "d4.00"));
  lm_disk_close (disk);
  lm_image_holder_stop (&vm);
  disk = must_open (path, &live);
  cr_expect (not (disk->live));
  lm_disk_close (disk);
}

Test (disk_file, who_only_reads_is_not_in_the_way)
{
  CLEANUP_FREE char *path = make_image ();
  struct lm_image_holder reader;
  struct lm_disk *disk, *second;

  need_qemu_io ();
  cr_assert (lm_image_holder_start (&reader, path, "raw", true));
  disk = must_open (path, NULL);
  second = must_open (path, NULL);
  cr_expect (not (disk->live));
  lm_image_holder_stop (&reader);
  cr_expect (lm_image_holder_start (&reader, path, "raw", true));
  lm_image_holder_stop (&reader);
  lm_disk_close (disk);
  lm_disk_close (second);
}

Test (disk_file, no_vm_starts_on_it_meanwhile)
{
  CLEANUP_FREE char *path = make_image ();
  struct lm_image_holder vm;
  struct lm_disk *disk;

  need_qemu_io ();
  disk = must_open (path, NULL);
  cr_expect (not (lm_image_holder_start (&vm, path, "raw", false)));
  lm_disk_close (disk);
  cr_assert (lm_image_holder_start (&vm, path, "raw", false));
  lm_image_holder_stop (&vm);
}

Test (image_lock, a_writer_is_alone)
{
  CLEANUP_FREE char *path = make_image ();
  CLEANUP_CLOSE int a = open (path, O_RDWR | O_CLOEXEC);
  CLEANUP_CLOSE int b = open (path, O_RDWR | O_CLOEXEC);
  struct lm_error err = LM_ERROR_INIT;
  struct lm_image_holder vm;

  need_qemu_io ();
  cr_assert (zero (int, lm_image_lock (a, LM_IMAGE_LOCK_WRITE, "a", &err)));
  cr_expect (eq (int, lm_image_lock (b, LM_IMAGE_LOCK_WRITE, "b", &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_LOCKED));
  cr_expect (eq (int, lm_image_lock (b, LM_IMAGE_LOCK_READ, "b", &err), -1));
  cr_expect (not (lm_image_holder_start (&vm, path, "raw", true)));
  cr_expect (not (lm_image_holder_start (&vm, path, "raw", false)));
  /* What was refused holds nothing. */
  close (lm_steal_fd (a));
  cr_expect (lm_image_holder_start (&vm, path, "raw", false));
  cr_expect (eq (int, lm_image_lock (b, LM_IMAGE_LOCK_WRITE, "b", &err), -1));
  lm_image_holder_stop (&vm);
  cr_assert (zero (int, lm_image_lock (b, LM_IMAGE_LOCK_WRITE, "b", &err)));
}

Test (disk_file, a_file_that_shrinks_is_an_error)
{
  CLEANUP_FREE char *path = make_image ();
  CLEANUP_DISK struct lm_disk *disk = must_open (path, NULL);
  struct lm_error err = LM_ERROR_INIT;
  static char buf[MIB];
  char text[200] = "";

  cr_assert (zero (int, truncate (path, 3 * MIB - 512)));
  cr_expect (eq (int, lm_disk_pread (disk, buf, MIB, 2 * MIB, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_IO));
  cr_expect (ne (ptr, strstr (err.message, "ends at 0x2ffe00 now"), NULL),
             "%s", err.message);
  cr_expect (zero (int, lm_disk_pread (disk, buf, 512, MIB, &err)));
  cr_expect (eq (int, lm_disk_extents (disk, 2 * MIB, 2 * MIB, print_extent,
                                       text, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_IO), "%s", text);
}

static struct lm_io_ops bad_sector;

static ssize_t
bad_pread (int fd, void *buf, size_t len, off_t offset)
{
  off_t bad = MIB + 4096;

  if (offset <= bad && offset + (off_t) len > bad) {
    if (offset == bad) {
      errno = EIO;
      return -1;
    }
    len = bad - offset;
  }
  return lm_io_system.pread (fd, buf, len, offset);
}

Test (disk_file, an_unreadable_sector_is_named)
{
  CLEANUP_FREE char *path = make_image ();
  CLEANUP_DISK struct lm_disk *disk = must_open (path, NULL);
  struct lm_error err = LM_ERROR_INIT;
  static char buf[MIB];

  bad_sector = lm_io_system;
  bad_sector.pread = bad_pread;
  lm_io = &bad_sector;
  cr_expect (eq (int, lm_disk_pread (disk, buf, MIB, MIB, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_IO));
  cr_expect (eq (int, err.sys_errno, EIO));
  cr_expect (ne (ptr, strstr (err.message, "read at 0x101000"), NULL), "%s",
             err.message);
  cr_expect (zero (int, lm_disk_pread (disk, buf, 4096, MIB, &err)));
  lm_io = &lm_io_system;
}

Test (disk_file, refuses_what_is_no_disk)
{
  CLEANUP_FREE char *fifo = lm_scratch_path ("fifo");
  CLEANUP_FREE char *nothing = lm_scratch_path ("nothing");
  struct lm_error err = LM_ERROR_INIT;

  cr_assert (zero (int, mkfifo (fifo, 0600)));
  cr_expect (eq (ptr, lm_disk_file_open (fifo, NULL, &err), NULL));
  cr_expect (eq (int, err.kind, LM_ERR_USAGE));
  cr_expect (eq (ptr, lm_disk_file_open ("/dev/null", NULL, &err), NULL));
  cr_expect (eq (int, err.kind, LM_ERR_USAGE));
  cr_expect (eq (ptr, lm_disk_file_open (lm_scratch_dir (), NULL, &err),
                 NULL));
  cr_expect (eq (int, err.kind, LM_ERR_USAGE));
  cr_expect (eq (ptr, lm_disk_file_open (nothing, NULL, &err), NULL));
  cr_expect (eq (int, err.kind, LM_ERR_NOT_FOUND), "%s", err.message);
}

Test (disk_file, a_block_device_has_a_size_and_data)
{
  CLEANUP_FREE char *path = make_image ();
  CLEANUP_FREE char *loop = lm_loop_attach (path, false);
  struct lm_error err = LM_ERROR_INIT;
  struct lm_disk *disk = must_open (loop, NULL);
  unsigned char c[512];

  cr_expect (eq (u64, disk->size, 4 * MIB));
  cr_expect (not (disk->live));
  cr_expect (zero (int, lm_disk_pread (disk, c, 512, MIB, &err)));
  cr_expect (eq (int, c[511], 0x5a));
  cr_expect (eq (str, extents_text (disk, 0, 4 * MIB), (char *) "d4.00"));
  lm_disk_close (disk);
  lm_loop_detach (loop);
}

Test (disk_file, a_claimed_block_device_is_refused)
{
  struct lm_disk_file_options live = { .allow_live = true };
  CLEANUP_FREE char *path = make_image ();
  CLEANUP_FREE char *loop = lm_loop_attach (path, false);
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_DISK struct lm_disk *disk = NULL;
  int claim = open (loop, O_RDWR | O_EXCL | O_CLOEXEC);

  cr_assert (ge (int, claim, 0));
  cr_expect (eq (ptr, lm_disk_file_open (loop, NULL, &err), NULL));
  cr_expect (eq (int, err.kind, LM_ERR_LOCKED), "%s", err.message);
  disk = must_open (loop, &live);
  cr_expect (disk->live);
  lm_disk_close (lm_steal (disk));
  close (claim);
  lm_loop_detach (loop);
}

Test (disk_file, a_read_only_block_device_needs_no_lock)
{
  CLEANUP_FREE char *path = make_image ();
  CLEANUP_FREE char *loop = lm_loop_attach (path, true);
  CLEANUP_DISK struct lm_disk *disk = NULL;
  int claim = open (loop, O_RDONLY | O_EXCL | O_CLOEXEC);

  disk = must_open (loop, NULL);
  cr_expect (not (disk->live));
  lm_disk_close (lm_steal (disk));
  close (claim);
  lm_loop_detach (loop);
}
