/* SPDX-License-Identifier: Apache-2.0
 * The inspector, where it must be careful: keys, damage, wrong places.
 * What it prints of each structure is compared with files in
 * tests/conformance/test-native-fixtures.c.
 */
#include <config.h>

#include "formats/native/inspect.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/native/journal.h"
#include "formats/native/object-io.h"
#include "formats/native/repository-internal.h"
#include "tests/support/store-fault.h"
#include "tests/support/store-memory.h"
#include "tests/support/test-repo.h"

static struct lm_error err;
static struct lm_store *inner;
static struct lm_repository *repo;

static void
setup (void)
{
  inner = lm_test_repo_new (true);
  repo = lm_test_repo_open (inner);
}

static void
teardown (void)
{
  lm_repository_close (repo);
  lm_store_close (inner);
}

TestSuite (inspect, .init = setup, .fini = teardown);

/* The text, to be freed; *RET_R is what lm_inspect returned. */
static char *
inspect (struct lm_repository *r, const char *object, int *ret_r)
{
  struct lm_buffer b = LM_BUFFER_INIT;
  struct lm_error ignored = LM_ERROR_INIT;

  lm_error_clear (&err);
  *ret_r = lm_inspect (r, inner, object, &b, &err);
  return lm_buffer_steal_string (&b, &ignored);
}

static int
any_cb (void *opaque, const char *name, uint64_t size, struct lm_error *e)
{
  (void) size;
  (void) e;
  snprintf (opaque, 64, "%s", name);
  return 0;
}

Test (inspect, a_slot_does_not_show_what_helps_to_guess)
{
  char name[64] = "", *text, *stored, *wrapped;
  size_t len;
  int r;

  cr_assert (eq (int, lm_store_list (inner, "keys", any_cb, name, &err), 0));
  text = inspect (NULL, name, &r);
  cr_assert (eq (int, r, 0), "%s", err.message);
  cr_expect (strstr (text, "\"wrapped\": \"not shown\"") != NULL, "%s",
             text);
  stored = (char *) lm_store_memory_data (inner, name, &len);
  wrapped = memmem (stored, len, "\"wrapped\":\"", 11);
  cr_assert_not_null (wrapped);
  wrapped[11 + 96] = '\0';
  cr_expect (strstr (text, wrapped + 11) == NULL);
  free (text);
}

Test (inspect, a_keyring_is_not_shown)
{
  const uint8_t id[4] = { 1, 0, 0, 0 };
  static const char secret[] = "{\"keys\": [\"very secret\"]}";
  char *text;
  int r;

  cr_assert (eq (int, lm_object_put (inner, repo->keys, LM_TYPE_KEYRING,
                                     "keyring/00000001", id, 4, secret,
                                     strlen (secret), LM_OBJECT_NEW, NULL,
                                     &err), 0));
  text = inspect (repo, "keyring/00000001", &r);
  cr_assert (eq (int, r, 0), "%s", err.message);
  cr_expect (strstr (text, "content: keys, not shown\n") != NULL);
  cr_expect (strstr (text, "secret") == NULL);
  cr_expect (strstr (text, "belongs under") == NULL);
  free (text);
}

Test (inspect, without_the_key_there_is_the_header)
{
  char *text;
  int r;

  text = inspect (NULL, "journal/0000000000000000", &r);
  cr_assert (eq (int, r, 0), "%s", err.message);
  cr_expect (strstr (text, "journal/0000000000000000\n  type: journal "
                     "record (6)\n  version: 1\n  method: aes-256-gcm (1)\n"
                     "  plain length: ") == text, "%s", text);
  cr_expect (strstr (text, "content: sealed; the repository's key is "
                     "needed\n") != NULL);
  cr_expect (strstr (text, "init") == NULL);
  free (text);
}

Test (inspect, with_the_key_there_is_the_content)
{
  char *text;
  int r;

  text = inspect (repo, "journal/0000000000000000", &r);
  cr_assert (eq (int, r, 0), "%s", err.message);
  cr_expect (strstr (text, "\"change\": \"init\"") != NULL, "%s", text);
  cr_expect (strstr (text, "\"sequence\": 0") != NULL);
  free (text);
  text = inspect (repo, "config", &r);
  cr_assert (eq (int, r, 0), "%s", err.message);
  cr_expect (strstr (text, "\"chunk_size\": 65536") != NULL);
  free (text);
}

Test (inspect, of_a_damaged_object_there_is_what_can_be_said)
{
  uint8_t *data;
  char *text;
  size_t len;
  int r;

  data = lm_store_memory_data (inner, "journal/0000000000000000", &len);
  data[len - 1] ^= 1;
  text = inspect (repo, "journal/0000000000000000", &r);
  cr_expect (eq (int, r, -1));
  cr_expect (eq (int, err.kind, LM_ERR_CORRUPT));
  cr_expect (strstr (err.message, "does not authenticate") != NULL, "%s",
             err.message);
  cr_expect (strstr (text, "  type: journal record (6)\n") != NULL);
  free (text);
  data[0] ^= 1;
  text = inspect (repo, "journal/0000000000000000", &r);
  cr_expect (eq (int, r, -1));
  cr_expect (eq (str, err.message, (char *) "journal/0000000000000000: not "
                 "a sealed object (wrong magic at 0x0)"));
  free (text);
}

Test (inspect, a_misplaced_object_says_where_it_belongs)
{
  struct iovec iov;
  char *text;
  int r;

  iov.iov_base = lm_store_memory_data (inner, "journal/0000000000000000",
                                       &iov.iov_len);
  cr_assert (eq (int, lm_store_put (inner, "journal/0000000000000005", &iov,
                                    1, &err), 0));
  text = inspect (repo, "journal/0000000000000005", &r);
  cr_expect (eq (int, r, 0), "%s", err.message);
  cr_expect (strstr (text, "  belongs under: journal/0000000000000000\n")
             != NULL, "%s", text);
  free (text);
}

Test (inspect, wrong_names_are_refused)
{
  static const struct {
    const char *name;
    enum lm_error_kind kind;
    const char *message;
  } rows[] = {
    { "journal/0000000000000009", LM_ERR_NOT_FOUND, NULL },
    { "../config", LM_ERR_USAGE, "'../config' is not an object name" },
    { "packs/ab/cd", LM_ERR_USAGE,
      "'packs/ab/cd' is not the name of a pack" },
    { "packs/ab/cd000000000000000000000000000000", LM_ERR_USAGE,
      "'packs/ab/cd000000000000000000000000000000' is not the name of a "
      "pack: expected packs/cd/cd000000000000000000000000000000" },
    { "packs/ab/ab000000000000000000000000000000", LM_ERR_NOT_FOUND, NULL },
    { "chunk/12", LM_ERR_USAGE, "'chunk/12': an id has 64 hex digits" },
    { "node/0000000000000000000000000000000000000000000000000000000000000000",
      LM_ERR_NOT_FOUND, NULL },
  };
  size_t i;

  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    int r;
    char *text = inspect (repo, rows[i].name, &r);

    cr_expect (eq (int, r, -1), "%s", rows[i].name);
    cr_expect (eq (int, err.kind, rows[i].kind), "%s: %s", rows[i].name,
               err.message);
    if (rows[i].message)
      cr_expect (eq (str, err.message, (char *) rows[i].message));
    free (text);
  }
}
