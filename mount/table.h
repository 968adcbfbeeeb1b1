/* SPDX-License-Identifier: Apache-2.0
 *
 * Lists, the same for people and for programs: a command makes an array of
 * JSON objects; with --json it is printed as it is, otherwise the columns
 * say which members are shown, and how.
 */
#ifndef LM_MOUNT_TABLE_H
#define LM_MOUNT_TABLE_H

#include <stddef.h>

#include <jansson.h>

#include "common/error.h"
#include "mount/cli.h"

enum lm_column_kind {
  LM_COLUMN_TEXT,               /* strings; arrays of them with commas */
  LM_COLUMN_NUMBER,             /* right-aligned */
  LM_COLUMN_SIZE,               /* bytes; right-aligned, "1.4 GiB" */
  LM_COLUMN_AGE,                /* an RFC 3339 time: "3 h" ago */
};

struct lm_column {
  const char *key;              /* of the member */
  const char *title;
  enum lm_column_kind kind;
};

/* Print ROWS, and drop the reference.  With --json as {"NAME": [...]}.
 * NULL rows is out of memory.  EMPTY is said when there are none. */
extern int lm_table_print (const struct lm_cli *cli, const char *name,
                           json_t *rows, const struct lm_column *columns,
                           size_t nr_columns, const char *empty,
                           struct lm_error *err)
  __attribute__ ((nonnull (1, 2, 4, 6, 7)));

/* Print TEXT on standard output, harmless for terminals. */
extern void lm_print_text (const char *text) __attribute__ ((nonnull));

/* "3 h", "2 d" from seconds. */
#define LM_AGE_LEN 24
extern void lm_age_format (double seconds, char out[LM_AGE_LEN]);

#endif
