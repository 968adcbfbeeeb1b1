/* SPDX-License-Identifier: Apache-2.0
 *
 * What people bring to get at their keys: paper keys, escrow keys in PEM,
 * names of slots.  (An exported slot file is a key slot: see fuzz-json.c.)
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "formats/native/escrow.h"
#include "formats/native/key-slot.h"
#include "formats/native/paper-key.h"
#include "formats/native/slot-change.h"
#include "tests/fuzz/fuzz.h"
#include "common/banned.h"

static void
emit_text (fuzz_emit_fn emit, const char *name, const char *text)
{
  emit (name, text, strlen (text));
}

static void
run_paper_key (const uint8_t *data, size_t len)
{
  struct lm_error err = LM_ERROR_INIT;
  struct lm_paper_key paper, again;
  char text[LM_PAPER_TEXT_MAX];

  if (lm_paper_key_parse ((const char *) data, len, &paper, &err) == -1) {
    fuzz_expect_error (&err);
    return;
  }
  fuzz_expect (paper.len <= LM_PAPER_SECRET_MAX);
  lm_paper_key_format (&paper, text);
  fuzz_expect (lm_paper_key_parse (text, strlen (text), &again, &err) == 0);
  fuzz_expect (again.kind == paper.kind && again.len == paper.len &&
               again.epoch == paper.epoch);
  fuzz_expect (memcmp (again.secret, paper.secret, paper.len) == 0);
}

static void
seed_paper_key (fuzz_emit_fn emit)
{
  struct lm_paper_key paper = { .kind = LM_PAPER_MASTER_KEY, .len = 32 };
  char text[LM_PAPER_TEXT_MAX];

  memset (paper.repository, 'R', sizeof paper.repository);
  memset (paper.secret, 's', sizeof paper.secret);
  lm_paper_key_format (&paper, text);
  emit_text (emit, "master", text);
  paper.kind = LM_PAPER_KEY_FILE;
  paper.len = 45;
  lm_paper_key_format (&paper, text);
  emit_text (emit, "key-file", text);
  emit_text (emit, "typed", "1:OIO1 2000-5252.5252 0000\n\n7: x\nhello\n");
}

static void
run_escrow (const uint8_t *data, size_t len)
{
  struct lm_error err = LM_ERROR_INIT;
  uint8_t key[LM_ESCROW_KEY_LEN], other[LM_ESCROW_KEY_LEN];

  if (lm_escrow_public_parse (data, len, "file", key, &err) == -1)
    fuzz_expect_error (&err);
  lm_error_clear (&err);
  if (lm_escrow_private_parse (data, len, "file", key, &err) == -1)
    fuzz_expect_error (&err);
  else
    fuzz_expect (lm_escrow_public_of (key, other, &err) == 0);
}

static void
seed_escrow (fuzz_emit_fn emit)
{
  emit_text (emit, "private", "-----BEGIN PRIVATE KEY-----\n"
             "MC4CAQAwBQYDK2VuBCIEIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd"
             "Hh8g\n-----END PRIVATE KEY-----\n");
  emit_text (emit, "public", "about it\n-----BEGIN PUBLIC KEY-----\r\n"
             "MCowBQYDK2VuAyEAB6N8vBQgk8i3VdwbEOhstCY3StFqqFPtC9/AsrhtHHw="
             "\n-----END PUBLIC KEY-----\n");
  emit_text (emit, "locked", "-----BEGIN ENCRYPTED PRIVATE KEY-----\n");
}

static void
run_slot_name (const uint8_t *data, size_t len)
{
  static const struct lm_key_slot slots[] = {
    { .id = "0123456", .label = "anna" },
    { .id = "0123456\xff", .label = "twin" },
    { .id = "abcdefg", .label = "twin" },
  };
  CLEANUP_FREE char *name = fuzz_string (data, len);
  struct lm_error err = LM_ERROR_INIT;

  if (lm_slot_find (slots, 3, name, &err) == NULL)
    fuzz_expect_error (&err);
}

static void
seed_slot_name (fuzz_emit_fn emit)
{
  emit_text (emit, "a", "61");
  emit_text (emit, "b", "30313233343536ff");
  emit_text (emit, "c", "anna");
  emit_text (emit, "d", "twin");
}

const struct fuzz_target fuzz_key_targets[] = {
  { "paper-key", run_paper_key, seed_paper_key },
  { "escrow-key", run_escrow, seed_escrow },
  { "slot-name", run_slot_name, seed_slot_name },
  { NULL, NULL, NULL },
};
