/* SPDX-License-Identifier: Apache-2.0
 * From an id to plain bytes; see chunk-read.h.
 */
#include <config.h>

#include "formats/native/chunk-read.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/hex.h"
#include "common/log.h"
#include "formats/native/chunk-index.h"
#include "formats/native/journal.h"
#include "formats/native/pack-write.h"
#include "formats/native/repository-internal.h"
#include "formats/native/seal.h"
#include "common/banned.h"

/* Copies of one chunk that are tried. */
#define COPIES_MAX 4

/* A thread's buffer for what is fetched: the largest chunk with what
 * encoding and sealing can add. */
static pthread_once_t scratch_once = PTHREAD_ONCE_INIT;
static pthread_key_t scratch_key;

struct scratch {
  size_t len;
  uint8_t data[];
};

static void
scratch_init (void)
{
  if (pthread_key_create (&scratch_key, free) != 0)
    abort ();
}

static uint8_t *
scratch (size_t len, struct lm_error *err)
{
  struct scratch *s;

  pthread_once (&scratch_once, scratch_init);
  s = pthread_getspecific (scratch_key);
  if (s != NULL && s->len >= len)
    return s->data;
  free (s);
  s = malloc (sizeof *s + len);
  if (s != NULL)
    s->len = len;
  pthread_setspecific (scratch_key, s);
  if (s == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory (%zu bytes)", len);
    return NULL;
  }
  return s->data;
}

static int
read_copy (struct lm_repository *repo, const struct lm_chunk_location *l,
           void *plain, struct lm_error *err)
{
  char name[LM_PACK_NAME_LEN + 1];
  struct lm_sealer *sealer = lm_sealer_for_thread (repo->keys, err);
  uint8_t *stored;

  if (sealer == NULL)
    return -1;
  if (l->ref.stored_len > lm_seal_chunk_bound (LM_CHUNK_SIZE_MAX))
    return lm_corrupt (err, "stored length of %u bytes", l->ref.stored_len);
  stored = scratch (l->ref.stored_len, err);
  if (stored == NULL)
    return -1;
  lm_pack_name (l->pack, name);
  if (lm_store_get_range (repo->store, name, stored, l->ref.stored_len,
                          l->offset, err) == -1 ||
      lm_open_chunk (sealer, &l->ref, stored, plain, 0, err) == -1)
    return lm_error_prefix (err, "%s at 0x%x", name, l->offset);
  return 0;
}

/* The cache said where to look; it is trusted but for this. */
static int
hint_cache (const struct lm_repository *repo, struct lm_error *err)
{
  return lm_error_hint (err, "If 'check' finds nothing wrong, delete the "
                        "index cache below %.200s", repo->cache_dir);
}

static int
read_once (struct lm_repository *repo, enum lm_object_type type,
           const uint8_t id[LM_ID_LEN], void *plain, uint32_t max_len,
           uint32_t *ret_len, struct lm_error *err)
{
  struct lm_chunk_location copies[COPIES_MAX];
  const char *what = type == LM_TYPE_NODE ? "map node" : "chunk";
  char hex[2 * LM_ID_LEN + 1];
  int n, i;

  lm_hex_encode (id, LM_ID_LEN, hex);
  if (lm_journal_state_lost (lm_repository_state (repo), type, id))
    return lm_corrupt (err, "%s %.16s… was lost, and marked so by a repair",
                       what, hex);
  n = lm_chunk_index_find (repo->index, type, id, copies, COPIES_MAX, err);
  if (n == -1)
    return hint_cache (repo, err);
  if (n == 0)
    return lm_error_set (err, LM_ERR_NOT_FOUND, "%s %.16s… is in no pack "
                         "that the index knows", what, hex);
  for (i = 0; i < n; i++) {
    lm_error_clear (err);
    if (copies[i].ref.plain_len > max_len) {
      lm_corrupt (err, "plain length of %u bytes, expected at most %u",
                  copies[i].ref.plain_len, max_len);
      continue;
    }
    if (read_copy (repo, &copies[i], plain, err) == 0) {
      lm_debug (LM_DEBUG_CHUNK, "%s %s read", what, hex);
      *ret_len = copies[i].ref.plain_len;
      return 0;
    }
  }
  if (err->kind == LM_ERR_CORRUPT)
    hint_cache (repo, err);
  return lm_error_prefix (err, "%s %.16s…", what, hex);
}

/* `gc` may have moved the chunk to another pack since the index was made:
 * then look once more. */
int
lm_chunk_read (struct lm_repository *repo, enum lm_object_type type,
               const uint8_t id[LM_ID_LEN], void *plain, uint32_t max_len,
               uint32_t *ret_len, struct lm_error *err)
{
  uint64_t generation = lm_chunk_index_generation (repo->index);
  struct lm_error ignored = LM_ERROR_INIT;

  if (read_once (repo, type, id, plain, max_len, ret_len, err) == 0)
    return 0;
  if (err->kind != LM_ERR_NOT_FOUND ||
      lm_repository_refresh_index (repo, generation, &ignored) == -1)
    return -1;
  lm_error_clear (err);
  return read_once (repo, type, id, plain, max_len, ret_len, err);
}
