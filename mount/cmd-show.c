/* SPDX-License-Identifier: Apache-2.0
 * `livemount show`: all about one snapshot, and the files stored with it.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "common/size.h"
#include "mount/commands.h"
#include "mount/open-repository.h"
#include "mount/report.h"
#include "mount/snapshot-json.h"
#include "mount/table.h"
#include "common/banned.h"

static const struct lm_option options[] = {
  { .name = "extract", .argument = "KIND[=FILE]",
    .help = "write a stored file of that kind or name to FILE, or to "
            "standard output" },
  { .name = "overwrite", .help = "with --extract: FILE may exist" },
  { .name = NULL }
};

static const struct lm_column disk_columns[] = {
  { "name", "DISK", LM_COLUMN_TEXT },
  { "size", "SIZE", LM_COLUMN_SIZE },
  { "sector_size", "SECTOR", LM_COLUMN_NUMBER },
  { "source", "SOURCE", LM_COLUMN_TEXT },
};

static const struct lm_column file_columns[] = {
  { "kind", "KIND", LM_COLUMN_TEXT },
  { "name", "NAME", LM_COLUMN_TEXT },
  { "size", "SIZE", LM_COLUMN_SIZE },
};

static void
print_line (const char *title, const char *text)
{
  printf ("%-13s ", title);
  lm_print_text (text);
  putchar ('\n');
}

static void
print_member (const json_t *v, const char *key, const char *title)
{
  const char *text = lm_json_string_or_null (v, key);

  if (text)
    print_line (title, text);
}

static void
print_unreadable (const json_t *v)
{
  const json_t *disk, *range;
  size_t i, j;

  json_array_foreach (json_object_get (v, "disks"), i, disk)
    json_array_foreach (json_object_get (disk, "unreadable"), j, range)
      printf ("unreadable    %s: %" JSON_INTEGER_FORMAT " bytes at 0x%llx\n",
              lm_json_string_or_null (disk, "name"),
              json_integer_value (json_array_get (range, 1)),
              (unsigned long long)
              json_integer_value (json_array_get (range, 0)));
}

static int
print_people (const struct lm_cli *cli, const json_t *v,
              struct lm_error *err)
{
  static const struct { const char *key, *title; } counts[] = {
    { "read", "read" }, { "new", "new" }, { "deduplicated", "deduplicated" },
    { "zero", "zeros" }, { "stored", "stored" },
  };
  const json_t *st = json_object_get (v, "statistics"), *tag;
  size_t i;

  print_member (v, "snapshot", "snapshot");
  print_member (v, "id", "id");
  print_member (v, "parent", "parent");
  print_member (v, "consistency", "consistency");
  print_member (v, "host", "host");
  print_member (v, "created_by", "created by");
  print_member (v, "machine_config", "machine");
  if (json_is_true (json_object_get (v, "protected")))
    print_line ("protected", "yes: neither forget nor prune removes it");
  json_array_foreach (json_object_get (v, "tags"), i, tag)
    print_line ("tag", json_string_value (tag));
  for (i = 0; i < sizeof counts / sizeof counts[0]; i++) {
    char size[LM_SIZE_LEN];

    lm_size_format (json_integer_value (json_object_get (st, counts[i].key)),
                    size);
    printf ("%-13s %s\n", counts[i].title, size);
  }
  print_unreadable (v);
  putchar ('\n');
  if (lm_table_print (cli, "disks",
                      json_incref (json_object_get (v, "disks")),
                      disk_columns,
                      sizeof disk_columns / sizeof disk_columns[0],
                      "No disks.", err) == -1)
    return -1;
  if (json_array_size (json_object_get (v, "files")) == 0)
    return 0;
  putchar ('\n');
  return lm_table_print (cli, "files",
                         json_incref (json_object_get (v, "files")),
                         file_columns,
                         sizeof file_columns / sizeof file_columns[0], "",
                         err);
}

/* ---- extract ---- */

static const struct lm_snapshot_file *
find_file (const struct lm_snapshot *s, const char *what,
           struct lm_error *err)
{
  const struct lm_snapshot_file *found = NULL;
  size_t i;

  for (i = 0; i < s->nr_files; i++) {
    const struct lm_snapshot_file *f = &s->files[i];

    if (strcmp (f->kind, what) != 0 && strcmp (f->name, what) != 0)
      continue;
    if (found) {
      lm_error_set (err, LM_ERR_USAGE, "--extract %.60s: several files fit, "
                    "e.g. '%.60s' and '%.60s'", what, found->name, f->name);
      lm_error_hint (err, "say the file's name");
      return NULL;
    }
    found = f;
  }
  if (found == NULL) {
    lm_error_set (err, LM_ERR_NOT_FOUND, "--extract %.60s: no file of that "
                  "kind or name is stored with this snapshot", what);
    lm_error_hint (err, "'livemount show' lists what is stored");
  }
  return found;
}

static int
write_file (const char *path, bool overwrite, const uint8_t *data,
            size_t len, struct lm_error *err)
{
  CLEANUP_CLOSE int fd = -1;

  if (path == NULL || strcmp (path, "-") == 0) {
    fwrite (data, 1, len, stdout);
    return lm_report_flush (err);
  }
  if (overwrite)
    return lm_file_replace (AT_FDCWD, path, data, len, 0600, err);
  fd = open (path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd == -1) {
    lm_error_errno (err, errno, "%s", path);
    if (err->kind == LM_ERR_EXISTS)
      lm_error_hint (err, "--overwrite replaces it");
    return -1;
  }
  if (lm_pwrite_full (fd, data, len, 0, path, err) == -1) {
    unlink (path);
    return -1;
  }
  return 0;
}

static int
extract (struct lm_repository *repo, const struct lm_snapshot_entry *entry,
         const char *what, bool overwrite, struct lm_error *err)
{
  struct lm_snapshot *s = lm_snapshot_open (repo, entry, err);
  const struct lm_snapshot_file *f;
  CLEANUP_FREE char *kind = NULL;
  CLEANUP_FREE uint8_t *data = NULL;
  const char *path = strchr (what, '=');
  int r = -1;

  if (s == NULL)
    return -1;
  kind = path ? strndup (what, path++ - what) : strdup (what);
  f = kind ? find_file (s, kind, err) : NULL;
  if (f && lm_snapshot_file_read (repo, f, &data, err) == 0)
    r = write_file (path, overwrite, data, f->size, err);
  lm_snapshot_free (s);
  return r;
}

/* SNAPSHOT/DISK: of the disks only that one. */
static int
keep_disk (json_t *v, const char *name, struct lm_error *err)
{
  json_t *disks = json_object_get (v, "disks");
  size_t i = 0;

  while (i < json_array_size (disks)) {
    if (strcmp (lm_json_string_or_null (json_array_get (disks, i), "name"),
                name) == 0)
      i++;
    else
      json_array_remove (disks, i);
  }
  if (i > 0)
    return 0;
  return lm_error_set (err, LM_ERR_NOT_FOUND, "%s has no disk '%s'",
                       lm_json_string_or_null (v, "snapshot"), name);
}

static int
run_show (struct lm_cli *cli, struct lm_error *err)
{
  const struct lm_repository_request open = { .read_only = true };
  CLEANUP_REPOSITORY struct lm_repository *repo = NULL;
  const struct lm_snapshot_entry *entry;
  CLEANUP_FREE char *disk = NULL;
  CLEANUP_JSON json_t *v = NULL;
  const char *const *wanted;
  size_t i, n;

  repo = lm_cli_open_repository (cli, &open, NULL, err);
  if (repo == NULL)
    return -1;
  entry = lm_repository_resolve (repo, cli->args.operands[0], &disk, err);
  if (entry == NULL)
    return -1;
  wanted = lm_args_list (&cli->args, "extract", &n);
  for (i = 0; i < n; i++)
    if (extract (repo, entry, wanted[i],
                 lm_args_flag (&cli->args, "overwrite"), err) == -1)
      return -1;
  if (n > 0)
    return 0;
  v = lm_cli_snapshot_json (repo, entry, err);
  if (v == NULL || (disk && keep_disk (v, disk, err) == -1))
    return -1;
  if (cli->json)
    return lm_report_json (lm_steal (v), err);
  return print_people (cli, v, err);
}

const struct lm_command lm_cmd_show = {
  .name = "show",
  .area = "Repository",
  .summary = "show a snapshot, or get back a file that was stored with it",
  .usage = "SNAPSHOT[/DISK]",
  .min_operands = 1,
  .max_operands = 1,
  .completion = LM_COMPLETE_SNAPSHOT,
  .options = options,
  .run = run_show,
};
