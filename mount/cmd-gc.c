/* SPDX-License-Identifier: Apache-2.0
 * `livemount gc`: give back what no snapshot needs.
 */
#include <config.h>

#include <inttypes.h>
#include <stdio.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "common/size.h"
#include "formats/native/gc.h"
#include "mount/commands.h"
#include "mount/interrupt.h"
#include "mount/open-repository.h"
#include "mount/progress.h"
#include "mount/report.h"
#include "common/banned.h"

static const struct lm_option options[] = {
  { .name = "dry-run", .letter = 'n',
    .help = "only say what would be done" },
  { .name = "max-unused", .argument = "PERCENT",
    .help = "copy partly unused packs together while more than this part of "
            "what is stored is unused (default 10)" },
  { .name = "wait",
    .help = "wait for running backups to end, rather than leave to the next "
            "collection what they may still use" },
  { .name = NULL }
};

static void
on_progress (void *opaque, const char *phase, uint64_t done, uint64_t total)
{
  lm_progress_update (opaque, done, total, phase);
}

static json_t *
count_to_json (const struct lm_gc_count *c)
{
  return json_pack ("{s:I, s:I}", "packs", (json_int_t) c->packs, "bytes",
                    (json_int_t) c->bytes);
}

static int
print_json (const struct lm_gc_params *params, const struct lm_gc_result *r,
            struct lm_error *err)
{
  return lm_report_json (
    json_pack ("{s:b, s:I, s:I, s:I, s:I, s:I, s:f, s:o, s:I, s:I, s:o, s:o,"
               " s:o, s:I, s:o, s:o, s:I, s:I, s:I}",
               "dry_run", params->dry_run,
               "snapshots", (json_int_t) r->snapshots,
               "pinned", (json_int_t) r->pinned,
               "nodes", (json_int_t) r->nodes,
               "node_bytes", (json_int_t) r->node_bytes,
               "references", (json_int_t) r->references,
               "mark_seconds", r->mark_seconds,
               "stored", count_to_json (&r->stored),
               "live_bytes", (json_int_t) r->live_bytes,
               "missing", (json_int_t) r->missing,
               "condemned", count_to_json (&r->condemned),
               "spared", count_to_json (&r->spared),
               "repacked", count_to_json (&r->repacked),
               "copied", (json_int_t) r->copied,
               "deleted", count_to_json (&r->deleted),
               "waiting", count_to_json (&r->waiting),
               "blockers", (json_int_t) r->blockers,
               "objects", (json_int_t) r->objects,
               "damaged", (json_int_t) r->damaged), err);
}

static void
print_count (const char *what, const struct lm_gc_count *c)
{
  char size[LM_SIZE_LEN];

  if (c->packs == 0)
    return;
  lm_size_format (c->bytes, size);
  printf ("%-9s %s in %" PRIu64 " pack%s\n", what, size, c->packs,
          c->packs == 1 ? "" : "s");
}

static void
print_text (const struct lm_gc_params *params, const struct lm_gc_result *r)
{
  bool dry = params->dry_run;
  char a[LM_SIZE_LEN], b[LM_SIZE_LEN];

  lm_size_format (r->stored.bytes, a);
  lm_size_format (r->live_bytes, b);
  printf ("marked    %" PRIu64 " references of %" PRIu64 " snapshots in "
          "%.1f s: %s of %s are needed\n", r->references, r->snapshots,
          r->mark_seconds, b, a);
  if (r->repacked.packs > 0) {
    lm_size_format (r->copied, a);
    lm_size_format (r->repacked.bytes, b);
    printf ("%s %s that are needed from %" PRIu64 " packs of %s\n",
            dry ? "would copy" : "copied   ", a, r->repacked.packs, b);
  }
  if (dry)
    print_count ("would free", &r->condemned);
  print_count ("deleted", &r->deleted);
  print_count ("waiting", &r->waiting);
  if (!dry && r->waiting.packs > 0)
    printf ("          for %s; the next 'gc' deletes them\n", r->blockers > 0
            ? "running operations, which may still use them ('leases')"
            : "mounts, which may still read what was just moved");
}

/* What a person should look into. */
static int
warn (const struct lm_cli *cli, const struct lm_gc_result *r)
{
  if (r->missing > 0)
    lm_report_warning (cli, "%" PRIu64 " chunks that snapshots need are "
                       "stored nowhere: see 'check'", r->missing);
  if (r->damaged > 0)
    lm_report_warning (cli, "%" PRIu64 " packs are damaged and were left as "
                       "they are: see 'check --read-data'", r->damaged);
  return r->missing + r->damaged > 0 ? LM_EXIT_DAMAGE : LM_EXIT_OK;
}

static int
run_gc (struct lm_cli *cli, struct lm_error *err)
{
  bool dry_run = lm_args_flag (&cli->args, "dry-run");
  const struct lm_repository_request open = { .read_only = dry_run };
  CLEANUP_REPOSITORY struct lm_repository *repo = NULL;
  uint64_t max_unused = LM_GC_MAX_UNUSED;
  struct lm_gc_params params = {
    .dry_run = dry_run, .wait = lm_args_flag (&cli->args, "wait"),
    .progress = on_progress, .cancel = lm_interrupt_catch (),
  };
  struct lm_gc_result result;
  struct lm_progress *progress;
  int r;

  if (lm_args_number (&cli->args, "max-unused", 0, 100, &max_unused,
                      err) == -1)
    return -1;
  params.max_unused = max_unused;
  repo = lm_cli_open_repository (cli, &open, NULL, err);
  if (repo == NULL)
    return -1;
  params.opaque = progress = lm_progress_new (cli, "gc");
  r = lm_gc_run (repo, &params, &result, err);
  lm_progress_free (progress);
  if (r == -1)
    return -1;
  if (cli->json) {
    if (print_json (&params, &result, err) == -1)
      return -1;
  }
  else if (!cli->quiet)
    print_text (&params, &result);
  return warn (cli, &result);
}

const struct lm_command lm_cmd_gc = {
  .name = "gc",
  .area = "Repository",
  .summary = "give back the room of what no snapshot needs any more",
  .usage = "",
  .description =
    "'forget' and 'prune' only take snapshots away; this deletes the packs "
    "that nothing refers to, and copies together what is needed of packs "
    "that are mostly unused. It may run beside backups, mounts and other "
    "collections, and may be interrupted at any time.",
  .options = options,
  .run = run_gc,
};
