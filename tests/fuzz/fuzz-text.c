/* SPDX-License-Identifier: Apache-2.0
 *
 * What people, NBD clients and other programs write: numbers, times,
 * names of snapshots, names of objects, NBD URIs.
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/duration.h"
#include "common/hex.h"
#include "common/size.h"
#include "common/timestamp.h"
#include "formats/native/object-io.h"
#include "formats/native/repository-internal.h"
#include "hypervisor-glue/nbd-uri.h"
#include "tests/fuzz/fuzz.h"
#include "common/banned.h"

#define NUMBER_MAX 1000000

static void
run_number (const uint8_t *data, size_t len)
{
  CLEANUP_FREE char *s = fuzz_string (data, len);
  CLEANUP_FREE uint8_t *bytes = malloc (len / 2 + 1);
  CLEANUP_FREE char *hex = malloc (len + 2);
  struct lm_error err = LM_ERROR_INIT;
  char text[LM_TIMESTAMP_LEN + 1], size[LM_SIZE_LEN];
  uint64_t n;
  int64_t t;

  fuzz_expect (bytes && hex);
  if (lm_size_parse (s, &n, &err) == -1)
    fuzz_expect_error (&err);
  else
    lm_size_format (n, size);
  if (lm_number_parse (s, NUMBER_MAX, &n, &err) == -1)
    fuzz_expect_error (&err);
  else
    fuzz_expect (n <= NUMBER_MAX);
  if (lm_duration_parse (s, &n, &err) == -1)
    fuzz_expect_error (&err);
  else
    fuzz_expect (n >= 3600 && n <= 1000 * UINT64_C (31622400));
  if (lm_timestamp_parse (s, &t) == 0) {
    lm_timestamp_format (t, text);
    fuzz_expect (strcmp (text, s) == 0);
  }
  if (lm_hex_decode (s, bytes, len / 2) == 0) {
    lm_hex_encode (bytes, len / 2, hex);
    fuzz_expect (strcmp (hex, s) == 0);
  }
}

static void
emit_all (fuzz_emit_fn emit, const char *const *texts)
{
  char name[] = "a";

  for (; *texts; texts++, name[0]++)
    emit (name, *texts, strlen (*texts));
}

static void
seed_number (fuzz_emit_fn emit)
{
  static const char *const texts[] = {
    "4096", "1.5GiB", "16383P", "18446744073709551615", "007k", "1.M",
    "2026-11-22T06:30:00Z", "0001-01-01T00:00:00Z", "2028-02-29T23:59:59Z",
    "00ff0a", "1e3", NULL,
  };

  emit_all (emit, texts);
}

/* A repository whose journal has some snapshots; nothing else of it is
 * looked at. */
static struct lm_repository *
repository (void)
{
  static const struct { const char *vm, *time; } all[] = {
    { "web01", "2026-11-22T06:30:00Z" },
    { "web01", "2026-11-23T06:30:00Z" },
    { "db", "2026-11-23T06:30:00Z" },
    { "web01", "2026-12-01T06:30:00Z" },
    { "A_b+c@d.e-f", "1970-01-01T00:00:00Z" },
  };
  static struct lm_repository repo;
  struct lm_error err = LM_ERROR_INIT;
  size_t i;

  if (repo.loaded)
    return &repo;
  fuzz_expect (lm_journal_state_init (&repo.state, &err) == 0);
  for (i = 0; i < sizeof all / sizeof all[0]; i++) {
    struct lm_snapshot_entry e = { .vm = (char *) all[i].vm };
    struct lm_change c = { .type = LM_CHANGE_SNAPSHOT_ADD };

    memset (e.id, 'a' + i, sizeof e.id);
    fuzz_expect (lm_timestamp_parse (all[i].time, &e.time) == 0);
    c.snapshot = e;
    fuzz_expect (lm_journal_state_apply (&repo.state, i, &c, 1,
                                         &err) == 0);
  }
  lm_journal_state_settle (&repo.state);
  repo.loaded = true;
  return &repo;
}

static void
run_resolve (const uint8_t *data, size_t len)
{
  CLEANUP_FREE char *name = fuzz_string (data, len);
  CLEANUP_FREE char *disk = NULL;
  const struct lm_snapshot_entry *e;
  struct lm_error err = LM_ERROR_INIT;

  e = lm_repository_resolve (repository (), name, &disk, &err);
  if (e == NULL) {
    fuzz_expect_error (&err);
    fuzz_expect (disk == NULL);
    return;
  }
  fuzz_expect (strncmp (name, e->vm, strlen (e->vm)) == 0);
  if (disk)
    fuzz_expect (lm_name_check ("disk", disk, &err) == 0);
}

static void
seed_resolve (fuzz_emit_fn emit)
{
  static const char *const texts[] = {
    "web01", "web01/latest/disk0", "web01/2026-11-22/disk0", "web01/2026-1",
    "db/2026-11-23T06:30:00Z", "A_b+c@d.e-f/1", "web01/../x", "nobody",
    "web01//disk0", "web01/latest/disk0/more", NULL,
  };

  emit_all (emit, texts);
}

static void
run_names (const uint8_t *data, size_t len)
{
  CLEANUP_FREE char *name = fuzz_string (data, len);
  struct lm_error err = LM_ERROR_INIT;
  uint8_t id[LM_NAME_ID_LEN];
  char back[LM_OBJECT_NAME_LEN];
  uint64_t sequence;

  if (lm_store_check_name (name, &err) == -1)
    fuzz_expect_error (&err);
  else
    fuzz_expect (strlen (name) <= LM_STORE_NAME_MAX && name[0] != '/' &&
                 strstr (name, "..") != name);
  if (lm_name_check ("VM", name, &err) == -1)
    fuzz_expect_error (&err);
  if (lm_object_name_parse (name, "leases", id, sizeof id)) {
    lm_object_name ("leases", id, sizeof id, back);
    fuzz_expect (strcmp (back, name) == 0);
  }
  if (lm_object_name_parse_sequence (name, "journal", &sequence)) {
    lm_object_name_sequence ("journal", sequence, back);
    fuzz_expect (strcmp (back, name) == 0);
  }
}

static void
seed_names (fuzz_emit_fn emit)
{
  static const char *const texts[] = {
    "config", "leases/30313233343536373839616263646566",
    "journal/00000000000000ff", "packs/ab/cd", "a/../b", "/a", "a//b",
    "web-01.example+x@y_z", NULL,
  };

  emit_all (emit, texts);
}

static void
run_nbd_uri (const uint8_t *data, size_t len)
{
  CLEANUP_FREE char *text = fuzz_string (data, len);
  struct lm_nbd_uri uri = LM_NBD_URI_INIT;
  struct lm_error err = LM_ERROR_INIT;

  if (lm_nbd_uri_parse (text, &uri, &err) == -1) {
    fuzz_expect_error (&err);
    return;
  }
  fuzz_expect ((uri.socket == NULL) != (uri.host == NULL));
  fuzz_expect (uri.export_name != NULL);
  fuzz_expect (strlen (uri.export_name) <= LM_NBD_EXPORT_MAX);
  if (uri.socket)
    fuzz_expect (uri.socket[0] == '/' &&
                 strlen (uri.socket) <= LM_SOCKET_PATH_MAX);
  else
    fuzz_expect (uri.host[0] != '\0' && uri.port != 0);
  lm_nbd_uri_release (&uri);
}

static void
seed_nbd_uri (fuzz_emit_fn emit)
{
  static const char *const texts[] = {
    "nbd://localhost", "nbd://host:10810/web01/latest/disk0",
    "nbd://[::1]:10809/x", "nbd+unix:///web01?socket=/run/x.sock",
    "nbd+unix:///%2e%2f%41?socket=%2ftmp%2fs", "nbds://h/", NULL,
  };

  emit_all (emit, texts);
}

const struct fuzz_target fuzz_text_targets[] = {
  { "number", run_number, seed_number },
  { "resolve", run_resolve, seed_resolve },
  { "names", run_names, seed_names },
  { "nbd-uri", run_nbd_uri, seed_nbd_uri },
  { NULL, NULL, NULL },
};
