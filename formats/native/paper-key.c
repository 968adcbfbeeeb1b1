/* SPDX-License-Identifier: Apache-2.0
 * Paper keys; see paper-key.h.
 */
#include <config.h>

#include "formats/native/paper-key.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/checked.h"
#include "common/hex.h"
#include "formats/native/key-slot.h"
#include "formats/native/seal.h"
#include "common/banned.h"

#define FORM_VERSION 1
#define HEAD_LEN 24
#define SUM_LEN 8
#define LINE_BYTES 8
#define CHECK_BYTES 2
#define DIGITS (2 * (LINE_BYTES + CHECK_BYTES))
#define LINE_TEXT "livemount 1 paper line"

static_assert (LM_PAPER_LINES_MAX * LINE_BYTES ==
               HEAD_LEN + LM_PAPER_SECRET_MAX + SUM_LEN, "see native.md");

static void
line_check (unsigned nr, const uint8_t bytes[LINE_BYTES],
            uint8_t ret_check[CHECK_BYTES])
{
  uint8_t data[sizeof LINE_TEXT - 1 + 1 + LINE_BYTES];
  uint8_t digest[LM_SHA256_LEN];

  memcpy (data, LINE_TEXT, sizeof LINE_TEXT - 1);
  data[sizeof LINE_TEXT - 1] = nr;
  memcpy (data + sizeof LINE_TEXT, bytes, LINE_BYTES);
  lm_sha256 (data, sizeof data, digest);
  memcpy (ret_check, digest, CHECK_BYTES);
  explicit_bzero (data, sizeof data);
}

static unsigned
line_count (size_t secret_len)
{
  return lm_div_up (HEAD_LEN + secret_len + SUM_LEN, LINE_BYTES);
}

/* "  1:  0123 4567 89ab cdef   0123\n" */
static void
format_line (unsigned nr, const uint8_t bytes[LINE_BYTES],
             char out[LM_PAPER_LINE_LEN + 1])
{
  uint8_t check[CHECK_BYTES];
  unsigned i;

  /* Not by printf, which wipes nothing. */
  snprintf (out, LM_PAPER_LINE_LEN + 1, "%4u: ", nr);
  for (i = 0; i < LINE_BYTES / 2; i++) {
    out[6 + 5 * i] = ' ';
    lm_hex_encode (bytes + 2 * i, 2, out + 7 + 5 * i);
  }
  line_check (nr, bytes, check);
  memcpy (out + 26, "   ", 3);
  lm_hex_encode (check, CHECK_BYTES, out + 29);
  memcpy (out + 33, "\n", 2);
}

void
lm_paper_key_format (const struct lm_paper_key *paper,
                     char ret_text[LM_PAPER_TEXT_MAX])
{
  uint8_t bytes[LM_PAPER_LINES_MAX * LINE_BYTES] = {
    FORM_VERSION, paper->kind,
  };
  const lm_le16 len = lm_put_le16 (paper->len);
  const lm_le32 epoch = lm_put_le32 (paper->epoch);
  uint8_t digest[LM_SHA256_LEN];
  const size_t end = HEAD_LEN + paper->len;
  unsigned i, n = line_count (paper->len);

  assert (paper->len <= LM_PAPER_SECRET_MAX);
  memcpy (bytes + 2, len.b, sizeof len.b);
  memcpy (bytes + 4, paper->repository, LM_NAME_ID_LEN);
  memcpy (bytes + 20, epoch.b, sizeof epoch.b);
  memcpy (bytes + HEAD_LEN, paper->secret, paper->len);
  lm_sha256 (bytes, end, digest);
  memcpy (bytes + end, digest, SUM_LEN);
  for (i = 0; i < n; i++)
    format_line (i + 1, bytes + i * LINE_BYTES,
                 ret_text + i * LM_PAPER_LINE_LEN);
  explicit_bzero (bytes, sizeof bytes);
}

static bool
is_blank (char c)
{
  return c == ' ' || c == '\t';
}

/* The number that the line begins with, and where the rest starts.
 * False: not a key line. */
static bool
parse_number (const char *line, size_t len, unsigned *ret_nr,
              size_t *ret_rest)
{
  unsigned nr = 0;
  size_t i = 0, first;

  while (i < len && is_blank (line[i]))
    i++;
  for (first = i; i < len && line[i] >= '0' && line[i] <= '9'; i++)
    if (nr <= LM_PAPER_LINES_MAX)
      nr = 10 * nr + (line[i] - '0');
  if (i == first)
    return false;
  while (i < len && is_blank (line[i]))
    i++;
  if (i == len || line[i] != ':')
    return false;
  *ret_nr = nr;
  *ret_rest = i + 1;
  return true;
}

/* -1: not a digit; -2: means nothing.  What looks like a digit is one. */
static int
digit_value (char c)
{
  if (c >= '0' && c <= '9')
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  if (c >= 'A' && c <= 'F')
    return c - 'A' + 10;
  if (c == 'o' || c == 'O')
    return 0;
  if (c == 'i' || c == 'I' || c == 'l' || c == 'L')
    return 1;
  if (is_blank (c) || c == '-' || c == '.' || c == '\r' || c == '\n')
    return -2;
  return -1;
}

static int
parse_digits (unsigned nr, const char *text, size_t len,
              uint8_t ret_bytes[LINE_BYTES + CHECK_BYTES],
              struct lm_error *err)
{
  size_t i, n = 0;

  memset (ret_bytes, 0, LINE_BYTES + CHECK_BYTES);
  for (i = 0; i < len; i++) {
    int v = digit_value (text[i]);

    if (v == -1 && text[i] > 0x20 && text[i] < 0x7f)
      return lm_error_set (err, LM_ERR_USAGE, "paper key, line %u: '%c' is "
                           "not one of the digits 0-9 and A-F", nr, text[i]);
    if (v == -1)
      return lm_error_set (err, LM_ERR_USAGE, "paper key, line %u: has a "
                           "character that is not one of the digits 0-9 and "
                           "A-F", nr);
    if (v == -2)
      continue;
    if (n < DIGITS)
      ret_bytes[n / 2] |= n % 2 ? v : v << 4;
    n++;
  }
  if (n != DIGITS)
    return lm_error_set (err, LM_ERR_USAGE, "paper key, line %u: has %zu "
                         "digits, expected %d", nr, n, DIGITS);
  return 0;
}

/* Line 1 says what this is, and how many lines there are. */
static int
read_head (const uint8_t bytes[LINE_BYTES], unsigned *ret_lines,
           struct lm_error *err)
{
  lm_le16 wire;
  size_t len;

  memcpy (wire.b, bytes + 2, sizeof wire.b);
  len = lm_get_le16 (wire);
  if (bytes[0] != FORM_VERSION)
    return lm_error_set (err, LM_ERR_UNSUPPORTED, "paper key: version %u, "
                         "this program knows %d", bytes[0], FORM_VERSION);
  if (bytes[1] != LM_PAPER_MASTER_KEY && bytes[1] != LM_PAPER_KEY_FILE)
    return lm_error_set (err, LM_ERR_UNSUPPORTED, "paper key: holds a secret "
                         "of kind %u, which this program does not know",
                         bytes[1]);
  if (bytes[1] == LM_PAPER_MASTER_KEY ? len != LM_MASTER_KEY_LEN
      : len < LM_KEY_FILE_MIN || len > LM_PAPER_SECRET_MAX)
    return lm_error_set (err, LM_ERR_USAGE, "paper key: says that the secret "
                         "has %zu bytes, which it can't", len);
  *ret_lines = line_count (len);
  return 0;
}

static int
take (struct lm_paper_reader *r, unsigned nr,
      const uint8_t bytes[LINE_BYTES + CHECK_BYTES], struct lm_error *err)
{
  uint8_t *place = r->bytes + (nr - 1) * LINE_BYTES;
  uint8_t check[CHECK_BYTES];

  line_check (nr, bytes, check);
  if (memcmp (check, bytes + LINE_BYTES, CHECK_BYTES) != 0)
    return lm_error_set (err, LM_ERR_USAGE, "paper key, line %u: is "
                         "mistyped (its last four digits check the others, "
                         "and do not fit)", nr);
  if (r->have[nr - 1] && memcmp (place, bytes, LINE_BYTES) != 0)
    return lm_error_set (err, LM_ERR_USAGE, "paper key, line %u: is there "
                         "twice, and not the same", nr);
  if (nr == 1 && read_head (bytes, &r->lines, err) == -1)
    return -1;
  r->have[nr - 1] = true;
  memcpy (place, bytes, LINE_BYTES);
  return 0;
}

int
lm_paper_reader_line (struct lm_paper_reader *reader, const char *line,
                      size_t len, struct lm_error *err)
{
  uint8_t bytes[LINE_BYTES + CHECK_BYTES];
  unsigned nr;
  size_t rest;
  int r;

  if (!parse_number (line, len, &nr, &rest))
    return 0;
  if (nr == 0 || nr > LM_PAPER_LINES_MAX)
    return lm_error_set (err, LM_ERR_USAGE, "paper key, line %u: the lines "
                         "are numbered from 1 to %d at most", nr,
                         LM_PAPER_LINES_MAX);
  r = parse_digits (nr, line + rest, len - rest, bytes, err);
  if (r == 0)
    r = take (reader, nr, bytes, err);
  explicit_bzero (bytes, sizeof bytes);
  return r;
}

unsigned
lm_paper_reader_missing (const struct lm_paper_reader *reader)
{
  unsigned i;

  for (i = 0; i < reader->lines; i++)
    if (!reader->have[i])
      return i + 1;
  return reader->lines == 0 ? 1 : 0;
}

/* "line 4 is missing", "lines 4, 7, 8 are missing" */
static int
say_missing (const struct lm_paper_reader *r, struct lm_error *err)
{
  const unsigned lines = r->lines ? r->lines : 1;
  char list[LM_PAPER_LINES_MAX * 5] = "";
  size_t len = 0;
  unsigned i, n = 0;

  for (i = 0; i < lines; i++)
    if (!r->have[i]) {
      len += snprintf (list + len, sizeof list - len, "%s%u",
                       n ? ", " : "", i + 1);
      n++;
    }
  return lm_error_set (err, LM_ERR_USAGE, "paper key: line%s %.700s %s "
                       "missing", n > 1 ? "s" : "", list,
                       n > 1 ? "are" : "is");
}

int
lm_paper_reader_finish (const struct lm_paper_reader *reader,
                        struct lm_paper_key *ret_paper,
                        struct lm_error *err)
{
  static const uint8_t zeros[LINE_BYTES];
  const uint8_t *b = reader->bytes;
  uint8_t digest[LM_SHA256_LEN];
  lm_le16 len_wire;
  lm_le32 epoch;
  size_t len, end;
  unsigned i;

  if (lm_paper_reader_missing (reader) != 0)
    return say_missing (reader, err);
  for (i = reader->lines; i < LM_PAPER_LINES_MAX; i++)
    if (reader->have[i])
      return lm_error_set (err, LM_ERR_USAGE, "paper key, line %u: this key "
                           "has only %u lines", i + 1, reader->lines);
  memcpy (len_wire.b, b + 2, sizeof len_wire.b);
  memcpy (epoch.b, b + 20, sizeof epoch.b);
  len = lm_get_le16 (len_wire);
  end = HEAD_LEN + len;
  lm_sha256 (b, end, digest);
  if (memcmp (digest, b + end, SUM_LEN) != 0 ||
      memcmp (zeros, b + end + SUM_LEN,
              reader->lines * LINE_BYTES - end - SUM_LEN) != 0 ||
      (b[1] == LM_PAPER_KEY_FILE && lm_get_le32 (epoch) != 0))
    return lm_error_set (err, LM_ERR_USAGE, "paper key: each line is right, "
                         "but they do not belong together: are they of one "
                         "page?");
  memset (ret_paper, 0, sizeof *ret_paper);
  ret_paper->kind = b[1];
  memcpy (ret_paper->repository, b + 4, LM_NAME_ID_LEN);
  ret_paper->epoch = lm_get_le32 (epoch);
  ret_paper->len = len;
  memcpy (ret_paper->secret, b + HEAD_LEN, len);
  return 0;
}

/* Adds "also: line 3: …" for a second mistake. */
static void
add_mistake (struct lm_error *err, const struct lm_error *more)
{
  const size_t len = strlen (err->hint);
  const char *what = more->message;

  if (strncmp (what, "paper key, ", 11) == 0)
    what += 11;
  if (len < sizeof err->hint - 1)
    snprintf (err->hint + len, sizeof err->hint - len, "%s%.200s",
              len ? "; " : "also ", what);
}

int
lm_paper_key_parse (const char *text, size_t len,
                    struct lm_paper_key *ret_paper, struct lm_error *err)
{
  struct lm_paper_reader reader = { .lines = 0 };
  const char *p = text, *end = text + len;
  int r = 0;

  while (p < end) {
    const char *newline = memchr (p, '\n', end - p);
    size_t n = (newline ? newline : end) - p;
    struct lm_error line_err = LM_ERROR_INIT;

    if (lm_paper_reader_line (&reader, p, n, &line_err) == -1) {
      if (r == 0)
        *err = line_err;
      else
        add_mistake (err, &line_err);
      r = -1;
    }
    p += n + 1;
  }
  if (r == 0)
    r = lm_paper_reader_finish (&reader, ret_paper, err);
  explicit_bzero (&reader, sizeof reader);
  return r;
}
