/* SPDX-License-Identifier: Apache-2.0
 * What the files of a layer's implementation share.
 */
#ifndef LM_PROXY_OVERLAY_LAYER_INTERNAL_H
#define LM_PROXY_OVERLAY_LAYER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "proxy/bitmap.h"
#include "proxy/overlay-layer.h"

#define STRIPES 256
#define STRIPE_BLOCKS 16        /* neighbours that share a lock: 64 KiB */

struct lm_layer {
  struct lm_layer_header header;
  char *where;                  /* for messages */
  int dirfd;                    /* of the layer's own folder */
  int data_fd, mask_fd;
  bool writable;
  uint64_t blocks;
  struct lm_xts *xts;

  struct lm_bitmap *maybe;      /* blocks that may be present (O2) */
  struct lm_bitmap *masked;     /* as in `mask` (O3) */
  struct lm_bitmap *zeroed;     /* present, hold zeros, to be punched */
  _Atomic (uint64_t) zeroed_low, zeroed_high;   /* bounds of those */
  _Atomic (bool) cannot_punch;

  pthread_mutex_t mask_lock;    /* bytes of `mask` and their bits agree */
  pthread_rwlock_t stripes[STRIPES];

  /* Durability.  A change is: write, set dirty, raise `changed`, answer. */
  _Atomic (bool) data_dirty, mask_dirty;
  _Atomic (uint64_t) changed;
  pthread_mutex_t sync_lock;    /* what follows */
  pthread_cond_t sync_done;
  bool syncing;
  uint64_t synced;              /* a value that `changed` had */
  _Atomic (bool) poisoned;      /* written under sync_lock */
  struct lm_error reason;       /* what it was that failed */
};

/* After a change, whether it succeeded or not. */
extern void lm_layer_note_change (struct lm_layer *l,
                                  _Atomic (bool) *dirty);

/* O9.  ERR says why; it stays as it is. */
extern void lm_layer_poison (struct lm_layer *l, const struct lm_error *err);

/* -1 with LM_ERR_IO if the layer is poisoned. */
extern int lm_layer_check_sound (struct lm_layer *l, struct lm_error *err);

/* Durable `mask`, now; poisons on failure. */
extern int lm_layer_sync_mask (struct lm_layer *l, struct lm_error *err);

/* Give the space of blocks back, whose mask bits are durable (O4).  1 if
 * the file system cannot; -1 (poisoned) on failure. */
extern int lm_layer_punch_locked (struct lm_layer *l, uint64_t first,
                                  uint64_t count, struct lm_error *err);

/* Marker handling when the layer is opened (section 6). */
extern int lm_layer_verify_marked (struct lm_layer *l, struct lm_error *err);

#endif
