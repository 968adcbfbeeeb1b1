/* SPDX-License-Identifier: Apache-2.0
 * libFuzzer's entry points; the target is named by LM_FUZZ_TARGET.
 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"
#include "common/banned.h"

extern int LLVMFuzzerInitialize (int *argc, char ***argv);
extern int LLVMFuzzerTestOneInput (const uint8_t *data, size_t len);

static const struct fuzz_target *target;

int
LLVMFuzzerInitialize (int *argc, char ***argv)
{
  const char *name = getenv ("LM_FUZZ_TARGET");

  (void) argc;
  (void) argv;
  target = name ? fuzz_target_find (name) : NULL;
  if (target == NULL) {
    fprintf (stderr, "LM_FUZZ_TARGET: no target '%s'\n", name ? : "");
    exit (2);
  }
  return 0;
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t len)
{
  target->run (data, len);
  return 0;
}
