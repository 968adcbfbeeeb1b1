/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions: folders, names and locks; see session.h for the states and
 * the invariants, session-record.c for the file.
 */
#include <config.h>

#include "mount/session.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/hex.h"
#include "common/io.h"
#include "common/random.h"
#include "common/timestamp.h"
#include "formats/store/store-open.h"
#include "mount/remove-tree.h"
#include "mount/session-internal.h"
#include "common/banned.h"

/* ---- where ---- */

char *
lm_state_folder (struct lm_error *err)
{
  const char *dir = getenv ("LIVEMOUNT_STATE_DIR"), *home;
  char *path = NULL;
  int r;

  if (dir && *dir) {
    if (*dir != '/') {
      lm_error_set (err, LM_ERR_USAGE, "LIVEMOUNT_STATE_DIR '%s' is not an "
                    "absolute path", dir);
      return NULL;
    }
    r = asprintf (&path, "%s", dir);
  }
  else if (geteuid () == 0)
    r = asprintf (&path, "/var/lib/livemount");
  else if ((dir = getenv ("XDG_STATE_HOME")) != NULL && *dir == '/')
    r = asprintf (&path, "%s/livemount", dir);
  else if ((home = getenv ("HOME")) != NULL && *home == '/')
    r = asprintf (&path, "%s/.local/state/livemount", home);
  else {
    lm_error_set (err, LM_ERR_USAGE, "no place for sessions: neither "
                  "LIVEMOUNT_STATE_DIR nor HOME is set");
    return NULL;
  }
  if (r == -1) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  return path;
}

static char *
join (const char *folder, const char *file, struct lm_error *err)
{
  char *path;

  if (asprintf (&path, "%s/%s", folder, file) == -1) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  return path;
}

char *
lm_sessions_folder (struct lm_error *err)
{
  CLEANUP_FREE char *state = lm_state_folder (err);
  CLEANUP_FREE char *path = state ? join (state, "sessions", err) : NULL;

  if (path == NULL || lm_mkdir_p (path, 0700, err) == -1)
    return NULL;
  return lm_steal (path);
}

char *
lm_session_path (const struct lm_session *s, const char *file,
                 struct lm_error *err)
{
  return join (s->folder, file, err);
}

/* ---- locks ---- */

static int
flock_retry (int fd, int how)
{
  return TEMP_FAILURE_RETRY (flock (fd, how));
}

/* Held for the moment in which a name is taken or given up. */
static int
lock_names (const char *sessions, struct lm_error *err)
{
  CLEANUP_FREE char *path = join (sessions, ".lock", err);
  CLEANUP_CLOSE int fd = -1;

  if (path == NULL)
    return -1;
  fd = open (path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd == -1 || flock_retry (fd, LOCK_EX) == -1)
    return lm_error_errno (err, errno, "%s", path);
  return lm_steal_fd (fd);
}

/* The session's own lock, without waiting. */
static int
lock_session (struct lm_session *s, struct lm_error *err)
{
  s->lock_fd = openat (s->folder_fd, "lock",
                       O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (s->lock_fd == -1)
    return lm_error_errno (err, errno, "session %s: lock", s->name);
  if (flock_retry (s->lock_fd, LOCK_EX | LOCK_NB) == 0)
    return 0;
  if (errno != EWOULDBLOCK)
    return lm_error_errno (err, errno, "session %s: lock", s->name);
  lm_error_set (err, LM_ERR_LOCKED, "session %s: another command is at "
                "work on it", s->name);
  return lm_error_hint (err, "try again when it has ended");
}

void
lm_session_unlock (struct lm_session *s)
{
  if (s->lock_fd >= 0)
    close (s->lock_fd);
  s->lock_fd = -1;
}

void
lm_session_free (struct lm_session *s)
{
  if (s == NULL)
    return;
  lm_session_record_release (s);
  free (s->name);
  free (s->folder);
  if (s->folder_fd >= 0)
    close (s->folder_fd);
  if (s->lock_fd >= 0)
    close (s->lock_fd);
  free (s);
}

static struct lm_session *
session_new (const char *parent, const char *name, struct lm_error *err)
{
  CLEANUP_SESSION struct lm_session *s = calloc (1, sizeof *s);

  if (s == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  s->folder_fd = s->lock_fd = -1;
  s->name = strdup (name);
  s->folder = join (parent, name, err);
  if (s->name == NULL || s->folder == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  return lm_steal (s);
}

static int
open_folder (struct lm_session *s, struct lm_error *err)
{
  s->folder_fd = open (s->folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW |
                       O_CLOEXEC);
  if (s->folder_fd == -1) {
    if (errno == ENOENT) {
      lm_error_set (err, LM_ERR_NOT_FOUND, "there is no session '%s'",
                    s->name);
      return lm_error_hint (err, "'livemount sessions' lists them");
    }
    return lm_error_errno (err, errno, "session %s", s->name);
  }
  return 0;
}

static int
check_name (const char *name, struct lm_error *err)
{
  if (lm_name_check ("session", name, err) == -1)
    return -1;
  if (strlen (name) > LM_SESSION_NAME_MAX)
    return lm_error_set (err, LM_ERR_USAGE, "session name '%.20s...' has %zu "
                         "bytes, the limit is %d", name, strlen (name),
                         LM_SESSION_NAME_MAX);
  return 0;
}

/* ---- life ---- */

/* Make the folder under the first name that is free. */
static struct lm_session *
take_name (const char *sessions, const char *name_or_null, const char *vm,
           struct lm_error *err)
{
  unsigned i;

  for (i = 1; i < 10000; i++) {
    CLEANUP_SESSION struct lm_session *s = NULL;
    char name[LM_SESSION_NAME_MAX + 1];

    if (name_or_null)
      snprintf (name, sizeof name, "%s", name_or_null);
    else if (i == 1)
      snprintf (name, sizeof name, "%.*s", LM_SESSION_NAME_MAX - 5, vm);
    else
      snprintf (name, sizeof name, "%.*s-%u", LM_SESSION_NAME_MAX - 5, vm, i);
    s = session_new (sessions, name, err);
    if (s == NULL)
      return NULL;
    if (mkdir (s->folder, 0700) == 0)
      return lm_steal (s);
    if (errno != EEXIST) {
      lm_error_errno (err, errno, "session %s", name);
      return NULL;
    }
    if (name_or_null) {
      lm_error_set (err, LM_ERR_EXISTS, "there is a session '%s' already",
                    name);
      lm_error_hint (err, "take another --name, or 'livemount unmount %s'",
                     name);
      return NULL;
    }
  }
  lm_error_set (err, LM_ERR_LIMIT, "there are %u sessions of %s already", i,
                vm);
  return NULL;
}

struct lm_session *
lm_session_create (const char *name_or_null, const char *vm,
                   struct lm_error *err)
{
  CLEANUP_FREE char *sessions = NULL;
  CLEANUP_CLOSE int names = -1;
  CLEANUP_SESSION struct lm_session *s = NULL;

  if (name_or_null && check_name (name_or_null, err) == -1)
    return NULL;
  sessions = lm_sessions_folder (err);
  if (sessions == NULL || (names = lock_names (sessions, err)) == -1)
    return NULL;
  s = take_name (sessions, name_or_null, vm, err);
  if (s == NULL || open_folder (s, err) == -1 || lock_session (s, err) == -1)
    return NULL;
  s->created = lm_clock_now ();
  lm_random_bytes (s->pin, sizeof s->pin);
  if (lm_session_record_begin (s, err) == -1)
    return NULL;
  return lm_steal (s);
}

static struct lm_session *
session_open (const char *parent, const char *name, bool lock,
              struct lm_error *err)
{
  CLEANUP_SESSION struct lm_session *s = NULL;

  if (lm_name_check ("session", name, err) == -1)
    return NULL;
  s = session_new (parent, name, err);
  if (s == NULL)
    return NULL;
  if (lock) {
    /* Under .lock, so that nobody renames it between open and lock. */
    CLEANUP_FREE char *sessions = lm_sessions_folder (err);
    CLEANUP_CLOSE int names = sessions ? lock_names (sessions, err) : -1;

    if (names == -1 || open_folder (s, err) == -1 ||
        lock_session (s, err) == -1)
      return NULL;
  }
  else if (open_folder (s, err) == -1)
    return NULL;
  if (lm_session_record_read (s, err) == -1) {
    /* Killed before the first record: nothing was ever in it. */
    if (err->kind == LM_ERR_NOT_FOUND && lock) {
      lm_error_clear (err);
      s->stage = LM_SESSION_PURGING;
      return lm_steal (s);
    }
    return NULL;
  }
  return lm_steal (s);
}

struct lm_session *
lm_session_open (const char *name, bool lock, struct lm_error *err)
{
  CLEANUP_FREE char *sessions = lm_sessions_folder (err);

  return sessions ? session_open (sessions, name, lock, err) : NULL;
}

static char *
dropped_folder (struct lm_error *err)
{
  CLEANUP_FREE char *sessions = lm_sessions_folder (err);
  CLEANUP_FREE char *path = sessions ? join (sessions, ".dropped", err)
                                     : NULL;

  if (path == NULL || lm_mkdir_p (path, 0700, err) == -1)
    return NULL;
  return lm_steal (path);
}

struct lm_session *
lm_session_open_dropped (const char *name, bool lock, struct lm_error *err)
{
  CLEANUP_FREE char *dropped = dropped_folder (err);

  return dropped ? session_open (dropped, name, lock, err) : NULL;
}

int
lm_session_commit (struct lm_session *s, struct lm_error *err)
{
  s->stage = LM_SESSION_KEPT;
  return lm_session_save (s, err);
}

/* ---- names ---- */

static int
compare (const void *a, const void *b)
{
  return strcmp (*(char *const *) a, *(char *const *) b);
}

void
lm_session_names_free (char **names)
{
  size_t i;

  for (i = 0; names && names[i]; i++)
    free (names[i]);
  free (names);
}

char **
lm_session_names (bool dropped, struct lm_error *err)
{
  CLEANUP_FREE char *path = dropped ? dropped_folder (err)
                                    : lm_sessions_folder (err);
  CLEANUP_CLOSEDIR DIR *dir = path ? opendir (path) : NULL;
  char **names = calloc (1, sizeof *names), **more;
  struct dirent *d;
  size_t n = 0;

  if (path == NULL)
    goto failed;
  if (dir == NULL) {
    lm_error_errno (err, errno, "%s", path);
    goto failed;
  }
  while ((d = readdir (dir)) != NULL) {
    if (d->d_name[0] == '.')
      continue;
    more = reallocarray (names, n + 2, sizeof *names);
    if (more == NULL)
      goto no_memory;
    names = more;
    names[n] = strdup (d->d_name);
    names[n + 1] = NULL;
    if (names[n++] == NULL)
      goto no_memory;
  }
  if (names == NULL)
    goto no_memory;
  qsort (names, n, sizeof *names, compare);
  return names;

 no_memory:
  lm_error_set (err, LM_ERR_NOMEM, "out of memory");
 failed:
  lm_session_names_free (names);
  return NULL;
}

/* ---- ways out ---- */

static int
move (struct lm_session *s, const char *parent, const char *name,
      struct lm_error *err)
{
  CLEANUP_FREE char *sessions = lm_sessions_folder (err);
  CLEANUP_FREE char *to = join (parent, name, err);
  CLEANUP_FREE char *copy = strdup (name);
  CLEANUP_CLOSE int names = sessions ? lock_names (sessions, err) : -1;

  if (names == -1 || to == NULL)
    return -1;
  if (copy == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  if (renameat2 (AT_FDCWD, s->folder, AT_FDCWD, to, RENAME_NOREPLACE) == -1)
    return lm_error_errno (err, errno, "session %s: rename to %s", s->name,
                           to);
  if (lm_sync_parent (AT_FDCWD, to, err) == -1 ||
      lm_sync_parent (AT_FDCWD, s->folder, err) == -1)
    return -1;
  free (s->folder);
  s->folder = lm_steal (to);
  free (s->name);
  s->name = lm_steal (copy);
  return 0;
}

int
lm_session_drop (struct lm_session *s, char **ret_name, struct lm_error *err)
{
  CLEANUP_FREE char *parent = dropped_folder (err);
  char when[LM_TIMESTAMP_LEN + 1];
  CLEANUP_FREE char *name = NULL;
  size_t i, n = 0;

  if (parent == NULL)
    return -1;
  s->dropped = lm_clock_now ();
  if (lm_session_save (s, err) == -1)
    return -1;
  lm_timestamp_format (s->dropped, when);
  for (i = 0; when[i]; i++)
    if (when[i] != ':' && when[i] != '-')
      when[n++] = when[i];
  when[n] = '\0';
  for (i = 1; i < 1000; i++) {
    free (name);
    name = NULL;
    if ((i == 1 ? asprintf (&name, "%s-%s", s->name, when)
                : asprintf (&name, "%s-%s-%zu", s->name, when, i)) == -1) {
      name = NULL;
      return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    }
    if (move (s, parent, name, err) == 0)
      break;
    if (err->kind != LM_ERR_EXISTS)
      return -1;
    lm_error_clear (err);
  }
  *ret_name = lm_steal (name);
  return 0;
}

int
lm_session_bring_back (struct lm_session *s, const char *name_or_null,
                       struct lm_error *err)
{
  CLEANUP_FREE char *sessions = lm_sessions_folder (err);
  CLEANUP_FREE char *name = NULL;
  char *cut;

  if (sessions == NULL)
    return -1;
  if (name_or_null && check_name (name_or_null, err) == -1)
    return -1;
  name = strdup (name_or_null ? name_or_null : s->name);
  if (name == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  /* NAME-TIME[-N] */
  if (name_or_null == NULL && (cut = strstr (name, "-20")) != NULL) {
    char *later;

    while ((later = strstr (cut + 1, "-20")) != NULL)
      cut = later;
    if (cut != name)
      *cut = '\0';
  }
  if (move (s, sessions, name, err) == -1) {
    if (err->kind == LM_ERR_EXISTS)
      lm_error_hint (err, "another session has that name now: say --name");
    return -1;
  }
  s->dropped = 0;
  return lm_session_save (s, err);
}

/* The pin's name needs no key. */
static int
remove_pin (const struct lm_session *s, struct lm_error *err)
{
  struct lm_store *store;
  char hex[2 * LM_NAME_ID_LEN + 1], name[sizeof hex + 8];
  int r;

  if (s->repository == NULL)
    return 0;                   /* it had not come that far */
  if (lm_store_open (s->repository, false, &store, err) == -1) {
    if (err->kind != LM_ERR_NO_REPOSITORY)
      return -1;
    /* The pin went with the repository.  (If that only is elsewhere for
     * now, the pin keeps data too long there, which is the safe side.) */
    lm_error_clear (err);
    return 0;
  }
  lm_hex_encode (s->pin, sizeof s->pin, hex);
  snprintf (name, sizeof name, "pins/%s", hex);
  r = lm_store_remove (store, name, err);
  lm_store_close (store);
  if (r == -1 && err->kind == LM_ERR_NOT_FOUND) {
    lm_error_clear (err);
    r = 0;
  }
  return r;
}

int
lm_session_purge (struct lm_session *s, struct lm_error *err)
{
  CLEANUP_FREE char *sessions = NULL;
  CLEANUP_CLOSE int names = -1;

  if (s->repository) {
    s->stage = LM_SESSION_PURGING;
    if (lm_session_save (s, err) == -1)
      return -1;
  }
  if (lm_remove_tree (s->folder_fd, "overlay", err) == -1 ||
      remove_pin (s, err) == -1)
    return lm_error_prefix (err, "session %s is not removed yet", s->name);
  sessions = lm_sessions_folder (err);
  if (sessions == NULL || (names = lock_names (sessions, err)) == -1)
    return -1;
  return lm_remove_tree (AT_FDCWD, s->folder, err);
}
