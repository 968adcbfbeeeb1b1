/* SPDX-License-Identifier: Apache-2.0
 * overlay.json and the layers' headers; see overlay-header.h.
 */
#include <config.h>

#include "proxy/overlay-header.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "common/cleanup.h"
#include "common/hex.h"
#include "common/io.h"
#include "common/json.h"
#include "formats/native/repository.h"
#include "formats/native/seal.h"
#include "common/banned.h"

#define HEADER_LIMIT 8192
#define INDEX_LIMIT (4u << 20)

void
lm_layer_header_release (struct lm_layer_header *h)
{
  free (h->disk);
  OPENSSL_cleanse (h, sizeof *h);
  *h = (struct lm_layer_header) LM_LAYER_HEADER_INIT;
}

static int
nomem (struct lm_error *err)
{
  return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
}

/* Buffers that have held the key. */
static void
free_secret (void *p, size_t len)
{
  if (p)
    OPENSSL_cleanse (p, len);
  free (p);
}

int
lm_layer_header_write (int dirfd, const struct lm_keys *keys,
                       const struct lm_layer_header *h, struct lm_error *err)
{
  CLEANUP_JSON json_t *obj = json_object ();
  CLEANUP_FREE uint8_t *object = NULL;
  size_t len = 0, object_len;
  char *text;
  int r;

  if (obj == NULL ||
      json_object_set_new (obj, "version",
                           json_integer (LM_OVERLAY_VERSION)) ||
      json_object_set_new (obj, "block",
                           json_integer (LM_OVERLAY_BLOCK)) ||
      json_object_set_new (obj, "disk", json_string (h->disk)) ||
      json_object_set_new (obj, "size", json_integer (h->size)) ||
      lm_json_set_hex (obj, "repository", h->repository,
                       sizeof h->repository) ||
      lm_json_set_hex (obj, "snapshot", h->snapshot, sizeof h->snapshot) ||
      lm_json_set_hex (obj, "key", h->key, sizeof h->key) ||
      (h->has_parent
       ? lm_json_set_hex (obj, "parent", h->parent, sizeof h->parent)
       : json_object_set_new (obj, "parent", json_null ())))
    return nomem (err);
  text = lm_json_dump (obj, &len, err);
  if (text == NULL)
    return -1;
  r = lm_seal_object (keys, LM_TYPE_LAYER_KEY, h->id, sizeof h->id, text,
                      len, &object, &object_len, err);
  free_secret (text, len);
  if (r == -1)
    return -1;
  return lm_file_replace (dirfd, "layer", object, object_len, 0600, err);
}

static int
decode_header (const uint8_t *plain, size_t len, const char *what,
               struct lm_layer_header *h, struct lm_error *err)
{
  CLEANUP_JSON json_t *obj = lm_json_parse (plain, len, what, err);
  uint64_t version, block;
  const char *disk;

  if (obj == NULL ||
      lm_json_u64 (obj, "version", UINT32_MAX, what, &version, err) == -1)
    return -1;
  if (version != LM_OVERLAY_VERSION)
    return lm_error_set (err, LM_ERR_UNSUPPORTED, "%s: version %" PRIu64
                         ", this program knows version %d", what, version,
                         LM_OVERLAY_VERSION);
  if (lm_json_u64 (obj, "block", UINT32_MAX, what, &block, err) == -1)
    return -1;
  if (block != LM_OVERLAY_BLOCK)
    return lm_corrupt (err, "%s: blocks of %" PRIu64 " bytes, expected %d",
                       what, block, LM_OVERLAY_BLOCK);
  disk = lm_json_string (obj, "disk", what, err);
  if (disk == NULL ||
      lm_json_u64 (obj, "size", LM_DISK_SIZE_MAX, what, &h->size,
                   err) == -1 ||
      lm_json_hex (obj, "repository", h->repository, sizeof h->repository,
                   what, err) == -1 ||
      lm_json_hex (obj, "snapshot", h->snapshot, sizeof h->snapshot, what,
                   err) == -1 ||
      lm_json_hex (obj, "key", h->key, sizeof h->key, what, err) == -1)
    return -1;
  h->has_parent = !json_is_null (json_object_get (obj, "parent"));
  if (h->has_parent &&
      lm_json_hex (obj, "parent", h->parent, sizeof h->parent, what,
                   err) == -1)
    return -1;
  h->disk = strdup (disk);
  return h->disk ? 0 : nomem (err);
}

int
lm_layer_header_read (int dirfd, const struct lm_keys *keys,
                      const uint8_t id[LM_LAYER_ID_LEN],
                      struct lm_layer_header *ret_header,
                      struct lm_error *err)
{
  struct lm_layer_header h = LM_LAYER_HEADER_INIT;
  CLEANUP_FREE char *object = NULL;
  size_t object_len, len = 0;
  uint8_t *plain = NULL;
  char what[64] = "layer ";
  int r;

  lm_hex_encode (id, LM_LAYER_ID_LEN, what + strlen (what));
  if (lm_file_read (dirfd, "layer", HEADER_LIMIT, &object, &object_len,
                    err) == -1)
    return lm_error_prefix (err, "%s", what);
  if (lm_open_object (keys, LM_TYPE_LAYER_KEY, id, LM_LAYER_ID_LEN,
                      (const uint8_t *) object, object_len, what, &plain,
                      &len, err) == -1)
    return -1;
  memcpy (h.id, id, sizeof h.id);
  r = decode_header (plain, len, what, &h, err);
  free_secret (plain, len);
  if (r == -1) {
    lm_layer_header_release (&h);
    return -1;
  }
  *ret_header = h;
  return 0;
}

void
lm_overlay_index_release (struct lm_overlay_index *index)
{
  size_t i;

  for (i = 0; i < index->nr_disks; i++)
    free (index->disks[i].disk);
  free (index->disks);
  *index = (struct lm_overlay_index) LM_OVERLAY_INDEX_INIT;
}

static const char index_name[] = "overlay.json";

static int
decode_stack (const json_t *obj, struct lm_overlay_stack *stack,
              struct lm_error *err)
{
  const char *name = lm_json_string (obj, "name", index_name, err);
  struct lm_error ignored = LM_ERROR_INIT;
  json_t *layers = NULL;
  size_t i;

  if (name == NULL)
    return -1;
  /* It will be the name of a folder. */
  if (lm_name_check ("disk", name, &ignored) == -1)
    return lm_corrupt (err, "%s: '%.128s' is not the name of a disk",
                       index_name, name);
  layers = lm_json_array (obj, "layers", index_name, err);
  if (layers == NULL)
    return -1;
  stack->nr_layers = json_array_size (layers);
  if (stack->nr_layers < 1 || stack->nr_layers > LM_OVERLAY_LAYERS_MAX)
    return lm_corrupt (err, "%s: disk %s has %zu layers, expected 1 to %d",
                       index_name, name, stack->nr_layers,
                       LM_OVERLAY_LAYERS_MAX);
  for (i = 0; i < stack->nr_layers; i++) {
    const char *hex = json_string_value (json_array_get (layers, i));

    if (hex == NULL ||
        lm_hex_decode (hex, stack->layers[i], LM_LAYER_ID_LEN) == -1)
      return lm_corrupt (err, "%s: disk %s: layer %zu is not an id",
                         index_name, name, i);
  }
  stack->disk = strdup (name);
  return stack->disk ? 0 : nomem (err);
}

static int
decode_index (const json_t *obj, struct lm_overlay_index *index,
              struct lm_error *err)
{
  const char *format;
  uint64_t version;
  json_t *disks;
  size_t n, i;

  format = lm_json_string (obj, "format", index_name, err);
  if (format == NULL)
    return -1;
  if (strcmp (format, "livemount-overlay") != 0)
    return lm_corrupt (err, "%s: format \"%s\", expected "
                       "\"livemount-overlay\"", index_name, format);
  if (lm_json_u64 (obj, "version", UINT32_MAX, index_name, &version,
                   err) == -1)
    return -1;
  if (version != LM_OVERLAY_VERSION)
    return lm_error_set (err, LM_ERR_UNSUPPORTED, "%s: version %" PRIu64
                         ", this program knows version %d", index_name,
                         version, LM_OVERLAY_VERSION);
  if (lm_json_hex (obj, "repository", index->repository,
                   sizeof index->repository, index_name, err) == -1 ||
      lm_json_hex (obj, "snapshot", index->snapshot,
                   sizeof index->snapshot, index_name, err) == -1)
    return -1;
  disks = lm_json_array (obj, "disks", index_name, err);
  if (disks == NULL)
    return -1;
  n = json_array_size (disks);
  if (n > LM_DISKS_MAX)
    return lm_corrupt (err, "%s: %zu disks, the limit is %d", index_name,
                       n, LM_DISKS_MAX);
  index->disks = calloc (n + 1, sizeof *index->disks);
  if (index->disks == NULL)
    return nomem (err);
  for (i = 0; i < n; i++) {
    if (decode_stack (json_array_get (disks, i), &index->disks[i],
                      err) == -1)
      return -1;
    index->nr_disks++;
  }
  return 0;
}

int
lm_overlay_index_read (int dirfd, struct lm_overlay_index *ret_index,
                       struct lm_error *err)
{
  struct lm_overlay_index index = LM_OVERLAY_INDEX_INIT;
  CLEANUP_FREE char *text = NULL;
  CLEANUP_JSON json_t *obj = NULL;
  size_t len;

  if (lm_file_read (dirfd, index_name, INDEX_LIMIT, &text, &len, err) == -1)
    return -1;
  obj = lm_json_parse (text, len, index_name, err);
  if (obj == NULL)
    return -1;
  if (decode_index (obj, &index, err) == -1) {
    lm_overlay_index_release (&index);
    return -1;
  }
  *ret_index = index;
  return 0;
}

static json_t *
encode_stack (const struct lm_overlay_stack *stack)
{
  json_t *layers = json_array ();
  size_t i;

  for (i = 0; layers != NULL && i < stack->nr_layers; i++) {
    char hex[2 * LM_LAYER_ID_LEN + 1];

    lm_hex_encode (stack->layers[i], LM_LAYER_ID_LEN, hex);
    if (json_array_append_new (layers, json_string (hex)) != 0) {
      json_decref (layers);
      return NULL;
    }
  }
  return json_pack ("{s:s, s:o}", "name", stack->disk, "layers", layers);
}

int
lm_overlay_index_write (int dirfd, const struct lm_overlay_index *index,
                        struct lm_error *err)
{
  CLEANUP_JSON json_t *obj = json_object ();
  CLEANUP_FREE char *text = NULL;
  json_t *disks = json_array ();
  size_t i, len;

  if (obj == NULL || disks == NULL ||
      json_object_set_new (obj, "disks", disks) ||
      json_object_set_new (obj, "format",
                           json_string ("livemount-overlay")) ||
      json_object_set_new (obj, "version",
                           json_integer (LM_OVERLAY_VERSION)) ||
      lm_json_set_hex (obj, "repository", index->repository,
                       sizeof index->repository) ||
      lm_json_set_hex (obj, "snapshot", index->snapshot,
                       sizeof index->snapshot))
    return nomem (err);
  for (i = 0; i < index->nr_disks; i++)
    if (json_array_append_new (disks, encode_stack (&index->disks[i])))
      return nomem (err);
  text = lm_json_dump (obj, &len, err);
  if (text == NULL)
    return -1;
  return lm_file_replace (dirfd, index_name, text, len, 0600, err);
}
