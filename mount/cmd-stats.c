/* SPDX-License-Identifier: Apache-2.0
 * `livemount stats`: what is in the repository, and what it takes.
 */
#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "common/size.h"
#include "mount/commands.h"
#include "mount/open-repository.h"
#include "mount/report.h"
#include "mount/table.h"
#include "common/banned.h"

/* The folders of a store (native.md section 2). */
static const char *const kinds[] = {
  "packs", "index", "journal", "checkpoints", "snapshots", "keys",
  "keyring", "leases", "pins", "states", "traces",
};
#define NR_KINDS (sizeof kinds / sizeof kinds[0])

static const struct lm_column vm_columns[] = {
  { "vm", "VM", LM_COLUMN_TEXT },
  { "snapshots", "SNAPSHOTS", LM_COLUMN_NUMBER },
  { "size", "DISKS", LM_COLUMN_SIZE },
  { "read", "READ", LM_COLUMN_SIZE },
  { "stored", "STORED", LM_COLUMN_SIZE },
};

static const struct lm_column kind_columns[] = {
  { "kind", "OBJECTS", LM_COLUMN_TEXT },
  { "count", "NUMBER", LM_COLUMN_NUMBER },
  { "bytes", "BYTES", LM_COLUMN_SIZE },
};

struct count {
  uint64_t n, bytes;
};

static int
count_object (void *opaque, const char *name, uint64_t size,
              struct lm_error *err)
{
  struct count *c = opaque;

  (void) name;
  (void) err;
  c->n++;
  c->bytes += size;
  return 0;
}

static int
count_objects (struct lm_repository *repo, json_t *rows, uint64_t *total,
               struct lm_error *err)
{
  size_t i;

  for (i = 0; i < NR_KINDS; i++) {
    struct count c = { 0, 0 };

    if (lm_store_list (lm_repository_store (repo), kinds[i], count_object,
                       &c, err) == -1)
      return -1;
    *total += c.bytes;
    if (c.n > 0)
      json_array_append_new (rows,
        json_pack ("{s:s, s:I, s:I}", "kind", kinds[i],
                   "count", (json_int_t) c.n, "bytes",
                   (json_int_t) c.bytes));
  }
  return 0;
}

static void
add_to (json_t *row, const char *key, uint64_t n)
{
  json_object_set_new (row, key,
    json_integer (json_integer_value (json_object_get (row, key)) + n));
}

static json_t *
row_of (json_t *rows, const char *vm)
{
  json_t *row;
  size_t i;

  json_array_foreach (rows, i, row)
    if (strcmp (lm_json_string_or_null (row, "vm"), vm) == 0)
      return row;
  json_array_append_new (rows,
    json_pack ("{s:s, s:i, s:i, s:i, s:i}", "vm", vm, "snapshots", 0,
               "size", 0, "read", 0, "stored", 0));
  return json_array_get (rows, json_array_size (rows) - 1);
}

/* Adds up every snapshot's manifest.  A damaged one is left out, and
 * said. */
static int
count_snapshots (const struct lm_cli *cli, struct lm_repository *repo,
                 json_t *rows, uint64_t *logical)
{
  const struct lm_snapshot_entry *entries;
  size_t i, j, n;
  int code = 0;

  entries = lm_repository_snapshots (repo, &n);
  for (i = 0; i < n; i++) {
    struct lm_error err = LM_ERROR_INIT;
    struct lm_snapshot *s = lm_snapshot_open (repo, &entries[i], &err);
    json_t *row = row_of (rows, entries[i].vm);

    add_to (row, "snapshots", 1);
    if (s == NULL) {
      lm_report_warning (cli, "%s", err.message);
      code = LM_EXIT_DAMAGE;
      continue;
    }
    for (j = 0; j < s->nr_disks; j++) {
      add_to (row, "size", s->disks[j].size);
      *logical += s->disks[j].size;
    }
    add_to (row, "read", s->statistics.read);
    add_to (row, "stored", s->statistics.stored);
    lm_snapshot_free (s);
  }
  return code;
}

static int
run_stats (struct lm_cli *cli, struct lm_error *err)
{
  const struct lm_repository_request open = { .read_only = true };
  CLEANUP_REPOSITORY struct lm_repository *repo =
    lm_cli_open_repository (cli, &open, NULL, err);
  CLEANUP_JSON json_t *vms = json_array (), *objects = json_array ();
  uint64_t logical = 0, stored = 0;
  char a[LM_SIZE_LEN], b[LM_SIZE_LEN];
  double ratio;
  int code;

  if (repo == NULL)
    return -1;
  code = count_snapshots (cli, repo, vms, &logical);
  if (count_objects (repo, objects, &stored, err) == -1)
    return -1;
  ratio = stored ? (double) logical / stored : 0;
  if (cli->json)
    return lm_report_json (
      json_pack ("{s:I, s:I, s:f, s:i, s:b, s:O, s:O}", "logical",
                 (json_int_t) logical, "stored", (json_int_t) stored,
                 "ratio", ratio, "chunk_size",
                 (int) lm_repository_chunk_size (repo), "encrypted",
                 lm_repository_encrypted (repo), "vms", vms, "objects",
                 objects), err) == -1 ? -1 : code;
  lm_size_format (logical, a);
  lm_size_format (stored, b);
  printf ("disks of all snapshots %s, stored %s, ratio %.1f\n\n", a, b,
          ratio);
  if (json_array_size (vms) > 0) {
    if (lm_table_print (cli, "vms", json_incref (vms), vm_columns,
                        sizeof vm_columns / sizeof vm_columns[0], "", err)
        == -1)
      return -1;
    putchar ('\n');
  }
  if (lm_table_print (cli, "objects", json_incref (objects), kind_columns,
                      sizeof kind_columns / sizeof kind_columns[0], "", err)
      == -1)
    return -1;
  return code;
}

const struct lm_command lm_cmd_stats = {
  .name = "stats",
  .area = "Repository",
  .summary = "say how much the repository holds, and what it takes",
  .usage = "",
  .description =
    "READ and STORED add up what the backups of a VM read and what they "
    "added; a chunk that several share counts where it was stored first.",
  .run = run_stats,
};
