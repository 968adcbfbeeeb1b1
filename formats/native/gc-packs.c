/* SPDX-License-Identifier: Apache-2.0
 *
 * Packs and the choice of copies; see gc-packs.h.
 *
 * References and all runs of the index are sorted by id, so choosing is
 * one pass over them side by side; what is behind the pass is dropped from
 * this process's memory, however large the index is.
 */
#include <config.h>

#include "formats/native/gc-packs.h"

#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/hex.h"
#include "formats/native/chunk-index.h"
#include "formats/native/journal.h"
#include "formats/native/pack-write.h"
#include "formats/native/repository-internal.h"
#include "common/banned.h"

/* Bases that are collected before a pass is made for them. */
#define BASES_MAX (1u << 20)

/* Entries between two calls of lm_index_run_passed. */
#define WINDOW (UINT64_C (256) << 10)

/* --- stock --- */

static struct lm_gc_pack *
add_pack (struct lm_gc_packs *p, const uint8_t id[LM_NAME_ID_LEN],
          uint32_t *ret_nr, struct lm_error *err)
{
  uint64_t nr;

  if (!lm_id_set_get (&p->numbers, id, &nr)) {
    if (p->n == p->alloc) {
      size_t alloc = p->alloc ? 2 * p->alloc : 256;
      struct lm_gc_pack *bigger = realloc (p->packs,
                                           alloc * sizeof *bigger);

      if (bigger == NULL) {
        lm_error_set (err, LM_ERR_NOMEM, "out of memory for packs");
        return NULL;
      }
      p->packs = bigger;
      p->alloc = alloc;
    }
    nr = p->n;
    if (lm_id_set_add (&p->numbers, id, nr, err) == -1)
      return NULL;
    memset (&p->packs[nr], 0, sizeof p->packs[nr]);
    memcpy (p->packs[nr].id, id, LM_NAME_ID_LEN);
    p->n++;
  }
  *ret_nr = nr;
  return &p->packs[nr];
}

static int
add_run (struct lm_gc_packs *p, const struct lm_index_run *run,
         struct lm_error *err)
{
  struct lm_gc_run *r = &p->runs[p->nr_runs++];
  uint32_t n = lm_index_run_packs (run), i;

  r->run = run;
  r->packs = calloc ((size_t) n + 1, sizeof *r->packs);
  r->chosen = calloc (lm_index_run_entries (run) / 8 + 1, 1);
  if (r->packs == NULL || r->chosen == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory for the index");
  for (i = 0; i < n; i++) {
    struct lm_segment_pack pack;
    struct lm_gc_pack *mine;

    lm_index_run_pack (run, i, &pack);
    mine = add_pack (p, pack.id, &r->packs[i], err);
    if (mine == NULL)
      return -1;
    mine->indexed = true;
    mine->size = pack.size;     /* until the store says what is true */
  }
  return 0;
}

static int
list_pack (void *opaque, const char *name, uint64_t size,
           struct lm_error *err)
{
  struct lm_gc_packs *p = opaque;
  uint8_t id[LM_NAME_ID_LEN];
  struct lm_gc_pack *pack;
  uint32_t nr;

  if (strlen (name) != LM_PACK_NAME_LEN ||
      lm_hex_decode (name + 9, id, sizeof id) == -1)
    return 0;                   /* a stranger's file is left alone */
  pack = add_pack (p, id, &nr, err);
  if (pack == NULL)
    return -1;
  pack->whole = pack->indexed && pack->size == size;
  pack->size = size;
  pack->live = 1;               /* seen; see lm_gc_packs_init */
  return 0;
}

int
lm_gc_packs_init (struct lm_gc_packs *p, struct lm_repository *repo,
                  struct lm_error *err)
{
  const struct lm_chunk_index *index = repo->index;
  size_t n = lm_chunk_index_nr_runs (index), i;

  memset (p, 0, sizeof *p);
  p->numbers.id_len = LM_NAME_ID_LEN;
  p->runs = calloc (n + 1, sizeof *p->runs);
  if (p->runs == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory for the index");
    goto fail;
  }
  if (lm_gc_refs_init (&p->bases, BASES_MAX, err) == -1)
    goto fail;
  for (i = 0; i < n; i++)
    if (add_run (p, lm_chunk_index_run (index, i), err) == -1)
      goto fail;
  if (lm_store_list (repo->store, "packs", list_pack, p, err) == -1)
    goto fail;
  for (i = 0; i < p->n; i++) {
    struct lm_gc_pack *pack = &p->packs[i];

    if (!pack->live)
      pack->size = 0;           /* indexed, but not in the store */
    pack->live = 0;
    pack->condemned = lm_journal_state_condemned (lm_repository_state (repo),
                                                  pack->id);
  }
  return 0;

fail:
  lm_gc_packs_release (p);
  return -1;
}

void
lm_gc_packs_release (struct lm_gc_packs *p)
{
  size_t i;

  for (i = 0; i < p->nr_runs; i++) {
    free (p->runs[i].packs);
    free (p->runs[i].chosen);
  }
  free (p->runs);
  free (p->packs);
  lm_id_set_release (&p->numbers);
  lm_gc_refs_release (&p->bases);
  memset (p, 0, sizeof *p);
}

/* --- choosing --- */

/* A stored copy of the id that is being looked at. */
struct copy {
  struct lm_gc_run *run;
  uint64_t pos;
  struct lm_entry e;
  uint8_t base[LM_ID_LEN];
};

/* A pass over the runs. */
struct pass {
  struct lm_gc_packs *p;
  bool bases;                   /* the references are to bases */
  uint64_t *pos, *window;       /* per run */
  struct copy *copies;          /* of the current reference */
  size_t nr_copies, alloc_copies;
};

static bool
is_chosen (const struct lm_gc_run *r, uint64_t pos)
{
  return r->chosen[pos / 8] >> pos % 8 & 1;
}

static const struct lm_gc_pack *
pack_of (const struct lm_gc_packs *p, const struct copy *c)
{
  return &p->packs[c->run->packs[c->e.pack]];
}

/* How good a copy is; 0 is no use at all.  A chosen one stays chosen. */
static unsigned
rank (const struct pass *pass, const struct copy *c)
{
  const struct lm_gc_pack *pack = pack_of (pass->p, c);

  if (!pack->whole || (pass->bases && c->e.encoding == LM_ENCODING_ZSTD_BASE))
    return 0;
  return 1 + 4 * !pack->condemned + 2 * is_chosen (c->run, c->pos) +
    (c->e.encoding != LM_ENCODING_ZSTD_BASE);
}

/* A base is stored in full, so this calls itself once at most. */
static int apply (struct lm_gc_packs *p, struct lm_gc_refs *refs,
                  bool bases, struct lm_error *err);

static int
choose_copy (struct lm_gc_packs *p, const struct copy *c,
             struct lm_error *err)
{
  struct lm_gc_pack *pack = &p->packs[c->run->packs[c->e.pack]];

  if (is_chosen (c->run, c->pos))
    return 0;
  c->run->chosen[c->pos / 8] |= 1u << c->pos % 8;
  pack->live += c->e.stored_len + sizeof (struct lm_entry_wire);
  pack->live_entries++;
  if (c->e.encoding != LM_ENCODING_ZSTD_BASE)
    return 0;
  pack->live += LM_ID_LEN;
  if (!lm_gc_refs_has_room (&p->bases, 1) &&
      apply (p, &p->bases, true, err) == -1)
    return -1;
  lm_gc_refs_add (&p->bases, c->base);
  return 0;
}

/* The copies [from, to) are of one id. */
static int
choose_among (struct pass *pass, size_t from, size_t to,
              struct lm_error *err)
{
  const struct copy *best = NULL;
  unsigned best_rank = 0;
  size_t i;

  for (i = from; i < to; i++) {
    unsigned r = rank (pass, &pass->copies[i]);

    if (r > best_rank) {
      best = &pass->copies[i];
      best_rank = r;
    }
  }
  if (best)
    return choose_copy (pass->p, best, err);
  pass->p->missing++;
  return 0;
}

static int
compare_copies (const void *a, const void *b)
{
  const struct copy *x = a, *y = b;
  int r = memcmp (x->e.id, y->e.id, LM_ID_LEN);

  return r ? r : x->e.type - y->e.type;
}

/* Ids that begin alike are all taken for meant. */
static int
choose (struct pass *pass, struct lm_error *err)
{
  size_t from, to;

  if (pass->nr_copies > 1)
    qsort (pass->copies, pass->nr_copies, sizeof *pass->copies,
           compare_copies);
  for (from = 0; from < pass->nr_copies; from = to) {
    for (to = from + 1; to < pass->nr_copies; to++)
      if (compare_copies (&pass->copies[from], &pass->copies[to]) != 0)
        break;
    if (choose_among (pass, from, to, err) == -1)
      return -1;
  }
  return 0;
}

static int
add_copy (struct pass *pass, struct lm_gc_run *run, uint64_t pos,
          struct lm_error *err)
{
  struct copy *c;

  if (pass->nr_copies == pass->alloc_copies) {
    size_t alloc = pass->alloc_copies ? 2 * pass->alloc_copies : 16;
    struct copy *bigger = realloc (pass->copies, alloc * sizeof *bigger);

    if (bigger == NULL)
      return lm_error_set (err, LM_ERR_NOMEM, "out of memory for copies");
    pass->copies = bigger;
    pass->alloc_copies = alloc;
  }
  c = &pass->copies[pass->nr_copies];
  c->run = run;
  c->pos = pos;
  if (lm_index_run_get (run->run, pos, &c->e, c->base, err) == -1)
    return -1;
  pass->nr_copies++;
  return 0;
}

/* All entries whose ids begin with KEY. */
static int
collect (struct pass *pass, uint64_t key, struct lm_error *err)
{
  struct lm_gc_packs *p = pass->p;
  size_t i;

  pass->nr_copies = 0;
  for (i = 0; i < p->nr_runs; i++) {
    const struct lm_index_run *run = p->runs[i].run;
    uint64_t pos = lm_index_run_seek (run, pass->pos[i], key);

    for (; pos < lm_index_run_entries (run) &&
           lm_index_run_key (run, pos) == key; pos++)
      if (add_copy (pass, &p->runs[i], pos, err) == -1)
        return -1;
    pass->pos[i] = pos;
    if (pos - pass->window[i] > WINDOW) {
      lm_index_run_passed (run, pass->window[i], pos);
      pass->window[i] = pos;
    }
  }
  return 0;
}

static int
apply (struct lm_gc_packs *p, struct lm_gc_refs *refs, bool bases,
       struct lm_error *err)
{
  CLEANUP_FREE uint64_t *pos = calloc (p->nr_runs + 1, sizeof *pos);
  CLEANUP_FREE uint64_t *window = calloc (p->nr_runs + 1, sizeof *window);
  struct pass pass = { .p = p, .bases = bases, .pos = pos, .window = window };
  size_t i;
  int r = 0;

  if (pos == NULL || window == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory for a pass");
  if (lm_gc_refs_sort (refs, err) == -1)
    return -1;
  for (i = 0; i < refs->n && r == 0; i++) {
    r = collect (&pass, refs->keys[i], err);
    if (r == 0 && pass.nr_copies == 0)
      p->missing++;
    else if (r == 0)
      r = choose (&pass, err);
  }
  for (i = 0; i < p->nr_runs; i++)
    lm_index_run_passed (p->runs[i].run, 0, pos[i]);
  refs->n = 0;
  free (pass.copies);
  return r;
}

int
lm_gc_packs_apply_bases (struct lm_gc_packs *p, struct lm_error *err)
{
  return p->bases.n > 0 ? apply (p, &p->bases, true, err) : 0;
}

int
lm_gc_packs_apply (struct lm_gc_packs *p, struct lm_gc_refs *refs,
                   struct lm_error *err)
{
  return apply (p, refs, false, err);
}

bool
lm_gc_packs_chosen (const struct lm_gc_packs *p, size_t nr, uint32_t offset,
                    const uint8_t id[LM_ID_LEN])
{
  size_t i;

  for (i = 0; i < p->nr_runs; i++) {
    const struct lm_gc_run *r = &p->runs[i];
    uint64_t pos = lm_index_run_find (r->run, id);

    for (; pos < lm_index_run_entries (r->run); pos++) {
      struct lm_error ignored = LM_ERROR_INIT;
      uint8_t base[LM_ID_LEN];
      struct lm_entry e;

      if (lm_index_run_get (r->run, pos, &e, base, &ignored) == -1 ||
          memcmp (e.id, id, LM_ID_LEN) != 0)
        break;
      if (r->packs[e.pack] == nr && e.offset == offset &&
          is_chosen (r, pos))
        return true;
    }
  }
  return false;
}
