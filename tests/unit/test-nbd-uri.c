/* SPDX-License-Identifier: Apache-2.0
 * NBD URIs taken apart.
 */
#include <config.h>

#include "hypervisor-glue/nbd-uri.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Test (nbd_uri, takes_valid_ones_apart)
{
  static const struct {
    const char *text, *socket, *host, *export_name;
    int port;
  } rows[] = {
    { "nbd+unix:///?socket=/tmp/s", "/tmp/s", NULL, "", 0 },
    { "nbd+unix:///web01/latest/disk0?socket=/a%2Cb%20c", "/a,b c", NULL,
      "web01/latest/disk0", 0 },
    { "nbd+unix://?socket=/s", "/s", NULL, "", 0 },
    { "nbd://localhost", NULL, "localhost", "", 10809 },
    { "nbd://localhost/", NULL, "localhost", "", 10809 },
    { "nbd://10.0.2.2:10810/a%22b", NULL, "10.0.2.2", "a\"b", 10810 },
    { "nbd://[::1]:1/x", NULL, "::1", "x", 1 },
    { "nbd://[fe80::1]", NULL, "fe80::1", "", 10809 },
    { "nbd://h//lead", NULL, "h", "/lead", 10809 },
  };
  size_t i;

  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct lm_nbd_uri uri = LM_NBD_URI_INIT;
    struct lm_error err = LM_ERROR_INIT;

    cr_assert (eq (int, lm_nbd_uri_parse (rows[i].text, &uri, &err), 0),
               "%s: %s", rows[i].text, err.message);
    if (rows[i].socket)
      cr_expect (eq (str, uri.socket, (char *) rows[i].socket));
    else
      cr_expect_null (uri.socket);
    if (rows[i].host) {
      cr_expect (eq (str, uri.host, (char *) rows[i].host));
      cr_expect (eq (int, uri.port, rows[i].port));
    }
    else
      cr_expect_null (uri.host);
    cr_expect (eq (str, uri.export_name, (char *) rows[i].export_name));
    lm_nbd_uri_release (&uri);
  }
}

Test (nbd_uri, refuses_the_rest)
{
  static const struct {
    const char *text;
    enum lm_error_kind kind;
    const char *message;
  } rows[] = {
    { "", LM_ERR_USAGE, "'' is no NBD URI" },
    { "/tmp/disk.raw", LM_ERR_USAGE, "'/tmp/disk.raw' is no NBD URI" },
    { "nbds://h", LM_ERR_UNSUPPORTED,
      "NBD URI nbds://h: only nbd:// and nbd+unix:// are supported" },
    { "nbd+vsock://1", LM_ERR_UNSUPPORTED,
      "NBD URI nbd+vsock://1: only nbd:// and nbd+unix:// are supported" },
    { "nbd:///x", LM_ERR_USAGE, "NBD URI nbd:///x: the host is missing" },
    { "nbd://:10809/x", LM_ERR_USAGE,
      "NBD URI nbd://:10809/x: the host is missing" },
    { "nbd://[]/x", LM_ERR_USAGE, "NBD URI nbd://[]/x: the host is missing" },
    { "nbd://h:0/x", LM_ERR_USAGE, "NBD URI nbd://h:0/x: port 0 is none" },
    { "nbd+unix:///x", LM_ERR_USAGE,
      "NBD URI nbd+unix:///x: socket= is missing" },
    { "nbd+unix://h/x?socket=/s", LM_ERR_USAGE,
      "NBD URI nbd+unix://h/x?socket=/s: nbd+unix has no host" },
    { "nbd+unix:///?socket=s", LM_ERR_USAGE,
      "NBD URI: socket path 's' is not absolute" },
    { "nbd+unix:///?socket=/a&socket=/b", LM_ERR_USAGE,
      "NBD URI nbd+unix:///?socket=/a&socket=/b: socket= is given twice" },
    { "nbd://h/?tls-psk-file=/x", LM_ERR_UNSUPPORTED,
      "NBD URI nbd://h/?tls-psk-file=/x: parameter 'tls-psk-file=/x' is "
      "not supported" },
    { "nbd://h/?socket=/x", LM_ERR_USAGE,
      "NBD URI nbd://h/?socket=/x: socket= needs nbd+unix" },
    { "nbd://h:99999/", LM_ERR_USAGE, NULL },
    { "nbd://h:x/", LM_ERR_USAGE, NULL },
    { "nbd://[::1/x", LM_ERR_USAGE,
      "NBD URI nbd://[::1/x: bad address in brackets" },
    { "nbd://u@h/", LM_ERR_UNSUPPORTED,
      "NBD URI nbd://u@h/: user names are not supported" },
    { "nbd://h/a%2", LM_ERR_USAGE,
      "NBD URI nbd://h/a%2: bad % escape at byte 9" },
    { "nbd://h/a%zz", LM_ERR_USAGE,
      "NBD URI nbd://h/a%zz: bad % escape at byte 9" },
    { "nbd://h/a%00b", LM_ERR_USAGE,
      "NBD URI nbd://h/a%00b: bad % escape at byte 9" },
    { "nbd://h/a#b", LM_ERR_USAGE,
      "NBD URI nbd://h/a#b: a fragment has no meaning" },
  };
  size_t i;

  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct lm_nbd_uri uri = LM_NBD_URI_INIT;
    struct lm_error err = LM_ERROR_INIT;

    cr_assert (eq (int, lm_nbd_uri_parse (rows[i].text, &uri, &err), -1),
               "%s", rows[i].text);
    cr_expect (eq (int, err.kind, (int) rows[i].kind), "%s: %s",
               rows[i].text, err.message);
    if (rows[i].message)
      cr_expect (eq (str, err.message, (char *) rows[i].message));
  }
}

Test (nbd_uri, refuses_names_beyond_the_limits)
{
  char text[LM_NBD_EXPORT_MAX + 64];
  struct lm_nbd_uri uri = LM_NBD_URI_INIT;
  struct lm_error err = LM_ERROR_INIT;
  int n;

  n = snprintf (text, sizeof text, "nbd://h/");
  memset (text + n, 'x', LM_NBD_EXPORT_MAX);
  text[n + LM_NBD_EXPORT_MAX] = '\0';
  cr_assert (eq (int, lm_nbd_uri_parse (text, &uri, &err), 0));
  lm_nbd_uri_release (&uri);
  text[n + LM_NBD_EXPORT_MAX] = 'x';
  text[n + LM_NBD_EXPORT_MAX + 1] = '\0';
  cr_assert (eq (int, lm_nbd_uri_parse (text, &uri, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_LIMIT));

  n = snprintf (text, sizeof text, "nbd+unix:///?socket=/");
  memset (text + n, 's', LM_SOCKET_PATH_MAX);
  text[n + LM_SOCKET_PATH_MAX] = '\0';
  cr_assert (eq (int, lm_nbd_uri_parse (text, &uri, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_LIMIT));
  text[n + LM_SOCKET_PATH_MAX - 1] = '\0';
  cr_assert (eq (int, lm_nbd_uri_parse (text, &uri, &err), 0));
  lm_nbd_uri_release (&uri);
}
