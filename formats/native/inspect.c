/* SPDX-License-Identifier: Apache-2.0
 *
 * The inspector; see inspect.h.  Packs, segments, chunks and nodes are in
 * inspect-pack.c.
 */
#include <config.h>

#include "formats/native/inspect.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/hex.h"
#include "common/json.h"
#include "formats/native/inspect-internal.h"
#include "formats/native/key-slot.h"
#include "formats/native/object-io.h"
#include "formats/native/repo-config.h"
#include "formats/native/repository-internal.h"
#include "formats/native/seal.h"
#include "common/banned.h"

int
lm_inspect_hex (struct lm_buffer *out, const char *name, const void *data,
                size_t len, struct lm_error *err)
{
  char hex[2 * 64 + 1];

  lm_hex_encode (data, len < 64 ? len : 64, hex);
  return lm_buffer_printf (out, err, "  %s: %s\n", name, hex);
}

static int
print_json (const json_t *v, struct lm_buffer *out, struct lm_error *err)
{
  CLEANUP_FREE char *text = json_dumps (v, JSON_INDENT (2) |
                                        JSON_SORT_KEYS);

  if (text == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  return lm_buffer_printf (out, err, "%s\n", text);
}

static const char *
method_name (uint8_t method)
{
  return method == LM_METHOD_NONE ? "none"
    : method == LM_METHOD_AES_256_GCM ? "aes-256-gcm" : "unknown";
}

int
lm_inspect_header (const uint8_t *object, size_t len, const char *name,
                   struct lm_buffer *out, struct lm_object_wire *ret_header,
                   struct lm_error *err)
{
  struct lm_object_wire h;

  if (len < sizeof h)
    return lm_corrupt (err, "%s: %zu bytes are too short for an object",
                       name, len);
  memcpy (&h, object, sizeof h);
  if (memcmp (h.magic, LM_OBJECT_MAGIC, sizeof h.magic) != 0)
    return lm_corrupt (err, "%s: not a sealed object (wrong magic at 0x0)",
                       name);
  *ret_header = h;
  if (lm_buffer_printf (out, err, "  type: %s (%u)\n  version: %u\n"
                        "  method: %s (%u)\n  plain length: %" PRIu64 "\n"
                        "  stored length: %zu\n  key epoch: %" PRIu32 "\n",
                        lm_object_type_name (h.type), h.type,
                        lm_get_le16 (h.version), method_name (h.method),
                        h.method, lm_get_le64 (h.plain_len), len,
                        lm_get_le32 (h.epoch)) == -1 ||
      lm_inspect_hex (out, "repository", h.repository, sizeof h.repository,
                      err) == -1 ||
      lm_inspect_hex (out, "object id", h.id, sizeof h.id, err) == -1 ||
      lm_inspect_hex (out, "salt", h.salt, sizeof h.salt, err) == -1 ||
      lm_inspect_hex (out, "nonce", h.nonce, sizeof h.nonce, err) == -1)
    return -1;
  return 0;
}

/* Where an object with this header belongs; empty if nowhere. */
static void
proper_name (const struct lm_object_wire *h, char out[LM_OBJECT_NAME_LEN])
{
  static const char *const folders[] = {
    [LM_TYPE_SEGMENT] = "index", [LM_TYPE_SNAPSHOT] = "snapshots",
    [LM_TYPE_JOURNAL] = "journal", [LM_TYPE_CHECKPOINT] = "checkpoints",
    [LM_TYPE_LEASE] = "leases", [LM_TYPE_PIN] = "pins",
    [LM_TYPE_STATE] = "states", [LM_TYPE_TRACE] = "traces",
  };
  lm_le64 sequence;
  lm_le32 epoch;

  out[0] = '\0';
  if (h->type == LM_TYPE_JOURNAL || h->type == LM_TYPE_CHECKPOINT) {
    memcpy (&sequence, h->id, sizeof sequence);
    lm_object_name_sequence (folders[h->type], lm_get_le64 (sequence), out);
  }
  else if (h->type == LM_TYPE_KEYRING) {
    memcpy (&epoch, h->id, sizeof epoch);
    snprintf (out, LM_OBJECT_NAME_LEN, "keyring/%08" PRIx32,
              lm_get_le32 (epoch));
  }
  else if (h->type < sizeof folders / sizeof folders[0] && folders[h->type])
    lm_object_name (folders[h->type], h->id, LM_NAME_ID_LEN, out);
}

static int
print_content (const struct lm_object_wire *h, const uint8_t *plain,
               size_t len, const char *name, struct lm_buffer *out,
               struct lm_error *err)
{
  CLEANUP_JSON json_t *v = NULL;

  if (h->type == LM_TYPE_SEGMENT)
    return lm_inspect_segment (plain, len, name, out, err);
  if (h->type == LM_TYPE_KEYRING)
    return lm_buffer_printf (out, err, "content: keys, not shown\n");
  v = lm_json_parse (plain, len, name, err);
  if (v == NULL || lm_buffer_printf (out, err, "content:\n") == -1)
    return -1;
  return print_json (v, out, err);
}

static int
inspect_sealed (struct lm_repository *repo, struct lm_store *store,
                const char *name, struct lm_buffer *out,
                struct lm_error *err)
{
  const size_t limit = lm_object_stored_limit (LM_TYPE_CHECKPOINT);
  CLEANUP_FREE uint8_t *object = NULL, *plain = NULL;
  char proper[LM_OBJECT_NAME_LEN];
  uint8_t sha256[LM_SHA256_LEN];
  struct lm_object_wire h;
  size_t len, plain_len;

  if (lm_store_get (store, name, limit, &object, &len, err) == -1 ||
      lm_buffer_printf (out, err, "%s\n", name) == -1 ||
      lm_inspect_header (object, len, name, out, &h, err) == -1)
    return -1;
  lm_sha256 (object, len, sha256);
  if (lm_inspect_hex (out, "sha256", sha256, sizeof sha256, err) == -1)
    return -1;
  proper_name (&h, proper);
  if (proper[0] && strcmp (proper, name) != 0 &&
      lm_buffer_printf (out, err, "  belongs under: %s\n", proper) == -1)
    return -1;
  if (repo == NULL)
    return lm_buffer_printf (out, err, "content: sealed; the repository's "
                             "key is needed\n");
  if (lm_open_object (repo->keys, h.type, h.id, sizeof h.id, object, len,
                      name, &plain, &plain_len, err) == -1)
    return -1;
  return print_content (&h, plain, plain_len, name, out, err);
}

static int
get_json (struct lm_store *store, const char *name, size_t limit,
          uint8_t **ret_data, size_t *ret_len, json_t **ret_json,
          struct lm_error *err)
{
  CLEANUP_FREE uint8_t *data = NULL;
  json_t *v;
  size_t len;

  if (lm_store_get (store, name, limit, &data, &len, err) == -1)
    return -1;
  v = lm_json_parse (data, len, name, err);
  if (v == NULL)
    return -1;
  *ret_data = lm_steal (data);
  *ret_len = len;
  *ret_json = v;
  return 0;
}

static int
inspect_config (struct lm_store *store, const char *name,
                struct lm_buffer *out, struct lm_error *err)
{
  CLEANUP_FREE uint8_t *data = NULL;
  CLEANUP_JSON json_t *v = NULL;
  struct lm_repo_config config;
  uint8_t sha256[LM_SHA256_LEN];
  size_t len;

  if (get_json (store, name, LM_CONFIG_SIZE_MAX, &data, &len, &v,
                err) == -1)
    return -1;
  lm_sha256 (data, len, sha256);
  if (lm_buffer_printf (out, err, "%s\n  stored length: %zu\n", name,
                        len) == -1 ||
      lm_inspect_hex (out, "sha256", sha256, sizeof sha256, err) == -1 ||
      lm_buffer_printf (out, err, "content:\n") == -1 ||
      print_json (v, out, err) == -1)
    return -1;
  return lm_repo_config_decode (data, len, store->location, &config, err);
}

/* Whoever has `wrapped` and the salt can try passphrases at leisure: it
 * does not belong into a bug report. */
static int
inspect_slot (struct lm_store *store, const char *name,
              struct lm_buffer *out, struct lm_error *err)
{
  CLEANUP_FREE uint8_t *data = NULL;
  CLEANUP_JSON json_t *v = NULL;
  struct lm_key_slot slot;
  size_t len;

  if (get_json (store, name, LM_SLOT_SIZE_MAX, &data, &len, &v, err) == -1)
    return -1;
  if (json_object_get (v, "wrapped"))
    json_object_set_new (v, "wrapped", json_string ("not shown"));
  if (lm_buffer_printf (out, err, "%s\n  stored length: %zu\ncontent:\n",
                        name, len) == -1 ||
      print_json (v, out, err) == -1)
    return -1;
  return lm_key_slot_decode (data, len, name, &slot, err);
}

/* Random bytes: there is nothing to see but how many. */
static int
inspect_reserve (struct lm_store *store, const char *name,
                 struct lm_buffer *out, struct lm_error *err)
{
  uint64_t size;

  if (lm_store_stat (store, name, &size, err) == -1)
    return -1;
  return lm_buffer_printf (out, err, "%s\n  stored length: %" PRIu64 "\n"
                           "content: nothing, it keeps room\n", name, size);
}

static int
inspect_by_id (struct lm_repository *repo, const char *object,
               enum lm_object_type type, const char *hex,
               struct lm_buffer *out, struct lm_error *err)
{
  uint8_t id[LM_ID_LEN];

  if (lm_hex_decode (hex, id, sizeof id) == -1)
    return lm_error_set (err, LM_ERR_USAGE, "'%.80s': an id has %d hex "
                         "digits", object, 2 * LM_ID_LEN);
  if (repo == NULL)
    return lm_error_set (err, LM_ERR_KEY, "%s: to find it the repository "
                         "must be open", object);
  if (!repo->loaded && lm_repository_load (repo, err) == -1)
    return -1;
  return lm_inspect_chunk (repo, type, id, out, err);
}

static bool
is_below (const char *object, const char *folder)
{
  size_t len = strlen (folder);

  return strncmp (object, folder, len) == 0 && object[len] == '/';
}

int
lm_inspect (struct lm_repository *repo, struct lm_store *store,
            const char *object, struct lm_buffer *out, struct lm_error *err)
{
  if (is_below (object, "chunk"))
    return inspect_by_id (repo, object, LM_TYPE_CHUNK, object + 6, out, err);
  if (is_below (object, "node"))
    return inspect_by_id (repo, object, LM_TYPE_NODE, object + 5, out, err);
  if (strcmp (object, LM_CONFIG_NAME) == 0)
    return inspect_config (store, object, out, err);
  if (is_below (object, "keys"))
    return inspect_slot (store, object, out, err);
  if (is_below (object, "packs"))
    return lm_inspect_pack (repo, store, object, out, err);
  if (is_below (object, "reserve"))
    return inspect_reserve (store, object, out, err);
  return inspect_sealed (repo, store, object, out, err);
}
