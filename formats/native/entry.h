/* SPDX-License-Identifier: Apache-2.0
 *
 * One entry of a pack's table of contents or of an index segment: where a
 * stored chunk is (native.md section 7).
 */
#ifndef LM_FORMATS_NATIVE_ENTRY_H
#define LM_FORMATS_NATIVE_ENTRY_H

#include <stdint.h>

#include "common/error.h"
#include "formats/native/native-wire.h"
#include "formats/native/seal.h"

/* Decoded and checked; `base` is an index + 1 into a table, or 0. */
struct lm_entry {
  uint8_t id[LM_ID_LEN];
  uint32_t pack;                /* index into a table of packs */
  uint32_t offset;              /* bytes, within the pack */
  uint32_t stored_len;          /* bytes */
  uint32_t plain_len;           /* bytes */
  uint8_t type;                 /* LM_TYPE_CHUNK or LM_TYPE_NODE */
  uint8_t encoding;
  uint32_t base;
};

/* The id of the chunk that E is stored against, in its table's BASES; NULL
 * when it is stored in full.  Who keeps a copy that has one must keep a
 * copy in full of that chunk too (native.md 6.2). */
extern const uint8_t *lm_entry_base (const struct lm_entry *e,
                                     const uint8_t (*bases)[LM_ID_LEN])
  __attribute__ ((nonnull (1)));

extern void lm_entry_encode (const struct lm_entry *e,
                             struct lm_entry_wire *wire)
  __attribute__ ((nonnull));

/* Decode without any check: for tables that were checked as a whole. */
extern void lm_entry_decode (const struct lm_entry_wire *wire,
                             struct lm_entry *ret_e)
  __attribute__ ((nonnull));

/* Decode and check one entry against its tables: PACKS and BASES entries,
 * data ending at END in its pack.  WHAT and NR name it in messages. */
extern int lm_entry_check (const struct lm_entry_wire *wire, uint32_t packs,
                           uint32_t bases, uint64_t end, const char *what,
                           uint32_t nr, struct lm_entry *ret_e,
                           struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
