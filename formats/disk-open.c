/* SPDX-License-Identifier: Apache-2.0
 * From the SOURCE of a backup to a disk; see disk-open.h.
 */
#include <config.h>

#include "formats/disk-open.h"

#include <string.h>

#include "formats/disk-file.h"
#include "formats/disk-image.h"
#include "formats/disk-nbd.h"
#include "common/banned.h"

struct lm_disk *
lm_disk_open (const char *source, const struct lm_disk_open_options *options,
              struct lm_error *err)
{
  static const struct lm_disk_open_options defaults;
  bool raw;

  if (options == NULL)
    options = &defaults;
  raw = options->format == NULL || strcmp (options->format, "raw") == 0;
  if (lm_nbd_is_uri (source)) {
    struct lm_disk_nbd_options nbd = { .read_holes = options->read_holes };

    if (!raw) {
      lm_error_set (err, LM_ERR_USAGE, "%s: an NBD export is raw, not %s",
                    source, options->format);
      return NULL;
    }
    return lm_disk_nbd_open (source, &nbd, err);
  }
  if (raw) {
    struct lm_disk_file_options file = {
      .allow_live = options->allow_live,
      .read_holes = options->read_holes,
    };

    return lm_disk_file_open (source, &file, err);
  }
  struct lm_disk_image_options image = {
    .format = options->format,
    .allow_live = options->allow_live,
    .read_holes = options->read_holes,
    .allowed_files = options->allowed_files,
    .nr_allowed_files = options->nr_allowed_files,
  };

  return lm_disk_image_open (source, &image, err);
}
