/* SPDX-License-Identifier: Apache-2.0
 * Forgetting snapshots; see forget.h and native.md section 12.
 */
#include <config.h>

#include "formats/native/forget.h"

#include <string.h>

#include "common/cleanup.h"
#include "common/hex.h"
#include "common/json.h"
#include "common/timestamp.h"
#include "formats/native/journal.h"
#include "formats/native/lease-watch.h"
#include "formats/native/pin.h"
#include "formats/native/repository-internal.h"
#include "formats/native/reserve.h"
#include "formats/native/whoami.h"
#include "common/banned.h"

typedef const uint8_t (*id_list)[LM_NAME_ID_LEN];

static int
check_snapshots (const struct lm_repository *repo, id_list ids, size_t n,
                 struct lm_error *err)
{
  const struct lm_journal_state *state = lm_repository_state (repo);
  char hex[2 * LM_NAME_ID_LEN + 1], time[LM_TIMESTAMP_LEN + 1];
  size_t i;

  for (i = 0; i < n; i++) {
    const struct lm_snapshot_entry *e =
      lm_journal_state_snapshot (state, ids[i]);

    if (e == NULL) {
      lm_hex_encode (ids[i], LM_NAME_ID_LEN, hex);
      return lm_error_set (err, LM_ERR_NOT_FOUND, "snapshot %s does not "
                           "exist", hex);
    }
    if (e->is_protected) {
      lm_timestamp_format (e->time, time);
      lm_error_set (err, LM_ERR_USAGE, "snapshot %s/%s is protected, so it "
                    "is not forgotten", e->vm, time);
      return lm_error_hint (err, "'livemount unprotect %s/%s' takes that "
                            "back", e->vm, time);
    }
  }
  return 0;
}

static int
fail_pinned (const struct lm_repository *repo, const struct lm_pin_info *pin,
             struct lm_error *err)
{
  const struct lm_snapshot_entry *e =
    lm_journal_state_snapshot (lm_repository_state (repo), pin->snapshot);
  char hex[2 * LM_NAME_ID_LEN + 1], time[LM_TIMESTAMP_LEN + 1];

  lm_hex_encode (pin->id, LM_NAME_ID_LEN, hex);
  lm_timestamp_format (e->time, time);
  lm_error_set (err, LM_ERR_LOCKED, "snapshot %s/%s is in use by session "
                "%.64s of %.64s@%.64s, so it is not forgotten", e->vm, time,
                pin->session, pin->user, pin->host);
  return lm_error_hint (err, "'livemount unmount' ends the session there; if "
                        "it is lost for good, 'livemount leases break %s' "
                        "removes what it left", hex);
}

/* After check_snapshots. */
static int
check_pins (struct lm_repository *repo, id_list ids, size_t n,
            struct lm_error *err)
{
  struct lm_pin_info *pins;
  size_t i, j, nr_pins, bad;
  int r = 0;

  if (lm_pin_list (repo, &pins, &nr_pins, &bad, err) == -1)
    return -1;
  if (bad > 0) {
    r = lm_corrupt (err, "%zu pins can't be read: what they keep is not "
                    "known, so nothing is forgotten", bad);
    lm_error_hint (err, "'livemount check' names them; 'livemount leases "
                   "break ID' removes one");
  }
  for (i = 0; i < nr_pins && r == 0; i++)
    for (j = 0; j < n && r == 0; j++)
      if (memcmp (pins[i].snapshot, ids[j], LM_NAME_ID_LEN) == 0)
        r = fail_pinned (repo, &pins[i], err);
  lm_pin_infos_free (pins, nr_pins);
  return r;
}

static int
commit (struct lm_repository *repo, struct lm_lease *lease, id_list ids,
        size_t n, const char *writer, struct lm_error *err)
{
  CLEANUP_JSON json_t *changes = json_array ();
  struct lm_error why = LM_ERROR_INIT;
  size_t i;

  for (i = 0; i < n; i++)
    if (lm_change_by_id (changes, LM_CHANGE_SNAPSHOT_FORGET, ids[i],
                         err) == -1)
      return -1;
  if (lm_journal_commit (repo, lease, writer, changes, err) == 0)
    return 0;
  /* Protected or forgotten just now: say it by name. */
  if ((err->kind == LM_ERR_USAGE || err->kind == LM_ERR_NOT_FOUND) &&
      check_snapshots (repo, ids, n, &why) == -1)
    *err = why;
  return -1;
}

static int
forget (struct lm_repository *repo, id_list ids, size_t n,
        const char *writer, struct lm_error *err)
{
  struct lm_lease *lease;
  int r = -1;

  lease = lm_lease_acquire (repo, LM_FORGET_LEASE, LM_FORGET_LEASE_SECONDS,
                            err);
  if (lease == NULL)
    return -1;
  if (check_snapshots (repo, ids, n, err) == 0 &&
      check_pins (repo, ids, n, err) == 0)
    r = commit (repo, lease, ids, n, writer, err);
  lm_lease_release (lease);
  return r;
}

int
lm_forget_run (struct lm_repository *repo,
               const uint8_t (*ids)[LM_NAME_ID_LEN], size_t n,
               const char *what, struct lm_error *err)
{
  CLEANUP_FREE char *writer = lm_whoami_writer (what, err);
  int r;

  if (writer == NULL)
    return -1;
  while ((r = forget (repo, ids, n, writer, err)) == -1 &&
         lm_reserve_drop (repo->store, err))
    ;
  lm_reserve_restore (repo->store);
  return r;
}

int
lm_forget_wait (struct lm_repository *repo,
                const volatile sig_atomic_t *cancel, struct lm_error *err)
{
  static const char *const kinds[] = { LM_FORGET_LEASE, NULL };
  CLEANUP_FREE char *writer = lm_whoami_writer ("mount", err);
  struct lm_lease_watch *watch;
  int r = -1;
  size_t n;

  if (writer == NULL)
    return -1;
  watch = lm_lease_watch_new (repo->store, repo->keys, err);
  if (watch == NULL)
    return -1;
  if (lm_lease_watch_wait (watch, kinds, LM_LEASE_WAIT_READABLE_ONLY, cancel,
                           err) == 0)
    r = lm_lease_watch_revoke (watch, repo, writer, &n, err);
  lm_lease_watch_free (watch);
  return r;
}
