/* SPDX-License-Identifier: Apache-2.0
 *
 * Who writes: host, user and program as records, leases and manifests
 * have them.  For people only; nothing is decided by it.
 */
#ifndef LM_FORMATS_NATIVE_WHOAMI_H
#define LM_FORMATS_NATIVE_WHOAMI_H

#include "common/error.h"

#define LM_WHOAMI_LEN 128       /* bytes, NUL included */

/* Printable ASCII; what is not becomes '?'. */
extern void lm_whoami_host (char out[LM_WHOAMI_LEN]);
extern void lm_whoami_user (char out[LM_WHOAMI_LEN]);
/* "livemount 0.1.0" */
extern void lm_whoami_program (char out[LM_WHOAMI_LEN]);

/* "<WHAT>, <user>@<host>, <program>", for journal records; free it. */
extern char *lm_whoami_writer (const char *what, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Tests only: fixed answers, so that files are the same on every machine.
 * Static strings; NULL for the real ones.  Not thread-safe. */
extern void lm_whoami_set_test (const char *host, const char *user,
                                const char *program);

#endif
