/* SPDX-License-Identifier: Apache-2.0
 *
 * Deleting; see gc-sweep.h.
 *
 * One record says all: new segments without the packs, the old segments
 * go, the packs are deleted.  Only then are the objects removed, so
 * whoever is killed in between leaves packs that nothing names, which the
 * next collection condemns like any other.
 */
#include <config.h>

#include "formats/native/gc-sweep.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "common/log.h"
#include "formats/native/journal-change.h"
#include "formats/native/journal.h"
#include "formats/native/object-io.h"
#include "formats/native/pack-write.h"
#include "formats/native/repository-internal.h"
#include "formats/native/segment-list.h"
#include "common/banned.h"

/* --- segments --- */

/* The entries of SEG grouped by pack: those of pack i are
 * [start[i], start[i + 1]) of *ret_entries. */
static int
group_by_pack (const struct lm_segment *seg, struct lm_entry **ret_entries,
               uint32_t **ret_start, struct lm_error *err)
{
  struct lm_entry *entries = calloc ((size_t) seg->nr_entries + 1,
                                     sizeof *entries);
  uint32_t *start = calloc ((size_t) seg->nr_packs + 2, sizeof *start);
  uint32_t i;

  if (entries == NULL || start == NULL) {
    free (entries);
    free (start);
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory for a segment");
  }
  /* start[i + 1] counts, then is where pack i goes on, then its end. */
  for (i = 0; i < seg->nr_entries; i++)
    if (seg->entries[i].pack + 2 <= seg->nr_packs)
      start[seg->entries[i].pack + 2]++;
  for (i = 2; i <= seg->nr_packs; i++)
    start[i] += start[i - 1];
  for (i = 0; i < seg->nr_entries; i++)
    entries[start[seg->entries[i].pack + 1]++] = seg->entries[i];
  *ret_entries = entries;
  *ret_start = start;
  return 0;
}

static int
keep_others (const struct lm_segment *seg, const struct lm_id_set *packs,
             struct lm_segment_list *out, struct lm_error *err)
{
  CLEANUP_FREE struct lm_entry *entries = NULL;
  CLEANUP_FREE uint32_t *start = NULL;
  uint32_t i;

  if (group_by_pack (seg, &entries, &start, err) == -1)
    return -1;
  for (i = 0; i < seg->nr_packs; i++) {
    struct lm_segment *to;

    if (lm_id_set_has (packs, seg->packs[i].id))
      continue;
    to = lm_segment_list_room (out, start[i + 1] - start[i], err);
    if (to == NULL ||
        lm_segment_add_pack (to, seg->packs[i].id, seg->packs[i].size,
                             entries + start[i], start[i + 1] - start[i],
                             (const uint8_t (*)[LM_ID_LEN]) seg->bases,
                             err) == -1)
      return -1;
  }
  return 0;
}

static bool
names_any (const struct lm_segment *seg, const struct lm_id_set *packs)
{
  uint32_t i;

  for (i = 0; i < seg->nr_packs; i++)
    if (lm_id_set_has (packs, seg->packs[i].id))
      return true;
  return false;
}

/* Changes that take PACKS out of every live segment. */
static int
rewrite_segments (struct lm_repository *repo, const struct lm_id_set *packs,
                  json_t *changes, struct lm_error *err)
{
  const struct lm_journal_state *state = lm_repository_state (repo);
  CLEANUP (lm_segment_list_release) struct lm_segment_list out =
    LM_SEGMENT_LIST_INIT;
  size_t i;

  for (i = 0; i < state->nr_segments; i++) {
    CLEANUP (lm_segment_release) struct lm_segment seg = LM_SEGMENT_INIT;
    const uint8_t *id = state->segments[i].id;

    if (lm_segment_get (repo->store, repo->keys, id, &seg, err) == -1)
      return -1;
    if (!names_any (&seg, packs))
      continue;
    if (keep_others (&seg, packs, &out, err) == -1 ||
        lm_change_by_id (changes, LM_CHANGE_SEGMENT_REMOVE, id, err) == -1)
      return -1;
  }
  return lm_segment_list_put (&out, repo->store, repo->keys, changes, err);
}

/* --- packs --- */

static uint64_t
remove_packs (struct lm_repository *repo, const uint8_t **ids, size_t n)
{
  uint64_t removed = 0;
  size_t i;

  for (i = 0; i < n; i++) {
    struct lm_error minor = LM_ERROR_INIT;
    char name[LM_PACK_NAME_LEN + 1];

    lm_pack_name (ids[i], name);
    if (lm_store_remove (repo->store, name, &minor) == 0)
      removed++;
    else if (minor.kind != LM_ERR_NOT_FOUND)
      lm_debug (LM_DEBUG_REPOSITORY, "%s not removed: %s", name,
                minor.message);
  }
  return removed;
}

int
lm_gc_still_condemned (const struct lm_journal_state *state,
                       const void *opaque, struct lm_error *err)
{
  const struct lm_id_set *packs = opaque;
  CLEANUP_FREE const uint8_t **ids = lm_id_set_sorted (packs, err);
  uint64_t since;
  size_t i;

  if (ids == NULL)
    return -1;
  for (i = 0; i < packs->n; i++)
    if (!lm_id_set_get (&state->condemned, ids[i], &since) ||
        since != lm_id_set_value_at (packs, ids[i]))
      return lm_error_set (err, LM_ERR_EXISTS, "another collection came "
                           "between");
  return 0;
}

int
lm_gc_sweep_packs (struct lm_repository *repo, struct lm_lease *lease,
                   const char *writer, const struct lm_id_set *packs,
                   uint64_t *ret_removed, struct lm_error *err)
{
  CLEANUP_FREE const uint8_t **sorted = lm_id_set_sorted (packs, err);
  CLEANUP_FREE uint8_t (*ids)[LM_NAME_ID_LEN] = calloc (packs->n + 1,
                                                        sizeof *ids);
  CLEANUP_JSON json_t *changes = json_array ();
  size_t i;

  if (sorted == NULL)
    return -1;
  if (ids == NULL || changes == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  for (i = 0; i < packs->n; i++)
    memcpy (ids[i], sorted[i], LM_NAME_ID_LEN);
  if (rewrite_segments (repo, packs, changes, err) == -1 ||
      lm_change_packs (changes, LM_CHANGE_PACK_DELETE,
                       (const uint8_t (*)[LM_NAME_ID_LEN]) ids, packs->n,
                       err) == -1 ||
      lm_journal_commit_if (repo, lease, writer, changes,
                            lm_gc_still_condemned, packs, err) == -1) {
    /* Deleted or spared by another: the guard would have said so. */
    if (err->kind == LM_ERR_NOT_FOUND)
      err->kind = LM_ERR_EXISTS;
    return -1;
  }
  *ret_removed = remove_packs (repo, sorted, packs->n);
  return 0;
}

/* --- strays --- */

static bool
is_live_segment (const struct lm_journal_state *state,
                 const uint8_t id[LM_NAME_ID_LEN])
{
  size_t i;

  for (i = 0; i < state->nr_segments; i++)
    if (memcmp (state->segments[i].id, id, LM_NAME_ID_LEN) == 0)
      return true;
  return false;
}

void
lm_gc_strays_release (struct lm_gc_strays *strays)
{
  free (strays->snapshots);
  free (strays->segments);
  memset (strays, 0, sizeof *strays);
}

int
lm_gc_strays_list (struct lm_repository *repo,
                   const struct lm_id_set *pinned,
                   struct lm_gc_strays *ret_strays, struct lm_error *err)
{
  const struct lm_journal_state *state = lm_repository_state (repo);
  struct lm_gc_strays s = { NULL, 0, NULL, 0 };
  size_t i, n;

  if (lm_object_list_ids (repo->store, "snapshots", &s.snapshots,
                          &s.nr_snapshots, err) == -1 ||
      lm_object_list_ids (repo->store, "index", &s.segments, &s.nr_segments,
                          err) == -1) {
    lm_gc_strays_release (&s);
    return -1;
  }
  for (i = n = 0; i < s.nr_snapshots; i++)
    if (lm_journal_state_snapshot (state, s.snapshots[i]) == NULL &&
        !lm_id_set_has (pinned, s.snapshots[i]))
      memmove (s.snapshots[n++], s.snapshots[i], LM_NAME_ID_LEN);
  s.nr_snapshots = n;
  for (i = n = 0; i < s.nr_segments; i++)
    if (!is_live_segment (state, s.segments[i]))
      memmove (s.segments[n++], s.segments[i], LM_NAME_ID_LEN);
  s.nr_segments = n;
  *ret_strays = s;
  return 0;
}

static uint64_t
remove_object (struct lm_repository *repo, const char *folder,
               const uint8_t id[LM_NAME_ID_LEN])
{
  struct lm_error minor = LM_ERROR_INIT;
  char name[LM_OBJECT_NAME_LEN];

  lm_object_name (folder, id, LM_NAME_ID_LEN, name);
  return lm_store_remove (repo->store, name, &minor) == 0;
}

uint64_t
lm_gc_strays_remove (struct lm_repository *repo,
                     const struct lm_gc_strays *s)
{
  const struct lm_journal_state *state = lm_repository_state (repo);
  uint64_t removed = 0;
  size_t i;

  for (i = 0; i < s->nr_snapshots; i++)
    if (lm_journal_state_snapshot (state, s->snapshots[i]) == NULL)
      removed += remove_object (repo, "snapshots", s->snapshots[i]);
  for (i = 0; i < s->nr_segments; i++)
    if (!is_live_segment (state, s->segments[i]))
      removed += remove_object (repo, "index", s->segments[i]);
  return removed;
}
