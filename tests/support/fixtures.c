/* SPDX-License-Identifier: Apache-2.0
 *
 * Making fixtures; see fixtures.h.  What is here may be added to, but what
 * makes an existing fixture does not change: fixtures are never rewritten.
 */
#include <config.h>

#include "tests/support/fixtures.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/hex.h"
#include "common/random.h"
#include "formats/native/backup.h"
#include "formats/native/codec.h"
#include "formats/native/journal.h"
#include "formats/native/object-io.h"
#include "formats/native/pin.h"
#include "formats/native/repository-internal.h"
#include "formats/native/snapshot-wire.h"
#include "formats/native/whoami.h"
#include "formats/store/store-dir.h"
#include "tests/support/memory-disk.h"
#include "tests/support/store-memory.h"

#define CLOCK 1795329000        /* 2026-11-22T06:30:00Z */
#define CHUNK 4096
/* Of zstd: what programs used when the first ones were made. */
#define LEVEL 3

#define PROGRAM "livemount 0.1.0"

const struct lm_fixture lm_fixtures[] = {
  { "empty", true, false, true },
  { "empty-none", true, false, false },
  { "passphrase", true, true, true },
  { "journal", true, false, true },
  { "backups", false, false, true },
  { "backups-none", false, false, false },
  { "base-chunks", false, false, true },
};

const size_t lm_nr_fixtures = sizeof lm_fixtures / sizeof lm_fixtures[0];

struct lm_credentials
lm_fixture_credentials (const struct lm_fixture *f)
{
  static const char key[] = "the key file of all fixtures, not a secret\n";
  struct lm_credentials c = LM_CREDENTIALS_INIT;

  if (!f->encrypted)
    return c;
  if (f->passphrase)
    c.passphrase = strdup (LM_FIXTURE_PASSPHRASE);
  else {
    c.key_file = (uint8_t *) strdup (key);
    c.key_file_len = strlen (key);
  }
  return c;
}

/* ---- the journal ---- */

static int
commit (struct lm_repository *repo, json_t *changes, struct lm_error *err)
{
  int r = lm_journal_commit (repo, NULL, "fixture, " PROGRAM, changes, err);

  json_decref (changes);
  return r;
}

/* A manifest without disks, and its entry. */
static int
add_bare_snapshot (struct lm_repository *repo, const char *vm, int64_t time,
                   struct lm_error *err)
{
  struct lm_snapshot s = {
    .vm = (char *) vm, .time = time, .created_by = (char *) PROGRAM,
    .host = (char *) "fixture-host", .consistency = (char *) "consistent",
  };
  struct lm_snapshot_entry e = { .vm = (char *) vm, .time = time };
  json_t *changes = json_array ();

  lm_random_bytes (s.id, sizeof s.id);
  memcpy (e.id, s.id, sizeof e.id);
  if (lm_snapshot_put (repo, &s, e.manifest_sha256, err) == -1 ||
      lm_change_snapshot_add (changes, &e, err) == -1)
    return -1;
  return commit (repo, changes, err);
}

/* One record with each kind of change that is no snapshot-add. */
static int
add_all_changes (struct lm_repository *repo, struct lm_error *err)
{
  uint8_t packs[3][LM_NAME_ID_LEN], chunks[2][LM_ID_LEN], lease[16];
  const struct lm_snapshot_entry *first = &repo->state.snapshots[0];
  json_t *c = json_array (), *state;

  lm_random_bytes (packs, sizeof packs);
  lm_random_bytes (chunks, sizeof chunks);
  lm_random_bytes (lease, sizeof lease);
  if (lm_change_snapshot_protect (c, first->id, true, err) == -1 ||
      lm_change_packs (c, LM_CHANGE_PACK_CONDEMN,
                       (const uint8_t (*)[LM_NAME_ID_LEN]) packs, 3,
                       err) == -1 ||
      lm_change_lost (c, LM_CHANGE_CHUNK_LOST, LM_TYPE_CHUNK,
                      (const uint8_t (*)[LM_ID_LEN]) chunks, 1,
                      err) == -1 ||
      lm_change_lost (c, LM_CHANGE_CHUNK_LOST, LM_TYPE_NODE,
                      (const uint8_t (*)[LM_ID_LEN]) chunks + 1, 1,
                      err) == -1 ||
      lm_change_by_id (c, LM_CHANGE_LEASE_REVOKE, lease, err) == -1 ||
      lm_change_feature_add (c, LM_FEATURE_OPTIONAL, "fixture",
                             err) == -1 ||
      lm_change_slot (c, LM_CHANGE_SLOT_REMOVE, lease, "passphrase",
                      "an old one", err) == -1)
    return -1;
  state = json_pack ("{ss, ss}", "change", "state", "kind", "boots");
  lm_json_set_hex (state, "snapshot", first->id, LM_NAME_ID_LEN);
  lm_json_set_hex (state, "object", lease, sizeof lease);
  json_array_append_new (c, state);
  json_array_append_new (c, json_pack ("{ss, sb}", "change", "from-later",
                                       "optional", 1));
  if (commit (repo, c, err) == -1)
    return -1;
  c = json_array ();
  if (lm_change_packs (c, LM_CHANGE_PACK_SPARE,
                       (const uint8_t (*)[LM_NAME_ID_LEN]) packs, 1,
                       err) == -1 ||
      lm_change_packs (c, LM_CHANGE_PACK_DELETE,
                       (const uint8_t (*)[LM_NAME_ID_LEN]) packs + 1, 1,
                       err) == -1)
    return -1;
  return commit (repo, c, err);
}

/* 40 records, so that there is a checkpoint with records after it. */
static int
fill_journal (struct lm_repository *repo, struct lm_error *err)
{
  uint8_t pin[LM_NAME_ID_LEN];
  json_t *c = json_array ();
  int i;

  for (i = 0; i < 34; i++) {
    lm_clock_set_test_time (CLOCK + i);
    if (add_bare_snapshot (repo, i % 3 == 2 ? "db" : "web01", CLOCK + i,
                           err) == -1)
      return -1;
    if (i == 9 && add_all_changes (repo, err) == -1)
      return -1;
  }
  /* The newest of db is forgotten; its name stays taken. */
  if (lm_change_by_id (c, LM_CHANGE_SNAPSHOT_FORGET,
                       repo->state.snapshots[32].id, err) == -1 ||
      commit (repo, c, err) == -1)
    return -1;
  for (i = 0; i < 3; i++)
    if (commit (repo, json_array (), err) == -1)
      return -1;
  return lm_pin_put (repo, repo->state.snapshots[0].id, "red-fox", pin, err);
}

/* ---- backups ---- */

/* Text that compresses, a stretch that does not, and zeros. */
static uint8_t *
disk_content (size_t size, unsigned day)
{
  uint8_t *data = calloc (1, size);
  uint32_t x = 7;
  size_t i;

  for (i = 0; i < size && i < 100000; i++)
    data[i] = "the quick brown fox jumps over the lazy dog "[i / 3 % 44] +
      i / CHUNK % 5;
  for (i = 120000; i < size && i < 140000; i++) {
    x = x * 1664525 + 1013904223;
    data[i] = x >> 24;
  }
  /* What a day changes: a few bytes in two places. */
  memset (data + 5000, '0' + day, 10);
  memset (data + 130000, '0' + day, 100);
  data[size - 1] = day;
  return data;
}

static int
back_up (struct lm_repository *repo, unsigned day, size_t size0,
         struct lm_error *err)
{
  static const char xml[] = "<domain><name>web01</name></domain>\n";
  static const char *const tags[] = { "fixture", "nightly" };
  const struct lm_backup_file files[] = {
    { "config", "web01.xml", xml, strlen (xml), 0644 },
    { "nvram", "web01_VARS.fd", "", 0, 0600 },
  };
  CLEANUP_FREE uint8_t *data = disk_content (size0, day);
  struct memory_disk *disk0 = memory_disk_new (data, size0, 4096);
  struct memory_disk *disk1 = memory_disk_new (NULL, 10001, 4096);
  struct lm_backup_disk disks[] = {
    { "disk0", &disk0->disk, "/dev/vda", 512 },
    { "data", &disk1->disk, "/dev/vdb", 4096 },
  };
  struct lm_backup_params params = {
    .vm = "web01", .disks = disks, .nr_disks = 2, .files = files,
    .nr_files = 2, .tags = tags, .nr_tags = 2,
    .consistency = "crash-consistent",
    .machine_config_kind = "libvirt-xml", .program = PROGRAM, .threads = 1,
    .no_base_chunks = true,
  };
  struct lm_backup_result result;
  int r;

  lm_clock_set_test_time (CLOCK + day * 86400);
  r = lm_backup_run (repo, &params, &result, err);
  lm_disk_close (&disk0->disk);
  lm_disk_close (&disk1->disk);
  return r;
}

/* The first disk grows from one level of map to two. */
static int
fill_backups (struct lm_repository *repo, struct lm_error *err)
{
  if (back_up (repo, 1, 300000, err) == -1 ||
      lm_repository_load (repo, err) == -1)
    return -1;
  return back_up (repo, 2, 129 * CHUNK + 17, err);
}

/* ---- base chunks ---- */

/* A disk of random chunks, of which each day changes a few bytes in some:
 * chunk N on days that N divides. */
static int
back_up_database (struct lm_repository *repo, unsigned day,
                  struct lm_error *err)
{
  static uint8_t data[12 * CHUNK];
  struct memory_disk *disk;
  struct lm_backup_disk disks[1] = { { "db", NULL, "/dev/vdb", 512 } };
  struct lm_backup_params params = {
    .vm = "db", .disks = disks, .nr_disks = 1, .consistency = "consistent",
    .program = PROGRAM, .threads = 1,
  };
  struct lm_backup_result result;
  uint32_t x = 7;
  size_t i;
  int r;

  for (i = 0; i < sizeof data; i++) {
    x = x * 1664525 + 1013904223;
    data[i] = x >> 24;
  }
  for (i = 1; i < sizeof data / CHUNK; i++)
    memset (data + i * CHUNK + 100 * i, 'a' + day / i, 5);
  lm_clock_set_test_time (CLOCK + day * 86400);
  disk = memory_disk_new (data, sizeof data, CHUNK);
  disks[0].disk = &disk->disk;
  r = lm_backup_run (repo, &params, &result, err);
  lm_disk_close (&disk->disk);
  return r == -1 ? -1 : lm_repository_load (repo, err);
}

static int
fill_base_chunks (struct lm_repository *repo, struct lm_error *err)
{
  unsigned day;

  for (day = 1; day <= 3; day++)
    if (back_up_database (repo, day, err) == -1)
      return -1;
  return 0;
}

/* ---- making one ---- */

static int
fill (const struct lm_fixture *f, struct lm_repository *repo,
      struct lm_error *err)
{
  if (strcmp (f->name, "journal") == 0)
    return fill_journal (repo, err);
  if (strncmp (f->name, "backups", 7) == 0)
    return fill_backups (repo, err);
  if (strcmp (f->name, "base-chunks") == 0)
    return fill_base_chunks (repo, err);
  return 0;
}

static uint8_t seed[32];
static const struct lm_store_ops *memory_ops;
static struct lm_store_ops drawing_ops;

/* The first of these were made straight into a directory store, which
 * draws the name of a temporary file for each object.  To make the same
 * bytes whatever a directory store does by now, they are made in memory,
 * and each put draws once all the same. */
static void
draw (void)
{
  uint8_t ignored;

  lm_random_bytes (&ignored, 1);
}

static int
draw_and_put (struct lm_store *store, const char *name,
              const struct iovec *iov, int iovcnt, struct lm_error *err)
{
  draw ();
  return memory_ops->put (store, name, iov, iovcnt, err);
}

static int
draw_and_put_if_absent (struct lm_store *store, const char *name,
                        const struct iovec *iov, int iovcnt,
                        struct lm_error *err)
{
  draw ();
  return memory_ops->put_if_absent (store, name, iov, iovcnt, err);
}

/* init tries the store out before it makes anything.  What it draws for
 * that is nobody's business: the stream begins anew behind it, where it
 * stood then. */
static int
remove_and_reseed (struct lm_store *store, const char *name,
                   struct lm_error *err)
{
  if (strncmp (name, "tmp-probe", 9) == 0) {
    lm_random_set_test_seed (seed);
    draw ();
  }
  return memory_ops->remove (store, name, err);
}

static struct lm_store *
drawing_store (void)
{
  struct lm_store *store = lm_store_memory_new ();

  memory_ops = store->ops;
  drawing_ops = *memory_ops;
  drawing_ops.put = draw_and_put;
  drawing_ops.put_if_absent = draw_and_put_if_absent;
  drawing_ops.remove = remove_and_reseed;
  store->ops = &drawing_ops;
  return store;
}

struct copy {
  struct lm_store *from, *to;
};

static int
copy_object (void *opaque, const char *name, uint64_t size,
             struct lm_error *err)
{
  const struct copy *copy = opaque;
  struct iovec iov;

  (void) size;
  iov.iov_base = lm_store_memory_data (copy->from, name, &iov.iov_len);
  return lm_store_put_if_absent (copy->to, name, &iov, 1, err);
}

static int
copy_out (struct lm_store *from, const char *path, struct lm_error *err)
{
  static const char *const folders[] = {
    "keys", "journal", "checkpoints", "packs", "index", "snapshots", "pins",
  };
  struct copy copy = { .from = from };
  size_t i;
  int r;

  if (lm_store_dir_open (path, true, &copy.to, err) == -1)
    return -1;
  r = copy_object (&copy, "config", 0, err);
  for (i = 0; r == 0 && i < sizeof folders / sizeof folders[0]; i++)
    r = lm_store_list (from, folders[i], copy_object, &copy, err);
  lm_store_close (copy.to);
  return r;
}

static int
make (const struct lm_fixture *f, const char *path, const char *scratch,
      const struct lm_credentials *c, struct lm_error *err)
{
  const struct lm_init_options init = {
    .chunk_size = CHUNK, .encrypted = f->encrypted, .credentials = c,
  };
  const struct lm_open_options open = {
    .cache_dir = scratch, .state_dir = scratch,
  };
  struct lm_store *store = drawing_store ();
  struct lm_repository *repo = NULL;
  int r;

  if (lm_repository_init (store, &init, err) == 0)
    repo = lm_repository_open (store, c, &open, err);
  if (repo == NULL) {
    lm_store_close (store);
    return -1;
  }
  r = lm_repository_load (repo, err);
  if (r == 0)
    r = fill (f, repo, err);
  if (r == 0)
    r = copy_out (store, path, err);
  lm_repository_close (repo);
  return r;
}

int
lm_fixture_make (const struct lm_fixture *f, const char *path,
                 const char *scratch, struct lm_error *err)
{
  struct lm_credentials c = lm_fixture_credentials (f);
  int r;

  memset (seed, 0, sizeof seed);
  memcpy (seed, f->name, strlen (f->name));
  lm_random_set_test_seed (seed);
  lm_clock_set_test_time (CLOCK);
  lm_whoami_set_test ("fixture-host", "fixture", PROGRAM);
  lm_codec_set_test_level (LEVEL);
  r = make (f, path, scratch, &c, err);
  lm_random_set_test_seed (NULL);
  lm_clock_set_test_time (0);
  lm_whoami_set_test (NULL, NULL, NULL);
  lm_codec_set_test_level (0);
  lm_credentials_release (&c);
  return r;
}
