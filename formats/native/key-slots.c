/* SPDX-License-Identifier: Apache-2.0
 * The key slots of a repository: add, list, unlock; see key-slot.h.
 */
#include <config.h>

#include "formats/native/key-slot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/random.h"
#include "formats/native/object-io.h"
#include "common/banned.h"

/* More than anyone has; keeps a hostile store from filling the memory. */
#define SLOTS_MAX 1024

int
lm_key_slot_add (struct lm_store *store,
                 const uint8_t repository[LM_NAME_ID_LEN],
                 const uint8_t master[LM_MASTER_KEY_LEN],
                 const struct lm_credentials *c, enum lm_slot_kind kind,
                 const char *label, struct lm_key_slot *ret_slot,
                 struct lm_error *err)
{
  struct lm_key_slot slot = {
    .created = lm_clock_now (),
    .kind = kind,
    .scrypt_n = LM_SCRYPT_N_DEFAULT,
    .scrypt_r = 8,
    .scrypt_p = 1,
  };
  CLEANUP_FREE char *text = NULL;
  char name[LM_OBJECT_NAME_LEN];
  struct iovec iov;

  if (strlen (label) > LM_SLOT_LABEL_MAX)
    return lm_error_set (err, LM_ERR_USAGE, "the label of a key slot may "
                         "have %d bytes", LM_SLOT_LABEL_MAX);
  snprintf (slot.label, sizeof slot.label, "%s", label);
  memcpy (slot.repository, repository, LM_NAME_ID_LEN);
  lm_random_bytes (slot.id, sizeof slot.id);
  lm_random_bytes (slot.salt, sizeof slot.salt);
  if (lm_key_slot_wrap (&slot, c, master, err) == -1)
    return -1;
  text = lm_key_slot_encode (&slot, &iov.iov_len, err);
  if (text == NULL)
    return -1;
  iov.iov_base = text;
  lm_object_name ("keys", slot.id, LM_SLOT_ID_LEN, name);
  if (lm_store_put_if_absent (store, name, &iov, 1, err) == -1)
    return -1;
  *ret_slot = slot;
  return 0;
}

struct slot_names {
  uint8_t (*ids)[LM_SLOT_ID_LEN];
  size_t n;
};

static int
collect_name (void *opaque, const char *name, uint64_t size,
              struct lm_error *err)
{
  struct slot_names *names = opaque;
  uint8_t id[LM_SLOT_ID_LEN];
  void *bigger;

  (void) size;
  if (!lm_object_name_parse (name, "keys", id, sizeof id))
    return 0;
  if (names->n == SLOTS_MAX)
    return lm_error_set (err, LM_ERR_LIMIT, "more than %d key slots",
                         SLOTS_MAX);
  bigger = realloc (names->ids, (names->n + 1) * sizeof *names->ids);
  if (bigger == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  names->ids = bigger;
  memcpy (names->ids[names->n++], id, sizeof id);
  return 0;
}

static int
compare_ids (const void *a, const void *b)
{
  return memcmp (a, b, LM_SLOT_ID_LEN);
}

int
lm_key_slot_read (struct lm_store *store, const uint8_t id[LM_SLOT_ID_LEN],
                  struct lm_key_slot *ret_slot, struct lm_error *err)
{
  CLEANUP_FREE uint8_t *data = NULL;
  char name[LM_OBJECT_NAME_LEN];
  struct lm_key_slot slot;
  size_t len;

  lm_object_name ("keys", id, LM_SLOT_ID_LEN, name);
  if (lm_store_get (store, name, LM_SLOT_SIZE_MAX, &data, &len, err) == -1 ||
      lm_key_slot_decode (data, len, name, &slot, err) == -1)
    return -1;
  if (memcmp (slot.id, id, LM_SLOT_ID_LEN) != 0)
    return lm_corrupt (err, "%s: is another slot under this name", name);
  *ret_slot = slot;
  return 0;
}

int
lm_key_slots_list (struct lm_store *store,
                   const uint8_t repository[LM_NAME_ID_LEN],
                   struct lm_key_slot **ret_slots, size_t *ret_n,
                   struct lm_error *first, struct lm_error *err)
{
  struct slot_names names = { NULL, 0 };
  CLEANUP_FREE void *ids = NULL;
  CLEANUP_FREE struct lm_key_slot *slots = NULL;
  size_t i, n = 0;
  int r;

  r = lm_store_list (store, "keys", collect_name, &names, err);
  ids = names.ids;
  if (r == -1)
    return -1;
  if (names.n > 0)
    qsort (names.ids, names.n, sizeof *names.ids, compare_ids);
  slots = calloc (names.n + 1, sizeof *slots);
  if (slots == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  for (i = 0; i < names.n; i++) {
    struct lm_error slot_err = LM_ERROR_INIT;

    if (lm_key_slot_read (store, names.ids[i], &slots[n],
                          &slot_err) == -1) {
      /* One bad slot must not keep the others from opening. */
      if (slot_err.kind == LM_ERR_IO || slot_err.kind == LM_ERR_NOMEM) {
        *err = slot_err;
        return -1;
      }
      if (first && first->kind == LM_ERR_NONE)
        *first = slot_err;
    }
    else if (memcmp (slots[n].repository, repository, LM_NAME_ID_LEN) == 0)
      n++;
  }
  *ret_slots = lm_steal (slots);
  *ret_n = n;
  return 0;
}

/* "its key slots: 2 passphrase, 1 key-file" */
static void
hint_kinds (const struct lm_key_slot *slots, size_t n,
            const struct lm_error *bad, struct lm_error *err)
{
  size_t count[LM_SLOT_UNKNOWN + 1] = { 0 };
  char text[256] = "";
  size_t i, len = 0;

  for (i = 0; i < n; i++)
    count[slots[i].kind]++;
  for (i = 0; i <= LM_SLOT_UNKNOWN && len < sizeof text; i++)
    if (count[i] > 0)
      len += snprintf (text + len, sizeof text - len, "%s%zu %s",
                       len ? ", " : "", count[i], lm_slot_kind_name (i));
  lm_error_hint (err, "its key slots: %s%s%.200s", len ? text : "none",
                 bad->kind != LM_ERR_NONE ? "; unusable: " : "",
                 bad->message);
}

static bool
can_try (const struct lm_key_slot *slot, const struct lm_credentials *c)
{
  if (slot->epoch != 0)
    return false;
  return (slot->kind == LM_SLOT_KEY_FILE && c->key_file) ||
    (slot->kind == LM_SLOT_ESCROW && c->escrow_key) ||
    (slot->kind == LM_SLOT_PASSPHRASE && c->passphrase);
}

/* "passphrase or key file": what was given, put together by WORD. */
static void
name_given (const struct lm_credentials *c, const char *article,
            const char *word, char *out, size_t size)
{
  const char *const names[] = {
    c->passphrase ? "passphrase" : NULL, c->key_file ? "key file" : NULL,
    c->escrow_key ? "escrow key" : NULL,
  };
  size_t i, len = 0;

  out[0] = '\0';
  for (i = 0; i < sizeof names / sizeof names[0]; i++)
    if (names[i] && len < size)
      len += snprintf (out + len, size - len, "%s%s%s%s",
                       len ? word : "", article,
                       *article && *names[i] == 'e' ? "n " :
                       *article ? " " : "", names[i]);
}

static int
nothing_fits (const struct lm_key_slot *slots, size_t n,
              const struct lm_credentials *c, size_t tried,
              const struct lm_error *bad, struct lm_error *err)
{
  char given[64];

  if (!lm_credentials_any (c))
    lm_error_set (err, LM_ERR_KEY, "the repository is encrypted, and "
                  "neither a passphrase nor a key file was given");
  else if (tried == 0) {
    name_given (c, "a", " or ", given, sizeof given);
    lm_error_set (err, LM_ERR_KEY, "the repository has no key slot for %s",
                  given);
  }
  else {
    name_given (c, "", " and ", given, sizeof given);
    lm_error_set (err, LM_ERR_KEY, "wrong %s: it opens none of the key "
                  "slots", given);
  }
  if (n == 0 && bad->kind == LM_ERR_NONE)
    return lm_error_hint (err, "its key slots are gone: 'livemount key "
                          "import' brings back an exported slot or a paper "
                          "key");
  hint_kinds (slots, n, bad, err);
  return -1;
}

int
lm_key_slots_unlock (struct lm_store *store,
                     const uint8_t repository[LM_NAME_ID_LEN],
                     const struct lm_credentials *c,
                     uint8_t ret_master[LM_MASTER_KEY_LEN],
                     uint8_t ret_slot_id[LM_SLOT_ID_LEN],
                     struct lm_error *err)
{
  static const enum lm_slot_kind order[] = {
    LM_SLOT_KEY_FILE, LM_SLOT_ESCROW, LM_SLOT_PASSPHRASE,
  };
  CLEANUP_FREE struct lm_key_slot *slots = NULL;
  struct lm_error bad = LM_ERROR_INIT;
  size_t n, i, k, tried = 0;

  if (c->master) {
    memcpy (ret_master, c->master, LM_MASTER_KEY_LEN);
    memset (ret_slot_id, 0, LM_SLOT_ID_LEN);
    return 0;
  }
  if (lm_key_slots_list (store, repository, &slots, &n, &bad, err) == -1)
    return -1;
  for (k = 0; k < sizeof order / sizeof order[0]; k++)
    for (i = 0; i < n; i++) {
      if (slots[i].kind != order[k] || !can_try (&slots[i], c))
        continue;
      tried++;
      if (lm_key_slot_unwrap (&slots[i], c, ret_master, err) == 0) {
        memcpy (ret_slot_id, slots[i].id, LM_SLOT_ID_LEN);
        return 0;
      }
      if (err->kind != LM_ERR_KEY)
        return -1;
    }
  return nothing_fits (slots, n, c, tried, &bad, err);
}
