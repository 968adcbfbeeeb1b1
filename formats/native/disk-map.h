/* SPDX-License-Identifier: Apache-2.0
 *
 * Disk maps: Merkle trees from chunk numbers to chunk ids (native.md
 * section 10).
 *
 * Nodes are handled decoded: 128 ids, of which the absent ones are all
 * zeros.  (No keyed hash gives all zeros but by an accident of 2^-256.)
 */
#ifndef LM_FORMATS_NATIVE_DISK_MAP_H
#define LM_FORMATS_NATIVE_DISK_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/error.h"
#include "formats/native/native-wire.h"

struct lm_repository;

struct lm_map_node {
  uint8_t ids[LM_NODE_FANOUT][LM_ID_LEN];
};

static inline bool
lm_id_is_zero (const uint8_t id[LM_ID_LEN])
{
  uint64_t a[4];

  memcpy (a, id, sizeof a);
  return (a[0] | a[1] | a[2] | a[3]) == 0;
}

/* Encode; returns the length, or 0 when no entry is present. */
extern size_t lm_map_node_encode (const struct lm_map_node *node, int level,
                                  uint8_t out[LM_NODE_SIZE_MAX])
  __attribute__ ((nonnull));

/* Decode and check: the level must be LEVEL, entries from LIMIT on must
 * be absent. */
extern int lm_map_node_decode (const uint8_t *plain, size_t len, int level,
                               int limit, struct lm_map_node *ret_node,
                               struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* The height of the map of N chunks (section 10), at least 1. */
extern int lm_map_height (uint64_t nr_chunks);

/* How many chunks one entry of a node of LEVEL covers: 128^(level-1). */
static inline uint64_t
lm_map_span (int level)
{
  return UINT64_C (1) << (LM_NODE_FANOUT_LOG2 * (level - 1));
}

/* A map that is read: nodes are fetched when they are needed, and the
 * most recent ones kept (at most 1,024 of 4 KiB).  Any thread. */
struct lm_disk_map;

/* ROOT NULL is the map of a disk of zeros.  WHAT names the disk in
 * messages.  Nothing is read yet. */
extern struct lm_disk_map *
lm_disk_map_new (struct lm_repository *repo, uint64_t nr_chunks,
                 const uint8_t *root_or_null, const char *what,
                 struct lm_error *err)
  __attribute__ ((nonnull (1, 4, 5), warn_unused_result));
extern void lm_disk_map_free (struct lm_disk_map *map);

/* The id of chunk NR; zeros when it is absent. */
extern int lm_disk_map_get (struct lm_disk_map *map, uint64_t nr,
                            uint8_t ret_id[LM_ID_LEN], struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Leaf number LEAF (chunks LEAF·128 …) and its own id; all zeros when it
 * is absent or beyond the map. */
extern int lm_disk_map_leaf (struct lm_disk_map *map, uint64_t leaf,
                             struct lm_map_node *ret_node,
                             uint8_t ret_id[LM_ID_LEN], struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* The first chunk >= FROM that is present, or nr_chunks; absent subtrees
 * are skipped without being read.  Looks no further than LIMIT: what lies
 * beyond costs nothing, and may be damaged. */
extern int lm_disk_map_next (struct lm_disk_map *map, uint64_t from,
                             uint64_t limit, uint64_t *ret_nr,
                             struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
/* The first chunk >= FROM that is absent, or nr_chunks; looks no further
 * than LIMIT. */
extern int lm_disk_map_next_absent (struct lm_disk_map *map, uint64_t from,
                                    uint64_t limit, uint64_t *ret_nr,
                                    struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Called for ranges of chunk numbers that differ, in order. */
typedef int (*lm_map_diff_cb) (void *opaque, uint64_t chunk, uint64_t count,
                               struct lm_error *err);

/* Compare two maps; equal subtrees are skipped without being read.
 * Chunks beyond the shorter one's end count as zeros there. */
extern int lm_disk_map_diff (struct lm_disk_map *a, struct lm_disk_map *b,
                             lm_map_diff_cb cb, void *opaque,
                             struct lm_error *err)
  __attribute__ ((nonnull (1, 2, 3, 5), warn_unused_result));

/* Visit every present node and chunk of a map once per parent, parents
 * first.  NODE is called before a node is read (with its first chunk
 * number) and may return 1 to skip its subtree; a node that can't be read
 * is reported to BAD, and the walk goes on.  */
struct lm_map_visitor {
  int (*node) (void *opaque, int level, uint64_t first_chunk,
               const uint8_t id[LM_ID_LEN], struct lm_error *err);
  int (*chunk) (void *opaque, uint64_t nr, const uint8_t id[LM_ID_LEN],
                struct lm_error *err);
  int (*bad) (void *opaque, int level, uint64_t first_chunk,
              const uint8_t id[LM_ID_LEN], const struct lm_error *why,
              struct lm_error *err);
};
extern int lm_disk_map_walk (struct lm_disk_map *map,
                             const struct lm_map_visitor *visitor,
                             void *opaque, struct lm_error *err)
  __attribute__ ((nonnull (1, 2, 4), warn_unused_result));

#endif
