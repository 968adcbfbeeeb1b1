/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions on disk: a folder of plain files for each live mount.
 *
 *   STATE/sessions/.lock           held while a name is taken or given up
 *   STATE/sessions/.dropped/X/     what unmount dropped, for 24 hours
 *   STATE/sessions/NAME/
 *     lock                         flock: one command at a time
 *     session.json                 what it is; replaced whole, never edited
 *     overlay/                     what was written (the proxy's)
 *     nbd.sock proxy.log           the proxy's socket and messages
 *     proxy.lock                   flock, held by the proxy while it lives
 *     proxy.json proxy.stopping    which process the proxy is; being ended
 *     machine.config machine.nvram what the backup had of the machine
 *     boot.json                    what its machine looks like
 *     vm.json vm.starting vm.pid   which process the machine is
 *     qmp.sock serial.sock vnc.sock serial.log qemu.log nvram.fd
 *
 * STATE is $LIVEMOUNT_STATE_DIR, else /var/lib/livemount for root, else
 * $XDG_STATE_HOME/livemount.
 *
 * Any command may be killed at any moment.  The stages, and who makes
 * each transition:
 *
 *   (nothing) --lm_session_create--> creating --lm_session_commit--> kept
 *   creating  --lm_session_abort or _sweep--> (nothing)
 *   kept      --lm_session_drop--> folder in .dropped
 *   dropped   --lm_session_bring_back--> kept
 *   dropped   --lm_session_purge or _sweep--> (nothing)
 *
 * Invariants:
 *   1. A folder NAME exists only with its lock held or with session.json.
 *      (Names are taken under .lock, and the first session.json is there
 *      before NAME's own lock is given up.)
 *   2. The pin's id is in session.json before the pin is put, so a pin
 *      without a session that names it can't come from us.
 *   3. The pin exists whenever stage is kept and as long as an overlay
 *      exists; it is removed after the overlay and before session.json.
 *   4. Nothing a person could have written is in a session of stage
 *      creating: its address was never told.
 *   5. No key and no passphrase is ever in a session, only paths.
 *
 * Whether the proxy runs is not written down: it runs if proxy.lock is
 * held.  That can't be out of date.
 */
#ifndef LM_MOUNT_SESSION_H
#define LM_MOUNT_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/json.h"
#include "formats/native/native-wire.h"
#include "mount/open-repository.h"

#define LM_SESSION_NAME_MAX 64
#define LM_SESSION_KEEP_SECONDS (24 * 3600)

/* Files of the session folder that more than one module knows. */
#define LM_SESSION_CONFIG "machine.config"
#define LM_SESSION_NVRAM "machine.nvram"

enum lm_session_stage {
  LM_SESSION_CREATING,
  LM_SESSION_KEPT,
  LM_SESSION_PURGING,
};

struct lm_session_disk {
  char *name;
  uint64_t size;                /* bytes */
};

/* Strings are owned.  Fill in through lm_session_create. */
struct lm_session {
  char *name;
  char *folder;                 /* absolute */
  int folder_fd;
  int lock_fd;                  /* -1: opened without the lock */
  enum lm_session_stage stage;
  int64_t created;              /* seconds since the epoch */
  char *repository;             /* absolute location */
  uint8_t repository_id[LM_NAME_ID_LEN];
  struct lm_key_source key;
  char *vm;
  char *snapshot;               /* "VM/TIME" */
  uint8_t snapshot_id[LM_NAME_ID_LEN];
  uint8_t pin[LM_NAME_ID_LEN];
  bool read_only;
  char *fuse;                   /* folder of mount --fuse, or NULL */
  uint64_t cache_size;          /* bytes for the proxy; 0: its default */
  size_t nr_disks;
  struct lm_session_disk *disks;
  int64_t dropped;              /* when; 0: not dropped */
};

/* STATE.  Free it. */
extern char *lm_state_folder (struct lm_error *err)
  __attribute__ ((nonnull));

/* STATE/sessions, made if need be.  Free it. */
extern char *lm_sessions_folder (struct lm_error *err)
  __attribute__ ((nonnull));

/* Take a name and make the folder, of stage creating and locked.  NAME
 * NULL: after VM, with a number if need be.  Fill in the other members,
 * then lm_session_save.  LM_ERR_EXISTS, LM_ERR_USAGE. */
extern struct lm_session *lm_session_create (const char *name_or_null,
                                             const char *vm,
                                             struct lm_error *err)
  __attribute__ ((nonnull (2, 3), warn_unused_result));

/* Open one that exists.  With LOCK nobody else can do so until it is
 * freed: LM_ERR_LOCKED says that a command is at work on it. */
extern struct lm_session *lm_session_open (const char *name, bool lock,
                                           struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* The same in .dropped. */
extern struct lm_session *lm_session_open_dropped (const char *name,
                                                   bool lock,
                                                   struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Write session.json, durably. */
extern int lm_session_save (const struct lm_session *session,
                            struct lm_error *err)
  __attribute__ ((nonnull));

/* Everything was done: stage kept. */
extern int lm_session_commit (struct lm_session *session,
                              struct lm_error *err)
  __attribute__ ((nonnull));

/* Let others work on it; what we have of it may get out of date. */
extern void lm_session_unlock (struct lm_session *session)
  __attribute__ ((nonnull));

/* Close it; gives up the lock.  NULL is fine. */
extern void lm_session_free (struct lm_session *session);

static inline void
lm_cleanup_session (struct lm_session **p)
{
  lm_session_free (*p);
}

#define CLEANUP_SESSION __attribute__ ((cleanup (lm_cleanup_session)))

/* FOLDER/FILE.  Free it. */
extern char *lm_session_path (const struct lm_session *session,
                              const char *file, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Names of all sessions (or of all dropped ones), sorted.  Free both
 * them and the array, which NULL ends. */
extern char **lm_session_names (bool dropped, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
extern void lm_session_names_free (char **names);

/* Move it to .dropped.  Nothing of it may run any more.  Its name there
 * is *RET_NAME, to be freed. */
extern int lm_session_drop (struct lm_session *session, char **ret_name,
                            struct lm_error *err)
  __attribute__ ((nonnull));

/* And back to NAME (NULL: its old name). */
extern int lm_session_bring_back (struct lm_session *session,
                                  const char *name_or_null,
                                  struct lm_error *err)
  __attribute__ ((nonnull (1, 3)));

/* Remove it for good: overlay, pin, folder, in this order.  Nothing of it
 * may run.  If the pin can't be removed (the store is away), the folder
 * stays, for the next sweep. */
extern int lm_session_purge (struct lm_session *session,
                             struct lm_error *err)
  __attribute__ ((nonnull));

#endif
