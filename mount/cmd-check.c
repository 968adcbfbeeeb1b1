/* SPDX-License-Identifier: Apache-2.0
 * `livemount check`: is everything there that was stored, as it was?
 */
#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "common/size.h"
#include "formats/native/check.h"
#include "mount/commands.h"
#include "mount/interrupt.h"
#include "mount/open-repository.h"
#include "mount/progress.h"
#include "mount/report.h"
#include "mount/table.h"
#include "common/banned.h"

static const struct lm_option options[] = {
  { .name = "read-data",
    .help = "read and authenticate every chunk, not only the structure" },
  { .name = NULL }
};

struct work {
  const struct lm_cli *cli;
  struct lm_progress *progress;
  const char *phase;
  json_t *damaged;
  json_t *affected;
};

static void
on_progress (void *opaque, const struct lm_check_progress *p)
{
  struct work *w = opaque;

  lm_progress_update (w->progress, p->done, p->total, p->phase);
}

static void
on_damage (void *opaque, const char *object, const struct lm_error *why)
{
  struct work *w = opaque;
  const char *text = why->message;
  size_t len = strlen (object);

  json_array_append_new (w->damaged,
                         json_pack ("{s:s, s:o}", "object", object,
                                    "message",
                                    lm_json_text (why->message)));
  if (w->cli->json)
    return;
  /* Most messages begin with the object's name. */
  if (strncmp (why->message, object, len) == 0 && why->message[len] == ':')
    text += len + 1 + (text[len + 1] == ' ');
  lm_progress_interrupt ();
  printf ("damaged   %s: ", object);
  lm_print_text (text);
  putchar ('\n');
}

static void
on_affected (void *opaque, const char *snapshot, const char *disk,
             uint64_t offset, uint64_t len)
{
  struct work *w = opaque;

  json_array_append_new (w->affected,
                         json_pack ("{s:s, s:s, s:I, s:I}", "snapshot",
                                    snapshot, "disk", disk, "offset",
                                    (json_int_t) offset, "length",
                                    (json_int_t) len));
  if (w->cli->json)
    return;
  lm_progress_interrupt ();
  printf ("affected  %s %s: %" PRIu64 " bytes at 0x%" PRIx64 "\n", snapshot,
          disk, len, offset);
}

static int
print_result (const struct work *w, const struct lm_check_result *r,
              bool read_data, struct lm_error *err)
{
  char size[LM_SIZE_LEN];

  if (w->cli->json)
    return lm_report_json (
      json_pack ("{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:O, s:O}",
                 "read_data", read_data,
                 "snapshots", (json_int_t) r->snapshots,
                 "segments", (json_int_t) r->segments,
                 "packs", (json_int_t) r->packs,
                 "chunks", (json_int_t) r->chunks,
                 "nodes", (json_int_t) r->nodes,
                 "bytes_read", (json_int_t) r->bytes_read,
                 "unreferenced_packs", (json_int_t) r->unreferenced_packs,
                 "damaged", w->damaged, "affected", w->affected), err);
  lm_size_format (r->bytes_read, size);
  printf ("checked   %" PRIu64 " snapshots, %" PRIu64 " map nodes, %" PRIu64
          " chunks in %" PRIu64 " packs\n", r->snapshots, r->nodes,
          r->chunks, r->packs);
  if (read_data)
    printf ("read      %s\n", size);
  if (r->unreferenced_packs)
    printf ("left over %" PRIu64 " packs that no snapshot needs\n",
            r->unreferenced_packs);
  if (r->damaged)
    printf ("DAMAGE    %" PRIu64 " objects\n", r->damaged);
  else
    printf ("no damage found%s\n", read_data ? "" :
            " in the structure (--read-data reads the chunks, too)");
  return 0;
}

static int
run_check (struct lm_cli *cli, struct lm_error *err)
{
  const struct lm_repository_request open = { .read_only = true };
  CLEANUP_REPOSITORY struct lm_repository *repo = NULL;
  CLEANUP_JSON json_t *damaged = json_array (), *affected = json_array ();
  struct work w = { .cli = cli, .damaged = damaged, .affected = affected };
  const struct lm_check_params params = {
    .read_data = lm_args_flag (&cli->args, "read-data"),
    .progress = on_progress, .damage = on_damage, .affected = on_affected,
    .opaque = &w, .cancel = lm_interrupt_catch (),
  };
  struct lm_check_result result;
  int r;

  repo = lm_cli_open_repository (cli, &open, NULL, err);
  if (repo == NULL)
    return -1;
  w.progress = lm_progress_new (cli, "check");
  r = lm_check_run (repo, &params, &result, err);
  lm_progress_free (w.progress);
  if (r == -1 || print_result (&w, &result, params.read_data, err) == -1)
    return -1;
  return result.damaged ? LM_EXIT_DAMAGE : LM_EXIT_OK;
}

const struct lm_command lm_cmd_check = {
  .name = "check",
  .area = "Repository",
  .summary = "find damage in the repository, and the snapshots that it hurts",
  .usage = "",
  .description =
    "Changes nothing. Exit code 4 says that damage was found; it is listed "
    "with the snapshots, disks and ranges that need what is damaged.",
  .options = options,
  .run = run_check,
};
