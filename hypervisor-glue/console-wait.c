/* SPDX-License-Identifier: Apache-2.0
 * Waiting for a text on a serial log; see console-wait.h.
 *
 * The log is polled: it grows by at most some KiB a second, lives on any
 * file system, and 30 ms of delay are nothing beside a boot.
 */
#include <config.h>

#include "hypervisor-glue/console-wait.h"

#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/random.h"
#include "common/banned.h"

#define POLL_US 30000
#define ASK_RUNNING_NS UINT64_C (500000000)

/* A line longer than this is matched in pieces that overlap by half. */
#define LINE_MAX_LEN 8192

enum escape_state { ESC_NONE, ESC_START, ESC_CSI, ESC_STRING,
                    ESC_STRING_END };

/* The reader of one log. */
struct reader {
  const regex_t *regex;
  enum escape_state escape;
  char line[LINE_MAX_LEN + 1];
  size_t len;
  bool dirty;                   /* grew since it was last matched */
  char *last_line;              /* of LM_CONSOLE_LINE_MAX bytes */
};

static void
keep_line (struct reader *r)
{
  size_t len = r->len, i;

  while (len > 0 && r->line[len - 1] == ' ')
    len--;
  if (len == 0)
    return;
  if (len > LM_CONSOLE_LINE_MAX - 1)
    len = LM_CONSOLE_LINE_MAX - 1;
  for (i = 0; i < len; i++)
    r->last_line[i] = (unsigned char) r->line[i] < ' ' ? ' ' : r->line[i];
  r->last_line[len] = '\0';
}

static bool
match (struct reader *r)
{
  if (!r->dirty)
    return false;
  r->dirty = false;
  r->line[r->len] = '\0';
  keep_line (r);
  return regexec (r->regex, r->line, 0, NULL, 0) == 0;
}

/* Follow escape sequences; true if C is part of one. */
static bool
in_escape (struct reader *r, unsigned char c)
{
  switch (r->escape) {
  case ESC_NONE:
    if (c != 0x1b)
      return false;
    r->escape = ESC_START;
    return true;
  case ESC_START:
    if (c == '[')
      r->escape = ESC_CSI;
    else if (c == ']' || c == 'P' || c == 'X' || c == '^' || c == '_')
      r->escape = ESC_STRING;
    else if (c < 0x20 || c > 0x2f)      /* 0x20-0x2f: more to come */
      r->escape = ESC_NONE;
    return true;
  case ESC_CSI:
    if (c >= 0x40 && c <= 0x7e)
      r->escape = ESC_NONE;
    return true;
  case ESC_STRING:
    if (c == 0x07 || c == '\n')         /* a line end: it was garbage */
      r->escape = ESC_NONE;
    else if (c == 0x1b)
      r->escape = ESC_STRING_END;
    return true;
  case ESC_STRING_END:
    r->escape = ESC_NONE;
    return true;
  }
  return false;
}

/* True as soon as a line matches. */
static bool
feed (struct reader *r, const char *data, size_t len)
{
  size_t i;

  for (i = 0; i < len; i++) {
    unsigned char c = (unsigned char) data[i];

    if (in_escape (r, c))
      continue;
    if (c == '\n' || c == '\r') {
      r->dirty = true;          /* an empty line can be looked for too */
      if (match (r))
        return true;
      r->len = 0;
      continue;
    }
    if ((c < ' ' && c != '\t') || c == 0x7f)
      continue;
    if (r->len == LINE_MAX_LEN) {
      if (match (r))
        return true;
      memmove (r->line, r->line + LINE_MAX_LEN / 2, LINE_MAX_LEN / 2);
      r->len = LINE_MAX_LEN / 2;
    }
    r->line[r->len++] = (char) c;
    r->dirty = true;
  }
  return match (r);
}

/* Read what is new: 1 if the text was seen, 0 if not, -1. */
static int
read_on (struct reader *r, int *fd, const char *path, uint64_t *offset,
         struct lm_error *err)
{
  char buf[16384];

  if (*fd == -1) {
    *fd = open (path, O_RDONLY | O_CLOEXEC);
    if (*fd == -1 && errno == ENOENT)
      return 0;
    if (*fd == -1)
      return lm_error_errno (err, errno, "serial log %s", path);
  }
  for (;;) {
    ssize_t n = TEMP_FAILURE_RETRY (pread (*fd, buf, sizeof buf,
                                           (off_t) *offset));

    if (n == -1)
      return lm_error_errno (err, errno, "serial log %s: read", path);
    if (n == 0)
      return 0;
    *offset += (uint64_t) n;
    if (feed (r, buf, (size_t) n))
      return 1;
  }
}

static int
compile (regex_t *regex, const char *text, struct lm_error *err)
{
  char why[128];
  int r;

  r = regcomp (regex, text, REG_EXTENDED | REG_NOSUB);
  if (r == 0)
    return 0;
  regerror (r, regex, why, sizeof why);
  return lm_error_set (err, LM_ERR_USAGE, "'%s' is not a regular "
                       "expression: %s", text, why);
}

int
lm_console_check_regex (const char *text, struct lm_error *err)
{
  regex_t regex;

  if (compile (&regex, text, err) == -1)
    return -1;
  regfree (&regex);
  return 0;
}

static int
wait_loop (const struct lm_console_wait *wait, struct reader *reader,
           enum lm_console_outcome *ret_outcome, struct lm_error *err)
{
  CLEANUP_CLOSE int fd = -1;
  uint64_t start = lm_clock_monotonic (), asked = 0;
  uint64_t offset = wait->from;

  for (;;) {
    uint64_t now = lm_clock_monotonic ();
    bool runs = true;
    int r;

    if (wait->cancel && *wait->cancel)
      return lm_error_set (err, LM_ERR_INTERRUPTED, "interrupted while "
                           "waiting for '%s' on the console", wait->regex);
    /* Asked before the log is read, so its last words are not missed. */
    if (wait->running && now - asked >= ASK_RUNNING_NS) {
      runs = wait->running (wait->opaque);
      asked = now;
    }
    r = read_on (reader, &fd, wait->log_path, &offset, err);
    if (r == -1)
      return -1;
    if (r == 1)
      *ret_outcome = LM_CONSOLE_SEEN;
    else if (!runs)
      *ret_outcome = LM_CONSOLE_ENDED;
    else if (wait->timeout_ms >= 0 &&
             now - start >= (uint64_t) wait->timeout_ms * 1000000)
      *ret_outcome = LM_CONSOLE_TIMEOUT;
    else {
      usleep (POLL_US);
      continue;
    }
    return 0;
  }
}

int
lm_console_wait_for (const struct lm_console_wait *wait,
                     struct lm_console_result *ret_result,
                     struct lm_error *err)
{
  CLEANUP_FREE struct reader *reader = NULL;
  struct lm_console_result result = { .line = "" };
  regex_t regex;
  int r;

  if (compile (&regex, wait->regex, err) == -1)
    return -1;
  reader = calloc (1, sizeof *reader);
  if (reader == NULL) {
    regfree (&regex);
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  }
  reader->regex = &regex;
  reader->last_line = result.line;
  r = wait_loop (wait, reader, &result.outcome, err);
  regfree (&regex);
  if (r == 0)
    *ret_result = result;
  return r;
}
