/* SPDX-License-Identifier: Apache-2.0
 * A store that fails at a chosen step; see store-fault.h.
 */
#include <config.h>

#include "tests/support/store-fault.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/banned.h"

struct fault_store {
  struct lm_store base;
  struct lm_store *inner;
  pthread_mutex_t lock;         /* guards all below */
  enum lm_fault_kind kind;
  uint64_t at, steps;
  uint64_t read_at, reads;
  bool dies, dead;
};

static int
fail (const char *op, const char *name, struct lm_error *err)
{
  return lm_error_set (err, LM_ERR_IO, "fault: %s of %s: as ordered", op,
                       name);
}

/* What is to happen to this step? */
static enum lm_fault_kind
next_step (struct fault_store *s)
{
  LM_LOCK_FOR_SCOPE (&s->lock);
  s->steps++;
  if (s->dead)
    return LM_FAULT_FAIL;
  if (s->kind == LM_FAULT_NONE || s->steps != s->at)
    return LM_FAULT_NONE;
  s->dead = s->dies;
  return s->kind;
}

static bool
next_read_fails (struct fault_store *s)
{
  LM_LOCK_FOR_SCOPE (&s->lock);
  s->reads++;
  return s->dead || s->reads == s->read_at;
}

static bool
is_dead (struct fault_store *s)
{
  LM_LOCK_FOR_SCOPE (&s->lock);
  return s->dead;
}

static void
put_half (struct fault_store *s, const char *name, const struct iovec *iov,
          int iovcnt)
{
  struct lm_error unused = LM_ERROR_INIT;
  CLEANUP_FREE uint8_t *all = NULL;
  struct iovec half;
  size_t len = 0;
  int i;

  for (i = 0; i < iovcnt; i++)
    len += iov[i].iov_len;
  all = malloc (len ? len : 1);
  if (all == NULL)
    abort ();
  for (len = 0, i = 0; i < iovcnt; len += iov[i++].iov_len)
    memcpy (all + len, iov[i].iov_base, iov[i].iov_len);
  half.iov_base = all;
  half.iov_len = len / 2;
  /* It may be there already: then nothing is torn. */
  if (s->inner->ops->put_if_absent (s->inner, name, &half, 1, &unused) == -1)
    lm_error_clear (&unused);
}

static int
put_object (struct fault_store *s, const char *name,
            const struct iovec *iov, int iovcnt, bool replace,
            struct lm_error *err)
{
  enum lm_fault_kind kind = next_step (s);

  if (kind == LM_FAULT_TEAR)
    put_half (s, name, iov, iovcnt);
  else if (kind != LM_FAULT_FAIL) {
    int r = replace
      ? lm_store_put (s->inner, name, iov, iovcnt, err)
      : lm_store_put_if_absent (s->inner, name, iov, iovcnt, err);

    if (kind == LM_FAULT_NONE || r == -1)
      return r;
  }
  return fail (replace ? "put" : "put_if_absent", name, err);
}

static int
fault_put (struct lm_store *store, const char *name,
           const struct iovec *iov, int iovcnt, struct lm_error *err)
{
  return put_object ((struct fault_store *) store, name, iov, iovcnt, true,
                     err);
}

static int
fault_put_if_absent (struct lm_store *store, const char *name,
                     const struct iovec *iov, int iovcnt,
                     struct lm_error *err)
{
  return put_object ((struct fault_store *) store, name, iov, iovcnt, false,
                     err);
}

static int
fault_get_range (struct lm_store *store, const char *name, void *buf,
                 size_t len, uint64_t offset, struct lm_error *err)
{
  struct fault_store *s = (struct fault_store *) store;

  if (next_read_fails (s))
    return fail ("get", name, err);
  return lm_store_get_range (s->inner, name, buf, len, offset, err);
}

static int
fault_stat (struct lm_store *store, const char *name, uint64_t *ret_size,
            struct lm_error *err)
{
  struct fault_store *s = (struct fault_store *) store;

  if (is_dead (s))
    return fail ("stat", name, err);
  return lm_store_stat (s->inner, name, ret_size, err);
}

static int
fault_remove (struct lm_store *store, const char *name,
              struct lm_error *err)
{
  struct fault_store *s = (struct fault_store *) store;
  enum lm_fault_kind kind = next_step (s);

  if (kind == LM_FAULT_NONE || kind == LM_FAULT_LOST_REPLY) {
    int r = lm_store_remove (s->inner, name, err);

    if (kind == LM_FAULT_NONE || r == -1)
      return r;
  }
  return fail ("remove", name, err);
}

static int
fault_list (struct lm_store *store, const char *prefix, lm_store_list_cb cb,
            void *opaque, struct lm_error *err)
{
  struct fault_store *s = (struct fault_store *) store;

  if (is_dead (s))
    return fail ("list", prefix, err);
  return lm_store_list (s->inner, prefix, cb, opaque, err);
}

static void
fault_close (struct lm_store *store)
{
  struct fault_store *s = (struct fault_store *) store;

  pthread_mutex_destroy (&s->lock);
  free (s->base.location);
  free (s);
}

static const struct lm_store_ops fault_ops = {
  .name = "fault",
  .put = fault_put,
  .put_if_absent = fault_put_if_absent,
  .get_range = fault_get_range,
  .stat = fault_stat,
  .remove = fault_remove,
  .list = fault_list,
  .close = fault_close,
};

struct lm_store *
lm_store_fault_new (struct lm_store *inner)
{
  struct fault_store *s = calloc (1, sizeof *s);

  if (s == NULL || (s->base.location = strdup (inner->location)) == NULL)
    abort ();
  s->base.ops = &fault_ops;
  s->inner = inner;
  pthread_mutex_init (&s->lock, NULL);
  return &s->base;
}

void
lm_store_fault_arm (struct lm_store *store, enum lm_fault_kind kind,
                    uint64_t step, bool dead)
{
  struct fault_store *s = (struct fault_store *) store;

  LM_LOCK_FOR_SCOPE (&s->lock);
  s->kind = kind;
  s->at = step;
  s->steps = 0;
  s->dies = dead;
  s->dead = false;
}

void
lm_store_fault_arm_read (struct lm_store *store, uint64_t read)
{
  struct fault_store *s = (struct fault_store *) store;

  LM_LOCK_FOR_SCOPE (&s->lock);
  s->reads = 0;
  s->read_at = read;
}

uint64_t
lm_store_fault_steps (struct lm_store *store)
{
  struct fault_store *s = (struct fault_store *) store;

  LM_LOCK_FOR_SCOPE (&s->lock);
  return s->steps;
}
