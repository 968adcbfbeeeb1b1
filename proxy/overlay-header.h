/* SPDX-License-Identifier: Apache-2.0
 *
 * The two files that describe an overlay: overlay.json and each layer's
 * sealed header (docs/overlay.md, section 1).
 */
#ifndef LM_PROXY_OVERLAY_HEADER_H
#define LM_PROXY_OVERLAY_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "formats/native/keys.h"
#include "proxy/overlay-crypt.h"

#define LM_OVERLAY_VERSION 1
#define LM_LAYER_ID_LEN LM_NAME_ID_LEN
#define LM_OVERLAY_LAYERS_MAX 64

struct lm_layer_header {
  uint8_t id[LM_LAYER_ID_LEN];
  uint8_t repository[LM_NAME_ID_LEN];
  uint8_t snapshot[LM_NAME_ID_LEN];
  char *disk;                   /* owned */
  uint64_t size;                /* bytes */
  bool has_parent;
  uint8_t parent[LM_LAYER_ID_LEN];
  uint8_t key[LM_LAYER_KEY_LEN];
};

#define LM_LAYER_HEADER_INIT { .disk = NULL }

/* Frees the name and wipes the key. */
extern void lm_layer_header_release (struct lm_layer_header *h)
  __attribute__ ((nonnull));

/* Write DIRFD/layer, durably. */
extern int lm_layer_header_write (int dirfd, const struct lm_keys *keys,
                                  const struct lm_layer_header *h,
                                  struct lm_error *err)
  __attribute__ ((nonnull));

/* Read DIRFD/layer, which must be the header of layer ID. */
extern int lm_layer_header_read (int dirfd, const struct lm_keys *keys,
                                 const uint8_t id[LM_LAYER_ID_LEN],
                                 struct lm_layer_header *ret_header,
                                 struct lm_error *err)
  __attribute__ ((nonnull));

/* One disk of overlay.json. */
struct lm_overlay_stack {
  char *disk;                   /* owned */
  size_t nr_layers;             /* lowest first */
  uint8_t layers[LM_OVERLAY_LAYERS_MAX][LM_LAYER_ID_LEN];
};

struct lm_overlay_index {
  uint8_t repository[LM_NAME_ID_LEN];
  uint8_t snapshot[LM_NAME_ID_LEN];
  size_t nr_disks;
  struct lm_overlay_stack *disks;       /* owned */
};

#define LM_OVERLAY_INDEX_INIT { .nr_disks = 0, .disks = NULL }

extern void lm_overlay_index_release (struct lm_overlay_index *index)
  __attribute__ ((nonnull));

/* DIRFD/overlay.json.  LM_ERR_NOT_FOUND when there is none. */
extern int lm_overlay_index_read (int dirfd,
                                  struct lm_overlay_index *ret_index,
                                  struct lm_error *err)
  __attribute__ ((nonnull));
extern int lm_overlay_index_write (int dirfd,
                                   const struct lm_overlay_index *index,
                                   struct lm_error *err)
  __attribute__ ((nonnull));

#endif
