/* SPDX-License-Identifier: Apache-2.0
 *
 * Repositories that were made once and are never rewritten: this program
 * reads them as the one that made them did, and where making leaves
 * nothing to chance, still makes the same bytes.
 *
 * LM_BLESS=1 writes expected.txt anew, for when inspect has got another
 * wording; look at the difference.
 */
#include <config.h>

#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zstd.h>

#include "common/io.h"
#include "formats/native/check.h"
#include "formats/native/journal.h"
#include "formats/store/store-dir.h"
#include "tests/support/fixtures.h"
#include "tests/support/scratch.h"

static struct lm_error err;

static char *
fixture_path (const char *name, const char *file)
{
  const char *srcdir = getenv ("srcdir");
  char *path;

  cr_assert (asprintf (&path, "%s/fixtures/native/v1/valid/%s/%s",
                       srcdir ? srcdir : ".", name, file) != -1);
  cr_assert (eq (int, access (path, R_OK), 0), "%s (is srcdir set?)", path);
  return path;
}

/* Run cp -r or diff -r. */
static int
run (const char *const argv[])
{
  pid_t pid = fork ();
  int status;

  if (pid == 0) {
    execvp (argv[0], (char **) argv);
    _exit (127);
  }
  waitpid (pid, &status, 0);
  return WIFEXITED (status) ? WEXITSTATUS (status) : -1;
}

/* A copy to work on: the source tree may be read-only. */
static char *
copy_repo (const struct lm_fixture *f)
{
  char *from = fixture_path (f->name, "repo");
  char *to = lm_scratch_path ("copy-%s", f->name);
  const char *const argv[] = {
    "cp", "-r", "--no-preserve=mode", from, to, NULL
  };

  cr_assert (eq (int, run (argv), 0));
  free (from);
  return to;
}

static struct lm_repository *
open_copy (const struct lm_fixture *f, const char *path)
{
  char *scratch = lm_scratch_path ("client");
  const struct lm_open_options options = {
    .cache_dir = scratch, .state_dir = scratch,
  };
  struct lm_credentials c = lm_fixture_credentials (f);
  struct lm_repository *repo;
  struct lm_store *store;

  cr_assert (eq (int, lm_store_dir_open (path, false, &store, &err), 0),
             "%s: %s", f->name, err.message);
  repo = lm_repository_open (store, &c, &options, &err);
  cr_assert_not_null (repo, "%s: %s", f->name, err.message);
  cr_assert (eq (int, lm_repository_load (repo, &err), 0), "%s: %s",
             f->name, err.message);
  lm_credentials_release (&c);
  free (scratch);
  return repo;
}

static void
expect_text (const struct lm_fixture *f, struct lm_buffer *text)
{
  char *path = fixture_path (f->name, "expected.txt"), *want;
  size_t len, line = 1, i;

  if (getenv ("LM_BLESS")) {
    cr_assert (eq (int, lm_file_replace (AT_FDCWD, path, text->data,
                                         text->len, 0644, &err), 0));
    free (path);
    return;
  }
  cr_assert (eq (int, lm_file_read (AT_FDCWD, path, 16 << 20, &want, &len,
                                    &err), 0), "%s", err.message);
  for (i = 0; i < len && i < text->len && want[i] == (char) text->data[i];
       i++)
    line += want[i] == '\n';
  cr_expect (len == text->len && i == len, "%s differs at line %zu", path,
             line);
  free (want);
  free (path);
}

Test (native_fixtures, read_as_they_always_did)
{
  size_t i;

  for (i = 0; i < lm_nr_fixtures; i++) {
    const struct lm_fixture *f = &lm_fixtures[i];
    struct lm_buffer text = LM_BUFFER_INIT;
    char *path = copy_repo (f);
    struct lm_repository *repo = open_copy (f, path);

    cr_assert (eq (int, lm_fixture_describe (repo, &text, &err), 0),
               "%s: %s", f->name, err.message);
    expect_text (f, &text);
    lm_buffer_release (&text);
    lm_repository_close (repo);
    free (path);
  }
}

static void
report_damage (void *opaque, const char *object, const struct lm_error *why)
{
  (void) opaque;
  cr_log_error ("%s: %s", object, why->message);
}

Test (native_fixtures, have_no_damage)
{
  size_t i;

  for (i = 0; i < lm_nr_fixtures; i++) {
    const struct lm_fixture *f = &lm_fixtures[i];
    const struct lm_check_params params = {
      .read_data = true, .damage = report_damage,
    };
    struct lm_check_result result;
    char *path = copy_repo (f);
    struct lm_repository *repo = open_copy (f, path);

    cr_assert (eq (int, lm_check_run (repo, &params, &result, &err), 0),
               "%s: %s", f->name, err.message);
    cr_expect (eq (u64, result.damaged, 0), "%s", f->name);
    lm_repository_close (repo);
    free (path);
  }
}

Test (native_fixtures, are_made_again_byte_by_byte)
{
  size_t i, compared = 0;

  for (i = 0; i < lm_nr_fixtures; i++) {
    const struct lm_fixture *f = &lm_fixtures[i];
    char *want, *made, *scratch;

    if (!f->stable)
      continue;
    want = fixture_path (f->name, "repo");
    made = lm_scratch_path ("made-%s", f->name);
    scratch = lm_scratch_path ("client-%s", f->name);
    cr_assert (eq (int, lm_fixture_make (f, made, scratch, &err), 0),
               "%s: %s", f->name, err.message);
    {
      /* git keeps no empty folders. */
      const char *const argv[] = {
        "diff", "-r", "-x", "tmp", "-x", "leases", want, made, NULL
      };

      cr_expect (eq (int, run (argv), 0), "%s", f->name);
    }
    compared++;
    free (want);
    free (made);
    free (scratch);
  }
  cr_expect (compared > 0);
}

/* Manifests say how long the backup took; packs and segments are the same
 * as far as zstd makes the same of the same. */
Test (native_fixtures, have_the_same_packs_and_segments_when_made_again)
{
  static const char *const folders[] = { "packs", "index" };
  size_t i, k;

  if (ZSTD_versionNumber () != 10504)
    cr_skip_test ("zstd %s, the fixtures were made by 1.5.4",
                  ZSTD_versionString ());
  for (i = 0; i < lm_nr_fixtures; i++) {
    const struct lm_fixture *f = &lm_fixtures[i];
    char *want, *made, *scratch;

    if (f->stable)
      continue;
    want = fixture_path (f->name, "repo");
    made = lm_scratch_path ("made-%s", f->name);
    scratch = lm_scratch_path ("client-%s", f->name);
    cr_assert (eq (int, lm_fixture_make (f, made, scratch, &err), 0),
               "%s: %s", f->name, err.message);
    for (k = 0; k < 2; k++) {
      char a[4096], b[4096];
      const char *const argv[] = { "diff", "-r", a, b, NULL };

      snprintf (a, sizeof a, "%s/%s", want, folders[k]);
      snprintf (b, sizeof b, "%s/%s", made, folders[k]);
      cr_expect (eq (int, run (argv), 0), "%s: %s", f->name, folders[k]);
    }
    free (want);
    free (made);
    free (scratch);
  }
}

/* A protected one can't be forgotten. */
static void
unprotect (struct lm_repository *repo, const uint8_t *id)
{
  json_t *changes = json_array ();

  cr_assert (eq (int, lm_change_snapshot_protect (changes, id, false, &err),
                 0));
  cr_assert (eq (int, lm_journal_commit (repo, NULL, "test", changes, &err),
                 0));
  json_decref (changes);
}

static json_t *
forget_first (struct lm_repository *repo)
{
  json_t *changes = json_array ();
  size_t n;
  const struct lm_snapshot_entry *list = lm_repository_snapshots (repo, &n);

  cr_assert (n > 0);
  if (list[0].is_protected) {
    unprotect (repo, list[0].id);
    list = lm_repository_snapshots (repo, &n);
  }
  cr_assert (eq (int, lm_change_by_id (changes, LM_CHANGE_SNAPSHOT_FORGET,
                                       list[0].id, &err), 0));
  return changes;
}

/* This program writes on where the old one stopped. */
Test (native_fixtures, can_be_changed)
{
  size_t i;

  for (i = 3; i < lm_nr_fixtures; i++) {
    const struct lm_fixture *f = &lm_fixtures[i];
    char *path = copy_repo (f);
    struct lm_repository *repo = open_copy (f, path);
    json_t *changes = forget_first (repo);
    size_t before, after;

    lm_repository_snapshots (repo, &before);
    cr_assert (eq (int, lm_journal_commit (repo, NULL, "test", changes,
                                           &err), 0), "%s: %s", f->name,
               err.message);
    json_decref (changes);
    lm_repository_close (repo);
    repo = open_copy (f, path);
    lm_repository_snapshots (repo, &after);
    cr_expect (eq (sz, after, before - 1), "%s", f->name);
    lm_repository_close (repo);
    free (path);
  }
}
