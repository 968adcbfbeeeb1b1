/* SPDX-License-Identifier: Apache-2.0
 * `livemount diff A B`: what changed between two snapshots, from their
 * maps: equal subtrees are skipped, no data is read.
 */
#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "common/json.h"
#include "formats/native/disk-map.h"
#include "mount/commands.h"
#include "mount/open-repository.h"
#include "mount/report.h"
#include "mount/snapshot-json.h"
#include "mount/table.h"
#include "common/banned.h"

static const struct lm_option options[] = {
  { .name = "ranges", .help = "list every range that changed" },
  { .name = NULL }
};

static const struct lm_column columns[] = {
  { "name", "DISK", LM_COLUMN_TEXT },
  { "state", "STATE", LM_COLUMN_TEXT },
  { "changed", "CHANGED", LM_COLUMN_SIZE },
  { "nr_ranges", "RANGES", LM_COLUMN_NUMBER },
  { "size_a", "SIZE A", LM_COLUMN_SIZE },
  { "size_b", "SIZE B", LM_COLUMN_SIZE },
};

/* One side of the comparison. */
struct side {
  struct lm_snapshot *snapshot;
  char *disk;                   /* the one that was named, or NULL */
  char name[LM_SNAPSHOT_NAME_LEN];
};

static void
side_release (struct side *s)
{
  lm_snapshot_free (s->snapshot);
  free (s->disk);
}

static int
side_open (struct side *s, struct lm_repository *repo, const char *name,
           struct lm_error *err)
{
  const struct lm_snapshot_entry *entry =
    lm_repository_resolve (repo, name, &s->disk, err);

  if (entry == NULL)
    return -1;
  lm_cli_snapshot_name (entry->vm, entry->time, s->name);
  s->snapshot = lm_snapshot_open (repo, entry, err);
  return s->snapshot ? 0 : -1;
}

static const struct lm_snapshot_disk *
find (const struct lm_snapshot *s, const char *name)
{
  size_t i;

  for (i = 0; i < s->nr_disks; i++)
    if (strcmp (s->disks[i].name, name) == 0)
      return &s->disks[i];
  return NULL;
}

/* ---- one disk ---- */

struct ranges {
  uint64_t chunk_size, size;    /* bytes; the larger disk's */
  uint64_t start, end;          /* the current range; equal: none */
  uint64_t changed, n;
  json_t *list;                 /* NULL: only count */
};

static void
finish_range (struct ranges *r)
{
  if (r->start == r->end)
    return;
  r->n++;
  r->changed += r->end - r->start;
  if (r->list)
    json_array_append_new (r->list,
      json_pack ("[I,I]", (json_int_t) r->start,
                 (json_int_t) (r->end - r->start)));
  r->start = r->end;
}

static int
add_range (void *opaque, uint64_t chunk, uint64_t count,
           struct lm_error *err)
{
  struct ranges *r = opaque;
  uint64_t start = chunk * r->chunk_size;
  uint64_t end = lm_min_u64 (start + count * r->chunk_size, r->size);

  (void) err;
  if (start >= end)
    return 0;
  if (start != r->end) {
    finish_range (r);
    r->start = start;
  }
  r->end = end;
  return 0;
}

static struct lm_disk_map *
open_map (struct lm_repository *repo, const struct lm_snapshot_disk *d,
          const char *snapshot, struct lm_error *err)
{
  char what[LM_SNAPSHOT_NAME_LEN + 132];

  snprintf (what, sizeof what, "%s/%s", snapshot, d->name);
  return lm_disk_map_new (repo,
                          lm_div_up (d->size,
                                     lm_repository_chunk_size (repo)),
                          d->has_root ? d->root : NULL, what, err);
}

static json_t *
compare (struct lm_repository *repo, const struct side *a,
         const struct lm_snapshot_disk *da, const struct side *b,
         const struct lm_snapshot_disk *db, bool list, struct lm_error *err)
{
  struct ranges r = {
    .chunk_size = lm_repository_chunk_size (repo),
    .size = lm_max_u64 (da->size, db->size),
    .list = list ? json_array () : NULL,
  };
  struct lm_disk_map *ma = open_map (repo, da, a->name, err);
  struct lm_disk_map *mb = ma ? open_map (repo, db, b->name, err) : NULL;
  json_t *row = NULL;

  if (mb && lm_disk_map_diff (ma, mb, add_range, &r, err) == 0) {
    finish_range (&r);
    row = json_pack ("{s:s, s:s, s:I, s:I, s:I, s:I, s:O*}", "name",
                     db->name, "state", r.n == 0 && da->size == db->size
                     ? "equal" : "changed",
                     "changed", (json_int_t) r.changed,
                     "nr_ranges", (json_int_t) r.n,
                     "size_a", (json_int_t) da->size,
                     "size_b", (json_int_t) db->size, "ranges", r.list);
    if (row == NULL)
      lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  }
  lm_disk_map_free (ma);
  lm_disk_map_free (mb);
  json_decref (r.list);
  return row;
}

static json_t *
only_in (const struct lm_snapshot_disk *d, bool in_a)
{
  return json_pack ("{s:s, s:s, s:I}", "name", d->name, "state",
                    in_a ? "only in A" : "only in B",
                    in_a ? "size_a" : "size_b", (json_int_t) d->size);
}

/* ---- all ---- */

static int
add_row (json_t *rows, json_t *row)
{
  return row ? json_array_append_new (rows, row) : -1;
}

static int
compare_all (struct lm_repository *repo, const struct side *a,
             const struct side *b, bool list, json_t *rows,
             struct lm_error *err)
{
  size_t i;

  if (a->disk || b->disk) {
    const struct lm_snapshot_disk *da =
      lm_snapshot_find_disk (a->snapshot, a->disk ? a->disk : b->disk, err);
    const struct lm_snapshot_disk *db = da == NULL ? NULL :
      lm_snapshot_find_disk (b->snapshot, b->disk ? b->disk : a->disk, err);

    return db ? add_row (rows, compare (repo, a, da, b, db, list, err)) : -1;
  }
  for (i = 0; i < a->snapshot->nr_disks; i++) {
    const struct lm_snapshot_disk *da = &a->snapshot->disks[i];
    const struct lm_snapshot_disk *db = find (b->snapshot, da->name);

    if (add_row (rows, db ? compare (repo, a, da, b, db, list, err)
                          : only_in (da, true)) == -1)
      return -1;
  }
  for (i = 0; i < b->snapshot->nr_disks; i++)
    if (find (a->snapshot, b->snapshot->disks[i].name) == NULL &&
        add_row (rows, only_in (&b->snapshot->disks[i], false)) == -1)
      return -1;
  return 0;
}

static void
print_ranges (const json_t *rows)
{
  const json_t *row, *range;
  size_t i, j;

  json_array_foreach (rows, i, row)
    json_array_foreach (json_object_get (row, "ranges"), j, range)
      printf ("%s 0x%" PRIx64 " +%" PRIu64 "\n",
              lm_json_string_or_null (row, "name"),
              (uint64_t) json_integer_value (json_array_get (range, 0)),
              (uint64_t) json_integer_value (json_array_get (range, 1)));
}

static int
run_diff (struct lm_cli *cli, struct lm_error *err)
{
  const struct lm_repository_request open = { .read_only = true };
  CLEANUP_REPOSITORY struct lm_repository *repo = NULL;
  CLEANUP (side_release) struct side a = { .snapshot = NULL };
  CLEANUP (side_release) struct side b = { .snapshot = NULL };
  CLEANUP_JSON json_t *rows = json_array ();
  bool list = lm_args_flag (&cli->args, "ranges");

  repo = lm_cli_open_repository (cli, &open, NULL, err);
  if (repo == NULL ||
      side_open (&a, repo, cli->args.operands[0], err) == -1 ||
      side_open (&b, repo, cli->args.operands[1], err) == -1 ||
      compare_all (repo, &a, &b, list, rows, err) == -1)
    return -1;
  if (cli->json)
    return lm_report_json (json_pack ("{s:s, s:s, s:O}", "a", a.name, "b",
                                      b.name, "disks", rows), err);
  if (list) {
    print_ranges (rows);
    return 0;
  }
  return lm_table_print (cli, "disks", lm_steal (rows), columns,
                         sizeof columns / sizeof columns[0], "No disks.",
                         err);
}

const struct lm_command lm_cmd_diff = {
  .name = "diff",
  .area = "Repository",
  .summary = "say what changed between two snapshots",
  .usage = "SNAPSHOT[/DISK] SNAPSHOT[/DISK]",
  .description =
    "Compares chunk by chunk, so what is said to have changed is a whole "
    "number of chunks.",
  .min_operands = 2,
  .max_operands = 2,
  .completion = LM_COMPLETE_SNAPSHOT,
  .options = options,
  .run = run_diff,
};
