/* SPDX-License-Identifier: Apache-2.0
 * Real Debian guests, booted from NBD through firmware and their own boot
 * loader, without any repository: minutes under TCG, so only in the long
 * run (LM_TEST_LONG=1).
 */
#include <config.h>

#include "hypervisor-glue/console-wait.h"
#include "hypervisor-glue/machine.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/process.h"
#include "common/random.h"
#include "tests/support/scratch.h"

#define STEP_MS 300000

static struct lm_process server;
static struct lm_machine *machine;
static char *nbd_socket, *nbd_uri, *serial_log, *serial_socket, *qmp_socket,
            *log_path, *nbd_log, *nvram;
static struct lm_machine_disk disk;
static struct lm_machine_config config;

static void
set_up (void)
{
  if (getenv ("LM_TEST_LONG") == NULL)
    cr_skip ("boots real guests: set LM_TEST_LONG=1");
  nbd_socket = lm_scratch_path ("nbd");
  serial_log = lm_scratch_path ("serial.log");
  serial_socket = lm_scratch_path ("serial");
  qmp_socket = lm_scratch_path ("qmp");
  log_path = lm_scratch_path ("qemu.log");
  nbd_log = lm_scratch_path ("nbdkit.log");
  nvram = lm_scratch_path ("nvram");
  cr_assert (asprintf (&nbd_uri, "nbd+unix:///?socket=%s", nbd_socket) > 0);
  disk = (struct lm_machine_disk) { .name = "disk0", .nbd_uri = nbd_uri };
  config = (struct lm_machine_config) LM_MACHINE_CONFIG_INIT;
  config.name = "guest";
  config.memory = 512 << 20;
  config.cpus = 2;
  config.disks = &disk;
  config.nr_disks = 1;
  config.serial_log = serial_log;
  config.serial_socket = serial_socket;
  config.control_socket = qmp_socket;
  config.log_path = log_path;
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

TestSuite (machine_boot, .init = set_up, .fini = tear_down, .timeout = 1200);

/* The path of an image that was made before; to be freed. */
static char *
image_path (const char *kind)
{
  const char *srcdir = getenv ("srcdir");
  char command[512], line[512] = "";
  struct stat st;
  FILE *fp;

  snprintf (command, sizeof command, "%s/tests/support/make-image --path %s",
            srcdir ? srcdir : ".", kind);
  fp = popen (command, "r");
  cr_assert_not_null (fp);
  if (fgets (line, sizeof line, fp))
    line[strcspn (line, "\n")] = '\0';
  if (pclose (fp) != 0 || stat (line, &st) == -1)
    cr_skip ("the image %s is not made: tests/support/make-image %s", kind,
             kind);
  disk.size = (uint64_t) st.st_size;
  return strdup (line);
}

/* Serve a file; KEEP: with what the guest writes. */
static void
serve (const char *path, bool keep)
{
  const char *cow[] = { "nbdkit", "-f", "-U", nbd_socket, "--filter=cow",
                        "file", path, NULL };
  const char *plain[] = { "nbdkit", "-f", "-U", nbd_socket, "file", path,
                          NULL };
  struct lm_spawn spawn = { .argv = keep ? plain : cow, .detach = true,
                            .log_path = nbd_log };
  struct lm_error err = LM_ERROR_INIT;
  int i;

  unlink (nbd_socket);
  cr_assert (eq (int, lm_process_spawn (&spawn, &server, &err), 0), "%s",
             err.message);
  for (i = 0; i < 6000 && access (nbd_socket, F_OK) == -1; i++)
    usleep (10000);
}

static bool
machine_runs (void *opaque)
{
  struct lm_machine_status status;
  struct lm_error err = LM_ERROR_INIT;

  (void) opaque;
  return lm_machine_status (machine, &status, &err) == 0 &&
         status.state != LM_MACHINE_ENDED;
}

static void
expect_on_console (const char *regex)
{
  struct lm_console_wait wait = {
    .log_path = serial_log, .regex = regex, .timeout_ms = STEP_MS,
    .running = machine_runs,
  };
  struct lm_console_result result;
  struct lm_error err = LM_ERROR_INIT;
  uint64_t start = lm_clock_monotonic ();

  cr_assert (eq (int, lm_console_wait_for (&wait, &result, &err), 0), "%s",
             err.message);
  cr_assert (eq (int, result.outcome, LM_CONSOLE_SEEN),
             "'%s' was not seen; last: %s", regex, result.line);
  cr_log_info ("'%s' after %.1f s\n", result.line,
               (double) (lm_clock_monotonic () - start) / 1e9);
}

static void
start (void)
{
  struct lm_error err = LM_ERROR_INIT;

  machine = lm_machine_start (&config, &err);
  cr_assert_not_null (machine, "%s", err.message);
  cr_log_info ("%s: %s\n", lm_accel_name (lm_machine_accel (machine)),
               lm_machine_accel_reason (machine));
}

/* Through ACPI: the guest hears the button and ends in its own way. */
static void
shut_down (void)
{
  struct lm_error err = LM_ERROR_INIT;
  bool ended;

  cr_assert (eq (int, lm_machine_shutdown (machine, STEP_MS, NULL, &ended,
                                           &err), 0), "%s", err.message);
  cr_expect (ended);
}

Test (machine_boot, bios_from_a_virtio_disk)
{
  char *image = image_path ("bios");

  serve (image, false);
  start ();
  expect_on_console ("login: ");
  shut_down ();
  free (image);
}

Test (machine_boot, uefi_keeps_its_variables)
{
  char *image = image_path ("uefi");
  struct stat before, after;

  config.firmware = LM_FIRMWARE_UEFI;
  config.nvram_path = nvram;
  serve (image, false);
  start ();
  cr_assert (eq (int, stat (nvram, &before), 0));
  expect_on_console ("login: ");
  /* The firmware wrote its boot entries there. */
  cr_assert (eq (int, stat (nvram, &after), 0));
  cr_expect (after.st_size == before.st_size && after.st_blocks > 0);
  cr_expect (after.st_mtim.tv_sec != before.st_mtim.tv_sec ||
             after.st_mtim.tv_nsec != before.st_mtim.tv_nsec);
  shut_down ();
  free (image);
}

Test (machine_boot, bios_from_a_sata_disk)
{
  char *image = image_path ("bios-full");

  disk.bus = LM_DISK_BUS_SATA;
  serve (image, false);
  start ();
  expect_on_console ("login: ");
  shut_down ();
  free (image);
}

/* A server that dies costs the guest a pause. */
Test (machine_boot, a_restarted_server_is_found_again)
{
  char *image = image_path ("bios"), *copy = lm_scratch_path ("disk.raw");
  const char *argv[] = { "cp", "--sparse=always", image, copy, NULL };
  struct lm_spawn spawn = { .argv = argv };
  struct lm_process process;
  struct lm_process_end end;
  struct lm_error err = LM_ERROR_INIT;
  bool ended;

  cr_assert (eq (int, lm_process_spawn (&spawn, &process, &err), 0));
  cr_assert (eq (int, lm_process_wait (&process, STEP_MS, &ended, &end,
                                       &err), 0));
  cr_assert (ended && end.known && end.exit_code == 0);
  disk.reconnect_delay = 120;
  serve (copy, true);
  start ();
  expect_on_console ("Linux version");
  cr_assert (eq (int, lm_process_signal (&server, SIGKILL, &err), 0));
  cr_assert (eq (int, lm_process_wait (&server, 10000, &ended, &end, &err),
                 0));
  sleep (10);
  serve (copy, true);
  expect_on_console ("login: ");
  shut_down ();
  free (image);
  free (copy);
}
