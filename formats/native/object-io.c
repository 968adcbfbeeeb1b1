/* SPDX-License-Identifier: Apache-2.0
 * Sealed objects in a store; see object-io.h.
 */
#include <config.h>

#include "formats/native/object-io.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/hex.h"
#include "formats/native/seal.h"
#include "common/banned.h"

/* Section 3, third table: the limits keep a hostile store from making us
 * allocate what it likes. */
static const struct {
  const char *name;
  size_t limit;
} types[] = {
  [LM_TYPE_CHUNK] = { "data chunk", 0 },
  [LM_TYPE_NODE] = { "map node", 0 },
  [LM_TYPE_PACK_TOC] = { "pack table of contents", (size_t) 64 << 20 },
  [LM_TYPE_SEGMENT] = { "index segment", (size_t) 128 << 20 },
  [LM_TYPE_SNAPSHOT] = { "snapshot manifest", (size_t) 16 << 20 },
  [LM_TYPE_JOURNAL] = { "journal record", (size_t) 16 << 20 },
  [LM_TYPE_CHECKPOINT] = { "checkpoint", (size_t) 256 << 20 },
  [LM_TYPE_LEASE] = { "lease", (size_t) 64 << 10 },
  [LM_TYPE_PIN] = { "pin", (size_t) 64 << 10 },
  [LM_TYPE_LAYER_KEY] = { "overlay layer key", (size_t) 4 << 10 },
  [LM_TYPE_CACHE_KEY] = { "disk cache key", (size_t) 4 << 10 },
  [LM_TYPE_KEYRING] = { "keyring", (size_t) 64 << 10 },
  [LM_TYPE_STATE] = { "verification state", (size_t) 1 << 20 },
  [LM_TYPE_TRACE] = { "boot trace", (size_t) 64 << 20 },
};

#define NR_TYPES (sizeof types / sizeof types[0])

size_t
lm_object_limit (enum lm_object_type type)
{
  return (unsigned) type < NR_TYPES ? types[type].limit : 0;
}

size_t
lm_object_stored_limit (enum lm_object_type type)
{
  /* The longer of the two tails: method 0 ends in a SHA-256. */
  return lm_object_limit (type) + sizeof (struct lm_object_wire) +
    LM_SHA256_LEN;
}

const char *
lm_object_type_name (enum lm_object_type type)
{
  if ((unsigned) type < NR_TYPES && types[type].name)
    return types[type].name;
  return "object of an unknown type";
}

void
lm_object_name (const char *folder, const void *id, size_t id_len,
                char out[LM_OBJECT_NAME_LEN])
{
  char hex[2 * LM_NAME_ID_LEN + 1];

  if (id_len > LM_NAME_ID_LEN)
    id_len = LM_NAME_ID_LEN;
  lm_hex_encode (id, id_len, hex);
  snprintf (out, LM_OBJECT_NAME_LEN, "%s/%s", folder, hex);
}

void
lm_object_name_sequence (const char *folder, uint64_t sequence,
                         char out[LM_OBJECT_NAME_LEN])
{
  snprintf (out, LM_OBJECT_NAME_LEN, "%s/%016" PRIx64, folder, sequence);
}

static const char *
below (const char *name, const char *folder)
{
  size_t len = strlen (folder);

  if (strncmp (name, folder, len) != 0 || name[len] != '/')
    return NULL;
  return name + len + 1;
}

bool
lm_object_name_parse (const char *name, const char *folder, void *ret_id,
                      size_t id_len)
{
  const char *hex = below (name, folder);

  return hex && lm_hex_decode (hex, ret_id, id_len) == 0;
}

bool
lm_object_name_parse_sequence (const char *name, const char *folder,
                               uint64_t *ret_sequence)
{
  uint8_t bytes[8];

  if (!lm_object_name_parse (name, folder, bytes, sizeof bytes))
    return false;
  *ret_sequence = lm_get_be64 (bytes);
  return true;
}

struct id_list {
  const char *folder;
  uint8_t (*ids)[LM_NAME_ID_LEN];
  size_t n, alloc;
};

static int
collect_id (void *opaque, const char *name, uint64_t size,
            struct lm_error *err)
{
  struct id_list *list = opaque;
  uint8_t id[LM_NAME_ID_LEN];

  (void) size;
  if (!lm_object_name_parse (name, list->folder, id, sizeof id))
    return 0;
  if (list->n == list->alloc) {
    size_t more = list->alloc ? list->alloc * 2 : 16;
    void *bigger = reallocarray (list->ids, more, sizeof *list->ids);

    if (bigger == NULL)
      return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    list->ids = bigger;
    list->alloc = more;
  }
  memcpy (list->ids[list->n++], id, sizeof id);
  return 0;
}

static int
compare_ids (const void *a, const void *b)
{
  return memcmp (a, b, LM_NAME_ID_LEN);
}

int
lm_object_list_ids (struct lm_store *store, const char *folder,
                    uint8_t (**ret_ids)[LM_NAME_ID_LEN], size_t *ret_n,
                    struct lm_error *err)
{
  struct id_list list = { folder, NULL, 0, 0 };

  if (lm_store_list (store, folder, collect_id, &list, err) == -1) {
    free (list.ids);
    return -1;
  }
  if (list.n > 0)
    qsort (list.ids, list.n, sizeof *list.ids, compare_ids);
  *ret_ids = list.ids;
  *ret_n = list.n;
  return 0;
}

int
lm_object_put (struct lm_store *store, const struct lm_keys *keys,
               enum lm_object_type type, const char *name, const void *id,
               size_t id_len, const void *plain, size_t len,
               enum lm_object_put how, uint8_t *ret_sha256,
               struct lm_error *err)
{
  CLEANUP_FREE uint8_t *object = NULL;
  struct iovec iov;

  if (len > lm_object_limit (type))
    return lm_error_set (err, LM_ERR_LIMIT, "%s: a %s of %zu bytes, the "
                         "limit is %zu", name, lm_object_type_name (type),
                         len, lm_object_limit (type));
  if (lm_seal_object (keys, type, id, id_len, plain, len, &object,
                      &iov.iov_len, err) == -1)
    return lm_error_prefix (err, "%s", name);
  if (ret_sha256)
    lm_sha256 (object, iov.iov_len, ret_sha256);
  iov.iov_base = object;
  if (how == LM_OBJECT_REPLACE)
    return lm_store_put (store, name, &iov, 1, err);
  return lm_store_put_if_absent (store, name, &iov, 1, err);
}

int
lm_object_get (struct lm_store *store, const struct lm_keys *keys,
               enum lm_object_type type, const char *name, const void *id,
               size_t id_len, uint8_t **ret_plain, size_t *ret_len,
               uint8_t *ret_sha256, struct lm_error *err)
{
  CLEANUP_FREE uint8_t *object = NULL;
  size_t len;

  if (lm_store_get (store, name, lm_object_stored_limit (type), &object,
                    &len, err) == -1)
    return -1;
  if (lm_open_object (keys, type, id, id_len, object, len, name, ret_plain,
                      ret_len, err) == -1)
    return -1;
  if (ret_sha256)
    lm_sha256 (object, len, ret_sha256);
  return 0;
}

int
lm_object_put_json (struct lm_store *store, const struct lm_keys *keys,
                    enum lm_object_type type, const char *name,
                    const void *id, size_t id_len, const json_t *value,
                    enum lm_object_put how, uint8_t *ret_sha256,
                    struct lm_error *err)
{
  CLEANUP_FREE char *text = NULL;
  size_t len;

  text = lm_json_dump (value, &len, err);
  if (text == NULL)
    return -1;
  return lm_object_put (store, keys, type, name, id, id_len, text, len, how,
                        ret_sha256, err);
}

json_t *
lm_object_get_json (struct lm_store *store, const struct lm_keys *keys,
                    enum lm_object_type type, const char *name,
                    const void *id, size_t id_len, uint8_t *ret_sha256,
                    struct lm_error *err)
{
  CLEANUP_FREE uint8_t *plain = NULL;
  size_t len;

  if (lm_object_get (store, keys, type, name, id, id_len, &plain, &len,
                     ret_sha256, err) == -1)
    return NULL;
  return lm_json_parse (plain, len, name, err);
}
