/* SPDX-License-Identifier: Apache-2.0
 *
 * A secret as text that is printed and typed in again (native.md section
 * 5.2, "The paper form").
 *
 * Hex rather than a denser alphabet or words: in an emergency anybody can
 * undo it by hand, without this program.  (Considered: base32, which saves
 * a fifth of the typing.)  A line is short and has its own check digits,
 * so that a mistake is found where it was made.
 */
#ifndef LM_FORMATS_NATIVE_PAPER_KEY_H
#define LM_FORMATS_NATIVE_PAPER_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "formats/native/native-wire.h"

#define LM_PAPER_SECRET_MAX 1024
#define LM_PAPER_LINES_MAX 132          /* of 8 bytes */
#define LM_PAPER_LINE_LEN 34            /* characters, newline included */
#define LM_PAPER_TEXT_MAX (LM_PAPER_LINES_MAX * LM_PAPER_LINE_LEN + 1)

enum lm_paper_kind {
  LM_PAPER_MASTER_KEY = 1,
  LM_PAPER_KEY_FILE = 2,
};

struct lm_paper_key {
  enum lm_paper_kind kind;
  uint8_t repository[LM_NAME_ID_LEN];
  uint32_t epoch;                       /* 0 for a key file */
  size_t len;                           /* bytes of secret */
  uint8_t secret[LM_PAPER_SECRET_MAX];
};

/* The key lines of PAPER, which is valid, as one text.  Wipe it. */
extern void lm_paper_key_format (const struct lm_paper_key *paper,
                                 char ret_text[LM_PAPER_TEXT_MAX])
  __attribute__ ((nonnull));

/* What was typed so far.  All zero: nothing.  Holds a secret: wipe it. */
struct lm_paper_reader {
  uint8_t bytes[LM_PAPER_LINES_MAX * 8];
  bool have[LM_PAPER_LINES_MAX];
  unsigned lines;                       /* how many there are; 0: unknown */
};

/* Take one line of LEN bytes.  What is not a key line is passed over.
 * LM_ERR_USAGE when the line is mistyped; the message names it.  It can
 * then be given again. */
extern int lm_paper_reader_line (struct lm_paper_reader *reader,
                                 const char *line, size_t len,
                                 struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* The number of the first line that is missing; 0: complete. */
extern unsigned
lm_paper_reader_missing (const struct lm_paper_reader *reader)
  __attribute__ ((nonnull));

/* LM_ERR_USAGE when lines are missing, all of which are named, or do not
 * belong together. */
extern int lm_paper_reader_finish (const struct lm_paper_reader *reader,
                                   struct lm_paper_key *ret_paper,
                                   struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* A whole text, line by line.  Of several mistyped lines the first is the
 * message, and the hint has the others. */
extern int lm_paper_key_parse (const char *text, size_t len,
                               struct lm_paper_key *ret_paper,
                               struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
