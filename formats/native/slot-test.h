/* SPDX-License-Identifier: Apache-2.0
 *
 * A drill: does the key that opened the repository decrypt what is in it?
 *
 * The slot itself was proven by opening it; here every manifest is read,
 * and of each disk and attached file one chunk, chosen at random, so that
 * a drill that runs every night sees more and more of them.  It says
 * nothing about the others: that is what check is for.
 */
#ifndef LM_FORMATS_NATIVE_SLOT_TEST_H
#define LM_FORMATS_NATIVE_SLOT_TEST_H

#include <signal.h>
#include <stdint.h>

#include "common/error.h"
#include "formats/native/repository.h"

struct lm_slot_test_params {
  /* A disk (or attached file; or "(all)" of a snapshot whose manifest
   * can't be read) of which the chosen chunk does not decrypt. */
  void (*failed) (void *opaque, const char *snapshot, const char *disk,
                  const struct lm_error *why);
  void (*progress) (void *opaque, uint64_t done, uint64_t total);
  void *opaque;
  const volatile sig_atomic_t *cancel;
};

struct lm_slot_test_result {
  uint64_t snapshots;           /* all of them */
  uint64_t disks;               /* attached files included */
  uint64_t chunks;              /* decrypted; a disk of zeros has none */
  uint64_t failed;              /* disks, files and manifests */
};

/* 0 also when something did not decrypt: see failed. */
extern int lm_slot_test (struct lm_repository *repo,
                         const struct lm_slot_test_params *params,
                         struct lm_slot_test_result *ret_result,
                         struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
