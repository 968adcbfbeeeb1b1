/* SPDX-License-Identifier: Apache-2.0
 *
 * What an image file refers to; see image-header.h.
 *
 * Asking qemu-img info was rejected: it opens a VMDK's extents while it
 * looks, wherever they are.  What is read here is small, and everything
 * that QEMU would take for a reference must be found, so the rules follow
 * QEMU's drivers and, in doubt, find too much.
 */
#include <config.h>

#include "formats/image-header.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "common/io.h"
#include "common/wire.h"
#include "common/banned.h"

/* A VMDK descriptor and a qcow2 cluster are smaller. */
#define MAX_HEADER (2u << 20)
#define MAX_EXTENTS 1024
#define MAX_EXTENT_NAME 500     /* QEMU cuts at 511 */
/* A sparse VMDK's descriptor lies within the first 20 sectors after the
 * header; what follows may be the guest's. */
#define VMDK_DESCRIPTOR_END (32 * SECTOR)
#define SECTOR LM_IMAGE_SECTOR

static const char *const format_names[] = {
  [LM_IMAGE_RAW] = "raw",
  [LM_IMAGE_QCOW2] = "qcow2",
  [LM_IMAGE_VMDK] = "vmdk",
  [LM_IMAGE_VHDX] = "vhdx",
  [LM_IMAGE_VDI] = "vdi",
  [LM_IMAGE_VPC] = "vpc",
};

struct header {
  const char *path;
  enum lm_image_format format;
  const uint8_t *data;          /* the beginning of the file, and a NUL */
  size_t len;
  const uint8_t *footer;        /* its last sector; zeros if it has none */
};

int
lm_image_format_parse (const char *name)
{
  size_t i;

  for (i = 0; i < sizeof format_names / sizeof format_names[0]; i++)
    if (strcmp (format_names[i], name) == 0)
      return i;
  return -1;
}

const char *
lm_image_format_name (enum lm_image_format format)
{
  return format_names[format];
}

void
lm_image_refs_release (struct lm_image_refs *refs)
{
  size_t i;

  free (refs->backing);
  free (refs->backing_format);
  free (refs->data_file);
  for (i = 0; i < refs->nr_extents; i++)
    free (refs->extents[i]);
  free (refs->extents);
  free (refs->extent_is_sparse);
  *refs = (struct lm_image_refs) LM_IMAGE_REFS_INIT;
}

static uint32_t
be32 (const uint8_t *p)
{
  return (uint32_t) p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

static uint32_t
le32 (const uint8_t *p)
{
  lm_le32 v;

  memcpy (v.b, p, sizeof v.b);
  return lm_get_le32 (v);
}

static uint64_t
le64 (const uint8_t *p)
{
  lm_le64 v;

  memcpy (v.b, p, sizeof v.b);
  return lm_get_le64 (v);
}

static int
fail_format (const struct header *h, struct lm_error *err)
{
  lm_corrupt (err, "%s: not an image in the format %s", h->path,
              format_names[h->format]);
  return lm_error_hint (err, "name the image's own format with --format");
}

static int
fail_nomem (struct lm_error *err)
{
  return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
}

/* A name of LEN bytes at OFFSET of the header. */
static int
copy_name (const struct header *h, uint64_t offset, uint64_t len,
           const char *what, char **ret, struct lm_error *err)
{
  char *name;

  if (len == 0 || len > 1023 || !lm_range_ok (offset, len, h->len))
    return lm_corrupt (err, "%s: %s: %" PRIu64 " bytes at 0x%" PRIx64,
                       h->path, what, len, offset);
  if (memchr (h->data + offset, '\0', len))
    return lm_corrupt (err, "%s: %s: has a NUL in it", h->path, what);
  name = strndup ((const char *) h->data + offset, len);
  if (name == NULL)
    return fail_nomem (err);
  free (*ret);
  *ret = name;
  return 0;
}

/* qcow2 */

#define QCOW2_MAGIC UINT32_C (0x514649fb)
#define QCOW2_INCOMPATIBLE_DATA_FILE 4u
#define QCOW2_EXT_END 0u
#define QCOW2_EXT_BACKING_FORMAT UINT32_C (0xe2792aca)
#define QCOW2_EXT_DATA_FILE UINT32_C (0x44415441)

static int
read_qcow2_extensions (const struct header *h, uint64_t offset,
                       struct lm_image_refs *refs, struct lm_error *err)
{
  while (lm_range_ok (offset, 8, h->len)) {
    uint32_t type = be32 (h->data + offset);
    uint32_t len = be32 (h->data + offset + 4);
    int r = 0;

    offset += 8;
    if (type == QCOW2_EXT_END)
      return 0;
    if (!lm_range_ok (offset, len, h->len))
      return lm_corrupt (err, "%s: header extension 0x%" PRIx32
                         " at 0x%" PRIx64 " runs past the first cluster",
                         h->path, type, offset);
    if (type == QCOW2_EXT_BACKING_FORMAT)
      r = copy_name (h, offset, len, "format of the backing file",
                     &refs->backing_format, err);
    else if (type == QCOW2_EXT_DATA_FILE)
      r = copy_name (h, offset, len, "name of the data file",
                     &refs->data_file, err);
    if (r == -1)
      return -1;
    offset += (len + UINT64_C (7)) & ~UINT64_C (7);
  }
  return 0;
}

static int
read_qcow2 (struct header *h, struct lm_image_refs *refs,
            struct lm_error *err)
{
  uint64_t backing_offset, incompatible = 0, header_len = 72;
  uint32_t version, cluster_bits;

  if (h->len < 104 || be32 (h->data) != QCOW2_MAGIC)
    return fail_format (h, err);
  version = be32 (h->data + 4);
  if (version != 2 && version != 3)
    return lm_error_set (err, LM_ERR_UNSUPPORTED,
                         "%s: qcow2 version %" PRIu32, h->path, version);
  if (be32 (h->data + 32) != 0)
    return lm_error_set (err, LM_ERR_UNSUPPORTED,
                         "%s: is encrypted, and there is no key for it",
                         h->path);
  cluster_bits = be32 (h->data + 20);
  if (cluster_bits < 9 || cluster_bits > 21)
    return lm_corrupt (err, "%s: clusters of 2^%" PRIu32 " bytes", h->path,
                       cluster_bits);
  h->len = lm_min_u64 (h->len, UINT64_C (1) << cluster_bits);
  if (version == 3) {
    incompatible = lm_get_be64 (h->data + 72);
    header_len = be32 (h->data + 100);
  }
  if (read_qcow2_extensions (h, header_len, refs, err) == -1)
    return -1;
  refs->needs_data_file = incompatible & QCOW2_INCOMPATIBLE_DATA_FILE;
  backing_offset = lm_get_be64 (h->data + 8);
  if (backing_offset != 0)
    return copy_name (h, backing_offset, be32 (h->data + 16),
                      "name of the backing file", &refs->backing, err);
  return 0;
}

/* vmdk */

static int
add_extent (struct lm_image_refs *refs, char *name, bool is_sparse,
            struct lm_error *err)
{
  size_t n = refs->nr_extents + 1;
  char **extents = realloc (refs->extents, n * sizeof *extents);
  bool *sparse;

  if (extents)
    refs->extents = extents;
  sparse = realloc (refs->extent_is_sparse, n * sizeof *sparse);
  if (sparse)
    refs->extent_is_sparse = sparse;
  if (extents == NULL || sparse == NULL) {
    free (name);
    return fail_nomem (err);
  }
  extents[n - 1] = name;
  sparse[n - 1] = is_sparse;
  refs->nr_extents = n;
  return 0;
}

/* The text between the next two quotes of a line, or NULL. */
static char *
quoted (const char *line)
{
  size_t line_len = strcspn (line, "\r\n");
  const char *from = memchr (line, '"', line_len);
  const char *to;

  if (from == NULL)
    return NULL;
  from++;
  to = memchr (from, '"', line_len - (from - line));
  /* Without the second quote the name goes to the end of the line. */
  return strndup (from, to ? to - from : line + line_len - from);
}

/* "RW 20480 FLAT "disk-flat.vmdk" 0": every line that begins with an
 * access word names an extent, whatever else is wrong with it. */
static int
read_extent_line (const struct header *h, const char *line,
                  struct lm_image_refs *refs, struct lm_error *err)
{
  static const char *const access_words[] = { "RW", "RDONLY", "NOACCESS" };
  char type[16] = "";
  char *name;
  size_t i;

  line += strspn (line, " \t\v\f");
  for (i = 0; i < 3; i++)
    if (strncmp (line, access_words[i], strlen (access_words[i])) == 0)
      break;
  if (i == 3)
    return 0;
  name = quoted (line);
  if (sscanf (line, "%*s %*s %15s", type) == 1 && name == NULL &&
      strcmp (type, "ZERO") == 0)
    return 0;
  if (name == NULL || strlen (name) > MAX_EXTENT_NAME) {
    free (name);
    return lm_corrupt (err, "%s: an extent without a name, or too long a "
                       "one: %.*s", h->path,
                       (int) lm_min_u64 (60, strcspn (line, "\r\n")), line);
  }
  if (refs->nr_extents == MAX_EXTENTS) {
    free (name);
    return lm_error_set (err, LM_ERR_LIMIT, "%s: more than %d extents",
                         h->path, MAX_EXTENTS);
  }
  return add_extent (refs, name, strcmp (type, "FLAT") != 0 &&
                     strcmp (type, "VMFS") != 0, err);
}

/* A parent is looked for in all that could be taken for a descriptor. */
static int
find_parent (const struct header *h, const char *text, size_t len,
             struct lm_image_refs *refs, struct lm_error *err)
{
  static const char key[] = "parentFileNameHint";
  const char *p = memmem (text, len, key, strlen (key));

  if (p == NULL)
    return 0;
  refs->backing = quoted (p);
  if (refs->backing == NULL)
    return lm_corrupt (err, "%s: the parent's name is missing", h->path);
  refs->backing_format = strdup ("vmdk");
  return refs->backing_format ? 0 : fail_nomem (err);
}

static int
read_vmdk (struct header *h, struct lm_image_refs *refs,
           struct lm_error *err)
{
  const char *text = (const char *) h->data, *line;

  size_t i, sparse_len = lm_min_u64 (h->len, VMDK_DESCRIPTOR_END);

  if (h->len >= SECTOR && memcmp (text, "COWD", 4) == 0)
    return find_parent (h, text, sparse_len, refs, err);
  if (h->len >= SECTOR && memcmp (text, "KDMV", 4) == 0) {
    /* Without a capacity the header only points to a descriptor with
     * extents in other files; no product writes that. */
    if (le64 (h->data + 12) == 0)
      return lm_error_set (err, LM_ERR_UNSUPPORTED,
                           "%s: a VMDK header without a capacity", h->path);
    return find_parent (h, text, sparse_len, refs, err);
  }
  if (h->len >= MAX_HEADER || strstr (text, "# Disk DescriptorFile") == NULL)
    return fail_format (h, err);
  /* Padding may follow, but no more text. */
  for (i = strlen (text); i < h->len; i++)
    if (text[i] != '\0')
      return lm_corrupt (err, "%s: the descriptor has a NUL in it",
                         h->path);
  for (line = text; *line; line++) {
    if (read_extent_line (h, line, refs, err) == -1)
      return -1;
    line += strcspn (line, "\n");
    if (*line == '\0')
      break;
  }
  return find_parent (h, text, h->len, refs, err);
}

/* The others */

static int
read_vhdx (struct header *h, struct lm_error *err)
{
  /* A parent is refused by QEMU itself, for it can't read such images. */
  return h->len >= SECTOR && memcmp (h->data, "vhdxfile", 8) == 0
    ? 0 : fail_format (h, err);
}

static int
read_vdi (struct header *h, struct lm_error *err)
{
  uint32_t type;

  if (h->len < SECTOR || le32 (h->data + 64) != UINT32_C (0xbeda107f))
    return fail_format (h, err);
  type = le32 (h->data + 76);
  if (type != 1 && type != 2)           /* dynamic, static */
    return lm_error_set (err, LM_ERR_UNSUPPORTED, "%s: a VDI image of type "
                         "%" PRIu32 " has a parent", h->path, type);
  return 0;
}

static int
read_vpc (struct header *h, struct lm_error *err)
{
  const uint8_t *f = h->data;
  uint32_t type;

  if (h->len < SECTOR)
    return fail_format (h, err);
  if (memcmp (f, "conectix", 8) != 0)
    f = h->footer;
  if (memcmp (f, "conectix", 8) != 0)
    return fail_format (h, err);
  /* QEMU reads a differencing image as if its parent were zeros. */
  type = be32 (f + 60);
  if (type != 2 && type != 3)           /* fixed, dynamic */
    return lm_error_set (err, LM_ERR_UNSUPPORTED, "%s: a VHD image of type "
                         "%" PRIu32 " has a parent", h->path, type);
  return 0;
}

int
lm_image_header_parse (const uint8_t *data, size_t len,
                       const uint8_t footer[SECTOR], const char *path,
                       enum lm_image_format format,
                       struct lm_image_refs *ret_refs, struct lm_error *err)
{
  struct header h = { path, format, data, len, footer };

  switch (format) {
  case LM_IMAGE_QCOW2: return read_qcow2 (&h, ret_refs, err);
  case LM_IMAGE_VMDK: return read_vmdk (&h, ret_refs, err);
  case LM_IMAGE_VHDX: return read_vhdx (&h, err);
  case LM_IMAGE_VDI: return read_vdi (&h, err);
  case LM_IMAGE_VPC: return read_vpc (&h, err);
  case LM_IMAGE_RAW: break;
  }
  return 0;
}

int
lm_image_header_read (int fd, const char *path, enum lm_image_format format,
                      struct lm_image_refs *ret_refs, struct lm_error *err)
{
  CLEANUP_FREE uint8_t *data = NULL;
  uint8_t footer[SECTOR] = { 0 };
  off_t size;
  size_t len;

  if (format == LM_IMAGE_RAW)
    return 0;
  size = lseek (fd, 0, SEEK_END);       /* of a block device, too */
  if (size == -1)
    return lm_error_errno (err, errno, "%s: get size", path);
  len = lm_min_u64 (size, MAX_HEADER);
  data = malloc (len + 1);
  if (data == NULL)
    return fail_nomem (err);
  if (lm_pread_full (fd, data, len, 0, path, err) == -1)
    return -1;
  data[len] = '\0';
  if (size >= SECTOR &&
      lm_pread_full (fd, footer, SECTOR, size - SECTOR, path, err) == -1)
    return -1;
  return lm_image_header_parse (data, len, footer, path, format, ret_refs,
                                err);
}
