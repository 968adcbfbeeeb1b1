/* SPDX-License-Identifier: Apache-2.0
 *
 * What a session's machine looks like: from options, from the stored
 * configuration of the VM, from last time (boot.json in the session), and
 * from defaults, in this order.
 */
#ifndef LM_MOUNT_SESSION_BOOT_H
#define LM_MOUNT_SESSION_BOOT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "hypervisor-glue/machine.h"
#include "mount/options.h"
#include "mount/session.h"

/* Strings are owned; paths absolute. */
struct lm_boot_settings {
  uint64_t memory;              /* bytes */
  uint64_t cpus;
  enum lm_firmware firmware;
  enum lm_chipset chipset;
  enum lm_disk_bus bus;
  enum lm_network network;
  enum lm_nic_model nic_model;
  enum lm_accel accel;
  bool vnc;
  char *uuid;
  char *mac;
  char *kernel;
  char *initrd;
  char *append;
};

#define LM_BOOT_SETTINGS_INIT { .memory = UINT64_C (1) << 30, .cpus = 1 }

extern void lm_boot_settings_release (struct lm_boot_settings *b)
  __attribute__ ((nonnull));

/* The options from which lm_boot_settings_options reads: for a command's
 * table. */
#define LM_BOOT_OPTIONS \
  { .name = "memory", .argument = "SIZE", \
    .help = "the machine's memory (default: as configured, else 1G)" }, \
  { .name = "cpus", .argument = "N", \
    .help = "its number of CPUs (default: as configured, else 1)" }, \
  { .name = "firmware", .argument = "KIND", .choices = "bios|uefi", \
    .help = "bios or uefi (default: as configured, else bios)" }, \
  { .name = "disk-bus", .argument = "BUS", .choices = "virtio|sata", \
    .help = "virtio or sata (default: as configured, else virtio)" }, \
  { .name = "network", .argument = "KIND", .choices = "none|user", \
    .help = "none, or user: the guest reaches out through this host " \
            "(default none)" }, \
  { .name = "vnc", .help = "offer the screen on vnc.sock in the session" }, \
  { .name = "kernel", .argument = "FILE", \
    .help = "boot this kernel, for a disk without a boot loader", \
    .completion = LM_COMPLETE_FILE }, \
  { .name = "initrd", .argument = "FILE", \
    .help = "with --kernel: its initial file system", \
    .completion = LM_COMPLETE_FILE }, \
  { .name = "append", .argument = "TEXT", \
    .help = "with --kernel: its command line" }, \
  { .name = "accel", .argument = "HOW", .choices = "auto|kvm|tcg", \
    .help = "kvm, tcg (emulation), or auto: kvm where it really works" }

/* Override B by what was given on the command line. */
extern int lm_boot_settings_options (struct lm_boot_settings *b,
                                     const struct lm_args *args,
                                     struct lm_error *err)
  __attribute__ ((nonnull));

/* Override B by what the VM's own configuration says, if the session has
 * it.  One that can't be understood is an error, and B is as before. */
extern int lm_boot_settings_config (struct lm_boot_settings *b,
                                    const struct lm_session *session,
                                    struct lm_error *err)
  __attribute__ ((nonnull));

/* boot.json.  Loading leaves B alone, and returns false, if there is
 * none. */
extern int lm_boot_settings_save (const struct lm_boot_settings *b,
                                  const struct lm_session *session,
                                  struct lm_error *err)
  __attribute__ ((nonnull));
extern int lm_boot_settings_load (struct lm_boot_settings *b,
                                  const struct lm_session *session,
                                  bool *ret_found, struct lm_error *err)
  __attribute__ ((nonnull));

/* Save B and start the machine.  The session is locked, its proxy runs. */
extern int lm_session_boot (const struct lm_session *session,
                            const struct lm_boot_settings *b,
                            struct lm_machine **ret_machine,
                            struct lm_error *err) __attribute__ ((nonnull));

/* As last time; defaults if there was none. */
extern int lm_session_boot_again (const struct lm_session *session,
                                  struct lm_error *err)
  __attribute__ ((nonnull));

#endif
