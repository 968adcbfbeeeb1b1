/* SPDX-License-Identifier: Apache-2.0
 * Who writes; see whoami.h.
 */
#include <config.h>

#include "formats/native/whoami.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/banned.h"

/* Set by tests only, before threads start. */
static const char *test_host, *test_user, *test_program;

static void
make_plain (char *s)
{
  for (; *s; s++)
    if ((unsigned char) *s < 0x20 || (unsigned char) *s > 0x7e)
      *s = '?';
}

void
lm_whoami_host (char out[LM_WHOAMI_LEN])
{
  if (test_host)
    snprintf (out, LM_WHOAMI_LEN, "%s", test_host);
  else if (gethostname (out, LM_WHOAMI_LEN) == -1)
    snprintf (out, LM_WHOAMI_LEN, "unknown");
  out[LM_WHOAMI_LEN - 1] = '\0';
  make_plain (out);
}

void
lm_whoami_user (char out[LM_WHOAMI_LEN])
{
  char buf[4096];
  struct passwd pw, *found = NULL;

  if (test_user)
    snprintf (out, LM_WHOAMI_LEN, "%s", test_user);
  else if (getpwuid_r (geteuid (), &pw, buf, sizeof buf, &found) == 0 &&
           found)
    snprintf (out, LM_WHOAMI_LEN, "%s", found->pw_name);
  else
    snprintf (out, LM_WHOAMI_LEN, "%u", (unsigned) geteuid ());
  make_plain (out);
}

void
lm_whoami_program (char out[LM_WHOAMI_LEN])
{
  snprintf (out, LM_WHOAMI_LEN, "%s",
            test_program ? test_program : PACKAGE " " PACKAGE_VERSION);
}

char *
lm_whoami_writer (const char *what, struct lm_error *err)
{
  char host[LM_WHOAMI_LEN], user[LM_WHOAMI_LEN], program[LM_WHOAMI_LEN];
  char *text;

  lm_whoami_host (host);
  lm_whoami_user (user);
  lm_whoami_program (program);
  if (asprintf (&text, "%s, %s@%s, %s", what, user, host, program) == -1) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  return text;
}

void
lm_whoami_set_test (const char *host, const char *user, const char *program)
{
  test_host = host;
  test_user = user;
  test_program = program;
}
