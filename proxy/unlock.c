/* SPDX-License-Identifier: Apache-2.0
 * Opening the repository; see unlock.h.
 */
#include <config.h>

#include "proxy/unlock.h"

#include <stdio.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "formats/store/store-open.h"
#include "common/banned.h"

static struct lm_repository *
ask_and_open (struct lm_store *store, const struct lm_proxy_config *config,
              const struct lm_open_options *options, struct lm_error *err)
{
  CLEANUP (lm_credentials_release)
    struct lm_credentials c = LM_CREDENTIALS_INIT;
  char prompt[256];

  if (!isatty (STDIN_FILENO)) {
    lm_error_set (err, LM_ERR_KEY, "repository %s is encrypted, and neither "
                  "a passphrase nor a key was given", config->repository);
    lm_error_hint (err, "say key-file= or passphrase-file=, or set "
                   "LIVEMOUNT_KEY_FILE, LIVEMOUNT_PASSPHRASE_FILE or "
                   "LIVEMOUNT_PASSPHRASE_COMMAND");
    return NULL;
  }
  lm_error_clear (err);
  snprintf (prompt, sizeof prompt, "Passphrase of %.200s: ",
            config->repository);
  if (lm_credentials_passphrase_prompt (&c, prompt, false, err) == -1)
    return NULL;
  return lm_repository_open (store, &c, options, err);
}

struct lm_repository *
lm_proxy_unlock (const struct lm_proxy_config *config, struct lm_error *err)
{
  const struct lm_credentials *c = &config->credentials;
  const struct lm_open_options options = {
    .read_only = true,
    .cache_dir = config->cache_dir,
    .state_dir = config->state_dir,
  };
  struct lm_repository *repo;
  struct lm_store *store;

  if (lm_store_open (config->repository, false, &store, err) == -1) {
    lm_error_prefix (err, "repository");
    return NULL;
  }
  repo = lm_repository_open (store, c, &options, err);
  if (repo == NULL && err->kind == LM_ERR_KEY && !lm_credentials_any (c))
    repo = ask_and_open (store, config, &options, err);
  if (repo == NULL) {
    lm_store_close (store);
    return NULL;
  }
  if (lm_repository_load (repo, err) == -1) {
    lm_repository_close (repo);
    return NULL;
  }
  return repo;
}
