/* SPDX-License-Identifier: Apache-2.0
 *
 * Power cuts and kill -9 at every step of an overlay's life.
 *
 * An I/O table records what happens to `data` and `mask` and, before each
 * call, makes the states that a crash at this moment could leave: for each
 * page of data, and each 512 bytes of the mask, its content at the last
 * sync or after any of the changes since, independently of all others.
 * Each state is opened as an overlay and every block compared with what
 * docs/overlay.md allows: O5 when all changes are there (the process was
 * killed), O6 and O7 otherwise.
 */
#include <config.h>

#include "proxy/overlay.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/io.h"
#include "common/random.h"
#include "tests/support/memory-disk.h"
#include "tests/support/scratch.h"

#define BLOCK 4096
/* So large that the mask has three sectors; only the regions are used. */
#define BLOCKS 10240
#define SIZE (BLOCKS * BLOCK - 1000)

static const struct { unsigned first, count; } regions[] = {
  { 4016, 100 },                /* across two sectors of the mask */
  { 8184, 16 },
  { BLOCKS - 8, 8 },            /* with a partial last block */
};
#define REGIONS (sizeof regions / sizeof regions[0])

static const uint8_t repository[16] = "repository-00001";
static const uint8_t snapshot[16] = "snapshot-0000001";
static const uint8_t master[32] = "this master key is only for test";
static struct lm_error err;
static struct lm_keys *keys;
static struct lm_overlay_disk_spec disks[1] = { { "disk0", SIZE } };
static struct lm_overlay_spec spec;
static char *folder, *crashed;
static struct lm_overlay *overlay;
static struct lm_disk *disk;
static unsigned seed;
static unsigned long states;

/* What may be in a block: the contents since the last flush. */
struct block_model {
  uint8_t **versions;           /* the last one is the current one */
  size_t count;
  bool in_flight;               /* the current one is not yet answered */
};
static struct block_model model[BLOCKS];

/* What may be in a unit of a file after a crash. */
struct unit {
  uint8_t **contents;           /* [0] is durable */
  size_t count;
};
struct sim_file {
  const char *name;
  int fd;
  unsigned unit_size, nr_units;
  struct unit *units;
};
static struct sim_file files[2] = {
  { .name = "data", .fd = -1, .unit_size = BLOCK, .nr_units = BLOCKS },
  { .name = "mask", .fd = -1, .unit_size = 512, .nr_units = 3 },
};

static uint8_t *
copy (const void *data, size_t len)
{
  uint8_t *p = malloc (len);

  cr_assert (ne (ptr, p, NULL));
  memcpy (p, data, len);
  return p;
}

static void
add_version (uint8_t ***list, size_t *count, uint8_t *content)
{
  *list = realloc (*list, (*count + 1) * sizeof **list);
  cr_assert (ne (ptr, *list, NULL));
  (*list)[(*count)++] = content;
}

static void
keep_last (uint8_t **list, size_t *count)
{
  size_t i;

  for (i = 0; i + 1 < *count; i++)
    free (list[i]);
  if (*count > 0)
    list[0] = list[*count - 1], *count = 1;
}

/* The units of [offset, offset+len) as they are in the page cache now. */
static void
record (struct sim_file *f, off_t offset, off_t len)
{
  unsigned u = offset / f->unit_size;

  for (; (off_t) u * f->unit_size < offset + len; u++) {
    uint8_t buf[BLOCK] = { 0 };

    cr_assert (ge (i64, lm_io_system.pread (f->fd, buf, f->unit_size,
                                            (off_t) u * f->unit_size), 0));
    if (f->units[u].count == 0) /* was never written: zeros */
      add_version (&f->units[u].contents, &f->units[u].count,
                   calloc (1, f->unit_size));
    add_version (&f->units[u].contents, &f->units[u].count,
                 copy (buf, f->unit_size));
  }
}

static struct sim_file *
find_file (int fd)
{
  return fd == files[0].fd ? &files[0] : fd == files[1].fd ? &files[1]
                                                           : NULL;
}

/* Write one state of a file: CHOICE 0 what is durable, 1 everything, 2 and
 * more at random. */
static void
materialise (const struct sim_file *f, const char *path, unsigned choice)
{
  int fd = open (path, O_RDWR);
  unsigned u;

  cr_assert (ge (int, fd, 0));
  cr_assert (eq (int, ftruncate (fd, 0), 0));
  cr_assert (eq (int, ftruncate (fd, f->unit_size == BLOCK
                                 ? (off_t) BLOCKS * BLOCK : BLOCKS / 8), 0));
  for (u = 0; u < f->nr_units; u++) {
    const struct unit *unit = &f->units[u];
    size_t len = f->unit_size, at = 0;

    if (unit->count == 0)
      continue;
    if (choice == 1)
      at = unit->count - 1;
    else if (choice > 1)
      at = rand_r (&seed) % unit->count;
    if ((off_t) (u + 1) * f->unit_size > BLOCKS / 8 && f->unit_size != BLOCK)
      len = BLOCKS / 8 - u * f->unit_size;
    cr_assert (eq (i64, pwrite (fd, unit->contents[at], len,
                                (off_t) u * f->unit_size), len));
  }
  close (fd);
}

static bool
allowed (unsigned block, const uint8_t *content, size_t len, bool killed)
{
  const struct block_model *m = &model[block];
  size_t from = 0, i;

  if (killed)
    from = m->count - 1 - (m->in_flight && m->count > 1);
  for (i = from; i < m->count; i++)
    if (memcmp (m->versions[i], content, len) == 0)
      return true;
  return false;
}

static char *crashed_data, *crashed_mask;

static void
check_state (unsigned choice)
{
  static uint8_t buf[100 * BLOCK];
  const struct lm_io_ops *recording = lm_io;
  struct memory_disk *base = memory_disk_new (NULL, SIZE, 65536);
  struct lm_overlay *o;
  struct lm_disk *d;
  unsigned r, i;

  lm_io = &lm_io_system;
  materialise (&files[0], crashed_data, choice);
  materialise (&files[1], crashed_mask, choice);
  o = lm_overlay_open (crashed, &spec, &err);
  cr_assert (ne (ptr, o, NULL), "%s", err.message);
  d = lm_overlay_disk_open (o, "disk0", &base->disk, &err);
  cr_assert (ne (ptr, d, NULL), "%s", err.message);
  for (r = 0; r < REGIONS; r++) {
    uint64_t offset = (uint64_t) regions[r].first * BLOCK;
    uint64_t len = (uint64_t) regions[r].count * BLOCK;

    if (offset + len > SIZE)
      len = SIZE - offset;
    cr_assert (eq (int, lm_disk_pread (d, buf, len, offset, &err), 0),
               "%s", err.message);
    for (i = 0; i < regions[r].count; i++) {
      size_t n = len - i * BLOCK < BLOCK ? len - i * BLOCK : BLOCK;

      cr_assert (allowed (regions[r].first + i, buf + i * BLOCK, n,
                          choice == 1),
                 "state %lu (choice %u): block %u holds what it never "
                 "should: %02x %02x %02x %02x", states, choice,
                 regions[r].first + i, buf[i * BLOCK], buf[i * BLOCK + 1],
                 buf[i * BLOCK + 2], buf[i * BLOCK + 3]);
    }
  }
  lm_disk_close (d);
  lm_overlay_close (o);
  lm_io = recording;
  states++;
}

static void
crash_here (void)
{
  check_state (0);
  check_state (1);
  check_state (2);
}

static ssize_t
rec_pwrite (int fd, const void *buf, size_t len, off_t offset)
{
  struct sim_file *f = find_file (fd);
  ssize_t r;

  if (f)
    crash_here ();
  r = lm_io_system.pwrite (fd, buf, len, offset);
  if (f && r > 0)
    record (f, offset, r);
  return r;
}

static int
rec_fallocate (int fd, int mode, off_t offset, off_t len)
{
  struct sim_file *f = find_file (fd);
  int r;

  if (f)
    crash_here ();
  r = lm_io_system.fallocate (fd, mode, offset, len);
  if (f && r == 0)
    record (f, offset, len);
  return r;
}

static int
rec_fdatasync (int fd)
{
  struct sim_file *f = find_file (fd);
  unsigned u;

  if (f == NULL)
    return lm_io_system.fdatasync (fd);
  crash_here ();
  for (u = 0; u < f->nr_units; u++)
    keep_last (f->units[u].contents, &f->units[u].count);
  return 0;
}

static int
rec_openat (int dirfd, const char *path, int flags, mode_t mode)
{
  int fd = lm_io_system.openat (dirfd, path, flags, mode);
  unsigned i;

  for (i = 0; i < 2; i++)
    if (strcmp (path, files[i].name) == 0 && !(flags & O_CREAT))
      files[i].fd = fd;
  return fd;
}

static struct lm_io_ops recorder;

static void
open_again (void)
{
  struct memory_disk *base = memory_disk_new (NULL, SIZE, 65536);

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
  files[0].fd = files[1].fd = -1;
}

/* The path of the one layer's FILE. */
static char *
layer_file (const char *file)
{
  char *cmd = NULL, *line = NULL;
  size_t alloc = 0;
  ssize_t n;
  FILE *fp;

  cr_assert (lt (int, 0, asprintf (&cmd, "ls %s/disks/disk0/layer-*/%s",
                               crashed, file)));
  fp = popen (cmd, "r");
  cr_assert (ne (ptr, fp, NULL));
  n = getline (&line, &alloc, fp);
  cr_assert (lt (i64, 0, n));
  line[n - 1] = '\0';
  pclose (fp);
  free (cmd);
  return line;
}

static void
init (void)
{
  uint8_t buf[BLOCK];
  char *cmd = NULL;
  unsigned r, i;

  /* Syncs are simulated: memory is quicker than a disk. */
  if (access ("/dev/shm", W_OK) == 0)
    setenv ("TMPDIR", "/dev/shm", 1);
  folder = lm_scratch_path ("overlay");
  crashed = lm_scratch_path ("crashed");
  keys = lm_keys_new (repository, master, &err);
  spec = (struct lm_overlay_spec) { keys, repository, snapshot, disks, 1 };
  for (i = 0; i < 2; i++)
    files[i].units = calloc (files[i].nr_units, sizeof (struct unit));
  for (r = 0; r < REGIONS; r++)
    for (i = 0; i < regions[r].count; i++) {
      unsigned block = regions[r].first + i;

      memory_disk_pattern (buf, BLOCK, (uint64_t) block * BLOCK);
      if (block == BLOCKS - 1)
        memset (buf + SIZE % BLOCK, 0, BLOCK - SIZE % BLOCK);
      add_version (&model[block].versions, &model[block].count,
                   copy (buf, BLOCK));
    }
  recorder = lm_io_system;
  recorder.openat = rec_openat;
  recorder.pwrite = rec_pwrite;
  recorder.fdatasync = rec_fdatasync;
  recorder.fallocate = rec_fallocate;
  open_again ();                /* makes it */
  close_it ();
  cr_assert (lt (int, 0, asprintf (&cmd, "cp -r %s %s", folder, crashed)));
  cr_assert (eq (int, system (cmd), 0));
  free (cmd);
  crashed_data = layer_file ("data");
  crashed_mask = layer_file ("mask");
  lm_io = &recorder;
  open_again ();
}

static void
fini (void)
{
  close_it ();
  lm_io = &lm_io_system;
  lm_keys_free (keys);
}

/* Begin a change of [offset, offset+len): the new contents are possible
 * from now on. */
static void
begin (uint64_t offset, uint64_t len, const uint8_t *data)
{
  uint64_t end = offset + len;

  while (offset < end) {
    unsigned block = offset / BLOCK, in = offset % BLOCK;
    size_t n = end - offset < BLOCK - in ? end - offset : BLOCK - in;
    struct block_model *m = &model[block];
    uint8_t *next = copy (m->versions[m->count - 1], BLOCK);

    if (data)
      memcpy (next + in, data, n), data += n;
    else
      memset (next + in, 0, n);
    add_version (&m->versions, &m->count, next);
    m->in_flight = true;
    offset += n;
  }
}

static void
answered (void)
{
  unsigned r, i;

  for (r = 0; r < REGIONS; r++)
    for (i = 0; i < regions[r].count; i++)
      model[regions[r].first + i].in_flight = false;
}

static void
flushed (void)
{
  unsigned r, i;

  for (r = 0; r < REGIONS; r++)
    for (i = 0; i < regions[r].count; i++) {
      struct block_model *m = &model[regions[r].first + i];

      keep_last (m->versions, &m->count);
    }
}

/* A range within one region, of up to MAX blocks, aligned or not. */
static void
pick_range (unsigned max, bool aligned, uint64_t *ret_offset,
            uint64_t *ret_len)
{
  unsigned r = rand_r (&seed) % REGIONS;
  uint64_t start = (uint64_t) regions[r].first * BLOCK;
  uint64_t size = (uint64_t) regions[r].count * BLOCK;
  uint64_t offset, len;

  if (start + size > SIZE)
    size = SIZE - start;
  offset = rand_r (&seed) % size;
  len = rand_r (&seed) % (max * BLOCK) + 1;
  if (aligned) {
    offset -= offset % BLOCK;
    len += BLOCK - len % BLOCK;
  }
  *ret_offset = start + offset;
  *ret_len = len < size - offset ? len : size - offset;
}

static void
random_life (unsigned first_seed, unsigned rounds)
{
  static uint8_t data[100 * BLOCK];
  unsigned i;

  seed = first_seed;
  for (i = 0; i < rounds; i++) {
    uint64_t offset, len;
    unsigned what = rand_r (&seed) % 100;

    if (what < 30) {
      pick_range (what < 5 ? 100 : 6, what % 2, &offset, &len);
      memset (data, i + 1, len);
      data[0] = rand_r (&seed);
      begin (offset, len, data);
      cr_assert (eq (int, lm_overlay_disk_pwrite (disk, data, len, offset,
                                                  &err), 0));
      answered ();
    }
    else if (what < 60) {
      pick_range (what < 45 ? 100 : 6, what % 4, &offset, &len);
      if (what < 40)            /* the long region, nearly all of it */
        offset = (uint64_t) regions[0].first * BLOCK, len = 98 * BLOCK;
      begin (offset, len, NULL);
      cr_assert (eq (int, lm_overlay_disk_zero (disk, len, offset, true,
                                                &err), 0));
      answered ();
    }
    else if (what < 65) {
      pick_range (6, what % 2, &offset, &len);
      begin (offset, len, NULL);
      cr_assert (eq (int, lm_overlay_disk_zero (disk, len, offset, false,
                                                &err), 0));
      answered ();
    }
    else if (what < 75) {       /* present blocks for the next trim */
      offset = (uint64_t) regions[0].first * BLOCK;
      len = 100 * BLOCK;
      memset (data, i + 1, len);
      begin (offset, len, data);
      cr_assert (eq (int, lm_overlay_disk_pwrite (disk, data, len, offset,
                                                  &err), 0));
      answered ();
    }
    else if (what < 97) {
      cr_assert (eq (int, lm_overlay_disk_flush (disk, &err), 0));
      flushed ();
    }
    else {
      close_it ();
      open_again ();            /* syncs what was answered */
      flushed ();
    }
  }
  crash_here ();
}

static void
report (void)
{
  cr_log_info ("%lu states", states);
}

#define LIFE(n) \
  Test (overlay_crash, life_##n, .init = init, .fini = fini) \
  { \
    random_life (n, 250); \
    cr_expect (lt (u64, 1500, states)); \
    report (); \
  }

LIFE (1)
LIFE (2)
LIFE (3)
LIFE (4)
