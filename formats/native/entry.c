/* SPDX-License-Identifier: Apache-2.0
 * Entries; see entry.h.
 */
#include <config.h>

#include "formats/native/entry.h"

#include <inttypes.h>
#include <string.h>

#include "common/checked.h"
#include "common/banned.h"

#define LOW24 0xffffffu

const uint8_t *
lm_entry_base (const struct lm_entry *e, const uint8_t (*bases)[LM_ID_LEN])
{
  return e->base > 0 ? bases[e->base - 1] : NULL;
}

void
lm_entry_encode (const struct lm_entry *e, struct lm_entry_wire *wire)
{
  memcpy (wire->id, e->id, LM_ID_LEN);
  wire->pack = lm_put_le32 (e->pack);
  wire->offset = lm_put_le32 (e->offset);
  wire->stored_len_encoding =
    lm_put_le32 (e->stored_len | (uint32_t) e->encoding << 24);
  wire->plain_len_type =
    lm_put_le32 (e->plain_len | (uint32_t) e->type << 24);
  wire->base = lm_put_le32 (e->base);
}

void
lm_entry_decode (const struct lm_entry_wire *wire, struct lm_entry *ret_e)
{
  uint32_t stored = lm_get_le32 (wire->stored_len_encoding);
  uint32_t plain = lm_get_le32 (wire->plain_len_type);

  memcpy (ret_e->id, wire->id, LM_ID_LEN);
  ret_e->pack = lm_get_le32 (wire->pack);
  ret_e->offset = lm_get_le32 (wire->offset);
  ret_e->stored_len = stored & LOW24;
  ret_e->encoding = stored >> 24;
  ret_e->plain_len = plain & LOW24;
  ret_e->type = plain >> 24;
  ret_e->base = lm_get_le32 (wire->base);
}

int
lm_entry_check (const struct lm_entry_wire *wire, uint32_t packs,
                uint32_t bases, uint64_t end, const char *what, uint32_t nr,
                struct lm_entry *ret_e, struct lm_error *err)
{
  struct lm_entry e;

  lm_entry_decode (wire, &e);
  if (e.pack >= packs)
    return lm_corrupt (err, "%s: entry %" PRIu32 ": pack %" PRIu32 " of %"
                       PRIu32, what, nr, e.pack, packs);
  if (e.offset < sizeof (struct lm_pack_header_wire) ||
      !lm_range_ok (e.offset, e.stored_len, end))
    return lm_corrupt (err, "%s: entry %" PRIu32 " at 0x%" PRIx32 " (%"
                       PRIu32 " bytes) lies outside the pack's data (to 0x%"
                       PRIx64 ")", what, nr, e.offset, e.stored_len, end);
  if (e.type != LM_TYPE_CHUNK && e.type != LM_TYPE_NODE)
    return lm_corrupt (err, "%s: entry %" PRIu32 ": type %u", what, nr,
                       e.type);
  if (e.plain_len == 0 ||
      e.plain_len > (e.type == LM_TYPE_NODE ? LM_NODE_SIZE_MAX
                     : LM_CHUNK_SIZE_MAX))
    return lm_corrupt (err, "%s: entry %" PRIu32 ": plain length %" PRIu32,
                       what, nr, e.plain_len);
  if (e.base > bases)
    return lm_corrupt (err, "%s: entry %" PRIu32 ": base %" PRIu32 " of %"
                       PRIu32, what, nr, e.base, bases);
  if ((e.base != 0) != (e.encoding == LM_ENCODING_ZSTD_BASE))
    return lm_corrupt (err, "%s: entry %" PRIu32 ": encoding %u with base %"
                       PRIu32, what, nr, e.encoding, e.base);
  if (e.base != 0 && e.type != LM_TYPE_CHUNK)
    return lm_corrupt (err, "%s: entry %" PRIu32 ": a map node with a base",
                       what, nr);
  *ret_e = e;
  return 0;
}
