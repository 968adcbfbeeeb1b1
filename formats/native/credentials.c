/* SPDX-License-Identifier: Apache-2.0
 *
 * Where passphrases and keys come from; declared in repository.h.
 *
 * What was read is wiped from every buffer that it passed through.  A
 * command's output comes through a pipe read without stdio's buffer, for
 * the same reason.
 */
#include <config.h>

#include "formats/native/repository.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/hex.h"
#include "common/io.h"
#include "common/random.h"
#include "formats/native/escrow.h"
#include "formats/native/key-slot.h"
#include "common/banned.h"

#define INTERRUPT 3             /* what ^C sends */

static void
wipe_free (void *p, size_t len)
{
  if (p) {
    explicit_bzero (p, len);
    free (p);
  }
}

static void
set_passphrase (struct lm_credentials *c, char *passphrase)
{
  if (c->passphrase)
    wipe_free (c->passphrase, strlen (c->passphrase));
  c->passphrase = passphrase;
}

void
lm_credentials_release (struct lm_credentials *c)
{
  set_passphrase (c, NULL);
  wipe_free (c->key_file, c->key_file_len);
  wipe_free (c->master, LM_MASTER_KEY_LEN);
  wipe_free (c->escrow_key, LM_ESCROW_KEY_LEN);
  wipe_free (c->escrow_recipient, LM_ESCROW_KEY_LEN);
  *c = (struct lm_credentials) LM_CREDENTIALS_INIT;
}

/* Take LEN bytes at TEXT (which has room for one more) as a passphrase. */
static int
check_passphrase (char *text, size_t len, const char *what,
                  struct lm_error *err)
{
  if (len > 0 && text[len - 1] == '\n')
    len--;
  text[len] = '\0';
  if (len == 0)
    return lm_error_set (err, LM_ERR_USAGE, "%s: the passphrase is empty",
                         what);
  if (len > LM_PASSPHRASE_MAX)
    return lm_error_set (err, LM_ERR_USAGE, "%s: the passphrase is longer "
                         "than %d bytes", what, LM_PASSPHRASE_MAX);
  if (strlen (text) != len)
    return lm_error_set (err, LM_ERR_USAGE, "%s: the passphrase contains a "
                         "zero byte", what);
  return 0;
}

/* Read to the end of FD, at most SIZE bytes.  Pipes deliver in pieces. */
static ssize_t
read_all (int fd, void *buf, size_t size)
{
  char *p = buf;
  size_t len = 0;

  while (len < size) {
    ssize_t r = TEMP_FAILURE_RETRY (read (fd, p + len, size - len));

    if (r == -1)
      return -1;
    if (r == 0)
      break;
    len += r;
  }
  return len;
}

/* The passphrase that comes out of FD. */
static int
passphrase_from_fd (struct lm_credentials *c, int fd, const char *what,
                    struct lm_error *err)
{
  const size_t size = LM_PASSPHRASE_MAX + 2;    /* newline, and too long */
  char *text = malloc (size + 1);
  ssize_t len;

  if (text == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  len = read_all (fd, text, size);
  if (len == -1) {
    lm_error_errno (err, errno, "%s: read", what);
    goto fail;
  }
  if (check_passphrase (text, len, what, err) == -1)
    goto fail;
  set_passphrase (c, text);
  return 0;

fail:
  wipe_free (text, size + 1);
  return -1;
}

int
lm_credentials_passphrase_file (struct lm_credentials *c, const char *path,
                                struct lm_error *err)
{
  CLEANUP_CLOSE int fd = lm_io->openat (AT_FDCWD, path, O_RDONLY, 0);

  if (fd == -1)
    return lm_error_errno (err, errno, "passphrase file %s", path);
  if (passphrase_from_fd (c, fd, path, err) == -1)
    return -1;
  return 0;
}

int
lm_credentials_passphrase_command (struct lm_credentials *c,
                                   const char *command, struct lm_error *err)
{
  struct lm_credentials got = LM_CREDENTIALS_INIT;
  FILE *fp = popen (command, "re");
  int r, status;

  if (fp == NULL)
    return lm_error_errno (err, errno, "passphrase command: start");
  r = passphrase_from_fd (&got, fileno (fp), "passphrase command", err);
  status = pclose (fp);
  /* That it failed explains more than that nothing came. */
  if (status == -1)
    r = lm_error_errno (err, errno, "passphrase command: wait");
  else if (WIFSIGNALED (status))
    r = lm_error_set (err, LM_ERR_KEY, "passphrase command: ended by signal "
                      "%d", WTERMSIG (status));
  else if (WEXITSTATUS (status) != 0)
    r = lm_error_set (err, LM_ERR_KEY, "passphrase command: exited with "
                      "code %d", WEXITSTATUS (status));
  if (r == -1) {
    lm_credentials_release (&got);
    return -1;
  }
  set_passphrase (c, got.passphrase);
  return 0;
}

/* Read one line from the terminal without echo.  Signals are off, so
 * that ^C is read as the end of a line and the echo always comes back. */
static int
read_line_hidden (int tty, const char *prompt, char *line, size_t size,
                  struct lm_error *err)
{
  struct termios old, quiet;
  size_t len = 0;
  int r = 0;

  if (tcgetattr (tty, &old) == -1)
    return lm_error_errno (err, errno, "terminal");
  quiet = old;
  quiet.c_lflag &= ~(ECHO | ISIG);
  quiet.c_lflag |= ICANON;
  quiet.c_cc[VEOL] = INTERRUPT;
  /* What is typed from the prompt on is not echoed, and not dropped. */
  if (tcsetattr (tty, TCSAFLUSH, &quiet) == -1)
    return lm_error_errno (err, errno, "terminal");
  dprintf (tty, "%s", prompt);
  while (len < size) {
    ssize_t n = TEMP_FAILURE_RETRY (read (tty, line + len, size - len));

    if (n == -1)
      r = lm_error_errno (err, errno, "terminal: read");
    if (n <= 0)
      break;
    len += n;
    if (line[len - 1] == '\n' || line[len - 1] == INTERRUPT)
      break;
  }
  tcsetattr (tty, TCSAFLUSH, &old);
  dprintf (tty, "\n");
  if (r == 0 && memchr (line, INTERRUPT, len) != NULL)
    r = lm_error_set (err, LM_ERR_INTERRUPTED, "interrupted");
  if (r == 0)
    r = check_passphrase (line, len, "terminal", err);
  return r;
}

int
lm_credentials_passphrase_prompt (struct lm_credentials *c,
                                  const char *prompt, bool confirm,
                                  struct lm_error *err)
{
  const size_t size = LM_PASSPHRASE_MAX + 2;
  CLEANUP_CLOSE int tty = open ("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
  char *first, *again = NULL;
  int r;

  if (tty == -1) {
    lm_error_set (err, LM_ERR_KEY, "there is no terminal to ask for the "
                  "passphrase");
    return lm_error_hint (err, "Give --passphrase-file or --key-file, or "
                          "set LIVEMOUNT_PASSPHRASE_COMMAND");
  }
  first = malloc (size + 1);
  again = malloc (size + 1);
  if (first == NULL || again == NULL)
    r = lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  else
    r = read_line_hidden (tty, prompt, first, size, err);
  if (r == 0 && confirm) {
    r = read_line_hidden (tty, "Again: ", again, size, err);
    if (r == 0 && strcmp (first, again) != 0)
      r = lm_error_set (err, LM_ERR_USAGE, "the two passphrases differ");
  }
  if (r == 0)
    set_passphrase (c, lm_steal (first));
  wipe_free (first, size + 1);
  wipe_free (again, size + 1);
  return r;
}

int
lm_credentials_key_file (struct lm_credentials *c, const char *path,
                         struct lm_error *err)
{
  CLEANUP_CLOSE int fd = lm_io->openat (AT_FDCWD, path, O_RDONLY, 0);
  const size_t size = LM_KEY_FILE_MAX + 1;
  uint8_t *data;
  ssize_t len;

  if (fd == -1)
    return lm_error_errno (err, errno, "key file %s", path);
  data = malloc (size);
  if (data == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  len = read_all (fd, data, size);
  if (len == -1) {
    lm_error_errno (err, errno, "key file %s: read", path);
    goto fail;
  }
  if (len < LM_KEY_FILE_MIN || len > LM_KEY_FILE_MAX) {
    lm_error_set (err, LM_ERR_USAGE, "key file %s: %s than %d bytes", path,
                  len < LM_KEY_FILE_MIN ? "fewer" : "more",
                  len < LM_KEY_FILE_MIN ? LM_KEY_FILE_MIN : LM_KEY_FILE_MAX);
    goto fail;
  }
  wipe_free (c->key_file, c->key_file_len);
  c->key_file = data;
  c->key_file_len = len;
  return 0;

fail:
  wipe_free (data, size);
  return -1;
}

typedef int parse_pem (const void *pem, size_t len, const char *what,
                       uint8_t ret_key[LM_ESCROW_KEY_LEN],
                       struct lm_error *err);

/* A file with one key in PEM; *RET_KEY is replaced. */
static int
escrow_file (const char *path, parse_pem *parse, uint8_t **ret_key,
             struct lm_error *err)
{
  CLEANUP_CLOSE int fd = lm_io->openat (AT_FDCWD, path, O_RDONLY, 0);
  const size_t size = LM_ESCROW_PEM_MAX;
  uint8_t *key = malloc (LM_ESCROW_KEY_LEN), *data = malloc (size);
  ssize_t len = -1;
  int r = 0;

  if (fd == -1)
    r = lm_error_errno (err, errno, "escrow key %s", path);
  else if (key == NULL || data == NULL)
    r = lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  else if ((len = read_all (fd, data, size)) == -1)
    r = lm_error_errno (err, errno, "escrow key %s: read", path);
  if (r == 0)
    r = parse (data, len, path, key, err);
  wipe_free (data, size);
  if (r == 0) {
    wipe_free (*ret_key, LM_ESCROW_KEY_LEN);
    *ret_key = lm_steal (key);
  }
  wipe_free (key, LM_ESCROW_KEY_LEN);
  return r;
}

int
lm_credentials_escrow_key (struct lm_credentials *c, const char *path,
                           struct lm_error *err)
{
  return escrow_file (path, lm_escrow_private_parse, &c->escrow_key, err);
}

int
lm_credentials_escrow_recipient (struct lm_credentials *c, const char *path,
                                 struct lm_error *err)
{
  return escrow_file (path, lm_escrow_public_parse, &c->escrow_recipient,
                      err);
}

int
lm_credentials_master_fd (struct lm_credentials *c, int fd,
                          struct lm_error *err)
{
  uint8_t *data = malloc (LM_MASTER_KEY_LEN + 1);
  ssize_t len;
  int saved;

  if (data == NULL) {
    close (fd);
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  }
  len = read_all (fd, data, LM_MASTER_KEY_LEN + 1);
  saved = errno;
  close (fd);
  if (len != LM_MASTER_KEY_LEN) {
    wipe_free (data, LM_MASTER_KEY_LEN + 1);
    if (len == -1)
      return lm_error_errno (err, saved, "descriptor %d: read the key", fd);
    return lm_error_set (err, LM_ERR_KEY, "descriptor %d: %zd bytes, "
                         "expected a master key of %d", fd, len,
                         LM_MASTER_KEY_LEN);
  }
  wipe_free (c->master, LM_MASTER_KEY_LEN);
  c->master = data;
  return 0;
}

int
lm_key_file_create (const char *path, struct lm_error *err)
{
  CLEANUP_CLOSE int fd = -1;
  uint8_t key[64];
  char text[2 * sizeof key + 2];
  int r;

  fd = lm_io->openat (AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL, 0600);
  if (fd == -1)
    return lm_error_errno (err, errno, "key file %s: create", path);
  lm_random_bytes (key, sizeof key);
  lm_hex_encode (key, sizeof key, text);
  text[2 * sizeof key] = '\n';
  r = lm_pwrite_full (fd, text, 2 * sizeof key + 1, 0, path, err);
  if (r == 0 && lm_io->fsync (fd) == -1)
    r = lm_error_errno (err, errno, "key file %s: fsync", path);
  if (r == 0)
    r = lm_sync_parent (AT_FDCWD, path, err);
  /* Half a key file would be taken for a whole one. */
  if (r == -1)
    lm_io->unlinkat (AT_FDCWD, path, 0);
  explicit_bzero (key, sizeof key);
  explicit_bzero (text, sizeof text);
  return r;
}
