/* SPDX-License-Identifier: Apache-2.0
 * `livemount key test`: a drill, for people and for jobs.
 */
#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "formats/native/slot-change.h"
#include "formats/native/slot-test.h"
#include "mount/commands.h"
#include "mount/interrupt.h"
#include "mount/key-cli.h"
#include "mount/open-repository.h"
#include "mount/progress.h"
#include "mount/report.h"
#include "mount/table.h"
#include "common/banned.h"

struct work {
  const struct lm_cli *cli;
  struct lm_progress *progress;
  json_t *failed;
};

static void
on_failed (void *opaque, const char *snapshot, const char *disk,
           const struct lm_error *why)
{
  struct work *w = opaque;

  json_array_append_new (w->failed,
                         json_pack ("{s:s, s:s, s:s}", "snapshot", snapshot,
                                    "disk", disk, "message", why->message));
  if (w->cli->json)
    return;
  lm_progress_interrupt ();
  printf ("failed    %s %s: ", snapshot, disk);
  lm_print_text (why->message);
  putchar ('\n');
}

static void
on_progress (void *opaque, uint64_t done, uint64_t total)
{
  struct work *w = opaque;

  lm_progress_update (w->progress, done, total, "snapshots");
}

/* With the slot that was named and no other. */
static struct lm_repository *
open_with (struct lm_cli *cli, const char *name, struct lm_key_slot *ret_slot,
           struct lm_error *err)
{
  CLEANUP (lm_key_place_release)
    struct lm_key_place place = LM_KEY_PLACE_INIT;
  CLEANUP (lm_credentials_release)
    struct lm_credentials c = LM_CREDENTIALS_INIT;
  uint8_t master[LM_MASTER_KEY_LEN];
  const struct lm_key_slot *slot;
  struct lm_repository *repo;

  if (lm_key_place_open (cli, true, &place, err) == -1)
    return NULL;
  slot = lm_slot_find (place.slots, place.n, name, err);
  if (slot == NULL || lm_key_slot_ask (cli, slot, &c, master, err) == -1)
    return NULL;
  repo = lm_key_place_unlock (cli, &place, master, true, err);
  explicit_bzero (master, sizeof master);
  *ret_slot = *slot;
  return repo;
}

/* With whatever the credentials open. */
static struct lm_repository *
open_any (struct lm_cli *cli, struct lm_key_slot *ret_slot,
          struct lm_error *err)
{
  const struct lm_repository_request open = { .read_only = true };
  CLEANUP_REPOSITORY struct lm_repository *repo =
    lm_cli_open_repository (cli, &open, NULL, err);

  if (repo == NULL)
    return NULL;
  if (!lm_repository_encrypted (repo)) {
    lm_error_set (err, LM_ERR_USAGE, "the repository is not encrypted, so it "
                  "has no keys");
    return NULL;
  }
  if (lm_key_slot_read (lm_repository_store (repo),
                        lm_repository_slot_id (repo), ret_slot, err) == -1)
    return NULL;
  return lm_steal (repo);
}

static int
print_result (const struct work *w, const struct lm_key_slot *slot,
              const struct lm_slot_test_result *r, struct lm_error *err)
{
  char id[LM_SLOT_TEXT_LEN];

  if (w->cli->json)
    return lm_report_json (
      json_pack ("{s:o, s:I, s:I, s:I, s:O}", "slot",
                 lm_key_slot_json (slot),
                 "snapshots", (json_int_t) r->snapshots,
                 "disks", (json_int_t) r->disks,
                 "chunks", (json_int_t) r->chunks, "failed", w->failed),
      err);
  lm_key_slot_text (slot->id, id);
  printf ("opened    by key slot %s (%s)\n", id,
          lm_slot_kind_name (slot->kind));
  printf ("tried     %" PRIu64 " snapshots, %" PRIu64 " disks and files, %"
          PRIu64 " chunks decrypted\n", r->snapshots, r->disks, r->chunks);
  if (r->failed)
    printf ("FAILED    %" PRIu64 "; 'livemount check --read-data' says how "
            "much is damaged\n", r->failed);
  else
    puts ("every disk decrypts");
  return 0;
}

static int
run_key_test (struct lm_cli *cli, struct lm_error *err)
{
  CLEANUP_REPOSITORY struct lm_repository *repo = NULL;
  CLEANUP_JSON json_t *failed = json_array ();
  struct work w = { .cli = cli, .failed = failed };
  const struct lm_slot_test_params params = {
    .failed = on_failed, .progress = on_progress, .opaque = &w,
    .cancel = lm_interrupt_catch (),
  };
  struct lm_slot_test_result result;
  struct lm_key_slot slot;
  int r;

  repo = cli->args.nr_operands > 0
    ? open_with (cli, cli->args.operands[0], &slot, err)
    : open_any (cli, &slot, err);
  if (repo == NULL)
    return -1;
  w.progress = lm_progress_new (cli, "key test");
  r = lm_slot_test (repo, &params, &result, err);
  lm_progress_free (w.progress);
  if (r == -1 || print_result (&w, &slot, &result, err) == -1)
    return -1;
  return result.failed ? LM_EXIT_DAMAGE : LM_EXIT_OK;
}

const struct lm_command lm_cmd_key_test = {
  .name = "key test",
  .area = "Keys",
  .summary = "prove that a key slot opens the repository and its backups",
  .usage = "[SLOT]",
  .description =
    "Opens the repository with SLOT, or with any slot that the secret fits, "
    "and decrypts one chunk, chosen at random, of every disk of every "
    "snapshot. Exit code 12 says that the slot does not open, 4 that "
    "something does not decrypt.",
  .max_operands = 1,
  .completion = LM_COMPLETE_SLOT,
  .run = run_key_test,
};
