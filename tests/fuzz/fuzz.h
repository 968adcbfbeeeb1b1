/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzz targets: one for each decoder of bytes that others may have made.
 *
 * All are in one program, twice: `replay` runs targets over files and is
 * built by any compiler; `fuzzer` is the same with libFuzzer's main and
 * the decoders built for it, its target named by LM_FUZZ_TARGET.  (A
 * program for each would be two dozen link lines that differ in a name.)
 *
 * A target must not leak, hang, or depend on what ran before; what it
 * finds wrong ends in abort.
 */
#ifndef LM_TESTS_FUZZ_FUZZ_H
#define LM_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "formats/native/keys.h"
#include "formats/store.h"

/* Write one seed of the corpus. */
typedef void (*fuzz_emit_fn) (const char *name, const void *data,
                              size_t len);

struct fuzz_target {
  const char *name;
  void (*run) (const uint8_t *data, size_t len);
  /* Make well-formed inputs, with the encoders where there are such. */
  void (*seed) (fuzz_emit_fn emit);
};

/* Each file's targets, ended by one without a name. */
extern const struct fuzz_target fuzz_glue_targets[];
extern const struct fuzz_target fuzz_image_targets[];
extern const struct fuzz_target fuzz_json_targets[];
extern const struct fuzz_target fuzz_key_targets[];
extern const struct fuzz_target fuzz_object_targets[];
extern const struct fuzz_target fuzz_overlay_targets[];
extern const struct fuzz_target fuzz_table_targets[];
extern const struct fuzz_target fuzz_text_targets[];

/* NULL when there is none.  Target number NR, or NULL beyond the last. */
extern const struct fuzz_target *fuzz_target_find (const char *name);
extern const struct fuzz_target *fuzz_target_nr (size_t nr);

/* Abort, saying what did not hold. */
#define fuzz_expect(condition) \
  ((condition) ? (void) 0 : fuzz_fail (__FILE__, __LINE__, #condition))
extern void fuzz_fail (const char *file, int line, const char *what)
  __attribute__ ((noreturn));

/* A failure left an error that can be shown: a kind, and one line of
 * text. */
extern void fuzz_expect_error (const struct lm_error *err);

/* Keys of a repository whose id is 16 bytes "R"; static.  Without
 * encryption what is sealed is only summed, so that a target can make
 * bytes that authenticate. */
extern const struct lm_keys *fuzz_keys (int encrypted);

/* A store in memory whose only object is NAME with these bytes. */
extern struct lm_store *fuzz_store (const char *name, const void *data,
                                    size_t len);

/* A NUL-terminated copy, to be freed. */
extern char *fuzz_string (const uint8_t *data, size_t len);

#endif
