/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of an open repository, for this folder.
 */
#ifndef LM_FORMATS_NATIVE_REPOSITORY_INTERNAL_H
#define LM_FORMATS_NATIVE_REPOSITORY_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "formats/native/journal-state.h"
#include "formats/native/keys.h"
#include "formats/native/repo-config.h"
#include "formats/native/repository.h"
#include "formats/store.h"

struct lm_chunk_index;

struct lm_repository {
  /* Fixed by lm_repository_open; any thread may read these. */
  struct lm_store *store;               /* owned */
  struct lm_keys *keys;                 /* owned */
  struct lm_repo_config config;
  uint8_t config_sha256[LM_SHA256_LEN]; /* of the stored object */
  uint8_t slot_id[LM_SLOT_ID_LEN];      /* that opened it; zeros: none */
  char *cache_dir;                      /* absolute; may not exist yet */
  char *state_dir;
  bool read_only;
  bool accept_rollback;

  /* Changed by _load and by commits only: one thread at a time, and no
   * reader beside it. */
  bool loaded;
  struct lm_journal_state state;
  struct lm_chunk_index *index;         /* owned; NULL until _load */
  uint64_t index_sequence;      /* the record that the index is after;
                                 * atomic, also changed by refreshes */
};

/* lm_repository_load, with an index of nothing but the live segments. */
extern int lm_repository_load_strict (struct lm_repository *repo,
                                      struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* A reader met a pack that is gone: bring the index to the end of the
 * journal, if that was not done since GENERATION
 * (lm_chunk_index_generation) was looked at.  The state, which others
 * look at, stays as it is.  LM_ERR_NOT_FOUND when there is nothing new.
 * Any thread. */
extern int lm_repository_refresh_index (struct lm_repository *repo,
                                        uint64_t generation,
                                        struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* In config, or added by a record that was seen. */
extern bool lm_repository_has_feature (const struct lm_repository *repo,
                                       enum lm_feature_class class,
                                       const char *name)
  __attribute__ ((nonnull));

/* 0 if this handle may change the repository. */
extern int lm_repository_check_writable (const struct lm_repository *repo,
                                         struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
