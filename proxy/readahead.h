/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading ahead: who reads one small piece after the other finds the next
 * chunks decoded already, by threads of our own.  Requests that span
 * several chunks are left alone: such clients (nbdcopy) have many in
 * flight and keep all cores busy by themselves.
 */
#ifndef LM_PROXY_READAHEAD_H
#define LM_PROXY_READAHEAD_H

#include <pthread.h>
#include <stdint.h>

#include "common/error.h"
#include "formats/disk.h"

struct lm_readahead;

/* What one connection has been reading. */
struct lm_readahead_stream {
  pthread_mutex_t lock;         /* only ever tried */
  uint64_t next;                /* where a sequential reader goes on */
  uint64_t sequential;          /* bytes read so without a jump */
  uint64_t ahead;               /* what was asked for ends here */
};

extern void lm_readahead_stream_init (struct lm_readahead_stream *s)
  __attribute__ ((nonnull));
extern void lm_readahead_stream_release (struct lm_readahead_stream *s)
  __attribute__ ((nonnull));

/* CHUNKS ahead, 0 for never.  Starts no thread yet. */
extern struct lm_readahead *lm_readahead_new (unsigned chunks,
                                              struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Start the threads: after the process has forked for the last time. */
extern int lm_readahead_start (struct lm_readahead *r, struct lm_error *err)
  __attribute__ ((nonnull));

/* Ends the threads.  NULL is fine. */
extern void lm_readahead_free (struct lm_readahead *r);

/* A read of [OFFSET, OFFSET+LEN) of DISK (of lm_cache_disk_new) was
 * asked for.  Any thread; never waits. */
extern void lm_readahead_note (struct lm_readahead *r,
                               struct lm_readahead_stream *s,
                               struct lm_disk *disk, uint64_t offset,
                               uint64_t len)
  __attribute__ ((nonnull));

/* Bring a range into the cache soon; dropped when there is too much to do
 * already. */
extern void lm_readahead_queue (struct lm_readahead *r, struct lm_disk *disk,
                                uint64_t offset, uint64_t len)
  __attribute__ ((nonnull));

/* DISK will be closed: drop what is queued for it, wait for what is being
 * read. */
extern void lm_readahead_forget (struct lm_readahead *r,
                                 const struct lm_disk *disk)
  __attribute__ ((nonnull));

#endif
