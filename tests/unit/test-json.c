/* SPDX-License-Identifier: Apache-2.0
 * Texts that may be anything, as JSON.
 */
#include <config.h>

#include "common/json.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

Test (json, bytes_that_are_no_utf8_are_replaced)
{
#define BAD "\xef\xbf\xbd"
  static const struct { const char *text, *expected; } rows[] = {
    { "", "" },
    { "/tmp/disk 1", "/tmp/disk 1" },
    { "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x92\xbe",
      "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x92\xbe" },
    { "\xff", BAD },
    { "a\xff\xfe" "b", "a" BAD BAD "b" },
    { "gr\xfc\xdf", "gr" BAD BAD },
    /* Cut short, too long an encoding, a surrogate. */
    { "\xe2\x82", BAD BAD },
    { "\xc0\xaf", BAD BAD },
    { "\xed\xa0\x80", BAD BAD BAD },
    { "\xff\xe2\x82\xac", BAD "\xe2\x82\xac" },
  };
  size_t i;

  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    CLEANUP_JSON json_t *v = lm_json_text (rows[i].text);

    cr_assert (ne (ptr, v, NULL), "row %zu", i);
    cr_expect (eq (str, (char *) json_string_value (v),
                   (char *) rows[i].expected), "row %zu", i);
  }
}
