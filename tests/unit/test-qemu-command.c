/* SPDX-License-Identifier: Apache-2.0
 * QEMU's command line, word for word.
 */
#include <config.h>

#include "hypervisor-glue/qemu-command.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"

/* One argument a line. */
static char *
lines_of (const struct lm_qemu_command *command)
{
  struct lm_buffer b = LM_BUFFER_INIT;
  struct lm_error err = LM_ERROR_INIT;
  size_t i;

  for (i = 0; i < command->n; i++)
    cr_assert (eq (int, lm_buffer_printf (&b, &err, "%s\n",
                                          command->args[i]), 0));
  cr_assert_null (command->args[command->n]);
  return lm_buffer_steal_string (&b, &err);
}

static void
expect_command (const struct lm_machine_config *config, enum lm_accel accel,
                const struct lm_firmware_pair *firmware, const char *want)
{
  struct lm_qemu_command command = LM_QEMU_COMMAND_INIT;
  struct lm_error err = LM_ERROR_INIT;
  char *got;

  cr_assert (eq (int, lm_qemu_command_make (config, accel, firmware,
                                            &command, &err), 0), "%s",
             err.message);
  got = lines_of (&command);
  cr_expect (eq (str, got, (char *) want));
  free (got);
  lm_qemu_command_release (&command);
}

static void
expect_refusal (const struct lm_machine_config *config,
                enum lm_error_kind kind, const char *message)
{
  struct lm_qemu_command command = LM_QEMU_COMMAND_INIT;
  struct lm_error err = LM_ERROR_INIT;

  cr_assert (eq (int, lm_qemu_command_make (config, LM_ACCEL_TCG, NULL,
                                            &command, &err), -1), "%s",
             message);
  cr_expect (eq (str, err.message, (char *) message));
  cr_expect (eq (int, err.kind, (int) kind));
  cr_expect (eq (sz, command.n, 0));
}

static struct lm_machine_config
plain (void)
{
  struct lm_machine_config config = LM_MACHINE_CONFIG_INIT;

  config.name = "web01";
  config.memory = UINT64_C (512) << 20;
  config.cpus = 2;
  config.serial_log = "/s/serial.log";
  config.serial_socket = "/s/serial";
  config.control_socket = "/s/qmp";
  config.log_path = "/s/qemu.log";
  return config;
}

#define SANDBOX "on,obsolete=deny,elevateprivileges=deny,spawn=deny," \
  "resourcecontrol=deny\n"

Test (qemu_command, a_bios_machine_with_one_virtio_disk)
{
  struct lm_machine_disk disk = {
    .name = "disk0", .size = 1 << 30, .reconnect_delay = 60,
    .nbd_uri = "nbd+unix:///web01/latest/disk0?socket=/s/nbd",
  };
  struct lm_machine_config config = plain ();

  config.disks = &disk;
  config.nr_disks = 1;
  config.pid_path = "/s/pid";
  expect_command (&config, LM_ACCEL_TCG, NULL,
    "qemu-system-x86_64\n"
    "-name\nguest=web01\n"
    "-nodefaults\n-no-user-config\n"
    "-sandbox\n" SANDBOX
    "-machine\nq35,vmport=off,dump-guest-core=off\n"
    "-accel\ntcg,thread=multi,tb-size=256\n-cpu\nmax\n"
    "-smp\ncpus=2,sockets=1,cores=2,threads=1\n-m\nsize=512M\n"
    "-pidfile\n/s/pid\n"
    "-boot\nmenu=off,strict=on\n"
    "-blockdev\n"
    "{\"cache\":{\"direct\":false,\"no-flush\":false},"
    "\"detect-zeroes\":\"off\",\"discard\":\"unmap\",\"driver\":\"raw\","
    "\"file\":{\"cache\":{\"direct\":false,\"no-flush\":false},"
    "\"discard\":\"unmap\",\"driver\":\"nbd\","
    "\"export\":\"web01/latest/disk0\",\"read-only\":false,"
    "\"reconnect-delay\":60,"
    "\"server\":{\"path\":\"/s/nbd\",\"type\":\"unix\"}},"
    "\"node-name\":\"disk0\",\"read-only\":false}\n"
    "-device\n"
    "{\"bootindex\":1,\"drive\":\"disk0\",\"driver\":\"virtio-blk-pci\","
    "\"id\":\"disk0\",\"rerror\":\"report\",\"serial\":\"disk0\","
    "\"werror\":\"report\"}\n"
    "-nic\nnone\n"
    "-chardev\nsocket,id=serial0,path=/s/serial,server=on,wait=off,"
    "logfile=/s/serial.log,logappend=on\n"
    "-device\n"
    "{\"chardev\":\"serial0\",\"driver\":\"isa-serial\",\"id\":\"com1\"}\n"
    "-chardev\nsocket,id=qmp0,path=/s/qmp,server=on,wait=off\n"
    "-mon\nchardev=qmp0,mode=control\n"
    "-device\n{\"driver\":\"VGA\",\"id\":\"vga0\"}\n"
    "-display\nnone\n");
}

Test (qemu_command, uefi_kvm_user_network_vnc_and_a_kernel)
{
  static const struct lm_firmware_pair firmware = { "/f/CODE.fd",
                                                    "/f/VARS.fd" };
  struct lm_machine_config config = plain ();

  config.uuid = "0123abcd-0000-1111-2222-3333deadBEEF";
  config.memory = (UINT64_C (1) << 30) + 1;
  config.cpus = 1;
  config.firmware = LM_FIRMWARE_UEFI;
  config.nvram_path = "/s/nvram,\"1\".fd";
  config.network = LM_NETWORK_USER;
  config.nic_model = LM_NIC_E1000E;
  config.mac = "52:54:00:12:34:56";
  config.vnc_socket = "/s/vnc";
  config.kernel = "/k/vmlinuz";
  config.initrd = "/k/initrd";
  config.append = "console=ttyS0,115200 root=/dev/vda \"quoted\"";
  expect_command (&config, LM_ACCEL_KVM, &firmware,
    "qemu-system-x86_64\n"
    "-name\nguest=web01\n"
    "-uuid\n0123abcd-0000-1111-2222-3333deadBEEF\n"
    "-nodefaults\n-no-user-config\n"
    "-sandbox\n" SANDBOX
    "-machine\nq35,vmport=off,dump-guest-core=off,pflash0=code,"
    "pflash1=vars\n"
    "-accel\nkvm\n-cpu\nhost\n"
    "-smp\ncpus=1,sockets=1,cores=1,threads=1\n-m\nsize=1025M\n"
    "-blockdev\n{\"driver\":\"raw\",\"file\":{\"driver\":\"file\","
    "\"filename\":\"/f/CODE.fd\",\"read-only\":true},"
    "\"node-name\":\"code\",\"read-only\":true}\n"
    "-blockdev\n{\"driver\":\"raw\",\"file\":{\"driver\":\"file\","
    "\"filename\":\"/s/nvram,\\\"1\\\".fd\",\"read-only\":false},"
    "\"node-name\":\"vars\",\"read-only\":false}\n"
    "-boot\nmenu=off,strict=on\n"
    "-kernel\n/k/vmlinuz\n-initrd\n/k/initrd\n"
    "-append\nconsole=ttyS0,115200 root=/dev/vda \"quoted\"\n"
    "-netdev\nuser,id=net0\n"
    "-device\n{\"driver\":\"e1000e\",\"id\":\"nic0\","
    "\"mac\":\"52:54:00:12:34:56\",\"netdev\":\"net0\",\"romfile\":\"\"}\n"
    "-chardev\nsocket,id=serial0,path=/s/serial,server=on,wait=off,"
    "logfile=/s/serial.log,logappend=on\n"
    "-device\n"
    "{\"chardev\":\"serial0\",\"driver\":\"isa-serial\",\"id\":\"com1\"}\n"
    "-chardev\nsocket,id=qmp0,path=/s/qmp,server=on,wait=off\n"
    "-mon\nchardev=qmp0,mode=control\n"
    "-device\n{\"driver\":\"VGA\",\"id\":\"vga0\"}\n"
    "-display\nnone\n"
    "-vnc\nunix:/s/vnc\n"
    "-device\n{\"driver\":\"qemu-xhci\",\"id\":\"usb\"}\n"
    "-device\n"
    "{\"bus\":\"usb.0\",\"driver\":\"usb-tablet\",\"id\":\"tablet0\"}\n");
}

/* Only the -device and -machine arguments that have PART in them. */
static void
expect_parts (const struct lm_machine_config *config, const char *part,
              const char *want)
{
  struct lm_qemu_command command = LM_QEMU_COMMAND_INIT, picked;
  struct lm_error err = LM_ERROR_INIT;
  char *args[200], *got;
  size_t i, n = 0;

  cr_assert (eq (int, lm_qemu_command_make (config, LM_ACCEL_TCG, NULL,
                                            &command, &err), 0), "%s",
             err.message);
  for (i = 0; i < command.n && n < 199; i++)
    if (strstr (command.args[i], part))
      args[n++] = command.args[i];
  args[n] = NULL;
  picked = (struct lm_qemu_command) { args, n };
  got = lines_of (&picked);
  cr_expect (eq (str, got, (char *) want));
  free (got);
  lm_qemu_command_release (&command);
}

#define DEVICE(bus, driver, index, node, more) \
  "{\"bootindex\":" index bus ",\"drive\":\"" node "\",\"driver\":\"" \
  driver "\",\"id\":\"" node "\",\"rerror\":\"report\"" more \
  ",\"serial\":\"d\""

Test (qemu_command, each_bus_has_its_controller)
{
  struct lm_machine_disk disks[8];
  struct lm_machine_config config = plain ();
  size_t i;

  for (i = 0; i < 8; i++)
    disks[i] = (struct lm_machine_disk) {
      .name = "d", .nbd_uri = "nbd://h/", .size = 1,
      .bus = LM_DISK_BUS_SATA
    };
  config.disks = disks;
  /* The seventh SATA disk needs a second controller. */
  config.nr_disks = 8;
  expect_parts (&config, "bootindex\":6",
    DEVICE (",\"bus\":\"ide.5\"", "ide-hd", "6", "disk5", "")
    ",\"werror\":\"report\"}\n");
  expect_parts (&config, "ahci1",
    "{\"driver\":\"ahci\",\"id\":\"ahci1\"}\n"
    DEVICE (",\"bus\":\"ahci1.0\"", "ide-hd", "7", "disk6", "")
    ",\"werror\":\"report\"}\n"
    DEVICE (",\"bus\":\"ahci1.1\"", "ide-hd", "8", "disk7", "")
    ",\"werror\":\"report\"}\n");
  /* The type pc has none. */
  config.nr_disks = 1;
  config.chipset = LM_CHIPSET_PC;
  expect_parts (&config, "ahci0",
    "{\"driver\":\"ahci\",\"id\":\"ahci0\"}\n"
    DEVICE (",\"bus\":\"ahci0.0\"", "ide-hd", "1", "disk0", "")
    ",\"werror\":\"report\"}\n");

  /* IDE makes it a pc. */
  config.chipset = LM_CHIPSET_Q35;
  disks[1].bus = disks[2].bus = disks[3].bus = LM_DISK_BUS_IDE;
  config.nr_disks = 4;
  expect_parts (&config, "vmport", "pc,vmport=off,dump-guest-core=off\n");
  expect_parts (&config, "unit",
    DEVICE (",\"bus\":\"ide.0\"", "ide-hd", "2", "disk1", "")
    ",\"unit\":0,\"werror\":\"report\"}\n"
    DEVICE (",\"bus\":\"ide.0\"", "ide-hd", "3", "disk2", "")
    ",\"unit\":1,\"werror\":\"report\"}\n"
    DEVICE (",\"bus\":\"ide.1\"", "ide-hd", "4", "disk3", "")
    ",\"unit\":0,\"werror\":\"report\"}\n");

  for (i = 0; i < 2; i++) {
    disks[i].bus = LM_DISK_BUS_SCSI;
    disks[i].read_only = true;
  }
  config.nr_disks = 2;
  expect_parts (&config, "scsi",
    "{\"driver\":\"virtio-scsi-pci\",\"id\":\"scsi\"}\n"
    DEVICE (",\"bus\":\"scsi.0\"", "scsi-hd", "1", "disk0",
            ",\"scsi-id\":0") ",\"werror\":\"report\"}\n"
    DEVICE (",\"bus\":\"scsi.0\"", "scsi-hd", "2", "disk1",
            ",\"scsi-id\":1") ",\"werror\":\"report\"}\n");
}

Test (qemu_command, hostile_names_stay_within_their_argument)
{
  struct lm_machine_disk disk = {
    .name = "d,file=/etc/shadow", .size = 1, .serial = "a b,\"c\"\n\377"
    "0123456789abcdef",
    .nbd_uri = "nbd+unix:///a%22%2C%22driver%22:%22file?socket=/s/%2C%22x",
  };
  struct lm_machine_config config = plain ();

  config.name = "x,process=evil,,";
  config.serial_socket = "/s,server=off/serial";
  config.serial_log = "/s,id=1/log";
  config.control_socket = "/s,,x/qmp";
  config.vnc_socket = "/s,password=off/vnc";
  config.disks = &disk;
  config.nr_disks = 1;
  expect_parts (&config, "evil", "guest=x,,process=evil,,,,\n");
  expect_parts (&config, "serial0,", "socket,id=serial0,"
                "path=/s,,server=off/serial,server=on,wait=off,"
                "logfile=/s,,id=1/log,logappend=on\n");
  expect_parts (&config, "qmp0,path", "socket,id=qmp0,path=/s,,,,x/qmp,"
                "server=on,wait=off\n");
  expect_parts (&config, "unix:", "unix:/s,,password=off/vnc\n");
  expect_parts (&config, "reconnect",
    "{\"cache\":{\"direct\":false,\"no-flush\":false},"
    "\"detect-zeroes\":\"off\",\"discard\":\"unmap\",\"driver\":\"raw\","
    "\"file\":{\"cache\":{\"direct\":false,\"no-flush\":false},"
    "\"discard\":\"unmap\",\"driver\":\"nbd\","
    "\"export\":\"a\\\",\\\"driver\\\":\\\"file\",\"read-only\":false,"
    "\"reconnect-delay\":0,"
    "\"server\":{\"path\":\"/s/,\\\"x\",\"type\":\"unix\"}},"
    "\"node-name\":\"disk0\",\"read-only\":false}\n");
  expect_parts (&config, "bootindex",
    "{\"bootindex\":1,\"drive\":\"disk0\",\"driver\":\"virtio-blk-pci\","
    "\"id\":\"disk0\",\"rerror\":\"report\","
    "\"serial\":\"a_b,\\\"c\\\"__0123456789a\",\"werror\":\"report\"}\n");
}

Test (qemu_command, mistakes_are_refused)
{
  struct lm_machine_disk disk = { .name = "d", .nbd_uri = "nbd://h/",
                                  .size = 1 };
  struct lm_machine_disk many[LM_MACHINE_DISKS_MAX];
  struct lm_machine_config good = plain (), c;
  size_t i;

  good.disks = &disk;
  good.nr_disks = 1;
#define REFUSED(change, kind, message) \
  c = good, change, expect_refusal (&c, kind, message)
  REFUSED (c.name = "", LM_ERR_USAGE, "machine: no name is given");
  REFUSED (c.memory = 0, LM_ERR_LIMIT, "machine web01: 0 bytes of memory; "
           "from 1 MiB to 4 TiB are possible");
  REFUSED (c.cpus = 0, LM_ERR_LIMIT,
           "machine web01: 0 CPUs; from 1 to 255 are possible");
  REFUSED (c.cpus = 256, LM_ERR_LIMIT,
           "machine web01: 256 CPUs; from 1 to 255 are possible");
  REFUSED (c.uuid = "0123abcd-0000-1111-2222-3333deadbeef,x=y",
           LM_ERR_USAGE, "machine web01: '0123abcd-0000-1111-2222-"
           "3333deadbeef,x=y' is no UUID");
  REFUSED (c.mac = "52:54:00:12:34", LM_ERR_USAGE,
           "machine web01: '52:54:00:12:34' is no MAC address");
  REFUSED (c.serial_log = NULL, LM_ERR_USAGE,
           "machine: no serial log is given");
  REFUSED (c.control_socket = "qmp", LM_ERR_USAGE, "machine: the path of "
           "the control socket, qmp, is not absolute");
  REFUSED (c.kernel = "vmlinuz", LM_ERR_USAGE, "machine: the path of the "
           "kernel, vmlinuz, is not absolute");
  REFUSED (c.append = "ro", LM_ERR_USAGE, "machine web01: an initrd or a "
           "kernel command line needs a kernel");
  REFUSED (c.vnc_socket = "/01234567890123456789012345678901234567890123456"
           "789012345678901234567890123456789012345678901234567890123456",
           LM_ERR_LIMIT, "VNC: socket path /01234567890123456789012345678901"
           "23456789012345678901234567890123456789012345678901234567890123456"
           "7890123456 is 108 bytes long, the system's limit is 107");
#undef REFUSED
#define REFUSED(change, kind, message) \
  disk = (struct lm_machine_disk) { .name = "d", .nbd_uri = "nbd://h/", \
                                    .size = 1 }; \
  change; expect_refusal (&good, kind, message)
  REFUSED (disk.size = 0, LM_ERR_USAGE, "disk d: is empty");
  REFUSED (disk.nbd_uri = NULL, LM_ERR_USAGE,
           "machine web01: disk 0 has no name or no URI");
  REFUSED (disk.nbd_uri = "/disk.raw", LM_ERR_USAGE,
           "disk d: '/disk.raw' is no NBD URI");
  REFUSED (disk.reconnect_delay = 100000, LM_ERR_LIMIT,
           "disk d: a reconnect delay of 100000 s, the limit is a day");
  REFUSED (disk.bus = LM_DISK_BUS_SATA; disk.read_only = true, LM_ERR_USAGE,
           "disk d: a disk on sata can't be read-only");
  REFUSED (disk.nbd_uri = "nbd://h/%ff%fe", LM_ERR_USAGE,
           "-blockdev: a path or name is not valid UTF-8");
#undef REFUSED
  for (i = 0; i < LM_MACHINE_DISKS_MAX; i++)
    many[i] = (struct lm_machine_disk) { .name = "d", .size = 1,
                                         .nbd_uri = "nbd://h/" };
  good.disks = many;
  good.nr_disks = LM_MACHINE_DISKS_MAX;
  expect_refusal (&good, LM_ERR_LIMIT,
                  "disk d: more than 24 disks on virtio");
  good.nr_disks++;
  expect_refusal (&good, LM_ERR_LIMIT,
                  "machine web01: 65 disks, the limit is 64");
}
