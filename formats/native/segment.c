/* SPDX-License-Identifier: Apache-2.0
 * Index segments; see segment.h.
 */
#include <config.h>

#include "formats/native/segment.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "common/hex.h"
#include "common/random.h"
#include "common/banned.h"

#define SEGMENT_SIZE_MAX (128u << 20)
#define NAME_LEN (6 + 2 * LM_NAME_ID_LEN)       /* "index/…" */

static void
segment_name (const uint8_t id[LM_NAME_ID_LEN], char out[NAME_LEN + 1])
{
  memcpy (out, "index/", 6);
  lm_hex_encode (id, LM_NAME_ID_LEN, out + 6);
}

void
lm_segment_release (struct lm_segment *seg)
{
  free (seg->packs);
  free (seg->entries);
  free (seg->bases);
  memset (seg, 0, sizeof *seg);
}

/* TABLE, of which N elements of SIZE bytes are used, with room for MORE
 * (the caller keeps N + MORE far from overflow); NULL without memory. */
static void *
grow (void *table, uint32_t *alloc, uint32_t n, uint32_t more, size_t size)
{
  uint32_t wanted = *alloc ? *alloc : 64;
  void *bigger;

  if (table && n + more <= *alloc)
    return table;
  while (wanted < n + more)
    wanted *= 2;
  bigger = realloc (table, wanted * size);
  if (bigger != NULL)
    *alloc = wanted;
  return bigger;
}

static int
reserve (struct lm_segment *seg, uint32_t entries, uint32_t bases,
         struct lm_error *err)
{
  void *p;

  if ((p = grow (seg->packs, &seg->alloc_packs, seg->nr_packs, 1,
                 sizeof *seg->packs)) != NULL)
    seg->packs = p;
  if (p && (p = grow (seg->entries, &seg->alloc_entries, seg->nr_entries,
                      entries, sizeof *seg->entries)) != NULL)
    seg->entries = p;
  if (p && (p = grow (seg->bases, &seg->alloc_bases, seg->nr_bases, bases,
                      sizeof *seg->bases)) != NULL)
    seg->bases = p;
  return p ? 0 : lm_error_set (err, LM_ERR_NOMEM, "out of memory");
}

/* Append one entry of the pack that is added last. */
static void
append_entry (struct lm_segment *seg, const struct lm_entry *e,
              const uint8_t (*bases)[LM_ID_LEN])
{
  struct lm_entry *out = &seg->entries[seg->nr_entries++];
  const uint8_t *base = lm_entry_base (e, bases);

  *out = *e;
  out->pack = seg->nr_packs;
  if (base == NULL)
    return;
  memcpy (seg->bases[seg->nr_bases++], base, LM_ID_LEN);
  out->base = seg->nr_bases;
}

int
lm_segment_add_pack (struct lm_segment *seg,
                     const uint8_t id[LM_NAME_ID_LEN], uint32_t size,
                     const struct lm_entry *entries, uint32_t nr_entries,
                     const uint8_t (*bases)[LM_ID_LEN], struct lm_error *err)
{
  uint32_t i, nr_bases = 0;

  if (nr_entries > LM_ENTRIES_MAX - seg->nr_entries)
    return lm_error_set (err, LM_ERR_LIMIT,
                         "an index segment has at most %u entries",
                         LM_ENTRIES_MAX);
  for (i = 0; i < nr_entries; i++)
    nr_bases += entries[i].base > 0;
  if (reserve (seg, nr_entries, nr_bases, err) == -1)
    return -1;
  memcpy (seg->packs[seg->nr_packs].id, id, LM_NAME_ID_LEN);
  seg->packs[seg->nr_packs].size = size;
  for (i = 0; i < nr_entries; i++)
    append_entry (seg, &entries[i], bases);
  seg->nr_packs++;
  return 0;
}

static int
compare_entries (const void *va, const void *vb)
{
  const struct lm_entry *a = va, *b = vb;
  int r = memcmp (a->id, b->id, LM_ID_LEN);

  if (r != 0)
    return r;
  if (a->pack != b->pack)
    return a->pack < b->pack ? -1 : 1;
  return a->offset < b->offset ? -1 : a->offset > b->offset;
}

void
lm_segment_sort (struct lm_segment *seg)
{
  if (seg->nr_entries > 0)
    qsort (seg->entries, seg->nr_entries, sizeof seg->entries[0],
           compare_entries);
}

static uint8_t *
encode (const struct lm_segment *seg, size_t *ret_len, struct lm_error *err)
{
  struct lm_segment_head_wire head = {
    .packs = lm_put_le32 (seg->nr_packs),
    .entries = lm_put_le32 (seg->nr_entries),
    .bases = lm_put_le32 (seg->nr_bases),
  };
  size_t len = sizeof head +
    seg->nr_packs * sizeof (struct lm_segment_pack_wire) +
    (size_t) seg->nr_entries * sizeof (struct lm_entry_wire) +
    (size_t) seg->nr_bases * LM_ID_LEN;
  uint8_t *plain = malloc (len), *p = plain;
  uint32_t i;

  if (plain == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory (%zu bytes)", len);
    return NULL;
  }
  memcpy (p, &head, sizeof head);
  p += sizeof head;
  for (i = 0; i < seg->nr_packs; i++) {
    struct lm_segment_pack_wire w = {
      .size = lm_put_le32 (seg->packs[i].size),
    };

    memcpy (w.id, seg->packs[i].id, LM_NAME_ID_LEN);
    memcpy (p, &w, sizeof w);
    p += sizeof w;
  }
  for (i = 0; i < seg->nr_entries; i++) {
    lm_entry_encode (&seg->entries[i], (struct lm_entry_wire *) p);
    p += sizeof (struct lm_entry_wire);
  }
  if (seg->nr_bases > 0)
    memcpy (p, seg->bases, (size_t) seg->nr_bases * LM_ID_LEN);
  *ret_len = len;
  return plain;
}

int
lm_segment_put (struct lm_store *store, const struct lm_keys *keys,
                struct lm_segment *seg, uint8_t ret_id[LM_NAME_ID_LEN],
                uint64_t *ret_size, struct lm_error *err)
{
  CLEANUP_FREE uint8_t *plain = NULL, *object = NULL;
  uint8_t id[LM_NAME_ID_LEN];
  char name[NAME_LEN + 1];
  struct iovec iov;
  size_t len, object_len;

  lm_segment_sort (seg);
  plain = encode (seg, &len, err);
  if (plain == NULL)
    return -1;
  lm_random_bytes (id, sizeof id);
  if (lm_seal_object (keys, LM_TYPE_SEGMENT, id, sizeof id, plain, len,
                      &object, &object_len, err) == -1)
    return -1;
  segment_name (id, name);
  iov = (struct iovec) { object, object_len };
  if (lm_store_put_if_absent (store, name, &iov, 1, err) == -1)
    return lm_error_prefix (err, "%s", name);
  memcpy (ret_id, id, sizeof id);
  *ret_size = object_len;
  return 0;
}

int
lm_segment_decode (const uint8_t *plain, size_t len, const char *what,
                   struct lm_segment *ret_seg, struct lm_error *err)
{
  CLEANUP (lm_segment_release) struct lm_segment seg = LM_SEGMENT_INIT;
  struct lm_segment_head_wire head;
  const struct lm_segment_pack_wire *packs;
  const struct lm_entry_wire *wire;
  uint64_t entries_at, bases_at;
  uint32_t i;

  if (len < sizeof head)
    return lm_corrupt (err, "%s: index segment of %zu bytes", what, len);
  memcpy (&head, plain, sizeof head);
  if (!lm_is_zero (head.zero, sizeof head.zero))
    return lm_corrupt (err, "%s: index segment: not zero at 0xc", what);
  seg.nr_packs = lm_get_le32 (head.packs);
  seg.nr_entries = lm_get_le32 (head.entries);
  seg.nr_bases = lm_get_le32 (head.bases);
  if (lm_check_table (sizeof head, seg.nr_packs, sizeof *packs,
                      LM_ENTRIES_MAX, len, what, err) == -1)
    return -1;
  entries_at = sizeof head + (uint64_t) seg.nr_packs * sizeof *packs;
  if (lm_check_table (entries_at, seg.nr_entries, sizeof *wire,
                      LM_ENTRIES_MAX, len, what, err) == -1)
    return -1;
  bases_at = entries_at + (uint64_t) seg.nr_entries * sizeof *wire;
  if (lm_check_table (bases_at, seg.nr_bases, LM_ID_LEN, seg.nr_entries, len,
                      what, err) == -1)
    return -1;
  if (bases_at + (uint64_t) seg.nr_bases * LM_ID_LEN != len)
    return lm_corrupt (err, "%s: index segment of %zu bytes, expected %"
                       PRIu64, what, len,
                       bases_at + (uint64_t) seg.nr_bases * LM_ID_LEN);

  seg.packs = calloc (seg.nr_packs + 1, sizeof *seg.packs);
  seg.entries = calloc (seg.nr_entries + 1, sizeof *seg.entries);
  seg.bases = calloc (seg.nr_bases + 1, LM_ID_LEN);
  if (seg.packs == NULL || seg.entries == NULL || seg.bases == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "%s: out of memory", what);
  packs = (const void *) (plain + sizeof head);
  for (i = 0; i < seg.nr_packs; i++) {
    memcpy (seg.packs[i].id, packs[i].id, LM_NAME_ID_LEN);
    seg.packs[i].size = lm_get_le32 (packs[i].size);
    if (seg.packs[i].size > LM_PACK_SIZE_MAX)
      return lm_corrupt (err, "%s: pack %" PRIu32 " of %" PRIu32 " bytes",
                         what, i, seg.packs[i].size);
    if (lm_get_le32 (packs[i].epoch) != 0)
      return lm_error_set (err, LM_ERR_UNSUPPORTED,
                           "%s: pack %" PRIu32 ": key epoch %" PRIu32
                           "; this program lacks the feature 'key-epochs'",
                           what, i, lm_get_le32 (packs[i].epoch));
  }
  wire = (const void *) (plain + entries_at);
  for (i = 0; i < seg.nr_entries; i++) {
    if (lm_entry_check (&wire[i], seg.nr_packs, seg.nr_bases, UINT32_MAX,
                        what, i, &seg.entries[i], err) == -1)
      return -1;
    if ((uint64_t) seg.entries[i].offset + seg.entries[i].stored_len >
        seg.packs[seg.entries[i].pack].size)
      return lm_corrupt (err, "%s: entry %" PRIu32
                         " runs past the end of its pack", what, i);
    if (i > 0 && compare_entries (&seg.entries[i - 1],
                                  &seg.entries[i]) >= 0)
      return lm_corrupt (err, "%s: entry %" PRIu32 " is not in order", what,
                         i);
  }
  if (seg.nr_bases > 0)
    memcpy (seg.bases, plain + bases_at, (size_t) seg.nr_bases * LM_ID_LEN);
  *ret_seg = seg;
  memset (&seg, 0, sizeof seg);
  return 0;
}

int
lm_segment_get (struct lm_store *store, const struct lm_keys *keys,
                const uint8_t id[LM_NAME_ID_LEN], struct lm_segment *ret_seg,
                struct lm_error *err)
{
  CLEANUP_FREE uint8_t *object = NULL, *plain = NULL;
  char name[NAME_LEN + 1];
  size_t len, plain_len;

  segment_name (id, name);
  if (lm_store_get (store, name, SEGMENT_SIZE_MAX, &object, &len,
                    err) == -1)
    return lm_error_prefix (err, "%s", name);
  if (lm_open_object (keys, LM_TYPE_SEGMENT, id, LM_NAME_ID_LEN, object, len,
                      name, &plain, &plain_len, err) == -1)
    return -1;
  return lm_segment_decode (plain, plain_len, name, ret_seg, err);
}
