/* SPDX-License-Identifier: Apache-2.0
 * The one error type; see error.h.
 */
#include <config.h>

#include "common/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/banned.h"

/* Messages carry names from disks and users: keep them on one line and
 * harmless on a terminal. */
static void
make_printable (char *s)
{
  for (; *s; s++)
    if ((unsigned char) *s < 0x20 || *s == 0x7f)
      *s = '?';
}

static void __attribute__ ((format (printf, 6, 0)))
set_va (struct lm_error *err, enum lm_error_kind kind, int errnum,
        const char *file, int line, const char *fmt, va_list ap)
{
  err->kind = kind;
  err->sys_errno = errnum;
  err->file = file;
  err->line = line;
  err->hint[0] = '\0';
  vsnprintf (err->message, sizeof err->message, fmt, ap);
  make_printable (err->message);
}

int
lm_error_set_at (struct lm_error *err, enum lm_error_kind kind, int errnum,
                 const char *file, int line, const char *fmt, ...)
{
  va_list ap;

  va_start (ap, fmt);
  set_va (err, kind, errnum, file, line, fmt, ap);
  va_end (ap);
  return -1;
}

static enum lm_error_kind
kind_of_errno (int errnum)
{
  switch (errnum) {
  case ENOENT: return LM_ERR_NOT_FOUND;
  case EEXIST: return LM_ERR_EXISTS;
  case ENOSPC: case EDQUOT: return LM_ERR_NO_SPACE;
  case ENOMEM: return LM_ERR_NOMEM;
  default: return LM_ERR_IO;
  }
}

int
lm_error_errno_at (struct lm_error *err, int errnum, const char *file,
                   int line, const char *fmt, ...)
{
  va_list ap;
  size_t n;

  va_start (ap, fmt);
  set_va (err, kind_of_errno (errnum), errnum, file, line, fmt, ap);
  va_end (ap);
  n = strlen (err->message);
  snprintf (err->message + n, sizeof err->message - n, ": %s",
            strerrordesc_np (errnum) ? : "unknown error");
  return -1;
}

int
lm_corrupt_at (struct lm_error *err, const char *file, int line,
               const char *fmt, ...)
{
  va_list ap;

  va_start (ap, fmt);
  set_va (err, LM_ERR_CORRUPT, 0, file, line, fmt, ap);
  va_end (ap);
  return -1;
}

int
lm_error_prefix (struct lm_error *err, const char *fmt, ...)
{
  char old[sizeof err->message];
  va_list ap;
  size_t n;

  memcpy (old, err->message, sizeof old);
  va_start (ap, fmt);
  vsnprintf (err->message, sizeof err->message, fmt, ap);
  va_end (ap);
  n = strlen (err->message);
  snprintf (err->message + n, sizeof err->message - n, ": %s", old);
  make_printable (err->message);
  return -1;
}

int
lm_error_hint (struct lm_error *err, const char *fmt, ...)
{
  va_list ap;

  va_start (ap, fmt);
  vsnprintf (err->hint, sizeof err->hint, fmt, ap);
  va_end (ap);
  make_printable (err->hint);
  return -1;
}

void
lm_error_clear (struct lm_error *err)
{
  *err = (struct lm_error) LM_ERROR_INIT;
}

const char *
lm_error_kind_name (enum lm_error_kind kind)
{
  switch (kind) {
  case LM_ERR_NONE: return "none";
  case LM_ERR_IO: return "io";
  case LM_ERR_CORRUPT: return "corrupt";
  case LM_ERR_UNSUPPORTED: return "unsupported";
  case LM_ERR_NOT_FOUND: return "not-found";
  case LM_ERR_EXISTS: return "exists";
  case LM_ERR_LIMIT: return "limit";
  case LM_ERR_USAGE: return "usage";
  case LM_ERR_NOMEM: return "no-memory";
  case LM_ERR_NO_REPOSITORY: return "no-repository";
  case LM_ERR_LOCKED: return "locked";
  case LM_ERR_KEY: return "key";
  case LM_ERR_NO_SPACE: return "no-space";
  case LM_ERR_INTERRUPTED: return "interrupted";
  }
  return "unknown";
}
