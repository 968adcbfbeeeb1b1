/* SPDX-License-Identifier: Apache-2.0
 * The part of a check that looks at the small objects beside the data:
 * journal, checkpoints, key slots, leases and pins.
 */
#ifndef LM_FORMATS_NATIVE_CHECK_OBJECTS_H
#define LM_FORMATS_NATIVE_CHECK_OBJECTS_H

#include "common/error.h"
#include "formats/native/check-packs.h"

extern int lm_check_objects (struct lm_check *c, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
