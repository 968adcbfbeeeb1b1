/* SPDX-License-Identifier: Apache-2.0
 *
 * One disk into chunks and a map; see backup-disk.h.
 *
 * The unit of work is a leaf of the map: 128 chunks, 8 MiB by default.
 * Each thread takes the next leaf, and reads, hashes, compresses, seals
 * and packs its chunks one after the other, then stores the leaf itself.
 * A chunk stays in the processor's cache from the read to the pack, and
 * there is no queue between stages; more threads than cores cover the
 * time that sources and packs wait for.  (A pipeline with a thread per
 * stage was the other choice: it moves each byte between cores.)
 */
#include <config.h>

#include "formats/native/backup-disk.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "common/random.h"
#include "common/timed-wait.h"
#include "common/banned.h"

/* How much is read at once, in bytes; a chunk if that is more. */
#define READ_SIZE (1u << 20)

/* An unreadable range is narrowed down to this, in bytes. */
#define SECTOR 4096u

#define THREADS_MAX 64

#define TICK_NS UINT64_C (200000000)

struct job {
  struct lm_chunk_writer *writer;
  struct lm_disk *disk;
  struct lm_disk_map *parent;   /* or NULL */
  uint32_t chunk_size;
  uint64_t nr_chunks;
  uint64_t nr_leaves;
  struct lm_backup_counters *counters;
  const volatile sig_atomic_t *cancel;

  pthread_mutex_t lock;         /* everything below */
  pthread_cond_t changed;
  uint64_t next_leaf;
  unsigned running;
  bool stop;                    /* failed or cancelled */
  struct lm_error error;        /* the first failure */
  uint8_t (*leaf_ids)[LM_ID_LEN];       /* each by the thread that has it */
  struct lm_backup_range *unreadable;
  size_t nr_unreadable;
};

/* A thread's state while it works on one leaf. */
struct leaf {
  struct job *job;
  uint64_t first;               /* chunk */
  struct lm_map_node node;
  uint8_t *buf;                 /* read_size bytes */
  size_t read_size;
  uint64_t read;                /* bytes of this leaf that were read */
};

static bool
all_zero (const uint8_t *p, size_t len)
{
  /* The first bytes decide it for nearly all data; then the buffer
   * equals itself shifted by one. */
  return len == 0 || (p[0] == 0 && memcmp (p, p + 1, len - 1) == 0);
}

static int
add_unreadable (struct job *job, uint64_t offset, uint64_t len,
                struct lm_error *err)
{
  LM_LOCK_FOR_SCOPE (&job->lock);
  struct lm_backup_range *bigger =
    realloc (job->unreadable, (job->nr_unreadable + 1) * sizeof *bigger);

  if (bigger == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  job->unreadable = bigger;
  bigger[job->nr_unreadable++] = (struct lm_backup_range) { offset, len };
  return 0;
}

/* A medium error concerns its sectors only; anything else (a server that
 * is gone, a file that shrank) makes the rest unreadable too. */
static bool
is_medium_error (const struct lm_error *err)
{
  return err->kind == LM_ERR_IO &&
    (err->sys_errno == EIO || err->sys_errno == EBADMSG ||
     err->sys_errno == EILSEQ || err->sys_errno == EREMOTEIO);
}

/* Read a range that failed as a whole, sector by sector; what can't be
 * read is zeros, and noted. */
static int
read_in_parts (struct job *job, uint8_t *buf, size_t len, uint64_t offset,
               struct lm_error *err)
{
  while (len > 0) {
    size_t n = lm_min_u64 (len, SECTOR - offset % SECTOR);

    if (lm_disk_pread (job->disk, buf, n, offset, err) == -1) {
      if (!is_medium_error (err))
        return -1;
      lm_error_clear (err);
      memset (buf, 0, n);
      if (add_unreadable (job, offset, n, err) == -1)
        return -1;
    }
    buf += n;
    offset += n;
    len -= n;
  }
  return 0;
}

/* Store the whole chunk NR at BUF. */
static int
store_chunk (struct leaf *leaf, uint64_t nr, const uint8_t *buf,
             struct lm_error *err)
{
  struct job *job = leaf->job;
  const struct lm_chunk_parent parent = { job->parent, nr };
  uint8_t *ret_id = leaf->node.ids[nr - leaf->first];

  return job->parent
    ? lm_chunk_write_near (job->writer, &parent, buf, job->chunk_size,
                           ret_id, err)
    : lm_chunk_write (job->writer, LM_TYPE_CHUNK, buf, job->chunk_size,
                      ret_id, err);
}

/* Store the chunks of LEN bytes at BUF, read from OFFSET. */
static int
store_chunks (struct leaf *leaf, uint8_t *buf, size_t len, uint64_t offset,
              struct lm_error *err)
{
  struct job *job = leaf->job;
  uint64_t zero = 0;

  while (len > 0) {
    size_t n = lm_min_u64 (len, job->chunk_size);
    uint64_t nr = offset / job->chunk_size;

    if (all_zero (buf, n))
      zero += n;
    else {
      /* Only the last chunk of the disk can be short; the buffer has
       * room for whole chunks. */
      memset (buf + n, 0, job->chunk_size - n);
      if (store_chunk (leaf, nr, buf, err) == -1)
        return -1;
    }
    buf += n;
    offset += n;
    len -= n;
  }
  __atomic_fetch_add (&job->counters->zero, zero, __ATOMIC_RELAXED);
  return 0;
}

static bool
stopped (struct job *job)
{
  return __atomic_load_n (&job->stop, __ATOMIC_RELAXED) ||
    (job->cancel && *job->cancel);
}

/* Read and store [offset, offset+len), which lies in one leaf and begins
 * and ends at chunk boundaries or the end of the disk. */
static int
store_range (struct leaf *leaf, uint64_t offset, uint64_t len,
             struct lm_error *err)
{
  struct job *job = leaf->job;

  while (len > 0) {
    size_t n = lm_min_u64 (len, leaf->read_size);

    if (stopped (job))
      return lm_error_set (err, LM_ERR_INTERRUPTED, "interrupted");
    if (lm_disk_pread (job->disk, leaf->buf, n, offset, err) == -1) {
      if (!is_medium_error (err))
        return -1;
      lm_error_clear (err);
      if (read_in_parts (job, leaf->buf, n, offset, err) == -1)
        return -1;
    }
    leaf->read += n;
    __atomic_fetch_add (&job->counters->read, n, __ATOMIC_RELAXED);
    if (store_chunks (leaf, leaf->buf, n, offset, err) == -1)
      return -1;
    __atomic_fetch_add (&job->counters->done, n, __ATOMIC_RELAXED);
    offset += n;
    len -= n;
  }
  return 0;
}

/* From the source's extents to whole chunks: a chunk is read if any of it
 * is data, and skipped if all of it is known to be zero. */
struct plan {
  struct leaf *leaf;
  uint64_t from, to;            /* chunks to read, not yet read */
};

static int
flush_plan (struct plan *p, struct lm_error *err)
{
  struct job *job = p->leaf->job;
  uint64_t offset = p->from * job->chunk_size;
  uint64_t end = lm_min_u64 (p->to * job->chunk_size, job->disk->size);

  if (p->from == p->to)
    return 0;
  p->from = p->to;
  return store_range (p->leaf, offset, end - offset, err);
}

static int
plan_extent (void *opaque, uint64_t offset, uint64_t len,
             enum lm_extent_type type, struct lm_error *err)
{
  struct plan *p = opaque;
  uint32_t chunk_size = p->leaf->job->chunk_size;
  uint64_t from = offset / chunk_size;
  uint64_t to = lm_div_up (offset + len, chunk_size);

  if (type != LM_EXTENT_DATA)
    return 0;
  if (from <= p->to && p->from != p->to) {
    p->to = lm_max_u64 (p->to, to);
    return 0;
  }
  if (flush_plan (p, err) == -1)
    return -1;
  /* The chunk before may have been read for an extent that ended in it. */
  p->from = lm_max_u64 (from, p->to);
  p->to = lm_max_u64 (to, p->to);
  return 0;
}

static int
do_leaf (struct leaf *leaf, uint64_t nr, struct lm_error *err)
{
  struct job *job = leaf->job;
  uint64_t offset, len;
  uint8_t plain[LM_NODE_SIZE_MAX];
  size_t plain_len;
  struct plan plan = { .leaf = leaf };

  leaf->first = nr * LM_NODE_FANOUT;
  memset (&leaf->node, 0, sizeof leaf->node);
  offset = leaf->first * job->chunk_size;
  len = lm_min_u64 ((uint64_t) LM_NODE_FANOUT * job->chunk_size,
                    job->disk->size - offset);
  plan.from = plan.to = leaf->first;
  leaf->read = 0;
  if (lm_disk_extents (job->disk, offset, len, plan_extent, &plan,
                       err) == -1 ||
      flush_plan (&plan, err) == -1)
    return -1;
  /* The rest was known to be zeros. */
  __atomic_fetch_add (&job->counters->zero, len - leaf->read,
                      __ATOMIC_RELAXED);
  __atomic_fetch_add (&job->counters->done, len - leaf->read,
                      __ATOMIC_RELAXED);
  plain_len = lm_map_node_encode (&leaf->node, 1, plain);
  if (plain_len == 0)
    return 0;
  return lm_chunk_write (job->writer, LM_TYPE_NODE, plain, plain_len,
                         job->leaf_ids[nr], err);
}

static void *
worker (void *opaque)
{
  struct job *job = opaque;
  struct lm_error err = LM_ERROR_INIT;
  struct leaf leaf = { .job = job };
  int r = 0;

  leaf.read_size = lm_max_u64 (READ_SIZE, job->chunk_size);
  leaf.buf = malloc (leaf.read_size + job->chunk_size);
  if (leaf.buf == NULL)
    r = lm_error_set (&err, LM_ERR_NOMEM, "out of memory");
  while (r == 0 && !stopped (job)) {
    uint64_t nr;

    pthread_mutex_lock (&job->lock);
    nr = job->next_leaf;
    if (nr < job->nr_leaves)
      job->next_leaf++;
    pthread_mutex_unlock (&job->lock);
    if (nr == job->nr_leaves)
      break;
    r = do_leaf (&leaf, nr, &err);
  }
  free (leaf.buf);

  pthread_mutex_lock (&job->lock);
  if (r == -1 && !job->stop) {
    job->error = err;
    __atomic_store_n (&job->stop, true, __ATOMIC_RELAXED);
  }
  job->running--;
  pthread_cond_broadcast (&job->changed);
  pthread_mutex_unlock (&job->lock);
  return NULL;
}

/* Wait for the workers, ticking five times a second. */
static void
wait_for_workers (struct job *job, lm_backup_tick_cb tick, void *opaque)
{
  pthread_mutex_lock (&job->lock);
  while (job->running > 0) {
    uint64_t until = lm_clock_monotonic () + TICK_NS;

    if (!lm_cond_wait_until (&job->changed, &job->lock, until)) {
      pthread_mutex_unlock (&job->lock);
      tick (opaque);
      pthread_mutex_lock (&job->lock);
    }
  }
  pthread_mutex_unlock (&job->lock);
}

/* The levels above the leaves, from N ids on level 1 upwards. */
static int
store_upper (struct job *job, bool *ret_has_root, uint8_t ret_root[LM_ID_LEN],
             struct lm_error *err)
{
  uint64_t n = job->nr_leaves, i;
  int height = lm_map_height (job->nr_chunks), level;

  for (level = 2; level <= height; level++) {
    uint64_t above = lm_div_up (n, LM_NODE_FANOUT);

    for (i = 0; i < above; i++) {
      uint8_t plain[LM_NODE_SIZE_MAX], id[LM_ID_LEN] = { 0 };
      struct lm_map_node node = { 0 };
      uint64_t count = lm_min_u64 (LM_NODE_FANOUT, n - i * LM_NODE_FANOUT);
      size_t len;

      memcpy (node.ids, job->leaf_ids[i * LM_NODE_FANOUT],
              count * LM_ID_LEN);
      len = lm_map_node_encode (&node, level, plain);
      if (len > 0 &&
          lm_chunk_write (job->writer, LM_TYPE_NODE, plain, len, id,
                          err) == -1)
        return -1;
      /* The level above is built in place: i never passes what is read. */
      memcpy (job->leaf_ids[i], id, LM_ID_LEN);
    }
    n = above;
  }
  *ret_has_root = n > 0 && !lm_id_is_zero (job->leaf_ids[0]);
  if (*ret_has_root)
    memcpy (ret_root, job->leaf_ids[0], LM_ID_LEN);
  return 0;
}

static int
compare_ranges (const void *va, const void *vb)
{
  const struct lm_backup_range *a = va, *b = vb;

  return a->offset < b->offset ? -1 : a->offset > b->offset;
}

static void
merge_ranges (struct lm_backup_range *r, size_t *n)
{
  size_t i, out = 0;

  if (*n == 0)
    return;
  qsort (r, *n, sizeof *r, compare_ranges);
  for (i = 1; i < *n; i++)
    if (r[out].offset + r[out].len >= r[i].offset)
      r[out].len = r[i].offset + r[i].len - r[out].offset;
    else
      r[++out] = r[i];
  *n = out + 1;
}

static int
start_workers (struct job *job, unsigned threads, pthread_t *ids,
               unsigned *ret_started, struct lm_error *err)
{
  unsigned i;

  job->running = threads;
  for (i = 0; i < threads; i++)
    if (pthread_create (&ids[i], NULL, worker, job) != 0)
      break;
  *ret_started = i;
  if (i == threads)
    return 0;
  pthread_mutex_lock (&job->lock);
  job->running -= threads - i;
  pthread_mutex_unlock (&job->lock);
  /* Fewer threads do the same work. */
  return i > 0 ? 0 : lm_error_set (err, LM_ERR_IO, "cannot start a thread");
}

int
lm_backup_disk_run (struct lm_chunk_writer *writer, struct lm_disk *disk,
                    struct lm_disk_map *parent_or_null, uint32_t chunk_size,
                    unsigned threads,
                    struct lm_backup_counters *counters,
                    const volatile sig_atomic_t *cancel,
                    lm_backup_tick_cb tick, void *opaque,
                    struct lm_backup_disk_result *ret_result,
                    struct lm_error *err)
{
  struct lm_backup_disk_result result = { 0 };
  pthread_t ids[THREADS_MAX];
  unsigned started = 0, i;
  struct job job = {
    .writer = writer, .disk = disk, .parent = parent_or_null,
    .chunk_size = chunk_size,
    .nr_chunks = lm_div_up (disk->size, chunk_size),
    .counters = counters, .cancel = cancel,
  };
  int r = -1;

  job.nr_leaves = lm_div_up (job.nr_chunks, LM_NODE_FANOUT);
  if (lm_map_span (LM_NODE_LEVELS_MAX) < job.nr_chunks)
    return lm_error_set (err, LM_ERR_LIMIT, "the disk is too large for "
                         "chunks of %u bytes", chunk_size);
  pthread_mutex_init (&job.lock, NULL);
  lm_cond_init (&job.changed);
  threads = lm_min_u64 (lm_min_u64 (threads, THREADS_MAX),
                        lm_max_u64 (job.nr_leaves, 1));
  job.leaf_ids = calloc (job.nr_leaves + 1, LM_ID_LEN);
  if (job.leaf_ids == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    goto out;
  }
  if (start_workers (&job, threads, ids, &started, err) == -1)
    goto out;
  wait_for_workers (&job, tick, opaque);
  for (i = 0; i < started; i++)
    pthread_join (ids[i], NULL);
  if (cancel && *cancel) {
    lm_error_set (err, LM_ERR_INTERRUPTED, "interrupted");
    goto out;
  }
  if (job.stop) {
    *err = job.error;
    goto out;
  }
  if (store_upper (&job, &result.has_root, result.root, err) == -1)
    goto out;
  merge_ranges (job.unreadable, &job.nr_unreadable);
  result.unreadable = lm_steal (job.unreadable);
  result.nr_unreadable = job.nr_unreadable;
  *ret_result = result;
  r = 0;

out:
  free (job.unreadable);
  free (job.leaf_ids);
  pthread_cond_destroy (&job.changed);
  pthread_mutex_destroy (&job.lock);
  return r;
}
