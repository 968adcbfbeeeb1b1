/* SPDX-License-Identifier: Apache-2.0
 * Pins; see pin.h.
 */
#include <config.h>

#include "formats/native/pin.h"

#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "common/random.h"
#include "common/timestamp.h"
#include "formats/native/object-io.h"
#include "formats/native/repository-internal.h"
#include "formats/native/whoami.h"
#include "common/banned.h"

#define FOLDER "pins"

int
lm_pin_put_as (struct lm_repository *repo, const uint8_t id[LM_NAME_ID_LEN],
               const uint8_t snapshot[LM_NAME_ID_LEN], const char *session,
               struct lm_error *err)
{
  char host[LM_WHOAMI_LEN], user[LM_WHOAMI_LEN];
  char created[LM_TIMESTAMP_LEN + 1], name[LM_OBJECT_NAME_LEN];
  CLEANUP_JSON json_t *v = NULL;

  if (lm_repository_check_writable (repo, err) == -1)
    return -1;
  lm_whoami_host (host);
  lm_whoami_user (user);
  lm_timestamp_format (lm_clock_now (), created);
  v = json_pack ("{ss, ss, ss, ss}", "session", session, "host", host,
                 "user", user, "created", created);
  if (v == NULL || lm_json_set_hex (v, "id", id, LM_NAME_ID_LEN) == -1 ||
      lm_json_set_hex (v, "snapshot", snapshot, LM_NAME_ID_LEN) == -1)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory for a pin");
  lm_object_name (FOLDER, id, LM_NAME_ID_LEN, name);
  return lm_object_put_json (repo->store, repo->keys, LM_TYPE_PIN, name, id,
                             LM_NAME_ID_LEN, v, LM_OBJECT_NEW, NULL, err);
}

int
lm_pin_put (struct lm_repository *repo,
            const uint8_t snapshot[LM_NAME_ID_LEN], const char *session,
            uint8_t ret_id[LM_NAME_ID_LEN], struct lm_error *err)
{
  uint8_t id[LM_NAME_ID_LEN];

  lm_random_bytes (id, sizeof id);
  if (lm_pin_put_as (repo, id, snapshot, session, err) == -1)
    return -1;
  memcpy (ret_id, id, sizeof id);
  return 0;
}

int
lm_pin_remove (struct lm_repository *repo, const uint8_t id[LM_NAME_ID_LEN],
               struct lm_error *err)
{
  char name[LM_OBJECT_NAME_LEN];

  if (lm_repository_check_writable (repo, err) == -1)
    return -1;
  lm_object_name (FOLDER, id, LM_NAME_ID_LEN, name);
  return lm_store_remove (repo->store, name, err);
}

void
lm_pin_info_release (struct lm_pin_info *info)
{
  free (info->session);
  free (info->host);
  free (info->user);
}

void
lm_pin_infos_free (struct lm_pin_info *infos, size_t n)
{
  size_t i;

  for (i = 0; i < n; i++)
    lm_pin_info_release (&infos[i]);
  free (infos);
}

static int
copy_string (const json_t *v, const char *key, const char *name,
             char **ret_copy, struct lm_error *err)
{
  const char *s = lm_json_string (v, key, name, err);

  if (s == NULL)
    return -1;
  *ret_copy = strdup (s);
  if (*ret_copy == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  return 0;
}

int
lm_pin_read (struct lm_store *store, const struct lm_keys *keys,
             const uint8_t id[LM_NAME_ID_LEN], struct lm_pin_info *ret_info,
             struct lm_error *err)
{
  struct lm_pin_info info = { .session = NULL };
  char name[LM_OBJECT_NAME_LEN];
  CLEANUP_JSON json_t *v = NULL;
  const char *created;

  lm_object_name (FOLDER, id, LM_NAME_ID_LEN, name);
  v = lm_object_get_json (store, keys, LM_TYPE_PIN, name, id,
                          LM_NAME_ID_LEN, NULL, err);
  if (v == NULL ||
      lm_json_hex (v, "id", info.id, LM_NAME_ID_LEN, name, err) == -1)
    return -1;
  if (memcmp (info.id, id, LM_NAME_ID_LEN) != 0)
    return lm_corrupt (err, "%s: says another id than its name", name);
  if (lm_json_hex (v, "snapshot", info.snapshot, LM_NAME_ID_LEN, name,
                   err) == -1 ||
      (created = lm_json_string (v, "created", name, err)) == NULL)
    return -1;
  if (lm_timestamp_parse (created, &info.created) == -1)
    return lm_corrupt (err, "%s: 'created' is not a time", name);
  if (copy_string (v, "session", name, &info.session, err) == -1 ||
      copy_string (v, "host", name, &info.host, err) == -1 ||
      copy_string (v, "user", name, &info.user, err) == -1) {
    lm_pin_info_release (&info);
    return -1;
  }
  *ret_info = info;
  return 0;
}

int
lm_pin_list (struct lm_repository *repo, struct lm_pin_info **ret_infos,
             size_t *ret_n, size_t *ret_bad, struct lm_error *err)
{
  CLEANUP_FREE void *ids_ = NULL;
  uint8_t (*ids)[LM_NAME_ID_LEN];
  struct lm_pin_info *infos;
  size_t i, n, found = 0, bad = 0;

  if (lm_object_list_ids (repo->store, FOLDER, &ids, &n, err) == -1)
    return -1;
  ids_ = ids;
  infos = calloc (n + 1, sizeof *infos);
  if (infos == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  for (i = 0; i < n; i++) {
    struct lm_error skipped = LM_ERROR_INIT;

    if (lm_pin_read (repo->store, repo->keys, ids[i], &infos[found],
                     &skipped) == 0)
      found++;
    else if (skipped.kind == LM_ERR_IO || skipped.kind == LM_ERR_NOMEM) {
      *err = skipped;
      lm_pin_infos_free (infos, found);
      return -1;
    }
    else if (skipped.kind != LM_ERR_NOT_FOUND)
      bad++;
  }
  *ret_infos = infos;
  *ret_n = found;
  if (ret_bad)
    *ret_bad = bad;
  return 0;
}
