/* SPDX-License-Identifier: Apache-2.0
 *
 * The reserve; see reserve.h and native.md section 2.1.
 *
 * Several programs may drop and restore at once: each piece is removed by
 * one of them, and put by one of them.
 */
#include <config.h>

#include "formats/native/reserve.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/random.h"
#include "formats/native/object-io.h"
#include "common/banned.h"

#define FOLDER "reserve"

static void
piece_name (unsigned i, char out[LM_OBJECT_NAME_LEN])
{
  snprintf (out, LM_OBJECT_NAME_LEN, FOLDER "/%02x", i);
}

bool
lm_reserve_drop (struct lm_store *store, struct lm_error *err)
{
  char name[LM_OBJECT_NAME_LEN];
  unsigned i;

  if (err->kind != LM_ERR_NO_SPACE)
    return false;
  for (i = LM_RESERVE_PIECES; i > 0; i--) {
    struct lm_error minor = LM_ERROR_INIT;

    piece_name (i - 1, name);
    if (lm_store_remove (store, name, &minor) == 0) {
      lm_debug (LM_DEBUG_REPOSITORY, "no room left: %s was given up", name);
      lm_error_clear (err);
      return true;
    }
    if (minor.kind != LM_ERR_NOT_FOUND)
      lm_debug (LM_DEBUG_REPOSITORY, "%s not given up: %s", name,
                minor.message);
  }
  return false;
}

static bool
is_there (struct lm_store *store, const char *name)
{
  struct lm_error minor = LM_ERROR_INIT;
  uint64_t size;

  return lm_store_stat (store, name, &size, &minor) == 0;
}

void
lm_reserve_restore (struct lm_store *store)
{
  CLEANUP_FREE uint8_t *data = NULL;
  char name[LM_OBJECT_NAME_LEN];
  unsigned i;

  if (!store->ops->bounded)
    return;
  for (i = 0; i < LM_RESERVE_PIECES; i++) {
    struct lm_error minor = LM_ERROR_INIT;
    struct iovec iov;

    piece_name (i, name);
    if (is_there (store, name))
      continue;
    if (data == NULL && (data = malloc (LM_RESERVE_PIECE_LEN)) == NULL)
      return;
    lm_random_bytes (data, LM_RESERVE_PIECE_LEN);
    iov = (struct iovec) { data, LM_RESERVE_PIECE_LEN };
    if (lm_store_put_if_absent (store, name, &iov, 1, &minor) == -1 &&
        minor.kind != LM_ERR_EXISTS) {
      lm_debug (LM_DEBUG_REPOSITORY, "%s not put back: %s", name,
                minor.message);
      return;
    }
  }
}
