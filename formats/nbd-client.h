/* SPDX-License-Identifier: Apache-2.0
 *
 * A connection to an NBD server, for any number of threads at once: what
 * disk-nbd.c and target-nbd.c have in common.
 *
 * Requests of N threads are N requests in flight on one connection.  No
 * function waits for ever: a server that says nothing for the time-out
 * while something is asked of it loses the connection, and then every
 * request fails.
 */
#ifndef LM_FORMATS_NBD_CLIENT_H
#define LM_FORMATS_NBD_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct lm_nbd_client;

struct lm_nbd_info {
  uint64_t size;                /* bytes */
  uint32_t min_block;           /* a power of 2; 1: no constraint */
  uint32_t preferred_block;     /* a power of 2, at least min_block */
  uint32_t max_block;           /* longest read or write; a multiple of
                                 * min_block */
  bool read_only;
  bool can_extents;             /* base:allocation was agreed on */
  bool can_zero;
  bool can_flush;
};

#define LM_NBD_TIMEOUT_MS 60000

/* Is this an NBD URI, of whatever transport? */
extern bool lm_nbd_is_uri (const char *location) __attribute__ ((nonnull));

/* Connect to an nbd:, nbd+unix:, nbds: or nbds+unix: URI.  With nbds,
 * a server without TLS is refused.  TIMEOUT_MS 0 means
 * LM_NBD_TIMEOUT_MS. */
extern struct lm_nbd_client *
lm_nbd_client_connect (const char *uri, unsigned timeout_ms,
                       struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* The same over a connected socket, which is taken over in any case.
 * NAME is for messages. */
extern struct lm_nbd_client *
lm_nbd_client_attach (int sock, const char *name, unsigned timeout_ms,
                      struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Disconnect politely, but without waiting long.  NULL is fine. */
extern void lm_nbd_client_free (struct lm_nbd_client *c);

extern const struct lm_nbd_info *
lm_nbd_client_info (const struct lm_nbd_client *c)
  __attribute__ ((nonnull, returns_nonnull));
extern const char *lm_nbd_client_name (const struct lm_nbd_client *c)
  __attribute__ ((nonnull, returns_nonnull));

/* Any range within the size; the server's block sizes are dealt with. */
extern int lm_nbd_client_pread (struct lm_nbd_client *c, void *buf,
                                size_t len, uint64_t offset,
                                struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
extern int lm_nbd_client_pwrite (struct lm_nbd_client *c, const void *buf,
                                 size_t len, uint64_t offset,
                                 struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Both multiples of min_block; only if info->can_zero. */
extern int lm_nbd_client_zero (struct lm_nbd_client *c, uint64_t offset,
                               uint64_t len, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Only if info->can_flush. */
extern int lm_nbd_client_flush (struct lm_nbd_client *c,
                                struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* One question about base:allocation; only if info->can_extents.
 * *ret_entries (free it) are *ret_nr pairs of length and flags as the
 * server sent them: believe nothing. */
extern int lm_nbd_client_block_status (struct lm_nbd_client *c,
                                       uint64_t offset, uint32_t len,
                                       uint32_t **ret_entries,
                                       size_t *ret_nr,
                                       struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

#endif
