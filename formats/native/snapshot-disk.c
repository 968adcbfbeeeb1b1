/* SPDX-License-Identifier: Apache-2.0
 *
 * A disk (or attached file) of a snapshot as a lm_disk: map look-up, then
 * one chunk after the other, a whole one straight into the caller's
 * buffer.  Declared in repository.h.
 */
#include <config.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "formats/disk.h"
#include "formats/native/chunk-read.h"
#include "formats/native/disk-map.h"
#include "formats/native/repository-internal.h"
#include "formats/native/repository.h"
#include "common/banned.h"

struct snapshot_disk {
  struct lm_disk disk;          /* first */
  struct lm_repository *repo;   /* borrowed */
  struct lm_disk_map *map;
  uint32_t chunk_size;
  char *what;
};

/* Read LEN bytes at SKIP within chunk NR. */
static int
read_part (struct snapshot_disk *d, uint64_t nr, uint32_t skip, uint8_t *buf,
           uint32_t len, struct lm_error *err)
{
  uint8_t id[LM_ID_LEN];
  CLEANUP_FREE uint8_t *whole = NULL;
  uint8_t *plain = buf;
  uint32_t n;

  if (lm_disk_map_get (d->map, nr, id, err) == -1)
    return -1;
  if (lm_id_is_zero (id)) {
    memset (buf, 0, len);
    return 0;
  }
  if (len < d->chunk_size) {
    plain = whole = malloc (d->chunk_size);
    if (whole == NULL)
      return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  }
  if (lm_chunk_read (d->repo, LM_TYPE_CHUNK, id, plain, d->chunk_size, &n,
                     err) == -1)
    return -1;
  if (n != d->chunk_size)
    return lm_corrupt (err, "chunk of %u bytes, expected %u", n,
                       d->chunk_size);
  if (whole)
    memcpy (buf, whole + skip, len);
  return 0;
}

static int
snapshot_disk_pread (struct lm_disk *disk, void *buf, size_t len,
                     uint64_t offset, struct lm_error *err)
{
  struct snapshot_disk *d = (struct snapshot_disk *) disk;
  uint8_t *p = buf;

  while (len > 0) {
    uint64_t nr = offset / d->chunk_size;
    uint32_t skip = offset % d->chunk_size;
    uint32_t n = lm_min_u64 (len, d->chunk_size - skip);

    if (read_part (d, nr, skip, p, n, err) == -1)
      return lm_error_prefix (err, "%s: 0x%" PRIx64 " to 0x%" PRIx64,
                              d->what, nr * d->chunk_size,
                              (nr + 1) * d->chunk_size);
    p += n;
    offset += n;
    len -= n;
  }
  return 0;
}

static int
snapshot_disk_extents (struct lm_disk *disk, uint64_t offset, uint64_t len,
                       lm_extent_cb cb, void *opaque, struct lm_error *err)
{
  struct snapshot_disk *d = (struct snapshot_disk *) disk;
  uint64_t end = offset + len;
  uint64_t last = lm_div_up (end, d->chunk_size);

  while (offset < end) {
    uint64_t nr = offset / d->chunk_size, next, stop;

    if (lm_disk_map_next (d->map, nr, last, &next, err) == -1)
      return -1;
    if (next > nr) {
      stop = lm_min_u64 (next * d->chunk_size, end);
      if (cb (opaque, offset, stop - offset, LM_EXTENT_ZERO, err) == -1)
        return -1;
      offset = stop;
      continue;
    }
    if (lm_disk_map_next_absent (d->map, nr, last, &next, err) == -1)
      return -1;
    stop = lm_min_u64 (next * d->chunk_size, end);
    if (cb (opaque, offset, stop - offset, LM_EXTENT_DATA, err) == -1)
      return -1;
    offset = stop;
  }
  return 0;
}

static void
snapshot_disk_close (struct lm_disk *disk)
{
  struct snapshot_disk *d = (struct snapshot_disk *) disk;

  lm_disk_map_free (d->map);
  free (d->what);
  free (d);
}

static const struct lm_disk_ops snapshot_disk_ops = {
  .name = "snapshot",
  .pread = snapshot_disk_pread,
  .extents = snapshot_disk_extents,
  .close = snapshot_disk_close,
};

struct lm_disk *
lm_snapshot_disk_open (struct lm_repository *repo, uint64_t size,
                       const uint8_t *root_or_null, const char *what,
                       struct lm_error *err)
{
  struct snapshot_disk *d = calloc (1, sizeof *d);

  if (d == NULL || (d->what = strdup (what)) == NULL) {
    free (d);
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  d->chunk_size = lm_repository_chunk_size (repo);
  d->repo = repo;
  d->disk.ops = &snapshot_disk_ops;
  d->disk.size = size;
  d->disk.preferred_block = d->chunk_size;
  d->map = lm_disk_map_new (repo, lm_div_up (size, d->chunk_size),
                            root_or_null, what, err);
  if (d->map == NULL) {
    snapshot_disk_close (&d->disk);
    return NULL;
  }
  return &d->disk;
}

int
lm_snapshot_file_read (struct lm_repository *repo,
                       const struct lm_snapshot_file *file,
                       uint8_t **ret_data, struct lm_error *err)
{
  CLEANUP_DISK struct lm_disk *disk = NULL;
  CLEANUP_FREE uint8_t *data = NULL;

  if (file->size > LM_FILE_SIZE_MAX)
    return lm_error_set (err, LM_ERR_LIMIT, "%s: %" PRIu64
                         " bytes, the limit is %" PRIu64, file->name,
                         file->size, LM_FILE_SIZE_MAX);
  disk = lm_snapshot_disk_open (repo, file->size,
                                file->has_root ? file->root : NULL,
                                file->name, err);
  if (disk == NULL)
    return -1;
  data = malloc (file->size + 1);
  if (data == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  if (lm_disk_pread (disk, data, file->size, 0, err) == -1)
    return -1;
  data[file->size] = '\0';
  *ret_data = lm_steal (data);
  return 0;
}
