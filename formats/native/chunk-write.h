/* SPDX-License-Identifier: Apache-2.0
 *
 * From plain bytes to a stored chunk: deduplicate, encode, seal, pack,
 * and in the end the index segments that name what was stored.
 *
 * Whole packs that no segment names (a backup that was killed) count for
 * deduplication, and the new segment names them: what was stored before
 * an interruption is used by the next backup.
 *
 * A changed chunk may be stored against the one that it replaces (native.md
 * section 6.2).  The rules of that section about what counts are kept
 * here and in chunk-index.c.
 */
#ifndef LM_FORMATS_NATIVE_CHUNK_WRITE_H
#define LM_FORMATS_NATIVE_CHUNK_WRITE_H

#include <stdint.h>

#include "common/error.h"
#include "common/json.h"
#include "formats/native/native-wire.h"
#include "formats/native/seal.h"

struct lm_repository;
struct lm_chunk_writer;
struct lm_disk_map;

/* Bytes, but for the first two. */
struct lm_chunk_writer_statistics {
  uint64_t chunks_new;          /* data chunks and nodes */
  uint64_t chunks_deduplicated;
  uint64_t new_plain;           /* data chunks only */
  uint64_t deduplicated_plain;  /* data chunks only */
  uint64_t stored;              /* as sealed, chunks and nodes */
};

/* Lists the store's packs.  REPO is borrowed and must be loaded. */
extern struct lm_chunk_writer *
lm_chunk_writer_new (struct lm_repository *repo, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
extern void lm_chunk_writer_free (struct lm_chunk_writer *w);

/* Store PLAIN unless a whole copy exists; *ret_id is its id.  Any thread;
 * the chunk is durable after _finish. */
extern int lm_chunk_write (struct lm_chunk_writer *w,
                           enum lm_object_type type, const void *plain,
                           uint32_t len, uint8_t ret_id[LM_ID_LEN],
                           struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Where a data chunk was before: chunk NR of MAP, the same disk in the
 * parent snapshot.  What is there serves as a base when that pays; that it
 * can't be read is no failure. */
struct lm_chunk_parent {
  struct lm_disk_map *map;      /* borrowed */
  uint64_t nr;
};

/* The same for a data chunk that has a parent. */
extern int lm_chunk_write_near (struct lm_chunk_writer *w,
                                const struct lm_chunk_parent *parent,
                                const void *plain, uint32_t len,
                                uint8_t ret_id[LM_ID_LEN],
                                struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Wait for all packs, store the index segments, and append to CHANGES
 * (a JSON array) what a journal record must say about them. */
extern int lm_chunk_writer_finish (struct lm_chunk_writer *w,
                                   json_t *changes, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* May be called at any time. */
extern void
lm_chunk_writer_get_statistics (struct lm_chunk_writer *w,
                                struct lm_chunk_writer_statistics *ret)
  __attribute__ ((nonnull));

#endif
