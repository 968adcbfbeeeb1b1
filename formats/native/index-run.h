/* SPDX-License-Identifier: Apache-2.0
 *
 * The mapped form of the index: one sorted file ("run") that covers some
 * index segments, private to this client, in its cache folder.  Opening
 * reads its first page only; a look-up touches a page or two, found by
 * interpolation since ids are uniform.  A run may be deleted at any time.
 *
 * It is trusted like any file in the user's own folder, and no further:
 * a wrong entry can make a read fail, but never return wrong data, for
 * each chunk is authenticated under its id.
 */
#ifndef LM_FORMATS_NATIVE_INDEX_RUN_H
#define LM_FORMATS_NATIVE_INDEX_RUN_H

#include <stdint.h>

#include "common/error.h"
#include "formats/native/entry.h"
#include "formats/native/segment.h"

struct lm_index_run;

/* Map PATH, relative to DIRFD.  LM_ERR_CORRUPT when it is no run of
 * REPOSITORY, or of another version of this program: delete it then. */
extern struct lm_index_run *
lm_index_run_open (int dirfd, const char *path,
                   const uint8_t repository[LM_NAME_ID_LEN],
                   struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Unmap.  NULL is fine. */
extern void lm_index_run_close (struct lm_index_run *run);

extern uint64_t lm_index_run_entries (const struct lm_index_run *run);
extern uint32_t lm_index_run_packs (const struct lm_index_run *run);
extern const char *lm_index_run_path (const struct lm_index_run *run);

/* The segments that it covers, 16 bytes each; borrowed. */
extern const uint8_t (*lm_index_run_segments (const struct lm_index_run *run,
                                              uint32_t *ret_n))
  [LM_NAME_ID_LEN];

/* Id and size of pack number NR. */
extern void lm_index_run_pack (const struct lm_index_run *run, uint32_t nr,
                               struct lm_segment_pack *ret_pack);

/* The position of the first entry with this id, or the number of entries
 * when there is none.  Others with the same id follow it. */
extern uint64_t lm_index_run_find (const struct lm_index_run *run,
                                   const uint8_t id[LM_ID_LEN]);

/* For a pass over all of it: the first position from FROM on whose id is
 * not less than KEY in its first 8 bytes (big-endian), or the number of
 * entries.  Cheap when it is near FROM. */
extern uint64_t lm_index_run_seek (const struct lm_index_run *run,
                                   uint64_t from, uint64_t key);
/* The first 8 bytes of the id at POS, likewise. */
extern uint64_t lm_index_run_key (const struct lm_index_run *run,
                                  uint64_t pos);
/* A pass is through with the entries in [FROM, TO): they need not stay in
 * this process's memory, and what follows will be read soon. */
extern void lm_index_run_passed (const struct lm_index_run *run,
                                 uint64_t from, uint64_t to);

/* Decode the entry at POS.  The pack is a number for lm_index_run_pack.
 * LM_ERR_CORRUPT when it points outside of the run's tables. */
extern int lm_index_run_get (const struct lm_index_run *run, uint64_t pos,
                             struct lm_entry *ret_e,
                             uint8_t ret_base[LM_ID_LEN],
                             struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* What a new run is made of. */
struct lm_index_run_source {
  const uint8_t (*segments)[LM_NAME_ID_LEN];    /* that it stands for */
  uint32_t nr_segments;
  const struct lm_segment *segment;             /* either this */
  const struct lm_index_run *run;               /* or that */
};

/* Merge N sources into a new run, synced, under a new random name
 * "run-<32 hex>" in DIRFD; *ret_name is its name. */
#define LM_INDEX_RUN_NAME_LEN 36
extern int lm_index_run_build (int dirfd,
                               const uint8_t repository[LM_NAME_ID_LEN],
                               const struct lm_index_run_source *sources,
                               size_t n,
                               char ret_name[LM_INDEX_RUN_NAME_LEN + 1],
                               struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
