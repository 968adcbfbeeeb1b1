/* SPDX-License-Identifier: Apache-2.0
 * Choosing the accelerator.
 */
#include <config.h>

#include "hypervisor-glue/accel.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/random.h"

#define NO_VIRT "the CPU's flags have neither vmx nor svm, so ordinary " \
  "guests would hang under KVM"

/* A host whose CPU says FLAGS and whose KVM device is KVM_PATH. */
static struct lm_accel_host
host_with (const char *cpuinfo, char path[32], const char *kvm_path)
{
  struct lm_accel_host host = { path, kvm_path, 2000 };
  int fd;

  snprintf (path, 32, "/tmp/lm-accel.XXXXXX");
  fd = mkstemp (path);
  cr_assert (fd >= 0);
  cr_assert (eq (sz, (size_t) write (fd, cpuinfo, strlen (cpuinfo)),
                 strlen (cpuinfo)));
  close (fd);
  return host;
}

Test (accel, auto_falls_back_to_tcg_and_says_why)
{
  static const struct { const char *cpuinfo, *kvm, *reason; } rows[] = {
    { "processor\t: 0\nflags\t\t: fpu sse svm_lock npt vmxoff avmx\n\n",
      "/dev/null", NO_VIRT },
    { "", "/dev/null", NO_VIRT },
    { "flags\t\t: fpu\nbugs\t\t: vmx svm\n", "/dev/null", NO_VIRT },
    { "flags\t\t: fpu vmx sse\n", "/no/such/kvm",
      "/no/such/kvm: open: No such file or directory" },
    { "flags\t\t: fpu svm\n", "/dev/null",
      "/dev/null: API version: Inappropriate ioctl for device" },
    { "flags\t\t: svm", "/dev/null",
      "/dev/null: API version: Inappropriate ioctl for device" },
  };
  size_t i;

  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char path[32];
    struct lm_accel_host host = host_with (rows[i].cpuinfo, path,
                                           rows[i].kvm);
    struct lm_accel_choice choice = { .accel = LM_ACCEL_AUTO };
    struct lm_error err = LM_ERROR_INIT;

    cr_assert (eq (int, lm_accel_choose (&host, LM_ACCEL_AUTO, &choice,
                                         &err), 0), "%s", err.message);
    cr_expect (eq (int, choice.accel, LM_ACCEL_TCG));
    cr_expect (eq (str, choice.reason, (char *) rows[i].reason));
    unlink (path);
  }
}

Test (accel, kvm_where_it_does_not_work_is_refused)
{
  char path[32];
  struct lm_accel_host host = host_with ("flags\t\t: fpu\n", path,
                                         "/dev/null");
  struct lm_accel_choice choice;
  struct lm_error err = LM_ERROR_INIT;

  cr_assert (eq (int, lm_accel_choose (&host, LM_ACCEL_KVM, &choice, &err),
                 -1));
  cr_expect (eq (int, err.kind, LM_ERR_UNSUPPORTED));
  cr_expect (eq (str, err.message,
                 (char *) "KVM does not work here: " NO_VIRT));
  cr_expect_not_null (strstr (err.hint, "--accel tcg"));
  unlink (path);
}

Test (accel, tcg_is_not_argued_with)
{
  struct lm_accel_host nowhere = { "/no/such", "/no/such", 0 };
  struct lm_accel_choice choice;
  struct lm_error err = LM_ERROR_INIT;

  cr_assert (eq (int, lm_accel_choose (&nowhere, LM_ACCEL_TCG, &choice,
                                       &err), 0));
  cr_expect (eq (int, choice.accel, LM_ACCEL_TCG));
  cr_expect (eq (str, choice.reason, (char *) "asked for"));
  cr_assert (eq (int, lm_accel_choose (&nowhere, LM_ACCEL_AUTO, &choice,
                                       &err), 0));
  cr_expect (eq (int, choice.accel, LM_ACCEL_TCG));
  cr_expect (eq (str, choice.reason,
                 (char *) "/no/such: No such file or directory"));
}

/* Opening a file that somebody holds a lease on blocks for as long as the
 * holder doesn't answer: so this "device" hangs the probe. */
Test (accel, a_kvm_that_hangs_meets_the_time_limit, .timeout = 120)
{
  char path[32];
  struct lm_accel_host host = host_with ("flags\t\t: vmx\n", path, "");
  struct lm_accel_choice choice;
  struct lm_error err = LM_ERROR_INIT;
  char want[LM_ACCEL_REASON_LEN];
  uint64_t start = lm_clock_monotonic ();
  char device[] = "/tmp/lm-accel.XXXXXX";
  int fd = mkstemp (device);

  cr_assert (fd >= 0);
  signal (SIGIO, SIG_IGN);
  if (fcntl (fd, F_SETLEASE, F_WRLCK) == -1) {
    unlink (device);
    unlink (path);
    cr_skip ("no leases on this file system");
  }
  host.kvm_path = device;
  host.probe_timeout_ms = 100;
  cr_assert (eq (int, lm_accel_choose (&host, LM_ACCEL_AUTO, &choice, &err),
                 0));
  cr_expect (eq (int, choice.accel, LM_ACCEL_TCG));
  snprintf (want, sizeof want, "%s opens, but a test guest hangs in it",
            device);
  cr_expect (eq (str, choice.reason, want));
  /* The kernel would wait for the lease-break-time of 45 s. */
  cr_expect (lm_clock_monotonic () - start < UINT64_C (40000000000));
  close (fd);
  unlink (device);
  unlink (path);
}

/* Whatever this host is, the choice agrees with the two tests it rests
 * on. */
Test (accel, this_host_gets_an_answer, .timeout = 120)
{
  struct lm_accel_choice choice;
  struct lm_error err = LM_ERROR_INIT;
  char reason[LM_ACCEL_REASON_LEN];
  bool probed;

  cr_assert (eq (int, lm_accel_choose (&lm_accel_this_host, LM_ACCEL_AUTO,
                                       &choice, &err), 0));
  probed = lm_accel_probe_kvm (&lm_accel_this_host, reason);
  cr_log_info ("chosen: %s (%s); probe: %s\n",
               lm_accel_name (choice.accel), choice.reason, reason);
  cr_expect (ne (str, choice.reason, (char *) ""));
  if (choice.accel == LM_ACCEL_KVM)
    cr_expect (probed);
  if (access ("/dev/kvm", R_OK | W_OK) == -1)
    cr_expect (eq (int, choice.accel, LM_ACCEL_TCG));
}
