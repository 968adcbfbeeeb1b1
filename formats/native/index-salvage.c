/* SPDX-License-Identifier: Apache-2.0
 * Index entries from packs; see index-salvage.h.
 */
#include <config.h>

#include "formats/native/index-salvage.h"

#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/hex.h"
#include "common/log.h"
#include "formats/native/pack-read.h"
#include "formats/native/pack-write.h"
#include "common/banned.h"

struct run {
  struct lm_store *store;
  const struct lm_keys *keys;
  const struct lm_id_set *known;
  struct lm_id_set *found;
  struct lm_segment_list *found_segments;
};

static int
salvage_pack (void *opaque, const char *name, uint64_t size,
              struct lm_error *err)
{
  struct run *r = opaque;
  CLEANUP (lm_pack_toc_release) struct lm_pack_toc toc = { 0 };
  struct lm_error why = LM_ERROR_INIT;
  uint8_t id[LM_NAME_ID_LEN];
  struct lm_segment *seg;

  if (strlen (name) != LM_PACK_NAME_LEN ||
      lm_hex_decode (name + 9, id, sizeof id) == -1 ||
      lm_id_set_has (r->known, id))
    return 0;
  if (lm_pack_toc_read (r->store, r->keys, id, size, &toc, &why) == -1) {
    lm_debug (LM_DEBUG_REPOSITORY, "not salvaged: %s", why.message);
    return why.kind == LM_ERR_NOMEM ? (*err = why, -1) : 0;
  }
  seg = lm_segment_list_room (r->found_segments, toc.nr_entries, err);
  if (seg == NULL ||
      lm_segment_add_pack (seg, id, size, toc.entries, toc.nr_entries,
                           (const uint8_t (*)[LM_ID_LEN]) toc.bases,
                           err) == -1)
    return -1;
  return lm_id_set_add (r->found, id, size, err);
}

int
lm_index_salvage_run (struct lm_store *store, const struct lm_keys *keys,
                      const struct lm_id_set *known, struct lm_id_set *found,
                      struct lm_segment_list *ret_segments,
                      struct lm_error *err)
{
  CLEANUP (lm_segment_list_release) struct lm_segment_list s =
    LM_SEGMENT_LIST_INIT;
  struct run r = { store, keys, known, found, &s };
  size_t i;

  if (lm_store_list (store, "packs", salvage_pack, &r, err) == -1)
    return -1;
  for (i = 0; i < s.n; i++)
    lm_segment_sort (&s.segments[i]);
  *ret_segments = s;
  s = (struct lm_segment_list) LM_SEGMENT_LIST_INIT;
  return 0;
}
