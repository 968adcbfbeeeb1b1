/* SPDX-License-Identifier: Apache-2.0
 *
 * From snapshots to everything that they refer to.
 *
 * All maps are walked together, level by level: the nodes of a level are
 * sorted by id, so that one that is shared is read once, then looked up in
 * one pass over the index, then read in the order in which they lie.  What
 * is held is 32 bytes for each different leaf (8 MiB of disk).
 */
#ifndef LM_FORMATS_NATIVE_GC_WALK_H
#define LM_FORMATS_NATIVE_GC_WALK_H

#include <signal.h>
#include <stdint.h>

#include "common/error.h"
#include "formats/native/gc-packs.h"
#include "formats/native/gc-refs.h"
#include "formats/native/repository.h"

struct lm_gc_walk;

struct lm_gc_walk_statistics {
  uint64_t nodes;               /* different ones that were read */
  uint64_t node_bytes;          /* as stored: read and decrypted */
  uint64_t references;          /* entries of leaves, repeated ones too */
};

/* PACKS is where the references go; it is borrowed. */
extern struct lm_gc_walk *
lm_gc_walk_new (struct lm_repository *repo, struct lm_gc_packs *packs,
                unsigned threads, const volatile sig_atomic_t *cancel,
                struct lm_error *err)
  __attribute__ ((nonnull (1, 2, 5), warn_unused_result));
extern void lm_gc_walk_free (struct lm_gc_walk *w);

/* All disks and files of a snapshot. */
extern int lm_gc_walk_add (struct lm_gc_walk *w,
                           const struct lm_snapshot *snapshot,
                           struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Walk all that was added, and choose copies of all that is met.  A node
 * that can't be read is an error: what is below it is not known.  (One
 * that is marked as lost is passed over.)  */
extern int lm_gc_walk_run (struct lm_gc_walk *w,
                           struct lm_gc_walk_statistics *ret_statistics,
                           struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
