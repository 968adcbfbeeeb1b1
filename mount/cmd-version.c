/* SPDX-License-Identifier: Apache-2.0
 * `livemount version`: of us and of what we are made with.
 */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include <jansson.h>
#include <libnbd.h>
#include <openssl/crypto.h>
#include <zstd.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "mount/capture.h"
#include "mount/commands.h"
#include "mount/report.h"
#include "common/banned.h"

/* The second word of the first line: "nbdkit 1.32.5", "QEMU emulator
 * version 7.2.22 (Debian …)" needs AFTER = "version ". */
static json_t *
program_version (const char *program, const char *after)
{
  const char *argv[] = { program, "--version", NULL };
  struct lm_error ignored = LM_ERROR_INIT;
  CLEANUP_FREE char *text = NULL;
  char *p;
  int code;

  if (lm_capture (argv, 10000, &text, &code, &ignored) == -1 || code != 0)
    return json_null ();
  p = strstr (text, after);
  if (p == NULL)
    return json_null ();
  p += strlen (after);
  p[strcspn (p, " \n(,")] = '\0';
  return json_string (p);
}

static json_t *
libnbd_version (void)
{
  struct nbd_handle *nbd = nbd_create ();
  json_t *v = nbd ? json_string (nbd_get_version (nbd)) : json_null ();

  nbd_close (nbd);
  return v;
}

static int
run_version (struct lm_cli *cli, struct lm_error *err)
{
  CLEANUP_JSON json_t *with = NULL;
  const char *key;
  json_t *v;

  if (!cli->json) {
    printf ("livemount %s\n", PACKAGE_VERSION);
    if (!cli->verbose)
      return 0;
  }
  with = json_pack ("{s:s, s:s, s:s, s:o*, s:o*, s:o*}",
                    "jansson", jansson_version_str (),
                    "OpenSSL", OpenSSL_version (OPENSSL_VERSION_STRING),
                    "zstd", ZSTD_versionString (),
                    "libnbd", libnbd_version (),
                    "nbdkit", program_version ("nbdkit", "nbdkit "),
                    "QEMU", program_version ("qemu-system-x86_64",
                                             "version "));
  if (cli->json)
    return lm_report_json (json_pack ("{s:s, s:i, s:O}", "version",
                                      PACKAGE_VERSION, "format", 1, "with",
                                      with), err);
  json_object_foreach (with, key, v)
    printf ("  %-10s %s\n", key, json_is_string (v) ? json_string_value (v)
                                                    : "not installed");
  return 0;
}

const struct lm_command lm_cmd_version = {
  .name = "version",
  .area = "Help",
  .summary = "print the version, with -v also those of libraries and programs",
  .usage = "",
  .run = run_version,
};
