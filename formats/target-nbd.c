/* SPDX-License-Identifier: Apache-2.0
 * An NBD export to restore to.
 */
#include <config.h>

#include <inttypes.h>
#include <stdlib.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "formats/disk-nbd.h"
#include "formats/nbd-client.h"
#include "formats/target-internal.h"
#include "common/banned.h"

#define ZEROS (1024 * 1024u)

struct target_nbd {
  struct lm_target base;
  struct lm_nbd_client *client;
};

static int
nbd_target_pwrite (struct lm_target *target, const void *buf, size_t len,
                   uint64_t offset, struct lm_error *err)
{
  struct target_nbd *t = (struct target_nbd *) target;

  return lm_nbd_client_pwrite (t->client, buf, len, offset, err);
}

static int
write_zeros (struct target_nbd *t, uint64_t offset, uint64_t len,
             struct lm_error *err)
{
  CLEANUP_FREE char *zeros = NULL;

  if (len == 0)
    return 0;
  zeros = calloc (1, ZEROS);
  if (zeros == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  while (len > 0) {
    size_t n = lm_min_u64 (len, ZEROS);

    if (lm_nbd_client_pwrite (t->client, zeros, n, offset, err) == -1)
      return -1;
    offset += n;
    len -= n;
  }
  return 0;
}

static int
nbd_target_zero (struct lm_target *target, uint64_t offset, uint64_t len,
                 struct lm_error *err)
{
  struct target_nbd *t = (struct target_nbd *) target;
  const struct lm_nbd_info *info = lm_nbd_client_info (t->client);
  uint64_t mask = info->min_block - 1;
  uint64_t first = lm_min_u64 ((offset + mask) & ~mask, offset + len);
  uint64_t end = lm_max_u64 ((offset + len) & ~mask, first);

  if (!info->can_zero || end == first)
    return write_zeros (t, offset, len, err);
  if (write_zeros (t, offset, first - offset, err) == -1 ||
      lm_nbd_client_zero (t->client, first, end - first, err) == -1)
    return -1;
  return write_zeros (t, end, offset + len - end, err);
}

static int
nbd_target_finish (struct lm_target *target, struct lm_error *err)
{
  struct target_nbd *t = (struct target_nbd *) target;

  /* A server without flush says that it has no cache. */
  if (!lm_nbd_client_info (t->client)->can_flush)
    return 0;
  return lm_nbd_client_flush (t->client, err);
}

static void
nbd_target_close (struct lm_target *target)
{
  struct target_nbd *t = (struct target_nbd *) target;

  lm_nbd_client_free (t->client);
  free (t);
}

static const struct lm_target_ops nbd_ops = {
  .name = "nbd",
  .pwrite = nbd_target_pwrite,
  .zero = nbd_target_zero,
  .finish = nbd_target_finish,
  .close = nbd_target_close,
};

static int
check_zero (struct target_nbd *t, uint64_t offset, uint64_t len,
            struct lm_error *err)
{
  CLEANUP_FREE char *buf = malloc (LM_TARGET_LOOK);

  if (buf == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  if (lm_nbd_client_pread (t->client, buf, len, offset, err) == -1)
    return -1;
  return lm_target_is_zero (buf, len) ? 0
    : lm_target_fail_data (lm_nbd_client_name (t->client), err);
}

static int
check_target (struct target_nbd *t, bool overwrite, struct lm_error *err)
{
  const struct lm_nbd_info *info = lm_nbd_client_info (t->client);
  const char *name = lm_nbd_client_name (t->client);
  uint64_t look = lm_min_u64 (info->size, LM_TARGET_LOOK);
  uint64_t end = lm_max_u64 (info->size - look, look);

  if (info->read_only)
    return lm_error_set (err, LM_ERR_USAGE, "%s: is read-only", name);
  if (info->size < t->base.size)
    return lm_target_fail_small (name, info->size, t->base.size, err);
  if (overwrite)
    return 0;
  if (check_zero (t, 0, look, err) == -1)
    return -1;
  return check_zero (t, end, info->size - end, err);
}

int
lm_target_nbd_open (const char *uri, uint64_t size, bool overwrite,
                    struct lm_target **ret, struct lm_error *err)
{
  struct target_nbd *t = calloc (1, sizeof *t);

  if (t == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  t->base.ops = &nbd_ops;
  t->base.size = size;
  t->client = lm_nbd_client_connect (uri, 0, err);
  if (t->client && check_target (t, overwrite, err) == 0) {
    *ret = &t->base;
    return 0;
  }
  nbd_target_close (&t->base);
  return -1;
}
