/* SPDX-License-Identifier: Apache-2.0
 *
 * Checking a repository: what is damaged, and which snapshots need it.
 *
 * Structure: every record of the journal and the chain of their hashes,
 * checkpoints, key slots, leases and pins; every live segment, every pack
 * that one names (size and sealed table of contents), every manifest,
 * every node of every map, and that every chunk referred to is stored,
 * with its base in full if it has one.
 * With read_data also: every stored chunk is read from the store,
 * authenticated, decoded, and its id computed again.
 *
 * Nothing is changed.
 */
#ifndef LM_FORMATS_NATIVE_CHECK_H
#define LM_FORMATS_NATIVE_CHECK_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "formats/native/repository.h"

struct lm_check_progress {
  uint64_t total, done;         /* bytes of packs, with read_data */
  const char *phase;            /* static: "packs", "maps", "data" */
};

struct lm_check_params {
  bool read_data;
  unsigned threads;             /* 0: one per core */
  void (*progress) (void *opaque, const struct lm_check_progress *p);
  /* One damaged object: its name, and why.  From one thread at a time.
   * Of a pack that is lost or has no table of contents only the pack. */
  void (*damage) (void *opaque, const char *object,
                  const struct lm_error *why);
  /* One disk (or file) of a snapshot needs something damaged: so many
   * bytes at OFFSET can't be read.  In order of offset. */
  void (*affected) (void *opaque, const char *snapshot, const char *disk,
                    uint64_t offset, uint64_t len);
  void *opaque;
  const volatile sig_atomic_t *cancel;
};

struct lm_check_result {
  uint64_t snapshots, segments, packs, chunks, nodes;
  uint64_t bytes_read;
  uint64_t damaged;             /* objects and chunks */
  uint64_t unreferenced_packs;  /* of no segment; left by interruptions */
};

/* 0 also when damage was found: see damaged.  -1 when the check itself
 * could not be done. */
extern int lm_check_run (struct lm_repository *repo,
                         const struct lm_check_params *params,
                         struct lm_check_result *ret_result,
                         struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
