/* SPDX-License-Identifier: Apache-2.0
 * What the kinds of machines share.
 */
#ifndef LM_MACHINE_INTERNAL_H
#define LM_MACHINE_INTERNAL_H

#include "hypervisor-glue/accel.h"
#include "hypervisor-glue/machine.h"

/* The first member of every kind's own struct. */
struct lm_machine {
  const struct lm_machine_ops *ops;
  struct lm_accel_choice accel;
};

#endif
