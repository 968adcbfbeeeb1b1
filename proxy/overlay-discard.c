/* SPDX-License-Identifier: Apache-2.0
 *
 * Trim and zero of whole blocks: masking what is absent, and giving the
 * space of what is present back in an order that no power cut can turn
 * around (O4; docs/overlay.md, section 4).
 */
#include <config.h>

#include "proxy/overlay-layer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "common/io.h"
#include "proxy/overlay-layer-internal.h"
#include "common/banned.h"

/* Runs from this length on are punched at once, at the price of a sync;
 * shorter ones are overwritten and punched by the next flush. */
#define PUNCH_BLOCKS 64

/* Mask bits for [first, end), which lie in one buffer's worth of bytes. */
static int
mask_some (struct lm_layer *l, uint64_t first, uint64_t end,
           struct lm_error *err)
{
  uint8_t bytes[4096 + 1];
  uint64_t start = first & ~UINT64_C (7), bit;
  size_t len = lm_div_up (end - start, 8), done = 0;

  lm_bitmap_get_bytes (l->masked, start, bytes, len);
  for (bit = first; bit < end; bit++)
    bytes[(bit - start) / 8] |= 1 << (bit % 8);
  while (done < len) {
    ssize_t r = lm_io->pwrite (l->mask_fd, bytes + done, len - done,
                               start / 8 + done);

    if (r <= 0) {
      int errnum = r == -1 ? errno : EIO;

      lm_error_errno (err, errnum, "%s/mask: write at 0x%" PRIx64, l->where,
                      start / 8 + done);
      if (err->kind != LM_ERR_NO_SPACE)
        lm_layer_poison (l, err);
      return -1;
    }
    done += r;
  }
  return lm_bitmap_set (l->masked, first, end - first, err);
}

static int
mask_blocks (struct lm_layer *l, uint64_t first, uint64_t count,
             struct lm_error *err)
{
  uint64_t end = first + count;
  int r = 0;

  if (lm_bitmap_next_clear (l->masked, first, end) == end)
    return 0;                   /* all are */
  {
    LM_LOCK_FOR_SCOPE (&l->mask_lock);

    while (first < end && r == 0) {
      uint64_t stop = lm_min_u64 (end, first + 8 * 4096);

      r = mask_some (l, first, stop, err);
      first = stop;
    }
  }
  lm_layer_note_change (l, &l->mask_dirty);
  return r;
}

static void
lower (_Atomic (uint64_t) *p, uint64_t to)
{
  uint64_t old = atomic_load (p);

  while (to < old && !atomic_compare_exchange_weak (p, &old, to))
    ;
}

static void
raise_to (_Atomic (uint64_t) *p, uint64_t to)
{
  uint64_t old = atomic_load (p);

  while (to > old && !atomic_compare_exchange_weak (p, &old, to))
    ;
}

/* Encrypted zeros over a masked run, to be punched by the next flush. */
static int
overwrite_locked (struct lm_layer *l, uint64_t first, uint64_t count,
                  struct lm_error *err)
{
  if (lm_layer_write_locked (l, first, count, NULL, err) == -1 ||
      lm_bitmap_set (l->zeroed, first, count, err) == -1)
    return -1;
  lower (&l->zeroed_low, first);
  raise_to (&l->zeroed_high, first + count);
  return 0;
}

int
lm_layer_punch_locked (struct lm_layer *l, uint64_t first, uint64_t count,
                       struct lm_error *err)
{
  if (atomic_load (&l->cannot_punch))
    return 1;
  if (lm_io->fallocate (l->data_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                        first * LM_OVERLAY_BLOCK,
                        count * LM_OVERLAY_BLOCK) == -1) {
    if (errno == EOPNOTSUPP || errno == ENOSYS) {
      atomic_store (&l->cannot_punch, true);
      return 1;
    }
    lm_error_errno (err, errno, "%s/data: punch at 0x%" PRIx64, l->where,
                    first * LM_OVERLAY_BLOCK);
    lm_layer_poison (l, err);
    return -1;
  }
  if (lm_bitmap_clear (l->maybe, first, count, err) == -1 ||
      lm_bitmap_clear (l->zeroed, first, count, err) == -1)
    lm_error_clear (err);       /* they read as zero and masked all the same */
  lm_layer_note_change (l, &l->data_dirty);
  return 0;
}

/* Of the present blocks [first, end), those that do not hold zeros yet. */
static int
overwrite_rest_locked (struct lm_layer *l, uint64_t first, uint64_t end,
                       struct lm_error *err)
{
  while ((first = lm_bitmap_next_clear (l->zeroed, first, end)) < end) {
    uint64_t stop = lm_bitmap_next_set (l->zeroed, first, end);

    if (overwrite_locked (l, first, stop - first, err) == -1)
      return -1;
    first = stop;
  }
  return 0;
}

/* Mask the blocks, and overwrite short runs of those present.  *RET_LONG
 * says that there are longer ones. */
static int
mask_and_overwrite (struct lm_layer *l, uint64_t first, uint64_t count,
                    bool *ret_long, struct lm_error *err)
{
  uint64_t end = first + count, at = first, from;

  if (mask_blocks (l, first, count, err) == -1)
    return -1;
  while ((from = lm_bitmap_next_set (l->maybe, at, end)) < end) {
    at = lm_bitmap_next_clear (l->maybe, from, end);
    if (at - from >= PUNCH_BLOCKS && !atomic_load (&l->cannot_punch))
      *ret_long = true;
    else if (overwrite_rest_locked (l, from, at, err) == -1)
      return -1;
  }
  return 0;
}

/* The mask bits are durable.  A run that was long may have been cut by
 * others meanwhile: what is left of it still has to go. */
static int
punch_long_runs (struct lm_layer *l, uint64_t first, uint64_t count,
                 struct lm_error *err)
{
  uint64_t end = first + count, at = first, from;

  while ((from = lm_bitmap_next_set (l->maybe, at, end)) < end) {
    int r = 1;

    at = lm_bitmap_next_clear (l->maybe, from, end);
    if (at - from >= PUNCH_BLOCKS)
      r = lm_layer_punch_locked (l, from, at - from, err);
    if (r == 1)
      r = overwrite_rest_locked (l, from, at, err);
    if (r == -1)
      return -1;
  }
  return 0;
}

int
lm_layer_discard (struct lm_layer *l, uint64_t first, uint64_t count,
                  struct lm_error *err)
{
  uint64_t end = first + count, at, stop;
  bool some_long = false;
  int r = 0;

  if (lm_layer_check_sound (l, err) == -1)
    return -1;
  for (at = first; at < end && r == 0; at = stop) {
    struct lm_layer_range lock;

    /* Aligned pieces, so that a run is not cut where it need not be. */
    stop = lm_min_u64 (end, (at / LM_LAYER_RANGE_MAX + 1) *
                            LM_LAYER_RANGE_MAX);
    lock = lm_layer_lock_exclusive (l, at, stop - at);
    r = mask_and_overwrite (l, at, stop - at, &some_long, err);
    lm_layer_unlock (&lock);
  }
  if (r == -1 || !some_long)
    return r;
  if (lm_layer_sync_mask (l, err) == -1)
    return -1;
  for (at = first; at < end && r == 0; at = stop) {
    struct lm_layer_range lock;

    stop = lm_min_u64 (end, (at / LM_LAYER_RANGE_MAX + 1) *
                            LM_LAYER_RANGE_MAX);
    lock = lm_layer_lock_exclusive (l, at, stop - at);
    r = punch_long_runs (l, at, stop - at, err);
    lm_layer_unlock (&lock);
  }
  return r;
}
