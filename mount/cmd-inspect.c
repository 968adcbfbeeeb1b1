/* SPDX-License-Identifier: Apache-2.0
 *
 * `livemount inspect`: any stored structure as stable text.
 *
 * Objects are named as in the store (docs/formats/native.md section 2);
 * "node/ID" is a map node, which is no object of its own.
 */
#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/hex.h"
#include "common/json.h"
#include "formats/native/chunk-read.h"
#include "formats/native/disk-map.h"
#include "formats/native/keys.h"
#include "formats/native/object-io.h"
#include "formats/native/pack-read.h"
#include "formats/native/seal.h"
#include "formats/native/segment.h"
#include "mount/commands.h"
#include "mount/open-repository.h"
#include "mount/report.h"
#include "common/banned.h"

static const struct lm_option options[] = {
  { .name = "list", .help = "list the objects whose names begin with OBJECT, "
                            "a folder of the store" },
  { .name = NULL }
};

/* Which sealed objects hold JSON, and how their names are made. */
static const struct {
  const char *folder;
  enum lm_object_type type;
  bool sequence;                /* the id is the number, little-endian */
  size_t id_len;
} sealed[] = {
  { "journal", LM_TYPE_JOURNAL, true, 8 },
  { "checkpoints", LM_TYPE_CHECKPOINT, true, 8 },
  { "snapshots", LM_TYPE_SNAPSHOT, false, LM_NAME_ID_LEN },
  { "leases", LM_TYPE_LEASE, false, LM_NAME_ID_LEN },
  { "pins", LM_TYPE_PIN, false, LM_NAME_ID_LEN },
};

static int
print_json (const void *data, size_t len, const char *what,
            struct lm_error *err)
{
  CLEANUP_JSON json_t *v = lm_json_parse (data, len, what, err);
  CLEANUP_FREE char *text = NULL;

  if (v == NULL)
    return -1;
  text = json_dumps (v, JSON_INDENT (2) | JSON_SORT_KEYS |
                     JSON_ENSURE_ASCII);
  if (text == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  puts (text);
  return 0;
}

/* config and key slots are JSON in the clear. */
static int
inspect_plain (struct lm_repository *repo, const char *name,
               struct lm_error *err)
{
  CLEANUP_FREE uint8_t *data = NULL;
  size_t len;

  if (lm_store_get (lm_repository_store (repo), name, 65536, &data, &len,
                    err) == -1)
    return -1;
  printf ("object %s\nsize %zu\n", name, len);
  return print_json (data, len, name, err);
}

static void
put_le64 (uint64_t n, uint8_t out[8])
{
  lm_le64 v = lm_put_le64 (n);

  memcpy (out, &v, sizeof v);
}

static int
inspect_sealed (struct lm_repository *repo, const char *name, size_t kind,
                struct lm_error *err)
{
  uint8_t id[LM_NAME_ID_LEN], sha256[LM_SHA256_LEN];
  char hex[2 * LM_SHA256_LEN + 1];
  CLEANUP_FREE uint8_t *plain = NULL;
  uint64_t sequence;
  size_t len;

  if (sealed[kind].sequence) {
    if (!lm_object_name_parse_sequence (name, sealed[kind].folder,
                                        &sequence))
      return lm_error_set (err, LM_ERR_USAGE, "'%.100s' is no name of a %s",
                           name, lm_object_type_name (sealed[kind].type));
    put_le64 (sequence, id);
  }
  else if (!lm_object_name_parse (name, sealed[kind].folder, id,
                                  sealed[kind].id_len))
    return lm_error_set (err, LM_ERR_USAGE, "'%.100s' is no name of a %s",
                         name, lm_object_type_name (sealed[kind].type));
  if (lm_object_get (lm_repository_store (repo), lm_repository_keys (repo),
                     sealed[kind].type, name, id, sealed[kind].id_len,
                     &plain, &len, sha256, err) == -1)
    return -1;
  lm_hex_encode (sha256, sizeof sha256, hex);
  printf ("object %s\ntype %d %s\nplain length %zu\nsha256 %s\n", name,
          (int) sealed[kind].type, lm_object_type_name (sealed[kind].type),
          len, hex);
  return print_json (plain, len, name, err);
}

static void
print_entries (const struct lm_entry *entries, uint32_t n)
{
  static const char *const encodings[] = { "raw", "zstd", "zstd-base" };
  uint32_t i;

  for (i = 0; i < n; i++) {
    const struct lm_entry *e = &entries[i];
    char hex[2 * LM_ID_LEN + 1];

    lm_hex_encode (e->id, sizeof e->id, hex);
    printf ("entry %s %s pack %" PRIu32 " offset 0x%" PRIx32 " stored %"
            PRIu32 " plain %" PRIu32 " %s\n", hex,
            e->type == LM_TYPE_NODE ? "node" : "chunk", e->pack, e->offset,
            e->stored_len, e->plain_len,
            e->encoding < 3 ? encodings[e->encoding] : "?");
  }
}

static int
inspect_pack (struct lm_repository *repo, const char *name,
              struct lm_error *err)
{
  uint8_t id[LM_NAME_ID_LEN];
  const char *slash = strrchr (name, '/');
  struct lm_pack_toc toc;
  uint64_t size;

  if (slash == NULL || lm_hex_decode (slash + 1, id, sizeof id) == -1)
    return lm_error_set (err, LM_ERR_USAGE, "'%.100s' is no name of a pack",
                         name);
  if (lm_store_stat (lm_repository_store (repo), name, &size, err) == -1 ||
      lm_pack_toc_read (lm_repository_store (repo),
                        lm_repository_keys (repo), id, size, &toc, err)
      == -1)
    return -1;
  printf ("object %s\ntype pack\nsize %" PRIu64 "\ndata end 0x%" PRIx64
          "\nentries %" PRIu32 "\nbases %" PRIu32 "\n", name, size,
          toc.data_end, toc.nr_entries, toc.nr_bases);
  print_entries (toc.entries, toc.nr_entries);
  lm_pack_toc_release (&toc);
  return 0;
}

static int
inspect_segment (struct lm_repository *repo, const char *name,
                 struct lm_error *err)
{
  struct lm_segment seg = LM_SEGMENT_INIT;
  uint8_t id[LM_NAME_ID_LEN];
  uint32_t i;

  if (!lm_object_name_parse (name, "index", id, sizeof id))
    return lm_error_set (err, LM_ERR_USAGE, "'%.100s' is no name of an index "
                         "segment", name);
  if (lm_segment_get (lm_repository_store (repo), lm_repository_keys (repo),
                      id, &seg, err) == -1)
    return -1;
  printf ("object %s\ntype segment\npacks %" PRIu32 "\nentries %" PRIu32
          "\nbases %" PRIu32 "\n", name, seg.nr_packs, seg.nr_entries,
          seg.nr_bases);
  for (i = 0; i < seg.nr_packs; i++) {
    char hex[2 * LM_NAME_ID_LEN + 1];

    lm_hex_encode (seg.packs[i].id, sizeof seg.packs[i].id, hex);
    printf ("pack %" PRIu32 " %s size %" PRIu32 "\n", i, hex,
            seg.packs[i].size);
  }
  print_entries (seg.entries, seg.nr_entries);
  lm_segment_release (&seg);
  return 0;
}

/* The level of a node is in its plain bytes, not in its name. */
static int
inspect_node (struct lm_repository *repo, const char *name,
              struct lm_error *err)
{
  uint8_t id[LM_ID_LEN], plain[LM_NODE_SIZE_MAX];
  CLEANUP_FREE struct lm_map_node *node = malloc (sizeof *node);
  uint32_t len;
  int i;

  if (node == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  if (lm_hex_decode (name + strlen ("node/"), id, sizeof id) == -1)
    return lm_error_set (err, LM_ERR_USAGE, "'%.100s' is no name of a map "
                         "node", name);
  if (lm_chunk_read (repo, LM_TYPE_NODE, id, plain, sizeof plain, &len, err)
      == -1)
    return -1;
  if (len < 1 ||
      lm_map_node_decode (plain, len, plain[0], LM_NODE_FANOUT, node, err)
      == -1)
    return -1;
  printf ("object %s\ntype node\nlevel %d\nplain length %" PRIu32 "\n", name,
          plain[0], len);
  for (i = 0; i < LM_NODE_FANOUT; i++) {
    char hex[2 * LM_ID_LEN + 1];

    if (lm_id_is_zero (node->ids[i]))
      continue;
    lm_hex_encode (node->ids[i], LM_ID_LEN, hex);
    printf ("entry %d %s\n", i, hex);
  }
  return 0;
}

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
  const struct lm_repository_request open = { .read_only = true };
  CLEANUP_REPOSITORY struct lm_repository *repo = NULL;
  size_t i;

  if (lm_store_check_name (name, err) == -1)
    return -1;
  repo = lm_cli_open_repository (cli, &open, NULL, err);
  if (repo == NULL)
    return -1;
  if (lm_args_flag (&cli->args, "list"))
    return list_objects (cli, repo, name, err);
  if (strcmp (name, "config") == 0 || strncmp (name, "keys/", 5) == 0)
    return inspect_plain (repo, name, err);
  if (strncmp (name, "packs/", 6) == 0)
    return inspect_pack (repo, name, err);
  if (strncmp (name, "index/", 6) == 0)
    return inspect_segment (repo, name, err);
  if (strncmp (name, "node/", 5) == 0)
    return inspect_node (repo, name, err);
  for (i = 0; i < sizeof sealed / sizeof sealed[0]; i++) {
    size_t len = strlen (sealed[i].folder);

    if (strncmp (name, sealed[i].folder, len) == 0 && name[len] == '/')
      return inspect_sealed (repo, name, i, err);
  }
  lm_error_set (err, LM_ERR_USAGE, "'%.100s' is no name of a stored object",
                name);
  return lm_error_hint (err, "for example config, journal/0000000000000000; "
                        "'livemount inspect --list snapshots' lists those "
                        "of a folder");
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
    "disk map.",
  .min_operands = 1,
  .max_operands = 1,
  .options = options,
  .run = run_inspect,
};
