/* SPDX-License-Identifier: Apache-2.0
 *
 * What every target of a restore must do, run against each: a new file,
 * one that is there, a block device, NBD servers.  A new kind is one line
 * in EACH_TARGET.
 */
#include <config.h>

#include "formats/target.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "formats/disk-open.h"
#include "tests/support/image-holder.h"
#include "tests/support/loop.h"
#include "tests/support/memory-disk.h"
#include "tests/support/nbdkit.h"
#include "tests/support/scratch.h"
#include "common/banned.h"

#define KIB 1024
#define MIB (1024 * 1024)

/* A kind of target: what is there before, what it is called, what is left
 * to be ended. */
struct place {
  char *location;
  char *file;                   /* where the bytes end up, if anywhere */
  char *loop;
  struct nbd_process server;
};

/* A file of SIZE bytes; full of something else, or a hole. */
static char *
make_file (uint64_t size, bool full)
{
  char *path = lm_scratch_path ("target");
  CLEANUP_CLOSE int fd = open (path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC,
                               0600);
  struct lm_error err = LM_ERROR_INIT;
  static char junk[MIB];
  uint64_t done;

  cr_assert (zero (int, ftruncate (fd, size)));
  memset (junk, 0xee, sizeof junk);
  for (done = 0; full && done < size; done += MIB)
    cr_assert (zero (int, lm_pwrite_full (fd, junk, size - done < MIB
                                          ? size - done : MIB, done, path,
                                          &err)));
  return path;
}

static void
place_new_file (struct place *p, uint64_t size)
{
  (void) size;
  p->file = lm_scratch_path ("target");
  p->location = strdup (p->file);
}

static void
place_old_file (struct place *p, uint64_t size)
{
  p->file = make_file (size + 12345, true);
  p->location = strdup (p->file);
}

static void
place_block (struct place *p, uint64_t size)
{
  p->file = make_file ((size + 2 * MIB) & ~UINT64_C (4095), true);
  p->loop = lm_loop_attach (p->file, false);
  p->location = strdup (p->loop);
}

static void
place_nbdkit (struct place *p, uint64_t size)
{
  p->file = make_file ((size + 4096) & ~UINT64_C (511), true);
  const char *const argv[] = {
    "nbdkit", "-f", "-U", "SOCKET", "file", p->file, NULL,
  };

  nbd_process_start (&p->server, argv);
  p->location = strdup (p->server.uri);
}

/* A server that can't write zeros and wants whole blocks. */
static void
place_nbdkit_strict (struct place *p, uint64_t size)
{
  p->file = make_file ((size + 8192) & ~UINT64_C (4095), true);
  const char *const argv[] = {
    "nbdkit", "-f", "-U", "SOCKET", "--filter=blocksize-policy",
    "--filter=nozero", "file", p->file, "blocksize-minimum=4096",
    "blocksize-preferred=4096", "blocksize-maximum=65536",
    "blocksize-error-policy=error", NULL,
  };

  nbd_process_start (&p->server, argv);
  p->location = strdup (p->server.uri);
}

static void
place_qemu_nbd (struct place *p, uint64_t size)
{
  p->file = make_file ((size + 4096) & ~UINT64_C (511), true);
  const char *const argv[] = {
    "qemu-nbd", "-f", "raw", "-k", "SOCKET", "-t", p->file, NULL,
  };

  nbd_process_start (&p->server, argv);
  p->location = strdup (p->server.uri);
}

static void
leave (struct place *p)
{
  if (p->server.pid)
    nbd_process_stop (&p->server);
  if (p->loop)
    lm_loop_detach (p->loop);
  free (p->loop);
  if (p->file)
    unlink (p->file);
  free (p->file);
  free (p->location);
  *p = (struct place) { 0 };
}

#define RUN_ON(place, test) \
  Test (place, test, .timeout = 60) \
  { \
    test (place_##place); \
  }

#define EACH_TARGET(test) \
  static void test (void (*enter) (struct place *, uint64_t)); \
  RUN_ON (new_file, test) \
  RUN_ON (old_file, test) \
  RUN_ON (block, test) \
  RUN_ON (nbdkit, test) \
  RUN_ON (nbdkit_strict, test) \
  RUN_ON (qemu_nbd, test) \
  static void test (void (*enter) (struct place *, uint64_t))

static struct lm_target *
must_open (const char *location, uint64_t size, bool overwrite)
{
  struct lm_target_options options = { .overwrite = overwrite };
  struct lm_error err = LM_ERROR_INIT;
  struct lm_target *t = NULL;

  cr_assert (zero (int, lm_target_open (location, size, &options, &t,
                                        &err)), "%s", err.message);
  return t;
}

/* What is restored: a pattern, and every third 48 KiB zeros. */
#define STRIPE (48 * KIB)

static bool
stripe_is_zero (uint64_t n)
{
  return n % 3 == 1;
}

static void
restore_stripe (struct lm_target *t, uint64_t n, struct lm_error *err)
{
  uint64_t offset = n * STRIPE;
  size_t len = t->size - offset < STRIPE ? t->size - offset : STRIPE;
  CLEANUP_FREE uint8_t *data = malloc (len);
  int r;

  if (stripe_is_zero (n))
    r = lm_target_zero (t, offset, len, err);
  else {
    memory_disk_pattern (data, len, offset);
    /* Some zeros within, aligned and not. */
    if (len > 20000)
      memset (data + 3000, 0, 12000);
    r = lm_target_pwrite (t, data, len, offset, err);
  }
  if (r == -1 && err->kind == LM_ERR_NONE)
    err->kind = LM_ERR_IO;
}

static uint64_t
nr_stripes (uint64_t size)
{
  return (size + STRIPE - 1) / STRIPE;
}

struct worker {
  struct lm_target *target;
  unsigned first, step;
  struct lm_error err;
};

static void *
restore_some (void *arg)
{
  struct worker *w = arg;

  for (uint64_t n = w->first; n < nr_stripes (w->target->size); n += w->step)
    restore_stripe (w->target, n, &w->err);
  return NULL;
}

static void
restore (struct lm_target *t, unsigned nr_threads)
{
  struct lm_error err = LM_ERROR_INIT;
  struct worker workers[8];
  pthread_t threads[8];

  for (unsigned i = 0; i < nr_threads; i++) {
    workers[i] = (struct worker) {
      .target = t, .first = i, .step = nr_threads,
    };
    cr_assert (zero (int, pthread_create (&threads[i], NULL, restore_some,
                                          &workers[i])));
  }
  for (unsigned i = 0; i < nr_threads; i++) {
    pthread_join (threads[i], NULL);
    cr_expect (eq (int, workers[i].err.kind, LM_ERR_NONE), "%s",
               workers[i].err.message);
  }
  cr_assert (zero (int, lm_target_finish (t, &err)), "%s", err.message);
}

static void
expect_restored (const char *location, uint64_t size)
{
  CLEANUP_FREE uint8_t *got = malloc (STRIPE), *want = malloc (STRIPE);
  struct lm_error err = LM_ERROR_INIT;
  struct lm_disk *disk = lm_disk_open (location, NULL, &err);

  cr_assert (ne (ptr, disk, NULL), "%s", err.message);
  cr_assert (ge (u64, disk->size, size));
  for (uint64_t n = 0; n < nr_stripes (size); n++) {
    uint64_t offset = n * STRIPE;
    size_t len = size - offset < STRIPE ? size - offset : STRIPE;

    memory_disk_pattern (want, len, offset);
    if (stripe_is_zero (n))
      memset (want, 0, len);
    else if (len > 20000)
      memset (want + 3000, 0, 12000);
    cr_assert (zero (int, lm_disk_pread (disk, got, len, offset, &err)),
               "%s", err.message);
    cr_expect (zero (int, memcmp (got, want, len)), "stripe %ju",
               (uintmax_t) n);
  }
  lm_disk_close (disk);
}

EACH_TARGET (holds_what_was_restored_at_any_size)
{
  static const uint64_t sizes[] = {
    1, 511, 512, 4096, 65537, 3 * STRIPE, 5 * MIB + 513,
  };

  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    struct place p = { 0 };
    struct lm_target *t;

    enter (&p, sizes[i]);
    t = must_open (p.location, sizes[i], true);
    cr_expect (eq (u64, t->size, sizes[i]));
    restore (t, 1);
    lm_target_close (t);
    expect_restored (p.location, sizes[i]);
    leave (&p);
  }
}

EACH_TARGET (takes_eight_threads)
{
  uint64_t size = 12 * MIB + 999;
  struct place p = { 0 };
  struct lm_target *t;

  enter (&p, size);
  t = must_open (p.location, size, true);
  restore (t, 8);
  lm_target_close (t);
  expect_restored (p.location, size);
  leave (&p);
}

EACH_TARGET (an_empty_disk_is_a_disk)
{
  struct place p = { 0 };
  struct lm_target *t;

  enter (&p, 0);
  t = must_open (p.location, 0, true);
  restore (t, 1);
  lm_target_close (t);
  leave (&p);
}

EACH_TARGET (refuses_ranges_beyond_its_end)
{
  static const uint64_t rows[][2] = {
    { MIB, 1 }, { 0, MIB + 1 }, { MIB - 1, 2 }, { UINT64_MAX, 2 },
  };
  CLEANUP_FREE char *buf = calloc (1, MIB + 1);
  struct lm_error err = LM_ERROR_INIT;
  struct place p = { 0 };
  struct lm_target *t;

  enter (&p, MIB);
  t = must_open (p.location, MIB, true);
  for (size_t i = 0; i < 4; i++) {
    cr_expect (eq (int, lm_target_pwrite (t, buf, rows[i][1], rows[i][0],
                                          &err), -1));
    cr_expect (eq (int, err.kind, LM_ERR_USAGE));
    cr_expect (eq (int, lm_target_zero (t, rows[i][0], rows[i][1], &err),
                   -1));
    cr_expect (eq (int, err.kind, LM_ERR_USAGE));
  }
  cr_expect (zero (int, lm_target_pwrite (t, buf, 0, MIB, &err)));
  cr_expect (zero (int, lm_target_zero (t, MIB, 0, &err)));
  lm_target_close (t);
  leave (&p);
}

EACH_TARGET (what_holds_data_is_kept)
{
  struct lm_error err = LM_ERROR_INIT;
  struct place p = { 0 };
  struct lm_target *t;

  enter (&p, MIB);
  if (enter != place_new_file) {
    CLEANUP_FREE char *before = NULL, *after = NULL;
    size_t len_before, len_after;

    cr_assert (zero (int, lm_file_read (AT_FDCWD, p.file, 8 * MIB, &before,
                                        &len_before, &err)));
    cr_expect (eq (int, lm_target_open (p.location, MIB, NULL, &t, &err),
                   -1));
    cr_expect (eq (int, err.kind, LM_ERR_EXISTS), "%s", err.message);
    cr_expect (ne (ptr, strstr (err.hint, "--overwrite"), NULL));
    cr_assert (zero (int, lm_file_read (AT_FDCWD, p.file, 8 * MIB, &after,
                                        &len_after, &err)));
    cr_expect (eq (sz, len_before, len_after));
    cr_expect (zero (int, memcmp (before, after, len_after)));
  }
  leave (&p);
}

/* What is special about each. */

static int
try_open (const char *location, uint64_t size, bool overwrite,
          struct lm_error *err)
{
  struct lm_target_options options = { .overwrite = overwrite };
  struct lm_target *t = NULL;
  int r = lm_target_open (location, size, &options, &t, err);

  if (r == 0)
    lm_target_close (t);
  return r;
}

Test (new_file, is_removed_when_not_finished)
{
  CLEANUP_FREE char *path = lm_scratch_path ("target");
  CLEANUP_FREE char *nowhere = lm_scratch_path ("no/such/folder");
  struct lm_target *t = must_open (path, MIB, false);
  struct lm_error err = LM_ERROR_INIT;

  restore_stripe (t, 0, &err);
  cr_expect (zero (int, access (path, F_OK)));
  lm_target_close (t);
  cr_expect (eq (int, access (path, F_OK), -1));
  cr_expect (eq (int, try_open (nowhere, MIB, false, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_NOT_FOUND), "%s", err.message);
}

Test (new_file, zeros_are_holes)
{
  CLEANUP_FREE char *path = lm_scratch_path ("target");
  CLEANUP_FREE char *data = calloc (1, MIB);
  struct lm_target *t = must_open (path, 64 * MIB, false);
  struct lm_error err = LM_ERROR_INIT;
  struct stat st;

  data[500000] = 1;
  for (int i = 0; i < 32; i++)
    cr_assert (zero (int, lm_target_pwrite (t, data, MIB, i * MIB, &err)));
  cr_assert (zero (int, lm_target_zero (t, 32 * MIB, 32 * MIB, &err)));
  cr_assert (zero (int, lm_target_finish (t, &err)));
  lm_target_close (t);
  cr_assert (zero (int, stat (path, &st)));
  cr_expect (eq (u64, st.st_size, 64 * MIB));
  cr_expect (le (u64, st.st_blocks, 32 * 2 * 8));
}

Test (old_file, may_be_empty_or_all_zeros)
{
  CLEANUP_FREE char *path = make_file (2 * MIB, false);
  CLEANUP_FREE char *zeros = calloc (1, MIB);
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_CLOSE int fd = open (path, O_RDWR | O_CLOEXEC);
  struct stat st;

  cr_expect (zero (int, try_open (path, MIB, false, &err)), "%s",
             err.message);
  cr_assert (zero (int, stat (path, &st)));
  cr_expect (eq (u64, st.st_size, 2 * MIB), "opening changes nothing");
  cr_assert (zero (int, lm_pwrite_full (fd, zeros, MIB, 0, path, &err)));
  cr_expect (zero (int, try_open (path, MIB, false, &err)), "%s",
             err.message);
  cr_assert (zero (int, lm_pwrite_full (fd, "x", 1, MIB - 1, path, &err)));
  cr_expect (eq (int, try_open (path, MIB, false, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_EXISTS));
  cr_expect (zero (int, try_open (path, MIB, true, &err)));
}

/* Another target of the same restore may be refused after this one was
 * opened. */
Test (old_file, is_emptied_by_the_first_write_only)
{
  CLEANUP_FREE char *path = make_file (2 * MIB, false);
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_CLOSE int fd = open (path, O_RDWR | O_CLOEXEC);
  struct lm_target *t;
  struct stat st;
  char c = 0;

  cr_assert (zero (int, lm_pwrite_full (fd, "x", 1, 5, path, &err)));
  lm_target_close (must_open (path, MIB, true));
  cr_assert (zero (int, lm_pread_full (fd, &c, 1, 5, path, &err)));
  cr_expect (eq (chr, c, 'x'));
  t = must_open (path, MIB, true);
  cr_assert (zero (int, lm_target_zero (t, 0, MIB, &err)));
  cr_assert (zero (int, lm_target_finish (t, &err)));
  lm_target_close (t);
  cr_assert (zero (int, fstat (fd, &st)));
  cr_expect (eq (u64, st.st_size, MIB), "it takes the disk's size");
  cr_assert (zero (int, lm_pread_full (fd, &c, 1, 5, path, &err)));
  cr_expect (eq (chr, c, 0));
}

Test (old_file, in_use_by_a_vm_is_refused)
{
  CLEANUP_FREE char *path = make_file (MIB, false);
  struct lm_error err = LM_ERROR_INIT;
  struct lm_image_holder vm;
  struct lm_target *t;

  if (system ("qemu-io --version >/dev/null 2>&1") != 0)
    cr_skip_test ("qemu-io is not installed");
  for (int read_only = 0; read_only < 2; read_only++) {
    cr_assert (lm_image_holder_start (&vm, path, "raw", read_only));
    cr_expect (eq (int, try_open (path, MIB, true, &err), -1));
    cr_expect (eq (int, err.kind, LM_ERR_LOCKED), "%s", err.message);
    lm_image_holder_stop (&vm);
  }
  t = must_open (path, MIB, true);
  cr_expect (not (lm_image_holder_start (&vm, path, "raw", false)));
  cr_expect (not (lm_image_holder_start (&vm, path, "raw", true)));
  lm_target_close (t);
}

Test (old_file, is_not_made_of_something_else)
{
  CLEANUP_FREE char *fifo = lm_scratch_path ("fifo");
  const char *const names[] = { fifo, "/dev/null", lm_scratch_dir () };

  cr_assert (zero (int, mkfifo (fifo, 0600)));
  for (size_t i = 0; i < 3; i++) {
    struct lm_error err = LM_ERROR_INIT;

    cr_expect (eq (int, try_open (names[i], MIB, true, &err), -1));
    cr_expect (eq (int, err.kind, LM_ERR_USAGE), "%s", err.message);
  }
}

Test (block, refusals)
{
  CLEANUP_FREE char *path = make_file (4 * MIB, false);
  CLEANUP_FREE char *loop = lm_loop_attach (path, false);
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_CLOSE int fd = open (path, O_RDWR | O_CLOEXEC);
  int claim;

  cr_expect (zero (int, try_open (loop, 4 * MIB, false, &err)), "%s",
             err.message);
  cr_expect (eq (int, try_open (loop, 4 * MIB + 1, false, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_USAGE));
  cr_expect (ne (ptr, strstr (err.message, "too small"), NULL), "%s",
             err.message);
  claim = open (loop, O_RDONLY | O_EXCL | O_CLOEXEC);
  cr_expect (eq (int, try_open (loop, MIB, true, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_LOCKED), "%s", err.message);
  close (claim);
  lm_loop_detach (loop);

  /* A backup GPT, or the end of an old RAID, is data. */
  cr_assert (zero (int, lm_pwrite_full (fd, "x", 1, 4 * MIB - 512, path,
                                        &err)));
  free (loop);
  loop = lm_loop_attach (path, false);
  cr_expect (eq (int, try_open (loop, MIB, false, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_EXISTS), "%s", err.message);
  lm_loop_detach (loop);
  free (loop);
  loop = lm_loop_attach (path, true);
  cr_expect (eq (int, try_open (loop, MIB, true, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_USAGE), "%s", err.message);
  lm_loop_detach (loop);
}

Test (nbdkit, refusals, .timeout = 60)
{
  struct lm_error err = LM_ERROR_INIT;
  struct nbd_process p;
  const char *const read_only[] = {
    "nbdkit", "-f", "-r", "-U", "SOCKET", "memory", "1M", NULL,
  };
  const char *const small[] = {
    "nbdkit", "-f", "-U", "SOCKET", "memory", "1M", NULL,
  };

  nbd_process_start (&p, read_only);
  cr_expect (eq (int, try_open (p.uri, MIB, true, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_USAGE), "%s", err.message);
  nbd_process_stop (&p);
  nbd_process_start (&p, small);
  cr_expect (zero (int, try_open (p.uri, MIB, false, &err)), "%s",
             err.message);
  cr_expect (eq (int, try_open (p.uri, MIB + 1, true, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_USAGE), "%s", err.message);
  nbd_process_stop (&p);
}

Test (nbdkit, a_write_that_fails_is_an_error, .timeout = 60)
{
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_FREE char *buf = malloc (MIB);
  struct nbd_process p;
  struct lm_target *t;
  const char *const argv[] = {
    "nbdkit", "-f", "-U", "SOCKET", "--filter=error", "memory", "1M",
    "error-pwrite=ENOSPC", "error-pwrite-rate=1", NULL,
  };

  memset (buf, 1, MIB);
  nbd_process_start (&p, argv);
  t = must_open (p.uri, MIB, false);
  cr_expect (eq (int, lm_target_pwrite (t, buf, MIB, 0, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_NO_SPACE), "%s", err.message);
  lm_target_close (t);
  nbd_process_stop (&p);
}

static struct lm_io_ops failing;

static int
failing_fsync (int fd)
{
  (void) fd;
  errno = EIO;
  return -1;
}

Test (new_file, a_failed_fsync_is_a_failed_restore)
{
  CLEANUP_FREE char *path = lm_scratch_path ("target");
  struct lm_target *t = must_open (path, MIB, false);
  struct lm_error err = LM_ERROR_INIT;

  failing = lm_io_system;
  failing.fsync = failing_fsync;
  lm_io = &failing;
  cr_expect (eq (int, lm_target_finish (t, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_IO));
  lm_io = &lm_io_system;
  lm_target_close (t);
  cr_expect (eq (int, access (path, F_OK), -1));
}
