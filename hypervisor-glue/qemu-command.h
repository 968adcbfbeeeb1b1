/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line of QEMU for a machine.  A pure function, so that its
 * result can be tested word for word.
 *
 * Names and paths are a user's or a stored configuration's, and may hold
 * commas, quotes and spaces.  What QEMU takes as JSON is given as JSON;
 * where it only takes key=value, commas are doubled, which is its own
 * way of quoting.  Formats are always named, never probed.
 */
#ifndef LM_QEMU_COMMAND_H
#define LM_QEMU_COMMAND_H

#include <stddef.h>

#include "common/error.h"
#include "hypervisor-glue/accel.h"
#include "hypervisor-glue/firmware.h"
#include "hypervisor-glue/machine.h"

/* An argument vector; args[n] is NULL.  All of it is owned. */
struct lm_qemu_command {
  char **args;
  size_t n;
};

#define LM_QEMU_COMMAND_INIT { NULL, 0 }

/* ACCEL: as chosen.  FIRMWARE: the pair for UEFI, NULL for BIOS.  Checks
 * everything in CONFIG that it uses; mistakes are LM_ERR_USAGE, and
 * LM_ERR_LIMIT what is too much. */
extern int lm_qemu_command_make (const struct lm_machine_config *config,
                                 enum lm_accel accel,
                                 const struct lm_firmware_pair *firmware,
                                 struct lm_qemu_command *ret_command,
                                 struct lm_error *err)
  __attribute__ ((nonnull (1, 4, 5), warn_unused_result));

extern void lm_qemu_command_release (struct lm_qemu_command *command)
  __attribute__ ((nonnull));

#define CLEANUP_QEMU_COMMAND \
  __attribute__ ((cleanup (lm_qemu_command_release)))

#endif
