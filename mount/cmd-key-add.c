/* SPDX-License-Identifier: Apache-2.0
 * `livemount key add` and `key passwd`: new key slots.
 */
#include <config.h>

#include "common/cleanup.h"
#include "formats/native/slot-change.h"
#include "mount/commands.h"
#include "mount/key-cli.h"
#include "mount/open-repository.h"
#include "mount/report.h"
#include "common/banned.h"

static const struct lm_option add_options[] = {
  LM_NEW_SECRET_OPTIONS,
  { .name = "escrow", .argument = "PUBLIC-KEY-FILE",
    .help = "an escrow slot: only the private half of this X25519 key (PEM) "
            "opens it", .completion = LM_COMPLETE_FILE },
  { .name = "label", .argument = "TEXT",
    .help = "what the slot is for, or whose it is" },
  { .name = NULL }
};

static const struct lm_option passwd_options[] = {
  LM_NEW_SECRET_OPTIONS,
  { .name = NULL }
};

static const char *
label_or (const struct lm_cli *cli, const char *otherwise)
{
  const char *label = lm_args_string (&cli->args, "label");

  return label ? label : otherwise;
}

static int
print_slot (const struct lm_cli *cli, const struct lm_key_slot *slot,
            const char *new_key_file, const char *verb, struct lm_error *err)
{
  char id[LM_SLOT_TEXT_LEN];

  if (cli->json)
    return lm_report_json (json_pack ("{s:o, s:s*}", "slot",
                                      lm_key_slot_json (slot),
                                      "new_key_file", new_key_file), err);
  lm_key_slot_text (slot->id, id);
  lm_report_note (cli, "Key slot %s (%s) is %s.", id,
                  lm_slot_kind_name (slot->kind), verb);
  return 0;
}

static int
run_key_add (struct lm_cli *cli, struct lm_error *err)
{
  const struct lm_repository_request open = { .read_only = false };
  const char *escrow = lm_args_string (&cli->args, "escrow");
  CLEANUP_REPOSITORY struct lm_repository *repo =
    lm_cli_open_repository (cli, &open, NULL, err);
  CLEANUP (lm_new_secret_release)
    struct lm_new_secret secret = LM_NEW_SECRET_INIT;
  struct lm_key_slot slot;

  if (repo == NULL)
    return -1;
  if (!lm_repository_encrypted (repo))
    return lm_error_set (err, LM_ERR_USAGE, "the repository is not "
                         "encrypted, so it has no keys");
  if (lm_new_secret_get (cli, escrow, &secret, err) == -1 ||
      lm_new_secret_add (cli, repo, &secret, label_or (cli, ""), "key add",
                         &slot, err) == -1)
    return -1;
  if (escrow)
    lm_report_note (cli, "Try it with 'livemount key test --escrow-key FILE' "
                    "where the private half is.");
  return print_slot (cli, &slot, secret.made, "added", err);
}

const struct lm_command lm_cmd_key_add = {
  .name = "key add",
  .area = "Keys",
  .summary = "add a key slot: another secret that opens the repository",
  .usage = "",
  .description =
    "Asks for a new passphrase, twice, unless an option says otherwise. The "
    "backups are not touched.",
  .options = add_options,
  .run = run_key_add,
};

/* The slot that was named, or the one that opened the repository. */
static int
old_slot (const struct lm_cli *cli, struct lm_repository *repo,
          struct lm_key_slot *ret_slot, struct lm_error *err)
{
  CLEANUP_FREE struct lm_key_slot *slots = NULL;
  const struct lm_key_slot *slot;
  size_t n;

  if (cli->args.nr_operands == 0)
    return lm_key_slot_read (lm_repository_store (repo),
                             lm_repository_slot_id (repo), ret_slot, err);
  if (lm_key_slots_list (lm_repository_store (repo), lm_repository_id (repo),
                         &slots, &n, NULL, err) == -1)
    return -1;
  slot = lm_slot_find (slots, n, cli->args.operands[0], err);
  if (slot == NULL)
    return -1;
  *ret_slot = *slot;
  return 0;
}

static int
replace (const struct lm_cli *cli, struct lm_repository *repo,
         const struct lm_key_slot *old, const struct lm_new_secret *secret,
         struct lm_key_slot *slot, struct lm_error *err)
{
  struct lm_slots_left left;
  char id[LM_SLOT_TEXT_LEN];

  if (lm_new_secret_add (cli, repo, secret, old->label, "key passwd", slot,
                         err) == -1)
    return -1;
  if (lm_slot_remove (repo, old->id, false, "key passwd", &left, err) == 0)
    return 0;
  lm_key_slot_text (old->id, id);
  return lm_error_prefix (err, "the new secret opens the repository, but the "
                          "old one (key slot %s) is not removed", id);
}

static int
run_key_passwd (struct lm_cli *cli, struct lm_error *err)
{
  const struct lm_repository_request open = { .read_only = false };
  CLEANUP_REPOSITORY struct lm_repository *repo =
    lm_cli_open_repository (cli, &open, NULL, err);
  CLEANUP (lm_new_secret_release)
    struct lm_new_secret secret = LM_NEW_SECRET_INIT;
  struct lm_key_slot old, slot;

  if (repo == NULL)
    return -1;
  if (!lm_repository_encrypted (repo))
    return lm_error_set (err, LM_ERR_USAGE, "the repository is not "
                         "encrypted, so it has no keys");
  if (old_slot (cli, repo, &old, err) == -1)
    return -1;
  if (old.kind != LM_SLOT_PASSPHRASE && old.kind != LM_SLOT_KEY_FILE) {
    lm_error_set (err, LM_ERR_USAGE, "a key slot of kind '%s' has no "
                  "passphrase", lm_slot_kind_name (old.kind));
    return lm_error_hint (err, "'livemount key add' and then 'key remove' "
                          "replace it");
  }
  if (lm_new_secret_get (cli, NULL, &secret, err) == -1 ||
      replace (cli, repo, &old, &secret, &slot, err) == -1)
    return -1;
  return print_slot (cli, &slot, secret.made, "in place of the old one",
                     err);
}

const struct lm_command lm_cmd_key_passwd = {
  .name = "key passwd",
  .area = "Keys",
  .summary = "give a key slot another passphrase or key file",
  .usage = "[SLOT]",
  .description =
    "Without SLOT it is the one that opened the repository. The new slot is "
    "made first, and tried; then the old one is removed.",
  .max_operands = 1,
  .completion = LM_COMPLETE_SLOT,
  .options = passwd_options,
  .run = run_key_passwd,
};
