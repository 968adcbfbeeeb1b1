/* SPDX-License-Identifier: Apache-2.0
 *
 * What a repository's journal adds up to (native.md section 9): the state
 * after a record.
 *
 * Sized for 100,000 snapshots and a million condemned packs: nothing here
 * is searched from end to end but the segments, of which merging keeps
 * few.  One thread at a time may change it.
 */
#ifndef LM_FORMATS_NATIVE_JOURNAL_STATE_H
#define LM_FORMATS_NATIVE_JOURNAL_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/json.h"
#include "formats/native/id-set.h"
#include "formats/native/journal-change.h"
#include "formats/native/native-wire.h"
#include "formats/native/repo-config.h"
#include "formats/native/repository.h"

struct lm_journal_state {
  bool started;                 /* false: not even record 0 was seen */
  uint64_t sequence;            /* of the last record */
  uint8_t record[LM_SHA256_LEN];        /* of its stored object */
  uint8_t config[LM_SHA256_LEN];        /* what record 0 says */

  /* Live, in journal order. */
  struct lm_snapshot_entry *snapshots;
  size_t nr_snapshots, alloc_snapshots;

  struct lm_journal_segment *segments;
  size_t nr_segments, alloc_segments;

  struct lm_id_set condemned;   /* pack id -> sequence of the record */
  struct lm_id_set revoked;     /* lease id -> sequence */
  struct lm_id_set lost;        /* type byte ‖ id -> 0 */
  struct lm_features features;  /* without those of config */
  uint32_t epoch;

  struct lm_journal_verification *verifications;
  size_t nr_verifications;

  /* Private to journal-state.c. */
  struct lm_id_set live;        /* snapshot id -> its place in snapshots */
  size_t nr_dead;               /* forgotten, not yet taken out */
  json_t *vms;                  /* VM -> time of its newest snapshot ever */
};

/* Length of a key of `lost`. */
#define LM_LOST_KEY_LEN (1 + LM_ID_LEN)

extern int lm_journal_state_init (struct lm_journal_state *state,
                                  struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
extern void lm_journal_state_release (struct lm_journal_state *state)
  __attribute__ ((nonnull));

/* Apply one record's changes, as a replayer does: what does not apply (an
 * id that is not live, a snapshot that is not later) has no effect.
 * Fails only for want of memory, and then with the state unusable. */
extern int lm_journal_state_apply (struct lm_journal_state *state,
                                   uint64_t sequence,
                                   const struct lm_change *changes, size_t n,
                                   struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* After the last record of a replay: close the gaps that forgotten
 * snapshots left.  `snapshots` may be looked at from then on. */
extern void lm_journal_state_settle (struct lm_journal_state *state)
  __attribute__ ((nonnull));

/* Would these changes, as the next record, have exactly the effect that
 * their writer wants?  LM_ERR_EXISTS for a snapshot that is there or not
 * later than its VM's newest, for a segment that is there, and for one to
 * be removed that is not live (someone else's merge came first);
 * LM_ERR_NOT_FOUND for other ids that are not there; LM_ERR_USAGE for a
 * protected snapshot that is to be forgotten. */
extern int lm_journal_state_validate (const struct lm_journal_state *state,
                                      const struct lm_change *changes,
                                      size_t n, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Look-ups.  The snapshot is borrowed until the next change. */
extern const struct lm_snapshot_entry *
lm_journal_state_snapshot (const struct lm_journal_state *state,
                           const uint8_t id[LM_NAME_ID_LEN])
  __attribute__ ((nonnull));
/* The time of the newest snapshot that VM ever had; false if none. */
extern bool lm_journal_state_newest (const struct lm_journal_state *state,
                                     const char *vm, int64_t *ret_time)
  __attribute__ ((nonnull));
extern bool lm_journal_state_condemned (const struct lm_journal_state *state,
                                        const uint8_t pack[LM_NAME_ID_LEN])
  __attribute__ ((nonnull));
extern bool lm_journal_state_revoked (const struct lm_journal_state *state,
                                      const uint8_t lease[LM_NAME_ID_LEN])
  __attribute__ ((nonnull));
extern bool lm_journal_state_lost (const struct lm_journal_state *state,
                                   enum lm_object_type type,
                                   const uint8_t id[LM_ID_LEN])
  __attribute__ ((nonnull));

/* A checkpoint's JSON (section 9.3), and back into a fresh state.  The
 * encoder returns a new reference. */
extern json_t *
lm_journal_state_to_json (const struct lm_journal_state *state,
                          struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
extern int lm_journal_state_from_json (const json_t *v, const char *what,
                                       struct lm_journal_state *ret_state,
                                       struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* For the decoder: append to the arrays. */
extern int lm_journal_state_add_snapshot (struct lm_journal_state *state,
                                          struct lm_snapshot_entry *entry,
                                          struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
extern int
lm_journal_state_add_segment (struct lm_journal_state *state,
                              const struct lm_journal_segment *segment,
                              struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
extern int
lm_journal_state_set_verification (struct lm_journal_state *state,
                                   const struct lm_journal_verification *v,
                                   struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
