/* SPDX-License-Identifier: Apache-2.0
 *
 * A machine: described neutrally, started from NBD URIs, then watched
 * and controlled.  Nothing here knows where the blocks come from.
 *
 * A caller fills in a struct lm_machine_config, calls lm_machine_start,
 * and stores lm_machine_to_json's result in a file.  Any later process
 * calls lm_machine_attach with it and has the same machine in its hands.
 * The machine runs on by itself between and after these calls: freeing
 * the handle ends nothing.
 *
 * Handles are for one thread at a time.
 */
#ifndef LM_MACHINE_H
#define LM_MACHINE_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/json.h"

/* In each enum the first value, 0, is the default. */
enum lm_firmware { LM_FIRMWARE_BIOS, LM_FIRMWARE_UEFI };
enum lm_chipset { LM_CHIPSET_Q35, LM_CHIPSET_PC };
enum lm_disk_bus {
  LM_DISK_BUS_VIRTIO, LM_DISK_BUS_SATA, LM_DISK_BUS_IDE, LM_DISK_BUS_SCSI
};
enum lm_accel { LM_ACCEL_AUTO, LM_ACCEL_KVM, LM_ACCEL_TCG };
enum lm_network { LM_NETWORK_NONE, LM_NETWORK_USER };
enum lm_nic_model {
  LM_NIC_VIRTIO, LM_NIC_E1000E, LM_NIC_E1000, LM_NIC_RTL8139
};

/* "bios", "q35", "virtio", …: as on the command line and in JSON. */
extern const char *lm_firmware_name (enum lm_firmware firmware);
extern const char *lm_chipset_name (enum lm_chipset chipset);
extern const char *lm_disk_bus_name (enum lm_disk_bus bus);
extern const char *lm_accel_name (enum lm_accel accel);
extern const char *lm_network_name (enum lm_network network);
extern const char *lm_nic_model_name (enum lm_nic_model model);
/* The reverse; LM_ERR_USAGE lists what is possible. */
extern int lm_firmware_parse (const char *text, enum lm_firmware *ret_value,
                              struct lm_error *err);
extern int lm_chipset_parse (const char *text, enum lm_chipset *ret_value,
                             struct lm_error *err);
extern int lm_disk_bus_parse (const char *text, enum lm_disk_bus *ret_value,
                              struct lm_error *err);
extern int lm_accel_parse (const char *text, enum lm_accel *ret_value,
                           struct lm_error *err);
extern int lm_network_parse (const char *text, enum lm_network *ret_value,
                             struct lm_error *err);
extern int lm_nic_model_parse (const char *text,
                               enum lm_nic_model *ret_value,
                               struct lm_error *err);

struct lm_machine_disk {
  const char *name;             /* for messages, and the serial number if
                                   SERIAL is NULL */
  const char *nbd_uri;          /* required; the content is raw */
  uint64_t size;                /* bytes */
  enum lm_disk_bus bus;
  bool read_only;               /* not on SATA and IDE */
  const char *serial;           /* what the guest sees; NULL: NAME */
  unsigned reconnect_delay;     /* seconds that I/O waits for a server
                                   that went away, before it fails */
};

/* All strings are borrowed for the call that they are passed to.  Every
 * path is absolute. */
struct lm_machine_config {
  const char *name;             /* required */
  const char *uuid;             /* NULL: none */
  uint64_t memory;              /* bytes; rounded up to whole MiB */
  unsigned cpus;
  enum lm_chipset chipset;      /* a disk on IDE makes it PC */
  enum lm_firmware firmware;
  const char *nvram_path;       /* UEFI: its variables, ours to write; made
                                   from the firmware's template if there is
                                   no such file */
  const struct lm_machine_disk *disks;  /* in boot order */
  size_t nr_disks;
  enum lm_network network;
  enum lm_nic_model nic_model;
  const char *mac;              /* NULL: any */
  const char *vnc_socket;       /* NULL: no VNC */
  const char *serial_log;       /* required; appended to */
  const char *serial_socket;    /* required; the same port, to type into */
  const char *control_socket;   /* required; QEMU: QMP */
  const char *pid_path;         /* NULL: none; locked while it runs, so no
                                   second machine starts over it */
  const char *log_path;         /* required; the hypervisor's own messages */
  const char *kernel;           /* NULL: through the firmware */
  const char *initrd;           /* NULL: none */
  const char *append;           /* the kernel's command line */
  enum lm_accel accel;
  const char *program;          /* NULL: qemu-system-x86_64 */
};

#define LM_MACHINE_CONFIG_INIT { .memory = UINT64_C (1) << 30, .cpus = 1 }

/* Limits of a description: beyond them it is a mistake or an attack. */
#define LM_MACHINE_DISKS_MAX 64
#define LM_MACHINE_CPUS_MAX 255
#define LM_MACHINE_MEMORY_MIN (UINT64_C (1) << 20)
#define LM_MACHINE_MEMORY_MAX (UINT64_C (1) << 42)

enum lm_machine_state {
  LM_MACHINE_RUNNING,
  LM_MACHINE_PAUSED,            /* by a person */
  LM_MACHINE_STOPPED,           /* the guest runs no more, the hypervisor
                                   still does: see DETAIL */
  LM_MACHINE_STUCK,             /* the hypervisor runs but doesn't answer */
  LM_MACHINE_ENDED,
};

/* "running", "paused", "stopped", "stuck", "ended". */
extern const char *lm_machine_state_name (enum lm_machine_state state);

struct lm_machine_status {
  enum lm_machine_state state;
  char detail[128];             /* the hypervisor's own word or message for
                                   it; may be empty */
};

struct lm_machine;

/* One kind of hypervisor.  All members are required; each gets or returns
 * handles of its own kind only, and blocks at most for the time that is
 * said.  Where the machine has ended already, what asks it to do
 * something fails with LM_ERR_NOT_FOUND. */
struct lm_machine_ops {
  const char *kind;             /* "qemu": how records name it */

  /* Start it and return when it runs guest code, or fail and leave
   * nothing running.  CONFIG has been checked. */
  struct lm_machine *(*start) (const struct lm_machine_config *config,
                               struct lm_error *err);
  /* From a record made by to_json, maybe long ago.  Does not talk to the
   * machine; one that has ended can be attached to as well. */
  struct lm_machine *(*attach) (const json_t *record, const char *what,
                                struct lm_error *err);
  /* Members for the record, to which the caller adds "kind". */
  json_t *(*to_json) (const struct lm_machine *machine);
  int (*status) (struct lm_machine *machine,
                 struct lm_machine_status *ret_status, struct lm_error *err);
  /* Press the power button: the guest may or may not react. */
  int (*powerdown) (struct lm_machine *machine, struct lm_error *err);
  /* Has it ended, or does it within TIMEOUT_MS? */
  int (*wait) (struct lm_machine *machine, int64_t timeout_ms,
               bool *ret_ended, struct lm_error *err);
  /* End it at once; what the guest had flushed reaches the disks.  0 also
   * when it had ended. */
  int (*kill) (struct lm_machine *machine, struct lm_error *err);
  int (*pause) (struct lm_machine *machine, struct lm_error *err);
  int (*resume) (struct lm_machine *machine, struct lm_error *err);
  int (*reset) (struct lm_machine *machine, struct lm_error *err);
  /* A PNG of the screen, written to the absolute PATH. */
  int (*screenshot) (struct lm_machine *machine, const char *path,
                     struct lm_error *err);
  void (*free) (struct lm_machine *machine);
};

extern const struct lm_machine_ops lm_machine_qemu;

/* Start a machine on this host.  The mistakes of a description are
 * LM_ERR_USAGE; a hypervisor that ends at once gives its own last words
 * in the message. */
extern struct lm_machine *lm_machine_start (
  const struct lm_machine_config *config, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* WHAT names the file that RECORD was read from. */
extern struct lm_machine *lm_machine_attach (const json_t *record,
                                             const char *what,
                                             struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* Free the handle; the machine runs on.  NULL is fine. */
extern void lm_machine_free (struct lm_machine *machine);

static inline void
lm_cleanup_machine (struct lm_machine **p)
{
  lm_machine_free (*p);
}

#define CLEANUP_MACHINE __attribute__ ((cleanup (lm_cleanup_machine)))

/* The record for lm_machine_attach; a new reference, NULL when out of
 * memory. */
extern json_t *lm_machine_to_json (const struct lm_machine *machine)
  __attribute__ ((nonnull, warn_unused_result));

/* What it was started with, and why: "no vmx or svm in /proc/cpuinfo". */
extern enum lm_accel lm_machine_accel (const struct lm_machine *machine)
  __attribute__ ((nonnull));
extern const char *lm_machine_accel_reason (const struct lm_machine *machine)
  __attribute__ ((nonnull));

extern int lm_machine_status (struct lm_machine *machine,
                              struct lm_machine_status *ret_status,
                              struct lm_error *err)
  __attribute__ ((nonnull));
extern int lm_machine_kill (struct lm_machine *machine, struct lm_error *err)
  __attribute__ ((nonnull));
extern int lm_machine_pause (struct lm_machine *machine,
                             struct lm_error *err)
  __attribute__ ((nonnull));
extern int lm_machine_resume (struct lm_machine *machine,
                              struct lm_error *err)
  __attribute__ ((nonnull));
extern int lm_machine_reset (struct lm_machine *machine,
                             struct lm_error *err)
  __attribute__ ((nonnull));
extern int lm_machine_screenshot (struct lm_machine *machine,
                                  const char *path, struct lm_error *err)
  __attribute__ ((nonnull));

/* Wait until it has ended, at most TIMEOUT_MS (negative: no limit; 0:
 * only look).  CANCEL may be NULL; a signal handler sets what it points
 * to, and LM_ERR_INTERRUPTED is returned within 0.2 s. */
extern int lm_machine_wait (struct lm_machine *machine, int64_t timeout_ms,
                            const volatile sig_atomic_t *cancel,
                            bool *ret_ended, struct lm_error *err)
  __attribute__ ((nonnull (1, 4, 5)));

/* Ask the guest to shut down and wait until it has.  The button is
 * pressed again every 15 s, because a guest that is still in its boot
 * loader doesn't notice.  *RET_ENDED is false if it still runs after
 * TIMEOUT_MS; ending it the hard way is the caller's decision.  An ended
 * machine is fine. */
extern int lm_machine_shutdown (struct lm_machine *machine,
                                int64_t timeout_ms,
                                const volatile sig_atomic_t *cancel,
                                bool *ret_ended, struct lm_error *err)
  __attribute__ ((nonnull (1, 4, 5)));

#endif
