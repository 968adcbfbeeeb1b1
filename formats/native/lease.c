/* SPDX-License-Identifier: Apache-2.0
 *
 * Leases; see lease.h and native.md section 12.
 *
 * The holder's thread replaces the object six times per lease time.  It
 * looks before it replaces: an object that is gone was removed by someone
 * who revoked the lease, and must not come back.  (The record that
 * revokes is what decides; this only hears of it sooner.)
 */
#include <config.h>

#include "formats/native/lease.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "common/log.h"
#include "common/random.h"
#include "common/timed-wait.h"
#include "common/timestamp.h"
#include "formats/native/journal.h"
#include "formats/native/lease-watch.h"
#include "formats/native/object-io.h"
#include "formats/native/repository-internal.h"
#include "formats/native/whoami.h"
#include "common/banned.h"

#define FOLDER "leases"
#define NS UINT64_C (1000000000)
#define SECONDS_MAX 86400

struct lm_lease {
  struct lm_store *store;       /* borrowed, as the keys */
  const struct lm_keys *keys;
  uint8_t id[LM_NAME_ID_LEN];
  char name[LM_OBJECT_NAME_LEN];
  uint32_t seconds;
  struct lm_lease_watch *watch; /* on the others */
  json_t *json;                 /* the thread's, once it runs */
  uint64_t counter;             /* likewise */

  pthread_t thread;
  pthread_mutex_t lock;         /* guards the rest */
  pthread_cond_t wake;          /* on CLOCK_MONOTONIC */
  bool stop;
  bool hurry;                   /* something is to be said at once */
  bool lost;
  bool has_loaded;
  uint64_t loaded;              /* as the object is to say it */
  uint64_t refreshed;           /* ns of lm_clock_monotonic: the last time
                                 * that a refresh which succeeded began */
};

static uint64_t
lease_ns (const struct lm_lease *lease)
{
  return lease->seconds * NS;
}

static json_t *
make_json (const struct lm_lease *lease, const char *kind,
           struct lm_error *err)
{
  char host[LM_WHOAMI_LEN], user[LM_WHOAMI_LEN], program[LM_WHOAMI_LEN];
  char started[LM_TIMESTAMP_LEN + 1];
  json_t *v;

  lm_whoami_host (host);
  lm_whoami_user (user);
  lm_whoami_program (program);
  lm_timestamp_format (lm_clock_now (), started);
  v = json_pack ("{ss, sI, sI, ss, ss, sI, ss, ss}", "kind", kind,
                 "counter", (json_int_t) 0, "seconds",
                 (json_int_t) lease->seconds, "host", host, "user", user,
                 "pid", (json_int_t) getpid (), "program", program,
                 "started", started);
  if (v == NULL ||
      lm_json_set_hex (v, "id", lease->id, LM_NAME_ID_LEN) == -1) {
    json_decref (v);
    lm_error_set (err, LM_ERR_NOMEM, "out of memory for a lease");
    return NULL;
  }
  return v;
}

static int
put (struct lm_lease *lease, enum lm_object_put how, struct lm_error *err)
{
  json_object_set_new (lease->json, "counter",
                       json_integer (lease->counter));
  pthread_mutex_lock (&lease->lock);
  if (lease->has_loaded)
    json_object_set_new (lease->json, "loaded",
                         json_integer (lease->loaded));
  pthread_mutex_unlock (&lease->lock);
  return lm_object_put_json (lease->store, lease->keys, LM_TYPE_LEASE,
                             lease->name, lease->id, LM_NAME_ID_LEN,
                             lease->json, how, NULL, err);
}

/* One refresh, without the lock: it may take long. */
static void
refresh (struct lm_lease *lease)
{
  const uint64_t begun = lm_clock_monotonic ();
  struct lm_error err = LM_ERROR_INIT;
  uint64_t size;
  bool gone = false;
  int r;

  r = lm_store_stat (lease->store, lease->name, &size, &err);
  if (r == -1)
    gone = err.kind == LM_ERR_NOT_FOUND;
  else {
    lease->counter++;
    r = put (lease, LM_OBJECT_REPLACE, &err);
  }
  if (r == -1)
    lm_debug (LM_DEBUG_REPOSITORY, "lease not refreshed: %s", err.message);
  LM_LOCK_FOR_SCOPE (&lease->lock);
  if (r == 0)
    lease->refreshed = begun;
  else if (gone)
    lease->lost = true;
}

/* Nobody waits for what is seen here; see lm_lease_revoke_dead. */
static void
look_at_others (struct lm_lease *lease)
{
  struct lm_error err = LM_ERROR_INIT;

  if (lm_lease_watch_look (lease->watch, &err) == -1)
    lm_debug (LM_DEBUG_REPOSITORY, "other leases not seen: %s", err.message);
}

/* Also counts the time that passes while the thread does not run. */
static bool
is_lost_locked (struct lm_lease *lease)
{
  if (lm_clock_monotonic () - lease->refreshed >= lease_ns (lease))
    lease->lost = true;
  return lease->lost;
}

/* Wait for the next turn.  False when the thread is to end. */
static bool
wait_turn (struct lm_lease *lease, uint64_t until)
{
  LM_LOCK_FOR_SCOPE (&lease->lock);

  while (!lease->stop && !lease->hurry &&
         lm_cond_wait_until (&lease->wake, &lease->lock, until))
    ;
  lease->hurry = false;
  return !lease->stop && !is_lost_locked (lease);
}

static void *
refresher (void *opaque)
{
  struct lm_lease *lease = opaque;
  uint64_t next = lm_clock_monotonic ();

  do {
    /* From now on, not from when it was due: no burst after a pause. */
    next = lm_clock_monotonic () + lease_ns (lease) / 6;
    if (!wait_turn (lease, next))
      break;
    refresh (lease);
    look_at_others (lease);
  } while (!lm_lease_lost (lease));
  return NULL;
}

/* The thread takes no signals: they are for the program's own. */
static int
start_thread (struct lm_lease *lease, struct lm_error *err)
{
  sigset_t all, old;
  int r;

  lm_cond_init (&lease->wake);
  sigfillset (&all);
  pthread_sigmask (SIG_SETMASK, &all, &old);
  r = pthread_create (&lease->thread, NULL, refresher, lease);
  pthread_sigmask (SIG_SETMASK, &old, NULL);
  if (r != 0) {
    pthread_cond_destroy (&lease->wake);
    return lm_error_errno (err, r, "start the lease's thread");
  }
  return 0;
}

static void
remove_object (struct lm_lease *lease)
{
  struct lm_error err = LM_ERROR_INIT;

  if (lm_store_remove (lease->store, lease->name, &err) == -1)
    lm_debug (LM_DEBUG_REPOSITORY, "lease not removed: %s", err.message);
}

struct lm_lease *
lm_lease_acquire (struct lm_repository *repo, const char *kind,
                  uint32_t seconds, struct lm_error *err)
{
  struct lm_lease *lease;

  if (lm_repository_check_writable (repo, err) == -1)
    return NULL;
  lease = calloc (1, sizeof *lease);
  if (lease == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory for a lease");
    return NULL;
  }
  pthread_mutex_init (&lease->lock, NULL);
  lease->store = repo->store;
  lease->keys = repo->keys;
  lease->seconds = seconds ? seconds : LM_LEASE_SECONDS;
  lm_random_bytes (lease->id, sizeof lease->id);
  lm_object_name (FOLDER, lease->id, LM_NAME_ID_LEN, lease->name);
  lease->json = make_json (lease, kind, err);
  lease->watch = lm_lease_watch_new (lease->store, lease->keys, err);
  if (lease->json == NULL || lease->watch == NULL)
    goto fail;
  lease->refreshed = lm_clock_monotonic ();
  if (put (lease, LM_OBJECT_NEW, err) == -1)
    goto fail;
  if (start_thread (lease, err) == -1) {
    remove_object (lease);
    goto fail;
  }
  return lease;

fail:
  lm_lease_watch_free (lease->watch);
  pthread_mutex_destroy (&lease->lock);
  json_decref (lease->json);
  free (lease);
  return NULL;
}

const uint8_t *
lm_lease_id (const struct lm_lease *lease)
{
  return lease->id;
}

void
lm_lease_set_loaded (struct lm_lease *lease, uint64_t sequence,
                     bool at_once)
{
  LM_LOCK_FOR_SCOPE (&lease->lock);

  lease->has_loaded = true;
  lease->loaded = sequence;
  lease->hurry |= at_once;
  pthread_cond_signal (&lease->wake);
}

bool
lm_lease_lost (struct lm_lease *lease)
{
  LM_LOCK_FOR_SCOPE (&lease->lock);
  return is_lost_locked (lease);
}

void
lm_lease_release (struct lm_lease *lease)
{
  if (lease == NULL)
    return;
  pthread_mutex_lock (&lease->lock);
  lease->stop = true;
  pthread_cond_signal (&lease->wake);
  pthread_mutex_unlock (&lease->lock);
  pthread_join (lease->thread, NULL);
  remove_object (lease);
  pthread_cond_destroy (&lease->wake);
  pthread_mutex_destroy (&lease->lock);
  lm_lease_watch_free (lease->watch);
  json_decref (lease->json);
  free (lease);
}

void
lm_lease_revoke_dead (struct lm_lease *lease, struct lm_repository *repo,
                      const char *what)
{
  struct lm_error minor = LM_ERROR_INIT;
  CLEANUP_FREE char *writer = lm_whoami_writer (what, &minor);
  size_t n;

  if (writer == NULL ||
      lm_lease_watch_revoke (lease->watch, repo, writer, &n, &minor) == -1)
    lm_debug (LM_DEBUG_REPOSITORY, "dead leases not revoked: %s",
              minor.message);
}

void
lm_lease_info_release (struct lm_lease_info *info)
{
  free (info->kind);
  free (info->host);
  free (info->user);
  free (info->program);
}

void
lm_lease_infos_free (struct lm_lease_info *infos, size_t n)
{
  size_t i;

  for (i = 0; i < n; i++)
    lm_lease_info_release (&infos[i]);
  free (infos);
}

static char *
copy_string (const json_t *v, const char *key, const char *name,
             struct lm_error *err)
{
  const char *s = lm_json_string (v, key, name, err);
  char *copy = s ? strdup (s) : NULL;

  if (s && copy == NULL)
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  return copy;
}

static int
decode_info (const json_t *v, const char *name,
             const uint8_t id[LM_NAME_ID_LEN], struct lm_lease_info *info,
             struct lm_error *err)
{
  const char *started;
  uint64_t seconds;

  if (lm_json_hex (v, "id", info->id, LM_NAME_ID_LEN, name, err) == -1)
    return -1;
  if (memcmp (info->id, id, LM_NAME_ID_LEN) != 0)
    return lm_corrupt (err, "%s: says another id than its name", name);
  if (lm_json_u64 (v, "counter", INT64_MAX, name, &info->counter,
                   err) == -1 ||
      lm_json_u64 (v, "seconds", SECONDS_MAX, name, &seconds, err) == -1 ||
      lm_json_u64 (v, "pid", INT64_MAX, name, &info->pid, err) == -1)
    return -1;
  info->seconds = seconds;
  info->has_loaded = json_object_get (v, "loaded") != NULL;
  if (info->has_loaded &&
      lm_json_u64 (v, "loaded", INT64_MAX, name, &info->loaded, err) == -1)
    return -1;
  started = lm_json_string (v, "started", name, err);
  if (started == NULL)
    return -1;
  if (lm_timestamp_parse (started, &info->started) == -1)
    return lm_corrupt (err, "%s: 'started' is not a time", name);
  if ((info->kind = copy_string (v, "kind", name, err)) == NULL ||
      (info->host = copy_string (v, "host", name, err)) == NULL ||
      (info->user = copy_string (v, "user", name, err)) == NULL ||
      (info->program = copy_string (v, "program", name, err)) == NULL)
    return -1;
  return 0;
}

int
lm_lease_read (struct lm_store *store, const struct lm_keys *keys,
               const uint8_t id[LM_NAME_ID_LEN],
               struct lm_lease_info *ret_info, struct lm_error *err)
{
  struct lm_lease_info info = { .kind = NULL };
  char name[LM_OBJECT_NAME_LEN];
  CLEANUP_JSON json_t *v = NULL;

  lm_object_name (FOLDER, id, LM_NAME_ID_LEN, name);
  v = lm_object_get_json (store, keys, LM_TYPE_LEASE, name, id,
                          LM_NAME_ID_LEN, NULL, err);
  /* It may be replaced between the look at its size and the read. */
  if (v == NULL && err->kind == LM_ERR_CORRUPT) {
    lm_error_clear (err);
    v = lm_object_get_json (store, keys, LM_TYPE_LEASE, name, id,
                            LM_NAME_ID_LEN, NULL, err);
  }
  if (v == NULL)
    return -1;
  if (decode_info (v, name, id, &info, err) == -1) {
    lm_lease_info_release (&info);
    return -1;
  }
  *ret_info = info;
  return 0;
}

int
lm_lease_list (struct lm_repository *repo, struct lm_lease_info **ret_infos,
               size_t *ret_n, struct lm_error *err)
{
  CLEANUP_FREE void *ids_ = NULL;
  uint8_t (*ids)[LM_NAME_ID_LEN];
  struct lm_lease_info *infos;
  size_t i, n, found = 0;

  if (lm_object_list_ids (repo->store, FOLDER, &ids, &n, err) == -1)
    return -1;
  ids_ = ids;
  infos = calloc (n + 1, sizeof *infos);
  if (infos == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  for (i = 0; i < n; i++) {
    struct lm_error skipped = LM_ERROR_INIT;

    if (lm_lease_read (repo->store, repo->keys, ids[i], &infos[found],
                       &skipped) == 0)
      found++;
    else if (skipped.kind == LM_ERR_IO || skipped.kind == LM_ERR_NOMEM) {
      *err = skipped;
      lm_lease_infos_free (infos, found);
      return -1;
    }
  }
  *ret_infos = infos;
  *ret_n = found;
  return 0;
}

int
lm_lease_revoke (struct lm_repository *repo,
                 const uint8_t id[LM_NAME_ID_LEN], const char *writer,
                 struct lm_error *err)
{
  CLEANUP_JSON json_t *changes = json_array ();
  char name[LM_OBJECT_NAME_LEN];

  if (changes == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  if (lm_change_by_id (changes, LM_CHANGE_LEASE_REVOKE, id, err) == -1 ||
      lm_journal_commit (repo, NULL, writer, changes, err) == -1)
    return -1;
  lm_object_name (FOLDER, id, LM_NAME_ID_LEN, name);
  if (lm_store_remove (repo->store, name, err) == -1 &&
      err->kind != LM_ERR_NOT_FOUND)
    return -1;
  lm_error_clear (err);
  return 0;
}
