/* SPDX-License-Identifier: Apache-2.0
 *
 * From the names that NBD clients say to open disks: the repository, the
 * cache, the overlay, and which disks are open.
 *
 * With snapshot= (or an overlay, which is always of one snapshot) only
 * that snapshot's disks exist, under their own names and their full ones.
 * Otherwise every disk of every snapshot does, and what a short name
 * (`latest`, the beginning of a time, no disk) meant when it was first
 * used it means as long as the process lives.
 */
#ifndef LM_PROXY_EXPORTS_H
#define LM_PROXY_EXPORTS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "formats/disk.h"
#include "proxy/proxy-config.h"
#include "proxy/readahead.h"

struct lm_exports;

/* An open disk, shared by all who have it open. */
struct lm_export {
  struct lm_disk *disk;         /* what clients see */
  struct lm_disk *cached;       /* the backup's disk, to be prefetched */
  bool writable;                /* DISK is one of lm_overlay_disk_open */
  char *name;                   /* VM/TIME/DISK */
  char *description;            /* one line for people */
};

/* All that can fail because of what the user said: unlock and load the
 * repository, find the snapshot, lock and open the overlay.  CONFIG is
 * borrowed for the call.  Starts no thread, so that the process may fork
 * afterwards (a flock goes with it). */
extern struct lm_exports *lm_exports_new (const struct lm_proxy_config *config,
                                          struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Start the threads, after the last fork. */
extern int lm_exports_start (struct lm_exports *x, struct lm_error *err)
  __attribute__ ((nonnull));

/* When no export is open any more.  NULL is fine. */
extern void lm_exports_free (struct lm_exports *x);

/* The following may be called by any threads at once. */

/* NAME is whatever a client sent; "" is the default export. */
extern struct lm_export *lm_exports_open (struct lm_exports *x,
                                          const char *name,
                                          struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
extern void lm_exports_close (struct lm_exports *x, struct lm_export *e)
  __attribute__ ((nonnull));

/* The full name that "" stands for, or NULL when there is none.  Lives as
 * long as X. */
extern const char *lm_exports_default (const struct lm_exports *x)
  __attribute__ ((nonnull));

/* Called for each name, newest snapshots first.  Return -1 to stop. */
typedef int (*lm_exports_list_cb) (void *opaque, const char *name,
                                   const char *description,
                                   struct lm_error *err);
extern int lm_exports_list (struct lm_exports *x, lm_exports_list_cb cb,
                            void *opaque, struct lm_error *err)
  __attribute__ ((nonnull (1, 2, 4)));

extern struct lm_readahead *lm_exports_readahead (struct lm_exports *x)
  __attribute__ ((nonnull));

#endif
