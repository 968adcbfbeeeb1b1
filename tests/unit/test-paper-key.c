/* SPDX-License-Identifier: Apache-2.0
 * Paper keys: against a page computed by another program, and every
 * mistake that a person makes when typing.
 */
#include <config.h>

#include "formats/native/paper-key.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char page[] =
  "   1:  0101 2000 1011 1213   9d41\n"
  "   2:  1415 1617 1819 1a1b   a9f6\n"
  "   3:  1c1d 1e1f 0000 0000   ddb2\n"
  "   4:  4041 4243 4445 4647   0fdd\n"
  "   5:  4849 4a4b 4c4d 4e4f   ceec\n"
  "   6:  5051 5253 5455 5657   dc0d\n"
  "   7:  5859 5a5b 5c5d 5e5f   b8a2\n"
  "   8:  dead fde6 277c cf99   a199\n";

static struct lm_error err;

static struct lm_paper_key
known_key (void)
{
  struct lm_paper_key k = { .kind = LM_PAPER_MASTER_KEY, .len = 32 };
  size_t i;

  for (i = 0; i < sizeof k.repository; i++)
    k.repository[i] = 0x10 + i;
  for (i = 0; i < k.len; i++)
    k.secret[i] = 0x40 + i;
  return k;
}

static void
expect_same (const char *text, const struct lm_paper_key *want)
{
  struct lm_paper_key found;

  lm_error_clear (&err);
  cr_assert (eq (int, lm_paper_key_parse (text, strlen (text), &found, &err),
                 0), "%s", err.message);
  cr_expect (eq (int, found.kind, want->kind));
  cr_expect (eq (sz, found.len, want->len));
  cr_expect (memcmp (found.repository, want->repository, 16) == 0);
  cr_expect (memcmp (found.secret, want->secret, want->len) == 0);
}

static void
expect_bad (const char *text, const char *message, const char *hint)
{
  struct lm_paper_key found;

  lm_error_clear (&err);
  cr_assert (eq (int, lm_paper_key_parse (text, strlen (text), &found, &err),
                 -1));
  cr_expect (eq (int, err.kind, LM_ERR_USAGE));
  cr_expect (eq (str, err.message, (char *) message));
  cr_expect (eq (str, err.hint, (char *) hint));
}

/* The page with the line that begins with NUMBER replaced. */
static char *
with_line (const char *number, const char *line)
{
  const char *p = strstr (page, number);
  char *r;

  cr_assert_not_null (p);
  if (asprintf (&r, "%.*s%s%s", (int) (p - page), page, line,
                strchr (p, '\n')) == -1)
    abort ();
  return r;
}

static void
expect_bad_line (const char *number, const char *line, const char *message)
{
  char *text = with_line (number, line);

  expect_bad (text, message, "");
  free (text);
}

Test (paper_key, the_known_page)
{
  const struct lm_paper_key k = known_key ();
  char text[LM_PAPER_TEXT_MAX];

  lm_paper_key_format (&k, text);
  cr_expect (eq (str, text, (char *) page));
  expect_same (page, &k);
}

Test (paper_key, how_it_is_typed_does_not_matter)
{
  const struct lm_paper_key k = known_key ();

  expect_same ("A page of text\n2026-11-22 and 12 things\n"
               "8:DEADFDE6277CCF99A199\r\n"
               "7: 5859-5a5b-5c5d-5e5f.b8a2\n"
               " 6 :5O51 5253 5455 5657 dcOd\n"
               "\t5:\t4849 4a4b 4c4d 4e4f ceec\n\n"
               "4: 4o41 4243 4445 4647 0fdd\n"
               "3: Ic1d le1f 0000 0000 ddb2\n"
               "002: l4I5 L6i7 18l9 1a1b a9f6\n"
               "1: 0101 2000 1011 1213 9d41\n"
               "1: 0101 2000 1011 1213 9d41", &k);
}

Test (paper_key, a_mistyped_line_is_named)
{
  expect_bad_line ("   4:", "4: 4041 4243 4445 4647 0fd", "paper key, line "
                   "4: has 19 digits, expected 20");
  expect_bad_line ("   4:", "4: 4041 4243 4445 4647 0fdd0", "paper key, "
                   "line 4: has 21 digits, expected 20");
  expect_bad_line ("   4:", "4:", "paper key, line 4: has 0 digits, expected "
                   "20");
  expect_bad_line ("   4:", "4: 4041 42g3 4445 4647 0fdd", "paper key, line "
                   "4: 'g' is not one of the digits 0-9 and A-F");
  expect_bad_line ("   4:", "4: 4041 42\xc2\xa0" "3 4445 4647 0fdd",
                   "paper key, line 4: has a character that is not one of "
                   "the digits 0-9 and A-F");
  expect_bad_line ("   4:", "4: 4041 4234 4445 4647 0fdd", "paper key, line "
                   "4: is mistyped (its last four digits check the others, "
                   "and do not fit)");
  expect_bad_line ("   4:", "5: 4041 4243 4445 4647 0fdd", "paper key, line "
                   "5: is mistyped (its last four digits check the others, "
                   "and do not fit)");
  expect_bad_line ("   4:", "0: 4041 4243 4445 4647 0fdd", "paper key, line "
                   "0: the lines are numbered from 1 to 132 at most");
  expect_bad_line ("   4:", "99999999999: 4041", "paper key, line 999: the "
                   "lines are numbered from 1 to 132 at most");
}

/* Every digit of every line, every other value of it. */
Test (paper_key, no_single_mistake_goes_unnoticed)
{
  size_t i;

  for (i = 0; i < sizeof page - 1; i++) {
    static const char digits[] = "0123456789abcdef";
    const char *p;

    if (page[i] == ' ' || page[i] == '\n' || page[i] == ':' ||
        (i % LM_PAPER_LINE_LEN) < 6)
      continue;
    for (p = digits; *p; p++) {
      struct lm_paper_key found;
      char text[sizeof page];

      if (*p == page[i])
        continue;
      memcpy (text, page, sizeof page);
      text[i] = *p;
      cr_expect (eq (int, lm_paper_key_parse (text, sizeof page - 1, &found,
                                              &err), -1),
                 "digit %zu as %c", i, *p);
    }
  }
}

Test (paper_key, all_mistakes_and_missing_lines_are_told_at_once)
{
  expect_bad ("", "paper key: line 1 is missing", "");
  expect_bad ("1: 0101 2000 1011 1213 9d41\n"
              "3: 1c1d 1e1f 0000 0000 ddb2\n",
              "paper key: lines 2, 4, 5, 6, 7, 8 are missing", "");
  expect_bad ("2: 1415\n3: 1c1d 1e1f 0000 0000 ddb3\n4: x\n",
              "paper key, line 2: has 4 digits, expected 20",
              "also line 3: is mistyped (its last four digits check the "
              "others, and do not fit); line 4: 'x' is not one of the digits "
              "0-9 and A-F");
}

Test (paper_key, lines_of_two_pages_do_not_mix)
{
  struct lm_paper_key other = known_key ();
  char mixed[2 * LM_PAPER_TEXT_MAX], text[LM_PAPER_TEXT_MAX];

  other.secret[0] ^= 1;
  lm_paper_key_format (&other, text);
  memcpy (mixed, page, sizeof page);
  memcpy (mixed + 3 * LM_PAPER_LINE_LEN, text + 3 * LM_PAPER_LINE_LEN,
          LM_PAPER_LINE_LEN);
  expect_bad (mixed, "paper key: each line is right, but they do not belong "
              "together: are they of one page?", "");
  snprintf (mixed, sizeof mixed, "%s%s", page, text);
  expect_bad (mixed, "paper key, line 4: is there twice, and not the same",
              "also line 8: is there twice, and not the same");
}

Test (paper_key, key_files_of_every_length)
{
  size_t len, i;

  for (len = 32; len <= LM_PAPER_SECRET_MAX; len += len < 64 ? 1 : 320) {
    struct lm_paper_key k = known_key ();
    char text[LM_PAPER_TEXT_MAX];

    k.kind = LM_PAPER_KEY_FILE;
    k.len = len;
    for (i = 0; i < len; i++)
      k.secret[i] = i * 7;
    lm_paper_key_format (&k, text);
    expect_same (text, &k);
  }
}

Test (paper_key, lines_are_taken_one_by_one)
{
  struct lm_paper_reader r = { .lines = 0 };
  const struct lm_paper_key k = known_key ();
  struct lm_paper_key found;
  const char *p = page;
  unsigned i;

  for (i = 1; i <= 8; i++, p += LM_PAPER_LINE_LEN) {
    cr_expect (eq (u32, lm_paper_reader_missing (&r), i));
    cr_expect (eq (int, lm_paper_reader_line (&r, "7: 1", 4, &err), -1));
    cr_assert (eq (int, lm_paper_reader_line (&r, p, LM_PAPER_LINE_LEN,
                                              &err), 0));
  }
  cr_expect (eq (u32, lm_paper_reader_missing (&r), 0));
  cr_assert (eq (int, lm_paper_reader_finish (&r, &found, &err), 0));
  cr_expect (memcmp (found.secret, k.secret, 32) == 0);
}
