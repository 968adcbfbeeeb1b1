/* SPDX-License-Identifier: Apache-2.0
 *
 * Copying and comparing disks; see restore-disk.h.
 *
 * Threads take the next piece of the disk until there is none; each asks
 * for the extents of its piece, so nothing is ever held for the whole
 * disk.  A piece is many chunks long, so that neighbours are fetched
 * together, and short enough that all threads end at about the same time.
 *
 * Damage is looked for where a read or the extents of a piece fail: from
 * there on its chunks are read one by one.
 */
#include <config.h>

#include "mount/restore-disk.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "common/banned.h"

#define PIECE (UINT64_C (4) << 20)
#define THREADS_MAX 16

struct range {
  uint64_t offset, len;         /* bytes */
};

struct work {
  const struct lm_copy_params *params;
  struct lm_disk *from;
  struct lm_target *to;         /* copy; NULL: compare with OTHER */
  struct lm_disk *other;

  pthread_mutex_t lock;         /* protects all below */
  uint64_t next;                /* the first byte that nobody took */
  struct lm_copy_progress done;
  struct lm_error error;        /* the first one; kind NONE: none */
  struct range *damaged;        /* in no order */
  size_t nr_damaged, alloc_damaged;
};

/* One thread's part. */
struct worker {
  struct work *work;
  uint8_t *buf, *buf2;          /* PIECE bytes each */
  struct lm_copy_progress done; /* of the current piece */
  uint64_t at;                  /* all before it is done */
  bool failed;                  /* not for damage */
};

/* ---- damage ---- */

/* Is it the chunk that is at fault, rather than this machine or the way to
 * the store? */
static bool
is_damage (const struct lm_error *err)
{
  return err->kind == LM_ERR_CORRUPT || err->kind == LM_ERR_NOT_FOUND ||
    (err->kind == LM_ERR_IO && err->sys_errno == EIO);
}

static int
add_damaged (struct work *work, uint64_t offset, uint64_t len,
             struct lm_error *err)
{
  LM_LOCK_FOR_SCOPE (&work->lock);
  struct range *last = work->damaged + work->nr_damaged - 1;

  if (work->nr_damaged > 0 && last->offset + last->len == offset) {
    last->len += len;
    return 0;
  }
  if (work->nr_damaged == work->alloc_damaged) {
    size_t alloc = work->alloc_damaged ? 2 * work->alloc_damaged : 64;
    struct range *bigger = realloc (work->damaged, alloc * sizeof *bigger);

    if (bigger == NULL)
      return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    work->damaged = bigger;
    work->alloc_damaged = alloc;
  }
  work->damaged[work->nr_damaged++] = (struct range) { offset, len };
  return 0;
}

static int
compare_ranges (const void *va, const void *vb)
{
  const struct range *a = va, *b = vb;

  return a->offset < b->offset ? -1 : a->offset > b->offset;
}

static void
report_damaged (struct work *work)
{
  size_t i, next;

  if (work->nr_damaged == 0)
    return;
  qsort (work->damaged, work->nr_damaged, sizeof *work->damaged,
         compare_ranges);
  for (i = 0; i < work->nr_damaged; i = next) {
    struct range r = work->damaged[i];

    for (next = i + 1; next < work->nr_damaged &&
         work->damaged[next].offset == r.offset + r.len; next++)
      r.len += work->damaged[next].len;
    work->params->damaged (work->params->opaque, r.offset, r.len);
  }
}

/* ---- one range ---- */

static int
compare_range (struct worker *w, uint64_t offset, size_t len,
               struct lm_error *err)
{
  size_t i = 0;

  if (lm_disk_pread (w->work->other, w->buf2, len, offset, err) == -1)
    return -1;
  if (memcmp (w->buf, w->buf2, len) == 0)
    return 0;
  while (w->buf[i] == w->buf2[i])
    i++;
  return lm_corrupt (err, "the target differs at 0x%" PRIx64, offset + i);
}

/* What is in w->buf, or zeros, belongs at OFFSET. */
static int
use_range (struct worker *w, uint64_t offset, uint64_t len, bool is_zero,
           struct lm_error *err)
{
  int r;

  if (w->work->to == NULL) {
    if (is_zero)
      memset (w->buf, 0, len);
    r = compare_range (w, offset, len, err);
  }
  else
    r = is_zero ? lm_target_zero (w->work->to, offset, len, err)
      : lm_target_pwrite (w->work->to, w->buf, len, offset, err);
  w->failed = r == -1;
  w->at = offset + len;
  return r;
}

static int
do_range (void *opaque, uint64_t offset, uint64_t len,
          enum lm_extent_type type, struct lm_error *err)
{
  struct worker *w = opaque;
  bool is_zero = type == LM_EXTENT_ZERO;

  if (!is_zero &&
      lm_disk_pread (w->work->from, w->buf, len, offset, err) == -1)
    return -1;
  if (is_zero)
    w->done.zero += len;
  else
    w->done.data += len;
  return use_range (w, offset, len, is_zero, err);
}

/* One chunk where something was found to be damaged. */
static int
do_chunk (struct worker *w, uint64_t offset, uint64_t len,
          struct lm_error *err)
{
  bool is_zero;

  if (lm_disk_pread (w->work->from, w->buf, len, offset, err) == -1) {
    if (!is_damage (err) ||
        add_damaged (w->work, offset, len, err) == -1)
      return -1;
    lm_error_clear (err);
    w->done.damaged += len;
    return use_range (w, offset, len, true, err);
  }
  is_zero = lm_is_zero (w->buf, len);
  if (is_zero)
    w->done.zero += len;
  else
    w->done.data += len;
  return use_range (w, offset, len, is_zero, err);
}

static int
do_piece (struct worker *w, uint64_t offset, uint64_t len,
          struct lm_error *err)
{
  uint64_t end = offset + len;
  uint32_t chunk = w->work->from->preferred_block;

  w->at = offset;
  w->failed = false;
  if (lm_disk_extents (w->work->from, offset, len, do_range, w, err) == 0)
    return 0;
  if (w->failed || !is_damage (err))
    return -1;
  if (w->work->params->damaged == NULL)
    return lm_error_hint (err, "--skip-damaged restores all but what can't "
                          "be read, and lists that");
  lm_error_clear (err);
  while (w->at < end) {
    uint64_t next = lm_min_u64 ((w->at / chunk + 1) * chunk, end);

    if (do_chunk (w, w->at, next - w->at, err) == -1)
      return -1;
  }
  return 0;
}

/* ---- all of them ---- */

/* The next piece, or false: all is done, or something failed. */
static bool
take_piece (struct work *work, uint64_t *ret_offset, uint64_t *ret_len)
{
  const volatile sig_atomic_t *cancel = work->params->cancel;

  LM_LOCK_FOR_SCOPE (&work->lock);
  if (work->error.kind != LM_ERR_NONE || work->next == work->from->size)
    return false;
  if (cancel && *cancel) {
    lm_error_set (&work->error, LM_ERR_INTERRUPTED, "interrupted");
    return false;
  }
  *ret_offset = work->next;
  *ret_len = lm_min_u64 (PIECE, work->from->size - work->next);
  work->next += *ret_len;
  return true;
}

static void
finish_piece (struct worker *w, int r, const struct lm_error *err)
{
  struct work *work = w->work;

  LM_LOCK_FOR_SCOPE (&work->lock);
  if (r == -1 && work->error.kind == LM_ERR_NONE)
    work->error = *err;
  work->done.data += w->done.data;
  work->done.zero += w->done.zero;
  work->done.damaged += w->done.damaged;
  w->done = (struct lm_copy_progress) { 0 };
  if (work->params->progress)
    work->params->progress (work->params->opaque, &work->done);
}

static void *
run (void *opaque)
{
  struct work *work = opaque;
  CLEANUP_FREE uint8_t *buf = malloc (PIECE);
  CLEANUP_FREE uint8_t *buf2 = work->to ? NULL : malloc (PIECE);
  struct worker w = { .work = work, .buf = buf, .buf2 = buf2 };
  struct lm_error err = LM_ERROR_INIT;
  uint64_t offset, len;
  int r;

  if (buf == NULL || (work->to == NULL && buf2 == NULL)) {
    r = lm_error_set (&err, LM_ERR_NOMEM, "out of memory");
    finish_piece (&w, r, &err);
    return NULL;
  }
  while (take_piece (work, &offset, &len)) {
    r = do_piece (&w, offset, len, &err);
    finish_piece (&w, r, &err);
  }
  return NULL;
}

static int
run_all (struct work *work, struct lm_copy_progress *ret_done,
         struct lm_error *err)
{
  pthread_t threads[THREADS_MAX];
  unsigned n = work->params->threads, i, started;
  long cpus = sysconf (_SC_NPROCESSORS_ONLN);

  if (n == 0)
    n = cpus > 1 ? cpus : 2;
  if (n > THREADS_MAX)
    n = THREADS_MAX;
  pthread_mutex_init (&work->lock, NULL);
  for (started = 0; started < n; started++)
    if (pthread_create (&threads[started], NULL, run, work) != 0)
      break;
  if (started == 0)
    run (work);                 /* then without */
  for (i = 0; i < started; i++)
    pthread_join (threads[i], NULL);
  pthread_mutex_destroy (&work->lock);
  report_damaged (work);
  free (work->damaged);
  if (work->error.kind != LM_ERR_NONE) {
    *err = work->error;
    return -1;
  }
  *ret_done = work->done;
  return 0;
}

int
lm_copy_disk (struct lm_disk *from, struct lm_target *to,
              const struct lm_copy_params *params,
              struct lm_copy_progress *ret_done, struct lm_error *err)
{
  struct work work = { .params = params, .from = from, .to = to };

  return run_all (&work, ret_done, err);
}

int
lm_compare_disks (struct lm_disk *a, struct lm_disk *b,
                  const struct lm_copy_params *params,
                  struct lm_copy_progress *ret_done, struct lm_error *err)
{
  struct work work = { .params = params, .from = a, .other = b };

  if (b->size < a->size)
    return lm_corrupt (err, "the target has 0x%" PRIx64 " bytes, the disk "
                       "0x%" PRIx64, b->size, a->size);
  return run_all (&work, ret_done, err);
}
