/* SPDX-License-Identifier: Apache-2.0
 *
 * Binary tables as they are after authentication: tables of contents,
 * segments, map nodes, and the mapped index, which nothing authenticates.
 */
#include <config.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/random.h"
#include "formats/native/disk-map.h"
#include "formats/native/index-run-internal.h"
#include "formats/native/index-run.h"
#include "formats/native/pack-read.h"
#include "formats/native/segment.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/scratch.h"
#include "common/banned.h"

/* Entries back to back, as a pack has them. */
static void
seed_entries (struct lm_entry *entries, uint32_t n)
{
  uint32_t at = sizeof (struct lm_pack_header_wire), i;

  for (i = 0; i < n; i++) {
    struct lm_entry *e = &entries[i];

    memset (e, 0, sizeof *e);
    lm_random_bytes (e->id, sizeof e->id);
    e->id[0] = i;                       /* in order */
    e->offset = at;
    e->type = i % 3 == 2 ? LM_TYPE_NODE : LM_TYPE_CHUNK;
    e->plain_len = e->type == LM_TYPE_NODE ? 52 : 4096;
    e->encoding = i % 2 ? LM_ENCODING_ZSTD : LM_ENCODING_RAW;
    e->stored_len = i % 2 ? 100 : e->plain_len + 28;
    at += e->stored_len;
  }
}

/* A pack's table as part of a segment: bases are numbered anew. */
static void
add_to_segment (const struct lm_pack_toc *toc)
{
  const uint8_t (*bases)[LM_ID_LEN] = (const uint8_t (*)[LM_ID_LEN])
    toc->bases;
  struct lm_segment seg = LM_SEGMENT_INIT;
  struct lm_error err = LM_ERROR_INIT;
  uint8_t id[LM_NAME_ID_LEN] = { 0 };
  uint32_t i;

  fuzz_expect (lm_segment_add_pack (&seg, id, 1, toc->entries,
                                    toc->nr_entries, bases, &err) == 0);
  fuzz_expect (seg.nr_entries == toc->nr_entries);
  fuzz_expect (seg.nr_bases <= seg.nr_entries);
  for (i = 0; i < seg.nr_entries; i++) {
    const uint8_t *was = lm_entry_base (&toc->entries[i], bases);
    const uint8_t *is = lm_entry_base (&seg.entries[i],
                                       (const uint8_t (*)[LM_ID_LEN])
                                       seg.bases);

    fuzz_expect ((was == NULL) == (is == NULL));
    fuzz_expect (was == NULL || memcmp (was, is, LM_ID_LEN) == 0);
  }
  lm_segment_release (&seg);
}

/* The first four bytes say where the data ends. */
static void
run_toc (const uint8_t *data, size_t len)
{
  struct lm_error err = LM_ERROR_INIT;
  struct lm_pack_toc toc;
  uint64_t end;
  uint32_t i;

  if (len < 4)
    return;
  end = lm_get_le32 (*(const lm_le32 *) data);
  if (lm_pack_toc_decode (data + 4, len - 4, end, "toc", &toc, &err) == -1) {
    fuzz_expect_error (&err);
    return;
  }
  end = sizeof (struct lm_pack_header_wire);
  for (i = 0; i < toc.nr_entries; i++) {
    const struct lm_entry *e = &toc.entries[i];

    fuzz_expect (e->offset >= end);
    end = (uint64_t) e->offset + e->stored_len;
    fuzz_expect (end <= toc.data_end);
    fuzz_expect (e->plain_len > 0 && e->plain_len <= LM_CHUNK_SIZE_MAX);
    fuzz_expect (e->base <= toc.nr_bases);
    fuzz_expect (e->base == 0 || e->type == LM_TYPE_CHUNK);
  }
  add_to_segment (&toc);
  lm_pack_toc_release (&toc);
}

static void
seed_toc (fuzz_emit_fn emit)
{
  struct lm_entry entries[4];
  struct {
    lm_le32 end;
    struct lm_toc_head_wire head;
    struct lm_entry_wire wire[4];
    uint8_t base[LM_ID_LEN];
  } toc;
  uint32_t i;

  memset (&toc, 0, sizeof toc);
  seed_entries (entries, 4);
  toc.end = lm_put_le32 (9000);
  emit ("empty", &toc, 4 + sizeof toc.head);
  for (i = 0; i < 4; i++)
    lm_entry_encode (&entries[i], &toc.wire[i]);
  toc.head.entries = lm_put_le32 (4);
  emit ("four", &toc, sizeof toc - LM_ID_LEN);
  entries[3].encoding = LM_ENCODING_ZSTD_BASE;
  entries[3].base = 1;
  lm_entry_encode (&entries[3], &toc.wire[3]);
  toc.head.bases = lm_put_le32 (1);
  emit ("base", &toc, sizeof toc);
}

static void
run_segment (const uint8_t *data, size_t len)
{
  struct lm_segment seg = LM_SEGMENT_INIT;
  struct lm_error err = LM_ERROR_INIT;
  uint32_t i;

  if (lm_segment_decode (data, len, "segment", &seg, &err) == -1) {
    fuzz_expect_error (&err);
    return;
  }
  for (i = 0; i < seg.nr_entries; i++) {
    const struct lm_entry *e = &seg.entries[i];

    fuzz_expect (e->pack < seg.nr_packs);
    fuzz_expect ((uint64_t) e->offset + e->stored_len <=
                 seg.packs[e->pack].size);
    fuzz_expect (i == 0 || memcmp (e[-1].id, e->id, LM_ID_LEN) <= 0);
  }
  lm_segment_release (&seg);
}

struct seed_segment {
  struct lm_segment_head_wire head;
  struct lm_segment_pack_wire packs[2];
  struct lm_entry_wire wire[5];
};

static void
make_segment (struct seed_segment *s)
{
  struct lm_entry entries[5];
  int i;

  memset (s, 0, sizeof *s);
  seed_entries (entries, 5);
  for (i = 0; i < 5; i++) {
    entries[i].pack = i % 2;
    lm_entry_encode (&entries[i], &s->wire[i]);
  }
  for (i = 0; i < 2; i++) {
    lm_random_bytes (s->packs[i].id, LM_NAME_ID_LEN);
    s->packs[i].size = lm_put_le32 (20000);
  }
  s->head.packs = lm_put_le32 (2);
  s->head.entries = lm_put_le32 (5);
}

static void
seed_segment (fuzz_emit_fn emit)
{
  struct seed_segment s;

  make_segment (&s);
  emit ("five", &s, sizeof s);
  memset (&s.head, 0, sizeof s.head);
  emit ("empty", &s, sizeof s.head);
}

/* The first two bytes are the expected level and limit. */
static void
run_node (const uint8_t *data, size_t len)
{
  struct lm_error err = LM_ERROR_INIT;
  uint8_t back[LM_NODE_SIZE_MAX];
  struct lm_map_node node;
  int level, limit, i;

  if (len < 2)
    return;
  level = 1 + data[0] % LM_NODE_LEVELS_MAX;
  limit = data[1] % (LM_NODE_FANOUT + 1);
  data += 2;
  len -= 2;
  if (lm_map_node_decode (data, len, level, limit, &node, &err) == -1) {
    fuzz_expect_error (&err);
    return;
  }
  for (i = limit; i < LM_NODE_FANOUT; i++)
    fuzz_expect (lm_id_is_zero (node.ids[i]));
  /* Content alone decides the bytes. */
  fuzz_expect (lm_map_node_encode (&node, level, back) == len);
  fuzz_expect (memcmp (back, data, len) == 0);
}

static void
seed_node (fuzz_emit_fn emit)
{
  struct lm_map_node node;
  uint8_t bytes[2 + LM_NODE_SIZE_MAX] = { 0, LM_NODE_FANOUT };
  size_t len;

  memset (&node, 0, sizeof node);
  memset (node.ids[0], 'a', LM_ID_LEN);
  memset (node.ids[77], 'b', LM_ID_LEN);
  len = lm_map_node_encode (&node, 1, bytes + 2);
  emit ("leaf", bytes, 2 + len);
  bytes[1] = 77;                        /* one entry too far */
  emit ("beyond", bytes, 2 + len);
  bytes[0] = 2;
  bytes[1] = LM_NODE_FANOUT;
  len = lm_map_node_encode (&node, 3, bytes + 2);
  emit ("inner", bytes, 2 + len);
}

/* Whatever is in the cache folder: it may fail, and not more. */
static void
use_run (const struct lm_index_run *run, const uint8_t id[LM_ID_LEN])
{
  uint64_t n = lm_index_run_entries (run), pos, i;
  struct lm_error err = LM_ERROR_INIT;
  struct lm_segment_pack pack;
  uint8_t base[LM_ID_LEN];
  struct lm_entry e;
  uint32_t nr, nr_segments;

  (void) lm_index_run_segments (run, &nr_segments);
  for (nr = 0; nr < lm_index_run_packs (run); nr++)
    lm_index_run_pack (run, nr, &pack);
  pos = lm_index_run_find (run, id);
  fuzz_expect (pos <= n);
  for (i = 0; i <= n && i < 100; i++)
    if (lm_index_run_get (run, i, &e, base, &err) == 0) {
      fuzz_expect (i < n);
      fuzz_expect (e.pack < lm_index_run_packs (run));
      fuzz_expect (e.plain_len > 0 && e.plain_len <= LM_CHUNK_SIZE_MAX);
      pos = lm_index_run_find (run, e.id);
      fuzz_expect (pos <= n);
    }
    else
      fuzz_expect_error (&err);
}

static void
run_index (const uint8_t *data, size_t len)
{
  static int dir = -1;
  uint8_t id[LM_ID_LEN] = { 0x80 };
  struct lm_error err = LM_ERROR_INIT;
  struct lm_index_run *run;
  CLEANUP_CLOSE int fd = -1;
  char page[LM_RUN_HEADER_SIZE] = { 0 };
  size_t head = sizeof (struct lm_run_header);

  if (dir == -1)
    dir = open (lm_scratch_dir (), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  fd = openat (dir, "run", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  fuzz_expect (fd != -1);
  /* The corpus leaves out the padding of the first page. */
  memcpy (page, data, len < head ? len : head);
  fuzz_expect (write (fd, page, len < head ? len : sizeof page) >= 0);
  if (len > head)
    fuzz_expect (write (fd, data + head, len - head) ==
                 (ssize_t) (len - head));
  run = lm_index_run_open (dir, "run", fuzz_keys (0)->repository, &err);
  if (run == NULL) {
    fuzz_expect_error (&err);
    return;
  }
  if (len >= 32)
    memcpy (id, data + len - 32, 32);
  use_run (run, id);
  lm_index_run_close (run);
}

static void
seed_index (fuzz_emit_fn emit)
{
  struct {
    struct lm_run_header h;
    uint8_t segment[LM_NAME_ID_LEN];
    struct lm_segment_pack_wire packs[2];
    struct lm_entry_wire wire[5];
  } r;
  struct seed_segment s;

  make_segment (&s);
  memset (&r, 0, sizeof r);
  memcpy (r.h.magic, LM_RUN_MAGIC, 8);
  memcpy (r.h.repository, fuzz_keys (0)->repository, LM_NAME_ID_LEN);
  emit ("empty", &r, sizeof r.h);
  r.h.segments = lm_put_le64 (1);
  r.h.packs = lm_put_le64 (2);
  r.h.entries = lm_put_le64 (5);
  memcpy (r.packs, s.packs, sizeof r.packs);
  memcpy (r.wire, s.wire, sizeof r.wire);
  emit ("five", &r, sizeof r);
}

const struct fuzz_target fuzz_table_targets[] = {
  { "pack-toc", run_toc, seed_toc },
  { "segment", run_segment, seed_segment },
  { "map-node", run_node, seed_node },
  { "index-run", run_index, seed_index },
  { NULL, NULL, NULL },
};
