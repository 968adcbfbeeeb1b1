/* SPDX-License-Identifier: Apache-2.0
 *
 * NBD URIs taken apart, for hypervisors that want the pieces.  The form
 * is that of the NBD project's uri.md: nbd://HOST[:PORT]/EXPORT and
 * nbd+unix:///EXPORT?socket=PATH.  TLS (nbds) is not supported.
 */
#ifndef LM_NBD_URI_H
#define LM_NBD_URI_H

#include <stdint.h>

#include "common/error.h"

/* Exactly one of SOCKET and HOST is set.  All strings are owned. */
struct lm_nbd_uri {
  char *socket;         /* path of a Unix socket; absolute */
  char *host;           /* without the brackets of an IPv6 address */
  uint16_t port;        /* 10809 unless the URI says otherwise */
  char *export_name;    /* "" for the default export; never NULL */
};

#define LM_NBD_URI_INIT { NULL, NULL, 0, NULL }

/* The NBD protocol's limit for an export name, in bytes. */
#define LM_NBD_EXPORT_MAX 4096

/* A socket address has room for 107 bytes of path. */
#define LM_SOCKET_PATH_MAX 107

/* LM_ERR_USAGE for what is no such URI, LM_ERR_UNSUPPORTED for TLS and
 * other transports, LM_ERR_LIMIT for names that are too long. */
extern int lm_nbd_uri_parse (const char *text, struct lm_nbd_uri *ret_uri,
                             struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

extern void lm_nbd_uri_release (struct lm_nbd_uri *uri)
  __attribute__ ((nonnull));

/* Is PATH short enough for a Unix socket?  WHAT names it. */
extern int lm_socket_path_check (const char *path, const char *what,
                                 struct lm_error *err)
  __attribute__ ((nonnull));

#endif
