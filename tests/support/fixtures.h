/* SPDX-License-Identifier: Apache-2.0
 *
 * The repositories below fixtures/native/v1/valid: how they are made, and
 * everything that can be read from one, as text.
 *
 * Randomness, clock and the names of host and user are fixed while one is
 * made.  A backup's threads and its duration are not, so repositories
 * with backups come out different each time (but for their packs and
 * segments); the others, byte by byte the same.
 *
 * When a program draws its random bytes in another order that comparison
 * fails though the format is the same: then `stable` goes, not the
 * fixture.
 */
#ifndef LM_TESTS_SUPPORT_FIXTURES_H
#define LM_TESTS_SUPPORT_FIXTURES_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buffer.h"
#include "common/error.h"
#include "formats/native/repository.h"

struct lm_fixture {
  const char *name;
  bool stable;                  /* made again it has the same bytes */
  bool passphrase;              /* LM_FIXTURE_PASSPHRASE opens it */
  bool encrypted;
};

extern const struct lm_fixture lm_fixtures[];
extern const size_t lm_nr_fixtures;

#define LM_FIXTURE_PASSPHRASE "open sesame"

/* What opens it.  Release it. */
extern struct lm_credentials lm_fixture_credentials (
  const struct lm_fixture *f)
  __attribute__ ((nonnull));

/* Make it as a directory store at PATH, which may not exist.  SCRATCH is
 * for what a client keeps.  Changes the process's random source, clock
 * and identity, and puts them back. */
extern int lm_fixture_make (const struct lm_fixture *f, const char *path,
                            const char *scratch, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Append all that can be read from REPO (which is loaded): snapshots,
 * hashes of disks and files, and every object as inspect shows it. */
extern int lm_fixture_describe (struct lm_repository *repo,
                                struct lm_buffer *out, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
