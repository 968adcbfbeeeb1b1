/* SPDX-License-Identifier: Apache-2.0
 * Starting, knowing and ending processes.
 */
#include <config.h>

#include "common/process.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/io.h"

static char dir[64];
static char log_path[96];

static void
make_dir (void)
{
  snprintf (dir, sizeof dir, "/tmp/lm-process.XXXXXX");
  cr_assert_not_null (mkdtemp (dir));
  snprintf (log_path, sizeof log_path, "%s/log", dir);
}

static int
remove_one (const char *path, const struct stat *st, int flag,
            struct FTW *ftw)
{
  (void) st, (void) flag, (void) ftw;
  return remove (path);
}

static void
remove_dir (void)
{
  nftw (dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite (process, .init = make_dir, .fini = remove_dir, .timeout = 60);

/* Run a shell command with its output in the log; returns the log. */
static char *
run_sh (struct lm_spawn *spawn, const char *command,
        struct lm_process_end *end)
{
  const char *const argv[] = { "sh", "-c", command, NULL };
  struct lm_error err = LM_ERROR_INIT;
  struct lm_process process;
  bool ended;
  char *text;
  size_t len;

  spawn->argv = argv;
  spawn->log_path = log_path;
  cr_assert (eq (int, lm_process_spawn (spawn, &process, &err), 0), "%s",
             err.message);
  cr_assert (eq (int, lm_process_wait (&process, 20000, &ended, end, &err),
                 0), "%s", err.message);
  cr_assert (ended);
  cr_assert (eq (int, lm_file_read (AT_FDCWD, log_path, 65536, &text, &len,
                                    &err), 0), "%s", err.message);
  return text;
}

static struct lm_process
start_sleep (const char *seconds)
{
  const char *const argv[] = { "sleep", seconds, NULL };
  struct lm_spawn spawn = { .argv = argv, .detach = true };
  struct lm_error err = LM_ERROR_INIT;
  struct lm_process process = LM_PROCESS_INIT;

  cr_assert (eq (int, lm_process_spawn (&spawn, &process, &err), 0), "%s",
             err.message);
  return process;
}

Test (process, a_missing_program_is_an_error_at_once)
{
  const char *const argv[] = { "no-such-program-lm", NULL };
  struct lm_spawn spawn = { .argv = argv };
  struct lm_error err = LM_ERROR_INIT;
  struct lm_process process;

  cr_assert (eq (int, lm_process_spawn (&spawn, &process, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_NOT_FOUND));
  cr_expect (eq (str, err.message,
                 (char *) "program no-such-program-lm is not installed"));
}

Test (process, a_program_that_cannot_be_executed_is_an_error_at_once)
{
  char path[128], want[256];
  const char *const argv[] = { path, NULL };
  struct lm_spawn spawn = { .argv = argv };
  struct lm_error err = LM_ERROR_INIT;
  struct lm_process process;
  FILE *fp;

  snprintf (path, sizeof path, "%s/junk", dir);
  fp = fopen (path, "w");
  fputs ("\177ELFjunk", fp);
  fclose (fp);
  chmod (path, 0755);
  cr_assert (eq (int, lm_process_spawn (&spawn, &process, &err), -1));
  snprintf (want, sizeof want, "start %s: Exec format error", path);
  cr_expect (eq (str, err.message, want));
}

Test (process, a_missing_folder_is_named)
{
  const char *const argv[] = { "true", NULL };
  struct lm_spawn spawn = { .argv = argv, .folder = "/no/such/folder" };
  struct lm_error err = LM_ERROR_INIT;
  struct lm_process process;

  cr_assert (eq (int, lm_process_spawn (&spawn, &process, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_NOT_FOUND));
  cr_expect_not_null (strstr (err.message, "working directory /no/such/"));
}

Test (process, output_goes_to_the_log_and_its_last_line_is_found)
{
  struct lm_spawn spawn = { .umask = 077 };
  struct lm_process_end end;
  char line[64];
  uint64_t before;
  char *text;

  text = run_sh (&spawn, "echo out; echo first error >&2", &end);
  cr_expect (eq (str, text, (char *) "out\nfirst error\n"));
  cr_expect (end.known && end.exit_code == 0 && end.signum == 0);
  free (text);

  /* Appended to; only what is new is looked at. */
  before = lm_process_log_size (log_path);
  cr_expect (eq (u64, before, 16));
  cr_expect_not (lm_process_log_last_line (log_path, before, line,
                                           sizeof line));
  text = run_sh (&spawn, "printf 'a\\033[1mb\\n\\n \\n' >&2; exit 3", &end);
  free (text);
  cr_expect (eq (int, end.exit_code, 3));
  cr_expect (lm_process_log_last_line (log_path, before, line,
                                       sizeof line));
  cr_expect (eq (str, line, (char *) "a?[1mb"));
  cr_expect (lm_process_log_last_line (log_path, 0, line, 4));
  cr_expect (eq (str, line, (char *) "a?["));
}

Test (process, the_child_holds_only_the_descriptors_it_was_given)
{
  int a[2], b[2];
  struct lm_spawn_fd fds[2];
  struct lm_spawn spawn = { .fds = fds, .nr_fds = 2 };
  struct lm_process_end end;
  int stray = open ("/dev/null", O_RDONLY); /* without O_CLOEXEC */
  char *command, *text;
  char want[64];

  cr_assert (stray >= 3);
  cr_assert (eq (int, pipe (a), 0));
  cr_assert (eq (int, pipe (b), 0));
  cr_assert (eq (int, (int) write (a[1], "A\n", 2), 2));
  cr_assert (eq (int, (int) write (b[1], "B\n", 2), 2));
  /* Each gets the number that the other one has here. */
  fds[0] = (struct lm_spawn_fd) { a[0], b[0] };
  fds[1] = (struct lm_spawn_fd) { b[0], a[0] };
  cr_assert (asprintf (&command, "read x </proc/$$/fd/%d; "
                       "read y </proc/$$/fd/%d; echo $x $y; "
                       "ls -v /proc/$$/fd; :", b[0], a[0]) > 0);
  text = run_sh (&spawn, command, &end);
  snprintf (want, sizeof want, "A B\n0\n1\n2\n%d\n%d\n",
            a[0] < b[0] ? a[0] : b[0], a[0] < b[0] ? b[0] : a[0]);
  cr_expect (eq (str, text, want));
  free (text);
  free (command);
}

Test (process, the_environment_and_the_folder_are_as_asked)
{
  const char *const envp[] = { "ONLY=this one", NULL };
  struct lm_spawn spawn = { .envp = envp, .folder = "/usr", .umask = 027 };
  struct lm_process_end end;
  char *text = run_sh (&spawn, "echo $ONLY-$HOME; pwd; umask", &end);

  cr_expect (eq (str, text, (char *) "this one-\n/usr\n0027\n"));
  free (text);
}

Test (process, the_child_starts_with_default_signals)
{
  struct lm_spawn spawn = { .detach = true };
  struct lm_process_end end;
  sigset_t set;
  char *text;

  signal (SIGPIPE, SIG_IGN);
  sigemptyset (&set);
  sigaddset (&set, SIGTERM);
  sigprocmask (SIG_BLOCK, &set, NULL);
  text = run_sh (&spawn, "kill -PIPE $$; echo survived", &end);
  cr_expect (eq (str, text, (char *) ""));
  cr_expect (eq (int, end.signum, SIGPIPE));
  cr_expect (eq (int, end.exit_code, -1));
  free (text);
  text = run_sh (&spawn, "kill -TERM $$; echo survived", &end);
  cr_expect (eq (int, end.signum, SIGTERM));
  free (text);
  /* Ours are as they were. */
  sigprocmask (SIG_BLOCK, NULL, &set);
  cr_expect (sigismember (&set, SIGTERM));
}

Test (process, a_detached_one_leads_its_own_session)
{
  struct lm_process process = start_sleep ("60");
  struct lm_error err = LM_ERROR_INIT;

  cr_expect (eq (int, getsid (process.pid), process.pid));
  cr_expect (lm_process_alive (&process));
  cr_expect (eq (int, lm_process_stop (&process, 5000, &err), 0));
  cr_expect_not (lm_process_alive (&process));
  /* Ending what has ended is fine; signalling it is not found. */
  cr_expect (eq (int, lm_process_stop (&process, 0, &err), 0));
  cr_expect (eq (int, lm_process_signal (&process, SIGTERM, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_NOT_FOUND));
}

/* PR_SET_PDEATHSIG, which nbdkit 1.32 always sets, must have nothing to
 * do with us. */
Test (process, an_orphan_is_no_child_of_ours_but_can_be_stopped)
{
  const char *const argv[] = { "sh", "-c", "echo $PPID; exec sleep 60",
                               NULL };
  struct lm_spawn spawn = { .argv = argv, .log_path = log_path,
                            .detach = true, .orphan = true };
  struct lm_error err = LM_ERROR_INIT;
  struct lm_process process = LM_PROCESS_INIT;
  char line[32], ours[32];
  unsigned i;

  cr_assert (eq (int, lm_process_spawn (&spawn, &process, &err), 0), "%s",
             err.message);
  for (i = 0; i < 60000; i++) {
    if (lm_process_log_last_line (log_path, 0, line, sizeof line))
      break;
    usleep (1000);
  }
  snprintf (ours, sizeof ours, "%d", getpid ());
  cr_expect (ne (str, line, ours));
  cr_expect (eq (int, waitpid (process.pid, NULL, WNOHANG), -1));
  cr_expect (lm_process_alive (&process));
  cr_expect (eq (int, getsid (process.pid), process.pid));
  cr_expect (eq (int, lm_process_stop (&process, 5000, &err), 0));
  cr_expect_not (lm_process_alive (&process));
}

Test (process, an_orphan_that_cannot_be_executed_is_an_error_at_once)
{
  char path[128];
  const char *const argv[] = { path, NULL };
  struct lm_spawn spawn = { .argv = argv, .orphan = true };
  struct lm_error err = LM_ERROR_INIT;
  struct lm_process process;
  FILE *fp;

  snprintf (path, sizeof path, "%s/junk", dir);
  fp = fopen (path, "w");
  fputs ("\177ELFjunk", fp);
  fclose (fp);
  chmod (path, 0755);
  cr_assert (eq (int, lm_process_spawn (&spawn, &process, &err), -1));
  cr_expect_not_null (strstr (err.message, "Exec format error"));
}

Test (process, an_orphan_that_ends_at_once_has_ended)
{
  const char *const argv[] = { "true", NULL };
  struct lm_spawn spawn = { .argv = argv, .orphan = true };
  struct lm_error err = LM_ERROR_INIT;
  struct lm_process process;
  struct lm_process_end end;
  bool ended = false;

  cr_assert (eq (int, lm_process_spawn (&spawn, &process, &err), 0));
  cr_assert (eq (int, lm_process_wait (&process, 5000, &ended, &end, &err),
                 0));
  cr_expect (ended);
  cr_expect_not (end.known);
}

Test (process, a_recycled_pid_is_never_signalled)
{
  struct lm_process process = start_sleep ("60");
  struct lm_process later = process, other_boot = process;
  struct lm_process_end end;
  struct lm_error err = LM_ERROR_INIT;
  bool ended = false;

  later.start_time++;
  other_boot.boot_id[0] = process.boot_id[0] == 'a' ? 'b' : 'a';
  cr_expect_not (lm_process_alive (&later));
  cr_expect_not (lm_process_alive (&other_boot));
  cr_expect (eq (int, lm_process_signal (&later, SIGKILL, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_NOT_FOUND));
  cr_expect (eq (int, lm_process_signal (&other_boot, SIGKILL, &err), -1));
  cr_expect (eq (int, lm_process_stop (&later, 0, &err), 0));
  cr_expect (eq (int, lm_process_wait (&later, -1, &ended, &end, &err), 0));
  cr_expect (ended && !end.known);
  cr_expect (lm_process_alive (&process));
  cr_expect (eq (int, lm_process_stop (&process, 5000, &err), 0));
}

Test (process, waiting_has_a_limit_and_tells_how_it_ended)
{
  struct lm_process process = start_sleep ("60");
  struct lm_process_end end;
  struct lm_error err = LM_ERROR_INIT;
  bool ended = true;

  cr_assert (eq (int, lm_process_wait (&process, 0, &ended, &end, &err), 0));
  cr_expect_not (ended);
  cr_assert (eq (int, lm_process_wait (&process, 50, &ended, &end, &err),
                 0));
  cr_expect_not (ended);
  cr_assert (eq (int, lm_process_signal (&process, SIGINT, &err), 0));
  cr_assert (eq (int, lm_process_wait (&process, 20000, &ended, &end, &err),
                 0));
  cr_expect (ended && end.known && end.signum == SIGINT);
}

Test (process, stop_is_firm_with_one_that_ignores_sigterm)
{
  const char *const argv[] = {
    "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done",
    NULL
  };
  struct lm_spawn spawn = { .argv = argv, .log_path = log_path,
                            .detach = true };
  struct lm_error err = LM_ERROR_INIT;
  struct lm_process process;

  cr_assert (eq (int, lm_process_spawn (&spawn, &process, &err), 0));
  while (lm_process_log_size (log_path) == 0)
    usleep (1000);
  cr_expect (eq (int, lm_process_stop (&process, 100, &err), 0), "%s",
             err.message);
  cr_expect_not (lm_process_alive (&process));
}

Test (process, a_hostile_command_name_does_not_confuse_the_start_time)
{
  char path[128], link[128];
  const char *const argv[] = { link, "60", NULL };
  struct lm_spawn spawn = { .argv = argv };
  struct lm_error err = LM_ERROR_INIT;
  struct lm_process process, again;
  char *sleep_path = lm_program_find ("sleep", &err);

  cr_assert_not_null (sleep_path);
  snprintf (path, sizeof path, "%s", sleep_path);
  snprintf (link, sizeof link, "%s/x) Z 1 1 1", dir);
  cr_assert (eq (int, symlink (path, link), 0));
  cr_assert (eq (int, lm_process_spawn (&spawn, &process, &err), 0));
  cr_expect (lm_process_alive (&process));
  cr_assert (eq (int, lm_process_identify (process.pid, &again, &err), 0));
  cr_expect (eq (u64, again.start_time, process.start_time));
  cr_expect (process.start_time > 1);
  cr_expect (eq (int, lm_process_stop (&process, 5000, &err), 0));
  free (sleep_path);
}

static void *
sleep_long (void *opaque)
{
  (void) opaque;
  sleep (60);
  return NULL;
}

Test (process, it_lives_as_long_as_its_last_thread)
{
  struct lm_process process;
  struct lm_error err = LM_ERROR_INIT;
  char path[64], *text = NULL;
  size_t len;
  pid_t pid = fork ();

  if (pid == 0) {
    pthread_t thread;

    pthread_create (&thread, NULL, sleep_long, NULL);
    pthread_exit (NULL);
  }
  cr_assert (pid > 0);
  cr_assert (eq (int, lm_process_identify (pid, &process, &err), 0));
  snprintf (path, sizeof path, "/proc/%d/stat", (int) pid);
  do {
    free (text);
    cr_assert (eq (int, lm_file_read (AT_FDCWD, path, 4096, &text, &len,
                                      &err), 0));
  } while (strstr (text, ") Z ") == NULL);
  free (text);
  cr_expect (lm_process_alive (&process));
  cr_expect (eq (int, lm_process_stop (&process, 5000, &err), 0));
  cr_expect_not (lm_process_alive (&process));
}

Test (process, what_cannot_be_found_out_counts_as_alive)
{
  struct lm_process process = start_sleep ("60");
  struct lm_error err = LM_ERROR_INIT;
  struct rlimit before, none;

  cr_assert (eq (int, getrlimit (RLIMIT_NOFILE, &before), 0));
  none = before;
  none.rlim_cur = 0;
  cr_assert (eq (int, setrlimit (RLIMIT_NOFILE, &none), 0));
  bool alive = lm_process_alive (&process);
  int sent = lm_process_signal (&process, SIGKILL, &err);
  cr_assert (eq (int, setrlimit (RLIMIT_NOFILE, &before), 0));
  cr_expect (alive);
  cr_expect (eq (int, sent, -1));
  cr_expect (eq (int, err.kind, LM_ERR_IO));
  cr_expect (eq (int, lm_process_stop (&process, 5000, &err), 0));
}

Test (process, json_keeps_the_identity)
{
  struct lm_error err = LM_ERROR_INIT;
  struct lm_process self, again = LM_PROCESS_INIT;
  json_t *v;

  cr_assert (eq (int, lm_process_identify (getpid (), &self, &err), 0));
  v = lm_process_to_json (&self);
  cr_assert_not_null (v);
  cr_assert (eq (int, lm_process_from_json (v, "vm.json", &again, &err), 0));
  cr_expect (lm_process_alive (&again));
  json_object_set_new (v, "pid", json_integer (-1));
  cr_expect (eq (int, lm_process_from_json (v, "vm.json", &again, &err),
                 -1));
  cr_expect (eq (int, err.kind, LM_ERR_CORRUPT));
  json_object_set_new (v, "pid", json_integer (1));
  json_object_set_new (v, "boot_id", json_string (
    "0123456789012345678901234567890123456"));
  cr_expect (eq (int, lm_process_from_json (v, "vm.json", &again, &err),
                 -1));
  json_decref (v);
}

Test (process, nobody_has_pid_zero)
{
  struct lm_process none = LM_PROCESS_INIT;
  struct lm_error err = LM_ERROR_INIT;

  cr_expect_not (lm_process_alive (&none));
  cr_expect (eq (int, lm_process_signal (&none, 0, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_NOT_FOUND));
  cr_expect (eq (int, lm_process_identify (0, &none, &err), -1));
}
