/* SPDX-License-Identifier: Apache-2.0
 *
 * Making a snapshot: read disks and files, store what is new, publish.
 *
 * Nothing of it exists for anybody until the journal record does.  When it
 * fails, is interrupted or killed, the repository is as it was plus at
 * most unreferenced packs, which the next backup uses.
 */
#ifndef LM_FORMATS_NATIVE_BACKUP_H
#define LM_FORMATS_NATIVE_BACKUP_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "formats/disk.h"
#include "formats/native/repository.h"

struct lm_backup_disk {
  const char *name;
  struct lm_disk *disk;         /* borrowed */
  const char *source;           /* for people */
  uint32_t sector_size;         /* bytes; 0 = 512 */
};

struct lm_backup_file {
  const char *kind;             /* "config", "nvram", … */
  const char *name;
  const void *data;             /* borrowed */
  size_t len;
  uint32_t mode;
};

/* Counted while it runs; bytes. */
struct lm_backup_progress {
  uint64_t total;               /* of all disks */
  uint64_t done;                /* dealt with, holes included */
  uint64_t read;                /* from the sources */
  uint64_t zero;                /* of done: known or found to be zeros */
  uint64_t new_plain;
  uint64_t stored;
};

/* From the calling thread, a few times a second and once at the end. */
typedef void (*lm_backup_progress_cb) (void *opaque,
                                       const struct lm_backup_progress *p);

struct lm_backup_params {
  const char *vm;
  const struct lm_backup_disk *disks;
  size_t nr_disks;
  const struct lm_backup_file *files;
  size_t nr_files;
  const char *const *tags;
  size_t nr_tags;
  const char *consistency;      /* native.md section 11 */
  const char *machine_config_kind;      /* or NULL */
  const char *program;          /* "livemount 0.1.0" */
  unsigned threads;             /* 0: what suits the machine */
  bool no_base_chunks;          /* store everything in full */
  lm_backup_progress_cb progress;       /* or NULL */
  void *opaque;
  const volatile sig_atomic_t *cancel;  /* or NULL; non-zero stops it with
                                           LM_ERR_INTERRUPTED */
};

struct lm_backup_result {
  uint8_t snapshot[LM_NAME_ID_LEN];
  int64_t time;
  struct lm_snapshot_statistics statistics;
  uint64_t unreadable;          /* bytes that could not be read */
};

extern int lm_backup_run (struct lm_repository *repo,
                          const struct lm_backup_params *params,
                          struct lm_backup_result *ret_result,
                          struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
