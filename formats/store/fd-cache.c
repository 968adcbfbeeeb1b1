/* SPDX-License-Identifier: Apache-2.0
 * Open descriptors by name; see fd-cache.h.
 */
#include <config.h>

#include "formats/store/fd-cache.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "common/banned.h"

struct slot {
  char *name;           /* NULL: dropped, waits for its last release */
  uint64_t hash;        /* of name */
  uint64_t last_used;
  unsigned users;
  int fd;               /* -1: free */
};

struct lm_fd_cache {
  pthread_mutex_t lock;         /* guards all below */
  uint64_t clock;
  uint64_t generation;          /* counts drops */
  unsigned nr_slots;
  struct slot slots[];
};

static uint64_t
hash_name (const char *name)
{
  uint64_t h = UINT64_C (0xcbf29ce484222325);

  for (; *name; name++)
    h = (h ^ (unsigned char) *name) * UINT64_C (0x100000001b3);
  return h;
}

struct lm_fd_cache *
lm_fd_cache_new (unsigned max, struct lm_error *err)
{
  struct lm_fd_cache *c;
  struct rlimit rl;
  unsigned i;

  /* An eighth of what the process may open, and room for one pack. */
  if (getrlimit (RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur != RLIM_INFINITY &&
      rl.rlim_cur / 8 < max)
    max = rl.rlim_cur / 8;
  if (max == 0)
    max = 1;
  c = calloc (1, sizeof *c + max * sizeof c->slots[0]);
  if (c == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  pthread_mutex_init (&c->lock, NULL);
  c->nr_slots = max;
  for (i = 0; i < max; i++)
    c->slots[i].fd = -1;
  return c;
}

static void
empty_slot_locked (struct slot *s)
{
  lm_io->close (s->fd);
  s->fd = -1;
  free (lm_steal (s->name));
}

void
lm_fd_cache_free (struct lm_fd_cache *c)
{
  unsigned i;

  if (c == NULL)
    return;
  for (i = 0; i < c->nr_slots; i++)
    if (c->slots[i].fd != -1)
      empty_slot_locked (&c->slots[i]);
  pthread_mutex_destroy (&c->lock);
  free (c);
}

static struct slot *
find_locked (struct lm_fd_cache *c, const char *name, uint64_t hash)
{
  unsigned i;

  for (i = 0; i < c->nr_slots; i++) {
    struct slot *s = &c->slots[i];

    if (s->hash == hash && s->fd != -1 && s->name &&
        strcmp (s->name, name) == 0)
      return s;
  }
  return NULL;
}

static int
use_locked (struct lm_fd_cache *c, struct slot *s, int *ret_fd)
{
  s->users++;
  s->last_used = ++c->clock;
  *ret_fd = s->fd;
  return s - c->slots;
}

int
lm_fd_cache_acquire (struct lm_fd_cache *c, const char *name, int *ret_fd,
                     uint64_t *ret_generation)
{
  uint64_t hash = hash_name (name);
  struct slot *s;

  LM_LOCK_FOR_SCOPE (&c->lock);
  s = find_locked (c, name, hash);
  if (s)
    return use_locked (c, s, ret_fd);
  *ret_generation = c->generation;
  return -1;
}

int
lm_fd_cache_insert (struct lm_fd_cache *c, const char *name, int fd,
                    uint64_t generation, int *ret_fd)
{
  uint64_t hash = hash_name (name);
  CLEANUP_FREE char *copy = strdup (name);
  struct slot *s, *victim = NULL;
  unsigned i;

  LM_LOCK_FOR_SCOPE (&c->lock);
  if (copy == NULL || generation != c->generation)
    return -1;
  s = find_locked (c, name, hash);
  if (s) {
    lm_io->close (fd);
    return use_locked (c, s, ret_fd);
  }
  for (i = 0; i < c->nr_slots; i++) {
    s = &c->slots[i];
    if (s->fd == -1) {
      victim = s;
      break;
    }
    if (s->users == 0 && (victim == NULL ||
                          s->last_used < victim->last_used))
      victim = s;
  }
  if (victim == NULL)
    return -1;
  if (victim->fd != -1)
    empty_slot_locked (victim);
  victim->name = lm_steal (copy);
  victim->hash = hash;
  victim->fd = fd;
  victim->users = 0;
  return use_locked (c, victim, ret_fd);
}

void
lm_fd_cache_release (struct lm_fd_cache *c, int slot)
{
  struct slot *s = &c->slots[slot];

  LM_LOCK_FOR_SCOPE (&c->lock);
  if (--s->users == 0 && s->name == NULL)
    empty_slot_locked (s);
}

void
lm_fd_cache_drop (struct lm_fd_cache *c, const char *name)
{
  uint64_t hash = hash_name (name);
  struct slot *s;

  LM_LOCK_FOR_SCOPE (&c->lock);
  c->generation++;
  s = find_locked (c, name, hash);
  if (s == NULL)
    return;
  if (s->users == 0)
    empty_slot_locked (s);
  else
    free (lm_steal (s->name));
}

void
lm_fd_cache_trim (struct lm_fd_cache *c)
{
  unsigned i;

  LM_LOCK_FOR_SCOPE (&c->lock);
  for (i = 0; i < c->nr_slots; i++)
    if (c->slots[i].fd != -1 && c->slots[i].users == 0)
      empty_slot_locked (&c->slots[i]);
}
