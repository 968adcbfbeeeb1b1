/* SPDX-License-Identifier: Apache-2.0
 * The overlay over a disk in memory, against a plain array; its refusals;
 * what it does when the disk below it fails or is full.  Power cuts are in
 * tests/crash/test-overlay-crash.c.
 */
#include <config.h>

#include "proxy/overlay.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/io.h"
#include "proxy/overlay-header.h"
#include "proxy/overlay-layer.h"
#include "tests/support/memory-disk.h"
#include "tests/support/scratch.h"

#define SIZE (3 * 1024 * 1024 + 777)    /* no multiple of anything */

static const uint8_t repository[16] = "repository-00001";
static const uint8_t other_repository[16] = "repository-00002";
static const uint8_t snapshot[16] = "snapshot-0000001";
static const uint8_t other_snapshot[16] = "snapshot-0000002";
static const uint8_t master[32] = "this master key is only for test";
static struct lm_error err;
static struct lm_keys *keys;
static struct lm_overlay_disk_spec disks[2] = {
  { "disk0", SIZE }, { "lock", 4096 },
};
static struct lm_overlay_spec spec;
static char *folder;
static struct lm_overlay *overlay;
static struct lm_disk *disk;
static uint8_t *model, *got;

static void
open_again (void)
{
  struct memory_disk *base = memory_disk_new (NULL, disks[0].size, 65536);

  base->zero_offset = 1 << 20;
  base->zero_len = 300000;
  overlay = lm_overlay_open (folder, &spec, &err);
  cr_assert (ne (ptr, overlay, NULL), "%s", err.message);
  disk = lm_overlay_disk_open (overlay, "disk0", &base->disk, &err);
  cr_assert (ne (ptr, disk, NULL), "%s", err.message);
}

static void
close_it (void)
{
  lm_disk_close (disk);
  lm_overlay_close (overlay);
  disk = NULL;
  overlay = NULL;
}

static void
start (bool encrypted)
{
  folder = lm_scratch_path ("overlay");
  keys = lm_keys_new (repository, encrypted ? master : NULL, &err);
  spec = (struct lm_overlay_spec) { keys, repository, snapshot, disks, 2 };
  model = malloc (SIZE);
  got = malloc (SIZE);
  memory_disk_pattern (model, SIZE, 0);
  memset (model + (1 << 20), 0, 300000);
  open_again ();
}

static void
init (void)
{
  start (true);
}

static void
fini (void)
{
  close_it ();
  lm_keys_free (keys);
  free (model);
  free (got);
  free (folder);
}

static void
check (uint64_t offset, size_t len)
{
  cr_assert (eq (int, lm_disk_pread (disk, got, len, offset, &err), 0),
             "%s", err.message);
  cr_assert (eq (int, memcmp (got, model + offset, len), 0),
             "%zu bytes at 0x%lx", len, offset);
}

static int
put (uint8_t byte, uint64_t offset, size_t len)
{
  int r;

  memset (got, byte, len);
  r = lm_overlay_disk_pwrite (disk, got, len, offset, &err);
  if (r == 0)
    memset (model + offset, byte, len);
  return r;
}

static int
zero (uint64_t offset, size_t len, bool may_trim)
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
  cr_assert (gt (u64, len, 0));
  s->next += len;
  if (type == LM_EXTENT_ZERO) {
    s->zero += len;
    for (i = offset; i < offset + len; i++)
      cr_assert (eq (int, model[i], 0), "0x%lx", i);
  }
  return 0;
}

static uint64_t
check_extents (uint64_t offset, uint64_t len)
{
  struct seen s = { offset, 0 };

  cr_assert (eq (int, lm_disk_extents (disk, offset, len, see, &s, &err),
                 0));
  cr_assert (eq (u64, s.next, offset + len));
  return s.zero;
}

static void
random_ops (unsigned seed, unsigned rounds)
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
      r = put (i + 1, o, n);
      break;
    case 4: case 5:
      r = zero (o, n, true);
      break;
    case 6:
      r = zero (o, n, false);
      break;
    case 7:
      r = lm_overlay_disk_flush (disk, &err);
      break;
    case 8:
      check_extents (o, n);
      break;
    case 9:
      check (o, n);
      break;
    }
    cr_assert (eq (int, r, 0), "%s", err.message);
    if (i % 100 == 99) {
      close_it ();
      open_again ();
    }
  }
  check (0, SIZE);
  check_extents (0, SIZE);
}

Test (overlay, random_operations_agree_with_an_array, .init = init,
      .fini = fini)
{
  random_ops (1, 2000);
}

Test (overlay, and_so_in_an_unencrypted_repository, .fini = fini)
{
  start (false);
  random_ops (2, 500);
}

/* What the guest writes must not be found in the files. */
static bool
file_has (const char *name, uint8_t byte, size_t run)
{
  uint8_t block[65536];
  char *cmd = NULL;
  FILE *fp;
  size_t n, i, same = 0;

  cr_assert (gt (int, asprintf (&cmd, "cat %s/disks/disk0/layer-*/%s",
                                folder, name), 0));
  fp = popen (cmd, "r");
  cr_assert (ne (ptr, fp, NULL));
  while ((n = fread (block, 1, sizeof block, fp)) > 0)
    for (i = 0; i < n && same < run; i++)
      same = block[i] == byte ? same + 1 : 0;
  pclose (fp);
  free (cmd);
  return same >= run;
}

Test (overlay, keeps_nothing_readable, .init = init, .fini = fini)
{
  cr_assert (eq (int, put (0xa5, 0, SIZE), 0));
  cr_assert (eq (int, lm_overlay_disk_flush (disk, &err), 0));
  cr_expect (not (file_has ("data", 0xa5, 32)));
  cr_expect (not (file_has ("data", 0, 4096)));
  cr_expect (not (file_has ("layer", 0xa5, 8)));
}

static uint64_t
data_bytes (void)
{
  char *cmd = NULL, out[64] = "";
  FILE *fp;

  cr_assert (gt (int, asprintf (&cmd,
                                "du -s -B1 %s/disks/disk0/layer-*/data",
                                folder), 0));
  fp = popen (cmd, "r");
  cr_assert (ne (ptr, fp, NULL));
  cr_assert (ne (ptr, fgets (out, sizeof out, fp), NULL));
  pclose (fp);
  free (cmd);
  return strtoull (out, NULL, 10);
}

/* What the file system needs for itself. */
#define SLACK 65536

Test (overlay, trimmed_space_comes_back, .init = init, .fini = fini)
{
  uint64_t full;
  unsigned i;

  cr_assert (eq (int, put (1, 0, 3 << 20), 0));
  cr_assert (eq (int, lm_overlay_disk_flush (disk, &err), 0));
  full = data_bytes ();
  cr_expect (ge (u64, full, 3 << 20));
  cr_assert (eq (int, zero (0, 1 << 20, true), 0));     /* at once */
  cr_expect (le (u64, data_bytes (), full - (1 << 20) + SLACK));
  for (i = 0; i < 16; i++)      /* with the next flush */
    cr_assert (eq (int, zero ((1 << 20) + i * 65536, 32768, true), 0));
  cr_assert (eq (int, lm_overlay_disk_flush (disk, &err), 0));
  cr_expect (le (u64, data_bytes (),
                 full - (1 << 20) - (1 << 19) + SLACK));
  cr_assert (eq (int, zero (2 << 20, 1 << 20, false), 0));      /* never */
  cr_assert (eq (int, lm_overlay_disk_flush (disk, &err), 0));
  cr_expect (ge (u64, data_bytes (), 1 << 20));
  check (0, SIZE);
  cr_expect (ge (u64, check_extents (0, SIZE), (1 << 20) + (1 << 19)));
  close_it ();
  open_again ();
  check (0, SIZE);
  cr_expect (ge (u64, check_extents (0, SIZE), (1 << 20) + (1 << 19)));
}

Test (overlay, a_write_after_a_trim_survives_its_flush, .init = init,
      .fini = fini)
{
  cr_assert (eq (int, put (1, 0, 65536), 0));
  cr_assert (eq (int, zero (0, 65536, true), 0));
  cr_assert (eq (int, put (2, 4096, 4096), 0));
  cr_assert (eq (int, lm_overlay_disk_flush (disk, &err), 0));
  check (0, 65536);
  close_it ();
  open_again ();
  check (0, 65536);
}

/* O8: sixteen threads, each with its own bytes of the same blocks. */
enum { THREADS = 16, ROUNDS = 60 };

static void *
sub_block_writer (void *arg)
{
  struct lm_error e = LM_ERROR_INIT;
  uintptr_t me = (uintptr_t) arg;
  uint64_t round, block;

  for (round = 1; round <= ROUNDS; round++)
    for (block = 0; block < 24; block++) {
      uint8_t mine[256], back[256];
      uint64_t o = block * 4096 + me * 256;

      memset (mine, round + me, sizeof mine);
      if (lm_overlay_disk_pwrite (disk, mine, sizeof mine, o, &e) == -1 ||
          lm_disk_pread (disk, back, sizeof back, o, &e) == -1 ||
          memcmp (mine, back, sizeof mine) != 0)
        return (void *) 1;
      if (round % 16 == me && lm_overlay_disk_flush (disk, &e) == -1)
        return (void *) 1;
    }
  return NULL;
}

Test (overlay, concurrent_parts_of_a_block_all_survive, .init = init,
      .fini = fini)
{
  pthread_t t[THREADS];
  uintptr_t i;
  uint64_t block;

  for (i = 0; i < THREADS; i++)
    pthread_create (&t[i], NULL, sub_block_writer, (void *) i);
  for (i = 0; i < THREADS; i++) {
    void *r;

    pthread_join (t[i], &r);
    cr_expect (eq (ptr, r, NULL));
  }
  for (block = 0; block < 24; block++)
    for (i = 0; i < THREADS; i++)
      memset (model + block * 4096 + i * 256, ROUNDS + i, 256);
  check (0, SIZE);
}

/* A whole block is seen old or new while it is written and trimmed. */
static _Atomic (int) stop_now;

static void *
whole_block_reader (void *arg)
{
  struct lm_error e = LM_ERROR_INIT;
  uint8_t block[4096];

  (void) arg;
  while (!stop_now) {
    if (lm_disk_pread (disk, block, sizeof block, 8192, &e) == -1 ||
        memcmp (block, block + 1, sizeof block - 1) != 0)
      return (void *) 1;
  }
  return NULL;
}

Test (overlay, readers_see_whole_blocks, .init = init, .fini = fini)
{
  pthread_t t[4];
  unsigned i;

  cr_assert (eq (int, put (1, 8192, 4096), 0));
  for (i = 0; i < 4; i++)
    pthread_create (&t[i], NULL, whole_block_reader, NULL);
  for (i = 0; i < 700; i++) {
    cr_assert (eq (int, put (i, 8192, 4096), 0));
    if (i % 4 == 0)
      cr_assert (eq (int, zero (8192, 4096, true), 0));
    if (i % 16 == 0)
      cr_assert (eq (int, lm_overlay_disk_flush (disk, &err), 0));
  }
  stop_now = 1;
  for (i = 0; i < 4; i++) {
    void *r;

    pthread_join (t[i], &r);
    cr_expect (eq (ptr, r, NULL));
  }
}

/* Two trims, writes and flushes of the same region never lose what was
 * trimmed last (checked by the crash test for power cuts). */
static void *
trimmer (void *arg)
{
  struct lm_error e = LM_ERROR_INIT;
  unsigned i, seed = (uintptr_t) arg;

  for (i = 0; i < 300; i++) {
    uint64_t o = rand_r (&seed) % 512 * 4096;
    uint64_t n = (rand_r (&seed) % 200 + 1) * 4096;
    uint8_t buf[65536];

    memset (buf, 0x77, sizeof buf);
    if (lm_overlay_disk_zero (disk, n, o, true, &e) == -1 ||
        (i % 4 == 0 && lm_overlay_disk_flush (disk, &e) == -1) ||
        lm_overlay_disk_pwrite (disk, buf, sizeof buf, o, &e) == -1)
      return (void *) 1;
  }
  return NULL;
}

Test (overlay, concurrent_trims_leave_only_zeros_or_writes, .init = init,
      .fini = fini)
{
  pthread_t t[8];
  uintptr_t i;

  cr_assert (eq (int, put (0x55, 0, 3 << 20), 0));
  for (i = 0; i < 8; i++)
    pthread_create (&t[i], NULL, trimmer, (void *) i);
  for (i = 0; i < 8; i++) {
    void *r;

    pthread_join (t[i], &r);
    cr_expect (eq (ptr, r, NULL));
  }
  cr_assert (eq (int, zero (0, 3 << 20, true), 0));
  check (0, SIZE);
  close_it ();
  open_again ();
  check (0, SIZE);
}

/* A frozen layer below a new one. */
static void
push_layer (void)
{
  struct lm_overlay_index index = LM_OVERLAY_INDEX_INIT;
  struct lm_layer_header h = LM_LAYER_HEADER_INIT;
  int fd = open (folder, O_RDONLY | O_DIRECTORY), disk_fd;
  struct lm_overlay_stack *s;

  cr_assert (eq (int, lm_overlay_index_read (fd, &index, &err), 0));
  s = &index.disks[0];
  memcpy (h.id, s->layers[s->nr_layers - 1], sizeof h.id);
  h.id[0]++;
  memcpy (h.repository, repository, sizeof h.repository);
  memcpy (h.snapshot, snapshot, sizeof h.snapshot);
  h.disk = strdup ("disk0");
  h.size = SIZE;
  h.has_parent = true;
  memcpy (h.parent, s->layers[s->nr_layers - 1], sizeof h.parent);
  memset (h.key, s->nr_layers, 32);
  disk_fd = openat (fd, "disks/disk0", O_RDONLY | O_DIRECTORY);
  cr_assert (eq (int, lm_layer_create (disk_fd, keys, &h, &err), 0), "%s",
             err.message);
  memcpy (s->layers[s->nr_layers++], h.id, sizeof h.id);
  cr_assert (eq (int, lm_overlay_index_write (fd, &index, &err), 0));
  close (disk_fd);
  close (fd);
  lm_layer_header_release (&h);
  lm_overlay_index_release (&index);
}

Test (overlay, a_stack_reads_from_the_top, .init = init, .fini = fini)
{
  unsigned i;

  for (i = 0; i < 3; i++) {
    random_ops (10 + i, 150);
    close_it ();
    push_layer ();
    open_again ();
    check (0, SIZE);
    check_extents (0, SIZE);
  }
  random_ops (20, 300);
}

/* Refusals. */
static void
refused (const struct lm_overlay_spec *s, uint64_t size,
         const char *message, enum lm_error_kind kind)
{
  struct memory_disk *base = memory_disk_new (NULL, size, 65536);
  struct lm_overlay *o;
  struct lm_disk *d = NULL;

  lm_error_clear (&err);
  o = lm_overlay_open (folder, s, &err);
  if (o)
    d = lm_overlay_disk_open (o, "disk0", &base->disk, &err);
  cr_assert (eq (ptr, d, NULL));
  cr_expect (ne (ptr, strstr (err.message, message), NULL), "%s",
             err.message);
  cr_expect (eq (int, err.kind, kind));
  lm_overlay_close (o);
  lm_disk_close (&base->disk);
}

Test (overlay, refuses_what_it_does_not_belong_to, .init = init,
      .fini = fini)
{
  static const uint8_t other_master[32] = "another master key, also a test!";
  struct lm_overlay_spec s = spec;
  struct lm_keys *other;

  close_it ();
  s.repository = other_repository;
  refused (&s, SIZE, "belongs to another repository", LM_ERR_USAGE);
  s = spec;
  s.snapshot = other_snapshot;
  refused (&s, SIZE, "belongs to another snapshot", LM_ERR_USAGE);
  refused (&spec, SIZE + 1, "is for a disk of 3146505 bytes, expected "
           "3146506", LM_ERR_USAGE);
  other = lm_keys_new (repository, other_master, &err);
  s = spec;
  s.keys = other;
  refused (&s, SIZE, "layer ", LM_ERR_CORRUPT);
  lm_keys_free (other);
  open_again ();
}

Test (overlay, refuses_a_layer_of_another_disk_or_parent, .init = init,
      .fini = fini)
{
  struct lm_overlay_index index = LM_OVERLAY_INDEX_INIT;
  int fd = open (folder, O_RDONLY | O_DIRECTORY);
  char *cmd = NULL;

  close_it ();
  push_layer ();
  /* The upper layer without the lower. */
  cr_assert (eq (int, lm_overlay_index_read (fd, &index, &err), 0));
  memcpy (index.disks[0].layers[0], index.disks[0].layers[1], 16);
  index.disks[0].nr_layers = 1;
  cr_assert (eq (int, lm_overlay_index_write (fd, &index, &err), 0));
  refused (&spec, SIZE, "lies upon another layer", LM_ERR_USAGE);
  /* The other disk's layer under this disk's name. */
  memcpy (index.disks[0].layers[0], index.disks[1].layers[0], 16);
  cr_assert (eq (int, lm_overlay_index_write (fd, &index, &err), 0));
  cr_assert (gt (int, asprintf (&cmd, "cp -r %s/disks/lock/* "
                                "%s/disks/disk0/", folder, folder), 0));
  cr_assert (eq (int, system (cmd), 0));
  refused (&spec, SIZE, "belongs to disk lock, expected disk0",
           LM_ERR_USAGE);
  free (cmd);
  lm_overlay_index_release (&index);
  close (fd);
}

static void
write_index (const char *text)
{
  char *path = NULL;
  FILE *fp;

  cr_assert (gt (int, asprintf (&path, "%s/overlay.json", folder), 0));
  fp = fopen (path, "w");
  cr_assert (ge (int, fputs (text, fp), 0));
  fclose (fp);
  free (path);
}

Test (overlay, refuses_a_damaged_index, .init = init, .fini = fini)
{
#define IDS "\"repository\":\"7265706f7369746f72792d3030303031\"," \
  "\"snapshot\":\"736e617073686f742d30303030303031\","
#define HEAD "{\"format\":\"livemount-overlay\",\"version\":1," IDS
  static const struct { const char *text, *message; } rows[] = {
    { "", "overlay.json" },
    { "{}", "format" },
    { "{\"format\":\"x\"}", "format \"x\"" },
    { "{\"format\":\"livemount-overlay\",\"version\":2}", "version 2" },
    { HEAD "\"disks\":[{\"name\":\"../x\",\"layers\":[]}]}", "../x" },
    { HEAD "\"disks\":[{\"name\":\"disk0\",\"layers\":[]}]}", "0 layers" },
    { HEAD "\"disks\":[{\"name\":\"disk0\",\"layers\":[7]}]}",
      "layer 0 is not an id" },
    { HEAD "\"disks\":[7]}", "name" },
    { HEAD "\"disks\":[{\"name\":\"disk0\",\"layers\":"
      "[\"../../../../../../../../../etc/\"]}]}", "layer 0 is not an id" },
    { HEAD "\"disks\":[]}", "has no disk disk0" },
  };
  size_t i;

  close_it ();
  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    enum lm_error_kind kind =
      i == 3 ? LM_ERR_UNSUPPORTED :
      i == 9 ? LM_ERR_NOT_FOUND : LM_ERR_CORRUPT;

    write_index (rows[i].text);
    refused (&spec, SIZE, rows[i].message, kind);
  }
}

Test (overlay, refuses_files_of_the_wrong_length, .init = init, .fini = fini)
{
  char *cmd = NULL;

  close_it ();
  cr_assert (gt (int, asprintf (&cmd, "truncate -s -1 %s/disks/disk0/"
                                "layer-*/data", folder), 0));
  cr_assert (eq (int, system (cmd), 0));
  refused (&spec, SIZE, "data: 3149823 bytes, expected 3149824",
           LM_ERR_CORRUPT);
  free (cmd);
}

Test (overlay, is_for_one_process, .init = init, .fini = fini)
{
  int status;
  pid_t pid = fork ();

  if (pid == 0) {
    struct lm_overlay *o = lm_overlay_open (folder, &spec, &err);

    _exit (o == NULL && err.kind == LM_ERR_LOCKED &&
           strstr (err.message, "in use by another proxy") ? 0 : 1);
  }
  cr_assert (eq (int, waitpid (pid, &status, 0), pid));
  cr_expect (eq (int, status, 0));
}

Test (overlay, peek_tells_the_snapshot, .init = init, .fini = fini)
{
  uint8_t r[16], s[16];
  char *none = lm_scratch_path ("none");
  bool exists;

  cr_assert (eq (int, lm_overlay_peek (folder, &exists, r, s, &err), 0));
  cr_expect (exists);
  cr_expect (eq (int, memcmp (s, snapshot, 16), 0));
  cr_assert (eq (int, lm_overlay_peek (none, &exists, r, s, &err), 0));
  cr_expect (not (exists));
  free (none);
}

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
  start (true);
}

static bool
marked (void)
{
  char *cmd = NULL;
  int r;

  cr_assert (gt (int, asprintf (&cmd, "test -e %s/disks/disk0/layer-*/"
                                "poisoned", folder), 0));
  r = system (cmd);
  free (cmd);
  return r == 0;
}

static void
expect_poisoned (const char *reason)
{
  fail_write = fail_sync = fail_punch = -1;
  cr_expect (marked ());
  cr_expect (eq (int, put (9, 0, 4096), -1));
  cr_expect (eq (int, err.kind, LM_ERR_IO));
  cr_expect (ne (ptr, strstr (err.message, "because of an earlier failure"),
                 NULL), "%s", err.message);
  cr_expect (ne (ptr, strstr (err.message, reason), NULL), "%s",
             err.message);
  cr_expect (eq (int, zero (0, 4096, true), -1));
  cr_expect (eq (int, lm_overlay_disk_flush (disk, &err), -1));
  cr_assert (eq (int, lm_disk_pread (disk, got, 4096, 0, &err), 0));
  close_it ();
  open_again ();
  cr_expect (not (marked ()));
  cr_expect (eq (int, put (9, 0, 4096), 0));
  cr_expect (eq (int, lm_overlay_disk_flush (disk, &err), 0));
}

Test (overlay, a_failed_sync_poisons_until_opened_again, .init = init_faulty,
      .fini = fini)
{
  cr_assert (eq (int, put (1, 0, 65536), 0));
  fail_errno = EIO;
  fail_sync = 0;
  cr_expect (eq (int, lm_overlay_disk_flush (disk, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_IO));
  cr_expect (eq (int, err.sys_errno, EIO));
  expect_poisoned ("data: fdatasync: Input/output error");
}

Test (overlay, a_failed_write_poisons_until_opened_again,
      .init = init_faulty, .fini = fini)
{
  cr_assert (eq (int, put (1, 0, 65536), 0));
  fail_errno = EIO;
  fail_write = 0;
  cr_expect (eq (int, put (2, 0, 4096), -1));
  expect_poisoned ("write at 0x0: Input/output error");
}

Test (overlay, a_failed_sync_of_the_mask_poisons, .init = init_faulty,
      .fini = fini)
{
  cr_assert (eq (int, put (1, 0, 1 << 20), 0));
  cr_assert (eq (int, lm_overlay_disk_flush (disk, &err), 0));
  fail_errno = EIO;
  fail_sync = 0;
  cr_expect (eq (int, zero (0, 1 << 20, true), -1));
  expect_poisoned ("mask: fdatasync");
  /* O4: nothing was punched. */
  memset (model, 9, 4096);
  check (0, 1 << 20);
}

Test (overlay, a_failed_verification_keeps_it_closed, .init = init_faulty,
      .fini = fini)
{
  struct memory_disk *base = memory_disk_new (NULL, SIZE, 65536);

  cr_assert (eq (int, put (1, 0, 65536), 0));
  fail_errno = EIO;
  fail_sync = 0;
  cr_expect (eq (int, lm_overlay_disk_flush (disk, &err), -1));
  close_it ();
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

Test (overlay, no_space_does_not_poison, .init = init_faulty, .fini = fini)
{
  cr_assert (eq (int, put (1, 0, 65536), 0));
  fail_errno = ENOSPC;
  fail_write = 1;               /* the second half of the request */
  cr_expect (eq (int, put (2, 0, 128 * 1024), -1));
  cr_expect (eq (int, err.kind, LM_ERR_NO_SPACE));
  fail_write = -1;
  memset (model, 2, 65536);     /* each block old or new: here is which */
  check (0, SIZE);
  cr_expect (not (marked ()));
  cr_expect (eq (int, lm_overlay_disk_flush (disk, &err), 0));
  cr_expect (eq (int, put (3, 0, 128 * 1024), 0));
  check (0, SIZE);
}

Test (overlay, no_space_within_an_absent_block_leaves_it_absent,
      .init = init_faulty, .fini = fini)
{
  fail_errno = ENOSPC;
  short_bytes = 2 * 4096 + 1024;
  fail_write = 0;
  cr_expect (eq (int, put (2, 0, 65536), -1));
  cr_expect (eq (int, err.kind, LM_ERR_NO_SPACE));
  fail_write = -1;
  memset (model, 2, 8192);
  check (0, SIZE);
  cr_expect (not (marked ()));
  close_it ();
  open_again ();
  check (0, SIZE);
}

Test (overlay, no_space_within_a_present_block_poisons, .init = init_faulty,
      .fini = fini)
{
  cr_assert (eq (int, put (1, 0, 65536), 0));
  fail_errno = ENOSPC;
  short_bytes = 1024;
  fail_write = 0;
  cr_expect (eq (int, put (2, 0, 65536), -1));
  expect_poisoned ("No space left on device");
}

Test (overlay, no_space_for_the_mask_fails_the_trim_only,
      .init = init_faulty, .fini = fini)
{
  fail_errno = ENOSPC;
  fail_write = 0;
  cr_expect (eq (int, zero (0, 1 << 20, true), -1));
  cr_expect (eq (int, err.kind, LM_ERR_NO_SPACE));
  fail_write = -1;
  check (0, SIZE);
  cr_expect (eq (int, zero (0, 1 << 20, true), 0));
  check (0, SIZE);
}

Test (overlay, works_where_holes_cannot_be_punched, .init = init_faulty,
      .fini = fini)
{
  fail_errno = EOPNOTSUPP;
  fail_punch = 0;
  random_ops (3, 600);
}

Test (overlay, a_flush_is_one_sync_of_the_data, .init = init_faulty,
      .fini = fini)
{
  unsigned i;

  syncs = 0;
  for (i = 0; i < 32; i++)
    cr_assert (eq (int, put (i, i * 8192, 4096), 0));
  cr_assert (eq (int, lm_overlay_disk_flush (disk, &err), 0));
  cr_expect (eq (int, syncs, 1));
  cr_assert (eq (int, lm_overlay_disk_flush (disk, &err), 0));
  cr_expect (eq (int, syncs, 1));       /* nothing new */
}

/* A real full disk. */
Test (overlay, a_full_file_system_loses_nothing, .init = init, .fini = fini)
{
  char *mnt = lm_scratch_path ("tmpfs");
  uint64_t o, failed = 0;

  close_it ();
  cr_assert (eq (int, mkdir (mnt, 0700), 0));
  if (mount ("tmpfs", mnt, "tmpfs", 0, "size=1m") == -1)
    cr_skip_test ("no permission to mount a tmpfs");
  free (folder);
  cr_assert (gt (int, asprintf (&folder, "%s/overlay", mnt), 0));
  open_again ();
  /* A first bit of `mask`, for later there is no space for it. */
  cr_assert (eq (int, zero (SIZE - 4096, 4096, true), 0));
  for (o = 0; o + 50000 <= SIZE; o += 50000)
    if (put (o / 50000 + 1, o, 50000) == -1) {
      cr_assert (eq (int, err.kind, LM_ERR_NO_SPACE), "%s", err.message);
      failed++;
      /* Its blocks are old or new: take what is there. */
      cr_assert (eq (int, lm_disk_pread (disk, model + o, 50000, o, &err),
                     0));
    }
  cr_expect (gt (u64, failed, 10));
  cr_expect (eq (int, lm_overlay_disk_flush (disk, &err), 0));
  check (0, SIZE);
  /* Space can be given back, and then there is space again. */
  cr_expect (eq (int, zero (0, 600000, true), 0), "%s", err.message);
  cr_expect (eq (int, lm_overlay_disk_flush (disk, &err), 0));
  cr_expect (eq (int, put (0x42, 2 << 20, 300000), 0), "%s", err.message);
  check (0, SIZE);
  close_it ();
  open_again ();
  check (0, SIZE);
  close_it ();
  cr_expect (eq (int, umount (mnt), 0));
  free (mnt);
  free (folder);
  folder = lm_scratch_path ("overlay");
  open_again ();
}
