/* SPDX-License-Identifier: Apache-2.0
 * The state at the sizes that it is made for, and the id map under it.
 */
#include <config.h>

#include "formats/native/journal-state.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/random.h"

static struct lm_error err;

static void
make_id (uint64_t n, uint8_t id[16])
{
  /* Well spread, as random ids are. */
  uint64_t x = (n + 1) * UINT64_C (0x9e3779b97f4a7c15);

  memcpy (id, &n, 8);
  x ^= x >> 29;
  memcpy (id + 8, &x, 8);
}

static void
apply_one (struct lm_journal_state *state, uint64_t sequence,
           const struct lm_change *c)
{
  cr_assert (eq (int, lm_journal_state_apply (state, sequence, c, 1, &err),
                 0));
}

static void
add_snapshots (struct lm_journal_state *state, size_t n)
{
  size_t i;

  for (i = 0; i < n; i++) {
    struct lm_change c = { .type = LM_CHANGE_SNAPSHOT_ADD };
    char vm[16];

    snprintf (vm, sizeof vm, "vm%zu", i % 1000);
    c.snapshot.vm = vm;
    c.snapshot.time = 1000 + i;
    make_id (i, c.snapshot.id);
    apply_one (state, i, &c);
  }
}

static void
condemn (struct lm_journal_state *state, size_t n)
{
  struct lm_change c = { .type = LM_CHANGE_PACK_CONDEMN, .nr_ids = 1000 };
  size_t i, k;

  c.ids = malloc (1000 * 16);
  for (i = 0; i < n; i += 1000) {
    for (k = 0; k < 1000; k++)
      make_id (i + k, c.ids + k * 16);
    apply_one (state, i, &c);
  }
  free (c.ids);
}

Test (journal_state, copes_with_many_snapshots_and_condemned_packs)
{
  enum { SNAPSHOTS = 100000, PACKS = 1000000 };
  struct lm_journal_state state, back;
  uint64_t begun = lm_clock_monotonic ();
  uint8_t id[16];
  char *text;
  json_t *v;
  size_t i, len;

  cr_assert (eq (int, lm_journal_state_init (&state, &err), 0));
  add_snapshots (&state, SNAPSHOTS);
  condemn (&state, PACKS);
  /* Forget every second one, each in its own change. */
  for (i = 0; i < SNAPSHOTS; i += 2) {
    struct lm_change c = { .type = LM_CHANGE_SNAPSHOT_FORGET };

    make_id (i, c.id);
    apply_one (&state, SNAPSHOTS + i, &c);
  }
  lm_journal_state_settle (&state);
  cr_expect (eq (sz, state.nr_snapshots, SNAPSHOTS / 2));
  cr_expect (eq (sz, state.condemned.n, PACKS));
  make_id (99999, id);
  cr_expect (eq (ptr, (void *) lm_journal_state_snapshot (&state, id),
                 &state.snapshots[SNAPSHOTS / 2 - 1]));
  make_id (99998, id);
  cr_expect (eq (ptr, (void *) lm_journal_state_snapshot (&state, id),
                 NULL));

  v = lm_journal_state_to_json (&state, &err);
  cr_assert_not_null (v);
  text = lm_json_dump (v, &len, &err);
  json_decref (v);
  cr_assert_not_null (text);
  cr_expect (len < 100u << 20, "%zu bytes", len);
  v = lm_json_parse (text, len, "checkpoint", &err);
  cr_assert (eq (int, lm_journal_state_from_json (v, "checkpoint", &back,
                                                  &err), 0), "%s",
             err.message);
  json_decref (v);
  free (text);
  cr_expect (eq (sz, back.nr_snapshots, state.nr_snapshots));
  cr_expect (eq (sz, back.condemned.n, PACKS));
  make_id (999999, id);
  cr_expect (lm_journal_state_condemned (&back, id));
  make_id (1000000, id);
  cr_expect_not (lm_journal_state_condemned (&back, id));
  lm_journal_state_release (&state);
  lm_journal_state_release (&back);
  /* A square of 100,000 would take minutes. */
  cr_expect (lm_clock_monotonic () - begun < UINT64_C (600000000000));
}

Test (journal_state, what_does_not_apply_has_no_effect)
{
  struct lm_journal_state state;
  struct lm_change c = { .type = LM_CHANGE_SNAPSHOT_ADD };

  cr_assert (eq (int, lm_journal_state_init (&state, &err), 0));
  add_snapshots (&state, 3);
  c.snapshot.vm = (char *) "vm0";
  c.snapshot.time = 1000;       /* not later */
  make_id (77, c.snapshot.id);
  apply_one (&state, 9, &c);
  cr_expect (eq (sz, state.nr_snapshots, 3));
  c.snapshot.time = 1001;
  make_id (1, c.snapshot.id);   /* is there */
  apply_one (&state, 9, &c);
  cr_expect (eq (sz, state.nr_snapshots, 3));
  c.type = LM_CHANGE_SNAPSHOT_FORGET;
  make_id (77, c.id);
  apply_one (&state, 9, &c);
  c.type = LM_CHANGE_SEGMENT_REMOVE;
  apply_one (&state, 9, &c);
  c.type = LM_CHANGE_SNAPSHOT_PROTECT;
  apply_one (&state, 9, &c);
  lm_journal_state_settle (&state);
  cr_expect (eq (sz, state.nr_snapshots, 3));
  lm_journal_state_release (&state);
}

Test (journal_state, verification_states_go_with_their_snapshot)
{
  struct lm_journal_state state;
  struct lm_change c = { .type = LM_CHANGE_STATE };

  cr_assert (eq (int, lm_journal_state_init (&state, &err), 0));
  add_snapshots (&state, 2);
  c.verification.kind = (char *) "boots";
  make_id (0, c.verification.snapshot);
  make_id (10, c.verification.object);
  apply_one (&state, 5, &c);
  make_id (11, c.verification.object);
  apply_one (&state, 6, &c);
  cr_assert (eq (sz, state.nr_verifications, 1));
  cr_expect (memcmp (state.verifications[0].object, c.verification.object,
                     16) == 0);
  c.verification.kind = (char *) "files";
  apply_one (&state, 7, &c);
  cr_expect (eq (sz, state.nr_verifications, 2));
  c.type = LM_CHANGE_SNAPSHOT_FORGET;
  make_id (0, c.id);
  apply_one (&state, 8, &c);
  lm_journal_state_settle (&state);
  cr_expect (eq (sz, state.nr_verifications, 0));
  lm_journal_state_release (&state);
}

/* Random adds and removes against a plain array. */
Test (journal_state, the_id_map_agrees_with_a_plain_array)
{
  enum { KEYS = 300, STEPS = 20000 };
  struct lm_id_set set = LM_ID_SET_INIT (16);
  bool there[KEYS] = { false };
  uint64_t value[KEYS] = { 0 }, got;
  uint8_t id[16], last[16] = { 0 };
  uint32_t x = 12345;
  size_t i, n = 0;
  const uint8_t **sorted;

  for (i = 0; i < STEPS; i++) {
    size_t k;

    x = x * 1664525 + 1013904223;
    k = (x >> 8) % KEYS;
    make_id (k, id);
    id[15] = k % 7;             /* crowded: long runs of followers */
    if (x & 0x80000000) {
      cr_assert (eq (int, lm_id_set_add (&set, id, i, &err), 0));
      n += !there[k];
      value[k] = there[k] ? value[k] : i;
      there[k] = true;
    }
    else {
      cr_assert (eq (int, lm_id_set_remove (&set, id), there[k]));
      n -= there[k];
      there[k] = false;
    }
    cr_assert (eq (sz, set.n, n));
  }
  for (i = 0; i < KEYS; i++) {
    make_id (i, id);
    id[15] = i % 7;
    cr_expect (eq (int, lm_id_set_get (&set, id, &got), there[i]));
    if (there[i])
      cr_expect (eq (u64, got, value[i]));
  }
  sorted = lm_id_set_sorted (&set, &err);
  cr_assert_not_null (sorted);
  for (i = 0; i < set.n; i++) {
    cr_expect (i == 0 || memcmp (last, sorted[i], 16) < 0);
    memcpy (last, sorted[i], 16);
  }
  free (sorted);
  lm_id_set_release (&set);
}
