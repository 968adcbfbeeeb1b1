/* SPDX-License-Identifier: Apache-2.0
 *
 * Processes that outlive us: start one, know it again later, stop it.
 *
 * A process is remembered as pid, start time and boot, because a pid
 * alone names a stranger once it was recycled, and sessions survive
 * reboots.  Nothing here ever signals a process whose three marks do not
 * match, and signals go through a pidfd, so there is no moment between
 * check and kill in which the pid could change hands.
 *
 * No daemon framework: the child leaves our session (setsid), holds only
 * the descriptors it was given, and writes to its log file.  -daemonize
 * and its like of the programs themselves are not needed, and so their
 * early errors are not lost either.
 */
#ifndef LM_COMMON_PROCESS_H
#define LM_COMMON_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"
#include "common/json.h"

#define LM_BOOT_ID_LEN 36

/* The identity of a process: plain data, to be copied and stored. */
struct lm_process {
  pid_t pid;                            /* 0: none */
  uint64_t start_time;                  /* clock ticks after the boot */
  char boot_id[LM_BOOT_ID_LEN + 1];     /* the kernel's random boot_id */
};

#define LM_PROCESS_INIT { 0, 0, "" }

/* One descriptor of ours that the child gets, under the number CHILD_FD.
 * It stays open here too. */
struct lm_spawn_fd {
  int fd;
  int child_fd;
};

/* What to start.  All pointers are borrowed for the call. */
struct lm_spawn {
  const char *const *argv;      /* required; argv[0] is searched in PATH */
  const char *const *envp;      /* the whole environment; NULL: as ours */
  const char *folder;           /* working directory; NULL: as ours */
  /* stdout and stderr are appended to this file, made with mode 0600;
   * NULL: /dev/null.  FDS overrides it for 1 and 2.  stdin is /dev/null
   * unless FDS says otherwise. */
  const char *log_path;
  const struct lm_spawn_fd *fds;
  size_t nr_fds;                /* at most LM_SPAWN_FDS_MAX */
  mode_t umask;                 /* 0: as ours */
  bool detach;                  /* setsid: it outlives us and our terminal */
  /* It is no child of ours, even at its start.  For programs that ask the
   * kernel to be ended with their parent, as nbdkit 1.32 does whether it
   * was told to or not.  How it ends is then known to nobody. */
  bool orphan;
};

#define LM_SPAWN_FDS_MAX 16

/* Start it.  Returns when exec has succeeded or failed, so a missing
 * program is an error here and not in a log.  Signal handlers and the
 * signal mask are the default ones in the child.  Any thread may call.
 * LM_ERR_NOT_FOUND when the program is not there. */
extern int lm_process_spawn (const struct lm_spawn *spawn,
                             struct lm_process *ret_process,
                             struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* The identity of a process that runs now, e.g. one that wrote a pid
 * file.  LM_ERR_NOT_FOUND when there is none with that pid. */
extern int lm_process_identify (pid_t pid, struct lm_process *ret_process,
                                struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Is any thread of this very process still there?  A zombie is not.  Yes
 * if it can't be found out (no descriptors left): what would be started
 * instead of it must not run beside it. */
extern bool lm_process_alive (const struct lm_process *process)
  __attribute__ ((nonnull));

/* Send a signal.  LM_ERR_NOT_FOUND, and nothing sent, when this very
 * process has ended. */
extern int lm_process_signal (const struct lm_process *process, int signum,
                              struct lm_error *err)
  __attribute__ ((nonnull));

/* How a process ended.  Known only to its parent. */
struct lm_process_end {
  bool known;
  int exit_code;                /* -1 when a signal ended it */
  int signum;                   /* 0 when it exited */
};

/* Wait until it has ended, at most TIMEOUT_MS milliseconds (negative: no
 * limit; 0: only look).  *RET_ENDED says whether it has; *RET_END is then
 * filled in, and a child of ours is reaped (once: a second call finds
 * nothing known).  Signals that arrive do not end the wait. */
extern int lm_process_wait (const struct lm_process *process,
                            int64_t timeout_ms, bool *ret_ended,
                            struct lm_process_end *ret_end,
                            struct lm_error *err)
  __attribute__ ((nonnull));

/* End it: SIGTERM, wait GRACE_MS, SIGKILL, wait.  0 when it is gone,
 * also when it was gone before. */
extern int lm_process_stop (const struct lm_process *process,
                            int64_t grace_ms, struct lm_error *err)
  __attribute__ ((nonnull));

/* {"pid":…,"start_time":…,"boot_id":"…"}; NULL when out of memory. */
extern json_t *lm_process_to_json (const struct lm_process *process)
  __attribute__ ((nonnull, warn_unused_result));

/* WHAT names the file in messages. */
extern int lm_process_from_json (const json_t *obj, const char *what,
                                 struct lm_process *ret_process,
                                 struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* The absolute path of a program: NAME itself if it has a slash, else
 * searched in PATH.  Free the result.  LM_ERR_NOT_FOUND if it is nowhere. */
extern char *lm_program_find (const char *name, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* The size of a log file, 0 if there is none: remember it before a start
 * to tell the new lines from the old ones. */
extern uint64_t lm_process_log_size (const char *log_path)
  __attribute__ ((nonnull));

/* The last line with something on it after offset FROM of a log file,
 * cut to SIZE bytes, control characters replaced.  False, and an empty
 * LINE, if there is none. */
extern bool lm_process_log_last_line (const char *log_path, uint64_t from,
                                      char *line, size_t size)
  __attribute__ ((nonnull));

#endif
