/* SPDX-License-Identifier: Apache-2.0
 * The directory store: what concerns files and folders, and each system
 * call failing once.
 */
#include <config.h>

#include "formats/store/store-dir.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "common/random.h"
#include "formats/store/store-open.h"
#include "tests/support/scratch.h"
#include "common/banned.h"

static struct lm_store *
must_open (const char *path, bool create)
{
  struct lm_error err = LM_ERROR_INIT;
  struct lm_store *s = NULL;

  cr_assert (eq (int, lm_store_dir_open (path, create, &s, &err), 0), "%s",
             err.message);
  return s;
}

static int
put (struct lm_store *s, const char *name, struct lm_error *err)
{
  struct iovec iov = { (char *) "some text", 9 };

  return lm_store_put_if_absent (s, name, &iov, 1, err);
}

static unsigned
count_files (const char *folder)
{
  CLEANUP_CLOSEDIR DIR *d = opendir (folder);
  struct dirent *e;
  unsigned n = 0;

  while (d && (e = readdir (d)))
    n += e->d_name[0] != '.';
  return n;
}

static void
write_file (const char *path)
{
  CLEANUP_CLOSE int fd = open (path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

  cr_assert (ge (int, fd, 0), "%s", path);
}

Test (store_dir, a_missing_root_is_no_repository)
{
  CLEANUP_FREE char *path = lm_scratch_path ("nothing");
  CLEANUP_FREE char *file = lm_scratch_path ("file");
  CLEANUP_FREE char *below = lm_scratch_path ("file/below");
  const char *const paths[] = { path, file, below };
  struct lm_store *s;

  write_file (file);
  for (size_t i = 0; i < 3; i++) {
    struct lm_error err = LM_ERROR_INIT;

    cr_expect (eq (int, lm_store_dir_open (paths[i], false, &s, &err), -1));
    cr_expect (eq (int, err.kind, LM_ERR_NO_REPOSITORY), "%s", err.message);
  }
}

Test (store_dir, is_made_only_where_nothing_else_is)
{
  CLEANUP_FREE char *root = lm_scratch_path ("a/b/c");
  CLEANUP_FREE char *used = lm_scratch_path ("used");
  CLEANUP_FREE char *file = lm_scratch_path ("used/file");
  struct lm_error err = LM_ERROR_INIT;
  struct lm_store *s;
  struct stat st;

  lm_store_close (must_open (root, true));
  cr_assert (zero (int, stat (root, &st)));
  cr_expect (eq (int, st.st_mode & 0777, 0700));
  lm_store_close (must_open (root, true));
  lm_store_close (must_open (root, false));

  cr_assert (zero (int, mkdir (used, 0700)));
  write_file (file);
  cr_expect (eq (int, lm_store_dir_open (used, true, &s, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_EXISTS), "%s", err.message);
}

Test (store_dir, files_take_the_permissions_of_the_root)
{
  CLEANUP_FREE char *root = lm_scratch_path ("store");
  CLEANUP_FREE char *file = lm_scratch_path ("store/packs/1");
  CLEANUP_FREE char *folder = lm_scratch_path ("store/packs");
  struct lm_error err = LM_ERROR_INIT;
  struct lm_store *s;
  struct stat st;

  umask (0);
  cr_assert (zero (int, mkdir (root, 0750)));
  cr_assert (zero (int, chmod (root, 0750)));
  s = must_open (root, true);
  cr_assert (eq (int, put (s, "packs/1", &err), 0));
  cr_assert (zero (int, stat (file, &st)));
  cr_expect (eq (int, st.st_mode & 07777, 0640));
  cr_assert (zero (int, stat (folder, &st)));
  cr_expect (eq (int, st.st_mode & 07777, 0750));
  lm_store_close (s);
}

Test (store_dir, stale_temporary_files_go_and_others_stay)
{
  static const struct { const char *name; int age; bool stays; } rows[] = {
    { "0123456789abcdef01234567", 25 * 3600, false },
    { "0123456789abcdef01234568", 23 * 3600, true },
    { "0123456789abcdef0123456", 25 * 3600, true },
    { "0123456789abcdef0123456g", 25 * 3600, true },
  };
  CLEANUP_FREE char *root = lm_scratch_path ("store");

  lm_store_close (must_open (root, true));
  for (size_t i = 0; i < 4; i++) {
    CLEANUP_FREE char *path = lm_scratch_path ("store/tmp/%s", rows[i].name);
    struct timespec t[2] = { { lm_clock_now () - rows[i].age, 0 } };

    t[1] = t[0];
    write_file (path);
    cr_assert (zero (int, utimensat (AT_FDCWD, path, t, 0)));
  }
  lm_store_close (must_open (root, false));
  for (size_t i = 0; i < 4; i++) {
    CLEANUP_FREE char *path = lm_scratch_path ("store/tmp/%s", rows[i].name);

    cr_expect (eq (int, access (path, F_OK) == 0, rows[i].stays), "%s",
               rows[i].name);
  }
}

static int
ignore (void *opaque, const char *name, uint64_t size, struct lm_error *err)
{
  (void) opaque;
  (void) size;
  return lm_error_set (err, LM_ERR_USAGE, "saw %s", name);
}

static void
check_symbolic_links (void)
{
  CLEANUP_FREE char *root = lm_scratch_path ("store");
  CLEANUP_FREE char *outside = lm_scratch_path ("outside");
  CLEANUP_FREE char *secret = lm_scratch_path ("outside/1");
  CLEANUP_FREE char *folder = lm_scratch_path ("store/packs");
  CLEANUP_FREE char *object = lm_scratch_path ("store/key");
  CLEANUP_FREE char *fifo = lm_scratch_path ("store/fifo");
  struct lm_error err = LM_ERROR_INIT;
  struct lm_store *s = must_open (root, true);
  char c;

  cr_assert (zero (int, mkdir (outside, 0700)));
  write_file (secret);
  cr_assert (zero (int, symlink ("../outside", folder)));
  cr_assert (zero (int, symlink ("../outside/1", object)));
  cr_assert (zero (int, mkfifo (fifo, 0600)));
  cr_expect (eq (int, lm_store_get_range (s, "packs/1", &c, 1, 0, &err), -1));
  cr_expect (eq (int, err.sys_errno == ELOOP || err.sys_errno == ENOTDIR ||
                 err.kind == LM_ERR_NOT_FOUND, 1), "%s", err.message);
  cr_expect (eq (int, lm_store_get_range (s, "key", &c, 1, 0, &err), -1));
  cr_expect (eq (int, err.sys_errno, ELOOP), "%s", err.message);
  cr_expect (eq (int, lm_store_get_range (s, "fifo", &c, 1, 0, &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_NOT_FOUND), "%s", err.message);
  cr_expect (eq (int, put (s, "packs/2", &err), -1));
  cr_expect (eq (int, lm_store_remove (s, "packs/1", &err), -1));
  cr_expect (eq (u32, count_files (outside), 1));
  /* Deeper names take the walk through more than one folder. */
  cr_expect (eq (int, put (s, "a/b/c/d", &err), 0), "%s", err.message);
  cr_expect (eq (int, lm_store_get_range (s, "a/b/c/d", &c, 1, 0, &err), 0));
  cr_expect (eq (int, c, 's'));
  cr_expect (eq (int, lm_store_list (s, "packs", ignore, NULL, &err), -1));
  cr_expect (eq (int, err.kind == LM_ERR_USAGE, 0), "%s", err.message);
  lm_store_close (s);
}

Test (store_dir, follows_no_symbolic_link)
{
  check_symbolic_links ();
}

Test (store_dir, follows_no_symbolic_link_without_openat2)
{
  struct sock_filter code[] = {
    BPF_STMT (BPF_LD | BPF_W | BPF_ABS, offsetof (struct seccomp_data, nr)),
    BPF_JUMP (BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
    BPF_STMT (BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
    BPF_STMT (BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog filter = { sizeof code / sizeof code[0], code };

  if (prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1 ||
      prctl (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == -1)
    cr_skip_test ("seccomp filters can't be set here");
  cr_assert (eq (int, syscall (SYS_openat2, 0, NULL, NULL, 0), -1));
  cr_assert (eq (int, errno, ENOSYS));
  check_symbolic_links ();
}

Test (store_dir, another_handle_sees_a_replaced_object_at_once)
{
  CLEANUP_FREE char *root = lm_scratch_path ("store");
  struct lm_store *a = must_open (root, true), *b = must_open (root, false);
  struct lm_error err = LM_ERROR_INIT;

  for (char i = 'a'; i < 'z'; i++) {
    struct iovec iov = { &i, 1 };
    char c = 0;

    cr_assert (eq (int, lm_store_put (a, "leases/1", &iov, 1, &err), 0));
    cr_assert (eq (int, lm_store_get_range (b, "leases/1", &c, 1, 0, &err),
                   0));
    cr_expect (eq (int, c, i));
  }
  lm_store_close (a);
  lm_store_close (b);
}

Test (store_dir, of_two_processes_one_wins)
{
  CLEANUP_FREE char *root = lm_scratch_path ("store");
  struct lm_store *s = must_open (root, true);
  unsigned won = 0;
  pid_t pids[2];
  int status;

  for (int i = 0; i < 2; i++) {
    pids[i] = fork ();
    cr_assert (ge (int, pids[i], 0));
    if (pids[i] == 0) {
      struct lm_store *mine = must_open (root, false);
      unsigned mine_won = 0;
      char name[32];

      for (unsigned n = 0; n < 100; n++) {
        struct lm_error err = LM_ERROR_INIT;

        snprintf (name, sizeof name, "journal/%u", n);
        if (put (mine, name, &err) == 0)
          mine_won++;
        else if (err.kind != LM_ERR_EXISTS)
          _exit (255);
      }
      _exit (mine_won);
    }
  }
  for (int i = 0; i < 2; i++) {
    waitpid (pids[i], &status, 0);
    cr_assert (ne (int, WIFEXITED (status), 0));
    won += WEXITSTATUS (status);
  }
  cr_expect (eq (u32, won, 100));
  lm_store_close (s);
}

Test (store_dir, keeps_few_files_open)
{
  CLEANUP_FREE char *root = lm_scratch_path ("store");
  CLEANUP_FREE char *big = calloc (1, LM_STORE_PUT_MAX + 1);
  struct iovec iov = { big, LM_STORE_PUT_MAX + 1 };
  struct rlimit limit = { 40, 40 };
  struct lm_error err = LM_ERROR_INIT;
  struct lm_store *s;
  char name[32];
  unsigned before;

  cr_assert (zero (int, setrlimit (RLIMIT_NOFILE, &limit)));
  s = must_open (root, true);
  before = count_files ("/proc/self/fd");
  for (unsigned i = 0; i < 60; i++) {
    char c;

    snprintf (name, sizeof name, "packs/%u", i);
    cr_assert (eq (int, lm_store_put_if_absent (s, name, &iov, 1, &err), 0),
               "%s", err.message);
    cr_assert (eq (int, lm_store_get_range (s, name, &c, 1, 0, &err), 0),
               "%s", err.message);
  }
  cr_expect (eq (u32, count_files ("/proc/self/fd"), before + 40 / 8));
  lm_store_close (s);
}

/* Each call of the table fails once. */

static struct lm_io_ops faulty;
static unsigned calls, fail_at;
static int fail_errno;
static bool no_renameat2;

static bool
fails (void)
{
  if (++calls != fail_at)
    return false;
  errno = fail_errno;
  return true;
}

static int
faulty_fsync (int fd)
{
  return fails () ? -1 : lm_io_system.fsync (fd);
}

static ssize_t
faulty_pwrite (int fd, const void *buf, size_t len, off_t offset)
{
  /* A few bytes at a time, so that a write can be torn. */
  return fails () ? -1 : lm_io_system.pwrite (fd, buf, len > 4 ? 4 : len,
                                              offset);
}

static int
faulty_mkdirat (int dirfd, const char *path, mode_t mode)
{
  return fails () ? -1 : lm_io_system.mkdirat (dirfd, path, mode);
}

static int
faulty_renameat2 (int olddir, const char *old, int newdir, const char *new_,
                  unsigned flags)
{
  if (no_renameat2) {
    errno = EINVAL;
    return -1;
  }
  return fails () ? -1
    : lm_io_system.renameat2 (olddir, old, newdir, new_, flags);
}

static int
faulty_linkat (int olddir, const char *old, int newdir, const char *new_,
               int flags)
{
  return fails () ? -1
    : lm_io_system.linkat (olddir, old, newdir, new_, flags);
}

static int
faulty_openat (int dirfd, const char *path, int flags, mode_t mode)
{
  return fails () ? -1 : lm_io_system.openat (dirfd, path, flags, mode);
}

static void
fail_each_call (int errnum, enum lm_error_kind kind)
{
  unsigned nr_calls = 0, published = 0;

  faulty = lm_io_system;
  faulty.fsync = faulty_fsync;
  faulty.pwrite = faulty_pwrite;
  faulty.mkdirat = faulty_mkdirat;
  faulty.renameat2 = faulty_renameat2;
  faulty.linkat = faulty_linkat;
  faulty.openat = faulty_openat;

  for (unsigned n = 0; n == 0 || n <= nr_calls; n++) {
    CLEANUP_FREE char *root = lm_scratch_path ("store%u", n);
    CLEANUP_FREE char *tmp = lm_scratch_path ("store%u/tmp", n);
    struct lm_error err = LM_ERROR_INIT;
    struct lm_store *s = must_open (root, true);
    uint64_t size;
    int r;

    lm_io = &faulty;
    calls = 0;
    fail_at = n;
    fail_errno = errnum;
    r = put (s, "packs/ab/1", &err);
    if (n == 0) {
      cr_assert (eq (int, r, 0), "%s", err.message);
      nr_calls = calls;
      cr_assert (lt (u32, 8, nr_calls));
    }
    else {
      cr_expect (eq (int, r, -1), "call %u", n);
      cr_expect (eq (int, err.kind, kind), "call %u: %s", n, err.message);
    }
    lm_io = &lm_io_system;
    cr_expect (zero (u32, count_files (tmp)), "call %u left a file", n);
    if (n > 0 && lm_store_stat (s, "packs/ab/1", &size, &err) == 0) {
      published++;
      cr_expect (eq (u64, size, 9));
    }
    lm_store_close (s);
  }
  /* Only the last step, the fsync of the folder, comes too late. */
  cr_expect (eq (u32, published, 1));
}

Test (store_dir, a_failed_call_fails_the_put_and_leaves_nothing)
{
  fail_each_call (EIO, LM_ERR_IO);
}

Test (store_dir, a_full_disk_fails_the_put_and_leaves_nothing)
{
  fail_each_call (ENOSPC, LM_ERR_NO_SPACE);
}

Test (store_dir, publishes_by_link_where_rename_cannot)
{
  CLEANUP_FREE char *root = lm_scratch_path ("store");
  CLEANUP_FREE char *tmp = lm_scratch_path ("store/tmp");
  struct lm_error err = LM_ERROR_INIT;
  struct lm_store *s = must_open (root, true);

  no_renameat2 = true;
  fail_each_call (EIO, LM_ERR_IO);
  lm_io = &faulty;
  fail_at = 0;
  cr_expect (eq (int, put (s, "packs/1", &err), 0), "%s", err.message);
  cr_expect (eq (int, put (s, "packs/1", &err), -1));
  cr_expect (eq (int, err.kind, LM_ERR_EXISTS), "%s", err.message);
  cr_expect (zero (u32, count_files (tmp)));
  lm_io = &lm_io_system;
  lm_store_close (s);
}

Test (store_open, knows_locations)
{
  CLEANUP_FREE char *path = lm_scratch_path ("store");
  CLEANUP_FREE char *dir = NULL;
  struct lm_error err = LM_ERROR_INIT;
  struct lm_store *s = NULL;

  cr_assert (lt (int, 0, asprintf (&dir, "dir:%s", path)));
  cr_assert (eq (int, lm_store_open (dir, true, &s, &err), 0), "%s",
             err.message);
  lm_store_close (s);
  cr_assert (eq (int, lm_store_open (path, false, &s, &err), 0));
  lm_store_close (s);
  cr_assert (zero (int, chdir (lm_scratch_dir ())));
  cr_assert (eq (int, lm_store_open ("./a:b", true, &s, &err), 0));
  lm_store_close (s);
}

Test (store_open, refuses_what_it_does_not_know)
{
  static const struct { const char *location; int kind; } rows[] = {
    { "s3://bucket/x", LM_ERR_UNSUPPORTED }, { "rados:pool",
      LM_ERR_UNSUPPORTED }, { "host:path", LM_ERR_UNSUPPORTED },
    { "", LM_ERR_USAGE }, { "dir:", LM_ERR_USAGE },
    { "dir:/nonexistent/x", LM_ERR_NO_REPOSITORY },
    { "/nonexistent/a:b", LM_ERR_NO_REPOSITORY },
  };
  struct lm_store *s;

  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct lm_error err = LM_ERROR_INIT;

    cr_expect (eq (int, lm_store_open (rows[i].location, false, &s, &err),
                   -1), "%s", rows[i].location);
    cr_expect (eq (int, err.kind, rows[i].kind), "%s", err.message);
  }
}
