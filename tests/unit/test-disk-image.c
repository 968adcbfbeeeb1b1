/* SPDX-License-Identifier: Apache-2.0
 * Foreign images: what they hold, what they must not lead to, and that
 * qemu-nbd ends with the disk.
 */
#include <config.h>

#include "formats/disk-open.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "formats/image-header.h"
#include "tests/support/image-holder.h"
#include "tests/support/memory-disk.h"
#include "tests/support/scratch.h"
#include "common/banned.h"

#define MIB (1024 * 1024)
#define SIZE (8 * MIB)

static void sh (const char *fmt, ...) __attribute__ ((format (printf, 1, 2)));

/* Run a command in the scratch folder. */
static void
sh (const char *fmt, ...)
{
  CLEANUP_FREE char *cmd = NULL;
  va_list ap;

  va_start (ap, fmt);
  cr_assert (lt (int, 0, vasprintf (&cmd, fmt, ap)));
  va_end (ap);
  cr_assert (zero (int, chdir (lm_scratch_dir ())));
  cr_assert (zero (int, system (cmd)), "%s", cmd);
}

static void
setup (void)
{
  CLEANUP_FREE char *path = lm_scratch_path ("disk.raw");
  CLEANUP_FREE uint8_t *data = malloc (MIB);
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_CLOSE int fd = -1;

  if (system ("qemu-nbd --version >/dev/null 2>&1") != 0 ||
      system ("qemu-img --version >/dev/null 2>&1") != 0)
    cr_skip_test ("qemu-nbd is not installed");
  /* 8 MiB: a pattern in the second and the last. */
  fd = open (path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  cr_assert (zero (int, ftruncate (fd, SIZE)));
  memory_disk_pattern (data, MIB, 0);
  cr_assert (zero (int, lm_pwrite_full (fd, data, MIB, MIB, path, &err)));
  cr_assert (zero (int, lm_pwrite_full (fd, data, MIB, 7 * MIB, path,
                                        &err)));
}

TestSuite (disk_image, .init = setup, .timeout = 60);

static struct lm_disk *
open_named (const char *name, const char *format,
            const struct lm_disk_open_options *more, struct lm_error *err)
{
  CLEANUP_FREE char *path = lm_scratch_path ("%s", name);
  struct lm_disk_open_options options = { 0 };

  if (more)
    options = *more;
  options.format = format;
  return lm_disk_open (path, &options, err);
}

static void
expect_refused (const char *name, const char *format, int kind,
                const char *why)
{
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_DISK struct lm_disk *disk = open_named (name, format, NULL, &err);

  cr_expect (eq (ptr, disk, NULL), "%s", name);
  cr_expect (eq (int, err.kind, kind), "%s: %s", name, err.message);
  cr_expect (ne (ptr, strstr (err.message, why), NULL), "%s", err.message);
}

/* The disk holds what disk.raw holds. */
static void
expect_contents (struct lm_disk *disk)
{
  CLEANUP_FREE char *path = lm_scratch_path ("disk.raw");
  CLEANUP_FREE uint8_t *got = malloc (SIZE), *want = malloc (SIZE);
  CLEANUP_CLOSE int fd = open (path, O_RDONLY | O_CLOEXEC);
  struct lm_error err = LM_ERROR_INIT;

  cr_assert (ge (u64, disk->size, SIZE));
  cr_assert (zero (int, lm_pread_full (fd, want, SIZE, 0, path, &err)));
  cr_assert (zero (int, lm_disk_pread (disk, got, SIZE, 0, &err)), "%s",
             err.message);
  cr_expect (zero (int, memcmp (got, want, SIZE)));
}

static int
count_zero (void *opaque, uint64_t offset, uint64_t len,
            enum lm_extent_type type, struct lm_error *err)
{
  (void) offset;
  (void) err;
  if (type == LM_EXTENT_ZERO)
    *(uint64_t *) opaque += len;
  return 0;
}

Test (disk_image, reads_every_format)
{
  static const char *const rows[][2] = {
    { "qcow2", "" }, { "qcow2", "-c" }, { "qcow2", "-o compat=0.10" },
    { "vmdk", "" }, { "vmdk", "-o subformat=streamOptimized" },
    { "vdi", "" }, { "vdi", "-o static=on" }, { "vhdx", "" },
    { "vhdx", "-o subformat=fixed" }, { "vpc", "" },
    { "vpc", "-o subformat=fixed" },
  };

  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct lm_error err = LM_ERROR_INIT;
    CLEANUP_DISK struct lm_disk *disk = NULL;
    uint64_t zeros = 0;

    sh ("qemu-img convert -f raw -O %s %s disk.raw image", rows[i][0],
        rows[i][1]);
    disk = open_named ("image", rows[i][0], NULL, &err);
    cr_assert (ne (ptr, disk, NULL), "%s %s: %s", rows[i][0], rows[i][1],
               err.message);
    cr_expect (not (disk->live));
    expect_contents (disk);
    cr_expect (zero (int, lm_disk_extents (disk, 0, SIZE, count_zero, &zeros,
                                           &err)));
    if (strcmp (rows[i][0], "qcow2") == 0)
      cr_expect (eq (u64, zeros, 6 * MIB), "%s", rows[i][1]);
  }
}

Test (disk_image, the_format_is_never_guessed)
{
  sh ("qemu-img convert -f raw -O qcow2 disk.raw image");
  expect_refused ("image", "vmdk", LM_ERR_CORRUPT, "format vmdk");
  expect_refused ("image", "vdi", LM_ERR_CORRUPT, "format vdi");
  expect_refused ("image", "vhdx", LM_ERR_CORRUPT, "format vhdx");
  expect_refused ("image", "vpc", LM_ERR_CORRUPT, "format vpc");
  expect_refused ("disk.raw", "qcow2", LM_ERR_CORRUPT, "format qcow2");
  expect_refused ("image", "qcow", LM_ERR_USAGE, "'qcow'");
  expect_refused ("image", "", LM_ERR_USAGE, "''");
  expect_refused ("nothing", "qcow2", LM_ERR_NOT_FOUND, "nothing");
  expect_refused ("", "qcow2", LM_ERR_USAGE, "neither a file");
}

/* References. */

static struct lm_disk_open_options
allow (const char *const *files, size_t n)
{
  cr_assert (zero (int, chdir (lm_scratch_dir ())));
  return (struct lm_disk_open_options) {
    .allowed_files = files, .nr_allowed_files = n,
  };
}

static void
expect_allowed (const char *name, const char *format,
                const char *const *files, size_t n)
{
  struct lm_disk_open_options options = allow (files, n);
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_DISK struct lm_disk *disk = open_named (name, format, &options,
                                                  &err);

  cr_assert (ne (ptr, disk, NULL), "%s", err.message);
  expect_contents (disk);
}

Test (disk_image, a_backing_file_must_be_allowed)
{
  sh ("qemu-img convert -f raw -O qcow2 disk.raw base.qcow2 && "
      "qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 mid.qcow2 && "
      "qemu-img create -q -f qcow2 -b mid.qcow2 -F qcow2 top.qcow2");
  expect_refused ("top.qcow2", "qcow2", LM_ERR_USAGE,
                  "the backing file 'mid.qcow2'");
  expect_allowed ("top.qcow2", "qcow2",
                  (const char *const[]) { "base.qcow2", "./mid.qcow2" }, 2);
  struct lm_disk_open_options options =
    allow ((const char *const[]) { "mid.qcow2" }, 1);
  struct lm_error err = LM_ERROR_INIT;

  cr_expect (eq (ptr, open_named ("top.qcow2", "qcow2", &options, &err),
                 NULL));
  cr_expect (ne (ptr, strstr (err.message, "'base.qcow2'"), NULL), "%s",
             err.message);
}

Test (disk_image, a_backing_file_without_a_format_is_refused)
{
  struct lm_error err = LM_ERROR_INIT;

  sh ("qemu-img create -q -f qcow2 -b disk.raw -F raw image && "
      "qemu-img rebase -q -u -b '' image && "
      "qemu-img rebase -q -u -b disk.raw -F raw image");
  expect_allowed ("image", "qcow2", (const char *const[]) { "disk.raw" }, 1);
  /* Take the extension that names it away. */
  sh ("printf '\\000\\000\\000\\001' | "
      "dd of=image bs=1 seek=112 conv=notrunc 2>/dev/null");
  struct lm_disk_open_options options =
    allow ((const char *const[]) { "disk.raw" }, 1);

  cr_expect (eq (ptr, open_named ("image", "qcow2", &options, &err), NULL));
  cr_expect (eq (int, err.kind, LM_ERR_UNSUPPORTED), "%s", err.message);
}

Test (disk_image, hostile_qcow2_is_refused)
{
  static const char *const names[] = {
    "/etc/passwd", "../../../../etc/passwd", "nbd:localhost:10809",
    "json:{\"driver\":\"file\",\"filename\":\"/etc/passwd\"}",
    "file:///etc/passwd", "/dev/zero", "/proc/self/mem",
  };

  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    sh ("qemu-img create -q -f qcow2 -u -b '%s' -F raw image 1M", names[i]);
    expect_refused ("image", "qcow2", LM_ERR_USAGE, "not allowed");
  }
  sh ("qemu-img create -q -f qcow2 -o data_file=/tmp/../$PWD/data,"
      "data_file_raw=on image 1M");
  expect_refused ("image", "qcow2", LM_ERR_USAGE, "the data file");
}

Test (disk_image, a_data_file_can_be_allowed)
{
  sh ("qemu-img convert -f raw -O qcow2 -o data_file=data disk.raw image");
  expect_refused ("image", "qcow2", LM_ERR_USAGE, "the data file 'data'");
  expect_allowed ("image", "qcow2", (const char *const[]) { "data" }, 1);
}

Test (disk_image, vmdk_extents_must_be_allowed)
{
  sh ("qemu-img convert -f raw -O vmdk -o subformat=monolithicFlat "
      "disk.raw flat.vmdk && "
      "qemu-img convert -f raw -O vmdk -o subformat=twoGbMaxExtentSparse "
      "disk.raw split.vmdk");
  expect_refused ("flat.vmdk", "vmdk", LM_ERR_USAGE,
                  "the extent 'flat-flat.vmdk'");
  expect_allowed ("flat.vmdk", "vmdk",
                  (const char *const[]) { "flat-flat.vmdk" }, 1);
  expect_refused ("split.vmdk", "vmdk", LM_ERR_USAGE,
                  "the extent 'split-s001.vmdk'");
  expect_allowed ("split.vmdk", "vmdk",
                  (const char *const[]) { "split-s001.vmdk" }, 1);
}

Test (disk_image, hostile_vmdk_is_refused)
{
  static const struct { const char *sed, *why; } rows[] = {
    { "s|\"x-flat.vmdk\"|\"/etc/passwd\"|", "the extent '/etc/passwd'" },
    { "s|\"x-flat.vmdk\"|\"json:{}\"|", "the extent 'json:{}'" },
    { "s|\"x-flat.vmdk\"|\"/etc/passwd|", "the extent '/etc/passwd 0'" },
    { "s|^RW|  RW|;s|\"x-flat.vmdk\"|\"/etc/passwd\"|", "/etc/passwd" },
    { "s|^RW.*|RW\\n20480 FLAT \"/etc/passwd\" 0|", "without a name" },
    { "s|FLAT|ZERO|;s|\"x-flat.vmdk\"|\"/etc/passwd\"|", "/etc/passwd" },
    { "s|^createType|parentFileNameHint=\"/etc/passwd\"\\n&|",
      "the extent 'x-flat" },
  };

  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    sh ("rm -f x.vmdk; qemu-img create -q -f vmdk -o "
        "subformat=monolithicFlat x.vmdk 10M && sed -i '%s' x.vmdk",
        rows[i].sed);
    struct lm_error err = LM_ERROR_INIT;

    cr_expect (eq (ptr, open_named ("x.vmdk", "vmdk", NULL, &err), NULL));
    cr_expect (ne (ptr, strstr (err.message, rows[i].why), NULL),
               "row %zu: %s", i, err.message);
  }
}

Test (disk_image, vmdk_parents_and_embedded_descriptors_are_refused)
{
  CLEANUP_FREE char *path = lm_scratch_path ("s.vmdk");
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_CLOSE int fd = -1;
  uint8_t zeros[8] = { 0 };

  sh ("qemu-img convert -f raw -O vmdk disk.raw s.vmdk && "
      "qemu-img create -q -f vmdk -b s.vmdk -F vmdk child.vmdk");
  expect_refused ("child.vmdk", "vmdk", LM_ERR_USAGE,
                  "the backing file 's.vmdk'");
  expect_allowed ("child.vmdk", "vmdk", (const char *const[]) { "s.vmdk" },
                  1);
  /* No capacity: the extents of the embedded descriptor count. */
  fd = open (path, O_RDWR | O_CLOEXEC);
  cr_assert (zero (int, lm_pwrite_full (fd, zeros, 8, 12, path, &err)));
  expect_refused ("s.vmdk", "vmdk", LM_ERR_UNSUPPORTED, "capacity");
}

Test (disk_image, an_extent_may_not_lead_further)
{
  struct lm_error err = LM_ERROR_INIT;

  sh ("qemu-img create -q -f vmdk -o subformat=monolithicFlat y.vmdk 10M && "
      "sed 's|y-flat.vmdk|y.vmdk|;s|FLAT|SPARSE|' y.vmdk >x.vmdk && "
      "sed -i 's|y-flat.vmdk|/etc/passwd|' y.vmdk");
  struct lm_disk_open_options options =
    allow ((const char *const[]) { "y.vmdk" }, 1);

  cr_expect (eq (ptr, open_named ("x.vmdk", "vmdk", &options, &err), NULL));
  cr_expect (eq (int, err.kind, LM_ERR_UNSUPPORTED), "%s", err.message);
}

/* Set the has-parent bit of a VHDX: the file parameters' entry of its
 * metadata, found by its GUID. */
Test (disk_image, differencing_images_are_refused)
{
  static const uint8_t guid[16] = {
    0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d,
    0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b,
  };
  CLEANUP_FREE char *vhdx = lm_scratch_path ("x.vhdx");
  CLEANUP_FREE char *data = NULL;
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_CLOSE int fd = -1;
  size_t len, region;
  uint8_t *entry;
  uint32_t item;

  sh ("qemu-img convert -f raw -O vhdx disk.raw x.vhdx && "
      "qemu-img convert -f raw -O vdi disk.raw x.vdi && "
      "qemu-img convert -f raw -O vpc disk.raw x.vpc");
  cr_assert (zero (int, lm_file_read (AT_FDCWD, vhdx, 64 * MIB, &data, &len,
                                      &err)));
  entry = memmem (data, len, guid, 16);
  cr_assert (ne (ptr, entry, NULL));
  region = (entry - (uint8_t *) data) & ~(size_t) 65535;
  memcpy (&item, entry + 16, 4);
  fd = open (vhdx, O_RDWR | O_CLOEXEC);
  cr_assert (zero (int, lm_pwrite_full (fd, "\2", 1, region + item + 4, vhdx,
                                        &err)));
  expect_refused ("x.vhdx", "vhdx", LM_ERR_IO, "qemu-nbd: ");

  sh ("printf '\\004' | dd of=x.vdi bs=1 seek=76 conv=notrunc 2>/dev/null; "
      "printf '\\004' | dd of=x.vpc bs=1 seek=63 conv=notrunc 2>/dev/null");
  expect_refused ("x.vdi", "vdi", LM_ERR_UNSUPPORTED, "has a parent");
  expect_refused ("x.vpc", "vpc", LM_ERR_UNSUPPORTED, "has a parent");
}

Test (disk_image, truncated_and_encrypted_images_are_refused)
{
  static const char *const formats[] = {
    "qcow2", "vmdk", "vdi", "vhdx", "vpc",
  };

  for (size_t i = 0; i < 5; i++)
    for (int n = 0; n < 600; n += 100) {
      struct lm_error err = LM_ERROR_INIT;
      struct lm_disk *disk;

      sh ("qemu-img convert -f raw -O %s disk.raw x && truncate -s %d x",
          formats[i], n);
      disk = open_named ("x", formats[i], NULL, &err);
      cr_expect (eq (ptr, disk, NULL), "%s of %d bytes", formats[i], n);
      cr_expect (ne (str, err.message, (char *) ""));
    }
  sh ("qemu-img convert --object secret,id=s,data=123456 -f raw -O qcow2 "
      "-o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 "
      "disk.raw x");
  expect_refused ("x", "qcow2", LM_ERR_UNSUPPORTED, "encrypted");
}

/* As VirtualBox writes it: the geometry is smaller than the disk. */
Test (disk_image, a_vpc_image_has_its_size_in_bytes)
{
  CLEANUP_FREE char *path = lm_scratch_path ("x.vpc");
  CLEANUP_DISK struct lm_disk *disk = NULL;
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_CLOSE int fd = -1;
  uint8_t footer[512];
  uint32_t sum = 0;

  sh ("truncate -s 5000192 odd.raw && qemu-img convert -f raw -O vpc "
      "-o subformat=fixed,force_size=on odd.raw x.vpc");
  fd = open (path, O_RDWR | O_CLOEXEC);
  cr_assert (zero (int, lm_pread_full (fd, footer, 512, 5000192, path,
                                       &err)));
  memcpy (footer + 28, "vbox", 4);
  memcpy (footer + 56, (uint8_t[]) { 0, 143, 4, 17 }, 4);
  memset (footer + 64, 0, 4);
  for (int i = 0; i < 512; i++)
    sum += footer[i];
  for (int i = 0; i < 4; i++)
    footer[64 + i] = ~sum >> (24 - 8 * i);
  cr_assert (zero (int, lm_pwrite_full (fd, footer, 512, 5000192, path,
                                        &err)));
  sh ("qemu-img info -f vpc x.vpc | grep -q '(4978688 bytes)'");
  disk = open_named ("x.vpc", "vpc", NULL, &err);
  cr_assert (ne (ptr, disk, NULL), "%s", err.message);
  cr_expect (eq (u64, disk->size, 5000192));
}

/* Life and death. */

Test (disk_image, what_a_vm_writes_to_is_refused)
{
  struct lm_disk_open_options live = { .allow_live = true };
  struct lm_error err = LM_ERROR_INIT;
  struct lm_image_holder vm;
  CLEANUP_FREE char *path = lm_scratch_path ("image");
  struct lm_disk *disk;

  sh ("qemu-img convert -f raw -O qcow2 disk.raw image");
  cr_assert (lm_image_holder_start (&vm, path, "qcow2", false));
  expect_refused ("image", "qcow2", LM_ERR_LOCKED, "in use");
  disk = open_named ("image", "qcow2", &live, &err);
  cr_assert (ne (ptr, disk, NULL), "%s", err.message);
  cr_expect (disk->live);
  expect_contents (disk);
  lm_disk_close (disk);
  lm_image_holder_stop (&vm);

  disk = open_named ("image", "qcow2", &live, &err);
  cr_expect (not (disk->live));
  cr_expect (not (lm_image_holder_start (&vm, path, "qcow2", false)));
  lm_disk_close (disk);
}

/* How many processes have PATH open, without us. */
static unsigned
count_holders (const char *path)
{
  CLEANUP_CLOSEDIR DIR *proc = opendir ("/proc");
  struct dirent *d, *f;
  unsigned n = 0;

  while ((d = readdir (proc))) {
    CLEANUP_CLOSEDIR DIR *fds = NULL;
    char dir[300], link[600], target[4096];

    if (strspn (d->d_name, "0123456789") != strlen (d->d_name) ||
        strtol (d->d_name, NULL, 10) == getpid ())
      continue;
    snprintf (dir, sizeof dir, "/proc/%s/fd", d->d_name);
    fds = opendir (dir);
    while (fds && (f = readdir (fds))) {
      ssize_t len;

      snprintf (link, sizeof link, "%s/%s", dir, f->d_name);
      len = readlink (link, target, sizeof target - 1);
      if (len <= 0)
        continue;
      target[len] = '\0';
      if (strcmp (target, path) == 0) {
        n++;
        break;
      }
    }
  }
  return n;
}

Test (disk_image, qemu_nbd_ends_with_the_disk)
{
  CLEANUP_FREE char *path = lm_scratch_path ("image");
  struct lm_error err = LM_ERROR_INIT;
  struct lm_disk *disk;

  sh ("qemu-img convert -f raw -O qcow2 disk.raw image");
  disk = open_named ("image", "qcow2", NULL, &err);
  cr_assert (ne (ptr, disk, NULL), "%s", err.message);
  cr_expect (eq (u32, count_holders (path), 1));
  lm_disk_close (disk);
  cr_expect (eq (u32, count_holders (path), 0));
}

Test (disk_image, qemu_nbd_ends_when_we_are_killed)
{
  CLEANUP_FREE char *path = lm_scratch_path ("image");
  pid_t pid;
  int i;

  sh ("qemu-img convert -f raw -O qcow2 disk.raw image");
  pid = fork ();
  cr_assert (ge (int, pid, 0));
  if (pid == 0) {
    struct lm_error err = LM_ERROR_INIT;

    if (open_named ("image", "qcow2", NULL, &err) == NULL)
      _exit (1);
    raise (SIGKILL);
  }
  cr_assert (eq (int, waitpid (pid, &i, 0), pid));
  cr_expect (ne (int, WIFSIGNALED (i), 0));
  for (i = 0; i < 1200 && count_holders (path) > 0; i++)
    usleep (50000);
  cr_expect (eq (u32, count_holders (path), 0));
}

Test (disk_image, a_killed_qemu_nbd_is_an_error)
{
  CLEANUP_FREE char *path = lm_scratch_path ("image");
  CLEANUP_DISK struct lm_disk *disk = NULL;
  struct lm_error err = LM_ERROR_INIT;
  uint8_t buf[512];

  sh ("qemu-img convert -f raw -O qcow2 disk.raw image");
  disk = open_named ("image", "qcow2", NULL, &err);
  cr_assert (ne (ptr, disk, NULL), "%s", err.message);
  sh ("for p in /proc/[0-9]*; do if readlink $p/fd/* 2>/dev/null | "
      "grep -qx '%s' && grep -q qemu-nbd $p/comm; then kill -9 ${p#/proc/}; "
      "fi; done", path);
  cr_expect (eq (int, lm_disk_pread (disk, buf, 512, 0, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_IO));
}

Test (disk_image, nothing_is_left_in_tmp)
{
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_FREE char *tmp = lm_scratch_path ("tmp");
  struct lm_disk *disk;

  cr_assert (zero (int, mkdir (tmp, 0700)));
  setenv ("TMPDIR", tmp, 1);
  sh ("qemu-img convert -f raw -O qcow2 disk.raw image");
  disk = open_named ("image", "qcow2", NULL, &err);
  cr_assert (ne (ptr, disk, NULL), "%s", err.message);
  cr_expect (zero (int, rmdir (tmp)));
  lm_disk_close (disk);
}
