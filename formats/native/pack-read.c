/* SPDX-License-Identifier: Apache-2.0
 * Reading a pack's table of contents; see pack-read.h.
 */
#include <config.h>

#include "formats/native/pack-read.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "formats/native/pack-write.h"
#include "common/banned.h"

#define TOC_SIZE_MAX (64u << 20)

void
lm_pack_toc_release (struct lm_pack_toc *toc)
{
  free (toc->entries);
  free (toc->bases);
  memset (toc, 0, sizeof *toc);
}

int
lm_pack_toc_decode (const uint8_t *plain, size_t len, uint64_t data_end,
                    const char *what, struct lm_pack_toc *ret_toc,
                    struct lm_error *err)
{
  CLEANUP (lm_pack_toc_release) struct lm_pack_toc toc = { 0 };
  struct lm_toc_head_wire head;
  const struct lm_entry_wire *wire;
  uint64_t prev_end = sizeof (struct lm_pack_header_wire);
  uint64_t entries_end;
  uint32_t i;

  if (len < sizeof head)
    return lm_corrupt (err, "%s: table of contents of %zu bytes", what, len);
  memcpy (&head, plain, sizeof head);
  if (!lm_is_zero (head.zero, sizeof head.zero))
    return lm_corrupt (err, "%s: table of contents: not zero at 0x8", what);
  toc.data_end = data_end;
  toc.nr_entries = lm_get_le32 (head.entries);
  toc.nr_bases = lm_get_le32 (head.bases);
  if (lm_check_table (sizeof head, toc.nr_entries, sizeof *wire,
                      LM_ENTRIES_MAX, len, what, err) == -1)
    return -1;
  entries_end = sizeof head + (uint64_t) toc.nr_entries * sizeof *wire;
  if (lm_check_table (entries_end, toc.nr_bases, LM_ID_LEN, toc.nr_entries,
                      len, what, err) == -1)
    return -1;
  if (entries_end + (uint64_t) toc.nr_bases * LM_ID_LEN != len)
    return lm_corrupt (err, "%s: table of contents of %zu bytes, expected %"
                       PRIu64, what, len,
                       entries_end + (uint64_t) toc.nr_bases * LM_ID_LEN);

  toc.entries = calloc (toc.nr_entries + 1, sizeof *toc.entries);
  toc.bases = calloc (toc.nr_bases + 1, LM_ID_LEN);
  if (toc.entries == NULL || toc.bases == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "%s: out of memory", what);
  wire = (const void *) (plain + sizeof head);
  for (i = 0; i < toc.nr_entries; i++) {
    struct lm_entry *e = &toc.entries[i];

    if (lm_entry_check (&wire[i], 1, toc.nr_bases, data_end, what, i, e,
                        err) == -1)
      return -1;
    if (e->offset < prev_end)
      return lm_corrupt (err, "%s: entry %" PRIu32 " at 0x%" PRIx32
                         " overlaps the one before", what, i, e->offset);
    prev_end = (uint64_t) e->offset + e->stored_len;
  }
  if (toc.nr_bases > 0)
    memcpy (toc.bases, plain + entries_end,
            (size_t) toc.nr_bases * LM_ID_LEN);
  *ret_toc = toc;
  memset (&toc, 0, sizeof toc);
  return 0;
}

static int
check_header (const struct lm_keys *keys, const uint8_t id[LM_NAME_ID_LEN],
              const struct lm_pack_header_wire *h, const char *name,
              struct lm_error *err)
{
  if (memcmp (h->magic, LM_PACK_MAGIC, 4) != 0)
    return lm_corrupt (err, "%s: not a pack (wrong magic at 0x0)", name);
  if (lm_get_le16 (h->version) != LM_NATIVE_VERSION)
    return lm_error_set (err, LM_ERR_UNSUPPORTED,
                         "%s: pack version %u, this program knows 1", name,
                         lm_get_le16 (h->version));
  if (lm_get_le32 (h->epoch) != 0)
    return lm_error_set (err, LM_ERR_UNSUPPORTED,
                         "%s: key epoch %" PRIu32 "; this program lacks the "
                         "feature 'key-epochs'", name,
                         lm_get_le32 (h->epoch));
  if (!lm_is_zero (h->zero, sizeof h->zero) ||
      !lm_is_zero (h->zero2, sizeof h->zero2) ||
      !lm_is_zero (h->zero3, sizeof h->zero3))
    return lm_corrupt (err, "%s: not zero where the header must be (0x6, 0xc "
                       "or 0x30)", name);
  if (memcmp (h->repository, keys->repository, LM_NAME_ID_LEN) != 0)
    return lm_corrupt (err, "%s: belongs to another repository", name);
  if (memcmp (h->id, id, LM_NAME_ID_LEN) != 0)
    return lm_corrupt (err, "%s: is another pack under this name", name);
  return 0;
}

int
lm_pack_toc_read (struct lm_store *store, const struct lm_keys *keys,
                  const uint8_t id[LM_NAME_ID_LEN], uint64_t size,
                  struct lm_pack_toc *ret_toc, struct lm_error *err)
{
  char name[LM_PACK_NAME_LEN + 1];
  struct lm_pack_header_wire header;
  struct lm_pack_trailer_wire trailer;
  CLEANUP_FREE uint8_t *sealed = NULL, *plain = NULL;
  uint64_t toc, toc_end = size - sizeof trailer;
  size_t plain_len;

  lm_pack_name (id, name);
  if (size < sizeof header + sizeof trailer || size > LM_PACK_SIZE_MAX)
    return lm_corrupt (err, "%s: %" PRIu64 " bytes are no size of a pack",
                       name, size);
  if (lm_store_get_range (store, name, &header, sizeof header, 0, err) == -1)
    return lm_error_prefix (err, "%s", name);
  if (check_header (keys, id, &header, name, err) == -1)
    return -1;
  if (lm_store_get_range (store, name, &trailer, sizeof trailer, toc_end,
                          err) == -1)
    return lm_error_prefix (err, "%s", name);
  toc = lm_get_le64 (trailer.toc_offset);
  if (memcmp (trailer.magic, LM_PACK_MAGIC, 4) != 0)
    return lm_corrupt (err, "%s: wrong magic at the end (cut short?)", name);
  if (!lm_is_zero (trailer.zero, sizeof trailer.zero))
    return lm_corrupt (err, "%s: not zero at 0x%" PRIx64, name, size - 8);
  if (toc < sizeof header || toc >= toc_end || toc_end - toc > TOC_SIZE_MAX)
    return lm_corrupt (err, "%s: table of contents at 0x%" PRIx64
                       " of 0x%" PRIx64, name, toc, size);
  sealed = malloc (toc_end - toc);
  if (sealed == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "%s: out of memory", name);
  if (lm_store_get_range (store, name, sealed, toc_end - toc, toc,
                          err) == -1)
    return lm_error_prefix (err, "%s", name);
  if (lm_open_object (keys, LM_TYPE_PACK_TOC, id, LM_NAME_ID_LEN, sealed,
                      toc_end - toc, name, &plain, &plain_len, err) == -1)
    return -1;
  return lm_pack_toc_decode (plain, plain_len, toc, name, ret_toc, err);
}
