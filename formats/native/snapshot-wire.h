/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshot manifests as they are stored (native.md section 11).
 */
#ifndef LM_FORMATS_NATIVE_SNAPSHOT_WIRE_H
#define LM_FORMATS_NATIVE_SNAPSHOT_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/json.h"
#include "formats/native/native-wire.h"
#include "formats/native/repository.h"

#define LM_TAGS_MAX 64                  /* per snapshot */
#define LM_TAG_MAX 128                  /* bytes */
#define LM_FILE_NAME_MAX 255            /* bytes */

/* Check everything that section 11 says about a snapshot, whether it was
 * read or is about to be written.  LM_ERR_CORRUPT. */
extern int lm_snapshot_check (const struct lm_snapshot *snapshot,
                              const char *what, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Check and encode.  Strings must be UTF-8; NULL ones are written as
 * empty.  A new reference. */
extern json_t *lm_snapshot_encode (const struct lm_snapshot *snapshot,
                                   struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Decode and check.  ID is the snapshot's, which the JSON does not
 * repeat.  WHAT names the object in messages. */
extern struct lm_snapshot *lm_snapshot_decode (
    const json_t *v, const uint8_t id[LM_NAME_ID_LEN], const char *what,
    struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Read the manifest snapshots/<ID>; RET_SHA256 (or NULL) gets the hash of
 * the stored object.  Whether the journal names it is not asked. */
extern struct lm_snapshot *lm_snapshot_read (
    struct lm_repository *repo, const uint8_t id[LM_NAME_ID_LEN],
    uint8_t *ret_sha256, struct lm_error *err)
  __attribute__ ((nonnull (1, 2, 4), warn_unused_result));

/* Store the manifest under snapshot->id.  The snapshot exists once a
 * journal record names it with this hash. */
extern int lm_snapshot_put (struct lm_repository *repo,
                            const struct lm_snapshot *snapshot,
                            uint8_t ret_sha256[LM_SHA256_LEN],
                            struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
