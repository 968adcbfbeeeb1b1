/* SPDX-License-Identifier: Apache-2.0
 *
 * The configuration that a machine was backed up with, in the words of
 * its own hypervisor, read as far as it takes to start the machine again.
 *
 * Such files are data from outside: a hostile one costs bounded memory
 * and time and ends in an error.  What a file does not say is left
 * unsaid here, so that the caller's defaults apply.
 */
#ifndef LM_VM_CONFIG_H
#define LM_VM_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "hypervisor-glue/machine.h"

/* Real ones have some KiB. */
#define LM_VM_CONFIG_SIZE_MAX (1 << 20)

#define LM_VM_CONFIG_NICS_MAX 64

enum lm_vm_config_kind {
  LM_VM_CONFIG_UNKNOWN,
  LM_VM_CONFIG_LIBVIRT,         /* a domain's XML */
  LM_VM_CONFIG_JSON,            /* our own, see vm-config-json.h */
};

struct lm_vm_config_disk {
  char *target;                 /* the name it has there: "vda"; NULL */
  bool has_bus;
  enum lm_disk_bus bus;
  char *serial;                 /* NULL: not said */
  unsigned boot_order;          /* from 1; 0: not said */
};

struct lm_vm_config_nic {
  bool has_model;
  enum lm_nic_model model;
  char *mac;                    /* NULL: not said */
};

/* All strings and arrays are owned. */
struct lm_vm_config {
  char *name;                   /* NULL: not said; so are the others */
  char *uuid;
  uint64_t memory;              /* bytes; 0: not said */
  unsigned cpus;                /* 0: not said */
  bool has_firmware;
  enum lm_firmware firmware;
  bool secure_boot;             /* it ran with it; we start without */
  char *nvram;                  /* path where it was, for messages */
  bool has_chipset;
  enum lm_chipset chipset;
  struct lm_vm_config_disk *disks;      /* in the file's order; no CD-ROMs
                                           and floppies */
  size_t nr_disks;
  struct lm_vm_config_nic *nics;
  size_t nr_nics;
};

#define LM_VM_CONFIG_INIT { .name = NULL }

/* What kind of file is this?  By its content only. */
extern enum lm_vm_config_kind lm_vm_config_detect (const void *data,
                                                   size_t len)
  __attribute__ ((nonnull));

/* "libvirt", "json", "unknown". */
extern const char *lm_vm_config_kind_name (enum lm_vm_config_kind kind);

/* Read one, of the kind that it is.  WHAT names it in messages.
 * LM_ERR_UNSUPPORTED when the kind is not known or the machine is of
 * another architecture, LM_ERR_CORRUPT when it can't be understood,
 * LM_ERR_LIMIT when it is too big. */
extern int lm_vm_config_parse (const void *data, size_t len,
                               const char *what,
                               struct lm_vm_config *ret_config,
                               struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

extern void lm_vm_config_release (struct lm_vm_config *config)
  __attribute__ ((nonnull));

#define CLEANUP_VM_CONFIG __attribute__ ((cleanup (lm_vm_config_release)))

/* For the readers: a new zeroed disk or network card at the end.  NULL at
 * the limit (LM_MACHINE_DISKS_MAX, LM_VM_CONFIG_NICS_MAX). */
extern struct lm_vm_config_disk *lm_vm_config_add_disk (
  struct lm_vm_config *config, const char *what, struct lm_error *err)
  __attribute__ ((nonnull));
extern struct lm_vm_config_nic *lm_vm_config_add_nic (
  struct lm_vm_config *config, const char *what, struct lm_error *err)
  __attribute__ ((nonnull));

#endif
