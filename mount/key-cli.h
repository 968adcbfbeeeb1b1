/* SPDX-License-Identifier: Apache-2.0
 * What the `key` commands have in common.
 */
#ifndef LM_MOUNT_KEY_CLI_H
#define LM_MOUNT_KEY_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/json.h"
#include "formats/native/key-slot.h"
#include "formats/native/repo-config.h"
#include "formats/native/repository.h"
#include "formats/store.h"
#include "mount/cli.h"

/* The keys of a repository that was not unlocked.  Slots are not secret. */
struct lm_key_place {
  struct lm_store *store;               /* owned, unless taken */
  struct lm_repo_config config;
  struct lm_key_slot *slots;            /* owned */
  size_t n;
};

#define LM_KEY_PLACE_INIT { .store = NULL }

extern void lm_key_place_release (struct lm_key_place *place)
  __attribute__ ((nonnull));

/* Of the repository that was named.  Warns of slots that can't be read.
 * ENCRYPTED: LM_ERR_USAGE if it is not. */
extern int lm_key_place_open (const struct lm_cli *cli, bool encrypted,
                              struct lm_key_place *place,
                              struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Open and load the repository there with its master key, taking the
 * store.  That the journal authenticates proves the key. */
extern struct lm_repository *
lm_key_place_unlock (const struct lm_cli *cli, struct lm_key_place *place,
                     const uint8_t master[LM_MASTER_KEY_LEN],
                     bool read_only, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* The master key out of SLOT: with what options and environment offer, or
 * with a passphrase that is asked for.  *C has what opened it. */
extern int lm_key_slot_ask (const struct lm_cli *cli,
                            const struct lm_key_slot *slot,
                            struct lm_credentials *c,
                            uint8_t ret_master[LM_MASTER_KEY_LEN],
                            struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#define LM_SLOT_TEXT_LEN (2 * LM_SLOT_ID_LEN + 1)
extern void lm_key_slot_text (const uint8_t id[LM_SLOT_ID_LEN],
                              char ret_text[LM_SLOT_TEXT_LEN]);
/* For --json and tables; NULL when out of memory. */
extern json_t *lm_key_slot_json (const struct lm_key_slot *slot)
  __attribute__ ((nonnull, warn_unused_result));

/* What a new slot is to be opened with. */
#define LM_NEW_SECRET_OPTIONS \
  { .name = "new-passphrase-file", .argument = "FILE", \
    .help = "the new passphrase; without this it is asked for, twice", \
    .completion = LM_COMPLETE_FILE }, \
  { .name = "new-key-file", .argument = "FILE", \
    .help = "the new key file; one that does not exist is made", \
    .completion = LM_COMPLETE_FILE }

struct lm_new_secret {
  struct lm_credentials c;
  enum lm_slot_kind kind;
  const char *made;             /* a key file that was made; or NULL */
};

#define LM_NEW_SECRET_INIT { .made = NULL }

/* Wipe it.  Does not remove a key file. */
extern void lm_new_secret_release (struct lm_new_secret *secret)
  __attribute__ ((nonnull));

/* From the options above and ESCROW, a public key file (or NULL). */
extern int lm_new_secret_get (const struct lm_cli *cli, const char *escrow,
                              struct lm_new_secret *secret,
                              struct lm_error *err)
  __attribute__ ((nonnull (1, 3, 4)));

/* Make a slot from it, or remove the key file that was made for it. */
extern int lm_new_secret_add (const struct lm_cli *cli,
                              struct lm_repository *repo,
                              const struct lm_new_secret *secret,
                              const char *label, const char *verb,
                              struct lm_key_slot *ret_slot,
                              struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Write LEN bytes durably to a file that must not exist, mode 0600; "-" or
 * NULL is standard output, past the buffer of stdio, which nobody wipes. */
extern int lm_key_write (const char *path, const void *data, size_t len,
                         struct lm_error *err)
  __attribute__ ((nonnull (2, 4)));

/* Read all of a file, or of standard input ("-" or NULL), at most LIMIT
 * bytes.  *RET_DATA has *RET_LEN bytes, to be wiped and freed. */
extern int lm_key_read (const char *path, size_t limit, char **ret_data,
                        size_t *ret_len, struct lm_error *err)
  __attribute__ ((nonnull (3, 4, 5)));

#endif
