/* SPDX-License-Identifier: Apache-2.0
 *
 * Sixteen threads that call the plugin's table as nbdkit would, without
 * nbdkit: so that all of the proxy can run under ThreadSanitizer and
 * AddressSanitizer, whose runtime a stock nbdkit lacks.  No Criterion
 * either, whose workers do not get along with ThreadSanitizer.
 *
 * First an overlay is written, trimmed, flushed and read by all threads
 * at once, each with bytes of its own in shared blocks; then snapshots are
 * opened, read and listed while new ones are made.
 */
#include <config.h>

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "common/cleanup.h"
#include "formats/native/backup.h"
#include "formats/native/repository.h"
#include "formats/store/store-open.h"
#include "tests/support/memory-disk.h"
#include "tests/support/scratch.h"

#define THREADS 16
#define SIZE ((6 << 20) + 777)
#define PART 700                /* bytes; no multiple of anything */
#define PARTS (SIZE / (THREADS * PART))

extern struct nbdkit_plugin *plugin_init (void);

static struct nbdkit_plugin *plugin;
static char *repository, *key_file;
static _Atomic (unsigned) errors;

static void __attribute__ ((noreturn, format (printf, 1, 2)))
die (const char *fmt, ...)
{
  va_list ap;

  va_start (ap, fmt);
  vfprintf (stderr, fmt, ap);
  va_end (ap);
  fputc ('\n', stderr);
  exit (1);
}

/* ---- what nbdkit offers to plugins ---- */

static __thread const char *export_name;
static __thread int last_errno;

void __attribute__ ((format (printf, 1, 2)))
nbdkit_error (const char *fmt, ...)
{
  va_list ap;

  va_start (ap, fmt);
  vfprintf (stderr, fmt, ap);
  va_end (ap);
  fputc ('\n', stderr);
  errors++;
}

void
nbdkit_set_error (int err)
{
  last_errno = err;
}

const char *
nbdkit_export_name (void)
{
  return export_name;
}

struct nbdkit_extents {
  uint64_t next, end;
};

int
nbdkit_add_extent (struct nbdkit_extents *e, uint64_t offset,
                   uint64_t length, uint32_t type)
{
  (void) type;
  if (offset != e->next || length == 0 || length > e->end - offset)
    die ("extent 0x%lx+0x%lx, expected 0x%lx to 0x%lx", offset, length,
         e->next, e->end);
  e->next += length;
  return 0;
}

struct nbdkit_exports {
  unsigned count;
};

int
nbdkit_add_export (struct nbdkit_exports *list, const char *name,
                   const char *description)
{
  if (name[0] == '\0' || description[0] == '\0')
    die ("an export without a name or description");
  list->count++;
  return 0;
}

const char *
nbdkit_strdup_intern (const char *s)
{
  return s;                     /* only looked at while it is open */
}

/* ---- the repository ---- */

static void
must (int r, const struct lm_error *err)
{
  if (r == -1)
    die ("%s", err->message);
}

static void
back_up (const char *vm, uint64_t size)
{
  struct lm_credentials c = LM_CREDENTIALS_INIT;
  const struct lm_open_options options = { .read_only = false };
  struct lm_error err = LM_ERROR_INIT;
  struct memory_disk *disk = memory_disk_new (NULL, size, 65536);
  const struct lm_backup_disk disks[] = {
    { .name = "disk0", .disk = &disk->disk, .source = "test" },
  };
  const struct lm_backup_params params = {
    .vm = vm, .disks = disks, .nr_disks = 1, .consistency = "consistent",
    .program = "test",
  };
  struct lm_backup_result result;
  struct lm_repository *repo;
  struct lm_store *store;

  must (lm_store_open (repository, false, &store, &err), &err);
  must (lm_credentials_key_file (&c, key_file, &err), &err);
  repo = lm_repository_open (store, &c, &options, &err);
  if (repo == NULL)
    die ("%s", err.message);
  must (lm_repository_load (repo, &err), &err);
  must (lm_backup_run (repo, &params, &result, &err), &err);
  lm_repository_close (repo);
  lm_credentials_release (&c);
  lm_disk_close (&disk->disk);
}

static void
make_repository (void)
{
  struct lm_credentials c = LM_CREDENTIALS_INIT;
  const struct lm_init_options options = { .encrypted = true,
                                           .credentials = &c };
  struct lm_error err = LM_ERROR_INIT;
  struct lm_store *store;

  repository = lm_scratch_path ("repo");
  key_file = lm_scratch_path ("key");
  setenv ("XDG_CACHE_HOME", lm_scratch_dir (), 1);
  setenv ("XDG_STATE_HOME", lm_scratch_dir (), 1);
  must (lm_key_file_create (key_file, &err), &err);
  must (lm_credentials_key_file (&c, key_file, &err), &err);
  must (lm_store_open (repository, true, &store, &err), &err);
  must (lm_repository_init (store, &options, &err), &err);
  lm_store_close (store);
  lm_credentials_release (&c);
  back_up ("web01", SIZE);
}

/* ---- the plugin ---- */

static void
start (const char *key, const char *value)
{
  if (plugin->config ("repository", repository) == -1 ||
      plugin->config ("key-file", key_file) == -1 ||
      plugin->config ("cache-size", "1M") == -1 ||
      (key && plugin->config (key, value) == -1) ||
      (key && plugin->config ("snapshot", "web01") == -1) ||
      plugin->config_complete () == -1 || plugin->get_ready () == -1 ||
      plugin->after_fork () == -1)
    die ("the plugin does not start");
}

static void
stop (void)
{
  plugin->cleanup ();
  plugin->unload ();
}

static void *
open_export (const char *name)
{
  void *h;

  export_name = name;
  h = plugin->open (0);
  if (h == NULL)
    die ("%s can't be opened", name);
  if (plugin->get_size (h) < 0 || plugin->export_description (h) == NULL)
    die ("%s has no size or no description", name);
  return h;
}

static void
run_threads (void *(*work) (void *))
{
  pthread_t t[THREADS];
  uintptr_t i;

  for (i = 0; i < THREADS; i++)
    if (pthread_create (&t[i], NULL, work, (void *) i) != 0)
      die ("no thread");
  for (i = 0; i < THREADS; i++)
    pthread_join (t[i], NULL);
}

static unsigned rounds = 120;

/* Bytes of its own in every block, and all commands. */
static void *
write_overlay (void *arg)
{
  uintptr_t me = (uintptr_t) arg;
  uint8_t (*mine)[PART] = malloc (PARTS * sizeof *mine), buf[PART];
  void *h = open_export ("disk0");
  unsigned seed = me, i;

  for (i = 0; i < PARTS; i++)
    memory_disk_pattern (mine[i], PART, (i * THREADS + me) * PART);
  for (i = 0; i < rounds; i++) {
    unsigned part = rand_r (&seed) % PARTS;
    uint64_t offset = (part * (uint64_t) THREADS + me) * PART;
    struct nbdkit_extents extents = { 0, 1 << 20 };
    int r = 0;

    switch (rand_r (&seed) % 8) {
    case 0: case 1: case 2:
      memset (mine[part], i, PART);
      r = plugin->pwrite (h, mine[part], PART, offset,
                          i % 16 ? 0 : NBDKIT_FLAG_FUA);
      break;
    case 3:
      memset (mine[part], 0, PART);
      r = plugin->trim (h, PART, offset, 0);
      break;
    case 4:
      memset (mine[part], 0, PART);
      r = plugin->zero (h, PART, offset, i % 2 ? NBDKIT_FLAG_MAY_TRIM : 0);
      break;
    case 5:
      r = i % 4 ? plugin->flush (h, 0) : plugin->cache (h, 1 << 20, 0, 0);
      break;
    case 6:
      r = plugin->extents (h, 1 << 20, 0, i % 2 ? NBDKIT_FLAG_REQ_ONE : 0,
                           &extents);
      break;
    case 7:
      plugin->close (h);
      h = open_export (i % 2 ? "disk0" : "web01/latest/disk0");
      break;
    }
    if (r == -1)
      die ("a command failed");
    if (plugin->pread (h, buf, PART, offset, 0) == -1 ||
        memcmp (buf, mine[part], PART) != 0)
      die ("thread %lu: 0x%lx holds what it should not", me, offset);
  }
  for (i = 0; i < PARTS; i++)
    if (plugin->pread (h, buf, PART, (i * THREADS + me) * PART, 0) == -1 ||
        memcmp (buf, mine[i], PART) != 0)
      die ("thread %lu: part %u holds what it should not", me, i);
  plugin->close (h);
  free (mine);
  return NULL;
}

/* Whole blocks of one common region, trimmed in long runs: only that
 * nothing breaks. */
static void *
trim_and_write (void *arg)
{
  void *h = open_export ("disk0");
  unsigned seed = (uintptr_t) arg + 100, i;
  uint8_t *buf = malloc (1 << 20);

  memset (buf, 0x5a, 1 << 20);
  for (i = 0; i < rounds / 8; i++) {
    uint64_t offset = rand_r (&seed) % 1024 * 4096;
    uint32_t len = (rand_r (&seed) % 256 + 1) * 4096;

    if (plugin->pwrite (h, buf, len, offset, 0) == -1 ||
        plugin->trim (h, len / 2, offset, 0) == -1 ||
        (i % 4 == 0 && plugin->flush (h, 0) == -1))
      die ("a command failed");
  }
  plugin->close (h);
  free (buf);
  return NULL;
}

/* Snapshots come while others are read. */
static _Atomic (unsigned) made;

static void *
open_and_read (void *arg)
{
  uintptr_t me = (uintptr_t) arg;
  unsigned seed = me, i;

  for (i = 0; i < rounds / 4; i++) {
    uint8_t buf[9000], want[9000];
    uint64_t offset = rand_r (&seed) % (SIZE - sizeof buf), o;
    struct nbdkit_exports list = { 0 };
    char name[40];
    void *h;

    if (me == 0 && i % 8 == 0 && made < 8) {
      snprintf (name, sizeof name, "vm%u", made);
      back_up (name, SIZE);
      made++;
    }
    if (me == 1 && plugin->list_exports (0, 0, &list) == -1)
      die ("exports can't be listed");
    if (made > 0 && rand_r (&seed) % 2)
      snprintf (name, sizeof name, "vm%u/latest", rand_r (&seed) % made);
    else
      snprintf (name, sizeof name, "web01");
    h = open_export (name);
    for (o = offset; o < offset + 200000 && o + sizeof buf < SIZE;
         o += sizeof buf) {
      if (plugin->pread (h, buf, sizeof buf, o, 0) == -1)
        die ("a read failed");
      memory_disk_pattern (want, sizeof want, o);
      if (memcmp (buf, want, sizeof buf) != 0)
        die ("%s: 0x%lx holds what it should not", name, o);
    }
    plugin->close (h);
  }
  return NULL;
}

int
main (int argc, char *argv[])
{
  char *overlay;

  if (argc > 1)
    rounds = strtoul (argv[1], NULL, 10);
  make_repository ();
  overlay = lm_scratch_path ("overlay");
  plugin = plugin_init ();
  plugin->load ();
  start ("overlay", overlay);
  run_threads (write_overlay);
  run_threads (trim_and_write);
  stop ();
  start (NULL, NULL);
  run_threads (open_and_read);
  stop ();
  free (overlay);
  free (repository);
  free (key_file);
  if (errors > 0)
    die ("%u errors were reported", errors);
  return 0;
}
