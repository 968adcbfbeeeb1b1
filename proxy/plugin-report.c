/* SPDX-License-Identifier: Apache-2.0
 * Telling nbdkit what went wrong; see plugin-report.h.
 */
#include <config.h>

#include "proxy/plugin-report.h"

#include <errno.h>
#include <stdio.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "formats/native/native-wire.h"
#include "proxy/overlay-header.h"
#include "proxy/proxy-config.h"
#include "common/banned.h"

int
lm_proxy_errno (const struct lm_error *err)
{
  switch (err->kind) {
  case LM_ERR_NO_SPACE: return ENOSPC;
  case LM_ERR_NOMEM: return ENOMEM;
  case LM_ERR_USAGE: return EINVAL;
  case LM_ERR_UNSUPPORTED: return ENOTSUP;
  case LM_ERR_NOT_FOUND:
    /* A chunk that is not there is damage. */
  default: return EIO;
  }
}

int
lm_proxy_report (const struct lm_error *err)
{
  if (err->hint[0])
    nbdkit_error ("%s (%s)", err->message, err->hint);
  else
    nbdkit_error ("%s", err->message);
  nbdkit_set_error (lm_proxy_errno (err));
  return -1;
}

void
lm_proxy_dump (void)
{
  size_t i;

  printf ("livemount_version=%s\n", PACKAGE_VERSION);
  printf ("livemount_repository_format=%d\n", LM_NATIVE_VERSION);
  printf ("livemount_overlay_format=%d\n", LM_OVERLAY_VERSION);
  printf ("livemount_features=export-names,list-exports,extents,cache,"
          "multi-conn,overlay,flush,fua,trim,zero,fast-zero,readahead\n");
  printf ("livemount_encryption=aes-256-gcm,none\n");
  printf ("livemount_overlay_encryption=aes-256-xts\n");
  printf ("livemount_parameters=");
  for (i = 0; lm_proxy_config_keys[i]; i++)
    printf ("%s%s", i ? "," : "", lm_proxy_config_keys[i]);
  printf ("\n");
}
