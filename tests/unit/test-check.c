/* SPDX-License-Identifier: Apache-2.0
 * What a check says, line by line, of packs that are damaged as a whole.
 */
#include <config.h>

#include "formats/native/check.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/random.h"
#include "common/timestamp.h"
#include "tests/support/memory-disk.h"
#include "tests/support/scratch.h"
#include "tests/support/store-memory.h"
#include "tests/support/test-repository.h"

#define CHUNK 4096
#define CHUNKS 100
#define SIZE (CHUNKS * CHUNK)

/* One pack for each of two snapshots.  The second differs from the first
 * in chunk 40. */
static struct test_repository t;
static struct lm_error err;
static char packs[2][LM_STORE_NAME_MAX + 1];
static char names[2][LM_TIMESTAMP_LEN + 4];     /* of the snapshots */
static uint8_t *saved;
static size_t saved_len;
static struct lm_buffer lines, expected;

static int
note_pack (void *opaque, const char *name, uint64_t size, struct lm_error *e)
{
  unsigned *n = opaque;

  (void) size;
  (void) e;
  if (*n == 1 && strcmp (name, packs[0]) == 0)
    return 0;
  snprintf (packs[*n], sizeof packs[*n], "%s", name);
  return 0;
}

static void
set_up (void)
{
  uint8_t *data = malloc (SIZE);
  const struct lm_snapshot_entry *all;
  struct lm_backup_result result;
  struct lm_repository *repo;
  char time[LM_TIMESTAMP_LEN + 1];
  unsigned i;
  size_t n;

  lm_scratch_in_memory ();
  lm_random_bytes (data, SIZE);
  test_repository_make (&t, true, CHUNK);
  repo = test_repository_open (&t, NULL, &err);
  cr_assert (ne (ptr, repo, NULL), "%s", err.message);
  for (i = 0; i < 2; i++) {
    struct memory_disk *disk = memory_disk_new (data, SIZE, CHUNK);

    cr_assert (eq (int, test_backup (repo, &disk->disk, &result, &err), 0));
    lm_disk_close (&disk->disk);
    cr_assert (eq (int, lm_store_list (t.memory, "packs", note_pack, &i,
                                       &err), 0));
    data[40 * CHUNK] ^= 1;
  }
  all = lm_repository_snapshots (repo, &n);
  cr_assert (eq (sz, n, 2));
  for (i = 0; i < 2; i++) {
    lm_timestamp_format (all[i].time, time);
    snprintf (names[i], sizeof names[i], "vm/%s", time);
  }
  lm_repository_close (repo);
  free (data);
  cr_assert (ne (str, packs[0], packs[1]));
}

static void
tear_down (void)
{
  lm_buffer_release (&lines);
  lm_buffer_release (&expected);
  free (saved);
  test_repository_release (&t);
}

TestSuite (check, .init = set_up, .fini = tear_down, .timeout = 300);

static void
on_damage (void *opaque, const char *object, const struct lm_error *why)
{
  (void) opaque;
  lm_buffer_printf (&lines, &err, "damaged %s: %s\n", object, why->message);
}

static void
on_affected (void *opaque, const char *snapshot, const char *disk,
             uint64_t offset, uint64_t len)
{
  (void) opaque;
  lm_buffer_printf (&lines, &err, "affected %s %s: %" PRIu64 " bytes at 0x%"
                    PRIx64 "\n", snapshot, disk, len, offset);
}

static void __attribute__ ((format (printf, 1, 2)))
expect (const char *fmt, ...)
{
  CLEANUP_FREE char *text = NULL;
  va_list ap;

  va_start (ap, fmt);
  if (vasprintf (&text, fmt, ap) == -1)
    abort ();
  va_end (ap);
  lm_buffer_append (&expected, text, strlen (text), &err);
}

/* The ranges of snapshot NR that a reader does not get. */
static void
expect_affected (unsigned nr)
{
  struct lm_repository *repo = test_repository_open (&t, NULL, &err);
  struct lm_disk *disk = test_snapshot_disk (repo, names[nr], &err);
  uint64_t i, bad = 0;
  uint8_t buf[CHUNK];

  cr_assert (ne (ptr, disk, NULL), "%s", err.message);
  for (i = 0; i <= CHUNKS; i++) {
    if (i < CHUNKS && lm_disk_pread (disk, buf, CHUNK, i * CHUNK, &err) == -1)
      bad++;
    else if (bad > 0) {
      expect ("affected %s disk0: %" PRIu64 " bytes at 0x%" PRIx64 "\n",
              names[nr], bad * CHUNK, (i - bad) * CHUNK);
      bad = 0;
    }
  }
  lm_disk_close (disk);
  lm_repository_close (repo);
  lm_error_clear (&err);
}

static void
check (bool read_data, uint64_t damaged)
{
  struct lm_repository *repo = test_repository_open (&t, NULL, &err);
  const struct lm_check_params params = {
    .read_data = read_data, .threads = 2, .damage = on_damage,
    .affected = on_affected,
  };
  struct lm_check_result result;

  lines.len = 0;
  cr_assert (eq (int, lm_check_run (repo, &params, &result, &err), 0), "%s",
             err.message);
  cr_expect (eq (u64, result.damaged, damaged));
  lm_repository_close (repo);
  lm_buffer_append (&lines, "", 1, &err);
}

static void
expect_lines (bool read_data, uint64_t damaged)
{
  check (read_data, damaged);
  lm_buffer_append (&expected, "", 1, &err);
  cr_expect (eq (str, (char *) lines.data, (char *) expected.data));
  expected.len--;
}

static void
replace (const char *name, const void *bytes, size_t len)
{
  struct iovec iov = { (void *) bytes, len };

  cr_assert (eq (int, t.memory->ops->put (t.memory, name, &iov, 1, &err),
                 0));
}

static void
save (const char *name)
{
  const uint8_t *bytes = lm_store_memory_data (t.memory, name, &saved_len);

  saved = malloc (saved_len);
  memcpy (saved, bytes, saved_len);
}

Test (check, a_pack_that_was_cut_short_is_named_once)
{
  save (packs[0]);
  replace (packs[0], saved, saved_len / 2);
  expect ("damaged %s: %zu bytes, the index says %zu\n", packs[0],
          saved_len / 2, saved_len);
  expect_affected (0);
  expect_affected (1);
  cr_assert (ne (ptr, memmem (expected.data, expected.len, names[1],
                              strlen (names[1])), NULL));
  expect_lines (false, 1);
  expect_lines (true, 1);
}

Test (check, a_lost_pack_is_named_once)
{
  cr_assert (eq (int, lm_store_remove (t.memory, packs[0], &err), 0));
  expect ("damaged %s: memory: %s: no such object\n", packs[0], packs[0]);
  expect ("affected %s disk0: %u bytes at 0x0\n", names[0], SIZE);
  /* What changed meanwhile is stored against what was lost. */
  expect ("affected %s disk0: %u bytes at 0x0\n", names[1], SIZE);
  expect_lines (false, 1);
  expect_lines (true, 1);
}

Test (check, a_damaged_table_of_contents_hurts_no_reader)
{
  size_t len;

  lm_store_memory_data (t.memory, packs[0], &len)[len - 100] ^= 1;
  expect ("damaged %s: %s: does not authenticate (damaged or forged)\n",
          packs[0], packs[0]);
  expect_lines (false, 1);
  expect_lines (true, 1);
}

Test (check, in_such_a_pack_damaged_chunks_are_found_all_the_same)
{
  size_t len;
  uint8_t *pack = lm_store_memory_data (t.memory, packs[0], &len);

  pack[len - 100] ^= 1;
  pack[20 * CHUNK] ^= 1;
  expect ("damaged %s: %s: does not authenticate (damaged or forged)\n",
          packs[0], packs[0]);
  expect_affected (0);
  expect_affected (1);
  expect_lines (true, 1);
  cr_expect (ne (ptr, strstr ((char *) lines.data, "affected"), NULL));
}

Test (check, a_chunk_of_a_good_pack_is_reported_by_itself)
{
  size_t len;
  char *line;

  lm_store_memory_data (t.memory, packs[0], &len)[20 * CHUNK] ^= 1;
  expect_affected (0);
  expect_affected (1);
  lm_buffer_append (&expected, "", 1, &err);
  check (true, 1);
  line = (char *) lines.data;
  cr_expect (eq (int, strncmp (line, "damaged packs/", 14), 0), "%s", line);
  cr_expect (ne (ptr, strstr (line, ": chunk "), NULL), "%s", line);
  cr_expect (eq (str, strchr (line, '\n') + 1, (char *) expected.data));
}
