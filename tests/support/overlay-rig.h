/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of the overlay share: an overlay over a disk in memory,
 * a plain array that says what it should hold, and operations on both.
 * The functions fail the Criterion test that calls them.
 */
#ifndef LM_TESTS_SUPPORT_OVERLAY_RIG_H
#define LM_TESTS_SUPPORT_OVERLAY_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "formats/disk.h"
#include "proxy/overlay.h"

#define SIZE (3 * 1024 * 1024 + 777)    /* no multiple of anything */

extern const uint8_t repository[16], snapshot[16];
extern struct lm_error err;
extern struct lm_keys *keys;
extern struct lm_overlay_disk_spec disks[2];
extern struct lm_overlay_spec spec;
extern char *folder;
extern struct lm_overlay *overlay;
extern struct lm_disk *disk;            /* "disk0" of it */
extern uint8_t *model, *got;            /* SIZE bytes each */

extern void rig_start (bool encrypted);
extern void rig_init (void);            /* encrypted */
extern void rig_fini (void);
extern void rig_open (void);
extern void rig_close (void);

/* Read and compare. */
extern void rig_check (uint64_t offset, size_t len);

/* On the overlay and, when that succeeds, on the array. */
extern int rig_put (uint8_t byte, uint64_t offset, size_t len);
extern int rig_zero (uint64_t offset, size_t len, bool may_trim);

/* Extents cover the range exactly, and what they call zero is.  How many
 * bytes they call so. */
extern uint64_t rig_check_extents (uint64_t offset, uint64_t len);

/* All kinds of operations, with reopening, compared all the while. */
extern void rig_random_ops (unsigned seed, unsigned rounds);

#endif
