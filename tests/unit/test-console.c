/* SPDX-License-Identifier: Apache-2.0
 * Waiting for a text on a serial log, and talking over a serial port.
 */
#include <config.h>

#include "hypervisor-glue/console-talk.h"
#include "hypervisor-glue/console-wait.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "common/random.h"
#include "tests/support/scratch.h"

/* ---- waiting ---- */

static char *log_path;

static void
append (const char *text, size_t len)
{
  int fd = open (log_path, O_WRONLY | O_APPEND | O_CREAT, 0600);

  cr_assert (fd >= 0);
  cr_assert (eq (sz, (size_t) write (fd, text, len), len));
  close (fd);
}

static void
make_log (void)
{
  log_path = lm_scratch_path ("serial.log");
}

TestSuite (console_wait, .init = make_log, .timeout = 60);

static bool
never (void *opaque)
{
  (void) opaque;
  return false;
}

Test (console_wait, finds_what_a_person_would_read)
{
  static const struct { const char *log, *regex, *line; } rows[] = {
    { "boot\r\n\r\nDebian GNU/Linux 12 web01 ttyS0\r\n\r\nweb01 login: ",
      "^[a-z0-9]+ login: $", "web01 login:" },
    { "\033[2J\033[01;01H\033[0;1mweb\033[0m01 lo\033]0;title\007gin: ",
      "^web01 login:", "web01 login:" },
    { "\033(B\033Pq...\033\\ok\r\n", "^ok$", "ok" },
    { "10%\r50%\r100%\r\n", "^50%$", "50%" },
    { "a\001\002\000b\177c\tend\n", "abc.end", "abc end" },
    { "one\ntwo\nthree\n", "^t(wo|hree)$", "two" },
    { "x\n\ny", "^$", "x" },
    { "\033]unterminated\nlogin: ", "login: ", "login:" },
    { "gr\303\274\303\237e\n", "gr.*e", "gr\303\274\303\237e" },
  };
  size_t i;

  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct lm_console_wait wait = { .log_path = log_path, .timeout_ms = 0,
                                    .regex = rows[i].regex };
    struct lm_console_result result;
    struct lm_error err = LM_ERROR_INIT;
    /* One row has a NUL byte in it. */
    size_t len = i == 4 ? 13 : strlen (rows[i].log);

    unlink (log_path);
    append (rows[i].log, len);
    cr_assert (eq (int, lm_console_wait_for (&wait, &result, &err), 0));
    cr_expect (eq (int, result.outcome, LM_CONSOLE_SEEN), "row %zu", i);
    cr_expect (eq (str, result.line, (char *) rows[i].line));
  }
}

Test (console_wait, gives_up_and_shows_the_last_line)
{
  struct lm_console_wait wait = { .log_path = log_path, .timeout_ms = 50,
                                  .regex = "login:" };
  struct lm_console_result result;
  struct lm_error err = LM_ERROR_INIT;

  cr_assert (eq (int, lm_console_wait_for (&wait, &result, &err), 0));
  cr_expect (eq (int, result.outcome, LM_CONSOLE_TIMEOUT));
  cr_expect (eq (str, result.line, (char *) ""));

  append ("login: old\nKernel panic\033[31m - not syncing\n  \n\n", 47);
  wait.from = 11;
  cr_assert (eq (int, lm_console_wait_for (&wait, &result, &err), 0));
  cr_expect (eq (int, result.outcome, LM_CONSOLE_TIMEOUT));
  cr_expect (eq (str, result.line, (char *) "Kernel panic - not syncing"));

  /* A machine that ended is not waited for. */
  wait.timeout_ms = -1;
  wait.running = never;
  cr_assert (eq (int, lm_console_wait_for (&wait, &result, &err), 0));
  cr_expect (eq (int, result.outcome, LM_CONSOLE_ENDED));
  /* But its last words count. */
  append ("Power down\n", 11);
  wait.regex = "^Power down$";
  cr_assert (eq (int, lm_console_wait_for (&wait, &result, &err), 0));
  cr_expect (eq (int, result.outcome, LM_CONSOLE_SEEN));
}

static void *
write_slowly (void *opaque)
{
  static const char text[] = "\r\nweb01 lo\033[1mgin: ";
  size_t i;

  (void) opaque;
  for (i = 0; i < sizeof text - 1; i++) {
    usleep (5000);
    append (text + i, 1);
  }
  return NULL;
}

Test (console_wait, follows_a_log_that_appears_and_grows)
{
  struct lm_console_wait wait = { .log_path = log_path, .timeout_ms = 30000,
                                  .regex = "^web01 login: $" };
  struct lm_console_result result;
  struct lm_error err = LM_ERROR_INIT;
  pthread_t thread;

  cr_assert (eq (int, pthread_create (&thread, NULL, write_slowly, NULL),
                 0));
  cr_assert (eq (int, lm_console_wait_for (&wait, &result, &err), 0));
  cr_expect (eq (int, result.outcome, LM_CONSOLE_SEEN));
  pthread_join (thread, NULL);
}

Test (console_wait, an_endless_line_is_still_searched)
{
  struct lm_console_wait wait = { .log_path = log_path, .timeout_ms = 0,
                                  .regex = "needle" };
  struct lm_console_result result;
  struct lm_error err = LM_ERROR_INIT;
  char *hay = malloc (100000);
  size_t at;

  cr_assert_not_null (hay);
  /* Across every kind of boundary between the pieces. */
  for (at = 8180; at < 8200; at++) {
    memset (hay, 'x', 100000);
    memcpy (hay + at, "needle", 6);
    memcpy (hay + 60000 + at, "needle", 6);
    unlink (log_path);
    append (hay, 100000);
    cr_assert (eq (int, lm_console_wait_for (&wait, &result, &err), 0));
    cr_expect (eq (int, result.outcome, LM_CONSOLE_SEEN), "at %zu", at);
  }
  free (hay);
}

Test (console_wait, a_bad_expression_is_refused)
{
  struct lm_console_wait wait = { .log_path = log_path, .regex = "a[" };
  struct lm_console_result result;
  struct lm_error err = LM_ERROR_INIT;

  cr_assert (eq (int, lm_console_wait_for (&wait, &result, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_USAGE));
  cr_expect_not_null (strstr (err.message,
                              "'a[' is not a regular expression: "));
  cr_expect (eq (int, lm_console_check_regex ("a*b", &err), 0));
  cr_expect (eq (int, lm_console_check_regex ("(", &err), -1));
}

Test (console_wait, can_be_cancelled)
{
  static volatile sig_atomic_t cancel = 1;
  struct lm_console_wait wait = { .log_path = log_path, .timeout_ms = -1,
                                  .regex = "x", .cancel = &cancel };
  struct lm_console_result result;
  struct lm_error err = LM_ERROR_INIT;

  cr_assert (eq (int, lm_console_wait_for (&wait, &result, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_INTERRUPTED));
}

/* ---- talking ---- */

static char *socket_path;
static int listener;

static void
make_port (void)
{
  struct sockaddr_un addr = { .sun_family = AF_UNIX };

  socket_path = lm_scratch_path ("serial");
  cr_assert (strlen (socket_path) < sizeof addr.sun_path);
  memcpy (addr.sun_path, socket_path, strlen (socket_path) + 1);
  listener = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  cr_assert (eq (int, bind (listener, (struct sockaddr *) &addr,
                            sizeof addr), 0));
  cr_assert (eq (int, listen (listener, 5), 0));
}

TestSuite (console_talk, .init = make_port, .timeout = 60);

struct talker {
  struct lm_console_talk talk;
  enum lm_console_end end;
  struct lm_error err;
  int result;
  pthread_t thread;
};

static void *
run_talk (void *opaque)
{
  struct talker *t = opaque;

  t->result = lm_console_talk (&t->talk, &t->end, &t->err);
  return NULL;
}

/* Talk in a thread; returns the machine's end of the port. */
static int
start_talk (struct talker *t, int in_fd, int out_fd)
{
  int port;

  *t = (struct talker) {
    .talk = { .socket_path = socket_path, .in_fd = in_fd, .out_fd = out_fd },
  };
  cr_assert (eq (int, pthread_create (&t->thread, NULL, run_talk, t), 0));
  port = accept (listener, NULL, NULL);
  cr_assert (port >= 0);
  return port;
}

static void
expect_read (int fd, const char *want)
{
  char buf[256];
  size_t n = 0, len = strlen (want);

  while (n < len) {
    ssize_t r = read (fd, buf + n, len - n);

    cr_assert (r > 0, "after %zu bytes: %d", n, errno);
    n += (size_t) r;
  }
  buf[n] = '\0';
  cr_expect (eq (str, buf, (char *) want));
}

Test (console_talk, a_terminal_is_raw_until_the_escape_key)
{
  struct talker t;
  struct termios before, now;
  int master, slave, port;
  char text[16];

  cr_assert (eq (int, openpty (&master, &slave, NULL, NULL, NULL), 0));
  cr_assert (eq (int, tcgetattr (slave, &before), 0));
  port = start_talk (&t, slave, slave);
  cr_assert (eq (sz, (size_t) write (port, "web01 login: ", 13), 13));
  expect_read (master, "web01 login: ");
  cr_assert (eq (int, tcgetattr (slave, &now), 0));
  cr_expect (eq (int, now.c_lflag & (ICANON | ECHO | ISIG), 0));
  /* Ctrl-C, Ctrl-D and return are the guest's. */
  cr_assert (eq (sz, (size_t) write (master, "root\r\003\004", 7), 7));
  expect_read (port, "root\r\003\004");
  cr_assert (eq (sz, (size_t) write (master, "x\035y", 3), 3));
  pthread_join (t.thread, NULL);
  cr_expect (eq (int, t.result, 0), "%s", t.err.message);
  cr_expect (eq (int, t.end, LM_CONSOLE_DETACHED));
  cr_assert (eq (int, tcgetattr (slave, &now), 0));
  cr_expect (eq (int, now.c_lflag, before.c_lflag));
  /* What was typed before the key arrived, what came after did not. */
  cr_expect (eq (int, (int) read (port, text, sizeof text), 1));
  cr_expect (eq (chr, text[0], 'x'));
  cr_expect (eq (int, (int) read (port, text, sizeof text), 0));
}

Test (console_talk, piped_input_is_delivered_to_its_end)
{
  struct talker t;
  int in[2], out[2], port;
  char *text = malloc (300001);
  size_t i;

  cr_assert_not_null (text);
  for (i = 0; i < 300000; i++)
    text[i] = (char) ('a' + i % 26);
  text[100] = LM_CONSOLE_ESCAPE;        /* means nothing in a pipe */
  cr_assert (eq (int, pipe (in), 0));
  cr_assert (eq (int, pipe (out), 0));
  port = start_talk (&t, in[0], out[1]);
  cr_assert (eq (sz, (size_t) write (in[1], text, 60000), 60000));
  close (in[1]);
  /* The guest takes its time, as one at 115200 baud does. */
  usleep (700000);
  for (i = 0; i < 60000;) {
    char buf[4096];
    ssize_t n = read (port, buf, sizeof buf);

    cr_assert (n > 0);
    cr_assert (eq (int, memcmp (buf, text + i, (size_t) n), 0));
    i += (size_t) n;
  }
  /* And its answer is shown. */
  cr_assert (eq (sz, (size_t) write (port, "done\r\n", 6), 6));
  pthread_join (t.thread, NULL);
  cr_expect (eq (int, t.result, 0), "%s", t.err.message);
  cr_expect (eq (int, t.end, LM_CONSOLE_INPUT_ENDED));
  expect_read (out[0], "done\r\n");
  free (text);
}

Test (console_talk, a_machine_that_ends_closes_it)
{
  struct talker t;
  int in[2], out[2], port;

  cr_assert (eq (int, pipe (in), 0));
  cr_assert (eq (int, pipe (out), 0));
  port = start_talk (&t, in[0], out[1]);
  cr_assert (eq (sz, (size_t) write (port, "bye", 3), 3));
  close (port);
  pthread_join (t.thread, NULL);
  cr_expect (eq (int, t.result, 0));
  cr_expect (eq (int, t.end, LM_CONSOLE_CLOSED));
  expect_read (out[0], "bye");
}

Test (console_talk, two_at_once_are_refused)
{
  struct talker t;
  int in[2], out[2];
  struct lm_console_talk second;
  enum lm_console_end end;
  struct lm_error err = LM_ERROR_INIT;
  int port;

  cr_assert (eq (int, pipe (in), 0));
  cr_assert (eq (int, pipe (out), 0));
  port = start_talk (&t, in[0], out[1]);
  /* What shows something has the lock. */
  cr_assert (eq (sz, (size_t) write (port, "x", 1), 1));
  expect_read (out[0], "x");
  second = t.talk;
  cr_expect (eq (int, lm_console_talk (&second, &end, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_LOCKED), "%s", err.message);
  close (port);
  pthread_join (t.thread, NULL);
}

Test (console_talk, can_be_cancelled_and_the_terminal_is_restored)
{
  static volatile sig_atomic_t cancel;
  struct talker t = { .talk = { .cancel = &cancel } };
  struct termios before, now;
  int master, slave;

  cr_assert (eq (int, openpty (&master, &slave, NULL, NULL, NULL), 0));
  cr_assert (eq (int, tcgetattr (slave, &before), 0));
  t.talk.socket_path = socket_path;
  t.talk.in_fd = t.talk.out_fd = slave;
  cr_assert (eq (int, pthread_create (&t.thread, NULL, run_talk, &t), 0));
  usleep (50000);
  cancel = 1;
  pthread_join (t.thread, NULL);
  cr_expect (eq (int, t.result, -1));
  cr_expect (eq (int, t.err.kind, LM_ERR_INTERRUPTED));
  cr_assert (eq (int, tcgetattr (slave, &now), 0));
  cr_expect (eq (int, now.c_lflag, before.c_lflag));
}

Test (console_talk, nobody_there_is_not_found)
{
  struct lm_console_talk talk = { .socket_path = "/no/such/socket" };
  enum lm_console_end end;
  struct lm_error err = LM_ERROR_INIT;

  cr_expect (eq (int, lm_console_talk (&talk, &end, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_NOT_FOUND));
}
