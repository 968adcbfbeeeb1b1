/* SPDX-License-Identifier: Apache-2.0
 * The index of chunks; see chunk-index.h.
 */
#include <config.h>

#include "formats/native/chunk-index.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "common/cleanup.h"
#include "common/hex.h"
#include "common/io.h"
#include "common/log.h"
#include "formats/native/index-run.h"
#include "formats/native/index-salvage.h"
#include "formats/native/segment.h"
#include "common/banned.h"

#define RUNS_MAX 256

/* So many segments are decoded at once while a run is built: 64 MiB each
 * at most. */
#define BATCH 4

/* Runs are merged while the next larger one has less than this many times
 * the entries of all smaller ones. */
#define GROWTH 3

struct mapped {
  struct lm_index_run *run;
  uint8_t *whole;               /* per pack, or NULL: see _set_whole */
};

struct lm_chunk_index {
  struct lm_store *store;
  const struct lm_keys *keys;
  int dirfd;
  pthread_mutex_t refresh_lock; /* one refresh at a time; before lock */
  pthread_rwlock_t lock;        /* the runs, for those who only look */
  uint64_t generation;          /* counts refreshes; atomic */
  size_t nr_runs;
  struct mapped runs[RUNS_MAX]; /* from large to small */
  /* What could not be read, and what was found without it. */
  uint8_t (*bad)[LM_NAME_ID_LEN];
  size_t nr_bad;
  struct lm_id_set salvaged;
};

static void
forget_run (struct mapped *m)
{
  lm_index_run_close (m->run);
  free (m->whole);
  memset (m, 0, sizeof *m);
}

static void
forget_runs (struct lm_chunk_index *index)
{
  size_t i;

  for (i = 0; i < index->nr_runs; i++)
    forget_run (&index->runs[i]);
  index->nr_runs = 0;
  index->nr_bad = 0;
  lm_id_set_release (&index->salvaged);
  index->salvaged.id_len = LM_NAME_ID_LEN;
}

static struct lm_chunk_index *
index_new (struct lm_store *store, const struct lm_keys *keys,
           struct lm_error *err)
{
  struct lm_chunk_index *index = calloc (1, sizeof *index);

  if (index == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  index->store = store;
  index->keys = keys;
  index->dirfd = -1;
  index->salvaged.id_len = LM_NAME_ID_LEN;
  pthread_mutex_init (&index->refresh_lock, NULL);
  pthread_rwlock_init (&index->lock, NULL);
  return index;
}

struct lm_chunk_index *
lm_chunk_index_new (struct lm_store *store, const struct lm_keys *keys,
                    const char *cache_dir, struct lm_error *err)
{
  struct lm_chunk_index *index = index_new (store, keys, err);
  CLEANUP_FREE char *path = NULL;
  char hex[2 * LM_NAME_ID_LEN + 1];

  if (index == NULL)
    return NULL;
  lm_hex_encode (keys->repository, LM_NAME_ID_LEN, hex);
  if (asprintf (&path, "%s/%s", cache_dir, hex) == -1) {
    path = NULL;
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    goto fail;
  }
  if (lm_mkdir_p (path, 0700, err) == -1)
    goto fail;
  index->dirfd = lm_io->openat (AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
  if (index->dirfd == -1) {
    lm_error_errno (err, errno, "%s", path);
    goto fail;
  }
  return index;

fail:
  lm_error_prefix (err, "index cache");
  lm_error_hint (err, "name a folder that can be written with "
                 "XDG_CACHE_HOME (or the plugin's cache-dir)");
  lm_chunk_index_free (index);
  return NULL;
}

void
lm_chunk_index_free (struct lm_chunk_index *index)
{
  if (index == NULL)
    return;
  forget_runs (index);
  if (index->dirfd != -1)
    close (index->dirfd);
  free (index->bad);
  pthread_rwlock_destroy (&index->lock);
  pthread_mutex_destroy (&index->refresh_lock);
  free (index);
}

static int
compare_runs (const void *va, const void *vb)
{
  const struct mapped *a = va, *b = vb;
  uint64_t na = lm_index_run_entries (a->run);
  uint64_t nb = lm_index_run_entries (b->run);

  return na > nb ? -1 : na < nb;
}

/* Does RUN stand mostly (STRICT: only) for live segments?  Adds those to
 * COVERED. */
static int
cover (const struct lm_index_run *run, const struct lm_id_set *live,
       bool strict, struct lm_id_set *covered, bool *ret_keep,
       struct lm_error *err)
{
  uint32_t n, i, alive = 0;
  const uint8_t (*segments)[LM_NAME_ID_LEN] = lm_index_run_segments (run,
                                                                     &n);

  for (i = 0; i < n; i++)
    alive += lm_id_set_has (live, segments[i]);
  *ret_keep = (strict ? alive == n : 2 * alive >= n) && alive > 0;
  if (!*ret_keep)
    return 0;
  for (i = 0; i < n; i++)
    if (lm_id_set_has (live, segments[i]) &&
        lm_id_set_add (covered, segments[i], 0, err) == -1)
      return -1;
  return 0;
}

/* Map all useful runs.  With CLEAN (under the lock) the others and what a
 * killed builder left are removed. */
static int
map_runs (struct lm_chunk_index *index, const struct lm_id_set *live,
          bool strict, struct lm_id_set *covered, bool clean,
          struct lm_error *err)
{
  CLEANUP_CLOSEDIR DIR *dir = NULL;
  struct dirent *d;
  int fd = lm_io->openat (index->dirfd, ".", O_RDONLY | O_DIRECTORY, 0);

  forget_runs (index);
  if (fd == -1 || (dir = fdopendir (fd)) == NULL) {
    lm_error_errno (err, errno, "index cache: list");
    if (fd != -1)
      close (fd);
    return -1;
  }
  while ((d = readdir (dir)) != NULL) {
    struct lm_error ignored = LM_ERROR_INIT;
    struct lm_index_run *run = NULL;
    bool keep = false;

    if (strncmp (d->d_name, "run-", 4) != 0)
      continue;
    if (strlen (d->d_name) == LM_INDEX_RUN_NAME_LEN)
      run = lm_index_run_open (index->dirfd, d->d_name,
                               index->keys->repository, &ignored);
    if (run != NULL &&
        cover (run, live, strict, covered, &keep, err) == -1) {
      lm_index_run_close (run);
      return -1;
    }
    if (keep && index->nr_runs < RUNS_MAX) {
      index->runs[index->nr_runs++].run = run;
      continue;
    }
    lm_index_run_close (run);
    if (clean)
      lm_io->unlinkat (index->dirfd, d->d_name, 0);
  }
  qsort (index->runs, index->nr_runs, sizeof index->runs[0], compare_runs);
  return 0;
}

/* Map the run NAME that was just built. */
static int
add_run (struct lm_chunk_index *index, const char *name,
         struct lm_error *err)
{
  struct lm_index_run *run;

  if (index->nr_runs == RUNS_MAX)
    return lm_error_set (err, LM_ERR_LIMIT, "index cache: too many runs");
  run = lm_index_run_open (index->dirfd, name, index->keys->repository, err);
  if (run == NULL)
    return -1;
  index->runs[index->nr_runs++].run = run;
  qsort (index->runs, index->nr_runs, sizeof index->runs[0], compare_runs);
  return 0;
}

static int
note_bad (struct lm_chunk_index *index, const uint8_t id[LM_NAME_ID_LEN],
          const struct lm_error *why, struct lm_error *err)
{
  uint8_t (*bigger)[LM_NAME_ID_LEN] =
    realloc (index->bad, (index->nr_bad + 1) * sizeof *bigger);

  lm_debug (LM_DEBUG_REPOSITORY, "%s", why->message);
  if (bigger == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  index->bad = bigger;
  memcpy (bigger[index->nr_bad++], id, LM_NAME_ID_LEN);
  return 0;
}

/* Is the segment itself at fault, rather than the store or this client? */
static bool
is_bad (const struct lm_error *why)
{
  return why->kind == LM_ERR_CORRUPT || why->kind == LM_ERR_NOT_FOUND ||
    why->kind == LM_ERR_LIMIT;
}

/* Read N <= BATCH segments and make them one run. */
static int
build_batch (struct lm_chunk_index *index,
             const uint8_t (*segments)[LM_NAME_ID_LEN], size_t n,
             struct lm_error *err)
{
  struct lm_segment segs[BATCH] = { LM_SEGMENT_INIT };
  struct lm_index_run_source sources[BATCH] = { { 0 } };
  char name[LM_INDEX_RUN_NAME_LEN + 1];
  size_t i, good = 0;
  int r = 0;

  for (i = 0; i < n && r == 0; i++) {
    struct lm_error why = LM_ERROR_INIT;

    if (lm_segment_get (index->store, index->keys, segments[i], &segs[good],
                        &why) == -1) {
      if (is_bad (&why))
        r = note_bad (index, segments[i], &why, err);
      else {
        *err = why;
        r = -1;
      }
      continue;
    }
    sources[good].segments = &segments[i];
    sources[good].nr_segments = 1;
    sources[good].segment = &segs[good];
    good++;
  }
  if (r == 0 && good > 0)
    r = lm_index_run_build (index->dirfd, index->keys->repository, sources,
                            good, name, err);
  for (i = 0; i < good; i++)
    lm_segment_release (&segs[i]);
  return r == 0 && good > 0 ? add_run (index, name, err) : r;
}

/* Runs for what the bad segments named.  They have no name in the cache
 * folder: the next client looks for itself. */
static int
salvage (struct lm_chunk_index *index, struct lm_error *err)
{
  CLEANUP (lm_id_set_release) struct lm_id_set known =
    LM_ID_SET_INIT (LM_NAME_ID_LEN);
  CLEANUP (lm_segment_list_release) struct lm_segment_list found =
    LM_SEGMENT_LIST_INIT;
  size_t i;

  if (lm_chunk_index_packs (index, &known, err) == -1 ||
      lm_index_salvage_run (index->store, index->keys, &known,
                            &index->salvaged, &found, err) == -1)
    return -1;
  for (i = 0; i < found.n; i++) {
    struct lm_index_run_source source = { .segment = &found.segments[i] };
    char name[LM_INDEX_RUN_NAME_LEN + 1];
    int r;

    if (lm_index_run_build (index->dirfd, index->keys->repository, &source,
                            1, name, err) == -1)
      return -1;
    r = add_run (index, name, err);
    lm_io->unlinkat (index->dirfd, name, 0);
    if (r == -1)
      return -1;
  }
  return 0;
}

/* Merge the smallest runs while they add up to something. */
static int
compact (struct lm_chunk_index *index, struct lm_error *err)
{
  struct lm_index_run_source sources[RUNS_MAX] = { { 0 } };
  char name[LM_INDEX_RUN_NAME_LEN + 1];
  uint64_t sum = 0;
  size_t n = 0, i;

  /* Runs are sorted from large to small: take from the end. */
  while (n < index->nr_runs) {
    uint64_t entries =
      lm_index_run_entries (index->runs[index->nr_runs - 1 - n].run);

    if (n > 0 && entries >= GROWTH * sum)
      break;
    sum += entries;
    n++;
  }
  if (n < 2)
    return 0;
  for (i = 0; i < n; i++) {
    sources[i].run = index->runs[index->nr_runs - n + i].run;
    sources[i].segments = lm_index_run_segments (sources[i].run,
                                                 &sources[i].nr_segments);
  }
  if (lm_index_run_build (index->dirfd, index->keys->repository, sources, n,
                          name, err) == -1)
    return -1;
  for (i = index->nr_runs - n; i < index->nr_runs; i++) {
    lm_io->unlinkat (index->dirfd, lm_index_run_path (index->runs[i].run),
                     0);
    forget_run (&index->runs[i]);
  }
  index->nr_runs -= n;
  return add_run (index, name, err);
}

/* Collect the segments that no run covers and build them. */
static int
build_missing (struct lm_chunk_index *index,
               const uint8_t (*segments)[LM_NAME_ID_LEN], size_t n,
               const struct lm_id_set *covered, struct lm_error *err)
{
  uint8_t batch[BATCH][LM_NAME_ID_LEN];
  size_t i, nr = 0, built = 0;

  for (i = 0; i < n; i++) {
    if (lm_id_set_has (covered, segments[i]))
      continue;
    memcpy (batch[nr++], segments[i], LM_NAME_ID_LEN);
    if (nr == BATCH) {
      if (build_batch (index, batch, nr, err) == -1)
        return -1;
      built += nr;
      nr = 0;
    }
  }
  if (nr > 0 && build_batch (index, batch, nr, err) == -1)
    return -1;
  lm_debug (LM_DEBUG_REPOSITORY, "index cache: %zu of %zu segments built",
            built + nr, n);
  if (compact (index, err) == -1)
    return -1;
  return index->nr_bad > 0 ? salvage (index, err) : 0;
}

static int
try_sync (struct lm_chunk_index *index,
          const uint8_t (*segments)[LM_NAME_ID_LEN], size_t n, bool strict,
          struct lm_error *err)
{
  CLEANUP (lm_id_set_release) struct lm_id_set live =
    LM_ID_SET_INIT (LM_NAME_ID_LEN);
  CLEANUP (lm_id_set_release) struct lm_id_set covered =
    LM_ID_SET_INIT (LM_NAME_ID_LEN);
  CLEANUP_CLOSE int lock = -1;
  size_t i;

  if (lm_id_set_reserve (&live, n, err) == -1)
    return -1;
  for (i = 0; i < n; i++)
    if (lm_id_set_add (&live, segments[i], 0, err) == -1)
      return -1;
  if (map_runs (index, &live, strict, &covered, false, err) == -1)
    return -1;
  if (covered.n == n)
    return 0;

  /* Something to build: one process at a time, and look again, for the
   * one before may have built it. */
  lock = lm_io->openat (index->dirfd, "lock", O_RDWR | O_CREAT, 0600);
  if (lock == -1 || TEMP_FAILURE_RETRY (flock (lock, LOCK_EX)) == -1)
    return lm_error_errno (err, errno, "index cache: lock");
  lm_id_set_release (&covered);
  covered.id_len = LM_NAME_ID_LEN;
  if (map_runs (index, &live, strict, &covered, true, err) == -1)
    return -1;
  if (covered.n == n)
    return 0;
  return build_missing (index, segments, n, &covered, err);
}

static int
sync_runs (struct lm_chunk_index *index,
           const uint8_t (*segments)[LM_NAME_ID_LEN], size_t n, bool strict,
           struct lm_error *err)
{
  int tries = 0, r;

  /* The cache may be deleted at any time, also between building a run
   * and mapping it. */
  do {
    lm_error_clear (err);
    r = try_sync (index, segments, n, strict, err);
  } while (r == -1 && err->kind == LM_ERR_NOT_FOUND && ++tries < 20);
  return r;
}

int
lm_chunk_index_sync (struct lm_chunk_index *index,
                     const uint8_t (*segments)[LM_NAME_ID_LEN], size_t n,
                     struct lm_error *err)
{
  return sync_runs (index, segments, n, false, err);
}

int
lm_chunk_index_sync_strict (struct lm_chunk_index *index,
                            const uint8_t (*segments)[LM_NAME_ID_LEN],
                            size_t n, struct lm_error *err)
{
  return sync_runs (index, segments, n, true, err);
}

uint64_t
lm_chunk_index_generation (const struct lm_chunk_index *index)
{
  return __atomic_load_n (&index->generation, __ATOMIC_ACQUIRE);
}

/* What finding looks at, from one to the other and back.  (What counts for
 * deduplication is known of none of the new runs: a writer that refreshes
 * stores some chunks again.) */
static void
swap_runs (struct lm_chunk_index *a, struct lm_chunk_index *b)
{
  struct lm_id_set salvaged = a->salvaged;
  size_t i, n = a->nr_runs > b->nr_runs ? a->nr_runs : b->nr_runs;

  for (i = 0; i < n; i++) {
    struct mapped m = a->runs[i];

    a->runs[i] = b->runs[i];
    b->runs[i] = m;
  }
  i = a->nr_runs;
  a->nr_runs = b->nr_runs;
  b->nr_runs = i;
  a->salvaged = b->salvaged;
  b->salvaged = salvaged;
}

/* It is built beside the old one, which may take a while. */
int
lm_chunk_index_refresh (struct lm_chunk_index *index, uint64_t generation,
                        const uint8_t (*segments)[LM_NAME_ID_LEN], size_t n,
                        struct lm_error *err)
{
  LM_LOCK_FOR_SCOPE (&index->refresh_lock);
  struct lm_chunk_index *fresh;
  int r;

  if (generation != index->generation)
    return 0;
  fresh = index_new (index->store, index->keys, err);
  if (fresh == NULL)
    return -1;
  fresh->dirfd = fcntl (index->dirfd, F_DUPFD_CLOEXEC, 0);
  r = fresh->dirfd == -1 ? lm_error_errno (err, errno, "index cache")
    : lm_chunk_index_sync (fresh, segments, n, err);
  if (r == 0) {
    pthread_rwlock_wrlock (&index->lock);
    swap_runs (index, fresh);
    __atomic_store_n (&index->generation, generation + 1, __ATOMIC_RELEASE);
    pthread_rwlock_unlock (&index->lock);
  }
  lm_chunk_index_free (fresh);
  return r == 0 ? 1 : -1;
}

size_t
lm_chunk_index_nr_runs (const struct lm_chunk_index *index)
{
  return index->nr_runs;
}

const struct lm_index_run *
lm_chunk_index_run (const struct lm_chunk_index *index, size_t i)
{
  return index->runs[i].run;
}

/* --- finding --- */

/* The entries of one id, run by run: the newest data are in the smallest
 * runs. */
struct search {
  const struct lm_chunk_index *index;
  enum lm_object_type type;
  const uint8_t *id;
  size_t run;                   /* where pos is; nr_runs before the first */
  uint64_t pos;                 /* UINT64_MAX: the run is done */
};

static void
search_start (struct search *s, const struct lm_chunk_index *index,
              enum lm_object_type type, const uint8_t id[LM_ID_LEN])
{
  *s = (struct search) {
    .index = index, .type = type, .id = id, .run = index->nr_runs,
    .pos = UINT64_MAX,
  };
}

static void
fill_location (const struct lm_index_run *run, const struct lm_entry *e,
               struct lm_chunk_location *l)
{
  struct lm_segment_pack pack;

  lm_index_run_pack (run, e->pack, &pack);
  memcpy (l->pack, pack.id, LM_NAME_ID_LEN);
  l->offset = e->offset;
  l->ref.type = e->type;
  l->ref.encoding = e->encoding;
  l->ref.plain_len = e->plain_len;
  l->ref.stored_len = e->stored_len;
  memcpy (l->ref.id, e->id, LM_ID_LEN);
}

/* The next one: 1 with *ret_l and whether its pack counts, 0 at the end,
 * -1 when a run is damaged. */
static int
search_next (struct search *s, struct lm_chunk_location *ret_l,
             bool *ret_whole, struct lm_error *err)
{
  for (;;) {
    const struct mapped *m = &s->index->runs[s->run];
    struct lm_entry e;

    if (s->pos == UINT64_MAX || s->pos >= lm_index_run_entries (m->run)) {
      if (s->run == 0)
        return 0;
      s->run--;
      s->pos = lm_index_run_find (s->index->runs[s->run].run, s->id);
      continue;
    }
    if (lm_index_run_get (m->run, s->pos++, &e, ret_l->ref.base, err) == -1)
      return -1;
    if (memcmp (e.id, s->id, LM_ID_LEN) != 0) {
      s->pos = UINT64_MAX;
      continue;
    }
    if (e.type != s->type)
      continue;
    fill_location (m->run, &e, ret_l);
    *ret_whole = m->whole && m->whole[e.pack];
    return 1;
  }
}

static int
find (struct lm_chunk_index *index, enum lm_object_type type,
      const uint8_t id[LM_ID_LEN], bool full_only,
      struct lm_chunk_location *ret_locations, int max, struct lm_error *err)
{
  struct search s;
  int found = 0, r = 0;
  bool whole;

  pthread_rwlock_rdlock (&index->lock);
  search_start (&s, index, type, id);
  while (found < max &&
         (r = search_next (&s, &ret_locations[found], &whole, err)) == 1)
    if (!full_only ||
        ret_locations[found].ref.encoding != LM_ENCODING_ZSTD_BASE)
      found++;
  pthread_rwlock_unlock (&index->lock);
  return r == -1 ? -1 : found;
}

int
lm_chunk_index_find (struct lm_chunk_index *index, enum lm_object_type type,
                     const uint8_t id[LM_ID_LEN],
                     struct lm_chunk_location *ret_locations, int max,
                     struct lm_error *err)
{
  return find (index, type, id, false, ret_locations, max, err);
}

int
lm_chunk_index_find_full (struct lm_chunk_index *index,
                          enum lm_object_type type,
                          const uint8_t id[LM_ID_LEN],
                          struct lm_chunk_location *ret_locations, int max,
                          struct lm_error *err)
{
  return find (index, type, id, true, ret_locations, max, err);
}

int
lm_chunk_index_set_whole (struct lm_chunk_index *index,
                          const struct lm_id_set *whole,
                          struct lm_error *err)
{
  size_t i;
  uint32_t j;

  for (i = 0; i < index->nr_runs; i++) {
    struct mapped *m = &index->runs[i];
    uint32_t n = lm_index_run_packs (m->run);

    free (m->whole);
    m->whole = calloc (n + 1, 1);
    if (m->whole == NULL)
      return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    for (j = 0; j < n; j++) {
      struct lm_segment_pack pack;
      uint64_t size;

      lm_index_run_pack (m->run, j, &pack);
      m->whole[j] = lm_id_set_get (whole, pack.id, &size) &&
        size == pack.size;
    }
  }
  return 0;
}

/* Is there a copy in full that counts? */
static bool
has_full_locked (const struct lm_chunk_index *index, enum lm_object_type type,
          const uint8_t id[LM_ID_LEN])
{
  struct lm_error ignored = LM_ERROR_INIT;
  struct lm_chunk_location l;
  struct search s;
  bool whole;

  search_start (&s, index, type, id);
  /* A damaged cache only costs storing the chunk again. */
  while (search_next (&s, &l, &whole, &ignored) == 1)
    if (whole && l.ref.encoding != LM_ENCODING_ZSTD_BASE)
      return true;
  return false;
}

/* Is there a copy that counts?  Then *ret_base is what may be a base of
 * others: ID when there is one in full, else that one's own base. */
static bool
has_any_locked (const struct lm_chunk_index *index,
                enum lm_object_type type, const uint8_t id[LM_ID_LEN],
                uint8_t ret_base[LM_ID_LEN])
{
  struct lm_error ignored = LM_ERROR_INIT;
  struct lm_chunk_location l;
  bool whole, found = false;
  struct search s;

  search_start (&s, index, type, id);
  while (search_next (&s, &l, &whole, &ignored) == 1) {
    if (!whole)
      continue;
    if (l.ref.encoding != LM_ENCODING_ZSTD_BASE) {
      memcpy (ret_base, id, LM_ID_LEN);
      return true;
    }
    if (!found && has_full_locked (index, type, l.ref.base)) {
      memcpy (ret_base, l.ref.base, LM_ID_LEN);
      found = true;
    }
  }
  return found;
}

static bool
has_any (struct lm_chunk_index *index, enum lm_object_type type,
         const uint8_t id[LM_ID_LEN], uint8_t ret_base[LM_ID_LEN])
{
  bool r;

  pthread_rwlock_rdlock (&index->lock);
  r = has_any_locked (index, type, id, ret_base);
  pthread_rwlock_unlock (&index->lock);
  return r;
}

bool
lm_chunk_index_has (struct lm_chunk_index *index, enum lm_object_type type,
                    const uint8_t id[LM_ID_LEN])
{
  uint8_t base[LM_ID_LEN];

  return has_any (index, type, id, base);
}

bool
lm_chunk_index_find_base (struct lm_chunk_index *index,
                          const uint8_t id[LM_ID_LEN],
                          uint8_t ret_base[LM_ID_LEN])
{
  return has_any (index, LM_TYPE_CHUNK, id, ret_base);
}

const uint8_t (*
lm_chunk_index_bad_segments (const struct lm_chunk_index *index,
                             size_t *ret_n))[LM_NAME_ID_LEN]
{
  *ret_n = index->nr_bad;
  return (const uint8_t (*)[LM_NAME_ID_LEN]) index->bad;
}

const struct lm_id_set *
lm_chunk_index_salvaged (const struct lm_chunk_index *index)
{
  return &index->salvaged;
}

int
lm_chunk_index_packs (const struct lm_chunk_index *index,
                      struct lm_id_set *set, struct lm_error *err)
{
  size_t i;
  uint32_t j;

  for (i = 0; i < index->nr_runs; i++)
    for (j = 0; j < lm_index_run_packs (index->runs[i].run); j++) {
      struct lm_segment_pack pack;

      lm_index_run_pack (index->runs[i].run, j, &pack);
      if (!lm_id_set_has (&index->salvaged, pack.id) &&
          lm_id_set_add (set, pack.id, pack.size, err) == -1)
        return -1;
    }
  return 0;
}
