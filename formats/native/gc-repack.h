/* SPDX-License-Identifier: Apache-2.0
 *
 * Copy what is needed of some packs into new ones, as it is stored.
 */
#ifndef LM_FORMATS_NATIVE_GC_REPACK_H
#define LM_FORMATS_NATIVE_GC_REPACK_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/json.h"
#include "formats/native/gc-packs.h"
#include "formats/native/repository.h"

struct lm_gc_repack {
  const size_t *packs;          /* numbers in a struct lm_gc_packs */
  size_t n;
  unsigned threads;             /* at least 1 */
  const volatile sig_atomic_t *cancel;  /* or NULL */
};

struct lm_gc_repacked {
  uint64_t copied;              /* bytes */
  uint8_t (*damaged)[LM_NAME_ID_LEN];   /* packs that must stay; owned */
  size_t nr_damaged;
};

/* Every chunk is authenticated and its id computed before it is copied; a
 * pack in which one is damaged stays as it is.  The new packs are durable
 * when this returns, and CHANGES (a JSON array) has what a record must say
 * of their index segments. */
extern int lm_gc_repack_run (struct lm_repository *repo,
                             const struct lm_gc_packs *packs,
                             const struct lm_gc_repack *what,
                             json_t *changes,
                             struct lm_gc_repacked *ret_repacked,
                             struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
