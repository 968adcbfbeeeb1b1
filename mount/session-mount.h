/* SPDX-License-Identifier: Apache-2.0
 *
 * Making and ending live mounts: what mount, boot, stop, resume and
 * unmount have in common.
 */
#ifndef LM_MOUNT_SESSION_MOUNT_H
#define LM_MOUNT_SESSION_MOUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "mount/cli.h"
#include "mount/session.h"

struct lm_mount_request {
  const char *snapshot;         /* as named: VM[/TIME[/DISK]] */
  const char *name;             /* of the session; NULL: after the VM */
  bool read_only;
  const char *fuse;             /* folder; NULL: none */
  uint64_t cache_size;          /* 0: the proxy's default */
};

/* Make a session of stage kept whose proxy runs, in this order: name and
 * folder; record with repository, snapshot and pin id; pin; proxy; FUSE;
 * stage kept.  On failure all of it is undone, in reverse.  REPO may be
 * NULL: then it is opened as CLI says.  The result is locked. */
extern struct lm_session *
lm_session_mount (const struct lm_cli *cli,
                  const struct lm_mount_request *request,
                  struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Start the proxy again, with the key from CLI or where the session
 * remembers it.  The session must be locked. */
extern int lm_session_restart (const struct lm_cli *cli,
                               const struct lm_session *session,
                               struct lm_error *err)
  __attribute__ ((nonnull));

/* End what runs: machine, FUSE, proxy.  Everything is kept. */
extern int lm_session_halt (const struct lm_session *session,
                            struct lm_error *err)
  __attribute__ ((nonnull));

/* Bytes that were written in it; 0: nothing was. */
extern int lm_session_changes (const struct lm_session *session,
                               uint64_t *ret_bytes, struct lm_error *err)
  __attribute__ ((nonnull));

/* Clear away what is half-made, and what was dropped more than a day
 * ago.  What does not succeed is left for the next time. */
extern void lm_sessions_sweep (const struct lm_cli *cli)
  __attribute__ ((nonnull));

/* Print session, disks and addresses; as JSON with --json. */
extern int lm_session_print (const struct lm_cli *cli,
                             const struct lm_session *session,
                             struct lm_error *err)
  __attribute__ ((nonnull));

/* The session as an object for --json. */
extern json_t *lm_session_to_json (const struct lm_session *session,
                                   struct lm_error *err)
  __attribute__ ((nonnull));

#endif
