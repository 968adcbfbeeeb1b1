/* SPDX-License-Identifier: Apache-2.0
 *
 * The one error type.
 *
 * A function that can fail takes `struct lm_error *err` last and never
 * NULL, and returns 0 or -1, or a pointer or NULL.  The struct belongs to
 * the caller, usually on its stack; nothing in it is on the heap, so an
 * error can't leak and works in any thread.  Whoever detects the failure
 * fills it in once; callers on the way up may prepend context.  Library
 * code never prints: each program's report.c does.
 */
#ifndef LM_COMMON_ERROR_H
#define LM_COMMON_ERROR_H

#include <stdarg.h>
#include <stddef.h>

/* The kind tells the caller what can be done about it. */
enum lm_error_kind {
  LM_ERR_NONE = 0,
  LM_ERR_IO,            /* the system or a peer failed; maybe retry */
  LM_ERR_CORRUPT,       /* stored bytes are not what was written */
  LM_ERR_UNSUPPORTED,   /* valid, but this program can't do it */
  LM_ERR_NOT_FOUND,     /* the named thing does not exist */
  LM_ERR_EXISTS,        /* the named thing exists already */
  LM_ERR_LIMIT,         /* over a documented limit */
  LM_ERR_USAGE,         /* the caller's (a person's) mistake */
  LM_ERR_NOMEM,
  LM_ERR_NO_REPOSITORY, /* there is no repository at that location */
  LM_ERR_LOCKED,        /* in use by another */
  LM_ERR_KEY,           /* wrong passphrase or key, or none given */
  LM_ERR_NO_SPACE,      /* ENOSPC, EDQUOT */
  LM_ERR_INTERRUPTED,   /* a person or a signal asked to stop */
};

struct lm_error {
  enum lm_error_kind kind;
  int sys_errno;        /* 0, or the errno of the failed system call */
  const char *file;     /* where it was detected; static strings */
  int line;
  char message[1024];   /* one line, no newline at its end */
  char hint[384];       /* what a person can do about it; may be empty */
};

#define LM_ERROR_INIT { .kind = LM_ERR_NONE }

/* Set *err and return -1, so that callers can `return lm_error_set (…)`. */
#define lm_error_set(err, kind, ...) \
  lm_error_set_at ((err), (kind), 0, __FILE__, __LINE__, __VA_ARGS__)

/* For a failed system call: appends ": <strerror>", keeps ERRNUM, and
 * picks the kind (IO, NOT_FOUND, EXISTS, NO_SPACE, NOMEM) from it. */
#define lm_error_errno(err, errnum, ...) \
  lm_error_errno_at ((err), (errnum), __FILE__, __LINE__, __VA_ARGS__)

/* Every detection of bad stored data goes through here: one breakpoint. */
#define lm_corrupt(err, ...) \
  lm_corrupt_at ((err), __FILE__, __LINE__, __VA_ARGS__)

extern int lm_error_set_at (struct lm_error *err, enum lm_error_kind kind,
                            int errnum, const char *file, int line,
                            const char *fmt, ...)
  __attribute__ ((nonnull, format (printf, 6, 7)));
extern int lm_error_errno_at (struct lm_error *err, int errnum,
                              const char *file, int line,
                              const char *fmt, ...)
  __attribute__ ((nonnull, format (printf, 5, 6)));
extern int lm_corrupt_at (struct lm_error *err, const char *file, int line,
                          const char *fmt, ...)
  __attribute__ ((nonnull, format (printf, 4, 5)));

/* "PREFIX: old message".  Returns -1 for convenience. */
extern int lm_error_prefix (struct lm_error *err, const char *fmt, ...)
  __attribute__ ((nonnull, format (printf, 2, 3)));

/* Replace the hint.  Returns -1 for convenience. */
extern int lm_error_hint (struct lm_error *err, const char *fmt, ...)
  __attribute__ ((nonnull, format (printf, 2, 3)));

/* Forget what *err says, ready for another attempt. */
extern void lm_error_clear (struct lm_error *err) __attribute__ ((nonnull));

/* A short stable name of a kind ("corrupt"), for --json and tests. */
extern const char *lm_error_kind_name (enum lm_error_kind kind);

#endif
