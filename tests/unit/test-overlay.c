/* SPDX-License-Identifier: Apache-2.0
 * The overlay against a plain array, and its refusals.  Faults are in
 * test-overlay-faults.c, power cuts in tests/crash/test-overlay-crash.c.
 */
#include <config.h>

#include "proxy/overlay.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/overlay-header.h"
#include "proxy/overlay-layer.h"
#include "tests/support/memory-disk.h"
#include "tests/support/overlay-rig.h"
#include "tests/support/scratch.h"

static const uint8_t other_repository[16] = "repository-00002";
static const uint8_t other_snapshot[16] = "snapshot-0000002";

Test (overlay, random_operations_agree_with_an_array, .init = rig_init,
      .fini = rig_fini)
{
  rig_random_ops (1, 2000);
}

Test (overlay, and_so_in_an_unencrypted_repository, .fini = rig_fini)
{
  rig_start (false);
  rig_random_ops (2, 500);
}

/* What the guest writes must not be found in the files. */
static bool
file_has (const char *name, uint8_t byte, size_t run)
{
  uint8_t block[65536];
  char *cmd = NULL;
  FILE *fp;
  size_t n, i, same = 0;

  cr_assert (lt (int, 0, asprintf (&cmd, "cat %s/disks/disk0/layer-*/%s",
                                folder, name)));
  fp = popen (cmd, "r");
  cr_assert (ne (ptr, fp, NULL));
  while ((n = fread (block, 1, sizeof block, fp)) > 0)
    for (i = 0; i < n && same < run; i++)
      same = block[i] == byte ? same + 1 : 0;
  pclose (fp);
  free (cmd);
  return same >= run;
}

Test (overlay, keeps_nothing_readable,
      .init = rig_init, .fini = rig_fini)
{
  cr_assert (eq (int, rig_put (0xa5, 0, SIZE), 0));
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

  cr_assert (lt (int, 0, asprintf (&cmd,
                                "du -s -B1 %s/disks/disk0/layer-*/data",
                                folder)));
  fp = popen (cmd, "r");
  cr_assert (ne (ptr, fp, NULL));
  cr_assert (ne (ptr, fgets (out, sizeof out, fp), NULL));
  pclose (fp);
  free (cmd);
  return strtoull (out, NULL, 10);
}

/* What the file system needs for itself. */
#define SLACK 65536

Test (overlay, trimmed_space_comes_back,
      .init = rig_init, .fini = rig_fini)
{
  uint64_t full;
  unsigned i;

  cr_assert (eq (int, rig_put (1, 0, 3 << 20), 0));
  cr_assert (eq (int, lm_overlay_disk_flush (disk, &err), 0));
  full = data_bytes ();
  cr_expect (ge (u64, full, 3 << 20));
  cr_assert (eq (int, rig_zero (0, 1 << 20, true), 0));     /* at once */
  cr_expect (le (u64, data_bytes (), full - (1 << 20) + SLACK));
  for (i = 0; i < 16; i++)      /* with the next flush */
    cr_assert (eq (int, rig_zero ((1 << 20) + i * 65536, 32768, true), 0));
  cr_assert (eq (int, lm_overlay_disk_flush (disk, &err), 0));
  cr_expect (le (u64, data_bytes (),
                 full - (1 << 20) - (1 << 19) + SLACK));
  cr_assert (eq (int, rig_zero (2 << 20, 1 << 20, false), 0));      /* never */
  cr_assert (eq (int, lm_overlay_disk_flush (disk, &err), 0));
  cr_expect (ge (u64, data_bytes (), 1 << 20));
  rig_check (0, SIZE);
  cr_expect (ge (u64, rig_check_extents (0, SIZE), (1 << 20) + (1 << 19)));
  rig_close ();
  rig_open ();
  rig_check (0, SIZE);
  cr_expect (ge (u64, rig_check_extents (0, SIZE), (1 << 20) + (1 << 19)));
}

Test (overlay, a_write_after_a_trim_survives_its_flush, .init = rig_init,
      .fini = rig_fini)
{
  cr_assert (eq (int, rig_put (1, 0, 65536), 0));
  cr_assert (eq (int, rig_zero (0, 65536, true), 0));
  cr_assert (eq (int, rig_put (2, 4096, 4096), 0));
  cr_assert (eq (int, lm_overlay_disk_flush (disk, &err), 0));
  rig_check (0, 65536);
  rig_close ();
  rig_open ();
  rig_check (0, 65536);
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

Test (overlay, concurrent_parts_of_a_block_all_survive, .init = rig_init,
      .fini = rig_fini)
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
  rig_check (0, SIZE);
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

Test (overlay, readers_see_whole_blocks,
      .init = rig_init, .fini = rig_fini)
{
  pthread_t t[4];
  unsigned i;

  cr_assert (eq (int, rig_put (1, 8192, 4096), 0));
  for (i = 0; i < 4; i++)
    pthread_create (&t[i], NULL, whole_block_reader, NULL);
  for (i = 0; i < 700; i++) {
    cr_assert (eq (int, rig_put (i, 8192, 4096), 0));
    if (i % 4 == 0)
      cr_assert (eq (int, rig_zero (8192, 4096, true), 0));
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

Test (overlay, concurrent_trims_leave_only_zeros_or_writes, .init = rig_init,
      .fini = rig_fini)
{
  pthread_t t[8];
  uintptr_t i;

  cr_assert (eq (int, rig_put (0x55, 0, 3 << 20), 0));
  for (i = 0; i < 8; i++)
    pthread_create (&t[i], NULL, trimmer, (void *) i);
  for (i = 0; i < 8; i++) {
    void *r;

    pthread_join (t[i], &r);
    cr_expect (eq (ptr, r, NULL));
  }
  cr_assert (eq (int, rig_zero (0, 3 << 20, true), 0));
  rig_check (0, SIZE);
  rig_close ();
  rig_open ();
  rig_check (0, SIZE);
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

Test (overlay, a_stack_reads_from_the_top,
      .init = rig_init, .fini = rig_fini)
{
  unsigned i;

  for (i = 0; i < 3; i++) {
    rig_random_ops (10 + i, 150);
    rig_close ();
    push_layer ();
    rig_open ();
    rig_check (0, SIZE);
    rig_check_extents (0, SIZE);
  }
  rig_random_ops (20, 300);
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

Test (overlay, refuses_what_it_does_not_belong_to, .init = rig_init,
      .fini = rig_fini)
{
  static const uint8_t other_master[32] = "another master key, also a test!";
  struct lm_overlay_spec s = spec;
  struct lm_keys *other;

  rig_close ();
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
  rig_open ();
}

Test (overlay, refuses_a_layer_of_another_disk_or_parent, .init = rig_init,
      .fini = rig_fini)
{
  struct lm_overlay_index index = LM_OVERLAY_INDEX_INIT;
  int fd = open (folder, O_RDONLY | O_DIRECTORY);
  char *cmd = NULL;

  rig_close ();
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
  cr_assert (lt (int, 0, asprintf (&cmd, "cp -r %s/disks/lock/* "
                                "%s/disks/disk0/", folder, folder)));
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

  cr_assert (lt (int, 0, asprintf (&path, "%s/overlay.json", folder)));
  fp = fopen (path, "w");
  cr_assert (ge (int, fputs (text, fp), 0));
  fclose (fp);
  free (path);
}

Test (overlay, refuses_a_damaged_index,
      .init = rig_init, .fini = rig_fini)
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

  rig_close ();
  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    enum lm_error_kind kind =
      i == 3 ? LM_ERR_UNSUPPORTED :
      i == 9 ? LM_ERR_NOT_FOUND : LM_ERR_CORRUPT;

    write_index (rows[i].text);
    refused (&spec, SIZE, rows[i].message, kind);
  }
}

Test (overlay, refuses_files_of_the_wrong_length,
      .init = rig_init, .fini = rig_fini)
{
  char *cmd = NULL;

  rig_close ();
  cr_assert (lt (int, 0, asprintf (&cmd, "truncate -s -1 %s/disks/disk0/"
                                "layer-*/data", folder)));
  cr_assert (eq (int, system (cmd), 0));
  refused (&spec, SIZE, "data: 3149823 bytes, expected 3149824",
           LM_ERR_CORRUPT);
  free (cmd);
}

Test (overlay, is_for_one_process,
      .init = rig_init, .fini = rig_fini)
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

Test (overlay, peek_tells_the_snapshot,
      .init = rig_init, .fini = rig_fini)
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
