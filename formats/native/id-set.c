/* SPDX-License-Identifier: Apache-2.0
 *
 * A map from ids to numbers; see id-set.h.
 *
 * Linear probing at a load of at most 3/4, removal by moving followers
 * back, so there are no tombstones and no clean-up.  A slot whose value
 * is UINT64_MAX is empty.
 */
#include <config.h>

#include "formats/native/id-set.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "common/wire.h"
#include "common/banned.h"

#define EMPTY UINT64_MAX
#define SLOTS_MIN 16

static size_t
stride (const struct lm_id_set *set)
{
  return set->id_len + sizeof (uint64_t);
}

static uint8_t *
slot_at (const struct lm_id_set *set, size_t i)
{
  return set->data + i * stride (set);
}

static uint64_t
slot_value (const struct lm_id_set *set, const uint8_t *slot)
{
  uint64_t v;

  memcpy (&v, slot + set->id_len, sizeof v);
  return v;
}

static void
slot_set_value (const struct lm_id_set *set, uint8_t *slot, uint64_t v)
{
  memcpy (slot + set->id_len, &v, sizeof v);
}

/* The id's last bytes: the first one of a longer id may be a type. */
static size_t
home (const struct lm_id_set *set, const uint8_t *id)
{
  return lm_get_be64 (id + set->id_len - 8) & (set->slots - 1);
}

/* The slot that holds ID, or the empty one where it would go. */
static size_t
probe (const struct lm_id_set *set, const uint8_t *id)
{
  size_t i = home (set, id);

  for (;;) {
    const uint8_t *slot = slot_at (set, i);

    if (slot_value (set, slot) == EMPTY ||
        memcmp (slot, id, set->id_len) == 0)
      return i;
    i = (i + 1) & (set->slots - 1);
  }
}

void
lm_id_set_release (struct lm_id_set *set)
{
  free (set->data);
  set->data = NULL;
  set->n = set->slots = 0;
}

static int
resize (struct lm_id_set *set, size_t slots, struct lm_error *err)
{
  struct lm_id_set bigger = { set->id_len, set->n, slots, NULL };
  uint64_t bytes;
  size_t i;

  assert (set->id_len >= 8 && lm_is_power_of_2 (slots));
  if (lm_mul_u64 (slots, stride (set), &bytes) == -1 || bytes > SIZE_MAX ||
      (bigger.data = malloc (bytes)) == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory for %zu ids",
                         set->n);
  for (i = 0; i < slots; i++)
    slot_set_value (&bigger, slot_at (&bigger, i), EMPTY);
  for (i = 0; i < set->slots; i++) {
    const uint8_t *slot = slot_at (set, i);

    if (slot_value (set, slot) != EMPTY)
      memcpy (slot_at (&bigger, probe (&bigger, slot)), slot, stride (set));
  }
  free (set->data);
  *set = bigger;
  return 0;
}

int
lm_id_set_reserve (struct lm_id_set *set, size_t more, struct lm_error *err)
{
  size_t slots = set->slots ? set->slots : SLOTS_MIN;

  if (more > SIZE_MAX / 8 - set->n)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory for %zu ids",
                         more);
  while (slots / 4 * 3 < set->n + more)
    slots *= 2;
  if (slots == set->slots)
    return 0;
  return resize (set, slots, err);
}

int
lm_id_set_add (struct lm_id_set *set, const void *id, uint64_t value,
               struct lm_error *err)
{
  uint8_t *slot;

  assert (value <= LM_ID_SET_VALUE_MAX);
  if (lm_id_set_reserve (set, 1, err) == -1)
    return -1;
  slot = slot_at (set, probe (set, id));
  if (slot_value (set, slot) != EMPTY)
    return 0;
  memcpy (slot, id, set->id_len);
  slot_set_value (set, slot, value);
  set->n++;
  return 0;
}

void
lm_id_set_update (struct lm_id_set *set, const void *id, uint64_t value)
{
  uint8_t *slot;

  assert (set->n > 0 && value <= LM_ID_SET_VALUE_MAX);
  slot = slot_at (set, probe (set, id));
  assert (slot_value (set, slot) != EMPTY);
  slot_set_value (set, slot, value);
}

bool
lm_id_set_remove (struct lm_id_set *set, const void *id)
{
  size_t hole, i;

  if (set->n == 0)
    return false;
  hole = probe (set, id);
  if (slot_value (set, slot_at (set, hole)) == EMPTY)
    return false;
  slot_set_value (set, slot_at (set, hole), EMPTY);
  set->n--;
  /* Followers that were displaced over the hole move into it. */
  for (i = (hole + 1) & (set->slots - 1);;
       i = (i + 1) & (set->slots - 1)) {
    uint8_t *slot = slot_at (set, i);
    size_t from_home, from_hole;

    if (slot_value (set, slot) == EMPTY)
      break;
    from_home = (i - home (set, slot)) & (set->slots - 1);
    from_hole = (i - hole) & (set->slots - 1);
    if (from_home < from_hole)
      continue;
    memcpy (slot_at (set, hole), slot, stride (set));
    slot_set_value (set, slot, EMPTY);
    hole = i;
  }
  return true;
}

bool
lm_id_set_get (const struct lm_id_set *set, const void *id,
               uint64_t *ret_value)
{
  uint64_t value;

  if (set->n == 0)
    return false;
  value = slot_value (set, slot_at (set, probe (set, id)));
  if (value == EMPTY)
    return false;
  *ret_value = value;
  return true;
}

bool
lm_id_set_has (const struct lm_id_set *set, const void *id)
{
  uint64_t ignored;

  return lm_id_set_get (set, id, &ignored);
}

uint64_t
lm_id_set_value_at (const struct lm_id_set *set, const uint8_t *id)
{
  return slot_value (set, id);
}

static int
compare_ids (const void *a, const void *b, void *id_len)
{
  return memcmp (*(const uint8_t *const *) a, *(const uint8_t *const *) b,
                 *(const size_t *) id_len);
}

const uint8_t **
lm_id_set_sorted (const struct lm_id_set *set, struct lm_error *err)
{
  const uint8_t **ids = calloc (set->n + 1, sizeof *ids);
  size_t id_len = set->id_len, i, n = 0;

  if (ids == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory for %zu ids", set->n);
    return NULL;
  }
  for (i = 0; i < set->slots; i++)
    if (slot_value (set, slot_at (set, i)) != EMPTY)
      ids[n++] = slot_at (set, i);
  qsort_r (ids, n, sizeof *ids, compare_ids, &id_len);
  return ids;
}
