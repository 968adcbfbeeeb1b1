/* SPDX-License-Identifier: Apache-2.0
 *
 * Open, load, close; see repository.h.  Making one is in
 * repository-init.c.
 *
 * What the client remembers is read before the journal is: another
 * process may commit, and remember it, while we replay.
 */
#include <config.h>

#include "formats/native/repository.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "formats/native/chunk-index.h"
#include "formats/native/client-state.h"
#include "formats/native/journal.h"
#include "formats/native/key-slot.h"
#include "formats/native/object-io.h"
#include "formats/native/repository-internal.h"
#include "formats/native/seal.h"
#include "common/banned.h"

/* A path that stays right when the process changes its folder. */
static char *
absolute (const char *path)
{
  CLEANUP_FREE char *cwd = NULL;
  char *r;

  if (path[0] == '/')
    return strdup (path);
  cwd = getcwd (NULL, 0);
  if (cwd == NULL || asprintf (&r, "%s/%s", cwd, path) == -1)
    return NULL;
  return r;
}

/* GIVEN, or $VARIABLE/livemount, or for root SYSTEM, or
 * $HOME/BELOW_HOME/livemount.  A relative $VARIABLE is ignored, as the
 * XDG specification wants it. */
static char *
private_dir (const char *given, const char *variable, const char *system,
             const char *below_home, struct lm_error *err)
{
  const char *xdg = getenv (variable), *home = getenv ("HOME");
  char *r = NULL;
  int n = 0;

  if (given)
    r = absolute (given);
  else if (xdg && xdg[0] == '/')
    n = asprintf (&r, "%s/livemount", xdg);
  else if (geteuid () == 0)
    r = strdup (system);
  else if (home && home[0] == '/')
    n = asprintf (&r, "%s/%s/livemount", home, below_home);
  else {
    lm_error_set (err, LM_ERR_USAGE, "no place for private files: neither "
                  "%s nor HOME is set", variable);
    return NULL;
  }
  if (n == -1 || r == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  return r;
}

static int
unlock (struct lm_repository *repo, struct lm_store *store,
        const struct lm_credentials *c, struct lm_error *err)
{
  static const struct lm_credentials none = LM_CREDENTIALS_INIT;
  uint8_t master[LM_MASTER_KEY_LEN];

  if (!repo->config.encrypted) {
    /* Nothing authenticates `config` before there is a key: a store that
     * says "not encrypted" to somebody who brings one is lying, or is not
     * the one that was meant. */
    if (c && lm_credentials_any (c)) {
      lm_error_set (err, LM_ERR_KEY, "%s: a key was given, but the "
                    "repository says that it is not encrypted",
                    store->location);
      return lm_error_hint (err, "If that is right, give no key (also not "
                            "with LIVEMOUNT_KEY_FILE and the like)");
    }
    repo->keys = lm_keys_new (repo->config.repository, NULL, err);
    return repo->keys ? 0 : -1;
  }
  if (lm_key_slots_unlock (store, repo->config.repository, c ? c : &none,
                           master, repo->slot_id, err) == -1)
    return lm_error_prefix (err, "%s", store->location);
  repo->keys = lm_keys_new (repo->config.repository, master, err);
  explicit_bzero (master, sizeof master);
  return repo->keys ? 0 : -1;
}

struct lm_repository *
lm_repository_open (struct lm_store *store, const struct lm_credentials *c,
                    const struct lm_open_options *options,
                    struct lm_error *err)
{
  struct lm_repository *repo = calloc (1, sizeof *repo);

  if (repo == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  repo->read_only = options->read_only;
  repo->accept_rollback = options->accept_rollback;
  if (lm_journal_state_init (&repo->state, err) == -1 ||
      lm_repo_config_read (store, &repo->config, repo->config_sha256,
                           err) == -1 ||
      lm_features_check (&repo->config.features, repo->read_only,
                         store->location, err) == -1)
    goto fail;
  repo->cache_dir = private_dir (options->cache_dir, "XDG_CACHE_HOME",
                                 "/var/cache/livemount", ".cache", err);
  repo->state_dir = private_dir (options->state_dir, "XDG_STATE_HOME",
                                 "/var/lib/livemount", ".local/state", err);
  if (repo->cache_dir == NULL || repo->state_dir == NULL ||
      unlock (repo, store, c, err) == -1)
    goto fail;
  repo->store = store;
  return repo;

fail:
  lm_repository_close (repo);
  return NULL;
}

void
lm_repository_close (struct lm_repository *repo)
{
  if (repo == NULL)
    return;
  lm_chunk_index_free (repo->index);
  lm_journal_state_release (&repo->state);
  if (repo->keys)
    lm_sealer_forget (repo->keys);
  lm_keys_free (repo->keys);
  lm_store_close (repo->store);
  free (repo->cache_dir);
  free (repo->state_dir);
  free (repo);
}

/* The hash of the stored record of that number. */
static int
hash_record (struct lm_store *store, uint64_t sequence,
             uint8_t ret_sha256[LM_SHA256_LEN], struct lm_error *err)
{
  CLEANUP_FREE uint8_t *object = NULL;
  char name[LM_OBJECT_NAME_LEN];
  size_t len;

  lm_object_name_sequence ("journal", sequence, name);
  if (lm_store_get (store, name, lm_object_stored_limit (LM_TYPE_JOURNAL),
                    &object, &len, err) == -1)
    return -1;
  lm_sha256 (object, len, ret_sha256);
  return 0;
}

static int
rolled_back (const struct lm_repository *repo, struct lm_error *err)
{
  lm_error_prefix (err, "%s", repo->store->location);
  return lm_error_hint (err, "If it was restored or replaced on purpose, "
                        "accept that once with --accept-rollback");
}

/* Does the journal go on from what was seen before? */
static int
check_memory (const struct lm_repository *repo,
              const struct lm_client_state *seen, struct lm_error *err)
{
  uint8_t sha256[LM_SHA256_LEN];

  if (!seen->known)
    return 0;
  if (seen->sequence > repo->state.sequence) {
    lm_corrupt (err, "the repository was rolled back: its journal ends with "
                "record %" PRIu64 ", but record %" PRIu64 " was seen here "
                "before", repo->state.sequence, seen->sequence);
    return rolled_back (repo, err);
  }
  if (seen->sequence == repo->state.sequence)
    memcpy (sha256, repo->state.record, sizeof sha256);
  else if (hash_record (repo->store, seen->sequence, sha256, err) == -1) {
    if (err->kind != LM_ERR_NOT_FOUND)
      return -1;
    lm_corrupt (err, "journal record %" PRIu64 ", which was seen here "
                "before, is gone", seen->sequence);
    return rolled_back (repo, err);
  }
  if (memcmp (sha256, seen->record, sizeof sha256) != 0) {
    lm_corrupt (err, "the repository was replaced: journal record %" PRIu64
                " is another one than was seen here before",
                seen->sequence);
    return rolled_back (repo, err);
  }
  return 0;
}

/* Failing to remember must not keep a backup from being read. */
static void
remember (const struct lm_repository *repo)
{
  struct lm_error minor = LM_ERROR_INIT;
  int r;

  if (repo->accept_rollback)
    r = lm_client_state_reset (repo->state_dir, repo->config.repository,
                               repo->state.sequence, repo->state.record,
                               &minor);
  else
    r = lm_client_state_advance (repo->state_dir, repo->config.repository,
                                 repo->state.sequence, repo->state.record,
                                 &minor);
  if (r == -1)
    lm_debug (LM_DEBUG_REPOSITORY, "record %" PRIu64 " not remembered: %s",
              repo->state.sequence, minor.message);
}

static int
check_journal (const struct lm_repository *repo, struct lm_error *err)
{
  const struct lm_journal_state *state = &repo->state;

  if (memcmp (state->config, repo->config_sha256, LM_SHA256_LEN) != 0)
    return lm_corrupt (err, "%s: " LM_CONFIG_NAME " is not the one that the "
                       "journal began with", repo->store->location);
  return lm_features_check (&state->features, repo->read_only,
                            repo->store->location, err);
}

static int
replay (struct lm_repository *repo, const struct lm_client_state *seen,
        struct lm_error *err)
{
  if (lm_journal_replay (repo->store, repo->keys, &repo->state, err) == 0)
    return 0;
  if (!repo->state.started && err->kind == LM_ERR_CORRUPT && !seen->known)
    lm_error_hint (err, "If init was interrupted, run it again with the same "
                   "options");
  return -1;
}

static int
try_sync_index (struct lm_repository *repo,
                const uint8_t (*ids)[LM_NAME_ID_LEN], size_t n,
                struct lm_error *err)
{
  if (repo->index == NULL)
    repo->index = lm_chunk_index_new (repo->store, repo->keys,
                                      repo->cache_dir, err);
  if (repo->index == NULL)
    return -1;
  return lm_chunk_index_sync (repo->index, ids, n, err);
}

/* The ids of the live segments, to be freed. */
static uint8_t (*
segment_ids (const struct lm_journal_state *state, struct lm_error *err))
  [LM_NAME_ID_LEN]
{
  uint8_t (*ids)[LM_NAME_ID_LEN] = calloc (state->nr_segments + 1,
                                           sizeof *ids);
  size_t i;

  if (ids == NULL)
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  for (i = 0; ids && i < state->nr_segments; i++)
    memcpy (ids[i], state->segments[i].id, LM_NAME_ID_LEN);
  return ids;
}

/* Make the mapped index that of the live segments.  The cache may be
 * deleted at any time, under our hands too: then make it again. */
static int
sync_index (struct lm_repository *repo, struct lm_error *err)
{
  const struct lm_journal_state *state = &repo->state;
  CLEANUP_FREE void *ids = segment_ids (state, err);
  int r, tries = 0;

  if (ids == NULL)
    return -1;
  for (;;) {
    r = try_sync_index (repo, ids, state->nr_segments, err);
    if (r == 0 || err->sys_errno != ENOENT || ++tries == 10)
      return r;
    lm_chunk_index_free (repo->index);
    repo->index = NULL;
    lm_error_clear (err);
  }
}

int
lm_repository_refresh_index (struct lm_repository *repo, uint64_t generation,
                             struct lm_error *err)
{
  CLEANUP (lm_journal_state_release) struct lm_journal_state state = { 0 };
  CLEANUP_FREE void *ids = NULL;
  char next[LM_OBJECT_NAME_LEN];
  uint64_t size;
  int r;

  if (generation != lm_chunk_index_generation (repo->index))
    return 0;
  /* What is really lost is asked for again and again. */
  lm_object_name_sequence ("journal", 1 +
                           __atomic_load_n (&repo->index_sequence,
                                            __ATOMIC_ACQUIRE), next);
  if (lm_store_stat (repo->store, next, &size, err) == -1 ||
      lm_journal_state_init (&state, err) == -1 ||
      lm_journal_replay (repo->store, repo->keys, &state, err) == -1)
    return -1;
  ids = segment_ids (&state, err);
  if (ids == NULL)
    return -1;
  r = lm_chunk_index_refresh (repo->index, generation, ids,
                              state.nr_segments, err);
  if (r == 1)
    __atomic_store_n (&repo->index_sequence, state.sequence,
                      __ATOMIC_RELEASE);
  return r == -1 ? -1 : 0;
}

int
lm_repository_load (struct lm_repository *repo, struct lm_error *err)
{
  struct lm_client_state seen = { .known = false };
  const bool first = !repo->loaded;

  /* Later loads follow the chain of hashes from what is in memory. */
  if (first && !repo->accept_rollback &&
      lm_client_state_read (repo->state_dir, repo->config.repository, &seen,
                            err) == -1)
    return -1;
  if (replay (repo, &seen, err) == -1 || check_journal (repo, err) == -1 ||
      check_memory (repo, &seen, err) == -1)
    return -1;
  remember (repo);
  if (sync_index (repo, err) == -1)
    return -1;
  repo->index_sequence = repo->state.sequence;
  repo->loaded = true;
  repo->accept_rollback = false;
  return 0;
}

bool
lm_repository_has_feature (const struct lm_repository *repo,
                           enum lm_feature_class class, const char *name)
{
  return lm_features_has (&repo->config.features, class, name) ||
    lm_features_has (&repo->state.features, class, name);
}

int
lm_repository_load_strict (struct lm_repository *repo, struct lm_error *err)
{
  CLEANUP_FREE void *ids = NULL;

  if (lm_repository_load (repo, err) == -1)
    return -1;
  ids = segment_ids (&repo->state, err);
  return ids ? lm_chunk_index_sync_strict (repo->index, ids,
                                           repo->state.nr_segments, err)
    : -1;
}

int
lm_repository_check_writable (const struct lm_repository *repo,
                              struct lm_error *err)
{
  if (repo->read_only)
    return lm_error_set (err, LM_ERR_USAGE, "%s: the repository is open for "
                         "reading only", repo->store->location);
  return 0;
}

const struct lm_keys *
lm_repository_keys (const struct lm_repository *repo)
{
  return repo->keys;
}

struct lm_store *
lm_repository_store (const struct lm_repository *repo)
{
  return repo->store;
}

uint32_t
lm_repository_chunk_size (const struct lm_repository *repo)
{
  return repo->config.chunk_size;
}

bool
lm_repository_encrypted (const struct lm_repository *repo)
{
  return repo->config.encrypted;
}

const uint8_t *
lm_repository_slot_id (const struct lm_repository *repo)
{
  return repo->slot_id;
}

const uint8_t *
lm_repository_id (const struct lm_repository *repo)
{
  return repo->config.repository;
}

const struct lm_snapshot_entry *
lm_repository_snapshots (const struct lm_repository *repo, size_t *ret_n)
{
  *ret_n = repo->state.nr_snapshots;
  return repo->state.snapshots;
}
