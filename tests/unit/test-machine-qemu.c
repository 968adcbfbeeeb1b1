/* SPDX-License-Identifier: Apache-2.0
 * Real QEMU processes over a real NBD server, without a guest: starting,
 * watching, controlling, ending.
 */
#include <config.h>

#include "hypervisor-glue/machine.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/io.h"
#include "common/process.h"
#include "tests/support/scratch.h"

static struct lm_process server;
static struct lm_machine *machine;
static char *nbd_socket, *nbd_uri, *paths[6];
static struct lm_machine_disk disk;
static struct lm_machine_config config;

static void
start_server (void)
{
  const char *argv[] = { "nbdkit", "-f", "-U", nbd_socket, "memory", "64M",
                         NULL };
  struct lm_spawn spawn = { .argv = argv, .log_path = paths[5],
                            .detach = true };
  struct lm_error err = LM_ERROR_INIT;
  int i;

  cr_assert (eq (int, lm_process_spawn (&spawn, &server, &err), 0), "%s",
             err.message);
  for (i = 0; i < 6000 && access (nbd_socket, F_OK) == -1; i++)
    usleep (10000);
}

static void
set_up (void)
{
  static const char *const names[] = { "serial.log", "serial", "qmp", "pid",
                                       "qemu.log", "nbdkit.log" };
  struct lm_error err = LM_ERROR_INIT;
  char *qemu = lm_program_find ("qemu-system-x86_64", &err);
  char *nbdkit = lm_program_find ("nbdkit", &err);
  size_t i;

  free (qemu);
  free (nbdkit);
  if (qemu == NULL || nbdkit == NULL)
    cr_skip ("%s", err.message);
  for (i = 0; i < 6; i++)
    paths[i] = lm_scratch_path ("%s", names[i]);
  nbd_socket = lm_scratch_path ("nbd");
  cr_assert (asprintf (&nbd_uri, "nbd+unix:///?socket=%s", nbd_socket) > 0);
  start_server ();
  disk = (struct lm_machine_disk) { .name = "disk0", .nbd_uri = nbd_uri,
                                    .size = 64 << 20 };
  config = (struct lm_machine_config) LM_MACHINE_CONFIG_INIT;
  config.name = "no, \"guest\"";
  config.memory = 64 << 20;
  config.disks = &disk;
  config.nr_disks = 1;
  config.serial_log = paths[0];
  config.serial_socket = paths[1];
  config.control_socket = paths[2];
  config.pid_path = paths[3];
  config.log_path = paths[4];
  config.accel = LM_ACCEL_TCG;
}

static void
tear_down (void)
{
  struct lm_error err = LM_ERROR_INIT;

  if (machine)
    lm_machine_kill (machine, &err);
  lm_machine_free (machine);
  lm_process_stop (&server, 5000, &err);
}

TestSuite (machine_qemu, .init = set_up, .fini = tear_down, .timeout = 120);

static void
start (void)
{
  struct lm_error err = LM_ERROR_INIT;

  machine = lm_machine_start (&config, &err);
  cr_assert_not_null (machine, "%s", err.message);
}

static void
expect_state (enum lm_machine_state want)
{
  struct lm_machine_status status;
  struct lm_error err = LM_ERROR_INIT;

  cr_assert (eq (int, lm_machine_status (machine, &status, &err), 0), "%s",
             err.message);
  cr_expect (eq (str, (char *) lm_machine_state_name (status.state),
                 (char *) lm_machine_state_name (want)), "%s",
             status.detail);
}

Test (machine_qemu, a_later_process_takes_over_from_the_record)
{
  struct lm_error err = LM_ERROR_INIT;
  json_t *record, *again;
  bool ended;

  start ();
  expect_state (LM_MACHINE_RUNNING);
  cr_expect (eq (int, lm_machine_accel (machine), LM_ACCEL_TCG));
  record = lm_machine_to_json (machine);
  cr_assert_not_null (record);
  lm_machine_free (machine);

  machine = lm_machine_attach (record, "vm.json", &err);
  cr_assert_not_null (machine, "%s", err.message);
  expect_state (LM_MACHINE_RUNNING);
  cr_expect (eq (int, lm_machine_accel (machine), LM_ACCEL_TCG));
  cr_expect (eq (str, (char *) lm_machine_accel_reason (machine),
                 "asked for"));
  again = lm_machine_to_json (machine);
  cr_expect (json_equal (record, again));
  json_decref (again);

  /* Nothing that runs reacts to the power button. */
  cr_expect (eq (int, lm_machine_shutdown (machine, 300, NULL, &ended, &err),
                 0));
  cr_expect_not (ended);
  cr_expect (eq (int, lm_machine_kill (machine, &err), 0), "%s",
             err.message);
  expect_state (LM_MACHINE_ENDED);
  cr_expect (eq (int, lm_machine_wait (machine, -1, NULL, &ended, &err),
                 0));
  cr_expect (ended);
  cr_expect (eq (int, lm_machine_pause (machine, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_NOT_FOUND));
  cr_expect (eq (int, lm_machine_kill (machine, &err), 0));
  cr_expect (eq (int, lm_machine_shutdown (machine, -1, NULL, &ended, &err),
                 0));
  cr_expect (ended);
  json_decref (record);
}

Test (machine_qemu, pause_resume_reset_and_a_screenshot)
{
  struct lm_error err = LM_ERROR_INIT;
  char *png = lm_scratch_path ("screen, shot.png");
  char *data;
  size_t len;

  start ();
  cr_expect (eq (int, lm_machine_pause (machine, &err), 0));
  expect_state (LM_MACHINE_PAUSED);
  cr_expect (eq (int, lm_machine_resume (machine, &err), 0));
  expect_state (LM_MACHINE_RUNNING);
  cr_expect (eq (int, lm_machine_reset (machine, &err), 0));
  expect_state (LM_MACHINE_RUNNING);
  cr_assert (eq (int, lm_machine_screenshot (machine, png, &err), 0), "%s",
             err.message);
  cr_assert (eq (int, lm_file_read (AT_FDCWD, png, 1 << 24, &data, &len,
                                    &err), 0));
  cr_expect (len > 8 && memcmp (data, "\211PNG\r\n\032\n", 8) == 0);
  free (data);
  cr_expect (eq (int, lm_machine_screenshot (machine, "x.png", &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_USAGE));
  cr_expect (eq (int, lm_machine_screenshot (machine, "/no/such/x.png",
                                             &err), -1));
  cr_expect_not_null (strstr (err.message, "/no/such/x.png"));
  free (png);
}

Test (machine_qemu, what_it_makes_is_private)
{
  struct stat st;
  size_t i;

  start ();
  for (i = 0; i < 5; i++) {
    cr_assert (eq (int, stat (paths[i], &st), 0), "%s", paths[i]);
    cr_expect (eq (int, st.st_mode & 077, 0), "%s", paths[i]);
  }
}

Test (machine_qemu, a_second_one_over_it_is_refused)
{
  struct lm_error err = LM_ERROR_INIT;
  struct lm_machine *second;

  start ();
  second = lm_machine_start (&config, &err);
  cr_assert_null (second);
  cr_expect (eq (int, err.kind, LM_ERR_LOCKED), "%s", err.message);
  expect_state (LM_MACHINE_RUNNING);

  /* Even if its socket had been lost, the pid file is locked. */
  unlink (paths[2]);
  second = lm_machine_start (&config, &err);
  cr_assert_null (second);
  cr_expect_not_null (strstr (err.message, "pid file"), "%s", err.message);
}

Test (machine_qemu, it_can_be_started_again_over_what_is_left)
{
  struct lm_error err = LM_ERROR_INIT;
  struct lm_process process;
  json_t *record;

  start ();
  record = lm_machine_to_json (machine);
  cr_assert (eq (int, lm_process_from_json (
    json_object_get (record, "process"), "record", &process, &err), 0));
  json_decref (record);
  cr_assert (eq (int, lm_process_signal (&process, SIGKILL, &err), 0));
  for (;;) {
    struct lm_machine_status status;

    cr_assert (eq (int, lm_machine_status (machine, &status, &err), 0));
    if (status.state == LM_MACHINE_ENDED)
      break;
    usleep (1000);
  }
  lm_machine_free (machine);
  machine = NULL;
  cr_expect (eq (int, access (paths[2], F_OK), 0));
  start ();
  expect_state (LM_MACHINE_RUNNING);
}

Test (machine_qemu, a_stopped_process_is_stuck_not_running)
{
  struct lm_error err = LM_ERROR_INIT;
  struct lm_process process;
  struct lm_machine_status status;
  json_t *record;

  start ();
  record = lm_machine_to_json (machine);
  cr_assert (eq (int, lm_process_from_json (
    json_object_get (record, "process"), "record", &process, &err), 0));
  json_decref (record);
  cr_assert (eq (int, lm_process_signal (&process, SIGSTOP, &err), 0));
  cr_assert (eq (int, lm_machine_status (machine, &status, &err), 0));
  cr_expect (eq (int, status.state, LM_MACHINE_STUCK));
  cr_expect (ne (str, status.detail, ""));
  cr_expect (eq (int, lm_process_signal (&process, SIGCONT, &err), 0));
}

Test (machine_qemu, waiting_can_be_cancelled)
{
  static volatile sig_atomic_t cancel = 1;
  struct lm_error err = LM_ERROR_INIT;
  bool ended;

  start ();
  cr_expect (eq (int, lm_machine_wait (machine, -1, &cancel, &ended, &err),
                 -1));
  cr_expect (eq (int, err.kind, LM_ERR_INTERRUPTED));
}

Test (machine_qemu, every_bus_is_accepted_by_qemu)
{
  static const enum lm_disk_bus buses[] = {
    LM_DISK_BUS_VIRTIO, LM_DISK_BUS_SATA, LM_DISK_BUS_IDE, LM_DISK_BUS_SCSI
  };
  static const enum lm_nic_model nics[] = {
    LM_NIC_VIRTIO, LM_NIC_E1000E, LM_NIC_E1000, LM_NIC_RTL8139
  };
  struct lm_error err = LM_ERROR_INIT;
  struct lm_machine_disk disks[8];
  char *vnc = lm_scratch_path ("vnc"), *nvram = lm_scratch_path ("nvram");
  size_t i, j;

  for (j = 0; j < 8; j++)
    disks[j] = disk;
  config.disks = disks;
  config.network = LM_NETWORK_USER;
  config.vnc_socket = vnc;
  config.uuid = "0123abcd-0000-1111-2222-3333deadbeef";
  for (i = 0; i < 4; i++) {
    for (j = 0; j < 8; j++)
      disks[j].bus = buses[i];
    config.nr_disks = buses[i] == LM_DISK_BUS_IDE ? 4 : 8;
    config.nic_model = nics[i];
    /* The UEFI start is tested once, where it is installed. */
    if (i == 3 && access ("/usr/share/OVMF/OVMF_CODE_4M.fd", R_OK) == 0) {
      config.firmware = LM_FIRMWARE_UEFI;
      config.nvram_path = nvram;
    }
    start ();
    expect_state (LM_MACHINE_RUNNING);
    cr_expect (eq (int, access (vnc, F_OK), 0));
    cr_expect (eq (int, lm_machine_kill (machine, &err), 0));
    lm_machine_free (machine);
    machine = NULL;
  }
  free (vnc);
  free (nvram);
}

/* The machine is gone and QEMU's own last line is in the message. */
static void
expect_failure (const char *words)
{
  struct lm_error err = LM_ERROR_INIT;

  machine = lm_machine_start (&config, &err);
  cr_assert_null (machine);
  cr_expect_not_null (strstr (err.message, "QEMU ended at once: "), "%s",
                      err.message);
  cr_expect_not_null (strstr (err.message, words), "%s", err.message);
  cr_expect_not_null (strstr (err.hint, config.log_path), "%s", err.hint);
}

Test (machine_qemu, one_that_ends_at_once_says_why)
{
  char *uri;

  config.kernel = "/no/such/kernel";
  expect_failure ("could not open kernel file '/no/such/kernel'");
  config.kernel = NULL;
  cr_assert (asprintf (&uri, "nbd+unix:///?socket=%s-not", nbd_socket) > 0);
  disk.nbd_uri = uri;
  expect_failure ("No such file or directory");
  free (uri);
}

Test (machine_qemu, a_missing_program_names_the_package)
{
  struct lm_error err = LM_ERROR_INIT;

  config.program = "qemu-system-no-such";
  machine = lm_machine_start (&config, &err);
  cr_assert_null (machine);
  cr_expect (eq (int, err.kind, LM_ERR_NOT_FOUND));
  cr_expect (eq (str, err.hint,
                 (char *) "install the package qemu-system-x86"));
}

Test (machine_qemu, records_of_others_are_refused)
{
  static const struct { const char *text; enum lm_error_kind kind; } rows[] =
  {
    { "{}", LM_ERR_CORRUPT },
    { "{\"kind\":\"hal\"}", LM_ERR_UNSUPPORTED },
    { "{\"kind\":\"qemu\"}", LM_ERR_CORRUPT },
    { "{\"kind\":\"qemu\",\"process\":{},\"qmp\":\"/q\",\"accel\":\"tcg\"}",
      LM_ERR_CORRUPT },
    { "{\"kind\":\"qemu\",\"process\":{\"pid\":1,\"start_time\":1,"
      "\"boot_id\":\"x\"},\"qmp\":\"/q\",\"accel\":\"warp\"}",
      LM_ERR_CORRUPT },
  };
  size_t i;

  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct lm_error err = LM_ERROR_INIT;
    json_t *record = json_loads (rows[i].text, 0, NULL);

    cr_assert_not_null (record);
    cr_expect_null (lm_machine_attach (record, "vm.json", &err));
    cr_expect (eq (int, err.kind, (int) rows[i].kind), "row %zu: %s", i,
               err.message);
    json_decref (record);
  }
}
