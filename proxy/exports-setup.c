/* SPDX-License-Identifier: Apache-2.0
 *
 * Setting up what is exported: repository, the one snapshot if it is to
 * be one, the overlay; see exports.h.
 *
 * Everything a user can have got wrong is found here, before nbdkit forks
 * into the background, since nobody sees errors after that.  The overlay's
 * lock is a flock, which the child inherits; nothing here starts a
 * thread.
 */
#include <config.h>

#include "proxy/exports.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/timestamp.h"
#include "formats/native/keys.h"
#include "proxy/cache.h"
#include "proxy/exports-internal.h"
#include "proxy/overlay.h"
#include "proxy/unlock.h"
#include "common/banned.h"

static int
nomem (struct lm_error *err)
{
  return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
}

const struct lm_snapshot_entry *
lm_exports_entry_of_id (const struct lm_exports *x, const uint8_t *id)
{
  size_t n, i;
  const struct lm_snapshot_entry *all = lm_repository_snapshots (x->repo,
                                                                 &n);

  for (i = 0; i < n; i++)
    if (memcmp (all[i].id, id, LM_NAME_ID_LEN) == 0)
      return &all[i];
  return NULL;
}

/* The snapshot of an overlay that exists. */
static int
entry_of_overlay (struct lm_exports *x, const char *folder,
                  const struct lm_snapshot_entry **ret_entry,
                  struct lm_error *err)
{
  uint8_t repository[LM_NAME_ID_LEN], snapshot[LM_NAME_ID_LEN];
  bool exists;

  *ret_entry = NULL;
  if (lm_overlay_peek (folder, &exists, repository, snapshot, err) == -1)
    return -1;
  if (!exists)
    return 0;
  if (memcmp (repository, lm_repository_id (x->repo),
              sizeof repository) != 0)
    return lm_error_set (err, LM_ERR_USAGE, "overlay %s: belongs to another "
                         "repository", folder);
  *ret_entry = lm_exports_entry_of_id (x, snapshot);
  if (*ret_entry == NULL)
    return lm_error_set (err, LM_ERR_NOT_FOUND, "overlay %s: its snapshot is "
                         "not in the repository any more", folder);
  return 0;
}

static int
name_snapshot (struct lm_exports *x, struct lm_error *err)
{
  char when[LM_TIMESTAMP_LEN + 1];
  const struct lm_snapshot *s = x->fixed;
  const char *disk = x->fixed_disk;

  lm_timestamp_format (s->time, when);
  if (asprintf (&x->fixed_name, "%s/%s", s->vm, when) == -1) {
    x->fixed_name = NULL;
    return nomem (err);
  }
  if (disk == NULL && s->nr_disks == 1)
    disk = s->disks[0].name;
  if (disk) {
    x->default_name = lm_export_full_name (s->vm, s->time, disk, err);
    if (x->default_name == NULL)
      return -1;
  }
  return 0;
}

/* Which snapshot is served, if it is to be one. */
static int
fix_snapshot (struct lm_exports *x, const struct lm_proxy_config *config,
              struct lm_error *err)
{
  const struct lm_snapshot_entry *entry = NULL, *named = NULL;

  if (config->overlay &&
      entry_of_overlay (x, config->overlay, &entry, err) == -1)
    return -1;
  if (config->snapshot) {
    named = lm_repository_resolve (x->repo, config->snapshot,
                                   &x->fixed_disk, err);
    if (named == NULL)
      return -1;
    if (entry && entry != named) {
      char when[LM_TIMESTAMP_LEN + 1];

      lm_timestamp_format (entry->time, when);
      return lm_error_set (err, LM_ERR_USAGE, "overlay %s: belongs to "
                           "snapshot %s/%s, not to %s", config->overlay,
                           entry->vm, when, config->snapshot);
    }
    entry = named;
  }
  if (entry == NULL && config->overlay) {
    lm_error_set (err, LM_ERR_USAGE, "overlay %s: is new, and no snapshot "
                  "was named that it could be for", config->overlay);
    return lm_error_hint (err, "say snapshot=VM/TIME");
  }
  if (entry == NULL)
    return 0;
  x->fixed = lm_snapshot_open (x->repo, entry, err);
  if (x->fixed == NULL)
    return -1;
  if (x->fixed_disk &&
      lm_snapshot_find_disk (x->fixed, x->fixed_disk, err) == NULL)
    return -1;
  return name_snapshot (x, err);
}

/* All of its disks: one that can't be opened must not be found out when
 * the machine already runs. */
static int
open_overlay (struct lm_exports *x, const char *folder,
              struct lm_error *err)
{
  CLEANUP_FREE struct lm_overlay_disk_spec *disks = NULL;
  struct lm_overlay_spec spec = {
    .keys = lm_repository_keys (x->repo),
    .repository = lm_repository_id (x->repo),
    .snapshot = x->fixed->id,
    .nr_disks = x->fixed->nr_disks,
  };
  size_t i;

  disks = calloc (spec.nr_disks + 1, sizeof *disks);
  if (disks == NULL)
    return nomem (err);
  for (i = 0; i < spec.nr_disks; i++)
    disks[i] = (struct lm_overlay_disk_spec) { x->fixed->disks[i].name,
                                               x->fixed->disks[i].size };
  spec.disks = disks;
  x->overlay = lm_overlay_open (folder, &spec, err);
  if (x->overlay == NULL)
    return -1;
  for (i = 0; i < spec.nr_disks; i++)
    if (lm_exports_open_disk (x, x->fixed, &x->fixed->disks[i],
                              err) == NULL)
      return -1;
  return 0;
}

static int
set_up (struct lm_exports *x, const struct lm_proxy_config *config,
        struct lm_error *err)
{
  x->repo = lm_proxy_unlock (config, err);
  if (x->repo == NULL)
    return -1;
  x->cache = lm_cache_new (config->cache_size,
                           lm_repository_chunk_size (x->repo), err);
  x->readahead = lm_readahead_new (config->readahead, err);
  if (x->cache == NULL || x->readahead == NULL)
    return -1;
  if (fix_snapshot (x, config, err) == -1)
    return -1;
  return config->overlay ? open_overlay (x, config->overlay, err) : 0;
}

struct lm_exports *
lm_exports_new (const struct lm_proxy_config *config, struct lm_error *err)
{
  struct lm_exports *x = calloc (1, sizeof *x);
  pthread_rwlockattr_t attr;

  if (x == NULL) {
    nomem (err);
    return NULL;
  }
  pthread_mutex_init (&x->lock, NULL);
  /* The default would let steady readers keep a load out for ever. */
  pthread_rwlockattr_init (&attr);
  pthread_rwlockattr_setkind_np
    (&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
  pthread_rwlock_init (&x->repo_lock, &attr);
  pthread_rwlockattr_destroy (&attr);
  if (set_up (x, config, err) == -1) {
    lm_exports_free (x);
    return NULL;
  }
  return x;
}

int
lm_exports_start (struct lm_exports *x, struct lm_error *err)
{
  lm_keys_relock (lm_repository_keys (x->repo));
  return lm_readahead_start (x->readahead, err);
}

void
lm_exports_free (struct lm_exports *x)
{
  if (x == NULL)
    return;
  lm_readahead_free (x->readahead);
  lm_exports_close_all (x);
  lm_overlay_close (x->overlay);
  lm_cache_free (x->cache);
  lm_snapshot_free (x->fixed);
  lm_repository_close (x->repo);
  while (x->nr_aliases > 0) {
    x->nr_aliases--;
    free (x->aliases[x->nr_aliases].name);
    free (x->aliases[x->nr_aliases].disk);
  }
  free (x->aliases);
  free (x->fixed_name);
  free (x->fixed_disk);
  free (x->default_name);
  pthread_mutex_destroy (&x->lock);
  pthread_rwlock_destroy (&x->repo_lock);
  free (x);
}

struct lm_readahead *
lm_exports_readahead (struct lm_exports *x)
{
  return x->readahead;
}
