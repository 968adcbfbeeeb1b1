/* SPDX-License-Identifier: Apache-2.0
 * `config`: round trip, refusals, features.
 */
#include <config.h>

#include "formats/native/repo-config.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct lm_error err;

static struct lm_repo_config
sample (void)
{
  return (struct lm_repo_config) {
    .repository = "repository-0001", .created = 1795329000,
    .chunk_size = 65536, .encrypted = true,
  };
}

Test (repo_config, is_the_text_that_the_document_shows)
{
  struct lm_repo_config config = sample (), back;
  size_t len;
  char *text = lm_repo_config_encode (&config, &len, &err);

  cr_assert_not_null (text, "%s", err.message);
  cr_expect (eq (str, text, (char *) "{\"chunk_size\":65536,\"created\":"
    "\"2026-11-22T06:30:00Z\",\"encryption\":\"aes-256-gcm\",\"features\":"
    "{\"optional\":[],\"required\":[],\"write\":[]},\"format\":"
    "\"livemount-repository\",\"repository\":"
    "\"7265706f7369746f72792d3030303100\",\"version\":1}"));
  cr_assert (eq (int, lm_repo_config_decode (text, len, "r", &back, &err),
                 0), "%s", err.message);
  cr_expect (memcmp (back.repository, config.repository, 16) == 0);
  cr_expect (eq (i64, back.created, config.created));
  cr_expect (eq (u32, back.chunk_size, 65536));
  cr_expect (back.encrypted);
  cr_expect (eq (sz, back.features.n, 0));
  free (text);
}

Test (repo_config, what_is_wrong_is_said)
{
  static const struct {
    const char *key, *value;
    enum lm_error_kind kind;
    const char *message;
  } rows[] = {
    { "format", "\"restic\"", LM_ERR_NO_REPOSITORY,
      "r: config: not the config of a livemount repository" },
    { "version", "2", LM_ERR_UNSUPPORTED, "r: config: version 2 of the "
      "format, this program knows version 1" },
    { "version", "true", LM_ERR_CORRUPT,
      "r: config: 'version' is missing or not a whole number" },
    { "repository", "\"00\"", LM_ERR_CORRUPT,
      "r: config: 'repository' is not 16 bytes of hex" },
    { "created", "\"once\"", LM_ERR_CORRUPT,
      "r: config: 'created' is not a time" },
    { "created", "1", LM_ERR_CORRUPT,
      "r: config: 'created' is missing or not a string" },
    { "chunk_size", "65537", LM_ERR_CORRUPT, "r: config: a chunk size of "
      "65537 bytes is not possible: it must be a power of two from 4096 to "
      "1048576" },
    { "chunk_size", "2048", LM_ERR_CORRUPT, "r: config: a chunk size of "
      "2048 bytes is not possible: it must be a power of two from 4096 to "
      "1048576" },
    { "chunk_size", "2097152", LM_ERR_CORRUPT, "r: config: a chunk size of "
      "2097152 bytes is not possible: it must be a power of two from 4096 "
      "to 1048576" },
    { "chunk_size", "0", LM_ERR_CORRUPT, "r: config: a chunk size of 0 "
      "bytes is not possible: it must be a power of two from 4096 to "
      "1048576" },
    { "encryption", "\"rot13\"", LM_ERR_UNSUPPORTED,
      "r: config: unknown encryption 'rot13'" },
    { "features", "[]", LM_ERR_CORRUPT,
      "r: config: 'features' is missing or not an object" },
    { "features", "{\"required\": [], \"write\": []}", LM_ERR_CORRUPT,
      "r: config: 'optional' is missing or not an array" },
    { "features", "{\"required\": [7], \"write\": [], \"optional\": []}",
      LM_ERR_CORRUPT, "r: config: the name of a feature is not a string" },
    { "features", "{\"required\": [\"\"], \"write\": [], \"optional\": []}",
      LM_ERR_CORRUPT, "r: config: '' is not the name of a feature" },
    { "features", "{\"required\": [\"Big\"], \"write\": [], \"optional\": "
      "[]}", LM_ERR_CORRUPT, "r: config: 'Big' is not the name of a "
      "feature" },
  };
  struct lm_repo_config config = sample (), back;
  size_t i, len;

  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char *text = lm_repo_config_encode (&config, &len, &err);
    json_t *v = lm_json_parse (text, len, "r", &err);

    free (text);
    json_object_set_new (v, rows[i].key,
                         json_loads (rows[i].value, JSON_DECODE_ANY, NULL));
    text = lm_json_dump (v, &len, &err);
    cr_expect (eq (int, lm_repo_config_decode (text, len, "r", &back, &err),
                   -1), "%s", rows[i].message);
    cr_expect (eq (int, err.kind, rows[i].kind), "%s", rows[i].message);
    cr_expect (eq (str, err.message, (char *) rows[i].message));
    free (text);
    json_decref (v);
  }
  cr_expect (eq (int, lm_repo_config_decode ("[core]", 6, "r", &back, &err),
                 -1));
  cr_expect (eq (int, err.kind, LM_ERR_CORRUPT));
  cr_expect (eq (int, lm_repo_config_decode ("{\"a\":1,\"a\":2}", 13, "r",
                                             &back, &err), -1));
  cr_expect (strstr (err.message, "duplicate") != NULL, "%s", err.message);
}

Test (repo_config, features_are_checked_by_class)
{
  struct lm_features f = { .n = 0 };

  cr_expect (eq (int, lm_features_check (&f, false, "r", &err), 0));
  cr_assert (eq (int, lm_features_add (&f, LM_FEATURE_REQUIRED,
                                       LM_FEATURE_BASE_CHUNKS, "r", &err),
                 0));
  cr_expect (eq (int, lm_features_check (&f, false, "r", &err), 0));
  cr_expect (lm_features_has (&f, LM_FEATURE_REQUIRED, "base-chunks"));
  cr_expect (not (lm_features_has (&f, LM_FEATURE_WRITE, "base-chunks")));
  cr_assert (eq (int, lm_features_add (&f, LM_FEATURE_OPTIONAL, "sugar",
                                       "r", &err), 0));
  cr_expect (eq (int, lm_features_check (&f, false, "r", &err), 0));
  cr_assert (eq (int, lm_features_add (&f, LM_FEATURE_WRITE, "salt", "r",
                                       &err), 0));
  cr_expect (eq (int, lm_features_check (&f, true, "r", &err), 0));
  cr_expect (eq (int, lm_features_check (&f, false, "r", &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_UNSUPPORTED));
  cr_expect (eq (str, err.message, (char *) "r: to change this repository a "
                 "program must know the feature 'salt', which this one does "
                 "not"));
  cr_assert (eq (int, lm_features_add (&f, LM_FEATURE_REQUIRED,
                                       "from-later", "r", &err), 0));
  cr_expect (eq (int, lm_features_check (&f, true, "r", &err), -1));
  cr_expect (eq (str, err.message, (char *) "r: this repository needs the "
                 "feature 'from-later', which this program does not know"));
  /* The same one twice is one; the same name in two classes are two. */
  cr_assert (eq (int, lm_features_add (&f, LM_FEATURE_WRITE, "salt", "r",
                                       &err), 0));
  cr_expect (eq (sz, f.n, 4));
  cr_assert (eq (int, lm_features_add (&f, LM_FEATURE_OPTIONAL, "salt", "r",
                                       &err), 0));
  cr_expect (eq (sz, f.n, 5));
}

Test (repo_config, features_have_limits)
{
  struct lm_features f = { .n = 0 };
  char name[LM_FEATURE_NAME_MAX + 2];
  int i;

  memset (name, 'x', sizeof name);
  name[LM_FEATURE_NAME_MAX + 1] = '\0';
  cr_expect (eq (int, lm_features_add (&f, LM_FEATURE_WRITE, name, "r",
                                       &err), -1));
  name[LM_FEATURE_NAME_MAX] = '\0';
  cr_expect (eq (int, lm_features_add (&f, LM_FEATURE_WRITE, name, "r",
                                       &err), 0));
  for (i = 1; i < LM_FEATURES_MAX; i++) {
    snprintf (name, sizeof name, "feature-%d", i);
    cr_assert (eq (int, lm_features_add (&f, LM_FEATURE_WRITE, name, "r",
                                         &err), 0));
  }
  cr_expect (eq (int, lm_features_add (&f, LM_FEATURE_WRITE, "one-more",
                                       "r", &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_LIMIT));
}
