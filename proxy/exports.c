/* SPDX-License-Identifier: Apache-2.0
 *
 * Names to open disks; see exports.h.  Setting up and taking down is in
 * exports-setup.c.
 *
 * What clients can name may change while the process lives: a snapshot
 * was made, another forgotten.  So the repository is loaded again, if it
 * is not fixed to one snapshot, when names are listed or one that was not
 * used before is opened.  Reads hold repo_lock shared (guard-disk.h), and
 * the load waits for the reads that are under way.
 *
 * Lock order: lock, then repo_lock.
 */
#include <config.h>

#include "proxy/exports.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/size.h"
#include "common/timestamp.h"
#include "proxy/cache.h"
#include "proxy/exports-internal.h"
#include "proxy/guard-disk.h"
#include "proxy/overlay.h"
#include "common/banned.h"

/* Closed disks that are kept open for who comes back. */
#define IDLE_MAX 4
/* Short names that are remembered. */
#define ALIASES_MAX 10000
/* What nbdkit takes. */
#define LIST_MAX 10000

static void *
nomem (struct lm_error *err)
{
  lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  return NULL;
}

char *
lm_export_full_name (const char *vm, int64_t time, const char *disk,
                     struct lm_error *err)
{
  char when[LM_TIMESTAMP_LEN + 1], *name;

  lm_timestamp_format (time, when);
  if (asprintf (&name, "%s/%s/%s", vm, when, disk) == -1)
    return nomem (err);
  return name;
}

static char *
describe (const struct lm_snapshot *s, const struct lm_snapshot_disk *disk,
          struct lm_error *err)
{
  char when[LM_TIMESTAMP_LEN + 1], size[LM_SIZE_LEN], *text;

  lm_timestamp_format (s->time, when);
  lm_size_format (disk->size, size);
  if (asprintf (&text, "%s of %s at %s, %s, %s", disk->name, s->vm, when,
                size, s->consistency) == -1)
    return nomem (err);
  return text;
}

static void
free_open (struct open_export *o)
{
  lm_disk_close (o->public.disk ? : o->public.cached);
  free (o->public.name);
  free (o->public.description);
  free (o->disk_name);
  free (o);
}

void
lm_exports_close_all (struct lm_exports *x)
{
  struct open_export *o, *next;

  for (o = x->open; o != NULL; o = next) {
    next = o->next;
    free_open (o);
  }
  x->open = NULL;
}

/* snapshot disk < guard < cache < overlay. */
static int
stack_disks (struct lm_exports *x, struct open_export *o,
             const struct lm_snapshot_disk *disk, struct lm_error *err)
{
  struct lm_export *e = &o->public;
  struct lm_disk *d, *outer;

  d = lm_snapshot_disk_open (x->repo, disk->size,
                             disk->has_root ? disk->root : NULL, e->name,
                             err);
  if (d == NULL)
    return -1;
  if (!x->fixed) {
    outer = lm_guard_disk_new (d, &x->repo_lock, err);
    if (outer == NULL)
      goto fail;
    d = outer;
  }
  outer = lm_cache_disk_new (x->cache, d, err);
  if (outer == NULL)
    goto fail;
  d = e->cached = outer;
  if (x->overlay) {
    outer = lm_overlay_disk_open (x->overlay, disk->name, d, err);
    if (outer == NULL)
      return -1;                /* free_open closes e->cached */
    d = outer;
    e->writable = true;
  }
  e->disk = d;
  return 0;

fail:
  lm_disk_close (d);
  return -1;
}

struct open_export *
lm_exports_open_disk (struct lm_exports *x, const struct lm_snapshot *s,
                      const struct lm_snapshot_disk *disk,
                      struct lm_error *err)
{
  struct open_export *o = calloc (1, sizeof *o);

  if (o == NULL)
    return nomem (err);
  memcpy (o->snapshot, s->id, sizeof o->snapshot);
  o->disk_name = strdup (disk->name);
  o->public.name = lm_export_full_name (s->vm, s->time, disk->name, err);
  o->public.description = describe (s, disk, err);
  if (o->disk_name == NULL || o->public.name == NULL ||
      o->public.description == NULL || stack_disks (x, o, disk, err) == -1) {
    if (o->disk_name == NULL)
      nomem (err);
    free_open (o);
    return NULL;
  }
  o->next = x->open;
  x->open = o;
  return o;
}

static struct open_export *
find_open (struct lm_exports *x, const uint8_t *snapshot, const char *disk)
{
  struct open_export *o;

  for (o = x->open; o != NULL; o = o->next)
    if (memcmp (o->snapshot, snapshot, sizeof o->snapshot) == 0 &&
        strcmp (o->disk_name, disk) == 0)
      return o;
  return NULL;
}

/* Without threads that read: waits for those under way. */
static int
load_again (struct lm_exports *x, struct lm_error *err)
{
  int r;

  if (x->fixed)
    return 0;
  pthread_rwlock_wrlock (&x->repo_lock);
  r = lm_repository_load (x->repo, err);
  pthread_rwlock_unlock (&x->repo_lock);
  return r;
}

/* ---- short names ---- */

static const struct alias *
find_alias (const struct lm_exports *x, const char *name)
{
  size_t i;

  for (i = 0; i < x->nr_aliases; i++)
    if (strcmp (x->aliases[i].name, name) == 0)
      return &x->aliases[i];
  return NULL;
}

/* What NAME meant, if it is not the full name anyway. */
static int
remember_alias (struct lm_exports *x, const char *name,
                const struct open_export *o, struct lm_error *err)
{
  struct alias *more;

  if (strcmp (name, o->public.name) == 0)
    return 0;
  if (x->nr_aliases == ALIASES_MAX)
    return lm_error_set (err, LM_ERR_LIMIT, "more than %d short names are "
                         "in use: say the full one, %s", ALIASES_MAX,
                         o->public.name);
  more = realloc (x->aliases, (x->nr_aliases + 1) * sizeof *more);
  if (more == NULL) {
    nomem (err);
    return -1;
  }
  x->aliases = more;
  more += x->nr_aliases;
  more->name = strdup (name);
  more->disk = strdup (o->disk_name);
  memcpy (more->snapshot, o->snapshot, sizeof more->snapshot);
  if (more->name == NULL || more->disk == NULL) {
    free (more->name);
    free (more->disk);
    nomem (err);
    return -1;
  }
  x->nr_aliases++;
  return 0;
}

/* ---- finding ---- */

static void
cleanup_snapshot (struct lm_snapshot **s)
{
  lm_snapshot_free (*s);
}

/* The disk of a snapshot, open now or before. */
static struct open_export *
open_in_snapshot (struct lm_exports *x,
                  const struct lm_snapshot_entry *entry, const char *disk,
                  struct lm_error *err)
{
  CLEANUP (cleanup_snapshot) struct lm_snapshot *s = NULL;
  const struct lm_snapshot_disk *d;
  struct open_export *o;

  s = lm_snapshot_open (x->repo, entry, err);
  if (s == NULL)
    return NULL;
  d = lm_snapshot_find_disk (s, disk, err);
  if (d == NULL)
    return NULL;
  o = find_open (x, s->id, d->name);
  return o ? o : lm_exports_open_disk (x, s, d, err);
}

/* With one snapshot: a disk's own name, or a full one of that snapshot. */
static struct open_export *
open_fixed (struct lm_exports *x, const char *name, struct lm_error *err)
{
  CLEANUP_FREE char *disk = NULL;
  const struct lm_snapshot_entry *entry;
  const struct lm_snapshot_disk *d = NULL;
  struct open_export *o;
  size_t i;

  for (i = 0; i < x->fixed->nr_disks && strchr (name, '/') == NULL; i++)
    if (strcmp (x->fixed->disks[i].name, name) == 0)
      d = &x->fixed->disks[i];
  if (d == NULL) {
    entry = lm_repository_resolve (x->repo, name, &disk, err);
    if (entry == NULL)
      return NULL;
    if (memcmp (entry->id, x->fixed->id, sizeof entry->id) != 0) {
      lm_error_set (err, LM_ERR_NOT_FOUND, "export %.200s: only snapshot %s "
                    "is served here", name, x->fixed_name);
      return NULL;
    }
    d = lm_snapshot_find_disk (x->fixed, disk ? disk : x->fixed_disk, err);
    if (d == NULL)
      return NULL;
  }
  if (x->fixed_disk && strcmp (d->name, x->fixed_disk) != 0) {
    lm_error_set (err, LM_ERR_NOT_FOUND, "export %.200s: only disk %s of %s "
                  "is served here", name, x->fixed_disk, x->fixed_name);
    return NULL;
  }
  o = find_open (x, x->fixed->id, d->name);
  return o ? o : lm_exports_open_disk (x, x->fixed, d, err);
}

static struct open_export *
open_any (struct lm_exports *x, const char *name, struct lm_error *err)
{
  const struct alias *alias = find_alias (x, name);
  const struct lm_snapshot_entry *entry;
  CLEANUP_FREE char *disk = NULL;
  struct open_export *o;

  if (alias) {
    o = find_open (x, alias->snapshot, alias->disk);
    if (o)
      return o;
    entry = lm_exports_entry_of_id (x, alias->snapshot);
    if (entry == NULL) {
      lm_error_set (err, LM_ERR_NOT_FOUND, "export %.200s: the snapshot that "
                    "it stood for was forgotten", name);
      return NULL;
    }
    return open_in_snapshot (x, entry, alias->disk, err);
  }
  if (load_again (x, err) == -1)
    return NULL;
  entry = lm_repository_resolve (x->repo, name, &disk, err);
  if (entry == NULL)
    return NULL;
  o = open_in_snapshot (x, entry, disk, err);
  if (o == NULL || remember_alias (x, name, o, err) == -1)
    return NULL;
  return o;
}

struct lm_export *
lm_exports_open (struct lm_exports *x, const char *name,
                 struct lm_error *err)
{
  LM_LOCK_FOR_SCOPE (&x->lock);
  struct open_export *o;

  if (name[0] == '\0') {
    name = lm_exports_default (x);
    if (name == NULL) {
      lm_error_set (err, LM_ERR_NOT_FOUND, "there is no default export");
      lm_error_hint (err, x->fixed
                     ? "the snapshot has several disks: name one of them"
                     : "name one: VM/TIME/DISK, VM/latest, or VM");
      return NULL;
    }
  }
  o = x->fixed ? open_fixed (x, name, err) : open_any (x, name, err);
  if (o == NULL)
    return NULL;
  o->users++;
  return &o->public;
}

/* Close what was idle longest, if there is too much of it. */
static void
trim_idle (struct lm_exports *x)
{
  struct open_export **link, **oldest = NULL, *o;
  unsigned idle = 0;

  for (link = &x->open; *link; link = &(*link)->next) {
    o = *link;
    if (o->users > 0 || o->public.writable)
      continue;
    idle++;
    if (oldest == NULL || o->idle_since < (*oldest)->idle_since)
      oldest = link;
  }
  if (idle <= IDLE_MAX)
    return;
  o = *oldest;
  *oldest = o->next;
  lm_readahead_forget (x->readahead, o->public.cached);
  free_open (o);
}

void
lm_exports_close (struct lm_exports *x, struct lm_export *e)
{
  struct open_export *o = (struct open_export *) e;
  LM_LOCK_FOR_SCOPE (&x->lock);

  if (--o->users == 0) {
    o->idle_since = ++x->closes;
    trim_idle (x);
  }
}

const char *
lm_exports_default (const struct lm_exports *x)
{
  return x->default_name;
}

/* ---- listing ---- */

struct listing {
  struct lm_exports *x;
  lm_exports_list_cb cb;
  void *opaque;
  size_t count;
};

static int
list_one (struct listing *l, const char *name, const char *description,
          struct lm_error *err)
{
  if (l->count == LIST_MAX)
    return 0;
  l->count++;
  return l->cb (l->opaque, name, description, err);
}

/* The disks of one snapshot.  PREFIX goes before a disk's short name; NULL
 * for none of those. */
static int
list_snapshot (struct listing *l, const struct lm_snapshot *s,
               const char *prefix, const char *only, struct lm_error *err)
{
  size_t i;

  for (i = 0; i < s->nr_disks; i++) {
    const struct lm_snapshot_disk *d = &s->disks[i];
    CLEANUP_FREE char *name = NULL, *text = NULL, *alias = NULL;

    if (only && strcmp (only, d->name) != 0)
      continue;
    text = describe (s, d, err);
    name = lm_export_full_name (s->vm, s->time, d->name, err);
    if (text == NULL || name == NULL)
      return -1;
    if (prefix) {
      if (asprintf (&alias, "%s%s", prefix, d->name) == -1) {
        alias = NULL;
        nomem (err);
        return -1;
      }
      if (list_one (l, alias, text, err) == -1)
        return -1;
    }
    if (list_one (l, name, text, err) == -1)
      return -1;
  }
  return 0;
}

static bool
is_newest (const struct lm_snapshot_entry *all, size_t n, size_t i)
{
  size_t k;

  for (k = i + 1; k < n; k++)
    if (strcmp (all[k].vm, all[i].vm) == 0)
      return false;
  return true;
}

static int
list_all (struct listing *l, struct lm_error *err)
{
  const struct lm_snapshot_entry *all;
  size_t n, i;

  if (load_again (l->x, err) == -1)
    return -1;
  all = lm_repository_snapshots (l->x->repo, &n);
  for (i = n; i-- > 0 && l->count < LIST_MAX;) {
    CLEANUP (cleanup_snapshot) struct lm_snapshot *s = NULL;
    CLEANUP_FREE char *prefix = NULL;
    struct lm_error bad = LM_ERROR_INIT;

    s = lm_snapshot_open (l->x->repo, &all[i], &bad);
    if (s == NULL) {            /* one bad manifest must not hide the rest */
      lm_debug (LM_DEBUG_REPOSITORY, "not listed: %s", bad.message);
      continue;
    }
    if (is_newest (all, n, i) &&
        asprintf (&prefix, "%s/latest/", s->vm) == -1) {
      prefix = NULL;
      nomem (err);
      return -1;
    }
    if (list_snapshot (l, s, prefix, NULL, err) == -1)
      return -1;
  }
  return 0;
}

int
lm_exports_list (struct lm_exports *x, lm_exports_list_cb cb, void *opaque,
                 struct lm_error *err)
{
  struct listing l = { x, cb, opaque, 0 };
  LM_LOCK_FOR_SCOPE (&x->lock);

  if (x->fixed)
    return list_snapshot (&l, x->fixed, "", x->fixed_disk, err);
  return list_all (&l, err);
}
