/* SPDX-License-Identifier: Apache-2.0
 * `livemount key remove`: a secret that no longer opens the repository.
 */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/hex.h"
#include "formats/native/slot-change.h"
#include "mount/commands.h"
#include "mount/key-cli.h"
#include "mount/open-repository.h"
#include "mount/report.h"
#include "common/banned.h"

static const struct lm_option options[] = {
  { .name = "escrow-only",
    .help = "also when only escrow slots are left, whose keys are offline" },
  { .name = "yes", .letter = 'y', .help = "do not ask" },
  { .name = NULL }
};

/* A damaged slot is in no list: its whole id names it. */
static int
find (struct lm_repository *repo, const char *name,
      struct lm_key_slot *ret_slot, struct lm_error *err)
{
  CLEANUP_FREE struct lm_key_slot *slots = NULL;
  struct lm_key_slot bare = { .kind = LM_SLOT_UNKNOWN };
  const struct lm_key_slot *slot;
  size_t n;

  if (lm_key_slots_list (lm_repository_store (repo), lm_repository_id (repo),
                         &slots, &n, NULL, err) == -1)
    return -1;
  slot = lm_slot_find (slots, n, name, err);
  if (slot == NULL) {
    if (err->kind != LM_ERR_NOT_FOUND ||
        lm_hex_decode (name, bare.id, sizeof bare.id) == -1)
      return -1;
    lm_error_clear (err);
    slot = &bare;
  }
  *ret_slot = *slot;
  return 0;
}

static int
confirm (const struct lm_cli *cli, const char *id,
         const struct lm_key_slot *slot, struct lm_error *err)
{
  char question[128];
  int r;

  if (lm_args_flag (&cli->args, "yes"))
    return 0;
  snprintf (question, sizeof question, "remove key slot %s (%s)?", id,
            lm_slot_kind_name (slot->kind));
  r = lm_report_confirm (cli, question, err);
  if (r == 0)
    lm_error_set (err, LM_ERR_USAGE, "key slot %s is left as it is", id);
  return r == 1 ? 0 : -1;
}

static int
print_result (const struct lm_cli *cli, const char *id,
              const struct lm_slots_left *left, struct lm_error *err)
{
  if (left->daily == 0)
    lm_report_warning (cli, "only escrow key slots are left: whoever needs a "
                       "backup needs the private key that is kept offline");
  if (cli->json)
    return lm_report_json (json_pack ("{s:s, s:{s:I, s:I}}", "removed", id,
                                      "left",
                                      "daily", (json_int_t) left->daily,
                                      "escrow", (json_int_t) left->escrow),
                           err);
  lm_report_note (cli, "Key slot %s is removed. Whoever kept the master key, "
                  "or a copy of the slot and its secret, can still read "
                  "what they can reach.", id);
  return 0;
}

static int
run_key_remove (struct lm_cli *cli, struct lm_error *err)
{
  const struct lm_repository_request open = { .read_only = false };
  CLEANUP_REPOSITORY struct lm_repository *repo =
    lm_cli_open_repository (cli, &open, NULL, err);
  struct lm_slots_left left;
  struct lm_key_slot slot;
  char id[LM_SLOT_TEXT_LEN];

  if (repo == NULL || find (repo, cli->args.operands[0], &slot, err) == -1)
    return -1;
  lm_key_slot_text (slot.id, id);
  if (confirm (cli, id, &slot, err) == -1)
    return -1;
  if (lm_slot_remove (repo, slot.id,
                      lm_args_flag (&cli->args, "escrow-only"), "key remove",
                      &left, err) == -1)
    return lm_error_prefix (err, "key slot %s", id);
  return print_result (cli, id, &left, err);
}

const struct lm_command lm_cmd_key_remove = {
  .name = "key remove",
  .area = "Keys",
  .summary = "remove a key slot: its secret opens the repository no more",
  .usage = "SLOT",
  .description =
    "SLOT is an id, enough of its beginning, or a label; a damaged slot needs "
    "the whole id. The last slot can't be removed.",
  .min_operands = 1,
  .max_operands = 1,
  .completion = LM_COMPLETE_SLOT,
  .options = options,
  .run = run_key_remove,
};
