/* SPDX-License-Identifier: Apache-2.0
 * The command line of QEMU for a machine; see qemu-command.h.
 *
 * Choices that are not obvious:
 * - -nodefaults and -no-user-config: what the machine has is what is
 *   written here, whatever this host's configuration files say.
 * - Errors of a disk are reported to the guest, as a real disk would:
 *   stopping the machine would turn one bad chunk into a hang.
 * - The serial port is a socket with a log file under it: the log is
 *   complete whether or not somebody is connected.
 * - A VGA card is always there: boot loaders and foreign guests expect
 *   one, and a screenshot needs it.
 * - Translation blocks get 256 MiB: QEMU's default of 1 GiB is memory
 *   that a verifying host would rather give to guests; boots were no
 *   slower.
 */
#include <config.h>

#include "hypervisor-glue/qemu-command.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "common/json.h"
#include "hypervisor-glue/nbd-uri.h"
#include "common/banned.h"

#define MIB (UINT64_C (1) << 20)

/* Buses and slots. */
#define IDE_MAX 4
#define SATA_BUILTIN 6          /* ports of q35's own controller */
#define VIRTIO_MAX 24           /* PCI slots that are left for disks */
#define SERIAL_LEN 20           /* virtio's and ATA's serial number */

void
lm_qemu_command_release (struct lm_qemu_command *command)
{
  size_t i;

  for (i = 0; i < command->n; i++)
    free (command->args[i]);
  free (command->args);
  *command = (struct lm_qemu_command) LM_QEMU_COMMAND_INIT;
}

/* ---- adding arguments ---- */

/* Takes over TEXT; NULL means that there was no memory for it. */
static int
add_owned (struct lm_qemu_command *c, char *text, struct lm_error *err)
{
  char **bigger;

  if (text) {
    bigger = reallocarray (c->args, c->n + 2, sizeof *bigger);
    if (bigger) {
      c->args = bigger;
      c->args[c->n++] = text;
      c->args[c->n] = NULL;
      return 0;
    }
  }
  free (text);
  return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
}

static int __attribute__ ((format (printf, 3, 4)))
add (struct lm_qemu_command *c, struct lm_error *err, const char *fmt, ...)
{
  char *text;
  va_list ap;
  int r;

  va_start (ap, fmt);
  r = vasprintf (&text, fmt, ap);
  va_end (ap);
  return add_owned (c, r == -1 ? NULL : text, err);
}

/* -OPTION and the JSON text of VALUE, which is used up.  jansson makes no
 * value of strings that are not UTF-8. */
static int
add_json (struct lm_qemu_command *c, const char *option, json_t *value_,
          struct lm_error *err)
{
  CLEANUP_JSON json_t *value = value_;
  char *text;
  size_t len;

  if (value == NULL)
    return lm_error_set (err, LM_ERR_USAGE, "%s: a path or name is not "
                         "valid UTF-8", option);
  text = lm_json_dump (value, &len, err);
  if (text == NULL)
    return -1;
  if (add (c, err, "%s", option) == -1) {
    free (text);
    return -1;
  }
  return add_owned (c, text, err);
}

/* TEXT with its commas doubled; NULL when out of memory. */
static char *
double_commas (const char *text)
{
  char *out = malloc (2 * strlen (text) + 1), *p = out;

  if (out == NULL)
    return NULL;
  for (; *text; text++) {
    if (*text == ',')
      *p++ = ',';
    *p++ = *text;
  }
  *p = '\0';
  return out;
}

/* -OPTION PREFIXvalueSUFFIX with the value's commas doubled. */
static int
add_quoted (struct lm_qemu_command *c, const char *option,
            const char *prefix, const char *value, const char *suffix,
            struct lm_error *err)
{
  CLEANUP_FREE char *quoted = double_commas (value);

  if (quoted == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  if (add (c, err, "%s", option) == -1)
    return -1;
  return add (c, err, "%s%s%s", prefix, quoted, suffix);
}

/* ---- checks ---- */

static int
check_path (const char *path, const char *what, struct lm_error *err)
{
  if (path == NULL)
    return lm_error_set (err, LM_ERR_USAGE, "machine: no %s is given", what);
  if (*path != '/')
    return lm_error_set (err, LM_ERR_USAGE, "machine: the path of the %s, "
                         "%s, is not absolute", what, path);
  return 0;
}

/* Digits of base 16 wherever PATTERN has an x, else the same character. */
static bool
looks_like (const char *text, const char *pattern)
{
  for (; *pattern; pattern++, text++)
    if (*pattern == 'x' ? !strchr ("0123456789abcdefABCDEF", *text)
                          || *text == '\0'
                        : *text != *pattern)
      return false;
  return *text == '\0';
}

static int
check_config (const struct lm_machine_config *config, struct lm_error *err)
{
  if (config->name == NULL || *config->name == '\0')
    return lm_error_set (err, LM_ERR_USAGE, "machine: no name is given");
  if (config->memory < LM_MACHINE_MEMORY_MIN ||
      config->memory > LM_MACHINE_MEMORY_MAX)
    return lm_error_set (err, LM_ERR_LIMIT, "machine %s: %" PRIu64
                         " bytes of memory; from 1 MiB to 4 TiB are "
                         "possible", config->name, config->memory);
  if (config->cpus < 1 || config->cpus > LM_MACHINE_CPUS_MAX)
    return lm_error_set (err, LM_ERR_LIMIT, "machine %s: %u CPUs; from 1 to "
                         "%d are possible", config->name, config->cpus,
                         LM_MACHINE_CPUS_MAX);
  if (config->nr_disks > LM_MACHINE_DISKS_MAX)
    return lm_error_set (err, LM_ERR_LIMIT, "machine %s: %zu disks, the "
                         "limit is %d", config->name, config->nr_disks,
                         LM_MACHINE_DISKS_MAX);
  if (config->uuid &&
      !looks_like (config->uuid, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"))
    return lm_error_set (err, LM_ERR_USAGE, "machine %s: '%s' is no UUID",
                         config->name, config->uuid);
  if (config->mac && !looks_like (config->mac, "xx:xx:xx:xx:xx:xx"))
    return lm_error_set (err, LM_ERR_USAGE, "machine %s: '%s' is no MAC "
                         "address", config->name, config->mac);
  if (check_path (config->serial_log, "serial log", err) == -1 ||
      check_path (config->log_path, "log", err) == -1 ||
      check_path (config->serial_socket, "serial socket", err) == -1 ||
      check_path (config->control_socket, "control socket", err) == -1 ||
      lm_socket_path_check (config->serial_socket, "serial port", err) == -1
      || lm_socket_path_check (config->control_socket, "QMP", err) == -1)
    return -1;
  if (config->vnc_socket &&
      lm_socket_path_check (config->vnc_socket, "VNC", err) == -1)
    return -1;
  if ((config->pid_path && check_path (config->pid_path, "pid file", err)
       == -1) ||
      (config->kernel && check_path (config->kernel, "kernel", err) == -1) ||
      (config->initrd && check_path (config->initrd, "initrd", err) == -1))
    return -1;
  if (config->kernel == NULL && (config->initrd || config->append))
    return lm_error_set (err, LM_ERR_USAGE, "machine %s: an initrd or a "
                         "kernel command line needs a kernel",
                         config->name);
  return 0;
}

/* ---- the parts ---- */

static enum lm_chipset
chipset_of (const struct lm_machine_config *config)
{
  size_t i;

  for (i = 0; i < config->nr_disks; i++)
    if (config->disks[i].bus == LM_DISK_BUS_IDE)
      return LM_CHIPSET_PC;     /* q35 has no IDE */
  return config->chipset;
}

static int
add_base (struct lm_qemu_command *c, const struct lm_machine_config *config,
          enum lm_accel accel, const struct lm_firmware_pair *firmware,
          struct lm_error *err)
{
  const char *flash = firmware ? ",pflash0=code,pflash1=vars" : "";

  if (add (c, err, "%s", config->program ? : "qemu-system-x86_64") == -1 ||
      add_quoted (c, "-name", "guest=", config->name, "", err) == -1)
    return -1;
  if (config->uuid &&
      (add (c, err, "-uuid") == -1 || add (c, err, "%s", config->uuid) == -1))
    return -1;
  if (add (c, err, "-nodefaults") == -1 ||
      add (c, err, "-no-user-config") == -1 ||
      add (c, err, "-sandbox") == -1 ||
      add (c, err, "on,obsolete=deny,elevateprivileges=deny,spawn=deny,"
           "resourcecontrol=deny") == -1 ||
      add (c, err, "-machine") == -1 ||
      add (c, err, "%s,vmport=off,dump-guest-core=off%s",
           chipset_of (config) == LM_CHIPSET_PC ? "pc" : "q35", flash) == -1)
    return -1;
  if (add (c, err, "-accel") == -1 ||
      add (c, err, "%s", accel == LM_ACCEL_KVM ? "kvm"
           : "tcg,thread=multi,tb-size=256") == -1 ||
      add (c, err, "-cpu") == -1 ||
      add (c, err, "%s", accel == LM_ACCEL_KVM ? "host" : "max") == -1)
    return -1;
  if (add (c, err, "-smp") == -1 ||
      add (c, err, "cpus=%u,sockets=1,cores=%u,threads=1", config->cpus,
           config->cpus) == -1 ||
      add (c, err, "-m") == -1 ||
      add (c, err, "size=%" PRIu64 "M", lm_div_up (config->memory, MIB))
      == -1)
    return -1;
  if (config->pid_path && (add (c, err, "-pidfile") == -1 ||
                           add (c, err, "%s", config->pid_path) == -1))
    return -1;
  return 0;
}

static int
add_flash (struct lm_qemu_command *c, const char *node, const char *path,
           bool read_only, struct lm_error *err)
{
  return add_json (c, "-blockdev", json_pack (
    "{s:s, s:s, s:b, s:{s:s, s:s, s:b}}", "driver", "raw", "node-name",
    node, "read-only", read_only, "file", "driver", "file", "filename", path,
    "read-only", read_only), err);
}

static int
add_firmware (struct lm_qemu_command *c,
              const struct lm_machine_config *config,
              const struct lm_firmware_pair *firmware, struct lm_error *err)
{
  if (firmware &&
      (check_path (config->nvram_path, "UEFI variables", err) == -1 ||
       add_flash (c, "code", firmware->code, true, err) == -1 ||
       add_flash (c, "vars", config->nvram_path, false, err) == -1))
    return -1;
  if (add (c, err, "-boot") == -1 ||
      add (c, err, "menu=off,strict=on") == -1)
    return -1;
  if (config->kernel == NULL)
    return 0;
  if (add (c, err, "-kernel") == -1 ||
      add (c, err, "%s", config->kernel) == -1)
    return -1;
  if (config->initrd && (add (c, err, "-initrd") == -1 ||
                         add (c, err, "%s", config->initrd) == -1))
    return -1;
  if (config->append && (add (c, err, "-append") == -1 ||
                         add (c, err, "%s", config->append) == -1))
    return -1;
  return 0;
}

/* The two block nodes of a disk: raw over NBD.  A guest's flush reaches
 * the server, and so do its trims; zeros it writes are not guessed. */
static int
add_nodes (struct lm_qemu_command *c, const struct lm_machine_disk *disk,
           size_t i, struct lm_error *err)
{
  struct lm_nbd_uri uri = LM_NBD_URI_INIT;
  json_t *server;
  char node[32], port[8];
  int r;

  if (lm_nbd_uri_parse (disk->nbd_uri, &uri, err) == -1)
    return lm_error_prefix (err, "disk %s", disk->name);
  if (uri.socket)
    server = json_pack ("{s:s, s:s}", "type", "unix", "path", uri.socket);
  else {
    snprintf (port, sizeof port, "%u", uri.port);
    server = json_pack ("{s:s, s:s, s:s}", "type", "inet", "host", uri.host,
                        "port", port);
  }
  snprintf (node, sizeof node, "disk%zu", i);
  /* "o" of a NULL server makes the whole pack NULL: add_json says it. */
  r = add_json (c, "-blockdev", json_pack (
    "{s:s, s:s, s:b, s:s, s:s, s:{s:b, s:b},"
    " s:{s:s, s:o, s:s, s:i, s:b, s:s, s:{s:b, s:b}}}",
    "driver", "raw", "node-name", node, "read-only", disk->read_only,
    "discard", "unmap", "detect-zeroes", "off",
    "cache", "direct", 0, "no-flush", 0,
    "file", "driver", "nbd", "server", server, "export", uri.export_name,
    "reconnect-delay", (int) disk->reconnect_delay, "read-only",
    disk->read_only, "discard", "unmap", "cache", "direct", 0,
    "no-flush", 0), err);
  lm_nbd_uri_release (&uri);
  return r;
}

/* What identifies the disk inside the guest: printable, no spaces. */
static void
make_serial (const struct lm_machine_disk *disk, char out[SERIAL_LEN + 1])
{
  const char *s = disk->serial ? : disk->name;
  size_t i;

  for (i = 0; i < SERIAL_LEN && s[i]; i++)
    out[i] = s[i] > ' ' && s[i] < 0x7f ? s[i] : '_';
  out[i] = '\0';
}

/* How many disks of each bus there are so far. */
struct bus_use {
  unsigned count[4];
  bool scsi_controller;
};

static int
bus_limit (const struct lm_machine_disk *disk, unsigned nth, unsigned limit,
           struct lm_error *err)
{
  if (nth < limit)
    return 0;
  return lm_error_set (err, LM_ERR_LIMIT, "disk %s: more than %u disks on "
                       "%s", disk->name, limit, lm_disk_bus_name (disk->bus));
}

/* The port of the NTH SATA disk.  q35 has a controller; more of them, and
 * all of pc's, are added as they are needed. */
static int
sata_port (struct lm_qemu_command *c, enum lm_chipset chipset, unsigned nth,
           char *ret_bus, size_t bus_size, struct lm_error *err)
{
  unsigned controller = nth / SATA_BUILTIN, port = nth % SATA_BUILTIN;

  if (chipset == LM_CHIPSET_Q35 && controller == 0) {
    snprintf (ret_bus, bus_size, "ide.%u", port);
    return 0;
  }
  snprintf (ret_bus, bus_size, "ahci%u.%u", controller, port);
  if (port == 0) {
    char id[16];

    snprintf (id, sizeof id, "ahci%u", controller);
    return add_json (c, "-device", json_pack ("{s:s, s:s}", "driver", "ahci",
                                              "id", id), err);
  }
  return 0;
}

/* The device that shows the nodes to the guest. */
static int
add_disk_device (struct lm_qemu_command *c, enum lm_chipset chipset,
                 const struct lm_machine_disk *disk, size_t i,
                 struct bus_use *use, struct lm_error *err)
{
  unsigned nth = use->count[disk->bus]++;
  char serial[SERIAL_LEN + 1], node[32], bus[32];
  CLEANUP_JSON json_t *device = NULL;

  make_serial (disk, serial);
  snprintf (node, sizeof node, "disk%zu", i);
  device = json_pack ("{s:s, s:s, s:i, s:s, s:s, s:s}", "id", node, "drive",
                      node, "bootindex", (int) i + 1, "serial", serial,
                      "werror", "report", "rerror", "report");
  if (device == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");

  switch (disk->bus) {
  case LM_DISK_BUS_VIRTIO:
    if (bus_limit (disk, nth, VIRTIO_MAX, err) == -1)
      return -1;
    json_object_set_new (device, "driver", json_string ("virtio-blk-pci"));
    break;
  case LM_DISK_BUS_SATA:
  case LM_DISK_BUS_IDE:
    if (disk->read_only) {
      lm_error_set (err, LM_ERR_USAGE, "disk %s: a disk on %s can't be "
                    "read-only", disk->name, lm_disk_bus_name (disk->bus));
      return lm_error_hint (err, "mount it writable, or use the bus virtio "
                            "or scsi");
    }
    json_object_set_new (device, "driver", json_string ("ide-hd"));
    if (disk->bus == LM_DISK_BUS_IDE) {
      if (bus_limit (disk, nth, IDE_MAX, err) == -1)
        return -1;
      snprintf (bus, sizeof bus, "ide.%u", nth / 2);
      json_object_set_new (device, "unit", json_integer (nth % 2));
    }
    else if (sata_port (c, chipset, nth, bus, sizeof bus, err) == -1)
      return -1;
    json_object_set_new (device, "bus", json_string (bus));
    break;
  case LM_DISK_BUS_SCSI:
    if (!use->scsi_controller &&
        add_json (c, "-device", json_pack ("{s:s, s:s}", "driver",
                                           "virtio-scsi-pci", "id", "scsi"),
                  err) == -1)
      return -1;
    use->scsi_controller = true;
    json_object_set_new (device, "driver", json_string ("scsi-hd"));
    json_object_set_new (device, "bus", json_string ("scsi.0"));
    json_object_set_new (device, "scsi-id", json_integer (nth));
    break;
  }
  return add_json (c, "-device", json_incref (device), err);
}

static int
add_disks (struct lm_qemu_command *c, const struct lm_machine_config *config,
           struct lm_error *err)
{
  enum lm_chipset chipset = chipset_of (config);
  struct bus_use use = { .scsi_controller = false };
  size_t i;

  for (i = 0; i < config->nr_disks; i++) {
    const struct lm_machine_disk *disk = &config->disks[i];

    if (disk->name == NULL || disk->nbd_uri == NULL)
      return lm_error_set (err, LM_ERR_USAGE, "machine %s: disk %zu has no "
                           "name or no URI", config->name, i);
    if (disk->size == 0)
      return lm_error_set (err, LM_ERR_USAGE, "disk %s: is empty",
                           disk->name);
    if (disk->reconnect_delay > 86400)
      return lm_error_set (err, LM_ERR_LIMIT, "disk %s: a reconnect delay "
                           "of %u s, the limit is a day", disk->name,
                           disk->reconnect_delay);
    if (add_nodes (c, disk, i, err) == -1 ||
        add_disk_device (c, chipset, disk, i, &use, err) == -1)
      return -1;
  }
  return 0;
}

static int
add_network (struct lm_qemu_command *c,
             const struct lm_machine_config *config, struct lm_error *err)
{
  static const char *const drivers[] = {
    [LM_NIC_VIRTIO] = "virtio-net-pci", [LM_NIC_E1000E] = "e1000e",
    [LM_NIC_E1000] = "e1000", [LM_NIC_RTL8139] = "rtl8139",
  };

  if (config->network == LM_NETWORK_NONE)
    return add (c, err, "-nic") == -1 || add (c, err, "none") == -1 ? -1 : 0;
  if (add (c, err, "-netdev") == -1 || add (c, err, "user,id=net0") == -1)
    return -1;
  /* No boot ROM: nothing is ever booted from the network. */
  return add_json (c, "-device", json_pack (
    "{s:s, s:s, s:s, s:s, s:s*}", "driver", drivers[config->nic_model],
    "id", "nic0", "netdev", "net0", "romfile", "", "mac", config->mac),
    err);
}

static int
add_consoles (struct lm_qemu_command *c,
              const struct lm_machine_config *config, struct lm_error *err)
{
  CLEANUP_FREE char *log = double_commas (config->serial_log);
  CLEANUP_FREE char *suffix = NULL;

  if (log == NULL ||
      asprintf (&suffix, ",server=on,wait=off,logfile=%s,logappend=on", log)
      == -1) {
    suffix = NULL;
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  }
  if (add_quoted (c, "-chardev", "socket,id=serial0,path=",
                  config->serial_socket, suffix, err) == -1 ||
      add_json (c, "-device", json_pack ("{s:s, s:s, s:s}", "driver",
                                         "isa-serial", "id", "com1",
                                         "chardev", "serial0"), err) == -1 ||
      add_quoted (c, "-chardev", "socket,id=qmp0,path=",
                  config->control_socket, ",server=on,wait=off", err) == -1 ||
      add (c, err, "-mon") == -1 ||
      add (c, err, "chardev=qmp0,mode=control") == -1 ||
      add_json (c, "-device", json_pack ("{s:s, s:s}", "driver", "VGA", "id",
                                         "vga0"), err) == -1 ||
      add (c, err, "-display") == -1 || add (c, err, "none") == -1)
    return -1;
  if (config->vnc_socket == NULL)
    return 0;
  /* A tablet, so that the pointer is where the viewer's pointer is. */
  if (add_quoted (c, "-vnc", "unix:", config->vnc_socket, "", err) == -1 ||
      add_json (c, "-device", json_pack ("{s:s, s:s}", "driver", "qemu-xhci",
                                         "id", "usb"), err) == -1)
    return -1;
  return add_json (c, "-device", json_pack ("{s:s, s:s, s:s}", "driver",
                                            "usb-tablet", "id", "tablet0",
                                            "bus", "usb.0"), err);
}

int
lm_qemu_command_make (const struct lm_machine_config *config,
                      enum lm_accel accel,
                      const struct lm_firmware_pair *firmware,
                      struct lm_qemu_command *ret_command,
                      struct lm_error *err)
{
  CLEANUP_QEMU_COMMAND struct lm_qemu_command c = LM_QEMU_COMMAND_INIT;

  if (check_config (config, err) == -1 ||
      add_base (&c, config, accel, firmware, err) == -1 ||
      add_firmware (&c, config, firmware, err) == -1 ||
      add_disks (&c, config, err) == -1 ||
      add_network (&c, config, err) == -1 ||
      add_consoles (&c, config, err) == -1)
    return -1;
  *ret_command = c;
  c = (struct lm_qemu_command) LM_QEMU_COMMAND_INIT;
  return 0;
}
