/* SPDX-License-Identifier: Apache-2.0
 * Lists of new segments; see segment-list.h.
 */
#include <config.h>

#include "formats/native/segment-list.h"

#include <stdlib.h>
#include <string.h>

#include "formats/native/journal-change.h"
#include "common/banned.h"

void
lm_segment_list_release (struct lm_segment_list *list)
{
  size_t i;

  for (i = 0; i < list->n; i++)
    lm_segment_release (&list->segments[i]);
  free (list->segments);
  *list = (struct lm_segment_list) LM_SEGMENT_LIST_INIT;
}

struct lm_segment *
lm_segment_list_room (struct lm_segment_list *list, uint32_t entries,
                      struct lm_error *err)
{
  struct lm_segment *bigger;

  if (list->n > 0 && list->segments[list->n - 1].nr_entries + entries <=
      LM_ENTRIES_MAX)
    return &list->segments[list->n - 1];
  bigger = realloc (list->segments, (list->n + 1) * sizeof *bigger);
  if (bigger == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  list->segments = bigger;
  memset (&bigger[list->n], 0, sizeof *bigger);
  return &bigger[list->n++];
}

int
lm_segment_list_put (struct lm_segment_list *list, struct lm_store *store,
                     const struct lm_keys *keys, json_t *changes,
                     struct lm_error *err)
{
  size_t i;

  for (i = 0; i < list->n; i++) {
    struct lm_journal_segment live;

    if (lm_segment_put (store, keys, &list->segments[i], live.id,
                        &live.size, err) == -1)
      return -1;
    live.entries = list->segments[i].nr_entries;
    if (lm_change_segment_add (changes, &live, err) == -1)
      return -1;
  }
  return 0;
}
