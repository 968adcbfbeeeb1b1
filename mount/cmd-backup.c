/* SPDX-License-Identifier: Apache-2.0
 * `livemount backup`: make a snapshot of a VM's disks.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "common/json.h"
#include "common/size.h"
#include "formats/disk-open.h"
#include "formats/native/backup.h"
#include "hypervisor-glue/vm-config.h"
#include "mount/commands.h"
#include "mount/interrupt.h"
#include "mount/open-repository.h"
#include "mount/progress.h"
#include "mount/report.h"
#include "mount/snapshot-json.h"
#include "common/banned.h"

static const struct lm_option options[] = {
  { .name = "format", .argument = "FORMAT",
    .choices = "raw|qcow2|vmdk|vhdx|vdi|vpc",
    .help = "what the sources are (default raw); never guessed" },
  { .name = "allow-file", .argument = "FILE",
    .help = "an image may refer to this file (a backing file, an extent); "
            "can be repeated", .completion = LM_COMPLETE_FILE },
  { .name = "config", .argument = "FILE",
    .help = "store the VM's configuration file, as it is",
    .completion = LM_COMPLETE_FILE },
  { .name = "attach", .argument = "KIND=FILE",
    .help = "store another file of the machine: nvram, tpm, ...; can be "
            "repeated", .completion = LM_COMPLETE_FILE },
  { .name = "allow-live",
    .help = "read sources that a running VM has open; the snapshot is then "
            "marked crash-inconsistent" },
  { .name = "read-holes",
    .help = "read everything, and trust no report of holes" },
  { .name = "no-base-chunks",
    .help = "store what changed in full, not against what was there before" },
  { .name = "tag", .argument = "TEXT",
    .help = "a tag for the snapshot; can be repeated" },
  { .name = NULL }
};

/* Everything that is open during a backup. */
struct work {
  struct lm_backup_disk disks[LM_DISKS_MAX];
  char *names[LM_DISKS_MAX];
  char *paths[LM_DISKS_MAX];    /* absolute; NULL for URIs */
  size_t nr_disks;
  struct lm_backup_file *files;
  char **data;
  size_t nr_files;
  bool live;
};

static void
work_release (struct work *w)
{
  size_t i;

  for (i = 0; i < w->nr_disks; i++) {
    lm_disk_close (w->disks[i].disk);
    free (w->names[i]);
    free (w->paths[i]);
  }
  for (i = 0; i < w->nr_files; i++)
    free (w->data[i]);
  free (w->files);
  free (w->data);
}

/* ---- what is to be stored ---- */

static int
open_source (const struct lm_cli *cli, struct work *w, const char *operand,
             struct lm_error *err)
{
  struct lm_disk_open_options o = {
    .format = lm_args_string (&cli->args, "format"),
    .allow_live = lm_args_flag (&cli->args, "allow-live"),
    .read_holes = lm_args_flag (&cli->args, "read-holes"),
  };
  CLEANUP_FREE char *name = NULL;
  const char *source;
  struct lm_disk *disk;
  size_t i;

  if (w->nr_disks == LM_DISKS_MAX)
    return lm_error_set (err, LM_ERR_LIMIT, "more than %d disks",
                         LM_DISKS_MAX);
  if (lm_args_split (operand, &name, &source, err) == -1)
    return -1;
  if (name == NULL && asprintf (&name, "disk%zu", w->nr_disks) == -1) {
    name = NULL;
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  }
  if (lm_name_check ("disk", name, err) == -1)
    return -1;
  for (i = 0; i < w->nr_disks; i++)
    if (strcmp (w->names[i], name) == 0)
      return lm_error_set (err, LM_ERR_USAGE, "two disks are called '%s'",
                           name);
  o.allowed_files = lm_args_list (&cli->args, "allow-file",
                                  &o.nr_allowed_files);
  disk = lm_disk_open (source, &o, err);
  if (disk == NULL)
    return -1;
  if (disk->live)
    w->live = true;
  w->disks[w->nr_disks].name = name;
  w->disks[w->nr_disks].disk = disk;
  w->paths[w->nr_disks] = realpath (source, NULL);
  w->disks[w->nr_disks].source = w->paths[w->nr_disks]
                                 ? w->paths[w->nr_disks] : source;
  w->names[w->nr_disks++] = lm_steal (name);
  return 0;
}

static int
attach (struct work *w, const char *kind, const char *path,
        struct lm_error *err)
{
  const char *slash = strrchr (path, '/');
  struct lm_backup_file *f = &w->files[w->nr_files];
  struct stat st;
  char *data;
  size_t len;

  if (stat (path, &st) == -1)
    return lm_error_errno (err, errno, "%s", path);
  if (!S_ISREG (st.st_mode))
    return lm_error_set (err, LM_ERR_USAGE, "%s: not a regular file", path);
  if (lm_file_read (AT_FDCWD, path, LM_FILE_SIZE_MAX, &data, &len, err)
      == -1)
    return -1;
  w->data[w->nr_files++] = data;
  *f = (struct lm_backup_file) {
    .kind = kind, .name = slash ? slash + 1 : path, .data = data,
    .len = len, .mode = st.st_mode & 0777,
  };
  return 0;
}

static int
attach_all (const struct lm_cli *cli, struct work *w, char **kinds,
            struct lm_error *err)
{
  const char *config = lm_args_string (&cli->args, "config");
  const char *const *list;
  size_t i, n;

  list = lm_args_list (&cli->args, "attach", &n);
  if (n + 1 > LM_FILES_MAX)
    return lm_error_set (err, LM_ERR_LIMIT, "more than %d files",
                         LM_FILES_MAX);
  w->files = calloc (n + 1, sizeof *w->files);
  w->data = calloc (n + 1, sizeof *w->data);
  if (w->files == NULL || w->data == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  if (config && attach (w, "config", config, err) == -1)
    return -1;
  for (i = 0; i < n; i++) {
    const char *path;

    if (lm_args_split (list[i], &kinds[i], &path, err) == -1)
      return -1;
    if (kinds[i] == NULL)
      return lm_error_set (err, LM_ERR_USAGE, "--attach '%.60s': expected "
                           "KIND=FILE", list[i]);
    if (lm_name_check ("--attach: kind", kinds[i], err) == -1)
      return -1;
    if (config && strcmp (kinds[i], "config") == 0)
      return lm_error_set (err, LM_ERR_USAGE, "--config and --attach config= "
                           "exclude each other");
    if (attach (w, kinds[i], path, err) == -1)
      return -1;
  }
  return 0;
}

/* What kind of configuration file is it?  Only a remark in the manifest:
 * whoever uses the file looks again. */
static const char *
config_kind (const struct work *w)
{
  size_t i;

  for (i = 0; i < w->nr_files; i++)
    if (strcmp (w->files[i].kind, "config") == 0)
      switch (lm_vm_config_detect (w->files[i].data, w->files[i].len)) {
      case LM_VM_CONFIG_LIBVIRT: return "libvirt-xml";
      case LM_VM_CONFIG_JSON: return "json";
      case LM_VM_CONFIG_UNKNOWN: return "unknown";
      }
  return NULL;
}

/* ---- the result ---- */

static void
show_progress (void *opaque, const struct lm_backup_progress *p)
{
  char detail[64], stored[LM_SIZE_LEN];

  lm_size_format (p->stored, stored);
  snprintf (detail, sizeof detail, "%s stored", stored);
  lm_progress_update (opaque, p->done, p->total, detail);
}

static int
print_result (const struct lm_cli *cli, const struct work *w,
              const struct lm_backup_result *r, const char *consistency,
              struct lm_error *err)
{
  const struct lm_snapshot_statistics *st = &r->statistics;
  char name[LM_SNAPSHOT_NAME_LEN], read[LM_SIZE_LEN], new[LM_SIZE_LEN],
       known[LM_SIZE_LEN], stored[LM_SIZE_LEN], time[LM_DURATION_LEN];

  lm_cli_snapshot_name (cli->args.operands[0], r->time, name);
  if (cli->json)
    return lm_report_json (
      json_pack ("{s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:f, s:I}",
                 "snapshot", name, "consistency", consistency,
                 "disks", (int) w->nr_disks,
                 "read", (json_int_t) st->read,
                 "new", (json_int_t) st->new_,
                 "deduplicated", (json_int_t) st->deduplicated,
                 "zero", (json_int_t) st->zero,
                 "stored", (json_int_t) st->stored,
                 "seconds", st->seconds,
                 "unreadable", (json_int_t) r->unreadable), err);
  lm_size_format (st->read, read);
  lm_size_format (st->new_, new);
  lm_size_format (st->deduplicated, known);
  lm_size_format (st->stored, stored);
  if (st->seconds < 10)
    snprintf (time, sizeof time, "%.2f s", st->seconds);
  else
    lm_duration_format (st->seconds, time);
  printf ("snapshot %s\n"
          "read %s, new %s, deduplicated %s, stored %s, in %s\n", name, read,
          new, known, stored, time);
  return 0;
}

static int
run_with (struct lm_cli *cli, struct lm_repository *repo, struct work *w,
          struct lm_error *err)
{
  const char *vm = cli->args.operands[0];
  const char *consistency = w->live ? "crash-inconsistent" : "consistent";
  CLEANUP_FREE char *what = NULL;
  struct lm_backup_result result;
  struct lm_backup_params params = {
    .vm = vm, .disks = w->disks, .nr_disks = w->nr_disks,
    .files = w->files, .nr_files = w->nr_files,
    .consistency = consistency, .machine_config_kind = config_kind (w),
    .no_base_chunks = lm_args_flag (&cli->args, "no-base-chunks"),
    .program = "livemount " PACKAGE_VERSION,
    .progress = show_progress, .cancel = lm_interrupt_catch (),
  };
  int r;

  params.tags = lm_args_list (&cli->args, "tag", &params.nr_tags);
  if (asprintf (&what, "backup %s", vm) == -1) {
    what = NULL;
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  }
  params.opaque = lm_progress_new (cli, what);
  r = lm_backup_run (repo, &params, &result, err);
  lm_progress_free (params.opaque);
  if (r == -1)
    return -1;
  if (w->live)
    lm_report_warning (cli, "a source may have changed while it was read: "
                       "the snapshot is marked crash-inconsistent");
  if (print_result (cli, w, &result, consistency, err) == -1)
    return -1;
  if (result.unreadable) {
    lm_report_warning (cli, "%" PRIu64 " bytes of the source could not be "
                       "read; they are zeros in the snapshot, and 'livemount "
                       "show' lists them", result.unreadable);
    return LM_EXIT_PARTIAL;
  }
  return 0;
}

static int
run_backup (struct lm_cli *cli, struct lm_error *err)
{
  const struct lm_repository_request open = { .read_only = false };
  CLEANUP (work_release) struct work w = { .nr_disks = 0 };
  CLEANUP_REPOSITORY struct lm_repository *repo = NULL;
  char *kinds[LM_FILES_MAX] = { NULL };
  int i, r = -1;

  /* Mistakes first, before a passphrase is asked for. */
  if (lm_name_check ("VM", cli->args.operands[0], err) == -1)
    return -1;
  for (i = 1; i < cli->args.nr_operands; i++)
    if (open_source (cli, &w, cli->args.operands[i], err) == -1)
      return -1;
  if (attach_all (cli, &w, kinds, err) == 0 &&
      (repo = lm_cli_open_repository (cli, &open, NULL, err)) != NULL)
    r = run_with (cli, repo, &w, err);
  for (i = 0; i < LM_FILES_MAX; i++)
    free (kinds[i]);
  return r;
}

const struct lm_command lm_cmd_backup = {
  .name = "backup",
  .area = "Repository",
  .summary = "back up a VM's disks into a new snapshot",
  .usage = "VM [NAME=]SOURCE...",
  .description =
    "A SOURCE is a raw file, a block device, an NBD URI, or with --format "
    "an image. Disks without a NAME are called disk0, disk1, ... All of "
    "them make one snapshot. Only what the repository does not have yet is "
    "stored. Exit code 3 says that some of a source could not be read.",
  .min_operands = 2,
  .max_operands = -1,
  .completion = LM_COMPLETE_FILE,
  .options = options,
  .run = run_backup,
};
