/* SPDX-License-Identifier: Apache-2.0
 * jansson with our errors; see json.h.
 */
#include <config.h>

#include "common/json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/hex.h"
#include "common/banned.h"

json_t *
lm_json_parse (const void *data, size_t len, const char *what,
               struct lm_error *err)
{
  json_error_t je;
  json_t *v = json_loadb (data, len, JSON_REJECT_DUPLICATES, &je);

  if (v == NULL) {
    lm_corrupt (err, "%s: not valid JSON: %s (line %d)", what, je.text,
                je.line);
    return NULL;
  }
  if (!json_is_object (v)) {
    json_decref (v);
    lm_corrupt (err, "%s: not a JSON object", what);
    return NULL;
  }
  return v;
}

char *
lm_json_dump (const json_t *v, size_t *ret_len, struct lm_error *err)
{
  char *s = json_dumps (v, JSON_COMPACT | JSON_SORT_KEYS);

  if (s == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  *ret_len = strlen (s);
  return s;
}

const char *
lm_json_string (const json_t *obj, const char *key, const char *what,
                struct lm_error *err)
{
  const char *s = json_string_value (json_object_get (obj, key));

  if (s == NULL)
    lm_corrupt (err, "%s: '%s' is missing or not a string", what, key);
  return s;
}

const char *
lm_json_string_or_null (const json_t *obj, const char *key)
{
  return json_string_value (json_object_get (obj, key));
}

int
lm_json_u64 (const json_t *obj, const char *key, uint64_t max,
             const char *what, uint64_t *ret_value, struct lm_error *err)
{
  json_t *v = json_object_get (obj, key);
  json_int_t n;

  if (!json_is_integer (v))
    return lm_corrupt (err, "%s: '%s' is missing or not a whole number",
                       what, key);
  n = json_integer_value (v);
  if (n < 0 || (uint64_t) n > max)
    return lm_corrupt (err, "%s: '%s' is %" JSON_INTEGER_FORMAT
                       ", the limit is %" PRIu64, what, key, n, max);
  *ret_value = n;
  return 0;
}

json_t *
lm_json_array (const json_t *obj, const char *key, const char *what,
               struct lm_error *err)
{
  json_t *v = json_object_get (obj, key);

  if (!json_is_array (v)) {
    lm_corrupt (err, "%s: '%s' is missing or not an array", what, key);
    return NULL;
  }
  return v;
}

json_t *
lm_json_object (const json_t *obj, const char *key, const char *what,
                struct lm_error *err)
{
  json_t *v = json_object_get (obj, key);

  if (!json_is_object (v)) {
    lm_corrupt (err, "%s: '%s' is missing or not an object", what, key);
    return NULL;
  }
  return v;
}

int
lm_json_hex (const json_t *obj, const char *key, void *ret_data, size_t len,
             const char *what, struct lm_error *err)
{
  const char *s = lm_json_string (obj, key, what, err);

  if (s == NULL)
    return -1;
  if (lm_hex_decode (s, ret_data, len) == -1)
    return lm_corrupt (err, "%s: '%s' is not %zu bytes of hex", what, key,
                       len);
  return 0;
}

int
lm_json_set_hex (json_t *obj, const char *key, const void *data, size_t len)
{
  CLEANUP_FREE char *hex = malloc (2 * len + 1);

  if (hex == NULL)
    return -1;
  lm_hex_encode (data, len, hex);
  return json_object_set_new (obj, key, json_string (hex));
}

/* The length of what begins at TEXT and is UTF-8, at most 4; or 0. */
static size_t
utf8_len (const char *text)
{
  size_t n;

  for (n = strnlen (text, 4); n > 0; n--) {
    CLEANUP_JSON json_t *v = json_stringn (text, n);

    if (v)
      break;
  }
  return n;
}

json_t *
lm_json_text (const char *text)
{
  CLEANUP_BUFFER struct lm_buffer b = LM_BUFFER_INIT;
  struct lm_error err = LM_ERROR_INIT;
  size_t n;

  for (; *text; text += n ? n : 1) {
    n = utf8_len (text);
    if (lm_buffer_append (&b, n ? text : "\xef\xbf\xbd", n ? n : 3, &err)
        == -1)
      return NULL;
  }
  return json_stringn (b.data ? (char *) b.data : "", b.len);
}
