/* SPDX-License-Identifier: Apache-2.0
 * `config` and features; see repo-config.h and native.md section 4.
 */
#include <config.h>

#include "formats/native/repo-config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "common/timestamp.h"
#include "formats/native/seal.h"
#include "common/banned.h"

#define FORMAT "livemount-repository"

static const char *const class_names[LM_FEATURE_CLASSES] = {
  "required", "write", "optional",
};

/* What this program knows.  Reserved for later ones: key-epochs,
 * required. */
static const struct {
  enum lm_feature_class class;
  const char *name;
} known[] = {
  { LM_FEATURE_REQUIRED, LM_FEATURE_BASE_CHUNKS },
};

const char *
lm_feature_class_name (enum lm_feature_class class)
{
  return class < LM_FEATURE_CLASSES ? class_names[class] : "unknown";
}

int
lm_feature_class_parse (const char *text, const char *what,
                        enum lm_feature_class *ret_class,
                        struct lm_error *err)
{
  int c;

  for (c = 0; c < LM_FEATURE_CLASSES; c++)
    if (strcmp (text, class_names[c]) == 0) {
      *ret_class = c;
      return 0;
    }
  return lm_corrupt (err, "%s: '%.64s' is not a class of features", what,
                     text);
}

static int
check_feature_name (const char *name, const char *what, struct lm_error *err)
{
  size_t len = strnlen (name, LM_FEATURE_NAME_MAX + 1);

  if (len == 0 || len > LM_FEATURE_NAME_MAX ||
      strspn (name, "abcdefghijklmnopqrstuvwxyz0123456789-") != len)
    return lm_corrupt (err, "%s: '%.64s' is not the name of a feature",
                       what, name);
  return 0;
}

bool
lm_features_has (const struct lm_features *features,
                 enum lm_feature_class class, const char *name)
{
  size_t i;

  for (i = 0; i < features->n; i++)
    if (features->list[i].class == class &&
        strcmp (features->list[i].name, name) == 0)
      return true;
  return false;
}

int
lm_features_add (struct lm_features *features, enum lm_feature_class class,
                 const char *name, const char *what, struct lm_error *err)
{
  struct lm_feature *f;

  if (check_feature_name (name, what, err) == -1)
    return -1;
  if (lm_features_has (features, class, name))
    return 0;
  if (features->n == LM_FEATURES_MAX)
    return lm_error_set (err, LM_ERR_LIMIT,
                         "%s: more than %d features", what,
                         LM_FEATURES_MAX);
  f = &features->list[features->n++];
  f->class = class;
  snprintf (f->name, sizeof f->name, "%s", name);
  return 0;
}

static bool
is_known (const struct lm_feature *f)
{
  size_t i;

  for (i = 0; i < sizeof known / sizeof known[0]; i++)
    if (known[i].class == f->class && strcmp (known[i].name, f->name) == 0)
      return true;
  return false;
}

int
lm_features_check (const struct lm_features *features, bool read_only,
                   const char *what, struct lm_error *err)
{
  size_t i;

  for (i = 0; i < features->n; i++) {
    const struct lm_feature *f = &features->list[i];

    if (f->class == LM_FEATURE_OPTIONAL || is_known (f))
      continue;
    if (f->class == LM_FEATURE_WRITE && read_only)
      continue;
    lm_error_set (err, LM_ERR_UNSUPPORTED, f->class == LM_FEATURE_WRITE
                  ? "%s: to change this repository a program must know the "
                  "feature '%s', which this one does not"
                  : "%s: this repository needs the feature '%s', which this "
                  "program does not know", what, f->name);
    return lm_error_hint (err, "A newer version of livemount may know it");
  }
  return 0;
}

int
lm_chunk_size_check (uint64_t size, struct lm_error *err)
{
  if (!lm_is_power_of_2 (size) || size < LM_CHUNK_SIZE_MIN ||
      size > LM_CHUNK_SIZE_MAX)
    return lm_error_set (err, LM_ERR_USAGE, "a chunk size of %" PRIu64
                         " bytes is not possible: it must be a power of "
                         "two from %u to %u", size, LM_CHUNK_SIZE_MIN,
                         LM_CHUNK_SIZE_MAX);
  return 0;
}

static json_t *
encode_features (const struct lm_features *features)
{
  json_t *v = json_object ();
  size_t i;
  int c;

  for (c = 0; c < LM_FEATURE_CLASSES; c++)
    json_object_set_new (v, class_names[c], json_array ());
  for (i = 0; i < features->n; i++) {
    const struct lm_feature *f = &features->list[i];

    json_array_append_new (json_object_get (v, class_names[f->class]),
                           json_string (f->name));
  }
  return v;
}

char *
lm_repo_config_encode (const struct lm_repo_config *config, size_t *ret_len,
                       struct lm_error *err)
{
  char created[LM_TIMESTAMP_LEN + 1];
  CLEANUP_JSON json_t *v = NULL;

  lm_timestamp_format (config->created, created);
  v = json_pack ("{ss, si, ss, sI, ss, so}", "format", FORMAT,
                 "version", LM_NATIVE_VERSION, "created", created,
                 "chunk_size", (json_int_t) config->chunk_size,
                 "encryption", config->encrypted ? "aes-256-gcm" : "none",
                 "features", encode_features (&config->features));
  if (v == NULL ||
      lm_json_set_hex (v, "repository", config->repository,
                       LM_NAME_ID_LEN) == -1) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  return lm_json_dump (v, ret_len, err);
}

static int
decode_features (const json_t *v, const char *what,
                 struct lm_features *ret_features, struct lm_error *err)
{
  int c;

  for (c = 0; c < LM_FEATURE_CLASSES; c++) {
    json_t *names = lm_json_array (v, class_names[c], what, err);
    json_t *name;
    size_t i;

    if (names == NULL)
      return -1;
    json_array_foreach (names, i, name) {
      if (!json_is_string (name))
        return lm_corrupt (err, "%s: the name of a feature is not a string",
                           what);
      if (lm_features_add (ret_features, c, json_string_value (name), what,
                           err) == -1)
        return -1;
    }
  }
  return 0;
}

/* Format and version come first: only they say how to read the rest. */
static int
check_format (const json_t *v, const char *what, struct lm_error *err)
{
  const char *format = lm_json_string_or_null (v, "format");
  uint64_t version;

  if (format == NULL || strcmp (format, FORMAT) != 0)
    return lm_error_set (err, LM_ERR_NO_REPOSITORY, "%s: not the config of "
                         "a livemount repository", what);
  if (lm_json_u64 (v, "version", INT32_MAX, what, &version, err) == -1)
    return -1;
  if (version != LM_NATIVE_VERSION) {
    lm_error_set (err, LM_ERR_UNSUPPORTED, "%s: version %" PRIu64
                  " of the format, this program knows version %d", what,
                  version, LM_NATIVE_VERSION);
    return lm_error_hint (err, "A newer version of livemount may read it");
  }
  return 0;
}

static int
decode_encryption (const json_t *v, const char *what, bool *ret_encrypted,
                   struct lm_error *err)
{
  const char *name = lm_json_string (v, "encryption", what, err);

  if (name == NULL)
    return -1;
  if (strcmp (name, "aes-256-gcm") == 0)
    *ret_encrypted = true;
  else if (strcmp (name, "none") == 0)
    *ret_encrypted = false;
  else
    return lm_error_set (err, LM_ERR_UNSUPPORTED,
                         "%s: unknown encryption '%.64s'", what, name);
  return 0;
}

int
lm_repo_config_decode (const void *data, size_t len, const char *where,
                       struct lm_repo_config *ret_config,
                       struct lm_error *err)
{
  struct lm_repo_config config = { .features.n = 0 };
  struct lm_error size_err = LM_ERROR_INIT;
  CLEANUP_JSON json_t *v = NULL;
  CLEANUP_FREE char *what = NULL;
  const char *created;
  json_t *features;
  uint64_t chunk_size;

  if (asprintf (&what, "%s: " LM_CONFIG_NAME, where) == -1) {
    what = NULL;
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  }
  v = lm_json_parse (data, len, what, err);
  if (v == NULL || check_format (v, what, err) == -1)
    return -1;
  if (lm_json_hex (v, "repository", config.repository, LM_NAME_ID_LEN, what,
                   err) == -1 ||
      lm_json_u64 (v, "chunk_size", UINT32_MAX, what, &chunk_size,
                   err) == -1 ||
      decode_encryption (v, what, &config.encrypted, err) == -1)
    return -1;
  if (lm_chunk_size_check (chunk_size, &size_err) == -1)
    return lm_corrupt (err, "%s: %s", what, size_err.message);
  config.chunk_size = chunk_size;
  created = lm_json_string (v, "created", what, err);
  if (created == NULL)
    return -1;
  if (lm_timestamp_parse (created, &config.created) == -1)
    return lm_corrupt (err, "%s: 'created' is not a time", what);
  features = lm_json_object (v, "features", what, err);
  if (features == NULL ||
      decode_features (features, what, &config.features, err) == -1)
    return -1;
  *ret_config = config;
  return 0;
}

int
lm_repo_config_read (struct lm_store *store,
                     struct lm_repo_config *ret_config,
                     uint8_t ret_sha256[LM_SHA256_LEN],
                     struct lm_error *err)
{
  CLEANUP_FREE uint8_t *data = NULL;
  size_t len;

  if (lm_store_get (store, LM_CONFIG_NAME, LM_CONFIG_SIZE_MAX, &data, &len,
                    err) == -1) {
    if (err->kind != LM_ERR_NOT_FOUND)
      return -1;
    lm_error_set (err, LM_ERR_NO_REPOSITORY, "%s: there is no repository",
                  store->location);
    return lm_error_hint (err, "Make one with: livemount -r LOCATION init");
  }
  lm_sha256 (data, len, ret_sha256);
  return lm_repo_config_decode (data, len, store->location, ret_config,
                                err);
}
