/* SPDX-License-Identifier: Apache-2.0
 *
 * The cache of decoded blocks; see cache.h.
 *
 * The blocks lie in one mapping; a slot describes each.  Slots are dealt
 * out to shards, a shard is found by hashing (disk, block), and everything
 * about a slot but its pin count is under its shard's mutex.  A hit takes
 * that mutex once, for a look-up in a short chain, and copies after
 * letting it go: the pin keeps the slot from being reused meanwhile.
 *
 *   EMPTY --claim--> LOADING --ok--> VALID --claim of another--> LOADING
 *     ^                 |failed
 *     '----unpinned-- FAILED
 *
 * Eviction is CLOCK within the shard.  (Rejected: LRU lists, which write
 * two cache lines more on each hit for no measurable gain here, and a
 * malloc for each block, which leaves memory in the arenas of sixteen
 * threads.)
 *
 * When no slot can be had (all are pinned, or the cache is off) the inner
 * disk is read directly, so the cache can be a reason for slowness but not
 * for failure.
 */
#include <config.h>

#include "proxy/cache.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "common/banned.h"

#define SHARDS_MAX 16
#define SLOTS_PER_SHARD_MIN 8
/* Reads of this many blocks and more go past the cache. */
#define DIRECT_BLOCKS 4
#define NONE UINT32_MAX

enum slot_state { SLOT_EMPTY, SLOT_LOADING, SLOT_VALID, SLOT_FAILED };

struct slot {
  uint64_t block;
  uint32_t disk;
  uint32_t next;                /* in the chain of its bucket */
  uint8_t state;
  uint8_t referenced;           /* CLOCK's bit */
  _Atomic (uint32_t) pins;      /* raised under the lock, lowered without */
};

struct shard {
  pthread_mutex_t lock;
  pthread_cond_t loaded;        /* some slot left LOADING */
  uint32_t first_slot, nr_slots, hand;
  uint32_t *buckets;            /* a power of two; first slot or NONE */
  uint32_t bucket_mask;
  struct lm_cache_stats stats;
} __attribute__ ((aligned (64)));

struct lm_cache {
  uint32_t block;
  unsigned block_shift;
  uint32_t nr_slots;
  uint32_t nr_shards;           /* a power of two */
  uint8_t *slab;
  struct slot *slots;
  uint32_t *all_buckets;
  _Atomic (uint32_t) next_disk;
  struct shard shards[SHARDS_MAX];
};

struct cache_disk {
  struct lm_disk disk;
  struct lm_cache *cache;
  struct lm_disk *inner;
  uint32_t id;
};

static const struct lm_disk_ops cache_disk_ops;

struct lm_cache *
lm_cache_new (uint64_t bytes, uint32_t block, struct lm_error *err)
{
  struct lm_cache *c;
  uint32_t i, buckets;

  if (block < 512 || !lm_is_power_of_2 (block)) {
    lm_error_set (err, LM_ERR_USAGE, "cache: a block of %u bytes, expected "
                  "a power of two from 512 on", block);
    return NULL;
  }
  if (bytes / block >= NONE) {
    lm_error_set (err, LM_ERR_LIMIT, "cache: more than 2^32 blocks");
    return NULL;
  }
  if (posix_memalign ((void **) &c, 64, sizeof *c) != 0)
    goto nomem;
  memset (c, 0, sizeof *c);
  c->block = block;
  c->block_shift = __builtin_ctz (block);
  c->nr_slots = bytes / block;
  c->nr_shards = SHARDS_MAX;
  while (c->nr_shards > 1 &&
         c->nr_slots / c->nr_shards < SLOTS_PER_SHARD_MIN)
    c->nr_shards /= 2;
  buckets = 8;
  while (buckets < c->nr_slots / c->nr_shards)
    buckets *= 2;
  c->slots = calloc (c->nr_slots + 1, sizeof *c->slots);
  c->all_buckets = malloc ((size_t) buckets * c->nr_shards *
                           sizeof *c->all_buckets);
  if (c->slots == NULL || c->all_buckets == NULL)
    goto free_nomem;
  if (c->nr_slots > 0) {
    c->slab = mmap (NULL, (size_t) c->nr_slots << c->block_shift,
                    PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (c->slab == MAP_FAILED)
      goto free_nomem;
    /* A page fault for each 4 KiB would cost a tenth of decoding them. */
    madvise (c->slab, (size_t) c->nr_slots << c->block_shift,
             MADV_HUGEPAGE);
  }
  memset (c->all_buckets, 0xff,
          (size_t) buckets * c->nr_shards * sizeof *c->all_buckets);
  for (i = 0; i < c->nr_shards; i++) {
    struct shard *s = &c->shards[i];

    pthread_mutex_init (&s->lock, NULL);
    pthread_cond_init (&s->loaded, NULL);
    s->first_slot = (uint64_t) c->nr_slots * i / c->nr_shards;
    s->nr_slots = (uint64_t) c->nr_slots * (i + 1) / c->nr_shards -
      s->first_slot;
    s->buckets = c->all_buckets + (size_t) buckets * i;
    s->bucket_mask = buckets - 1;
  }
  return c;

free_nomem:
  free (c->slots);
  free (c->all_buckets);
  free (c);
nomem:
  lm_error_set (err, LM_ERR_NOMEM, "out of memory (cache)");
  return NULL;
}

void
lm_cache_free (struct lm_cache *c)
{
  uint32_t i;

  if (c == NULL)
    return;
  for (i = 0; i < c->nr_shards; i++) {
    pthread_mutex_destroy (&c->shards[i].lock);
    pthread_cond_destroy (&c->shards[i].loaded);
  }
  if (c->slab)
    munmap (c->slab, (size_t) c->nr_slots << c->block_shift);
  free (c->all_buckets);
  free (c->slots);
  free (c);
}

uint32_t
lm_cache_block (const struct lm_cache *c)
{
  return c->block;
}

uint64_t
lm_cache_capacity (const struct lm_cache *c)
{
  return (uint64_t) c->nr_slots << c->block_shift;
}

void
lm_cache_get_stats (struct lm_cache *c, struct lm_cache_stats *ret_stats)
{
  uint32_t i;

  memset (ret_stats, 0, sizeof *ret_stats);
  for (i = 0; i < c->nr_shards; i++) {
    struct shard *s = &c->shards[i];
    LM_LOCK_FOR_SCOPE (&s->lock);

    ret_stats->hits += s->stats.hits;
    ret_stats->misses += s->stats.misses;
    ret_stats->waits += s->stats.waits;
    ret_stats->zeros += s->stats.zeros;
    ret_stats->direct += s->stats.direct;
  }
}

/* Where a block belongs: the shard, and the bucket within it. */
struct place {
  struct shard *shard;
  uint32_t *bucket;
};

static struct place
find_place (struct lm_cache *c, uint32_t disk, uint64_t block)
{
  uint64_t h = (block ^ ((uint64_t) disk << 40)) *
    UINT64_C (0x9e3779b97f4a7c15);
  struct shard *s = &c->shards[(h >> 60) & (c->nr_shards - 1)];

  return (struct place) { s, &s->buckets[(h >> 32) & s->bucket_mask] };
}

static uint8_t *
slot_data (const struct lm_cache *c, const struct slot *slot)
{
  return c->slab + ((size_t) (slot - c->slots) << c->block_shift);
}

static struct slot *
find_locked (const struct lm_cache *c, const struct place *p, uint32_t disk,
             uint64_t block)
{
  uint32_t i;

  for (i = *p->bucket; i != NONE; i = c->slots[i].next)
    if (c->slots[i].block == block && c->slots[i].disk == disk)
      return &c->slots[i];
  return NULL;
}

static void
unhash_locked (struct lm_cache *c, struct slot *slot)
{
  struct place p = find_place (c, slot->disk, slot->block);
  uint32_t *link = p.bucket;

  while (&c->slots[*link] != slot)
    link = &c->slots[*link].next;
  *link = slot->next;
}

static void
pin_locked (struct slot *slot)
{
  atomic_fetch_add_explicit (&slot->pins, 1, memory_order_relaxed);
}

static void
unpin (struct slot *slot)
{
  atomic_fetch_sub_explicit (&slot->pins, 1, memory_order_release);
}

/* A slot for the block, LOADING and pinned; NULL if there is none. */
static struct slot *
claim_locked (struct lm_cache *c, const struct place *p, uint32_t disk,
              uint64_t block)
{
  struct shard *s = p->shard;
  uint32_t tries;

  for (tries = 0; tries < 2 * s->nr_slots; tries++) {
    struct slot *slot = &c->slots[s->first_slot + s->hand];

    s->hand = s->hand + 1 < s->nr_slots ? s->hand + 1 : 0;
    if (atomic_load_explicit (&slot->pins, memory_order_acquire) != 0)
      continue;
    if (slot->state == SLOT_VALID) {
      if (slot->referenced) {
        slot->referenced = 0;
        continue;
      }
      unhash_locked (c, slot);
    }
    slot->disk = disk;
    slot->block = block;
    slot->state = SLOT_LOADING;
    slot->referenced = 0;       /* what is read only once goes first */
    slot->next = *p->bucket;
    *p->bucket = slot - c->slots;
    pin_locked (slot);
    return slot;
  }
  return NULL;
}

static int
note_data (void *opaque, uint64_t offset, uint64_t len,
           enum lm_extent_type type, struct lm_error *err)
{
  bool *data = opaque;

  (void) offset;
  (void) len;
  (void) err;
  if (type == LM_EXTENT_DATA)
    *data = true;
  return 0;
}

/* Does the inner disk know that this block is zero?  If it cannot tell,
 * loading it will say why. */
static bool
known_zero (struct cache_disk *d, uint64_t offset, size_t len)
{
  struct lm_error ignored = LM_ERROR_INIT;
  bool data = false;

  return d->inner->ops->extents != NULL &&
    lm_disk_extents (d->inner, offset, len, note_data, &data,
                     &ignored) == 0 &&
    !data;
}

static size_t
block_len (const struct cache_disk *d, uint64_t block)
{
  uint64_t offset = block << d->cache->block_shift;

  return lm_min_u64 (d->cache->block, d->disk.size - offset);
}

enum found {
  FOUND_SLOT,                   /* *ret_slot is VALID and pinned */
  FOUND_ZERO,
  FOUND_NOTHING,                /* read it past the cache */
};

/* Get the block into a slot.  With PREFETCH a block that another thread
 * is loading is left to it.  A failure to load is FOUND_NOTHING with *err
 * set. */
static enum found
get_block (struct cache_disk *d, uint64_t block, bool prefetch,
           struct slot **ret_slot, struct lm_error *err)
{
  struct lm_cache *c = d->cache;
  struct place p = find_place (c, d->id, block);
  struct shard *s = p.shard;
  size_t len = block_len (d, block);
  struct slot *slot;
  bool asked = false, ok;

  pthread_mutex_lock (&s->lock);
again:
  slot = find_locked (c, &p, d->id, block);
  if (__builtin_expect (slot != NULL && slot->state == SLOT_VALID, 1)) {
    slot->referenced = 1;
    pin_locked (slot);
    s->stats.hits++;
    pthread_mutex_unlock (&s->lock);
    *ret_slot = slot;
    return FOUND_SLOT;
  }
  if (slot != NULL) {           /* LOADING: FAILED ones are not hashed */
    if (prefetch) {
      pthread_mutex_unlock (&s->lock);
      return FOUND_NOTHING;
    }
    s->stats.waits++;
    pin_locked (slot);
    while (slot->state == SLOT_LOADING)
      pthread_cond_wait (&s->loaded, &s->lock);
    ok = slot->state == SLOT_VALID;
    pthread_mutex_unlock (&s->lock);
    if (!ok) {
      unpin (slot);
      return FOUND_NOTHING;
    }
    *ret_slot = slot;
    return FOUND_SLOT;
  }
  if (!asked) {
    pthread_mutex_unlock (&s->lock);
    asked = true;
    ok = known_zero (d, block << c->block_shift, len);
    pthread_mutex_lock (&s->lock);
    if (ok) {
      s->stats.zeros++;
      pthread_mutex_unlock (&s->lock);
      return FOUND_ZERO;
    }
    goto again;
  }
  slot = claim_locked (c, &p, d->id, block);
  if (slot == NULL) {
    s->stats.direct++;
    pthread_mutex_unlock (&s->lock);
    return FOUND_NOTHING;
  }
  s->stats.misses++;
  pthread_mutex_unlock (&s->lock);

  ok = lm_disk_pread (d->inner, slot_data (c, slot), len,
                      block << c->block_shift, err) == 0;
  pthread_mutex_lock (&s->lock);
  if (!ok)
    unhash_locked (c, slot);
  slot->state = ok ? SLOT_VALID : SLOT_FAILED;
  pthread_cond_broadcast (&s->loaded);
  pthread_mutex_unlock (&s->lock);
  if (!ok) {
    unpin (slot);
    return FOUND_NOTHING;
  }
  *ret_slot = slot;
  return FOUND_SLOT;
}

/* A part of one block, through the cache. */
static int
read_part (struct cache_disk *d, uint8_t *buf, size_t len, uint64_t offset,
           struct lm_error *err)
{
  struct lm_cache *c = d->cache;
  uint64_t block = offset >> c->block_shift;
  struct lm_error failed = LM_ERROR_INIT;
  struct slot *slot;

  switch (get_block (d, block, false, &slot, &failed)) {
  case FOUND_SLOT:
    memcpy (buf, slot_data (c, slot) + (offset & (c->block - 1)), len);
    unpin (slot);
    return 0;
  case FOUND_ZERO:
    memset (buf, 0, len);
    return 0;
  case FOUND_NOTHING:
    break;
  }
  if (failed.kind != LM_ERR_NONE && len == block_len (d, block)) {
    *err = failed;
    return -1;
  }
  return lm_disk_pread (d->inner, buf, len, offset, err);
}

/* Is the block in the cache?  Then copy it all to BUF. */
static bool
copy_if_cached (struct cache_disk *d, uint8_t *buf, uint64_t block)
{
  struct lm_cache *c = d->cache;
  struct place p = find_place (c, d->id, block);
  struct slot *slot;

  pthread_mutex_lock (&p.shard->lock);
  slot = find_locked (c, &p, d->id, block);
  if (slot != NULL && slot->state == SLOT_VALID) {
    pin_locked (slot);
    slot->referenced = 1;
    p.shard->stats.hits++;
  }
  else {
    slot = NULL;
    p.shard->stats.direct++;
  }
  pthread_mutex_unlock (&p.shard->lock);
  if (slot == NULL)
    return false;
  memcpy (buf, slot_data (c, slot), block_len (d, block));
  unpin (slot);
  return true;
}

/* Whole blocks of a large read: what is cached is copied, each run of the
 * rest is one read of the inner disk into the caller's buffer. */
static int
read_direct (struct cache_disk *d, uint8_t *buf, size_t len,
             uint64_t offset, struct lm_error *err)
{
  struct lm_cache *c = d->cache;
  uint64_t run = offset, end = offset + len;

  for (; offset < end; offset += c->block) {
    if (!copy_if_cached (d, buf + (len - (end - offset)),
                         offset >> c->block_shift))
      continue;
    if (run < offset &&
        lm_disk_pread (d->inner, buf + (len - (end - run)), offset - run,
                       run, err) == -1)
      return -1;
    run = offset + c->block;
  }
  if (run < end &&
      lm_disk_pread (d->inner, buf + (len - (end - run)), end - run, run,
                     err) == -1)
    return -1;
  return 0;
}

static int
cache_disk_pread (struct lm_disk *disk, void *buf, size_t len,
                  uint64_t offset, struct lm_error *err)
{
  struct cache_disk *d = (struct cache_disk *) disk;
  struct lm_cache *c = d->cache;
  uint8_t *p = buf;

  while (len > 0) {
    size_t in_block = offset & (c->block - 1);
    size_t n = lm_min_u64 (len, c->block - in_block);

    if (in_block == 0 && len >= (size_t) DIRECT_BLOCKS * c->block) {
      n = len & ~((size_t) c->block - 1);
      if (read_direct (d, p, n, offset, err) == -1)
        return -1;
    }
    else if (read_part (d, p, n, offset, err) == -1)
      return -1;
    p += n;
    offset += n;
    len -= n;
  }
  return 0;
}

static int
cache_disk_extents (struct lm_disk *disk, uint64_t offset, uint64_t len,
                    lm_extent_cb cb, void *opaque, struct lm_error *err)
{
  struct cache_disk *d = (struct cache_disk *) disk;

  return lm_disk_extents (d->inner, offset, len, cb, opaque, err);
}

/* By contract nobody reads any more, so nothing of ours is pinned. */
static void
cache_disk_close (struct lm_disk *disk)
{
  struct cache_disk *d = (struct cache_disk *) disk;
  struct lm_cache *c = d->cache;
  uint32_t i, j;

  for (i = 0; i < c->nr_shards; i++) {
    struct shard *s = &c->shards[i];
    LM_LOCK_FOR_SCOPE (&s->lock);

    for (j = s->first_slot; j < s->first_slot + s->nr_slots; j++) {
      struct slot *slot = &c->slots[j];

      if (slot->state == SLOT_VALID && slot->disk == d->id) {
        unhash_locked (c, slot);
        slot->state = SLOT_EMPTY;
      }
    }
  }
  lm_disk_close (d->inner);
  free (d);
}

static const struct lm_disk_ops cache_disk_ops = {
  .name = "cache",
  .pread = cache_disk_pread,
  .extents = cache_disk_extents,
  .close = cache_disk_close,
};

struct lm_disk *
lm_cache_disk_new (struct lm_cache *cache, struct lm_disk *inner,
                   struct lm_error *err)
{
  struct cache_disk *d = calloc (1, sizeof *d);

  if (d == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory (cache)");
    return NULL;
  }
  d->disk.ops = &cache_disk_ops;
  d->disk.size = inner->size;
  d->disk.preferred_block = inner->preferred_block;
  d->disk.live = inner->live;
  d->cache = cache;
  d->inner = inner;
  d->id = atomic_fetch_add (&cache->next_disk, 1);
  return &d->disk;
}

int
lm_cache_disk_prefetch (struct lm_disk *disk, uint64_t offset, uint64_t len,
                        struct lm_error *err)
{
  struct cache_disk *d = (struct cache_disk *) disk;
  struct lm_cache *c = d->cache;
  uint64_t block, last;

  if (offset >= disk->size)
    return 0;
  /* More than half of the cache would only push itself out. */
  len = lm_min_u64 (len, disk->size - offset);
  len = lm_min_u64 (len, lm_cache_capacity (c) / 2);
  if (len == 0)
    return 0;
  last = (offset + len - 1) >> c->block_shift;
  for (block = offset >> c->block_shift; block <= last; block++) {
    struct lm_error failed = LM_ERROR_INIT;
    struct slot *slot;

    if (get_block (d, block, true, &slot, &failed) == FOUND_SLOT)
      unpin (slot);
    else if (failed.kind != LM_ERR_NONE) {
      *err = failed;
      return -1;
    }
  }
  return 0;
}
