/* SPDX-License-Identifier: Apache-2.0
 *
 * Watching leases; see lease-watch.h and native.md section 12.
 *
 * A lease stood still from the first read that found its counter to the
 * last one.  The clock is read after the former and before the latter, so
 * that an observer which is itself stopped in between errs on the side of
 * the holder.
 */
#include <config.h>

#include "formats/native/lease-watch.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "common/log.h"
#include "common/random.h"
#include "formats/native/journal.h"
#include "formats/native/object-io.h"
#include "formats/native/repository-internal.h"
#include "formats/native/seal.h"
#include "common/banned.h"

#define FOLDER "leases"
#define NS UINT64_C (1000000000)
#define PAUSE_FIRST (NS / 100)          /* between looks of who waits */
#define PAUSE_MAX NS

struct watched {
  struct lm_lease_seen public;
  uint8_t bytes[LM_SHA256_LEN]; /* what stood still, if not readable */
  uint64_t since;               /* ns: after the first read of it */
  uint64_t look;                /* in which it was first there */
  bool moved;
};

struct lm_lease_watch {
  struct lm_store *store;       /* borrowed, as the keys */
  const struct lm_keys *keys;
  pthread_mutex_t lock;         /* guards the rest */
  struct watched *leases;       /* of the last look, by id */
  size_t n;
  struct lm_lease_seen *seen;   /* the public part of LEASES */
  uint64_t looks;
};

struct lm_lease_watch *
lm_lease_watch_new (struct lm_store *store, const struct lm_keys *keys,
                    struct lm_error *err)
{
  struct lm_lease_watch *watch = calloc (1, sizeof *watch);

  if (watch == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  watch->store = store;
  watch->keys = keys;
  pthread_mutex_init (&watch->lock, NULL);
  return watch;
}

static void
free_watched (struct watched *leases, size_t n)
{
  size_t i;

  for (i = 0; i < n; i++)
    lm_lease_info_release (&leases[i].public.info);
  free (leases);
}

void
lm_lease_watch_free (struct lm_lease_watch *watch)
{
  if (watch == NULL)
    return;
  free_watched (watch->leases, watch->n);
  free (watch->seen);
  pthread_mutex_destroy (&watch->lock);
  free (watch);
}

static uint64_t
lease_time (const struct lm_lease_seen *s)
{
  const uint32_t seconds = s->readable ? s->info.seconds : 0;

  return (seconds ? seconds : LM_LEASE_SECONDS) * NS;
}

/* ---- one look ---- */

/* What can't be read is known by its bytes; one that is too large for a
 * lease by none, and never moves. */
static int
read_bytes (struct lm_store *store, const uint8_t *id, struct watched *w,
            struct lm_error *err)
{
  CLEANUP_FREE uint8_t *object = NULL;
  char name[LM_OBJECT_NAME_LEN];
  size_t len;

  lm_object_name (FOLDER, id, LM_NAME_ID_LEN, name);
  if (lm_store_get (store, name, lm_object_stored_limit (LM_TYPE_LEASE),
                    &object, &len, err) == -1) {
    if (err->kind != LM_ERR_LIMIT)
      return -1;
    lm_error_clear (err);
    return 0;
  }
  lm_sha256 (object, len, w->bytes);
  return 0;
}

/* LM_ERR_NOT_FOUND when it has gone meanwhile. */
static int
read_lease (const struct lm_lease_watch *watch, const uint8_t *id,
            struct watched *ret_w, struct lm_error *err)
{
  struct watched w = { .moved = false };

  memcpy (w.public.id, id, LM_NAME_ID_LEN);
  w.public.readable = lm_lease_read (watch->store, watch->keys, id,
                                     &w.public.info, err) == 0;
  if (!w.public.readable) {
    if (err->kind != LM_ERR_CORRUPT && err->kind != LM_ERR_UNSUPPORTED &&
        err->kind != LM_ERR_LIMIT)
      return -1;
    lm_error_clear (err);
    if (read_bytes (watch->store, id, &w, err) == -1)
      return -1;
  }
  *ret_w = w;
  return 0;
}

static bool
stood_still (const struct watched *old, const struct watched *new_)
{
  if (old->public.readable != new_->public.readable)
    return false;
  if (new_->public.readable)
    return old->public.info.counter == new_->public.info.counter;
  return memcmp (old->bytes, new_->bytes, sizeof new_->bytes) == 0;
}

/* Carry on from OLD (NULL: not seen before).  BEFORE is when the read of
 * W began. */
static void
judge (struct watched *w, const struct watched *old, uint64_t before,
       uint64_t look)
{
  struct lm_lease_seen *s = &w->public;

  w->since = lm_clock_monotonic ();
  w->look = look;
  if (old) {
    w->look = old->look;
    w->moved = old->moved;
    if (!stood_still (old, w))
      w->moved = true;
    else {
      w->since = old->since;
      s->still = before > old->since ? before - old->since : 0;
    }
  }
  s->life = w->moved ? LM_LEASE_ALIVE : LM_LEASE_UNKNOWN;
  if (s->still >= lease_time (s))
    s->life = LM_LEASE_DEAD;
}

/* Both lists are in the order of ids. */
static const struct watched *
find_old (const struct lm_lease_watch *watch, const uint8_t *id, size_t *i)
{
  while (*i < watch->n &&
         memcmp (watch->leases[*i].public.id, id, LM_NAME_ID_LEN) < 0)
    ++*i;
  if (*i < watch->n &&
      memcmp (watch->leases[*i].public.id, id, LM_NAME_ID_LEN) == 0)
    return &watch->leases[*i];
  return NULL;
}

static int
look_at_all (const struct lm_lease_watch *watch,
             const uint8_t (*ids)[LM_NAME_ID_LEN], size_t nr_ids,
             struct watched *leases, size_t *ret_n, struct lm_error *err)
{
  size_t i, old = 0;

  *ret_n = 0;
  for (i = 0; i < nr_ids; i++) {
    const uint64_t before = lm_clock_monotonic ();
    struct watched *w = &leases[*ret_n];

    if (read_lease (watch, ids[i], w, err) == 0) {
      judge (w, find_old (watch, ids[i], &old), before, watch->looks);
      ++*ret_n;
    }
    else if (err->kind != LM_ERR_NOT_FOUND)
      return -1;
    lm_error_clear (err);
  }
  return 0;
}

int
lm_lease_watch_look (struct lm_lease_watch *watch, struct lm_error *err)
{
  CLEANUP_FREE void *ids_ = NULL;
  uint8_t (*ids)[LM_NAME_ID_LEN];
  struct lm_lease_seen *seen;
  struct watched *leases;
  size_t i, nr_ids, n;

  LM_LOCK_FOR_SCOPE (&watch->lock);
  if (lm_object_list_ids (watch->store, FOLDER, &ids, &nr_ids, err) == -1)
    return -1;
  ids_ = ids;
  leases = calloc (nr_ids + 1, sizeof *leases);
  seen = calloc (nr_ids + 1, sizeof *seen);
  if (leases == NULL || seen == NULL) {
    free (leases);
    free (seen);
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  }
  watch->looks++;
  if (look_at_all (watch, (const uint8_t (*)[LM_NAME_ID_LEN]) ids, nr_ids,
                   leases, &n, err) == -1) {
    free_watched (leases, n);
    free (seen);
    return -1;
  }
  free_watched (watch->leases, watch->n);
  free (watch->seen);
  watch->leases = leases;
  watch->seen = seen;
  watch->n = n;
  for (i = 0; i < n; i++)
    seen[i] = leases[i].public;
  return 0;
}

const struct lm_lease_seen *
lm_lease_watch_seen (const struct lm_lease_watch *watch, size_t *ret_n)
{
  *ret_n = watch->n;
  return watch->seen;
}

/* ---- waiting ---- */

static bool
is_of_kind (const struct lm_lease_seen *s, const char *const *kinds,
            unsigned flags)
{
  if (!s->readable)
    return !(flags & LM_LEASE_WAIT_READABLE_ONLY);
  if (kinds == NULL)
    return true;
  for (; *kinds; kinds++)
    if (strcmp (*kinds, s->info.kind) == 0)
      return true;
  return false;
}

/* Of those that were there in look FIRST, is one undecided? */
static bool
is_open (struct lm_lease_watch *watch, const char *const *kinds,
         unsigned flags, uint64_t first)
{
  size_t i;

  LM_LOCK_FOR_SCOPE (&watch->lock);
  for (i = 0; i < watch->n; i++) {
    const struct watched *w = &watch->leases[i];

    if (w->look <= first && w->public.life != LM_LEASE_DEAD &&
        !((flags & LM_LEASE_WAIT_ALIVE_WILL_DO) &&
          w->public.life == LM_LEASE_ALIVE) &&
        is_of_kind (&w->public, kinds, flags))
      return true;
  }
  return false;
}

static void
pause_for (uint64_t ns)
{
  const struct timespec ts = { ns / NS, ns % NS };

  nanosleep (&ts, NULL);
}

int
lm_lease_watch_wait (struct lm_lease_watch *watch, const char *const *kinds,
                     unsigned flags, const volatile sig_atomic_t *cancel,
                     struct lm_error *err)
{
  uint64_t pause = PAUSE_FIRST, first;

  if (lm_lease_watch_look (watch, err) == -1)
    return -1;
  pthread_mutex_lock (&watch->lock);
  first = watch->looks;
  pthread_mutex_unlock (&watch->lock);
  while (is_open (watch, kinds, flags, first)) {
    if (cancel && *cancel)
      return lm_error_set (err, LM_ERR_INTERRUPTED, "interrupted");
    pause_for (pause);
    pause = pause * 2 < PAUSE_MAX ? pause * 2 : PAUSE_MAX;
    if (lm_lease_watch_look (watch, err) == -1)
      return -1;
  }
  return 0;
}

/* ---- revoking ---- */

/* The ids of the dead, back to back; to be freed. */
static uint8_t *
list_dead (struct lm_lease_watch *watch, size_t *ret_n, struct lm_error *err)
{
  uint8_t *ids;
  size_t i;

  LM_LOCK_FOR_SCOPE (&watch->lock);
  *ret_n = 0;
  ids = calloc (watch->n + 1, LM_NAME_ID_LEN);
  if (ids == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  for (i = 0; i < watch->n; i++)
    if (watch->leases[i].public.life == LM_LEASE_DEAD)
      memcpy (ids + (*ret_n)++ * LM_NAME_ID_LEN, watch->leases[i].public.id,
              LM_NAME_ID_LEN);
  return ids;
}

/* Once it is revoked the object says nothing any more.  A program that
 * may only add leaves it to others. */
static void
remove_object (struct lm_repository *repo, const uint8_t *id)
{
  struct lm_error minor = LM_ERROR_INIT;
  char name[LM_OBJECT_NAME_LEN];

  lm_object_name (FOLDER, id, LM_NAME_ID_LEN, name);
  if (lm_store_remove (repo->store, name, &minor) == -1 &&
      minor.kind != LM_ERR_NOT_FOUND)
    lm_debug (LM_DEBUG_REPOSITORY, "%s not removed: %s", name,
              minor.message);
}

int
lm_lease_watch_revoke (struct lm_lease_watch *watch,
                       struct lm_repository *repo, const char *writer,
                       size_t *ret_n, struct lm_error *err)
{
  CLEANUP_JSON json_t *changes = json_array ();
  CLEANUP_FREE uint8_t *ids = NULL;
  size_t i, n;

  ids = list_dead (watch, &n, err);
  if (ids == NULL)
    return -1;
  for (i = 0; i < n; i++) {
    const uint8_t *id = ids + i * LM_NAME_ID_LEN;

    if (!lm_journal_state_revoked (lm_repository_state (repo), id) &&
        lm_change_by_id (changes, LM_CHANGE_LEASE_REVOKE, id, err) == -1)
      return -1;
  }
  if (json_array_size (changes) > 0 &&
      lm_journal_commit (repo, NULL, writer, changes, err) == -1)
    return -1;
  for (i = 0; i < n; i++)
    remove_object (repo, ids + i * LM_NAME_ID_LEN);
  *ret_n = n;
  return 0;
}
