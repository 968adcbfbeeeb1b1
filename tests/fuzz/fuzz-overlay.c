/* SPDX-License-Identifier: Apache-2.0
 *
 * What describes an overlay: overlay.json, which nothing authenticates,
 * and a layer's header, as it is after authentication.
 */
#include <config.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "formats/native/seal.h"
#include "proxy/overlay-header.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/scratch.h"
#include "common/banned.h"

#define HEX16 "30313233343536373839616263646566"
#define HEX64 HEX16 HEX16 HEX16 HEX16

static const uint8_t layer_id[LM_LAYER_ID_LEN] = "layer-0000000001";

/* A folder with DATA as the file NAME; -1 is no answer. */
static int
folder_with (const char *name, const void *data, size_t len)
{
  static int dir = -1;
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_CLOSE int fd = -1;

  if (dir == -1)
    dir = open (lm_scratch_dir (), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  fd = openat (dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  fuzz_expect (fd != -1);
  fuzz_expect (lm_pwrite_full (fd, data, len, 0, name, &err) == 0);
  return dir;
}

static void
run_layer (const uint8_t *data, size_t len)
{
  struct lm_layer_header h = LM_LAYER_HEADER_INIT;
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_FREE uint8_t *object = NULL;
  size_t object_len;
  int dir;

  fuzz_expect (lm_seal_object (fuzz_keys (0), LM_TYPE_LAYER_KEY, layer_id,
                               sizeof layer_id, data, len, &object,
                               &object_len, &err) == 0);
  dir = folder_with ("layer", object, object_len);
  if (lm_layer_header_read (dir, fuzz_keys (0), layer_id, &h, &err) == -1) {
    fuzz_expect_error (&err);
    return;
  }
  fuzz_expect (h.disk != NULL && h.size <= LM_DISK_SIZE_MAX);
  lm_layer_header_release (&h);
}

static void
seed_layer (fuzz_emit_fn emit)
{
  static const char text[] =
    "{\"version\":1,\"block\":4096,\"disk\":\"disk0\",\"size\":1000,"
    "\"repository\":\"52525252525252525252525252525252\","
    "\"snapshot\":\"" HEX16 "\",\"key\":\"" HEX64 "\",\"parent\":null}";

  emit ("first", text, sizeof text - 1);
}

static void
run_index (const uint8_t *data, size_t len)
{
  struct lm_overlay_index index = LM_OVERLAY_INDEX_INIT;
  struct lm_error err = LM_ERROR_INIT;
  int dir = folder_with ("overlay.json", data, len);
  size_t i;

  if (lm_overlay_index_read (dir, &index, &err) == -1) {
    fuzz_expect_error (&err);
    return;
  }
  for (i = 0; i < index.nr_disks; i++)
    fuzz_expect (index.disks[i].disk != NULL &&
                 index.disks[i].nr_layers > 0 &&
                 index.disks[i].nr_layers <= LM_OVERLAY_LAYERS_MAX);
  lm_overlay_index_release (&index);
}

static void
seed_index (fuzz_emit_fn emit)
{
  static const char text[] =
    "{\"format\":\"livemount-overlay\",\"version\":1,"
    "\"repository\":\"52525252525252525252525252525252\","
    "\"snapshot\":\"" HEX16 "\",\"disks\":[{\"name\":\"disk0\","
    "\"layers\":[\"" HEX16 "\"]},{\"name\":\"b\",\"layers\":[\"" HEX16
    "\",\"" HEX16 "\"]}]}";

  emit ("two-disks", text, sizeof text - 1);
}

const struct fuzz_target fuzz_overlay_targets[] = {
  { "layer", run_layer, seed_layer },
  { "overlay-index", run_index, seed_index },
  { NULL, NULL, NULL },
};
