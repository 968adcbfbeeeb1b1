/* SPDX-License-Identifier: Apache-2.0
 *
 * Garbage collection: give back what no snapshot needs (docs/gc.md, and
 * native.md section 12 for what other programs must know).
 *
 * It may run beside backups, mounts and other collections, and may be
 * killed at any moment; the next one goes on from what the journal says.
 */
#ifndef LM_FORMATS_NATIVE_GC_H
#define LM_FORMATS_NATIVE_GC_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "formats/native/repository.h"

/* Of what is stored, so many percent may be unused before packs that are
 * partly unused are copied together. */
#define LM_GC_MAX_UNUSED 10

struct lm_gc_params {
  bool dry_run;                 /* change nothing; say what would happen */
  bool wait;                    /* for running backups; else the packs that
                                 * they might still use wait for the next
                                 * collection */
  unsigned max_unused;          /* percent, 0 to 100 */
  unsigned threads;             /* 0: one per core */
  /* From the calling thread; TOTAL 0: unknown. */
  void (*progress) (void *opaque, const char *phase, uint64_t done,
                    uint64_t total);
  void *opaque;
  const volatile sig_atomic_t *cancel;  /* or NULL */
};

struct lm_gc_count {
  uint64_t packs, bytes;
};

struct lm_gc_result {
  uint64_t snapshots;           /* that were marked from, pinned included */
  uint64_t pinned;              /* of them, forgotten but pinned */
  uint64_t nodes, node_bytes;   /* of maps, read and decrypted */
  uint64_t references;          /* of leaves to chunks */
  uint64_t missing;             /* needed, and stored nowhere */
  double mark_seconds;          /* of the first mark */
  struct lm_gc_count stored;    /* before */
  uint64_t live_bytes;          /* of them, needed */
  struct lm_gc_count condemned; /* that nothing needs, by this run */
  struct lm_gc_count spared;    /* condemned, and needed after all */
  struct lm_gc_count repacked;  /* that were partly needed, by this run */
  uint64_t copied;              /* bytes of them that are needed */
  struct lm_gc_count deleted;
  struct lm_gc_count waiting;   /* condemned, to be deleted later */
  uint64_t blockers;            /* operations that they wait for */
  uint64_t objects;             /* other objects that were removed */
  uint64_t damaged;             /* packs that could not be repacked */
};

/* With dry_run, condemned and deleted count what would be.  LM_ERR_CORRUPT
 * when a map can't be read: then nothing was changed. */
extern int lm_gc_run (struct lm_repository *repo,
                      const struct lm_gc_params *params,
                      struct lm_gc_result *ret_result, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
