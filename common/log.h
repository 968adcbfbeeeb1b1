/* SPDX-License-Identifier: Apache-2.0
 *
 * Debug output for ourselves, by named flag: LIVEMOUNT_DEBUG=store,cache
 * (or "all").  Off by default.  How often a flag speaks is part of its
 * definition, so a log's volume can be predicted.  What users should see
 * goes through errors and report.c, never through here.
 */
#ifndef LM_COMMON_LOG_H
#define LM_COMMON_LOG_H

#include <stdbool.h>

enum lm_debug_flag {
  LM_DEBUG_REPOSITORY,  /* once per open repository or journal record */
  LM_DEBUG_STORE,       /* once per object operation */
  LM_DEBUG_REQUEST,     /* once per NBD request */
  LM_DEBUG_CHUNK,       /* once per chunk */
  LM_DEBUG_MACHINE,     /* once per QMP message or process event */
};

extern bool lm_debug_enabled (enum lm_debug_flag flag);

extern void lm_debug_at (enum lm_debug_flag flag, const char *fmt, ...)
  __attribute__ ((nonnull, format (printf, 2, 3)));

#define lm_debug(flag, ...) \
  do { \
    if (__builtin_expect (lm_debug_enabled (flag), 0)) \
      lm_debug_at ((flag), __VA_ARGS__); \
  } while (0)

#endif
