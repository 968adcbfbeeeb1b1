/* SPDX-License-Identifier: Apache-2.0
 * Snapshots as JSON, the same for snapshots, show, backup and diff.
 */
#ifndef LM_MOUNT_SNAPSHOT_JSON_H
#define LM_MOUNT_SNAPSHOT_JSON_H

#include "common/error.h"
#include "common/json.h"
#include "formats/native/repository.h"

/* All that the manifest says.  A new reference. */
extern json_t *lm_cli_snapshot_json (struct lm_repository *repo,
                                    const struct lm_snapshot_entry *entry,
                                    struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Only what the journal says, and WHY there is no more. */
extern json_t *
lm_cli_snapshot_brief (const struct lm_snapshot_entry *entry,
                           const struct lm_error *why)
  __attribute__ ((nonnull, warn_unused_result));

/* "VM/TIME". */
#define LM_SNAPSHOT_NAME_LEN 160
extern void lm_cli_snapshot_name (const char *vm, int64_t time,
                              char out[LM_SNAPSHOT_NAME_LEN]);

#endif
