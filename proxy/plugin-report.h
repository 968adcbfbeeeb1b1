/* SPDX-License-Identifier: Apache-2.0
 * Telling nbdkit what went wrong: the only place that does.
 */
#ifndef LM_PROXY_PLUGIN_REPORT_H
#define LM_PROXY_PLUGIN_REPORT_H

#include "common/error.h"

/* One message, and the errno that the NBD client sees.  Returns -1. */
extern int lm_proxy_report (const struct lm_error *err)
  __attribute__ ((nonnull));

/* The errno of an error, of those that NBD knows. */
extern int lm_proxy_errno (const struct lm_error *err)
  __attribute__ ((nonnull));

/* For `nbdkit --dump-plugin livemount`: key=value lines to standard
 * output. */
extern void lm_proxy_dump (void);

#endif
