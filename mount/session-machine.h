/* SPDX-License-Identifier: Apache-2.0
 *
 * A session's machine: started on its disks, found again through vm.json.
 */
#ifndef LM_MOUNT_SESSION_MACHINE_H
#define LM_MOUNT_SESSION_MACHINE_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "hypervisor-glue/console-wait.h"
#include "hypervisor-glue/machine.h"
#include "mount/cli.h"
#include "mount/session.h"

/* *RET_MACHINE is NULL when there is none, or when it has ended. */
extern int lm_session_machine_attach (const struct lm_session *session,
                                      struct lm_machine **ret_machine,
                                      struct lm_error *err)
  __attribute__ ((nonnull));

/* "running", "paused", …; "none" when there is no machine or it ended. */
extern const char *
lm_session_machine_word (const struct lm_session *session)
  __attribute__ ((nonnull));

/* Start it as CONFIG says; paths, name and disks are filled in here.  The
 * session must be locked and its proxy running.  LM_ERR_EXISTS when one
 * runs already. */
extern int lm_session_machine_start (const struct lm_session *session,
                                     const struct lm_machine_config *config,
                                     enum lm_disk_bus bus,
                                     struct lm_machine **ret_machine,
                                     struct lm_error *err)
  __attribute__ ((nonnull));

/* End it, if there is one: the power button and GRACE_MS for the guest to
 * react, then the hard way.  The session must be locked. */
extern int lm_session_machine_stop (const struct lm_session *session,
                                    int64_t grace_ms,
                                    const volatile sig_atomic_t *cancel,
                                    struct lm_error *err)
  __attribute__ ((nonnull (1, 4)));

/* Wait until what the guest prints after offset FROM of the serial log
 * matches REGEX.  0 when it did; LM_ERR_IO on time-out or when the machine
 * ended, with the last line of the console in the message; LM_ERR_USAGE
 * for a bad expression. */
extern int lm_session_wait_for (const struct lm_session *session,
                                struct lm_machine *machine,
                                const char *regex, uint64_t from,
                                int64_t timeout_ms,
                                const volatile sig_atomic_t *cancel,
                                struct lm_console_result *ret_result,
                                struct lm_error *err)
  __attribute__ ((nonnull (1, 2, 3, 7, 8)));

/* The size of the serial log, in bytes. */
extern uint64_t lm_session_console_size (const struct lm_session *session)
  __attribute__ ((nonnull));

#endif
