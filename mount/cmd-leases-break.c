/* SPDX-License-Identifier: Apache-2.0
 *
 * `livemount leases break`: remove leases and pins by a person's word.
 *
 * For leases that is never needed, only quicker.  A pin that its session
 * left behind nobody else can judge: the session may be resumed.
 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/hex.h"
#include "formats/native/lease.h"
#include "formats/native/object-io.h"
#include "formats/native/pin.h"
#include "formats/native/reserve.h"
#include "formats/native/whoami.h"
#include "mount/commands.h"
#include "mount/open-repository.h"
#include "mount/report.h"
#include "common/banned.h"

static const struct lm_option options[] = {
  { .name = "yes", .letter = 'y', .help = "don't ask" },
  { .name = NULL }
};

struct target {
  uint8_t id[LM_NAME_ID_LEN];
  char hex[2 * LM_NAME_ID_LEN + 1];
  bool is_pin;
};

/* Look for ids that begin with PREFIX; *RET_TARGET is the last of them. */
static int
search (struct lm_repository *repo, const char *folder, const char *prefix,
        struct target *ret_target, size_t *n, struct lm_error *err)
{
  CLEANUP_FREE void *ids_ = NULL;
  uint8_t (*ids)[LM_NAME_ID_LEN];
  size_t i, nr_ids;

  if (lm_object_list_ids (lm_repository_store (repo), folder, &ids, &nr_ids,
                          err) == -1)
    return -1;
  ids_ = ids;
  for (i = 0; i < nr_ids; i++) {
    struct target t = { .is_pin = strcmp (folder, "pins") == 0 };

    memcpy (t.id, ids[i], sizeof t.id);
    lm_hex_encode (t.id, sizeof t.id, t.hex);
    if (strncmp (t.hex, prefix, strlen (prefix)) == 0) {
      *ret_target = t;
      ++*n;
    }
  }
  return 0;
}

static int
find (struct lm_repository *repo, const char *prefix,
      struct target *ret_target, struct lm_error *err)
{
  size_t n = 0;

  if (*prefix == '\0' ||
      strspn (prefix, "0123456789abcdef") != strlen (prefix))
    return lm_error_set (err, LM_ERR_USAGE, "'%.60s' is not the id of a "
                         "lease or a pin", prefix);
  if (search (repo, "leases", prefix, ret_target, &n, err) == -1 ||
      search (repo, "pins", prefix, ret_target, &n, err) == -1)
    return -1;
  if (n == 1)
    return 0;
  if (n > 1)
    return lm_error_set (err, LM_ERR_USAGE, "'%.60s' is ambiguous: %zu ids "
                         "begin like that", prefix, n);
  lm_error_set (err, LM_ERR_NOT_FOUND, "there is no lease and no pin '%.60s'",
                prefix);
  return lm_error_hint (err, "'livemount leases' lists them");
}

/* What is lost with it, for the question. */
static void
describe (struct lm_repository *repo, const struct target *t, char *out,
          size_t size)
{
  struct lm_store *store = lm_repository_store (repo);
  const struct lm_keys *keys = lm_repository_keys (repo);
  struct lm_error ignored = LM_ERROR_INIT;
  struct lm_lease_info lease;
  struct lm_pin_info pin;

  if (t->is_pin && lm_pin_read (store, keys, t->id, &pin, &ignored) == 0) {
    snprintf (out, size, "pin %.8s: session %.60s of %.40s@%.40s loses its "
              "snapshot", t->hex, pin.session, pin.user, pin.host);
    lm_pin_info_release (&pin);
  }
  else if (!t->is_pin &&
           lm_lease_read (store, keys, t->id, &lease, &ignored) == 0) {
    snprintf (out, size, "lease %.8s: if the %.40s of %.40s@%.40s, process "
              "%llu, is still running, it fails", t->hex, lease.kind,
              lease.user, lease.host, (unsigned long long) lease.pid);
    lm_lease_info_release (&lease);
  }
  else
    snprintf (out, size, "%s %.8s, which can't be read", t->is_pin
              ? "pin" : "lease", t->hex);
}

static int
confirm (struct lm_cli *cli, struct lm_repository *repo,
         const struct target *targets, int n, struct lm_error *err)
{
  char question[320], what[256];
  int i, r;

  if (lm_args_flag (&cli->args, "yes"))
    return 0;
  for (i = 0; i < n && n > 1; i++) {
    describe (repo, &targets[i], what, sizeof what);
    lm_report_note (cli, "  %s", what);
  }
  if (n == 1) {
    describe (repo, &targets[0], what, sizeof what);
    snprintf (question, sizeof question, "Break %s?", what);
  }
  else
    snprintf (question, sizeof question, "Break these %d?", n);
  r = lm_report_confirm (cli, question, err);
  if (r == 0)
    lm_error_set (err, LM_ERR_USAGE, "nothing was broken");
  return r == 1 ? 0 : -1;
}

static int
break_one (struct lm_repository *repo, const struct target *t,
           const char *writer, struct lm_error *err)
{
  int r;

  if (!t->is_pin) {
    while ((r = lm_lease_revoke (repo, t->id, writer, err)) == -1 &&
           lm_reserve_drop (lm_repository_store (repo), err))
      ;
    return r;
  }
  r = lm_pin_remove (repo, t->id, err);
  if (r == -1 && err->kind == LM_ERR_NOT_FOUND) {
    lm_error_clear (err);       /* twice the same, or it went by itself */
    r = 0;
  }
  return r;
}

static int
break_all (struct lm_cli *cli, struct lm_repository *repo,
           const struct target *targets, int n, struct lm_error *err)
{
  CLEANUP_FREE char *writer = lm_whoami_writer ("leases break", err);
  json_t *broken;
  int i, r = 0;

  for (i = 0; i < n && r == 0; i++)
    r = writer ? break_one (repo, &targets[i], writer, err) : -1;
  lm_reserve_restore (lm_repository_store (repo));
  if (r == -1)
    return -1;
  broken = json_array ();
  for (i = 0; i < n; i++) {
    json_array_append_new (broken, json_string (targets[i].hex));
    lm_report_note (cli, "%s %s is gone", targets[i].is_pin ? "pin"
                    : "lease", targets[i].hex);
  }
  if (cli->json)
    return lm_report_json (json_pack ("{s:o}", "broken", broken), err);
  json_decref (broken);
  return 0;
}

static int
run_leases_break (struct lm_cli *cli, struct lm_error *err)
{
  const struct lm_repository_request open = { .read_only = false };
  const int n = cli->args.nr_operands;
  CLEANUP_REPOSITORY struct lm_repository *repo =
    lm_cli_open_repository (cli, &open, NULL, err);
  CLEANUP_FREE struct target *targets = calloc (n, sizeof *targets);
  int i;

  if (repo == NULL)
    return -1;
  if (targets == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  for (i = 0; i < n; i++)
    if (find (repo, cli->args.operands[i], &targets[i], err) == -1)
      return -1;
  if (confirm (cli, repo, targets, n, err) == -1)
    return -1;
  return break_all (cli, repo, targets, n, err);
}

const struct lm_command lm_cmd_leases_break = {
  .name = "leases break",
  .area = "Repository",
  .summary = "remove leases or pins whose owners are gone for good",
  .usage = "ID...",
  .description =
    "A lease goes by itself when its owner died. A pin never does, since a "
    "session may be resumed after any time: when its host is lost, a person "
    "removes it here. ID is an id that 'leases' lists, or its beginning. "
    "You are asked first; without a terminal --yes is needed.",
  .min_operands = 1,
  .max_operands = -1,
  .options = options,
  .run = run_leases_break,
};
