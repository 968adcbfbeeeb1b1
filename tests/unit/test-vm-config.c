/* SPDX-License-Identifier: Apache-2.0
 * Stored machine configurations, real and hostile.
 */
#include <config.h>

#include "hypervisor-glue/vm-config.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "common/buffer.h"

/* As virsh dumpxml of libvirt 9.0 writes a virt-install'ed Debian. */
static const char q35_uefi[] =
"<domain type='kvm' id='3'>\n"
"  <name>web01</name>\n"
"  <uuid>7f3f0a52-6a3e-4c1f-9b44-0f4a9a0d2f11</uuid>\n"
"  <metadata>\n"
"    <libosinfo:libosinfo xmlns:libosinfo=\"http://libosinfo.org/xmlns/"
"libvirt/domain/1.0\">\n"
"      <libosinfo:os id=\"http://debian.org/debian/12\"/>\n"
"      <name>not this one</name>\n"
"    </libosinfo:libosinfo>\n"
"  </metadata>\n"
"  <memory unit='KiB'>4194304</memory>\n"
"  <currentMemory unit='KiB'>2097152</currentMemory>\n"
"  <vcpu placement='static' current='2'>4</vcpu>\n"
"  <os firmware='efi'>\n"
"    <type arch='x86_64' machine='pc-q35-7.2'>hvm</type>\n"
"    <firmware>\n"
"      <feature enabled='no' name='enrolled-keys'/>\n"
"      <feature enabled='yes' name='secure-boot'/>\n"
"    </firmware>\n"
"    <loader readonly='yes' secure='no' type='pflash'>/usr/share/OVMF/"
"OVMF_CODE_4M.fd</loader>\n"
"    <nvram template='/usr/share/OVMF/OVMF_VARS_4M.fd'>/var/lib/libvirt/"
"qemu/nvram/web01_VARS.fd</nvram>\n"
"    <boot dev='hd'/>\n"
"  </os>\n"
"  <features><acpi/><apic/></features>\n"
"  <cpu mode='host-passthrough' check='none' migratable='on'/>\n"
"  <devices>\n"
"    <emulator>/usr/bin/qemu-system-x86_64</emulator>\n"
"    <disk type='file' device='cdrom'>\n"
"      <target dev='sda' bus='sata'/><readonly/>\n"
"    </disk>\n"
"    <disk type='file' device='disk'>\n"
"      <driver name='qemu' type='qcow2' discard='unmap'/>\n"
"      <source file='/var/lib/libvirt/images/web01.qcow2' index='2'/>\n"
"      <backingStore/>\n"
"      <target dev='vda' bus='virtio'/>\n"
"      <serial>WD-12345</serial>\n"
"      <boot order='2'/>\n"
"      <alias name='virtio-disk0'/>\n"
"    </disk>\n"
"    <disk type='block' device='lun'>\n"
"      <target dev='sdb' bus='scsi'/>\n"
"    </disk>\n"
"    <disk type='file'><target dev='sdc' bus='usb'/></disk>\n"
"    <disk type='file' device='floppy'><target dev='fda' bus='fdc'/>"
"</disk>\n"
"    <interface type='network'>\n"
"      <mac address='52:54:00:8b:11:22'/>\n"
"      <source network='default'/>\n"
"      <model type='virtio'/>\n"
"    </interface>\n"
"    <interface type='bridge'><model type='ne2k_pci'/></interface>\n"
"    <serial type='pty'><target type='isa-serial' port='0'/></serial>\n"
"  </devices>\n"
"</domain>\n";

static const char pc_bios[] =
"<?xml version='1.0' encoding='UTF-8'?>\n"
"<!--\nWARNING: THIS IS AN AUTO-GENERATED FILE.\n-->\n"
"<domain type='qemu'>\n"
"  <name>gr\303\274n &amp; co</name>\n"
"  <memory>1048576</memory>\n"
"  <vcpu>1</vcpu>\n"
"  <os><type arch='i686' machine='pc'>hvm</type><boot dev='hd'/></os>\n"
"  <devices>\n"
"    <disk type='file' device='disk'><target dev='hda' bus='ide'/></disk>\n"
"    <interface type='user'><model type='e1000'/></interface>\n"
"  </devices>\n"
"</domain>\n";

static int
parse (const char *text, struct lm_vm_config *config, struct lm_error *err)
{
  return lm_vm_config_parse (text, strlen (text), "vm.xml", config, err);
}

Test (vm_config, a_libvirt_domain_with_uefi)
{
  struct lm_vm_config c = LM_VM_CONFIG_INIT;
  struct lm_error err = LM_ERROR_INIT;

  cr_assert (eq (int, lm_vm_config_detect (q35_uefi, strlen (q35_uefi)),
                 LM_VM_CONFIG_LIBVIRT));
  cr_assert (eq (int, parse (q35_uefi, &c, &err), 0), "%s", err.message);
  cr_expect (eq (str, c.name, "web01"));
  cr_expect (eq (str, c.uuid, "7f3f0a52-6a3e-4c1f-9b44-0f4a9a0d2f11"));
  cr_expect (eq (u64, c.memory, UINT64_C (4) << 30));
  cr_expect (eq (uint, c.cpus, 2));
  cr_expect (c.has_firmware && c.firmware == LM_FIRMWARE_UEFI);
  cr_expect (c.secure_boot);
  cr_expect (eq (str, c.nvram,
                 "/var/lib/libvirt/qemu/nvram/web01_VARS.fd"));
  cr_expect (c.has_chipset && c.chipset == LM_CHIPSET_Q35);
  cr_assert (eq (sz, c.nr_disks, 3));
  cr_expect (eq (str, c.disks[0].target, "vda"));
  cr_expect (c.disks[0].has_bus && c.disks[0].bus == LM_DISK_BUS_VIRTIO);
  cr_expect (eq (str, c.disks[0].serial, "WD-12345"));
  cr_expect (eq (uint, c.disks[0].boot_order, 2));
  cr_expect (eq (str, c.disks[1].target, "sdb"));
  cr_expect (c.disks[1].has_bus && c.disks[1].bus == LM_DISK_BUS_SCSI);
  cr_expect_null (c.disks[1].serial);
  cr_expect (eq (uint, c.disks[1].boot_order, 0));
  cr_expect (eq (str, c.disks[2].target, "sdc"));
  cr_expect_not (c.disks[2].has_bus);
  cr_assert (eq (sz, c.nr_nics, 2));
  cr_expect (c.nics[0].has_model && c.nics[0].model == LM_NIC_VIRTIO);
  cr_expect (eq (str, c.nics[0].mac, "52:54:00:8b:11:22"));
  cr_expect_not (c.nics[1].has_model);
  lm_vm_config_release (&c);
}

Test (vm_config, a_libvirt_domain_with_bios)
{
  struct lm_vm_config c = LM_VM_CONFIG_INIT;
  struct lm_error err = LM_ERROR_INIT;

  cr_assert (eq (int, parse (pc_bios, &c, &err), 0), "%s", err.message);
  cr_expect (eq (str, c.name, "gr\303\274n & co"));
  cr_expect_null (c.uuid);
  cr_expect (eq (u64, c.memory, UINT64_C (1) << 30));
  cr_expect (eq (uint, c.cpus, 1));
  cr_expect (c.has_firmware && c.firmware == LM_FIRMWARE_BIOS);
  cr_expect_not (c.secure_boot);
  cr_expect_null (c.nvram);
  cr_expect (c.has_chipset && c.chipset == LM_CHIPSET_PC);
  cr_assert (eq (sz, c.nr_disks, 1));
  cr_expect (c.disks[0].has_bus && c.disks[0].bus == LM_DISK_BUS_IDE);
  cr_expect (c.nics[0].has_model && c.nics[0].model == LM_NIC_E1000);
  lm_vm_config_release (&c);
}

Test (vm_config, the_ways_to_say_uefi)
{
  static const struct { const char *os; bool uefi; const char *nvram; }
  rows[] = {
    { "<os firmware='efi'/>", true, NULL },
    { "<os firmware='bios'/>", false, NULL },
    { "<os><loader type='pflash'>/x</loader></os>", true, NULL },
    { "<os><loader type='rom'>/x</loader></os>", false, NULL },
    { "<os><nvram type='file'><source file='/n'/></nvram></os>", true,
      "/n" },
    { "<os><nvram> /n </nvram></os>", true, "/n" },
    { "<os><nvram/></os>", true, NULL },
  };
  size_t i;

  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct lm_vm_config c = LM_VM_CONFIG_INIT;
    struct lm_error err = LM_ERROR_INIT;
    char text[256];

    snprintf (text, sizeof text, "<domain>%s</domain>", rows[i].os);
    cr_assert (eq (int, parse (text, &c, &err), 0), "%s", err.message);
    cr_expect (c.has_firmware);
    cr_expect (eq (int, c.firmware == LM_FIRMWARE_UEFI, rows[i].uefi), "%s",
               text);
    if (rows[i].nvram)
      cr_expect (eq (str, c.nvram, (char *) rows[i].nvram));
    else
      cr_expect_null (c.nvram);
    lm_vm_config_release (&c);
  }
}

Test (vm_config, what_is_not_said_stays_unsaid)
{
  struct lm_vm_config c = LM_VM_CONFIG_INIT;
  struct lm_error err = LM_ERROR_INIT;

  cr_assert (eq (int, parse ("<domain><os><type machine='microvm'>hvm</type>"
                             "</os><memory/></domain>", &c, &err), 0));
  cr_expect_not (c.has_chipset);
  cr_expect (eq (u64, c.memory, 0));
  lm_vm_config_release (&c);
  cr_assert (eq (int, parse ("<domain/>", &c, &err), 0));
  cr_expect_null (c.name);
  cr_expect_not (c.has_firmware);
  cr_expect (c.memory == 0 && c.cpus == 0 && c.nr_disks == 0);
  lm_vm_config_release (&c);
  cr_assert (eq (int, parse ("{}", &c, &err), 0));
  cr_expect_not (c.has_firmware);
  lm_vm_config_release (&c);
}

Test (vm_config, memory_in_every_unit)
{
  static const struct { const char *xml; uint64_t bytes; } rows[] = {
    { "<memory unit='b'>1048576</memory>", 1048576 },
    { "<memory unit='KiB'> 2 </memory>", 2048 },
    { "<memory unit='KB'>2</memory>", 2000 },
    { "<memory unit='MiB'>3</memory>", 3 << 20 },
    { "<memory unit='GiB'>5</memory>", UINT64_C (5) << 30 },
    { "<memory unit='TB'>1</memory>", UINT64_C (1000000000000) },
    { "<memory>7</memory>", 7168 },
  };
  size_t i;

  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct lm_vm_config c = LM_VM_CONFIG_INIT;
    struct lm_error err = LM_ERROR_INIT;
    char text[128];

    snprintf (text, sizeof text, "<domain>%s</domain>", rows[i].xml);
    cr_assert (eq (int, parse (text, &c, &err), 0), "%s", err.message);
    cr_expect (eq (u64, c.memory, rows[i].bytes), "%s", rows[i].xml);
    lm_vm_config_release (&c);
  }
}

Test (vm_config, our_own_json)
{
  struct lm_vm_config c = LM_VM_CONFIG_INIT;
  struct lm_error err = LM_ERROR_INIT;

  cr_assert (eq (int, parse (
    "\xef\xbb\xbf{ \"name\": \"a\", \"memory\": \"1.5G\", \"cpus\": 3,"
    " \"firmware\": \"uefi\", \"machine\": \"pc\", \"later\": [1],"
    " \"disks\": [ { \"name\": \"disk0\", \"bus\": \"sata\" }, {} ],"
    " \"nics\": [ { \"model\": \"e1000e\", \"mac\": \"x\" } ] }", &c, &err),
    0), "%s", err.message);
  cr_expect (eq (str, c.name, "a"));
  cr_expect (eq (u64, c.memory, UINT64_C (1610612736)));
  cr_expect (eq (uint, c.cpus, 3));
  cr_expect (c.has_firmware && c.firmware == LM_FIRMWARE_UEFI);
  cr_expect (c.has_chipset && c.chipset == LM_CHIPSET_PC);
  cr_assert (eq (sz, c.nr_disks, 2));
  cr_expect (eq (str, c.disks[0].target, "disk0"));
  cr_expect (c.disks[0].has_bus && c.disks[0].bus == LM_DISK_BUS_SATA);
  cr_expect_not (c.disks[1].has_bus);
  cr_assert (eq (sz, c.nr_nics, 1));
  cr_expect (eq (int, c.nics[0].model, LM_NIC_E1000E));
  lm_vm_config_release (&c);
  cr_assert (eq (int, parse ("{\"memory\":4096}", &c, &err), 0));
  cr_expect (eq (u64, c.memory, 4096));
  lm_vm_config_release (&c);
}

/* The first lines of an XML file with a document type. */
#define BILLION_LAUGHS \
  "<?xml version='1.0'?><!DOCTYPE domain [" \
  "<!ENTITY a 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'>" \
  "<!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;'>" \
  "<!ENTITY c '&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;'>" \
  "<!ENTITY d '&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;'>" \
  "<!ENTITY e '&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;'>" \
  "<!ENTITY f '&e;&e;&e;&e;&e;&e;&e;&e;&e;&e;'>" \
  "<!ENTITY g '&f;&f;&f;&f;&f;&f;&f;&f;&f;&f;'>" \
  "<!ENTITY h '&g;&g;&g;&g;&g;&g;&g;&g;&g;&g;'>]>"

#define NO_DTD \
  "vm.xml: a document type declaration is not allowed in a domain"

Test (vm_config, hostile_and_broken_files_are_refused)
{
  static const struct {
    const char *text;
    enum lm_error_kind kind;
    const char *message;        /* NULL: the parser's own words */
  } rows[] = {
    { BILLION_LAUGHS "<domain><name>&h;</name></domain>", LM_ERR_CORRUPT,
      NO_DTD },
    { "<!DOCTYPE d [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>"
      "<domain><name>&x;</name></domain>", LM_ERR_CORRUPT, NO_DTD },
    { "<!DOCTYPE d SYSTEM 'http://127.0.0.1:1/d.dtd'><domain/>",
      LM_ERR_CORRUPT, NO_DTD },
    { "<!DOCTYPE d [<!ENTITY % p SYSTEM 'file:///etc/passwd'> %p;]>"
      "<domain/>", LM_ERR_CORRUPT, NO_DTD },
    { "<!DOCTYPE d><domain/>", LM_ERR_CORRUPT, NO_DTD },
    { "<domain><name>&nosuch;</name></domain>", LM_ERR_CORRUPT, NULL },
    { "<domain><name>x</domain>", LM_ERR_CORRUPT, NULL },
    { "<domain><name>\001</name></domain>", LM_ERR_CORRUPT, NULL },
    { "<domain><name>\377\376</name></domain>", LM_ERR_CORRUPT, NULL },
    { "<domain", LM_ERR_CORRUPT, NULL },
    { "<domain/><domain/>", LM_ERR_CORRUPT, NULL },
    { "<domainsnapshot><domain/></domainsnapshot>", LM_ERR_UNSUPPORTED,
      "vm.xml: neither a libvirt domain nor a JSON description" },
    { "<html/>", LM_ERR_UNSUPPORTED,
      "vm.xml: neither a libvirt domain nor a JSON description" },
    { "memory = 5", LM_ERR_UNSUPPORTED,
      "vm.xml: neither a libvirt domain nor a JSON description" },
    { "", LM_ERR_UNSUPPORTED,
      "vm.xml: neither a libvirt domain nor a JSON description" },
    { "<domain><os><type arch='aarch64'/></os></domain>",
      LM_ERR_UNSUPPORTED, "vm.xml: the machine's architecture is aarch64; "
      "only x86_64 and i686 can be started" },
    { "<domain><memory>-5</memory></domain>", LM_ERR_CORRUPT,
      "vm.xml: <memory> is '-5', expected a number up to "
      "9223372036854775807" },
    { "<domain><memory unit='EiB'>5</memory></domain>", LM_ERR_CORRUPT,
      "vm.xml: <memory> has the unit 'EiB'" },
    { "<domain><memory unit='TiB'>9223372036854775807</memory></domain>",
      LM_ERR_CORRUPT, "vm.xml: <memory> is too large" },
    { "<domain><vcpu>4096</vcpu></domain>", LM_ERR_CORRUPT,
      "vm.xml: <vcpu> is '4096', expected a number up to 255" },
    { "<domain><devices><disk><boot order='x'/></disk></devices></domain>",
      LM_ERR_CORRUPT,
      "vm.xml: <boot order> is 'x', expected a number up to 10000" },
    { "{", LM_ERR_CORRUPT, NULL },
    { "{\"memory\": true}", LM_ERR_CORRUPT,
      "vm.xml: 'memory' is missing or not a whole number" },
    { "{\"memory\": \"lots\"}", LM_ERR_CORRUPT, NULL },
    { "{\"firmware\": \"efi\"}", LM_ERR_CORRUPT,
      "vm.xml: 'firmware': firmware 'efi' is not one of bios, uefi" },
    { "{\"disks\": {}}", LM_ERR_CORRUPT, NULL },
    { "{\"disks\": [5]}", LM_ERR_CORRUPT,
      "vm.xml: a disk is not an object" },
    { "{\"disks\": [{\"bus\": \"scsi2\"}]}", LM_ERR_CORRUPT,
      "vm.xml: 'bus': disk bus 'scsi2' is not one of virtio, sata, ide, "
      "scsi" },
    { "{\"nics\": [[]]}", LM_ERR_CORRUPT,
      "vm.xml: a network card is not an object" },
  };
  size_t i;

  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct lm_vm_config c = LM_VM_CONFIG_INIT;
    struct lm_error err = LM_ERROR_INIT;

    cr_assert (eq (int, parse (rows[i].text, &c, &err), -1), "%s",
               rows[i].text);
    cr_expect (eq (int, err.kind, (int) rows[i].kind), "%s: %s",
               rows[i].text, err.message);
    if (rows[i].message)
      cr_expect (eq (str, err.message, (char *) rows[i].message));
    cr_expect_null (c.name);
  }
}

/* COUNT times TEXT between BEFORE and AFTER. */
static int
parse_repeated (const char *before, const char *text, size_t count,
                const char *after, struct lm_error *err)
{
  struct lm_vm_config c = LM_VM_CONFIG_INIT;
  struct lm_buffer b = LM_BUFFER_INIT;
  size_t i;
  int r;

  cr_assert (eq (int, lm_buffer_append (&b, before, strlen (before), err),
                 0));
  for (i = 0; i < count; i++)
    cr_assert (eq (int, lm_buffer_append (&b, text, strlen (text), err), 0));
  cr_assert (eq (int, lm_buffer_append (&b, after, strlen (after), err), 0));
  r = lm_vm_config_parse (b.data, b.len, "vm.xml", &c, err);
  lm_buffer_release (&b);
  lm_vm_config_release (&c);
  return r;
}

Test (vm_config, too_much_of_anything_is_refused)
{
  struct lm_error err = LM_ERROR_INIT;

  cr_expect (eq (int, parse_repeated ("<domain><devices>", "<disk/>", 64,
                                      "</devices></domain>", &err), 0));
  cr_expect (eq (int, parse_repeated ("<domain><devices>", "<disk/>", 65,
                                      "</devices></domain>", &err), -1));
  cr_expect (eq (str, err.message, "vm.xml: more than 64 disks"));
  cr_expect (eq (int, err.kind, LM_ERR_LIMIT));
  cr_expect (eq (int, parse_repeated ("<domain><devices>", "<interface/>",
                                      65, "</devices></domain>", &err),
                 -1));
  cr_expect (eq (str, err.message, "vm.xml: more than 64 network cards"));
  /* Depth is the XML parser's limit, size is ours. */
  cr_expect (eq (int, parse_repeated ("<domain>", "<a>", 100000, "", &err),
                 -1));
  cr_expect (eq (int, err.kind, LM_ERR_CORRUPT));
  cr_expect (eq (int, parse_repeated ("{\"disks\":", "[", 100000, "", &err),
                 -1));
  cr_expect (eq (int, parse_repeated ("<domain>", "          ", 104858,
                                      "</domain>", &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_LIMIT));
}

Test (vm_config, every_prefix_of_a_file_ends_in_an_answer)
{
  size_t i;

  for (i = 0; i < strlen (q35_uefi); i++) {
    struct lm_vm_config c = LM_VM_CONFIG_INIT;
    struct lm_error err = LM_ERROR_INIT;
    /* On the heap, so that a read beyond the end is noticed. */
    char *copy = malloc (i ? i : 1);

    cr_assert_not_null (copy);
    memcpy (copy, q35_uefi, i);
    if (lm_vm_config_parse (copy, i, "vm.xml", &c, &err) == 0)
      cr_expect (i >= strlen (q35_uefi) - 1, "%zu bytes", i);
    lm_vm_config_release (&c);
    free (copy);
  }
}
