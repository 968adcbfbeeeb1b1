/* SPDX-License-Identifier: Apache-2.0
 * Errors, warnings, remarks and exit codes; see report.h.
 */
#include <config.h>

#include "mount/report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "mount/progress.h"
#include "common/banned.h"

enum lm_exit
lm_exit_of (enum lm_error_kind kind)
{
  switch (kind) {
  case LM_ERR_NONE: return LM_EXIT_OK;
  case LM_ERR_USAGE: return LM_EXIT_USAGE;
  case LM_ERR_NO_REPOSITORY: return LM_EXIT_NO_REPOSITORY;
  case LM_ERR_LOCKED: return LM_EXIT_LOCKED;
  case LM_ERR_KEY: return LM_EXIT_KEY;
  case LM_ERR_INTERRUPTED: return LM_EXIT_INTERRUPTED;
  case LM_ERR_IO: case LM_ERR_CORRUPT: case LM_ERR_UNSUPPORTED:
  case LM_ERR_NOT_FOUND: case LM_ERR_EXISTS: case LM_ERR_LIMIT:
  case LM_ERR_NOMEM: case LM_ERR_NO_SPACE:
    return LM_EXIT_FAILED;
  }
  return LM_EXIT_FAILED;
}

static void
print_json_error (const struct lm_error *err, enum lm_exit code)
{
  CLEANUP_JSON json_t *v =
    json_pack ("{s:{s:s, s:o, s:o*, s:i}}", "error",
               "kind", lm_error_kind_name (err->kind),
               "message", lm_json_text (err->message),
               "hint", err->hint[0] ? lm_json_text (err->hint) : NULL,
               "exit_code", (int) code);
  CLEANUP_FREE char *text = v ? json_dumps (v, JSON_COMPACT) : NULL;

  if (text)
    fprintf (stderr, "%s\n", text);
  else
    fprintf (stderr, "{\"error\":{\"kind\":\"%s\",\"exit_code\":%d}}\n",
             lm_error_kind_name (err->kind), (int) code);
}

enum lm_exit
lm_report_error (const struct lm_cli *cli, const struct lm_error *err)
{
  enum lm_exit code = lm_exit_of (err->kind);

  lm_progress_interrupt ();
  if (cli->json) {
    print_json_error (err, code);
    return code;
  }
  fprintf (stderr, "livemount: %s\n", err->message);
  if (err->hint[0])
    fprintf (stderr, "  hint: %s\n", err->hint);
  if (cli->verbose && err->file)
    fprintf (stderr, "  detected at %s:%d\n", err->file, err->line);
  return code;
}

static void __attribute__ ((format (printf, 2, 0)))
say (const char *prefix, const char *fmt, va_list ap)
{
  lm_progress_interrupt ();
  fputs (prefix, stderr);
  vfprintf (stderr, fmt, ap);
  fputc ('\n', stderr);
}

void
lm_report_warning (const struct lm_cli *cli, const char *fmt, ...)
{
  va_list ap;

  (void) cli;
  va_start (ap, fmt);
  say ("livemount: warning: ", fmt, ap);
  va_end (ap);
}

void
lm_report_note (const struct lm_cli *cli, const char *fmt, ...)
{
  va_list ap;

  if (cli->quiet || cli->json)
    return;
  va_start (ap, fmt);
  say ("", fmt, ap);
  va_end (ap);
}

void
lm_report_detail (const struct lm_cli *cli, const char *fmt, ...)
{
  va_list ap;

  if (!cli->verbose)
    return;
  va_start (ap, fmt);
  say ("", fmt, ap);
  va_end (ap);
}

int
lm_report_json (json_t *value, struct lm_error *err)
{
  CLEANUP_JSON json_t *v = value;

  if (v == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory, or a text that "
                         "is not UTF-8, while making JSON");
  if (json_dumpf (v, stdout, JSON_INDENT (2) | JSON_ENSURE_ASCII) == -1)
    return lm_error_errno (err, errno, "standard output");
  putchar ('\n');
  return 0;
}

int
lm_report_flush (struct lm_error *err)
{
  if (fflush (stdout) == EOF || ferror (stdout))
    return lm_error_errno (err, errno ? errno : EIO, "standard output");
  return 0;
}

int
lm_report_confirm (const struct lm_cli *cli, const char *question,
                   struct lm_error *err)
{
  CLEANUP_FREE char *line = NULL;
  size_t alloc = 0;

  if (cli->json || !isatty (STDIN_FILENO) || !isatty (STDERR_FILENO)) {
    lm_error_set (err, LM_ERR_USAGE, "not done without a confirmation: %s",
                  question);
    lm_error_hint (err, "add --yes if it is meant");
    return -1;
  }
  fprintf (stderr, "%s [y/N] ", question);
  if (getline (&line, &alloc, stdin) == -1)
    return 0;
  return line[0] == 'y' || line[0] == 'Y';
}
