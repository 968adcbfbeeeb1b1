/* SPDX-License-Identifier: Apache-2.0
 * Processes that outlive us; see process.h.
 *
 * fork and exec rather than posix_spawn: setsid, a working directory,
 * a umask and "close everything else" are all needed, and posix_spawn has
 * no portable way to say which of its steps failed.  Between fork and
 * exec only async-signal-safe calls are made, because the caller may
 * have threads.
 */
#include <config.h>

#include "common/process.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "common/log.h"
#include "common/random.h"
#include "common/banned.h"

/* A relative path would mean another file after the child's chdir. */
static char *
absolute (const char *path)
{
  return *path == '/' ? strdup (path) : realpath (path, NULL);
}

char *
lm_program_find (const char *name, struct lm_error *err)
{
  const char *path = getenv ("PATH");
  const char *dir;

  if (strchr (name, '/')) {
    char *copy;

    if (access (name, X_OK) == -1) {
      lm_error_errno (err, errno, "program %s", name);
      return NULL;
    }
    copy = absolute (name);
    if (copy == NULL)
      lm_error_errno (err, errno, "program %s", name);
    return copy;
  }
  if (path == NULL || *path == '\0')
    path = "/usr/local/bin:/usr/bin:/bin";
  for (dir = path; *name;) {
    const char *end = strchrnul (dir, ':');
    char *full, *found;
    struct stat st;

    if (asprintf (&full, "%.*s%s%s", (int) (end - dir), dir,
                  end == dir ? "./" : "/", name) == -1) {
      lm_error_set (err, LM_ERR_NOMEM, "out of memory");
      return NULL;
    }
    if (access (full, X_OK) == 0 && stat (full, &st) == 0 &&
        S_ISREG (st.st_mode)) {
      found = absolute (full);
      if (found == NULL)
        lm_error_errno (err, errno, "program %s", full);
      free (full);
      return found;
    }
    free (full);
    if (*end == '\0')
      break;
    dir = end + 1;
  }
  lm_error_set (err, LM_ERR_NOT_FOUND, "program %s is not installed", name);
  return NULL;
}

/* ---- identity ---- */

static int
read_boot_id (char ret_id[LM_BOOT_ID_LEN + 1], struct lm_error *err)
{
  CLEANUP_FREE char *data = NULL;
  size_t len;

  if (lm_file_read (AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &data,
                    &len, err) == -1)
    return -1;
  if (len < LM_BOOT_ID_LEN)
    return lm_error_set (err, LM_ERR_IO, "/proc/sys/kernel/random/boot_id: "
                         "%zu bytes, expected %d", len, LM_BOOT_ID_LEN);
  memcpy (ret_id, data, LM_BOOT_ID_LEN);
  ret_id[LM_BOOT_ID_LEN] = '\0';
  return 0;
}

/* The start time (field 22) of a pid.  The command name in field 2 can
 * hold anything, also ") R 1": count from the last ')'. */
static int
read_start_time (pid_t pid, uint64_t *ret_start, struct lm_error *err)
{
  char path[64];
  CLEANUP_FREE char *data = NULL;
  size_t len;
  char *p, *end;
  unsigned field;

  snprintf (path, sizeof path, "/proc/%jd/stat", (intmax_t) pid);
  if (lm_file_read (AT_FDCWD, path, 16384, &data, &len, err) == -1) {
    if (err->kind == LM_ERR_NOT_FOUND || err->sys_errno == ESRCH)
      return lm_error_set (err, LM_ERR_NOT_FOUND, "no process %jd",
                           (intmax_t) pid);
    return -1;
  }
  p = strrchr (data, ')');
  if (p == NULL || p[1] != ' ' || p[2] == '\0')
    return lm_error_set (err, LM_ERR_IO, "%s: not understood", path);
  p += 2;
  for (field = 3; field < 22; field++) {
    p = strchr (p, ' ');
    if (p == NULL)
      return lm_error_set (err, LM_ERR_IO, "%s: only %u fields", path,
                           field);
    p++;
  }
  errno = 0;
  *ret_start = strtoull (p, &end, 10);
  if (errno != 0 || end == p)
    return lm_error_set (err, LM_ERR_IO, "%s: field 22 is no number", path);
  return 0;
}

int
lm_process_identify (pid_t pid, struct lm_process *ret_process,
                     struct lm_error *err)
{
  struct lm_process process = { .pid = pid };

  if (pid <= 0)
    return lm_error_set (err, LM_ERR_NOT_FOUND, "no process %jd",
                         (intmax_t) pid);
  if (read_boot_id (process.boot_id, err) == -1 ||
      read_start_time (pid, &process.start_time, err) == -1)
    return -1;
  *ret_process = process;
  return 0;
}

/* Is the pid, running or zombie, still this process?  1 or 0; -1 if that
 * could not be found out. */
static int
matches (const struct lm_process *process, struct lm_error *err)
{
  char boot_id[LM_BOOT_ID_LEN + 1];
  uint64_t start;

  if (read_boot_id (boot_id, err) == -1)
    return -1;
  if (strcmp (boot_id, process->boot_id) != 0)
    return 0;
  if (read_start_time (process->pid, &start, err) == -1)
    return err->kind == LM_ERR_NOT_FOUND ? 0 : -1;
  return start == process->start_time;
}

/* A pidfd of this very process; -1 if it is gone (its kind is then
 * LM_ERR_NOT_FOUND).  The check comes after the open: what the pidfd
 * names can't change any more. */
static int
open_pidfd (const struct lm_process *process, struct lm_error *err)
{
  CLEANUP_CLOSE int fd = -1;
  int same = 0;

  if (process->pid > 0) {
    fd = pidfd_open (process->pid, 0);
    if (fd == -1 && errno != ESRCH)
      return lm_error_errno (err, errno, "process %jd: pidfd_open",
                             (intmax_t) process->pid);
  }
  if (fd != -1)
    same = matches (process, err);
  if (same == -1)
    return -1;
  if (same == 0)
    return lm_error_set (err, LM_ERR_NOT_FOUND, "process %jd has ended",
                         (intmax_t) process->pid);
  return lm_steal_fd (fd);
}

/* A process whose first thread has ended is a zombie in /proc already
 * while its other threads still hold its sockets and locks; the pidfd
 * becomes readable when the last of them is gone. */
bool
lm_process_alive (const struct lm_process *process)
{
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_CLOSE int fd = open_pidfd (process, &err);
  struct pollfd pfd = { .fd = fd, .events = POLLIN };

  if (fd == -1)
    return err.kind != LM_ERR_NOT_FOUND;
  return TEMP_FAILURE_RETRY (poll (&pfd, 1, 0)) == 0;
}

int
lm_process_signal (const struct lm_process *process, int signum,
                   struct lm_error *err)
{
  CLEANUP_CLOSE int fd = open_pidfd (process, err);

  if (fd == -1)
    return -1;
  if (pidfd_send_signal (fd, signum, NULL, 0) == -1) {
    if (errno == ESRCH)
      return lm_error_set (err, LM_ERR_NOT_FOUND, "process %jd has ended",
                           (intmax_t) process->pid);
    return lm_error_errno (err, errno, "process %jd: signal %d",
                           (intmax_t) process->pid, signum);
  }
  return 0;
}

/* Reap it if it is our child; if not, its parent knows how it ended. */
static void
reap (const struct lm_process *process, struct lm_process_end *ret_end)
{
  int status;

  *ret_end = (struct lm_process_end) { .known = false };
  if (TEMP_FAILURE_RETRY (waitpid (process->pid, &status, WNOHANG))
      != process->pid)
    return;
  ret_end->known = true;
  ret_end->exit_code = WIFEXITED (status) ? WEXITSTATUS (status) : -1;
  ret_end->signum = WIFSIGNALED (status) ? WTERMSIG (status) : 0;
}

int
lm_process_wait (const struct lm_process *process, int64_t timeout_ms,
                 bool *ret_ended, struct lm_process_end *ret_end,
                 struct lm_error *err)
{
  CLEANUP_CLOSE int fd = open_pidfd (process, err);
  uint64_t start = lm_clock_monotonic ();
  struct pollfd pfd = { .fd = fd, .events = POLLIN };

  if (fd == -1) {
    if (err->kind != LM_ERR_NOT_FOUND)
      return -1;
    lm_error_clear (err);
    *ret_end = (struct lm_process_end) { .known = false };
    *ret_ended = true;
    return 0;
  }
  for (;;) {
    int64_t left = -1;
    int r;

    if (timeout_ms >= 0) {
      left = timeout_ms -
             (int64_t) ((lm_clock_monotonic () - start) / 1000000);
      if (left < 0)
        left = 0;
      if (left > INT_MAX)
        left = INT_MAX;
    }
    r = poll (&pfd, 1, (int) left);
    if (r == -1 && errno != EINTR)
      return lm_error_errno (err, errno, "process %jd: poll",
                             (intmax_t) process->pid);
    if (r > 0)
      break;
    if (r == 0 && left == 0) {
      *ret_ended = false;
      return 0;
    }
  }
  reap (process, ret_end);
  *ret_ended = true;
  return 0;
}

int
lm_process_stop (const struct lm_process *process, int64_t grace_ms,
                 struct lm_error *err)
{
  static const int signals[] = { SIGTERM, SIGKILL };
  const int64_t waits[] = { grace_ms < 0 ? 0 : grace_ms, 10000 };
  struct lm_process_end end;
  bool ended;
  size_t i;

  for (i = 0; i < 2; i++) {
    if (lm_process_signal (process, signals[i], err) == -1) {
      if (err->kind != LM_ERR_NOT_FOUND)
        return -1;
      lm_error_clear (err);
    }
    if (lm_process_wait (process, waits[i], &ended, &end, err) == -1)
      return -1;
    if (ended)
      return 0;
  }
  return lm_error_set (err, LM_ERR_IO, "process %jd does not end, not even "
                       "by SIGKILL: it is stuck in the kernel",
                       (intmax_t) process->pid);
}

json_t *
lm_process_to_json (const struct lm_process *process)
{
  return json_pack ("{s:I, s:I, s:s}", "pid", (json_int_t) process->pid,
                    "start_time", (json_int_t) process->start_time,
                    "boot_id", process->boot_id);
}

int
lm_process_from_json (const json_t *obj, const char *what,
                      struct lm_process *ret_process, struct lm_error *err)
{
  struct lm_process process = LM_PROCESS_INIT;
  const char *boot_id;
  uint64_t pid;

  if (lm_json_u64 (obj, "pid", INT_MAX, what, &pid, err) == -1 ||
      lm_json_u64 (obj, "start_time", INT64_MAX, what, &process.start_time,
                   err) == -1)
    return -1;
  boot_id = lm_json_string (obj, "boot_id", what, err);
  if (boot_id == NULL)
    return -1;
  if (strlen (boot_id) > LM_BOOT_ID_LEN)
    return lm_corrupt (err, "%s: boot_id is too long", what);
  process.pid = (pid_t) pid;
  memcpy (process.boot_id, boot_id, strlen (boot_id));
  *ret_process = process;
  return 0;
}

/* ---- spawn ---- */

enum step {
  STEP_ORPHANED = -1,           /* no failure: errnum is the pid */
  STEP_FDS = 1, STEP_FOLDER, STEP_SETSID, STEP_EXEC
};

struct child_failure {
  enum step step;
  int errnum;
};

/* What the child needs, all made before the fork. */
struct child_plan {
  const struct lm_spawn *spawn;
  const char *program;
  char *const *envp;
  int null_fd;          /* all of these are close-on-exec */
  int log_fd;           /* -1: null_fd */
  int report_fd;
};

static void __attribute__ ((noreturn))
child_fail (int report_fd, enum step step)
{
  struct child_failure f = { step, errno };

  while (write (report_fd, &f, sizeof f) == -1 && errno == EINTR)
    ;
  _exit (127);
}

/* Every descriptor from 3 on closes at exec. */
static int
close_rest_at_exec (void)
{
  struct rlimit rl;
  rlim_t max = 65536;
  int fd;

  if (syscall (SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
    return 0;
  /* A kernel before 5.11, or valgrind. */
  if (getrlimit (RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur < max)
    max = rl.rlim_cur;
  for (fd = 3; (rlim_t) fd < max; fd++)
    if (fcntl (fd, F_SETFD, FD_CLOEXEC) == -1 && errno != EBADF)
      return -1;
  return 0;
}

/* Give each descriptor its number.  All are first moved above every
 * number that is asked for, so none is overwritten before its turn. */
static int
place_fds (struct child_plan *plan)
{
  const struct lm_spawn *spawn = plan->spawn;
  int moved[LM_SPAWN_FDS_MAX];
  int base = 3;
  int std_fd;
  size_t i;

  for (i = 0; i < spawn->nr_fds; i++)
    if (spawn->fds[i].child_fd >= base)
      base = spawn->fds[i].child_fd + 1;
  for (i = 0; i < spawn->nr_fds; i++) {
    moved[i] = fcntl (spawn->fds[i].fd, F_DUPFD_CLOEXEC, base);
    if (moved[i] == -1)
      return -1;
  }
  if ((plan->null_fd = fcntl (plan->null_fd, F_DUPFD_CLOEXEC, base)) == -1 ||
      (plan->report_fd = fcntl (plan->report_fd, F_DUPFD_CLOEXEC, base))
      == -1)
    return -1;
  if (plan->log_fd != -1 &&
      (plan->log_fd = fcntl (plan->log_fd, F_DUPFD_CLOEXEC, base)) == -1)
    return -1;
  if (close_rest_at_exec () == -1)
    return -1;
  for (std_fd = 0; std_fd < 3; std_fd++) {
    int from = std_fd > 0 && plan->log_fd != -1 ? plan->log_fd
                                                : plan->null_fd;

    if (dup2 (from, std_fd) == -1)
      return -1;
  }
  for (i = 0; i < spawn->nr_fds; i++)
    if (dup2 (moved[i], spawn->fds[i].child_fd) == -1)
      return -1;
  return 0;
}

/* Fork once more and let the process between end.  Returns in the
 * grandchild, when it has another parent: what it asks about its parent's
 * end from then on is not about one that is just ending. */
static void
leave_parent (int report_fd)
{
  const struct timespec moment = { .tv_nsec = 100000 };
  struct child_failure f = { .step = STEP_ORPHANED };
  pid_t middle = getpid (), pid = fork ();

  if (pid == 0) {
    while (getppid () == middle)
      nanosleep (&moment, NULL);
    return;
  }
  if (pid == -1)
    child_fail (report_fd, STEP_SETSID);
  f.errnum = pid;
  while (write (report_fd, &f, sizeof f) == -1 && errno == EINTR)
    ;
  _exit (0);
}

static void __attribute__ ((noreturn))
child_run (struct child_plan *plan)
{
  const struct lm_spawn *spawn = plan->spawn;
  struct sigaction dfl = { .sa_handler = SIG_DFL };
  sigset_t none;
  int report = plan->report_fd;
  int sig;

  if (spawn->orphan)
    leave_parent (report);
  /* Signals are blocked since before the fork: no handler of ours ever
   * runs in the child. */
  for (sig = 1; sig < _NSIG; sig++)
    sigaction (sig, &dfl, NULL);
  if (spawn->detach && setsid () == -1)
    child_fail (report, STEP_SETSID);
  if (spawn->umask != 0)
    umask (spawn->umask);
  if (place_fds (plan) == -1)
    child_fail (plan->report_fd >= 0 ? plan->report_fd : report, STEP_FDS);
  if (spawn->folder && chdir (spawn->folder) == -1)
    child_fail (plan->report_fd, STEP_FOLDER);
  sigemptyset (&none);
  sigprocmask (SIG_SETMASK, &none, NULL);
  execve (plan->program, (char *const *) spawn->argv, plan->envp);
  child_fail (plan->report_fd, STEP_EXEC);
}

static int
report_failure (const struct lm_spawn *spawn, const char *program,
                const struct child_failure *f, struct lm_error *err)
{
  switch (f->step) {
  case STEP_FOLDER:
    return lm_error_errno (err, f->errnum, "start %s: working directory %s",
                           program, spawn->folder);
  case STEP_EXEC:
    return lm_error_errno (err, f->errnum, "start %s", program);
  case STEP_FDS:
  case STEP_SETSID:
  case STEP_ORPHANED:
    break;
  }
  return lm_error_errno (err, f->errnum, "start %s: set up the process",
                         program);
}

/* 1 if the child reported a failure, 0 if exec went through. */
static int
read_report (int fd, struct child_failure *f)
{
  return TEMP_FAILURE_RETRY (read (fd, f, sizeof *f)) == (ssize_t) sizeof *f;
}

int
lm_process_spawn (const struct lm_spawn *spawn,
                  struct lm_process *ret_process, struct lm_error *err)
{
  CLEANUP_FREE char *program = lm_program_find (spawn->argv[0], err);
  CLEANUP_CLOSE int null_fd = -1, log_fd = -1, report_rd = -1,
                    report_wr = -1;
  struct lm_process process;
  struct child_plan plan;
  struct child_failure failure;
  sigset_t all, old;
  int pipe_fds[2], fork_errno;
  bool failed;
  pid_t pid;

  if (program == NULL)
    return -1;
  if (spawn->nr_fds > LM_SPAWN_FDS_MAX)
    return lm_error_set (err, LM_ERR_LIMIT, "start %s: %zu descriptors, the "
                         "limit is %d", program, spawn->nr_fds,
                         LM_SPAWN_FDS_MAX);
  null_fd = open ("/dev/null", O_RDWR | O_CLOEXEC);
  if (null_fd == -1)
    return lm_error_errno (err, errno, "/dev/null");
  if (spawn->log_path) {
    log_fd = open (spawn->log_path,
                   O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY,
                   0600);
    if (log_fd == -1)
      return lm_error_errno (err, errno, "log file %s", spawn->log_path);
  }
  if (pipe2 (pipe_fds, O_CLOEXEC) == -1)
    return lm_error_errno (err, errno, "start %s: pipe", program);
  report_rd = pipe_fds[0];
  report_wr = pipe_fds[1];
  plan = (struct child_plan) {
    .spawn = spawn, .program = program,
    .envp = spawn->envp ? (char *const *) spawn->envp : environ,
    .null_fd = null_fd, .log_fd = log_fd, .report_fd = report_wr,
  };

  sigfillset (&all);
  pthread_sigmask (SIG_SETMASK, &all, &old);
  pid = fork ();
  fork_errno = errno;
  if (pid == 0)
    child_run (&plan);
  pthread_sigmask (SIG_SETMASK, &old, NULL);
  if (pid == -1)
    return lm_error_errno (err, fork_errno, "start %s: fork", program);

  close (lm_steal_fd (report_wr));
  failed = read_report (report_rd, &failure);
  if (failed && failure.step == STEP_ORPHANED) {
    TEMP_FAILURE_RETRY (waitpid (pid, NULL, 0));
    pid = failure.errnum;
    failed = read_report (report_rd, &failure);
  }
  if (failed) {
    if (!spawn->orphan)
      TEMP_FAILURE_RETRY (waitpid (pid, NULL, 0));
    return report_failure (spawn, program, &failure, err);
  }
  if (spawn->orphan) {
    /* If it has ended already, nothing is left to be identified, and
     * START_TIME 0 fits no process. */
    if (lm_process_identify (pid, &process, err) == -1) {
      if (err->kind != LM_ERR_NOT_FOUND)
        return -1;
      lm_error_clear (err);
      process = (struct lm_process) { .pid = pid };
    }
    *ret_process = process;
    return 0;
  }
  /* Even if it has ended already, it is ours to reap: /proc has it. */
  if (lm_process_identify (pid, &process, err) == -1) {
    if (err->kind != LM_ERR_NOT_FOUND)
      kill (pid, SIGKILL);
    TEMP_FAILURE_RETRY (waitpid (pid, NULL, 0));
    return -1;
  }
  lm_debug (LM_DEBUG_MACHINE, "started %s as pid %jd", program,
            (intmax_t) pid);
  *ret_process = process;
  return 0;
}

/* ---- log files ---- */

uint64_t
lm_process_log_size (const char *log_path)
{
  struct stat st;

  return stat (log_path, &st) == 0 && st.st_size > 0 ? (uint64_t) st.st_size
                                                     : 0;
}

bool
lm_process_log_last_line (const char *log_path, uint64_t from, char *line,
                          size_t size)
{
  uint64_t end = lm_process_log_size (log_path);
  CLEANUP_CLOSE int fd = open (log_path, O_RDONLY | O_CLOEXEC);
  char buf[4097];
  size_t start, stop, i;
  ssize_t n;

  if (size > 0)
    line[0] = '\0';
  if (fd == -1 || size == 0 || end <= from)
    return false;
  if (end - from > sizeof buf - 1)
    from = end - (sizeof buf - 1);
  n = TEMP_FAILURE_RETRY (pread (fd, buf, sizeof buf - 1, (off_t) from));
  if (n <= 0)
    return false;
  stop = (size_t) n;
  while (stop > 0 && (unsigned char) buf[stop - 1] <= ' ')
    stop--;
  for (start = stop; start > 0 && buf[start - 1] != '\n'; start--)
    ;
  if (start == stop)
    return false;
  if (stop - start > size - 1)
    stop = start + size - 1;
  for (i = start; i < stop; i++)
    line[i - start] = (unsigned char) buf[i] < ' ' || buf[i] == 0x7f
                      ? '?' : buf[i];
  line[stop - start] = '\0';
  return true;
}
