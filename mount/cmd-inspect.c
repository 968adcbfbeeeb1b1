/* SPDX-License-Identifier: Apache-2.0
 *
 * `livemount inspect`: any stored structure as stable text.
 *
 * Objects are named as in the store (docs/formats/native.md section 2);
 * "node/ID" and "chunk/ID" are what is stored inside packs.  The journal
 * is replayed only for those, so a damaged repository can be looked at.
 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/json.h"
#include "formats/native/inspect.h"
#include "mount/commands.h"
#include "mount/open-repository.h"
#include "mount/report.h"
#include "common/banned.h"

static const struct lm_option options[] = {
  { .name = "list", .help = "list the objects whose names begin with OBJECT, "
                            "a folder of the store" },
  { .name = NULL }
};

/* ---- lists ---- */

static int
add_name (void *opaque, const char *name, uint64_t size,
          struct lm_error *err)
{
  (void) err;
  json_array_append_new (opaque, json_pack ("{s:s, s:I}", "object", name,
                                            "size", (json_int_t) size));
  return 0;
}

static int
compare_rows (const void *a, const void *b)
{
  return strcmp (lm_json_string_or_null (*(json_t *const *) a, "object"),
                 lm_json_string_or_null (*(json_t *const *) b, "object"));
}

static int
list_objects (struct lm_cli *cli, struct lm_repository *repo,
              const char *prefix, struct lm_error *err)
{
  CLEANUP_JSON json_t *rows = json_array ();
  CLEANUP_FREE json_t **sorted = NULL;
  size_t i, n;

  if (lm_store_list (lm_repository_store (repo), prefix, add_name, rows, err)
      == -1)
    return -1;
  n = json_array_size (rows);
  sorted = calloc (n + 1, sizeof *sorted);
  if (sorted == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  for (i = 0; i < n; i++)
    sorted[i] = json_array_get (rows, i);
  qsort (sorted, n, sizeof *sorted, compare_rows);
  if (cli->json) {
    json_t *v = json_array ();

    for (i = 0; i < n; i++)
      json_array_append (v, sorted[i]);
    return lm_report_json (json_pack ("{s:o}", "objects", v), err);
  }
  for (i = 0; i < n; i++)
    printf ("%s %" JSON_INTEGER_FORMAT "\n",
            lm_json_string_or_null (sorted[i], "object"),
            json_integer_value (json_object_get (sorted[i], "size")));
  return 0;
}

static int
run_inspect (struct lm_cli *cli, struct lm_error *err)
{
  const char *name = cli->args.operands[0];
  const struct lm_repository_request open = {
    .read_only = true, .no_load = true,
  };
  CLEANUP_REPOSITORY struct lm_repository *repo = NULL;
  CLEANUP_BUFFER struct lm_buffer text = LM_BUFFER_INIT;
  int r;

  if (lm_store_check_name (name, err) == -1)
    return -1;
  repo = lm_cli_open_repository (cli, &open, NULL, err);
  if (repo == NULL)
    return -1;
  if (lm_args_flag (&cli->args, "list"))
    return list_objects (cli, repo, name, err);
  r = lm_inspect (repo, lm_repository_store (repo), name, &text, err);
  /* Of a damaged object, what could be read. */
  if (text.len > 0)
    fwrite (text.data, 1, text.len, stdout);
  if (r == -1 && err->kind == LM_ERR_NOT_FOUND && err->hint[0] == '\0')
    lm_error_hint (err, "for example config, journal/0000000000000000; "
                   "'livemount inspect --list snapshots' lists those of a "
                   "folder");
  return r;
}

const struct lm_command lm_cmd_inspect = {
  .name = "inspect",
  .area = "Repository",
  .summary = "print a stored structure as text",
  .usage = "OBJECT",
  .description =
    "OBJECT is a name in the store, as docs/formats/native.md lists them: "
    "config, keys/ID, journal/NUMBER, checkpoints/NUMBER, packs/XX/ID, "
    "index/ID, snapshots/ID, leases/ID, pins/ID; or node/ID for a node of a "
    "disk map, chunk/ID for a chunk.  Keys are not shown.",
  .min_operands = 1,
  .max_operands = 1,
  .options = options,
  .run = run_inspect,
};
