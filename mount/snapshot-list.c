/* SPDX-License-Identifier: Apache-2.0
 * Several snapshots; see snapshot-list.h.
 */
#include <config.h>

#include "mount/snapshot-list.h"

#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/banned.h"

void
lm_snapshot_list_release (struct lm_snapshot_list *list)
{
  free (list->ids);
  free (list->names);
  *list = (struct lm_snapshot_list) { .n = 0 };
}

static int
check_form (const char *name, bool time_needed, const char *disk,
            struct lm_error *err)
{
  if (disk)
    return lm_error_set (err, LM_ERR_USAGE, "'%.120s': this is done to a "
                         "whole snapshot, not to one disk", name);
  if (time_needed && strchr (name, '/') == NULL) {
    lm_error_set (err, LM_ERR_USAGE, "'%.120s' is a VM: which of its "
                  "snapshots?", name);
    return lm_error_hint (err, "'livemount snapshots %.120s' lists them; "
                          "%.120s/latest is the newest", name, name);
  }
  return 0;
}

static void
add (struct lm_snapshot_list *list, const struct lm_snapshot_entry *e)
{
  size_t i;

  for (i = 0; i < list->n; i++)
    if (memcmp (list->ids[i], e->id, LM_NAME_ID_LEN) == 0)
      return;
  memcpy (list->ids[list->n], e->id, LM_NAME_ID_LEN);
  lm_cli_snapshot_name (e->vm, e->time, list->names[list->n]);
  list->n++;
}

int
lm_snapshot_list_resolve (const struct lm_repository *repo,
                          char *const *names, int nr_names,
                          bool time_needed,
                          struct lm_snapshot_list *ret_list,
                          struct lm_error *err)
{
  CLEANUP (lm_snapshot_list_release) struct lm_snapshot_list list = {
    .ids = calloc (nr_names + 1, sizeof *list.ids),
    .names = calloc (nr_names + 1, sizeof *list.names),
  };
  int i;

  if (list.ids == NULL || list.names == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  for (i = 0; i < nr_names; i++) {
    CLEANUP_FREE char *disk = NULL;
    const struct lm_snapshot_entry *e =
      lm_repository_resolve (repo, names[i], &disk, err);

    if (e == NULL ||
        check_form (names[i], time_needed, disk, err) == -1)
      return -1;
    add (&list, e);
  }
  *ret_list = list;
  list = (struct lm_snapshot_list) { .n = 0 };
  return 0;
}

json_t *
lm_snapshot_list_to_json (const struct lm_snapshot_list *list)
{
  json_t *v = json_array ();
  size_t i;

  for (i = 0; i < list->n; i++)
    json_array_append_new (v, json_string (list->names[i]));
  return v;
}
