/* SPDX-License-Identifier: Apache-2.0
 *
 * A disk image in a foreign format; see disk-image.h.
 *
 * Two fences keep QEMU from other files.  The header is read by ourselves
 * first, and every name in it must be one that was allowed.  Then
 * qemu-nbd is given the whole graph of block nodes, "backing" included,
 * and so has no name of the image left to follow.  (The extents of a VMDK
 * can't be given to it; there the first fence stands alone, and the lock
 * that we hold keeps the header as it was checked.)
 */
#include <config.h>

#include "formats/disk-image.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "common/json.h"
#include "formats/disk-nbd.h"
#include "formats/image-header.h"
#include "formats/image-lock.h"
#include "formats/qemu-nbd.h"
#include "common/banned.h"

#define MAX_CHAIN 64

struct disk_image {
  struct lm_disk base;
  char *path;
  int fd;                       /* holds the lock */
  struct lm_disk *nbd;
  struct lm_qemu_nbd process;
};

static int
fail_nomem (struct lm_error *err)
{
  return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
}

/* The absolute path of REF, a name found in the image PATH, if it is one
 * of the allowed files.  NULL with an error else. */
static char *
resolve_allowed (const char *path, const char *ref, const char *what,
                 const struct lm_disk_image_options *options,
                 struct lm_error *err)
{
  CLEANUP_FREE char *copy = strdup (path);
  CLEANUP_FREE char *joined = NULL;
  CLEANUP_FREE char *real = NULL;
  size_t i;

  if (copy == NULL ||
      asprintf (&joined, "%s%s%s", *ref == '/' ? "" : dirname (copy),
                *ref == '/' ? "" : "/", ref) == -1) {
    joined = NULL;
    fail_nomem (err);
    return NULL;
  }
  /* Before the first slash a colon would make it a protocol of QEMU's. */
  if (ref[strcspn (ref, ":/")] != ':')
    real = realpath (joined, NULL);
  for (i = 0; real && i < options->nr_allowed_files; i++) {
    CLEANUP_FREE char *ok = realpath (options->allowed_files[i], NULL);

    if (ok && strcmp (ok, real) == 0)
      return lm_steal (real);
  }
  lm_error_set (err, LM_ERR_USAGE, "%s: refers to %s '%.200s', which was "
                "not allowed", path, what, ref);
  lm_error_hint (err, "if you know that file and want it read, name it "
                 "with --allow-file");
  return NULL;
}

/* The node of the file itself. */
static json_t *
file_node (const char *path)
{
  struct stat st;
  bool block = stat (path, &st) == 0 && S_ISBLK (st.st_mode);

  return json_pack ("{s:s, s:s, s:b}", "driver",
                    block ? "host_device" : "file", "filename", path,
                    "read-only", 1);
}

/* Open PATH, see that it is a file, and read its header. */
static int
open_and_check (const char *path, enum lm_image_format format,
                struct lm_image_refs *ret_refs, struct lm_error *err)
{
  CLEANUP_JSON json_t *utf8 = json_string (path);
  CLEANUP_CLOSE int fd = -1;
  struct stat st;

  if (utf8 == NULL)
    return lm_error_set (err, LM_ERR_UNSUPPORTED, "%s: QEMU can't be given "
                         "a path that is not UTF-8", path);
  if (stat (path, &st) == -1)
    return lm_error_errno (err, errno, "%s", path);
  if (!S_ISREG (st.st_mode) && !S_ISBLK (st.st_mode))
    return lm_error_set (err, LM_ERR_USAGE,
                         "%s: neither a file nor a block device", path);
  fd = lm_io->openat (AT_FDCWD, path, O_RDONLY | O_NONBLOCK, 0);
  if (fd == -1)
    return lm_error_errno (err, errno, "%s: open", path);
  if (lm_image_header_read (fd, path, format, ret_refs, err) == -1)
    return -1;
  return lm_steal_fd (fd);
}

/* Each extent of a VMDK descriptor must be allowed, and must not lead
 * further. */
static int
check_extents (const char *path, const struct lm_image_refs *refs,
               const struct lm_disk_image_options *options,
               struct lm_error *err)
{
  size_t i;

  for (i = 0; i < refs->nr_extents; i++) {
    CLEANUP_IMAGE_REFS struct lm_image_refs more = LM_IMAGE_REFS_INIT;
    CLEANUP_FREE char *real = NULL;
    CLEANUP_CLOSE int fd = -1;

    real = resolve_allowed (path, refs->extents[i], "the extent", options,
                            err);
    if (real == NULL)
      return -1;
    fd = open_and_check (real, refs->extent_is_sparse[i] ? LM_IMAGE_VMDK
                         : LM_IMAGE_RAW, &more, err);
    if (fd == -1)
      return -1;
    if (more.nr_extents > 0)
      return lm_error_set (err, LM_ERR_UNSUPPORTED, "%s: an extent that "
                           "has extents", real);
  }
  return 0;
}

static json_t *image_node (const char *path, enum lm_image_format format,
                           const struct lm_disk_image_options *options,
                           unsigned depth, int *ret_fd,
                           struct lm_error *err);

/* Set node["backing"]: always, so that QEMU looks for none by itself. */
static int
add_backing (json_t *node, const char *path,
             const struct lm_image_refs *refs,
             const struct lm_disk_image_options *options, unsigned depth,
             struct lm_error *err)
{
  CLEANUP_FREE char *real = NULL;
  CLEANUP_CLOSE int fd = -1;
  json_t *backing;
  int format;

  if (refs->backing == NULL)
    return json_object_set_new (node, "backing", json_null ()) == 0
      ? 0 : fail_nomem (err);
  real = resolve_allowed (path, refs->backing, "the backing file", options,
                          err);
  if (real == NULL)
    return -1;
  format = refs->backing_format
    ? lm_image_format_parse (refs->backing_format) : -1;
  if (format == -1)
    return lm_error_set (err, LM_ERR_UNSUPPORTED, "%s: the format of its "
                         "backing file is not named, or none that can be "
                         "read: '%.40s'", path, refs->backing_format ? : "");
  backing = image_node (real, format, options, depth + 1, &fd, err);
  if (backing == NULL)
    return -1;
  return json_object_set_new (node, "backing", backing) == 0
    ? 0 : fail_nomem (err);
}

static int
add_data_file (json_t *node, const char *path,
               const struct lm_image_refs *refs,
               const struct lm_disk_image_options *options,
               struct lm_error *err)
{
  CLEANUP_FREE char *real = NULL;

  if (!refs->needs_data_file)
    return 0;
  real = resolve_allowed (path, refs->data_file ? : "", "the data file",
                          options, err);
  if (real == NULL)
    return -1;
  return json_object_set_new (node, "data-file", file_node (real)) == 0
    ? 0 : fail_nomem (err);
}

/* The block node for an image and what it may refer to; *RET_FD is the
 * image's. */
static json_t *
image_node (const char *path, enum lm_image_format format,
            const struct lm_disk_image_options *options, unsigned depth,
            int *ret_fd, struct lm_error *err)
{
  CLEANUP_IMAGE_REFS struct lm_image_refs refs = LM_IMAGE_REFS_INIT;
  CLEANUP_JSON json_t *node = NULL;
  CLEANUP_CLOSE int fd = -1;

  if (depth > MAX_CHAIN) {
    lm_error_set (err, LM_ERR_LIMIT, "%s: more than %d backing files", path,
                  MAX_CHAIN);
    return NULL;
  }
  fd = open_and_check (path, format, &refs, err);
  if (fd == -1)
    return NULL;
  node = json_pack ("{s:s, s:b, s:o}", "driver",
                    lm_image_format_name (format), "read-only", 1,
                    "file", file_node (path));
  if (node == NULL) {
    fail_nomem (err);
    return NULL;
  }
  if (format == LM_IMAGE_QCOW2 || format == LM_IMAGE_VMDK) {
    if (check_extents (path, &refs, options, err) == -1 ||
        add_data_file (node, path, &refs, options, err) == -1 ||
        add_backing (node, path, &refs, options, depth, err) == -1)
      return NULL;
  }
  if (format == LM_IMAGE_VPC &&
      json_object_set_new (node, "force_size_calc",
                           json_string ("current_size")) == -1) {
    fail_nomem (err);
    return NULL;
  }
  *ret_fd = lm_steal_fd (fd);
  return lm_steal (node);
}

/* The disk. */

static int
image_pread (struct lm_disk *disk, void *buf, size_t len, uint64_t offset,
             struct lm_error *err)
{
  struct disk_image *d = (struct disk_image *) disk;

  return lm_disk_pread (d->nbd, buf, len, offset, err);
}

static int
image_extents (struct lm_disk *disk, uint64_t offset, uint64_t len,
               lm_extent_cb cb, void *opaque, struct lm_error *err)
{
  struct disk_image *d = (struct disk_image *) disk;

  return lm_disk_extents (d->nbd, offset, len, cb, opaque, err);
}

static void
image_close (struct lm_disk *disk)
{
  struct disk_image *d = (struct disk_image *) disk;

  lm_disk_close (d->nbd);
  lm_qemu_nbd_release (&d->process);
  if (d->fd != -1)
    lm_io->close (d->fd);
  free (d->path);
  free (d);
}

static const struct lm_disk_ops image_ops = {
  .name = "image",
  .pread = image_pread,
  .extents = image_extents,
  .close = image_close,
};

static int
lock (struct disk_image *d, bool allow_live, json_t *node,
      struct lm_error *err)
{
  if (lm_image_lock (d->fd, LM_IMAGE_LOCK_READ, d->path, err) == 0)
    return 0;
  if (err->kind == LM_ERR_LOCKED && !allow_live)
    return lm_error_hint (err, "shut the VM down or back up a snapshot; "
                          "--allow-live reads the image while it changes, "
                          "its tables included");
  lm_error_clear (err);
  d->base.live = true;
  return json_object_set_new (node, "force-share", json_true ()) == 0
    ? 0 : fail_nomem (err);
}

static int
open_image (struct disk_image *d, enum lm_image_format format,
            const struct lm_disk_image_options *options,
            struct lm_error *err)
{
  CLEANUP_JSON json_t *node = NULL;
  CLEANUP_FREE char *spec = NULL;
  struct lm_nbd_client *client;
  bool live;
  size_t len;

  node = image_node (d->path, format, options, 0, &d->fd, err);
  if (node == NULL || lock (d, options->allow_live, node, err) == -1)
    return -1;
  /* What was checked before the lock could have changed since. */
  if (!d->base.live) {
    CLEANUP_CLOSE int again = -1;

    json_decref (node);
    node = image_node (d->path, format, options, 0, &again, err);
    if (node == NULL)
      return -1;
  }
  spec = lm_json_dump (node, &len, err);
  if (spec == NULL)
    return -1;
  client = lm_qemu_nbd_start (&d->process, spec, d->path, err);
  if (client == NULL)
    return -1;
  d->nbd = lm_disk_nbd_wrap (client, options->read_holes, err);
  if (d->nbd == NULL)
    return -1;
  live = d->base.live;
  d->base.size = d->nbd->size;
  d->base.preferred_block = d->nbd->preferred_block;
  d->base.live = live;
  return 0;
}

struct lm_disk *
lm_disk_image_open (const char *path,
                    const struct lm_disk_image_options *options,
                    struct lm_error *err)
{
  int format = lm_image_format_parse (options->format);
  struct disk_image *d;

  if (format == -1 || format == LM_IMAGE_RAW) {
    lm_error_set (err, LM_ERR_USAGE, "'%.40s' is not an image format that "
                  "can be read", options->format);
    lm_error_hint (err, "the formats are raw, qcow2, vmdk, vhdx, vdi and "
                   "vpc (VHD)");
    return NULL;
  }
  d = calloc (1, sizeof *d);
  if (d == NULL) {
    fail_nomem (err);
    return NULL;
  }
  d->base.ops = &image_ops;
  d->fd = -1;
  d->process = (struct lm_qemu_nbd) LM_QEMU_NBD_INIT;
  d->path = realpath (path, NULL);
  if (d->path == NULL) {
    lm_error_errno (err, errno, "%s", path);
    free (d);
    return NULL;
  }
  if (open_image (d, format, options, err) == -1) {
    image_close (&d->base);
    return NULL;
  }
  return &d->base;
}
