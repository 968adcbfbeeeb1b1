/* SPDX-License-Identifier: Apache-2.0
 *
 * Every stored structure as stable text, for people, tests and reports of
 * bugs.  Key material is never shown, nor is what would help to guess a
 * passphrase.
 */
#ifndef LM_FORMATS_NATIVE_INSPECT_H
#define LM_FORMATS_NATIVE_INSPECT_H

#include "common/buffer.h"
#include "common/error.h"
#include "formats/native/repository.h"
#include "formats/store.h"

/* Append the text of OBJECT to OUT.  OBJECT is
 *
 *   the name of an object in the store (native.md section 2), or
 *   chunk/<64 hex>   a data chunk: where it is stored, and its first bytes
 *   node/<64 hex>    a map node
 *
 * REPO may be NULL: then of sealed objects only the header is shown.  It
 * is loaded, if it was not, for chunks and nodes only.  What can be said
 * of a damaged object is in OUT even when this fails. */
extern int lm_inspect (struct lm_repository *repo, struct lm_store *store,
                       const char *object, struct lm_buffer *out,
                       struct lm_error *err)
  __attribute__ ((nonnull (2, 3, 4, 5), warn_unused_result));

#endif
