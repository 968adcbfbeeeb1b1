/* SPDX-License-Identifier: Apache-2.0
 *
 * `livemount prune`: forget what is older than the rules want kept.
 *
 * The plan is made from what the journal says now.  Should somebody pin,
 * protect or forget one of the snapshots before it is carried out, none of
 * it is, and a new plan is made.
 */
#include <config.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/duration.h"
#include "common/hex.h"
#include "common/random.h"
#include "common/timestamp.h"
#include "formats/native/forget.h"
#include "formats/native/pin.h"
#include "formats/native/retention.h"
#include "mount/commands.h"
#include "mount/open-repository.h"
#include "mount/report.h"
#include "mount/snapshot-json.h"
#include "mount/table.h"
#include "common/banned.h"

#define TRIES 5
#define KEEP_MAX 1000000000

static const struct lm_option options[] = {
  { .name = "keep-last", .argument = "N", .help = "keep the N newest" },
  { .name = "keep-hourly", .argument = "N",
    .help = "keep the newest of each of N hours" },
  { .name = "keep-daily", .argument = "N",
    .help = "keep the newest of each of N days" },
  { .name = "keep-weekly", .argument = "N",
    .help = "keep the newest of each of N weeks, from Monday on" },
  { .name = "keep-monthly", .argument = "N",
    .help = "keep the newest of each of N months" },
  { .name = "keep-yearly", .argument = "N",
    .help = "keep the newest of each of N years" },
  { .name = "keep-within", .argument = "DURATION",
    .help = "keep all that are not older than that: 36h, 30d, 8w, 6m, 1y" },
  { .name = "keep-tag", .argument = "TAG",
    .help = "keep all with this tag; can be repeated" },
  { .name = "dry-run", .letter = 'n',
    .help = "say what would stay, and why, and what would go" },
  { .name = NULL }
};

static const char *const period_options[LM_KEEP_PERIODS] = {
  [LM_KEEP_LAST] = "keep-last",
  [LM_KEEP_HOURLY] = "keep-hourly",
  [LM_KEEP_DAILY] = "keep-daily",
  [LM_KEEP_WEEKLY] = "keep-weekly",
  [LM_KEEP_MONTHLY] = "keep-monthly",
  [LM_KEEP_YEARLY] = "keep-yearly",
};

static const struct lm_column columns[] = {
  { "snapshot", "SNAPSHOT", LM_COLUMN_TEXT },
  { "action", "ACTION", LM_COLUMN_TEXT },
  { "reasons", "KEPT BY", LM_COLUMN_TEXT },
};

struct plan {
  struct lm_retention_rules rules;
  const char *const *tags;      /* borrowed */
  size_t nr_tags;

  struct lm_retention_item *items;
  size_t n;
  uint8_t (*ids)[LM_NAME_ID_LEN];       /* of those that go */
  size_t nr_ids;
};

static void
plan_release (struct plan *p)
{
  free (p->items);
  free (p->ids);
  p->items = NULL;
  p->ids = NULL;
  p->n = p->nr_ids = 0;
}

static int
parse_rules (const struct lm_args *args, struct plan *p,
             struct lm_error *err)
{
  const char *within = lm_args_string (args, "keep-within");
  bool any = within != NULL;
  size_t i;

  for (i = 0; i < LM_KEEP_PERIODS; i++) {
    if (lm_args_number (args, period_options[i], 1, KEEP_MAX,
                        &p->rules.keep[i], err) == -1)
      return -1;
    any |= p->rules.keep[i] > 0;
  }
  if (within &&
      lm_duration_parse (within, &p->rules.within, err) == -1)
    return lm_error_prefix (err, "--keep-within");
  p->tags = lm_args_list (args, "keep-tag", &p->nr_tags);
  if (any || p->nr_tags > 0)
    return 0;
  lm_error_set (err, LM_ERR_USAGE, "prune was not told what to keep");
  return lm_error_hint (err, "for example --keep-daily 7 --keep-weekly 4 "
                        "--keep-monthly 12, and --dry-run to see what that "
                        "does");
}

/* ---- the plan ---- */

static bool
is_wanted (const struct lm_args *args, const char *vm)
{
  int i;

  for (i = 0; i < args->nr_operands; i++)
    if (strcmp (args->operands[i], vm) == 0)
      return true;
  return args->nr_operands == 0;
}

static int
check_vms (const struct lm_args *args, const struct plan *p,
           struct lm_error *err)
{
  size_t j;
  int i;

  for (i = 0; i < args->nr_operands; i++) {
    for (j = 0; j < p->n; j++)
      if (strcmp (p->items[j].entry->vm, args->operands[i]) == 0)
        break;
    if (j == p->n)
      return lm_error_set (err, LM_ERR_NOT_FOUND, "there are no snapshots "
                           "of '%.128s'", args->operands[i]);
  }
  return 0;
}

static bool
has_tag (const struct lm_snapshot *s, const struct plan *p)
{
  size_t i, j;

  for (i = 0; i < s->nr_tags; i++)
    for (j = 0; j < p->nr_tags; j++)
      if (strcmp (s->tags[i], p->tags[j]) == 0)
        return true;
  return false;
}

/* What the tags are only the manifest says; one that can't be read may
 * have any. */
static int
read_tags (const struct lm_cli *cli, struct lm_repository *repo,
           struct plan *p, struct lm_error *err)
{
  size_t i;

  for (i = 0; i < p->n && p->nr_tags > 0; i++) {
    struct lm_error why = LM_ERROR_INIT;
    struct lm_snapshot *s = lm_snapshot_open (repo, p->items[i].entry, &why);

    if (s)
      p->items[i].has_tag = has_tag (s, p);
    else if (why.kind == LM_ERR_NOMEM) {
      *err = why;
      return -1;
    }
    else {
      lm_report_warning (cli, "%s", why.message);
      p->items[i].unreadable = true;
    }
    lm_snapshot_free (s);
  }
  return 0;
}

/* One that can't be read stops lm_forget_run; a dry run says so. */
static int
read_pins (const struct lm_cli *cli, struct lm_repository *repo,
           struct plan *p, struct lm_error *err)
{
  struct lm_pin_info *pins;
  size_t i, j, n, bad;

  if (lm_pin_list (repo, &pins, &n, &bad, err) == -1)
    return -1;
  if (bad > 0 && lm_args_flag (&cli->args, "dry-run"))
    lm_report_warning (cli, "%zu pins can't be read: nothing is forgotten "
                       "before they are removed ('livemount check' names "
                       "them)", bad);
  for (i = 0; i < p->n; i++)
    for (j = 0; j < n; j++)
      if (memcmp (pins[j].snapshot, p->items[i].entry->id,
                  LM_NAME_ID_LEN) == 0)
        p->items[i].is_pinned = true;
  lm_pin_infos_free (pins, n);
  return 0;
}

static int
make_plan (const struct lm_cli *cli, struct lm_repository *repo,
           struct plan *p, struct lm_error *err)
{
  const struct lm_snapshot_entry *entries;
  size_t i, n;

  plan_release (p);
  entries = lm_repository_snapshots (repo, &n);
  p->items = calloc (n + 1, sizeof *p->items);
  p->ids = calloc (n + 1, sizeof *p->ids);
  if (p->items == NULL || p->ids == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  for (i = 0; i < n; i++)
    if (is_wanted (&cli->args, entries[i].vm))
      p->items[p->n++].entry = &entries[i];
  if (check_vms (&cli->args, p, err) == -1 ||
      read_tags (cli, repo, p, err) == -1 ||
      read_pins (cli, repo, p, err) == -1)
    return -1;
  lm_retention_apply (&p->rules, lm_clock_now (), p->items, p->n);
  for (i = 0; i < p->n; i++)
    if (p->items[i].reasons == 0)
      memcpy (p->ids[p->nr_ids++], p->items[i].entry->id, LM_NAME_ID_LEN);
  return 0;
}

/* ---- for people and programs ---- */

static json_t *
item_to_json (const struct lm_retention_item *item)
{
  const struct lm_snapshot_entry *e = item->entry;
  char name[LM_SNAPSHOT_NAME_LEN], time[LM_TIMESTAMP_LEN + 1];
  char id[2 * LM_NAME_ID_LEN + 1];
  json_t *reasons = json_array ();
  unsigned i;

  for (i = 0; i < LM_STAYS_REASONS; i++)
    if (item->reasons & (1u << i))
      json_array_append_new (reasons,
                             json_string (lm_retention_reason_name (i)));
  lm_cli_snapshot_name (e->vm, e->time, name);
  lm_timestamp_format (e->time, time);
  lm_hex_encode (e->id, sizeof e->id, id);
  return json_pack ("{s:s, s:s, s:s, s:s, s:s, s:o}", "snapshot", name,
                    "id", id, "vm", e->vm, "time", time, "action",
                    item->reasons ? "keep" : "forget", "reasons", reasons);
}

/* All, or what goes and what only a pin keeps.  The names in the plan are
 * borrowed, so this comes before it is carried out. */
static json_t *
plan_to_json (const struct plan *p, bool all)
{
  json_t *rows = json_array ();
  size_t i;

  for (i = 0; i < p->n; i++)
    if (all || p->items[i].reasons == 0 ||
        p->items[i].reasons == LM_STAYS_PINNED)
      json_array_append_new (rows, item_to_json (&p->items[i]));
  return rows;
}

static int
print (const struct lm_cli *cli, const struct plan *p, bool dry_run,
       json_t *rows, struct lm_error *err)
{
  const size_t stay = p->n - p->nr_ids;

  if (cli->json)
    return lm_report_json (json_pack ("{s:b, s:I, s:I, s:O}", "dry_run",
                                      dry_run, "kept", (json_int_t) stay,
                                      "forgotten", (json_int_t) p->nr_ids,
                                      "snapshots", rows), err);
  if (json_array_size (rows) > 0 &&
      lm_table_print (cli, "snapshots", json_incref (rows), columns,
                      sizeof columns / sizeof columns[0], "", err) == -1)
    return -1;
  lm_report_note (cli, "%s: %zu, kept: %zu", dry_run
                  ? "snapshots that would be forgotten"
                  : "snapshots forgotten", p->nr_ids, stay);
  return 0;
}

/* Something about the snapshots changed since the plan was made? */
static bool
means_changed (const struct lm_error *err)
{
  return err->kind == LM_ERR_LOCKED || err->kind == LM_ERR_USAGE ||
    err->kind == LM_ERR_NOT_FOUND;
}

static int
run_prune (struct lm_cli *cli, struct lm_error *err)
{
  const bool dry_run = lm_args_flag (&cli->args, "dry-run");
  const bool all = dry_run || cli->json || cli->verbose;
  const struct lm_repository_request open = { .read_only = dry_run };
  CLEANUP_REPOSITORY struct lm_repository *repo = NULL;
  CLEANUP (plan_release) struct plan p = { .n = 0 };
  CLEANUP_JSON json_t *rows = NULL;
  int i, try;

  for (i = 0; i < cli->args.nr_operands; i++)
    if (lm_name_check ("VM", cli->args.operands[i], err) == -1)
      return -1;
  if (parse_rules (&cli->args, &p, err) == -1)
    return -1;
  repo = lm_cli_open_repository (cli, &open, NULL, err);
  if (repo == NULL)
    return -1;
  for (try = 1;; try++) {
    if (make_plan (cli, repo, &p, err) == -1)
      return -1;
    json_decref (rows);
    rows = plan_to_json (&p, all);
    if (dry_run || p.nr_ids == 0 ||
        lm_forget_run (repo, (const uint8_t (*)[LM_NAME_ID_LEN]) p.ids,
                       p.nr_ids, "prune", err) == 0)
      return print (cli, &p, dry_run, rows, err);
    if (!means_changed (err) || try == TRIES)
      return -1;
    lm_error_clear (err);
    if (lm_repository_load (repo, err) == -1)
      return -1;
  }
}

const struct lm_command lm_cmd_prune = {
  .name = "prune",
  .area = "Repository",
  .summary = "forget snapshots that are older than rules want kept",
  .usage = "[VM...]",
  .description =
    "For each VM by itself, or only those named. The rules are applied in "
    "the order last, hourly, daily, weekly, monthly, yearly; a period of "
    "which an earlier rule keeps a snapshot is passed over and does not "
    "count. Days, weeks and so on are those of this machine's time zone "
    "(TZ). Protected snapshots and those that a session stands on stay, and "
    "so does the newest of each VM.",
  .max_operands = -1,
  .completion = LM_COMPLETE_SNAPSHOT,
  .options = options,
  .run = run_prune,
};
