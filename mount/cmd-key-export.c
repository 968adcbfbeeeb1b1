/* SPDX-License-Identifier: Apache-2.0
 *
 * `livemount key export`: a key slot as a file, which stays protected as
 * it is in the store; or, when that is said, a secret on paper.
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "formats/native/keys.h"
#include "formats/native/object-io.h"
#include "formats/native/slot-change.h"
#include "mount/commands.h"
#include "mount/key-cli.h"
#include "mount/open-repository.h"
#include "mount/paper-page.h"
#include "mount/report.h"
#include "common/banned.h"

static const struct lm_option options[] = {
  { .name = "paper",
    .help = "a page to be printed, with the secret on it, not protected by "
            "anything" },
  { .name = "secret", .argument = "WHAT", .choices = "master|key-file",
    .help = "with --paper: the master key (default), or the key file that "
            "opens the repository" },
  { .name = NULL }
};

static int
export_slot (const struct lm_cli *cli, const char *slot_name,
             const char *path, struct lm_error *err)
{
  CLEANUP (lm_key_place_release)
    struct lm_key_place place = LM_KEY_PLACE_INIT;
  CLEANUP_FREE uint8_t *data = NULL;
  const struct lm_key_slot *slot;
  struct lm_key_slot same;
  char name[LM_OBJECT_NAME_LEN];
  size_t len;

  if (lm_key_place_open (cli, true, &place, err) == -1)
    return -1;
  slot = lm_slot_find (place.slots, place.n, slot_name, err);
  if (slot == NULL)
    return -1;
  lm_object_name ("keys", slot->id, LM_SLOT_ID_LEN, name);
  if (lm_store_get (place.store, name, LM_SLOT_SIZE_MAX, &data, &len,
                    err) == -1 ||
      lm_key_slot_decode (data, len, name, &same, err) == -1 ||
      lm_key_write (path, data, len, err) == -1)
    return -1;
  if (slot->kind == LM_SLOT_PASSPHRASE)
    lm_report_note (cli, "Whoever has this file can try passphrases.");
  return 0;
}

/* The bytes of the key file, which has opened the repository. */
static int
take_key_file (const struct lm_cli *cli, struct lm_repository *repo,
               struct lm_paper_key *paper, struct lm_error *err)
{
  CLEANUP (lm_credentials_release)
    struct lm_credentials c = LM_CREDENTIALS_INIT;
  CLEANUP (lm_key_source_release)
    struct lm_key_source source = LM_KEY_SOURCE_INIT;
  struct lm_key_slot slot;

  if (lm_cli_credentials (cli, NULL, &c, &source, err) == -1 ||
      lm_key_slot_read (lm_repository_store (repo),
                        lm_repository_slot_id (repo), &slot, err) == -1)
    return -1;
  if (c.key_file == NULL || slot.kind != LM_SLOT_KEY_FILE)
    return lm_error_set (err, LM_ERR_USAGE, "--secret key-file: the "
                         "repository was not opened by a key file");
  if (c.key_file_len > LM_PAPER_SECRET_MAX)
    return lm_error_set (err, LM_ERR_USAGE, "--secret key-file: it has %zu "
                         "bytes, and %d fit on paper", c.key_file_len,
                         LM_PAPER_SECRET_MAX);
  paper->kind = LM_PAPER_KEY_FILE;
  paper->len = c.key_file_len;
  memcpy (paper->secret, c.key_file, c.key_file_len);
  return 0;
}

static int
fill_paper (const struct lm_cli *cli, struct lm_repository *repo,
            struct lm_paper_key *paper, struct lm_error *err)
{
  const char *what = lm_args_string (&cli->args, "secret");

  memset (paper, 0, sizeof *paper);
  memcpy (paper->repository, lm_repository_id (repo), LM_NAME_ID_LEN);
  if (what && strcmp (what, "key-file") == 0)
    return take_key_file (cli, repo, paper, err);
  paper->kind = LM_PAPER_MASTER_KEY;
  paper->len = LM_MASTER_KEY_LEN;
  memcpy (paper->secret, lm_repository_keys (repo)->master,
          LM_MASTER_KEY_LEN);
  return 0;
}

static int
export_paper (const struct lm_cli *cli, const char *path,
              struct lm_error *err)
{
  const struct lm_repository_request open = { .read_only = true };
  CLEANUP_REPOSITORY struct lm_repository *repo =
    lm_cli_open_repository (cli, &open, NULL, err);
  struct lm_paper_key paper;
  char *page;
  size_t len;
  int r;

  if (repo == NULL)
    return -1;
  if (!lm_repository_encrypted (repo))
    return lm_error_set (err, LM_ERR_USAGE, "the repository is not "
                         "encrypted, so it has no keys");
  page = malloc (LM_PAPER_PAGE_MAX);
  if (page == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  r = fill_paper (cli, repo, &paper, err);
  if (r == 0) {
    len = lm_paper_page_make (&paper, lm_repository_store (repo)->location,
                              page);
    r = lm_key_write (path, page, len, err);
  }
  explicit_bzero (&paper, sizeof paper);
  explicit_bzero (page, LM_PAPER_PAGE_MAX);
  free (page);
  if (r == 0)
    lm_report_warning (cli, "whoever reads this page can read every backup; "
                       "print it, and leave no copy in a file");
  return r;
}

static int
run_key_export (struct lm_cli *cli, struct lm_error *err)
{
  const char *const *operands = (const char *const *) cli->args.operands;
  const int n = cli->args.nr_operands;

  if (lm_args_flag (&cli->args, "paper")) {
    if (n > 1)
      return lm_error_set (err, LM_ERR_USAGE, "key export --paper: '%.60s' "
                           "is too much: [FILE]", operands[1]);
    if (cli->json)
      return lm_error_set (err, LM_ERR_USAGE, "a paper key is a page of "
                           "text, not JSON");
    return export_paper (cli, n > 0 ? operands[0] : NULL, err);
  }
  if (lm_args_string (&cli->args, "secret"))
    return lm_error_set (err, LM_ERR_USAGE, "--secret belongs to --paper: "
                         "without that nothing leaves the store "
                         "unprotected");
  if (n == 0) {
    lm_error_set (err, LM_ERR_USAGE, "key export: which key slot?");
    return lm_error_hint (err, "'livemount key list' lists them");
  }
  return export_slot (cli, operands[0], n > 1 ? operands[1] : NULL, err);
}

const struct lm_command lm_cmd_key_export = {
  .name = "key export",
  .area = "Keys",
  .summary = "copy a key slot out of the store, or a key onto paper",
  .usage = "SLOT|--paper [FILE]",
  .description =
    "Without FILE to standard output. An exported slot is as protected as "
    "in the store: 'key import' puts it back, and whoever has its secret. "
    "--paper prints the secret itself.",
  .max_operands = 2,
  .completion = LM_COMPLETE_SLOT,
  .options = options,
  .run = run_key_export,
};
