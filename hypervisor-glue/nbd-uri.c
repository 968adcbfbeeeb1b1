/* SPDX-License-Identifier: Apache-2.0
 * NBD URIs taken apart; see nbd-uri.h.
 */
#include <config.h>

#include "hypervisor-glue/nbd-uri.h"

#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/size.h"
#include "common/banned.h"

#define DEFAULT_PORT 10809

static int
hex_digit (char c)
{
  if (c >= '0' && c <= '9')
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  if (c >= 'A' && c <= 'F')
    return c - 'A' + 10;
  return -1;
}

/* Undo %XX in the LEN bytes at S; NULL with *err set. */
static char *
decode (const char *uri, const char *s, size_t len, struct lm_error *err)
{
  CLEANUP_FREE char *out = malloc (len + 1);
  size_t i, n = 0;

  if (out == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  for (i = 0; i < len; i++) {
    int hi, lo;

    if (s[i] != '%') {
      out[n++] = s[i];
      continue;
    }
    hi = i + 1 < len ? hex_digit (s[i + 1]) : -1;
    lo = i + 2 < len ? hex_digit (s[i + 2]) : -1;
    if (hi == -1 || lo == -1 || (hi == 0 && lo == 0)) {
      lm_error_set (err, LM_ERR_USAGE, "NBD URI %s: bad %% escape at byte "
                    "%zu", uri, (size_t) (s + i - uri));
      return NULL;
    }
    out[n++] = (char) (hi * 16 + lo);
    i += 2;
  }
  out[n] = '\0';
  return lm_steal (out);
}

int
lm_socket_path_check (const char *path, const char *what,
                      struct lm_error *err)
{
  size_t len = strlen (path);

  if (*path != '/')
    return lm_error_set (err, LM_ERR_USAGE, "%s: socket path '%s' is not "
                         "absolute", what, path);
  if (len > LM_SOCKET_PATH_MAX)
    return lm_error_set (err, LM_ERR_LIMIT, "%s: socket path %s is %zu bytes "
                         "long, the system's limit is %d", what, path, len,
                         LM_SOCKET_PATH_MAX);
  return 0;
}

/* "host", "host:port", "[v6]", "[v6]:port" */
static int
parse_authority (const char *uri, const char *s, size_t len,
                 struct lm_nbd_uri *out, struct lm_error *err)
{
  const char *colon = NULL, *end = s + len;
  const char *host = s;
  size_t host_len = len;

  if (memchr (s, '@', len))
    return lm_error_set (err, LM_ERR_UNSUPPORTED, "NBD URI %s: user names "
                         "are not supported", uri);
  if (len > 0 && *s == '[') {
    const char *close = memchr (s, ']', len);

    if (close == NULL || (close + 1 < end && close[1] != ':'))
      return lm_error_set (err, LM_ERR_USAGE, "NBD URI %s: bad address in "
                           "brackets", uri);
    host = s + 1;
    host_len = (size_t) (close - host);
    if (close + 1 < end)
      colon = close + 1;
  }
  else {
    colon = memchr (s, ':', len);
    if (colon)
      host_len = (size_t) (colon - s);
  }
  out->host = decode (uri, host, host_len, err);
  if (out->host == NULL)
    return -1;
  if (out->host[0] == '\0')
    return lm_error_set (err, LM_ERR_USAGE, "NBD URI %s: the host is "
                         "missing", uri);
  out->port = DEFAULT_PORT;
  if (colon && colon + 1 < end) {
    CLEANUP_FREE char *text = strndup (colon + 1,
                                       (size_t) (end - colon - 1));
    uint64_t port;

    if (text == NULL)
      return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    if (lm_number_parse (text, UINT16_MAX, &port, err) == -1)
      return lm_error_prefix (err, "NBD URI %s: port", uri);
    if (port == 0)
      return lm_error_set (err, LM_ERR_USAGE, "NBD URI %s: port 0 is none",
                           uri);
    out->port = (uint16_t) port;
  }
  return 0;
}

/* The value of socket= in the query; a URI with other parameters than
 * that may ask for what we don't do, so they are refused. */
static int
parse_query (const char *uri, const char *query, struct lm_nbd_uri *out,
             struct lm_error *err)
{
  static const char key[] = "socket=";

  while (*query) {
    const char *end = strchrnul (query, '&');

    if (strncmp (query, key, strlen (key)) != 0)
      return lm_error_set (err, LM_ERR_UNSUPPORTED, "NBD URI %s: parameter "
                           "'%.*s' is not supported", uri,
                           (int) (end - query), query);
    if (out->socket)
      return lm_error_set (err, LM_ERR_USAGE, "NBD URI %s: socket= is "
                           "given twice", uri);
    query += strlen (key);
    out->socket = decode (uri, query, (size_t) (end - query), err);
    if (out->socket == NULL)
      return -1;
    query = *end ? end + 1 : end;
  }
  return 0;
}

static int
parse (const char *text, struct lm_nbd_uri *out, struct lm_error *err)
{
  const char *s, *path, *query;
  int unix_socket;

  if (strncmp (text, "nbd://", 6) == 0) {
    s = text + 6;
    unix_socket = 0;
  }
  else if (strncmp (text, "nbd+unix://", 11) == 0) {
    s = text + 11;
    unix_socket = 1;
  }
  else if (strncmp (text, "nbds", 4) == 0 || strncmp (text, "nbd+", 4) == 0)
    return lm_error_set (err, LM_ERR_UNSUPPORTED, "NBD URI %s: only nbd:// "
                         "and nbd+unix:// are supported", text);
  else
    return lm_error_set (err, LM_ERR_USAGE, "'%s' is no NBD URI", text);

  query = strchrnul (s, '?');
  path = memchr (s, '/', (size_t) (query - s));
  if (path == NULL)
    path = query;
  if (strchr (query, '#') || memchr (s, '#', (size_t) (query - s)))
    return lm_error_set (err, LM_ERR_USAGE, "NBD URI %s: a fragment has no "
                         "meaning", text);
  out->export_name = path < query
                     ? decode (text, path + 1, (size_t) (query - path - 1),
                               err)
                     : strdup ("");
  if (out->export_name == NULL)
    return err->kind != LM_ERR_NONE ? -1 :
           lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  if (strlen (out->export_name) > LM_NBD_EXPORT_MAX)
    return lm_error_set (err, LM_ERR_LIMIT, "NBD URI: the export name has "
                         "%zu bytes, the limit is %d",
                         strlen (out->export_name), LM_NBD_EXPORT_MAX);
  if (*query && parse_query (text, query + 1, out, err) == -1)
    return -1;
  if (unix_socket) {
    if (path != s)
      return lm_error_set (err, LM_ERR_USAGE, "NBD URI %s: nbd+unix has no "
                           "host", text);
    if (out->socket == NULL)
      return lm_error_set (err, LM_ERR_USAGE, "NBD URI %s: socket= is "
                           "missing", text);
    return lm_socket_path_check (out->socket, "NBD URI", err);
  }
  if (out->socket)
    return lm_error_set (err, LM_ERR_USAGE, "NBD URI %s: socket= needs "
                         "nbd+unix", text);
  return parse_authority (text, s, (size_t) (path - s), out, err);
}

int
lm_nbd_uri_parse (const char *text, struct lm_nbd_uri *ret_uri,
                  struct lm_error *err)
{
  struct lm_nbd_uri uri = LM_NBD_URI_INIT;

  lm_error_clear (err);
  if (parse (text, &uri, err) == -1) {
    lm_nbd_uri_release (&uri);
    return -1;
  }
  *ret_uri = uri;
  return 0;
}

void
lm_nbd_uri_release (struct lm_nbd_uri *uri)
{
  free (uri->socket);
  free (uri->host);
  free (uri->export_name);
  *uri = (struct lm_nbd_uri) LM_NBD_URI_INIT;
}
