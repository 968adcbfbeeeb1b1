/* SPDX-License-Identifier: Apache-2.0
 *
 * The packs of a repository and which of their entries are needed: what
 * `gc` decides from.
 *
 * Of every id that is referred to one stored copy is chosen, by a bit for
 * its entry in the mapped index: one in a pack that is not condemned if
 * there is any, and if the chunk is somebody's base one that is stored in
 * full.  Everything that is not chosen can go.
 *
 * One thread at a time.
 */
#ifndef LM_FORMATS_NATIVE_GC_PACKS_H
#define LM_FORMATS_NATIVE_GC_PACKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "formats/native/gc-refs.h"
#include "formats/native/id-set.h"
#include "formats/native/index-run.h"
#include "formats/native/repository.h"

struct lm_gc_pack {
  uint8_t id[LM_NAME_ID_LEN];
  uint64_t size;                /* bytes in the store; 0: not there */
  uint64_t live;                /* bytes of the chosen entries, with what
                                 * the table of contents has of them */
  uint32_t live_entries;
  bool indexed;                 /* a live segment names it... */
  bool whole;                   /* ...with the size that it has */
  bool condemned;
};

/* A run of the index, with what belongs to its entries. */
struct lm_gc_run {
  const struct lm_index_run *run;       /* borrowed */
  uint32_t *packs;              /* its pack numbers -> ours */
  uint8_t *chosen;              /* a bit for each entry */
};

struct lm_gc_packs {
  struct lm_gc_pack *packs;
  size_t n, alloc;
  struct lm_id_set numbers;     /* id -> index into packs */
  struct lm_gc_run *runs;
  size_t nr_runs;
  struct lm_gc_refs bases;      /* of chosen deltas, not yet applied */
  uint64_t missing;             /* references to what is stored nowhere */
};

/* Take stock: what the index names, and what the store lists.  The
 * index of REPO is borrowed, and was synced strictly. */
extern int lm_gc_packs_init (struct lm_gc_packs *p,
                             struct lm_repository *repo,
                             struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
extern void lm_gc_packs_release (struct lm_gc_packs *p)
  __attribute__ ((nonnull));

/* Choose a copy of everything in REFS, which is sorted by this and empty
 * afterwards. */
extern int lm_gc_packs_apply (struct lm_gc_packs *p, struct lm_gc_refs *refs,
                              struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* After the last of them: the bases that chosen deltas need. */
extern int lm_gc_packs_apply_bases (struct lm_gc_packs *p,
                                    struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Is the entry of ID at OFFSET in pack NR chosen? */
extern bool lm_gc_packs_chosen (const struct lm_gc_packs *p, size_t nr,
                                uint32_t offset,
                                const uint8_t id[LM_ID_LEN])
  __attribute__ ((nonnull));

#endif
