/* SPDX-License-Identifier: Apache-2.0
 *
 * The page with a paper key on it, and typing it in again.
 */
#ifndef LM_MOUNT_PAPER_PAGE_H
#define LM_MOUNT_PAPER_PAGE_H

#include <stddef.h>

#include "common/error.h"
#include "formats/native/paper-key.h"
#include "mount/cli.h"

#define LM_PAPER_PAGE_MAX (LM_PAPER_TEXT_MAX + 4096)

/* The whole page: what it is, what to do in an emergency, the key.
 * LOCATION is where the repository is now.  Wipe it. */
extern size_t lm_paper_page_make (const struct lm_paper_key *paper,
                                  const char *location,
                                  char ret_page[LM_PAPER_PAGE_MAX])
  __attribute__ ((nonnull));

/* Read one from PATH (NULL, "-": standard input).  On a terminal each line
 * is asked for, and again if it is mistyped. */
extern int lm_paper_page_read (const struct lm_cli *cli, const char *path,
                               struct lm_paper_key *ret_paper,
                               struct lm_error *err)
  __attribute__ ((nonnull (1, 3, 4), warn_unused_result));

#endif
