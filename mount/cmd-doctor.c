/* SPDX-License-Identifier: Apache-2.0
 *
 * `livemount doctor`: what works on this machine, what is missing, what
 * it would be needed for, and the Debian package that brings it.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "common/json.h"
#include "common/process.h"
#include "hypervisor-glue/accel.h"
#include "hypervisor-glue/firmware.h"
#include "mount/capture.h"
#include "mount/commands.h"
#include "mount/open-repository.h"
#include "mount/report.h"
#include "mount/session.h"
#include "common/banned.h"

enum state {
  STATE_OK,
  STATE_LIMITED,        /* works, but slower or less than it could */
  STATE_MISSING,        /* something is not possible without it */
  STATE_BROKEN,         /* nothing much works without it */
};

static const char *const state_names[] = {
  "ok", "limited", "missing", "broken"
};

struct doctor {
  const struct lm_cli *cli;
  json_t *checks;
  enum state worst;
};

static void __attribute__ ((format (printf, 6, 7)))
note (struct doctor *d, const char *name, enum state state,
      const char *needed_for, const char *package, const char *fmt, ...)
{
  char detail[512];
  va_list ap;

  va_start (ap, fmt);
  vsnprintf (detail, sizeof detail, fmt, ap);
  va_end (ap);
  if (state > d->worst)
    d->worst = state;
  json_array_append_new (d->checks,
    json_pack ("{s:s, s:s, s:s, s:s, s:s*}", "name", name,
               "state", state_names[state], "detail", detail,
               "needed_for", needed_for,
               "package", state == STATE_OK ? NULL : package));
}

static void
check_program (struct doctor *d, const char *program, enum state without,
               const char *needed_for, const char *package)
{
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_FREE char *path = lm_program_find (program, &err);

  note (d, program, path ? STATE_OK : without, needed_for, package, "%s",
        path ? path : err.message);
}

/* The plugin: does nbdkit load it, and is it of this version? */
static void
check_plugin (struct doctor *d)
{
  const char *plugin = getenv ("LIVEMOUNT_PLUGIN");
  const char *argv[] = { "nbdkit", "--dump-plugin",
                         plugin ? plugin : "livemount", NULL };
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_FREE char *text = NULL;
  const char *version;
  int code;

  if (lm_capture (argv, 10000, &text, &code, &err) == -1) {
    note (d, "plugin", STATE_BROKEN, "live mounts", "livemount", "%s",
          err.message);
    return;
  }
  if (code != 0) {
    text[strcspn (text, "\n")] = '\0';
    note (d, "plugin", STATE_BROKEN, "live mounts", "livemount", "%s", text);
    return;
  }
  version = strstr (text, "\nversion=");
  if (version) {
    version += strlen ("\nversion=");
    if (strncmp (version, PACKAGE_VERSION "\n",
                 strlen (PACKAGE_VERSION "\n")) != 0) {
      note (d, "plugin", STATE_LIMITED, "live mounts", "livemount",
            "version %.*s, but this program is %s",
            (int) strcspn (version, "\n"), version, PACKAGE_VERSION);
      return;
    }
  }
  note (d, "plugin", STATE_OK, "live mounts", NULL, "nbdkit loads %s",
        argv[2]);
}

static void
check_fuse (struct doctor *d)
{
  CLEANUP_CLOSE int fd = open ("/dev/fuse", O_RDWR | O_CLOEXEC);

  if (fd == -1)
    note (d, "fuse", STATE_MISSING, "mount --fuse", "fuse3",
          "/dev/fuse: %s", strerrordesc_np (errno));
  else
    note (d, "fuse", STATE_OK, "mount --fuse", NULL, "/dev/fuse opens");
  check_program (d, "fusermount3", STATE_MISSING, "mount --fuse", "fuse3");
  check_program (d, "nbdfuse", STATE_MISSING, "mount --fuse",
                 "libnbd-bin");
}

static bool
has_flag (const char *cpuinfo, const char *flag)
{
  const char *line = strstr (cpuinfo, "\nflags");
  size_t len = strlen (flag);
  const char *p, *end;

  if (line == NULL)
    return false;
  line++;
  end = strchrnul (line, '\n');
  for (p = line; (p = strstr (p, flag)) != NULL && p < end; p += len)
    if (p[-1] == ' ' && (p[len] == ' ' || p[len] == '\n'))
      return true;
  return false;
}

static void
check_cpu (struct doctor *d)
{
  static const struct { const char *name, *flag, *slower; } rows[] = {
    { "cpu-aes", "aes", "encryption" },
    { "cpu-sha", "sha_ni", "hashing of chunks" },
    { "cpu-clmul", "pclmulqdq", "authentication of what is stored" },
  };
  CLEANUP_FREE char *text = NULL;
  struct lm_error err = LM_ERROR_INIT;
  size_t len, i;

  if (lm_file_read (AT_FDCWD, "/proc/cpuinfo", 16 << 20, &text, &len, &err)
      == -1) {
    note (d, "cpu", STATE_LIMITED, "speed", NULL, "%s", err.message);
    return;
  }
  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    bool has = has_flag (text, rows[i].flag);

    note (d, rows[i].name, has ? STATE_OK : STATE_LIMITED,
          rows[i].slower, NULL, "%s %s", rows[i].flag,
          has ? "is there" : "is not there: slower");
  }
}

static void
check_accel (struct doctor *d)
{
  struct lm_error err = LM_ERROR_INIT;
  struct lm_accel_choice choice;

  if (lm_accel_choose (&lm_accel_this_host, LM_ACCEL_AUTO, &choice, &err)
      == -1)
    note (d, "kvm", STATE_LIMITED, "speed of machines", NULL, "%s",
          err.message);
  else
    note (d, "kvm", choice.accel == LM_ACCEL_KVM ? STATE_OK : STATE_LIMITED,
          "speed of machines: they are emulated", NULL, "%s",
          choice.reason);
}

static void
check_firmware (struct doctor *d)
{
  struct lm_error err = LM_ERROR_INIT;
  struct lm_firmware_pair pair;

  if (lm_firmware_find (lm_firmware_pairs, 0, &pair, &err) == -1)
    note (d, "uefi-firmware", STATE_MISSING, "boot of UEFI machines", "ovmf",
          "%s", err.message);
  else
    note (d, "uefi-firmware", STATE_OK, "boot of UEFI machines", NULL, "%s",
          pair.code);
}

/* Only when one was named. */
static void
check_repository (struct doctor *d)
{
  const struct lm_repository_request open = {
    .read_only = true, .no_prompt = true,
  };
  struct lm_error err = LM_ERROR_INIT;
  const char *location = lm_cli_location (d->cli, &err);
  CLEANUP_REPOSITORY struct lm_repository *repo = NULL;
  size_t n;

  if (location == NULL)
    return;
  repo = lm_cli_open_repository (d->cli, &open, NULL, &err);
  if (repo == NULL) {
    note (d, "repository", STATE_BROKEN, "backup and live mounts", NULL,
          "%s", err.message);
    return;
  }
  lm_repository_snapshots (repo, &n);
  note (d, "repository", STATE_OK, "backup and live mounts", NULL,
        "%s: %s, %zu snapshots", location,
        lm_repository_encrypted (repo) ? "encrypted" : "NOT encrypted", n);
}

/* Where sessions would be: the nearest folder that is there must let us
 * write.  Nothing is made. */
static void
check_state_folder (struct doctor *d)
{
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_FREE char *path = lm_state_folder (&err);
  CLEANUP_FREE char *nearest = path ? strdup (path) : NULL;
  char *slash;

  if (nearest == NULL) {
    note (d, "sessions", STATE_BROKEN, "live mounts", NULL, "%s",
          err.message);
    return;
  }
  while (access (nearest, F_OK) == -1 &&
         (slash = strrchr (nearest, '/')) != NULL && slash != nearest)
    *slash = '\0';
  if (access (nearest, W_OK | X_OK) == -1)
    note (d, "sessions", STATE_BROKEN, "live mounts", NULL, "%s: %s",
          nearest, strerrordesc_np (errno));
  else
    note (d, "sessions", STATE_OK, "live mounts", NULL, "%s", path);
}

static void
print_people (const struct doctor *d)
{
  size_t i;
  json_t *c;

  json_array_foreach (d->checks, i, c) {
    const char *package = lm_json_string_or_null (c, "package");

    printf ("%-8s %-20s %s\n",
            lm_json_string_or_null (c, "state"),
            lm_json_string_or_null (c, "name"),
            lm_json_string_or_null (c, "detail"));
    if (strcmp (lm_json_string_or_null (c, "state"), "ok") != 0)
      printf ("%30sfor: %s%s%s\n", "",
              lm_json_string_or_null (c, "needed_for"),
              package ? "; try: apt-get install " : "",
              package ? package : "");
  }
}

static int
run_doctor (struct lm_cli *cli, struct lm_error *err)
{
  CLEANUP_JSON json_t *checks = json_array ();
  struct doctor d = { .cli = cli, .checks = checks };

  check_program (&d, "nbdkit", STATE_BROKEN, "live mounts", "nbdkit");
  if (d.worst == STATE_OK)
    check_plugin (&d);
  check_program (&d, "qemu-nbd", STATE_MISSING,
                 "backup of qcow2, vmdk, vhdx, vdi and vpc images",
                 "qemu-utils");
  check_program (&d, "qemu-system-x86_64", STATE_MISSING, "boot",
                 "qemu-system-x86");
  check_firmware (&d);
  check_accel (&d);
  check_fuse (&d);
  check_program (&d, "guestfish", STATE_LIMITED,
                 "looking into a mounted disk with libguestfs",
                 "libguestfs-tools");
  check_cpu (&d);
  check_state_folder (&d);
  check_repository (&d);

  if (cli->json) {
    if (lm_report_json (json_pack ("{s:O, s:b}", "checks", checks, "ok",
                                   d.worst < STATE_BROKEN), err) == -1)
      return -1;
  }
  else
    print_people (&d);
  return d.worst < STATE_BROKEN ? LM_EXIT_OK : LM_EXIT_FAILED;
}

const struct lm_command lm_cmd_doctor = {
  .name = "doctor",
  .area = "Help",
  .summary = "say what works on this machine, what is missing, and the "
             "package that brings it",
  .usage = "",
  .run = run_doctor,
};
