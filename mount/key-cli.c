/* SPDX-License-Identifier: Apache-2.0
 * What the `key` commands have in common; see key-cli.h.
 */
#include <config.h>

#include "mount/key-cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/hex.h"
#include "common/io.h"
#include "common/timestamp.h"
#include "formats/native/slot-change.h"
#include "formats/store/store-open.h"
#include "mount/open-repository.h"
#include "mount/report.h"
#include "common/banned.h"

void
lm_key_place_release (struct lm_key_place *place)
{
  lm_store_close (place->store);
  free (place->slots);
  *place = (struct lm_key_place) LM_KEY_PLACE_INIT;
}

int
lm_key_place_open (const struct lm_cli *cli, bool encrypted,
                   struct lm_key_place *place, struct lm_error *err)
{
  const char *location = lm_cli_location (cli, err);
  struct lm_error first = LM_ERROR_INIT;
  uint8_t sha256[LM_SHA256_LEN];

  if (location == NULL ||
      lm_store_open (location, false, &place->store, err) == -1 ||
      lm_repo_config_read (place->store, &place->config, sha256, err) == -1)
    return -1;
  if (encrypted && !place->config.encrypted)
    return lm_error_set (err, LM_ERR_USAGE, "%s: the repository is not "
                         "encrypted, so it has no keys", location);
  if (lm_key_slots_list (place->store, place->config.repository,
                         &place->slots, &place->n, &first, err) == -1)
    return -1;
  if (first.kind != LM_ERR_NONE)
    lm_report_warning (cli, "%s", first.message);
  return 0;
}

struct lm_repository *
lm_key_place_unlock (const struct lm_cli *cli, struct lm_key_place *place,
                     const uint8_t master[LM_MASTER_KEY_LEN],
                     bool read_only, struct lm_error *err)
{
  const struct lm_open_options options = {
    .read_only = read_only,
    .accept_rollback = lm_args_flag (&cli->args, "accept-rollback"),
  };
  struct lm_credentials c = LM_CREDENTIALS_INIT;
  CLEANUP_REPOSITORY struct lm_repository *repo = NULL;

  /* Borrowed: there is nothing to release. */
  c.master = (uint8_t *) master;
  repo = lm_repository_open (place->store, &c, &options, err);
  if (repo == NULL)
    return NULL;
  place->store = NULL;
  if (lm_repository_load (repo, err) == -1) {
    if (err->kind == LM_ERR_CORRUPT && !err->hint[0])
      lm_error_hint (err, "either that is damaged, or this is not the key of "
                     "this repository");
    return NULL;
  }
  return lm_steal (repo);
}

/* Nothing was offered that this kind of slot could be tried with. */
static bool
may_ask (const struct lm_key_slot *slot, const struct lm_credentials *c)
{
  return slot->kind == LM_SLOT_PASSPHRASE && c->passphrase == NULL &&
    isatty (STDIN_FILENO);
}

int
lm_key_slot_ask (const struct lm_cli *cli, const struct lm_key_slot *slot,
                 struct lm_credentials *c,
                 uint8_t ret_master[LM_MASTER_KEY_LEN], struct lm_error *err)
{
  CLEANUP (lm_key_source_release)
    struct lm_key_source source = LM_KEY_SOURCE_INIT;
  char id[LM_SLOT_TEXT_LEN], prompt[64];

  lm_key_slot_text (slot->id, id);
  if (slot->epoch != 0)
    return lm_error_set (err, LM_ERR_UNSUPPORTED, "key slot %s: key epoch "
                         "%u; this program lacks the feature 'key-epochs'",
                         id, slot->epoch);
  if (lm_cli_credentials (cli, NULL, c, &source, err) == -1)
    return -1;
  if (may_ask (slot, c)) {
    snprintf (prompt, sizeof prompt, "Passphrase of key slot %s: ", id);
    if (lm_credentials_passphrase_prompt (c, prompt, false, err) == -1)
      return -1;
  }
  if (lm_key_slot_unwrap (slot, c, ret_master, err) == -1)
    return lm_error_prefix (err, "key slot %s", id);
  return 0;
}

void
lm_key_slot_text (const uint8_t id[LM_SLOT_ID_LEN],
                  char ret_text[LM_SLOT_TEXT_LEN])
{
  lm_hex_encode (id, LM_SLOT_ID_LEN, ret_text);
}

json_t *
lm_key_slot_json (const struct lm_key_slot *slot)
{
  char id[LM_SLOT_TEXT_LEN], created[LM_TIMESTAMP_LEN + 1];
  json_t *v;

  lm_key_slot_text (slot->id, id);
  lm_timestamp_format (slot->created, created);
  v = json_pack ("{s:s, s:s, s:s, s:s, s:I}", "id", id,
                 "kind", lm_slot_kind_name (slot->kind),
                 "label", slot->label, "created", created,
                 "epoch", (json_int_t) slot->epoch);
  if (v && slot->kind == LM_SLOT_ESCROW)
    lm_json_set_hex (v, "recipient", slot->recipient,
                     sizeof slot->recipient);
  return v;
}

void
lm_new_secret_release (struct lm_new_secret *secret)
{
  lm_credentials_release (&secret->c);
  secret->made = NULL;
}

static int
from_key_file (struct lm_new_secret *secret, const char *path,
               struct lm_error *err)
{
  secret->kind = LM_SLOT_KEY_FILE;
  if (access (path, F_OK) == -1 && errno == ENOENT) {
    if (lm_key_file_create (path, err) == -1)
      return -1;
    secret->made = path;
  }
  return lm_credentials_key_file (&secret->c, path, err);
}

static int
from_prompt (struct lm_new_secret *secret, struct lm_error *err)
{
  secret->kind = LM_SLOT_PASSPHRASE;
  if (!isatty (STDIN_FILENO)) {
    lm_error_set (err, LM_ERR_USAGE, "nothing was given that the new key "
                  "slot could be opened with");
    return lm_error_hint (err, "say --new-passphrase-file or "
                          "--new-key-file");
  }
  return lm_credentials_passphrase_prompt (&secret->c, "New passphrase: ",
                                           true, err);
}

int
lm_new_secret_get (const struct lm_cli *cli, const char *escrow,
                   struct lm_new_secret *secret, struct lm_error *err)
{
  const char *passphrase = lm_args_string (&cli->args,
                                           "new-passphrase-file");
  const char *key_file = lm_args_string (&cli->args, "new-key-file");

  if ((passphrase != NULL) + (key_file != NULL) + (escrow != NULL) > 1)
    return lm_error_set (err, LM_ERR_USAGE, "a key slot has one secret, and "
                         "several were given");
  if (passphrase) {
    secret->kind = LM_SLOT_PASSPHRASE;
    return lm_credentials_passphrase_file (&secret->c, passphrase, err);
  }
  if (key_file)
    return from_key_file (secret, key_file, err);
  if (escrow) {
    secret->kind = LM_SLOT_ESCROW;
    return lm_credentials_escrow_recipient (&secret->c, escrow, err);
  }
  return from_prompt (secret, err);
}

int
lm_new_secret_add (const struct lm_cli *cli, struct lm_repository *repo,
                   const struct lm_new_secret *secret, const char *label,
                   const char *verb, struct lm_key_slot *ret_slot,
                   struct lm_error *err)
{
  if (lm_slot_add (repo, &secret->c, secret->kind, label, verb, ret_slot,
                   err) == -1) {
    /* After an I/O error the slot may be there, and need it. */
    if (secret->made && err->kind != LM_ERR_IO && err->kind != LM_ERR_NOMEM)
      unlink (secret->made);
    return -1;
  }
  if (secret->made)
    lm_report_warning (cli, "keep a copy of the new key file %s elsewhere",
                       secret->made);
  return 0;
}

static int
write_all (int fd, const char *data, size_t len)
{
  while (len > 0) {
    ssize_t n = TEMP_FAILURE_RETRY (write (fd, data, len));

    if (n == -1)
      return -1;
    data += n;
    len -= n;
  }
  return 0;
}

static int
write_file (const char *path, const void *data, size_t len,
            struct lm_error *err)
{
  CLEANUP_CLOSE int fd = lm_io->openat (AT_FDCWD, path,
                                        O_WRONLY | O_CREAT | O_EXCL, 0600);
  int r;

  if (fd == -1)
    return lm_error_errno (err, errno, "%s: create", path);
  r = lm_pwrite_full (fd, data, len, 0, path, err);
  if (r == 0 && lm_io->fsync (fd) == -1)
    r = lm_error_errno (err, errno, "%s: fsync", path);
  if (r == 0)
    r = lm_sync_parent (AT_FDCWD, path, err);
  /* Half of it would be taken for the whole. */
  if (r == -1)
    lm_io->unlinkat (AT_FDCWD, path, 0);
  return r;
}

static bool
is_standard (const char *path)
{
  return path == NULL || strcmp (path, "-") == 0;
}

int
lm_key_write (const char *path, const void *data, size_t len,
              struct lm_error *err)
{
  if (!is_standard (path))
    return write_file (path, data, len, err);
  if (lm_report_flush (err) == -1)
    return -1;
  if (write_all (STDOUT_FILENO, data, len) == -1)
    return lm_error_errno (err, errno, "standard output");
  return 0;
}

int
lm_key_read (const char *path, size_t limit, char **ret_data,
             size_t *ret_len, struct lm_error *err)
{
  const char *what = is_standard (path) ? "standard input" : path;
  CLEANUP_CLOSE int fd = is_standard (path)
    ? dup (STDIN_FILENO) : lm_io->openat (AT_FDCWD, path, O_RDONLY, 0);
  CLEANUP_FREE char *data = NULL;
  size_t len = 0;
  ssize_t n;

  if (fd == -1)
    return lm_error_errno (err, errno, "%s", what);
  data = malloc (limit + 1);
  if (data == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  do {
    n = TEMP_FAILURE_RETRY (read (fd, data + len, limit + 1 - len));
    len += n > 0 ? n : 0;
  } while (n > 0 && len <= limit);
  if (n == -1)
    lm_error_errno (err, errno, "%s: read", what);
  else if (len > limit)
    lm_error_set (err, LM_ERR_USAGE, "%s: more than %zu bytes, so this is "
                  "something else", what, limit);
  else {
    *ret_data = lm_steal (data);
    *ret_len = len;
    return 0;
  }
  explicit_bzero (data, limit + 1);
  return -1;
}
