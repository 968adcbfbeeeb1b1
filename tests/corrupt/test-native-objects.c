/* SPDX-License-Identifier: Apache-2.0
 *
 * The corruption table of sealed objects: which byte or member of which
 * object, and what exactly is said.  Every row must fire, on every kind
 * of object, in encrypted and in unencrypted repositories.
 *
 * Members of journal records and manifests have their tables in
 * tests/unit/test-journal.c and test-snapshot.c, those of `config` and key
 * slots in test-repo-config.c and test-key-slot.c.
 */
#include <config.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/random.h"
#include "formats/native/checkpoint.h"
#include "formats/native/journal.h"
#include "formats/native/lease.h"
#include "formats/native/object-io.h"
#include "formats/native/pin.h"
#include "formats/native/repository-internal.h"
#include "formats/native/snapshot-wire.h"
#include "tests/support/store-memory.h"
#include "tests/support/test-repo.h"

static struct lm_error err;

/* One object of each kind, in one repository. */
enum kind { JOURNAL, CHECKPOINT, SNAPSHOT, LEASE, PIN, KINDS };

struct objects {
  struct lm_store *store;
  struct lm_repository *repo;
  struct lm_lease *lease;
  char name[KINDS][LM_OBJECT_NAME_LEN];
  uint8_t id[KINDS][LM_NAME_ID_LEN];
};

static const enum lm_object_type type_of[KINDS] = {
  LM_TYPE_JOURNAL, LM_TYPE_CHECKPOINT, LM_TYPE_SNAPSHOT, LM_TYPE_LEASE,
  LM_TYPE_PIN,
};

static size_t
id_len (enum kind kind)
{
  return kind == JOURNAL || kind == CHECKPOINT ? 8 : LM_NAME_ID_LEN;
}

static void
make_objects (struct objects *o, bool encrypted)
{
  struct lm_snapshot s = { .id = "snapshot", .vm = (char *) "web01",
                           .consistency = (char *) "consistent" };
  uint8_t sha256[32];

  memset (o, 0, sizeof *o);
  o->store = lm_test_repo_new (encrypted);
  o->repo = lm_test_repo_open (o->store);
  lm_object_name_sequence ("journal", 0, o->name[JOURNAL]);
  cr_assert (eq (int, lm_checkpoint_write (o->store, o->repo->keys,
                                           &o->repo->state, &err), 0));
  lm_object_name_sequence ("checkpoints", 0, o->name[CHECKPOINT]);
  cr_assert (eq (int, lm_snapshot_put (o->repo, &s, sha256, &err), 0));
  memcpy (o->id[SNAPSHOT], s.id, 16);
  lm_object_name ("snapshots", s.id, 16, o->name[SNAPSHOT]);
  o->lease = lm_lease_acquire (o->repo, "backup", 0, &err);
  cr_assert_not_null (o->lease);
  memcpy (o->id[LEASE], lm_lease_id (o->lease), 16);
  lm_object_name ("leases", o->id[LEASE], 16, o->name[LEASE]);
  cr_assert (eq (int, lm_pin_put (o->repo, s.id, "fox", o->id[PIN], &err),
                 0));
  lm_object_name ("pins", o->id[PIN], 16, o->name[PIN]);
}

static void
free_objects (struct objects *o)
{
  lm_lease_release (o->lease);
  lm_repository_close (o->repo);
  lm_store_close (o->store);
}

/* Read it the way the program does. */
static int
open_object (struct objects *o, enum kind kind)
{
  struct lm_journal_record record;
  struct lm_journal_state state;
  struct lm_snapshot *snapshot;
  struct lm_lease_info *lease = calloc (1, sizeof *lease);
  struct lm_pin_info *pin = calloc (1, sizeof *pin);
  int r = -1;

  lm_error_clear (&err);
  switch (kind) {
  case JOURNAL:
    r = lm_journal_record_read (o->store, o->repo->keys, 0, &record, &err);
    if (r == 0)
      lm_journal_record_release (&record);
    break;
  case CHECKPOINT:
    r = lm_checkpoint_read (o->store, o->repo->keys, 0, &state, &err);
    if (r == 0)
      lm_journal_state_release (&state);
    break;
  case SNAPSHOT:
    snapshot = lm_snapshot_read (o->repo, o->id[SNAPSHOT], NULL, &err);
    r = snapshot ? 0 : -1;
    lm_snapshot_free (snapshot);
    break;
  case LEASE:
    r = lm_lease_read (o->store, o->repo->keys, o->id[LEASE], lease, &err);
    lm_lease_infos_free (lease, r == 0);
    lease = NULL;
    break;
  case PIN:
    r = lm_pin_read (o->store, o->repo->keys, o->id[PIN], pin, &err);
    lm_pin_infos_free (pin, r == 0);
    pin = NULL;
    break;
  case KINDS:
    break;
  }
  free (lease);
  free (pin);
  return r;
}

static void
expect_message (const struct objects *o, enum kind kind, int r,
                enum lm_error_kind error, const char *message,
                const char *what)
{
  char full[512];

  snprintf (full, sizeof full, "%s: %s", o->name[kind], message);
  cr_expect (eq (int, r, -1), "%s: %s", o->name[kind], what);
  cr_expect (eq (int, err.kind, error), "%s: %s: %s", o->name[kind], what,
             err.message);
  cr_expect (eq (str, err.message, full), "%s", what);
}

#define DAMAGED NULL            /* found by the tag or by the SHA-256 */

/* Offsets from the start, or negative ones from the end. */
static const struct {
  const char *what;
  int offset;
  enum lm_error_kind kind;
  const char *message;
} bytes[] = {
  { "magic", 0, LM_ERR_CORRUPT, "not a sealed object (wrong magic at 0x0)" },
  { "last byte of magic", 3, LM_ERR_CORRUPT,
    "not a sealed object (wrong magic at 0x0)" },
  { "version", 5, LM_ERR_UNSUPPORTED,
    "object version 32769, this program knows 1" },
  { "repository", 16, LM_ERR_CORRUPT, "belongs to another repository" },
  { "end of repository", 31, LM_ERR_CORRUPT,
    "belongs to another repository" },
  { "salt", 32, LM_ERR_CORRUPT, DAMAGED },
  { "end of salt", 63, LM_ERR_CORRUPT, DAMAGED },
  { "object id", 64, LM_ERR_CORRUPT, "is another object under this name" },
  { "padding of the object id", 95, LM_ERR_CORRUPT,
    "is another object under this name" },
  { "nonce", 96, LM_ERR_CORRUPT, DAMAGED },
  { "end of nonce", 107, LM_ERR_CORRUPT, DAMAGED },
  { "key epoch", 111, LM_ERR_UNSUPPORTED, "key epoch 2147483648; this "
    "program lacks the feature 'key-epochs'" },
  { "content", 112, LM_ERR_CORRUPT, DAMAGED },
  { "tag", -16, LM_ERR_CORRUPT, DAMAGED },
  { "last byte", -1, LM_ERR_CORRUPT, DAMAGED },
};

static const char *
damaged (bool encrypted)
{
  return encrypted ? "does not authenticate (damaged or forged)"
    : "SHA-256 does not fit (damaged)";
}

static void
damage_bytes (bool encrypted)
{
  struct objects o;
  enum kind kind;
  size_t i;

  make_objects (&o, encrypted);
  for (kind = 0; kind < KINDS; kind++) {
    size_t len;
    uint8_t *data = lm_store_memory_data (o.store, o.name[kind], &len);

    cr_assert_not_null (data);
    cr_assert (eq (int, open_object (&o, kind), 0), "%s", err.message);
    for (i = 0; i < sizeof bytes / sizeof bytes[0]; i++) {
      uint8_t *byte = bytes[i].offset >= 0 ? data + bytes[i].offset
        : data + len + bytes[i].offset;

      *byte ^= 0x80;
      expect_message (&o, kind, open_object (&o, kind), bytes[i].kind,
                      bytes[i].message ? bytes[i].message
                      : damaged (encrypted), bytes[i].what);
      *byte ^= 0x80;
    }
    cr_expect (eq (int, open_object (&o, kind), 0));
  }
  free_objects (&o);
}

Test (native_objects, every_byte_of_the_header_counts)
{
  damage_bytes (true);
  damage_bytes (false);
}

/* Type and method have messages with numbers that depend on the object. */
static void
damage_type_and_method (bool encrypted)
{
  struct objects o;
  enum kind kind;
  char message[128];
  int method = encrypted ? 1 : 0;

  make_objects (&o, encrypted);
  for (kind = 0; kind < KINDS; kind++) {
    size_t len;
    uint8_t *data = lm_store_memory_data (o.store, o.name[kind], &len);

    data[6] ^= 0x40;
    snprintf (message, sizeof message, "object type %d at 0x6, expected %d",
              type_of[kind] ^ 0x40, type_of[kind]);
    expect_message (&o, kind, open_object (&o, kind), LM_ERR_CORRUPT,
                    message, "type");
    data[6] ^= 0x40;
    /* A downgrade: what was encrypted may not come back in the clear. */
    data[7] ^= 1;
    snprintf (message, sizeof message, "method %d at 0x7, expected %d",
              1 - method, method);
    expect_message (&o, kind, open_object (&o, kind), LM_ERR_CORRUPT,
                    message, "method");
    data[7] ^= 1;
  }
  free_objects (&o);
}

Test (native_objects, type_and_method_count)
{
  damage_type_and_method (true);
  damage_type_and_method (false);
}

static void
damage_length (bool encrypted)
{
  struct objects o;
  enum kind kind;
  char message[128];

  make_objects (&o, encrypted);
  for (kind = 0; kind < KINDS; kind++) {
    size_t len, cut;
    uint8_t *data = lm_store_memory_data (o.store, o.name[kind], &len);
    uint8_t *copy = calloc (1, len + 1);
    struct iovec iov = { copy, 0 };

    memcpy (copy, data, len);
    for (cut = 0; cut <= len + 1; cut += cut == 0 ? 111 : 1) {
      /* Every length, but the right one. */
      if (cut == len)
        continue;
      iov.iov_len = cut;
      cr_assert (eq (int, lm_store_put (o.store, o.name[kind], &iov, 1,
                                        &err), 0));
      if (cut < 112)
        snprintf (message, sizeof message,
                  "%zu bytes are too short for an object", cut);
      else
        snprintf (message, sizeof message, "%zu bytes stored, expected %zu",
                  cut, len);
      expect_message (&o, kind, open_object (&o, kind), LM_ERR_CORRUPT,
                      message, "length");
    }
    /* The length in the header, up to where sums overflow. */
    memset (copy + 8, 0xff, 8);
    iov.iov_len = len;
    cr_assert (eq (int, lm_store_put (o.store, o.name[kind], &iov, 1, &err),
                   0));
    cr_expect (eq (int, open_object (&o, kind), -1));
    cr_expect (eq (int, err.kind, LM_ERR_CORRUPT));
    free (copy);
  }
  free_objects (&o);
}

Test (native_objects, every_length_is_noticed)
{
  damage_length (true);
  damage_length (false);
}

Test (native_objects, one_over_the_limit_is_not_even_read)
{
  struct objects o;
  const size_t limit = lm_object_stored_limit (LM_TYPE_PIN);
  char *big = calloc (1, limit + 1), message[128];
  struct iovec iov = { big, limit + 1 };

  make_objects (&o, true);
  cr_assert (eq (int, lm_store_remove (o.store, o.name[PIN], &err), 0));
  cr_assert (eq (int, lm_store_put_if_absent (o.store, o.name[PIN], &iov, 1,
                                              &err), 0));
  snprintf (message, sizeof message, "%zu bytes, the limit is %zu",
            limit + 1, limit);
  expect_message (&o, PIN, open_object (&o, PIN), LM_ERR_LIMIT, message,
                  "limit");
  free_objects (&o);
  free (big);
}

/* What is sealed well and wrong all the same: a writer's mistake, or a
 * stranger who has the key. */
static const struct {
  enum kind kind;
  const char *path;             /* member, or member.index.member */
  const char *value;            /* JSON; "" removes it */
  const char *message;
} members[] = {
  { CHECKPOINT, "sequence", "32", "says sequence 32, expected 0" },
  { CHECKPOINT, "sequence", "-1",
    "'sequence' is -1, the limit is 9223372036854775807" },
  { CHECKPOINT, "record", "\"00\"", "'record' is not 32 bytes of hex" },
  { CHECKPOINT, "config", "", "'config' is missing or not a string" },
  { CHECKPOINT, "epoch", "\"0\"", "'epoch' is missing or not a whole "
    "number" },
  { CHECKPOINT, "features", "{}", "'features' is missing or not an array" },
  { CHECKPOINT, "features", "[{\"class\": \"x\", \"name\": \"y\"}]",
    "'x' is not a class of features" },
  { CHECKPOINT, "features", "[{\"class\": \"write\"}]",
    "'name' is missing or not a string" },
  { CHECKPOINT, "snapshots", "7", "'snapshots' is missing or not an array" },
  { CHECKPOINT, "snapshots", "[{}]", "'vm' is missing or not a string" },
  { CHECKPOINT, "snapshots", "[{\"vm\": \"a b\"}]",
    "'a b' is not a name for a VM" },
#define ENTRY "{\"vm\": \"a\", \"time\": \"2026-11-22T06:30:00Z\", " \
  "\"id\": \"00000000000000000000000000000000\", \"manifest\": " \
  "\"0000000000000000000000000000000000000000000000000000000000000000\""
  { CHECKPOINT, "snapshots", "[" ENTRY "}]",
    "'sequence' is missing or not a whole number" },
  { CHECKPOINT, "snapshots", "[" ENTRY ", \"sequence\": 1}, " ENTRY
    ", \"sequence\": 2}]", "names a snapshot twice" },
  { CHECKPOINT, "vms", "[]", "'vms' is missing or not an object" },
  { CHECKPOINT, "vms", "{\"a\": 1}",
    "the newest time of 'a' is not a time" },
  { CHECKPOINT, "segments", "", "'segments' is missing or not an array" },
  { CHECKPOINT, "segments", "[{\"id\": 1}]",
    "'id' is missing or not a string" },
  { CHECKPOINT, "condemned", "", "'condemned' is missing or not an array" },
  { CHECKPOINT, "condemned", "[{\"ids\": []}]",
    "'sequence' is missing or not a whole number" },
  { CHECKPOINT, "condemned", "[{\"sequence\": 1}]",
    "'ids' is missing or not an array" },
  { CHECKPOINT, "condemned", "[{\"sequence\": 1, \"ids\": [\"x\"]}]",
    "id 0 of a list is not 16 bytes of hex" },
  { CHECKPOINT, "revoked", "", "'revoked' is missing or not an array" },
  { CHECKPOINT, "revoked", "[null]",
    "id 0 of a list is not 16 bytes of hex" },
  { CHECKPOINT, "lost", "", "'lost' is missing or not an array" },
  { CHECKPOINT, "lost", "[{\"type\": 3}]",
    "'type' is 3, the limit is 2" },
  { CHECKPOINT, "lost", "[{\"type\": 1, \"id\": \"00\"}]",
    "'id' is not 32 bytes of hex" },
  { CHECKPOINT, "states", "", "'states' is missing or not an array" },
  { CHECKPOINT, "states", "[{}]", "'kind' is missing or not a string" },
  { CHECKPOINT, "states", "[{\"kind\": \"boots\"}]",
    "'snapshot' is missing or not a string" },
  { LEASE, "id", "\"00\"", "'id' is not 16 bytes of hex" },
  { LEASE, "id", "\"00000000000000000000000000000000\"",
    "says another id than its name" },
  { LEASE, "kind", "", "'kind' is missing or not a string" },
  { LEASE, "counter", "-1",
    "'counter' is -1, the limit is 9223372036854775807" },
  { LEASE, "seconds", "86401", "'seconds' is 86401, the limit is 86400" },
  { LEASE, "pid", "\"1\"", "'pid' is missing or not a whole number" },
  { LEASE, "host", "1", "'host' is missing or not a string" },
  { LEASE, "user", "", "'user' is missing or not a string" },
  { LEASE, "program", "", "'program' is missing or not a string" },
  { LEASE, "started", "\"noon\"", "'started' is not a time" },
  { PIN, "id", "", "'id' is missing or not a string" },
  { PIN, "id", "\"00000000000000000000000000000000\"",
    "says another id than its name" },
  { PIN, "snapshot", "\"x\"", "'snapshot' is not 16 bytes of hex" },
  { PIN, "session", "7", "'session' is missing or not a string" },
  { PIN, "host", "", "'host' is missing or not a string" },
  { PIN, "user", "", "'user' is missing or not a string" },
  { PIN, "created", "", "'created' is missing or not a string" },
  { PIN, "created", "\"noon\"", "'created' is not a time" },
};

Test (native_objects, every_member_counts)
{
  struct objects o;
  size_t i;

  make_objects (&o, true);
  for (i = 0; i < sizeof members / sizeof members[0]; i++) {
    enum kind kind = members[i].kind;
    const char *name = o.name[kind];
    json_t *good, *bad;

    good = lm_object_get_json (o.store, o.repo->keys, type_of[kind], name,
                               o.id[kind], id_len (kind), NULL, &err);
    cr_assert_not_null (good, "%s", err.message);
    bad = json_deep_copy (good);
    if (*members[i].value)
      json_object_set_new (bad, members[i].path, json_loads (
        members[i].value, JSON_DECODE_ANY, NULL));
    else
      json_object_del (bad, members[i].path);
    cr_assert (eq (int, lm_object_put_json (
      o.store, o.repo->keys, type_of[kind], name, o.id[kind], id_len (kind),
      bad, LM_OBJECT_REPLACE, NULL, &err), 0));
    expect_message (&o, kind, open_object (&o, kind), LM_ERR_CORRUPT,
                    members[i].message, members[i].value);
    cr_assert (eq (int, lm_object_put_json (
      o.store, o.repo->keys, type_of[kind], name, o.id[kind], id_len (kind),
      good, LM_OBJECT_REPLACE, NULL, &err), 0));
    cr_expect (eq (int, open_object (&o, kind), 0), "%s", err.message);
    json_decref (good);
    json_decref (bad);
  }
  free_objects (&o);
}

Test (native_objects, what_is_not_json_is_said_to_be_none)
{
  struct objects o;
  enum kind kind;

  make_objects (&o, true);
  for (kind = 0; kind < KINDS; kind++) {
    static const struct { const char *text, *message; } rows[] = {
      { "", "not valid JSON: '[' or '{' expected near end of file "
        "(line 1)" },
      { "[]", "not a JSON object" },
      { "{\"a\": 1, \"a\": 2}",
        "not valid JSON: duplicate object key near '\"a\"' (line 1)" },
      { "{} {}",
        "not valid JSON: end of file expected near '{' (line 1)" },
    };
    size_t i;

    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
      cr_assert (eq (int, lm_object_put (
        o.store, o.repo->keys, type_of[kind], o.name[kind], o.id[kind],
        id_len (kind), rows[i].text, strlen (rows[i].text),
        LM_OBJECT_REPLACE, NULL, &err), 0));
      expect_message (&o, kind, open_object (&o, kind), LM_ERR_CORRUPT,
                      rows[i].message, rows[i].text);
    }
  }
  free_objects (&o);
}

/* Swap any two: same repository or another, same type or not. */
Test (native_objects, objects_cannot_change_places)
{
  struct objects o, other;
  enum kind a, b;

  make_objects (&o, true);
  make_objects (&other, true);
  for (a = 0; a < KINDS; a++) {
    struct iovec mine, iov;
    uint8_t *keep;

    mine.iov_base = lm_store_memory_data (o.store, o.name[a],
                                          &mine.iov_len);
    keep = malloc (mine.iov_len);
    memcpy (keep, mine.iov_base, mine.iov_len);
    for (b = 0; b < KINDS; b++) {
      char message[64];

      if (a == b)
        continue;
      iov.iov_base = lm_store_memory_data (o.store, o.name[b],
                                           &iov.iov_len);
      cr_assert (eq (int, lm_store_put (o.store, o.name[a], &iov, 1, &err),
                     0));
      snprintf (message, sizeof message, "object type %d at 0x6, expected "
                "%d", type_of[b], type_of[a]);
      expect_message (&o, a, open_object (&o, a), LM_ERR_CORRUPT, message,
                      o.name[b]);
      mine.iov_base = keep;
      cr_assert (eq (int, lm_store_put (o.store, o.name[a], &mine, 1, &err),
                     0));
    }
    iov.iov_base = lm_store_memory_data (other.store, other.name[a],
                                         &iov.iov_len);
    cr_assert (eq (int, lm_store_put (o.store, o.name[a], &iov, 1, &err),
                   0));
    expect_message (&o, a, open_object (&o, a), LM_ERR_CORRUPT,
                    "belongs to another repository", "other repository");
    mine.iov_base = keep;
    cr_assert (eq (int, lm_store_put (o.store, o.name[a], &mine, 1, &err),
                   0));
    free (keep);
  }
  free_objects (&o);
  free_objects (&other);
}
