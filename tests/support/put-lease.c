/* SPDX-License-Identifier: Apache-2.0
 *
 * Leave a lease behind, as a program that was killed does: for scripts
 * that can't wait the five minutes of a real one.
 *
 *   put-lease REPOSITORY KEY-FILE KIND SECONDS
 *
 * Prints its id.
 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>

#include "common/hex.h"
#include "formats/native/lease.h"
#include "formats/store/store-open.h"

static void
must (bool ok, const struct lm_error *err)
{
  if (!ok) {
    fprintf (stderr, "put-lease: %s\n", err->message);
    exit (1);
  }
}

int
main (int argc, char *argv[])
{
  const struct lm_open_options options = { .read_only = false };
  struct lm_credentials c = LM_CREDENTIALS_INIT;
  struct lm_error err = LM_ERROR_INIT;
  char hex[2 * LM_NAME_ID_LEN + 1];
  struct lm_repository *repo;
  struct lm_lease *lease;
  struct lm_store *store;

  if (argc != 5) {
    fprintf (stderr, "usage: put-lease REPOSITORY KEY-FILE KIND SECONDS\n");
    return 2;
  }
  must (lm_store_open (argv[1], false, &store, &err) == 0, &err);
  must (lm_credentials_key_file (&c, argv[2], &err) == 0, &err);
  repo = lm_repository_open (store, &c, &options, &err);
  must (repo != NULL, &err);
  lease = lm_lease_acquire (repo, argv[3], strtoul (argv[4], NULL, 10),
                            &err);
  must (lease != NULL, &err);
  lm_hex_encode (lm_lease_id (lease), LM_NAME_ID_LEN, hex);
  puts (hex);
  fflush (stdout);
  _Exit (0);
}
