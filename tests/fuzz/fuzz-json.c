/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON that is stored: `config` and key slots, which nothing
 * authenticates; records, checkpoints, manifests, leases and pins, as
 * they are after authentication; and what a client remembers.
 */
#include <config.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/hex.h"
#include "common/io.h"
#include "common/json.h"
#include "formats/native/client-state.h"
#include "formats/native/journal-state.h"
#include "formats/native/journal.h"
#include "formats/native/key-slot.h"
#include "formats/native/lease.h"
#include "formats/native/object-io.h"
#include "formats/native/pin.h"
#include "formats/native/repo-config.h"
#include "formats/native/seal.h"
#include "formats/native/snapshot-wire.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/scratch.h"
#include "common/banned.h"

#define ID "0123456789abcdef"   /* 16 bytes; the hex is its own */
#define HEX16 "30313233343536373839616263646566"
#define HEX32 HEX16 HEX16

static void
emit_text (fuzz_emit_fn emit, const char *name, const char *text)
{
  emit (name, text, strlen (text));
}

static void
run_config (const uint8_t *data, size_t len)
{
  struct lm_error err = LM_ERROR_INIT;
  struct lm_repo_config config, again;
  CLEANUP_FREE char *back = NULL;
  size_t back_len;

  if (lm_repo_config_decode (data, len, "here", &config, &err) == -1) {
    fuzz_expect_error (&err);
    return;
  }
  fuzz_expect (lm_chunk_size_check (config.chunk_size, &err) == 0);
  fuzz_expect (config.features.n <= LM_FEATURES_MAX);
  if (lm_features_check (&config.features, false, "here", &err) == -1)
    fuzz_expect_error (&err);
  back = lm_repo_config_encode (&config, &back_len, &err);
  fuzz_expect (back != NULL);
  fuzz_expect (lm_repo_config_decode (back, back_len, "again", &again,
                                      &err) == 0);
  fuzz_expect (again.chunk_size == config.chunk_size);
  fuzz_expect (again.created == config.created);
  fuzz_expect (again.encrypted == config.encrypted);
}

static void
seed_config (fuzz_emit_fn emit)
{
  emit_text (emit, "encrypted", "{\"format\":\"livemount-repository\","
             "\"version\":1,\"repository\":\"" HEX16 "\","
             "\"created\":\"2026-11-22T06:30:00Z\",\"chunk_size\":65536,"
             "\"encryption\":\"aes-256-gcm\",\"features\":{\"required\":"
             "[\"base-chunks\"],\"write\":[\"w\"],\"optional\":[]}}");
  emit_text (emit, "none", "{\"format\":\"livemount-repository\","
             "\"version\":1,\"repository\":\"" HEX16 "\","
             "\"created\":\"2026-11-22T06:30:00Z\",\"chunk_size\":4096,"
             "\"encryption\":\"none\",\"features\":{\"required\":[],"
             "\"write\":[],\"optional\":[]},\"more\":null}");
}

static void
run_slot (const uint8_t *data, size_t len)
{
  struct lm_error err = LM_ERROR_INIT;
  struct lm_key_slot slot, again;
  CLEANUP_FREE char *back = NULL;
  size_t back_len;

  if (lm_key_slot_decode (data, len, "slot", &slot, &err) == -1) {
    fuzz_expect_error (&err);
    return;
  }
  if (slot.kind == LM_SLOT_UNKNOWN)
    return;
  if (slot.kind == LM_SLOT_PASSPHRASE)
    fuzz_expect (slot.scrypt_r <= LM_SCRYPT_R_MAX &&
                 slot.scrypt_p <= LM_SCRYPT_P_MAX &&
                 slot.scrypt_n <= LM_SCRYPT_N_MAX &&
                 128 * slot.scrypt_n * slot.scrypt_r <=
                 LM_SCRYPT_MEMORY_MAX);
  back = lm_key_slot_encode (&slot, &back_len, &err);
  fuzz_expect (back != NULL);
  fuzz_expect (lm_key_slot_decode (back, back_len, "again", &again,
                                   &err) == 0);
  fuzz_expect (again.kind == slot.kind && again.epoch == slot.epoch);
  fuzz_expect (memcmp (again.wrapped, slot.wrapped,
                       sizeof slot.wrapped) == 0);
}

#define SLOT(kind, kdf) \
  "{\"format\":\"livemount-key-slot\",\"version\":1," \
  "\"id\":\"3031323334353637\",\"repository\":\"" HEX16 "\"," \
  "\"created\":\"2026-11-22T06:30:00Z\",\"label\":\"me\",\"epoch\":0," \
  "\"kind\":\"" kind "\",\"kdf\":" kdf ",\"nonce\":" \
  "\"303132333435363738396162\",\"wrapped\":\"" HEX32 HEX16 "\"}"

static void
seed_slot (fuzz_emit_fn emit)
{
  emit_text (emit, "passphrase",
             SLOT ("passphrase", "{\"name\":\"scrypt\",\"n\":131072,"
                   "\"r\":8,\"p\":1,\"salt\":\"" HEX32 "\"}"));
  emit_text (emit, "key-file",
             SLOT ("key-file", "{\"name\":\"hkdf-sha256\",\"salt\":\""
                   HEX32 "\"}"));
  emit_text (emit, "escrow",
             SLOT ("escrow", "{\"name\":\"x25519-hkdf-sha256\","
                   "\"ephemeral\":\"" HEX32 "\",\"recipient\":\"" HEX32
                   "\"}"));
  emit_text (emit, "later", SLOT ("moon-phase", "7"));
}

/* A store with DATA sealed under NAME, as object ID. */
static struct lm_store *
sealed_store (enum lm_object_type type, const char *name, const void *id,
              size_t id_len, const uint8_t *data, size_t len)
{
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_FREE uint8_t *object = NULL;
  size_t object_len;

  fuzz_expect (lm_seal_object (fuzz_keys (0), type, id, id_len, data, len,
                               &object, &object_len, &err) == 0);
  return fuzz_store (name, object, object_len);
}

/* A state survives its own checkpoint. */
static void
round_trip_state (const struct lm_journal_state *state)
{
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_JSON json_t *v = lm_journal_state_to_json (state, &err);
  CLEANUP_JSON json_t *again = NULL;
  struct lm_journal_state back;

  fuzz_expect (v != NULL);
  fuzz_expect (lm_journal_state_from_json (v, "again", &back, &err) == 0);
  again = lm_journal_state_to_json (&back, &err);
  fuzz_expect (again != NULL && json_equal (v, again));
  lm_journal_state_release (&back);
}

/* The first byte is the record's sequence number. */
static void
run_record (const uint8_t *data, size_t len)
{
  struct lm_error err = LM_ERROR_INIT;
  struct lm_journal_record record;
  struct lm_journal_state state;
  char name[LM_OBJECT_NAME_LEN];
  struct lm_store *store;
  uint64_t sequence;
  lm_le64 id;

  if (len < 1)
    return;
  sequence = data[0] - '0';
  id = lm_put_le64 (sequence);
  lm_object_name_sequence ("journal", sequence, name);
  store = sealed_store (LM_TYPE_JOURNAL, name, &id, sizeof id, data + 1,
                        len - 1);
  if (lm_journal_record_read (store, fuzz_keys (0), sequence, &record,
                              &err) == -1)
    fuzz_expect_error (&err);
  else {
    fuzz_expect (lm_journal_state_init (&state, &err) == 0);
    if (lm_journal_state_validate (&state, record.changes,
                                   record.nr_changes, &err) == -1)
      fuzz_expect_error (&err);
    fuzz_expect (lm_journal_state_apply (&state, sequence, record.changes,
                                         record.nr_changes, &err) == 0);
    /* What was done once has no other effect the second time. */
    fuzz_expect (lm_journal_state_apply (&state, sequence, record.changes,
                                         record.nr_changes, &err) == 0);
    lm_journal_state_settle (&state);
    round_trip_state (&state);
    lm_journal_state_release (&state);
    lm_journal_record_release (&record);
  }
  lm_store_close (store);
}

#define RECORD(sequence, changes) \
  sequence "{\"sequence\":" sequence ",\"previous\":\"" HEX32 "\"," \
  "\"time\":\"2026-11-22T06:30:00Z\",\"writer\":\"w\",\"changes\":[" \
  changes "]}"
#define SNAPSHOT \
  "\"id\":\"" HEX16 "\",\"vm\":\"web01\"," \
  "\"time\":\"2026-11-22T06:30:00Z\",\"manifest\":\"" HEX32 "\""

static void
seed_record (fuzz_emit_fn emit)
{
  emit_text (emit, "init",
             RECORD ("0", "{\"change\":\"init\",\"config\":\"" HEX32 "\"},"
                     "{\"change\":\"slot-add\",\"id\":"
                     "\"3031323334353637\",\"kind\":\"passphrase\","
                     "\"label\":\"\"}"));
  emit_text (emit, "backup",
             RECORD ("1", "{\"change\":\"segment-add\",\"id\":\"" HEX16
                     "\",\"size\":500,\"entries\":3},"
                     "{\"change\":\"snapshot-add\"," SNAPSHOT
                     ",\"parent\":\"" HEX16 "\"}"));
  emit_text (emit, "forget",
             RECORD ("2", "{\"change\":\"snapshot-add\"," SNAPSHOT "},"
                     "{\"change\":\"snapshot-protect\",\"id\":\"" HEX16
                     "\",\"protected\":true},"
                     "{\"change\":\"state\",\"snapshot\":\"" HEX16 "\","
                     "\"kind\":\"boot\",\"object\":\"" HEX16 "\"},"
                     "{\"change\":\"snapshot-forget\",\"id\":\"" HEX16
                     "\"}"));
  emit_text (emit, "gc",
             RECORD ("3", "{\"change\":\"pack-condemn\",\"ids\":[\"" HEX16
                     "\"]},{\"change\":\"pack-spare\",\"ids\":[]},"
                     "{\"change\":\"pack-delete\",\"ids\":[\"" HEX16
                     "\"]},{\"change\":\"lease-revoke\",\"id\":\"" HEX16
                     "\"}"));
  emit_text (emit, "rest",
             RECORD ("4", "{\"change\":\"chunk-lost\",\"type\":1,\"ids\":"
                     "[\"" HEX32 "\"]},{\"change\":\"feature-add\","
                     "\"class\":\"optional\",\"name\":\"x-1\"},"
                     "{\"change\":\"moon\",\"optional\":true}"));
}

static void
run_checkpoint (const uint8_t *data, size_t len)
{
  struct lm_error err = LM_ERROR_INIT;
  struct lm_journal_state state;
  CLEANUP_JSON json_t *v = lm_json_parse (data, len, "checkpoint", &err);

  if (v == NULL ||
      lm_journal_state_from_json (v, "checkpoint", &state, &err) == -1) {
    fuzz_expect_error (&err);
    return;
  }
  round_trip_state (&state);
  lm_journal_state_release (&state);
}

static void
seed_checkpoint (fuzz_emit_fn emit)
{
  emit_text (emit, "all",
             "{\"sequence\":32,\"record\":\"" HEX32 "\",\"config\":\"" HEX32
             "\",\"snapshots\":[{" SNAPSHOT ",\"sequence\":7,"
             "\"protected\":true}],\"vms\":{\"web01\":"
             "\"2026-11-22T06:30:00Z\"},\"segments\":[{\"id\":\"" HEX16
             "\",\"size\":500,\"entries\":3}],\"condemned\":[{\"sequence\":"
             "9,\"ids\":[\"" HEX16 "\"]}],\"revoked\":[\"" HEX16 "\"],"
             "\"features\":[{\"class\":\"optional\",\"name\":\"x\"}],"
             "\"lost\":[{\"type\":1,\"id\":\"" HEX32 "\"}],\"epoch\":0,"
             "\"states\":[{\"snapshot\":\"" HEX16 "\",\"kind\":\"boot\","
             "\"object\":\"" HEX16 "\"}]}");
}

static void
run_manifest (const uint8_t *data, size_t len)
{
  struct lm_error err = LM_ERROR_INIT;
  CLEANUP_JSON json_t *v = lm_json_parse (data, len, "manifest", &err);
  CLEANUP_JSON json_t *again = NULL;
  struct lm_snapshot *s = NULL, *back;

  if (v)
    s = lm_snapshot_decode (v, (const uint8_t *) ID, "manifest", &err);
  if (s == NULL) {
    fuzz_expect_error (&err);
    return;
  }
  again = lm_snapshot_encode (s, &err);
  fuzz_expect (again != NULL);
  back = lm_snapshot_decode (again, (const uint8_t *) ID, "again", &err);
  fuzz_expect (back != NULL && back->nr_disks == s->nr_disks);
  lm_snapshot_free (back);
  lm_snapshot_free (s);
}

static void
seed_manifest (fuzz_emit_fn emit)
{
  emit_text (emit, "full",
             "{\"version\":1,\"vm\":\"web01\","
             "\"time\":\"2026-11-22T06:30:00Z\",\"parent\":\"" HEX16 "\","
             "\"created_by\":\"livemount 0.1.0\",\"host\":\"h\","
             "\"consistency\":\"crash-consistent\",\"tags\":[\"t\"],"
             "\"machine\":{\"config\":\"libvirt-xml\"},\"disks\":[{"
             "\"name\":\"disk0\",\"size\":6442450944,\"sector_size\":512,"
             "\"root\":\"" HEX32 "\",\"source\":\"s\",\"unreadable\":"
             "[[512,512],[4096,512]]}],\"files\":[{\"kind\":\"config\","
             "\"name\":\"web01.xml\",\"size\":5120,\"mode\":420,\"root\":\""
             HEX32 "\"}],\"statistics\":{\"read\":1,\"new\":2,"
             "\"deduplicated\":3,\"zero\":4,\"stored\":5,\"seconds\":1.5}}");
  emit_text (emit, "bare",
             "{\"version\":1,\"vm\":\"v\",\"time\":\"2026-11-22T06:30:00Z\","
             "\"parent\":null,\"created_by\":\"\",\"host\":\"\","
             "\"consistency\":\"consistent\",\"tags\":[],\"machine\":{"
             "\"config\":null},\"disks\":[{\"name\":\"d\",\"size\":0,"
             "\"sector_size\":4096,\"root\":null,\"source\":\"\","
             "\"unreadable\":[]}],\"files\":[],\"statistics\":{\"read\":0,"
             "\"new\":0,\"deduplicated\":0,\"zero\":0,\"stored\":0,"
             "\"seconds\":0}}");
}

static void
run_lease (const uint8_t *data, size_t len)
{
  struct lm_error err = LM_ERROR_INIT;
  struct lm_lease_info *info = calloc (1, sizeof *info);
  struct lm_store *store = sealed_store (LM_TYPE_LEASE, "leases/" HEX16, ID,
                                         LM_NAME_ID_LEN, data, len);

  fuzz_expect (info != NULL);
  if (lm_lease_read (store, fuzz_keys (0), (const uint8_t *) ID, info,
                     &err) == -1) {
    fuzz_expect_error (&err);
    free (info);
  }
  else
    lm_lease_infos_free (info, 1);
  lm_store_close (store);
}

static void
seed_lease (fuzz_emit_fn emit)
{
  emit_text (emit, "backup",
             "{\"id\":\"" HEX16 "\",\"kind\":\"backup\",\"counter\":7,"
             "\"seconds\":300,\"host\":\"h\",\"user\":\"u\",\"pid\":4711,"
             "\"program\":\"livemount 0.1.0\","
             "\"started\":\"2026-11-22T06:30:00Z\"}");
}

static void
run_pin (const uint8_t *data, size_t len)
{
  struct lm_error err = LM_ERROR_INIT;
  struct lm_pin_info *info = calloc (1, sizeof *info);
  struct lm_store *store = sealed_store (LM_TYPE_PIN, "pins/" HEX16, ID,
                                         LM_NAME_ID_LEN, data, len);

  fuzz_expect (info != NULL);
  if (lm_pin_read (store, fuzz_keys (0), (const uint8_t *) ID, info,
                   &err) == -1) {
    fuzz_expect_error (&err);
    free (info);
  }
  else
    lm_pin_infos_free (info, 1);
  lm_store_close (store);
}

static void
seed_pin (fuzz_emit_fn emit)
{
  emit_text (emit, "session",
             "{\"id\":\"" HEX16 "\",\"snapshot\":\"" HEX16 "\","
             "\"session\":\"web01-1\",\"host\":\"h\",\"user\":\"u\","
             "\"created\":\"2026-11-22T06:30:00Z\"}");
}

static void
run_client_state (const uint8_t *data, size_t len)
{
  struct lm_error err = LM_ERROR_INIT;
  struct lm_client_state state;
  CLEANUP_FREE char *path = lm_scratch_path (HEX16 ".json");
  CLEANUP_CLOSE int fd = open (path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

  fuzz_expect (fd != -1);
  fuzz_expect (lm_pwrite_full (fd, data, len, 0, path, &err) == 0);
  if (lm_client_state_read (lm_scratch_dir (), (const uint8_t *) ID, &state,
                            &err) == -1)
    fuzz_expect_error (&err);
  else
    fuzz_expect (state.known);
}

static void
seed_client_state (fuzz_emit_fn emit)
{
  emit_text (emit, "seen", "{\"repository\":\"" HEX16 "\",\"sequence\":12,"
             "\"record\":\"" HEX32 "\"}");
}

const struct fuzz_target fuzz_json_targets[] = {
  { "repo-config", run_config, seed_config },
  { "key-slot", run_slot, seed_slot },
  { "record", run_record, seed_record },
  { "checkpoint", run_checkpoint, seed_checkpoint },
  { "manifest", run_manifest, seed_manifest },
  { "lease", run_lease, seed_lease },
  { "pin", run_pin, seed_pin },
  { "client-state", run_client_state, seed_client_state },
  { NULL, NULL, NULL },
};
