/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoints; see checkpoint.h.
 *
 * The newest two are kept: a reader may have listed the names just before
 * the newest one appeared, and should the newest be damaged, the one
 * before it still spares the reader a replay from the beginning.
 */
#include <config.h>

#include "formats/native/checkpoint.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "formats/native/object-io.h"
#include "common/banned.h"

#define FOLDER "checkpoints"
#define KEEP 2

struct sequences {
  uint64_t *list;
  size_t n, alloc;
};

static int
collect (void *opaque, const char *name, uint64_t size, struct lm_error *err)
{
  struct sequences *s = opaque;
  uint64_t sequence;

  (void) size;
  if (!lm_object_name_parse_sequence (name, FOLDER, &sequence))
    return 0;
  if (s->n == s->alloc) {
    size_t more = s->alloc ? s->alloc * 2 : 8;
    uint64_t *bigger = reallocarray (s->list, more, sizeof *bigger);

    if (bigger == NULL)
      return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    s->list = bigger;
    s->alloc = more;
  }
  s->list[s->n++] = sequence;
  return 0;
}

static int
newest_first (const void *a_, const void *b_)
{
  const uint64_t *a = a_, *b = b_;

  return *a < *b ? 1 : *a > *b ? -1 : 0;
}

/* All there are, the newest first.  *RET_LIST is to be freed. */
static int
list_sequences (struct lm_store *store, uint64_t **ret_list, size_t *ret_n,
                struct lm_error *err)
{
  struct sequences s = { NULL, 0, 0 };

  if (lm_store_list (store, FOLDER, collect, &s, err) == -1) {
    free (s.list);
    return -1;
  }
  if (s.n > 0)
    qsort (s.list, s.n, sizeof *s.list, newest_first);
  *ret_list = s.list;
  *ret_n = s.n;
  return 0;
}

int
lm_checkpoint_read (struct lm_store *store, const struct lm_keys *keys,
                    uint64_t sequence, struct lm_journal_state *ret_state,
                    struct lm_error *err)
{
  const lm_le64 id = lm_put_le64 (sequence);
  char name[LM_OBJECT_NAME_LEN];
  CLEANUP_JSON json_t *v = NULL;
  struct lm_journal_state state;

  lm_object_name_sequence (FOLDER, sequence, name);
  v = lm_object_get_json (store, keys, LM_TYPE_CHECKPOINT, name, &id,
                          sizeof id, NULL, err);
  if (v == NULL || lm_journal_state_from_json (v, name, &state, err) == -1)
    return -1;
  if (state.sequence != sequence) {
    lm_corrupt (err, "%s: says sequence %" PRIu64 ", expected %" PRIu64,
                name, state.sequence, sequence);
    lm_journal_state_release (&state);
    return -1;
  }
  *ret_state = state;
  return 0;
}

int
lm_checkpoint_read_newest (struct lm_store *store,
                           const struct lm_keys *keys,
                           struct lm_journal_state *ret_state,
                           bool *ret_found, struct lm_error *err)
{
  CLEANUP_FREE uint64_t *list = NULL;
  size_t i, n;

  if (list_sequences (store, &list, &n, err) == -1)
    return -1;
  for (i = 0; i < n; i++) {
    if (lm_checkpoint_read (store, keys, list[i], ret_state, err) == 0) {
      *ret_found = true;
      return 0;
    }
    /* The journal has it all: a bad checkpoint only costs time. */
    if (err->kind != LM_ERR_CORRUPT && err->kind != LM_ERR_NOT_FOUND &&
        err->kind != LM_ERR_LIMIT && err->kind != LM_ERR_UNSUPPORTED)
      return -1;
    lm_debug (LM_DEBUG_REPOSITORY, "checkpoint not used: %s", err->message);
    lm_error_clear (err);
  }
  *ret_found = false;
  return 0;
}

static void
remove_old (struct lm_store *store)
{
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_FREE uint64_t *list = NULL;
  char name[LM_OBJECT_NAME_LEN];
  size_t i, n;

  if (list_sequences (store, &list, &n, &err) == -1)
    n = 0;
  for (i = KEEP; i < n; i++) {
    lm_object_name_sequence (FOLDER, list[i], name);
    /* A credential without the right to delete is a good one to have. */
    if (lm_store_remove (store, name, &err) == -1)
      lm_debug (LM_DEBUG_REPOSITORY, "%s", err.message);
  }
}

int
lm_checkpoint_write (struct lm_store *store, const struct lm_keys *keys,
                     const struct lm_journal_state *state,
                     struct lm_error *err)
{
  const lm_le64 id = lm_put_le64 (state->sequence);
  char name[LM_OBJECT_NAME_LEN];
  CLEANUP_JSON json_t *v = lm_journal_state_to_json (state, err);

  if (v == NULL)
    return -1;
  lm_object_name_sequence (FOLDER, state->sequence, name);
  if (lm_object_put_json (store, keys, LM_TYPE_CHECKPOINT, name, &id,
                          sizeof id, v, LM_OBJECT_NEW, NULL, err) == -1 &&
      err->kind != LM_ERR_EXISTS)
    return -1;
  remove_old (store);
  return 0;
}
