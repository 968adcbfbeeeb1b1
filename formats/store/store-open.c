/* SPDX-License-Identifier: Apache-2.0
 * From the LOCATION that a person names to a store; see store-open.h.
 */
#include <config.h>

#include "formats/store/store-open.h"

#include <string.h>

#include "formats/store/store-dir.h"
#include "common/banned.h"

/* The length of the scheme in front of a colon, or 0. */
static size_t
scheme_len (const char *location)
{
  size_t n = strspn (location, "abcdefghijklmnopqrstuvwxyz"
                     "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-._");

  return location[n] == ':' && location[0] != '.' ? n : 0;
}

int
lm_store_open (const char *location, bool create, struct lm_store **ret,
               struct lm_error *err)
{
  size_t n = scheme_len (location);
  const char *path = location;

  if (n == 3 && strncmp (location, "dir", 3) == 0)
    path = location + 4;
  else if (n > 0) {
    lm_error_set (err, LM_ERR_UNSUPPORTED,
                  "%s: this version has no '%.*s:' stores", location,
                  (int) n, location);
    return lm_error_hint (err, "a location is a path or dir:PATH; for a "
                          "folder of that name write ./%s", location);
  }
  if (*path == '\0')
    return lm_error_set (err, LM_ERR_USAGE,
                         "'%s' is not the location of a repository",
                         location);
  return lm_store_dir_open (path, create, ret, err);
}
