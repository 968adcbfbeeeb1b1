/* SPDX-License-Identifier: Apache-2.0
 *
 * The rules for a snapshot (native.md section 11), in one place for the
 * reader and the writer; declared in snapshot-wire.h.
 */
#include <config.h>

#include "formats/native/snapshot-wire.h"

#include <inttypes.h>
#include <string.h>

#include "common/checked.h"
#include "common/json.h"
#include "common/banned.h"

static const char *const consistencies[] = {
  "consistent", "crash-consistent", "crash-inconsistent",
};

static int
check_name (const char *kind, const char *name, const char *what,
            struct lm_error *err)
{
  struct lm_error name_err = LM_ERROR_INIT;

  if (name == NULL)
    return lm_corrupt (err, "%s: a %s has no name", what, kind);
  if (lm_name_check (kind, name, &name_err) == -1)
    return lm_corrupt (err, "%s: %s", what, name_err.message);
  return 0;
}

/* A file's name becomes a file when it is extracted. */
static int
check_file_name (const char *name, const char *what, struct lm_error *err)
{
  const char *p;
  size_t len = name ? strlen (name) : 0;

  if (len == 0 || len > LM_FILE_NAME_MAX)
    return lm_corrupt (err, "%s: the name of a file has %zu bytes, expected "
                       "1 to %d", what, len, LM_FILE_NAME_MAX);
  for (p = name; *p; p++)
    if (*p == '/' || (unsigned char) *p < 0x20 || *p == 0x7f)
      break;
  if (*p || strcmp (name, ".") == 0 || strcmp (name, "..") == 0)
    return lm_corrupt (err, "%s: '%.255s' is not the name of a file", what,
                       name);
  return 0;
}

static int
check_kind (const char *kind, const char *what, struct lm_error *err)
{
  size_t len = kind ? strlen (kind) : 0;

  if (len == 0 || len > 32 ||
      strspn (kind, "abcdefghijklmnopqrstuvwxyz0123456789-") != len)
    return lm_corrupt (err, "%s: '%.40s' is not a kind of file", what,
                       kind ? kind : "");
  return 0;
}

/* In order, apart, not empty, within the disk. */
static int
check_unreadable (const struct lm_snapshot_disk *disk, const char *what,
                  struct lm_error *err)
{
  uint64_t end = 0;
  size_t i;

  for (i = 0; i < disk->nr_unreadable; i++) {
    uint64_t offset = disk->unreadable[i].offset;
    uint64_t len = disk->unreadable[i].len;

    if (len == 0 || offset < end || !lm_range_ok (offset, len, disk->size))
      return lm_corrupt (err, "%s: disk %s: unreadable range %zu (0x%" PRIx64
                         "+0x%" PRIx64 ") is empty, out of order or beyond "
                         "the end (0x%" PRIx64 ")", what, disk->name, i,
                         offset, len, disk->size);
    end = offset + len;
  }
  return 0;
}

static int
check_disk (const struct lm_snapshot *s, size_t i, const char *what,
            struct lm_error *err)
{
  const struct lm_snapshot_disk *disk = &s->disks[i];
  size_t k;

  if (check_name ("disk", disk->name, what, err) == -1)
    return -1;
  for (k = 0; k < i; k++)
    if (strcmp (s->disks[k].name, disk->name) == 0)
      return lm_corrupt (err, "%s: two disks are called %s", what,
                         disk->name);
  if (disk->size > LM_DISK_SIZE_MAX)
    return lm_corrupt (err, "%s: disk %s: %" PRIu64 " bytes, the limit is %"
                       PRIu64, what, disk->name, disk->size,
                       (uint64_t) LM_DISK_SIZE_MAX);
  if (disk->sector_size != 512 && disk->sector_size != 4096)
    return lm_corrupt (err, "%s: disk %s: sectors of %" PRIu32 " bytes, "
                       "expected 512 or 4096", what, disk->name,
                       disk->sector_size);
  if (disk->has_root && disk->size == 0)
    return lm_corrupt (err, "%s: disk %s: is empty but has a map", what,
                       disk->name);
  return check_unreadable (disk, what, err);
}

static int
check_file (const struct lm_snapshot *s, size_t i, const char *what,
            struct lm_error *err)
{
  const struct lm_snapshot_file *file = &s->files[i];
  size_t k;

  if (check_kind (file->kind, what, err) == -1 ||
      check_file_name (file->name, what, err) == -1)
    return -1;
  for (k = 0; k < i; k++)
    if (strcmp (s->files[k].name, file->name) == 0)
      return lm_corrupt (err, "%s: two files are called %s", what,
                         file->name);
  if (file->size > LM_FILE_SIZE_MAX)
    return lm_corrupt (err, "%s: file %s: %" PRIu64 " bytes, the limit is %"
                       PRIu64, what, file->name, file->size,
                       (uint64_t) LM_FILE_SIZE_MAX);
  if (file->mode > 07777)
    return lm_corrupt (err, "%s: file %s: mode 0%" PRIo32 ", the limit is "
                       "07777", what, file->name, file->mode);
  if (file->has_root && file->size == 0)
    return lm_corrupt (err, "%s: file %s: is empty but has a map", what,
                       file->name);
  return 0;
}

static int
check_tags (const struct lm_snapshot *s, const char *what,
            struct lm_error *err)
{
  size_t i;

  if (s->nr_tags > LM_TAGS_MAX)
    return lm_corrupt (err, "%s: %zu tags, the limit is %d", what,
                       s->nr_tags, LM_TAGS_MAX);
  for (i = 0; i < s->nr_tags; i++) {
    size_t len = strlen (s->tags[i]);

    if (len == 0 || len > LM_TAG_MAX)
      return lm_corrupt (err, "%s: a tag of %zu bytes, expected 1 to %d",
                         what, len, LM_TAG_MAX);
  }
  return 0;
}

int
lm_snapshot_check (const struct lm_snapshot *s, const char *what,
                   struct lm_error *err)
{
  size_t i, n = sizeof consistencies / sizeof consistencies[0];

  if (check_name ("VM", s->vm, what, err) == -1)
    return -1;
  for (i = 0; i < n && s->consistency; i++)
    if (strcmp (s->consistency, consistencies[i]) == 0)
      break;
  if (i == n || s->consistency == NULL)
    return lm_corrupt (err, "%s: 'consistency' is '%.40s', which is not "
                       "known", what, s->consistency ? : "");
  if (s->nr_disks > LM_DISKS_MAX)
    return lm_corrupt (err, "%s: %zu disks, the limit is %d", what,
                       s->nr_disks, LM_DISKS_MAX);
  if (s->nr_files > LM_FILES_MAX)
    return lm_corrupt (err, "%s: %zu files, the limit is %d", what,
                       s->nr_files, LM_FILES_MAX);
  if (check_tags (s, what, err) == -1)
    return -1;
  for (i = 0; i < s->nr_disks; i++)
    if (check_disk (s, i, what, err) == -1)
      return -1;
  for (i = 0; i < s->nr_files; i++)
    if (check_file (s, i, what, err) == -1)
      return -1;
  return 0;
}
