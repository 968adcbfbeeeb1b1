/* SPDX-License-Identifier: Apache-2.0
 *
 * An NBD export as a disk.
 *
 * What a server says about extents is only ever used to skip reading:
 * whatever is odd about it (empty, overlong or missing extents, an error)
 * turns the range into data.
 */
#include <config.h>

#include "formats/disk-nbd.h"

#include <libnbd.h>
#include <stdlib.h>
#include <string.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "common/banned.h"

/* Extents are asked for in steps of this length... */
#define STEP (UINT64_C (1) << 30)
/* ... and a server that is asked again and again for less than this is
 * not asked any more. */
#define MIN_PROGRESS 4096
#define MAX_SLOW_ANSWERS 16

struct disk_nbd {
  struct lm_disk base;
  struct lm_nbd_client *client;
  bool extents;
};

/* Joins neighbours of one type before they go to the callback. */
struct joiner {
  lm_extent_cb cb;
  void *opaque;
  uint64_t start, end;          /* what was not passed on yet */
  enum lm_extent_type type;
};

static int
joiner_flush (struct joiner *j, struct lm_error *err)
{
  uint64_t start = j->start;

  j->start = j->end;
  if (start == j->end)
    return 0;
  return j->cb (j->opaque, start, j->end - start, j->type, err);
}

/* The range from where the last one ended to END is TYPE. */
static int
joiner_add (struct joiner *j, uint64_t end, enum lm_extent_type type,
            struct lm_error *err)
{
  if (type != j->type && joiner_flush (j, err) == -1)
    return -1;
  j->type = type;
  j->end = end;
  return 0;
}

static int
disk_nbd_pread (struct lm_disk *disk, void *buf, size_t len,
                uint64_t offset, struct lm_error *err)
{
  struct disk_nbd *d = (struct disk_nbd *) disk;

  return lm_nbd_client_pread (d->client, buf, len, offset, err);
}

/* One question; *RET_BAD when the rest is better not asked for. */
static int
one_step (struct disk_nbd *d, uint64_t end, struct joiner *j, bool *ret_bad,
          struct lm_error *err)
{
  CLEANUP_FREE uint32_t *entries = NULL;
  uint64_t mask = lm_nbd_client_info (d->client)->min_block - 1;
  uint64_t from = j->end & ~mask;
  uint64_t to = lm_min_u64 (end, from + STEP);
  uint64_t asked_to = lm_min_u64 ((to + mask) & ~mask, d->base.size);
  uint64_t begun = j->end, pos = from;
  size_t nr = 0, i;

  if (lm_nbd_client_block_status (d->client, from, asked_to - from, &entries,
                                  &nr, err) == -1) {
    if (err->kind == LM_ERR_NOMEM)
      return -1;
    lm_error_clear (err);
    *ret_bad = true;
    return 0;
  }
  for (i = 0; i < nr && pos < to; i++) {
    uint32_t len = entries[2 * i], flags = entries[2 * i + 1];

    if (len == 0)
      break;
    pos += lm_min_u64 (len, to - pos);
    if (pos > j->end &&
        joiner_add (j, pos, flags & LIBNBD_STATE_ZERO ? LM_EXTENT_ZERO
                    : LM_EXTENT_DATA, err) == -1)
      return -1;
  }
  *ret_bad = j->end == begun;
  return 0;
}

static int
disk_nbd_extents (struct lm_disk *disk, uint64_t offset, uint64_t len,
                  lm_extent_cb cb, void *opaque, struct lm_error *err)
{
  struct disk_nbd *d = (struct disk_nbd *) disk;
  struct joiner j = { cb, opaque, offset, offset, LM_EXTENT_DATA };
  uint64_t end = offset + len;
  unsigned slow = 0;

  while (j.end < end) {
    uint64_t before = j.end;
    bool bad = !d->extents;

    if (!bad && one_step (d, end, &j, &bad, err) == -1)
      return -1;
    if (!bad && j.end < end && j.end - before < MIN_PROGRESS)
      bad = ++slow > MAX_SLOW_ANSWERS;
    if (bad && joiner_add (&j, end, LM_EXTENT_DATA, err) == -1)
      return -1;
  }
  return joiner_flush (&j, err);
}

static void
disk_nbd_close (struct lm_disk *disk)
{
  struct disk_nbd *d = (struct disk_nbd *) disk;

  lm_nbd_client_free (d->client);
  free (d);
}

static const struct lm_disk_ops nbd_ops = {
  .name = "nbd",
  .pread = disk_nbd_pread,
  .extents = disk_nbd_extents,
  .close = disk_nbd_close,
};

struct lm_disk *
lm_disk_nbd_wrap (struct lm_nbd_client *client, bool read_holes,
                  struct lm_error *err)
{
  const struct lm_nbd_info *info = lm_nbd_client_info (client);
  struct disk_nbd *d = calloc (1, sizeof *d);

  if (d == NULL) {
    lm_nbd_client_free (client);
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  d->base.ops = &nbd_ops;
  d->base.size = info->size;
  d->base.preferred_block = info->preferred_block;
  d->base.live = !info->read_only;
  d->client = client;
  d->extents = info->can_extents && !read_holes;
  return &d->base;
}

struct lm_disk *
lm_disk_nbd_open (const char *uri, const struct lm_disk_nbd_options *options,
                  struct lm_error *err)
{
  struct lm_nbd_client *client;

  client = lm_nbd_client_connect (uri, options ? options->timeout_ms : 0,
                                  err);
  if (client == NULL)
    return NULL;
  return lm_disk_nbd_wrap (client, options && options->read_holes, err);
}
