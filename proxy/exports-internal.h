/* SPDX-License-Identifier: Apache-2.0
 * What the files of the exports share.
 */
#ifndef LM_PROXY_EXPORTS_INTERNAL_H
#define LM_PROXY_EXPORTS_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "formats/native/repository.h"
#include "proxy/exports.h"

struct lm_cache;
struct lm_overlay;

struct open_export {
  struct lm_export public;      /* first */
  struct open_export *next;
  uint8_t snapshot[LM_NAME_ID_LEN];
  char *disk_name;
  unsigned users;
  uint64_t idle_since;          /* by the count of closes */
};

/* What a short name meant when it was first used. */
struct alias {
  char *name;
  uint8_t snapshot[LM_NAME_ID_LEN];
  char *disk;
};

struct lm_exports {
  /* Fixed once it is set up. */
  struct lm_repository *repo;
  struct lm_cache *cache;
  struct lm_readahead *readahead;
  struct lm_overlay *overlay;   /* or NULL */
  struct lm_snapshot *fixed;    /* the one that is served, or NULL: all */
  char *fixed_name;             /* VM/TIME of it */
  char *fixed_disk;             /* the only disk that is served, or NULL */
  char *default_name;           /* VM/TIME/DISK, or NULL */

  pthread_rwlock_t repo_lock;   /* repo: reading and loading it */
  pthread_mutex_t lock;         /* all that follows */
  struct open_export *open;
  uint64_t closes;
  size_t nr_aliases;
  struct alias *aliases;
};

/* Open a disk that is not open, and add it to the list. */
extern struct open_export *
lm_exports_open_disk (struct lm_exports *x, const struct lm_snapshot *s,
                      const struct lm_snapshot_disk *disk,
                      struct lm_error *err);

extern void lm_exports_close_all (struct lm_exports *x);

/* The live snapshot of that id, or NULL.  Borrowed until the next load. */
extern const struct lm_snapshot_entry *
lm_exports_entry_of_id (const struct lm_exports *x, const uint8_t *id);

/* VM/TIME/DISK, to be freed. */
extern char *lm_export_full_name (const char *vm, int64_t time,
                                  const char *disk, struct lm_error *err);

#endif
