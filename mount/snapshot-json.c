/* SPDX-License-Identifier: Apache-2.0
 * Snapshots as JSON; see snapshot-json.h.
 */
#include <config.h>

#include "mount/snapshot-json.h"

#include <stdio.h>

#include "common/cleanup.h"
#include "common/hex.h"
#include "common/json.h"
#include "common/timestamp.h"
#include "common/banned.h"

void
lm_cli_snapshot_name (const char *vm, int64_t time,
                  char out[LM_SNAPSHOT_NAME_LEN])
{
  char text[LM_TIMESTAMP_LEN + 1];

  lm_timestamp_format (time, text);
  snprintf (out, LM_SNAPSHOT_NAME_LEN, "%s/%s", vm, text);
}

static json_t *
entry_members (const struct lm_snapshot_entry *e)
{
  char name[LM_SNAPSHOT_NAME_LEN], id[2 * LM_NAME_ID_LEN + 1],
       parent[2 * LM_NAME_ID_LEN + 1], time[LM_TIMESTAMP_LEN + 1];

  lm_cli_snapshot_name (e->vm, e->time, name);
  lm_timestamp_format (e->time, time);
  lm_hex_encode (e->id, sizeof e->id, id);
  lm_hex_encode (e->parent, sizeof e->parent, parent);
  return json_pack ("{s:s, s:s, s:s, s:s, s:s*, s:b}", "snapshot", name,
                    "id", id, "vm", e->vm, "time", time,
                    "parent", e->has_parent ? parent : NULL,
                    "protected", e->is_protected);
}

json_t *
lm_cli_snapshot_brief (const struct lm_snapshot_entry *e,
                           const struct lm_error *why)
{
  json_t *v = entry_members (e);

  if (v) {
    json_object_set_new (v, "error", lm_json_text (why->message));
    json_object_set_new (v, "consistency", json_string ("DAMAGED"));
  }
  return v;
}

static json_t *
disk_to_json (const struct lm_snapshot_disk *d)
{
  json_t *unreadable = json_array ();
  size_t i;

  for (i = 0; i < d->nr_unreadable; i++)
    json_array_append_new (unreadable,
      json_pack ("[I,I]", (json_int_t) d->unreadable[i].offset,
                 (json_int_t) d->unreadable[i].len));
  return json_pack ("{s:s, s:I, s:i, s:s*, s:o}", "name", d->name,
                    "size", (json_int_t) d->size,
                    "sector_size", (int) d->sector_size,
                    "source", d->source, "unreadable", unreadable);
}

static json_t *
manifest_members (const struct lm_snapshot *s)
{
  json_t *disks = json_array (), *files = json_array (),
         *tags = json_array ();
  const struct lm_snapshot_statistics *st = &s->statistics;
  size_t i;

  for (i = 0; i < s->nr_disks; i++)
    json_array_append_new (disks, disk_to_json (&s->disks[i]));
  for (i = 0; i < s->nr_files; i++)
    json_array_append_new (files,
      json_pack ("{s:s, s:s, s:I}", "kind", s->files[i].kind,
                 "name", s->files[i].name,
                 "size", (json_int_t) s->files[i].size));
  for (i = 0; i < s->nr_tags; i++)
    json_array_append_new (tags, json_string (s->tags[i]));
  return json_pack ("{s:s, s:s*, s:s*, s:s*, s:o, s:o, s:o, "
                    "s:{s:I, s:I, s:I, s:I, s:I, s:f}}",
                    "consistency", s->consistency,
                    "host", s->host, "created_by", s->created_by,
                    "machine_config", s->machine_config_kind,
                    "tags", tags, "disks", disks, "files", files,
                    "statistics", "read", (json_int_t) st->read,
                    "new", (json_int_t) st->new_,
                    "deduplicated", (json_int_t) st->deduplicated,
                    "zero", (json_int_t) st->zero,
                    "stored", (json_int_t) st->stored,
                    "seconds", st->seconds);
}

json_t *
lm_cli_snapshot_json (struct lm_repository *repo,
                     const struct lm_snapshot_entry *entry,
                     struct lm_error *err)
{
  struct lm_snapshot *s = lm_snapshot_open (repo, entry, err);
  CLEANUP_JSON json_t *v = NULL, *members = NULL;

  if (s == NULL)
    return NULL;
  v = entry_members (entry);
  members = manifest_members (s);
  lm_snapshot_free (s);
  if (v == NULL || members == NULL || json_object_update (v, members) == -1) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  return lm_steal (v);
}
