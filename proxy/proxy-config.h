/* SPDX-License-Identifier: Apache-2.0
 * The plugin's parameters: what --help lists and the manual explains.
 */
#ifndef LM_PROXY_PROXY_CONFIG_H
#define LM_PROXY_PROXY_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "formats/native/repository.h"

#define LM_PROXY_CACHE_SIZE_DEFAULT (UINT64_C (24) << 20)
#define LM_PROXY_READAHEAD_DEFAULT 4
#define LM_PROXY_READAHEAD_MAX 64

/* Paths are absolute: a daemon's working folder is the root.  Strings
 * are owned and may be NULL. */
struct lm_proxy_config {
  char *repository;             /* a location, as lm_store_open wants it */
  char *snapshot;
  char *overlay;
  char *cache_dir;
  char *state_dir;
  uint64_t cache_size;          /* bytes */
  unsigned readahead;           /* chunks; 0: off */
  struct lm_credentials credentials;
  bool credentials_given;       /* by parameter: the environment is not asked */
};

#define LM_PROXY_CONFIG_INIT \
  { .cache_size = LM_PROXY_CACHE_SIZE_DEFAULT, \
    .readahead = LM_PROXY_READAHEAD_DEFAULT, \
    .credentials = LM_CREDENTIALS_INIT }

/* Wipes the credentials. */
extern void lm_proxy_config_release (struct lm_proxy_config *c)
  __attribute__ ((nonnull));

/* One KEY=VALUE; files that unlock are read at once.  LM_ERR_USAGE for
 * unknown keys and values that can't be. */
extern int lm_proxy_config_set (struct lm_proxy_config *c, const char *key,
                                const char *value, struct lm_error *err)
  __attribute__ ((nonnull));

/* After the last one: take the rest from the environment, and check. */
extern int lm_proxy_config_complete (struct lm_proxy_config *c,
                                     struct lm_error *err)
  __attribute__ ((nonnull));

/* For --help: a line for each parameter. */
extern const char lm_proxy_config_help[];

/* The names of all parameters, NULL at the end. */
extern const char *const lm_proxy_config_keys[];

#endif
