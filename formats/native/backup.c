/* SPDX-License-Identifier: Apache-2.0
 *
 * Making a snapshot; see backup.h.
 *
 *   lease → disks and files (packs are stored meanwhile) → last packs →
 *   index segments → manifest → one journal record → lease released
 *
 * Each step is durable before the next begins; only the record makes any
 * of it visible.
 */
#include <config.h>

#include "formats/native/backup.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "common/json.h"
#include "common/log.h"
#include "common/random.h"
#include "formats/native/backup-disk.h"
#include "formats/native/chunk-write.h"
#include "formats/native/disk-map.h"
#include "formats/native/journal-change.h"
#include "formats/native/journal.h"
#include "formats/native/lease.h"
#include "formats/native/repository-internal.h"
#include "formats/native/snapshot-wire.h"
#include "formats/native/whoami.h"
#include "common/banned.h"

/* Another writer of the same VM, or a merge of segments, can get in
 * between this often. */
#define COMMIT_TRIES 20

struct backup {
  struct lm_repository *repo;
  const struct lm_backup_params *params;
  struct lm_chunk_writer *writer;
  struct lm_backup_counters counters;
  uint64_t total;
  struct lm_snapshot *snapshot; /* what becomes the manifest */
  struct lm_snapshot *before;   /* the VM's newest, when that can be read */
  uint64_t unreadable;
};

static void
tick (void *opaque)
{
  struct backup *b = opaque;
  struct lm_chunk_writer_statistics s;
  struct lm_backup_progress p = { .total = b->total };

  if (b->params->progress == NULL)
    return;
  lm_chunk_writer_get_statistics (b->writer, &s);
  p.done = __atomic_load_n (&b->counters.done, __ATOMIC_RELAXED);
  p.read = __atomic_load_n (&b->counters.read, __ATOMIC_RELAXED);
  p.zero = __atomic_load_n (&b->counters.zero, __ATOMIC_RELAXED);
  p.new_plain = s.new_plain;
  p.stored = s.stored;
  b->params->progress (b->params->opaque, &p);
}

/* --- attached files: a disk in memory --- */

struct memory_disk {
  struct lm_disk disk;          /* first */
  const uint8_t *data;          /* borrowed */
};

static int
memory_pread (struct lm_disk *disk, void *buf, size_t len, uint64_t offset,
              struct lm_error *err)
{
  (void) err;
  memcpy (buf, ((struct memory_disk *) disk)->data + offset, len);
  return 0;
}

static void
memory_close (struct lm_disk *disk)
{
  (void) disk;
}

static const struct lm_disk_ops memory_ops = {
  .name = "attached file",
  .pread = memory_pread,
  .close = memory_close,
};

static int
backup_files (struct backup *b, struct lm_error *err)
{
  size_t i;

  for (i = 0; i < b->params->nr_files; i++) {
    const struct lm_backup_file *f = &b->params->files[i];
    struct lm_snapshot_file *out = &b->snapshot->files[i];
    struct memory_disk disk = {
      .disk = { .ops = &memory_ops, .size = f->len },
      .data = f->data,
    };
    struct lm_backup_counters uncounted = { 0 };
    struct lm_backup_disk_result result;

    if (f->len > LM_FILE_SIZE_MAX)
      return lm_error_set (err, LM_ERR_LIMIT, "%s: %zu bytes, the limit for "
                           "an attached file is %" PRIu64, f->name, f->len,
                           LM_FILE_SIZE_MAX);
    if (lm_backup_disk_run (b->writer, &disk.disk, NULL,
                            lm_repository_chunk_size (b->repo), 1,
                            &uncounted, b->params->cancel, tick, b, &result,
                            err) == -1)
      return lm_error_prefix (err, "%s", f->name);
    out->kind = strdup (f->kind);
    out->name = strdup (f->name);
    out->size = f->len;
    out->mode = f->mode & 07777;
    out->has_root = result.has_root;
    memcpy (out->root, result.root, LM_ID_LEN);
    free (result.unreadable);
    b->snapshot->nr_files = i + 1;
  }
  return 0;
}

/* --- disks --- */

static unsigned
default_threads (void)
{
  long cores = sysconf (_SC_NPROCESSORS_ONLN);

  /* Twice the cores: some wait for the source, some for the store. */
  return cores < 1 ? 2 : cores > 32 ? 64 : 2 * (unsigned) cores;
}

static const struct lm_snapshot_entry *
newest_of (const struct lm_repository *repo, const char *vm)
{
  size_t n;
  const struct lm_snapshot_entry *all = lm_repository_snapshots (repo, &n);

  while (n-- > 0)
    if (strcmp (all[n].vm, vm) == 0)
      return &all[n];
  return NULL;
}

/* What is changed is stored against the VM's newest snapshot.  It becomes
 * the parent unless somebody else's comes in between, which does no harm.
 * One that can't be read only costs space. */
static void
open_before (struct backup *b)
{
  const struct lm_snapshot_entry *newest = newest_of (b->repo,
                                                      b->params->vm);
  struct lm_error why = LM_ERROR_INIT;

  if (newest == NULL || b->params->no_base_chunks)
    return;
  b->before = lm_snapshot_open (b->repo, newest, &why);
  if (b->before == NULL)
    lm_debug (LM_DEBUG_REPOSITORY, "no base chunks: %s", why.message);
}

/* The map of the disk NAME as it was, or NULL. */
static struct lm_disk_map *
map_before (const struct backup *b, const char *name)
{
  struct lm_error why = LM_ERROR_INIT;
  size_t i;

  for (i = 0; b->before && i < b->before->nr_disks; i++) {
    const struct lm_snapshot_disk *d = &b->before->disks[i];

    if (strcmp (d->name, name) == 0)
      return lm_disk_map_new (b->repo,
                              lm_div_up (d->size, lm_repository_chunk_size
                                         (b->repo)),
                              d->has_root ? d->root : NULL, name, &why);
  }
  return NULL;
}

static int
backup_disk (struct backup *b, const struct lm_backup_disk *in,
             struct lm_snapshot_disk *out, struct lm_error *err)
{
  struct lm_backup_disk_result result;
  unsigned threads = b->params->threads ? : default_threads ();
  struct lm_disk_map *before = map_before (b, in->name);
  size_t i;
  int r;

  r = lm_backup_disk_run (b->writer, in->disk, before,
                          lm_repository_chunk_size (b->repo), threads,
                          &b->counters, b->params->cancel, tick, b, &result,
                          err);
  lm_disk_map_free (before);
  if (r == -1)
    return lm_error_prefix (err, "disk %s", in->name);
  out->name = strdup (in->name);
  out->source = strdup (in->source ? : "");
  out->size = in->disk->size;
  out->sector_size = in->sector_size ? : 512;
  out->has_root = result.has_root;
  memcpy (out->root, result.root, LM_ID_LEN);
  out->unreadable = calloc (result.nr_unreadable + 1,
                            sizeof *out->unreadable);
  if (out->unreadable == NULL) {
    free (result.unreadable);
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  }
  out->nr_unreadable = result.nr_unreadable;
  for (i = 0; i < result.nr_unreadable; i++) {
    out->unreadable[i].offset = result.unreadable[i].offset;
    out->unreadable[i].len = result.unreadable[i].len;
    b->unreadable += result.unreadable[i].len;
  }
  free (result.unreadable);
  return 0;
}

static int
backup_disks (struct backup *b, struct lm_error *err)
{
  size_t i;

  for (i = 0; i < b->params->nr_disks; i++) {
    if (backup_disk (b, &b->params->disks[i], &b->snapshot->disks[i],
                     err) == -1)
      return -1;
    b->snapshot->nr_disks = i + 1;
  }
  return 0;
}

/* --- manifest and record --- */

static int
check_params (const struct lm_backup_params *p, struct lm_error *err)
{
  size_t i, j;

  if (lm_name_check ("VM", p->vm, err) == -1)
    return -1;
  if (p->nr_disks == 0 || p->nr_disks > LM_DISKS_MAX)
    return lm_error_set (err, LM_ERR_USAGE, "a snapshot has 1 to %d disks",
                         LM_DISKS_MAX);
  if (p->nr_files > LM_FILES_MAX)
    return lm_error_set (err, LM_ERR_USAGE,
                         "a snapshot has at most %d attached files",
                         LM_FILES_MAX);
  for (i = 0; i < p->nr_disks; i++) {
    if (lm_name_check ("disk", p->disks[i].name, err) == -1)
      return -1;
    for (j = 0; j < i; j++)
      if (strcmp (p->disks[i].name, p->disks[j].name) == 0)
        return lm_error_set (err, LM_ERR_USAGE,
                             "two disks are called %s", p->disks[i].name);
  }
  return 0;
}

static int
start_manifest (struct backup *b, struct lm_error *err)
{
  const struct lm_backup_params *p = b->params;
  struct lm_snapshot *s = calloc (1, sizeof *s);
  char host[LM_WHOAMI_LEN];
  size_t i;

  if (s == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  b->snapshot = s;
  lm_random_bytes (s->id, sizeof s->id);
  lm_whoami_host (host);
  s->vm = strdup (p->vm);
  s->created_by = strdup (p->program);
  s->host = strdup (host);
  s->consistency = strdup (p->consistency);
  if (p->machine_config_kind)
    s->machine_config_kind = strdup (p->machine_config_kind);
  s->disks = calloc (p->nr_disks + 1, sizeof *s->disks);
  s->files = calloc (p->nr_files + 1, sizeof *s->files);
  s->tags = calloc (p->nr_tags + 1, sizeof *s->tags);
  if (!s->vm || !s->created_by || !s->host || !s->consistency || !s->disks ||
      !s->files || !s->tags)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  for (i = 0; i < p->nr_tags; i++) {
    s->tags[i] = strdup (p->tags[i]);
    s->nr_tags = i + 1;
  }
  return 0;
}

/* Parent and time follow from the newest snapshot of the VM. */
static void
place_in_history (struct backup *b)
{
  struct lm_snapshot *s = b->snapshot;
  const struct lm_snapshot_entry *parent = newest_of (b->repo, s->vm);
  int64_t newest;

  s->has_parent = false;
  s->time = lm_clock_now ();
  if (lm_journal_state_newest (lm_repository_state (b->repo), s->vm,
                               &newest) && s->time <= newest)
    s->time = newest + 1;
  if (parent) {
    s->has_parent = true;
    memcpy (s->parent, parent->id, LM_NAME_ID_LEN);
  }
}

/* Does a change of the chunk writer's still apply?  Another writer may
 * have merged a segment away, or been the first with a feature. */
static int
still_applies (const struct backup *b, const json_t *change,
               bool *ret_applies, struct lm_error *err)
{
  const struct lm_journal_state *state = lm_repository_state (b->repo);
  const char *name = json_string_value (json_object_get (change, "change"));
  uint8_t id[LM_NAME_ID_LEN];
  bool applies = true;
  size_t i;

  if (strcmp (name, "feature-add") == 0)
    applies = !lm_repository_has_feature (b->repo, LM_FEATURE_REQUIRED,
                                          LM_FEATURE_BASE_CHUNKS);
  else if (strcmp (name, "segment-remove") == 0) {
    if (lm_json_hex (change, "id", id, sizeof id, "change", err) == -1)
      return -1;
    applies = false;
    for (i = 0; i < state->nr_segments; i++)
      applies |= memcmp (state->segments[i].id, id, sizeof id) == 0;
  }
  *ret_applies = applies;
  return 0;
}

/* Changes for this try: those of the chunk writer that still apply, and
 * the snapshot. */
static json_t *
make_changes (struct backup *b, const json_t *writer_changes,
              const uint8_t sha256[LM_SHA256_LEN], struct lm_error *err)
{
  CLEANUP_JSON json_t *changes = json_array ();
  struct lm_snapshot_entry entry = {
    .vm = b->snapshot->vm,
    .time = b->snapshot->time,
    .has_parent = b->snapshot->has_parent,
  };
  size_t i;
  json_t *v;

  json_array_foreach (writer_changes, i, v) {
    bool applies;

    if (still_applies (b, v, &applies, err) == -1)
      return NULL;
    if (applies && json_array_append (changes, v) == -1) {
      lm_error_set (err, LM_ERR_NOMEM, "out of memory");
      return NULL;
    }
  }
  memcpy (entry.id, b->snapshot->id, LM_NAME_ID_LEN);
  memcpy (entry.parent, b->snapshot->parent, LM_NAME_ID_LEN);
  memcpy (entry.manifest_sha256, sha256, LM_SHA256_LEN);
  if (lm_change_snapshot_add (changes, &entry, err) == -1)
    return NULL;
  return lm_steal (changes);
}

static int
publish (struct backup *b, struct lm_lease *lease,
         const json_t *writer_changes, struct lm_error *err)
{
  CLEANUP_FREE char *writer = NULL;
  int try;

  if (asprintf (&writer, "backup %s, %s, %s", b->snapshot->vm,
                b->snapshot->host, b->snapshot->created_by) == -1) {
    writer = NULL;
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  }
  for (try = 0; try < COMMIT_TRIES; try++) {
    CLEANUP_JSON json_t *changes = NULL;
    uint8_t sha256[LM_SHA256_LEN];

    if (try > 0) {
      /* A manifest that lost its place is not referred to by anything. */
      lm_error_clear (err);
      lm_random_bytes (b->snapshot->id, LM_NAME_ID_LEN);
    }
    place_in_history (b);
    if (lm_snapshot_put (b->repo, b->snapshot, sha256, err) == -1)
      return -1;
    changes = make_changes (b, writer_changes, sha256, err);
    if (changes == NULL)
      return -1;
    if (lm_journal_commit (b->repo, lease, writer, changes, err) == 0)
      return 0;
    if (err->kind != LM_ERR_EXISTS)
      return -1;
  }
  return -1;
}

static int
run (struct backup *b, struct lm_lease *lease, struct lm_error *err)
{
  struct lm_snapshot_statistics *st;
  struct lm_chunk_writer_statistics ws;
  CLEANUP_JSON json_t *changes = json_array ();
  uint64_t start = lm_clock_monotonic ();

  open_before (b);
  if (start_manifest (b, err) == -1 || backup_disks (b, err) == -1 ||
      backup_files (b, err) == -1 ||
      lm_chunk_writer_finish (b->writer, changes, err) == -1)
    return -1;
  if (b->params->cancel && *b->params->cancel)
    return lm_error_set (err, LM_ERR_INTERRUPTED, "interrupted");
  lm_chunk_writer_get_statistics (b->writer, &ws);
  st = &b->snapshot->statistics;
  st->read = b->counters.read;
  st->new_ = ws.new_plain;
  st->deduplicated = ws.deduplicated_plain;
  st->zero = b->counters.zero;
  st->stored = ws.stored;
  st->seconds = (lm_clock_monotonic () - start) / 1e9;
  if (publish (b, lease, changes, err) == -1)
    return -1;
  tick (b);
  lm_lease_revoke_dead (lease, b->repo, "backup");
  return 0;
}

int
lm_backup_run (struct lm_repository *repo,
               const struct lm_backup_params *params,
               struct lm_backup_result *ret_result, struct lm_error *err)
{
  struct backup b = { .repo = repo, .params = params };
  struct lm_lease *lease = NULL;
  size_t i;
  int r = -1;

  if (check_params (params, err) == -1 ||
      lm_repository_check_writable (repo, err) == -1)
    return -1;
  for (i = 0; i < params->nr_disks; i++)
    b.total += params->disks[i].disk->size;
  lease = lm_lease_acquire (repo, "backup", 0, err);
  if (lease == NULL)
    return -1;
  /* Only after the lease: what is seen whole and not condemned now stays
   * until this backup has ended. */
  if (lm_repository_load (repo, err) == 0) {
    lm_lease_set_loaded (lease, lm_repository_state (repo)->sequence,
                         false);
    b.writer = lm_chunk_writer_new (repo, err);
    if (b.writer)
      r = run (&b, lease, err);
  }
  if (r == 0) {
    memcpy (ret_result->snapshot, b.snapshot->id, LM_NAME_ID_LEN);
    ret_result->time = b.snapshot->time;
    ret_result->statistics = b.snapshot->statistics;
    ret_result->unreadable = b.unreadable;
  }
  lm_chunk_writer_free (b.writer);
  lm_snapshot_free (b.snapshot);
  lm_snapshot_free (b.before);
  lm_lease_release (lease);
  if (r == 0) {
    /* So that the handle can read what was just stored.  The snapshot
     * exists whether or not this succeeds. */
    struct lm_error ignored = LM_ERROR_INIT;

    (void) !lm_repository_load (repo, &ignored);
  }
  return r;
}
