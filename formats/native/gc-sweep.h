/* SPDX-License-Identifier: Apache-2.0
 *
 * The end of `gc`: packs are taken out of the index, deleted by record,
 * and then removed; and so are other objects that nothing names.
 */
#ifndef LM_FORMATS_NATIVE_GC_SWEEP_H
#define LM_FORMATS_NATIVE_GC_SWEEP_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "formats/native/id-set.h"
#include "formats/native/journal-state.h"
#include "formats/native/lease.h"
#include "formats/native/repository.h"

/* Delete these packs: ids, and as values the records that condemned them.
 * LM_ERR_EXISTS when another collection spared or deleted one, or another
 * writer merged segments: mark anew, and try again.  *RET_REMOVED is how
 * many objects went; one that can't be removed after the record is left to
 * the next collection. */
extern int lm_gc_sweep_packs (struct lm_repository *repo,
                              struct lm_lease *lease, const char *writer,
                              const struct lm_id_set *packs,
                              uint64_t *ret_removed, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* A guard for records about condemned packs: those of *OPAQUE, a struct
 * lm_id_set like above, are condemned by the same records still.  Else
 * LM_ERR_EXISTS. */
extern int lm_gc_still_condemned (const struct lm_journal_state *state,
                                  const void *opaque, struct lm_error *err);

/* Manifests and segments that the journal does not name. */
struct lm_gc_strays {
  uint8_t (*snapshots)[LM_NAME_ID_LEN];
  size_t nr_snapshots;
  uint8_t (*segments)[LM_NAME_ID_LEN];
  size_t nr_segments;
};

/* List those that are none of the state's, nor of PINNED (snapshot ids).
 * Some may belong to a writer that has not committed yet. */
extern int lm_gc_strays_list (struct lm_repository *repo,
                              const struct lm_id_set *pinned,
                              struct lm_gc_strays *ret_strays,
                              struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
extern void lm_gc_strays_release (struct lm_gc_strays *strays)
  __attribute__ ((nonnull));

/* Remove those that are still none of the state's.  Only when every writer
 * that was at work when they were listed has ended, and the state was
 * loaded after that.  Best effort; returns how many went. */
extern uint64_t lm_gc_strays_remove (struct lm_repository *repo,
                                     const struct lm_gc_strays *strays)
  __attribute__ ((nonnull));

#endif
