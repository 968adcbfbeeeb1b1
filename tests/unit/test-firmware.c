/* SPDX-License-Identifier: Apache-2.0
 * Pairs of UEFI code and variables, and a machine's copy of the latter.
 */
#include <config.h>

#include "hypervisor-glue/firmware.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/io.h"

static char dir[32], code[2][48], vars[2][48], nvram[48];
static struct lm_firmware_pair table[4];

static void
write_file (const char *path, char c, size_t len)
{
  struct lm_error err = LM_ERROR_INIT;
  char *data = malloc (len);

  cr_assert_not_null (data);
  memset (data, c, len);
  cr_assert (eq (int, lm_file_replace (AT_FDCWD, path, data, len, 0600,
                                       &err), 0));
  free (data);
}

/* A pair that is not installed, one with 5000 bytes of variables, one
 * with 300. */
static void
make_pairs (void)
{
  int i;

  snprintf (dir, sizeof dir, "/tmp/lm-firmware.XXXXXX");
  cr_assert_not_null (mkdtemp (dir));
  snprintf (nvram, sizeof nvram, "%s/nvram", dir);
  table[0] = (struct lm_firmware_pair) { "/no/such/code", "/no/such/vars" };
  for (i = 0; i < 2; i++) {
    snprintf (code[i], sizeof code[i], "%s/code%d", dir, i);
    snprintf (vars[i], sizeof vars[i], "%s/vars%d", dir, i);
    write_file (code[i], 'c', 10);
    write_file (vars[i], i ? '1' : '0', i ? 300 : 5000);
    table[1 + i] = (struct lm_firmware_pair) { code[i], vars[i] };
  }
}

static void
remove_pairs (void)
{
  int i;

  for (i = 0; i < 2; i++) {
    unlink (code[i]);
    unlink (vars[i]);
  }
  unlink (nvram);
  rmdir (dir);
}

TestSuite (firmware, .init = make_pairs, .fini = remove_pairs);

Test (firmware, a_new_machine_gets_a_copy_of_the_best_template)
{
  struct lm_firmware_pair pair;
  struct lm_error err = LM_ERROR_INIT;
  struct stat st;
  char *data;
  size_t len;

  cr_assert (eq (int, lm_firmware_prepare (table, nvram, &pair, &err), 0),
             "%s", err.message);
  cr_expect (eq (str, (char *) pair.code, code[0]));
  cr_assert (eq (int, lm_file_read (AT_FDCWD, nvram, 1 << 20, &data, &len,
                                    &err), 0));
  cr_expect (eq (sz, len, 5000));
  cr_expect (eq (chr, data[4999], '0'));
  free (data);
  cr_assert (eq (int, stat (nvram, &st), 0));
  cr_expect (eq (int, st.st_mode & 0777, 0600));
}

Test (firmware, existing_variables_are_kept_and_choose_their_code)
{
  struct lm_firmware_pair pair;
  struct lm_error err = LM_ERROR_INIT;
  char *data;
  size_t len;

  write_file (nvram, 'x', 300);
  cr_assert (eq (int, lm_firmware_prepare (table, nvram, &pair, &err), 0));
  cr_expect (eq (str, (char *) pair.code, code[1]));
  cr_assert (eq (int, lm_file_read (AT_FDCWD, nvram, 1 << 20, &data, &len,
                                    &err), 0));
  cr_expect (eq (sz, len, 300));
  cr_expect (eq (chr, data[0], 'x'));
  free (data);
}

Test (firmware, variables_that_fit_nothing_are_refused)
{
  struct lm_firmware_pair pair;
  struct lm_error err = LM_ERROR_INIT;
  char want[128];

  write_file (nvram, 'x', 301);
  cr_assert (eq (int, lm_firmware_prepare (table, nvram, &pair, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_NOT_FOUND));
  snprintf (want, sizeof want, "%s: no UEFI firmware here fits variables of "
            "301 bytes", nvram);
  cr_expect (eq (str, err.message, want));
  unlink (nvram);
  cr_assert (eq (int, mkdir (nvram, 0700), 0));
  cr_expect (eq (int, lm_firmware_prepare (table, nvram, &pair, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_USAGE));
  rmdir (nvram);
}

Test (firmware, none_installed_names_the_package)
{
  static const struct lm_firmware_pair none[] = {
    { "/no/such/code", "/no/such/vars" }, { NULL, NULL }
  };
  struct lm_firmware_pair pair;
  struct lm_error err = LM_ERROR_INIT;

  cr_assert (eq (int, lm_firmware_prepare (none, nvram, &pair, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_NOT_FOUND));
  cr_expect (eq (str, err.hint, (char *) "install the package ovmf"));
  cr_expect (eq (int, access (nvram, F_OK), -1));
}
