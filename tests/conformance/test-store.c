/* SPDX-License-Identifier: Apache-2.0
 *
 * What every store must do, run against each: the directory store, the
 * one in memory, and the fault wrapper around it.  A new store is one
 * line in EACH_STORE.
 */
#include <config.h>

#include "formats/store.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "formats/store/store-dir.h"
#include "tests/support/scratch.h"
#include "tests/support/store-fault.h"
#include "tests/support/store-memory.h"
#include "common/banned.h"

static struct lm_store *
open_dir (void)
{
  CLEANUP_FREE char *path = lm_scratch_path ("store");
  struct lm_error err = LM_ERROR_INIT;
  struct lm_store *s;

  cr_assert (eq (int, lm_store_dir_open (path, true, &s, &err), 0), "%s",
             err.message);
  return s;
}

static struct lm_store *
open_memory (void)
{
  return lm_store_memory_new ();
}

static struct lm_store *wrapped;

static struct lm_store *
open_wrapped (void)
{
  wrapped = lm_store_memory_new ();
  return lm_store_fault_new (wrapped);
}

#define RUN_ON(store, test) \
  Test (store, test) \
  { \
    struct lm_store *s = open_##store (); \
    \
    test (s); \
    lm_store_close (s); \
    lm_store_close (wrapped); \
  }

#define EACH_STORE(test) \
  static void test (struct lm_store *s); \
  RUN_ON (dir, test) \
  RUN_ON (memory, test) \
  RUN_ON (wrapped, test) \
  static void test (struct lm_store *s)

static int
put_text (struct lm_store *s, const char *name, const char *text,
          struct lm_error *err)
{
  struct iovec iov = { (char *) text, strlen (text) };

  return lm_store_put_if_absent (s, name, &iov, 1, err);
}

static void
must_put (struct lm_store *s, const char *name, const char *text)
{
  struct lm_error err = LM_ERROR_INIT;

  cr_assert (eq (int, put_text (s, name, text, &err), 0), "%s: %s", name,
             err.message);
}

/* The whole object as a string; "(kind)" when it can't be read. */
static char *
get_text (struct lm_store *s, const char *name)
{
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_FREE uint8_t *data = NULL;
  char *text;
  size_t len;
  int r;

  if (lm_store_get (s, name, 1 << 20, &data, &len, &err) == -1)
    r = asprintf (&text, "(%s)", lm_error_kind_name (err.kind));
  else
    r = asprintf (&text, "%.*s", (int) len, data);
  cr_assert (ge (int, r, 0));
  return text;
}

static void
expect_text (struct lm_store *s, const char *name, const char *expected)
{
  CLEANUP_FREE char *text = get_text (s, name);

  cr_expect (eq (str, text, (char *) expected), "%s", name);
}

EACH_STORE (gives_back_what_was_put)
{
  struct lm_error err = LM_ERROR_INIT;
  struct iovec iov[] = {
    { (char *) "one ", 4 }, { (char *) "", 0 }, { (char *) "two", 3 },
  };
  uint64_t size;

  cr_assert (eq (int, lm_store_put_if_absent (s, "packs/ab/1.p-x", iov, 3,
                                              &err), 0), "%s", err.message);
  expect_text (s, "packs/ab/1.p-x", "one two");
  cr_expect (eq (int, lm_store_stat (s, "packs/ab/1.p-x", &size, &err), 0));
  cr_expect (eq (u64, size, 7));
}

EACH_STORE (an_object_may_be_empty)
{
  struct lm_error err = LM_ERROR_INIT;
  struct iovec none = { NULL, 0 };
  uint64_t size = 1;

  cr_assert (eq (int, lm_store_put_if_absent (s, "a", &none, 0, &err), 0));
  cr_assert (eq (int, lm_store_put (s, "b/c", &none, 1, &err), 0));
  cr_assert (eq (int, lm_store_stat (s, "a", &size, &err), 0));
  cr_expect (eq (u64, size, 0));
  expect_text (s, "a", "");
  expect_text (s, "b/c", "");
}

EACH_STORE (put_if_absent_keeps_the_first)
{
  struct lm_error err = LM_ERROR_INIT;

  must_put (s, "journal/1", "first");
  cr_expect (eq (int, put_text (s, "journal/1", "second", &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_EXISTS), "%s", err.message);
  expect_text (s, "journal/1", "first");
}

EACH_STORE (put_replaces)
{
  static const char *const texts[] = { "1", "a longer one", "", "short" };
  struct lm_error err = LM_ERROR_INIT;
  size_t i;

  for (i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    struct iovec iov = { (char *) texts[i], strlen (texts[i]) };

    cr_assert (eq (int, lm_store_put (s, "leases/x", &iov, 1, &err), 0));
    expect_text (s, "leases/x", texts[i]);
  }
}

EACH_STORE (only_small_objects_can_be_replaced)
{
  static char big[LM_STORE_PUT_MAX + 1];
  struct lm_error err = LM_ERROR_INIT;
  struct iovec iov = { big, LM_STORE_PUT_MAX };

  cr_expect (eq (int, lm_store_put (s, "leases/x", &iov, 1, &err), 0));
  iov.iov_len++;
  cr_expect (eq (int, lm_store_put (s, "leases/x", &iov, 1, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_LIMIT));
}

EACH_STORE (reads_ranges)
{
  static const struct { uint64_t offset; size_t len; int kind; } rows[] = {
    { 0, 10, 0 }, { 0, 0, 0 }, { 10, 0, 0 }, { 9, 1, 0 }, { 3, 4, 0 },
    { 10, 1, LM_ERR_CORRUPT }, { 0, 11, LM_ERR_CORRUPT },
    { 1000000, 1, LM_ERR_CORRUPT }, { UINT64_MAX, 2, LM_ERR_CORRUPT },
    { INT64_MAX, 2, LM_ERR_CORRUPT },
  };
  size_t i;

  must_put (s, "x", "0123456789");
  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct lm_error err = LM_ERROR_INIT;
    char buf[16] = { 0 };
    int r = lm_store_get_range (s, "x", buf, rows[i].len, rows[i].offset,
                                &err);

    cr_expect (eq (int, r, rows[i].kind ? -1 : 0), "row %zu: %s", i,
               err.message);
    cr_expect (eq (int, err.kind, rows[i].kind), "row %zu", i);
    if (r == 0)
      cr_expect (zero (int, memcmp (buf, &"0123456789"[rows[i].offset],
                                    rows[i].len)));
  }
}

EACH_STORE (what_is_not_there_is_not_found)
{
  struct lm_error err = LM_ERROR_INIT;
  uint64_t size;
  char c;

  must_put (s, "packs/ab/1", "x");
  /* A leading part of a name is no object. */
  static const char *const names[] = {
    "nothing", "packs/ab/2", "packs/ab", "packs", "packs/ab/1/2",
  };
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    const char *name = names[i];

    cr_expect (eq (int, lm_store_get_range (s, name, &c, 1, 0, &err), -1));
    cr_expect (eq (int, err.kind, LM_ERR_NOT_FOUND), "get %s: %s", name,
               err.message);
    cr_expect (eq (int, lm_store_stat (s, name, &size, &err), -1));
    cr_expect (eq (int, err.kind, LM_ERR_NOT_FOUND), "stat %s: %s", name,
               err.message);
    cr_expect (eq (int, lm_store_remove (s, name, &err), -1));
    cr_expect (eq (int, err.kind, LM_ERR_NOT_FOUND), "remove %s: %s", name,
               err.message);
  }
  expect_text (s, "packs/ab/1", "x");
}

EACH_STORE (removed_is_gone)
{
  struct lm_error err = LM_ERROR_INIT;

  must_put (s, "packs/1", "x");
  must_put (s, "packs/2", "y");
  cr_assert (eq (int, lm_store_remove (s, "packs/1", &err), 0));
  expect_text (s, "packs/1", "(not-found)");
  expect_text (s, "packs/2", "y");
  cr_expect (eq (int, lm_store_remove (s, "packs/1", &err), -1));
  must_put (s, "packs/1", "again");
  expect_text (s, "packs/1", "again");
}

struct seen {
  unsigned count;
  uint64_t bytes;
  char names[8][32];
  unsigned stop_after;
  struct lm_store *remove_from;
};

static int
see (void *opaque, const char *name, uint64_t size, struct lm_error *err)
{
  struct seen *seen = opaque;

  if (seen->remove_from &&
      lm_store_remove (seen->remove_from, name, err) == -1)
    return -1;
  snprintf (seen->names[seen->count % 8], 32, "%s", name);
  seen->bytes += size;
  if (++seen->count == seen->stop_after)
    return lm_error_set (err, LM_ERR_INTERRUPTED, "enough");
  return 0;
}

static bool
has_seen (const struct seen *seen, const char *name)
{
  for (unsigned i = 0; i < seen->count; i++)
    if (strcmp (seen->names[i], name) == 0)
      return true;
  return false;
}

static void
put_a_few (struct lm_store *s)
{
  must_put (s, "packs/ab/1", "1");
  must_put (s, "packs/ab/2", "22");
  must_put (s, "packs/cd/3", "333");
  must_put (s, "packs2/ab/4", "4444");
  must_put (s, "config", "55555");
}

EACH_STORE (lists_below_a_prefix)
{
  static const struct { const char *prefix; unsigned count; uint64_t bytes; }
  rows[] = {
    { "packs", 3, 6 }, { "packs/ab", 2, 3 }, { "packs2", 1, 4 },
    { "packs/ef", 0, 0 }, { "nothing/at/all", 0, 0 }, { "config", 0, 0 },
    { "pack", 0, 0 }, { "packs/ab/1", 0, 0 },
  };
  struct lm_error err = LM_ERROR_INIT;
  struct seen seen = { 0 };

  put_a_few (s);
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    seen = (struct seen) { 0 };
    cr_expect (eq (int, lm_store_list (s, rows[i].prefix, see, &seen, &err),
                   0), "%s: %s", rows[i].prefix, err.message);
    cr_expect (eq (u32, seen.count, rows[i].count), "%s", rows[i].prefix);
    cr_expect (eq (u64, seen.bytes, rows[i].bytes), "%s", rows[i].prefix);
  }
  seen = (struct seen) { 0 };
  cr_assert (eq (int, lm_store_list (s, "packs", see, &seen, &err), 0));
  cr_expect (has_seen (&seen, "packs/ab/1"));
  cr_expect (has_seen (&seen, "packs/ab/2"));
  cr_expect (has_seen (&seen, "packs/cd/3"));
}

EACH_STORE (a_list_can_be_stopped)
{
  struct lm_error err = LM_ERROR_INIT;
  struct seen seen = { .stop_after = 2 };

  put_a_few (s);
  cr_expect (eq (int, lm_store_list (s, "packs", see, &seen, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_INTERRUPTED));
  cr_expect (eq (u32, seen.count, 2));
}

EACH_STORE (what_is_listed_can_be_removed_meanwhile)
{
  struct lm_error err = LM_ERROR_INIT;
  struct seen seen = { .remove_from = s };

  put_a_few (s);
  cr_expect (eq (int, lm_store_list (s, "packs", see, &seen, &err), 0), "%s",
             err.message);
  cr_expect (eq (u32, seen.count, 3));
  seen = (struct seen) { 0 };
  cr_expect (eq (int, lm_store_list (s, "packs", see, &seen, &err), 0));
  cr_expect (eq (u32, seen.count, 0));
}

EACH_STORE (refuses_names_that_are_none)
{
  char too_long[4097];
  const char *const names[] = {
    "", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", ".hidden",
    "a/.b", "A", "a b", "a\nb", "a_b", "\xc3\xa4", "tmp", "tmp/x", too_long,
  };
  struct iovec iov = { (char *) "x", 1 };
  struct seen seen = { 0 };
  uint64_t size;
  char c;

  memset (too_long, 'a', sizeof too_long - 1);
  too_long[sizeof too_long - 1] = '\0';
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    const char *n = names[i];
    struct lm_error err = LM_ERROR_INIT;

    cr_expect (eq (int, lm_store_put (s, n, &iov, 1, &err), -1), "%s", n);
    cr_expect (eq (int, lm_store_put_if_absent (s, n, &iov, 1, &err), -1));
    cr_expect (eq (int, lm_store_get_range (s, n, &c, 1, 0, &err), -1));
    cr_expect (eq (int, lm_store_stat (s, n, &size, &err), -1));
    cr_expect (eq (int, lm_store_remove (s, n, &err), -1));
    cr_expect (eq (int, lm_store_list (s, n, see, &seen, &err), -1));
    cr_expect (eq (int, err.kind, LM_ERR_USAGE), "'%.20s'", n);
  }
  too_long[LM_STORE_NAME_MAX] = '\0';
  must_put (s, too_long, "as long as it may be");
  expect_text (s, too_long, "as long as it may be");
}

EACH_STORE (a_whole_object_is_read_up_to_a_limit)
{
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_FREE uint8_t *data = NULL;
  size_t len;

  must_put (s, "x", "12345");
  cr_expect (eq (int, lm_store_get (s, "x", 4, &data, &len, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_LIMIT));
  cr_assert (eq (int, lm_store_get (s, "x", 5, &data, &len, &err), 0));
  cr_expect (eq (sz, len, 5));
}

/* Threads. */

#define NR_THREADS 8
#define BIG (LM_STORE_PUT_MAX * 2)      /* kept open by the directory store */

struct worker {
  struct lm_store *store;
  unsigned number;
  unsigned won;
  char failure[200];
};

static void
run_workers (struct lm_store *s, void *(*start) (void *),
             struct worker workers[NR_THREADS])
{
  pthread_t threads[NR_THREADS];

  for (unsigned i = 0; i < NR_THREADS; i++) {
    workers[i] = (struct worker) { .store = s, .number = i };
    cr_assert (zero (int, pthread_create (&threads[i], NULL, start,
                                          &workers[i])));
  }
  for (unsigned i = 0; i < NR_THREADS; i++) {
    pthread_join (threads[i], NULL);
    cr_expect (eq (str, workers[i].failure, (char *) ""));
  }
}

#define NR_RACES 50

static void *
race (void *arg)
{
  struct worker *w = arg;
  char text[64], name[32];

  for (unsigned i = 0; i < NR_RACES; i++) {
    struct lm_error err = LM_ERROR_INIT;

    snprintf (name, sizeof name, "journal/%u", i);
    snprintf (text, sizeof text, "thread %u wins race %u", w->number, i);
    if (put_text (w->store, name, text, &err) == 0) {
      CLEANUP_FREE char *now = get_text (w->store, name);

      w->won++;
      if (strcmp (now, text) != 0)
        snprintf (w->failure, sizeof w->failure, "won %s, but it is '%s'",
                  name, now);
    }
    else if (err.kind != LM_ERR_EXISTS)
      snprintf (w->failure, sizeof w->failure, "%.190s", err.message);
  }
  return NULL;
}

EACH_STORE (of_many_puts_if_absent_one_succeeds)
{
  struct worker workers[NR_THREADS];
  unsigned won = 0;

  run_workers (s, race, workers);
  for (unsigned i = 0; i < NR_THREADS; i++)
    won += workers[i].won;
  cr_expect (eq (u32, won, NR_RACES));
}

#define NR_BIG 100

static void *
read_at_random (void *arg)
{
  struct worker *w = arg;
  unsigned seed = w->number + 1;

  for (unsigned i = 0; i < 3000; i++) {
    struct lm_error err = LM_ERROR_INIT;
    unsigned n, offset;
    uint8_t buf[16];
    char name[32];

    seed = seed * 1103515245 + 12345;
    n = seed / 65536 % NR_BIG;
    offset = seed % (BIG - sizeof buf);
    snprintf (name, sizeof name, "packs/%02x/%u", n % 16, n);
    if (lm_store_get_range (w->store, name, buf, sizeof buf, offset,
                            &err) == -1)
      snprintf (w->failure, sizeof w->failure, "%.190s", err.message);
    else if (buf[0] != n || buf[15] != n)
      snprintf (w->failure, sizeof w->failure, "%s holds %u", name, buf[0]);
  }
  return NULL;
}

EACH_STORE (many_threads_read_more_objects_than_stay_open)
{
  CLEANUP_FREE uint8_t *big = malloc (BIG);
  struct lm_error err = LM_ERROR_INIT;
  struct iovec iov = { big, BIG };
  struct worker workers[NR_THREADS];
  char name[32];

  for (unsigned i = 0; i < NR_BIG; i++) {
    memset (big, i, BIG);
    snprintf (name, sizeof name, "packs/%02x/%u", i % 16, i);
    cr_assert (eq (int, lm_store_put_if_absent (s, name, &iov, 1, &err), 0),
               "%s", err.message);
  }
  run_workers (s, read_at_random, workers);
}

static void *
replace_and_read (void *arg)
{
  struct worker *w = arg;
  char text[LM_STORE_PUT_MAX / 2];
  struct iovec iov = { text, sizeof text };

  memset (text, 'a' + w->number, sizeof text);
  for (unsigned i = 0; i < 50; i++) {
    struct lm_error err = LM_ERROR_INIT;
    CLEANUP_FREE uint8_t *data = NULL;
    size_t len;

    if (lm_store_put (w->store, "leases/x", &iov, 1, &err) == -1 ||
        lm_store_get (w->store, "leases/x", 1 << 20, &data, &len,
                      &err) == -1)
      snprintf (w->failure, sizeof w->failure, "%.190s", err.message);
    else if (len != sizeof text || memcmp (data, data + 1, len - 1) != 0)
      snprintf (w->failure, sizeof w->failure, "a mixture of two writers");
  }
  return NULL;
}

EACH_STORE (a_replaced_object_is_old_or_new)
{
  struct worker workers[NR_THREADS];

  run_workers (s, replace_and_read, workers);
}

/* The wrapper's own promises. */

Test (fault, step_n_fails_and_is_counted)
{
  struct lm_store *inner = lm_store_memory_new ();
  struct lm_store *s = lm_store_fault_new (inner);
  struct lm_error err = LM_ERROR_INIT;

  lm_store_fault_arm (s, LM_FAULT_FAIL, 2, false);
  must_put (s, "a", "1");
  cr_expect (eq (int, put_text (s, "b", "2", &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_IO));
  must_put (s, "c", "3");
  expect_text (s, "b", "(not-found)");
  cr_expect (eq (u64, lm_store_fault_steps (s), 3));

  lm_store_fault_arm (s, LM_FAULT_LOST_REPLY, 1, false);
  cr_expect (eq (int, put_text (s, "d", "lost reply", &err), -1));
  expect_text (s, "d", "lost reply");

  lm_store_fault_arm (s, LM_FAULT_TEAR, 1, true);
  cr_expect (eq (int, put_text (s, "e", "12345678", &err), -1));
  expect_text (s, "a", "(io)");
  expect_text (inner, "e", "1234");

  lm_store_fault_arm (s, LM_FAULT_NONE, 0, false);
  lm_store_fault_arm_read (s, 2);
  expect_text (s, "a", "1");
  expect_text (s, "a", "(io)");
  expect_text (s, "a", "1");
  lm_store_close (s);
  lm_store_close (inner);
}
