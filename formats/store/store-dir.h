/* SPDX-License-Identifier: Apache-2.0
 *
 * The directory store: an object is a file of the same name below a root
 * folder, on any POSIX file system.  Several processes may use one root.
 */
#ifndef LM_FORMATS_STORE_STORE_DIR_H
#define LM_FORMATS_STORE_STORE_DIR_H

#include <stdbool.h>

#include "formats/store.h"

/* Open the folder PATH.  LM_ERR_NO_REPOSITORY when there is none.  With
 * CREATE it is made, with its parents; LM_ERR_EXISTS when it is there
 * already and holds files that are not a store's.
 *
 * New files and folders take the root's permissions (rw bits of files
 * from it, too), so one chmod of the root shares a repository. */
extern int lm_store_dir_open (const char *path, bool create,
                              struct lm_store **ret, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
