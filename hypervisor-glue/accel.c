/* SPDX-License-Identifier: Apache-2.0
 * Which accelerator; see accel.h.
 */
#include <config.h>

#include "hypervisor-glue/accel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "common/random.h"
#include "common/banned.h"

const struct lm_accel_host lm_accel_this_host = {
  .cpuinfo_path = "/proc/cpuinfo",
  .kvm_path = "/dev/kvm",
  .probe_timeout_ms = 2000,
};

/* /proc/cpuinfo of a machine with many CPUs is long; its first "flags"
 * line is enough. */
#define CPUINFO_MAX (16 << 20)

static bool
has_word (const char *line, size_t len, const char *word)
{
  size_t word_len = strlen (word);
  const char *p = line;

  while ((p = memmem (p, len - (size_t) (p - line), word, word_len))) {
    const char *end = p + word_len;

    if (p > line && (p[-1] == ' ' || p[-1] == '\t') &&
        (end == line + len || *end == ' '))
      return true;
    p = end;
  }
  return false;
}

static bool
cpu_has_virtualization (const char *cpuinfo_path, char *ret_reason)
{
  CLEANUP_FREE char *text = NULL;
  struct lm_error err = LM_ERROR_INIT;
  const char *line, *next;
  size_t len;

  if (lm_file_read (AT_FDCWD, cpuinfo_path, CPUINFO_MAX, &text, &len, &err)
      == -1) {
    snprintf (ret_reason, LM_ACCEL_REASON_LEN, "%.*s",
              LM_ACCEL_REASON_LEN - 1, err.message);
    return false;
  }
  for (line = text; *line; line = next) {
    size_t line_len = strcspn (line, "\n");

    next = line + line_len + (line[line_len] == '\n');
    if (strncmp (line, "flags", 5) != 0)
      continue;
    if (has_word (line, line_len, "vmx") || has_word (line, line_len, "svm"))
      return true;
    break;
  }
  snprintf (ret_reason, LM_ACCEL_REASON_LEN, "the CPU's flags have neither "
            "vmx nor svm, so ordinary guests would hang under KVM");
  return false;
}

/* ---- the probe ---- */

enum probe_step {
  PROBE_WORKS, PROBE_OPEN, PROBE_VERSION, PROBE_VM, PROBE_MEMORY,
  PROBE_VCPU, PROBE_REGISTERS, PROBE_RUN, PROBE_WRONG
};

static const char *const probe_words[] = {
  [PROBE_WORKS] = "works", [PROBE_OPEN] = "open",
  [PROBE_VERSION] = "API version", [PROBE_VM] = "KVM_CREATE_VM",
  [PROBE_MEMORY] = "guest memory", [PROBE_VCPU] = "KVM_CREATE_VCPU",
  [PROBE_REGISTERS] = "registers", [PROBE_RUN] = "KVM_RUN",
  [PROBE_WRONG] = "a test guest gave a wrong result",
};

struct probe_result {
  int step;
  int errnum;
};

#define GUEST_BASE 0x1000u
#define GUEST_LEN 0x1000u
#define GUEST_PORT 0x10

/* Real mode: count to 1000 in a loop, write the low byte to a port, and
 * halt.  A loop, so that the guest runs a little by itself. */
static const uint8_t guest_code[] = {
  0xb9, 0xe8, 0x03,             /* mov cx, 1000 */
  0x31, 0xc0,                   /* xor ax, ax */
  0x40,                         /* 1: inc ax */
  0xe2, 0xfd,                   /* loop 1b */
  0xe6, GUEST_PORT,             /* out GUEST_PORT, al */
  0xf4,                         /* hlt */
};

static int
fail_at (struct probe_result *result, enum probe_step step)
{
  result->step = step;
  result->errnum = errno;
  return -1;
}

static int
set_registers (int vcpu)
{
  struct kvm_sregs sregs;
  struct kvm_regs regs = { .rip = GUEST_BASE, .rflags = 2 };

  if (ioctl (vcpu, KVM_GET_SREGS, &sregs) == -1)
    return -1;
  sregs.cs.base = 0;
  sregs.cs.selector = 0;
  if (ioctl (vcpu, KVM_SET_SREGS, &sregs) == -1)
    return -1;
  return ioctl (vcpu, KVM_SET_REGS, &regs);
}

/* Run until the halt; the port must have been written with 1000 & 0xff. */
static int
run_guest (int vcpu, struct kvm_run *run, size_t run_len,
           struct probe_result *result)
{
  bool port_written = false;
  unsigned i;

  for (i = 0; i < 1000; i++) {
    if (ioctl (vcpu, KVM_RUN, 0) == -1) {
      if (errno == EINTR || errno == EAGAIN)
        continue;
      return fail_at (result, PROBE_RUN);
    }
    errno = 0;
    if (run->exit_reason == KVM_EXIT_HLT && port_written)
      return 0;
    if (run->exit_reason != KVM_EXIT_IO || run->io.port != GUEST_PORT ||
        run->io.data_offset >= run_len ||
        ((uint8_t *) run)[run->io.data_offset] != (1000 & 0xff))
      break;
    port_written = true;
  }
  return fail_at (result, PROBE_WRONG);
}

/* In the child; the kernel frees everything at its end. */
static int
probe (const char *kvm_path, struct probe_result *result)
{
  int kvm = open (kvm_path, O_RDWR | O_CLOEXEC);
  int vm, vcpu, version;
  long run_len;
  void *memory, *run;
  struct kvm_userspace_memory_region region = {
    .guest_phys_addr = GUEST_BASE, .memory_size = GUEST_LEN,
  };

  if (kvm == -1)
    return fail_at (result, PROBE_OPEN);
  version = ioctl (kvm, KVM_GET_API_VERSION, 0);
  if (version != KVM_API_VERSION)
    return fail_at (result, PROBE_VERSION);
  vm = ioctl (kvm, KVM_CREATE_VM, 0);
  if (vm == -1)
    return fail_at (result, PROBE_VM);
  memory = mmap (NULL, GUEST_LEN, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return fail_at (result, PROBE_MEMORY);
  memcpy (memory, guest_code, sizeof guest_code);
  region.userspace_addr = (uintptr_t) memory;
  if (ioctl (vm, KVM_SET_USER_MEMORY_REGION, &region) == -1)
    return fail_at (result, PROBE_MEMORY);
  vcpu = ioctl (vm, KVM_CREATE_VCPU, 0);
  run_len = ioctl (kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
  if (vcpu == -1 || run_len < (long) sizeof (struct kvm_run))
    return fail_at (result, PROBE_VCPU);
  run = mmap (NULL, (size_t) run_len, PROT_READ | PROT_WRITE, MAP_SHARED,
              vcpu, 0);
  if (run == MAP_FAILED)
    return fail_at (result, PROBE_VCPU);
  if (set_registers (vcpu) == -1)
    return fail_at (result, PROBE_REGISTERS);
  return run_guest (vcpu, run, (size_t) run_len, result);
}

/* Read the child's result before the deadline. */
static bool
read_result (int fd, int timeout_ms, struct probe_result *result)
{
  uint64_t deadline = lm_clock_monotonic () +
                      (uint64_t) timeout_ms * 1000000;

  for (;;) {
    struct pollfd pfd = { .fd = fd, .events = POLLIN };
    uint64_t now = lm_clock_monotonic ();
    int r = poll (&pfd, 1, now < deadline
                  ? (int) ((deadline - now + 999999) / 1000000) : 0);

    if (r > 0)
      return TEMP_FAILURE_RETRY (read (fd, result, sizeof *result))
             == (ssize_t) sizeof *result;
    if (r == 0 || errno != EINTR)
      return false;
  }
}

bool
lm_accel_probe_kvm (const struct lm_accel_host *host,
                    char ret_reason[LM_ACCEL_REASON_LEN])
{
  CLEANUP_CLOSE int rd = -1, wr = -1;
  struct probe_result result = { 0, 0 };
  int fds[2], i;
  bool answered;
  pid_t pid;

  if (pipe2 (fds, O_CLOEXEC) == -1) {
    snprintf (ret_reason, LM_ACCEL_REASON_LEN, "KVM can't be tested: no "
              "pipe");
    return false;
  }
  rd = fds[0];
  wr = fds[1];
  pid = fork ();
  if (pid == 0) {
    /* Only system calls from here on: the caller may have threads. */
    probe (host->kvm_path, &result);
    if (write (wr, &result, sizeof result) == -1)
      _exit (1);
    _exit (0);
  }
  if (pid == -1) {
    snprintf (ret_reason, LM_ACCEL_REASON_LEN, "KVM can't be tested: no "
              "process");
    return false;
  }
  close (lm_steal_fd (wr));
  answered = read_result (rd, host->probe_timeout_ms, &result);
  kill (pid, SIGKILL);
  /* One that hangs inside the kernel is not waited for for ever. */
  for (i = 0; i < 100; i++) {
    if (TEMP_FAILURE_RETRY (waitpid (pid, NULL, WNOHANG)) != 0)
      break;
    usleep (10000);
  }
  if (!answered)
    snprintf (ret_reason, LM_ACCEL_REASON_LEN, "%s opens, but a test guest "
              "hangs in it", host->kvm_path);
  else if (result.step == PROBE_WORKS)
    snprintf (ret_reason, LM_ACCEL_REASON_LEN, "%s runs a test guest",
              host->kvm_path);
  else
    snprintf (ret_reason, LM_ACCEL_REASON_LEN, "%s: %s%s%s", host->kvm_path,
              probe_words[result.step], result.errnum ? ": " : "",
              result.errnum ? strerrordesc_np (result.errnum) ? : "failed"
                            : "");
  return answered && result.step == PROBE_WORKS;
}

int
lm_accel_choose (const struct lm_accel_host *host, enum lm_accel asked,
                 struct lm_accel_choice *ret_choice, struct lm_error *err)
{
  struct lm_accel_choice choice = { .accel = LM_ACCEL_TCG };

  if (asked == LM_ACCEL_TCG)
    snprintf (choice.reason, sizeof choice.reason, "asked for");
  else if (cpu_has_virtualization (host->cpuinfo_path, choice.reason) &&
           lm_accel_probe_kvm (host, choice.reason))
    choice.accel = LM_ACCEL_KVM;
  if (asked == LM_ACCEL_KVM && choice.accel != LM_ACCEL_KVM) {
    lm_error_set (err, LM_ERR_UNSUPPORTED, "KVM does not work here: %s",
                  choice.reason);
    return lm_error_hint (err, "use --accel tcg: slower, but it runs "
                          "everywhere");
  }
  *ret_choice = choice;
  return 0;
}
