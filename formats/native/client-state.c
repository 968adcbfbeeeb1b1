/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory of what was seen; see client-state.h.
 *
 * A lock file beside it makes look-and-replace one step.  The file itself
 * cannot be the lock, since each update replaces it.
 */
#include <config.h>

#include "formats/native/client-state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "common/cleanup.h"
#include "common/hex.h"
#include "common/io.h"
#include "common/json.h"
#include "common/banned.h"

#define FILE_SIZE_MAX 4096

/* "<dir>/<repository id><suffix>"; free it. */
static char *
file_path (const char *dir, const uint8_t *repository, const char *suffix,
           struct lm_error *err)
{
  char hex[2 * LM_NAME_ID_LEN + 1];
  char *path;

  lm_hex_encode (repository, LM_NAME_ID_LEN, hex);
  if (asprintf (&path, "%s/%s%s", dir, hex, suffix) == -1) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  return path;
}

static int
decode (const char *data, size_t len, const char *path,
        const uint8_t *repository, struct lm_client_state *ret_state,
        struct lm_error *err)
{
  struct lm_client_state state = { .known = true };
  CLEANUP_JSON json_t *v = lm_json_parse (data, len, path, err);
  uint8_t id[LM_NAME_ID_LEN];

  if (v == NULL ||
      lm_json_hex (v, "repository", id, sizeof id, path, err) == -1 ||
      lm_json_u64 (v, "sequence", INT64_MAX, path, &state.sequence,
                   err) == -1 ||
      lm_json_hex (v, "record", state.record, LM_SHA256_LEN, path,
                   err) == -1)
    return -1;
  if (memcmp (id, repository, sizeof id) != 0)
    return lm_corrupt (err, "%s: is about another repository", path);
  *ret_state = state;
  return 0;
}

int
lm_client_state_read (const char *state_dir,
                      const uint8_t repository[LM_NAME_ID_LEN],
                      struct lm_client_state *ret_state,
                      struct lm_error *err)
{
  CLEANUP_FREE char *path = file_path (state_dir, repository, ".json", err);
  CLEANUP_FREE char *data = NULL;
  size_t len;

  if (path == NULL)
    return -1;
  if (lm_file_read (AT_FDCWD, path, FILE_SIZE_MAX, &data, &len, err) == -1) {
    if (err->kind != LM_ERR_NOT_FOUND)
      return -1;
    lm_error_clear (err);
    *ret_state = (struct lm_client_state) { .known = false };
    return 0;
  }
  if (decode (data, len, path, repository, ret_state, err) == -1) {
    lm_error_hint (err, "It only remembers what was seen of the repository; "
                   "delete it to start anew");
    return -1;
  }
  return 0;
}

static int
write_file (const char *state_dir, const uint8_t *repository,
            uint64_t sequence, const uint8_t *record, struct lm_error *err)
{
  CLEANUP_FREE char *path = file_path (state_dir, repository, ".json", err);
  CLEANUP_FREE char *text = NULL;
  CLEANUP_JSON json_t *v = NULL;
  size_t len;

  if (path == NULL)
    return -1;
  v = json_pack ("{sI}", "sequence", (json_int_t) sequence);
  if (v == NULL ||
      lm_json_set_hex (v, "repository", repository, LM_NAME_ID_LEN) == -1 ||
      lm_json_set_hex (v, "record", record, LM_SHA256_LEN) == -1)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  text = lm_json_dump (v, &len, err);
  if (text == NULL)
    return -1;
  return lm_file_replace (AT_FDCWD, path, text, len, 0600, err);
}

static int
update (const char *state_dir, const uint8_t *repository, uint64_t sequence,
        const uint8_t *record, bool backwards, struct lm_error *err)
{
  CLEANUP_FREE char *lock = file_path (state_dir, repository, ".lock", err);
  CLEANUP_CLOSE int fd = -1;
  struct lm_client_state old;

  if (lock == NULL || lm_mkdir_p (state_dir, 0700, err) == -1)
    return -1;
  fd = lm_io->openat (AT_FDCWD, lock, O_RDWR | O_CREAT, 0600);
  if (fd == -1)
    return lm_error_errno (err, errno, "%s: open", lock);
  if (TEMP_FAILURE_RETRY (flock (fd, LOCK_EX)) == -1)
    return lm_error_errno (err, errno, "%s: lock", lock);
  if (!backwards) {
    if (lm_client_state_read (state_dir, repository, &old, err) == -1)
      return -1;
    if (old.known && old.sequence >= sequence)
      return 0;
  }
  return write_file (state_dir, repository, sequence, record, err);
}

int
lm_client_state_advance (const char *state_dir,
                         const uint8_t repository[LM_NAME_ID_LEN],
                         uint64_t sequence,
                         const uint8_t record[LM_SHA256_LEN],
                         struct lm_error *err)
{
  return update (state_dir, repository, sequence, record, false, err);
}

int
lm_client_state_reset (const char *state_dir,
                       const uint8_t repository[LM_NAME_ID_LEN],
                       uint64_t sequence,
                       const uint8_t record[LM_SHA256_LEN],
                       struct lm_error *err)
{
  return update (state_dir, repository, sequence, record, true, err);
}
