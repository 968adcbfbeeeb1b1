/* SPDX-License-Identifier: Apache-2.0
 * What is secret is gone from memory after use, and in no core dump.
 *
 * The whole memory of the process is searched, through /proc/self/mem.
 * What is looked for is held turned round (each byte XOR 0x5a), so that
 * the search does not find itself.
 */
#include <config.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/hex.h"
#include "common/random.h"
#include "common/secret.h"
#include "formats/native/escrow.h"
#include "formats/native/key-slot.h"
#include "formats/native/keys.h"
#include "formats/native/paper-key.h"
#include "formats/native/seal.h"
#include "formats/native/slot-change.h"
#include "tests/support/memory-disk.h"
#include "tests/support/scratch.h"
#include "tests/support/store-memory.h"
#include "tests/support/test-repository.h"

#define TURN 0x5a
#define SECRETS_MAX 16

static struct lm_error err;

static struct {
  const char *what;
  uint8_t turned[32];
} secrets[SECRETS_MAX];
static size_t nr_secrets;

/* Remember the 32 bytes at P, turned round. */
static void
look_for (const char *what, const void *p)
{
  const uint8_t *b = p;
  size_t i;

  cr_assert (nr_secrets < SECRETS_MAX);
  secrets[nr_secrets].what = what;
  for (i = 0; i < 32; i++)
    secrets[nr_secrets].turned[i] = b[i] ^ TURN;
  nr_secrets++;
}

/* How often the secret occurs in LEN bytes. */
static unsigned
count_in (const uint8_t *data, size_t len, const uint8_t turned[32])
{
  const uint8_t *p = data, *end = data + len;
  unsigned n = 0;
  size_t i;

  while (end - p >= 32 &&
         (p = memchr (p, turned[0] ^ TURN, end - p - 31)) != NULL) {
    for (i = 1; i < 32 && p[i] == (uint8_t) (turned[i] ^ TURN); i++)
      ;
    n += i == 32;
    p++;
  }
  return n;
}

/* Search all writable mappings for secret NR.  The buffer that they are
 * read into is wiped each time, and is a mapping of its own. */
static unsigned
occurrences (size_t nr)
{
  const size_t size = 1 << 20;
  FILE *maps = fopen ("/proc/self/maps", "r");
  int mem = open ("/proc/self/mem", O_RDONLY);
  uint8_t *buf = lm_secret_alloc (size);
  unsigned long long from, to;
  char line[512], mode[8];
  unsigned n = 0;

  cr_assert (maps && mem != -1 && buf);
  while (fgets (line, sizeof line, maps)) {
    if (sscanf (line, "%llx-%llx %7s", &from, &to, mode) != 3 ||
        mode[0] != 'r' || mode[1] != 'w' ||
        (from <= (uintptr_t) buf && (uintptr_t) buf < to))
      continue;
    while (from < to) {
      size_t want = to - from < size ? to - from : size;
      ssize_t got = pread (mem, buf, want, from);

      if (got <= 0)
        break;
      if (count_in (buf, got, secrets[nr].turned) > 0) {
        n++;
        fprintf (stderr, "%s: %s", secrets[nr].what, line);
      }
      explicit_bzero (buf, size);
      from += (size_t) got > 32 && from + got < to ? got - 31 : got;
    }
  }
  lm_secret_free (buf, size);
  close (mem);
  fclose (maps);
  return n;
}

static void
expect_gone (void)
{
  size_t i;

  for (i = 0; i < nr_secrets; i++)
    cr_expect (eq (u32, occurrences (i), 0), "%s is still in memory",
               secrets[i].what);
}

/* A passphrase that nobody else has: hex of random bytes. */
static char *
random_passphrase (void)
{
  uint8_t random[32];
  char *text = malloc (65);

  cr_assert_not_null (text);
  lm_random_bytes (random, 32);
  lm_hex_encode (random, 32, text);
  return text;
}

Test (secrets, the_search_finds_what_is_there)
{
  uint8_t *p = malloc (32);

  cr_assert_not_null (p);
  memset (p, 0x77, 32);
  p[0] = 0x11;
  look_for ("a test", p);
  cr_expect (lt (u32, 0, occurrences (0)));
  explicit_bzero (p, 32);
  expect_gone ();
  free (p);
}

static struct lm_repository *
open_with (struct lm_store *store, const struct lm_credentials *c)
{
  char *cache = lm_scratch_path ("cache"), *state = lm_scratch_path ("s");
  struct lm_open_options options = {
    .cache_dir = cache, .state_dir = state,
  };
  struct lm_repository *repo = lm_repository_open (store, c, &options, &err);

  cr_assert_not_null (repo, "%s", err.message);
  cr_assert (eq (int, lm_repository_load (repo, &err), 0), "%s",
             err.message);
  free (cache);
  free (state);
  return repo;
}

/* The keys of one chunk and of one object are derived from these. */
static void
look_for_keys (const struct lm_keys *keys)
{
  look_for ("the master key", keys->master);
  look_for ("the chunk id key", keys->chunk_id);
  look_for ("the node id key", keys->node_id);
  look_for ("the chunk seal key", keys->chunk_prk);
  look_for ("the object seal key", keys->object_prk);
}

static void
back_up_and_read (struct lm_repository *repo)
{
  struct memory_disk *source = memory_disk_new (NULL, 64 << 10, 4096);
  struct lm_disk *disk = &source->disk;
  struct lm_backup_result result;
  uint8_t buf[4096];

  cr_assert (eq (int, test_backup (repo, disk, &result, &err), 0), "%s",
             err.message);
  lm_disk_close (disk);
  cr_assert (eq (int, lm_repository_load (repo, &err), 0));
  disk = test_snapshot_disk (repo, "vm", &err);
  cr_assert_not_null (disk, "%s", err.message);
  cr_assert (eq (int, lm_disk_pread (disk, buf, sizeof buf, 0, &err), 0));
  lm_disk_close (disk);
}

Test (secrets, nothing_is_left_after_a_repository_is_closed)
{
  struct lm_store *store = lm_store_memory_new ();
  struct lm_credentials c = LM_CREDENTIALS_INIT;
  struct lm_init_options options = {
    .chunk_size = 4096, .encrypted = true, .credentials = &c,
  };
  struct lm_repository *repo;

  c.passphrase = random_passphrase ();
  look_for ("the passphrase", c.passphrase);
  cr_assert (eq (int, lm_repository_init (store, &options, &err), 0), "%s",
             err.message);
  repo = open_with (store, &c);
  lm_credentials_release (&c);
  look_for_keys (lm_repository_keys (repo));
  back_up_and_read (repo);
  cr_expect (lt (u32, 0, occurrences (1)), "the search finds nothing");
  lm_repository_close (repo);
  expect_gone ();
}

Test (secrets, nothing_is_left_of_new_slots_and_paper)
{
  struct lm_store *store = lm_store_memory_new ();
  struct lm_credentials c = LM_CREDENTIALS_INIT, more = LM_CREDENTIALS_INIT;
  struct lm_init_options options = {
    .chunk_size = 4096, .encrypted = true, .credentials = &c,
  };
  struct lm_paper_key *paper = calloc (1, sizeof *paper);
  char *text = malloc (LM_PAPER_TEXT_MAX);
  struct lm_repository *repo;
  struct lm_key_slot slot;
  uint8_t random[32];

  cr_assert (paper && text);
  test_repository_credentials (&c);
  cr_assert (eq (int, lm_repository_init (store, &options, &err), 0));
  repo = open_with (store, &c);
  lm_credentials_release (&c);
  look_for_keys (lm_repository_keys (repo));

  more.passphrase = random_passphrase ();
  look_for ("the new passphrase", more.passphrase);
  cr_assert (eq (int, lm_slot_add (repo, &more, LM_SLOT_PASSPHRASE, "",
                                   "key add", &slot, &err), 0), "%s",
             err.message);
  lm_random_bytes (random, 32);
  more.escrow_key = malloc (32);
  more.escrow_recipient = malloc (32);
  cr_assert (more.escrow_key && more.escrow_recipient);
  memcpy (more.escrow_key, random, 32);
  explicit_bzero (random, 32);
  look_for ("the escrow key", more.escrow_key);
  cr_assert (eq (int, lm_escrow_public_of (more.escrow_key,
                                           more.escrow_recipient, &err),
                 0));
  cr_assert (eq (int, lm_slot_add (repo, &more, LM_SLOT_ESCROW, "",
                                   "key add", &slot, &err), 0));
  cr_assert (eq (int, lm_key_slot_unwrap (&slot, &more, paper->secret,
                                          &err), 0));
  lm_credentials_release (&more);

  paper->kind = LM_PAPER_MASTER_KEY;
  paper->len = 32;
  lm_paper_key_format (paper, text);
  explicit_bzero (paper, sizeof *paper);
  cr_assert (eq (int, lm_paper_key_parse (text, strlen (text), paper, &err),
                 0));
  /* 32 bytes of the lines 4 and 5, as they stand. */
  look_for ("a line of the paper key", text + 3 * LM_PAPER_LINE_LEN);
  explicit_bzero (paper, sizeof *paper);
  explicit_bzero (text, LM_PAPER_TEXT_MAX);
  lm_repository_close (repo);
  expect_gone ();
  free (paper);
  free (text);
}

/* Does a child that is aborted leave a core?  -1: can't tell. */
static int
dumps_core (bool hardened)
{
  const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
  int status;
  pid_t pid = fork ();

  cr_assert (pid != -1);
  if (pid == 0) {
    if (chdir (lm_scratch_dir ()) == -1 || setrlimit (RLIMIT_CORE, &all))
      _exit (0);
    if (hardened)
      lm_secret_harden_process ();
    signal (SIGABRT, SIG_DFL);
    abort ();
  }
  cr_assert (eq (int, waitpid (pid, &status, 0), pid));
  return WIFSIGNALED (status) ? WCOREDUMP (status) != 0 : -1;
}

Test (secrets, a_hardened_process_dumps_no_core)
{
  if (dumps_core (false) != 1)
    cr_skip_test ("this machine makes no core dumps");
  cr_expect (eq (int, dumps_core (true), 0));
}
