/* SPDX-License-Identifier: Apache-2.0
 *
 * From the LOCATION that a person names to a store.
 */
#ifndef LM_FORMATS_STORE_STORE_OPEN_H
#define LM_FORMATS_STORE_STORE_OPEN_H

#include <stdbool.h>

#include "formats/store.h"

/* LOCATION is a path or dir:PATH.  What looks like another SCHEME: is
 * LM_ERR_UNSUPPORTED; a path with a colon in its first component is
 * written ./PATH.  CREATE and errors as in store-dir.h. */
extern int lm_store_open (const char *location, bool create,
                          struct lm_store **ret, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
