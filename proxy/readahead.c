/* SPDX-License-Identifier: Apache-2.0
 * Reading ahead; see readahead.h.
 */
#include <config.h>

#include "proxy/readahead.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "proxy/cache.h"
#include "common/banned.h"

#define THREADS 2
#define QUEUE_MAX 64
/* A reader counts as sequential from this many bytes on. */
#define SEQUENTIAL_MIN 16384

struct job {
  struct lm_disk *disk;         /* NULL: taken back */
  uint64_t offset, len;
};

struct lm_readahead {
  unsigned chunks;
  pthread_mutex_t lock;         /* all that follows */
  pthread_cond_t work, idle;
  bool stop;
  unsigned head, count;
  struct job queue[QUEUE_MAX];
  unsigned nr_threads;
  pthread_t threads[THREADS];
  struct lm_disk *busy[THREADS];        /* what each is reading */
};

void
lm_readahead_stream_init (struct lm_readahead_stream *s)
{
  memset (s, 0, sizeof *s);
  pthread_mutex_init (&s->lock, NULL);
}

void
lm_readahead_stream_release (struct lm_readahead_stream *s)
{
  pthread_mutex_destroy (&s->lock);
}

struct lm_readahead *
lm_readahead_new (unsigned chunks, struct lm_error *err)
{
  struct lm_readahead *r = calloc (1, sizeof *r);

  if (r == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  r->chunks = chunks;
  pthread_mutex_init (&r->lock, NULL);
  pthread_cond_init (&r->work, NULL);
  pthread_cond_init (&r->idle, NULL);
  return r;
}

static void *
worker (void *arg)
{
  struct lm_readahead *r = arg;
  unsigned me;

  pthread_mutex_lock (&r->lock);
  for (me = 0; !pthread_equal (r->threads[me], pthread_self ()); me++)
    ;
  for (;;) {
    struct lm_error ignored = LM_ERROR_INIT;
    struct job job;

    while (!r->stop && r->count == 0)
      pthread_cond_wait (&r->work, &r->lock);
    if (r->stop)
      break;
    job = r->queue[r->head];
    r->head = (r->head + 1) % QUEUE_MAX;
    r->count--;
    if (job.disk == NULL)
      continue;
    r->busy[me] = job.disk;
    pthread_mutex_unlock (&r->lock);
    /* Who really wants a chunk that can't be read is told then. */
    lm_cache_disk_prefetch (job.disk, job.offset, job.len, &ignored);
    pthread_mutex_lock (&r->lock);
    r->busy[me] = NULL;
    pthread_cond_broadcast (&r->idle);
  }
  pthread_mutex_unlock (&r->lock);
  return NULL;
}

int
lm_readahead_start (struct lm_readahead *r, struct lm_error *err)
{
  LM_LOCK_FOR_SCOPE (&r->lock);

  while (r->nr_threads < THREADS) {
    int e = pthread_create (&r->threads[r->nr_threads], NULL, worker, r);

    if (e != 0)
      return lm_error_errno (err, e, "cannot start a thread");
    r->nr_threads++;
  }
  return 0;
}

void
lm_readahead_free (struct lm_readahead *r)
{
  unsigned i;

  if (r == NULL)
    return;
  pthread_mutex_lock (&r->lock);
  r->stop = true;
  pthread_cond_broadcast (&r->work);
  pthread_mutex_unlock (&r->lock);
  for (i = 0; i < r->nr_threads; i++)
    pthread_join (r->threads[i], NULL);
  pthread_cond_destroy (&r->idle);
  pthread_cond_destroy (&r->work);
  pthread_mutex_destroy (&r->lock);
  free (r);
}

void
lm_readahead_queue (struct lm_readahead *r, struct lm_disk *disk,
                    uint64_t offset, uint64_t len)
{
  LM_LOCK_FOR_SCOPE (&r->lock);

  if (r->nr_threads == 0 || r->count == QUEUE_MAX)
    return;
  r->queue[(r->head + r->count++) % QUEUE_MAX] =
    (struct job) { disk, offset, len };
  pthread_cond_signal (&r->work);
}

void
lm_readahead_forget (struct lm_readahead *r, const struct lm_disk *disk)
{
  LM_LOCK_FOR_SCOPE (&r->lock);
  unsigned i;

  for (i = 0; i < r->count; i++) {
    struct job *job = &r->queue[(r->head + i) % QUEUE_MAX];

    if (job->disk == disk)
      job->disk = NULL;
  }
  for (i = 0; i < THREADS; i++)
    while (r->busy[i] == disk)
      pthread_cond_wait (&r->idle, &r->lock);
}

void
lm_readahead_note (struct lm_readahead *r, struct lm_readahead_stream *s,
                   struct lm_disk *disk, uint64_t offset, uint64_t len)
{
  uint32_t chunk = disk->preferred_block;
  uint64_t end = offset + len, want, from;

  if (r->chunks == 0 || len >= 2 * (uint64_t) chunk ||
      pthread_mutex_trylock (&s->lock) != 0)
    return;
  /* Several requests in flight arrive a little out of order. */
  if (offset <= s->next + chunk && s->next <= end + chunk) {
    s->sequential += len;
    s->next = lm_max_u64 (s->next, end);
  }
  else {
    s->sequential = len;
    s->next = end;
    s->ahead = 0;
  }
  if (s->sequential >= SEQUENTIAL_MIN && s->sequential > len) {
    /* From the chunk after the one that is being read. */
    from = lm_max_u64 (s->ahead, lm_div_up (end, chunk) * chunk);
    want = lm_min_u64 ((end / chunk + 1 + r->chunks) * chunk, disk->size);
    for (; from < want; from += chunk)
      lm_readahead_queue (r, disk, from, chunk);
    s->ahead = lm_max_u64 (s->ahead, from);
  }
  pthread_mutex_unlock (&s->lock);
}
