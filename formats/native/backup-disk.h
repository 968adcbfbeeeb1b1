/* SPDX-License-Identifier: Apache-2.0
 *
 * One disk into chunks and a map, on several threads.
 */
#ifndef LM_FORMATS_NATIVE_BACKUP_DISK_H
#define LM_FORMATS_NATIVE_BACKUP_DISK_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "formats/disk.h"
#include "formats/native/chunk-write.h"
#include "formats/native/disk-map.h"

/* Counters that all threads add to, atomically; bytes. */
struct lm_backup_counters {
  uint64_t done, read, zero;
};

struct lm_backup_range { uint64_t offset, len; };

struct lm_backup_disk_result {
  bool has_root;
  uint8_t root[LM_ID_LEN];
  struct lm_backup_range *unreadable;   /* sorted, merged; to be freed */
  size_t nr_unreadable;
};

/* Called now and then from the calling thread while others work. */
typedef void (*lm_backup_tick_cb) (void *opaque);

/* Returns when all is handed to WRITER.  CANCEL may be NULL; so may PARENT,
 * the map of the same disk in the parent snapshot: with it, what changed
 * may be stored against what was there. */
extern int lm_backup_disk_run (struct lm_chunk_writer *writer,
                               struct lm_disk *disk,
                               struct lm_disk_map *parent_or_null,
                               uint32_t chunk_size,
                               unsigned threads,
                               struct lm_backup_counters *counters,
                               const volatile sig_atomic_t *cancel,
                               lm_backup_tick_cb tick, void *opaque,
                               struct lm_backup_disk_result *ret_result,
                               struct lm_error *err)
  __attribute__ ((nonnull (1, 2, 6, 8, 10, 11), warn_unused_result));

#endif
