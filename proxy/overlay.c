/* SPDX-License-Identifier: Apache-2.0
 *
 * The overlay's folder: its lock, its list of layers, and making a new
 * one; see overlay.h.  Reading and writing of a disk is in
 * overlay-disk.c.
 */
#include <config.h>

#include "proxy/overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "common/random.h"
#include "proxy/overlay-disk.h"
#include "proxy/overlay-header.h"
#include "proxy/overlay-layer.h"
#include "common/banned.h"

struct lm_overlay {
  char *folder;                 /* for messages */
  int dirfd;
  int lock_fd;
  const struct lm_keys *keys;   /* borrowed */
  struct lm_overlay_index index;
};

static int
nomem (struct lm_error *err)
{
  return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
}

int
lm_overlay_peek (const char *folder, bool *ret_exists,
                 uint8_t *ret_repository, uint8_t *ret_snapshot,
                 struct lm_error *err)
{
  CLEANUP (lm_overlay_index_release)
    struct lm_overlay_index index = LM_OVERLAY_INDEX_INIT;
  CLEANUP_CLOSE int fd = lm_io->openat (AT_FDCWD, folder,
                                        O_RDONLY | O_DIRECTORY, 0);

  if (fd == -1 && errno != ENOENT)
    return lm_error_errno (err, errno, "overlay %s", folder);
  if (fd == -1 || lm_overlay_index_read (fd, &index, err) == -1) {
    if (fd != -1 && err->kind != LM_ERR_NOT_FOUND)
      return lm_error_prefix (err, "overlay %s", folder);
    lm_error_clear (err);
    *ret_exists = false;
    return 0;
  }
  memcpy (ret_repository, index.repository, sizeof index.repository);
  memcpy (ret_snapshot, index.snapshot, sizeof index.snapshot);
  *ret_exists = true;
  return 0;
}

/* The lock is of the open file, so it must be taken after nbdkit has
 * forked, and ends with the process however that dies. */
static int
take_lock (struct lm_overlay *o, struct lm_error *err)
{
  o->lock_fd = lm_io->openat (o->dirfd, "lock",
                              O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
  if (o->lock_fd == -1)
    return lm_error_errno (err, errno, "overlay %s: lock", o->folder);
  if (flock (o->lock_fd, LOCK_EX | LOCK_NB) == 0)
    return 0;
  if (errno != EWOULDBLOCK)
    return lm_error_errno (err, errno, "overlay %s: lock", o->folder);
  lm_error_set (err, LM_ERR_LOCKED, "overlay %s: in use by another proxy",
                o->folder);
  return lm_error_hint (err, "stop that one first, or use another overlay");
}

/* Open, after making it if need be, the folder of DISK. */
static int
open_disk_folder (struct lm_overlay *o, const char *disk, bool make,
                  struct lm_error *err)
{
  CLEANUP_FREE char *path = NULL;
  int fd;

  if (asprintf (&path, "disks/%s", disk) == -1) {
    path = NULL;
    return nomem (err);
  }
  if (make &&
      ((lm_io->mkdirat (o->dirfd, "disks", 0700) == -1 &&
        errno != EEXIST) ||
       (lm_io->mkdirat (o->dirfd, path, 0700) == -1 && errno != EEXIST)))
    return lm_error_errno (err, errno, "overlay %s: mkdir %s", o->folder,
                           path);
  fd = lm_io->openat (o->dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW,
                      0);
  if (fd == -1)
    return lm_error_errno (err, errno, "overlay %s: %s", o->folder, path);
  if (make && (lm_sync_parent (o->dirfd, path, err) == -1 ||
               lm_sync_parent (o->dirfd, "disks", err) == -1)) {
    lm_io->close (fd);
    return -1;
  }
  return fd;
}

static int
make_layer (struct lm_overlay *o, const struct lm_overlay_spec *spec,
            const struct lm_overlay_disk_spec *disk,
            struct lm_overlay_stack *stack, struct lm_error *err)
{
  CLEANUP (lm_layer_header_release)
    struct lm_layer_header h = LM_LAYER_HEADER_INIT;
  CLEANUP_CLOSE int fd = open_disk_folder (o, disk->name, true, err);

  if (fd == -1)
    return -1;
  lm_random_bytes (h.id, sizeof h.id);
  lm_random_bytes (h.key, sizeof h.key);
  memcpy (h.repository, spec->repository, sizeof h.repository);
  memcpy (h.snapshot, spec->snapshot, sizeof h.snapshot);
  h.size = disk->size;
  h.disk = strdup (disk->name);
  stack->disk = strdup (disk->name);
  if (h.disk == NULL || stack->disk == NULL)
    return nomem (err);
  if (lm_layer_create (fd, o->keys, &h, err) == -1)
    return lm_error_prefix (err, "overlay %s: disk %s", o->folder,
                            disk->name);
  stack->nr_layers = 1;
  memcpy (stack->layers[0], h.id, sizeof h.id);
  return 0;
}

/* overlay.json comes last: until it is there, there is no overlay. */
static int
make_overlay (struct lm_overlay *o, const struct lm_overlay_spec *spec,
              struct lm_error *err)
{
  struct lm_overlay_index *index = &o->index;
  size_t i;

  memcpy (index->repository, spec->repository, sizeof index->repository);
  memcpy (index->snapshot, spec->snapshot, sizeof index->snapshot);
  index->disks = calloc (spec->nr_disks + 1, sizeof *index->disks);
  if (index->disks == NULL)
    return nomem (err);
  for (i = 0; i < spec->nr_disks; i++) {
    index->nr_disks++;
    if (make_layer (o, spec, &spec->disks[i], &index->disks[i], err) == -1)
      return -1;
  }
  if (lm_overlay_index_write (o->dirfd, index, err) == -1)
    return lm_error_prefix (err, "overlay %s", o->folder);
  return 0;
}

static int
check_index (const struct lm_overlay *o, const struct lm_overlay_spec *spec,
             struct lm_error *err)
{
  if (memcmp (o->index.repository, spec->repository,
              sizeof o->index.repository) != 0)
    return lm_error_set (err, LM_ERR_USAGE, "overlay %s: belongs to another "
                         "repository", o->folder);
  if (memcmp (o->index.snapshot, spec->snapshot,
              sizeof o->index.snapshot) != 0)
    return lm_error_set (err, LM_ERR_USAGE, "overlay %s: belongs to another "
                         "snapshot", o->folder);
  return 0;
}

static int
open_overlay (struct lm_overlay *o, const char *folder,
              const struct lm_overlay_spec *spec, struct lm_error *err)
{
  o->folder = strdup (folder);
  if (o->folder == NULL)
    return nomem (err);
  if (lm_mkdir_p (folder, 0700, err) == -1)
    return lm_error_prefix (err, "overlay");
  o->dirfd = lm_io->openat (AT_FDCWD, folder, O_RDONLY | O_DIRECTORY, 0);
  if (o->dirfd == -1)
    return lm_error_errno (err, errno, "overlay %s", folder);
  if (take_lock (o, err) == -1)
    return -1;
  if (lm_overlay_index_read (o->dirfd, &o->index, err) == 0)
    return check_index (o, spec, err);
  if (err->kind != LM_ERR_NOT_FOUND)
    return lm_error_prefix (err, "overlay %s", folder);
  lm_error_clear (err);
  return make_overlay (o, spec, err);
}

struct lm_overlay *
lm_overlay_open (const char *folder, const struct lm_overlay_spec *spec,
                 struct lm_error *err)
{
  struct lm_overlay *o = calloc (1, sizeof *o);

  if (o == NULL) {
    nomem (err);
    return NULL;
  }
  o->dirfd = o->lock_fd = -1;
  o->keys = spec->keys;
  if (open_overlay (o, folder, spec, err) == -1) {
    lm_overlay_close (o);
    return NULL;
  }
  return o;
}

void
lm_overlay_close (struct lm_overlay *o)
{
  if (o == NULL)
    return;
  lm_overlay_index_release (&o->index);
  if (o->lock_fd >= 0)
    lm_io->close (o->lock_fd);
  if (o->dirfd >= 0)
    lm_io->close (o->dirfd);
  free (o->folder);
  free (o);
}

/* The layers of a stack, each checked against the one below (O1). */
static int
open_layers (struct lm_overlay *o, const struct lm_overlay_stack *stack,
             uint64_t size, struct lm_layer **layers, struct lm_error *err)
{
  CLEANUP_CLOSE int fd = open_disk_folder (o, stack->disk, false, err);
  CLEANUP_FREE char *where = NULL;
  size_t i;

  if (fd == -1)
    return -1;
  if (asprintf (&where, "overlay %s: disk %s", o->folder,
                stack->disk) == -1) {
    where = NULL;
    return nomem (err);
  }
  for (i = 0; i < stack->nr_layers; i++) {
    struct lm_layer_header want = { .disk = stack->disk, .size = size };

    memcpy (want.id, stack->layers[i], sizeof want.id);
    memcpy (want.repository, o->index.repository, sizeof want.repository);
    memcpy (want.snapshot, o->index.snapshot, sizeof want.snapshot);
    want.has_parent = i > 0;
    if (i > 0)
      memcpy (want.parent, stack->layers[i - 1], sizeof want.parent);
    layers[i] = lm_layer_open (fd, where, o->keys, &want,
                               i + 1 == stack->nr_layers, err);
    if (layers[i] == NULL)
      return -1;
  }
  return 0;
}

struct lm_disk *
lm_overlay_disk_open (struct lm_overlay *o, const char *name,
                      struct lm_disk *base, struct lm_error *err)
{
  struct lm_layer *layers[LM_OVERLAY_LAYERS_MAX] = { NULL };
  const struct lm_overlay_stack *stack = NULL;
  struct lm_disk *disk = NULL;
  size_t i;

  for (i = 0; i < o->index.nr_disks && stack == NULL; i++)
    if (strcmp (o->index.disks[i].disk, name) == 0)
      stack = &o->index.disks[i];
  if (stack == NULL) {
    lm_error_set (err, LM_ERR_NOT_FOUND, "overlay %s: has no disk %s",
                  o->folder, name);
    return NULL;
  }
  if (open_layers (o, stack, base->size, layers, err) == 0)
    disk = lm_overlay_disk_new (layers, stack->nr_layers, base, err);
  if (disk == NULL)
    for (i = 0; i < stack->nr_layers; i++)
      lm_layer_close (layers[i]);
  return disk;
}
