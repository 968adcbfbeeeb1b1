/* SPDX-License-Identifier: Apache-2.0
 *
 * Changes of key slots; see slot-change.h.
 *
 * Two programs that remove two slots at once must not leave none.  The
 * journal orders them: each looks, after its own record, at the records
 * before it, and whoever comes second finds the other's and gives way.
 * (Considered: the slots as part of the journal's state.  Then a slot that
 * was lost would count as one that opens.)
 */
#include <config.h>

#include "formats/native/slot-change.h"

#include <stdlib.h>
#include <string.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "common/hex.h"
#include "common/json.h"
#include "formats/native/id-set.h"
#include "formats/native/journal.h"
#include "formats/native/keys.h"
#include "formats/native/object-io.h"
#include "formats/native/repository-internal.h"
#include "formats/native/whoami.h"
#include "common/banned.h"

#define ID_TEXT_LEN (2 * LM_SLOT_ID_LEN)

/* How far back a removal may stand whose object is not yet removed. */
#define RECORDS_BACK 256

const struct lm_key_slot *
lm_slot_find (const struct lm_key_slot *slots, size_t n, const char *name,
              struct lm_error *err)
{
  const struct lm_key_slot *found = NULL;
  const size_t len = strlen (name);
  size_t i, fits = 0;

  for (i = 0; i < n; i++) {
    char id[ID_TEXT_LEN + 1];
    bool by_id;

    lm_hex_encode (slots[i].id, LM_SLOT_ID_LEN, id);
    by_id = len > 0 && len <= ID_TEXT_LEN && strncmp (id, name, len) == 0;
    if (by_id && len == ID_TEXT_LEN)
      return &slots[i];
    if (by_id || (len > 0 && strcmp (slots[i].label, name) == 0)) {
      found = &slots[i];
      fits++;
    }
  }
  if (fits == 1)
    return found;
  if (fits > 1)
    lm_error_set (err, LM_ERR_USAGE, "key slot '%.80s': fits %zu slots",
                  name, fits);
  else
    lm_error_set (err, LM_ERR_NOT_FOUND, "no key slot '%.80s'", name);
  lm_error_hint (err, "'livemount key list' lists them; give an id, enough "
                 "of its beginning, or a label");
  return NULL;
}

static int
check_encrypted (const struct lm_repository *repo, struct lm_error *err)
{
  if (!repo->config.encrypted)
    return lm_error_set (err, LM_ERR_USAGE, "%s: the repository is not "
                         "encrypted, so it has no keys",
                         repo->store->location);
  return lm_repository_check_writable (repo, err);
}

static int
record (struct lm_repository *repo, enum lm_change_type type,
        const struct lm_key_slot *slot, const char *verb,
        struct lm_error *err)
{
  CLEANUP_FREE char *writer = lm_whoami_writer (verb, err);
  CLEANUP_JSON json_t *changes = json_array ();

  if (writer == NULL)
    return -1;
  if (changes == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  if (lm_change_slot (changes, type, slot->id,
                      lm_slot_kind_name (slot->kind), slot->label,
                      err) == -1)
    return -1;
  return lm_journal_commit (repo, NULL, writer, changes, err);
}

/* What was stored is what opens: read it back, and open it. */
static int
prove (struct lm_repository *repo, const struct lm_credentials *c,
       const struct lm_key_slot *slot, struct lm_error *err)
{
  uint8_t master[LM_MASTER_KEY_LEN];
  struct lm_key_slot back;
  bool same;

  if (lm_key_slot_read (repo->store, slot->id, &back, err) == -1)
    return -1;
  if (slot->kind == LM_SLOT_ESCROW)
    return 0;
  if (lm_key_slot_unwrap (&back, c, master, err) == -1)
    return lm_error_prefix (err, "the new key slot");
  same = memcmp (master, repo->keys->master, sizeof master) == 0;
  explicit_bzero (master, sizeof master);
  if (!same)
    return lm_corrupt (err, "the new key slot: holds another key than was "
                       "put into it");
  return 0;
}

static void
drop (struct lm_repository *repo, const struct lm_key_slot *slot)
{
  struct lm_error ignored = LM_ERROR_INIT;
  char name[LM_OBJECT_NAME_LEN];

  lm_object_name ("keys", slot->id, LM_SLOT_ID_LEN, name);
  if (lm_store_remove (repo->store, name, &ignored) == -1)
    lm_error_clear (&ignored);
}

/* The slot is there, and its record failed.  A record may be there all the
 * same when the store did not answer; then the slot stays. */
static int
not_recorded (struct lm_repository *repo, const struct lm_key_slot *slot,
              struct lm_error *err)
{
  if (err->kind != LM_ERR_IO && err->kind != LM_ERR_NOMEM) {
    drop (repo, slot);
    return -1;
  }
  lm_error_prefix (err, "the key slot was stored, but its record was not");
  return lm_error_hint (err, "it opens the repository: 'livemount key list' "
                        "shows it, 'livemount key remove' removes it");
}

int
lm_slot_add (struct lm_repository *repo, const struct lm_credentials *c,
             enum lm_slot_kind kind, const char *label, const char *verb,
             struct lm_key_slot *ret_slot, struct lm_error *err)
{
  struct lm_key_slot slot;

  if (check_encrypted (repo, err) == -1 ||
      lm_key_slot_add (repo->store, repo->config.repository,
                       repo->keys->master, c, kind, label, &slot,
                       err) == -1)
    return -1;
  if (prove (repo, c, &slot, err) == -1) {
    drop (repo, &slot);
    return -1;
  }
  if (record (repo, LM_CHANGE_SLOT_ADD, &slot, verb, err) == -1)
    return not_recorded (repo, &slot, err);
  *ret_slot = slot;
  return 0;
}

/* Collect the slots that one record says are removed, or take out those
 * that it brings back. */
static int
follow_record (const struct lm_journal_record *r, struct lm_id_set *removed,
               struct lm_error *err)
{
  const json_t *changes = json_object_get (r->json, "changes");
  uint8_t id[LM_SLOT_ID_LEN];
  size_t i;

  for (i = 0; i < r->nr_changes; i++) {
    const enum lm_change_type type = r->changes[i].type;

    if (type != LM_CHANGE_SLOT_REMOVE && type != LM_CHANGE_SLOT_ADD)
      continue;
    if (lm_json_hex (json_array_get (changes, i), "id", id, sizeof id,
                     "journal", err) == -1)
      return -1;
    if (type == LM_CHANGE_SLOT_ADD)
      lm_id_set_remove (removed, id);
    else if (lm_id_set_add (removed, id, 0, err) == -1)
      return -1;
  }
  return 0;
}

/* The slots of which the records up to the newest but one say that they
 * are removed, though their objects may still be there. */
static int
removed_by_others (struct lm_repository *repo, struct lm_id_set *removed,
                   struct lm_error *err)
{
  const uint64_t ours = repo->state.sequence;
  uint64_t i = ours > RECORDS_BACK ? ours - RECORDS_BACK : 0;

  for (; i < ours; i++) {
    struct lm_journal_record r;
    int followed;

    if (lm_journal_record_read (repo->store, repo->keys, i, &r, err) == -1)
      return -1;
    followed = follow_record (&r, removed, err);
    lm_journal_record_release (&r);
    if (followed == -1)
      return -1;
  }
  return 0;
}

/* Which slots remain without ID, and without those in REMOVED. */
static int
count_left (struct lm_repository *repo, const uint8_t id[LM_SLOT_ID_LEN],
            const struct lm_id_set *removed, struct lm_slots_left *ret_left,
            struct lm_error *err)
{
  CLEANUP_FREE struct lm_key_slot *slots = NULL;
  struct lm_slots_left left = { 0, 0 };
  size_t i, n;

  if (lm_key_slots_list (repo->store, repo->config.repository, &slots, &n,
                         NULL, err) == -1)
    return -1;
  for (i = 0; i < n; i++) {
    if (memcmp (slots[i].id, id, LM_SLOT_ID_LEN) == 0 ||
        (removed && lm_id_set_has (removed, slots[i].id)))
      continue;
    left.daily += slots[i].kind == LM_SLOT_PASSPHRASE ||
      slots[i].kind == LM_SLOT_KEY_FILE;
    left.escrow += slots[i].kind == LM_SLOT_ESCROW;
  }
  *ret_left = left;
  return 0;
}

static int
check_left (const struct lm_slots_left *left, bool escrow_only,
            struct lm_error *err)
{
  if (left->daily > 0 || (left->escrow > 0 && escrow_only))
    return 0;
  if (left->escrow > 0) {
    lm_error_set (err, LM_ERR_USAGE, "only escrow key slots would be left, "
                  "whose keys are kept offline");
    return lm_error_hint (err, "add a passphrase or a key file with "
                          "'livemount key add' first, or say "
                          "--escrow-only");
  }
  lm_error_set (err, LM_ERR_USAGE, "this is the last key slot: without it "
                "nothing could open the repository any more");
  return lm_error_hint (err, "add another one with 'livemount key add' "
                        "first");
}

/* After our record: are there still others, and not only those that are
 * about to be removed?  If not, take the record back. */
static int
check_others (struct lm_repository *repo, const struct lm_key_slot *slot,
              bool escrow_only, const char *verb,
              struct lm_slots_left *ret_left, struct lm_error *err)
{
  CLEANUP (lm_id_set_release) struct lm_id_set removed =
    LM_ID_SET_INIT (LM_SLOT_ID_LEN);
  struct lm_error minor = LM_ERROR_INIT;

  if (removed_by_others (repo, &removed, err) == 0 &&
      count_left (repo, slot->id, &removed, ret_left, err) == 0) {
    if (check_left (ret_left, escrow_only, &minor) == 0)
      return 0;
    lm_error_set (err, LM_ERR_LOCKED, "the other key slots are being "
                  "removed, or their removal was interrupted");
    lm_error_hint (err, "nothing was removed; 'livemount key list' shows "
                   "what there is, and removing a slot again finishes what "
                   "was interrupted");
  }
  if (record (repo, LM_CHANGE_SLOT_ADD, slot, verb, &minor) == -1)
    lm_error_clear (&minor);    /* the slot is there: it is for people */
  return -1;
}

/* The slot as far as it can be known; a damaged one has only an id. */
static int
describe (struct lm_repository *repo, const uint8_t id[LM_SLOT_ID_LEN],
          struct lm_key_slot *ret_slot, struct lm_error *err)
{
  *ret_slot = (struct lm_key_slot) { .kind = LM_SLOT_UNKNOWN };
  memcpy (ret_slot->id, id, LM_SLOT_ID_LEN);
  if (lm_key_slot_read (repo->store, id, ret_slot, err) == 0)
    return 0;
  if (err->kind != LM_ERR_CORRUPT && err->kind != LM_ERR_LIMIT)
    return -1;
  lm_error_clear (err);
  return 0;
}

int
lm_slot_remove (struct lm_repository *repo, const uint8_t id[LM_SLOT_ID_LEN],
                bool escrow_only, const char *verb,
                struct lm_slots_left *ret_left, struct lm_error *err)
{
  char name[LM_OBJECT_NAME_LEN];
  struct lm_slots_left left;
  struct lm_key_slot slot;

  if (check_encrypted (repo, err) == -1 ||
      describe (repo, id, &slot, err) == -1 ||
      count_left (repo, id, NULL, &left, err) == -1 ||
      check_left (&left, escrow_only, err) == -1 ||
      record (repo, LM_CHANGE_SLOT_REMOVE, &slot, verb, err) == -1 ||
      check_others (repo, &slot, escrow_only, verb, &left, err) == -1)
    return -1;
  lm_object_name ("keys", id, LM_SLOT_ID_LEN, name);
  if (lm_store_remove (repo->store, name, err) == -1) {
    if (err->kind != LM_ERR_NOT_FOUND) {
      lm_error_prefix (err, "the key slot still opens the repository");
      return lm_error_hint (err, "its removal is recorded: remove it again "
                            "to finish that");
    }
    lm_error_clear (err);
  }
  *ret_left = left;
  return 0;
}

/* Does what is stored under this id open with C? */
static int
opens (struct lm_repository *repo, const uint8_t id[LM_SLOT_ID_LEN],
       const struct lm_credentials *c, bool *ret_opens, struct lm_error *err)
{
  uint8_t master[LM_MASTER_KEY_LEN];
  struct lm_key_slot slot;

  *ret_opens = lm_key_slot_read (repo->store, id, &slot, err) == 0 &&
    lm_key_slot_unwrap (&slot, c, master, err) == 0;
  explicit_bzero (master, sizeof master);
  if (!*ret_opens && (err->kind == LM_ERR_IO || err->kind == LM_ERR_NOMEM))
    return -1;
  lm_error_clear (err);
  return 0;
}

int
lm_slot_restore (struct lm_repository *repo, const struct lm_key_slot *slot,
                 const void *object, size_t len,
                 const struct lm_credentials *c, bool *ret_new,
                 struct lm_error *err)
{
  struct iovec iov = { (void *) object, len };
  char name[LM_OBJECT_NAME_LEN];
  bool there = false;

  if (check_encrypted (repo, err) == -1)
    return -1;
  lm_object_name ("keys", slot->id, LM_SLOT_ID_LEN, name);
  if (lm_store_put_if_absent (repo->store, name, &iov, 1, err) == -1) {
    if (err->kind != LM_ERR_EXISTS)
      return -1;
    lm_error_clear (err);
    if (opens (repo, slot->id, c, &there, err) == -1 ||
        (!there && (lm_store_remove (repo->store, name, err) == -1 ||
                    lm_store_put_if_absent (repo->store, name, &iov, 1,
                                            err) == -1)))
      return -1;
  }
  if (record (repo, LM_CHANGE_SLOT_ADD, slot, "key import", err) == -1)
    return -1;
  *ret_new = !there;
  return 0;
}
