/* SPDX-License-Identifier: Apache-2.0
 * A repository in memory; see test-repository.h.
 */
#include <config.h>

#include "tests/support/test-repository.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "formats/store/store-dir.h"
#include "tests/support/scratch.h"
#include "tests/support/store-fault.h"
#include "tests/support/store-memory.h"

static const char key_file[] =
  "a key file for tests only, which is long enough to be one";

void
test_repository_credentials (struct lm_credentials *c)
{
  *c = (struct lm_credentials) LM_CREDENTIALS_INIT;
  c->key_file = (uint8_t *) strdup (key_file);
  c->key_file_len = sizeof key_file - 1;
}

static void
credentials (struct test_repository *t, struct lm_credentials *c)
{
  *c = (struct lm_credentials) LM_CREDENTIALS_INIT;
  if (t->encrypted)
    test_repository_credentials (c);
}

void
test_repository_make (struct test_repository *t, bool encrypted,
                      uint32_t chunk_size)
{
  struct lm_error err = LM_ERROR_INIT;
  struct lm_credentials c;
  struct lm_init_options options = {
    .chunk_size = chunk_size, .encrypted = encrypted, .credentials = &c,
  };

  t->memory = lm_store_memory_new ();
  t->encrypted = encrypted;
  t->chunk_size = chunk_size;
  credentials (t, &c);
  if (lm_repository_init (t->memory, &options, &err) == -1) {
    fprintf (stderr, "init: %s\n", err.message);
    abort ();
  }
  lm_credentials_release (&c);
}

void
test_repository_release (struct test_repository *t)
{
  lm_store_close (t->memory);
  t->memory = NULL;
}

struct lm_repository *
test_repository_open (struct test_repository *t, struct lm_store *store,
                      struct lm_error *err)
{
  CLEANUP_FREE char *cache = lm_scratch_path ("cache");
  CLEANUP_FREE char *state = lm_scratch_path ("state");
  struct lm_open_options options = {
    .cache_dir = cache, .state_dir = state,
  };
  struct lm_credentials c;
  struct lm_repository *repo;

  if (store == NULL)
    store = lm_store_fault_new (t->memory);
  credentials (t, &c);
  repo = lm_repository_open (store, &c, &options, err);
  lm_credentials_release (&c);
  if (repo == NULL) {
    lm_store_close (store);
    return NULL;
  }
  if (lm_repository_load (repo, err) == -1) {
    lm_repository_close (repo);
    return NULL;
  }
  return repo;
}

int
test_directory_init (const char *disk, struct lm_error *err)
{
  CLEANUP_FREE char *root = NULL;
  struct lm_credentials c;
  struct lm_init_options options = {
    .chunk_size = 4096, .encrypted = true, .credentials = &c,
  };
  struct lm_store *store;
  int r;

  if (asprintf (&root, "%s/repo", disk) == -1)
    abort ();
  if (lm_store_dir_open (root, true, &store, err) == -1)
    return -1;
  test_repository_credentials (&c);
  r = lm_repository_init (store, &options, err);
  lm_credentials_release (&c);
  lm_store_close (store);
  return r;
}

struct lm_repository *
test_directory_open (const char *disk, struct lm_error *err)
{
  CLEANUP_FREE char *root = NULL, *cache = NULL, *state = NULL;
  struct lm_open_options options = { .read_only = false };
  struct lm_credentials c;
  struct lm_repository *repo;
  struct lm_store *store;

  if (asprintf (&root, "%s/repo", disk) == -1 ||
      asprintf (&cache, "%s/cache", disk) == -1 ||
      asprintf (&state, "%s/state", disk) == -1)
    abort ();
  options.cache_dir = cache;
  options.state_dir = state;
  if (lm_store_dir_open (root, false, &store, err) == -1)
    return NULL;
  test_repository_credentials (&c);
  repo = lm_repository_open (store, &c, &options, err);
  lm_credentials_release (&c);
  if (repo == NULL) {
    lm_store_close (store);
    return NULL;
  }
  if (lm_repository_load (repo, err) == -1) {
    lm_repository_close (repo);
    return NULL;
  }
  return repo;
}

int
test_backup (struct lm_repository *repo, struct lm_disk *disk,
             struct lm_backup_result *ret_result, struct lm_error *err)
{
  struct lm_backup_disk d = { .name = "disk0", .disk = disk, .source = "t" };
  struct lm_backup_params params = {
    .vm = "vm", .disks = &d, .nr_disks = 1, .consistency = "consistent",
    .program = "livemount test", .threads = 3,
  };

  return lm_backup_run (repo, &params, ret_result, err);
}

struct lm_disk *
test_snapshot_disk (struct lm_repository *repo, const char *name,
                    struct lm_error *err)
{
  const struct lm_snapshot_entry *entry;
  const struct lm_snapshot_disk *d;
  CLEANUP_FREE char *disk_name = NULL;
  struct lm_snapshot *s;
  struct lm_disk *disk = NULL;

  entry = lm_repository_resolve (repo, name, &disk_name, err);
  if (entry == NULL || (s = lm_snapshot_open (repo, entry, err)) == NULL)
    return NULL;
  d = lm_snapshot_find_disk (s, disk_name, err);
  if (d != NULL)
    disk = lm_snapshot_disk_open (repo, d->size,
                                  d->has_root ? d->root : NULL, name, err);
  lm_snapshot_free (s);
  return disk;
}
