/* SPDX-License-Identifier: Apache-2.0
 * Sizes and numbers as people write them.
 */
#include <config.h>

#include "common/size.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

Test (size, parses_suffixes)
{
  static const struct { const char *text; uint64_t bytes; } rows[] = {
    { "0", 0 }, { "4096", 4096 }, { "64K", 65536 }, { "64k", 65536 },
    { "1.5G", UINT64_C (1610612736) }, { "2TiB", UINT64_C (2) << 40 },
    { "7B", 7 }, { "18446744073709551615", UINT64_MAX },
  };
  struct lm_error err = LM_ERROR_INIT;
  uint64_t n;
  size_t i;

  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    cr_assert (eq (int, lm_size_parse (rows[i].text, &n, &err), 0), "%s: %s",
               rows[i].text, err.message);
    cr_expect (eq (u64, n, rows[i].bytes), "%s", rows[i].text);
  }
}

Test (size, refuses_what_is_not_a_size)
{
  static const char *const rows[] = {
    "", "-1", "K", "1.5", "1X", "1KK", "0x10", "1e3", " 1", "1 K",
    "99999999999999999999", "16E",
  };
  size_t i;

  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct lm_error err = LM_ERROR_INIT;
    uint64_t n = 42;

    cr_expect (eq (int, lm_size_parse (rows[i], &n, &err), -1), "'%s'",
               rows[i]);
    cr_expect (eq (int, err.kind, LM_ERR_USAGE), "'%s'", rows[i]);
    cr_expect (eq (u64, n, 42), "'%s'", rows[i]);
  }
}

Test (size, formats_for_people)
{
  static const struct { uint64_t bytes; const char *text; } rows[] = {
    { 0, "0 B" }, { 1023, "1023 B" }, { 1024, "1.0 KiB" },
    { 1536, "1.5 KiB" }, { 1048575, "1.0 MiB" },
    { UINT64_C (6) << 30, "6.0 GiB" }, { UINT64_C (120) << 20, "120 MiB" },
    { UINT64_MAX, "16.0 EiB" },
  };
  char out[LM_SIZE_LEN];
  size_t i;

  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    lm_size_format (rows[i].bytes, out);
    cr_expect (eq (str, out, (char *) rows[i].text));
  }
}
