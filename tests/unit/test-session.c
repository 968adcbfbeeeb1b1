/* SPDX-License-Identifier: Apache-2.0
 * Sessions as folders: names, locks, stages, the record, the way out.
 * (What needs a real proxy is in tests/e2e/live-mount.)
 */
#include <config.h>

#include "mount/session.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "mount/session-proxy.h"
#include "tests/support/scratch.h"

static struct lm_error err;

static void
set_up (void)
{
  setenv ("LIVEMOUNT_STATE_DIR", lm_scratch_path ("state"), 1);
  lm_error_clear (&err);
}

TestSuite (session, .init = set_up, .timeout = 120);

/* A session as mount makes it, as far as the record goes. */
static struct lm_session *
make (const char *name)
{
  struct lm_session *s = lm_session_create (name, "web01", &err);

  cr_assert_not_null (s, "%s", err.message);
  s->repository = strdup ("/nonexistent/repo");
  s->key.key_file = strdup ("/etc/key");
  s->vm = strdup ("web01");
  s->snapshot = strdup ("web01/2026-11-22T06:30:00Z");
  s->disks = calloc (2, sizeof *s->disks);
  s->disks[0] = (struct lm_session_disk) { strdup ("disk0"), 1 << 30 };
  s->disks[1] = (struct lm_session_disk) { strdup ("data"), 5000001 };
  s->nr_disks = 2;
  memset (s->snapshot_id, 0xab, sizeof s->snapshot_id);
  s->read_only = true;
  s->cache_size = 12345;
  cr_assert (eq (int, lm_session_commit (s, &err), 0), "%s", err.message);
  return s;
}

Test (session, what_is_saved_is_read)
{
  struct lm_session *s = make ("one"), *again;

  lm_session_free (s);
  again = lm_session_open ("one", false, &err);
  cr_assert_not_null (again, "%s", err.message);
  cr_expect (eq (int, again->stage, LM_SESSION_KEPT));
  cr_expect (eq (str, again->repository, (char *) "/nonexistent/repo"));
  cr_expect (eq (str, again->key.key_file, (char *) "/etc/key"));
  cr_expect_null (again->key.passphrase_file);
  cr_expect (eq (str, again->snapshot,
                 (char *) "web01/2026-11-22T06:30:00Z"));
  cr_assert (eq (sz, again->nr_disks, 2));
  cr_expect (eq (str, again->disks[1].name, (char *) "data"));
  cr_expect (eq (u64, again->disks[1].size, 5000001));
  cr_expect (eq (int, again->snapshot_id[15], 0xab));
  cr_expect (again->read_only);
  cr_expect (eq (u64, again->cache_size, 12345));
  cr_expect_null (again->fuse);
  lm_session_free (again);
}

Test (session, nobody_else_can_read_it)
{
  struct lm_session *s = make ("one");
  struct stat st;

  cr_assert (eq (int, fstat (s->folder_fd, &st), 0));
  cr_expect (eq (u64, st.st_mode & 0777, 0700));
  cr_assert (eq (int, fstatat (s->folder_fd, "session.json", &st, 0), 0));
  cr_expect (eq (u64, st.st_mode & 0777, 0600));
  lm_session_free (s);
}

Test (session, names_are_taken_once_and_counted_up)
{
  struct lm_session *a = lm_session_create (NULL, "web01", &err);
  struct lm_session *b = lm_session_create (NULL, "web01", &err);

  cr_assert_not_null (a);
  cr_assert_not_null (b);
  cr_expect (eq (str, a->name, (char *) "web01"));
  cr_expect (eq (str, b->name, (char *) "web01-2"));
  cr_expect_null (lm_session_create ("web01", "x", &err));
  cr_expect (eq (int, err.kind, LM_ERR_EXISTS));
  lm_session_free (a);
  lm_session_free (b);
}

Test (session, hostile_names_are_refused)
{
  static const char *const rows[] = {
    "", ".", "..", "../x", "/x", "a/b", "-x", ".x", "a b", "a\nb",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
  };
  size_t i;

  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    lm_error_clear (&err);
    cr_expect_null (lm_session_create (rows[i], "x", &err));
    cr_expect (eq (int, err.kind, LM_ERR_USAGE), "'%s'", rows[i]);
  }
}

Test (session, only_one_command_works_on_it)
{
  struct lm_session *s = make ("one"), *other;

  cr_expect_null (lm_session_open ("one", true, &err));
  cr_expect (eq (int, err.kind, LM_ERR_LOCKED));
  lm_error_clear (&err);
  other = lm_session_open ("one", false, &err);
  cr_expect_not_null (other);
  lm_session_free (other);
  lm_session_unlock (s);
  other = lm_session_open ("one", true, &err);
  cr_expect_not_null (other, "%s", err.message);
  lm_session_free (other);
  lm_session_free (s);
}

Test (session, dropped_and_brought_back)
{
  struct lm_session *s = make ("one"), *d;
  CLEANUP_FREE char *name = NULL;
  char **names;

  cr_assert (eq (int, lm_session_drop (s, &name, &err), 0), "%s",
             err.message);
  lm_session_free (s);
  cr_expect (eq (int, strncmp (name, "one-20", 6), 0));
  cr_expect_null (lm_session_open ("one", false, &err));
  cr_expect (eq (int, err.kind, LM_ERR_NOT_FOUND));
  lm_error_clear (&err);
  names = lm_session_names (true, &err);
  cr_assert_not_null (names);
  cr_expect (eq (str, names[0], name));
  cr_expect_null (names[1]);
  lm_session_names_free (names);

  d = lm_session_open_dropped (name, true, &err);
  cr_assert_not_null (d, "%s", err.message);
  cr_expect (d->dropped > 0);
  cr_assert (eq (int, lm_session_bring_back (d, NULL, &err), 0), "%s",
             err.message);
  cr_expect (eq (str, d->name, (char *) "one"));
  lm_session_free (d);
  s = lm_session_open ("one", false, &err);
  cr_assert_not_null (s, "%s", err.message);
  cr_expect (eq (i64, s->dropped, 0));
  lm_session_free (s);
}

Test (session, two_dropped_at_the_same_second_are_kept_apart)
{
  CLEANUP_FREE char *a = NULL, *b = NULL;
  struct lm_session *s = make ("one");

  cr_assert (eq (int, lm_session_drop (s, &a, &err), 0));
  lm_session_free (s);
  s = make ("one");
  cr_assert (eq (int, lm_session_drop (s, &b, &err), 0), "%s", err.message);
  lm_session_free (s);
  cr_expect (ne (str, a, b));
  /* The old name comes out of both. */
  s = lm_session_open_dropped (b, true, &err);
  cr_assert_not_null (s);
  cr_assert (eq (int, lm_session_bring_back (s, NULL, &err), 0));
  cr_expect (eq (str, s->name, (char *) "one"));
  lm_session_free (s);
}

Test (session, a_session_without_a_record_was_killed_at_birth)
{
  struct lm_session *s = lm_session_create ("one", "web01", &err);

  cr_assert_not_null (s);
  cr_assert (eq (int, unlinkat (s->folder_fd, "session.json", 0), 0));
  lm_session_free (s);
  cr_expect_null (lm_session_open ("one", false, &err));
  lm_error_clear (&err);
  s = lm_session_open ("one", true, &err);
  cr_assert_not_null (s, "%s", err.message);
  cr_expect (eq (int, s->stage, LM_SESSION_PURGING));
  cr_expect (eq (int, lm_session_purge (s, &err), 0), "%s", err.message);
  cr_expect (eq (int, access (s->folder, F_OK), -1));
  lm_session_free (s);
}

Test (session, with_its_repository_its_pin_is_gone)
{
  struct lm_session *s = make ("one");

  cr_expect (eq (int, lm_session_purge (s, &err), 0), "%s", err.message);
  cr_expect (eq (int, access (s->folder, F_OK), -1));
  lm_session_free (s);
}

Test (session, what_has_a_pin_stays_until_the_pin_can_be_removed)
{
  struct lm_session *s = make ("one");

  free (s->repository);
  s->repository = strdup ("elsewhere:repo");
  cr_expect (eq (int, lm_session_purge (s, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_UNSUPPORTED));
  lm_session_free (s);
  lm_error_clear (&err);
  s = lm_session_open ("one", false, &err);
  cr_assert_not_null (s, "%s", err.message);
  cr_expect (eq (int, s->stage, LM_SESSION_PURGING));
  lm_session_free (s);
}

/* A record that is not what we wrote is refused, and named. */
Test (session, broken_records_are_refused)
{
  static const struct { const char *from, *to, *says; } rows[] = {
    { "livemount-session", "something-else", "format 'something-else'" },
    { "\"version\":1", "\"version\":2", "version 2" },
    { "\"stage\":\"kept\"", "\"stage\":\"lost\"", "stage 'lost'" },
    { "\"name\":\"disk0\"", "\"name\":\"../x\"", "'../x'" },
    { "\"size\":5000001", "\"size\":-1", "size" },
    { "\"created\":\"20", "\"created\":\"xx", "created is not a time" },
    { "\"vm\":\"web01\"", "\"xx\":\"web01\"", "the VM" },
    { "\"disks\":[", "\"disks\":[1,", "'name' is missing" },
    { "{\"cache", "{{\"cache", "session.json" },
  };
  size_t i;

  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct lm_session *s = make ("one");
    CLEANUP_FREE char *text = NULL, *changed = NULL;
    char *at;
    size_t len;

    cr_assert (eq (int, lm_file_read (s->folder_fd, "session.json", 65536,
                                      &text, &len, &err), 0));
    at = strstr (text, rows[i].from);
    cr_assert_not_null (at, "%s in %s", rows[i].from, text);
    cr_assert (asprintf (&changed, "%.*s%s%s", (int) (at - text), text,
                         rows[i].to, at + strlen (rows[i].from)) > 0);
    cr_assert (eq (int, lm_file_replace (s->folder_fd, "session.json",
                                         changed, strlen (changed), 0600,
                                         &err), 0));
    lm_session_unlock (s);
    cr_expect_null (lm_session_open ("one", true, &err), "%s", rows[i].to);
    cr_expect_not_null (strstr (err.message, rows[i].says),
                        "'%s' lacks '%s'", err.message, rows[i].says);
    lm_error_clear (&err);
    /* Out of the way for the next row. */
    cr_assert (eq (int, unlinkat (s->folder_fd, "session.json", 0), 0));
    cr_assert (eq (int, unlinkat (s->folder_fd, "lock", 0), 0));
    cr_assert (eq (int, rmdir (s->folder), 0));
    lm_session_free (s);
  }
}

Test (session, a_state_folder_must_be_absolute)
{
  setenv ("LIVEMOUNT_STATE_DIR", "relative", 1);
  cr_expect_null (lm_sessions_folder (&err));
  cr_expect (eq (int, err.kind, LM_ERR_USAGE));
}

/* Our own proxy, as far as a command can see: it holds the lock. */
static int
hold_proxy_lock (const struct lm_session *s)
{
  int fd = openat (s->folder_fd, "proxy.lock", O_RDWR | O_CREAT | O_CLOEXEC,
                   0600);

  cr_assert (eq (int, flock (fd, LOCK_EX | LOCK_NB), 0));
  return fd;
}

static int
listen_at (const struct lm_session *s, int backlog)
{
  CLEANUP_FREE char *path = lm_session_path (s, "nbd.sock", &err);
  struct sockaddr_un sun = { .sun_family = AF_UNIX };
  int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

  cr_assert (lt (sz, strlen (path), sizeof sun.sun_path));
  strcpy (sun.sun_path, path);
  cr_assert (eq (int, bind (fd, (struct sockaddr *) &sun, sizeof sun), 0));
  cr_assert (eq (int, listen (fd, backlog), 0));
  return fd;
}

static void *
accept_and_be_silent (void *opaque)
{
  static int accepted[64];
  const int *listener = opaque;
  int *p;

  for (p = accepted; p < accepted + 64; p++)
    *p = accept (*listener, NULL, NULL);
  return NULL;
}

/* (That these end at all is the test; see the suite's time-out.) */
Test (session, a_proxy_that_says_nothing_serves_nothing)
{
  struct lm_session *s = make ("one");
  int lock = hold_proxy_lock (s), listener;
  pthread_t thread;

  cr_expect_not (lm_session_proxy_serves (s));  /* nobody listens */
  listener = listen_at (s, 10);
  cr_assert (eq (int, pthread_create (&thread, NULL, accept_and_be_silent,
                                      &listener), 0));
  cr_expect (eq (int, lm_session_proxy_state (s), LM_PROXY_RUNNING));
  cr_expect_not (lm_session_proxy_serves (s));
  close (lock);
  lm_session_free (s);
}

Test (session, nor_does_one_that_accepts_no_more)
{
  struct lm_session *s = make ("one");
  int lock = hold_proxy_lock (s), listener = listen_at (s, 0);
  struct sockaddr_un sun;
  socklen_t len = sizeof sun;
  int full = socket (AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

  cr_assert (eq (int, getsockname (listener, (struct sockaddr *) &sun, &len),
                 0));
  while (connect (full, (struct sockaddr *) &sun, len) == 0)
    full = socket (AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
  cr_expect_not (lm_session_proxy_serves (s));
  close (lock);
  lm_session_free (s);
}
