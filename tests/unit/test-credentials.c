/* SPDX-License-Identifier: Apache-2.0
 * Where passphrases and keys come from.
 */
#include <config.h>

#include "formats/native/repository.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/scratch.h"

static struct lm_error err;

static char *
file_with (const char *data, size_t len)
{
  char *path = lm_scratch_path ("file");
  int fd = open (path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

  cr_assert (fd != -1);
  cr_assert (eq (sz, write (fd, data, len), len));
  close (fd);
  return path;
}

static void
expect_file (const char *data, size_t len, const char *passphrase,
             const char *message)
{
  struct lm_credentials c = LM_CREDENTIALS_INIT;
  char *path = file_with (data, len);
  int r = lm_credentials_passphrase_file (&c, path, &err);

  if (passphrase) {
    cr_assert (eq (int, r, 0), "%s", err.message);
    cr_expect (eq (str, c.passphrase, (char *) passphrase));
  }
  else {
    cr_assert (eq (int, r, -1));
    cr_expect (eq (int, err.kind, LM_ERR_USAGE));
    cr_expect (strstr (err.message, message) != NULL, "%s", err.message);
    cr_expect (eq (ptr, c.passphrase, NULL));
  }
  lm_credentials_release (&c);
  free (path);
}

Test (credentials, a_passphrase_file_loses_one_newline)
{
  char big[4098];

  expect_file ("secret", 6, "secret", NULL);
  expect_file ("secret\n", 7, "secret", NULL);
  expect_file ("secret\n\n", 8, "secret\n", NULL);
  expect_file (" two words \n", 12, " two words ", NULL);
  expect_file ("", 0, NULL, ": the passphrase is empty");
  expect_file ("\n", 1, NULL, ": the passphrase is empty");
  expect_file ("a\0b", 3, NULL, ": the passphrase contains a zero byte");
  memset (big, 'x', sizeof big);
  big[4096] = '\n';
  expect_file (big, 4098, NULL, ": the passphrase is longer than 4096 bytes");
}

Test (credentials, the_longest_passphrase_is_fine)
{
  char big[4097], want[4097];

  memset (big, 'x', sizeof big);
  big[4096] = '\n';
  memcpy (want, big, sizeof big);
  want[4096] = '\0';
  expect_file (big, 4097, want, NULL);
}

Test (credentials, a_missing_file_is_named)
{
  struct lm_credentials c = LM_CREDENTIALS_INIT;

  cr_expect (eq (int, lm_credentials_passphrase_file (&c, "/no/such", &err),
                 -1));
  cr_expect (eq (str, err.message, (char *) "passphrase file /no/such: No "
                 "such file or directory"));
  cr_expect (eq (int, lm_credentials_key_file (&c, "/no/such", &err), -1));
  cr_expect (eq (str, err.message, (char *) "key file /no/such: No such "
                 "file or directory"));
}

Test (credentials, a_command_speaks_or_says_why_not)
{
  static const struct { const char *command, *message; } rows[] = {
    { "exit 3", "passphrase command: exited with code 3" },
    { "echo secret; exit 1", "passphrase command: exited with code 1" },
    { "kill -9 $$", "passphrase command: ended by signal 9" },
    { "true", "passphrase command: the passphrase is empty" },
  };
  struct lm_credentials c = LM_CREDENTIALS_INIT;
  size_t i;

  cr_assert (eq (int, lm_credentials_passphrase_command (
    &c, "printf 'a b'; echo; sleep 0.05; printf c", &err), 0), "%s",
    err.message);
  cr_expect (eq (str, c.passphrase, (char *) "a b\nc"));
  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    cr_expect (eq (int, lm_credentials_passphrase_command (
      &c, rows[i].command, &err), -1));
    cr_expect (eq (str, err.message, (char *) rows[i].message));
  }
  /* What was there stays. */
  cr_expect (eq (str, c.passphrase, (char *) "a b\nc"));
  lm_credentials_release (&c);
  cr_expect (eq (ptr, c.passphrase, NULL));
}

Test (credentials, a_made_key_file_is_private_and_can_be_read)
{
  struct lm_credentials c = LM_CREDENTIALS_INIT;
  char *path = lm_scratch_path ("key");
  struct stat st;

  umask (0);
  cr_assert (eq (int, lm_key_file_create (path, &err), 0), "%s",
             err.message);
  cr_assert (eq (int, stat (path, &st), 0));
  cr_expect (eq (int, st.st_mode & 07777, 0600));
  cr_assert (eq (int, lm_credentials_key_file (&c, path, &err), 0), "%s",
             err.message);
  cr_expect (eq (sz, c.key_file_len, 129));
  cr_expect (eq (sz, strspn ((char *) c.key_file, "0123456789abcdef"),
                 128));
  cr_expect (eq (int, lm_key_file_create (path, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_EXISTS));
  lm_credentials_release (&c);
  free (path);
}

Test (credentials, a_key_file_has_limits)
{
  struct lm_credentials c = LM_CREDENTIALS_INIT;
  char *big = calloc (1, 65537), *path;

  path = file_with (big, 31);
  cr_expect (eq (int, lm_credentials_key_file (&c, path, &err), -1));
  cr_expect (strstr (err.message, ": fewer than 32 bytes") != NULL);
  free (path);
  path = file_with (big, 65537);
  cr_expect (eq (int, lm_credentials_key_file (&c, path, &err), -1));
  cr_expect (strstr (err.message, ": more than 65536 bytes") != NULL);
  free (path);
  path = file_with (big, 65536);
  cr_expect (eq (int, lm_credentials_key_file (&c, path, &err), 0));
  cr_expect (eq (sz, c.key_file_len, 65536));
  free (path);
  free (big);
  lm_credentials_release (&c);
}

Test (credentials, a_master_key_has_exactly_its_length)
{
  static const size_t lens[] = { 0, 31, 32, 33 };
  size_t i;

  for (i = 0; i < 4; i++) {
    struct lm_credentials c = LM_CREDENTIALS_INIT;
    char bytes[64] = "x";
    int fds[2], r;

    cr_assert (eq (int, pipe (fds), 0));
    cr_assert (eq (sz, write (fds[1], bytes, lens[i]), lens[i]));
    close (fds[1]);
    r = lm_credentials_master_fd (&c, fds[0], &err);
    cr_expect (eq (int, r, lens[i] == 32 ? 0 : -1));
    cr_expect (eq (int, fcntl (fds[0], F_GETFD), -1));  /* closed */
    if (r == -1)
      cr_expect (eq (int, err.kind, LM_ERR_KEY));
    lm_credentials_release (&c);
  }
}

/* Ask in a child on a terminal of its own; type INPUT; return its exit
 * code and what it printed. */
static int
on_terminal (const char *input, bool confirm, char *seen, size_t size)
{
  struct lm_credentials c = LM_CREDENTIALS_INIT;
  size_t len = 0;
  int master, status;
  pid_t pid = forkpty (&master, NULL, NULL, NULL);

  cr_assert (pid != -1);
  if (pid == 0) {
    int r = lm_credentials_passphrase_prompt (&c, "Passphrase: ", confirm,
                                              &err);

    _exit (r == 0 ? (strcmp (c.passphrase, "secret") == 0 ? 0 : 99)
           : (int) err.kind);
  }
  /* TCSAFLUSH drops what is typed too early: wait for each prompt. */
  while (len < size - 1) {
    ssize_t r = read (master, seen + len, size - 1 - len);

    if (r <= 0)
      break;
    len += r;
    seen[len] = '\0';
    if (len >= 2 && strcmp (seen + len - 2, ": ") == 0 && *input) {
      size_t n = strcspn (input, "\n\003") + 1;

      cr_assert (eq (sz, write (master, input, n), n));
      input += n;
    }
  }
  waitpid (pid, &status, 0);
  close (master);
  return WIFEXITED (status) ? WEXITSTATUS (status) : -1;
}

Test (credentials, the_prompt_does_not_echo)
{
  char seen[256] = "";

  cr_expect (eq (int, on_terminal ("secret\n", false, seen, sizeof seen),
                 0));
  cr_expect (eq (str, seen, (char *) "Passphrase: \r\n"));
}

Test (credentials, the_prompt_asks_twice_when_it_matters)
{
  char seen[256] = "";

  cr_expect (eq (int, on_terminal ("secret\nsecret\n", true, seen,
                                   sizeof seen), 0));
  cr_expect (eq (str, seen, (char *) "Passphrase: \r\nAgain: \r\n"));
  cr_expect (eq (int, on_terminal ("secret\nsecrte\n", true, seen,
                                   sizeof seen), LM_ERR_USAGE));
}

Test (credentials, the_prompt_can_be_interrupted)
{
  char seen[256] = "";

  cr_expect (eq (int, on_terminal ("se\003", false, seen, sizeof seen),
                 LM_ERR_INTERRUPTED));
}

Test (credentials, without_a_terminal_the_other_ways_are_named)
{
  pid_t pid = fork ();
  int status;

  if (pid == 0) {
    struct lm_credentials c = LM_CREDENTIALS_INIT;

    setsid ();
    _exit (lm_credentials_passphrase_prompt (&c, "x", false, &err) == -1 &&
           err.kind == LM_ERR_KEY &&
           strstr (err.hint, "--passphrase-file") ? 0 : 1);
  }
  waitpid (pid, &status, 0);
  cr_expect (eq (int, status, 0));
}
