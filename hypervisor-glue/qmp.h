/* SPDX-License-Identifier: Apache-2.0
 *
 * A client for QMP, the control protocol of QEMU, over a Unix socket:
 * greeting, capabilities, commands with ids, events, and a time limit on
 * everything.  The peer runs a guest that may have broken out: whatever
 * it sends costs bounded memory and time and ends in an error.
 *
 * QEMU serves one client of a socket at a time; a second one waits for
 * its greeting.  So connections are opened for one purpose and closed.
 *
 * A connection is for one thread at a time.
 */
#ifndef LM_QMP_H
#define LM_QMP_H

#include <stdint.h>

#include "common/error.h"
#include "common/json.h"

/* A message longer than this is refused; QEMU's longest answer to what we
 * ask is some hundred bytes, a block query of many disks some ten KiB. */
#define LM_QMP_MESSAGE_MAX (1 << 20)

/* Events that nobody fetched; the oldest is dropped for a new one. */
#define LM_QMP_EVENTS_MAX 64

struct lm_qmp;

/* Connect and negotiate.  LM_ERR_NOT_FOUND when nobody listens at PATH;
 * LM_ERR_LOCKED when it is busy with another client. */
extern struct lm_qmp *lm_qmp_connect (const char *path, int64_t timeout_ms,
                                      struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* The same over a connected socket, which is owned from here on, also
 * when this fails.  WHAT names it in messages. */
extern struct lm_qmp *lm_qmp_from_fd (int fd, const char *what,
                                      int64_t timeout_ms,
                                      struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Run one command; its "return" value as a new reference.  ARGUMENTS may
 * be NULL and is used up in any case.  A refusal by QEMU is LM_ERR_IO (or
 * LM_ERR_UNSUPPORTED for a command that it does not have) with QEMU's
 * description; the connection is then still good, and so it is after a
 * timeout. */
extern json_t *lm_qmp_command (struct lm_qmp *qmp, const char *command,
                               json_t *arguments, int64_t timeout_ms,
                               struct lm_error *err)
  __attribute__ ((nonnull (1, 2, 5), warn_unused_result));

/* The oldest event not fetched yet, a new reference; waits up to
 * TIMEOUT_MS for one.  *RET_EVENT is NULL if none came. */
extern int lm_qmp_next_event (struct lm_qmp *qmp, int64_t timeout_ms,
                              json_t **ret_event, struct lm_error *err)
  __attribute__ ((nonnull));

extern void lm_qmp_free (struct lm_qmp *qmp);

static inline void
lm_cleanup_qmp (struct lm_qmp **p)
{
  lm_qmp_free (*p);
}

#define CLEANUP_QMP __attribute__ ((cleanup (lm_cleanup_qmp)))

#endif
