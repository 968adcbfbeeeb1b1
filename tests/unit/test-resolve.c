/* SPDX-License-Identifier: Apache-2.0
 * Names of snapshots: short forms, ambiguity, hostility.
 */
#include <config.h>

#include "formats/native/repository.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/timestamp.h"
#include "formats/native/journal.h"
#include "tests/support/store-memory.h"
#include "tests/support/test-repo.h"

static struct lm_error err;
static struct lm_store *inner;
static struct lm_repository *repo;

static void
add (const char *vm, const char *time)
{
  json_t *changes = json_array ();
  struct lm_snapshot_entry e = lm_test_entry (vm, 0);

  cr_assert (eq (int, lm_timestamp_parse (time, &e.time), 0));
  cr_assert (eq (int, lm_change_snapshot_add (changes, &e, &err), 0));
  cr_assert (eq (int, lm_journal_commit (repo, NULL, "test", changes, &err),
                 0), "%s", err.message);
  json_decref (changes);
}

static void
setup (void)
{
  inner = lm_test_repo_new (false);
  repo = lm_test_repo_open (inner);
  add ("web01", "2026-11-20T06:30:00Z");
  add ("db", "2026-11-20T07:00:00Z");
  add ("web01", "2026-11-22T06:30:00Z");
  add ("web01", "2026-11-22T06:31:00Z");
  add ("web0", "2026-11-23T00:00:00Z");
}

static void
teardown (void)
{
  lm_repository_close (repo);
  lm_store_close (inner);
}

TestSuite (resolve, .init = setup, .fini = teardown);

Test (resolve, short_forms)
{
  static const struct { const char *name, *vm, *time, *disk; } rows[] = {
    { "web01", "web01", "2026-11-22T06:31:00Z", NULL },
    { "web01/latest", "web01", "2026-11-22T06:31:00Z", NULL },
    { "web01/latest/disk0", "web01", "2026-11-22T06:31:00Z", "disk0" },
    { "web01/2026-11-20", "web01", "2026-11-20T06:30:00Z", NULL },
    { "web01/2026-11-22T06:30", "web01", "2026-11-22T06:30:00Z", NULL },
    { "web01/2026-11-22T06:30:00Z", "web01", "2026-11-22T06:30:00Z", NULL },
    { "web01/2026-11-22T06:30:00Z/a.b", "web01", "2026-11-22T06:30:00Z",
      "a.b" },
    { "db/2", "db", "2026-11-20T07:00:00Z", NULL },
    { "web0", "web0", "2026-11-23T00:00:00Z", NULL },
  };
  size_t i;

  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    const struct lm_snapshot_entry *e;
    char time[LM_TIMESTAMP_LEN + 1], *disk = NULL;

    e = lm_repository_resolve (repo, rows[i].name, &disk, &err);
    cr_assert (e != NULL, "%s: %s", rows[i].name, err.message);
    cr_expect (eq (str, e->vm, (char *) rows[i].vm), "%s", rows[i].name);
    lm_timestamp_format (e->time, time);
    cr_expect (eq (str, time, (char *) rows[i].time), "%s", rows[i].name);
    cr_expect (eq (int, disk == NULL, rows[i].disk == NULL), "%s",
               rows[i].name);
    if (disk)
      cr_expect (eq (str, disk, (char *) rows[i].disk));
    free (disk);
  }
}

static void
expect_error (const char *name, enum lm_error_kind kind, const char *message,
              const char *hint)
{
  char *disk = (char *) "untouched";

  lm_error_clear (&err);
  cr_expect (lm_repository_resolve (repo, name, &disk, &err) == NULL, "%s",
             name);
  cr_expect (eq (int, err.kind, kind), "%s", name);
  cr_expect (eq (str, err.message, (char *) message));
  if (hint)
    cr_expect (eq (str, err.hint, (char *) hint));
  cr_expect (eq (str, disk, (char *) "untouched"));
}

Test (resolve, what_is_not_there_comes_with_what_is)
{
  expect_error ("web02", LM_ERR_NOT_FOUND,
                "there is no snapshot of a VM 'web02'",
                "There are: web0, web01, db");
  expect_error ("web01/2025", LM_ERR_NOT_FOUND,
                "there is no snapshot web01/2025", "Its newest are: "
                "2026-11-22T06:31:00Z, 2026-11-22T06:30:00Z, "
                "2026-11-20T06:30:00Z");
  expect_error ("web01/2026-11-22", LM_ERR_USAGE, "web01/2026-11-22 is "
                "ambiguous: 2 snapshots begin like that", "There are: "
                "2026-11-22T06:31:00Z, 2026-11-22T06:30:00Z");
}

Test (resolve, an_empty_repository_says_so)
{
  struct lm_store *empty = lm_test_repo_new (false);
  struct lm_repository *none = lm_test_repo_open (empty);
  char *disk;

  cr_expect (lm_repository_resolve (none, "web01", &disk, &err) == NULL);
  cr_expect (eq (int, err.kind, LM_ERR_NOT_FOUND));
  cr_expect (eq (str, err.hint,
                 (char *) "The repository has no snapshots"));
  lm_repository_close (none);
  lm_store_close (empty);
}

Test (resolve, many_candidates_are_cut)
{
  char vm[32];
  int i;

  for (i = 0; i < 8; i++) {
    snprintf (vm, sizeof vm, "vm%d", i);
    add (vm, "2026-12-01T00:00:00Z");
  }
  expect_error ("nope", LM_ERR_NOT_FOUND,
                "there is no snapshot of a VM 'nope'",
                "There are: vm7, vm6, vm5, vm4, vm3, …");
}

Test (resolve, hostile_names_are_refused)
{
  static const struct { const char *name, *message; } rows[] = {
    { "", "the name of a VM is empty" },
    { "/", "the name of a VM is empty" },
    { "../etc", "'..' is not a name for a VM" },
    { "-rf", "'-rf' is not a name for a VM" },
    { ".x", "'.x' is not a name for a VM" },
    { "web\x1b[2J", "'web?[2J' is not a name for a VM" },
    { "web 01", "'web 01' is not a name for a VM" },
    { "wéb", "'wéb' is not a name for a VM" },
    { "web01/", "'' is not the time of a snapshot" },
    { "web01//disk0", "'' is not the time of a snapshot" },
    { "web01/..", "'..' is not the time of a snapshot" },
    { "web01/Latest", "'Latest' is not the time of a snapshot" },
    { "web01/2026-11-22T06:30:00Z0", "'2026-11-22T06:30:00Z0' is not the "
      "time of a snapshot" },
    { "web01/latest/", "the name of a disk is empty" },
    { "web01/latest/..", "'..' is not a name for a disk" },
    { "web01/latest/a/b", "'web01/latest/a/b' has too many parts" },
    { "web01/latest/a/", "'web01/latest/a/' has too many parts" },
  };
  char *big = malloc (4097);
  size_t i;

  for (i = 0; i < sizeof rows / sizeof rows[0]; i++)
    expect_error (rows[i].name, LM_ERR_USAGE, rows[i].message, NULL);
  memset (big, 'a', 4096);
  big[4096] = '\0';
  expect_error (big, LM_ERR_USAGE, "VM 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                "aaaa…': a name has at most 128 bytes", NULL);
  memcpy (big, "web01/latest/", 13);
  expect_error (big, LM_ERR_USAGE, "disk 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                "aaaaaa…': a name has at most 128 bytes", NULL);
  memcpy (big, "web01/2026-1/", 13);
  for (i = 6; i < 4096; i++)
    big[i] = '/';
  cr_expect (lm_repository_resolve (repo, big, &big, &err) == NULL);
  cr_expect (eq (int, err.kind, LM_ERR_USAGE));
  cr_expect (strlen (err.message) < 200);
  free (big);
}

Test (resolve, names_of_the_longest_length_are_fine)
{
  char name[130];

  memset (name, 'a', 128);
  name[128] = '\0';
  cr_expect (eq (int, lm_name_check ("VM", name, &err), 0));
  memcpy (name + 128, "b", 2);
  cr_expect (eq (int, lm_name_check ("VM", name, &err), -1));
  cr_expect (eq (int, lm_name_check ("VM", "_A9._+@-z", &err), 0));
}

Test (resolve, latest_follows_the_journal)
{
  char *disk;
  const struct lm_snapshot_entry *e;
  json_t *changes = json_array ();

  /* The newest is forgotten: the one before it is the newest. */
  e = lm_repository_resolve (repo, "web01", &disk, &err);
  cr_assert_not_null ((void *) e);
  cr_assert (eq (int, lm_change_by_id (changes, LM_CHANGE_SNAPSHOT_FORGET,
                                       e->id, &err), 0));
  cr_assert (eq (int, lm_journal_commit (repo, NULL, "test", changes, &err),
                 0));
  json_decref (changes);
  e = lm_repository_resolve (repo, "web01", &disk, &err);
  cr_assert_not_null ((void *) e);
  cr_expect (eq (i64, e->time, 1795329000));
}
