/* SPDX-License-Identifier: Apache-2.0
 * What index-run.c reads and index-run-build.c writes.
 *
 *   offset  what
 *   0       struct lm_run_header, zero-padded to LM_RUN_HEADER_SIZE
 *   4096    segment ids, 16 bytes each
 *           packs, 24 bytes each (as in a segment)
 *           base ids, 32 bytes each
 *           entries, 52 bytes each, sorted by id
 *
 * A run is synced before it gets its name, so one that has a name is
 * whole.
 */
#ifndef LM_FORMATS_NATIVE_INDEX_RUN_INTERNAL_H
#define LM_FORMATS_NATIVE_INDEX_RUN_INTERNAL_H

#include "formats/native/native-wire.h"

/* The last byte is the version of this private form. */
#define LM_RUN_MAGIC "LMRUN\0\0\1"
#define LM_RUN_HEADER_SIZE 4096

struct lm_run_header {
  uint8_t magic[8];
  uint8_t repository[LM_NAME_ID_LEN];
  lm_le64 segments, packs, bases, entries;
};

#endif
