/* SPDX-License-Identifier: Apache-2.0
 *
 * make-huge-repository FOLDER CHUNKS: an encrypted repository with one
 * snapshot of one disk of CHUNKS chunks of 64 KiB, each of them stored,
 * for the benchmark.
 *
 * A real one of 1 TiB would take hours and hundreds of gigabytes.  This one
 * has the same index, the same map and the same number of packs, with the
 * same number of chunks in each; only, what every chunk holds is the same
 * small text, under an id that is made up.  Readers do not notice: what
 * they check is that a chunk was sealed under the id they asked for.  (A
 * check that reads all data would notice, for it computes ids.)
 *
 * Nothing here is a short cut in the format: packs, segments, map and
 * journal are written by the functions that a backup uses.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "common/random.h"
#include "formats/native/disk-map.h"
#include "formats/native/journal-change.h"
#include "formats/native/journal.h"
#include "formats/native/lease.h"
#include "formats/native/pack-write.h"
#include "formats/native/repository.h"
#include "formats/native/seal.h"
#include "formats/native/segment.h"
#include "formats/native/snapshot-wire.h"
#include "formats/store/store-open.h"
#include "common/banned.h"

/* Raise it when what is made changes: old ones are then made anew. */
#define HUGE_VERSION "1"

#define CHUNK LM_CHUNK_SIZE_DEFAULT
/* A pack of 32 MiB holds about this many chunks of a server's disk. */
#define LEAVES_PER_PACK 10
#define THREADS 2

struct maker {
  struct lm_repository *repo;
  const struct lm_keys *keys;
  uint64_t nr_chunks, nr_leaves;
  uint8_t payload[CHUNK];
  uint8_t (*leaf_ids)[LM_ID_LEN];       /* each written by one thread */

  pthread_mutex_t lock;         /* everything below */
  uint64_t next_leaf;
  bool failed;
  struct lm_error error;
  struct lm_segment segment;    /* being filled */
  json_t *changes;
};

/* Ids as a keyed hash would give them: uniform, and the same each time. */
static void
made_up_id (uint64_t nr, uint8_t ret_id[LM_ID_LEN])
{
  uint64_t state = nr * 4, word;
  int i;

  for (i = 0; i < 4; i++) {
    word = (++state) * UINT64_C (0x9e3779b97f4a7c15);
    word = (word ^ (word >> 30)) * UINT64_C (0xbf58476d1ce4e5b9);
    word = (word ^ (word >> 27)) * UINT64_C (0x94d049bb133111eb);
    word ^= word >> 31;
    memcpy (ret_id + 8 * i, &word, 8);
  }
}

static int
put_segment_locked (struct maker *m, struct lm_error *err)
{
  struct lm_journal_segment live;

  if (m->segment.nr_packs == 0)
    return 0;
  if (lm_segment_put (lm_repository_store (m->repo), m->keys, &m->segment,
                      live.id, &live.size, err) == -1)
    return -1;
  live.entries = m->segment.nr_entries;
  lm_segment_release (&m->segment);
  m->segment = (struct lm_segment) LM_SEGMENT_INIT;
  return lm_change_segment_add (m->changes, &live, err);
}

static int
pack_done (void *opaque, const struct lm_pack_done *done,
           struct lm_error *err)
{
  struct maker *m = opaque;
  LM_LOCK_FOR_SCOPE (&m->lock);

  if (m->segment.nr_entries + done->nr_entries > LM_ENTRIES_MAX &&
      put_segment_locked (m, err) == -1)
    return -1;
  return lm_segment_add_pack (&m->segment, done->id, done->size,
                              done->entries, done->nr_entries, done->bases,
                              err);
}

static int
add_chunk (struct maker *m, struct lm_pack_writer *w, struct lm_sealer *s,
           uint64_t nr, uint8_t ret_id[LM_ID_LEN], struct lm_error *err)
{
  struct lm_chunk_ref ref = { .type = LM_TYPE_CHUNK, .plain_len = CHUNK };
  CLEANUP_FREE uint8_t *stored = malloc (lm_seal_chunk_bound (CHUNK));

  if (stored == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  made_up_id (nr, ref.id);
  memcpy (ret_id, ref.id, LM_ID_LEN);
  if (lm_seal_chunk (s, &ref, m->payload, true, stored, err) == -1)
    return -1;
  return lm_pack_writer_add (w, &ref, stored, err);
}

static int
add_node (struct lm_pack_writer *w, struct lm_sealer *s,
          const struct lm_map_node *node, int level,
          uint8_t ret_id[LM_ID_LEN], struct lm_error *err)
{
  struct lm_chunk_ref ref = { .type = LM_TYPE_NODE };
  uint8_t plain[LM_NODE_SIZE_MAX];
  CLEANUP_FREE uint8_t *stored = malloc (lm_seal_chunk_bound (sizeof plain));

  if (stored == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  ref.plain_len = lm_map_node_encode (node, level, plain);
  if (lm_seal_id (s, LM_TYPE_NODE, plain, ref.plain_len, ref.id, err) == -1)
    return -1;
  memcpy (ret_id, ref.id, LM_ID_LEN);
  if (lm_seal_chunk (s, &ref, plain, false, stored, err) == -1)
    return -1;
  return lm_pack_writer_add (w, &ref, stored, err);
}

static int
add_leaf (struct maker *m, struct lm_pack_writer *w, struct lm_sealer *s,
          uint64_t leaf, struct lm_error *err)
{
  struct lm_map_node node;
  uint64_t nr = leaf * LM_NODE_FANOUT;
  int i;

  memset (&node, 0, sizeof node);
  for (i = 0; i < LM_NODE_FANOUT && nr + i < m->nr_chunks; i++)
    if (add_chunk (m, w, s, nr + i, node.ids[i], err) == -1)
      return -1;
  return add_node (w, s, &node, 1, m->leaf_ids[leaf], err);
}

/* One pack: leaves FIRST to END - 1 and their chunks. */
static int
make_pack (struct maker *m, uint64_t first, uint64_t end,
           struct lm_error *err)
{
  struct lm_sealer *s = lm_sealer_for_thread (m->keys, err);
  struct lm_pack_writer *w;
  int r = 0;

  if (s == NULL)
    return -1;
  w = lm_pack_writer_new (lm_repository_store (m->repo), m->keys, pack_done,
                          m, err);
  if (w == NULL)
    return -1;
  for (; first < end && r == 0; first++)
    r = add_leaf (m, w, s, first, err);
  if (r == 0)
    r = lm_pack_writer_finish (w, err);
  lm_pack_writer_free (w);
  return r;
}

static void *
make_packs (void *opaque)
{
  struct maker *m = opaque;

  for (;;) {
    struct lm_error err = LM_ERROR_INIT;
    uint64_t first, end;

    pthread_mutex_lock (&m->lock);
    first = m->next_leaf;
    end = first + LEAVES_PER_PACK < m->nr_leaves ? first + LEAVES_PER_PACK
      : m->nr_leaves;
    m->next_leaf = end;
    if (m->failed)
      first = end;
    pthread_mutex_unlock (&m->lock);
    if (first == end)
      return NULL;
    if (make_pack (m, first, end, &err) == -1) {
      LM_LOCK_FOR_SCOPE (&m->lock);

      m->error = err;
      m->failed = true;
    }
  }
}

static int
make_chunks (struct maker *m, struct lm_error *err)
{
  pthread_t threads[THREADS];
  int i, n = 0;

  while (n < THREADS &&
         pthread_create (&threads[n], NULL, make_packs, m) == 0)
    n++;
  for (i = 0; i < n; i++)
    pthread_join (threads[i], NULL);
  if (m->failed) {
    *err = m->error;
    return -1;
  }
  return n ? 0 : lm_error_set (err, LM_ERR_IO, "cannot start a thread");
}

/* The levels above the leaves, in place in leaf_ids. */
static int
make_upper_levels (struct maker *m, uint8_t ret_root[LM_ID_LEN],
                   struct lm_error *err)
{
  struct lm_sealer *s = lm_sealer_for_thread (m->keys, err);
  struct lm_pack_writer *w;
  uint64_t n = m->nr_leaves, i;
  int level, r = 0;

  if (s == NULL)
    return -1;
  w = lm_pack_writer_new (lm_repository_store (m->repo), m->keys, pack_done,
                          m, err);
  if (w == NULL)
    return -1;
  for (level = 2; level <= lm_map_height (m->nr_chunks) && r == 0; level++) {
    uint64_t nodes = (n + LM_NODE_FANOUT - 1) / LM_NODE_FANOUT;

    for (i = 0; i < nodes && r == 0; i++) {
      uint64_t first = i * LM_NODE_FANOUT;
      uint64_t count = n - first < LM_NODE_FANOUT ? n - first
        : LM_NODE_FANOUT;
      struct lm_map_node node;

      memset (&node, 0, sizeof node);
      memcpy (node.ids, m->leaf_ids[first], count * LM_ID_LEN);
      r = add_node (w, s, &node, level, m->leaf_ids[i], err);
    }
    n = nodes;
  }
  memcpy (ret_root, m->leaf_ids[0], LM_ID_LEN);
  if (r == 0)
    r = lm_pack_writer_finish (w, err);
  lm_pack_writer_free (w);
  return r;
}

static int
publish (struct maker *m, struct lm_lease *lease,
         const uint8_t root[LM_ID_LEN], struct lm_error *err)
{
  static char vm[] = "huge", name[] = "disk0", empty[] = "";
  static char program[] = "make-huge-repository",
    consistency[] = "consistent";
  struct lm_snapshot_disk disk = {
    .name = name, .size = m->nr_chunks * CHUNK, .sector_size = 512,
    .has_root = true, .source = empty,
  };
  struct lm_snapshot snapshot = {
    .vm = vm, .time = lm_clock_now (), .created_by = program, .host = empty,
    .consistency = consistency, .nr_disks = 1, .disks = &disk,
  };
  struct lm_snapshot_entry entry = { .vm = vm, .time = snapshot.time };

  memcpy (disk.root, root, LM_ID_LEN);
  lm_random_bytes (snapshot.id, sizeof snapshot.id);
  memcpy (entry.id, snapshot.id, sizeof entry.id);
  if (put_segment_locked (m, err) == -1 ||
      lm_snapshot_put (m->repo, &snapshot, entry.manifest_sha256,
                       err) == -1 ||
      lm_change_snapshot_add (m->changes, &entry, err) == -1)
    return -1;
  return lm_journal_commit (m->repo, lease, program, m->changes, err);
}

static int
fill (struct lm_repository *repo, uint64_t nr_chunks, struct lm_error *err)
{
  struct maker *m = calloc (1, sizeof *m);
  struct lm_lease *lease;
  uint8_t root[LM_ID_LEN];
  int i, r = -1;

  if (m == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  m->repo = repo;
  m->keys = lm_repository_keys (repo);
  m->nr_chunks = nr_chunks;
  m->nr_leaves = (nr_chunks + LM_NODE_FANOUT - 1) / LM_NODE_FANOUT;
  m->leaf_ids = calloc (m->nr_leaves, LM_ID_LEN);
  m->changes = json_array ();
  pthread_mutex_init (&m->lock, NULL);
  for (i = 0; i < (int) CHUNK; i++)
    m->payload[i] = "every chunk holds the same\n"[i % 27];
  lease = lm_lease_acquire (repo, "backup", 0, err);
  if (lease && m->leaf_ids && m->changes && make_chunks (m, err) == 0 &&
      make_upper_levels (m, root, err) == 0)
    r = publish (m, lease, root, err);
  else if (lease && err->kind == LM_ERR_NONE)
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  lm_lease_release (lease);
  lm_segment_release (&m->segment);
  json_decref (m->changes);
  pthread_mutex_destroy (&m->lock);
  free (m->leaf_ids);
  free (m);
  return r;
}

static char *
path_in (const char *folder, const char *name)
{
  char *path;

  if (asprintf (&path, "%s/%s", folder, name) == -1)
    abort ();
  return path;
}

static int
make (const char *folder, uint64_t nr_chunks, struct lm_error *err)
{
  CLEANUP_FREE char *location = path_in (folder, "repository");
  CLEANUP_FREE char *key = path_in (folder, "key");
  CLEANUP_FREE char *cache = path_in (folder, "cache");
  CLEANUP_FREE char *state = path_in (folder, "state");
  CLEANUP (lm_credentials_release)
    struct lm_credentials c = LM_CREDENTIALS_INIT;
  struct lm_init_options init = { .encrypted = true, .credentials = &c };
  struct lm_open_options open_ = { .cache_dir = cache, .state_dir = state };
  struct lm_store *store = NULL;
  struct lm_repository *repo;
  int r = -1;

  if (mkdir (folder, 0700) == -1)
    return lm_error_errno (err, errno, "%s", folder);
  if (lm_key_file_create (key, err) == -1 ||
      lm_credentials_key_file (&c, key, err) == -1 ||
      lm_store_open (location, true, &store, err) == -1)
    return -1;
  if (lm_repository_init (store, &init, err) == -1 ||
      (repo = lm_repository_open (store, &c, &open_, err)) == NULL) {
    lm_store_close (store);
    return -1;
  }
  if (lm_repository_load (repo, err) == 0)
    r = fill (repo, nr_chunks, err);
  lm_repository_close (repo);
  return r;
}

int
main (int argc, char *argv[])
{
  struct lm_error err = LM_ERROR_INIT;
  unsigned long long n;
  char *end;

  if (argc == 2 && strcmp (argv[1], "--version") == 0) {
    puts (HUGE_VERSION);
    return 0;
  }
  if (argc != 3) {
    fprintf (stderr, "usage: make-huge-repository FOLDER CHUNKS\n");
    return 2;
  }
  errno = 0;
  n = strtoull (argv[2], &end, 10);
  if (errno || *end || n == 0 || n > UINT64_C (1) << 30) {
    fprintf (stderr, "make-huge-repository: %s: a number from 1 to 2^30 is "
             "expected\n", argv[2]);
    return 2;
  }
  if (make (argv[1], n, &err) == -1) {
    fprintf (stderr, "make-huge-repository: %s\n", err.message);
    return 1;
  }
  return 0;
}
