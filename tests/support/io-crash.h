/* SPDX-License-Identifier: Apache-2.0
 *
 * An I/O table that fails on order and remembers what was done, and a
 * model of a disk that forgets: what a power cut leaves of a tree.
 *
 * The model knows only what POSIX promises.  What was written to a file
 * is safe after an fsync of the file, a name after an fsync of its
 * folder; all else may be lost or kept, each piece by itself.  (Real file
 * systems keep order where this one does not; what survives here survives
 * there.)
 *
 * One log at a time.  Calls through lm_io may come from any thread.
 */
#ifndef LM_TESTS_SUPPORT_IO_CRASH_H
#define LM_TESTS_SUPPORT_IO_CRASH_H

#include <stdbool.h>
#include <stddef.h>

/* Put the table in place and log what is changed below ROOT, an existing
 * empty folder. */
extern void io_crash_start (const char *root) __attribute__ ((nonnull));

/* Put the real table back; the log stays. */
extern void io_crash_stop (void);

/* How many changes there were. */
extern size_t io_crash_steps (void);

enum io_loss {
  IO_LOSE_UNSYNCED,     /* all that was not synced */
  IO_LOSE_DATA,         /* only data: names are there, and sizes, with
                         * zeros for what was not synced */
  IO_LOSE_SOME,         /* of each name and each 4 KiB, it depends */
  IO_LOSE_NOTHING,      /* the process was killed */
};

/* Make TARGET, which does not exist, what is left of ROOT when the power
 * fails after STEP changes.  SEED decides for IO_LOSE_SOME.  STEP never
 * goes back.  Returns false, and makes nothing, if the result would be
 * the same as that of an earlier call. */
extern bool io_crash_make (size_t step, enum io_loss loss, unsigned seed,
                           const char *target) __attribute__ ((nonnull));

/* Forget everything. */
extern void io_crash_release (void);

/* The CALL-th call of any member from now on (1 is the next) fails with
 * ERRNUM and does nothing; close closes nevertheless.  With ERRNUM 0 a
 * read or write is cut short instead.  CALL 0: never. */
extern void io_crash_fail (size_t call, int errnum);

/* Calls since the last io_crash_fail, and the name of the one that
 * failed (a static string), or NULL if none did. */
extern size_t io_crash_calls (void);
extern const char *io_crash_failed (void);

#endif
