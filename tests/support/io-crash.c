/* SPDX-License-Identifier: Apache-2.0
 * An I/O table that fails and forgets; see io-crash.h.
 *
 * Each call does what it should on the real file system and is then noted
 * as a change of an inode: writes and truncations of a file, names of a
 * folder, syncs of either.  Playing the notes back gives for each inode
 * what is there and what is safe.
 *
 * An inode number comes back after a file was removed; so a file that is
 * made is a new inode of ours, whatever number it has.
 */
#include <config.h>

#include "tests/support/io-crash.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"

#define BLOCK 4096

enum note_type { NOTE_WRITE, NOTE_TRUNCATE, NOTE_SYNC, NOTE_NAME,
                 NOTE_UNNAME };

struct note {
  enum note_type type;
  size_t inode;                 /* the file, or the folder of the name */
  size_t child;                 /* NOTE_NAME */
  char *name;                   /* NOTE_NAME, NOTE_UNNAME */
  uint8_t *data;                /* NOTE_WRITE */
  uint64_t offset, len;         /* NOTE_TRUNCATE: len is the new size */
  bool more;                    /* one step with the next note */
};

struct bytes { uint8_t *data; size_t len; };
struct names { struct { char *name; size_t child; } *list; size_t n; };

struct inode {
  bool is_folder;
  ino_t number;                 /* of the real one */
  struct bytes now, safe;
  struct names names_now, names_safe;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Guarded by it: */
static struct note *notes;
static size_t nr_notes, nr_steps;
static struct inode *inodes;    /* 0 is the root */
static size_t nr_inodes;
static dev_t device;            /* on which they all are */
static size_t played;           /* notes that the model has seen */
static size_t played_steps;
static size_t calls, fail_at;
static int fail_errno;
static const char *failed;

static uint64_t *seen;          /* sums of the results made already */
static size_t nr_seen;

static void *
grow (void *list, size_t n, size_t size)
{
  void *p = reallocarray (list, n + 1, size);

  if (p == NULL)
    abort ();
  return p;
}

static char *
copy_string (const char *s)
{
  char *p = strdup (s);

  if (p == NULL)
    abort ();
  return p;
}

/* The inode of ours that this is, or -1. */
static ssize_t
find_inode (const struct stat *st)
{
  size_t i;

  for (i = nr_inodes; i > 0 && st->st_dev == device; i--)
    if (inodes[i - 1].number == st->st_ino)
      return i - 1;
  return -1;
}

static size_t
new_inode (ino_t number, bool is_folder)
{
  inodes = grow (inodes, nr_inodes, sizeof *inodes);
  inodes[nr_inodes] = (struct inode) {
    .number = number, .is_folder = is_folder,
  };
  return nr_inodes++;
}

static struct note *
add_note (enum note_type type, size_t inode)
{
  notes = grow (notes, nr_notes, sizeof *notes);
  notes[nr_notes] = (struct note) { .type = type, .inode = inode };
  nr_steps++;
  return &notes[nr_notes++];
}

static void
note_name (enum note_type type, size_t folder, const char *name,
           size_t child)
{
  struct note *n = add_note (type, folder);

  n->name = copy_string (name);
  n->child = child;
}

/* The folder of ours in which PATH is, its last component in *ret_name;
 * -1 if it is none of ours. */
static ssize_t
folder_of (int dirfd, const char *path, const char **ret_name)
{
  const char *slash = strrchr (path, '/');
  CLEANUP_FREE char *parent = NULL;
  struct stat st;

  *ret_name = slash ? slash + 1 : path;
  parent = slash == path ? copy_string ("/")
    : slash ? strndup (path, slash - path) : copy_string (".");
  if (parent == NULL)
    abort ();
  if (fstatat (dirfd, parent, &st, 0) == -1)
    return -1;
  return find_inode (&st);
}

static ssize_t
inode_of_fd (int fd)
{
  struct stat st;

  return fstat (fd, &st) == -1 ? -1 : find_inode (&st);
}

/* Is it this call's turn to fail? */
static bool
fails_locked (const char *name)
{
  calls++;
  if (calls != fail_at)
    return false;
  failed = name;
  errno = fail_errno;
  return true;
}

static void
note_open_locked (int dirfd, const char *path, int fd, bool existed,
                  int flags)
{
  const char *name;
  ssize_t folder = folder_of (dirfd, path, &name);
  struct stat st;

  if (folder == -1 || fstat (fd, &st) == -1)
    return;
  if ((flags & O_CREAT) && !existed)
    note_name (NOTE_NAME, folder, name, new_inode (st.st_ino, false));
  if ((flags & O_TRUNC) && existed && find_inode (&st) != -1)
    add_note (NOTE_TRUNCATE, find_inode (&st))->len = 0;
}

static int
crash_openat (int dirfd, const char *path, int flags, mode_t mode)
{
  struct stat st;
  bool existed;
  int fd;

  LM_LOCK_FOR_SCOPE (&lock);
  if (fails_locked ("openat"))
    return -1;
  existed = fstatat (dirfd, path, &st, 0) == 0;
  fd = lm_io_system.openat (dirfd, path, flags, mode);
  if (fd != -1 && (flags & (O_CREAT | O_TRUNC)))
    note_open_locked (dirfd, path, fd, existed, flags);
  return fd;
}

static int
crash_openat_beneath (int dirfd, const char *path, int flags, mode_t mode)
{
  LM_LOCK_FOR_SCOPE (&lock);
  if (flags & (O_CREAT | O_TRUNC))
    abort ();                   /* nobody does, so it is not modelled */
  if (fails_locked ("openat_beneath"))
    return -1;
  return lm_io_system.openat_beneath (dirfd, path, flags, mode);
}

static int
crash_close (int fd)
{
  bool fails;

  LM_LOCK_FOR_SCOPE (&lock);
  fails = fails_locked ("close") && fail_errno != 0;
  if (lm_io_system.close (fd) == -1)
    return -1;
  if (fails)
    errno = fail_errno;
  return fails ? -1 : 0;
}

static ssize_t
crash_pread (int fd, void *buf, size_t len, off_t offset)
{
  pthread_mutex_lock (&lock);
  if (fails_locked ("pread")) {
    if (fail_errno != 0) {
      pthread_mutex_unlock (&lock);
      return -1;
    }
    len = len / 2 + len % 2;
  }
  pthread_mutex_unlock (&lock);
  return lm_io_system.pread (fd, buf, len, offset);
}

static ssize_t
crash_pwrite (int fd, const void *buf, size_t len, off_t offset)
{
  struct note *n;
  ssize_t r, inode;

  LM_LOCK_FOR_SCOPE (&lock);
  if (fails_locked ("pwrite")) {
    if (fail_errno != 0)
      return -1;
    len = len / 2 + len % 2;
  }
  r = lm_io_system.pwrite (fd, buf, len, offset);
  inode = inode_of_fd (fd);
  if (r <= 0 || inode == -1)
    return r;
  n = add_note (NOTE_WRITE, inode);
  n->data = malloc (r);
  if (n->data == NULL)
    abort ();
  memcpy (n->data, buf, r);
  n->offset = offset;
  n->len = r;
  return r;
}

static int
sync_fd (int fd, const char *name, int (*call) (int fd))
{
  ssize_t inode;

  LM_LOCK_FOR_SCOPE (&lock);
  if (fails_locked (name) && fail_errno != 0)
    return -1;
  if (call (fd) == -1)
    return -1;
  inode = inode_of_fd (fd);
  if (inode != -1)
    add_note (NOTE_SYNC, inode);
  return 0;
}

static int
crash_fsync (int fd)
{
  return sync_fd (fd, "fsync", lm_io_system.fsync);
}

static int
crash_fdatasync (int fd)
{
  return sync_fd (fd, "fdatasync", lm_io_system.fdatasync);
}

static int
crash_ftruncate (int fd, off_t size)
{
  ssize_t inode;

  LM_LOCK_FOR_SCOPE (&lock);
  if (fails_locked ("ftruncate") && fail_errno != 0)
    return -1;
  if (lm_io_system.ftruncate (fd, size) == -1)
    return -1;
  inode = inode_of_fd (fd);
  if (inode != -1)
    add_note (NOTE_TRUNCATE, inode)->len = size;
  return 0;
}

static int
crash_fallocate (int fd, int mode, off_t offset, off_t len)
{
  LM_LOCK_FOR_SCOPE (&lock);
  if (inode_of_fd (fd) != -1)
    abort ();                   /* nobody does, so it is not modelled */
  if (fails_locked ("fallocate") && fail_errno != 0)
    return -1;
  return lm_io_system.fallocate (fd, mode, offset, len);
}

static int
crash_mkdirat (int dirfd, const char *path, mode_t mode)
{
  const char *name;
  ssize_t folder;
  struct stat st;

  LM_LOCK_FOR_SCOPE (&lock);
  if (fails_locked ("mkdirat") && fail_errno != 0)
    return -1;
  if (lm_io_system.mkdirat (dirfd, path, mode) == -1)
    return -1;
  folder = folder_of (dirfd, path, &name);
  if (folder != -1 && fstatat (dirfd, path, &st, 0) == 0)
    note_name (NOTE_NAME, folder, name, new_inode (st.st_ino, true));
  return 0;
}

static int
crash_unlinkat (int dirfd, const char *path, int flags)
{
  const char *name;
  ssize_t folder;

  LM_LOCK_FOR_SCOPE (&lock);
  if (fails_locked ("unlinkat") && fail_errno != 0)
    return -1;
  if (lm_io_system.unlinkat (dirfd, path, flags) == -1)
    return -1;
  folder = folder_of (dirfd, path, &name);
  if (folder != -1)
    note_name (NOTE_UNNAME, folder, name, 0);
  return 0;
}

static int
crash_linkat (int olddir, const char *old, int newdir, const char *new_,
              int flags)
{
  const char *name;
  ssize_t folder, inode;
  struct stat st;

  LM_LOCK_FOR_SCOPE (&lock);
  if (fails_locked ("linkat") && fail_errno != 0)
    return -1;
  if (lm_io_system.linkat (olddir, old, newdir, new_, flags) == -1)
    return -1;
  folder = folder_of (newdir, new_, &name);
  inode = fstatat (newdir, new_, &st, 0) == 0 ? find_inode (&st) : -1;
  if (folder != -1 && inode != -1)
    note_name (NOTE_NAME, folder, name, inode);
  return 0;
}

/* Two folders change at once; that they may not do so safely is for
 * IO_LOSE_SOME to play with. */
static void
note_rename_locked (int olddir, const char *old, int newdir,
                    const char *new_)
{
  const char *old_name, *new_name;
  ssize_t from = folder_of (olddir, old, &old_name);
  ssize_t to = folder_of (newdir, new_, &new_name);
  struct stat st;
  ssize_t inode = fstatat (newdir, new_, &st, 0) == 0
    ? find_inode (&st) : -1;

  if (to != -1 && inode != -1) {
    note_name (NOTE_NAME, to, new_name, inode);
    if (from != -1) {
      notes[nr_notes - 1].more = true;
      nr_steps--;
    }
  }
  if (from != -1)
    note_name (NOTE_UNNAME, from, old_name, 0);
}

static int
crash_renameat (int olddir, const char *old, int newdir, const char *new_)
{
  LM_LOCK_FOR_SCOPE (&lock);
  if (fails_locked ("renameat") && fail_errno != 0)
    return -1;
  if (lm_io_system.renameat (olddir, old, newdir, new_) == -1)
    return -1;
  note_rename_locked (olddir, old, newdir, new_);
  return 0;
}

static int
crash_renameat2 (int olddir, const char *old, int newdir, const char *new_,
                 unsigned flags)
{
  LM_LOCK_FOR_SCOPE (&lock);
  if (fails_locked ("renameat2") && fail_errno != 0)
    return -1;
  if (lm_io_system.renameat2 (olddir, old, newdir, new_, flags) == -1)
    return -1;
  note_rename_locked (olddir, old, newdir, new_);
  return 0;
}

void
io_crash_start (const char *root)
{
  static struct lm_io_ops table;
  struct stat st;

  table = lm_io_system;
  table.openat = crash_openat;
  table.openat_beneath = crash_openat_beneath;
  table.close = crash_close;
  table.pread = crash_pread;
  table.pwrite = crash_pwrite;
  table.fsync = crash_fsync;
  table.fdatasync = crash_fdatasync;
  table.ftruncate = crash_ftruncate;
  table.fallocate = crash_fallocate;
  table.mkdirat = crash_mkdirat;
  table.unlinkat = crash_unlinkat;
  table.linkat = crash_linkat;
  table.renameat = crash_renameat;
  table.renameat2 = crash_renameat2;

  io_crash_release ();
  if (stat (root, &st) == -1)
    abort ();
  device = st.st_dev;
  new_inode (st.st_ino, true);
  lm_io = &table;
}

void
io_crash_stop (void)
{
  lm_io = &lm_io_system;
}

size_t
io_crash_steps (void)
{
  LM_LOCK_FOR_SCOPE (&lock);
  return nr_steps;
}

void
io_crash_fail (size_t call, int errnum)
{
  LM_LOCK_FOR_SCOPE (&lock);
  calls = 0;
  fail_at = call;
  fail_errno = errnum;
  failed = NULL;
}

size_t
io_crash_calls (void)
{
  LM_LOCK_FOR_SCOPE (&lock);
  return calls;
}

const char *
io_crash_failed (void)
{
  LM_LOCK_FOR_SCOPE (&lock);
  return failed;
}

/* The model. */

static void
set_len (struct bytes *b, size_t len)
{
  b->data = realloc (b->data, len + 1);
  if (b->data == NULL)
    abort ();
  if (len > b->len)
    memset (b->data + b->len, 0, len - b->len);
  b->len = len;
}

static void
copy_bytes (struct bytes *to, const struct bytes *from)
{
  set_len (to, from->len);
  if (from->len > 0)
    memcpy (to->data, from->data, from->len);
}

static void
release_names (struct names *names)
{
  size_t i;

  for (i = 0; i < names->n; i++)
    free (names->list[i].name);
  free (names->list);
  *names = (struct names) { NULL, 0 };
}

static ssize_t
find_name (const struct names *names, const char *name)
{
  size_t i;

  for (i = 0; i < names->n; i++)
    if (strcmp (names->list[i].name, name) == 0)
      return i;
  return -1;
}

static void
remove_name (struct names *names, const char *name)
{
  ssize_t i = find_name (names, name);

  if (i == -1)
    return;
  free (names->list[i].name);
  names->list[i] = names->list[--names->n];
}

static void
set_name (struct names *names, const char *name, size_t child)
{
  remove_name (names, name);
  names->list = grow (names->list, names->n, sizeof *names->list);
  names->list[names->n].name = copy_string (name);
  names->list[names->n++].child = child;
}

static void
play_note (const struct note *n)
{
  struct inode *i = &inodes[n->inode];
  size_t k;

  switch (n->type) {
  case NOTE_WRITE:
    if (n->offset + n->len > i->now.len)
      set_len (&i->now, n->offset + n->len);
    memcpy (i->now.data + n->offset, n->data, n->len);
    break;
  case NOTE_TRUNCATE:
    set_len (&i->now, n->len);
    break;
  case NOTE_SYNC:
    if (!i->is_folder)
      copy_bytes (&i->safe, &i->now);
    release_names (&i->names_safe);
    for (k = 0; k < i->names_now.n; k++)
      set_name (&i->names_safe, i->names_now.list[k].name,
                i->names_now.list[k].child);
    break;
  case NOTE_NAME:
    set_name (&i->names_now, n->name, n->child);
    break;
  case NOTE_UNNAME:
    remove_name (&i->names_now, n->name);
    break;
  }
}

struct maker {
  enum io_loss loss;
  unsigned random;
  uint64_t sum;                 /* FNV-1a of all names and bytes */
  bool write;                   /* or only compute the sum */
};

static void
add_sum (struct maker *m, const void *data, size_t len)
{
  const uint8_t *p = data;

  while (len-- > 0)
    m->sum = (m->sum ^ *p++) * UINT64_C (0x100000001b3);
}

/* For IO_LOSE_SOME: is this piece of what is new kept? */
static bool
is_kept (struct maker *m)
{
  m->random = m->random * 1103515245 + 12345;
  return m->random >> 16 & 1;
}

/* What is left of a file. */
static struct bytes
left_of_file (struct maker *m, const struct inode *i)
{
  struct bytes b = { NULL, 0 };
  size_t at;

  if (m->loss == IO_LOSE_NOTHING) {
    copy_bytes (&b, &i->now);
    return b;
  }
  copy_bytes (&b, &i->safe);
  if (m->loss == IO_LOSE_UNSYNCED)
    return b;
  if (m->loss == IO_LOSE_DATA || is_kept (m))
    set_len (&b, i->now.len);
  for (at = 0; m->loss == IO_LOSE_SOME && at < b.len; at += BLOCK) {
    size_t n = b.len - at < BLOCK ? b.len - at : BLOCK;

    if (at + n <= i->now.len && is_kept (m))
      memcpy (b.data + at, i->now.data + at, n);
  }
  return b;
}

static int
compare_names (const void *a, const void *b)
{
  return strcmp (*(char *const *) a, *(char *const *) b);
}

/* What is left of a folder: the safe names, the new ones, or for each
 * name either of its two states.  Sorted, so that the sum is stable. */
static struct names
left_of_folder (struct maker *m, const struct inode *i)
{
  const struct names *base = m->loss == IO_LOSE_UNSYNCED ? &i->names_safe
    : &i->names_now;
  struct names names = { NULL, 0 };
  size_t k;

  for (k = 0; k < base->n; k++)
    set_name (&names, base->list[k].name, base->list[k].child);
  for (k = 0; m->loss == IO_LOSE_SOME && k < i->names_safe.n; k++) {
    const char *name = i->names_safe.list[k].name;
    ssize_t now = find_name (&i->names_now, name);

    if (now != -1 &&
        i->names_now.list[now].child == i->names_safe.list[k].child)
      continue;
    if (is_kept (m))
      set_name (&names, name, i->names_safe.list[k].child);
  }
  for (k = 0; m->loss == IO_LOSE_SOME && k < i->names_now.n; k++)
    if (find_name (&i->names_safe, i->names_now.list[k].name) == -1 &&
        is_kept (m))
      remove_name (&names, i->names_now.list[k].name);
  if (names.n > 0)
    qsort (names.list, names.n, sizeof *names.list, compare_names);
  return names;
}

static void
make_file (struct maker *m, const struct inode *i, const char *path)
{
  struct bytes b = left_of_file (m, i);
  CLEANUP_CLOSE int fd = -1;

  add_sum (m, b.data, b.len);
  if (m->write) {
    fd = open (path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd == -1 ||
        (b.len > 0 && write (fd, b.data, b.len) != (ssize_t) b.len))
      abort ();
  }
  free (b.data);
}

static void
make_folder (struct maker *m, const struct inode *i, const char *path)
{
  struct names names = left_of_folder (m, i);
  size_t k;

  if (m->write && mkdir (path, 0700) == -1)
    abort ();
  for (k = 0; k < names.n; k++) {
    const struct inode *child = &inodes[names.list[k].child];
    CLEANUP_FREE char *child_path = NULL;

    add_sum (m, names.list[k].name, strlen (names.list[k].name) + 1);
    if (asprintf (&child_path, "%s/%s", path, names.list[k].name) == -1)
      abort ();
    if (child->is_folder)
      make_folder (m, child, child_path);
    else
      make_file (m, child, child_path);
  }
  add_sum (m, "/", 2);
  release_names (&names);
}

bool
io_crash_make (size_t step, enum io_loss loss, unsigned seed,
               const char *target)
{
  struct maker m = { .loss = loss, .random = seed,
                     .sum = UINT64_C (0xcbf29ce484222325) };
  size_t i;

  while (played_steps < step) {
    if (!notes[played].more)
      played_steps++;
    play_note (&notes[played++]);
  }
  make_folder (&m, &inodes[0], target);
  for (i = 0; i < nr_seen; i++)
    if (seen[i] == m.sum)
      return false;
  seen = grow (seen, nr_seen, sizeof *seen);
  seen[nr_seen++] = m.sum;
  m.write = true;
  m.random = seed;
  make_folder (&m, &inodes[0], target);
  return true;
}

void
io_crash_release (void)
{
  size_t i;

  for (i = 0; i < nr_notes; i++) {
    free (notes[i].name);
    free (notes[i].data);
  }
  for (i = 0; i < nr_inodes; i++) {
    free (inodes[i].now.data);
    free (inodes[i].safe.data);
    release_names (&inodes[i].names_now);
    release_names (&inodes[i].names_safe);
  }
  free (notes);
  free (inodes);
  free (seen);
  notes = NULL;
  inodes = NULL;
  seen = NULL;
  nr_notes = nr_steps = nr_inodes = played = played_steps = nr_seen = 0;
  calls = fail_at = 0;
  failed = NULL;
}
