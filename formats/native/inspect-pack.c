/* SPDX-License-Identifier: Apache-2.0
 * The inspector for packs, segments, chunks and nodes; see inspect.h.
 */
#include <config.h>

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/hex.h"
#include "formats/native/chunk-index.h"
#include "formats/native/chunk-read.h"
#include "formats/native/disk-map.h"
#include "formats/native/inspect-internal.h"
#include "formats/native/object-io.h"
#include "formats/native/pack-read.h"
#include "formats/native/pack-write.h"
#include "formats/native/repository-internal.h"
#include "formats/native/segment.h"
#include "common/banned.h"

#define HEAD_LEN 64             /* bytes of a chunk that are shown */
#define COPIES_MAX 16

static const char *
encoding_name (uint8_t encoding)
{
  static const char *const names[] = {
    [LM_ENCODING_RAW] = "raw", [LM_ENCODING_ZSTD] = "zstd",
    [LM_ENCODING_ZSTD_BASE] = "zstd-base",
  };

  return encoding < sizeof names / sizeof names[0] ? names[encoding]
    : "unknown";
}

static int
print_entry (const struct lm_entry *e, const uint8_t (*bases)[LM_ID_LEN],
             struct lm_buffer *out, struct lm_error *err)
{
  const uint8_t *base_id = lm_entry_base (e, bases);
  char hex[2 * LM_ID_LEN + 1], base[2 * LM_ID_LEN + 1] = "";

  lm_hex_encode (e->id, LM_ID_LEN, hex);
  if (base_id)
    lm_hex_encode (base_id, LM_ID_LEN, base);
  return lm_buffer_printf (out, err, "  %s %s pack %" PRIu32 " at 0x%"
                           PRIx32 " stored %" PRIu32 " plain %" PRIu32
                           " %s%s%s\n", hex,
                           e->type == LM_TYPE_NODE ? "node" : "chunk",
                           e->pack, e->offset, e->stored_len, e->plain_len,
                           encoding_name (e->encoding),
                           base_id ? " base " : "", base);
}

int
lm_inspect_segment (const uint8_t *plain, size_t len, const char *name,
                    struct lm_buffer *out, struct lm_error *err)
{
  CLEANUP (lm_segment_release) struct lm_segment seg = LM_SEGMENT_INIT;
  char hex[2 * LM_NAME_ID_LEN + 1];
  uint32_t i;

  if (lm_segment_decode (plain, len, name, &seg, err) == -1 ||
      lm_buffer_printf (out, err, "packs: %" PRIu32 "\n",
                        seg.nr_packs) == -1)
    return -1;
  for (i = 0; i < seg.nr_packs; i++) {
    lm_hex_encode (seg.packs[i].id, LM_NAME_ID_LEN, hex);
    if (lm_buffer_printf (out, err, "  %" PRIu32 ": %s %" PRIu32
                          " bytes\n", i, hex, seg.packs[i].size) == -1)
      return -1;
  }
  if (lm_buffer_printf (out, err, "entries: %" PRIu32 "\n",
                        seg.nr_entries) == -1)
    return -1;
  for (i = 0; i < seg.nr_entries; i++)
    if (print_entry (&seg.entries[i],
                     (const uint8_t (*)[LM_ID_LEN]) seg.bases, out,
                     err) == -1)
      return -1;
  return 0;
}

static int
print_pack_header (struct lm_store *store, const char *name, uint64_t size,
                   struct lm_buffer *out, struct lm_error *err)
{
  struct lm_pack_header_wire h;

  if (lm_store_get_range (store, name, &h, sizeof h, 0, err) == -1)
    return -1;
  if (memcmp (h.magic, LM_PACK_MAGIC, sizeof h.magic) != 0)
    return lm_corrupt (err, "%s: not a pack (wrong magic at 0x0)", name);
  if (lm_buffer_printf (out, err, "  type: pack\n  version: %u\n"
                        "  stored length: %" PRIu64 "\n  key epoch: %"
                        PRIu32 "\n", lm_get_le16 (h.version), size,
                        lm_get_le32 (h.epoch)) == -1 ||
      lm_inspect_hex (out, "repository", h.repository, sizeof h.repository,
                      err) == -1)
    return -1;
  return lm_inspect_hex (out, "pack id", h.id, sizeof h.id, err);
}

static int
print_pack_trailer (struct lm_store *store, const char *name, uint64_t size,
                    struct lm_buffer *out, struct lm_error *err)
{
  struct lm_pack_trailer_wire t;

  if (size < sizeof (struct lm_pack_header_wire) + sizeof t)
    return lm_corrupt (err, "%s: %" PRIu64 " bytes are no size of a pack",
                       name, size);
  if (lm_store_get_range (store, name, &t, sizeof t, size - sizeof t,
                          err) == -1)
    return -1;
  if (memcmp (t.magic, LM_PACK_MAGIC, sizeof t.magic) != 0)
    return lm_corrupt (err, "%s: wrong magic at the end (cut short?)", name);
  return lm_buffer_printf (out, err, "  table of contents: at 0x%" PRIx64
                           "\n", lm_get_le64 (t.toc_offset));
}

int
lm_inspect_pack (struct lm_repository *repo, struct lm_store *store,
                 const char *name, struct lm_buffer *out,
                 struct lm_error *err)
{
  CLEANUP (lm_pack_toc_release) struct lm_pack_toc toc = { 0 };
  char proper[LM_PACK_NAME_LEN + 1];
  uint8_t id[LM_NAME_ID_LEN];
  uint64_t size;
  uint32_t i;

  /* packs/ab/ab… */
  if (strlen (name) != LM_PACK_NAME_LEN ||
      lm_hex_decode (name + 9, id, sizeof id) == -1)
    return lm_error_set (err, LM_ERR_USAGE, "'%.80s' is not the name of a "
                         "pack", name);
  lm_pack_name (id, proper);
  if (strcmp (proper, name) != 0)
    return lm_error_set (err, LM_ERR_USAGE, "'%.80s' is not the name of a "
                         "pack: expected %s", name, proper);
  if (lm_store_stat (store, name, &size, err) == -1 ||
      lm_buffer_printf (out, err, "%s\n", name) == -1 ||
      print_pack_header (store, name, size, out, err) == -1 ||
      print_pack_trailer (store, name, size, out, err) == -1)
    return -1;
  if (repo == NULL)
    return lm_buffer_printf (out, err, "content: sealed; the repository's "
                             "key is needed\n");
  if (lm_pack_toc_read (store, repo->keys, id, size, &toc, err) == -1 ||
      lm_buffer_printf (out, err, "entries: %" PRIu32 "\n",
                        toc.nr_entries) == -1)
    return -1;
  for (i = 0; i < toc.nr_entries; i++)
    if (print_entry (&toc.entries[i],
                     (const uint8_t (*)[LM_ID_LEN]) toc.bases, out,
                     err) == -1)
      return -1;
  return 0;
}

static int
print_copies (struct lm_repository *repo, enum lm_object_type type,
              const uint8_t id[LM_ID_LEN], struct lm_buffer *out,
              struct lm_error *err)
{
  struct lm_chunk_location copies[COPIES_MAX];
  char name[LM_PACK_NAME_LEN + 1], base[2 * LM_ID_LEN + 1];
  int i, n;

  n = lm_chunk_index_find (repo->index, type, id, copies, COPIES_MAX, err);
  if (n == -1 || lm_buffer_printf (out, err, "  copies: %d\n", n) == -1)
    return -1;
  for (i = 0; i < n; i++) {
    const struct lm_chunk_ref *ref = &copies[i].ref;
    bool has_base = ref->encoding == LM_ENCODING_ZSTD_BASE;

    lm_pack_name (copies[i].pack, name);
    lm_hex_encode (ref->base, LM_ID_LEN, base);
    if (lm_buffer_printf (out, err, "    %s at 0x%" PRIx32 " stored %"
                          PRIu32 " plain %" PRIu32 " %s%s%s\n", name,
                          copies[i].offset, ref->stored_len, ref->plain_len,
                          encoding_name (ref->encoding),
                          has_base ? " base " : "",
                          has_base ? base : "") == -1)
      return -1;
  }
  return 0;
}

/* 16 bytes a line, as hexdump -C does. */
static int
print_head (const uint8_t *data, size_t len, struct lm_buffer *out,
            struct lm_error *err)
{
  size_t i, k;

  if (lm_buffer_printf (out, err, "first bytes:\n") == -1)
    return -1;
  for (i = 0; i < len; i += 16) {
    char hex[3 * 16 + 1] = "", text[17] = "";

    for (k = 0; k < 16 && i + k < len; k++) {
      uint8_t byte = data[i + k];

      lm_hex_encode (&byte, 1, hex + 3 * k);
      hex[3 * k + 2] = ' ';
      text[k] = byte >= 0x20 && byte < 0x7f ? byte : '.';
    }
    if (lm_buffer_printf (out, err, "  %08zx  %-48s |%s|\n", i, hex,
                          text) == -1)
      return -1;
  }
  return 0;
}

static int
print_node (const uint8_t *plain, size_t len, struct lm_buffer *out,
            struct lm_error *err)
{
  char hex[2 * LM_ID_LEN + 1];
  struct lm_map_node node;
  int level = len > 0 ? plain[0] : 0, i;

  if (level < 1 || level > LM_NODE_LEVELS_MAX)
    return lm_corrupt (err, "map node: level %d, expected 1 to %d", level,
                       LM_NODE_LEVELS_MAX);
  if (lm_map_node_decode (plain, len, level, LM_NODE_FANOUT, &node,
                          err) == -1 ||
      lm_buffer_printf (out, err, "level: %d\nentries:\n", level) == -1)
    return -1;
  for (i = 0; i < LM_NODE_FANOUT; i++) {
    if (lm_id_is_zero (node.ids[i]))
      continue;
    lm_hex_encode (node.ids[i], LM_ID_LEN, hex);
    if (lm_buffer_printf (out, err, "  %d: %s\n", i, hex) == -1)
      return -1;
  }
  return 0;
}

int
lm_inspect_chunk (struct lm_repository *repo, enum lm_object_type type,
                  const uint8_t id[LM_ID_LEN], struct lm_buffer *out,
                  struct lm_error *err)
{
  CLEANUP_FREE uint8_t *plain = malloc (LM_CHUNK_SIZE_MAX);
  char hex[2 * LM_ID_LEN + 1];
  uint32_t len;

  if (plain == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  lm_hex_encode (id, LM_ID_LEN, hex);
  if (lm_buffer_printf (out, err, "%s/%s\n", type == LM_TYPE_NODE ? "node"
                        : "chunk", hex) == -1 ||
      print_copies (repo, type, id, out, err) == -1 ||
      lm_chunk_read (repo, type, id, plain, LM_CHUNK_SIZE_MAX, &len,
                     err) == -1 ||
      lm_buffer_printf (out, err, "  plain length: %" PRIu32 "\n",
                        len) == -1)
    return -1;
  if (type == LM_TYPE_NODE)
    return print_node (plain, len, out, err);
  return print_head (plain, len < HEAD_LEN ? len : HEAD_LEN, out, err);
}
