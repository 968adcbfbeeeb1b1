/* SPDX-License-Identifier: Apache-2.0
 * Making and ending live mounts; see session-mount.h.
 */
#include <config.h>

#include "mount/session-mount.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "common/random.h"
#include "common/size.h"
#include "common/timestamp.h"
#include "formats/native/forget.h"
#include "formats/native/keys.h"
#include "formats/native/pin.h"
#include "hypervisor-glue/vm-config.h"
#include "mount/interrupt.h"
#include "mount/remove-tree.h"
#include "mount/report.h"
#include "mount/session-fuse.h"
#include "mount/session-machine.h"
#include "mount/session-proxy.h"
#include "common/banned.h"

/* ---- mount ---- */

static int
absolute_folder (const char *path, char **ret, struct lm_error *err)
{
  CLEANUP_FREE char *p = realpath (path, NULL);
  struct stat st;

  if (p == NULL || stat (p, &st) == -1)
    return lm_error_errno (err, errno, "--fuse %s", path);
  if (!S_ISDIR (st.st_mode))
    return lm_error_set (err, LM_ERR_USAGE, "--fuse %s: not a folder", path);
  *ret = lm_steal (p);
  return 0;
}

static int
copy_disk (struct lm_session *s, const struct lm_snapshot_disk *disk,
           struct lm_error *err)
{
  struct lm_session_disk *d = &s->disks[s->nr_disks];

  d->size = disk->size;
  d->name = strdup (disk->name);
  if (d->name == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  s->nr_disks++;
  return 0;
}

/* Put the machine's configuration into the session, so that it can be
 * booted later without asking for the key.  What can't be read is left
 * out: the disks are what a mount is for. */
static void
keep_machine_file (const struct lm_cli *cli, const struct lm_session *s,
                   struct lm_repository *repo,
                   const struct lm_snapshot *snapshot, const char *kind,
                   const char *file, uint64_t limit)
{
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_FREE uint8_t *data = NULL;
  size_t i;

  for (i = 0; i < snapshot->nr_files; i++)
    if (strcmp (snapshot->files[i].kind, kind) == 0)
      break;
  if (i == snapshot->nr_files || snapshot->files[i].size > limit)
    return;
  if (lm_snapshot_file_read (repo, &snapshot->files[i], &data, &err) == -1 ||
      lm_file_replace (s->folder_fd, file, data, snapshot->files[i].size,
                       0600, &err) == -1)
    lm_report_warning (cli, "the machine's %s is not used: %s", kind,
                       err.message);
}

/* Everything about the snapshot that the session must remember. */
static int
describe (const struct lm_cli *cli, struct lm_session *s,
          struct lm_repository *repo,
          const struct lm_snapshot_entry *entry, const char *disk_name,
          struct lm_error *err)
{
  struct lm_snapshot *snapshot = lm_snapshot_open (repo, entry, err);
  char time[LM_TIMESTAMP_LEN + 1];
  int r = -1;
  size_t i;

  if (snapshot == NULL)
    return -1;
  lm_timestamp_format (entry->time, time);
  s->disks = calloc (snapshot->nr_disks + 1, sizeof *s->disks);
  s->vm = strdup (entry->vm);
  if (s->disks == NULL || s->vm == NULL ||
      asprintf (&s->snapshot, "%s/%s", entry->vm, time) == -1) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    goto out;
  }
  memcpy (s->snapshot_id, entry->id, sizeof s->snapshot_id);
  memcpy (s->repository_id, lm_repository_id (repo),
          sizeof s->repository_id);
  if (disk_name) {
    const struct lm_snapshot_disk *d =
      lm_snapshot_find_disk (snapshot, disk_name, err);

    if (d == NULL || copy_disk (s, d, err) == -1)
      goto out;
  }
  for (i = 0; !disk_name && i < snapshot->nr_disks; i++)
    if (copy_disk (s, &snapshot->disks[i], err) == -1)
      goto out;
  keep_machine_file (cli, s, repo, snapshot, "config", LM_SESSION_CONFIG,
                     LM_VM_CONFIG_SIZE_MAX);
  keep_machine_file (cli, s, repo, snapshot, "nvram", LM_SESSION_NVRAM,
                     64 << 20);
  r = 0;
 out:
  lm_snapshot_free (snapshot);
  return r;
}

/* Undo a mount that failed, in reverse.  What can't be undone now is left
 * for the sweep; the reason for the failure is what counts. */
static void
abort_mount (struct lm_session *s)
{
  struct lm_error ignored = LM_ERROR_INIT;

  if (lm_session_fuse_stop (s, &ignored) == -1 ||
      lm_session_proxy_stop (s, &ignored) == -1)
    return;
  lm_session_purge (s, &ignored);
}

static const uint8_t *
master_of (const struct lm_repository *repo)
{
  return lm_repository_encrypted (repo) ? lm_repository_keys (repo)->master
                                        : NULL;
}

static int
fill_session (const struct lm_cli *cli, struct lm_session *s,
              const struct lm_mount_request *request,
              struct lm_repository *repo,
              const struct lm_snapshot_entry *entry, const char *disk_name,
              const char *location, struct lm_error *err)
{
  if (lm_session_check_paths (s, err) == -1)
    return -1;
  s->read_only = request->read_only;
  s->cache_size = request->cache_size;
  if (request->fuse && absolute_folder (request->fuse, &s->fuse, err) == -1)
    return -1;
  if (describe (cli, s, repo, entry, disk_name, err) == -1)
    return -1;
  /* From here on a pin may exist: who clears up must know where. */
  s->repository = lm_location_absolute (location, err);
  if (s->repository == NULL)
    return -1;
  return lm_session_save (s, err);
}

/* Once the pin is there, and those are done who looked before, nobody
 * forgets the snapshot any more; but it may have happened just before. */
static int
put_pin (const struct lm_session *s, struct lm_repository *repo,
         struct lm_error *err)
{
  const struct lm_snapshot_entry *entries;
  size_t i, n;

  if (lm_pin_put_as (repo, s->pin, s->snapshot_id, s->name, err) == -1 ||
      lm_forget_wait (repo, lm_interrupt_catch (), err) == -1 ||
      lm_repository_load (repo, err) == -1)
    return -1;
  entries = lm_repository_snapshots (repo, &n);
  for (i = n; i > 0; i--)
    if (memcmp (entries[i - 1].id, s->snapshot_id, sizeof s->snapshot_id)
        == 0)
      return 0;
  return lm_error_set (err, LM_ERR_NOT_FOUND, "snapshot %s was just "
                       "forgotten", s->snapshot);
}

struct lm_session *
lm_session_mount (const struct lm_cli *cli,
                  const struct lm_mount_request *request,
                  struct lm_error *err)
{
  const struct lm_repository_request open = { .read_only = false };
  const char *location = lm_cli_location (cli, err);
  CLEANUP (lm_key_source_release)
    struct lm_key_source source = LM_KEY_SOURCE_INIT;
  CLEANUP_REPOSITORY struct lm_repository *repo = NULL;
  const struct lm_snapshot_entry *entry;
  CLEANUP_FREE char *disk_name = NULL;
  struct lm_session *s;

  if (location == NULL)
    return NULL;
  repo = lm_cli_open_repository (cli, &open, &source, err);
  if (repo == NULL)
    return NULL;
  entry = lm_repository_resolve (repo, request->snapshot, &disk_name, err);
  if (entry == NULL)
    return NULL;
  lm_interrupt_catch ();
  s = lm_session_create (request->name, entry->vm, err);
  if (s == NULL)
    return NULL;
  s->key = source;
  source = (struct lm_key_source) LM_KEY_SOURCE_INIT;
  if (fill_session (cli, s, request, repo, entry, disk_name, location, err)
      == -1 ||
      put_pin (s, repo, err) == -1 ||
      lm_interrupt_check ("mount", err) == -1 ||
      lm_session_proxy_start (s, master_of (repo), err) == -1 ||
      (s->fuse && lm_session_fuse_start (s, err) == -1) ||
      lm_interrupt_check ("mount", err) == -1 ||
      lm_session_commit (s, err) == -1) {
    abort_mount (s);
    lm_session_free (s);
    return NULL;
  }
  return s;
}

/* ---- stop and start ---- */

int
lm_session_halt (const struct lm_session *s, struct lm_error *err)
{
  if (lm_session_machine_stop (s, 0, NULL, err) == -1 ||
      lm_session_fuse_stop (s, err) == -1 ||
      lm_session_proxy_stop (s, err) == -1)
    return -1;
  return 0;
}

int
lm_session_restart (const struct lm_cli *cli, const struct lm_session *s,
                    struct lm_error *err)
{
  const struct lm_repository_request open = {
    .location = s->repository, .remembered = &s->key, .no_load = true,
    .read_only = true,
  };
  CLEANUP_REPOSITORY struct lm_repository *repo = NULL;

  repo = lm_cli_open_repository (cli, &open, NULL, err);
  if (repo == NULL)
    return -1;
  if (memcmp (lm_repository_id (repo), s->repository_id,
              sizeof s->repository_id) != 0)
    return lm_error_set (err, LM_ERR_CORRUPT, "session %s: there is another "
                         "repository at %s now", s->name, s->repository);
  /* What a dead proxy left mounted would only give errors. */
  if (lm_session_fuse_stop (s, err) == -1 ||
      lm_session_proxy_stop (s, err) == -1 ||
      lm_session_proxy_start (s, master_of (repo), err) == -1)
    return -1;
  if (s->fuse && lm_session_fuse_start (s, err) == -1) {
    struct lm_error ignored = LM_ERROR_INIT;

    lm_session_proxy_stop (s, &ignored);
    return -1;
  }
  return 0;
}

/* ---- what was written ---- */

int
lm_session_changes (const struct lm_session *s, uint64_t *ret_bytes,
                    struct lm_error *err)
{
  /* docs/overlay.md, section 1: what was written, what was discarded. */
  static const char *const names[] = { "data", "mask", NULL };

  return lm_tree_usage (s->folder_fd, "overlay", names, ret_bytes, err);
}

/* ---- clearing away ---- */

static void
sweep_one (const struct lm_cli *cli, const char *name, bool dropped)
{
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_SESSION struct lm_session *s =
    dropped ? lm_session_open_dropped (name, false, &err)
            : lm_session_open (name, false, &err);
  bool due;

  /* First look without the lock, so as not to get into anyone's way. */
  due = s == NULL || s->stage != LM_SESSION_KEPT ||
        (dropped && lm_clock_now () - s->dropped > LM_SESSION_KEEP_SECONDS);
  if (!due)
    return;
  lm_session_free (s);
  lm_error_clear (&err);
  s = dropped ? lm_session_open_dropped (name, true, &err)
              : lm_session_open (name, true, &err);
  if (s == NULL) {
    if (err.kind != LM_ERR_LOCKED && err.kind != LM_ERR_NOT_FOUND)
      lm_report_detail (cli, "session %s: %s", name, err.message);
    return;
  }
  /* It may have been finished meanwhile. */
  if (s->stage == LM_SESSION_KEPT &&
      !(dropped &&
        lm_clock_now () - s->dropped > LM_SESSION_KEEP_SECONDS))
    return;
  if (lm_session_halt (s, &err) == -1 || lm_session_purge (s, &err) == -1)
    lm_report_detail (cli, "session %s: %s", name, err.message);
}

void
lm_sessions_sweep (const struct lm_cli *cli)
{
  int dropped;

  for (dropped = 0; dropped < 2; dropped++) {
    struct lm_error err = LM_ERROR_INIT;
    char **names = lm_session_names (dropped, &err);
    size_t i;

    for (i = 0; names && names[i]; i++)
      sweep_one (cli, names[i], dropped);
    lm_session_names_free (names);
  }
}

/* ---- for people and programs ---- */

json_t *
lm_session_to_json (const struct lm_session *s, struct lm_error *err)
{
  static const char *const proxy_words[] = {
    [LM_PROXY_RUNNING] = "running", [LM_PROXY_STOPPED] = "stopped",
    [LM_PROXY_DEAD] = "dead",
  };
  CLEANUP_JSON json_t *disks = json_array (), *v = NULL;
  char created[LM_TIMESTAMP_LEN + 1], dropped[LM_TIMESTAMP_LEN + 1];
  const char *state = proxy_words[lm_session_proxy_state (s)];
  uint64_t changes = 0;
  size_t i;

  for (i = 0; i < s->nr_disks; i++) {
    CLEANUP_FREE char *uri = lm_session_uri (s, s->disks[i].name, err);

    if (uri == NULL)
      return NULL;
    json_array_append_new (disks,
      json_pack ("{s:s, s:I, s:s}", "name", s->disks[i].name, "size",
                 (json_int_t) s->disks[i].size, "uri", uri));
  }
  if (lm_session_changes (s, &changes, err) == -1)
    return NULL;
  if (s->stage != LM_SESSION_KEPT)
    state = "half-made";
  else if (s->dropped)
    state = "dropped";
  lm_timestamp_format (s->created, created);
  lm_timestamp_format (s->dropped, dropped);
  v = json_pack ("{s:s, s:s, s:s, s:s*, s:s*, s:s, s:s*, s:I, s:b, s:s*, "
                 "s:s, s:s*, s:O}",
                 "session", s->name, "state", state,
                 "machine", lm_session_machine_word (s),
                 "vm", s->vm, "snapshot", s->snapshot,
                 "created", created, "dropped", s->dropped ? dropped : NULL,
                 "changes", (json_int_t) changes,
                 "read_only", s->read_only, "fuse", s->fuse,
                 "folder", s->folder, "repository", s->repository,
                 "disks", disks);
  if (v == NULL)
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  return lm_steal (v);
}

int
lm_session_print (const struct lm_cli *cli, const struct lm_session *s,
                  struct lm_error *err)
{
  CLEANUP_JSON json_t *v = lm_session_to_json (s, err);
  const json_t *disk;
  size_t i;

  if (v == NULL)
    return -1;
  if (cli->json)
    return lm_report_json (lm_steal (v), err);
  printf ("session %s: %s%s\n", s->name, s->snapshot,
          s->read_only ? ", read-only" : "");
  json_array_foreach (json_object_get (v, "disks"), i, disk) {
    char size[LM_SIZE_LEN];

    lm_size_format (s->disks[i].size, size);
    printf ("  %-10s %9s  %s\n", s->disks[i].name, size,
            lm_json_string_or_null (disk, "uri"));
    if (s->fuse)
      printf ("  %-10s %9s  %s/%s\n", "", "", s->fuse, s->disks[i].name);
  }
  return 0;
}
