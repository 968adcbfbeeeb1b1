/* SPDX-License-Identifier: Apache-2.0
 *
 * Every object of a small repository, damaged in every way: flipped at
 * many places, cut and lengthened, zeroed, removed, changed for another of
 * its kind and for one of another repository.  A reader gets an error that
 * names the object, or the right bytes; `check` finds it.
 *
 * (What exactly is said of sealed objects is in test-native-objects.c.)
 * LM_TEST_LONG does it at many more places.
 */
#include <config.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "common/random.h"
#include "formats/native/check.h"
#include "formats/native/journal.h"
#include "formats/native/lease.h"
#include "formats/native/pin.h"
#include "tests/support/memory-disk.h"
#include "tests/support/scratch.h"
#include "tests/support/store-memory.h"
#include "tests/support/test-repository.h"

#define SIZE 70000
#define SNAPSHOTS 3
#define OBJECTS_MAX 200

static struct lm_error err;
static bool encrypted;
static uint8_t data[SNAPSHOTS][SIZE];

/* An object as it was. */
struct object {
  char name[LM_STORE_NAME_MAX + 1];
  uint8_t *bytes;
  size_t len;
};

struct world {
  struct test_repository t;
  struct lm_lease *lease;
  struct lm_repository *holder; /* of the lease */
  struct object objects[OBJECTS_MAX];
  size_t n;
};

static void
put (struct lm_store *store, const char *name, const void *bytes, size_t len)
{
  struct iovec iov = { (void *) bytes, len };
  struct lm_error e = LM_ERROR_INIT;

  cr_assert (eq (int, store->ops->put (store, name, &iov, 1, &e), 0), "%s",
             e.message);
}

static int
collect (void *opaque, const char *name, uint64_t size, struct lm_error *e)
{
  struct world *w = opaque;
  struct object *o = &w->objects[w->n];
  const uint8_t *bytes = lm_store_memory_data (w->t.memory, name, &o->len);

  (void) size;
  (void) e;
  cr_assert (lt (sz, ++w->n, OBJECTS_MAX));
  snprintf (o->name, sizeof o->name, "%s", name);
  o->bytes = malloc (o->len + 1);
  memcpy (o->bytes, bytes, o->len);
  return 0;
}

static void
backup (struct lm_repository *repo, const uint8_t *bytes)
{
  struct memory_disk *source = memory_disk_new (bytes, SIZE, 4096);
  struct lm_backup_result result;

  cr_assert (eq (int, test_backup (repo, &source->disk, &result, &err), 0),
             "%s", err.message);
  lm_disk_close (&source->disk);
}

/* Records until there is a checkpoint, and some more. */
static void
write_records (struct lm_repository *repo)
{
  const struct lm_snapshot_entry *e;
  json_t *changes;
  size_t i, n;

  e = lm_repository_snapshots (repo, &n);
  for (i = 0; i < 33; i++) {
    changes = json_array ();
    cr_assert (eq (int, lm_change_snapshot_protect (changes, e->id, i % 2,
                                                    &err), 0));
    cr_assert (eq (int, lm_journal_commit (repo, NULL, "t", changes, &err),
                   0), "%s", err.message);
    json_decref (changes);
    e = lm_repository_snapshots (repo, &n);
  }
}

/* Objects of every kind. */
static void
make_world (struct world *w)
{
  static const char *const folders[] = {
    "keys", "journal", "checkpoints", "packs", "index", "snapshots",
    "leases", "pins",
  };
  const struct lm_snapshot_entry *e;
  uint8_t pin[LM_NAME_ID_LEN];
  size_t i, n;

  memset (w, 0, sizeof *w);
  test_repository_make (&w->t, encrypted, 4096);
  w->holder = test_repository_open (&w->t, NULL, &err);
  cr_assert (ne (ptr, w->holder, NULL), "%s", err.message);
  backup (w->holder, data[0]);
  write_records (w->holder);
  backup (w->holder, data[1]);
  backup (w->holder, data[2]);
  e = lm_repository_snapshots (w->holder, &n);
  cr_assert (eq (int, lm_pin_put (w->holder, e->id, "s", pin, &err), 0));
  w->lease = lm_lease_acquire (w->holder, "backup", 0, &err);
  cr_assert (ne (ptr, w->lease, NULL));

  w->n = 1;
  snprintf (w->objects[0].name, LM_STORE_NAME_MAX, "config");
  w->objects[0].bytes = lm_store_memory_data (w->t.memory, "config",
                                              &w->objects[0].len);
  w->objects[0].bytes = memcpy (malloc (w->objects[0].len + 1),
                                w->objects[0].bytes, w->objects[0].len);
  for (i = 0; i < sizeof folders / sizeof folders[0]; i++)
    cr_assert (eq (int, lm_store_list (w->t.memory, folders[i], collect, w,
                                       &err), 0));
}

static void
release_world (struct world *w)
{
  size_t i;

  lm_lease_release (w->lease);
  lm_repository_close (w->holder);
  test_repository_release (&w->t);
  for (i = 0; i < w->n; i++)
    free (w->objects[i].bytes);
}

/* What a reader and a checker make of it. */
struct verdict {
  const char *name;             /* the object */
  bool named;                   /* by an error, or as damaged */
  char last[320];               /* that was said */
};

static void
note_damage (void *opaque, const char *object, const struct lm_error *why)
{
  struct verdict *v = opaque;

  cr_assert (why->kind != LM_ERR_NONE && why->message[0]);
  snprintf (v->last, sizeof v->last, "%.100s: %.200s", object, why->message);
  v->named |= strstr (object, v->name) || strstr (why->message, v->name);
}

/* Read all disks: right bytes or an error.  True if there was none. */
static bool
read_disks (struct lm_repository *repo, const char *how)
{
  const struct lm_snapshot_entry *e;
  uint8_t back[SIZE];
  bool all = true;
  size_t i, n, at;

  e = lm_repository_snapshots (repo, &n);
  for (i = 0; i < n && i < SNAPSHOTS; i++) {
    struct lm_snapshot *s = lm_snapshot_open (repo, &e[i], &err);
    struct lm_disk *disk;

    if (s == NULL) {
      cr_assert (err.kind != LM_ERR_NONE, "%s", how);
      all = false;
      continue;
    }
    disk = lm_snapshot_disk_open (repo, s->disks[0].size, s->disks[0].root,
                                  "disk", &err);
    lm_snapshot_free (s);
    if (disk == NULL) {
      all = false;
      continue;
    }
    for (at = 0; at < SIZE; at += 4096) {
      size_t len = lm_min_u64 (4096, SIZE - at);

      if (lm_disk_pread (disk, back + at, len, at, &err) == 0)
        cr_assert (eq (int, memcmp (back + at, data[i] + at, len), 0),
                   "%s: wrong data at %zu of snapshot %zu", how, at, i);
      else {
        cr_assert (err.kind != LM_ERR_NONE && err.message[0], "%s", how);
        all = false;
      }
    }
    lm_disk_close (disk);
  }
  return all;
}

/* Look at the damaged repository with fresh eyes; HARMLESS says that it
 * need not be noticed. */
static void
judge (struct world *w, const struct object *o, const char *how,
       bool harmless)
{
  CLEANUP_FREE char *cache = lm_scratch_path ("cache");
  struct verdict v = { .name = o->name };
  struct lm_check_params params = {
    .read_data = true, .damage = note_damage, .opaque = &v, .threads = 1,
  };
  struct lm_check_result result;
  struct lm_repository *repo;
  char what[LM_STORE_NAME_MAX + 80];
  bool all_read;

  snprintf (what, sizeof what, "%s: %s", o->name, how);
  lm_scratch_remove_tree (cache);
  lm_error_clear (&err);
  repo = test_repository_open (&w->t, NULL, &err);
  if (repo == NULL) {
    cr_assert (err.kind != LM_ERR_NONE && err.message[0], "%s", what);
    /* A config with another encryption or id makes keys seem wrong. */
    cr_assert (strstr (err.message, o->name) ||
               strstr (err.message, "journal") ||
               strcmp (o->name, "config") == 0 ||
               strncmp (o->name, "keys/", 5) == 0, "%s: %s", what,
               err.message);
    return;
  }
  all_read = read_disks (repo, what);
  lm_error_clear (&err);
  cr_assert (eq (int, lm_check_run (repo, &params, &result, &err), 0),
             "%s: %s", what, err.message);
  /* Without encryption it is the content that has a hash: some bits of a
   * zstd frame may be either way. */
  if (all_read && !encrypted && strncmp (o->name, "packs/", 6) == 0)
    harmless = true;
  if (!harmless) {
    cr_assert (lt (u64, 0, result.damaged), "%s: not noticed", what);
    cr_assert (v.named, "%s: not named, but %s", what, v.last);
  }
  lm_repository_close (repo);
}

static bool
is_in (const struct object *o, const char *folder)
{
  return strncmp (o->name, folder, strlen (folder)) == 0;
}

/* Is this byte of the object not covered by anything that could tell? */
static bool
unprotected (const struct object *o)
{
  /* Key slots are sealed in part; the other slot opens. */
  return is_in (o, "keys/");
}

static void
flip_bytes (struct world *w, const struct object *o)
{
  size_t step = o->len / (getenv ("LM_TEST_LONG") ? 300 : 12) + 1;
  CLEANUP_FREE uint8_t *bytes = malloc (o->len);
  char how[64];
  size_t at;

  for (at = 0; at < o->len; at += at < 128 && step > 8 ? 8 : step) {
    size_t i = at;

    /* Not always the first of eight. */
    if (step > 1 && i + at % 7 < o->len)
      i += at % 7;
    memcpy (bytes, o->bytes, o->len);
    bytes[i] ^= 1 << i % 8;
    snprintf (how, sizeof how, "bit %zu of byte 0x%zx flipped", i % 8, i);
    put (w->t.memory, o->name, bytes, o->len);
    judge (w, o, how, unprotected (o));
  }
}

static void
change_length (struct world *w, const struct object *o)
{
  const size_t lengths[] = {
    0, 1, 16, 63, 64, 111, 112, 113, o->len / 2, o->len - 17, o->len - 16,
    o->len - 1, o->len + 1, o->len + 52, 2 * o->len,
  };
  CLEANUP_FREE uint8_t *bytes = calloc (o->len + 1, 2);
  char how[64];
  size_t i;

  memcpy (bytes, o->bytes, o->len);
  for (i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
    if (lengths[i] == o->len || lengths[i] > 2 * o->len)
      continue;
    snprintf (how, sizeof how, "%zu bytes instead of %zu", lengths[i],
              o->len);
    put (w->t.memory, o->name, bytes, lengths[i]);
    judge (w, o, how, unprotected (o));
  }
}

static void
zero (struct world *w, const struct object *o)
{
  CLEANUP_FREE uint8_t *bytes = calloc (o->len, 1);

  put (w->t.memory, o->name, bytes, o->len);
  judge (w, o, "zeroed", unprotected (o));
  if (o->len > 200) {
    memcpy (bytes, o->bytes, o->len);
    memset (bytes + o->len / 2, 0, 64);
    put (w->t.memory, o->name, bytes, o->len);
    judge (w, o, "64 bytes zeroed", unprotected (o));
  }
}

static void
remove_it (struct world *w, const struct object *o)
{
  cr_assert (eq (int, lm_store_remove (w->t.memory, o->name, &err), 0));
  /* These may go at any time. */
  judge (w, o, "removed", is_in (o, "keys/") || is_in (o, "checkpoints/") ||
         is_in (o, "leases/") || is_in (o, "pins/"));
}

/* Another of its kind in its place, of ours or of OTHER. */
static void
exchange (struct world *w, const struct object *o,
          const struct world *other, const char *how)
{
  size_t folder = strcspn (o->name, "/"), i, tried = 0;

  for (i = 0; i < other->n && tried < 3; i++) {
    const struct object *p = &other->objects[i];

    if (strncmp (p->name, o->name, folder + 1) != 0 ||
        (other == w && strcmp (p->name, o->name) == 0))
      continue;
    put (w->t.memory, o->name, p->bytes, p->len);
    /* Another repository's slot is none of ours. */
    judge (w, o, how, unprotected (o));
    tried++;
  }
}

/* Of the many records a few will do. */
static bool
is_worth_it (const struct world *w, size_t i)
{
  const struct object *o = &w->objects[i];
  unsigned sequence = 0;

  if (!is_in (o, "journal/") || getenv ("LM_TEST_LONG"))
    return true;
  sequence = strtoul (o->name + 8, NULL, 16);
  return sequence < 2 || sequence == 20 || sequence >= 32;
}

static void
damage_everything (void)
{
  static struct world w, other;
  size_t i;

  for (i = 0; i < SNAPSHOTS; i++) {
    lm_random_bytes (data[i], SIZE);
    memset (data[i] + 20000, 'x', 20000);
  }
  /* Some chunks as they were, some changed so little that they are stored
   * against what they were. */
  memcpy (data[1], data[0], SIZE / 2);
  for (i = 0; i < 4; i++)
    memcpy (data[1] + i * 4096 + 77, "changed", 7);
  make_world (&other);
  make_world (&w);
  cr_assert (lt (sz, 40, w.n));
  for (i = 0; i < w.n; i++) {
    const struct object *o = &w.objects[i];

    if (!is_worth_it (&w, i))
      continue;
    flip_bytes (&w, o);
    change_length (&w, o);
    zero (&w, o);
    remove_it (&w, o);
    exchange (&w, o, &w, "another of its kind");
    exchange (&w, o, &other, "of another repository");
    put (w.t.memory, o->name, o->bytes, o->len);
  }
  release_world (&w);
  release_world (&other);
}

Test (repository_damage, an_encrypted_one_never_lies,
      .init = lm_scratch_in_memory, .timeout = 3600)
{
  encrypted = true;
  damage_everything ();
}

Test (repository_damage, an_unencrypted_one_never_lies,
      .init = lm_scratch_in_memory, .timeout = 3600)
{
  encrypted = false;
  damage_everything ();
}
