/* SPDX-License-Identifier: Apache-2.0
 *
 * make-fixtures FOLDER [NAME...]: make repositories as they are below
 * fixtures/native/v1/valid, each as FOLDER/NAME/repo with what can be
 * read from it in FOLDER/NAME/expected.txt.  Those that exist are left
 * alone: fixtures are never rewritten.  Built on request only,
 * `make tests/support/make-fixtures`.
 */
#include <config.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "formats/store/store-dir.h"
#include "tests/support/fixtures.h"
#include "tests/support/scratch.h"

static int
describe (const struct lm_fixture *f, const char *repo_path,
          const char *text_path, const char *scratch, struct lm_error *err)
{
  const struct lm_open_options open = {
    .read_only = true, .cache_dir = scratch, .state_dir = scratch,
  };
  CLEANUP_BUFFER struct lm_buffer text = LM_BUFFER_INIT;
  struct lm_credentials c = lm_fixture_credentials (f);
  struct lm_repository *repo;
  struct lm_store *store;
  int r;

  if (lm_store_dir_open (repo_path, false, &store, err) == -1)
    return -1;
  repo = lm_repository_open (store, &c, &open, err);
  lm_credentials_release (&c);
  if (repo == NULL)
    return -1;
  r = lm_repository_load (repo, err);
  if (r == 0)
    r = lm_fixture_describe (repo, &text, err);
  lm_repository_close (repo);
  if (r == -1)
    return -1;
  return lm_file_replace (AT_FDCWD, text_path, text.data,
                          text.len, 0644, err);
}

static int
make_one (const struct lm_fixture *f, const char *folder)
{
  CLEANUP_FREE char *repo = NULL, *text = NULL, *scratch = NULL;
  struct lm_error err = LM_ERROR_INIT;

  if (asprintf (&repo, "%s/%s/repo", folder, f->name) == -1 ||
      asprintf (&text, "%s/%s/expected.txt", folder, f->name) == -1)
    return 1;
  scratch = lm_scratch_path ("%s", f->name);
  if (access (repo, F_OK) == 0) {
    printf ("%s: exists\n", repo);
    return 0;
  }
  if (lm_fixture_make (f, repo, scratch, &err) == -1 ||
      describe (f, repo, text, scratch, &err) == -1) {
    fprintf (stderr, "make-fixtures: %s: %s\n", f->name, err.message);
    return 1;
  }
  printf ("%s: made\n", repo);
  return 0;
}

int
main (int argc, char **argv)
{
  int r = 0, k;
  size_t i;

  if (argc < 2) {
    fprintf (stderr, "usage: make-fixtures FOLDER [NAME...]\n");
    return 2;
  }
  for (i = 0; i < lm_nr_fixtures; i++) {
    for (k = 2; k < argc; k++)
      if (strcmp (argv[k], lm_fixtures[i].name) == 0)
        break;
    if (argc == 2 || k < argc)
      r |= make_one (&lm_fixtures[i], argv[1]);
  }
  return r;
}
