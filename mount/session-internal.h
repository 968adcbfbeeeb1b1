/* SPDX-License-Identifier: Apache-2.0
 * What session.c and session-record.c share.
 */
#ifndef LM_MOUNT_SESSION_INTERNAL_H
#define LM_MOUNT_SESSION_INTERNAL_H

#include "mount/session.h"

/* The first session.json: nothing hangs on it yet, so it is not synced. */
extern int lm_session_record_begin (const struct lm_session *session,
                                    struct lm_error *err)
  __attribute__ ((nonnull));

/* Read session.json of an opened folder into SESSION. */
extern int lm_session_record_read (struct lm_session *session,
                                   struct lm_error *err)
  __attribute__ ((nonnull));

/* Free the members that the record fills in. */
extern void lm_session_record_release (struct lm_session *session)
  __attribute__ ((nonnull));

#endif
