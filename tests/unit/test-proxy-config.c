/* SPDX-License-Identifier: Apache-2.0
 * The plugin's parameters: what is taken, made absolute, and refused.
 */
#include <config.h>

#include "proxy/proxy-config.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/scratch.h"

static struct lm_error err;
static struct lm_proxy_config c = LM_PROXY_CONFIG_INIT;

static void
fini (void)
{
  lm_proxy_config_release (&c);
}

static int
set (const char *key, const char *value)
{
  lm_error_clear (&err);
  return lm_proxy_config_set (&c, key, value, &err);
}

Test (proxy_config, makes_paths_absolute, .fini = fini)
{
  cr_assert (eq (int, chdir ("/tmp"), 0));
  cr_expect (eq (int, set ("repository", "repo"), 0));
  cr_expect (eq (str, c.repository, "/tmp/repo"));
  cr_expect (eq (int, set ("repository", "dir:repo"), 0));
  cr_expect (eq (str, c.repository, "dir:/tmp/repo"));
  cr_expect (eq (int, set ("repository", "./a:b"), 0));
  cr_expect (eq (str, c.repository, "/tmp/./a:b"));
  cr_expect (eq (int, set ("repository", "/a:b"), 0));
  cr_expect (eq (str, c.repository, "/a:b"));
  cr_expect (eq (int, set ("repository", "s3:bucket/x"), 0));
  cr_expect (eq (str, c.repository, "s3:bucket/x"));
  cr_expect (eq (int, set ("overlay", "o"), 0));
  cr_expect (eq (str, c.overlay, "/tmp/o"));
}

Test (proxy_config, has_its_defaults, .fini = fini)
{
  cr_expect (eq (u64, c.cache_size, LM_PROXY_CACHE_SIZE_DEFAULT));
  cr_expect (eq (u32, c.readahead, LM_PROXY_READAHEAD_DEFAULT));
  cr_expect (eq (int, set ("cache-size", "1.5M"), 0));
  cr_expect (eq (u64, c.cache_size, 3 << 19));
  cr_expect (eq (int, set ("readahead", "0"), 0));
  cr_expect (eq (u32, c.readahead, 0));
}

Test (proxy_config, refuses_what_cannot_be, .fini = fini)
{
  static const struct { const char *key, *value, *message; } rows[] = {
    { "colour", "red", "unknown parameter 'colour'" },
    { "", "x", "unknown parameter ''" },
    { "Repository", "x", "unknown parameter 'Repository'" },
    { "repository", "", "repository= needs a value" },
    { "overlay", "", "overlay= needs a value" },
    { "cache-size", "-1", "cache-size: " },
    { "cache-size", "many", "cache-size: " },
    { "readahead", "65", "readahead: " },
    { "readahead", "1.5", "readahead: " },
    { "key-fd", "x", "key-fd: " },
    { "key-file", "/nowhere/at/all", "key file /nowhere/at/all" },
    { "passphrase-file", "/nowhere/at/all", "/nowhere/at/all" },
    { "passphrase-command", "exit 7", "exited with code 7" },
  };
  size_t i;

  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    cr_expect (eq (int, set (rows[i].key, rows[i].value), -1), "%s=%s",
               rows[i].key, rows[i].value);
    cr_expect (ne (ptr, strstr (err.message, rows[i].message), NULL),
               "%s=%s: %s", rows[i].key, rows[i].value, err.message);
  }
}

Test (proxy_config, wants_a_repository, .fini = fini)
{
  unsetenv ("LIVEMOUNT_REPOSITORY");
  cr_expect (eq (int, lm_proxy_config_complete (&c, &err), -1));
  cr_expect (eq (str, err.message, "no repository was named"));
  setenv ("LIVEMOUNT_REPOSITORY", "/srv/repo", 1);
  unsetenv ("LIVEMOUNT_KEY_FILE");
  unsetenv ("LIVEMOUNT_PASSPHRASE_FILE");
  unsetenv ("LIVEMOUNT_PASSPHRASE_COMMAND");
  cr_expect (eq (int, lm_proxy_config_complete (&c, &err), 0));
  cr_expect (eq (str, c.repository, "/srv/repo"));
}

Test (proxy_config, parameters_outrank_the_environment, .fini = fini)
{
  setenv ("LIVEMOUNT_REPOSITORY", "/srv/other", 1);
  setenv ("LIVEMOUNT_PASSPHRASE_COMMAND", "echo environment", 1);
  cr_expect (eq (int, set ("repository", "/srv/repo"), 0));
  cr_expect (eq (int, set ("passphrase-command", "echo parameter"), 0));
  cr_expect (eq (int, lm_proxy_config_complete (&c, &err), 0));
  cr_expect (eq (str, c.repository, "/srv/repo"));
  cr_expect (eq (str, c.credentials.passphrase, "parameter"));
}

Test (proxy_config, asks_the_environment, .fini = fini)
{
  setenv ("LIVEMOUNT_REPOSITORY", "/srv/repo", 1);
  unsetenv ("LIVEMOUNT_KEY_FILE");
  unsetenv ("LIVEMOUNT_PASSPHRASE_FILE");
  setenv ("LIVEMOUNT_PASSPHRASE_COMMAND", "echo environment", 1);
  cr_expect (eq (int, lm_proxy_config_complete (&c, &err), 0));
  cr_expect (eq (str, c.credentials.passphrase, "environment"));
}

Test (proxy_config, reads_a_master_key_at_once, .fini = fini)
{
  uint8_t master[LM_MASTER_KEY_LEN];
  char fd[16];
  int p[2];

  memset (master, 0x5c, sizeof master);
  cr_assert (eq (int, pipe (p), 0));
  cr_assert (eq (i64, write (p[1], master, sizeof master), sizeof master));
  close (p[1]);
  snprintf (fd, sizeof fd, "%d", p[0]);
  cr_expect (eq (int, set ("key-fd", fd), 0), "%s", err.message);
  cr_expect (eq (int, memcmp (c.credentials.master, master, sizeof master),
                 0));
  cr_expect (eq (int, fcntl (p[0], F_GETFD), -1), "it is still open");
}
