/* SPDX-License-Identifier: Apache-2.0
 *
 * What a hypervisor says: its machine configurations, and its answers on
 * the control socket.
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "hypervisor-glue/qmp.h"
#include "hypervisor-glue/vm-config.h"
#include "tests/fuzz/fuzz.h"
#include "common/banned.h"

/* Milliseconds; the far end is closed, so nothing waits for it. */
#define TIMEOUT 1000

static void
run_vm_config (const uint8_t *data, size_t len)
{
  CLEANUP_VM_CONFIG struct lm_vm_config config = LM_VM_CONFIG_INIT;
  struct lm_error err = LM_ERROR_INIT;

  if (lm_vm_config_parse (data, len, "file", &config, &err) == -1) {
    fuzz_expect_error (&err);
    return;
  }
  fuzz_expect (lm_vm_config_detect (data, len) != LM_VM_CONFIG_UNKNOWN);
  fuzz_expect (config.nr_disks <= LM_MACHINE_DISKS_MAX);
  fuzz_expect (config.nr_nics <= LM_VM_CONFIG_NICS_MAX);
}

static void
emit_text (fuzz_emit_fn emit, const char *name, const char *text)
{
  emit (name, text, strlen (text));
}

static void
seed_vm_config (fuzz_emit_fn emit)
{
  emit_text (emit, "libvirt-q35",
             "<domain type='kvm'><name>web01</name>"
             "<uuid>9a7f6f5c-65b0-4f3a-8a3e-3e4f3a1c2b1d</uuid>"
             "<memory unit='KiB'>2097152</memory><vcpu>2</vcpu>"
             "<os firmware='efi'><type arch='x86_64' machine='pc-q35-7.2'>"
             "hvm</type><loader secure='yes'>/l</loader><nvram>/n</nvram>"
             "<boot dev='hd'/></os><devices>"
             "<disk type='file' device='disk'><target dev='vda' bus="
             "'virtio'/><serial>s1</serial><boot order='1'/></disk>"
             "<disk device='cdrom'><target dev='sda' bus='sata'/></disk>"
             "<interface type='network'><mac address='52:54:00:01:02:03'/>"
             "<model type='virtio'/></interface></devices></domain>");
  emit_text (emit, "libvirt-doctype",
             "<?xml version=\"1.0\"?><!DOCTYPE domain [<!ENTITY a \"b\">]>"
             "<domain><name>&a;</name></domain>");
  emit_text (emit, "json",
             "{\"name\":\"web01\",\"uuid\":"
             "\"9a7f6f5c-65b0-4f3a-8a3e-3e4f3a1c2b1d\",\"memory\":\"2G\","
             "\"cpus\":2,\"firmware\":\"uefi\",\"machine\":\"q35\","
             "\"disks\":[{\"name\":\"disk0\",\"bus\":\"virtio\","
             "\"serial\":\"x\"}],\"nics\":[{\"model\":\"virtio\","
             "\"mac\":\"52:54:00:01:02:03\"}]}");
}

/* All that the peer will ever send. */
static void
run_qmp (const uint8_t *data, size_t len)
{
  CLEANUP_QMP struct lm_qmp *qmp = NULL;
  struct lm_error err = LM_ERROR_INIT;
  json_t *event = NULL;
  int pair[2], i;

  if (len > 60000)              /* what a socket takes at once */
    return;
  fuzz_expect (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
                           pair) == 0);
  fuzz_expect (len == 0 || write (pair[1], data, len) == (ssize_t) len);
  shutdown (pair[1], SHUT_WR);
  qmp = lm_qmp_from_fd (pair[0], "peer", TIMEOUT, &err);
  if (qmp == NULL)
    fuzz_expect_error (&err);
  for (i = 0; qmp && i < 3; i++) {
    CLEANUP_JSON json_t *v = lm_qmp_command (qmp, "query-status", NULL,
                                             TIMEOUT, &err);

    if (v == NULL)
      fuzz_expect_error (&err);
    if (lm_qmp_next_event (qmp, 0, &event, &err) == -1)
      fuzz_expect_error (&err);
    json_decref (event);
    event = NULL;
  }
  close (pair[1]);
}

#define GREETING "{\"QMP\":{\"version\":{\"qemu\":{\"major\":7}}," \
  "\"capabilities\":[]}}\r\n"
#define READY GREETING "{\"return\":{},\"id\":1}\r\n"

static void
seed_qmp (fuzz_emit_fn emit)
{
  emit_text (emit, "greeting", GREETING);
  emit_text (emit, "status",
             READY "{\"timestamp\":{\"seconds\":1,\"microseconds\":2},"
             "\"event\":\"STOP\"}\r\n{\"return\":{\"status\":\"running\"},"
             "\"id\":2}\r\n{\"error\":{\"class\":\"CommandNotFound\","
             "\"desc\":\"no\"},\"id\":3}\n");
  emit_text (emit, "refusal",
             READY "{\"error\":{\"class\":\"GenericError\",\"desc\":\"no\"},"
             "\"id\":2}\n\r\n{\"id\":3}\n");
}

const struct fuzz_target fuzz_glue_targets[] = {
  { "vm-config", run_vm_config, seed_vm_config },
  { "qmp", run_qmp, seed_qmp },
  { NULL, NULL, NULL },
};
