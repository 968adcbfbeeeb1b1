/* SPDX-License-Identifier: Apache-2.0
 * Several snapshots that a person named, for commands that change them.
 */
#ifndef LM_MOUNT_SNAPSHOT_LIST_H
#define LM_MOUNT_SNAPSHOT_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "common/error.h"
#include "formats/native/repository.h"
#include "mount/snapshot-json.h"

struct lm_snapshot_list {
  size_t n;
  uint8_t (*ids)[LM_NAME_ID_LEN];
  char (*names)[LM_SNAPSHOT_NAME_LEN];  /* VM/TIME, in full */
};

extern void lm_snapshot_list_release (struct lm_snapshot_list *list)
  __attribute__ ((nonnull));

/* Resolve NAMES, each once.  A disk is refused, for only a whole snapshot
 * can be changed; with TIME_NEEDED so is a VM alone, which elsewhere is
 * its newest snapshot and here might be meant for all of them. */
extern int lm_snapshot_list_resolve (const struct lm_repository *repo,
                                     char *const *names, int nr_names,
                                     bool time_needed,
                                     struct lm_snapshot_list *ret_list,
                                     struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* The names, as an array.  A new reference. */
extern json_t *
lm_snapshot_list_to_json (const struct lm_snapshot_list *list)
  __attribute__ ((nonnull, warn_unused_result));

#endif
