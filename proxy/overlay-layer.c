/* SPDX-License-Identifier: Apache-2.0
 *
 * A layer's files: making and opening them, locks, reading and writing
 * blocks; see overlay-layer.h.  Durability is in overlay-sync.c, giving
 * space back in overlay-discard.c.
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
#include "common/hex.h"
#include "common/io.h"
#include "proxy/overlay-layer-internal.h"
#include "common/banned.h"

/* Encrypted at a time: a buffer of this size is on the stack. */
#define BOUNCE_BLOCKS 16

#define LAYER_NAME_LEN (sizeof "layer-" + 2 * LM_LAYER_ID_LEN)

static void
layer_name (const uint8_t id[LM_LAYER_ID_LEN], char name[LAYER_NAME_LEN])
{
  memcpy (name, "layer-", strlen ("layer-"));
  lm_hex_encode (id, LM_LAYER_ID_LEN, name + strlen ("layer-"));
}

static uint64_t
mask_bytes (uint64_t blocks)
{
  return lm_div_up (blocks, 8);
}

/* An empty file of SIZE bytes in DIRFD, synced. */
static int
make_sparse (int dirfd, const char *name, uint64_t size,
             struct lm_error *err)
{
  CLEANUP_CLOSE int fd = lm_io->openat (dirfd, name,
                                        O_RDWR | O_CREAT | O_EXCL, 0600);

  if (fd == -1)
    return lm_error_errno (err, errno, "%s: create", name);
  if (lm_io->ftruncate (fd, size) == -1) {
    lm_error_errno (err, errno, "%s: cannot have %" PRIu64 " bytes", name,
                    size);
    return lm_error_hint (err, "put the overlay on a file system that "
                          "allows larger files");
  }
  if (lm_io->fsync (fd) == -1)
    return lm_error_errno (err, errno, "%s: fsync", name);
  return 0;
}

int
lm_layer_create (int dirfd, const struct lm_keys *keys,
                 const struct lm_layer_header *h, struct lm_error *err)
{
  CLEANUP_CLOSE int fd = -1;
  uint64_t blocks = lm_div_up (h->size, LM_OVERLAY_BLOCK);
  char name[LAYER_NAME_LEN];

  layer_name (h->id, name);
  if (blocks > LM_BITMAP_BITS_MAX)
    return lm_error_set (err, LM_ERR_LIMIT, "disk %s: %" PRIu64
                         " bytes are too many for an overlay", h->disk,
                         h->size);
  if (lm_io->mkdirat (dirfd, name, 0700) == -1)
    return lm_error_errno (err, errno, "%s: mkdir", name);
  fd = lm_io->openat (dirfd, name, O_RDONLY | O_DIRECTORY, 0);
  if (fd == -1)
    return lm_error_errno (err, errno, "%s", name);
  if (make_sparse (fd, "data", blocks * LM_OVERLAY_BLOCK, err) == -1 ||
      make_sparse (fd, "mask", mask_bytes (blocks), err) == -1 ||
      lm_layer_header_write (fd, keys, h, err) == -1)
    return lm_error_prefix (err, "%s", name);
  return lm_sync_parent (dirfd, name, err);
}

/* O1. */
static int
check_header (const struct lm_layer *l, const struct lm_layer_header *want,
              struct lm_error *err)
{
  const struct lm_layer_header *h = &l->header;

  if (memcmp (h->repository, want->repository,
              sizeof h->repository) != 0)
    return lm_error_set (err, LM_ERR_USAGE, "%s: belongs to another "
                         "repository", l->where);
  if (memcmp (h->snapshot, want->snapshot, sizeof h->snapshot) != 0)
    return lm_error_set (err, LM_ERR_USAGE, "%s: belongs to another "
                         "snapshot", l->where);
  if (strcmp (h->disk, want->disk) != 0)
    return lm_error_set (err, LM_ERR_USAGE, "%s: belongs to disk %s, "
                         "expected %s", l->where, h->disk, want->disk);
  if (h->size != want->size)
    return lm_error_set (err, LM_ERR_USAGE, "%s: is for a disk of %" PRIu64
                         " bytes, expected %" PRIu64, l->where, h->size,
                         want->size);
  if (h->has_parent != want->has_parent ||
      (h->has_parent &&
       memcmp (h->parent, want->parent, sizeof h->parent) != 0))
    return lm_error_set (err, LM_ERR_USAGE, "%s: lies upon another layer "
                         "than overlay.json says", l->where);
  return 0;
}

static int
open_file (struct lm_layer *l, const char *name, uint64_t size, int *ret_fd,
           struct lm_error *err)
{
  CLEANUP_CLOSE int fd = -1;
  struct stat st;

  fd = lm_io->openat (l->dirfd, name,
                      (l->writable ? O_RDWR : O_RDONLY) | O_NOFOLLOW, 0);
  if (fd == -1)
    return lm_error_errno (err, errno, "%s/%s", l->where, name);
  if (fstat (fd, &st) == -1)
    return lm_error_errno (err, errno, "%s/%s: stat", l->where, name);
  if (!S_ISREG (st.st_mode) || (uint64_t) st.st_size != size)
    return lm_corrupt (err, "%s/%s: %" PRIu64 " bytes, expected %" PRIu64,
                       l->where, name, (uint64_t) st.st_size, size);
  *ret_fd = lm_steal_fd (fd);
  return 0;
}

/* Fill `maybe` from where the file has data (section 2). */
static int
find_data (struct lm_layer *l, struct lm_error *err)
{
  off_t pos = 0, end;

  for (;;) {
    uint64_t first, last;

    pos = lseek (l->data_fd, pos, SEEK_DATA);
    if (pos == -1) {
      if (errno == ENXIO)
        return 0;
      return lm_error_errno (err, errno, "%s/data: SEEK_DATA", l->where);
    }
    end = lseek (l->data_fd, pos, SEEK_HOLE);
    if (end == -1)
      return lm_error_errno (err, errno, "%s/data: SEEK_HOLE", l->where);
    first = pos / LM_OVERLAY_BLOCK;
    last = lm_min_u64 (lm_div_up (end, LM_OVERLAY_BLOCK), l->blocks);
    if (first < last &&
        lm_bitmap_set (l->maybe, first, last - first, err) == -1)
      return -1;
    pos = end;
  }
}

/* Load `mask`, only where it has data. */
static int
load_mask (struct lm_layer *l, struct lm_error *err)
{
  uint64_t size = mask_bytes (l->blocks);
  uint8_t buf[4096];
  off_t pos = 0;

  while ((uint64_t) pos < size) {
    uint64_t n, i;

    pos = lseek (l->mask_fd, pos, SEEK_DATA);
    if (pos == -1) {
      if (errno == ENXIO)
        return 0;
      return lm_error_errno (err, errno, "%s/mask: SEEK_DATA", l->where);
    }
    pos -= pos % sizeof buf;
    n = lm_min_u64 (sizeof buf, size - pos);
    if (lm_pread_full (l->mask_fd, buf, n, pos, "mask", err) == -1)
      return lm_error_prefix (err, "%s", l->where);
    for (i = 0; i < 8 * n; i++) {
      uint64_t bit = (uint64_t) pos * 8 + i, run = 1;

      if (!(buf[i / 8] >> (i % 8) & 1) || bit >= l->blocks)
        continue;
      while (i + run < 8 * n && bit + run < l->blocks &&
             buf[(i + run) / 8] >> ((i + run) % 8) & 1)
        run++;
      if (lm_bitmap_set (l->masked, bit, run, err) == -1)
        return -1;
      i += run;
    }
    pos += n;
  }
  return 0;
}

static struct lm_layer *
new_layer (bool writable, struct lm_error *err)
{
  struct lm_layer *l = calloc (1, sizeof *l);
  pthread_rwlockattr_t attr;
  size_t i;

  if (l == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  l->dirfd = l->data_fd = l->mask_fd = -1;
  l->writable = writable;
  l->zeroed_low = UINT64_MAX;
  pthread_mutex_init (&l->mask_lock, NULL);
  pthread_mutex_init (&l->sync_lock, NULL);
  pthread_cond_init (&l->sync_done, NULL);
  /* The default lets a few busy readers keep a writer out for ever. */
  pthread_rwlockattr_init (&attr);
  pthread_rwlockattr_setkind_np
    (&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
  for (i = 0; i < STRIPES; i++)
    pthread_rwlock_init (&l->stripes[i], &attr);
  pthread_rwlockattr_destroy (&attr);
  return l;
}

static int
open_layer (struct lm_layer *l, int dirfd, const char *where,
            const struct lm_keys *keys, const struct lm_layer_header *want,
            struct lm_error *err)
{
  char name[LAYER_NAME_LEN];

  layer_name (want->id, name);
  if (asprintf (&l->where, "%s/%s", where, name) == -1) {
    l->where = NULL;
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  }
  l->dirfd = lm_io->openat (dirfd, name,
                            O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
  if (l->dirfd == -1)
    return lm_error_errno (err, errno, "%s", l->where);
  if (lm_layer_header_read (l->dirfd, keys, want->id, &l->header,
                            err) == -1)
    return lm_error_prefix (err, "%s", where);
  if (check_header (l, want, err) == -1)
    return -1;
  l->blocks = lm_div_up (l->header.size, LM_OVERLAY_BLOCK);
  if (open_file (l, "data", l->blocks * LM_OVERLAY_BLOCK, &l->data_fd,
                 err) == -1 ||
      open_file (l, "mask", mask_bytes (l->blocks), &l->mask_fd,
                 err) == -1 ||
      lm_layer_verify_marked (l, err) == -1)
    return -1;
  l->xts = lm_xts_new (l->header.key, err);
  l->maybe = lm_bitmap_new (l->blocks, err);
  l->masked = lm_bitmap_new (l->blocks, err);
  l->zeroed = lm_bitmap_new (l->blocks, err);
  if (l->xts == NULL || l->maybe == NULL || l->masked == NULL ||
      l->zeroed == NULL)
    return lm_error_prefix (err, "%s", l->where);
  return find_data (l, err) == -1 || load_mask (l, err) == -1 ? -1 : 0;
}

struct lm_layer *
lm_layer_open (int dirfd, const char *where, const struct lm_keys *keys,
               const struct lm_layer_header *expected, bool writable,
               struct lm_error *err)
{
  struct lm_layer *l = new_layer (writable, err);

  if (l == NULL)
    return NULL;
  if (open_layer (l, dirfd, where, keys, expected, err) == -1) {
    lm_layer_close (l);
    return NULL;
  }
  return l;
}

void
lm_layer_close (struct lm_layer *l)
{
  size_t i;

  if (l == NULL)
    return;
  lm_bitmap_free (l->maybe);
  lm_bitmap_free (l->masked);
  lm_bitmap_free (l->zeroed);
  lm_xts_free (l->xts);
  if (l->mask_fd >= 0)
    lm_io->close (l->mask_fd);
  if (l->data_fd >= 0)
    lm_io->close (l->data_fd);
  if (l->dirfd >= 0)
    lm_io->close (l->dirfd);
  for (i = 0; i < STRIPES; i++)
    pthread_rwlock_destroy (&l->stripes[i]);
  pthread_cond_destroy (&l->sync_done);
  pthread_mutex_destroy (&l->sync_lock);
  pthread_mutex_destroy (&l->mask_lock);
  lm_layer_header_release (&l->header);
  free (l->where);
  free (l);
}

uint64_t
lm_layer_blocks (const struct lm_layer *l)
{
  return l->blocks;
}

/* Stripes are taken in ascending order of their number, also when a range
 * wraps around their end: that is what keeps two ranges from waiting for
 * each other. */
static struct lm_layer_range
lock_range (struct lm_layer *l, uint64_t first, size_t count,
            int (*lock) (pthread_rwlock_t *))
{
  uint64_t from = first / STRIPE_BLOCKS;
  uint64_t n = (first + count - 1) / STRIPE_BLOCKS - from + 1;
  unsigned i, start = from % STRIPES;

  if (n >= STRIPES)
    start = 0, n = STRIPES;
  for (i = 0; start + n > STRIPES && i < start + n - STRIPES; i++)
    lock (&l->stripes[i]);
  for (i = start; i < STRIPES && i < start + n; i++)
    lock (&l->stripes[i]);
  return (struct lm_layer_range) { l, first, count };
}

struct lm_layer_range
lm_layer_lock_shared (struct lm_layer *l, uint64_t first, size_t count)
{
  return lock_range (l, first, count, pthread_rwlock_rdlock);
}

struct lm_layer_range
lm_layer_lock_exclusive (struct lm_layer *l, uint64_t first, size_t count)
{
  return lock_range (l, first, count, pthread_rwlock_wrlock);
}

void
lm_layer_unlock (struct lm_layer_range *r)
{
  lock_range (r->layer, r->first, r->count, pthread_rwlock_unlock);
}

bool
lm_layer_may_decide (const struct lm_layer *l, uint64_t first, size_t count)
{
  uint64_t end = first + count;

  return lm_bitmap_next_set (l->maybe, first, end) < end ||
    lm_bitmap_next_set (l->masked, first, end) < end;
}

static bool
is_zero (const uint8_t *block)
{
  return block[0] == 0 &&
    memcmp (block, block + 1, LM_OVERLAY_BLOCK - 1) == 0;
}

/* Read a run of blocks that may be present; those that are zero on disk
 * are absent, and keep their place in WANTED if they are not masked. */
static int
read_run (struct lm_layer *l, uint64_t first, size_t from, size_t to,
          uint8_t *buf, struct lm_block_set *wanted, struct lm_error *err)
{
  uint8_t *run = buf + from * LM_OVERLAY_BLOCK;
  size_t i, j;

  if (lm_pread_full (l->data_fd, run, (to - from) * LM_OVERLAY_BLOCK,
                     (first + from) * LM_OVERLAY_BLOCK, "data", err) == -1)
    return lm_error_prefix (err, "%s", l->where);
  for (i = from; i < to; i = j) {
    uint8_t *p = buf + i * LM_OVERLAY_BLOCK;

    if (is_zero (p)) {
      if (lm_bitmap_test (l->masked, first + i))
        lm_block_set_remove (wanted, i);
      j = i + 1;
      continue;
    }
    for (j = i; j < to && !is_zero (buf + j * LM_OVERLAY_BLOCK); j++)
      lm_block_set_remove (wanted, j);
    if (lm_xts_decrypt (l->xts, first + i, j - i, p, p, err) == -1)
      return -1;
  }
  return 0;
}

int
lm_layer_read_locked (struct lm_layer *l, uint64_t first, size_t count,
                      uint8_t *buf, struct lm_block_set *wanted,
                      struct lm_error *err)
{
  size_t i, j;

  for (i = 0; i < count; i = j) {
    j = i + 1;
    if (!lm_block_set_test (wanted, i))
      continue;
    if (lm_bitmap_test (l->maybe, first + i)) {
      while (j < count && lm_block_set_test (wanted, j) &&
             lm_bitmap_test (l->maybe, first + j))
        j++;
      if (read_run (l, first, i, j, buf, wanted, err) == -1)
        return -1;
    }
    else if (lm_bitmap_test (l->masked, first + i)) {
      memset (buf + i * LM_OVERLAY_BLOCK, 0, LM_OVERLAY_BLOCK);
      lm_block_set_remove (wanted, i);
    }
  }
  return 0;
}

static bool
is_space_error (int errnum)
{
  return errnum == ENOSPC || errnum == EDQUOT || errnum == EFBIG;
}

/* A write stopped at byte DONE of a run at block FIRST.  Is every block of
 * it old or new?  If one is neither, and was absent before, it is made
 * absent again. */
static bool
undo_torn (struct lm_layer *l, uint64_t first, size_t done)
{
  uint64_t torn = first + done / LM_OVERLAY_BLOCK;

  if (done % LM_OVERLAY_BLOCK == 0)
    return true;
  return !lm_bitmap_test (l->maybe, torn) &&
    lm_io->fallocate (l->data_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                      torn * LM_OVERLAY_BLOCK, LM_OVERLAY_BLOCK) == 0;
}

/* Write encrypted blocks and note them as present. */
static int
write_run (struct lm_layer *l, uint64_t first, size_t count,
           const uint8_t *buf, struct lm_error *err)
{
  size_t len = count * LM_OVERLAY_BLOCK, done = 0;
  struct lm_error more = LM_ERROR_INIT;
  int errnum = 0;
  bool sound = true;

  while (done < len && errnum == 0) {
    ssize_t r = lm_io->pwrite (l->data_fd, buf + done, len - done,
                               first * LM_OVERLAY_BLOCK + done);

    if (r == -1)
      errnum = errno;
    else if (r == 0)
      errnum = EIO;
    else
      done += r;
  }
  lm_layer_note_change (l, &l->data_dirty);
  if (errnum != 0)
    sound = is_space_error (errnum) && undo_torn (l, first, done);
  count = done / LM_OVERLAY_BLOCK;
  if (count > 0 &&
      (lm_bitmap_clear (l->zeroed, first, count, &more) == -1 ||
       lm_bitmap_set (l->maybe, first, count, &more) == -1)) {
    /* What is on disk cannot be seen: start over from the disk. */
    lm_layer_poison (l, &more);
    *err = more;
    return -1;
  }
  if (errnum == 0)
    return 0;
  lm_error_errno (err, errnum, "%s: write at 0x%" PRIx64, l->where,
                  first * LM_OVERLAY_BLOCK + done);
  if (is_space_error (errnum))
    err->kind = LM_ERR_NO_SPACE;
  if (!sound)
    lm_layer_poison (l, err);
  return -1;
}

int
lm_layer_write_locked (struct lm_layer *l, uint64_t first, size_t count,
                       const uint8_t *buf, struct lm_error *err)
{
  static const uint8_t zeros[BOUNCE_BLOCKS * LM_OVERLAY_BLOCK];
  uint8_t bounce[BOUNCE_BLOCKS * LM_OVERLAY_BLOCK];

  if (lm_layer_check_sound (l, err) == -1)
    return -1;
  while (count > 0) {
    size_t n = lm_min_u64 (count, BOUNCE_BLOCKS);

    if (lm_xts_encrypt (l->xts, first, n, buf ? buf : zeros, bounce,
                        err) == -1 ||
        write_run (l, first, n, bounce, err) == -1)
      return -1;
    if (buf)
      buf += n * LM_OVERLAY_BLOCK;
    first += n;
    count -= n;
  }
  return 0;
}

/* Without locks: what changes meanwhile may be told as it was or as it
 * will be, and can make a run seem empty. */
static enum lm_layer_state
find_state (const struct lm_layer *l, uint64_t from, uint64_t end,
            uint64_t *ret_end)
{
  if (lm_bitmap_test (l->zeroed, from)) {
    *ret_end = lm_bitmap_next_clear (l->zeroed, from, end);
    return LM_LAYER_ZERO;
  }
  if (lm_bitmap_test (l->maybe, from)) {
    end = lm_bitmap_next_clear (l->maybe, from, end);
    *ret_end = lm_bitmap_next_set (l->zeroed, from, end);
    return LM_LAYER_DATA;
  }
  end = lm_bitmap_next_set (l->maybe, from, end);
  if (lm_bitmap_test (l->masked, from)) {
    *ret_end = lm_bitmap_next_clear (l->masked, from, end);
    return LM_LAYER_ZERO;
  }
  *ret_end = lm_bitmap_next_set (l->masked, from, end);
  return LM_LAYER_ABSENT;
}

enum lm_layer_state
lm_layer_state (const struct lm_layer *l, uint64_t from, uint64_t end,
                uint64_t *ret_end)
{
  enum lm_layer_state state = find_state (l, from, end, ret_end);

  if (*ret_end == from) {       /* it changed while we looked */
    *ret_end = from + 1;
    return LM_LAYER_DATA;       /* always true enough */
  }
  return state;
}
