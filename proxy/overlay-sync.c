/* SPDX-License-Identifier: Apache-2.0
 *
 * A layer's durability: flush, poison, and what an opened layer has to
 * prove (docs/overlay.md, sections 5 and 6).
 */
#include <config.h>

#include "proxy/overlay-layer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "common/io.h"
#include "proxy/overlay-layer-internal.h"
#include "common/banned.h"

static const char marker[] = "poisoned";

void
lm_layer_note_change (struct lm_layer *l, _Atomic (bool) *dirty)
{
  /* In this order: a sync that takes the flag sees the change on its way
   * to the disk, one that took it before began with a smaller counter. */
  atomic_store (dirty, true);
  atomic_fetch_add (&l->changed, 1);
}

int
lm_layer_check_sound (struct lm_layer *l, struct lm_error *err)
{
  if (__builtin_expect (!atomic_load (&l->poisoned), 1))
    return 0;
  {
    LM_LOCK_FOR_SCOPE (&l->sync_lock);

    lm_error_set (err, LM_ERR_IO, "%s: refused, because of an earlier "
                  "failure (%s)", l->where, l->reason.message);
  }
  return lm_error_hint (err, "restart the proxy: it verifies the overlay "
                        "when it opens it");
}

/* As far as that is possible: the disk may be what has failed. */
static void
make_marker (struct lm_layer *l)
{
  CLEANUP_CLOSE int fd = lm_io->openat (l->dirfd, marker,
                                        O_WRONLY | O_CREAT, 0600);

  if (fd >= 0)
    lm_io->fsync (fd);
  lm_io->fsync (l->dirfd);
}

void
lm_layer_poison (struct lm_layer *l, const struct lm_error *err)
{
  {
    LM_LOCK_FOR_SCOPE (&l->sync_lock);

    if (atomic_load (&l->poisoned))
      return;
    l->reason = *err;
    atomic_store (&l->poisoned, true);
    pthread_cond_broadcast (&l->sync_done);
  }
  make_marker (l);
}

/* Read every extent of data from the disk itself. */
static int
read_back (struct lm_layer *l, struct lm_error *err)
{
  CLEANUP_FREE uint8_t *buf = malloc (1 << 20);
  off_t pos = 0, end;

  if (buf == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  for (;;) {
    pos = lseek (l->data_fd, pos, SEEK_DATA);
    if (pos == -1 && errno == ENXIO)
      return 0;
    end = pos == -1 ? -1 : lseek (l->data_fd, pos, SEEK_HOLE);
    if (end == -1)
      return lm_error_errno (err, errno, "seek");
    while (pos < end) {
      size_t n = lm_min_u64 (end - pos, 1 << 20);

      if (lm_pread_full (l->data_fd, buf, n, pos, "data", err) == -1)
        return -1;
      pos += n;
    }
  }
}

int
lm_layer_verify_marked (struct lm_layer *l, struct lm_error *err)
{
  bool marked = faccessat (l->dirfd, marker, F_OK, 0) == 0;

  if (!l->writable)
    return 0;
  /* Whatever an earlier process had answered without a flush. */
  if (lm_io->fdatasync (l->mask_fd) == -1 ||
      lm_io->fdatasync (l->data_fd) == -1) {
    lm_error_errno (err, errno, "%s: sync before use", l->where);
    make_marker (l);
    return -1;
  }
  if (!marked)
    return 0;
  posix_fadvise (l->data_fd, 0, 0, POSIX_FADV_DONTNEED);
  posix_fadvise (l->mask_fd, 0, 0, POSIX_FADV_DONTNEED);
  if (read_back (l, err) == -1)
    return lm_error_prefix (err, "%s: verifying after an earlier failure",
                            l->where);
  if (lm_io->unlinkat (l->dirfd, marker, 0) == -1 && errno != ENOENT)
    return lm_error_errno (err, errno, "%s/%s: remove", l->where, marker);
  if (lm_io->fsync (l->dirfd) == -1)
    return lm_error_errno (err, errno, "%s: fsync", l->where);
  return 0;
}

static int
sync_file (struct lm_layer *l, int fd, const char *name,
           struct lm_error *err)
{
  if (lm_io->fdatasync (fd) == 0)
    return 0;
  lm_error_errno (err, errno, "%s/%s: fdatasync", l->where, name);
  lm_layer_poison (l, err);
  return -1;
}

int
lm_layer_sync_mask (struct lm_layer *l, struct lm_error *err)
{
  return sync_file (l, l->mask_fd, "mask", err);
}

/* Runs of blocks to be punched. */
struct runs {
  size_t count, alloc;
  struct { uint64_t first, end; } *at;
};

/* What is zeroed now has its mask bits in the page cache already, so a
 * sync of `mask` that begins later makes them durable (O4). */
static void
collect_zeroed (struct lm_layer *l, struct runs *runs)
{
  uint64_t low = atomic_exchange (&l->zeroed_low, UINT64_MAX);
  uint64_t high = atomic_exchange (&l->zeroed_high, 0);
  uint64_t at;

  if (low >= high)
    return;
  for (at = lm_bitmap_next_set (l->zeroed, low, high); at < high;) {
    uint64_t end = lm_bitmap_next_clear (l->zeroed, at, high);

    if (runs->count == runs->alloc) {
      size_t alloc = runs->alloc ? 2 * runs->alloc : 64;
      void *more = realloc (runs->at, alloc * sizeof runs->at[0]);

      if (more == NULL)
        return;                 /* the rest keeps its space */
      runs->at = more;
      runs->alloc = alloc;
    }
    runs->at[runs->count].first = at;
    runs->at[runs->count++].end = end;
    at = lm_bitmap_next_set (l->zeroed, end, high);
  }
}

/* Only what is still zeroed: a write may have come in between. */
static void
punch_runs (struct lm_layer *l, const struct runs *runs)
{
  struct lm_error ignored = LM_ERROR_INIT;
  size_t i;

  for (i = 0; i < runs->count; i++) {
    uint64_t at = runs->at[i].first, end = runs->at[i].end;

    while (at < end) {
      uint64_t stop = lm_min_u64 (end, at + LM_LAYER_RANGE_MAX);
      struct lm_layer_range lock =
        lm_layer_lock_exclusive (l, at, stop - at);

      while (at < stop) {
        uint64_t from = lm_bitmap_next_set (l->zeroed, at, stop);
        uint64_t to = lm_bitmap_next_clear (l->zeroed, from, stop);

        if (from < to &&
            lm_layer_punch_locked (l, from, to - from, &ignored) != 0) {
          lm_layer_unlock (&lock);
          return;
        }
        at = to;
      }
      lm_layer_unlock (&lock);
    }
  }
}

static int
sync_now (struct lm_layer *l, uint64_t *ret_synced, struct lm_error *err)
{
  uint64_t target = atomic_load (&l->changed);
  struct runs runs = { 0, 0, NULL };
  int r = 0;

  collect_zeroed (l, &runs);
  if (atomic_exchange (&l->mask_dirty, false))
    r = sync_file (l, l->mask_fd, "mask", err);
  if (r == 0 && atomic_exchange (&l->data_dirty, false))
    r = sync_file (l, l->data_fd, "data", err);
  if (r == 0)
    punch_runs (l, &runs);
  free (runs.at);
  *ret_synced = target;
  return r;
}

int
lm_layer_flush (struct lm_layer *l, struct lm_error *err)
{
  uint64_t want = atomic_load (&l->changed), synced = 0;
  int r;

  pthread_mutex_lock (&l->sync_lock);
  for (;;) {
    if (atomic_load (&l->poisoned)) {
      pthread_mutex_unlock (&l->sync_lock);
      return lm_layer_check_sound (l, err);
    }
    if (l->synced >= want) {
      pthread_mutex_unlock (&l->sync_lock);
      return 0;
    }
    if (!l->syncing)
      break;
    pthread_cond_wait (&l->sync_done, &l->sync_lock);
  }
  l->syncing = true;
  pthread_mutex_unlock (&l->sync_lock);

  r = sync_now (l, &synced, err);

  pthread_mutex_lock (&l->sync_lock);
  l->syncing = false;
  if (r == 0)
    l->synced = synced;
  pthread_cond_broadcast (&l->sync_done);
  pthread_mutex_unlock (&l->sync_lock);
  return r;
}
