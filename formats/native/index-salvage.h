/* SPDX-License-Identifier: Apache-2.0
 *
 * What a lost index segment named: found again from the tables of
 * contents of the packs themselves (native.md section 8).
 */
#ifndef LM_FORMATS_NATIVE_INDEX_SALVAGE_H
#define LM_FORMATS_NATIVE_INDEX_SALVAGE_H

#include <stddef.h>

#include "common/error.h"
#include "formats/native/id-set.h"
#include "formats/native/keys.h"
#include "formats/native/segment-list.h"
#include "formats/store.h"

/* Read every whole pack of the store that is not in KNOWN; adds its id
 * (value: size) to FOUND.  Packs that are not whole are left out.  The
 * segments are in memory only, their entries sorted. */
extern int lm_index_salvage_run (struct lm_store *store,
                                 const struct lm_keys *keys,
                                 const struct lm_id_set *known,
                                 struct lm_id_set *found,
                                 struct lm_segment_list *ret_segments,
                                 struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
