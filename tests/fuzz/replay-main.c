/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzz targets without libFuzzer:
 *
 *   replay --list               the names of the targets
 *   replay CORPUS               each target over all of CORPUS/<target>/
 *   replay TARGET FILE…         one target over these files
 *   replay --seed CORPUS        write the targets' seeds there
 *
 * A target without a corpus is an error, so that none is forgotten.
 */
#include <config.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "common/random.h"
#include "tests/fuzz/fuzz.h"
#include "common/banned.h"

#define INPUT_MAX (16 << 20)

static void
die (const char *what, const struct lm_error *err)
{
  fprintf (stderr, "replay: %s%s%s\n", what, err ? ": " : "",
           err ? err->message : "");
  exit (1);
}

static void
replay_file (const struct fuzz_target *t, const char *path)
{
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_FREE char *data = NULL;
  uint8_t *exact;
  size_t len;

  if (lm_file_read (AT_FDCWD, path, INPUT_MAX, &data, &len, &err) == -1)
    die (path, &err);
  /* Of exactly its length, so that a sanitizer sees the end. */
  exact = malloc (len ? len : 1);
  if (exact == NULL)
    die ("out of memory", NULL);
  memcpy (exact, data, len);
  if (getenv ("LM_FUZZ_VERBOSE"))
    fprintf (stderr, "%s: %s\n", t->name, path);
  t->run (exact, len);
  free (exact);
}

static size_t
replay_corpus (const struct fuzz_target *t, const char *corpus)
{
  CLEANUP_FREE char *folder = NULL;
  CLEANUP_CLOSEDIR DIR *dir = NULL;
  struct dirent *d;
  size_t n = 0;

  if (asprintf (&folder, "%s/%s", corpus, t->name) == -1)
    die ("out of memory", NULL);
  dir = opendir (folder);
  if (dir == NULL)
    die (folder, NULL);
  while ((d = readdir (dir))) {
    CLEANUP_FREE char *path = NULL;

    if (d->d_name[0] == '.')
      continue;
    if (asprintf (&path, "%s/%s", folder, d->d_name) == -1)
      die ("out of memory", NULL);
    replay_file (t, path);
    n++;
  }
  return n;
}

static int
replay_all (const char *corpus)
{
  const struct fuzz_target *t;
  bool complete = true;
  size_t i;

  for (i = 0; (t = fuzz_target_nr (i)); i++) {
    size_t n = replay_corpus (t, corpus);

    printf ("%-16s %3zu inputs\n", t->name, n);
    complete &= n > 0;
  }
  return complete ? 0 : 1;
}

static const char *seed_corpus, *seed_target;

static void
write_seed (const char *name, const void *data, size_t len)
{
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_FREE char *path = NULL;

  if (asprintf (&path, "%s/%s/%s", seed_corpus, seed_target, name) == -1)
    die ("out of memory", NULL);
  if (lm_file_replace (AT_FDCWD, path, data, len, 0644, &err) == -1)
    die (path, &err);
}

static int
seed_all (const char *corpus)
{
  static const uint8_t random[32] = "livemount fuzz seeds";
  const struct fuzz_target *t;
  size_t i;

  lm_clock_set_test_time (1780000000);
  seed_corpus = corpus;
  for (i = 0; (t = fuzz_target_nr (i)); i++) {
    CLEANUP_FREE char *folder = NULL;

    if (asprintf (&folder, "%s/%s", corpus, t->name) == -1)
      die ("out of memory", NULL);
    mkdir (folder, 0755);
    seed_target = t->name;
    /* The same files each time. */
    lm_random_set_test_seed (random);
    t->seed (write_seed);
  }
  return 0;
}

int
main (int argc, char **argv)
{
  const struct fuzz_target *t;
  size_t nr;
  int i;

  if (argc == 2 && strcmp (argv[1], "--list") == 0) {
    for (nr = 0; (t = fuzz_target_nr (nr)); nr++)
      puts (t->name);
    return 0;
  }
  if (argc == 3 && strcmp (argv[1], "--seed") == 0)
    return seed_all (argv[2]);
  if (argc == 2)
    return replay_all (argv[1]);
  t = argc > 2 ? fuzz_target_find (argv[1]) : NULL;
  if (t == NULL)
    die ("usage: replay --list | CORPUS | TARGET FILE... | --seed CORPUS",
         NULL);
  for (i = 2; i < argc; i++)
    replay_file (t, argv[i]);
  return 0;
}
