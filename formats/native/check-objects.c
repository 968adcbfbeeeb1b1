/* SPDX-License-Identifier: Apache-2.0
 *
 * Journal, checkpoints, key slots, leases and pins; see check-objects.h.
 *
 * Loading a repository starts at a checkpoint, so a damaged record before
 * that goes unnoticed for years, until the checkpoint is damaged, too.
 * Here every record is read.
 *
 * A key slot is sealed in part only: what is not (its label) can't be
 * checked.  Leases come and go while we look.
 */
#include <config.h>

#include "formats/native/check-objects.h"

#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "formats/native/checkpoint.h"
#include "formats/native/journal.h"
#include "formats/native/key-slot.h"
#include "formats/native/lease.h"
#include "formats/native/object-io.h"
#include "formats/native/pin.h"
#include "formats/native/repository-internal.h"
#include "common/banned.h"

/* Report the object unless the fault is ours. */
static int
report (struct lm_check *c, const char *name, const struct lm_error *why,
        struct lm_error *err)
{
  if (why->kind == LM_ERR_NOMEM) {
    *err = *why;
    return -1;
  }
  lm_check_damage (c, name, why);
  return 0;
}

static int
check_cancel (const struct lm_check *c, struct lm_error *err)
{
  if (c->params->cancel && *c->params->cancel)
    return lm_error_set (err, LM_ERR_INTERRUPTED, "interrupted");
  return 0;
}

/* Every record, and that each follows the one before. */
static int
check_journal (struct lm_check *c, struct lm_error *err)
{
  const struct lm_journal_state *state = lm_repository_state (c->repo);
  uint8_t previous[LM_SHA256_LEN] = { 0 };
  bool known = true;
  uint64_t i;

  for (i = 0; i <= state->sequence; i++) {
    struct lm_journal_record r = LM_JOURNAL_RECORD_INIT;
    struct lm_error why = LM_ERROR_INIT;
    char name[LM_OBJECT_NAME_LEN];

    if (check_cancel (c, err) == -1)
      return -1;
    lm_object_name_sequence ("journal", i, name);
    if (lm_journal_record_read (c->repo->store, c->repo->keys, i, &r,
                                &why) == -1) {
      if (report (c, name, &why, err) == -1)
        return -1;
      known = false;
      continue;
    }
    if (known && memcmp (r.previous, previous, sizeof previous) != 0) {
      lm_corrupt (&why, "does not follow the record before it (its "
                  "'previous' is another hash)");
      lm_check_damage (c, name, &why);
    }
    memcpy (previous, r.sha256, sizeof previous);
    known = true;
    lm_journal_record_release (&r);
  }
  return 0;
}

/* A checkpoint opens, and is about the record of its number. */
static int
check_checkpoint (void *opaque, const char *name, uint64_t size,
                  struct lm_error *err)
{
  struct lm_check *c = opaque;
  struct lm_journal_record r = LM_JOURNAL_RECORD_INIT;
  struct lm_error why = LM_ERROR_INIT;
  struct lm_journal_state state;
  uint64_t sequence;

  (void) size;
  if (!lm_object_name_parse_sequence (name, "checkpoints", &sequence))
    return 0;
  if (lm_checkpoint_read (c->repo->store, c->repo->keys, sequence, &state,
                          &why) == -1)
    /* A writer removes old ones meanwhile. */
    return why.kind == LM_ERR_NOT_FOUND ? 0 : report (c, name, &why, err);
  if (lm_journal_record_read (c->repo->store, c->repo->keys, sequence, &r,
                              &why) == 0 &&
      memcmp (r.sha256, state.record, LM_SHA256_LEN) != 0) {
    lm_corrupt (&why, "is about another record of this number");
    lm_check_damage (c, name, &why);
  }
  lm_journal_record_release (&r);
  lm_journal_state_release (&state);
  return 0;
}

static int
check_slot (void *opaque, const char *name, uint64_t size,
            struct lm_error *err)
{
  struct lm_check *c = opaque;
  struct lm_error why = LM_ERROR_INIT;
  uint8_t id[LM_SLOT_ID_LEN];
  struct lm_key_slot slot;

  (void) size;
  if (lm_object_name_parse (name, "keys", id, sizeof id) &&
      lm_key_slot_read (c->repo->store, id, &slot, &why) == -1 &&
      why.kind != LM_ERR_NOT_FOUND)
    return report (c, name, &why, err);
  return 0;
}

static int
check_lease (void *opaque, const char *name, uint64_t size,
             struct lm_error *err)
{
  struct lm_check *c = opaque;
  struct lm_error why = LM_ERROR_INIT;
  struct lm_lease_info *info;
  uint8_t id[LM_NAME_ID_LEN];
  int r = 0;

  (void) size;
  if (!lm_object_name_parse (name, "leases", id, sizeof id))
    return 0;
  info = calloc (1, sizeof *info);
  if (info == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  if (lm_lease_read (c->repo->store, c->repo->keys, id, info, &why) == 0)
    lm_lease_infos_free (info, 1);
  else {
    free (info);
    if (why.kind != LM_ERR_NOT_FOUND)
      r = report (c, name, &why, err);
  }
  return r;
}

static int
check_pin (void *opaque, const char *name, uint64_t size,
           struct lm_error *err)
{
  struct lm_check *c = opaque;
  struct lm_error why = LM_ERROR_INIT;
  struct lm_pin_info *info;
  uint8_t id[LM_NAME_ID_LEN];
  int r = 0;

  (void) size;
  if (!lm_object_name_parse (name, "pins", id, sizeof id))
    return 0;
  info = calloc (1, sizeof *info);
  if (info == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  if (lm_pin_read (c->repo->store, c->repo->keys, id, info, &why) == 0)
    lm_pin_infos_free (info, 1);
  else {
    free (info);
    if (why.kind != LM_ERR_NOT_FOUND)
      r = report (c, name, &why, err);
  }
  return r;
}

int
lm_check_objects (struct lm_check *c, struct lm_error *err)
{
  struct lm_store *store = c->repo->store;

  if (check_journal (c, err) == -1 ||
      lm_store_list (store, "checkpoints", check_checkpoint, c, err) == -1 ||
      lm_store_list (store, "keys", check_slot, c, err) == -1 ||
      lm_store_list (store, "leases", check_lease, c, err) == -1 ||
      lm_store_list (store, "pins", check_pin, c, err) == -1)
    return -1;
  return 0;
}
