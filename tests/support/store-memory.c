/* SPDX-License-Identifier: Apache-2.0
 * A store in memory; see store-memory.h.
 */
#include <config.h>

#include "tests/support/store-memory.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "common/banned.h"

struct object {
  char *name;
  uint8_t *data;
  size_t len;
};

struct memory_store {
  struct lm_store base;
  pthread_mutex_t lock;         /* guards all below */
  struct object *objects;
  size_t nr_objects;
};

static void *
check_alloc (void *p)
{
  if (p == NULL)
    abort ();
  return p;
}

static struct object *
find_locked (struct memory_store *s, const char *name)
{
  size_t i;

  for (i = 0; i < s->nr_objects; i++)
    if (strcmp (s->objects[i].name, name) == 0)
      return &s->objects[i];
  return NULL;
}

static int
fail_not_found (const char *name, struct lm_error *err)
{
  return lm_error_set (err, LM_ERR_NOT_FOUND, "memory: %s: no such object",
                       name);
}

static int
put_object (struct memory_store *s, const char *name,
            const struct iovec *iov, int iovcnt, bool replace,
            struct lm_error *err)
{
  struct object *o;
  size_t len = 0;
  uint8_t *data;
  int i;

  for (i = 0; i < iovcnt; i++)
    len += iov[i].iov_len;
  data = check_alloc (malloc (len ? len : 1));
  for (len = 0, i = 0; i < iovcnt; len += iov[i++].iov_len)
    if (iov[i].iov_len > 0)
      memcpy (data + len, iov[i].iov_base, iov[i].iov_len);

  LM_LOCK_FOR_SCOPE (&s->lock);
  o = find_locked (s, name);
  if (o && !replace) {
    free (data);
    return lm_error_set (err, LM_ERR_EXISTS, "memory: %s: exists already",
                         name);
  }
  if (o == NULL) {
    s->objects = check_alloc (realloc (s->objects, (s->nr_objects + 1) *
                                       sizeof *s->objects));
    o = &s->objects[s->nr_objects++];
    o->name = check_alloc (strdup (name));
    o->data = NULL;
  }
  free (o->data);
  o->data = data;
  o->len = len;
  return 0;
}

static int
memory_put (struct lm_store *store, const char *name,
            const struct iovec *iov, int iovcnt, struct lm_error *err)
{
  return put_object ((struct memory_store *) store, name, iov, iovcnt, true,
                     err);
}

static int
memory_put_if_absent (struct lm_store *store, const char *name,
                      const struct iovec *iov, int iovcnt,
                      struct lm_error *err)
{
  return put_object ((struct memory_store *) store, name, iov, iovcnt,
                     false, err);
}

static int
memory_get_range (struct lm_store *store, const char *name, void *buf,
                  size_t len, uint64_t offset, struct lm_error *err)
{
  struct memory_store *s = (struct memory_store *) store;
  struct object *o;

  LM_LOCK_FOR_SCOPE (&s->lock);
  o = find_locked (s, name);
  if (o == NULL)
    return fail_not_found (name, err);
  if (!lm_range_ok (offset, len, o->len))
    return lm_corrupt (err, "memory: %s: ends at 0x%zx, before 0x%" PRIx64
                       "+%zu", name, o->len, offset, len);
  memcpy (buf, o->data + offset, len);
  return 0;
}

static int
memory_stat (struct lm_store *store, const char *name, uint64_t *ret_size,
             struct lm_error *err)
{
  struct memory_store *s = (struct memory_store *) store;
  struct object *o;

  LM_LOCK_FOR_SCOPE (&s->lock);
  o = find_locked (s, name);
  if (o == NULL)
    return fail_not_found (name, err);
  *ret_size = o->len;
  return 0;
}

static int
memory_remove (struct lm_store *store, const char *name,
               struct lm_error *err)
{
  struct memory_store *s = (struct memory_store *) store;
  struct object *o;

  LM_LOCK_FOR_SCOPE (&s->lock);
  o = find_locked (s, name);
  if (o == NULL)
    return fail_not_found (name, err);
  free (o->name);
  free (o->data);
  *o = s->objects[--s->nr_objects];
  return 0;
}

/* The callback may call the store, so it works on a copy of the names. */
static int
memory_list (struct lm_store *store, const char *prefix,
             lm_store_list_cb cb, void *opaque, struct lm_error *err)
{
  struct memory_store *s = (struct memory_store *) store;
  size_t prefix_len = strlen (prefix);
  struct object *found = NULL;
  size_t i, n = 0;
  int r = 0;

  pthread_mutex_lock (&s->lock);
  for (i = 0; i < s->nr_objects; i++) {
    struct object *o = &s->objects[i];

    if (strncmp (o->name, prefix, prefix_len) != 0 ||
        o->name[prefix_len] != '/')
      continue;
    found = check_alloc (realloc (found, (n + 1) * sizeof *found));
    found[n] = *o;
    found[n++].name = check_alloc (strdup (o->name));
  }
  pthread_mutex_unlock (&s->lock);

  for (i = 0; i < n; i++) {
    if (r == 0)
      r = cb (opaque, found[i].name, found[i].len, err);
    free (found[i].name);
  }
  free (found);
  return r;
}

static void
memory_close (struct lm_store *store)
{
  struct memory_store *s = (struct memory_store *) store;
  size_t i;

  for (i = 0; i < s->nr_objects; i++) {
    free (s->objects[i].name);
    free (s->objects[i].data);
  }
  free (s->objects);
  free (s->base.location);
  pthread_mutex_destroy (&s->lock);
  free (s);
}

static const struct lm_store_ops memory_ops = {
  .name = "memory",
  .put = memory_put,
  .put_if_absent = memory_put_if_absent,
  .get_range = memory_get_range,
  .stat = memory_stat,
  .remove = memory_remove,
  .list = memory_list,
  .close = memory_close,
};

struct lm_store *
lm_store_memory_new (void)
{
  struct memory_store *s = check_alloc (calloc (1, sizeof *s));

  s->base.ops = &memory_ops;
  s->base.location = check_alloc (strdup ("memory"));
  pthread_mutex_init (&s->lock, NULL);
  return &s->base;
}

uint8_t *
lm_store_memory_data (struct lm_store *store, const char *name,
                      size_t *ret_len)
{
  struct memory_store *s = (struct memory_store *) store;
  struct object *o;

  LM_LOCK_FOR_SCOPE (&s->lock);
  o = find_locked (s, name);
  if (o == NULL)
    return NULL;
  *ret_len = o->len;
  return o->data;
}
