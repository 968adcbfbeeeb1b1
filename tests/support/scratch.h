/* SPDX-License-Identifier: Apache-2.0
 * A folder of its own for each test, removed with what is in it.
 */
#ifndef LM_TESTS_SUPPORT_SCRATCH_H
#define LM_TESTS_SUPPORT_SCRATCH_H

/* Make a folder below $TMPDIR (or /tmp); aborts when that fails.  It is
 * removed when the process exits.  The string is static. */
extern const char *lm_scratch_dir (void) __attribute__ ((returns_nonnull));

/* DIR/NAME of the scratch folder; to be freed. */
extern char *lm_scratch_path (const char *fmt, ...)
  __attribute__ ((nonnull, returns_nonnull, format (printf, 1, 2)));

/* From now on in memory if there is room for that: for tests that do
 * nothing but sync.  Before the first use. */
extern void lm_scratch_in_memory (void);

/* Remove a folder and what is in it. */
extern void lm_scratch_remove_tree (const char *path)
  __attribute__ ((nonnull));

/* Remove the folder now: for tests that end by _exit. */
extern void lm_scratch_remove (void);

#endif
