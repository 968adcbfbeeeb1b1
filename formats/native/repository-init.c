/* SPDX-License-Identifier: Apache-2.0
 *
 * Making a repository; lm_repository_init is declared in repository.h.
 *
 * The order is: slots, `config`, record 0.  `config` decides between
 * several inits at once.  Killed before it, init leaves at most slots that
 * name another repository and are ignored; killed after it, everything is
 * there to finish the work, and a second init with the same credentials
 * does.  (Considered: `config` last.  Then a second init would find a
 * record 0 of which it could not tell whether its writer still runs.)
 */
#include <config.h>

#include "formats/native/repository.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/hex.h"
#include "common/json.h"
#include "common/random.h"
#include "formats/native/journal.h"
#include "formats/native/key-slot.h"
#include "formats/native/keys.h"
#include "formats/native/object-io.h"
#include "formats/native/repo-config.h"
#include "formats/native/seal.h"
#include "formats/native/whoami.h"
#include "common/banned.h"

#define SLOTS_AT_INIT 2         /* passphrase and key file */

static int
already_there (const struct lm_store *store, struct lm_error *err)
{
  return lm_error_set (err, LM_ERR_EXISTS, "%s: there is a repository "
                       "already", store->location);
}

static int
exists (struct lm_store *store, const char *name, bool *ret_exists,
        struct lm_error *err)
{
  uint64_t size;

  *ret_exists = lm_store_stat (store, name, &size, err) == 0;
  if (!*ret_exists && err->kind != LM_ERR_NOT_FOUND)
    return -1;
  lm_error_clear (err);
  return 0;
}

/* The journal rests on put_if_absent: see that the second one fails, and
 * that the first one's bytes stay.  Each init has a name of its own for
 * this, or two at once would each take the other for a broken store. */
static int
probe_store (struct lm_store *store, struct lm_error *err)
{
  struct iovec first = { (char *) "first", 5 };
  struct iovec second = { (char *) "other", 5 };
  CLEANUP_FREE uint8_t *data = NULL;
  uint8_t id[8];
  char hex[2 * sizeof id + 1], name[sizeof hex + 16];
  size_t len;

  lm_random_bytes (id, sizeof id);
  lm_hex_encode (id, sizeof id, hex);
  snprintf (name, sizeof name, "tmp-probe-%s", hex);
  if (lm_store_put_if_absent (store, name, &first, 1, err) == -1)
    return -1;
  if (lm_store_put_if_absent (store, name, &second, 1, err) == 0)
    lm_error_set (err, LM_ERR_UNSUPPORTED, "%s: this store lets two writers "
                  "put the same object, so it cannot hold a repository",
                  store->location);
  else if (err->kind == LM_ERR_EXISTS) {
    lm_error_clear (err);
    if (lm_store_get (store, name, 5, &data, &len, err) == 0 &&
        (len != 5 || memcmp (data, "first", 5) != 0))
      lm_error_set (err, LM_ERR_UNSUPPORTED, "%s: this store let a second "
                    "writer change an object, so it cannot hold a "
                    "repository", store->location);
  }
  if (err->kind == LM_ERR_NONE)
    return lm_store_remove (store, name, err);
  else {
    struct lm_error ignored = LM_ERROR_INIT;

    if (lm_store_remove (store, name, &ignored) == -1)
      lm_error_clear (&ignored);
  }
  return -1;
}

struct new_slots {
  struct lm_key_slot slots[SLOTS_AT_INIT];
  size_t n;
};

static void
remove_slots (struct lm_store *store, const struct new_slots *slots)
{
  struct lm_error ignored = LM_ERROR_INIT;
  char name[LM_OBJECT_NAME_LEN];
  size_t i;

  for (i = 0; i < slots->n; i++) {
    lm_object_name ("keys", slots->slots[i].id, LM_SLOT_ID_LEN, name);
    if (lm_store_remove (store, name, &ignored) == -1)
      lm_error_clear (&ignored);
  }
}

static int
add_slots (struct lm_store *store, const struct lm_repo_config *config,
           const struct lm_credentials *c, const uint8_t *master,
           struct new_slots *slots, struct lm_error *err)
{
  slots->n = 0;
  if (c->key_file) {
    if (lm_key_slot_add (store, config->repository, master, c,
                         LM_SLOT_KEY_FILE, "made by init",
                         &slots->slots[slots->n], err) == -1)
      return -1;
    slots->n++;
  }
  if (c->passphrase) {
    if (lm_key_slot_add (store, config->repository, master, c,
                         LM_SLOT_PASSPHRASE, "made by init",
                         &slots->slots[slots->n], err) == -1)
      return -1;
    slots->n++;
  }
  return 0;
}

/* Somebody else's record 0 is as good as ours if it is about the same
 * config: two inits finished the same work. */
static int
check_record_0 (struct lm_store *store, const struct lm_keys *keys,
                const uint8_t *config_sha256, struct lm_error *err)
{
  struct lm_journal_record r;
  bool same;

  if (lm_journal_record_read (store, keys, 0, &r, err) == -1)
    return -1;
  same = memcmp (r.changes[0].config, config_sha256, LM_SHA256_LEN) == 0;
  lm_journal_record_release (&r);
  if (!same)
    return lm_corrupt (err, "journal/0000000000000000: is about another "
                       "config");
  return 0;
}

static int
start_journal (struct lm_store *store, const struct lm_keys *keys,
               const uint8_t *config_sha256,
               const struct lm_key_slot *slots, size_t n,
               struct lm_error *err)
{
  CLEANUP_FREE char *writer = lm_whoami_writer ("init", err);
  CLEANUP_JSON json_t *changes = json_pack ("[{ss}]", "change", "init");
  size_t i;

  if (writer == NULL)
    return -1;
  if (changes == NULL ||
      lm_json_set_hex (json_array_get (changes, 0), "config", config_sha256,
                       LM_SHA256_LEN) == -1)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  for (i = 0; i < n; i++)
    if (lm_change_slot (changes, LM_CHANGE_SLOT_ADD, slots[i].id,
                        lm_slot_kind_name (slots[i].kind), slots[i].label,
                        err) == -1)
      return -1;
  if (lm_journal_start (store, keys, writer, changes, err) == 0)
    return 0;
  if (err->kind != LM_ERR_EXISTS)
    return -1;
  lm_error_clear (err);
  return check_record_0 (store, keys, config_sha256, err);
}

/* There is a `config`.  A whole repository, or one to finish? */
static int
finish_or_refuse (struct lm_store *store,
                  const struct lm_init_options *options,
                  uint32_t chunk_size, struct lm_error *err)
{
  uint8_t master[LM_MASTER_KEY_LEN], slot_id[LM_SLOT_ID_LEN];
  uint8_t sha256[LM_SHA256_LEN];
  CLEANUP_FREE uint8_t *data = NULL;
  CLEANUP_FREE struct lm_key_slot *slots = NULL;
  struct lm_repo_config config;
  struct lm_keys *keys;
  size_t len, n = 0;
  bool whole;
  int r;

  if (exists (store, "journal/0000000000000000", &whole, err) == -1)
    return -1;
  if (whole)
    return already_there (store, err);
  if (lm_store_get (store, LM_CONFIG_NAME, LM_CONFIG_SIZE_MAX, &data, &len,
                    err) == -1 ||
      lm_repo_config_decode (data, len, store->location, &config, err) == -1)
    return -1;
  lm_sha256 (data, len, sha256);
  if (config.encrypted != options->encrypted ||
      config.chunk_size != chunk_size) {
    lm_error_set (err, LM_ERR_EXISTS, "%s: an interrupted init has begun a "
                  "repository with other options", store->location);
    return lm_error_hint (err, "Use the same options, or remove everything "
                          "there first");
  }
  if (config.encrypted &&
      (lm_key_slots_list (store, config.repository, &slots, &n, NULL,
                          err) == -1 ||
       lm_key_slots_unlock (store, config.repository, options->credentials,
                            master, slot_id, err) == -1)) {
    lm_error_prefix (err, "%s: an interrupted init has begun a repository",
                     store->location);
    return -1;
  }
  keys = lm_keys_new (config.repository, config.encrypted ? master : NULL,
                      err);
  explicit_bzero (master, sizeof master);
  if (keys == NULL)
    return -1;
  r = start_journal (store, keys, sha256, slots, n, err);
  lm_sealer_forget (keys);
  lm_keys_free (keys);
  return r;
}

static int
make (struct lm_store *store, const struct lm_init_options *options,
      uint32_t chunk_size, const uint8_t *master, struct lm_error *err)
{
  struct lm_repo_config config = {
    .created = lm_clock_now (),
    .chunk_size = chunk_size,
    .encrypted = options->encrypted,
  };
  struct new_slots slots = { .n = 0 };
  uint8_t sha256[LM_SHA256_LEN];
  CLEANUP_FREE char *text = NULL;
  struct lm_keys *keys;
  struct iovec iov;
  int r;

  lm_random_bytes (config.repository, sizeof config.repository);
  keys = lm_keys_new (config.repository, options->encrypted ? master : NULL,
                      err);
  if (keys == NULL)
    return -1;
  r = 0;
  if (options->encrypted)
    r = add_slots (store, &config, options->credentials, master, &slots,
                   err);
  text = r == 0 ? lm_repo_config_encode (&config, &iov.iov_len, err) : NULL;
  if (text == NULL)
    r = -1;
  else {
    iov.iov_base = text;
    lm_sha256 (text, iov.iov_len, sha256);
    r = lm_store_put_if_absent (store, LM_CONFIG_NAME, &iov, 1, err);
  }
  if (r == -1) {
    struct lm_error ignored = LM_ERROR_INIT;
    bool there;

    /* A put that failed may have taken place; then the slots are
     * needed. */
    if (err->kind == LM_ERR_EXISTS ||
        (err->kind != LM_ERR_IO &&
         exists (store, LM_CONFIG_NAME, &there, &ignored) == 0 && !there))
      remove_slots (store, &slots);
    if (err->kind == LM_ERR_EXISTS)
      already_there (store, err);
  }
  else
    r = start_journal (store, keys, sha256, slots.slots, slots.n, err);
  lm_sealer_forget (keys);
  lm_keys_free (keys);
  return r;
}

int
lm_repository_init (struct lm_store *store,
                    const struct lm_init_options *options,
                    struct lm_error *err)
{
  const uint32_t chunk_size = options->chunk_size
    ? options->chunk_size : LM_CHUNK_SIZE_DEFAULT;
  const struct lm_credentials *c = options->credentials;
  uint8_t master[LM_MASTER_KEY_LEN];
  bool begun;
  int r;

  if (lm_chunk_size_check (chunk_size, err) == -1)
    return -1;
  if (options->encrypted &&
      (c == NULL || (c->passphrase == NULL && c->key_file == NULL)))
    return lm_error_set (err, LM_ERR_USAGE, "an encrypted repository needs a "
                         "passphrase or a key file");
  if (exists (store, LM_CONFIG_NAME, &begun, err) == -1)
    return -1;
  if (begun)
    return finish_or_refuse (store, options, chunk_size, err);
  if (exists (store, "journal/0000000000000000", &begun, err) == -1)
    return -1;
  if (begun) {
    lm_error_set (err, LM_ERR_EXISTS, "%s: there is a journal, but no "
                  LM_CONFIG_NAME, store->location);
    return lm_error_hint (err, "A repository has lost its config: restore "
                          "it, or use another place");
  }
  if (probe_store (store, err) == -1)
    return -1;
  lm_random_bytes (master, sizeof master);
  r = make (store, options, chunk_size, master, err);
  explicit_bzero (master, sizeof master);
  return r;
}
