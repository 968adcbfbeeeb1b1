/* SPDX-License-Identifier: Apache-2.0
 * Reading and writing over an NBD connection; see nbd-client.h.
 */
#include <config.h>

#include <libnbd.h>
#include <stdlib.h>
#include <string.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "formats/nbd-client-internal.h"
#include "common/banned.h"

/* Unaligned requests go through a buffer of this size: a multiple of every
 * min_block. */
#define EDGE_BUFFER (1024 * 1024u)

/* Zero requests have 32-bit lengths. */
#define ZERO_STEP (1u << 30)

/* A flush can have gigabytes to write. */
#define LONG_PATIENCE 10

static int
aligned_pread (struct lm_nbd_client *c, uint8_t *buf, size_t len,
               uint64_t offset, struct lm_error *err)
{
  struct request req;
  size_t done, n;

  lm_nbd_request_begin (c, &req, 1);
  for (done = 0; done < len; done += n) {
    n = lm_min_u64 (len - done, c->info.max_block);
    lm_nbd_request_submitted (&req,
      nbd_aio_pread (c->nbd, buf + done, n, offset + done,
                     lm_nbd_request_callback (&req), 0));
  }
  return lm_nbd_request_end (&req, "read", offset, err);
}

static int
aligned_pwrite (struct lm_nbd_client *c, const uint8_t *buf, size_t len,
                uint64_t offset, struct lm_error *err)
{
  struct request req;
  size_t done, n;

  lm_nbd_request_begin (c, &req, 1);
  for (done = 0; done < len; done += n) {
    n = lm_min_u64 (len - done, c->info.max_block);
    lm_nbd_request_submitted (&req,
      nbd_aio_pwrite (c->nbd, buf + done, n, offset + done,
                      lm_nbd_request_callback (&req), 0));
  }
  return lm_nbd_request_end (&req, "write", offset, err);
}

static bool
is_aligned (const struct lm_nbd_client *c, uint64_t offset, uint64_t len)
{
  return ((offset | len) & (c->info.min_block - 1)) == 0;
}

/* Copy through an aligned buffer, to or from the server. */
static int
through_buffer (struct lm_nbd_client *c, void *to, const void *from,
                size_t len, uint64_t offset, struct lm_error *err)
{
  CLEANUP_FREE uint8_t *edge = NULL;
  uint64_t mask = c->info.min_block - 1;

  edge = malloc (EDGE_BUFFER);
  if (edge == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "%s: out of memory", c->name);
  while (len > 0) {
    uint64_t start = offset & ~mask;
    size_t skip = offset - start;
    size_t n = lm_min_u64 (len, EDGE_BUFFER - skip);
    /* The size should be a multiple of the block, but need not be. */
    size_t span = lm_min_u64 (((skip + n + mask) & ~mask),
                              c->info.size - start);

    if (aligned_pread (c, edge, span, start, err) == -1)
      return -1;
    if (to) {
      memcpy (to, edge + skip, n);
      to = (uint8_t *) to + n;
    }
    else {
      memcpy (edge + skip, from, n);
      from = (const uint8_t *) from + n;
      if (aligned_pwrite (c, edge, span, start, err) == -1)
        return -1;
    }
    offset += n;
    len -= n;
  }
  return 0;
}

int
lm_nbd_client_pread (struct lm_nbd_client *c, void *buf, size_t len,
                     uint64_t offset, struct lm_error *err)
{
  if (is_aligned (c, offset, len))
    return aligned_pread (c, buf, len, offset, err);
  return through_buffer (c, buf, NULL, len, offset, err);
}

int
lm_nbd_client_pwrite (struct lm_nbd_client *c, const void *buf, size_t len,
                      uint64_t offset, struct lm_error *err)
{
  if (is_aligned (c, offset, len))
    return aligned_pwrite (c, buf, len, offset, err);
  LM_LOCK_FOR_SCOPE (&c->edge_lock);
  return through_buffer (c, NULL, buf, len, offset, err);
}

/* One step at a time: a server that writes the zeros itself is slow. */
int
lm_nbd_client_zero (struct lm_nbd_client *c, uint64_t offset, uint64_t len,
                    struct lm_error *err)
{
  while (len > 0) {
    uint64_t n = lm_min_u64 (len, ZERO_STEP);
    struct request req;

    lm_nbd_request_begin (c, &req, LONG_PATIENCE);
    lm_nbd_request_submitted (&req,
      nbd_aio_zero (c->nbd, n, offset, lm_nbd_request_callback (&req), 0));
    if (lm_nbd_request_end (&req, "write zeros", offset, err) == -1)
      return -1;
    offset += n;
    len -= n;
  }
  return 0;
}

int
lm_nbd_client_flush (struct lm_nbd_client *c, struct lm_error *err)
{
  struct request req;

  lm_nbd_request_begin (c, &req, LONG_PATIENCE);
  lm_nbd_request_submitted (&req,
    nbd_aio_flush (c->nbd, lm_nbd_request_callback (&req), 0));
  return lm_nbd_request_end (&req, "flush", c->info.size, err);
}

/* Entries of one answer; more than this is not looked at. */
#define MAX_ENTRIES (1024 * 1024)

struct answer {
  uint32_t *entries;
  size_t nr;                    /* pairs */
  bool nomem;
};

/* A server could call it twice, or with another context's name. */
static int
on_extents (void *opaque, const char *context, uint64_t offset,
            uint32_t *entries, size_t nr_entries, int *error)
{
  struct answer *a = opaque;

  (void) offset;
  (void) error;
  if (a->entries || strcmp (context, LIBNBD_CONTEXT_BASE_ALLOCATION) != 0)
    return 0;
  a->nr = lm_min_u64 (nr_entries / 2, MAX_ENTRIES);
  a->entries = malloc (a->nr * 2 * sizeof *entries + 1);
  if (a->entries)
    memcpy (a->entries, entries, a->nr * 2 * sizeof *entries);
  else {
    a->nr = 0;
    a->nomem = true;
  }
  return 0;
}

int
lm_nbd_client_block_status (struct lm_nbd_client *c, uint64_t offset,
                            uint32_t len, uint32_t **ret_entries,
                            size_t *ret_nr, struct lm_error *err)
{
  struct answer a = { NULL, 0, false };
  nbd_extent_callback callback = { on_extents, &a, NULL };
  struct request req;

  lm_nbd_request_begin (c, &req, 1);
  lm_nbd_request_submitted (&req,
    nbd_aio_block_status (c->nbd, len, offset, callback,
                          lm_nbd_request_callback (&req), 0));
  if (lm_nbd_request_end (&req, "block status", offset, err) == -1) {
    free (a.entries);
    return -1;
  }
  if (a.nomem)
    return lm_error_set (err, LM_ERR_NOMEM, "%s: out of memory", c->name);
  *ret_entries = a.entries;
  *ret_nr = a.nr;
  return 0;
}
