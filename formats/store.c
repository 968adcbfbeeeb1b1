/* SPDX-License-Identifier: Apache-2.0
 * The checked entry points of store.h.
 */
#include <config.h>

#include "formats/store.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/banned.h"

int
lm_store_check_name (const char *name, struct lm_error *err)
{
  size_t len = strnlen (name, LM_STORE_NAME_MAX + 1);
  size_t i;
  char prev = '/';

  if (strcmp (name, "tmp") == 0 || strncmp (name, "tmp/", 4) == 0)
    goto bad;
  if (len == 0 || len > LM_STORE_NAME_MAX)
    goto bad;
  for (i = 0; i < len; i++) {
    char c = name[i];

    if (prev == '/' && (c == '.' || c == '/'))
      goto bad;
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
          c == '.' || c == '/'))
      goto bad;
    prev = c;
  }
  if (prev == '/')
    goto bad;
  return 0;

bad:
  return lm_error_set (err, LM_ERR_USAGE, "'%.80s' is not an object name",
                       name);
}

int
lm_store_put (struct lm_store *s, const char *name, const struct iovec *iov,
              int iovcnt, struct lm_error *err)
{
  size_t len = 0;
  int i;

  if (lm_store_check_name (name, err) == -1)
    return -1;
  for (i = 0; i < iovcnt; i++)
    len += iov[i].iov_len;
  if (len > LM_STORE_PUT_MAX)
    return lm_error_set (err, LM_ERR_LIMIT, "%s: %zu bytes to replace an "
                         "object, the limit is %d", name, len,
                         LM_STORE_PUT_MAX);
  lm_debug (LM_DEBUG_STORE, "put %s", name);
  return s->ops->put (s, name, iov, iovcnt, err);
}

int
lm_store_put_if_absent (struct lm_store *s, const char *name,
                        const struct iovec *iov, int iovcnt,
                        struct lm_error *err)
{
  if (lm_store_check_name (name, err) == -1)
    return -1;
  lm_debug (LM_DEBUG_STORE, "put-if-absent %s", name);
  return s->ops->put_if_absent (s, name, iov, iovcnt, err);
}

int
lm_store_get_range (struct lm_store *s, const char *name, void *buf,
                    size_t len, uint64_t offset, struct lm_error *err)
{
  if (lm_store_check_name (name, err) == -1)
    return -1;
  lm_debug (LM_DEBUG_STORE, "get %s 0x%" PRIx64 "+%zu", name, offset, len);
  return s->ops->get_range (s, name, buf, len, offset, err);
}

int
lm_store_stat (struct lm_store *s, const char *name, uint64_t *ret_size,
               struct lm_error *err)
{
  if (lm_store_check_name (name, err) == -1)
    return -1;
  return s->ops->stat (s, name, ret_size, err);
}

int
lm_store_remove (struct lm_store *s, const char *name, struct lm_error *err)
{
  if (lm_store_check_name (name, err) == -1)
    return -1;
  lm_debug (LM_DEBUG_STORE, "remove %s", name);
  return s->ops->remove (s, name, err);
}

int
lm_store_list (struct lm_store *s, const char *prefix, lm_store_list_cb cb,
               void *opaque, struct lm_error *err)
{
  if (lm_store_check_name (prefix, err) == -1)
    return -1;
  lm_debug (LM_DEBUG_STORE, "list %s", prefix);
  return s->ops->list (s, prefix, cb, opaque, err);
}

int
lm_store_get (struct lm_store *s, const char *name, size_t limit,
              uint8_t **ret_data, size_t *ret_len, struct lm_error *err)
{
  CLEANUP_FREE uint8_t *data = NULL;
  uint64_t size;

  if (lm_store_stat (s, name, &size, err) == -1)
    return -1;
  if (size > limit)
    return lm_error_set (err, LM_ERR_LIMIT, "%s: %" PRIu64
                         " bytes, the limit is %zu", name, size, limit);
  data = malloc (size ? size : 1);
  if (data == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "%s: out of memory", name);
  if (size > 0 && lm_store_get_range (s, name, data, size, 0, err) == -1)
    return -1;
  *ret_data = lm_steal (data);
  *ret_len = size;
  return 0;
}

void
lm_store_close (struct lm_store *s)
{
  if (s)
    s->ops->close (s);
}
