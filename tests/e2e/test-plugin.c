/* SPDX-License-Identifier: Apache-2.0
 * The plugin in a real nbdkit, both in the foreground and as a daemon:
 * every NBD command at every alignment, durability, several connections,
 * and what goes wrong.
 */
#include <config.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/memory-disk.h"
#include "tests/support/plugin-rig.h"
#include "tests/support/scratch.h"

#define SIZE PLUGIN_DISK0_SIZE
#define REQUEST_MAX (32u << 20)

static struct plugin_server server;
static struct nbd_handle *nbd;
static uint8_t *model, *got;

static char *
overlay_parameter (void)
{
  return lm_scratch_path ("overlay");
}

static char *
parameter (const char *key, char *value)
{
  char *p = NULL;

  cr_assert (lt (int, 0, asprintf (&p, "%s=%s", key, value)));
  free (value);
  return p;
}

static void
start_writable (bool daemon)
{
  char *overlay = parameter ("overlay", overlay_parameter ());

  plugin_start (&server, daemon, "snapshot=web01", overlay, NULL);
  free (overlay);
}

static void
begin (bool encrypted, bool daemon)
{
  plugin_rig_make (encrypted);
  model = plugin_disk0_content ();
  got = malloc (SIZE);
  start_writable (daemon);
  nbd = plugin_connect (&server, "disk0");
}

static void
finish (void)
{
  if (nbd)
    plugin_disconnect (nbd);
  plugin_end (&server, SIGTERM);
  free (model);
  free (got);
}

static void
check (uint64_t offset, uint64_t len)
{
  while (len > 0) {
    uint64_t n = len < REQUEST_MAX ? len : REQUEST_MAX;

    cr_assert (eq (int, nbd_pread (nbd, got, n, offset, 0), 0), "%s",
               nbd_get_error ());
    cr_assert (eq (int, memcmp (got, model + offset, n), 0),
               "%lu bytes at 0x%lx", n, offset);
    offset += n;
    len -= n;
  }
}

struct walk {
  uint64_t offset, end;
};

static int
walk_extents (void *opaque, const char *context, uint64_t offset,
              uint32_t *entries, size_t n, int *error)
{
  struct walk *w = opaque;
  size_t i, k;

  (void) context;
  (void) error;
  cr_assert (eq (u64, offset, w->offset));
  for (i = 0; i + 1 < n; i += 2) {
    if (model && entries[i + 1] & LIBNBD_STATE_ZERO)
      for (k = 0; k < entries[i]; k++)
        cr_assert (eq (int, model[w->offset + k], 0), "0x%lx",
                   w->offset + k);
    w->offset += entries[i];
  }
  return 0;
}

static void
check_extents (uint64_t offset, uint64_t len)
{
  struct walk w = { offset, offset + len };

  while (w.offset < w.end) {
    uint64_t before = w.offset;

    cr_assert (eq (int, nbd_block_status
                   (nbd, w.end - w.offset, w.offset,
                    (nbd_extent_callback) { .callback = walk_extents,
                                            .user_data = &w }, 0), 0),
               "%s", nbd_get_error ());
    cr_assert (lt (u64, before, w.offset));
  }
}

/* Lengths from 1 byte to 32 MiB, around every power of two. */
static uint64_t
some_length (unsigned *seed)
{
  uint64_t n = UINT64_C (1) << rand_r (seed) % 26;

  switch (rand_r (seed) % 4) {
  case 0: n -= 1; break;
  case 1: n += 1; break;
  case 2: n += rand_r (seed) % n; break;
  default: break;
  }
  return n < 1 ? 1 : n > REQUEST_MAX ? REQUEST_MAX : n;
}

static void
random_commands (unsigned seed, unsigned rounds)
{
  uint8_t *buf = malloc (REQUEST_MAX);
  unsigned i;

  for (i = 0; i < rounds; i++) {
    uint64_t n = some_length (&seed), o = rand_r (&seed) % SIZE;
    uint32_t fua = i % 11 == 0 ? LIBNBD_CMD_FLAG_FUA : 0;
    int r = 0;

    if (i % 3 == 0)
      o &= ~UINT64_C (4095);
    if (n > SIZE - o)
      n = SIZE - o;
    switch (rand_r (&seed) % 9) {
    case 0: case 1: case 2:
      memset (buf, i + 1, n);
      r = nbd_pwrite (nbd, buf, n, o, fua);
      if (r == 0)
        memset (model + o, i + 1, n);
      break;
    case 3:
      r = nbd_trim (nbd, n, o, fua);
      if (r == 0)
        memset (model + o, 0, n);
      break;
    case 4:
      r = nbd_zero (nbd, n, o, fua | (i % 2 ? LIBNBD_CMD_FLAG_NO_HOLE
                                      : LIBNBD_CMD_FLAG_FAST_ZERO));
      if (r == 0)
        memset (model + o, 0, n);
      break;
    case 5:
      r = nbd_flush (nbd, 0);
      break;
    case 6:
      r = nbd_cache (nbd, n, o, 0);
      break;
    case 7:
      check_extents (o, n);
      break;
    case 8:
      check (o, n);
      break;
    }
    cr_assert (eq (int, r, 0), "%s", nbd_get_error ());
  }
  check (0, SIZE);
  check_extents (0, SIZE);
  free (buf);
}

Test (plugin, all_commands_at_all_alignments_in_the_foreground,
      .fini = finish)
{
  begin (true, false);
  random_commands (1, 400);
}

Test (plugin, all_commands_at_all_alignments_as_a_daemon, .fini = finish)
{
  begin (true, true);
  random_commands (2, 400);
}

Test (plugin, all_commands_in_an_unencrypted_repository, .fini = finish)
{
  begin (false, true);
  random_commands (3, 200);
}

Test (plugin, says_what_it_can, .fini = finish)
{
  begin (true, false);
  cr_expect (eq (i64, nbd_get_size (nbd), SIZE));
  cr_expect (eq (int, nbd_is_read_only (nbd), 0));
  cr_expect (eq (int, nbd_can_flush (nbd), 1));
  cr_expect (eq (int, nbd_can_fua (nbd), 1));
  cr_expect (eq (int, nbd_can_trim (nbd), 1));
  cr_expect (eq (int, nbd_can_zero (nbd), 1));
  cr_expect (eq (int, nbd_can_fast_zero (nbd), 1));
  cr_expect (eq (int, nbd_can_cache (nbd), 1));
  cr_expect (eq (int, nbd_can_multi_conn (nbd), 1));
  cr_expect (eq (int, nbd_is_rotational (nbd), 0));
  cr_expect (eq (i64, nbd_get_block_size (nbd, LIBNBD_SIZE_MINIMUM), 1));
  cr_expect (eq (i64, nbd_get_block_size (nbd, LIBNBD_SIZE_PREFERRED),
                 4096));
  cr_expect (eq (i64, nbd_get_block_size (nbd, LIBNBD_SIZE_MAXIMUM),
                 REQUEST_MAX));
  /* Truthful: what must stay allocated is not fast. */
  cr_expect (eq (int, nbd_zero (nbd, 4096, 0, LIBNBD_CMD_FLAG_NO_HOLE |
                                LIBNBD_CMD_FLAG_FAST_ZERO), -1));
  cr_expect (eq (int, nbd_get_errno (), ENOTSUP));
  check (0, 4096);
}

Test (plugin, is_read_only_without_an_overlay)
{
  plugin_rig_make (true);
  model = plugin_disk0_content ();
  got = malloc (SIZE);
  plugin_start (&server, true, NULL);
  nbd = plugin_connect (&server, "web01/latest/disk0");
  cr_expect (eq (int, nbd_is_read_only (nbd), 1));
  cr_expect (eq (int, nbd_can_trim (nbd), 0));
  cr_expect (eq (i64, nbd_get_block_size (nbd, LIBNBD_SIZE_PREFERRED),
                 65536));
  check (0, SIZE);
  check_extents (0, SIZE);
  finish ();
}

Test (plugin, a_reader_sees_what_the_overlay_has)
{
  struct plugin_server other;
  char *overlay;

  begin (true, false);
  memset (model, 0x42, 4096);
  cr_assert (eq (int, nbd_pwrite (nbd, model, 4096, 0,
                                  LIBNBD_CMD_FLAG_FUA), 0));
  plugin_disconnect (nbd);
  plugin_end (&server, SIGTERM);
  overlay = parameter ("overlay", overlay_parameter ());
  /* The overlay knows its snapshot. */
  plugin_start (&other, false, "-r", overlay, NULL);
  free (overlay);
  server = other;
  nbd = plugin_connect (&server, "disk0");
  cr_expect (eq (int, nbd_is_read_only (nbd), 1));
  check (0, SIZE);
  finish ();
}

/* Durability. */
Test (plugin, what_was_answered_survives_kill_9)
{
  unsigned round;

  begin (true, true);
  for (round = 0; round < 3; round++) {
    uint8_t *buf = malloc (1 << 20);

    memset (buf, round + 1, 1 << 20);
    cr_assert (eq (int, nbd_pwrite (nbd, buf, 1 << 20, round << 20, 0), 0));
    memcpy (model + (round << 20), buf, 1 << 20);
    cr_assert (eq (int, nbd_pwrite (nbd, buf, 777, 30 << 20,
                                    LIBNBD_CMD_FLAG_FUA), 0));
    memcpy (model + (30 << 20), buf, 777);
    cr_assert (eq (int, nbd_trim (nbd, 300000, round << 20, 0), 0));
    memset (model + (round << 20), 0, 300000);
    cr_assert (eq (int, nbd_zero (nbd, 100000, 5 << 20, 0), 0));
    memset (model + (5 << 20), 0, 100000);
    free (buf);
    if (round == 2)
      cr_assert (eq (int, nbd_flush (nbd, 0), 0));
    plugin_end (&server, SIGKILL);
    nbd_close (nbd);
    start_writable (round % 2);
    nbd = plugin_connect (&server, "disk0");
    check (0, SIZE);
    check_extents (0, SIZE);
  }
  finish ();
}

/* Exports. */
/* CVE-2025-47711, as Debian 12's nbdkit has it. */
static void
ask_status (struct nbd_handle *n, uint64_t offset, uint64_t len,
            uint32_t flags)
{
  struct walk w = { offset, offset + len };
  nbd_extent_callback cb = { .callback = walk_extents, .user_data = &w };

  cr_assert (eq (int, nbd_block_status (n, len, offset, cb, flags), 0),
             "%s", nbd_get_error ());
  cr_expect (lt (u64, offset, w.offset));
}

Test (plugin, block_status_of_4294967295_bytes_does_not_end_it)
{
  static const char *const names[] = {
    "web01/latest/disk0", "web01/latest/disk1", "big", "tiny", "empty",
  };
  const uint64_t most = UINT64_C (4294967295);
  size_t i;

  plugin_rig_make (true);
  plugin_rig_backup ("big", UINT64_C (9) << 30, 0);
  plugin_rig_backup ("tiny", 1, 7);
  plugin_rig_backup ("empty", 0, 0);
  plugin_start (&server, true, NULL);
  model = NULL;
  for (i = 0; i < sizeof names / sizeof names[0]; i++) {
    struct nbd_handle *n = plugin_connect (&server, names[i]);
    uint64_t size = nbd_get_size (n), o;

    for (o = 0; o < size; o += UINT64_C (1) << 30) {
      uint64_t len = size - o < most ? size - o : most;

      ask_status (n, o, len, 0);
      ask_status (n, o, len, LIBNBD_CMD_FLAG_REQ_ONE);
    }
    plugin_disconnect (n);
  }
  plugin_end (&server, SIGTERM);
}

Test (plugin, a_snapshot_with_several_disks_wants_one_named)
{
  struct nbd_handle *n;

  plugin_rig_make (true);
  plugin_start (&server, false, "snapshot=web01", NULL);
  cr_expect (eq (ptr, plugin_try_connect (&server, ""), NULL));
  cr_expect (plugin_said (&server, "there is no default export"));
  cr_expect (eq (ptr, plugin_try_connect (&server, "web01"), NULL));
  n = plugin_connect (&server, "disk1");
  cr_expect (eq (i64, nbd_get_size (n), PLUGIN_DISK1_SIZE));
  plugin_disconnect (n);
  plugin_end (&server, SIGTERM);

  plugin_start (&server, false, "snapshot=web01/latest/disk1", NULL);
  n = plugin_connect (&server, "");
  cr_expect (eq (i64, nbd_get_size (n), PLUGIN_DISK1_SIZE));
  plugin_disconnect (n);
  cr_expect (eq (ptr, plugin_try_connect (&server, "disk0"), NULL));
  cr_expect (plugin_said (&server, "only disk disk1 of web01/"));
  plugin_end (&server, SIGTERM);
}

static int
count_export (void *opaque, const char *name, const char *description)
{
  char *all = opaque;

  cr_expect (lt (u64, 10, strlen (description)));
  strncat (all, name, 3000);
  strncat (all, "\n", 2);
  return 0;
}

static void
list (char all[20000])
{
  struct nbd_handle *n = nbd_create ();

  all[0] = '\0';
  nbd_set_opt_mode (n, true);
  cr_assert (eq (int, nbd_connect_unix (n, server.socket), 0));
  cr_assert (ge (int, nbd_opt_list (n, (nbd_list_callback) {
    .callback = count_export, .user_data = all }), 0));
  nbd_opt_abort (n);
  nbd_close (n);
}

Test (plugin, lists_exports_newest_first)
{
  char all[20000], *p;

  plugin_rig_make (true);
  plugin_rig_backup ("db", 4096, 1);
  plugin_start (&server, true, NULL);
  list (all);
  cr_expect (eq (int, strncmp (all, "db/latest/disk0\ndb/20", 20), 0), "%s",
             all);
  p = strstr (all, "web01/latest/disk0\n");
  cr_expect (ne (ptr, p, NULL), "%s", all);
  cr_expect (ne (ptr, strstr (all, "web01/latest/disk1\n"), NULL));
  plugin_end (&server, SIGTERM);
  plugin_start (&server, true, "snapshot=web01", NULL);
  list (all);
  cr_expect (eq (int, strncmp (all, "disk0\nweb01/20", 14), 0), "%s", all);
  cr_expect (eq (ptr, strstr (all, "db/"), NULL), "%s", all);
  plugin_end (&server, SIGTERM);
}

Test (plugin, a_short_name_means_what_it_meant_first)
{
  struct nbd_handle *n;
  uint8_t byte = 0;

  plugin_rig_make (true);
  plugin_rig_backup ("db", 4096, 1);
  plugin_start (&server, true, NULL);
  n = plugin_connect (&server, "db");
  cr_assert (eq (int, nbd_pread (n, &byte, 1, 0, 0), 0));
  cr_expect (eq (int, byte, 1));
  plugin_rig_backup ("db", 4096, 2);
  plugin_rig_backup ("new", 4096, 3);
  cr_assert (eq (int, nbd_pread (n, &byte, 1, 9, 0), 0));
  cr_expect (eq (int, byte, 1));
  plugin_disconnect (n);
  n = plugin_connect (&server, "db");
  cr_assert (eq (int, nbd_pread (n, &byte, 1, 0, 0), 0));
  cr_expect (eq (int, byte, 1));
  plugin_disconnect (n);
  n = plugin_connect (&server, "db/latest");    /* first used now */
  cr_assert (eq (int, nbd_pread (n, &byte, 1, 0, 0), 0));
  cr_expect (eq (int, byte, 2));
  plugin_disconnect (n);
  n = plugin_connect (&server, "new");          /* made since the start */
  cr_assert (eq (int, nbd_pread (n, &byte, 1, 0, 0), 0));
  cr_expect (eq (int, byte, 3));
  plugin_disconnect (n);
  plugin_end (&server, SIGTERM);
}

Test (plugin, hostile_export_names_are_refused)
{
  char longest[4097];
  const char *const names[] = {
    "..", "../../etc/passwd", "web01/../web01", "web01//disk0", "/web01",
    "web01/", "web01/latest/disk0/x", "web01/\n/disk0", "\033[2J", "\xff\xfe",
    "web01/latest/nosuch", "nosuch", "web01/1999", "web01/2", "-", ".", "/",
    "///", "%s%s%n", longest,
  };
  struct nbd_handle *n;
  size_t i;

  memset (longest, 'a', 4096);
  longest[4096] = '\0';
  plugin_rig_make (true);
  plugin_start (&server, true, NULL);
  for (i = 0; i < sizeof names / sizeof names[0]; i++) {
    if (strcmp (names[i], "web01/2") == 0)
      continue;                 /* that is the beginning of a time */
    n = plugin_try_connect (&server, names[i]);
    cr_expect (eq (ptr, n, NULL), "'%s' was opened", names[i]);
  }
  n = plugin_connect (&server, "web01/2/disk0");
  plugin_disconnect (n);
  plugin_end (&server, SIGTERM);
}

/* Several connections. */
Test (plugin, connections_see_each_others_writes, .fini = finish)
{
  struct nbd_handle *other;
  unsigned i;

  begin (true, true);
  other = plugin_connect (&server, "disk0");
  for (i = 0; i < 200; i++) {
    uint64_t o = (uint64_t) i * 70001 % (SIZE - 5000);
    uint8_t buf[5000], back[5000];

    memset (buf, i, sizeof buf);
    cr_assert (eq (int, nbd_pwrite (i % 2 ? nbd : other, buf, sizeof buf, o,
                                    0), 0));
    memcpy (model + o, buf, sizeof buf);
    cr_assert (eq (int, nbd_pread (i % 2 ? other : nbd, back, sizeof back,
                                   o, 0), 0));
    cr_assert (eq (int, memcmp (buf, back, sizeof buf), 0));
  }
  /* A flush on one covers what the other wrote. */
  cr_assert (eq (int, nbd_flush (other, 0), 0));
  plugin_disconnect (other);
  check (0, SIZE);
}

enum { CONNECTIONS = 16 };

static void *
one_connection (void *arg)
{
  uintptr_t me = (uintptr_t) arg;
  struct nbd_handle *n = plugin_try_connect (&server, "disk0");
  uint8_t buf[3000], back[3000];
  unsigned seed = me, i;

  if (n == NULL)
    return (void *) 1;
  for (i = 0; i < 150; i++) {
    /* Parts of shared blocks: connection k has bytes k*3000 on. */
    uint64_t o = (uint64_t) (rand_r (&seed) % 200) * CONNECTIONS * 3000 +
      me * 3000;

    memset (buf, i + me, sizeof buf);
    if (nbd_pwrite (n, buf, sizeof buf, o, 0) == -1 ||
        nbd_pread (n, back, sizeof back, o, 0) == -1 ||
        memcmp (buf, back, sizeof buf) != 0 ||
        (i % 20 == 0 && nbd_flush (n, 0) == -1) ||
        (i % 15 == 0 && nbd_trim (n, sizeof buf, o, 0) == -1))
      return (void *) 1;
    if (i % 15 == 0)
      memset (buf, 0, sizeof buf);
    memcpy (model + o, buf, sizeof buf);
  }
  nbd_shutdown (n, 0);
  nbd_close (n);
  return NULL;
}

Test (plugin, sixteen_connections_at_once, .fini = finish)
{
  pthread_t t[CONNECTIONS];
  uintptr_t i;

  begin (true, true);
  for (i = 0; i < CONNECTIONS; i++)
    pthread_create (&t[i], NULL, one_connection, (void *) i);
  for (i = 0; i < CONNECTIONS; i++) {
    void *r;

    pthread_join (t[i], &r);
    cr_expect (eq (ptr, r, NULL));
  }
  check (0, SIZE);
}

Test (plugin, fio_verifies, .fini = finish)
{
  char *cmd = NULL;

  if (system ("fio --version >/dev/null 2>&1") != 0)
    cr_skip_test ("fio is not installed");
  begin (true, true);
  cr_assert (lt (int, 0, asprintf
                 (&cmd, "cd %s && fio --name=v --ioengine=nbd "
                  "--uri='nbd+unix:///disk0?socket=%s' --rw=randwrite "
                  "--bsrange=512-128k --bs_unaligned=1 --size=39m "
                  "--iodepth=16 --verify=crc32c "
                  "--verify_fatal=1 --fsync=32 --randseed=7 >fio.log 2>&1",
                  lm_scratch_dir (), server.socket)));
  cr_expect (eq (int, system (cmd), 0), "fio found a difference");
  free (cmd);
}

/* What goes wrong. */
Test (plugin, two_proxies_on_one_overlay_are_refused, .fini = finish)
{
  char *overlay = parameter ("overlay", overlay_parameter ());

  begin (true, true);
  plugin_start_fails ("in use by another proxy", false, "snapshot=web01",
                      overlay, NULL);
  plugin_start_fails ("in use by another proxy", true, "snapshot=web01",
                      overlay, NULL);
  free (overlay);
  check (0, SIZE);
}

Test (plugin, start_fails_with_one_clear_line)
{
  char *overlay = parameter ("overlay", overlay_parameter ());
  char *nowhere = parameter ("repository", lm_scratch_path ("nowhere"));
  bool daemon;

  begin (true, false);
  finish ();
  plugin_rig_backup ("web01", 4096, 1);
  for (daemon = false;; daemon = true) {
    plugin_start_fails ("there is no snapshot of a VM 'nosuch'", daemon,
                        "snapshot=nosuch", NULL);
    plugin_start_fails ("nosuch", daemon, "snapshot=web01/latest/nosuch",
                        NULL);
    plugin_start_fails ("is not a name for a VM", daemon,
                        "snapshot=../x", NULL);
    plugin_start_fails ("unknown parameter 'colour'", daemon, "colour=red",
                        NULL);
    plugin_start_fails ("cache-size", daemon, "cache-size=lots", NULL);
    plugin_start_fails ("readahead", daemon, "readahead=65", NULL);
    plugin_start_fails ("key-fd", daemon, "key-fd=-1", NULL);
    plugin_start_fails ("key file /nowhere: No such file", daemon,
                        "key-file=/nowhere", NULL);
    plugin_start_fails ("repository: ", daemon, nowhere, NULL);
    plugin_start_fails ("passphrase command: exited with code 3", daemon,
                        "passphrase-command=exit 3", NULL);
    plugin_start_fails ("belongs to snapshot web01/", daemon,
                        "snapshot=web01", overlay, NULL);
    plugin_start_fails ("is new, and no snapshot was named", daemon,
                        "overlay=/nonexistent/overlay", NULL);
    if (daemon)
      break;
  }
  free (nowhere);
  free (overlay);
}

Test (plugin, a_wrong_key_does_not_open)
{
  char *key = lm_scratch_path ("wrong");
  char *param;
  FILE *fp;

  plugin_rig_make (true);
  fp = fopen (key, "w");
  cr_assert (ge (int, fputs ("0123456789012345678901234567890123456789"
                             "0123456789012345678901234\n", fp), 0));
  fclose (fp);
  param = parameter ("key-file", key);
  plugin_start_fails ("key", false, param, NULL);
  free (param);
}

Test (plugin, a_damaged_chunk_is_an_error_for_its_range_only,
      .fini = finish)
{
  char *cmd = NULL;
  uint64_t o;
  unsigned bad = 0, chunks = (SIZE + 65535) / 65536;

  plugin_rig_make (true);
  model = plugin_disk0_content ();
  got = malloc (SIZE);
  /* One byte in the midst of the first pack: a chunk, most likely. */
  cr_assert (lt (int, 0, asprintf
                 (&cmd, "f=$(find %s/packs -type f -size +1M | head -1); "
                  "chmod u+w $f; s=$(stat -c %%s $f); "
                  "printf '\\377\\001\\377' | dd of=$f bs=1 "
                  "seek=$((s / 2)) conv=notrunc status=none",
                  plugin_repository ())));
  cr_assert (eq (int, system (cmd), 0));
  free (cmd);
  plugin_start (&server, true, "snapshot=web01", NULL);
  nbd = plugin_connect (&server, "disk0");
  for (o = 0; o < SIZE; o += 65536) {
    uint64_t n = SIZE - o < 65536 ? SIZE - o : 65536;

    if (nbd_pread (nbd, got, n, o, 0) == -1) {
      cr_expect (eq (int, nbd_get_errno (), EIO));
      bad++;
      /* Each byte of it, and none beside it. */
      cr_expect (eq (int, nbd_pread (nbd, got, 1, o, 0), -1));
      cr_expect (eq (int, nbd_pread (nbd, got, 1, o + n - 1, 0), -1));
      if (o > 0)
        cr_expect (eq (int, nbd_pread (nbd, got, 1, o - 1, 0), 0));
      if (o + n < SIZE)
        cr_expect (eq (int, nbd_pread (nbd, got, 1, o + n, 0), 0));
    }
    else
      cr_assert (eq (int, memcmp (got, model + o, n), 0));
  }
  cr_expect (eq (int, bad, 1), "%u of %u chunks are bad", bad, chunks);
}

Test (plugin, a_full_disk_is_enospc_and_loses_nothing)
{
  char *mnt = lm_scratch_path ("tmpfs"), *overlay = NULL;
  uint8_t buf[100000];
  uint64_t o;

  plugin_rig_make (true);
  cr_assert (eq (int, mkdir (mnt, 0700), 0));
  if (mount ("tmpfs", mnt, "tmpfs", 0, "size=2m") == -1)
    cr_skip_test ("no permission to mount a tmpfs");
  model = plugin_disk0_content ();
  got = malloc (SIZE);
  cr_assert (lt (int, 0, asprintf (&overlay, "overlay=%s/o", mnt)));
  plugin_start (&server, true, "snapshot=web01", overlay, NULL);
  nbd = plugin_connect (&server, "disk0");
  for (o = 0; ; o += sizeof buf) {
    memset (buf, o / sizeof buf + 1, sizeof buf);
    if (nbd_pwrite (nbd, buf, sizeof buf, o, 0) == -1)
      break;
    memcpy (model + o, buf, sizeof buf);
  }
  cr_expect (eq (int, nbd_get_errno (), ENOSPC));
  cr_expect (lt (u64, 1 << 20, o));
  cr_expect (eq (int, nbd_flush (nbd, 0), 0));
  check (0, o);
  check (o + sizeof buf, 4 << 20);
  cr_expect (eq (int, nbd_pwrite (nbd, model, 65536, 0, 0), 0));
  check (0, o);
  finish ();
  cr_expect (eq (int, umount (mnt), 0));
  free (mnt);
  free (overlay);
}

Test (plugin, works_without_cache_and_readahead, .fini = finish)
{
  plugin_rig_make (true);
  model = plugin_disk0_content ();
  got = malloc (SIZE);
  plugin_start (&server, true, "snapshot=web01", "cache-size=0",
                "readahead=0", NULL);
  nbd = plugin_connect (&server, "disk0");
  check (0, SIZE);
  check (12345, 100000);
}

Test (plugin, takes_the_master_key_from_a_descriptor)
{
  plugin_rig_make (true);
  /* An empty one is refused; `livemount mount` shows that a full one is
   * taken. */
  plugin_start_fails ("key", false, "key-fd=0", NULL);
}
