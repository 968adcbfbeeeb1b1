/* SPDX-License-Identifier: Apache-2.0
 *
 * A sparse two-level bitmap; see bitmap.h.
 *
 * Leaves are never freed before the bitmap, so readers need no lock: a
 * pointer goes from NULL or the shared leaf of ones to a private leaf,
 * once, by compare-and-swap, and then stays.  (Rejected: a lock per leaf,
 * which every 4 KiB read would take; and a radix tree of more levels,
 * since the kernel's page tables already are one for the table.)
 */
#include <config.h>

#include "proxy/bitmap.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/checked.h"
#include "common/banned.h"

#define LEAF_BITS 4096
#define WORD_BITS 64
#define LEAF_WORDS (LEAF_BITS / WORD_BITS)

typedef _Atomic (uint64_t) word;

struct leaf {
  struct leaf *older;           /* all leaves are in one list */
  word words[LEAF_WORDS];
};

struct lm_bitmap {
  uint64_t bits;
  size_t table_bytes;
  _Atomic (struct leaf *) *table;
  _Atomic (struct leaf *) leaves;       /* to find them without the table */
};

/* Stands for 4096 set bits; only its address is used. */
static struct leaf all_ones;

struct lm_bitmap *
lm_bitmap_new (uint64_t bits, struct lm_error *err)
{
  struct lm_bitmap *b;
  uint64_t leaves = lm_div_up (bits, LEAF_BITS);

  if (bits > LM_BITMAP_BITS_MAX) {
    lm_error_set (err, LM_ERR_LIMIT, "bitmap of %" PRIu64
                  " bits, the limit is %" PRIu64, bits, LM_BITMAP_BITS_MAX);
    return NULL;
  }
  b = calloc (1, sizeof *b);
  if (b == NULL)
    goto nomem;
  b->bits = bits;
  b->table_bytes = (leaves ? leaves : 1) * sizeof b->table[0];
  b->table = mmap (NULL, b->table_bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (b->table == MAP_FAILED) {
    free (b);
    goto nomem;
  }
  return b;

nomem:
  lm_error_set (err, LM_ERR_NOMEM, "out of memory (bitmap)");
  return NULL;
}

void
lm_bitmap_free (struct lm_bitmap *b)
{
  struct leaf *leaf, *older;

  if (b == NULL)
    return;
  for (leaf = atomic_load (&b->leaves); leaf != NULL; leaf = older) {
    older = leaf->older;
    free (leaf);
  }
  munmap (b->table, b->table_bytes);
  free (b);
}

static struct leaf *
get_leaf (const struct lm_bitmap *b, uint64_t bit)
{
  return atomic_load_explicit (&b->table[bit / LEAF_BITS],
                               memory_order_acquire);
}

/* The private leaf of BIT, made from what is there now. */
static struct leaf *
own_leaf (struct lm_bitmap *b, uint64_t bit, struct lm_error *err)
{
  _Atomic (struct leaf *) *slot = &b->table[bit / LEAF_BITS];
  struct leaf *old = atomic_load_explicit (slot, memory_order_acquire);
  struct leaf *fresh = NULL;

  while (old == NULL || old == &all_ones) {
    if (fresh == NULL) {
      fresh = malloc (sizeof *fresh);
      if (fresh == NULL) {
        lm_error_set (err, LM_ERR_NOMEM, "out of memory (bitmap)");
        return NULL;
      }
    }
    memset (fresh->words, old ? 0xff : 0, sizeof fresh->words);
    if (atomic_compare_exchange_weak_explicit (slot, &old, fresh,
                                               memory_order_acq_rel,
                                               memory_order_acquire)) {
      fresh->older = atomic_load (&b->leaves);
      while (!atomic_compare_exchange_weak (&b->leaves, &fresh->older,
                                            fresh))
        ;
      return fresh;
    }
  }
  free (fresh);
  return old;
}

bool
lm_bitmap_test (const struct lm_bitmap *b, uint64_t bit)
{
  struct leaf *leaf = get_leaf (b, bit);
  uint64_t w;

  if (leaf == NULL || leaf == &all_ones)
    return leaf != NULL;
  w = atomic_load_explicit (&leaf->words[bit % LEAF_BITS / WORD_BITS],
                            memory_order_acquire);
  return w >> (bit % WORD_BITS) & 1;
}

/* A mask of COUNT bits from bit FROM of a word on. */
static uint64_t
word_mask (unsigned from, unsigned count)
{
  uint64_t ones = count == WORD_BITS ? ~UINT64_C (0)
                                     : (UINT64_C (1) << count) - 1;

  return ones << from;
}

static int
change (struct lm_bitmap *b, uint64_t first, uint64_t count, bool on,
        struct lm_error *err)
{
  uint64_t end = first + count;

  while (first < end) {
    unsigned in_leaf = first % LEAF_BITS;
    unsigned n = lm_min_u64 (end - first, LEAF_BITS - in_leaf);
    struct leaf *leaf = get_leaf (b, first);
    struct leaf *none = NULL;
    unsigned i;

    if (leaf == (on ? &all_ones : NULL)) {
      first += n;               /* they are so already */
      continue;
    }
    if (on && n == LEAF_BITS && leaf == NULL &&
        atomic_compare_exchange_strong_explicit
        (&b->table[first / LEAF_BITS], &none, &all_ones,
         memory_order_acq_rel, memory_order_acquire)) {
      first += n;
      continue;
    }
    leaf = own_leaf (b, first, err);
    if (leaf == NULL)
      return -1;
    for (i = in_leaf; i < in_leaf + n;) {
      unsigned from = i % WORD_BITS;
      unsigned k = lm_min_u64 (in_leaf + n - i, WORD_BITS - from);
      uint64_t m = word_mask (from, k);

      if (on)
        atomic_fetch_or_explicit (&leaf->words[i / WORD_BITS], m,
                                  memory_order_acq_rel);
      else
        atomic_fetch_and_explicit (&leaf->words[i / WORD_BITS], ~m,
                                   memory_order_acq_rel);
      i += k;
    }
    first += n;
  }
  return 0;
}

int
lm_bitmap_set (struct lm_bitmap *b, uint64_t first, uint64_t count,
               struct lm_error *err)
{
  return change (b, first, count, true, err);
}

int
lm_bitmap_clear (struct lm_bitmap *b, uint64_t first, uint64_t count,
                 struct lm_error *err)
{
  return change (b, first, count, false, err);
}

static uint64_t
next (const struct lm_bitmap *b, uint64_t from, uint64_t end, bool on)
{
  while (from < end) {
    struct leaf *leaf = get_leaf (b, from);
    uint64_t leaf_end = (from / LEAF_BITS + 1) * LEAF_BITS;

    if (leaf == NULL || leaf == &all_ones) {
      if ((leaf != NULL) == on)
        return from;
      from = leaf_end;
      continue;
    }
    while (from < leaf_end && from < end) {
      uint64_t w =
        atomic_load_explicit (&leaf->words[from % LEAF_BITS / WORD_BITS],
                              memory_order_acquire);

      if (!on)
        w = ~w;
      w >>= from % WORD_BITS;
      if (w != 0)
        return lm_min_u64 (from + __builtin_ctzll (w), end);
      from = (from / WORD_BITS + 1) * WORD_BITS;
    }
  }
  return end;
}

uint64_t
lm_bitmap_next_set (const struct lm_bitmap *b, uint64_t from, uint64_t end)
{
  return next (b, from, end, true);
}

uint64_t
lm_bitmap_next_clear (const struct lm_bitmap *b, uint64_t from, uint64_t end)
{
  return next (b, from, end, false);
}

void
lm_bitmap_get_bytes (const struct lm_bitmap *b, uint64_t first,
                     uint8_t *ret_bytes, uint64_t len)
{
  uint64_t end = lm_min_u64 (first + 8 * len, b->bits);
  uint64_t bit = first, stop;

  memset (ret_bytes, 0, len);
  for (;;) {
    bit = next (b, bit, end, true);
    if (bit >= end)
      break;
    stop = next (b, bit, end, false);
    for (; bit < stop; bit++) {
      if (bit % 8 == 0 && stop - bit >= 8) {
        ret_bytes[(bit - first) / 8] = 0xff;
        bit += 7;
      }
      else
        ret_bytes[(bit - first) / 8] |= 1 << (bit % 8);
    }
  }
}
