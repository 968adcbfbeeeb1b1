/* SPDX-License-Identifier: Apache-2.0
 * The part of a check that looks at segments and packs.
 */
#ifndef LM_FORMATS_NATIVE_CHECK_PACKS_H
#define LM_FORMATS_NATIVE_CHECK_PACKS_H

#include "common/error.h"
#include "formats/native/check.h"
#include "formats/native/id-set.h"

/* What the parts of a check share. */
struct lm_check {
  struct lm_repository *repo;
  const struct lm_check_params *params;
  struct lm_check_result *result;
  /* Chunks and nodes with at least one good copy (type byte ‖ id; the
   * value is enum lm_check_good).  After the structure phase: stored by a
   * good table of contents; after the data phase: read and found right. */
  struct lm_id_set good;
  /* Chunks with a copy whose base has no good copy in full: chunk id ->
   * index into orphan_bases. */
  struct lm_id_set orphans;
  uint8_t (*orphan_bases)[LM_ID_LEN];
  /* Those of which damage was reported already. */
  struct lm_id_set reported;
  /* Packs that were reported as a whole: lost, cut short, or without a
   * readable table of contents. */
  struct lm_id_set reported_packs;
};

enum lm_check_good {
  LM_CHECK_GOOD_DELTA,          /* with a base that is good in full */
  LM_CHECK_GOOD_FULL,
};

#define LM_CHECK_KEY_LEN (1 + LM_ID_LEN)

extern void lm_check_key (enum lm_object_type type,
                          const uint8_t id[LM_ID_LEN],
                          uint8_t out[LM_CHECK_KEY_LEN]);

/* Report one damaged object. */
extern void lm_check_damage (struct lm_check *c, const char *object,
                             const struct lm_error *why);

extern int lm_check_packs (struct lm_check *c, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
