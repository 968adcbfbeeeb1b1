/* SPDX-License-Identifier: Apache-2.0
 *
 * Building index runs: a merge of sorted sources into one file, written
 * through a small buffer, so that memory does not grow with the index.
 */
#include <config.h>

#include "formats/native/index-run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/hex.h"
#include "common/io.h"
#include "common/random.h"
#include "formats/native/index-run-internal.h"
#include "common/banned.h"

#define OUT_SIZE (1u << 20)

/* A buffered writer. */
struct out {
  int fd;
  uint64_t offset;              /* of the first byte in buf */
  size_t len;
  uint8_t *buf;
};

static int
out_flush (struct out *o, struct lm_error *err)
{
  if (lm_pwrite_full (o->fd, o->buf, o->len, o->offset, "index cache",
                      err) == -1)
    return -1;
  o->offset += o->len;
  o->len = 0;
  return 0;
}

static int
out_write (struct out *o, const void *data, size_t len, struct lm_error *err)
{
  const uint8_t *p = data;

  while (len > 0) {
    size_t n = OUT_SIZE - o->len < len ? OUT_SIZE - o->len : len;

    memcpy (o->buf + o->len, p, n);
    o->len += n;
    p += n;
    len -= n;
    if (o->len == OUT_SIZE && out_flush (o, err) == -1)
      return -1;
  }
  return 0;
}

/* One source while it is merged. */
struct cursor {
  const struct lm_index_run_source *source;
  uint32_t *pack_map;           /* its pack number → the new one */
  uint64_t pos, n;
  struct lm_entry e;            /* at pos; pack is the new number */
  uint8_t base[LM_ID_LEN];
};

struct pack_table {
  struct lm_segment_pack *packs;
  uint32_t n, alloc;
  uint32_t *hash;               /* 1 + number, or 0; open addressing */
  uint32_t mask;
};

static uint32_t
source_packs (const struct lm_index_run_source *s)
{
  return s->segment ? s->segment->nr_packs : lm_index_run_packs (s->run);
}

static void
source_pack (const struct lm_index_run_source *s, uint32_t nr,
             struct lm_segment_pack *ret)
{
  if (s->segment)
    *ret = s->segment->packs[nr];
  else
    lm_index_run_pack (s->run, nr, ret);
}

/* The number of PACK in the new run: the same pack may come from several
 * sources, once segments were merged. */
static uint32_t
pack_number (struct pack_table *t, const struct lm_segment_pack *pack)
{
  uint32_t h = (uint32_t) lm_get_be64 (pack->id) & t->mask;

  for (; t->hash[h] != 0; h = (h + 1) & t->mask)
    if (memcmp (t->packs[t->hash[h] - 1].id, pack->id,
                LM_NAME_ID_LEN) == 0)
      return t->hash[h] - 1;
  t->packs[t->n] = *pack;
  t->hash[h] = ++t->n;
  return t->n - 1;
}

static int
cursor_load (struct cursor *c, struct lm_error *err)
{
  if (c->pos == c->n)
    return 0;
  if (c->source->segment) {
    const struct lm_segment *seg = c->source->segment;
    const uint8_t *base;

    c->e = seg->entries[c->pos];
    base = lm_entry_base (&c->e,
                          (const uint8_t (*)[LM_ID_LEN]) seg->bases);
    memset (c->base, 0, LM_ID_LEN);
    if (base)
      memcpy (c->base, base, LM_ID_LEN);
  }
  else if (lm_index_run_get (c->source->run, c->pos, &c->e, c->base,
                             err) == -1)
    return -1;
  c->e.pack = c->pack_map[c->e.pack];
  return 0;
}

static int
prepare_packs (struct pack_table *t, struct cursor *cursors, size_t n,
               struct lm_error *err)
{
  uint64_t total = 0, size = 16;
  size_t i;
  uint32_t j;

  for (i = 0; i < n; i++)
    total += source_packs (cursors[i].source);
  while (size < 2 * total)
    size *= 2;
  t->packs = calloc (total + 1, sizeof *t->packs);
  t->hash = calloc (size, sizeof *t->hash);
  t->mask = size - 1;
  if (t->packs == NULL || t->hash == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory for packs");
  for (i = 0; i < n; i++) {
    struct cursor *c = &cursors[i];

    c->pack_map = calloc (source_packs (c->source) + 1,
                          sizeof *c->pack_map);
    if (c->pack_map == NULL)
      return lm_error_set (err, LM_ERR_NOMEM, "out of memory for packs");
    for (j = 0; j < source_packs (c->source); j++) {
      struct lm_segment_pack pack;

      source_pack (c->source, j, &pack);
      c->pack_map[j] = pack_number (t, &pack);
    }
  }
  return 0;
}

static struct cursor *
least (struct cursor *cursors, size_t n)
{
  struct cursor *best = NULL;
  size_t i;

  for (i = 0; i < n; i++) {
    struct cursor *c = &cursors[i];

    if (c->pos < c->n &&
        (best == NULL || memcmp (c->e.id, best->e.id, LM_ID_LEN) < 0))
      best = c;
  }
  return best;
}

/* Merge; bases go to BASES (the final place of that table is before the
 * entries, so their number is counted by an earlier pass). */
static int
merge (struct cursor *cursors, size_t n, struct out *out,
       uint64_t *ret_entries, uint32_t *ret_bases, bool write_bases,
       bool write_entries, struct lm_error *err)
{
  struct lm_entry last[4];      /* the newest entries with the same id */
  unsigned nr_last = 0, i;
  uint64_t entries = 0;
  uint32_t bases = 0;
  struct cursor *c;
  size_t k;

  for (k = 0; k < n; k++) {
    cursors[k].pos = 0;
    if (cursor_load (&cursors[k], err) == -1)
      return -1;
  }
  while ((c = least (cursors, n)) != NULL) {
    struct lm_entry_wire wire;
    struct lm_entry e = c->e;
    bool seen = false;

    if (nr_last > 0 && memcmp (last[0].id, e.id, LM_ID_LEN) != 0)
      nr_last = 0;
    for (i = 0; i < nr_last; i++)
      seen |= last[i].pack == e.pack && last[i].offset == e.offset;
    if (!seen) {
      if (nr_last < 4)
        last[nr_last++] = e;
      if (e.base > 0) {
        e.base = ++bases;
        if (write_bases && out_write (out, c->base, LM_ID_LEN, err) == -1)
          return -1;
      }
      entries++;
      if (write_entries) {
        lm_entry_encode (&e, &wire);
        if (out_write (out, &wire, sizeof wire, err) == -1)
          return -1;
      }
    }
    c->pos++;
    if (cursor_load (c, err) == -1)
      return -1;
  }
  *ret_entries = entries;
  *ret_bases = bases;
  return 0;
}

/* Everything after the header, then the header. */
static int
write_run (struct out *out, const uint8_t repository[LM_NAME_ID_LEN],
           const struct lm_index_run_source *sources, size_t n,
           struct cursor *cursors, struct pack_table *t,
           struct lm_error *err)
{
  struct lm_run_header header;
  uint64_t segments = 0, entries = 0;
  uint32_t bases = 0, i;
  bool any_base = false;
  size_t k;

  out->offset = LM_RUN_HEADER_SIZE;
  for (k = 0; k < n; k++) {
    segments += sources[k].nr_segments;
    any_base |= sources[k].segment ? sources[k].segment->nr_bases > 0 : true;
    if (out_write (out, sources[k].segments,
                   (size_t) sources[k].nr_segments * LM_NAME_ID_LEN,
                   err) == -1)
      return -1;
  }
  for (i = 0; i < t->n; i++) {
    struct lm_segment_pack_wire w = {
      .size = lm_put_le32 (t->packs[i].size),
    };

    memcpy (w.id, t->packs[i].id, LM_NAME_ID_LEN);
    if (out_write (out, &w, sizeof w, err) == -1)
      return -1;
  }
  if (any_base &&
      merge (cursors, n, out, &entries, &bases, true, false, err) == -1)
    return -1;
  if (merge (cursors, n, out, &entries, &bases, false, true, err) == -1 ||
      out_flush (out, err) == -1)
    return -1;

  memset (&header, 0, sizeof header);
  memcpy (header.magic, LM_RUN_MAGIC, 8);
  memcpy (header.repository, repository, LM_NAME_ID_LEN);
  header.segments = lm_put_le64 (segments);
  header.packs = lm_put_le64 (t->n);
  header.bases = lm_put_le64 (bases);
  header.entries = lm_put_le64 (entries);
  return lm_pwrite_full (out->fd, &header, sizeof header, 0, "index cache",
                         err);
}

int
lm_index_run_build (int dirfd, const uint8_t repository[LM_NAME_ID_LEN],
                    const struct lm_index_run_source *sources, size_t n,
                    char ret_name[LM_INDEX_RUN_NAME_LEN + 1],
                    struct lm_error *err)
{
  char name[LM_INDEX_RUN_NAME_LEN + 1] = "run-";
  char tmp[LM_INDEX_RUN_NAME_LEN + 5];
  uint8_t random[16];
  struct cursor *cursors = calloc (n, sizeof *cursors);
  struct pack_table t = { 0 };
  CLEANUP_FREE uint8_t *buf = malloc (OUT_SIZE);
  CLEANUP_CLOSE int fd = -1;
  struct out out = { .buf = buf };
  size_t i;
  int r = -1;

  lm_random_bytes (random, sizeof random);
  lm_hex_encode (random, sizeof random, name + 4);
  snprintf (tmp, sizeof tmp, "%s.tmp", name);
  if (cursors == NULL || buf == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    goto out;
  }
  for (i = 0; i < n; i++) {
    cursors[i].source = &sources[i];
    cursors[i].n = sources[i].segment ? sources[i].segment->nr_entries
      : lm_index_run_entries (sources[i].run);
  }
  if (prepare_packs (&t, cursors, n, err) == -1)
    goto out;
  fd = out.fd = lm_io->openat (dirfd, tmp, O_RDWR | O_CREAT | O_EXCL, 0600);
  if (fd == -1) {
    lm_error_errno (err, errno, "index cache %s: create", tmp);
    goto out;
  }
  r = write_run (&out, repository, sources, n, cursors, &t, err);
  if (r == 0 && (lm_io->fdatasync (fd) == -1 ||
                 lm_io->renameat (dirfd, tmp, dirfd, name) == -1))
    r = lm_error_errno (err, errno, "index cache %s", name);
  if (r == -1)
    lm_io->unlinkat (dirfd, tmp, 0);
  else
    memcpy (ret_name, name, sizeof name);

out:
  for (i = 0; cursors && i < n; i++)
    free (cursors[i].pack_map);
  free (cursors);
  free (t.packs);
  free (t.hash);
  return r;
}
