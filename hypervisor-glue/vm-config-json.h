/* SPDX-License-Identifier: Apache-2.0
 *
 * A machine's configuration in our own words, for machines that come
 * without one.  All members are optional; others are ignored:
 *
 *   { "name": "web01", "uuid": "…", "memory": "2G" or bytes, "cpus": 2,
 *     "firmware": "bios" or "uefi", "machine": "q35" or "pc",
 *     "disks": [ { "name": "disk0", "bus": "virtio", "serial": "…" } ],
 *     "nics": [ { "model": "virtio", "mac": "52:54:…" } ] }
 */
#ifndef LM_VM_CONFIG_JSON_H
#define LM_VM_CONFIG_JSON_H

#include "hypervisor-glue/vm-config.h"

/* Called by lm_vm_config_parse, which has checked the size.  *CONFIG is
 * fresh, and released by the caller in any case. */
extern int lm_vm_config_parse_json (const void *data, size_t len,
                                    const char *what,
                                    struct lm_vm_config *config,
                                    struct lm_error *err)
  __attribute__ ((nonnull));

#endif
