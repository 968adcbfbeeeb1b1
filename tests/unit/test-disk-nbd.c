/* SPDX-License-Identifier: Apache-2.0
 * The NBD client against a server that does not behave, and against real
 * ones.
 */
#include <config.h>

#include "formats/disk-nbd.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/random.h"
#include "tests/support/fake-nbd.h"
#include "tests/support/memory-disk.h"
#include "tests/support/nbdkit.h"
#include "common/banned.h"

#define KIB 1024
#define MIB (1024 * 1024)

/* Longer than a busy machine keeps a thread waiting... */
#define PATIENT_MS 20000
/* ...and what a test waits for a server that will not answer. */
#define HASTY_MS 500

static struct lm_disk *
try_attach (struct fake_nbd *s, unsigned timeout_ms, struct lm_error *err)
{
  struct lm_nbd_client *c;

  c = lm_nbd_client_attach (fake_nbd_start (s), "fake", timeout_ms, err);
  return c ? lm_disk_nbd_wrap (c, false, err) : NULL;
}

static struct lm_disk *
attach (struct fake_nbd *s)
{
  struct lm_error err = LM_ERROR_INIT;
  struct lm_disk *disk = try_attach (s, PATIENT_MS, &err);

  cr_assert (ne (ptr, disk, NULL), "%s", err.message);
  return disk;
}

static void
expect_pattern (struct lm_disk *disk, uint64_t offset, size_t len)
{
  CLEANUP_FREE uint8_t *got = malloc (len), *want = malloc (len);
  struct lm_error err = LM_ERROR_INIT;

  cr_assert (zero (int, lm_disk_pread (disk, got, len, offset, &err)), "%s",
             err.message);
  memory_disk_pattern (want, len, offset);
  cr_expect (zero (int, memcmp (got, want, len)), "%zu bytes at %ju", len,
             (uintmax_t) offset);
}

Test (disk_nbd, obeys_the_servers_block_sizes)
{
  struct fake_nbd s = {
    .size = 4 * MIB, .min_block = 4096, .preferred_block = 8192,
    .max_block = 64 * KIB,
  };
  struct lm_disk *disk = attach (&s);

  cr_expect (eq (u32, disk->preferred_block, 8192));
  expect_pattern (disk, 0, 4 * MIB);
  expect_pattern (disk, 1, 1);
  expect_pattern (disk, 4095, 2);
  expect_pattern (disk, 4 * MIB - 1, 1);
  expect_pattern (disk, 12345, 2 * MIB + 7);
  expect_pattern (disk, 511, 3 * MIB);
  lm_disk_close (disk);
  fake_nbd_wait (&s);
  cr_expect (eq (u32, s.longest, 64 * KIB));
  cr_expect (not (s.misaligned));
}

Test (disk_nbd, never_asks_for_more_than_32_mib)
{
  struct fake_nbd s = { .size = 40 * MIB };
  struct lm_disk *disk = attach (&s);

  expect_pattern (disk, 3, 40 * MIB - 3);
  lm_disk_close (disk);
  fake_nbd_wait (&s);
  cr_expect (eq (u32, s.longest, 32 * MIB));
}

Test (disk_nbd, refuses_senseless_block_sizes)
{
  static const uint32_t rows[][3] = {
    { 3, 4096, 65536 }, { 131072, 131072, 1 << 20 }, { 4096, 4096, 512 },
  };

  for (size_t i = 0; i < 3; i++) {
    struct fake_nbd s = {
      .size = MIB, .min_block = rows[i][0], .preferred_block = rows[i][1],
      .max_block = rows[i][2],
    };
    struct lm_error err = LM_ERROR_INIT;

    /* libnbd may have taken such values for none at all. */
    struct lm_disk *disk = try_attach (&s, PATIENT_MS, &err);

    if (disk)
      expect_pattern (disk, 1, 100);
    else
      cr_expect (ne (str, err.message, (char *) ""), "row %zu", i);
    lm_disk_close (disk);
    fake_nbd_wait (&s);
  }
}

/* Extents. */

static char text[400];

static int
print_extent (void *opaque, uint64_t offset, uint64_t len,
              enum lm_extent_type type, struct lm_error *err)
{
  uint64_t *pos = opaque;
  size_t n = strlen (text);

  (void) err;
  cr_expect (eq (u64, offset, *pos));
  cr_expect (ne (u64, len, 0));
  *pos = offset + len;
  snprintf (text + n, sizeof text - n, "%s%ju ",
            type == LM_EXTENT_ZERO ? "z" : "d", (uintmax_t) len);
  return 0;
}

static const char *
extents_text (struct fake_nbd *s, uint64_t offset, uint64_t len)
{
  struct lm_error err = LM_ERROR_INIT;
  struct lm_disk *disk = attach (s);
  uint64_t pos = offset;

  text[0] = '\0';
  cr_expect (zero (int, lm_disk_extents (disk, offset, len, print_extent,
                                         &pos, &err)), "%s", err.message);
  cr_expect (eq (u64, pos, offset + len), "%s", text);
  lm_disk_close (disk);
  fake_nbd_wait (s);
  return text;
}

static size_t
honest (uint64_t offset, uint32_t len, uint32_t *pairs)
{
  /* 64 KiB each: data, hole that reads as zero, hole that does not. */
  static const uint32_t flags[] = { 0, 3, 1 };
  size_t n = 0;

  while (len > 0 && n < 8) {
    uint32_t here = 65536 - offset % 65536;

    if (here > len)
      here = len;
    pairs[2 * n] = here;
    pairs[2 * n++ + 1] = flags[offset / 65536 % 3];
    offset += here;
    len -= here;
  }
  return n;
}

Test (disk_nbd, only_what_reads_as_zero_is_zero)
{
  struct fake_nbd s = { .size = 384 * KIB, .block_status = honest };

  cr_expect (eq (str, (char *) extents_text (&s, 0, 384 * KIB), (char *)
                 "d65536 z65536 d131072 z65536 d65536 "));
  cr_expect (eq (str, (char *) extents_text (&s, 65535, 65538),
                 (char *) "d1 z65536 d1 "));
  cr_expect (eq (str, (char *) extents_text (&s, 100000, 10),
                 (char *) "z10 "));
}

Test (disk_nbd, short_answers_are_asked_on)
{
  struct fake_nbd s = { .size = 8 * MIB, .block_status = honest };

  extents_text (&s, 0, 8 * MIB);
  cr_expect (eq (u32, s.requests, 8 * MIB / 65536 / 8 + 1));
}

static size_t
empty_extent (uint64_t offset, uint32_t len, uint32_t *pairs)
{
  (void) offset;
  (void) len;
  memcpy (pairs, (uint32_t[]) { 4096, 3, 0, 3, 4096, 3 }, 24);
  return 3;
}

static size_t
beyond_the_end (uint64_t offset, uint32_t len, uint32_t *pairs)
{
  (void) offset;
  (void) len;
  memcpy (pairs, (uint32_t[]) { 512, 3, UINT32_MAX, 0, UINT32_MAX, 3 }, 24);
  return 3;
}

static size_t
tiny_steps (uint64_t offset, uint32_t len, uint32_t *pairs)
{
  (void) offset;
  (void) len;
  memcpy (pairs, (uint32_t[]) { 1, 3 }, 8);
  return 1;
}

static size_t
nothing (uint64_t offset, uint32_t len, uint32_t *pairs)
{
  (void) offset;
  (void) len;
  (void) pairs;
  return 0;
}

Test (disk_nbd, senseless_extents_become_data)
{
  static const struct {
    size_t (*block_status) (uint64_t, uint32_t, uint32_t *);
    bool fails;
    const char *text;
    unsigned max_requests;
  } rows[] = {
    { NULL, false, "d1048576 ", 1 },
    { honest, true, "d1048576 ", 2 },
    { nothing, false, "d1048576 ", 2 },
    { empty_extent, false, NULL, 300 },
    { beyond_the_end, false, "z512 d1048064 ", 2 },
    { tiny_steps, false, "z17 d1048559 ", 20 },
  };

  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct fake_nbd s = {
      .size = MIB, .block_status = rows[i].block_status,
      .status_fails = rows[i].fails,
    };
    const char *got = extents_text (&s, 0, MIB);

    if (rows[i].text)
      cr_expect (eq (str, (char *) got, (char *) rows[i].text), "row %zu", i);
    cr_expect (le (u32, s.requests, rows[i].max_requests), "row %zu", i);
  }
}

/* Many at once, errors, and servers that go away. */

struct reader {
  struct lm_disk *disk;
  unsigned number;
  unsigned failed, wrong;
  struct lm_error err;
};

static void *
read_some (void *arg)
{
  struct reader *r = arg;
  uint8_t got[4096], want[4096];

  for (unsigned i = 0; i < 100; i++) {
    uint64_t offset = ((r->number * 100 + i) * 7919u) % (MIB - 4096);

    if (lm_disk_pread (r->disk, got, 4096, offset, &r->err) == -1) {
      r->failed++;
      continue;
    }
    memory_disk_pattern (want, 4096, offset);
    r->wrong += memcmp (got, want, 4096) != 0;
  }
  return NULL;
}

static void
run_readers (struct lm_disk *disk, struct reader readers[8])
{
  pthread_t threads[8];

  for (unsigned i = 0; i < 8; i++) {
    readers[i] = (struct reader) { .disk = disk, .number = i };
    cr_assert (zero (int, pthread_create (&threads[i], NULL, read_some,
                                          &readers[i])));
  }
  for (unsigned i = 0; i < 8; i++) {
    pthread_join (threads[i], NULL);
    cr_expect (zero (u32, readers[i].wrong));
  }
}

Test (disk_nbd, eight_threads_are_eight_requests_in_flight, .timeout = 120)
{
  /* It answers only when eight have come in: one at a time would hang. */
  struct fake_nbd s = { .size = MIB, .gather = 8 };
  struct lm_disk *disk = attach (&s);
  struct reader readers[8];

  run_readers (disk, readers);
  for (unsigned i = 0; i < 8; i++)
    cr_expect (zero (u32, readers[i].failed), "%s", readers[i].err.message);
  lm_disk_close (disk);
  fake_nbd_wait (&s);
}

Test (disk_nbd, a_long_read_is_in_flight_as_a_whole, .timeout = 120)
{
  struct fake_nbd s = {
    .size = MIB, .gather = 16, .min_block = 1, .preferred_block = 4096,
    .max_block = 64 * KIB,
  };
  struct lm_disk *disk = attach (&s);

  expect_pattern (disk, 0, MIB);
  lm_disk_close (disk);
  fake_nbd_wait (&s);
}

Test (disk_nbd, an_error_is_for_its_range_only)
{
  struct fake_nbd s = {
    .size = MIB, .bad_offset = 70000, .bad_len = 10,
  };
  struct lm_error err = LM_ERROR_INIT;
  struct lm_disk *disk = attach (&s);
  uint8_t buf[4096];

  cr_expect (eq (int, lm_disk_pread (disk, buf, 4096, 70001, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_IO));
  cr_expect (eq (int, err.sys_errno, EIO));
  cr_expect (eq (str, err.message, (char *) "fake: read at 0x11171: the "
                 "server says: Input/output error"));
  expect_pattern (disk, 0, 70000);
  expect_pattern (disk, 70010, 4096);
  lm_disk_close (disk);
  fake_nbd_wait (&s);
}

static void
expect_all_fail_soon (struct fake_nbd *s, unsigned timeout_ms,
                      const char *why)
{
  struct lm_error err = LM_ERROR_INIT;
  struct lm_disk *disk = try_attach (s, timeout_ms, &err);
  uint64_t start = lm_clock_monotonic ();
  struct reader readers[8];
  unsigned failed = 0;

  cr_assert (ne (ptr, disk, NULL), "%s", err.message);
  run_readers (disk, readers);
  for (unsigned i = 0; i < 8; i++) {
    failed += readers[i].failed;
    if (readers[i].failed == 0)
      continue;
    cr_expect (eq (int, readers[i].err.kind, LM_ERR_IO));
    cr_expect (ne (ptr, strstr (readers[i].err.message, why), NULL), "%s",
               readers[i].err.message);
  }
  /* Answers under way may be lost with the line. */
  cr_expect (ge (u32, failed, 8 * 100 - 99));
  cr_expect (lt (u64, lm_clock_monotonic () - start,
                 PATIENT_MS * UINT64_C (1000000)));
  lm_disk_close (disk);
  fake_nbd_wait (s);
}

Test (disk_nbd, a_server_that_dies_fails_all_requests, .timeout = 120)
{
  struct fake_nbd s = { .size = MIB, .close_at = 100 };

  expect_all_fail_soon (&s, PATIENT_MS, "connection lost");
}

Test (disk_nbd, half_an_answer_is_an_error, .timeout = 120)
{
  struct fake_nbd s = { .size = MIB, .torn_at = 100 };

  expect_all_fail_soon (&s, PATIENT_MS, "connection lost");
}

Test (disk_nbd, a_server_that_hangs_is_given_up, .timeout = 120)
{
  struct fake_nbd s = { .size = MIB, .hang_at = 100 };

  expect_all_fail_soon (&s, 2000, "does not answer");
}

Test (disk_nbd, a_handshake_that_hangs_is_given_up, .timeout = 120)
{
  struct fake_nbd s = { .no_handshake = true };
  struct lm_error err = LM_ERROR_INIT;

  cr_expect (eq (ptr, try_attach (&s, HASTY_MS, &err), NULL));
  cr_expect (eq (str, err.message,
                 (char *) "fake: the server does not answer"));
  fake_nbd_wait (&s);
}

Test (disk_nbd, an_impossible_size_is_refused)
{
  struct fake_nbd s = { .size = UINT64_MAX - 511 };
  struct lm_error err = LM_ERROR_INIT;

  cr_expect (eq (ptr, try_attach (&s, PATIENT_MS, &err), NULL));
  cr_expect (eq (int, err.kind, LM_ERR_IO), "%s", err.message);
  fake_nbd_wait (&s);
}

Test (disk_nbd, a_writable_export_is_live)
{
  struct fake_nbd s = { .size = MIB, .writable = true };
  struct fake_nbd t = { .size = MIB };
  struct lm_disk *disk = attach (&s);

  cr_expect (disk->live);
  lm_disk_close (disk);
  fake_nbd_wait (&s);
  disk = attach (&t);
  cr_expect (not (disk->live));
  lm_disk_close (disk);
  fake_nbd_wait (&t);
}

Test (disk_nbd, bad_uris_are_the_users_mistake)
{
  static const struct { const char *uri; int kind; } rows[] = {
    { "/dev/sda", LM_ERR_USAGE }, { "nbd+vsock://1:2/", LM_ERR_USAGE },
    { "nbd+ssh://host/", LM_ERR_USAGE }, { "http://host/", LM_ERR_USAGE },
    { "nbd+unix:///?socket=/nonexistent/socket", LM_ERR_IO },
    { "nbd://127.0.0.1:1/", LM_ERR_IO },
  };

  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct lm_error err = LM_ERROR_INIT;

    cr_expect (eq (ptr, lm_disk_nbd_open (rows[i].uri, NULL, &err), NULL));
    cr_expect (eq (int, err.kind, rows[i].kind), "%s: %s", rows[i].uri,
               err.message);
    cr_expect (ne (ptr, strstr (err.message, rows[i].uri), NULL), "%s",
               err.message);
  }
  cr_expect (lm_nbd_is_uri ("nbd+unix:///?socket=x"));
  cr_expect (lm_nbd_is_uri ("NBDS://host"));
  cr_expect (not (lm_nbd_is_uri ("nbd.img")));
  cr_expect (not (lm_nbd_is_uri ("./nbd://x")));
}

Test (disk_nbd, without_tls_nbds_is_refused, .timeout = 120)
{
  const char *const argv[] = {
    "nbdkit", "-f", "-U", "SOCKET", "--tls=off", "memory", "1M", NULL,
  };
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_FREE char *uri = NULL;
  struct nbd_process p;
  struct lm_disk *disk;

  nbd_process_start (&p, argv);
  disk = lm_disk_nbd_open (p.uri, NULL, &err);
  cr_expect (ne (ptr, disk, NULL), "%s", err.message);
  lm_disk_close (disk);
  cr_assert (lt (int, 0, asprintf (&uri, "nbds%s", p.uri + strlen ("nbd"))));
  cr_expect (eq (ptr, lm_disk_nbd_open (uri, NULL, &err), NULL));
  cr_expect (ne (ptr, strcasestr (err.message, "tls"), NULL), "%s",
             err.message);
  nbd_process_stop (&p);
}
