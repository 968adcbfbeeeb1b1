/* SPDX-License-Identifier: Apache-2.0
 *
 * How far long work has come, on standard error: a bar with rate and time
 * left on a terminal, a plain line every few seconds elsewhere, nothing
 * with -q.
 */
#ifndef LM_MOUNT_PROGRESS_H
#define LM_MOUNT_PROGRESS_H

#include <stdint.h>

#include "mount/cli.h"

struct lm_progress;

/* WHAT is what is done ("backup web01"), copied.  Never NULL but out of
 * memory, which the others take for "print nothing". */
extern struct lm_progress *lm_progress_new (const struct lm_cli *cli,
                                            const char *what);

/* DONE of TOTAL bytes; TOTAL 0: not known.  Cheap: prints only when it is
 * time to.  DETAIL (may be NULL) is added to a plain line and to a bar
 * that has room.  Any thread may call. */
extern void lm_progress_update (struct lm_progress *p, uint64_t done,
                                uint64_t total, const char *detail);

/* Remove the bar, and free.  NULL is fine. */
extern void lm_progress_free (struct lm_progress *p);

/* Clear a bar that is on the screen, because something else is about to
 * be printed. */
extern void lm_progress_interrupt (void);

/* "1:02:03" or "0:07". */
#define LM_DURATION_LEN 32
extern void lm_duration_format (double seconds, char out[LM_DURATION_LEN]);

#endif
