/* SPDX-License-Identifier: Apache-2.0
 *
 * Checking a repository; see check.h.
 *
 * Order: packs first, so that it is known which chunks have a good copy;
 * then every snapshot from its manifest down.  A subtree that was found
 * whole once is not walked again, so shared ones cost nothing; one with
 * damage below it is walked for every snapshot, to say where it hurts.
 *
 * A pack whose table of contents can't be read is named, not each of its
 * chunks.  Readers find chunks by the index, so those that lie there whole
 * still can be read: every one that is needed is tried, and what is called
 * affected is what a reader does not get.
 */
#include <config.h>

#include "formats/native/check.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "common/hex.h"
#include "common/timestamp.h"
#include "formats/native/check-objects.h"
#include "formats/native/check-packs.h"
#include "formats/native/chunk-index.h"
#include "formats/native/chunk-read.h"
#include "formats/native/disk-map.h"
#include "formats/native/journal.h"
#include "formats/native/pack-write.h"
#include "formats/native/repository-internal.h"
#include "common/banned.h"

/* Copies of one chunk that are looked at. */
#define COPIES_MAX 64

struct walk {
  struct lm_check *c;
  uint8_t *plain;               /* a chunk's length */
  struct lm_id_set *whole;      /* nodes without damage below */
  struct lm_id_set *counted;    /* chunks and nodes counted already */
  struct lm_id_set *unreadable; /* chunks that were tried in vain */
  const char *snapshot, *disk;
  uint64_t size;                /* bytes */
  uint32_t chunk_size;
  uint64_t damage;              /* ranges reported in this disk */
  uint64_t start, len;          /* a range not reported yet, bytes */
};

static bool
is_good (struct walk *w, enum lm_object_type type,
         const uint8_t id[LM_ID_LEN])
{
  uint8_t key[LM_CHECK_KEY_LEN];

  lm_check_key (type, id, key);
  return lm_id_set_has (&w->c->good, key);
}

static int
count (struct walk *w, enum lm_object_type type, const uint8_t id[LM_ID_LEN],
       uint64_t *counter, struct lm_error *err)
{
  uint8_t key[LM_CHECK_KEY_LEN];

  lm_check_key (type, id, key);
  if (lm_id_set_has (w->counted, key))
    return 0;
  (*counter)++;
  return lm_id_set_add (w->counted, key, 0, err);
}

static void
flush_range (struct walk *w)
{
  if (w->len > 0 && w->c->params->affected)
    w->c->params->affected (w->c->params->opaque, w->snapshot, w->disk,
                            w->start, w->len);
  w->len = 0;
}

static void
hurt (struct walk *w, uint64_t first_chunk, uint64_t chunks)
{
  uint64_t offset = first_chunk * w->chunk_size;
  uint64_t len = lm_min_u64 (chunks * w->chunk_size, w->size - offset);

  w->damage++;
  if (w->len > 0 && w->start + w->len == offset) {
    w->len += len;
    return;
  }
  flush_range (w);
  w->start = offset;
  w->len = len;
}

/* Is every copy, or (unless it is a base itself) what it is stored against,
 * in a pack that was reported, so that nothing new can be said? */
static bool
is_in_reported_packs (struct walk *w, enum lm_object_type type,
                      const uint8_t id[LM_ID_LEN], bool is_base)
{
  struct lm_chunk_location copies[COPIES_MAX];
  struct lm_error ignored = LM_ERROR_INIT;
  int n = lm_chunk_index_find (w->c->repo->index, type, id, copies,
                               COPIES_MAX, &ignored);
  int i;

  for (i = 0; i < n; i++)
    if (!lm_id_set_has (&w->c->reported_packs, copies[i].pack) &&
        (is_base || copies[i].ref.encoding != LM_ENCODING_ZSTD_BASE ||
         !is_in_reported_packs (w, LM_TYPE_CHUNK, copies[i].ref.base,
                                true)))
      return false;
  return n > 0;
}

/* A chunk or node that is referred to and has no good copy: report it
 * once, unless it was found damaged in its pack, or its pack was. */
static int
missing (struct walk *w, enum lm_object_type type,
         const uint8_t id[LM_ID_LEN], const struct lm_error *why,
         struct lm_error *err)
{
  char object[16 + 2 * LM_ID_LEN + 1];
  uint8_t key[LM_CHECK_KEY_LEN];

  lm_check_key (type, id, key);
  if (lm_id_set_has (&w->c->reported, key) ||
      is_in_reported_packs (w, type, id, false))
    return 0;
  snprintf (object, sizeof object, "%s ",
            type == LM_TYPE_NODE ? "map node" : "chunk");
  lm_hex_encode (id, LM_ID_LEN, object + strlen (object));
  lm_check_damage (w->c, object, why);
  return lm_id_set_add (&w->c->reported, key, 0, err);
}

static void
why_missing (struct walk *w, const uint8_t id[LM_ID_LEN],
             struct lm_error *why)
{
  char hex[2 * LM_ID_LEN + 1];
  uint64_t i;

  if (!lm_id_set_get (&w->c->orphans, id, &i)) {
    lm_corrupt (why, "referred to, but no good copy is stored");
    return;
  }
  lm_hex_encode (w->c->orphan_bases[i], LM_ID_LEN, hex);
  lm_corrupt (why, "referred to, but of its base chunk %.16s… no good copy "
              "is stored in full", hex);
}

/* No table of contents lists a good copy, but the index may know one.
 * 1 when it can be read, 0 when not. */
static int
try_chunk (struct walk *w, const uint8_t id[LM_ID_LEN], struct lm_error *err)
{
  struct lm_error why = LM_ERROR_INIT;
  uint8_t key[LM_CHECK_KEY_LEN];
  uint32_t n;

  if (lm_id_set_has (w->unreadable, id))
    return 0;
  if (lm_chunk_read (w->c->repo, LM_TYPE_CHUNK, id, w->plain, w->chunk_size,
                     &n, &why) == 0 && n == w->chunk_size) {
    lm_check_key (LM_TYPE_CHUNK, id, key);
    return lm_id_set_add (&w->c->good, key, 0, err) == -1 ? -1 : 1;
  }
  return lm_id_set_add (w->unreadable, id, 0, err);
}

static int
visit_chunk (void *opaque, uint64_t nr, const uint8_t id[LM_ID_LEN],
             struct lm_error *err)
{
  struct walk *w = opaque;
  struct lm_error why = LM_ERROR_INIT;
  int r;

  if (w->c->params->cancel && *w->c->params->cancel)
    return lm_error_set (err, LM_ERR_INTERRUPTED, "interrupted");
  r = is_good (w, LM_TYPE_CHUNK, id) ? 1 : try_chunk (w, id, err);
  if (r == -1)
    return -1;
  if (r == 1)
    return count (w, LM_TYPE_CHUNK, id, &w->c->result->chunks, err);
  hurt (w, nr, 1);
  why_missing (w, id, &why);
  return missing (w, LM_TYPE_CHUNK, id, &why, err);
}

static int
visit_node (void *opaque, int level, uint64_t first,
            const uint8_t id[LM_ID_LEN], struct lm_error *err)
{
  struct walk *w = opaque;

  (void) level;
  (void) first;
  if (lm_id_set_has (w->whole, id))
    return 1;
  return is_good (w, LM_TYPE_NODE, id)
    ? count (w, LM_TYPE_NODE, id, &w->c->result->nodes, err) : 0;
}

static int
visit_bad (void *opaque, int level, uint64_t first,
           const uint8_t id[LM_ID_LEN], const struct lm_error *why,
           struct lm_error *err)
{
  struct walk *w = opaque;

  hurt (w, first, lm_map_span (level + 1));
  return missing (w, LM_TYPE_NODE, id, why, err);
}

static const struct lm_map_visitor visitor = {
  .node = visit_node,
  .chunk = visit_chunk,
  .bad = visit_bad,
};

/* Adds a map's nodes to `whole`, after it was walked without damage. */
static int
remember_node (void *opaque, int level, uint64_t first,
               const uint8_t id[LM_ID_LEN], struct lm_error *err)
{
  struct walk *w = opaque;

  (void) first;
  if (lm_id_set_has (w->whole, id))
    return 1;
  if (lm_id_set_add (w->whole, id, 0, err) == -1)
    return -1;
  return level == 1;
}

static int
ignore_chunk (void *opaque, uint64_t nr, const uint8_t id[LM_ID_LEN],
              struct lm_error *err)
{
  (void) opaque;
  (void) nr;
  (void) id;
  (void) err;
  return 0;
}

static const struct lm_map_visitor rememberer = {
  .node = remember_node,
  .chunk = ignore_chunk,
  .bad = visit_bad,
};

static int
check_map (struct walk *w, const char *name, uint64_t size,
           const uint8_t *root, struct lm_error *err)
{
  struct lm_disk_map *map;
  int r;

  w->disk = name;
  w->size = size;
  w->damage = 0;
  w->chunk_size = lm_repository_chunk_size (w->c->repo);
  map = lm_disk_map_new (w->c->repo, lm_div_up (size, w->chunk_size), root,
                         name, err);
  if (map == NULL)
    return -1;
  r = lm_disk_map_walk (map, &visitor, w, err);
  flush_range (w);
  if (r == 0 && w->damage == 0)
    r = lm_disk_map_walk (map, &rememberer, w, err);
  lm_disk_map_free (map);
  return r;
}

static int
check_snapshot (struct walk *w, const struct lm_snapshot_entry *entry,
                struct lm_error *err)
{
  struct lm_error why = LM_ERROR_INIT;
  struct lm_snapshot *s;
  char time[LM_TIMESTAMP_LEN + 1];
  CLEANUP_FREE char *name = NULL;
  size_t i;
  int r = 0;

  lm_timestamp_format (entry->time, time);
  if (asprintf (&name, "%s/%s", entry->vm, time) == -1) {
    name = NULL;
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  }
  w->snapshot = name;
  w->c->result->snapshots++;
  s = lm_snapshot_open (w->c->repo, entry, &why);
  if (s == NULL) {
    char object[10 + 2 * LM_NAME_ID_LEN + 1] = "snapshots/";

    lm_hex_encode (entry->id, LM_NAME_ID_LEN, object + 10);
    lm_check_damage (w->c, object, &why);
    if (w->c->params->affected)
      w->c->params->affected (w->c->params->opaque, name, "(all)", 0, 0);
    return 0;
  }
  for (i = 0; i < s->nr_disks && r == 0; i++)
    r = check_map (w, s->disks[i].name, s->disks[i].size,
                   s->disks[i].has_root ? s->disks[i].root : NULL, err);
  for (i = 0; i < s->nr_files && r == 0; i++)
    r = check_map (w, s->files[i].name, s->files[i].size,
                   s->files[i].has_root ? s->files[i].root : NULL, err);
  lm_snapshot_free (s);
  return r;
}

struct unreferenced {
  struct lm_id_set known;
  uint64_t n;
};

static int
list_pack (void *opaque, const char *name, uint64_t size,
           struct lm_error *err)
{
  struct unreferenced *u = opaque;
  uint8_t id[LM_NAME_ID_LEN];

  (void) size;
  (void) err;
  u->n += strlen (name) == LM_PACK_NAME_LEN &&
    lm_hex_decode (name + 9, id, sizeof id) == 0 &&
    !lm_id_set_has (&u->known, id);
  return 0;
}

static int
count_unreferenced (struct lm_check *c, struct lm_error *err)
{
  struct unreferenced u = { .known = LM_ID_SET_INIT (LM_NAME_ID_LEN) };
  int r = lm_chunk_index_packs (c->repo->index, &u.known, err);

  if (r == 0)
    r = lm_store_list (c->repo->store, "packs", list_pack, &u, err);
  c->result->unreferenced_packs = u.n;
  lm_id_set_release (&u.known);
  return r;
}

int
lm_check_run (struct lm_repository *repo,
              const struct lm_check_params *params,
              struct lm_check_result *ret_result, struct lm_error *err)
{
  struct lm_check_result result = { 0 };
  struct lm_check c = {
    .repo = repo, .params = params, .result = &result,
    .good = LM_ID_SET_INIT (LM_CHECK_KEY_LEN),
    .reported = LM_ID_SET_INIT (LM_CHECK_KEY_LEN),
    .orphans = LM_ID_SET_INIT (LM_ID_LEN),
    .reported_packs = LM_ID_SET_INIT (LM_NAME_ID_LEN),
  };
  CLEANUP (lm_id_set_release) struct lm_id_set whole =
    LM_ID_SET_INIT (LM_ID_LEN);
  CLEANUP (lm_id_set_release) struct lm_id_set counted =
    LM_ID_SET_INIT (LM_CHECK_KEY_LEN);
  CLEANUP (lm_id_set_release) struct lm_id_set unreadable =
    LM_ID_SET_INIT (LM_ID_LEN);
  CLEANUP_FREE uint8_t *plain = malloc (lm_repository_chunk_size (repo));
  struct walk w = {
    .c = &c, .plain = plain, .whole = &whole, .counted = &counted,
    .unreadable = &unreadable,
  };
  const struct lm_snapshot_entry *all;
  size_t n, i;
  int r = plain ? 0 : lm_error_set (err, LM_ERR_NOMEM, "out of memory");

  if (r == 0)
    r = lm_check_objects (&c, err);
  if (r == 0)
    r = lm_check_packs (&c, err);
  all = lm_repository_snapshots (repo, &n);
  for (i = 0; i < n && r == 0; i++)
    r = check_snapshot (&w, &all[i], err);
  if (r == 0)
    r = count_unreferenced (&c, err);
  lm_id_set_release (&c.good);
  lm_id_set_release (&c.reported);
  lm_id_set_release (&c.orphans);
  free (c.orphan_bases);
  lm_id_set_release (&c.reported_packs);
  if (r == 0)
    *ret_result = result;
  return r;
}
