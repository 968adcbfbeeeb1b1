/* SPDX-License-Identifier: Apache-2.0
 * Mapped index runs; see index-run.h and index-run-internal.h.
 */
#include <config.h>

#include "formats/native/index-run.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "common/io.h"
#include "formats/native/index-run-internal.h"
#include "common/banned.h"

struct lm_index_run {
  char *path;
  const uint8_t *map;
  size_t len;
  uint32_t nr_segments, nr_packs, nr_bases;
  uint64_t nr_entries;
  const uint8_t (*segments)[LM_NAME_ID_LEN];
  const struct lm_segment_pack_wire *packs;
  const uint8_t (*bases)[LM_ID_LEN];
  const struct lm_entry_wire *entries;
};

void
lm_index_run_close (struct lm_index_run *run)
{
  if (run == NULL)
    return;
  if (run->map)
    munmap ((void *) run->map, run->len);
  free (run->path);
  free (run);
}

static void
cleanup_run (struct lm_index_run **run)
{
  lm_index_run_close (*run);
}

/* Fill in the tables' places; -1 unless they fill the file exactly. */
static int
lay_out (struct lm_index_run *run)
{
  const struct lm_run_header *h = (const void *) run->map;
  uint64_t segments = lm_get_le64 (h->segments);
  uint64_t packs = lm_get_le64 (h->packs);
  uint64_t bases = lm_get_le64 (h->bases);
  uint64_t entries = lm_get_le64 (h->entries);
  uint64_t at = LM_RUN_HEADER_SIZE;

  if (segments > UINT32_MAX || packs > UINT32_MAX || bases > UINT32_MAX ||
      entries > UINT64_C (1) << 40)
    return -1;
  run->nr_segments = segments;
  run->nr_packs = packs;
  run->nr_bases = bases;
  run->nr_entries = entries;
  run->segments = (const void *) (run->map + at);
  at += segments * LM_NAME_ID_LEN;
  if (at > run->len)
    return -1;
  run->packs = (const void *) (run->map + at);
  at += packs * sizeof *run->packs;
  if (at > run->len)
    return -1;
  run->bases = (const void *) (run->map + at);
  at += bases * LM_ID_LEN;
  if (at > run->len)
    return -1;
  run->entries = (const void *) (run->map + at);
  at += entries * sizeof *run->entries;
  return at == run->len ? 0 : -1;
}

struct lm_index_run *
lm_index_run_open (int dirfd, const char *path,
                   const uint8_t repository[LM_NAME_ID_LEN],
                   struct lm_error *err)
{
  CLEANUP (cleanup_run) struct lm_index_run *run = calloc (1, sizeof *run);
  CLEANUP_CLOSE int fd = -1;
  struct stat st;
  void *map;

  if (run == NULL || (run->path = strdup (path)) == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  fd = lm_io->openat (dirfd, path, O_RDONLY | O_NOFOLLOW, 0);
  if (fd == -1 || fstat (fd, &st) == -1) {
    lm_error_errno (err, errno, "index cache %s", path);
    return NULL;
  }
  if (st.st_size < LM_RUN_HEADER_SIZE) {
    lm_corrupt (err, "index cache %s: %" PRIu64 " bytes are too short",
                path, (uint64_t) st.st_size);
    return NULL;
  }
  map = mmap (NULL, st.st_size, PROT_READ, MAP_SHARED, fd, 0);
  if (map == MAP_FAILED) {
    lm_error_errno (err, errno, "index cache %s: mmap", path);
    return NULL;
  }
  run->map = map;
  run->len = st.st_size;
  /* Look-ups jump about: reading ahead would only push pages out. */
  (void) madvise (map, run->len, MADV_RANDOM);
  if (memcmp (run->map, LM_RUN_MAGIC, 8) != 0 ||
      memcmp (run->map + 8, repository, LM_NAME_ID_LEN) != 0 ||
      lay_out (run) == -1) {
    lm_corrupt (err, "index cache %s: not a run of this repository", path);
    return NULL;
  }
  return lm_steal (run);
}

uint64_t
lm_index_run_entries (const struct lm_index_run *run)
{
  return run->nr_entries;
}

uint32_t
lm_index_run_packs (const struct lm_index_run *run)
{
  return run->nr_packs;
}

const char *
lm_index_run_path (const struct lm_index_run *run)
{
  return run->path;
}

const uint8_t (*
lm_index_run_segments (const struct lm_index_run *run, uint32_t *ret_n))
  [LM_NAME_ID_LEN]
{
  *ret_n = run->nr_segments;
  return run->segments;
}

void
lm_index_run_pack (const struct lm_index_run *run, uint32_t nr,
                   struct lm_segment_pack *ret_pack)
{
  memcpy (ret_pack->id, run->packs[nr].id, LM_NAME_ID_LEN);
  ret_pack->size = lm_get_le32 (run->packs[nr].size);
}

/* Where KEY is expected in [lo, hi), whose keys reach from KLO to KHI. */
static uint64_t
interpolate (uint64_t key, uint64_t lo, uint64_t hi, uint64_t klo,
             uint64_t khi)
{
  double f = (double) (key - klo) / ((double) (khi - klo) + 1);
  uint64_t at = lo + (uint64_t) (f * (double) (hi - lo));

  return at < lo ? lo : at >= hi ? hi - 1 : at;
}

/* The range in which the id is searched: everything before lo is less
 * than it, nothing from hi on is. */
struct bounds {
  uint64_t lo, hi;
  uint64_t klo, khi;            /* keys at the two ends */
};

static void
probe (const struct lm_index_run *run, const uint8_t id[LM_ID_LEN],
       uint64_t at, struct bounds *b)
{
  const uint8_t *e = run->entries[at].id;

  if (memcmp (e, id, LM_ID_LEN) < 0) {
    b->lo = at + 1;
    b->klo = lm_get_be64 (e);
  }
  else {
    b->hi = at;
    b->khi = lm_get_be64 (e);
  }
}

uint64_t
lm_index_run_find (const struct lm_index_run *run,
                   const uint8_t id[LM_ID_LEN])
{
  struct bounds b = { 0, run->nr_entries, 0, UINT64_MAX };
  uint64_t key = lm_get_be64 (id);
  unsigned rounds;

  /* Among n uniform keys the guess is off by about sqrt (n): look that
   * far to both sides of it, and 16 million entries become 8,000, then
   * 180, then a few within one page.  Ids of an unencrypted repository
   * could be chosen badly on purpose: after some rounds only halve. */
  for (rounds = 0; rounds < 6 && b.hi - b.lo > 16; rounds++) {
    uint64_t at = key >= b.klo && key <= b.khi
      ? interpolate (key, b.lo, b.hi, b.klo, b.khi)
      : b.lo + (b.hi - b.lo) / 2;
    uint64_t width = (uint64_t) sqrt ((double) (b.hi - b.lo)) + 1;
    uint64_t right = at + width;

    probe (run, id, at >= b.lo + width ? at - width : b.lo, &b);
    if (right >= b.lo && right < b.hi)
      probe (run, id, right, &b);
  }
  while (b.lo < b.hi)
    probe (run, id, b.lo + (b.hi - b.lo) / 2, &b);
  if (b.lo < run->nr_entries &&
      memcmp (run->entries[b.lo].id, id, LM_ID_LEN) == 0)
    return b.lo;
  return run->nr_entries;
}

uint64_t
lm_index_run_key (const struct lm_index_run *run, uint64_t pos)
{
  return lm_get_be64 (run->entries[pos].id);
}

uint64_t
lm_index_run_seek (const struct lm_index_run *run, uint64_t from,
                   uint64_t key)
{
  uint64_t lo = from, hi, step = 1;

  /* Gallop, then halve: a pass looks for neighbours. */
  while (lo < run->nr_entries && lm_index_run_key (run, lo) < key) {
    from = lo + 1;
    lo += step;
    step *= 2;
  }
  hi = lm_min_u64 (lo, run->nr_entries);
  lo = from;
  while (lo < hi) {
    uint64_t middle = lo + (hi - lo) / 2;

    if (lm_index_run_key (run, middle) < key)
      lo = middle + 1;
    else
      hi = middle;
  }
  return lo;
}

void
lm_index_run_passed (const struct lm_index_run *run, uint64_t from,
                     uint64_t to)
{
  const uintptr_t page = 4096;
  uintptr_t start = (uintptr_t) &run->entries[from] & -page;
  uintptr_t end = (uintptr_t) &run->entries[to] & -page;
  uintptr_t limit = (uintptr_t) run->map + run->len;

  /* Both are hints, and the file's pages stay in the page cache. */
  if (end > start) {
    (void) madvise ((void *) start, end - start, MADV_DONTNEED);
    (void) madvise ((void *) end, lm_min_u64 (end - start, limit - end),
                    MADV_WILLNEED);
  }
}

int
lm_index_run_get (const struct lm_index_run *run, uint64_t pos,
                  struct lm_entry *ret_e, uint8_t ret_base[LM_ID_LEN],
                  struct lm_error *err)
{
  struct lm_entry e;

  /* A length decides how much is read and allocated: check them all. */
  if (pos >= run->nr_entries ||
      lm_entry_check (&run->entries[pos], run->nr_packs, run->nr_bases,
                      UINT32_MAX, "index cache", (uint32_t) pos, &e,
                      err) == -1)
    return lm_corrupt (err, "index cache %s: entry %" PRIu64
                       " is damaged", run->path, pos);
  memset (ret_base, 0, LM_ID_LEN);
  if (e.base > 0)
    memcpy (ret_base, run->bases[e.base - 1], LM_ID_LEN);
  *ret_e = e;
  return 0;
}
