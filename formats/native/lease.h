/* SPDX-License-Identifier: Apache-2.0
 *
 * Leases: a running operation says that it is alive (native.md section
 * 12).
 */
#ifndef LM_FORMATS_NATIVE_LEASE_H
#define LM_FORMATS_NATIVE_LEASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "formats/native/native-wire.h"
#include "formats/native/repository.h"

#define LM_LEASE_SECONDS 300    /* how long one lasts without a refresh */

struct lm_lease;

/* Put a lease of KIND ("backup") and start the thread that refreshes it.
 * Call after any fork.  SECONDS 0 means LM_LEASE_SECONDS; tests use less.
 * The repository must live longer; the lease uses only its store and
 * keys, so everything else may go on beside it. */
extern struct lm_lease *lm_lease_acquire (struct lm_repository *repo,
                                          const char *kind,
                                          uint32_t seconds,
                                          struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* 16 bytes, borrowed. */
extern const uint8_t *lm_lease_id (const struct lm_lease *lease)
  __attribute__ ((nonnull));

/* Say that everything the holder decides from here on is based on the
 * journal up to SEQUENCE (native.md section 12, gc): packs that were
 * condemned by then are not used.  The object says so when it is refreshed
 * next, which is AT_ONCE when somebody may wait for it.  A holder that says
 * more later has thrown away what it decided before.  Any thread. */
extern void lm_lease_set_loaded (struct lm_lease *lease, uint64_t sequence,
                                 bool at_once)
  __attribute__ ((nonnull));

/* Was it lost: not refreshed for its whole time, or removed by another?
 * What the holder does from then on may not be committed.  From any
 * thread. */
extern bool lm_lease_lost (struct lm_lease *lease)
  __attribute__ ((nonnull));

/* Whenever the lease is refreshed its thread also looks at the others.
 * Revoke those that it saw dead: for the end of long work, WHAT it was
 * ("backup").  Best effort. */
extern void lm_lease_revoke_dead (struct lm_lease *lease,
                                  struct lm_repository *repo,
                                  const char *what)
  __attribute__ ((nonnull));

/* Stop the thread, remove the object, and free it; NULL is fine.  A lease
 * that cannot be removed dies by itself, so this cannot fail. */
extern void lm_lease_release (struct lm_lease *lease);

/* A lease as it is stored. */
struct lm_lease_info {
  uint8_t id[LM_NAME_ID_LEN];
  char *kind;
  uint64_t counter;
  uint32_t seconds;
  char *host;
  char *user;
  uint64_t pid;
  char *program;
  int64_t started;              /* seconds since the epoch, for people */
  bool has_loaded;
  uint64_t loaded;              /* see lm_lease_set_loaded */
};

/* All leases that open, in the order of their ids.  Free with
 * lm_lease_infos_free. */
extern int lm_lease_list (struct lm_repository *repo,
                          struct lm_lease_info **ret_infos, size_t *ret_n,
                          struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
/* One of them. */
extern int lm_lease_read (struct lm_store *store,
                          const struct lm_keys *keys,
                          const uint8_t id[LM_NAME_ID_LEN],
                          struct lm_lease_info *ret_info,
                          struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
extern void lm_lease_infos_free (struct lm_lease_info *infos, size_t n);
/* What it points to, not itself. */
extern void lm_lease_info_release (struct lm_lease_info *info)
  __attribute__ ((nonnull));

/* Revoke a lease for good: by record, then the object goes.  Only for one
 * that an observer has seen standing still for its whole time, or on a
 * person's word. */
extern int lm_lease_revoke (struct lm_repository *repo,
                            const uint8_t id[LM_NAME_ID_LEN],
                            const char *writer, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
