/* SPDX-License-Identifier: Apache-2.0
 * From the parameters to an open, unlocked, loaded repository.
 */
#ifndef LM_PROXY_UNLOCK_H
#define LM_PROXY_UNLOCK_H

#include "common/error.h"
#include "formats/native/repository.h"
#include "proxy/proxy-config.h"

/* Open it for reading; asks for the passphrase on a terminal when nothing
 * else was given.  Starts no thread. */
extern struct lm_repository *
lm_proxy_unlock (const struct lm_proxy_config *config, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
