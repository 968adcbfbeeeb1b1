/* SPDX-License-Identifier: Apache-2.0
 * UEFI firmware on this host; see firmware.h.
 */
#include <config.h>

#include "hypervisor-glue/firmware.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "common/banned.h"

/* 4M variants first: the 2M ones can't be updated by some guests and are
 * gone from newer distributions. */
const struct lm_firmware_pair lm_firmware_pairs[] = {
  { "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd" },
  { "/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd" },
  { "/usr/share/edk2/ovmf/OVMF_CODE.fd",
    "/usr/share/edk2/ovmf/OVMF_VARS.fd" },
  { "/usr/share/edk2/x64/OVMF_CODE.4m.fd",
    "/usr/share/edk2/x64/OVMF_VARS.4m.fd" },
  { NULL, NULL }
};

/* Templates are 128 KiB, 528 KiB or so. */
#define NVRAM_MAX (16 << 20)

int
lm_firmware_find (const struct lm_firmware_pair *table, uint64_t nvram_size,
                  struct lm_firmware_pair *ret_pair, struct lm_error *err)
{
  const struct lm_firmware_pair *p;
  bool any = false;

  for (p = table; p->code; p++) {
    struct stat st;

    if (access (p->code, R_OK) == -1 || access (p->vars, R_OK) == -1 ||
        stat (p->vars, &st) == -1)
      continue;
    any = true;
    if (nvram_size == 0 || (uint64_t) st.st_size == nvram_size) {
      *ret_pair = *p;
      return 0;
    }
  }
  if (any)
    lm_error_set (err, LM_ERR_NOT_FOUND, "no UEFI firmware here fits "
                  "variables of %" PRIu64 " bytes", nvram_size);
  else
    lm_error_set (err, LM_ERR_NOT_FOUND, "UEFI firmware for the machine is "
                  "not installed");
  return lm_error_hint (err, any
                        ? "boot with fresh variables, or install the "
                          "firmware that they were made for"
                        : "install the package ovmf");
}

int
lm_firmware_prepare (const struct lm_firmware_pair *table,
                     const char *nvram_path,
                     struct lm_firmware_pair *ret_pair,
                     struct lm_error *err)
{
  CLEANUP_FREE char *data = NULL;
  struct lm_firmware_pair pair;
  struct stat st;
  size_t len;

  if (stat (nvram_path, &st) == 0) {
    if (!S_ISREG (st.st_mode) || st.st_size == 0)
      return lm_error_set (err, LM_ERR_USAGE, "%s: not a file of UEFI "
                           "variables", nvram_path);
    if (lm_firmware_find (table, (uint64_t) st.st_size, ret_pair, err) == -1)
      return lm_error_prefix (err, "%s", nvram_path);
    return 0;
  }
  if (errno != ENOENT)
    return lm_error_errno (err, errno, "%s", nvram_path);
  if (lm_firmware_find (table, 0, &pair, err) == -1 ||
      lm_file_read (AT_FDCWD, pair.vars, NVRAM_MAX, &data, &len, err) == -1 ||
      lm_file_replace (AT_FDCWD, nvram_path, data, len, 0600, err) == -1)
    return -1;
  *ret_pair = pair;
  return 0;
}
