/* SPDX-License-Identifier: Apache-2.0
 *
 * `config` and the features of a repository (native.md section 4).
 */
#ifndef LM_FORMATS_NATIVE_REPO_CONFIG_H
#define LM_FORMATS_NATIVE_REPO_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/json.h"
#include "formats/native/native-wire.h"
#include "formats/store.h"

#define LM_CONFIG_NAME "config"
#define LM_CONFIG_SIZE_MAX ((size_t) 64 << 10)

#define LM_FEATURE_NAME_MAX 64  /* bytes */
#define LM_FEATURES_MAX 64      /* per repository */

/* Chunks stored against a base, native.md section 6.2; required. */
#define LM_FEATURE_BASE_CHUNKS "base-chunks"

enum lm_feature_class {
  LM_FEATURE_REQUIRED,
  LM_FEATURE_WRITE,
  LM_FEATURE_OPTIONAL,
  LM_FEATURE_CLASSES            /* how many there are */
};

struct lm_feature {
  enum lm_feature_class class;
  char name[LM_FEATURE_NAME_MAX + 1];
};

/* Plain data: nothing to release. */
struct lm_features {
  size_t n;
  struct lm_feature list[LM_FEATURES_MAX];
};

/* "required", "write", "optional". */
extern const char *lm_feature_class_name (enum lm_feature_class class);
extern int lm_feature_class_parse (const char *text, const char *what,
                                   enum lm_feature_class *ret_class,
                                   struct lm_error *err)
  __attribute__ ((nonnull));

/* Add one; one that is there already stays once.  A bad name is
 * LM_ERR_CORRUPT, too many are LM_ERR_LIMIT. */
extern int lm_features_add (struct lm_features *features,
                            enum lm_feature_class class, const char *name,
                            const char *what, struct lm_error *err)
  __attribute__ ((nonnull));

extern bool lm_features_has (const struct lm_features *features,
                             enum lm_feature_class class, const char *name)
  __attribute__ ((nonnull));

/* May this program use the repository?  LM_ERR_UNSUPPORTED with the name
 * of an unknown required feature, or of an unknown write feature unless
 * READ_ONLY. */
extern int lm_features_check (const struct lm_features *features,
                              bool read_only, const char *what,
                              struct lm_error *err)
  __attribute__ ((nonnull));

struct lm_repo_config {
  uint8_t repository[LM_NAME_ID_LEN];
  int64_t created;              /* seconds since the epoch, for people */
  uint32_t chunk_size;          /* bytes */
  bool encrypted;
  struct lm_features features;
};

/* 0 if SIZE may be a repository's chunk size; LM_ERR_USAGE otherwise. */
extern int lm_chunk_size_check (uint64_t size, struct lm_error *err)
  __attribute__ ((nonnull));

/* The bytes of the object; free the result. */
extern char *lm_repo_config_encode (const struct lm_repo_config *config,
                                    size_t *ret_len, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Decode and check everything but the features.  WHERE names the
 * repository in messages.  LM_ERR_NO_REPOSITORY when it is something
 * else's `config`, LM_ERR_UNSUPPORTED for another version. */
extern int lm_repo_config_decode (const void *data, size_t len,
                                  const char *where,
                                  struct lm_repo_config *ret_config,
                                  struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Get and decode it, and the SHA-256 of the object.  Needs no key.
 * LM_ERR_NO_REPOSITORY when there is none. */
extern int lm_repo_config_read (struct lm_store *store,
                                struct lm_repo_config *ret_config,
                                uint8_t ret_sha256[LM_SHA256_LEN],
                                struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
