/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading a pack's table of contents (native.md section 7), from its end.
 * The chunks themselves are read where an entry says, see chunk-read.h.
 */
#ifndef LM_FORMATS_NATIVE_PACK_READ_H
#define LM_FORMATS_NATIVE_PACK_READ_H

#include <stdint.h>

#include "common/error.h"
#include "formats/native/entry.h"
#include "formats/native/keys.h"
#include "formats/store.h"

struct lm_pack_toc {
  uint64_t data_end;            /* bytes; where the table begins */
  uint32_t nr_entries;
  struct lm_entry *entries;     /* by offset */
  uint32_t nr_bases;
  uint8_t (*bases)[LM_ID_LEN];
};

/* Read and check all of it.  SIZE is the object's size in bytes. */
extern int lm_pack_toc_read (struct lm_store *store,
                             const struct lm_keys *keys,
                             const uint8_t id[LM_NAME_ID_LEN], uint64_t size,
                             struct lm_pack_toc *ret_toc,
                             struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Decode the plain bytes of a table (after authentication). */
extern int lm_pack_toc_decode (const uint8_t *plain, size_t len,
                               uint64_t data_end, const char *what,
                               struct lm_pack_toc *ret_toc,
                               struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

extern void lm_pack_toc_release (struct lm_pack_toc *toc)
  __attribute__ ((nonnull));

#endif
