/* SPDX-License-Identifier: Apache-2.0
 *
 * An open repository: what the proxy and the command line hold.
 *
 * Opening is in two steps, because nbdkit forks in between: _open reads
 * `config` and unlocks the key (no threads, no locks, no mappings), _load
 * replays the journal.  After _load the handle may be used by several
 * threads for reading; _load itself, and everything that changes the
 * repository, is called by one thread at a time.
 */
#ifndef LM_FORMATS_NATIVE_REPOSITORY_H
#define LM_FORMATS_NATIVE_REPOSITORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "formats/disk.h"
#include "formats/native/native-wire.h"
#include "formats/store.h"

struct lm_repository;
struct lm_snapshot;
struct lm_keys;

/* What may open a repository.  All pointers are owned by the struct and
 * wiped by _release; any number of them may be NULL. */
struct lm_credentials {
  char *passphrase;             /* NUL-terminated, no trailing newline */
  uint8_t *key_file;            /* the bytes of the key file */
  size_t key_file_len;
  uint8_t *master;              /* LM_MASTER_KEY_LEN bytes, from a parent */
  uint8_t *escrow_key;          /* 32 bytes: the private half */
  uint8_t *escrow_recipient;    /* 32 bytes: the public half; makes escrow
                                 * slots, and opens nothing */
};

#define LM_CREDENTIALS_INIT { .passphrase = NULL }

/* Is anything in it that could open a repository? */
static inline bool
lm_credentials_any (const struct lm_credentials *c)
{
  return c->passphrase || c->key_file || c->master || c->escrow_key;
}

extern void lm_credentials_release (struct lm_credentials *c)
  __attribute__ ((nonnull));

/* Read a passphrase file (one trailing newline removed; 1 to 4096 bytes). */
extern int lm_credentials_passphrase_file (struct lm_credentials *c,
                                           const char *path,
                                           struct lm_error *err)
  __attribute__ ((nonnull));
/* Run a command with /bin/sh and take its standard output, likewise. */
extern int lm_credentials_passphrase_command (struct lm_credentials *c,
                                              const char *command,
                                              struct lm_error *err)
  __attribute__ ((nonnull));
/* Ask on the terminal; twice when CONFIRM. */
extern int lm_credentials_passphrase_prompt (struct lm_credentials *c,
                                             const char *prompt,
                                             bool confirm,
                                             struct lm_error *err)
  __attribute__ ((nonnull));
extern int lm_credentials_key_file (struct lm_credentials *c,
                                    const char *path, struct lm_error *err)
  __attribute__ ((nonnull));
/* An X25519 key in PEM: the private half, and the public one. */
extern int lm_credentials_escrow_key (struct lm_credentials *c,
                                      const char *path,
                                      struct lm_error *err)
  __attribute__ ((nonnull));
extern int lm_credentials_escrow_recipient (struct lm_credentials *c,
                                            const char *path,
                                            struct lm_error *err)
  __attribute__ ((nonnull));
/* Read exactly a master key from a descriptor, then close it. */
extern int lm_credentials_master_fd (struct lm_credentials *c, int fd,
                                     struct lm_error *err)
  __attribute__ ((nonnull));
/* Make a new key file (mode 0600, 64 random bytes as hex, fsynced);
 * LM_ERR_EXISTS if the path exists. */
extern int lm_key_file_create (const char *path, struct lm_error *err)
  __attribute__ ((nonnull));

struct lm_init_options {
  uint32_t chunk_size;          /* bytes; 0 = default */
  bool encrypted;
  const struct lm_credentials *credentials;     /* a slot for each given */
};

/* Make a repository in an empty STORE: config, slots, record 0; tests
 * put_if_absent first.  LM_ERR_EXISTS if there is one already. */
extern int lm_repository_init (struct lm_store *store,
                               const struct lm_init_options *options,
                               struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

struct lm_open_options {
  bool read_only;               /* refuse nothing but unknown "required" */
  bool accept_rollback;
  /* Where the private index cache and the memory of the newest record
   * live; NULL = $XDG_CACHE_HOME and $XDG_STATE_HOME with their defaults
   * (for root: /var/cache/livemount and /var/lib/livemount). */
  const char *cache_dir;
  const char *state_dir;
};

/* Takes the store on success only.  LM_ERR_NO_REPOSITORY, LM_ERR_KEY,
 * LM_ERR_UNSUPPORTED (features). */
extern struct lm_repository *
lm_repository_open (struct lm_store *store, const struct lm_credentials *c,
                    const struct lm_open_options *options,
                    struct lm_error *err)
  __attribute__ ((nonnull (1, 3, 4), warn_unused_result));

/* Replay the journal; again later to see what is new. */
extern int lm_repository_load (struct lm_repository *repo,
                               struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

extern void lm_repository_close (struct lm_repository *repo);

extern const struct lm_keys *
lm_repository_keys (const struct lm_repository *repo);
extern struct lm_store *lm_repository_store (const struct lm_repository *);
extern uint32_t lm_repository_chunk_size (const struct lm_repository *);
extern bool lm_repository_encrypted (const struct lm_repository *);
/* 8 bytes, borrowed: the key slot that opened it; zeros for none. */
extern const uint8_t *lm_repository_slot_id (const struct lm_repository *);
/* 16 bytes, borrowed. */
extern const uint8_t *lm_repository_id (const struct lm_repository *);

/* A snapshot as the journal names it. */
struct lm_snapshot_entry {
  uint8_t id[LM_NAME_ID_LEN];
  char *vm;
  int64_t time;                 /* seconds since the epoch */
  bool has_parent;
  uint8_t parent[LM_NAME_ID_LEN];
  uint8_t manifest_sha256[LM_SHA256_LEN];
  uint64_t sequence;
  bool is_protected;
};

/* All live snapshots in journal order; borrowed until the next _load. */
extern const struct lm_snapshot_entry *
lm_repository_snapshots (const struct lm_repository *repo, size_t *ret_n)
  __attribute__ ((nonnull));

/* Resolve "VM", "VM/TIME", "VM/TIME/DISK", TIME being "latest" or a
 * prefix that fits one snapshot of that VM.  *ret_disk is the disk's
 * name (to be freed), or NULL when the text named none.  Hostile names
 * are LM_ERR_USAGE, unknown or ambiguous ones LM_ERR_NOT_FOUND and
 * LM_ERR_USAGE, with the candidates in the hint. */
extern const struct lm_snapshot_entry *
lm_repository_resolve (const struct lm_repository *repo, const char *name,
                       char **ret_disk, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* 0 if NAME may name a VM or a disk (section 11). */
extern int lm_name_check (const char *what, const char *name,
                          struct lm_error *err)
  __attribute__ ((nonnull));

/* A snapshot's manifest, decoded and checked (section 11). */
struct lm_snapshot_disk {
  char *name;
  uint64_t size;                /* bytes */
  uint32_t sector_size;         /* bytes: 512 or 4096 */
  bool has_root;                /* false: all zeros */
  uint8_t root[LM_ID_LEN];
  char *source;                 /* where it was read from, for people */
  size_t nr_unreadable;
  struct { uint64_t offset, len; } *unreadable;
};

struct lm_snapshot_file {
  char *kind;
  char *name;
  uint64_t size;                /* bytes */
  uint32_t mode;
  bool has_root;
  uint8_t root[LM_ID_LEN];
};

struct lm_snapshot_statistics {
  uint64_t read, new_, deduplicated, zero, stored;      /* bytes */
  double seconds;
};

struct lm_snapshot {
  uint8_t id[LM_NAME_ID_LEN];
  char *vm;
  int64_t time;
  bool has_parent;
  uint8_t parent[LM_NAME_ID_LEN];
  char *created_by;
  char *host;
  char *consistency;
  char *machine_config_kind;    /* or NULL */
  size_t nr_tags;
  char **tags;
  size_t nr_disks;
  struct lm_snapshot_disk *disks;
  size_t nr_files;
  struct lm_snapshot_file *files;
  struct lm_snapshot_statistics statistics;
};

/* Read and check the manifest of ENTRY. */
extern struct lm_snapshot *
lm_snapshot_open (struct lm_repository *repo,
                  const struct lm_snapshot_entry *entry,
                  struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
extern void lm_snapshot_free (struct lm_snapshot *snapshot);

/* The disk called NAME; NULL means the only one.  Borrowed. */
extern const struct lm_snapshot_disk *
lm_snapshot_find_disk (const struct lm_snapshot *snapshot, const char *name,
                       struct lm_error *err)
  __attribute__ ((nonnull (1, 3), warn_unused_result));

/* A disk (or file) of a snapshot, to read.  preferred_block is the chunk
 * size; nothing decoded is kept: wrap it in a cache.  A missing or
 * damaged chunk fails exactly the reads that touch it.  The repository
 * must live longer.  */
extern struct lm_disk *
lm_snapshot_disk_open (struct lm_repository *repo, uint64_t size,
                       const uint8_t *root_or_null, const char *what,
                       struct lm_error *err)
  __attribute__ ((nonnull (1, 4, 5), warn_unused_result));

/* Read a whole attached file; *ret_data is to be freed. */
extern int lm_snapshot_file_read (struct lm_repository *repo,
                                  const struct lm_snapshot_file *file,
                                  uint8_t **ret_data, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
