/* SPDX-License-Identifier: Apache-2.0
 * Ages and durations as people read them.
 */
#include <config.h>

#include "mount/table.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>

#include "mount/progress.h"

Test (table, ages_have_the_unit_that_fits)
{
  static const struct { double seconds; const char *text; } rows[] = {
    { -5, "0 s" }, { 0, "0 s" }, { 1, "1 s" }, { 119, "119 s" },
    { 120, "2 min" }, { 7199, "120 min" }, { 7200, "2 h" },
    { 86400, "24 h" }, { 172800, "2 d" }, { 86400 * 400.0, "400 d" },
  };
  char out[LM_AGE_LEN];
  size_t i;

  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    lm_age_format (rows[i].seconds, out);
    cr_expect (eq (str, out, (char *) rows[i].text));
  }
}

Test (table, durations_are_clocks)
{
  static const struct { double seconds; const char *text; } rows[] = {
    { 0, "0:00" }, { 59.4, "0:59" }, { 60, "1:00" }, { 3599, "59:59" },
    { 3661, "1:01:01" }, { -1, "-" }, { NAN, "-" }, { INFINITY, "-" },
    { 1e300, "-" },
  };
  char out[LM_DURATION_LEN];
  size_t i;

  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    lm_duration_format (rows[i].seconds, out);
    cr_expect (eq (str, out, (char *) rows[i].text));
  }
}
