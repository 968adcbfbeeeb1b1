/* SPDX-License-Identifier: Apache-2.0
 *
 * Which accelerator: KVM only when it really works.
 *
 * That /dev/kvm opens proves nothing.  In some cloud micro-VMs it belongs
 * to a para-virtual KVM that creates machines and then hangs an ordinary
 * guest early in its boot; what gives it away is a CPU without vmx and
 * svm.  So there are three tests, cheapest first: the CPU's flags, opening
 * the device, and a tiny guest in a child process with a time limit.  The
 * last alone would not do: that para-virtual KVM was seen to pass it.
 */
#ifndef LM_ACCEL_H
#define LM_ACCEL_H

#include <stdbool.h>

#include "common/error.h"
#include "hypervisor-glue/machine.h"

#define LM_ACCEL_REASON_LEN 200

struct lm_accel_choice {
  enum lm_accel accel;                  /* KVM or TCG, never AUTO */
  char reason[LM_ACCEL_REASON_LEN];     /* one line, for people */
};

/* Where to look; tests look elsewhere. */
struct lm_accel_host {
  const char *cpuinfo_path;             /* /proc/cpuinfo */
  const char *kvm_path;                 /* /dev/kvm */
  int probe_timeout_ms;
};

extern const struct lm_accel_host lm_accel_this_host;

/* AUTO never fails; asking for KVM where it does not work is
 * LM_ERR_UNSUPPORTED with the reason.  Takes some milliseconds, and up to
 * the probe's timeout (2 s) where KVM hangs. */
extern int lm_accel_choose (const struct lm_accel_host *host,
                            enum lm_accel asked,
                            struct lm_accel_choice *ret_choice,
                            struct lm_error *err)
  __attribute__ ((nonnull));

/* Does a tiny guest run to its end under the KVM at host->kvm_path?  Says
 * why, or why not.  The CPU's flags are not looked at. */
extern bool lm_accel_probe_kvm (const struct lm_accel_host *host,
                                char ret_reason[LM_ACCEL_REASON_LEN])
  __attribute__ ((nonnull));

#endif
