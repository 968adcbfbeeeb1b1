/* SPDX-License-Identifier: Apache-2.0
 * `livemount restore`: copy disks of a snapshot to files, devices, exports.
 */
#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "common/random.h"
#include "common/size.h"
#include "formats/disk-open.h"
#include "formats/target.h"
#include "mount/commands.h"
#include "mount/interrupt.h"
#include "mount/open-repository.h"
#include "mount/progress.h"
#include "mount/report.h"
#include "mount/restore-disk.h"
#include "mount/snapshot-json.h"
#include "common/banned.h"

static const struct lm_option options[] = {
  { .name = "overwrite",
    .help = "write over what a target holds; all of it is lost" },
  { .name = "verify",
    .help = "at the end read the targets and compare them" },
  { .name = "skip-damaged",
    .help = "restore all that can be read; the rest is zeros, and listed" },
  { .name = NULL }
};

struct item {
  const struct lm_snapshot_disk *disk;  /* borrowed from the manifest */
  const char *location;
  struct lm_disk *from;
  struct lm_target *to;
  struct lm_copy_progress done;
};

struct work {
  const struct lm_cli *cli;
  struct lm_snapshot *snapshot;
  char name[LM_SNAPSHOT_NAME_LEN];
  struct item items[LM_DISKS_MAX];
  size_t nr_items;
  struct lm_progress *progress;
  uint64_t total, before;       /* bytes: of all, of the disks done */
  const struct item *current;
  json_t *damaged;              /* an array, what could not be read */
};

static void
work_release (struct work *w)
{
  size_t i;

  lm_progress_free (w->progress);
  for (i = 0; i < w->nr_items; i++) {
    lm_target_close (w->items[i].to);
    lm_disk_close (w->items[i].from);
  }
  lm_snapshot_free (w->snapshot);
  json_decref (w->damaged);
}

/* ---- which disk goes where ---- */

static int
add_item (struct work *w, const struct lm_snapshot_disk *disk,
          const char *location, struct lm_error *err)
{
  size_t i;

  for (i = 0; i < w->nr_items; i++) {
    if (w->items[i].disk == disk)
      return lm_error_set (err, LM_ERR_USAGE, "disk '%s' was named twice",
                           disk->name);
    if (strcmp (w->items[i].location, location) == 0)
      return lm_error_set (err, LM_ERR_USAGE, "target '%.200s' was named "
                           "twice", location);
  }
  w->items[w->nr_items].disk = disk;
  w->items[w->nr_items++].location = location;
  return 0;
}

/* TARGETs without a name belong to the disks in their order, one each. */
static int
assign (struct work *w, const char *only, char **targets, size_t n,
        struct lm_error *err)
{
  size_t i, unnamed = 0, expected = only ? 1 : w->snapshot->nr_disks;

  if (n > expected)
    return lm_error_set (err, LM_ERR_USAGE, "%zu targets, but %s has %zu "
                         "disk%s%s", n, w->name, expected,
                         expected == 1 ? "" : "s",
                         only ? " when one is named" : "");
  for (i = 0; i < n; i++) {
    CLEANUP_FREE char *name = NULL;
    const struct lm_snapshot_disk *disk;
    const char *location;

    if (lm_args_split (targets[i], &name, &location, err) == -1)
      return -1;
    unnamed += name == NULL;
    if (name || only) {
      disk = lm_snapshot_find_disk (w->snapshot, name ? name : only, err);
      if (disk == NULL)
        return -1;
      if (only && name && strcmp (only, name) != 0)
        return lm_error_set (err, LM_ERR_USAGE, "two disks are named: '%s' "
                             "and '%s'", only, name);
    }
    else
      disk = &w->snapshot->disks[i];
    if (add_item (w, disk, location, err) == -1)
      return -1;
  }
  if (!only && unnamed > 0 && (unnamed != n || n != expected)) {
    lm_error_set (err, LM_ERR_USAGE, "%s has %zu disks: say which goes "
                  "where", w->name, expected);
    return lm_error_hint (err, "DISK=TARGET for each that is wanted, or one "
                          "TARGET for every disk");
  }
  return 0;
}

/* All are opened before the first byte is written. */
static int
open_all (struct work *w, struct lm_repository *repo, struct lm_error *err)
{
  const struct lm_target_options o = {
    .overwrite = lm_args_flag (&w->cli->args, "overwrite"),
  };
  size_t i;

  for (i = 0; i < w->nr_items; i++) {
    struct item *item = &w->items[i];
    char what[LM_SNAPSHOT_NAME_LEN + 132];

    snprintf (what, sizeof what, "%s/%s", w->name, item->disk->name);
    item->from = lm_snapshot_disk_open (repo, item->disk->size,
                                        item->disk->has_root
                                        ? item->disk->root : NULL, what,
                                        err);
    if (item->from == NULL)
      return -1;
    if (lm_target_open (item->location, item->disk->size, &o, &item->to,
                        err) == -1) {
      if (err->kind == LM_ERR_EXISTS && !err->hint[0])
        lm_error_hint (err, "--overwrite writes over it");
      return -1;
    }
    w->total += item->disk->size;
  }
  return 0;
}

/* ---- the work ---- */

static void
on_progress (void *opaque, const struct lm_copy_progress *p)
{
  struct work *w = opaque;

  lm_progress_update (w->progress, w->before + p->data + p->zero +
                      p->damaged, w->total, NULL);
}

static void
on_damaged (void *opaque, uint64_t offset, uint64_t len)
{
  struct work *w = opaque;
  const char *disk = w->current->disk->name;

  json_array_append_new (w->damaged,
                         json_pack ("{s:s, s:I, s:I}", "disk", disk,
                                    "offset", (json_int_t) offset,
                                    "length", (json_int_t) len));
  if (!w->cli->json)
    lm_report_warning (w->cli, "%s/%s: %" PRIu64 " bytes at 0x%" PRIx64
                       " can't be read, and are zeros in the target",
                       w->name, disk, len, offset);
}

static int
restore_all (struct work *w, bool skip_damaged, struct lm_error *err)
{
  const struct lm_copy_params params = {
    .progress = on_progress, .damaged = skip_damaged ? on_damaged : NULL,
    .opaque = w, .cancel = lm_interrupt_catch (),
  };
  size_t i;

  w->progress = lm_progress_new (w->cli, "restore");
  for (i = 0; i < w->nr_items; i++) {
    struct item *item = &w->items[i];

    w->current = item;
    if (lm_copy_disk (item->from, item->to, &params, &item->done, err) == -1
        || lm_target_finish (item->to, err) == -1)
      return lm_error_prefix (err, "restore %s/%s", w->name,
                              item->disk->name);
    w->before += item->disk->size;
  }
  lm_progress_free (w->progress);
  w->progress = NULL;
  return 0;
}

/* They were listed when the target was written. */
static void
ignore_damaged (void *opaque, uint64_t offset, uint64_t len)
{
  (void) opaque;
  (void) offset;
  (void) len;
}

static int
verify_all (struct work *w, bool skip_damaged, struct lm_error *err)
{
  const struct lm_disk_open_options o = { .read_holes = true };
  const struct lm_copy_params params = {
    .progress = on_progress,
    .damaged = skip_damaged ? ignore_damaged : NULL,
    .opaque = w, .cancel = lm_interrupt_catch (),
  };
  struct lm_copy_progress done;
  size_t i;

  w->before = 0;
  w->progress = lm_progress_new (w->cli, "verify");
  for (i = 0; i < w->nr_items; i++) {
    struct item *item = &w->items[i];
    CLEANUP_DISK struct lm_disk *disk = NULL;

    /* Its lock would be in the way. */
    lm_target_close (item->to);
    item->to = NULL;
    disk = lm_disk_open (item->location, &o, err);
    if (disk == NULL ||
        lm_compare_disks (item->from, disk, &params, &done, err) == -1)
      return lm_error_prefix (err, "verify %s", item->location);
    w->before += item->disk->size;
  }
  lm_progress_free (w->progress);
  w->progress = NULL;
  return 0;
}

static int
print_result (const struct work *w, double seconds, bool verified,
              struct lm_error *err)
{
  CLEANUP_JSON json_t *disks = json_array ();
  size_t i;

  for (i = 0; i < w->nr_items; i++) {
    const struct item *item = &w->items[i];
    char size[LM_SIZE_LEN], data[LM_SIZE_LEN];

    json_array_append_new (disks,
      json_pack ("{s:s, s:o, s:I, s:I, s:I, s:I}",
                 "name", item->disk->name,
                 "target", lm_json_text (item->location),
                 "size", (json_int_t) item->disk->size,
                 "data", (json_int_t) item->done.data,
                 "zero", (json_int_t) item->done.zero,
                 "damaged", (json_int_t) item->done.damaged));
    if (w->cli->json || w->cli->quiet)
      continue;
    lm_size_format (item->disk->size, size);
    lm_size_format (item->done.data, data);
    printf ("%s/%s to %s: %s, of which %s is data\n", w->name,
            item->disk->name, item->location, size, data);
  }
  if (w->cli->json)
    return lm_report_json (json_pack ("{s:s, s:f, s:b, s:O, s:O}",
                                      "snapshot", w->name,
                                      "seconds", seconds,
                                      "verified", verified, "disks", disks,
                                      "damaged", w->damaged), err);
  if (!w->cli->quiet)
    printf ("done in %.1f s%s\n", seconds, verified ? ", verified" : "");
  return 0;
}

static int
run_restore (struct lm_cli *cli, struct lm_error *err)
{
  const struct lm_repository_request open = { .read_only = true };
  bool verify = lm_args_flag (&cli->args, "verify");
  bool skip = lm_args_flag (&cli->args, "skip-damaged");
  uint64_t start = lm_clock_monotonic ();
  CLEANUP_REPOSITORY struct lm_repository *repo = NULL;
  CLEANUP (work_release) struct work w = {
    .cli = cli, .damaged = json_array (),
  };
  const struct lm_snapshot_entry *entry;
  CLEANUP_FREE char *only = NULL;

  repo = lm_cli_open_repository (cli, &open, NULL, err);
  if (repo == NULL)
    return -1;
  entry = lm_repository_resolve (repo, cli->args.operands[0], &only, err);
  if (entry == NULL)
    return -1;
  lm_cli_snapshot_name (entry->vm, entry->time, w.name);
  w.snapshot = lm_snapshot_open (repo, entry, err);
  if (w.snapshot == NULL ||
      assign (&w, only, cli->args.operands + 1, cli->args.nr_operands - 1,
              err) == -1 ||
      open_all (&w, repo, err) == -1 ||
      restore_all (&w, skip, err) == -1 ||
      (verify && verify_all (&w, skip, err) == -1) ||
      print_result (&w, (lm_clock_monotonic () - start) / 1e9, verify,
                    err) == -1)
    return -1;
  return json_array_size (w.damaged) > 0 ? LM_EXIT_PARTIAL : LM_EXIT_OK;
}

const struct lm_command lm_cmd_restore = {
  .name = "restore",
  .area = "Repository",
  .summary = "copy disks of a snapshot to files, block devices or NBD exports",
  .usage = "SNAPSHOT[/DISK] [DISK=]TARGET...",
  .description =
    "A TARGET that does not exist becomes a sparse file. One that holds "
    "data, is in use or is too small is refused. Every chunk is "
    "authenticated before it is written, and the first that is damaged ends "
    "it, unless --skip-damaged says to go on; then the exit code is 3.",
  .min_operands = 2,
  .max_operands = -1,
  .completion = LM_COMPLETE_SNAPSHOT,
  .options = options,
  .run = run_restore,
};
