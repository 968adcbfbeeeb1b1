/* SPDX-License-Identifier: Apache-2.0
 * Manifests: round trip, what is refused, and what the journal says of
 * them.
 */
#include <config.h>

#include "formats/native/snapshot-wire.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/native/object-io.h"
#include "tests/support/store-memory.h"
#include "tests/support/test-repo.h"

static struct lm_error err;

/* A snapshot with two disks and a file, all on the stack. */
struct sample {
  struct lm_snapshot s;
  struct lm_snapshot_disk disks[2];
  struct lm_snapshot_file files[2];
  char *tags[2];
  __typeof__ (*((struct lm_snapshot_disk *) 0)->unreadable) ranges[2];
};

static struct lm_snapshot *
sample (struct sample *x)
{
  *x = (struct sample) {
    .s = {
      .id = "snapshot-id-0001", .vm = (char *) "web01",
      .time = 1795329000,       /* 2026-11-22T06:30:00Z */
      .has_parent = true, .parent = "snapshot-id-0000",
      .created_by = (char *) "livemount 0.1.0", .host = (char *) "höst",
      .consistency = (char *) "crash-consistent",
      .machine_config_kind = (char *) "libvirt-xml",
      .nr_tags = 2, .nr_disks = 2, .nr_files = 2,
      .statistics = { 1, 2, 3, 4, 5, 6.5 },
    },
    .disks = {
      { .name = (char *) "disk0", .size = UINT64_C (6) << 30,
        .sector_size = 512, .has_root = true, .root = "root of disk 0",
        .source = (char *) "/dev/sda", .nr_unreadable = 2 },
      { .name = (char *) "disk1", .size = 1, .sector_size = 4096,
        .source = (char *) "" },
    },
    .files = {
      { .kind = (char *) "config", .name = (char *) "web01.xml",
        .size = 5120, .mode = 0644, .has_root = true, .root = "xml" },
      { .kind = (char *) "nvram", .name = (char *) "web 01 §.fd",
        .size = 0, .mode = 04755 },
    },
    .tags = { (char *) "nightly", (char *) "vor dem Umbau" },
    .ranges = { { 512, 512 }, { 1024, 4096 } },
  };
  x->disks[0].unreadable = (void *) x->ranges;
  x->s.disks = x->disks;
  x->s.files = x->files;
  x->s.tags = x->tags;
  return &x->s;
}

Test (snapshot, everything_round_trips)
{
  struct sample x;
  struct lm_snapshot *s = sample (&x), *back;
  json_t *v = lm_snapshot_encode (s, &err), *again;

  cr_assert_not_null (v, "%s", err.message);
  back = lm_snapshot_decode (v, s->id, "snapshots/x", &err);
  cr_assert_not_null (back, "%s", err.message);
  cr_expect (memcmp (back->id, s->id, 16) == 0);
  cr_expect (eq (str, back->vm, s->vm));
  cr_expect (eq (i64, back->time, s->time));
  cr_expect (back->has_parent && memcmp (back->parent, s->parent, 16) == 0);
  cr_expect (eq (str, back->host, (char *) "höst"));
  cr_expect (eq (str, back->machine_config_kind, (char *) "libvirt-xml"));
  cr_expect (eq (sz, back->nr_tags, 2));
  cr_expect (eq (str, back->tags[1], (char *) "vor dem Umbau"));
  cr_expect (eq (u64, back->disks[0].size, UINT64_C (6) << 30));
  cr_expect (memcmp (back->disks[0].root, s->disks[0].root, 32) == 0);
  cr_expect (eq (sz, back->disks[0].nr_unreadable, 2));
  cr_expect (eq (u64, back->disks[0].unreadable[1].len, 4096));
  cr_expect_not (back->disks[1].has_root);
  cr_expect (eq (u32, back->files[1].mode, 04755));
  cr_expect (eq (dbl, back->statistics.seconds, 6.5));
  /* The same value gives the same bytes. */
  again = lm_snapshot_encode (back, &err);
  cr_assert_not_null (again);
  cr_expect (json_equal (v, again));
  json_decref (v);
  json_decref (again);
  lm_snapshot_free (back);
}

Test (snapshot, absent_things_round_trip)
{
  struct lm_snapshot s = { .vm = (char *) "v",
                           .consistency = (char *) "consistent" };
  json_t *v = lm_snapshot_encode (&s, &err);
  struct lm_snapshot *back;

  cr_assert_not_null (v, "%s", err.message);
  back = lm_snapshot_decode (v, s.id, "snapshots/x", &err);
  cr_assert_not_null (back, "%s", err.message);
  cr_expect_not (back->has_parent);
  cr_expect (eq (ptr, back->machine_config_kind, NULL));
  cr_expect (eq (sz, back->nr_disks, 0));
  cr_expect (eq (str, back->host, (char *) ""));
  json_decref (v);
  lm_snapshot_free (back);
}

/* One change to the JSON of the sample, and what is said about it. */
static const struct {
  const char *path;             /* member, or member.index.member */
  const char *value;            /* JSON; "" removes it */
  const char *message;
} bad[] = {
  { "version", "2", "m: manifest version 2, this program knows version 1" },
  { "version", "\"1\"", "m: 'version' is missing or not a whole number" },
  { "vm", "", "m: 'vm' is missing or not a string" },
  { "vm", "\"../x\"", "m: '../x' is not a name for a VM" },
  { "time", "\"yesterday\"", "m: 'time' is 'yesterday', which is not a "
    "time" },
  { "time", "\"2026-02-30T00:00:00Z\"", "m: 'time' is "
    "'2026-02-30T00:00:00Z', which is not a time" },
  { "parent", "\"00\"", "m: 'parent' is not 16 bytes of hex" },
  { "consistency", "\"fine\"", "m: 'consistency' is 'fine', which is not "
    "known" },
  { "machine", "[]", "m: 'machine' is missing or not an object" },
  { "tags", "[1]", "m: a tag is not a string" },
  { "tags", "[\"\"]", "m: a tag of 0 bytes, expected 1 to 128" },
  { "disks", "{}", "m: 'disks' is missing or not an array" },
  { "disks.0", "7", "m: a disk is not an object" },
  { "disks.1.name", "\"disk0\"", "m: two disks are called disk0" },
  { "disks.0.name", "\"-x\"", "m: '-x' is not a name for a disk" },
  { "disks.0.size", "-1", "m: 'size' is -1, the limit is "
    "9223372036854775807" },
  { "disks.0.sector_size", "513", "m: disk disk0: sectors of 513 bytes, "
    "expected 512 or 4096" },
  { "disks.0.root", "\"abc\"", "m: 'root' is not 32 bytes of hex" },
  { "disks.0.root", "", "m: 'root' is missing or not a string" },
  { "disks.0.size", "0", "m: disk disk0: is empty but has a map" },
  { "disks.0.source", "", "m: 'source' is missing or not a string" },
  { "disks.0.unreadable", "[[1]]", "m: unreadable range 0 is not a pair of "
    "whole numbers" },
  { "disks.0.unreadable", "[[1, -1]]", "m: unreadable range 0 is not a pair "
    "of whole numbers" },
  { "disks.0.unreadable", "[[512, 512], [1000, 512]]", "m: disk disk0: "
    "unreadable range 1 (0x3e8+0x200) is empty, out of order or beyond the "
    "end (0x180000000)" },
  { "disks.0.unreadable", "[[6442450944, 1]]", "m: disk disk0: unreadable "
    "range 0 (0x180000000+0x1) is empty, out of order or beyond the end "
    "(0x180000000)" },
  { "disks.0.unreadable", "[[0, 0]]", "m: disk disk0: unreadable range 0 "
    "(0x0+0x0) is empty, out of order or beyond the end (0x180000000)" },
  { "files.0", "\"x\"", "m: a file is not an object" },
  { "files.0.kind", "\"NVRAM\"", "m: 'NVRAM' is not a kind of file" },
  { "files.0.name", "\"..\"", "m: '..' is not the name of a file" },
  { "files.0.name", "\"a/b\"", "m: 'a/b' is not the name of a file" },
  { "files.0.name", "\"a\\u001b\"", "m: 'a?' is not the name of a file" },
  { "files.0.name", "\"\"", "m: the name of a file has 0 bytes, expected 1 "
    "to 255" },
  { "files.1.name", "\"web01.xml\"", "m: two files are called web01.xml" },
  { "files.0.size", "268435457", "m: file web01.xml: 268435457 bytes, the "
    "limit is 268435456" },
  { "files.0.size", "0", "m: file web01.xml: is empty but has a map" },
  { "files.0.mode", "4096", "m: file web01.xml: mode 010000, the limit is "
    "07777" },
  { "statistics", "", "m: 'statistics' is missing or not an object" },
  { "statistics.seconds", "\"1\"", "m: 'seconds' is missing or not a "
    "number" },
  { "statistics.new", "-1", "m: 'new' is -1, the limit is "
    "9223372036854775807" },
};

static void
set_path (json_t *v, const char *path, const char *value)
{
  char *copy = strdup (path), *part = copy, *dot;
  json_t *leaf = *value ? json_loads (value, JSON_DECODE_ANY, NULL) : NULL;

  while ((dot = strchr (part, '.')) != NULL) {
    *dot = '\0';
    v = json_is_array (v)
      ? json_array_get (v, strtoul (part, NULL, 10))
      : json_object_get (v, part);
    part = dot + 1;
  }
  if (json_is_array (v))
    json_array_set_new (v, strtoul (part, NULL, 10), leaf);
  else if (leaf)
    json_object_set_new (v, part, leaf);
  else
    json_object_del (v, part);
  free (copy);
}

Test (snapshot, everything_wrong_is_refused_with_its_message)
{
  size_t i;

  for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    struct sample x;
    struct lm_snapshot *s = sample (&x);
    json_t *v = lm_snapshot_encode (s, &err);

    cr_assert_not_null (v);
    set_path (v, bad[i].path, bad[i].value);
    lm_error_clear (&err);
    cr_expect (eq (ptr, lm_snapshot_decode (v, s->id, "m", &err), NULL),
               "%s = %s", bad[i].path, bad[i].value);
    cr_expect (eq (str, err.message, (char *) bad[i].message), "%s = %s",
               bad[i].path, bad[i].value);
    json_decref (v);
  }
}

Test (snapshot, counts_have_limits)
{
  static const struct { const char *key, *message; size_t n; } rows[] = {
    { "disks", "m: 257 disks, the limit is 256", 257 },
    { "files", "m: 1025 files, the limit is 1024", 1025 },
    { "tags", "m: 65 tags, the limit is 64", 65 },
  };
  size_t i, k;

  for (i = 0; i < 3; i++) {
    struct sample x;
    struct lm_snapshot *s = sample (&x);
    json_t *v = lm_snapshot_encode (s, &err), *list = json_array ();

    for (k = 0; k < rows[i].n; k++)
      json_array_append_new (list, json_null ());
    json_object_set_new (v, rows[i].key, list);
    cr_expect (eq (ptr, lm_snapshot_decode (v, s->id, "m", &err), NULL));
    cr_expect (eq (str, err.message, (char *) rows[i].message));
    json_decref (v);
  }
}

Test (snapshot, a_writer_is_held_to_the_same_rules)
{
  struct sample x;
  struct lm_snapshot *s = sample (&x);

  x.disks[1].name = (char *) "disk0";
  cr_expect (eq (ptr, lm_snapshot_encode (s, &err), NULL));
  cr_expect (eq (str, err.message,
                 (char *) "new snapshot: two disks are called disk0"));
  sample (&x);
  x.s.host = (char *) "not\xff utf-8";
  cr_expect (eq (ptr, lm_snapshot_encode (s, &err), NULL));
  cr_expect (eq (int, err.kind, LM_ERR_USAGE));
}

Test (snapshot, opening_wants_what_the_journal_means)
{
  struct lm_store *inner = lm_test_repo_new (true);
  struct lm_repository *repo = lm_test_repo_open (inner);
  struct sample x;
  struct lm_snapshot *s = sample (&x), *back;
  struct lm_snapshot_entry e = lm_test_entry ("web01", s->time);

  memcpy (e.id, s->id, 16);
  memcpy (e.parent, s->parent, 16);
  e.has_parent = true;
  cr_assert (eq (int, lm_snapshot_put (repo, s, e.manifest_sha256, &err), 0),
             "%s", err.message);
  /* An id is used once. */
  cr_expect (eq (int, lm_snapshot_put (repo, s, e.manifest_sha256 + 0,
                                       &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_EXISTS));
  {
    /* The failed put left the hash of what it did not store. */
    struct lm_snapshot *now = lm_snapshot_read (repo, s->id,
                                                e.manifest_sha256, &err);

    cr_assert_not_null (now);
    lm_snapshot_free (now);
  }
  back = lm_snapshot_open (repo, &e, &err);
  cr_assert_not_null (back, "%s", err.message);
  cr_expect (eq (str, back->vm, (char *) "web01"));
  lm_snapshot_free (back);

  e.has_parent = false;
  cr_expect (eq (ptr, lm_snapshot_open (repo, &e, &err), NULL));
  cr_expect (eq (str, err.message, (char *) "snapshot "
                 "web01/2026-11-22T06:30:00Z: its manifest says another VM, "
                 "time or parent than the journal"));
  e.has_parent = true;
  e.manifest_sha256[0] ^= 1;
  cr_expect (eq (ptr, lm_snapshot_open (repo, &e, &err), NULL));
  cr_expect (eq (str, err.message, (char *) "snapshot "
                 "web01/2026-11-22T06:30:00Z: its manifest is not the one "
                 "that the journal names (its SHA-256 differs)"));
  e.id[0] ^= 1;
  cr_expect (eq (ptr, lm_snapshot_open (repo, &e, &err), NULL));
  cr_expect (eq (int, err.kind, LM_ERR_NOT_FOUND));
  lm_repository_close (repo);
  lm_store_close (inner);
}

Test (snapshot, a_disk_is_found_by_name_or_by_being_the_only_one)
{
  struct sample x;
  struct lm_snapshot *s = sample (&x);

  cr_expect (eq (ptr, (void *) lm_snapshot_find_disk (s, "disk1", &err),
                 &x.disks[1]));
  cr_expect (eq (ptr, (void *) lm_snapshot_find_disk (s, NULL, &err), NULL));
  cr_expect (eq (int, err.kind, LM_ERR_USAGE));
  cr_expect (eq (str, err.message, (char *) "snapshot "
                 "web01/2026-11-22T06:30:00Z has 2 disks: say which, "
                 "VM/TIME/DISK"));
  cr_expect (eq (str, err.hint, (char *) "Its disks are: disk0, disk1"));
  cr_expect (eq (ptr, (void *) lm_snapshot_find_disk (s, "disk2", &err),
                 NULL));
  cr_expect (eq (int, err.kind, LM_ERR_NOT_FOUND));
  s->nr_disks = 1;
  cr_expect (eq (ptr, (void *) lm_snapshot_find_disk (s, NULL, &err),
                 &x.disks[0]));
  s->nr_disks = 0;
  cr_expect (eq (ptr, (void *) lm_snapshot_find_disk (s, NULL, &err), NULL));
  cr_expect (eq (int, err.kind, LM_ERR_NOT_FOUND));
}
