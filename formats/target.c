/* SPDX-License-Identifier: Apache-2.0
 * The checked entry points of target.h, and from a location to a target.
 */
#include <config.h>

#include "formats/target.h"

#include <inttypes.h>
#include <string.h>

#include "common/checked.h"
#include "formats/nbd-client.h"
#include "formats/target-internal.h"
#include "common/banned.h"

static int
check_range (const struct lm_target *t, uint64_t offset, uint64_t len,
             struct lm_error *err)
{
  if (!lm_range_ok (offset, len, t->size))
    return lm_error_set (err, LM_ERR_USAGE,
                         "%s: %" PRIu64 " bytes at 0x%" PRIx64
                         " lie beyond the end of the target (0x%" PRIx64 ")",
                         t->ops->name, len, offset, t->size);
  return 0;
}

int
lm_target_pwrite (struct lm_target *t, const void *buf, size_t len,
                  uint64_t offset, struct lm_error *err)
{
  if (check_range (t, offset, len, err) == -1)
    return -1;
  return len == 0 ? 0 : t->ops->pwrite (t, buf, len, offset, err);
}

int
lm_target_zero (struct lm_target *t, uint64_t offset, uint64_t len,
                struct lm_error *err)
{
  if (check_range (t, offset, len, err) == -1)
    return -1;
  return len == 0 ? 0 : t->ops->zero (t, offset, len, err);
}

int
lm_target_finish (struct lm_target *t, struct lm_error *err)
{
  return t->ops->finish (t, err);
}

void
lm_target_close (struct lm_target *t)
{
  if (t)
    t->ops->close (t);
}

bool
lm_target_is_zero (const void *buf, size_t len)
{
  const char *p = buf;

  return len == 0 || (p[0] == 0 && memcmp (p, p + 1, len - 1) == 0);
}

int
lm_target_fail_data (const char *name, struct lm_error *err)
{
  lm_error_set (err, LM_ERR_EXISTS, "%s: holds data", name);
  return lm_error_hint (err, "--overwrite writes over it");
}

int
lm_target_fail_small (const char *name, uint64_t has, uint64_t needs,
                      struct lm_error *err)
{
  return lm_error_set (err, LM_ERR_USAGE, "%s: too small: %" PRIu64
                       " bytes, the disk has %" PRIu64, name, has, needs);
}

int
lm_target_open (const char *location, uint64_t size,
                const struct lm_target_options *options,
                struct lm_target **ret, struct lm_error *err)
{
  bool overwrite = options && options->overwrite;

  if (lm_nbd_is_uri (location))
    return lm_target_nbd_open (location, size, overwrite, ret, err);
  return lm_target_file_open (location, size, overwrite, ret, err);
}
