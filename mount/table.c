/* SPDX-License-Identifier: Apache-2.0
 * Lists; see table.h.
 */
#include <config.h>

#include "mount/table.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/json.h"
#include "common/random.h"
#include "common/size.h"
#include "common/timestamp.h"
#include "mount/report.h"
#include "common/banned.h"

void
lm_age_format (double s, char out[LM_AGE_LEN])
{
  static const struct { double seconds; const char *unit; } units[] = {
    { 86400, "d" }, { 3600, "h" }, { 60, "min" }, { 1, "s" },
  };
  size_t i;

  if (s < 0)
    s = 0;
  for (i = 0; i < 3 && s < 2 * units[i].seconds; i++)
    ;
  snprintf (out, LM_AGE_LEN, "%.0f %s", s / units[i].seconds,
            units[i].unit);
}

void
lm_print_text (const char *text)
{
  for (; *text; text++)
    putchar ((unsigned char) *text < 0x20 || *text == 0x7f ? '?' : *text);
}

/* Terminals count characters, not bytes. */
static size_t
width_of (const char *s)
{
  size_t n = 0;

  for (; *s; s++)
    n += ((unsigned char) *s & 0xc0) != 0x80;
  return n;
}

/* Texts come from repositories that others wrote: nothing in them may
 * talk to the terminal. */
static int
printable (const char *s, struct lm_buffer *b, struct lm_error *err)
{
  size_t i, from = b->len;

  if (lm_buffer_printf (b, err, "%s", s) == -1)
    return -1;
  for (i = from; i < b->len; i++)
    if (b->data[i] < 0x20 || b->data[i] == 0x7f)
      b->data[i] = '?';
  return 0;
}

static int
cell (const json_t *v, enum lm_column_kind kind, struct lm_buffer *b,
      struct lm_error *err)
{
  if (v == NULL || json_is_null (v))
    return lm_buffer_printf (b, err, "-");
  if (json_is_array (v)) {
    size_t i;
    json_t *e;

    if (json_array_size (v) == 0)
      return lm_buffer_printf (b, err, "-");
    json_array_foreach (v, i, e) {
      if (i > 0 && lm_buffer_printf (b, err, ",") == -1)
        return -1;
      if (cell (e, kind, b, err) == -1)
        return -1;
    }
    return 0;
  }
  if (json_is_boolean (v))
    return lm_buffer_printf (b, err, "%s", json_is_true (v) ? "yes" : "-");
  if (json_is_real (v))
    return lm_buffer_printf (b, err, "%.2f", json_real_value (v));
  if (json_is_integer (v) && kind == LM_COLUMN_SIZE) {
    char size[LM_SIZE_LEN];

    lm_size_format (json_integer_value (v), size);
    return lm_buffer_printf (b, err, "%s", size);
  }
  if (json_is_integer (v))
    return lm_buffer_printf (b, err, "%" JSON_INTEGER_FORMAT,
                             json_integer_value (v));
  if (json_is_string (v) && kind == LM_COLUMN_AGE) {
    int64_t t;
    char age[LM_AGE_LEN];

    if (lm_timestamp_parse (json_string_value (v), &t) == 0) {
      lm_age_format (lm_clock_now () - t, age);
      return lm_buffer_printf (b, err, "%s", age);
    }
  }
  if (json_is_string (v))
    return printable (json_string_value (v), b, err);
  return lm_buffer_printf (b, err, "?");
}

static void
put_cell (const char *text, size_t width, bool right, bool last)
{
  size_t pad = width - width_of (text);

  if (right)
    printf ("%*s%s", (int) pad, "", text);
  else
    printf ("%s%*s", text, last ? 0 : (int) pad, "");
  fputs (last ? "\n" : "  ", stdout);
}

static int
print_rows (const json_t *rows, const struct lm_column *columns,
            size_t nr_columns, struct lm_error *err)
{
  size_t nr_rows = json_array_size (rows);
  size_t n = nr_rows * nr_columns, i, c;
  char **cells = calloc (n, sizeof *cells);
  size_t *widths = calloc (nr_columns, sizeof *widths);
  int r = -1;

  if (cells == NULL || widths == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    goto out;
  }
  for (c = 0; c < nr_columns; c++)
    widths[c] = width_of (columns[c].title);
  for (i = 0; i < n; i++) {
    const json_t *row = json_array_get (rows, i / nr_columns);
    CLEANUP_BUFFER struct lm_buffer b = LM_BUFFER_INIT;

    c = i % nr_columns;
    if (cell (json_object_get (row, columns[c].key), columns[c].kind, &b,
              err) == -1)
      goto out;
    cells[i] = lm_buffer_steal_string (&b, err);
    if (cells[i] == NULL)
      goto out;
    if (width_of (cells[i]) > widths[c])
      widths[c] = width_of (cells[i]);
  }
  for (c = 0; c < nr_columns; c++)
    put_cell (columns[c].title, widths[c],
              columns[c].kind != LM_COLUMN_TEXT, c == nr_columns - 1);
  for (i = 0; i < n; i++)
    put_cell (cells[i], widths[i % nr_columns],
              columns[i % nr_columns].kind != LM_COLUMN_TEXT,
              i % nr_columns == nr_columns - 1);
  r = 0;
 out:
  for (i = 0; cells && i < n; i++)
    free (cells[i]);
  free (cells);
  free (widths);
  return r;
}

int
lm_table_print (const struct lm_cli *cli, const char *name, json_t *rows,
                const struct lm_column *columns, size_t nr_columns,
                const char *empty, struct lm_error *err)
{
  CLEANUP_JSON __attribute__ ((unused)) json_t *owned = rows;

  if (cli->json)
    return lm_report_json (json_pack ("{s:O}", name, rows), err);
  if (owned == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  if (json_array_size (rows) == 0) {
    lm_report_note (cli, "%s", empty);
    return 0;
  }
  return print_rows (rows, columns, nr_columns, err);
}
