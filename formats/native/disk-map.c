/* SPDX-License-Identifier: Apache-2.0
 *
 * Disk maps; see disk-map.h.
 *
 * Nodes in memory are cached by (level, index): a set-associative table
 * of 256 sets of 4, each set with its lock, so that threads that look at
 * different places do not meet.  A node is copied out under the lock only
 * where a whole one is wanted; the hot path copies one id.
 */
#include <config.h>

#include "formats/native/disk-map.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "formats/native/chunk-read.h"
#include "common/banned.h"

#define SETS 256
#define WAYS 4

size_t
lm_map_node_encode (const struct lm_map_node *node, int level,
                    uint8_t out[LM_NODE_SIZE_MAX])
{
  struct lm_node_wire h = { .level = level };
  uint8_t *p = out + sizeof h;
  int i;

  for (i = 0; i < LM_NODE_FANOUT; i++) {
    if (lm_id_is_zero (node->ids[i]))
      continue;
    h.present[i / 8] |= 1u << i % 8;
    memcpy (p, node->ids[i], LM_ID_LEN);
    p += LM_ID_LEN;
  }
  if (p == out + sizeof h)
    return 0;
  memcpy (out, &h, sizeof h);
  return p - out;
}

int
lm_map_node_decode (const uint8_t *plain, size_t len, int level, int limit,
                    struct lm_map_node *ret_node, struct lm_error *err)
{
  struct lm_node_wire h;
  const uint8_t *p = plain + sizeof h;
  size_t present = 0;
  int i;

  if (len < sizeof h)
    return lm_corrupt (err, "map node of %zu bytes", len);
  memcpy (&h, plain, sizeof h);
  if (h.level != level)
    return lm_corrupt (err, "map node of level %u, expected %d", h.level,
                       level);
  if (!lm_is_zero (h.zero, sizeof h.zero))
    return lm_corrupt (err, "map node with other bytes than zero at 0x1");
  for (i = 0; i < LM_NODE_FANOUT; i++)
    present += h.present[i / 8] >> i % 8 & 1;
  if (present == 0 || len != sizeof h + present * LM_ID_LEN)
    return lm_corrupt (err, "map node of %zu bytes with %zu entries", len,
                       present);
  for (i = 0; i < LM_NODE_FANOUT; i++) {
    if (!(h.present[i / 8] >> i % 8 & 1)) {
      memset (ret_node->ids[i], 0, LM_ID_LEN);
      continue;
    }
    if (i >= limit)
      return lm_corrupt (err, "map node has entry %d beyond the end of the "
                         "disk (%d)", i, limit);
    memcpy (ret_node->ids[i], p, LM_ID_LEN);
    if (lm_id_is_zero (ret_node->ids[i]))
      return lm_corrupt (err, "map node has entry %d, but its id is zero",
                         i);
    p += LM_ID_LEN;
  }
  return 0;
}

int
lm_map_height (uint64_t nr_chunks)
{
  int height = 1;

  while (height < LM_NODE_LEVELS_MAX &&
         lm_map_span (height + 1) < nr_chunks)
    height++;
  return height;
}

struct slot {
  int level;                    /* 0: empty */
  uint64_t index;               /* first chunk / 128^level */
  uint64_t used;                /* of the set's clock */
  struct lm_map_node *node;
};

struct set {
  pthread_mutex_t lock;         /* its slots */
  uint64_t clock;
  struct slot slots[WAYS];
};

struct lm_disk_map {
  struct lm_repository *repo;
  uint64_t nr_chunks;
  int height;
  bool has_root;
  uint8_t root[LM_ID_LEN];
  char *what;
  struct set sets[SETS];
};

struct lm_disk_map *
lm_disk_map_new (struct lm_repository *repo, uint64_t nr_chunks,
                 const uint8_t *root_or_null, const char *what,
                 struct lm_error *err)
{
  struct lm_disk_map *map = calloc (1, sizeof *map);
  int i;

  if (map == NULL || (map->what = strdup (what)) == NULL) {
    free (map);
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  map->repo = repo;
  map->nr_chunks = nr_chunks;
  map->height = lm_map_height (nr_chunks);
  map->has_root = root_or_null != NULL;
  if (root_or_null)
    memcpy (map->root, root_or_null, LM_ID_LEN);
  for (i = 0; i < SETS; i++)
    pthread_mutex_init (&map->sets[i].lock, NULL);
  return map;
}

void
lm_disk_map_free (struct lm_disk_map *map)
{
  int i, j;

  if (map == NULL)
    return;
  for (i = 0; i < SETS; i++) {
    for (j = 0; j < WAYS; j++)
      free (map->sets[i].slots[j].node);
    pthread_mutex_destroy (&map->sets[i].lock);
  }
  free (map->what);
  free (map);
}

static struct set *
set_of (struct lm_disk_map *map, int level, uint64_t index)
{
  uint64_t h = (index * 8 + level) * UINT64_C (0x9e3779b97f4a7c15);

  return &map->sets[h >> 56];
}

/* Look for a node in its set; the caller holds the set's lock. */
static struct slot *
find_locked (struct set *set, int level, uint64_t index)
{
  int i;

  for (i = 0; i < WAYS; i++)
    if (set->slots[i].level == level && set->slots[i].index == index) {
      set->slots[i].used = ++set->clock;
      return &set->slots[i];
    }
  return NULL;
}

static void
remember (struct lm_disk_map *map, int level, uint64_t index,
          const struct lm_map_node *node)
{
  struct set *set = set_of (map, level, index);
  LM_LOCK_FOR_SCOPE (&set->lock);
  struct slot *oldest = &set->slots[0];
  int i;

  if (find_locked (set, level, index))
    return;
  for (i = 1; i < WAYS; i++)
    if (set->slots[i].used < oldest->used)
      oldest = &set->slots[i];
  if (oldest->node == NULL)
    oldest->node = malloc (sizeof *oldest->node);
  if (oldest->node == NULL) {
    oldest->level = 0;          /* it is only a cache */
    return;
  }
  memcpy (oldest->node, node, sizeof *node);
  oldest->level = level;
  oldest->index = index;
  oldest->used = ++set->clock;
}

/* Read and decode the node ID of LEVEL that begins at chunk FIRST. */
static int
fetch (struct lm_disk_map *map, int level, uint64_t first,
       const uint8_t id[LM_ID_LEN], struct lm_map_node *node,
       struct lm_error *err)
{
  uint8_t plain[LM_NODE_SIZE_MAX];
  uint32_t len;
  uint64_t limit = lm_div_up (map->nr_chunks - first, lm_map_span (level));

  if (lm_chunk_read (map->repo, LM_TYPE_NODE, id, plain, sizeof plain, &len,
                     err) == -1 ||
      lm_map_node_decode (plain, len, level,
                          (int) lm_min_u64 (limit, LM_NODE_FANOUT), node,
                          err) == -1)
    return lm_error_prefix (err, "%s: disk map at chunk %" PRIu64,
                            map->what, first);
  return 0;
}

/* Make *ret_node the node of LEVEL that covers chunk NR.  0 if there is
 * none, 1 if there is, -1 on failure. */
static int
load (struct lm_disk_map *map, int level, uint64_t nr,
      struct lm_map_node *ret_node, uint8_t ret_id[LM_ID_LEN],
      struct lm_error *err);

/* The entry for NR in the node of LEVEL that covers it: zeros if absent. */
static int
entry (struct lm_disk_map *map, int level, uint64_t nr,
       uint8_t ret_id[LM_ID_LEN], struct lm_error *err)
{
  uint64_t index = nr / lm_map_span (level + 1);
  unsigned i = nr / lm_map_span (level) % LM_NODE_FANOUT;
  struct set *set = set_of (map, level, index);
  struct lm_map_node node;
  uint8_t own[LM_ID_LEN];
  struct slot *slot;
  int r;

  pthread_mutex_lock (&set->lock);
  slot = find_locked (set, level, index);
  if (slot)
    memcpy (ret_id, slot->node->ids[i], LM_ID_LEN);
  pthread_mutex_unlock (&set->lock);
  if (slot)
    return 0;
  r = load (map, level, nr, &node, own, err);
  if (r == 1)
    memcpy (ret_id, node.ids[i], LM_ID_LEN);
  else if (r == 0)
    memset (ret_id, 0, LM_ID_LEN);
  return r == -1 ? -1 : 0;
}

static int
load (struct lm_disk_map *map, int level, uint64_t nr,
      struct lm_map_node *ret_node, uint8_t ret_id[LM_ID_LEN],
      struct lm_error *err)
{
  uint64_t index = nr / lm_map_span (level + 1);

  if (!map->has_root || level > map->height)
    return 0;
  if (level == map->height)
    memcpy (ret_id, map->root, LM_ID_LEN);
  else if (entry (map, level + 1, nr, ret_id, err) == -1)
    return -1;
  if (lm_id_is_zero (ret_id))
    return 0;
  if (fetch (map, level, index * lm_map_span (level + 1), ret_id, ret_node,
             err) == -1)
    return -1;
  remember (map, level, index, ret_node);
  return 1;
}

int
lm_disk_map_get (struct lm_disk_map *map, uint64_t nr,
                 uint8_t ret_id[LM_ID_LEN], struct lm_error *err)
{
  if (nr >= map->nr_chunks) {
    memset (ret_id, 0, LM_ID_LEN);
    return 0;
  }
  return entry (map, 1, nr, ret_id, err);
}

int
lm_disk_map_leaf (struct lm_disk_map *map, uint64_t leaf,
                  struct lm_map_node *ret_node, uint8_t ret_id[LM_ID_LEN],
                  struct lm_error *err)
{
  uint64_t nr = leaf * LM_NODE_FANOUT;
  int r = 0;

  if (nr < map->nr_chunks)
    r = load (map, 1, nr, ret_node, ret_id, err);
  if (r == 0) {
    memset (ret_node, 0, sizeof *ret_node);
    memset (ret_id, 0, LM_ID_LEN);
  }
  return r == -1 ? -1 : 0;
}

int
lm_disk_map_next (struct lm_disk_map *map, uint64_t from, uint64_t limit,
                  uint64_t *ret_nr, struct lm_error *err)
{
  limit = lm_min_u64 (limit, map->nr_chunks);
  while (from < limit) {
    int level = map->height;
    uint8_t id[LM_ID_LEN];

    if (!map->has_root)
      break;
    /* Descend as long as something is present. */
    do {
      if (entry (map, level, from, id, err) == -1)
        return -1;
    } while (!lm_id_is_zero (id) && --level > 0);
    if (level == 0) {
      *ret_nr = from;
      return 0;
    }
    from = (from / lm_map_span (level) + 1) * lm_map_span (level);
  }
  *ret_nr = limit;
  return 0;
}

int
lm_disk_map_next_absent (struct lm_disk_map *map, uint64_t from,
                         uint64_t limit, uint64_t *ret_nr,
                         struct lm_error *err)
{
  limit = lm_min_u64 (limit, map->nr_chunks);
  for (; from < limit; from++) {
    uint8_t id[LM_ID_LEN];

    if (entry (map, 1, from, id, err) == -1)
      return -1;
    if (lm_id_is_zero (id))
      break;
  }
  *ret_nr = from;
  return 0;
}

/* --- diff --- */

struct diff {
  struct lm_disk_map *a, *b;
  lm_map_diff_cb cb;
  void *opaque;
  uint64_t start, count;        /* a range that was not reported yet */
};

static int
diff_add (struct diff *d, uint64_t nr, struct lm_error *err)
{
  if (d->count > 0 && d->start + d->count == nr) {
    d->count++;
    return 0;
  }
  if (d->count > 0 && d->cb (d->opaque, d->start, d->count, err) == -1)
    return -1;
  d->start = nr;
  d->count = 1;
  return 0;
}

/* The node at LEVEL that begins at FIRST; zeros where there is none. */
static int
diff_load (struct lm_disk_map *map, int level, uint64_t first,
           struct lm_map_node *node, struct lm_error *err)
{
  uint8_t id[LM_ID_LEN];
  int r = 0;

  if (level > map->height) {
    /* A smaller map: its root is entry 0 of what would be above. */
    memset (node, 0, sizeof *node);
    if (first == 0 && level == map->height + 1 && map->has_root)
      memcpy (node->ids[0], map->root, LM_ID_LEN);
    return 0;
  }
  if (first < map->nr_chunks)
    r = load (map, level, first, node, id, err);
  if (r == 0)
    memset (node, 0, sizeof *node);
  return r == -1 ? -1 : 0;
}

static int
diff_level (struct diff *d, int level, uint64_t first, struct lm_error *err)
{
  struct lm_map_node a, b;
  int i;

  if (diff_load (d->a, level, first, &a, err) == -1 ||
      diff_load (d->b, level, first, &b, err) == -1)
    return -1;
  for (i = 0; i < LM_NODE_FANOUT; i++) {
    uint64_t nr = first + i * lm_map_span (level);

    /* Above the smaller map's root only its entry 0 needs a look. */
    if (memcmp (a.ids[i], b.ids[i], LM_ID_LEN) == 0 &&
        (nr > 0 || level <= d->a->height + 1) &&
        (nr > 0 || level <= d->b->height + 1))
      continue;
    if (nr >= lm_max_u64 (d->a->nr_chunks, d->b->nr_chunks))
      break;
    if ((level == 1 ? diff_add (d, nr, err)
         : diff_level (d, level - 1, nr, err)) == -1)
      return -1;
  }
  return 0;
}

int
lm_disk_map_diff (struct lm_disk_map *a, struct lm_disk_map *b,
                  lm_map_diff_cb cb, void *opaque, struct lm_error *err)
{
  struct diff d = { .a = a, .b = b, .cb = cb, .opaque = opaque };
  int height = a->height > b->height ? a->height : b->height;

  if (a->height == b->height && a->has_root == b->has_root &&
      (!a->has_root || memcmp (a->root, b->root, LM_ID_LEN) == 0))
    return 0;
  if (diff_level (&d, height, 0, err) == -1)
    return -1;
  return d.count > 0 ? cb (opaque, d.start, d.count, err) : 0;
}

/* --- walk --- */

static int
walk_node (struct lm_disk_map *map, const struct lm_map_visitor *v,
           void *opaque, int level, uint64_t first,
           const uint8_t id[LM_ID_LEN], struct lm_error *err)
{
  struct lm_error why = LM_ERROR_INIT;
  struct lm_map_node node;
  int i, r;

  r = v->node ? v->node (opaque, level, first, id, err) : 0;
  if (r != 0)
    return r == 1 ? 0 : -1;
  if (fetch (map, level, first, id, &node, &why) == -1)
    return v->bad (opaque, level, first, id, &why, err);
  for (i = 0; i < LM_NODE_FANOUT; i++) {
    uint64_t nr = first + i * lm_map_span (level);

    if (lm_id_is_zero (node.ids[i]))
      continue;
    r = level == 1 ? v->chunk (opaque, nr, node.ids[i], err)
      : walk_node (map, v, opaque, level - 1, nr, node.ids[i], err);
    if (r == -1)
      return -1;
  }
  return 0;
}

int
lm_disk_map_walk (struct lm_disk_map *map,
                  const struct lm_map_visitor *visitor, void *opaque,
                  struct lm_error *err)
{
  if (!map->has_root)
    return 0;
  return walk_node (map, visitor, opaque, map->height, 0, map->root, err);
}
