/* SPDX-License-Identifier: Apache-2.0
 *
 * Watching the leases of others: which are held, and which are dead
 * (native.md section 12).
 *
 * A watch remembers what it saw between looks; a look is a list of the
 * leases and a read of each, so it may be done often.  What is dead is
 * known after the lease's whole time at the earliest, and only if there
 * were looks at both ends of it.  Whoever has something better to do than
 * to wait looks now and then:
 *
 *   watch = lm_lease_watch_new (store, keys, err);
 *   … lm_lease_watch_look (watch, err) …
 *   lm_lease_watch_revoke (watch, repo, "gc", &n, err);
 *
 * (Every lease has a watch of its own that looks whenever the lease is
 * refreshed: see lm_lease_revoke_dead.)  Whoever must know now waits, with
 * lm_lease_watch_wait.
 */
#ifndef LM_FORMATS_NATIVE_LEASE_WATCH_H
#define LM_FORMATS_NATIVE_LEASE_WATCH_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "formats/native/keys.h"
#include "formats/native/lease.h"
#include "formats/native/native-wire.h"
#include "formats/native/repository.h"
#include "formats/store.h"

struct lm_lease_watch;

enum lm_lease_life {
  LM_LEASE_UNKNOWN,             /* not watched for long enough */
  LM_LEASE_ALIVE,               /* its counter moved */
  LM_LEASE_DEAD,                /* it stood still for its whole time */
};

/* A lease that was there at the last look. */
struct lm_lease_seen {
  uint8_t id[LM_NAME_ID_LEN];
  bool readable;                /* false: INFO has nothing; it is watched by
                                 * its stored bytes */
  struct lm_lease_info info;
  enum lm_lease_life life;
  uint64_t still;               /* ns that it was seen standing still */
};

/* Store and keys are borrowed.  All functions may be called from any
 * thread at once. */
extern struct lm_lease_watch *
lm_lease_watch_new (struct lm_store *store, const struct lm_keys *keys,
                    struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
extern void lm_lease_watch_free (struct lm_lease_watch *watch);

/* Look once.  When that fails, what was seen before still counts. */
extern int lm_lease_watch_look (struct lm_lease_watch *watch,
                                struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* What the last look saw, in the order of ids; borrowed until the next
 * look, so only for who alone looks. */
extern const struct lm_lease_seen *
lm_lease_watch_seen (const struct lm_lease_watch *watch, size_t *ret_n)
  __attribute__ ((nonnull));

enum lm_lease_wait {
  /* Until each is gone, dead, or seen alive: the lease time at most.
   * Without it: until each is gone or dead, as long as that takes. */
  LM_LEASE_WAIT_ALIVE_WILL_DO = 1,
  /* One that can't be read is of no kind; without it, of every kind. */
  LM_LEASE_WAIT_READABLE_ONLY = 2,
};

/* Look until it is decided, for every lease of one of KINDS (NULL at the
 * end; KINDS NULL: all) that exists at the beginning, whether it is held.
 * Nothing is revoked.  LM_ERR_INTERRUPTED when *CANCEL gets set (NULL:
 * never). */
extern int lm_lease_watch_wait (struct lm_lease_watch *watch,
                                const char *const *kinds,
                                unsigned flags,
                                const volatile sig_atomic_t *cancel,
                                struct lm_error *err)
  __attribute__ ((nonnull (1, 5), warn_unused_result));

/* Revoke what is dead, all by one record of WRITER, and then remove the
 * objects, as far as this program may remove.  *RET_N is how many. */
extern int lm_lease_watch_revoke (struct lm_lease_watch *watch,
                                  struct lm_repository *repo,
                                  const char *writer, size_t *ret_n,
                                  struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
