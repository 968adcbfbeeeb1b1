/* SPDX-License-Identifier: Apache-2.0
 * The sparse bitmap against a plain array, its edges, and many threads.
 */
#include <config.h>

#include "proxy/bitmap.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static struct lm_error err;

static struct lm_bitmap *
make (uint64_t bits)
{
  struct lm_bitmap *b = lm_bitmap_new (bits, &err);

  cr_assert (ne (ptr, b, NULL), "%s", err.message);
  return b;
}

Test (bitmap, agrees_with_an_array)
{
  enum { BITS = 4096 * 5 + 77 };
  static uint8_t model[BITS + 1];
  struct lm_bitmap *b = make (BITS);
  unsigned round, i;

  srandom (1);
  for (round = 0; round < 3000; round++) {
    uint64_t from = random () % BITS;
    uint64_t n = random () % (round % 10 ? 200 : BITS);
    bool on = random () % 2;
    uint64_t k, end;

    if (round % 97 == 0)        /* whole leaves */
      from = from / 4096 * 4096, n = 8192;
    if (n > BITS - from)
      n = BITS - from;
    memset (model + from, on, n);
    cr_assert (eq (int, on ? lm_bitmap_set (b, from, n, &err)
                           : lm_bitmap_clear (b, from, n, &err), 0));
    for (i = 0; i < 20; i++) {
      from = random () % BITS;
      end = from + random () % (BITS - from + 1);
      cr_assert (eq (int, lm_bitmap_test (b, from), model[from]));
      for (k = from; k < end && !model[k]; k++)
        ;
      cr_assert (eq (u64, lm_bitmap_next_set (b, from, end), k));
      for (k = from; k < end && model[k]; k++)
        ;
      cr_assert (eq (u64, lm_bitmap_next_clear (b, from, end), k));
    }
    if (round % 50 == 0) {
      uint8_t bytes[300], want[300] = { 0 };

      from = random () % BITS & ~UINT64_C (7);
      for (k = from; k < from + 8 * sizeof want && k < BITS; k++)
        want[(k - from) / 8] |= model[k] << (k % 8);
      lm_bitmap_get_bytes (b, from, bytes, sizeof bytes);
      cr_assert (eq (int, memcmp (bytes, want, sizeof want), 0));
    }
  }
  lm_bitmap_free (b);
}

Test (bitmap, the_largest_costs_nothing)
{
  struct lm_bitmap *b = make (LM_BITMAP_BITS_MAX);
  uint64_t last = LM_BITMAP_BITS_MAX - 1;

  cr_expect (not (lm_bitmap_test (b, last)));
  cr_assert (eq (int, lm_bitmap_set (b, last, 1, &err), 0));
  cr_expect (lm_bitmap_test (b, last));
  cr_expect (not (lm_bitmap_test (b, last - 1)));
  cr_expect (eq (u64, lm_bitmap_next_set (b, last - 10, last + 1), last));
  lm_bitmap_free (b);
}

Test (bitmap, refuses_more_than_the_largest)
{
  struct lm_bitmap *b = lm_bitmap_new (LM_BITMAP_BITS_MAX + 1, &err);

  cr_expect (eq (ptr, b, NULL));
  cr_expect (eq (int, err.kind, LM_ERR_LIMIT));
}

Test (bitmap, of_no_bits)
{
  struct lm_bitmap *b = make (0);

  cr_expect (eq (u64, lm_bitmap_next_set (b, 0, 0), 0));
  lm_bitmap_free (b);
}

/* A bit in a leaf of ones can be cleared while others set and clear
 * there: nobody's change is lost. */
enum { THREADS = 8, EACH = 4096 };
static struct lm_bitmap *shared;

static void *
toggle (void *arg)
{
  struct lm_error e = LM_ERROR_INIT;
  uintptr_t me = (uintptr_t) arg;
  uint64_t i;

  for (i = me; i < EACH * THREADS; i += THREADS) {
    if (lm_bitmap_set (shared, i, 1, &e) == -1 ||
        lm_bitmap_clear (shared, i, 1, &e) == -1 ||
        lm_bitmap_test (shared, i))
      return (void *) 1;
    if (i % 3 == 0 && lm_bitmap_set (shared, i, 1, &e) == -1)
      return (void *) 1;
  }
  return NULL;
}

Test (bitmap, threads_do_not_lose_each_others_bits)
{
  pthread_t t[THREADS];
  uintptr_t i;

  shared = make (EACH * THREADS);
  cr_assert (eq (int, lm_bitmap_set (shared, 0, EACH * THREADS, &err), 0));
  for (i = 0; i < THREADS; i++)
    pthread_create (&t[i], NULL, toggle, (void *) i);
  for (i = 0; i < THREADS; i++) {
    void *r;

    pthread_join (t[i], &r);
    cr_expect (eq (ptr, r, NULL));
  }
  for (i = 0; i < EACH * THREADS; i++)
    cr_assert (eq (int, lm_bitmap_test (shared, i), i % 3 == 0));
  lm_bitmap_free (shared);
}
