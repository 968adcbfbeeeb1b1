/* SPDX-License-Identifier: Apache-2.0
 * `livemount init`: make a repository.
 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "common/json.h"
#include "formats/native/reserve.h"
#include "formats/store/store-open.h"
#include "mount/commands.h"
#include "mount/open-repository.h"
#include "mount/report.h"
#include "common/banned.h"

static const struct lm_option options[] = {
  { .name = "encryption", .argument = "METHOD",
    .choices = "aes-256-gcm|none",
    .help = "aes-256-gcm (default), or none: everybody who can read the "
            "store can read the backups" },
  { .name = "chunk-size", .argument = "SIZE",
    .help = "a power of two from 4K to 1M (default 64K); fixed for ever" },
  { .name = NULL }
};

/* The key file that was named, if it does not exist yet. */
static const char *
new_key_file (const struct lm_cli *cli)
{
  const char *path = lm_args_string (&cli->args, "key-file");

  if (path == NULL && lm_args_string (&cli->args, "passphrase-file") == NULL)
    path = getenv ("LIVEMOUNT_KEY_FILE");
  return path && *path && access (path, F_OK) == -1 && errno == ENOENT
         ? path : NULL;
}

static const char *
find_location (const struct lm_cli *cli, struct lm_error *err)
{
  const char *option = lm_args_string (&cli->args, "repository");

  if (cli->args.nr_operands == 0)
    return lm_cli_location (cli, err);
  if (option && strcmp (option, cli->args.operands[0]) != 0) {
    lm_error_set (err, LM_ERR_USAGE, "two locations were named: '%s' and "
                  "'%s'", option, cli->args.operands[0]);
    return NULL;
  }
  return cli->args.operands[0];
}

static int
get_credentials (const struct lm_cli *cli, struct lm_credentials *c,
                 struct lm_error *err)
{
  CLEANUP (lm_key_source_release)
    struct lm_key_source source = LM_KEY_SOURCE_INIT;

  if (lm_cli_credentials (cli, NULL, c, &source, err) == -1)
    return -1;
  if (c->passphrase || c->key_file)
    return 0;
  if (!isatty (STDIN_FILENO)) {
    lm_error_set (err, LM_ERR_KEY, "neither a passphrase nor a key file was "
                  "given");
    return lm_error_hint (err, "say --key-file or --passphrase-file; "
                          "'--encryption none' makes a repository that "
                          "anybody can read");
  }
  return lm_credentials_passphrase_prompt (c, "Passphrase of the new "
                                           "repository: ", true, err);
}

static int
make (const char *location, const struct lm_init_options *options_,
      struct lm_error *err)
{
  struct lm_store *store;
  int r;

  if (lm_store_open (location, true, &store, err) == -1)
    return -1;
  r = lm_repository_init (store, options_, err);
  if (r == 0)
    lm_reserve_restore (store);
  lm_store_close (store);
  return r;
}

static void
say_what_matters (const struct lm_cli *cli, const char *key_file,
                  const struct lm_credentials *c, bool encrypted)
{
  if (!encrypted)
    lm_report_warning (cli, "this repository is NOT encrypted: everybody "
                       "who can read the store can read, and whoever can "
                       "write to it can forge, the backups in it");
  if (key_file)
    lm_report_warning (cli, "keep a copy of the new key file %s elsewhere: "
                       "without it nothing can be read from the backups",
                       key_file);
  else if (c->passphrase && !c->key_file)
    lm_report_note (cli, "Keep the passphrase: without it nothing can be "
                    "read from the backups.");
}

static int
run_init (struct lm_cli *cli, struct lm_error *err)
{
  const char *location = find_location (cli, err);
  const char *method = lm_args_string (&cli->args, "encryption");
  const char *key_file;
  CLEANUP (lm_credentials_release)
    struct lm_credentials c = LM_CREDENTIALS_INIT;
  struct lm_init_options o = {
    .encrypted = method == NULL || strcmp (method, "none") != 0,
    .credentials = &c,
  };
  uint64_t chunk_size = LM_CHUNK_SIZE_DEFAULT;

  if (location == NULL ||
      lm_args_size (&cli->args, "chunk-size", &chunk_size, err) == -1)
    return -1;
  if (chunk_size < LM_CHUNK_SIZE_MIN || chunk_size > LM_CHUNK_SIZE_MAX ||
      !lm_is_power_of_2 (chunk_size))
    return lm_error_set (err, LM_ERR_USAGE, "--chunk-size: expected a power "
                         "of two from 4K to 1M");
  o.chunk_size = chunk_size;
  key_file = o.encrypted ? new_key_file (cli) : NULL;
  if (key_file && lm_key_file_create (key_file, err) == -1)
    return -1;
  if ((o.encrypted && get_credentials (cli, &c, err) == -1) ||
      make (location, &o, err) == -1) {
    if (key_file)               /* it opens nothing */
      unlink (key_file);
    return -1;
  }
  say_what_matters (cli, key_file, &c, o.encrypted);
  if (cli->json)
    return lm_report_json (json_pack ("{s:o, s:s, s:I, s:o*}",
                                      "repository", lm_json_text (location),
                                      "encryption", o.encrypted
                                      ? "aes-256-gcm" : "none",
                                      "chunk_size", (json_int_t) chunk_size,
                                      "new_key_file", key_file
                                      ? lm_json_text (key_file) : NULL),
                           err);
  lm_report_note (cli, "Repository %s is made.", location);
  return 0;
}

const struct lm_command lm_cmd_init = {
  .name = "init",
  .area = "Repository",
  .summary = "make a repository",
  .usage = "[LOCATION]",
  .description =
    "LOCATION is an empty folder, or one to be made. A key file that does "
    "not exist is made, too; without --key-file and --passphrase-file a "
    "passphrase is asked for, twice.",
  .max_operands = 1,
  .completion = LM_COMPLETE_FOLDER,
  .options = options,
  .run = run_init,
};
