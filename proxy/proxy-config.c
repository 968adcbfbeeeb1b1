/* SPDX-License-Identifier: Apache-2.0
 * The plugin's parameters; see proxy-config.h.
 */
#include <config.h>

#include "proxy/proxy-config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/size.h"
#include "common/banned.h"

const char lm_proxy_config_help[] =
  "repository=LOCATION      (required) the repository: a folder\n"
  "snapshot=VM[/TIME[/DISK]]  serve only this snapshot (or disk of it)\n"
  "overlay=DIR              keep what clients write in this folder;\n"
  "                         without it the exports are read-only\n"
  "passphrase-file=FILE     unlock with the passphrase in this file\n"
  "passphrase-command=CMD   ... with what this shell command prints\n"
  "key-file=FILE            unlock with this key file\n"
  "key-fd=FD                unlock with the master key from this descriptor\n"
  "cache-size=SIZE          memory for decoded chunks (default: 24M)\n"
  "readahead=N              chunks to read ahead, 0 for none (default: 4)\n"
  "cache-dir=DIR            where the mapped index is kept\n"
  "state-dir=DIR            where is remembered what was seen";

const char *const lm_proxy_config_keys[] = {
  "repository", "snapshot", "overlay", "passphrase-file",
  "passphrase-command", "key-file", "key-fd", "cache-size", "readahead",
  "cache-dir", "state-dir", NULL
};

void
lm_proxy_config_release (struct lm_proxy_config *c)
{
  free (c->repository);
  free (c->snapshot);
  free (c->overlay);
  free (c->cache_dir);
  free (c->state_dir);
  lm_credentials_release (&c->credentials);
  *c = (struct lm_proxy_config) LM_PROXY_CONFIG_INIT;
}

static int
nomem (struct lm_error *err)
{
  return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
}

static int
set_string (char **field, const char *value, struct lm_error *err)
{
  char *s = strdup (value);

  if (s == NULL)
    return nomem (err);
  free (*field);
  *field = s;
  return 0;
}

/* PREFIX stays in front of the path. */
static int
set_path (char **field, const char *prefix, const char *path,
          struct lm_error *err)
{
  CLEANUP_FREE char *cwd = NULL;
  char *s;

  if (path[0] != '/') {
    cwd = getcwd (NULL, 0);
    if (cwd == NULL)
      return lm_error_errno (err, errno, "working folder");
  }
  if (asprintf (&s, "%s%s%s%s", prefix, cwd ? cwd : "", cwd ? "/" : "",
                path) == -1)
    return nomem (err);
  free (*field);
  *field = s;
  return 0;
}

/* A path, dir:PATH, or SCHEME:… which is left alone. */
static int
set_location (char **field, const char *value, struct lm_error *err)
{
  size_t n = strcspn (value, "/:");

  if (strncmp (value, "dir:", 4) == 0)
    return set_path (field, "dir:", value + 4, err);
  if (value[0] != '.' && value[n] == ':')
    return set_string (field, value, err);
  return set_path (field, "", value, err);
}

static int
set_credentials (struct lm_proxy_config *c, const char *key,
                 const char *value, struct lm_error *err)
{
  uint64_t fd;

  c->credentials_given = true;
  if (strcmp (key, "passphrase-file") == 0)
    return lm_credentials_passphrase_file (&c->credentials, value, err);
  if (strcmp (key, "passphrase-command") == 0)
    return lm_credentials_passphrase_command (&c->credentials, value, err);
  if (strcmp (key, "key-file") == 0)
    return lm_credentials_key_file (&c->credentials, value, err);
  if (lm_number_parse (value, 1 << 20, &fd, err) == -1)
    return lm_error_prefix (err, "key-fd");
  return lm_credentials_master_fd (&c->credentials, fd, err);
}

int
lm_proxy_config_set (struct lm_proxy_config *c, const char *key,
                     const char *value, struct lm_error *err)
{
  uint64_t n;
  size_t i;

  for (i = 0; lm_proxy_config_keys[i]; i++)
    if (strcmp (lm_proxy_config_keys[i], key) == 0)
      break;
  if (lm_proxy_config_keys[i] == NULL) {
    lm_error_set (err, LM_ERR_USAGE, "unknown parameter '%.80s'", key);
    return lm_error_hint (err, "nbdkit livemount --help lists them");
  }
  if (value[0] == '\0')
    return lm_error_set (err, LM_ERR_USAGE, "%s= needs a value", key);
  if (strcmp (key, "repository") == 0)
    return set_location (&c->repository, value, err);
  if (strcmp (key, "snapshot") == 0)
    return set_string (&c->snapshot, value, err);
  if (strcmp (key, "overlay") == 0)
    return set_path (&c->overlay, "", value, err);
  if (strcmp (key, "cache-dir") == 0)
    return set_path (&c->cache_dir, "", value, err);
  if (strcmp (key, "state-dir") == 0)
    return set_path (&c->state_dir, "", value, err);
  if (strcmp (key, "cache-size") == 0) {
    if (lm_size_parse (value, &c->cache_size, err) == -1)
      return lm_error_prefix (err, "cache-size");
    return 0;
  }
  if (strcmp (key, "readahead") == 0) {
    if (lm_number_parse (value, LM_PROXY_READAHEAD_MAX, &n, err) == -1)
      return lm_error_prefix (err, "readahead");
    c->readahead = n;
    return 0;
  }
  return set_credentials (c, key, value, err);
}

static const char *
environment (const char *name)
{
  const char *value = getenv (name);

  return value && *value ? value : NULL;
}

int
lm_proxy_config_complete (struct lm_proxy_config *c, struct lm_error *err)
{
  static const struct { const char *variable, *key; } from[] = {
    { "LIVEMOUNT_KEY_FILE", "key-file" },
    { "LIVEMOUNT_PASSPHRASE_FILE", "passphrase-file" },
    { "LIVEMOUNT_PASSPHRASE_COMMAND", "passphrase-command" },
  };
  const char *value = environment ("LIVEMOUNT_REPOSITORY");
  size_t i;

  if (c->repository == NULL && value &&
      set_location (&c->repository, value, err) == -1)
    return -1;
  if (c->repository == NULL) {
    lm_error_set (err, LM_ERR_USAGE, "no repository was named");
    return lm_error_hint (err, "say repository=LOCATION, or set "
                          "LIVEMOUNT_REPOSITORY");
  }
  if (c->credentials_given)
    return 0;
  for (i = 0; i < sizeof from / sizeof from[0]; i++) {
    value = environment (from[i].variable);
    /* The command is only run when there is no file (as the livemount
     * program does it). */
    if (value == NULL || (i == 2 && c->credentials.passphrase))
      continue;
    if (set_credentials (c, from[i].key, value, err) == -1)
      return lm_error_prefix (err, "%s", from[i].variable);
  }
  return 0;
}
