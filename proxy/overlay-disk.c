/* SPDX-License-Identifier: Apache-2.0
 *
 * A stack of layers upon a disk; see overlay-disk.h and docs/overlay.md,
 * section 2.
 *
 * Requests are cut into pieces of at most 1 MiB.  Of a piece, each layer
 * from the top takes the blocks that it decides, and the base gets the
 * rest.  Only the top's locks are ever taken, and they are let go before
 * anything below is read: a block that was absent when we looked may be
 * answered with what was below it then, whatever is written meanwhile.
 */
#include <config.h>

#include "proxy/overlay-disk.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "proxy/overlay.h"
#include "common/banned.h"

#define BLOCK LM_OVERLAY_BLOCK

struct overlay_disk {
  struct lm_disk disk;
  struct lm_disk *base;
  size_t nr_layers;
  struct lm_layer *layers[LM_OVERLAY_LAYERS_MAX];
};

static struct lm_layer *
top (const struct overlay_disk *d)
{
  return d->layers[d->nr_layers - 1];
}

/* What no layer has decided, from the base; beyond its end are zeros. */
static int
read_base (struct overlay_disk *d, uint64_t first, size_t count,
           uint8_t *buf, const struct lm_block_set *wanted,
           struct lm_error *err)
{
  size_t i, j;

  for (i = 0; i < count; i = j) {
    uint64_t offset = (first + i) * BLOCK, len;

    j = i + 1;
    if (!lm_block_set_test (wanted, i))
      continue;
    while (j < count && lm_block_set_test (wanted, j))
      j++;
    len = lm_min_u64 ((j - i) * BLOCK, d->base->size - offset);
    if (lm_disk_pread (d->base, buf + i * BLOCK, len, offset, err) == -1)
      return -1;
    memset (buf + i * BLOCK + len, 0, (j - i) * BLOCK - len);
  }
  return 0;
}

/* The blocks that the top does not decide. */
static int
read_below (struct overlay_disk *d, uint64_t first, size_t count,
            uint8_t *buf, struct lm_block_set *wanted, struct lm_error *err)
{
  size_t i;

  for (i = d->nr_layers - 1; i-- > 0;)
    if (lm_layer_may_decide (d->layers[i], first, count) &&
        lm_layer_read_locked (d->layers[i], first, count, buf, wanted,
                              err) == -1)
      return -1;
  return read_base (d, first, count, buf, wanted, err);
}

static struct lm_block_set
all_blocks (size_t count)
{
  struct lm_block_set s = { { 0 } };
  size_t i;

  for (i = 0; i < count; i++)
    lm_block_set_add (&s, i);
  return s;
}

static int
read_blocks_locked (struct overlay_disk *d, uint64_t first, size_t count,
                    uint8_t *buf, struct lm_error *err)
{
  struct lm_block_set wanted = all_blocks (count);

  if (lm_layer_read_locked (top (d), first, count, buf, &wanted, err) == -1)
    return -1;
  return read_below (d, first, count, buf, &wanted, err);
}

static int
read_blocks (struct overlay_disk *d, uint64_t first, size_t count,
             uint8_t *buf, struct lm_error *err)
{
  struct lm_block_set wanted = all_blocks (count);

  if (lm_layer_may_decide (top (d), first, count)) {
    struct lm_layer_range lock = lm_layer_lock_shared (top (d), first,
                                                       count);
    int r = lm_layer_read_locked (top (d), first, count, buf, &wanted, err);

    lm_layer_unlock (&lock);
    if (r == -1)
      return -1;
  }
  return read_below (d, first, count, buf, &wanted, err);
}

/* The next piece of a request: a part of one block, or whole blocks.
 * The last block of the disk is whole when all its bytes are meant. */
struct piece {
  uint64_t block;
  size_t in_block;              /* bytes; 0 when whole */
  size_t len;                   /* bytes of the request */
  size_t count;                 /* blocks; 0: a part of one */
};

static struct piece
next_piece (const struct lm_disk *disk, uint64_t offset, uint64_t len)
{
  struct piece p = { .block = offset / BLOCK, .in_block = offset % BLOCK };
  bool to_end = offset + len == disk->size;

  if (p.in_block == 0 && len >= BLOCK) {
    p.count = lm_min_u64 (len / BLOCK, LM_LAYER_RANGE_MAX);
    p.len = p.count * BLOCK;
  }
  else {
    p.len = lm_min_u64 (len, BLOCK - p.in_block);
    if (p.in_block == 0 && to_end)
      p.count = 1;
  }
  return p;
}

static int
overlay_pread (struct lm_disk *disk, void *buf, size_t len, uint64_t offset,
               struct lm_error *err)
{
  struct overlay_disk *d = (struct overlay_disk *) disk;
  uint8_t *out = buf;

  while (len > 0) {
    struct piece p = next_piece (disk, offset, len);

    if (p.len == p.count * BLOCK) {
      if (read_blocks (d, p.block, p.count, out, err) == -1)
        return -1;
    }
    else if (!lm_layer_may_decide (top (d), p.block, 1) &&
             d->nr_layers == 1) {
      /* Sparing the base the rest of the block. */
      if (lm_disk_pread (d->base, out, p.len, offset, err) == -1)
        return -1;
    }
    else {
      uint8_t block[BLOCK];

      if (read_blocks (d, p.block, 1, block, err) == -1)
        return -1;
      memcpy (out, block + p.in_block, p.len);
    }
    out += p.len;
    offset += p.len;
    len -= p.len;
  }
  return 0;
}

/* Blocks [FROM, END) as the layers up to LEVEL (one past it) and the base
 * have them. */
static int
extents_below (struct overlay_disk *d, size_t level, uint64_t from,
               uint64_t end, lm_extent_cb cb, void *opaque,
               struct lm_error *err)
{
  while (from < end) {
    uint64_t stop = end;
    enum lm_layer_state state = LM_LAYER_ABSENT;
    uint64_t offset = from * BLOCK, len;

    if (level > 0)
      state = lm_layer_state (d->layers[level - 1], from, end, &stop);
    len = lm_min_u64 (stop * BLOCK, d->disk.size) - offset;
    if (state != LM_LAYER_ABSENT) {
      if (cb (opaque, offset, len, state == LM_LAYER_ZERO ? LM_EXTENT_ZERO
                                                          : LM_EXTENT_DATA,
              err) == -1)
        return -1;
    }
    else if (level > 0) {
      if (extents_below (d, level - 1, from, stop, cb, opaque, err) == -1)
        return -1;
    }
    else if (lm_disk_extents (d->base, offset, len, cb, opaque, err) == -1)
      return -1;
    from = stop;
  }
  return 0;
}

/* The caller's range, from which whole blocks may stick out. */
struct clip {
  uint64_t offset, end;
  lm_extent_cb cb;
  void *opaque;
};

static int
clip_extent (void *opaque, uint64_t offset, uint64_t len,
             enum lm_extent_type type, struct lm_error *err)
{
  struct clip *c = opaque;
  uint64_t from = lm_max_u64 (offset, c->offset);
  uint64_t to = lm_min_u64 (offset + len, c->end);

  return from < to ? c->cb (c->opaque, from, to - from, type, err) : 0;
}

static int
overlay_extents (struct lm_disk *disk, uint64_t offset, uint64_t len,
                 lm_extent_cb cb, void *opaque, struct lm_error *err)
{
  struct overlay_disk *d = (struct overlay_disk *) disk;
  struct clip c = { offset, offset + len, cb, opaque };

  return extents_below (d, d->nr_layers, offset / BLOCK,
                        lm_div_up (offset + len, BLOCK), clip_extent, &c,
                        err);
}

static void
overlay_close (struct lm_disk *disk)
{
  struct overlay_disk *d = (struct overlay_disk *) disk;
  size_t i;

  for (i = 0; i < d->nr_layers; i++)
    lm_layer_close (d->layers[i]);
  lm_disk_close (d->base);
  free (d);
}

static const struct lm_disk_ops overlay_disk_ops = {
  .name = "overlay",
  .pread = overlay_pread,
  .extents = overlay_extents,
  .close = overlay_close,
};

struct lm_disk *
lm_overlay_disk_new (struct lm_layer *const *layers, size_t nr_layers,
                     struct lm_disk *base, struct lm_error *err)
{
  struct overlay_disk *d = calloc (1, sizeof *d);

  if (d == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  d->disk.ops = &overlay_disk_ops;
  d->disk.size = base->size;
  d->disk.preferred_block = base->preferred_block;
  d->disk.live = base->live;
  d->base = base;
  d->nr_layers = nr_layers;
  memcpy (d->layers, layers, nr_layers * sizeof layers[0]);
  return &d->disk;
}

static int
check_range (const struct lm_disk *disk, uint64_t offset, uint64_t len,
             struct lm_error *err)
{
  if (!lm_range_ok (offset, len, disk->size))
    return lm_error_set (err, LM_ERR_USAGE, "overlay: %" PRIu64 " bytes at "
                         "0x%" PRIx64 " lie beyond the end of the disk (0x%"
                         PRIx64 ")", len, offset, disk->size);
  return 0;
}

/* Put LEN bytes (zeros if SRC is NULL) into one block, the rest of which
 * stays (O8). */
static int
write_part (struct overlay_disk *d, const struct piece *p,
            const uint8_t *src, struct lm_error *err)
{
  struct lm_layer_range lock = lm_layer_lock_exclusive (top (d), p->block,
                                                        1);
  uint8_t block[BLOCK];
  int r;

  r = read_blocks_locked (d, p->block, 1, block, err);
  if (r == 0) {
    if (src)
      memcpy (block + p->in_block, src, p->len);
    else
      memset (block + p->in_block, 0, p->len);
    r = lm_layer_write_locked (top (d), p->block, 1, block, err);
  }
  lm_layer_unlock (&lock);
  return r;
}

static int
write_whole (struct overlay_disk *d, const struct piece *p,
             const uint8_t *src, struct lm_error *err)
{
  uint8_t last[BLOCK];
  struct lm_layer_range lock;
  int r;

  if (src && p->len < BLOCK) {  /* the disk's last block */
    memcpy (last, src, p->len);
    memset (last + p->len, 0, BLOCK - p->len);
    src = last;
  }
  lock = lm_layer_lock_exclusive (top (d), p->block, p->count);
  r = lm_layer_write_locked (top (d), p->block, p->count, src, err);
  lm_layer_unlock (&lock);
  return r;
}

int
lm_overlay_disk_pwrite (struct lm_disk *disk, const void *buf, size_t len,
                        uint64_t offset, struct lm_error *err)
{
  struct overlay_disk *d = (struct overlay_disk *) disk;
  const uint8_t *src = buf;

  if (check_range (disk, offset, len, err) == -1)
    return -1;
  while (len > 0) {
    struct piece p = next_piece (disk, offset, len);

    if ((p.count ? write_whole (d, &p, src, err)
                 : write_part (d, &p, src, err)) == -1)
      return -1;
    src += p.len;
    offset += p.len;
    len -= p.len;
  }
  return 0;
}

int
lm_overlay_disk_zero (struct lm_disk *disk, uint64_t len, uint64_t offset,
                      bool may_trim, struct lm_error *err)
{
  struct overlay_disk *d = (struct overlay_disk *) disk;

  if (check_range (disk, offset, len, err) == -1)
    return -1;
  while (len > 0) {
    struct piece p = next_piece (disk, offset, len);
    int r;

    if (p.count == 0)
      r = write_part (d, &p, NULL, err);
    else if (!may_trim)
      r = write_whole (d, &p, NULL, err);
    else {
      /* All whole blocks at once, so that one sync does for them. */
      if (offset + len == disk->size)
        p.count = lm_div_up (len, BLOCK), p.len = len;
      else
        p.count = len / BLOCK, p.len = p.count * BLOCK;
      r = lm_layer_discard (top (d), p.block, p.count, err);
    }
    if (r == -1)
      return -1;
    offset += p.len;
    len -= p.len;
  }
  return 0;
}

int
lm_overlay_disk_flush (struct lm_disk *disk, struct lm_error *err)
{
  return lm_layer_flush (top ((struct overlay_disk *) disk), err);
}
