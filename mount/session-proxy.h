/* SPDX-License-Identifier: Apache-2.0
 *
 * A session's proxy: one nbdkit with our plugin, listening on nbd.sock.
 *
 * The proxy holds the flock on proxy.lock for as long as it lives (it
 * inherits the descriptor), so whether it runs is a question to the
 * kernel.  proxy.json remembers which process it is; when we were killed
 * before writing it, the process is found by asking the socket who
 * listens.
 */
#ifndef LM_MOUNT_SESSION_PROXY_H
#define LM_MOUNT_SESSION_PROXY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "mount/session.h"

enum lm_proxy_state {
  LM_PROXY_RUNNING,
  LM_PROXY_STOPPED,             /* ended as it was told to */
  LM_PROXY_DEAD,                /* ended by itself, or with the machine */
};

extern enum lm_proxy_state
lm_session_proxy_state (const struct lm_session *session)
  __attribute__ ((nonnull));

/* Does it really serve?  One that was told to end, or that is just being
 * killed, still holds its lock for a moment. */
extern bool lm_session_proxy_serves (const struct lm_session *session)
  __attribute__ ((nonnull));

/* Start it and wait until every disk of the session can be opened
 * through it.  MASTER is the repository's key, NULL if it has none; it
 * goes through a pipe and is seen nowhere.  If the proxy fails, its own
 * message is the error's, and nothing is left running.  The session must
 * be locked. */
extern int lm_session_proxy_start (const struct lm_session *session,
                                   const uint8_t *master_or_null,
                                   struct lm_error *err)
  __attribute__ ((nonnull (1, 3)));

/* Ask it to end (flushed is what clients flushed), wait, insist.  0 also
 * when it doesn't run.  The session must be locked. */
extern int lm_session_proxy_stop (const struct lm_session *session,
                                  struct lm_error *err)
  __attribute__ ((nonnull));

/* nbd+unix:///DISK?socket=PATH.  Free it. */
extern char *lm_session_uri (const struct lm_session *session,
                             const char *disk, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Can the socket's path be used at all?  LM_ERR_LIMIT with a hint. */
extern int lm_session_check_paths (const struct lm_session *session,
                                   struct lm_error *err)
  __attribute__ ((nonnull));

#endif
