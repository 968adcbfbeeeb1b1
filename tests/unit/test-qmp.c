/* SPDX-License-Identifier: Apache-2.0
 * The QMP client against a scripted peer, mostly a hostile one.
 */
#include <config.h>

#include "hypervisor-glue/qmp.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/random.h"

#define GREETING "{\"QMP\": {\"version\": {\"qemu\": {\"major\": 7, " \
  "\"minor\": 2, \"micro\": 22}}, \"capabilities\": []}}\r\n"

/* Read a line if WANT is set (it must contain that), wait, then send. */
struct step {
  const char *want;
  int delay_ms;
  const char *send;
};

struct peer {
  int fd;
  const struct step *steps;     /* ends with an all-zero one: close */
  const char *flood;            /* then sent again and again, if set */
  pthread_t thread;
};

static void
read_line (int fd, const char *want)
{
  char line[4096];
  size_t n = 0;

  while (n < sizeof line - 1 && read (fd, line + n, 1) == 1)
    if (line[n++] == '\n')
      break;
  line[n] = '\0';
  cr_expect_not_null (strstr (line, want), "got '%s', wanted '%s'", line,
                      want);
}

static void *
run_peer (void *opaque)
{
  struct peer *p = opaque;
  const struct step *s;

  for (s = p->steps; s->want || s->send || s->delay_ms; s++) {
    if (s->want)
      read_line (p->fd, s->want);
    usleep ((unsigned) s->delay_ms * 1000);
    if (s->send)
      send (p->fd, s->send, strlen (s->send), MSG_NOSIGNAL);
  }
  while (p->flood && send (p->fd, p->flood, strlen (p->flood),
                           MSG_NOSIGNAL) > 0)
    ;
  close (p->fd);
  return NULL;
}

static int
start_peer (struct peer *p, const struct step *steps, const char *flood)
{
  int fds[2];

  cr_assert (eq (int, socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
                                  fds), 0));
  *p = (struct peer) { .fd = fds[1], .steps = steps, .flood = flood };
  cr_assert (eq (int, pthread_create (&p->thread, NULL, run_peer, p), 0));
  return fds[0];
}

#define HELLO { NULL, 0, GREETING }, \
  { "{\"execute\":\"qmp_capabilities\",\"id\":1}", 0, \
    "{\"return\": {}, \"id\": 1}\r\n" }

TestSuite (qmp, .timeout = 60);

Test (qmp, negotiates_and_runs_commands)
{
  static const struct step steps[] = {
    HELLO,
    { "{\"arguments\":{\"a\":\"b\\\"\"},\"execute\":\"query-status\","
      "\"id\":2}", 0, "{\"id\": 2, \"return\": {\"status\": \"running\"}}\n"
    },
    { "{\"execute\":\"next\",\"id\":3}", 0, "{\"id\":3,\"return\":[1]}\n" },
    { NULL, 0, NULL }
  };
  struct peer peer;
  struct lm_error err = LM_ERROR_INIT;
  struct lm_qmp *qmp = lm_qmp_from_fd (start_peer (&peer, steps, NULL),
                                       "peer", 10000, &err);
  json_t *v;

  cr_assert_not_null (qmp, "%s", err.message);
  v = lm_qmp_command (qmp, "query-status",
                      json_pack ("{s:s}", "a", "b\""), 10000, &err);
  cr_assert_not_null (v, "%s", err.message);
  cr_expect (eq (str, (char *) lm_json_string_or_null (v, "status"),
                 "running"));
  json_decref (v);
  v = lm_qmp_command (qmp, "next", NULL, 10000, &err);
  cr_assert (eq (int, json_typeof (v), JSON_ARRAY));
  json_decref (v);
  lm_qmp_free (qmp);
  pthread_join (peer.thread, NULL);
}

Test (qmp, keeps_events_that_come_between)
{
  static const struct step steps[] = {
    HELLO,
    { "stop", 0, "{\"event\": \"STOP\", \"timestamp\": {}}\n"
      "{\"return\": {}, \"id\": 2}\n{\"event\": \"RESUME\"}\n" },
    { NULL, 50, "{\"event\": \"SHUT" },
    { NULL, 50, "DOWN\"}\n" },
    { NULL, 0, NULL }
  };
  static const char *const names[] = { "STOP", "RESUME", "SHUTDOWN" };
  struct peer peer;
  struct lm_error err = LM_ERROR_INIT;
  struct lm_qmp *qmp = lm_qmp_from_fd (start_peer (&peer, steps, NULL),
                                       "peer", 10000, &err);
  json_t *v;
  size_t i;

  v = lm_qmp_command (qmp, "stop", NULL, 10000, &err);
  cr_assert_not_null (v, "%s", err.message);
  json_decref (v);
  for (i = 0; i < 3; i++) {
    cr_assert (eq (int, lm_qmp_next_event (qmp, 10000, &v, &err), 0));
    cr_assert_not_null (v);
    cr_expect (eq (str, (char *) lm_json_string_or_null (v, "event"),
                   (char *) names[i]));
    json_decref (v);
  }
  cr_expect (eq (int, lm_qmp_next_event (qmp, 10000, &v, &err), -1));
  cr_expect (eq (str, err.message, (char *) "peer: the hypervisor closed "
                 "the connection"));
  lm_qmp_free (qmp);
  pthread_join (peer.thread, NULL);
}

Test (qmp, no_event_is_no_error)
{
  static const struct step steps[] = {
    HELLO, { NULL, 300, NULL }, { NULL, 0, NULL }
  };
  struct peer peer;
  struct lm_error err = LM_ERROR_INIT;
  struct lm_qmp *qmp = lm_qmp_from_fd (start_peer (&peer, steps, NULL),
                                       "peer", 10000, &err);
  json_t *v = (json_t *) &err;

  cr_assert (eq (int, lm_qmp_next_event (qmp, 20, &v, &err), 0));
  cr_expect_null (v);
  lm_qmp_free (qmp);
  pthread_join (peer.thread, NULL);
}

Test (qmp, a_refusal_has_qemus_words_and_the_connection_lives)
{
  static const struct step steps[] = {
    HELLO,
    { "cont", 0, "{\"id\": 2, \"error\": {\"class\": \"GenericError\", "
      "\"desc\": \"Resetting the \\u001b[31mVirtual Machine is required\"}}"
      "\n" },
    { "nosuch", 0, "{\"id\": 3, \"error\": {\"class\": \"CommandNotFound\", "
      "\"desc\": \"The command nosuch has not been found\"}}\n" },
    { "odd", 0, "{\"id\": 4, \"error\": 5}\n" },
    { "none", 0, "{\"id\": 5}\n" },
    { "good", 0, "{\"id\": 6, \"return\": {}}\n" },
    { NULL, 0, NULL }
  };
  static const struct {
    const char *command, *message;
    enum lm_error_kind kind;
  } rows[] = {
    { "cont", "peer: cont: Resetting the ?[31mVirtual Machine is required",
      LM_ERR_IO },
    { "nosuch", "peer: nosuch: The command nosuch has not been found",
      LM_ERR_UNSUPPORTED },
    { "odd", "peer: odd: refused without a reason", LM_ERR_IO },
    { "none", "peer: the answer to none has neither a return value nor an "
      "error", LM_ERR_CORRUPT },
  };
  struct peer peer;
  struct lm_error err = LM_ERROR_INIT;
  struct lm_qmp *qmp = lm_qmp_from_fd (start_peer (&peer, steps, NULL),
                                       "peer", 10000, &err);
  json_t *v;
  size_t i;

  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    v = lm_qmp_command (qmp, rows[i].command, NULL, 10000, &err);
    cr_assert_null (v);
    cr_expect (eq (int, err.kind, (int) rows[i].kind));
    cr_expect (eq (str, err.message, (char *) rows[i].message));
  }
  v = lm_qmp_command (qmp, "good", NULL, 10000, &err);
  cr_expect_not_null (v);
  json_decref (v);
  lm_qmp_free (qmp);
  pthread_join (peer.thread, NULL);
}

Test (qmp, a_late_answer_is_not_taken_for_the_next_one)
{
  static const struct step steps[] = {
    HELLO,
    { "slow", 200, "{\"id\": 2, \"return\": \"slow\"}\n" },
    { "fast", 0, "{\"id\": 3, \"return\": \"fast\"}\n" },
    { NULL, 0, NULL }
  };
  struct peer peer;
  struct lm_error err = LM_ERROR_INIT;
  struct lm_qmp *qmp = lm_qmp_from_fd (start_peer (&peer, steps, NULL),
                                       "peer", 10000, &err);
  json_t *v;

  v = lm_qmp_command (qmp, "slow", NULL, 20, &err);
  cr_expect_null (v);
  cr_expect (eq (str, err.message, (char *) "peer: no answer to slow within "
                 "20 ms"));
  v = lm_qmp_command (qmp, "fast", NULL, 10000, &err);
  cr_assert_not_null (v, "%s", err.message);
  cr_expect (eq (str, (char *) json_string_value (v), "fast"));
  json_decref (v);
  lm_qmp_free (qmp);
  pthread_join (peer.thread, NULL);
}

/* What follows the greeting or replaces it, and what is said about it. */
Test (qmp, hostile_greetings_end_in_errors)
{
  static const struct {
    struct step steps[4];
    enum lm_error_kind kind;
    const char *message;
  } rows[] = {
    { { { NULL, 1, NULL } }, LM_ERR_IO,
      "peer: the hypervisor closed the connection" },
    { { { NULL, 0, "SSH-2.0-OpenSSH_9.2p1\r\n" } }, LM_ERR_CORRUPT, NULL },
    { { { NULL, 0, "\n\r\n[]\n" } }, LM_ERR_CORRUPT,
      "peer: not a JSON object" },
    { { { NULL, 0, "{\"event\":\"x\"}\n" } }, LM_ERR_CORRUPT,
      "peer: what answers does not speak QMP" },
    { { { NULL, 0, "{\"QMP\":1}\n" } }, LM_ERR_CORRUPT,
      "peer: what answers does not speak QMP" },
    { { { NULL, 0, GREETING }, { "qmp_cap", 0, "{\"id\":1,\"id\":1}\n" } },
      LM_ERR_CORRUPT, NULL },
    { { { NULL, 0, GREETING }, { "qmp_cap", 0,
        "{\"error\":{\"class\":\"GenericError\",\"desc\":\"no\"}}\n" } },
      LM_ERR_IO, "peer: qmp_capabilities: no" },
    { { { NULL, 0, GREETING }, { "qmp_cap", 0, "{\"id\":1,\"retu" } },
      LM_ERR_IO, "peer: the hypervisor closed the connection" },
  };
  size_t i;

  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct peer peer;
    struct lm_error err = LM_ERROR_INIT;
    struct lm_qmp *qmp;

    qmp = lm_qmp_from_fd (start_peer (&peer, rows[i].steps, NULL), "peer",
                          10000, &err);
    cr_assert_null (qmp, "row %zu", i);
    cr_expect (eq (int, err.kind, (int) rows[i].kind), "row %zu: %s", i,
               err.message);
    if (rows[i].message)
      cr_expect (eq (str, err.message, (char *) rows[i].message));
    pthread_join (peer.thread, NULL);
  }
}

Test (qmp, a_silent_peer_is_given_up)
{
  static const struct step steps[] = { { NULL, 300, NULL },
                                       { NULL, 0, NULL } };
  struct peer peer;
  struct lm_error err = LM_ERROR_INIT;

  cr_assert_null (lm_qmp_from_fd (start_peer (&peer, steps, NULL), "peer",
                                  30, &err));
  cr_expect (eq (int, err.kind, LM_ERR_LOCKED));
  pthread_join (peer.thread, NULL);
}

Test (qmp, an_endless_line_is_cut_off)
{
  static const struct step steps[] = { HELLO, { NULL, 0, NULL } };
  struct peer peer;
  struct lm_error err = LM_ERROR_INIT;
  struct lm_qmp *qmp = lm_qmp_from_fd (
    start_peer (&peer, steps, "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["), "peer",
    10000, &err);

  cr_assert_not_null (qmp, "%s", err.message);
  cr_assert_null (lm_qmp_command (qmp, "x", NULL, 50000, &err));
  cr_expect (eq (str, err.message,
                 (char *) "peer: a message of more than 1048576 bytes"));
  /* There is nothing to go on from. */
  cr_assert_null (lm_qmp_command (qmp, "x", NULL, 50000, &err));
  cr_expect (eq (str, err.message,
                 (char *) "peer: the connection has failed before"));
  lm_qmp_free (qmp);
  pthread_join (peer.thread, NULL);
}

Test (qmp, a_flood_of_events_meets_the_time_limit)
{
  static const struct step steps[] = { HELLO, { NULL, 0, NULL } };
  struct peer peer;
  struct lm_error err = LM_ERROR_INIT;
  struct lm_qmp *qmp = lm_qmp_from_fd (
    start_peer (&peer, steps, "{\"event\":\"A\"}\n{\"id\":1,\"return\":0}\n"),
    "peer", 10000, &err);
  uint64_t start = lm_clock_monotonic ();
  json_t *v;
  int n = 0;

  cr_assert_null (lm_qmp_command (qmp, "x", NULL, 200, &err));
  cr_expect (eq (str, err.message,
                 (char *) "peer: no answer to x within 200 ms"));
  cr_expect (lm_clock_monotonic () - start < UINT64_C (5000000000));
  /* No more of them are kept than the limit. */
  while (n < 1000 && lm_qmp_next_event (qmp, 0, &v, &err) == 0 && v) {
    json_decref (v);
    n++;
  }
  cr_expect (n >= LM_QMP_EVENTS_MAX);
  lm_qmp_free (qmp);
  pthread_join (peer.thread, NULL);
}

Test (qmp, a_peer_that_reads_nothing_is_given_up)
{
  static const struct step steps[] = { HELLO, { NULL, 400, NULL },
                                       { NULL, 0, NULL } };
  struct peer peer;
  struct lm_error err = LM_ERROR_INIT;
  struct lm_qmp *qmp = lm_qmp_from_fd (start_peer (&peer, steps, NULL),
                                       "peer", 10000, &err);
  char *big = malloc (4 << 20);

  cr_assert_not_null (big);
  memset (big, 'x', (4 << 20) - 1);
  big[(4 << 20) - 1] = '\0';
  cr_assert_null (lm_qmp_command (qmp, "x", json_pack ("{s:s}", "big", big),
                                  50, &err));
  cr_expect (eq (str, err.message, (char *) "peer: does not take commands"));
  free (big);
  lm_qmp_free (qmp);
  pthread_join (peer.thread, NULL);
}

Test (qmp, nobody_listening_is_not_found)
{
  struct lm_error err = LM_ERROR_INIT;

  cr_assert_null (lm_qmp_connect ("/no/such/socket", 100, &err));
  cr_expect (eq (int, err.kind, LM_ERR_NOT_FOUND));
  cr_assert_null (lm_qmp_connect ("relative", 100, &err));
  cr_expect (eq (int, err.kind, LM_ERR_USAGE));
}
