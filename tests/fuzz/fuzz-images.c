/* SPDX-License-Identifier: Apache-2.0
 *
 * Headers of foreign images: what a stranger's image refers to.  The
 * first byte of an input chooses the format.
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "formats/image-header.h"
#include "tests/fuzz/fuzz.h"
#include "common/banned.h"

static void
run_image_header (const uint8_t *data, size_t len)
{
  static const enum lm_image_format formats[] = {
    LM_IMAGE_QCOW2, LM_IMAGE_VMDK, LM_IMAGE_VHDX, LM_IMAGE_VDI, LM_IMAGE_VPC,
  };
  CLEANUP_IMAGE_REFS struct lm_image_refs refs = LM_IMAGE_REFS_INIT;
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_FREE char *copy = NULL;
  uint8_t footer[LM_IMAGE_SECTOR] = { 0 };
  enum lm_image_format format;
  size_t i;

  if (len == 0)
    return;
  format = formats[data[0] % 5];
  copy = fuzz_string (data + 1, --len);
  if (len >= sizeof footer)
    memcpy (footer, data + 1 + len - sizeof footer, sizeof footer);
  if (lm_image_header_parse ((const uint8_t *) copy, len, footer, "image",
                             format, &refs, &err) == -1) {
    fuzz_expect_error (&err);
    return;
  }
  fuzz_expect (refs.backing == NULL || strlen (refs.backing) < 1024 ||
               format == LM_IMAGE_VMDK);
  for (i = 0; i < refs.nr_extents; i++)
    fuzz_expect (strlen (refs.extents[i]) <= 500);
  fuzz_expect (refs.nr_extents == 0 || format == LM_IMAGE_VMDK);
}

static void
put_be32 (uint8_t *p, uint32_t n)
{
  p[0] = n >> 24;
  p[1] = n >> 16;
  p[2] = n >> 8;
  p[3] = n;
}

static void
seed_image_header (fuzz_emit_fn emit)
{
  static const char flat[] =
    "\1# Disk DescriptorFile\nversion=1\nCID=458f8256\n"
    "parentCID=ffffffff\nparentFileNameHint=\"parent.vmdk\"\n"
    "createType=\"monolithicFlat\"\n"
    "RW 20480 FLAT \"f-flat.vmdk\" 0\nRW 8 ZERO\n"
    "RW 20480 SPARSE \"f-s001.vmdk\"\n";
  uint8_t image[1 + 1024] = { 0 }, *p = image + 1;

  /* qcow2: version 3, a backing file with its format, a data file. */
  put_be32 (p, UINT32_C (0x514649fb));
  put_be32 (p + 4, 3);
  put_be32 (p + 12, 256);
  put_be32 (p + 16, 10);
  put_be32 (p + 20, 16);
  put_be32 (p + 76, 4);
  put_be32 (p + 100, 104);
  put_be32 (p + 104, UINT32_C (0xe2792aca));
  put_be32 (p + 108, 5);
  memcpy (p + 112, "qcow2", 5);
  put_be32 (p + 120, UINT32_C (0x44415441));
  put_be32 (p + 124, 8);
  memcpy (p + 128, "data.raw", 8);
  memcpy (p + 256, "base.qcow2", 10);
  emit ("qcow-two", image, sizeof image);

  emit ("vmdk-flat", flat, sizeof flat - 1);
  memset (image, 0, sizeof image);
  image[0] = 1;
  memcpy (p, "KDMV\1", 5);
  p[13] = 80;
  memcpy (p + 512, "parentFileNameHint=\"a\"\n", 23);
  emit ("vmdk-sparse", image, sizeof image);

  memset (image, 0, sizeof image);
  image[0] = 2;
  memcpy (p, "vhdxfile", 8);
  emit ("vhdx", image, sizeof image);

  memset (image, 0, sizeof image);
  image[0] = 3;
  memcpy (p + 64, "\x7f\x10\xda\xbe", 4);
  p[76] = 1;
  emit ("vdi", image, sizeof image);

  memset (image, 0, sizeof image);
  image[0] = 4;
  memcpy (p + 512, "conectix", 8);
  p[512 + 63] = 2;
  emit ("vpc", image, sizeof image);
}

const struct fuzz_target fuzz_image_targets[] = {
  { "image-header", run_image_header, seed_image_header },
  { NULL, NULL, NULL },
};
