/* SPDX-License-Identifier: Apache-2.0
 *
 * From options and environment to an open, unlocked repository.
 *
 * What unlocks it, first that is given: --key-file, --passphrase-file and
 * --escrow-key (which nothing remembers and no environment names),
 * LIVEMOUNT_KEY_FILE, LIVEMOUNT_PASSPHRASE_FILE,
 * LIVEMOUNT_PASSPHRASE_COMMAND, what the session remembers, a question on
 * the terminal.  Never an operand.
 */
#ifndef LM_MOUNT_OPEN_REPOSITORY_H
#define LM_MOUNT_OPEN_REPOSITORY_H

#include <stdbool.h>

#include "common/error.h"
#include "formats/native/repository.h"
#include "formats/store.h"
#include "mount/cli.h"

/* Paths from which the key came, absolute, so that `resume` finds them
 * again.  Both NULL when a person typed it. */
struct lm_key_source {
  char *key_file;
  char *passphrase_file;
};

#define LM_KEY_SOURCE_INIT { NULL, NULL }

extern void lm_key_source_release (struct lm_key_source *source)
  __attribute__ ((nonnull));

struct lm_repository_request {
  const char *location;         /* NULL: from options and environment */
  const struct lm_key_source *remembered;       /* NULL: nothing */
  bool read_only;
  bool no_prompt;               /* fail rather than ask */
  bool no_load;                 /* leave lm_repository_load to the caller */
};

/* Open and load it.  *RET_SOURCE (may be NULL) is to be released. */
extern struct lm_repository *
lm_cli_open_repository (const struct lm_cli *cli,
                        const struct lm_repository_request *request,
                        struct lm_key_source *ret_source,
                        struct lm_error *err)
  __attribute__ ((nonnull (1, 2, 4), warn_unused_result));

/* The location that was named, or LM_ERR_USAGE.  Borrowed. */
extern const char *lm_cli_location (const struct lm_cli *cli,
                                    struct lm_error *err)
  __attribute__ ((nonnull));

/* The same location, independent of the working directory.  Free it. */
extern char *lm_location_absolute (const char *location,
                                   struct lm_error *err)
  __attribute__ ((nonnull));

/* Fill in what options and environment offer (nothing, if they don't).
 * Neither prompts nor fails for want of a key. */
extern int lm_cli_credentials (const struct lm_cli *cli,
                               const struct lm_key_source *remembered,
                               struct lm_credentials *credentials,
                               struct lm_key_source *ret_source,
                               struct lm_error *err)
  __attribute__ ((nonnull (1, 3, 4, 5)));

static inline void
lm_cleanup_repository (struct lm_repository **p)
{
  lm_repository_close (*p);
}

#define CLEANUP_REPOSITORY \
  __attribute__ ((cleanup (lm_cleanup_repository)))

#endif
