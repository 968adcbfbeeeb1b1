/* SPDX-License-Identifier: Apache-2.0
 * What the fuzz targets share; see fuzz.h.
 */
#include <config.h>

#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/store-memory.h"
#include "common/banned.h"

static const struct fuzz_target *const all[] = {
  fuzz_glue_targets,
  fuzz_json_targets,
  fuzz_key_targets,
  fuzz_object_targets,
  fuzz_overlay_targets,
  fuzz_table_targets,
  fuzz_text_targets,
  fuzz_image_targets,
};

const struct fuzz_target *
fuzz_target_nr (size_t nr)
{
  size_t i;

  for (i = 0; i < sizeof all / sizeof all[0]; i++) {
    const struct fuzz_target *t;

    for (t = all[i]; t->name; t++)
      if (nr-- == 0)
        return t;
  }
  return NULL;
}

const struct fuzz_target *
fuzz_target_find (const char *name)
{
  const struct fuzz_target *t;
  size_t i;

  for (i = 0; (t = fuzz_target_nr (i)); i++)
    if (strcmp (t->name, name) == 0)
      return t;
  return NULL;
}

void
fuzz_fail (const char *file, int line, const char *what)
{
  fprintf (stderr, "%s:%d: does not hold: %s\n", file, line, what);
  abort ();
}

void
fuzz_expect_error (const struct lm_error *err)
{
  const char *s;

  fuzz_expect (err->kind != LM_ERR_NONE);
  fuzz_expect (err->message[0] != '\0');
  if (getenv ("LM_FUZZ_VERBOSE"))
    fprintf (stderr, "  %s\n", err->message);
  for (s = err->message; *s; s++)
    fuzz_expect ((unsigned char) *s >= 0x20 && *s != 0x7f);
}

const struct lm_keys *
fuzz_keys (int encrypted)
{
  static struct lm_keys *keys[2];
  struct lm_error err = LM_ERROR_INIT;
  uint8_t repository[LM_NAME_ID_LEN], master[LM_MASTER_KEY_LEN];

  if (keys[encrypted] == NULL) {
    memset (repository, 'R', sizeof repository);
    memset (master, 'm', sizeof master);
    keys[encrypted] = lm_keys_new (repository, encrypted ? master : NULL,
                                   &err);
    fuzz_expect (keys[encrypted] != NULL);
  }
  return keys[encrypted];
}

struct lm_store *
fuzz_store (const char *name, const void *data, size_t len)
{
  struct lm_store *store = lm_store_memory_new ();
  struct iovec iov = { (void *) data, len };
  struct lm_error err = LM_ERROR_INIT;

  fuzz_expect (lm_store_put_if_absent (store, name, &iov, 1, &err) == 0);
  return store;
}

char *
fuzz_string (const uint8_t *data, size_t len)
{
  char *s = malloc (len + 1);

  fuzz_expect (s != NULL);
  if (len > 0)
    memcpy (s, data, len);
  s[len] = '\0';
  return s;
}
