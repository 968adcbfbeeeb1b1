/* SPDX-License-Identifier: Apache-2.0
 *
 * The changes that journal records are made of (native.md section 9.2):
 * from JSON to a checked struct, and the JSON for writers.
 */
#ifndef LM_FORMATS_NATIVE_JOURNAL_CHANGE_H
#define LM_FORMATS_NATIVE_JOURNAL_CHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/json.h"
#include "formats/native/native-wire.h"
#include "formats/native/repo-config.h"
#include "formats/native/repository.h"

enum lm_change_type {
  LM_CHANGE_INIT,
  LM_CHANGE_SEGMENT_ADD,
  LM_CHANGE_SEGMENT_REMOVE,
  LM_CHANGE_SNAPSHOT_ADD,
  LM_CHANGE_SNAPSHOT_FORGET,
  LM_CHANGE_SNAPSHOT_PROTECT,
  LM_CHANGE_PACK_CONDEMN,
  LM_CHANGE_PACK_SPARE,
  LM_CHANGE_PACK_DELETE,
  LM_CHANGE_LEASE_REVOKE,
  LM_CHANGE_SLOT_ADD,
  LM_CHANGE_SLOT_REMOVE,
  LM_CHANGE_FEATURE_ADD,
  LM_CHANGE_CHUNK_LOST,
  LM_CHANGE_LOST_FOUND,
  LM_CHANGE_KEY_EPOCH,
  LM_CHANGE_STATE,
  LM_CHANGE_OPTIONAL,           /* unknown, and may be ignored */
};

/* A live segment, and what segment-add says. */
struct lm_journal_segment {
  uint8_t id[LM_NAME_ID_LEN];
  uint64_t size;                /* bytes of the stored object */
  uint32_t entries;
};

/* The latest verification state of a kind for a snapshot. */
struct lm_journal_verification {
  uint8_t snapshot[LM_NAME_ID_LEN];
  char *kind;
  uint8_t object[LM_NAME_ID_LEN];
};

/* One change.  Which members are set follows from the type. */
struct lm_change {
  enum lm_change_type type;
  uint8_t id[LM_NAME_ID_LEN];   /* segment, snapshot or lease */
  uint8_t config[LM_SHA256_LEN];        /* init */
  struct lm_journal_segment segment;    /* segment-add */
  struct lm_snapshot_entry snapshot;    /* snapshot-add; vm is owned */
  bool is_protected;            /* snapshot-protect */
  uint8_t *ids;                 /* pack-*, chunk-lost, lost-found; owned */
  size_t nr_ids;
  enum lm_object_type object_type;      /* chunk-lost, lost-found */
  enum lm_feature_class feature_class;
  char feature[LM_FEATURE_NAME_MAX + 1];
  uint32_t epoch;
  struct lm_journal_verification verification;  /* state; kind is owned */
};

extern void lm_change_release (struct lm_change *change)
  __attribute__ ((nonnull));

/* Decode one.  A change that this program does not know is
 * LM_ERR_UNSUPPORTED by its name unless it says "optional".  WHAT names
 * the record in messages. */
extern int lm_change_decode (const json_t *v, const char *what,
                             struct lm_change *ret_change,
                             struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* A snapshot as snapshot-add and checkpoints have it: id, vm, time,
 * parent, manifest.  sequence and is_protected are not touched.  The
 * encoder returns a new reference, NULL when out of memory. */
extern json_t *lm_snapshot_entry_to_json (const struct lm_snapshot_entry *e)
  __attribute__ ((nonnull, warn_unused_result));
extern int lm_snapshot_entry_from_json (const json_t *v, const char *what,
                                        struct lm_snapshot_entry *ret_entry,
                                        struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
extern json_t *lm_segment_to_json (const struct lm_journal_segment *segment)
  __attribute__ ((nonnull, warn_unused_result));
extern int lm_segment_from_json (const json_t *v, const char *what,
                                 struct lm_journal_segment *ret_segment,
                                 struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* For writers: append one change to CHANGES.  -1 only when out of memory.
 * LEN ids lie back to back. */
extern int lm_change_segment_add (json_t *changes,
                                  const struct lm_journal_segment *segment,
                                  struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
extern int lm_change_snapshot_add (json_t *changes,
                                   const struct lm_snapshot_entry *entry,
                                   struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
/* segment-remove, snapshot-forget, lease-revoke. */
extern int lm_change_by_id (json_t *changes, enum lm_change_type type,
                            const uint8_t id[LM_NAME_ID_LEN],
                            struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
extern int lm_change_snapshot_protect (json_t *changes,
                                       const uint8_t id[LM_NAME_ID_LEN],
                                       bool is_protected,
                                       struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
/* pack-condemn, pack-spare, pack-delete. */
extern int lm_change_packs (json_t *changes, enum lm_change_type type,
                            const uint8_t (*ids)[LM_NAME_ID_LEN], size_t n,
                            struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
/* chunk-lost, lost-found. */
extern int lm_change_lost (json_t *changes, enum lm_change_type type,
                           enum lm_object_type object_type,
                           const uint8_t (*ids)[LM_ID_LEN], size_t n,
                           struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
/* slot-add, slot-remove. */
extern int lm_change_slot (json_t *changes, enum lm_change_type type,
                           const uint8_t id[LM_SLOT_ID_LEN],
                           const char *kind, const char *label,
                           struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
extern int lm_change_feature_add (json_t *changes,
                                  enum lm_feature_class class,
                                  const char *name, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
