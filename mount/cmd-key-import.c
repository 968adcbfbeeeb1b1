/* SPDX-License-Identifier: Apache-2.0
 *
 * `livemount key import`: an exported key slot back into the store, or a
 * paper key typed in again; also when nothing in keys/ opens any more.
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "formats/native/paper-key.h"
#include "formats/native/slot-change.h"
#include "mount/commands.h"
#include "mount/key-cli.h"
#include "mount/open-repository.h"
#include "mount/paper-page.h"
#include "mount/report.h"
#include "common/banned.h"

static const struct lm_option options[] = {
  { .name = "paper",
    .help = "a paper key: a page in FILE or on standard input, or typed in" },
  LM_NEW_SECRET_OPTIONS,
  { .name = "label", .argument = "TEXT",
    .help = "with --paper: what the new slot is for, or whose it is" },
  { .name = NULL }
};

static int
check_repository (const struct lm_key_place *place,
                  const uint8_t repository[LM_NAME_ID_LEN], const char *what,
                  struct lm_error *err)
{
  if (memcmp (repository, place->config.repository, LM_NAME_ID_LEN) == 0)
    return 0;
  return lm_error_set (err, LM_ERR_USAGE, "%s belongs to another repository "
                       "than the one at %.200s", what,
                       place->store->location);
}

static int
print_slot (const struct lm_cli *cli, const struct lm_key_slot *slot,
            const char *what, bool is_new, const char *new_key_file,
            struct lm_error *err)
{
  char id[LM_SLOT_TEXT_LEN];

  if (cli->json)
    return lm_report_json (json_pack ("{s:o, s:b, s:s*}", "slot",
                                      lm_key_slot_json (slot),
                                      "new", is_new,
                                      "new_key_file", new_key_file), err);
  lm_key_slot_text (slot->id, id);
  lm_report_note (cli, "Key slot %s (%s) %s.", id,
                  lm_slot_kind_name (slot->kind), what);
  return 0;
}

static int
read_slot (const char *path, char **ret_data, size_t *ret_len,
           struct lm_key_slot *ret_slot, struct lm_error *err)
{
  const char *what = strcmp (path, "-") == 0 ? "standard input" : path;

  if (lm_key_read (path, LM_SLOT_SIZE_MAX, ret_data, ret_len, err) == -1)
    return -1;
  if (lm_key_slot_decode (*ret_data, *ret_len, what, ret_slot, err) == -1)
    return lm_error_hint (err, "an exported key slot is JSON, as 'livemount "
                          "key export' wrote it; a paper key needs "
                          "--paper");
  if (ret_slot->kind == LM_SLOT_UNKNOWN)
    return lm_error_set (err, LM_ERR_UNSUPPORTED, "%s: is a key slot of a "
                         "kind or version that this program does not know",
                         what);
  return 0;
}

static int
import_slot (const struct lm_cli *cli, const char *path,
             struct lm_error *err)
{
  CLEANUP (lm_key_place_release)
    struct lm_key_place place = LM_KEY_PLACE_INIT;
  CLEANUP (lm_credentials_release)
    struct lm_credentials c = LM_CREDENTIALS_INIT;
  CLEANUP_REPOSITORY struct lm_repository *repo = NULL;
  CLEANUP_FREE char *data = NULL;
  uint8_t master[LM_MASTER_KEY_LEN];
  struct lm_key_slot slot;
  bool is_new;
  size_t len;

  if (read_slot (path, &data, &len, &slot, err) == -1 ||
      lm_key_place_open (cli, true, &place, err) == -1 ||
      check_repository (&place, slot.repository, "this key slot",
                        err) == -1 ||
      lm_key_slot_ask (cli, &slot, &c, master, err) == -1)
    return -1;
  repo = lm_key_place_unlock (cli, &place, master, false, err);
  explicit_bzero (master, sizeof master);
  if (repo == NULL ||
      lm_slot_restore (repo, &slot, data, len, &c, &is_new, err) == -1)
    return -1;
  return print_slot (cli, &slot, is_new ? "is back"
                     : "was there, and opens the repository", is_new, NULL,
                     err);
}

/* A new slot, made with the master key from the paper. */
static int
import_master (const struct lm_cli *cli, struct lm_key_place *place,
               const struct lm_paper_key *paper, struct lm_error *err)
{
  const char *label = lm_args_string (&cli->args, "label");
  CLEANUP_REPOSITORY struct lm_repository *repo = NULL;
  CLEANUP (lm_new_secret_release)
    struct lm_new_secret secret = LM_NEW_SECRET_INIT;
  struct lm_key_slot slot;

  if (paper->epoch != 0)
    return lm_error_set (err, LM_ERR_UNSUPPORTED, "paper key: key epoch %u; "
                         "this program lacks the feature 'key-epochs'",
                         paper->epoch);
  repo = lm_key_place_unlock (cli, place, paper->secret, false, err);
  if (repo == NULL || lm_new_secret_get (cli, NULL, &secret, err) == -1 ||
      lm_new_secret_add (cli, repo, &secret,
                         label ? label : "made from a paper key",
                         "key import", &slot, err) == -1)
    return -1;
  return print_slot (cli, &slot, "is added", true, secret.made, err);
}

/* The key file itself again.  It is written before it is tried: it is what
 * was printed, whether its slot is still there or not. */
static int
import_key_file (const struct lm_cli *cli, struct lm_key_place *place,
                 const struct lm_paper_key *paper, struct lm_error *err)
{
  const char *path = lm_args_string (&cli->args, "new-key-file");
  struct lm_credentials c = LM_CREDENTIALS_INIT;
  uint8_t master[LM_MASTER_KEY_LEN], id[LM_SLOT_ID_LEN];
  struct lm_key_slot slot;
  int r;

  if (path == NULL)
    return lm_error_set (err, LM_ERR_USAGE, "this paper key is a key file: "
                         "say with --new-key-file where to write it");
  if (lm_key_write (path, paper->secret, paper->len, err) == -1)
    return -1;
  /* Borrowed: there is nothing to release. */
  c.key_file = (uint8_t *) paper->secret;
  c.key_file_len = paper->len;
  r = lm_key_slots_unlock (place->store, place->config.repository, &c,
                           master, id, err);
  explicit_bzero (master, sizeof master);
  if (r == -1)
    return lm_error_prefix (err, "key file %s is as it was printed, but",
                            path);
  if (lm_key_slot_read (place->store, id, &slot, err) == -1)
    return -1;
  return print_slot (cli, &slot, "opens with the key file", false, path,
                     err);
}

static int
import_paper (const struct lm_cli *cli, const char *path,
              struct lm_error *err)
{
  CLEANUP (lm_key_place_release)
    struct lm_key_place place = LM_KEY_PLACE_INIT;
  struct lm_paper_key paper;
  int r;

  /* First what is quick to find out, then the typing. */
  if (lm_key_place_open (cli, true, &place, err) == -1)
    return -1;
  r = lm_paper_page_read (cli, path, &paper, err);
  if (r == 0)
    r = check_repository (&place, paper.repository, "this paper key", err);
  if (r == 0)
    r = paper.kind == LM_PAPER_MASTER_KEY
      ? import_master (cli, &place, &paper, err)
      : import_key_file (cli, &place, &paper, err);
  explicit_bzero (&paper, sizeof paper);
  return r;
}

static int
run_key_import (struct lm_cli *cli, struct lm_error *err)
{
  const char *path = cli->args.nr_operands > 0 ? cli->args.operands[0]
    : NULL;

  if (lm_args_flag (&cli->args, "paper"))
    return import_paper (cli, path, err);
  if (lm_args_string (&cli->args, "label") ||
      lm_args_string (&cli->args, "new-passphrase-file") ||
      lm_args_string (&cli->args, "new-key-file"))
    return lm_error_set (err, LM_ERR_USAGE, "an exported key slot keeps its "
                         "secret and its label: --label and --new-… belong "
                         "to --paper");
  if (path == NULL)
    return lm_error_set (err, LM_ERR_USAGE, "key import: which file? (or "
                         "--paper)");
  return import_slot (cli, path, err);
}

const struct lm_command lm_cmd_key_import = {
  .name = "key import",
  .area = "Keys",
  .summary = "put an exported key slot back, or type a paper key in",
  .usage = "FILE|--paper [FILE]",
  .description =
    "Works when all key slots are lost. An exported slot needs the secret "
    "that it was made with. A master key on paper makes a new slot, as 'key "
    "add' does; a key file on paper is written to --new-key-file.",
  .max_operands = 1,
  .completion = LM_COMPLETE_FILE,
  .options = options,
  .run = run_key_import,
};
