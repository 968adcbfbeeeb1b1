/* SPDX-License-Identifier: Apache-2.0
 *
 * References to mark; see gc-refs.h.
 *
 * Sorting is by radix: the keys are uniform, since ids are hashes.  The
 * first byte splits them in place into 256 buckets, each of which is then
 * sorted through a second buffer of its own small size, so the whole needs
 * no second array.  (qsort takes five times as long.)
 */
#include <config.h>

#include "formats/native/gc-refs.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/cleanup.h"
#include "common/wire.h"
#include "common/banned.h"

#define BUCKETS 256
#define TOP_SHIFT 56
#define DIGIT_BITS 11
#define DIGITS (1u << DIGIT_BITS)

int
lm_gc_refs_init (struct lm_gc_refs *refs, size_t limit, struct lm_error *err)
{
  void *p = mmap (NULL, limit * sizeof *refs->keys, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

  if (p == MAP_FAILED)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory for %zu "
                         "references", limit);
  *refs = (struct lm_gc_refs) { .keys = p, .limit = limit };
  return 0;
}

void
lm_gc_refs_release (struct lm_gc_refs *refs)
{
  if (refs->keys)
    munmap (refs->keys, refs->limit * sizeof *refs->keys);
  memset (refs, 0, sizeof *refs);
}

void
lm_gc_refs_add (struct lm_gc_refs *refs, const uint8_t id[LM_ID_LEN])
{
  refs->keys[refs->n++] = lm_get_be64 (id);
}

/* American flag sort by the first byte; START[b] is where bucket b begins
 * and START[BUCKETS] the end. */
static void
split (uint64_t *keys, size_t n, size_t start[BUCKETS + 1])
{
  size_t next[BUCKETS] = { 0 }, i;
  unsigned b;

  for (i = 0; i < n; i++)
    next[keys[i] >> TOP_SHIFT]++;
  start[0] = 0;
  for (b = 0; b < BUCKETS; b++) {
    start[b + 1] = start[b] + next[b];
    next[b] = start[b];
  }
  for (b = 0; b < BUCKETS; b++)
    while (next[b] < start[b + 1]) {
      uint64_t key = keys[next[b]];
      unsigned to = key >> TOP_SHIFT;

      if (to == b)
        next[b]++;
      else {
        keys[next[b]] = keys[next[to]];
        keys[next[to]++] = key;
      }
    }
}

/* By the low TOP_SHIFT bits, through SPARE of the same size. */
static void
sort_bucket (uint64_t *keys, uint64_t *spare, size_t n)
{
  uint64_t *from = keys, *to = spare;
  unsigned shift;

  for (shift = 0; shift < TOP_SHIFT; shift += DIGIT_BITS) {
    size_t at[DIGITS] = { 0 }, sum = 0, i;
    uint64_t *swap = from;

    for (i = 0; i < n; i++)
      at[from[i] >> shift & (DIGITS - 1)]++;
    for (i = 0; i < DIGITS; i++) {
      size_t count = at[i];

      at[i] = sum;
      sum += count;
    }
    for (i = 0; i < n; i++)
      to[at[from[i] >> shift & (DIGITS - 1)]++] = from[i];
    from = to;
    to = swap;
  }
  if (from != keys)
    memcpy (keys, from, n * sizeof *keys);
}

static size_t
squeeze (uint64_t *keys, size_t n)
{
  size_t i, out = 0;

  for (i = 0; i < n; i++)
    if (i == 0 || keys[i] != keys[out - 1])
      keys[out++] = keys[i];
  return out;
}

int
lm_gc_refs_sort (struct lm_gc_refs *refs, struct lm_error *err)
{
  CLEANUP_FREE uint64_t *spare = NULL;
  size_t start[BUCKETS + 1], largest = 0;
  unsigned b;

  split (refs->keys, refs->n, start);
  for (b = 0; b < BUCKETS; b++)
    if (start[b + 1] - start[b] > largest)
      largest = start[b + 1] - start[b];
  spare = malloc (largest * sizeof *spare + 1);
  if (spare == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory for sorting");
  for (b = 0; b < BUCKETS; b++)
    sort_bucket (refs->keys + start[b], spare, start[b + 1] - start[b]);
  refs->n = squeeze (refs->keys, refs->n);
  return 0;
}
