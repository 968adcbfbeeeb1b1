/* SPDX-License-Identifier: Apache-2.0
 *
 * Pins: a session needs a snapshot (native.md section 12).  A pin does
 * not expire; it is removed by `unmount`, or by a person.
 */
#ifndef LM_FORMATS_NATIVE_PIN_H
#define LM_FORMATS_NATIVE_PIN_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "formats/native/keys.h"
#include "formats/native/native-wire.h"
#include "formats/native/repository.h"

/* Pin SNAPSHOT for SESSION (its name, for people).  Before anything of
 * the snapshot is read. */
extern int lm_pin_put (struct lm_repository *repo,
                       const uint8_t snapshot[LM_NAME_ID_LEN],
                       const char *session,
                       uint8_t ret_id[LM_NAME_ID_LEN], struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* The same under an id that the caller has chosen, 16 random bytes: who
 * writes the id down first can be killed at any moment and leaves no pin
 * that nobody knows of. */
extern int lm_pin_put_as (struct lm_repository *repo,
                          const uint8_t id[LM_NAME_ID_LEN],
                          const uint8_t snapshot[LM_NAME_ID_LEN],
                          const char *session, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* LM_ERR_NOT_FOUND when it is gone already. */
extern int lm_pin_remove (struct lm_repository *repo,
                          const uint8_t id[LM_NAME_ID_LEN],
                          struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

struct lm_pin_info {
  uint8_t id[LM_NAME_ID_LEN];
  uint8_t snapshot[LM_NAME_ID_LEN];
  char *session;
  char *host;
  char *user;
  int64_t created;              /* seconds since the epoch, for people */
};

extern int lm_pin_read (struct lm_store *store, const struct lm_keys *keys,
                        const uint8_t id[LM_NAME_ID_LEN],
                        struct lm_pin_info *ret_info, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* All pins that open, in the order of their ids; *RET_BAD (or NULL) is
 * how many did not.  Whoever deletes data must not ignore those.  Free
 * with lm_pin_infos_free. */
extern int lm_pin_list (struct lm_repository *repo,
                        struct lm_pin_info **ret_infos, size_t *ret_n,
                        size_t *ret_bad, struct lm_error *err)
  __attribute__ ((nonnull (1, 2, 3, 5), warn_unused_result));
extern void lm_pin_infos_free (struct lm_pin_info *infos, size_t n);
/* What it points to, not itself. */
extern void lm_pin_info_release (struct lm_pin_info *info)
  __attribute__ ((nonnull));

#endif
