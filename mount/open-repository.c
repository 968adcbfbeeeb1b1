/* SPDX-License-Identifier: Apache-2.0
 * Opening the repository that was named; see open-repository.h.
 */
#include <config.h>

#include "mount/open-repository.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "formats/store/store-open.h"
#include "common/banned.h"

void
lm_key_source_release (struct lm_key_source *source)
{
  free (source->key_file);
  free (source->passphrase_file);
  *source = (struct lm_key_source) LM_KEY_SOURCE_INIT;
}

static const char *
environment (const char *name)
{
  const char *value = getenv (name);

  return value && *value ? value : NULL;
}

const char *
lm_cli_location (const struct lm_cli *cli, struct lm_error *err)
{
  const char *location = lm_args_string (&cli->args, "repository");

  if (location == NULL)
    location = environment ("LIVEMOUNT_REPOSITORY");
  if (location && *location)
    return location;
  lm_error_set (err, LM_ERR_USAGE, "no repository was named");
  lm_error_hint (err, "say -r LOCATION, or set LIVEMOUNT_REPOSITORY");
  return NULL;
}

char *
lm_location_absolute (const char *location, struct lm_error *err)
{
  char *path;

  if (strncmp (location, "dir:", 4) == 0)
    location += 4;
  else if (location[0] != '/' && location[0] != '.') {
    size_t n = strcspn (location, "/:");

    if (location[n] == ':') {   /* another SCHEME: */
      path = strdup (location);
      if (path == NULL)
        lm_error_set (err, LM_ERR_NOMEM, "out of memory");
      return path;
    }
  }
  path = realpath (location, NULL);
  if (path == NULL)
    lm_error_errno (err, errno, "repository %s", location);
  return path;
}

/* NULL for a pipe (`<(…)`), which nobody finds again: then it is like one
 * that a person typed. */
static void
absolute_path (const char *path, char **ret)
{
  free (*ret);
  *ret = realpath (path, NULL);
}

static int
from_key_file (struct lm_credentials *c, const char *path,
               struct lm_key_source *source, struct lm_error *err)
{
  if (lm_credentials_key_file (c, path, err) == -1)
    return -1;
  absolute_path (path, &source->key_file);
  return 0;
}

static int
from_passphrase_file (struct lm_credentials *c, const char *path,
                      struct lm_key_source *source, struct lm_error *err)
{
  if (lm_credentials_passphrase_file (c, path, err) == -1)
    return -1;
  absolute_path (path, &source->passphrase_file);
  return 0;
}

int
lm_cli_credentials (const struct lm_cli *cli,
                    const struct lm_key_source *remembered,
                    struct lm_credentials *c, struct lm_key_source *source,
                    struct lm_error *err)
{
  const char *key_file = lm_args_string (&cli->args, "key-file");
  const char *passphrase_file = lm_args_string (&cli->args,
                                                "passphrase-file");
  const char *escrow_key = lm_args_string (&cli->args, "escrow-key");
  const char *command = NULL;

  /* What stands on the command line outranks the environment as a
   * whole. */
  if (key_file == NULL && passphrase_file == NULL && escrow_key == NULL) {
    key_file = environment ("LIVEMOUNT_KEY_FILE");
    passphrase_file = environment ("LIVEMOUNT_PASSPHRASE_FILE");
    if (passphrase_file == NULL)
      command = environment ("LIVEMOUNT_PASSPHRASE_COMMAND");
  }
  if (key_file == NULL && passphrase_file == NULL && command == NULL &&
      escrow_key == NULL && remembered) {
    key_file = remembered->key_file;
    passphrase_file = remembered->passphrase_file;
  }
  if (escrow_key && lm_credentials_escrow_key (c, escrow_key, err) == -1)
    return -1;
  if (key_file && from_key_file (c, key_file, source, err) == -1)
    return -1;
  if (passphrase_file &&
      from_passphrase_file (c, passphrase_file, source, err) == -1)
    return -1;
  if (command && lm_credentials_passphrase_command (c, command, err) == -1)
    return -1;
  return 0;
}

/* Opening takes the store only when it succeeds. */
static struct lm_repository *
try_open (const struct lm_cli *cli, struct lm_store **store,
          const struct lm_credentials *c,
          const struct lm_repository_request *request, struct lm_error *err)
{
  const struct lm_open_options options = {
    .read_only = request->read_only,
    .accept_rollback = lm_args_flag (&cli->args, "accept-rollback"),
  };
  struct lm_repository *repo = lm_repository_open (*store, c, &options, err);

  if (repo)
    *store = NULL;
  return repo;
}

static void
cleanup_store (struct lm_store **p)
{
  lm_store_close (*p);
}

/* A key was needed and none was given: ask, if there is somebody. */
static struct lm_repository *
prompt_and_open (const struct lm_cli *cli, struct lm_store **store,
                 const char *location,
                 const struct lm_repository_request *request,
                 struct lm_error *err)
{
  CLEANUP (lm_credentials_release)
    struct lm_credentials c = LM_CREDENTIALS_INIT;
  char prompt[256];

  if (request->no_prompt || !isatty (STDIN_FILENO)) {
    lm_error_set (err, LM_ERR_KEY, "repository %s is encrypted, and neither "
                  "a passphrase nor a key file was given", location);
    lm_error_hint (err, "say --key-file or --passphrase-file, or set "
                   "LIVEMOUNT_KEY_FILE, LIVEMOUNT_PASSPHRASE_FILE or "
                   "LIVEMOUNT_PASSPHRASE_COMMAND");
    return NULL;
  }
  lm_error_clear (err);
  snprintf (prompt, sizeof prompt, "Passphrase of %.200s: ", location);
  if (lm_credentials_passphrase_prompt (&c, prompt, false, err) == -1)
    return NULL;
  return try_open (cli, store, &c, request, err);
}

struct lm_repository *
lm_cli_open_repository (const struct lm_cli *cli,
                        const struct lm_repository_request *request,
                        struct lm_key_source *ret_source,
                        struct lm_error *err)
{
  const char *location = request->location;
  CLEANUP (cleanup_store) struct lm_store *store = NULL;
  CLEANUP (lm_credentials_release)
    struct lm_credentials c = LM_CREDENTIALS_INIT;
  CLEANUP (lm_key_source_release)
    struct lm_key_source source = LM_KEY_SOURCE_INIT;
  CLEANUP_REPOSITORY struct lm_repository *repo = NULL;
  bool given;

  if (location == NULL)
    location = lm_cli_location (cli, err);
  if (location == NULL)
    return NULL;
  if (lm_store_open (location, false, &store, err) == -1)
    goto no_repository;
  if (lm_cli_credentials (cli, request->remembered, &c, &source, err) == -1)
    return NULL;
  given = lm_credentials_any (&c);
  repo = try_open (cli, &store, &c, request, err);
  if (repo == NULL && err->kind == LM_ERR_KEY && !given)
    repo = prompt_and_open (cli, &store, location, request, err);
  if (repo == NULL)
    goto no_repository;
  if (!request->no_load && lm_repository_load (repo, err) == -1)
    return NULL;
  if (ret_source) {
    *ret_source = source;
    source = (struct lm_key_source) LM_KEY_SOURCE_INIT;
  }
  return lm_steal (repo);

 no_repository:
  if (err->kind == LM_ERR_NO_REPOSITORY && !err->hint[0])
    lm_error_hint (err, "'livemount init %.200s' makes one", location);
  return NULL;
}
