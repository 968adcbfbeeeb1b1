/* SPDX-License-Identifier: Apache-2.0
 * Changes of key slots: their order, what is left after a crash at every
 * step, and two programs at once.
 */
#include <config.h>

#include "formats/native/slot-change.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/native/journal.h"
#include "formats/native/object-io.h"
#include "formats/native/slot-test.h"
#include "tests/support/memory-disk.h"
#include "tests/support/store-fault.h"
#include "tests/support/store-memory.h"
#include "tests/support/test-repository.h"

static struct lm_error err;

/* Key files cost nothing to open. */
static struct lm_credentials
another_key_file (char fill)
{
  struct lm_credentials c = LM_CREDENTIALS_INIT;

  c.key_file_len = 40;
  c.key_file = malloc (c.key_file_len);
  cr_assert_not_null (c.key_file);
  memset (c.key_file, fill, c.key_file_len);
  return c;
}

static size_t
count_slots (struct test_repository *t, struct lm_repository *repo)
{
  struct lm_key_slot *slots;
  size_t n;

  cr_assert (eq (int, lm_key_slots_list (t->memory, lm_repository_id (repo),
                                         &slots, &n, NULL, &err), 0));
  free (slots);
  return n;
}

/* Does it open from the store, past everything that is held open? */
static bool
opens (struct test_repository *t, const uint8_t *repository,
       const struct lm_credentials *c)
{
  struct lm_error ignored = LM_ERROR_INIT;
  uint8_t master[32], id[8];

  return lm_key_slots_unlock (t->memory, repository, c, master, id,
                              &ignored) == 0;
}

static void
add_escrow (struct lm_repository *repo, struct lm_key_slot *slot)
{
  struct lm_credentials c = LM_CREDENTIALS_INIT;

  c.escrow_recipient = malloc (32);
  cr_assert_not_null (c.escrow_recipient);
  memset (c.escrow_recipient, 9, 32);
  cr_assert (eq (int, lm_slot_add (repo, &c, LM_SLOT_ESCROW, "vault",
                                   "key add", slot, &err), 0), "%s",
             err.message);
  lm_credentials_release (&c);
}

/* The only change of the newest record. */
static void
expect_record (struct lm_repository *repo, enum lm_change_type type)
{
  struct lm_journal_record r;

  cr_assert (eq (int, lm_journal_record_read (
    lm_repository_store (repo), lm_repository_keys (repo),
    lm_repository_state (repo)->sequence, &r, &err), 0));
  cr_expect (eq (sz, r.nr_changes, 1));
  cr_expect (eq (int, r.changes[0].type, type));
  lm_journal_record_release (&r);
}

Test (slot_change, add_and_remove_are_recorded)
{
  struct test_repository t;
  struct lm_repository *repo;
  struct lm_credentials c = another_key_file ('a');
  struct lm_slots_left left;
  struct lm_key_slot slot;

  test_repository_make (&t, true, 4096);
  repo = test_repository_open (&t, NULL, &err);
  cr_assert_not_null (repo, "%s", err.message);
  cr_assert (eq (int, lm_slot_add (repo, &c, LM_SLOT_KEY_FILE, "anna",
                                   "key add", &slot, &err), 0), "%s",
             err.message);
  expect_record (repo, LM_CHANGE_SLOT_ADD);
  cr_expect (opens (&t, lm_repository_id (repo), &c));
  cr_assert (eq (int, lm_slot_remove (repo, slot.id, false, "key remove",
                                      &left, &err), 0), "%s", err.message);
  expect_record (repo, LM_CHANGE_SLOT_REMOVE);
  cr_expect (eq (sz, left.daily, 1));
  cr_expect (eq (sz, left.escrow, 0));
  cr_expect (eq (int, opens (&t, lm_repository_id (repo), &c), 0));
  cr_expect (eq (sz, count_slots (&t, repo), 1));
  lm_credentials_release (&c);
  lm_repository_close (repo);
  test_repository_release (&t);
}

Test (slot_change, the_last_slot_and_the_last_daily_one_stay)
{
  struct test_repository t;
  struct lm_repository *repo;
  struct lm_slots_left left;
  struct lm_key_slot escrow;
  uint8_t first[8];

  test_repository_make (&t, true, 4096);
  repo = test_repository_open (&t, NULL, &err);
  cr_assert_not_null (repo);
  memcpy (first, lm_repository_slot_id (repo), 8);
  cr_expect (eq (int, lm_slot_remove (repo, first, true, "x", &left, &err),
                 -1));
  cr_expect (eq (int, err.kind, LM_ERR_USAGE));
  cr_expect (eq (str, err.message, (char *) "this is the last key slot: "
                 "without it nothing could open the repository any more"));
  add_escrow (repo, &escrow);
  cr_expect (eq (int, lm_slot_remove (repo, first, false, "x", &left, &err),
                 -1));
  cr_expect (eq (str, err.message, (char *) "only escrow key slots would be "
                 "left, whose keys are kept offline"));
  lm_error_clear (&err);
  cr_assert (eq (int, lm_slot_remove (repo, first, true, "x", &left, &err),
                 0));
  cr_expect (eq (sz, left.daily, 0));
  cr_expect (eq (sz, left.escrow, 1));
  cr_expect (eq (int, lm_slot_remove (repo, escrow.id, true, "x", &left,
                                      &err), -1));
  lm_repository_close (repo);
  test_repository_release (&t);
}

/* Whatever step the machine stops at, or whatever answer is lost: the old
 * secret opens the repository until the new one does. */
static void
replace_with_fault (enum lm_fault_kind kind, bool dead)
{
  uint64_t step;
  bool done = false;

  for (step = 1; !done; step++) {
    struct lm_credentials fresh = another_key_file ('n'), old;
    struct test_repository t;
    struct lm_store *store;
    struct lm_repository *repo;
    struct lm_slots_left left;
    struct lm_key_slot slot;
    uint8_t first[8], id[16];
    int r;

    cr_assert (lt (u64, step, 50));
    test_repository_make (&t, true, 4096);
    test_repository_credentials (&old);
    store = lm_store_fault_new (t.memory);
    repo = test_repository_open (&t, store, &err);
    cr_assert_not_null (repo, "%s", err.message);
    memcpy (first, lm_repository_slot_id (repo), 8);
    memcpy (id, lm_repository_id (repo), 16);
    lm_store_fault_arm (store, kind, step, dead);
    r = lm_slot_add (repo, &fresh, LM_SLOT_KEY_FILE, "", "key passwd", &slot,
                     &err);
    if (r == 0) {
      cr_expect (opens (&t, id, &fresh), "step %zu", (size_t) step);
      r = lm_slot_remove (repo, first, false, "key passwd", &left, &err);
      cr_expect (opens (&t, id, &fresh), "step %zu", (size_t) step);
    }
    else
      cr_expect (opens (&t, id, &old), "step %zu", (size_t) step);
    done = lm_store_fault_steps (store) < step;
    if (done)
      cr_expect (eq (int, r, 0));
    if (r == 0)
      cr_expect (eq (int, opens (&t, id, &old), 0), "step %zu",
                 (size_t) step);
    lm_error_clear (&err);
    lm_repository_close (repo);

    /* The journal is whole, and the removal can be finished. */
    if (opens (&t, id, &old)) {
      repo = test_repository_open (&t, NULL, &err);
      cr_assert_not_null (repo, "step %zu: %s", (size_t) step, err.message);
      if (opens (&t, id, &fresh))
        cr_expect (eq (int, lm_slot_remove (repo, first, false, "again",
                                            &left, &err), 0), "%s",
                   err.message);
      lm_error_clear (&err);
      lm_repository_close (repo);
    }
    lm_credentials_release (&fresh);
    lm_credentials_release (&old);
    test_repository_release (&t);
  }
  cr_expect (lt (u64, 4, step), "there were only %zu steps", (size_t) step);
}

Test (slot_change, a_crash_at_any_step_leaves_a_secret_that_opens)
{
  replace_with_fault (LM_FAULT_FAIL, true);
  replace_with_fault (LM_FAULT_LOST_REPLY, true);
}

Test (slot_change, so_does_an_error_at_any_step)
{
  replace_with_fault (LM_FAULT_FAIL, false);
  replace_with_fault (LM_FAULT_LOST_REPLY, false);
}

/* Another program whose record is there and whose object is not yet
 * removed: as if it stood between the two. */
static void
record_removal (struct lm_repository *repo, const uint8_t id[8])
{
  json_t *changes = json_array ();

  cr_assert (eq (int, lm_change_slot (changes, LM_CHANGE_SLOT_REMOVE, id,
                                      "key-file", "", &err), 0));
  cr_assert (eq (int, lm_journal_commit (repo, NULL, "another", changes,
                                         &err), 0), "%s", err.message);
  json_decref (changes);
}

static void
two_at_once (bool before_open)
{
  struct test_repository t;
  struct lm_repository *one, *two;
  struct lm_credentials c = another_key_file ('b');
  struct lm_slots_left left;
  struct lm_key_slot slot;
  uint8_t first[8];

  test_repository_make (&t, true, 4096);
  one = test_repository_open (&t, NULL, &err);
  cr_assert_not_null (one);
  memcpy (first, lm_repository_slot_id (one), 8);
  cr_assert (eq (int, lm_slot_add (one, &c, LM_SLOT_KEY_FILE, "", "key add",
                                   &slot, &err), 0));
  if (before_open)
    record_removal (one, slot.id);
  two = test_repository_open (&t, NULL, &err);
  cr_assert_not_null (two);
  if (!before_open)
    record_removal (one, slot.id);

  cr_expect (eq (int, lm_slot_remove (two, first, false, "key remove", &left,
                                      &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_LOCKED));
  cr_expect (eq (str, err.message, (char *) "the other key slots are being "
                 "removed, or their removal was interrupted"));
  expect_record (two, LM_CHANGE_SLOT_ADD);
  lm_error_clear (&err);

  /* The first one goes on, and then the other sees what there is. */
  cr_expect (eq (int, lm_slot_remove (one, slot.id, false, "key remove",
                                      &left, &err), 0), "%s", err.message);
  cr_expect (eq (sz, count_slots (&t, one), 1));
  cr_expect (eq (int, lm_slot_remove (two, first, false, "key remove", &left,
                                      &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_USAGE));
  lm_credentials_release (&c);
  lm_repository_close (one);
  lm_repository_close (two);
  test_repository_release (&t);
}

Test (slot_change, two_that_remove_two_slots_leave_one)
{
  two_at_once (false);
}

Test (slot_change, a_removal_that_was_begun_counts)
{
  two_at_once (true);
}

Test (slot_change, a_slot_comes_back_and_replaces_a_damaged_one_only)
{
  struct test_repository t;
  struct lm_repository *repo;
  struct lm_credentials c = another_key_file ('c');
  struct lm_key_slot slot;
  char name[LM_OBJECT_NAME_LEN];
  uint8_t *object, *there;
  size_t len, n;
  bool is_new;

  test_repository_make (&t, true, 4096);
  repo = test_repository_open (&t, NULL, &err);
  cr_assert_not_null (repo);
  cr_assert (eq (int, lm_slot_add (repo, &c, LM_SLOT_KEY_FILE, "c",
                                   "key add", &slot, &err), 0));
  lm_object_name ("keys", slot.id, 8, name);
  cr_assert (eq (int, lm_store_get (t.memory, name, LM_SLOT_SIZE_MAX,
                                    &object, &len, &err), 0));
  cr_assert (eq (int, lm_slot_restore (repo, &slot, object, len, &c, &is_new,
                                       &err), 0));
  cr_expect (eq (int, is_new, 0));
  cr_assert (eq (int, lm_store_remove (t.memory, name, &err), 0));
  cr_assert (eq (int, lm_slot_restore (repo, &slot, object, len, &c, &is_new,
                                       &err), 0));
  cr_expect (is_new);
  expect_record (repo, LM_CHANGE_SLOT_ADD);

  there = lm_store_memory_data (t.memory, name, &n);
  there[n / 2] ^= 1;
  cr_assert (eq (int, lm_slot_restore (repo, &slot, object, len, &c, &is_new,
                                       &err), 0), "%s", err.message);
  there = lm_store_memory_data (t.memory, name, &n);
  cr_expect (n == len && memcmp (there, object, len) == 0);
  cr_expect (opens (&t, lm_repository_id (repo), &c));
  free (object);
  lm_credentials_release (&c);
  lm_repository_close (repo);
  test_repository_release (&t);
}

Test (slot_change, an_unencrypted_repository_has_no_slots)
{
  struct test_repository t;
  struct lm_repository *repo;
  struct lm_credentials c = another_key_file ('d');
  struct lm_slots_left left;
  struct lm_key_slot slot;

  test_repository_make (&t, false, 4096);
  repo = test_repository_open (&t, NULL, &err);
  cr_assert_not_null (repo);
  cr_expect (eq (int, lm_slot_add (repo, &c, LM_SLOT_KEY_FILE, "", "x",
                                   &slot, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_USAGE));
  cr_expect (eq (int, lm_slot_remove (repo, (const uint8_t *) "12345678",
                                      false, "x", &left, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_USAGE));
  lm_credentials_release (&c);
  lm_repository_close (repo);
  test_repository_release (&t);
}

Test (slot_change, names_of_slots)
{
  static const struct lm_key_slot slots[] = {
    { .id = "\x12\x34\x56\x78\x9a\xbc\xde\xf0", .label = "anna" },
    { .id = "\x12\x34\x56\x78\x9a\xbc\xde\xf1", .label = "twin" },
    { .id = "\xaa\x34\x56\x78\x9a\xbc\xde\xf1", .label = "twin" },
  };
  static const struct { const char *name; int i; } rows[] = {
    { "123456789abcdef0", 0 }, { "123456789abcdef1", 1 }, { "anna", 0 },
    { "a", 2 }, { "aa34", 2 }, { "12", -2 }, { "twin", -2 }, { "", -1 },
    { "123456789abcdef00", -1 }, { "Anna", -1 }, { "b", -1 },
  };
  size_t i;

  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    const struct lm_key_slot *s = lm_slot_find (slots, 3, rows[i].name,
                                                &err);

    cr_expect (eq (ptr, (void *) s, rows[i].i < 0 ? NULL
                   : (void *) &slots[rows[i].i]), "%s", rows[i].name);
    if (s == NULL)
      cr_expect (eq (int, err.kind, rows[i].i == -2 ? LM_ERR_USAGE
                     : LM_ERR_NOT_FOUND), "%s", rows[i].name);
  }
}

static void
count_failure (void *opaque, const char *snapshot, const char *disk,
               const struct lm_error *why)
{
  unsigned *n = opaque;

  (*n)++;
  cr_expect (strncmp (snapshot, "vm/", 3) == 0);
  cr_expect (eq (str, (char *) disk, (char *) "disk0"));
  cr_expect (why->kind != LM_ERR_NONE);
}

static int
zero_pack (void *opaque, const char *name, uint64_t size,
           struct lm_error *e)
{
  size_t n;
  uint8_t *data = lm_store_memory_data (opaque, name, &n);

  (void) size;
  (void) e;
  memset (data + 64, 0, n - 128);
  return 0;
}

Test (slot_change, a_drill_finds_what_does_not_decrypt)
{
  struct memory_disk *source = memory_disk_new (NULL, 3 * 4096, 4096);
  struct memory_disk *empty = memory_disk_new (NULL, 0, 4096);
  struct test_repository t;
  struct lm_repository *repo;
  struct lm_backup_result backup;
  struct lm_slot_test_result r;
  unsigned failures = 0;
  const struct lm_slot_test_params params = {
    .failed = count_failure, .opaque = &failures,
  };

  test_repository_make (&t, true, 4096);
  repo = test_repository_open (&t, NULL, &err);
  cr_assert_not_null (repo);
  cr_assert (eq (int, test_backup (repo, &source->disk, &backup, &err), 0));
  cr_assert (eq (int, test_backup (repo, &empty->disk, &backup, &err), 0));
  cr_assert (eq (int, lm_repository_load (repo, &err), 0));
  cr_assert (eq (int, lm_slot_test (repo, &params, &r, &err), 0));
  cr_expect (eq (u64, r.snapshots, 2));
  cr_expect (eq (u64, r.disks, 2));
  cr_expect (eq (u64, r.chunks, 1));
  cr_expect (eq (u64, r.failed, 0));
  cr_assert (eq (int, lm_store_list (t.memory, "packs", zero_pack, t.memory,
                                     &err), 0));
  cr_assert (eq (int, lm_slot_test (repo, &params, &r, &err), 0), "%s",
             err.message);
  cr_expect (eq (u64, r.failed, 1));
  cr_expect (eq (u32, failures, 1));
  lm_disk_close (&source->disk);
  lm_disk_close (&empty->disk);
  lm_repository_close (repo);
  test_repository_release (&t);
}
