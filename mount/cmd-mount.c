/* SPDX-License-Identifier: Apache-2.0
 * `livemount mount`: the disks of a snapshot, for any NBD client.
 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "mount/commands.h"
#include "mount/report.h"
#include "mount/session-mount.h"
#include "mount/session-proxy.h"
#include "common/banned.h"

static const struct lm_option options[] = {
  { .name = "name", .argument = "NAME",
    .help = "the session's name (default: the VM's)" },
  { .name = "read-only",
    .help = "without an overlay: nothing can be written" },
  { .name = "fuse", .argument = "DIR",
    .help = "show each disk as a file in this folder, too",
    .completion = LM_COMPLETE_FOLDER },
  { .name = "print-uri",
    .help = "print only the NBD URIs, one a line" },
  { .name = "cache-size", .argument = "SIZE",
    .help = "memory for decoded chunks" },
  { .name = NULL }
};

static int
run_mount (struct lm_cli *cli, struct lm_error *err)
{
  struct lm_mount_request request = {
    .snapshot = cli->args.operands[0],
    .name = lm_args_string (&cli->args, "name"),
    .read_only = lm_args_flag (&cli->args, "read-only"),
    .fuse = lm_args_string (&cli->args, "fuse"),
  };
  CLEANUP_SESSION struct lm_session *s = NULL;
  size_t i;

  if (lm_args_size (&cli->args, "cache-size", &request.cache_size, err)
      == -1)
    return -1;
  lm_sessions_sweep (cli);
  s = lm_session_mount (cli, &request, err);
  if (s == NULL)
    return -1;
  if (lm_args_flag (&cli->args, "print-uri")) {
    for (i = 0; i < s->nr_disks; i++) {
      CLEANUP_FREE char *uri = lm_session_uri (s, s->disks[i].name, err);

      if (uri == NULL)
        return -1;
      puts (uri);
    }
    return 0;
  }
  if (lm_session_print (cli, s, err) == -1)
    return -1;
  lm_report_note (cli, "'livemount unmount %s' ends it%s", s->name,
                  s->read_only ? "" : " and drops what was written; "
                  "'livemount stop' keeps it for later");
  return 0;
}

const struct lm_command lm_cmd_mount = {
  .name = "mount",
  .area = "Live mount",
  .summary = "make the disks of a snapshot available, writable, at once",
  .usage = "SNAPSHOT[/DISK]",
  .description =
    "Prints an NBD URI for each disk: qemu, nbdcopy, libguestfs and every "
    "other NBD client can use it. What is written goes to an overlay in the "
    "session; the backup never changes. The session outlives crashes and "
    "reboots until it is unmounted.",
  .min_operands = 1,
  .max_operands = 1,
  .completion = LM_COMPLETE_SNAPSHOT,
  .options = options,
  .run = run_mount,
};
