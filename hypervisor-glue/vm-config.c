/* SPDX-License-Identifier: Apache-2.0
 * Stored machine configurations of any kind; see vm-config.h.
 */
#include <config.h>

#include "hypervisor-glue/vm-config.h"

#include <stdlib.h>
#include <string.h>

#include "hypervisor-glue/vm-config-json.h"
#include "hypervisor-glue/vm-config-libvirt.h"
#include "common/banned.h"

enum lm_vm_config_kind
lm_vm_config_detect (const void *data, size_t len)
{
  const char *p = data, *end = p + len;

  if (len >= 3 && memcmp (p, "\xef\xbb\xbf", 3) == 0)
    p += 3;
  while (p < end && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n'))
    p++;
  if (p == end)
    return LM_VM_CONFIG_UNKNOWN;
  if (*p == '{')
    return LM_VM_CONFIG_JSON;
  if (*p == '<' && lm_vm_config_is_libvirt (data, len))
    return LM_VM_CONFIG_LIBVIRT;
  return LM_VM_CONFIG_UNKNOWN;
}

const char *
lm_vm_config_kind_name (enum lm_vm_config_kind kind)
{
  switch (kind) {
  case LM_VM_CONFIG_LIBVIRT: return "libvirt";
  case LM_VM_CONFIG_JSON: return "json";
  case LM_VM_CONFIG_UNKNOWN: break;
  }
  return "unknown";
}

int
lm_vm_config_parse (const void *data, size_t len, const char *what,
                    struct lm_vm_config *ret_config, struct lm_error *err)
{
  CLEANUP_VM_CONFIG struct lm_vm_config config = LM_VM_CONFIG_INIT;
  int r = -1;

  if (len > LM_VM_CONFIG_SIZE_MAX)
    return lm_error_set (err, LM_ERR_LIMIT, "%s: %zu bytes, the limit for "
                         "a machine's configuration is %d", what, len,
                         LM_VM_CONFIG_SIZE_MAX);
  switch (lm_vm_config_detect (data, len)) {
  case LM_VM_CONFIG_LIBVIRT:
    r = lm_vm_config_parse_libvirt (data, len, what, &config, err);
    break;
  case LM_VM_CONFIG_JSON:
    r = lm_vm_config_parse_json (data, len, what, &config, err);
    break;
  case LM_VM_CONFIG_UNKNOWN:
    lm_error_set (err, LM_ERR_UNSUPPORTED, "%s: neither a libvirt domain "
                  "nor a JSON description", what);
    break;
  }
  if (r == -1)
    return -1;
  *ret_config = config;
  config = (struct lm_vm_config) LM_VM_CONFIG_INIT;
  return 0;
}

void
lm_vm_config_release (struct lm_vm_config *config)
{
  size_t i;

  for (i = 0; i < config->nr_disks; i++) {
    free (config->disks[i].target);
    free (config->disks[i].serial);
  }
  for (i = 0; i < config->nr_nics; i++)
    free (config->nics[i].mac);
  free (config->disks);
  free (config->nics);
  free (config->name);
  free (config->uuid);
  free (config->nvram);
  *config = (struct lm_vm_config) LM_VM_CONFIG_INIT;
}

struct lm_vm_config_disk *
lm_vm_config_add_disk (struct lm_vm_config *config, const char *what,
                       struct lm_error *err)
{
  struct lm_vm_config_disk *bigger;

  if (config->nr_disks == LM_MACHINE_DISKS_MAX) {
    lm_error_set (err, LM_ERR_LIMIT, "%s: more than %d disks", what,
                  LM_MACHINE_DISKS_MAX);
    return NULL;
  }
  bigger = reallocarray (config->disks, config->nr_disks + 1,
                         sizeof *bigger);
  if (bigger == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  config->disks = bigger;
  memset (&bigger[config->nr_disks], 0, sizeof *bigger);
  return &bigger[config->nr_disks++];
}

struct lm_vm_config_nic *
lm_vm_config_add_nic (struct lm_vm_config *config, const char *what,
                      struct lm_error *err)
{
  struct lm_vm_config_nic *bigger;

  if (config->nr_nics == LM_VM_CONFIG_NICS_MAX) {
    lm_error_set (err, LM_ERR_LIMIT, "%s: more than %d network cards", what,
                  LM_VM_CONFIG_NICS_MAX);
    return NULL;
  }
  bigger = reallocarray (config->nics, config->nr_nics + 1, sizeof *bigger);
  if (bigger == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  config->nics = bigger;
  memset (&bigger[config->nr_nics], 0, sizeof *bigger);
  return &bigger[config->nr_nics++];
}
