/* SPDX-License-Identifier: Apache-2.0
 * The page with a paper key on it; see paper-page.h.
 *
 * Whoever needs it has lost everything else, perhaps years later, and may
 * never have seen this program: so the page says what to do.  Only key
 * lines may begin with a number and a colon.
 */
#include <config.h>

#include "mount/paper-page.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/hex.h"
#include "common/random.h"
#include "common/timestamp.h"
#include "mount/key-cli.h"
#include "mount/report.h"
#include "common/banned.h"

#define LOCATION_MAX 200        /* bytes of it that are printed */
#define FILE_MAX (64 << 10)

static const char head[] =
  "LIVEMOUNT PAPER KEY                            printed %.10s\n"
  "\n"
  "Whoever has this page can read every backup in the repository.\n"
  "Keep it where you keep what must never be stolen or lost: not\n"
  "beside the backups, not in a mail, not as a photo.\n"
  "\n"
  "What it is:     %s\n"
  "Repository:     %s\n"
  "It was kept at: %s\n"
  "\n";

static const char master_help[] =
  "WHEN ALL PASSPHRASES AND KEY FILES ARE LOST\n"
  "\n"
  "1. Have a machine with the program livemount, and the folder or\n"
  "   store that the backups are in. In it are files called config,\n"
  "   journal, packs and others.\n"
  "2. Run:   livemount -r FOLDER key import --paper\n"
  "3. Type each line below when it is asked for. Capitals and blanks\n"
  "   do not matter. A line with a mistake is named at once, and can\n"
  "   be typed again.\n"
  "4. Type a new passphrase when it is asked for. From then on that\n"
  "   passphrase opens the backups:   livemount -r FOLDER snapshots\n"
  "\n";

static const char key_file_help[] =
  "WHEN THE KEY FILE IS LOST\n"
  "\n"
  "1. Have a machine with the program livemount, and the folder or\n"
  "   store that the backups are in. In it are files called config,\n"
  "   keys, journal, packs and others.\n"
  "2. Run:   livemount -r FOLDER key import --paper --new-key-file FILE\n"
  "3. Type each line below when it is asked for. Capitals and blanks\n"
  "   do not matter. A line with a mistake is named at once, and can\n"
  "   be typed again.\n"
  "4. FILE is the key file again, and opens the backups:\n"
  "          livemount -r FOLDER --key-file FILE snapshots\n"
  "\n";

static const char tail[] =
  "\n"
  "Each line has eight bytes in hexadecimal digits; the last four\n"
  "digits check the others. The page \"The Livemount repository\" in\n"
  "the program's documentation (docs/formats/native.md) says what the\n"
  "bytes mean, so that the backups can be read without the program.\n";

static void
printable (const char *text, char *out, size_t size)
{
  size_t i;

  for (i = 0; i + 1 < size && text[i]; i++)
    out[i] = (unsigned char) text[i] < 0x20 || text[i] == 0x7f
      ? '?' : text[i];
  out[i] = '\0';
}

size_t
lm_paper_page_make (const struct lm_paper_key *paper, const char *location,
                    char ret_page[LM_PAPER_PAGE_MAX])
{
  const bool master = paper->kind == LM_PAPER_MASTER_KEY;
  char repository[2 * LM_NAME_ID_LEN + 1], where[LOCATION_MAX + 1];
  char now[LM_TIMESTAMP_LEN + 1], lines[LM_PAPER_TEXT_MAX];
  int n;

  lm_hex_encode (paper->repository, LM_NAME_ID_LEN, repository);
  lm_timestamp_format (lm_clock_now (), now);
  printable (location, where, sizeof where);
  n = snprintf (ret_page, LM_PAPER_PAGE_MAX, head, now,
                master ? "the master key" : "a key file", repository, where);
  n += snprintf (ret_page + n, LM_PAPER_PAGE_MAX - n, "%s",
                 master ? master_help : key_file_help);
  lm_paper_key_format (paper, lines);
  memcpy (ret_page + n, lines, strlen (lines));
  n += strlen (lines);
  explicit_bzero (lines, sizeof lines);
  memcpy (ret_page + n, tail, sizeof tail);
  return n + sizeof tail - 1;
}

/* One line from the terminal, the number put before it if it is missing.
 * Not by stdio, whose buffer nobody wipes.  0: no more. */
static ssize_t
read_line (unsigned nr, char *line, size_t size, struct lm_error *err)
{
  ssize_t n;
  int prefix = snprintf (line, size, "%u: ", nr);
  const char *colon;

  fprintf (stderr, "line %u: ", nr);
  n = TEMP_FAILURE_RETRY (read (STDIN_FILENO, line + prefix,
                                size - prefix));
  if (n == -1)
    return lm_error_errno (err, errno, "standard input");
  if (n == 0)
    return 0;
  colon = memchr (line + prefix, ':', n);
  if (colon == NULL)
    return prefix + n;
  memmove (line, line + prefix, n);
  return n;
}

static int
type_in (const struct lm_cli *cli, struct lm_paper_reader *reader,
         struct lm_error *err)
{
  char line[512];
  unsigned nr;
  int r = 0;

  lm_report_note (cli, "Type the lines of the paper key.");
  while (r == 0 && (nr = lm_paper_reader_missing (reader)) != 0) {
    struct lm_error mistake = LM_ERROR_INIT;
    ssize_t n = read_line (nr, line, sizeof line, err);

    if (n == -1)
      r = -1;
    if (n <= 0)
      break;
    if (lm_paper_reader_line (reader, line, n, &mistake) == -1) {
      if (mistake.kind == LM_ERR_USAGE)
        fprintf (stderr, "%s; once more\n", mistake.message);
      else {
        *err = mistake;
        r = -1;
      }
    }
  }
  explicit_bzero (line, sizeof line);
  return r;
}

int
lm_paper_page_read (const struct lm_cli *cli, const char *path,
                    struct lm_paper_key *ret_paper, struct lm_error *err)
{
  struct lm_paper_reader reader = { .lines = 0 };
  char *text;
  size_t len;
  int r;

  if (path == NULL && isatty (STDIN_FILENO)) {
    r = type_in (cli, &reader, err);
    if (r == 0)
      r = lm_paper_reader_finish (&reader, ret_paper, err);
    explicit_bzero (&reader, sizeof reader);
    return r;
  }
  if (lm_key_read (path, FILE_MAX, &text, &len, err) == -1)
    return -1;
  r = lm_paper_key_parse (text, len, ret_paper, err);
  explicit_bzero (text, len);
  free (text);
  return r;
}
