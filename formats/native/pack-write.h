/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing packs (native.md section 7).
 *
 * Chunks are appended to a buffer in memory; a full one is handed to a
 * thread of the writer's own that puts it into the store, so that
 * compressing never waits for a disk unless the disk is slower for good.
 * At most three packs are in memory at once.
 */
#ifndef LM_FORMATS_NATIVE_PACK_WRITE_H
#define LM_FORMATS_NATIVE_PACK_WRITE_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "formats/native/entry.h"
#include "formats/native/keys.h"
#include "formats/store.h"

/* Writers close a pack when it has reached this, or its plain table of
 * contents that. */
#define LM_PACK_TARGET_SIZE (32u << 20)
#define LM_PACK_TOC_TARGET_SIZE (60u << 20)

struct lm_pack_writer;

/* A pack that is on stable storage.  The entries are the writer's. */
struct lm_pack_done {
  uint8_t id[LM_NAME_ID_LEN];
  uint32_t size;                /* bytes */
  const struct lm_entry *entries;
  uint32_t nr_entries;
  const uint8_t (*bases)[LM_ID_LEN];    /* what entries say `base` of */
};

/* Called from the writer's thread, for one pack at a time. */
typedef int (*lm_pack_done_cb) (void *opaque,
                                const struct lm_pack_done *done,
                                struct lm_error *err);

/* STORE and KEYS are borrowed. */
extern struct lm_pack_writer *
lm_pack_writer_new (struct lm_store *store, const struct lm_keys *keys,
                    lm_pack_done_cb done, void *opaque,
                    struct lm_error *err)
  __attribute__ ((nonnull (1, 2, 3, 5), warn_unused_result));

/* Append a sealed chunk.  Any thread.  A failure of an earlier pack is
 * reported here too: nothing more can be written then. */
extern int lm_pack_writer_add (struct lm_pack_writer *w,
                               const struct lm_chunk_ref *ref,
                               const uint8_t *stored, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Close the pack that is being filled, and wait until all are stored. */
extern int lm_pack_writer_finish (struct lm_pack_writer *w,
                                  struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Give up what is in memory.  NULL is fine. */
extern void lm_pack_writer_free (struct lm_pack_writer *w);

/* "packs/ab/ab…" for an id. */
#define LM_PACK_NAME_LEN 41
extern void lm_pack_name (const uint8_t id[LM_NAME_ID_LEN],
                          char out[LM_PACK_NAME_LEN + 1]);

#endif
