/* SPDX-License-Identifier: Apache-2.0
 *
 * What every disk must do, run against each implementation.  A new one is
 * one line in EACH_DISK and a function that makes such a disk of a raw
 * file.
 */
#include <config.h>

#include "formats/disk.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "common/io.h"
#include "formats/disk-open.h"
#include "formats/native/keys.h"
#include "proxy/cache.h"
#include "proxy/guard-disk.h"
#include "proxy/overlay.h"
#include "tests/support/loop.h"
#include "tests/support/memory-disk.h"
#include "tests/support/nbdkit.h"
#include "tests/support/scratch.h"
#include "common/banned.h"

#define KIB 1024
#define MIB (1024 * 1024)

/* What a test works with: the disk, the bytes that it must hold, and
 * what has to be ended afterwards. */
struct fixture {
  uint8_t *data;
  uint64_t size;
  char *raw;                    /* a file with the data */
  struct lm_disk *disk;
  char *loop;
  struct nbd_process server;
  struct lm_cache *cache;
  struct lm_overlay *overlay;
  struct lm_keys *keys;
};

/* 40 KiB of zeros after each 24 KiB of data, not aligned to 64 KiB for
 * long: a stripe of 64 KiB begins 4 KiB later each time. */
static void
make_data (struct fixture *f)
{
  uint64_t pos;

  f->data = calloc (1, f->size + 1);
  cr_assert (ne (ptr, f->data, NULL));
  for (pos = 0; pos < f->size; pos += 68 * KIB)
    memory_disk_pattern (f->data + pos, lm_min_u64 (24 * KIB, f->size - pos),
                         pos);
}

static void
make_raw (struct fixture *f)
{
  CLEANUP_CLOSE int fd = -1;
  struct lm_error err = LM_ERROR_INIT;
  uint64_t pos;

  f->raw = lm_scratch_path ("disk.raw");
  fd = open (f->raw, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  cr_assert (zero (int, ftruncate (fd, f->size)));
  for (pos = 0; pos < f->size; pos += 68 * KIB)
    cr_assert (zero (int, lm_pwrite_full (fd, f->data + pos,
                                          lm_min_u64 (24 * KIB,
                                                      f->size - pos),
                                          pos, f->raw, &err)));
}

/* The kinds.  Each sets f->disk. */

static void
open_source (struct fixture *f, const char *source, const char *format,
             bool read_holes)
{
  struct lm_disk_open_options options = {
    .format = format, .read_holes = read_holes,
  };
  struct lm_error err = LM_ERROR_INIT;

  f->disk = lm_disk_open (source, &options, &err);
  cr_assert (ne (ptr, f->disk, NULL), "%s", err.message);
}

static void
enter_memory (struct fixture *f)
{
  f->disk = &memory_disk_new (f->data, f->size, 65536)->disk;
}

/* The wrappers of the proxy. */

static void
enter_cache (struct fixture *f)
{
  struct lm_error err = LM_ERROR_INIT;

  enter_memory (f);
  f->cache = lm_cache_new (MIB, 65536, &err);
  cr_assert (ne (ptr, f->cache, NULL), "%s", err.message);
  f->disk = lm_cache_disk_new (f->cache, f->disk, &err);
  cr_assert (ne (ptr, f->disk, NULL), "%s", err.message);
}

static void
enter_guard (struct fixture *f)
{
  static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
  struct lm_error err = LM_ERROR_INIT;

  enter_memory (f);
  f->disk = lm_guard_disk_new (f->disk, &lock, &err);
  cr_assert (ne (ptr, f->disk, NULL), "%s", err.message);
}

/* The first half is wrong below, and right in the overlay. */
static void
enter_overlay (struct fixture *f)
{
  static const uint8_t id[16] = "sixteen bytes..";
  static unsigned count;
  const struct lm_overlay_disk_spec disk = { "disk0", f->size };
  struct lm_overlay_spec spec = {
    .repository = id, .snapshot = id, .disks = &disk, .nr_disks = 1,
  };
  CLEANUP_FREE char *folder = lm_scratch_path ("overlay%u", count++);
  struct lm_error err = LM_ERROR_INIT;
  struct memory_disk *base;

  enter_memory (f);
  base = (struct memory_disk *) f->disk;
  memset (base->data, 0xee, f->size / 2);
  spec.keys = f->keys = lm_keys_new (id, NULL, &err);
  f->overlay = lm_overlay_open (folder, &spec, &err);
  cr_assert (ne (ptr, f->overlay, NULL), "%s", err.message);
  f->disk = lm_overlay_disk_open (f->overlay, "disk0", f->disk, &err);
  cr_assert (ne (ptr, f->disk, NULL), "%s", err.message);
  cr_assert (zero (int, lm_overlay_disk_pwrite (f->disk, f->data,
                                                f->size / 2, 0, &err)),
             "%s", err.message);
}

static void
enter_file (struct fixture *f)
{
  open_source (f, f->raw, NULL, false);
}

static void
enter_file_holes (struct fixture *f)
{
  open_source (f, f->raw, NULL, true);
}

/* Loop devices have whole sectors. */
static void
enter_block (struct fixture *f)
{
  uint64_t size = (f->size + 511) & ~UINT64_C (511);

  if (size == 0)
    size = 512;
  cr_assert (zero (int, truncate (f->raw, size)));
  f->loop = lm_loop_attach (f->raw, false);
  open_source (f, f->loop, NULL, false);
}

static void
enter_nbdkit (struct fixture *f)
{
  const char *const argv[] = {
    "nbdkit", "-f", "-r", "-U", "SOCKET", "file", f->raw, NULL,
  };

  nbd_process_start (&f->server, argv);
  open_source (f, f->server.uri, "raw", false);
}

static void
enter_nbdkit_strict (struct fixture *f)
{
  uint64_t size = (f->size + 4095) & ~UINT64_C (4095);
  const char *const argv[] = {
    "nbdkit", "-f", "-r", "-U", "SOCKET", "--filter=blocksize-policy",
    "file", f->raw, "blocksize-minimum=4096", "blocksize-preferred=4096",
    "blocksize-maximum=65536", "blocksize-error-policy=error", NULL,
  };

  cr_assert (zero (int, truncate (f->raw, size)));
  nbd_process_start (&f->server, argv);
  open_source (f, f->server.uri, NULL, false);
}

static void
enter_qemu_nbd (struct fixture *f)
{
  const char *const argv[] = {
    "qemu-nbd", "-f", "raw", "-r", "-k", "SOCKET", "-t", f->raw, NULL,
  };

  nbd_process_start (&f->server, argv);
  open_source (f, f->server.uri, NULL, false);
}

static void
convert (struct fixture *f, const char *format, const char *options)
{
  CLEANUP_FREE char *image = lm_scratch_path ("image");
  CLEANUP_FREE char *cmd = NULL;

  if (system ("qemu-img --version >/dev/null 2>&1") != 0)
    cr_skip_test ("qemu-img is not installed");
  /* Some formats have no disk without a sector. */
  if (f->size == 0)
    cr_assert (zero (int, truncate (f->raw, 512)));
  cr_assert (lt (int, 0, asprintf (&cmd, "rm -f %s; qemu-img convert -f raw "
                                "-O %s %s %s %s", image, format, options,
                                f->raw, image)));
  cr_assert (zero (int, system (cmd)), "%s", cmd);
  open_source (f, image, format, false);
}

static void
enter_qcow2 (struct fixture *f)
{
  convert (f, "qcow2", "-c");
}

static void
enter_vmdk (struct fixture *f)
{
  convert (f, "vmdk", "");
}

static void
enter_vhdx (struct fixture *f)
{
  convert (f, "vhdx", "");
}

static void
enter_vdi (struct fixture *f)
{
  convert (f, "vdi", "");
}

static void
enter_vpc (struct fixture *f)
{
  convert (f, "vpc", "");
}

static void
leave (struct fixture *f)
{
  lm_disk_close (f->disk);
  lm_cache_free (f->cache);
  lm_overlay_close (f->overlay);
  lm_keys_free (f->keys);
  if (f->server.pid)
    nbd_process_stop (&f->server);
  if (f->loop)
    lm_loop_detach (f->loop);
  free (f->loop);
  free (f->raw);
  free (f->data);
  *f = (struct fixture) { 0 };
}

static void
begin (struct fixture *f, uint64_t size, void (*enter) (struct fixture *))
{
  *f = (struct fixture) { .size = size };
  make_data (f);
  make_raw (f);
  enter (f);
}

#define RUN_ON(kind, test) \
  Test (kind, test, .timeout = 120) \
  { \
    test (enter_##kind); \
  }

#define EACH_DISK(test) \
  static void test (void (*enter) (struct fixture *)); \
  RUN_ON (memory, test) \
  RUN_ON (cache, test) \
  RUN_ON (guard, test) \
  RUN_ON (overlay, test) \
  RUN_ON (file, test) \
  RUN_ON (file_holes, test) \
  RUN_ON (block, test) \
  RUN_ON (nbdkit, test) \
  RUN_ON (nbdkit_strict, test) \
  RUN_ON (qemu_nbd, test) \
  RUN_ON (qcow2, test) \
  RUN_ON (vmdk, test) \
  RUN_ON (vhdx, test) \
  RUN_ON (vdi, test) \
  RUN_ON (vpc, test) \
  static void test (void (*enter) (struct fixture *))

/* The byte at OFFSET: what lies beyond our data is padding. */
static bool
is_right (const struct fixture *f, const uint8_t *got, size_t len,
          uint64_t offset)
{
  size_t ours = offset < f->size ? lm_min_u64 (len, f->size - offset) : 0;
  size_t i;

  if (memcmp (got, f->data + offset, ours) != 0)
    return false;
  for (i = ours; i < len; i++)
    if (got[i] != 0)
      return false;
  return true;
}

static void
expect_read (const struct fixture *f, uint64_t offset, size_t len)
{
  CLEANUP_FREE uint8_t *buf = malloc (len + 2);
  struct lm_error err = LM_ERROR_INIT;

  buf[0] = buf[len + 1] = 0xa5;
  cr_assert (zero (int, lm_disk_pread (f->disk, buf + 1, len, offset, &err)),
             "%s", err.message);
  cr_expect (is_right (f, buf + 1, len, offset), "%zu bytes at %ju", len,
             (uintmax_t) offset);
  cr_expect (eq (int, buf[0] & buf[len + 1], 0xa5), "wrote beside");
}

static const uint64_t sizes[] = {
  0, 1, 511, 512, 513, 65537, 3 * MIB + 511,
};

EACH_DISK (has_its_size_and_holds_its_data)
{
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    struct fixture f;

    begin (&f, sizes[i], enter);
    if (enter == enter_memory || enter == enter_file ||
        enter == enter_nbdkit)
      cr_expect (eq (u64, f.disk->size, f.size));
    else {
      cr_expect (ge (u64, f.disk->size, f.size));
      cr_expect (le (u64, f.disk->size, f.size + 2 * MIB));
    }
    cr_expect (lt (u32, 0, f.disk->preferred_block));
    expect_read (&f, 0, f.disk->size);
    leave (&f);
  }
}

EACH_DISK (reads_at_every_alignment)
{
  static const uint64_t edges[] = {
    0, 1, 511, 512, 513, 4095, 4096, 4097, 24575, 24576, 65535, 65536,
    65537, 131071, MIB - 1, MIB, MIB + 1,
  };
  static const size_t lens[] = {
    0, 1, 2, 511, 512, 513, 4096, 4097, 65536, 65537, MIB, 2 * MIB + 3,
  };
  struct fixture f;

  begin (&f, 4 * MIB + 77, enter);
  for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++)
    for (size_t j = 0; j < sizeof lens / sizeof lens[0]; j++) {
      expect_read (&f, edges[i], lens[j]);
      expect_read (&f, f.disk->size - edges[i],
                   lm_min_u64 (lens[j], edges[i]));
    }
  leave (&f);
}

static int
ignore_extent (void *opaque, uint64_t offset, uint64_t len,
               enum lm_extent_type type, struct lm_error *err)
{
  (void) opaque;
  (void) offset;
  (void) len;
  (void) type;
  (void) err;
  return 0;
}

EACH_DISK (refuses_ranges_beyond_its_end)
{
  struct fixture f;
  uint8_t buf[8];

  begin (&f, 65537, enter);
  const uint64_t rows[][2] = {
    { f.disk->size, 1 }, { f.disk->size - 1, 2 }, { UINT64_MAX, 2 },
    { f.disk->size + 1, 0 }, { UINT64_MAX - 1, 8 },
  };
  for (size_t i = 0; i < 5; i++) {
    struct lm_error err = LM_ERROR_INIT;

    cr_expect (eq (int, lm_disk_pread (f.disk, buf, rows[i][1], rows[i][0],
                                       &err), -1));
    cr_expect (eq (int, err.kind, LM_ERR_USAGE), "row %zu", i);
    lm_error_clear (&err);
    cr_expect (eq (int, lm_disk_extents (f.disk, rows[i][0], rows[i][1],
                                         ignore_extent, NULL, &err), -1));
    cr_expect (eq (int, err.kind, LM_ERR_USAGE), "row %zu", i);
  }
  leave (&f);
}

struct walk {
  const struct fixture *f;
  uint64_t pos, zeros;
  unsigned count, stop_at;
};

static int
check_extent (void *opaque, uint64_t offset, uint64_t len,
              enum lm_extent_type type, struct lm_error *err)
{
  struct walk *w = opaque;

  if (++w->count == w->stop_at)
    return lm_error_set (err, LM_ERR_INTERRUPTED, "enough");
  cr_expect (eq (u64, offset, w->pos));
  cr_expect (lt (u64, 0, len));
  w->pos = offset + len;
  if (type == LM_EXTENT_ZERO) {
    w->zeros += len;
    for (; len > 0 && offset < w->f->size; offset++, len--)
      if (w->f->data[offset] != 0) {
        cr_expect (eq (int, w->f->data[offset], 0), "data at %ju",
                   (uintmax_t) offset);
        break;
      }
  }
  return 0;
}

static uint64_t
expect_extents (const struct fixture *f, uint64_t offset, uint64_t len)
{
  struct walk w = { .f = f, .pos = offset };
  struct lm_error err = LM_ERROR_INIT;

  cr_assert (zero (int, lm_disk_extents (f->disk, offset, len, check_extent,
                                         &w, &err)), "%s", err.message);
  cr_expect (eq (u64, w.pos, offset + len));
  return w.zeros;
}

EACH_DISK (extents_cover_exactly_and_agree_with_the_data)
{
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    struct fixture f;
    uint64_t n;

    begin (&f, sizes[i], enter);
    n = expect_extents (&f, 0, f.disk->size);
    /* Where holes are stored as such, they are found. */
    if (sizes[i] > MIB && (enter == enter_file || enter == enter_nbdkit ||
                           enter == enter_qemu_nbd))
      cr_expect (lt (u64, MIB, n));
    if (enter == enter_file_holes)
      cr_expect (zero (u64, n));
    if (f.disk->size > 66000)
      for (uint64_t from = 0; from < 65536; from += 4093) {
        expect_extents (&f, from, 1);
        expect_extents (&f, from, f.disk->size - from);
        expect_extents (&f, from, 66000 - from);
      }
    leave (&f);
  }
}

EACH_DISK (a_walk_over_extents_can_be_stopped)
{
  struct lm_error err = LM_ERROR_INIT;
  struct fixture f;

  begin (&f, MIB, enter);
  struct walk w = { .f = &f, .stop_at = 1 };
  cr_expect (eq (int, lm_disk_extents (f.disk, 0, MIB, check_extent, &w,
                                       &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_INTERRUPTED), "%s", err.message);
  cr_expect (eq (u32, w.count, 1));
  leave (&f);
}

struct worker {
  const struct fixture *f;
  unsigned seed, wrong;
  struct lm_error err;
};

static void *
read_at_random (void *arg)
{
  struct worker *w = arg;
  uint8_t *buf = malloc (200000);

  for (unsigned i = 0; i < 300 && w->err.kind == LM_ERR_NONE; i++) {
    uint64_t offset, size = w->f->disk->size;
    size_t len;

    w->seed = w->seed * 1103515245 + 12345;
    offset = w->seed % size;
    len = lm_min_u64 (w->seed / 7 % 200000, size - offset);
    if (i % 16 == 0) {
      struct walk walk = { .f = w->f, .pos = offset };

      if (lm_disk_extents (w->f->disk, offset, len, check_extent, &walk,
                           &w->err) == -1)
        break;
      w->wrong += walk.pos != offset + len;
    }
    if (lm_disk_pread (w->f->disk, buf, len, offset, &w->err) == -1)
      break;
    w->wrong += !is_right (w->f, buf, len, offset);
  }
  free (buf);
  return NULL;
}

EACH_DISK (serves_eight_threads_at_once)
{
  struct worker workers[8];
  pthread_t threads[8];
  struct fixture f;

  begin (&f, 5 * MIB + 513, enter);
  for (unsigned i = 0; i < 8; i++) {
    workers[i] = (struct worker) { .f = &f, .seed = i + 1 };
    cr_assert (zero (int, pthread_create (&threads[i], NULL, read_at_random,
                                          &workers[i])));
  }
  for (unsigned i = 0; i < 8; i++) {
    pthread_join (threads[i], NULL);
    cr_expect (zero (u32, workers[i].wrong));
    cr_expect (eq (int, workers[i].err.kind, LM_ERR_NONE), "%s",
               workers[i].err.message);
  }
  leave (&f);
}

static void
dies (void (*enter) (struct fixture *))
{
  struct lm_error err = LM_ERROR_INIT;
  struct worker workers[8];
  pthread_t threads[8];
  struct fixture f;
  uint8_t c;

  begin (&f, 5 * MIB, enter);
  for (unsigned i = 0; i < 8; i++) {
    workers[i] = (struct worker) { .f = &f, .seed = i + 1 };
    cr_assert (zero (int, pthread_create (&threads[i], NULL, read_at_random,
                                          &workers[i])));
  }
  usleep (2000);
  nbd_process_stop (&f.server);
  for (unsigned i = 0; i < 8; i++) {
    pthread_join (threads[i], NULL);
    cr_expect (zero (u32, workers[i].wrong));
    if (workers[i].err.kind != LM_ERR_NONE)
      cr_expect (eq (int, workers[i].err.kind, LM_ERR_IO), "%s",
                 workers[i].err.message);
  }
  cr_expect (eq (int, lm_disk_pread (f.disk, &c, 1, 0, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_IO), "%s", err.message);
  /* What isn't known is data. */
  lm_error_clear (&err);
  cr_expect (zero (u64, expect_extents (&f, 0, f.disk->size)));
  leave (&f);
}

Test (nbdkit, a_server_that_dies_is_an_error, .timeout = 60)
{
  dies (enter_nbdkit);
}

Test (qemu_nbd, a_server_that_dies_is_an_error, .timeout = 60)
{
  dies (enter_qemu_nbd);
}
