/* SPDX-License-Identifier: Apache-2.0
 *
 * Between nbd-client.c (the connection) and nbd-request.c (what is asked
 * over it).
 */
#ifndef LM_FORMATS_NBD_CLIENT_INTERNAL_H
#define LM_FORMATS_NBD_CLIENT_INTERNAL_H

#include <libnbd.h>
#include <pthread.h>

#include "formats/nbd-client.h"

struct lm_nbd_client {
  char *name;
  struct nbd_handle *nbd;
  struct lm_nbd_info info;      /* constant once connected */
  unsigned timeout_ms;
  int wake_fd;                  /* an eventfd that interrupts poll */
  /* Makes read-modify-write of a block that is shared by two requests one
   * operation.  Taken before c->lock. */
  pthread_mutex_t edge_lock;

  pthread_mutex_t lock;         /* guards all below */
  bool polling;                 /* some thread polls for all */
  struct request *requests;
  char failure[200];            /* why the connection was lost, or "" */
};

/* What one thread waits for: one or several NBD requests.  It lives on
 * the thread's stack from _begin to _end. */
struct request {
  struct lm_nbd_client *client;
  struct request *prev, *next;
  pthread_cond_t wake;
  unsigned timeout_ms;          /* without a word from the server */
  uint64_t deadline;            /* of the monotonic clock, ns */
  /* Guarded by client->lock. */
  unsigned pending;
  int error;                    /* errno of the first that failed */
};

/* PATIENCE is 1, or how much longer than a read it may take. */
extern void lm_nbd_request_begin (struct lm_nbd_client *c,
                                  struct request *req, unsigned patience);

/* The callback for one more nbd_aio_* call, whose result then goes to
 * _submitted, whatever it is. */
extern nbd_completion_callback
lm_nbd_request_callback (struct request *req);
extern void lm_nbd_request_submitted (struct request *req, int64_t cookie);

/* Wait for all.  Buffers are ours again afterwards. */
extern int lm_nbd_request_end (struct request *req, const char *what,
                               uint64_t offset, struct lm_error *err);

#endif
