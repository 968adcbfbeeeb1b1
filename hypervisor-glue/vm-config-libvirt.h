/* SPDX-License-Identifier: Apache-2.0
 *
 * A libvirt domain's XML, as "virsh dumpxml" writes it.
 *
 * A document type declaration is where XML's dangers live (entities that
 * expand without end, files and addresses that are fetched).  libvirt
 * never writes one, so the parser stops at the first sign of one, before
 * anything in it is read.
 */
#ifndef LM_VM_CONFIG_LIBVIRT_H
#define LM_VM_CONFIG_LIBVIRT_H

#include "hypervisor-glue/vm-config.h"

/* Is this XML whose root element is <domain>?  Size and content are
 * anyone's. */
extern bool lm_vm_config_is_libvirt (const void *data, size_t len)
  __attribute__ ((nonnull));

/* Called by lm_vm_config_parse, which has checked the size.  *CONFIG is
 * fresh, and released by the caller in any case. */
extern int lm_vm_config_parse_libvirt (const void *data, size_t len,
                                       const char *what,
                                       struct lm_vm_config *config,
                                       struct lm_error *err)
  __attribute__ ((nonnull));

#endif
