/* SPDX-License-Identifier: Apache-2.0
 *
 * The journal: the one order of all changes (native.md section 9).
 */
#ifndef LM_FORMATS_NATIVE_JOURNAL_H
#define LM_FORMATS_NATIVE_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/json.h"
#include "formats/native/journal-change.h"
#include "formats/native/journal-state.h"
#include "formats/native/keys.h"
#include "formats/native/lease.h"
#include "formats/native/repository.h"
#include "formats/store.h"

/* One record, decoded and checked by itself. */
struct lm_journal_record {
  uint64_t sequence;
  uint8_t sha256[LM_SHA256_LEN];        /* of the stored object */
  uint8_t previous[LM_SHA256_LEN];
  bool has_lease;
  uint8_t lease[LM_NAME_ID_LEN];
  struct lm_change *changes;
  size_t nr_changes;
  json_t *json;                 /* all of it, owned */
};

#define LM_JOURNAL_RECORD_INIT { .sequence = 0 }

extern void lm_journal_record_release (struct lm_journal_record *record)
  __attribute__ ((nonnull));

/* LM_ERR_NOT_FOUND when there is no such record. */
extern int lm_journal_record_read (struct lm_store *store,
                                   const struct lm_keys *keys,
                                   uint64_t sequence,
                                   struct lm_journal_record *ret_record,
                                   struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Bring STATE to the end of the journal: from where it stands, or if it
 * has not started from the newest checkpoint that opens.  On failure STATE
 * is that after some record.  The features found are checked as far as
 * readers need it. */
extern int lm_journal_replay (struct lm_store *store,
                              const struct lm_keys *keys,
                              struct lm_journal_state *state,
                              struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Write record 0.  LM_ERR_EXISTS if there is one. */
extern int lm_journal_start (struct lm_store *store,
                             const struct lm_keys *keys, const char *writer,
                             const json_t *changes, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Write a record with CHANGES (an array, borrowed; journal-change.h makes
 * the elements) at the end of the journal.  WRITER says who and what, for
 * people.  When another writer was first, replays, checks again and tries
 * the next number.  Afterwards the repository's state is that after the
 * record, also when it failed for one of these reasons:
 *
 *   LM_ERR_EXISTS      a snapshot is not later than its VM's newest, or a
 *                      segment to be removed is no longer live: make
 *                      other changes from the new state, and try again
 *   LM_ERR_NOT_FOUND   an id in the changes does not exist
 *   LM_ERR_LOCKED      LEASE was lost or revoked: give up
 *   LM_ERR_USAGE       the repository was opened read-only, or a snapshot
 *                      to be forgotten is protected
 *
 * 0 means that the record is durable.  The checkpoint that is due with
 * some records and this client's memory of the record are best effort. */
extern int lm_journal_commit (struct lm_repository *repo,
                              struct lm_lease *lease_or_null,
                              const char *writer, json_t *changes,
                              struct lm_error *err)
  __attribute__ ((nonnull (1, 3, 4, 5), warn_unused_result));

/* The same for changes that hold only while something about the state
 * does: GUARD looks at it before each try, and ends the whole with -1. */
typedef int (*lm_journal_guard) (const struct lm_journal_state *state,
                                 const void *opaque, struct lm_error *err);
extern int lm_journal_commit_if (struct lm_repository *repo,
                                 struct lm_lease *lease_or_null,
                                 const char *writer, json_t *changes,
                                 lm_journal_guard guard, const void *opaque,
                                 struct lm_error *err)
  __attribute__ ((nonnull (1, 3, 4, 5, 7), warn_unused_result));

/* The state after the newest record that was seen; borrowed, and changed
 * by lm_repository_load and lm_journal_commit. */
extern const struct lm_journal_state *
lm_repository_state (const struct lm_repository *repo)
  __attribute__ ((nonnull));

#endif
