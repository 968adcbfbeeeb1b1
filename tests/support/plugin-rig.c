/* SPDX-License-Identifier: Apache-2.0
 * A repository and servers for tests of the plugin; see plugin-rig.h.
 */
#include <config.h>

#include "tests/support/plugin-rig.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "formats/native/backup.h"
#include "formats/native/repository.h"
#include "formats/store/store-open.h"
#include "tests/support/memory-disk.h"
#include "tests/support/scratch.h"

#define ARGS_MAX 32

static struct lm_error err;
static char *repository, *key_file, *plugin;

const char *
plugin_repository (void)
{
  return repository;
}

const char *
plugin_path (void)
{
  return plugin;
}

/* The plugin of the build tree; in a build with sanitizers nbdkit itself
 * lacks their runtime. */
static void
find_plugin (void)
{
  const char *top = getenv ("abs_top_builddir");
  const char *given = getenv ("LIVEMOUNT_PLUGIN");
  char *cmd = NULL;
  int r;

  if (given)
    plugin = strdup (given);
  else
    cr_assert (lt (int, 0, asprintf (&plugin, "%s/.libs/nbdkit-livemount-"
                                  "plugin.so", top ? top : ".")));
  if (system ("nbdkit --version >/dev/null 2>&1") != 0)
    cr_skip_test ("nbdkit is not installed");
  cr_assert (lt (int, 0, asprintf (&cmd, "nbdkit --dump-plugin %s >/dev/null "
                                "2>&1", plugin)));
  r = system (cmd);
  free (cmd);
#ifdef __SANITIZE_ADDRESS__
  if (r != 0)
    cr_skip_test ("nbdkit can't load a plugin with sanitizers");
#endif
  cr_assert (eq (int, r, 0), "%s can't be loaded", plugin);
}

static struct lm_repository *
open_repository (void)
{
  struct lm_credentials c = LM_CREDENTIALS_INIT;
  const struct lm_open_options options = { .read_only = false };
  struct lm_repository *repo;
  struct lm_store *store;

  cr_assert (eq (int, lm_store_open (repository, false, &store, &err), 0),
             "%s", err.message);
  if (key_file)
    cr_assert (eq (int, lm_credentials_key_file (&c, key_file, &err), 0));
  repo = lm_repository_open (store, &c, &options, &err);
  cr_assert (ne (ptr, repo, NULL), "%s", err.message);
  cr_assert (eq (int, lm_repository_load (repo, &err), 0), "%s",
             err.message);
  lm_credentials_release (&c);
  return repo;
}

static void
back_up (const char *vm, const struct lm_backup_disk *disks, size_t n)
{
  struct lm_repository *repo = open_repository ();
  struct lm_backup_result result;
  const struct lm_backup_params params = {
    .vm = vm, .disks = disks, .nr_disks = n, .consistency = "consistent",
    .program = "test",
  };
  size_t i;

  cr_assert (eq (int, lm_backup_run (repo, &params, &result, &err), 0),
             "%s", err.message);
  lm_repository_close (repo);
  for (i = 0; i < n; i++)
    lm_disk_close (disks[i].disk);
}

void
plugin_rig_make (bool encrypted)
{
  struct lm_credentials c = LM_CREDENTIALS_INIT;
  const struct lm_init_options options = { .encrypted = encrypted,
                                           .credentials = &c };
  struct memory_disk *disk0, *disk1;
  struct lm_store *store;

  find_plugin ();
  repository = lm_scratch_path ("repo");
  setenv ("XDG_CACHE_HOME", lm_scratch_dir (), 1);
  setenv ("XDG_STATE_HOME", lm_scratch_dir (), 1);
  unsetenv ("LIVEMOUNT_KEY_FILE");
  unsetenv ("LIVEMOUNT_PASSPHRASE_FILE");
  unsetenv ("LIVEMOUNT_PASSPHRASE_COMMAND");
  if (encrypted) {
    key_file = lm_scratch_path ("key");
    cr_assert (eq (int, lm_key_file_create (key_file, &err), 0));
    cr_assert (eq (int, lm_credentials_key_file (&c, key_file, &err), 0));
    setenv ("LIVEMOUNT_KEY_FILE", key_file, 1);
  }
  cr_assert (eq (int, lm_store_open (repository, true, &store, &err), 0),
             "%s", err.message);
  cr_assert (eq (int, lm_repository_init (store, &options, &err), 0), "%s",
             err.message);
  lm_store_close (store);
  lm_credentials_release (&c);
  disk0 = memory_disk_new (NULL, PLUGIN_DISK0_SIZE, 65536);
  disk0->zero_offset = PLUGIN_ZERO_OFFSET;
  disk0->zero_len = PLUGIN_ZERO_LEN;
  disk1 = memory_disk_new (NULL, PLUGIN_DISK1_SIZE, 65536);
  back_up ("web01", (struct lm_backup_disk[]) {
    { .name = "disk0", .disk = &disk0->disk, .source = "test" },
    { .name = "disk1", .disk = &disk1->disk, .source = "test" },
  }, 2);
}

void
plugin_rig_backup (const char *vm, uint64_t size, uint8_t byte)
{
  uint8_t *data = malloc (size <= 1 << 20 ? size : 1);
  struct memory_disk *disk;

  if (size <= 1 << 20) {
    memset (data, byte, size);
    disk = memory_disk_new (data, size, 65536);
  }
  else {                        /* large ones are mostly holes */
    disk = memory_disk_new (NULL, size, 65536);
    disk->zero_offset = 1 << 20;
    disk->zero_len = size - (2 << 20);
  }
  free (data);
  back_up (vm, (struct lm_backup_disk[]) {
    { .name = "disk0", .disk = &disk->disk, .source = "test" },
  }, 1);
}

uint8_t *
plugin_disk0_content (void)
{
  uint8_t *data = malloc (PLUGIN_DISK0_SIZE);

  memory_disk_pattern (data, PLUGIN_DISK0_SIZE, 0);
  memset (data + PLUGIN_ZERO_OFFSET, 0, PLUGIN_ZERO_LEN);
  return data;
}

/* ---- servers ---- */

struct arguments {
  const char *argv[ARGS_MAX + 1];
  size_t n;
  char *repository;
};

static void
make_arguments (struct arguments *a, va_list ap)
{
  const char *parameters[ARGS_MAX], *arg;
  size_t n = 0, i;

  while ((arg = va_arg (ap, const char *)) != NULL) {
    cr_assert (lt (u64, a->n + n, ARGS_MAX - 3));
    if (arg[0] == '-')
      a->argv[a->n++] = arg;
    else
      parameters[n++] = arg;
  }
  a->argv[a->n++] = plugin;
  cr_assert (lt (int, 0, asprintf (&a->repository, "repository=%s",
                                repository)));
  a->argv[a->n++] = a->repository;
  for (i = 0; i < n; i++)
    a->argv[a->n++] = parameters[i];
  a->argv[a->n] = NULL;
}

static pid_t
spawn (const char *const *argv, const char *log)
{
  pid_t pid = fork ();

  cr_assert (ge (int, pid, 0));
  if (pid == 0) {
    int fd = open (log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    int null = open ("/dev/null", O_RDONLY);

    prctl (PR_SET_PDEATHSIG, SIGKILL);
    dup2 (null, 0);
    dup2 (fd, 1);
    dup2 (fd, 2);
    execvp (argv[0], (char **) argv);
    _exit (127);
  }
  return pid;
}

static char *
read_text (const char *path)
{
  char *text = calloc (1, 65536);
  FILE *fp = fopen (path, "r");

  if (fp) {
    cr_assert (lt (u64, fread (text, 1, 65535, fp), 65535));
    fclose (fp);
  }
  return text;
}

static struct arguments
server_arguments (struct plugin_server *s, bool daemon, char **ret_pid_file)
{
  static unsigned count;
  struct arguments a = { .n = 0 };

  count++;
  s->daemon = daemon;
  s->socket = lm_scratch_path ("sock%u", count);
  s->log = lm_scratch_path ("log%u", count);
  *ret_pid_file = lm_scratch_path ("pid%u", count);
  a.argv[a.n++] = "nbdkit";
  a.argv[a.n++] = "-U";
  a.argv[a.n++] = s->socket;
  a.argv[a.n++] = "-P";
  a.argv[a.n++] = *ret_pid_file;
  if (!daemon)
    a.argv[a.n++] = "-f";
  return a;
}

void
plugin_start (struct plugin_server *s, int daemon, ...)
{
  CLEANUP_FREE char *pid_file = NULL;
  struct arguments a = server_arguments (s, daemon, &pid_file);
  unsigned i;
  int status;
  va_list ap;

  va_start (ap, daemon);
  make_arguments (&a, ap);
  va_end (ap);
  s->pid = spawn (a.argv, s->log);
  for (i = 0; i < 12000 && access (pid_file, F_OK) == -1; i++) {
    if (!daemon)
      cr_assert (eq (int, waitpid (s->pid, &status, WNOHANG), 0), "%s",
                 read_text (s->log));
    usleep (10000);
  }
  if (daemon) {
    char *text;

    waitpid (s->pid, &status, 0);
    cr_assert (eq (int, status, 0), "%s", read_text (s->log));
    do {                        /* it is made, then written */
      usleep (1000);
      text = read_text (pid_file);
      s->pid = strtol (text, NULL, 10);
      free (text);
    } while (s->pid == 0);
  }
  free (a.repository);
}

void
plugin_end (struct plugin_server *s, int signum)
{
  unsigned i;

  kill (s->pid, signum);
  if (!s->daemon)
    waitpid (s->pid, NULL, 0);
  for (i = 0; i < 12000 && s->daemon && kill (s->pid, 0) == 0; i++)
    usleep (5000);
  unlink (s->socket);
  free (s->socket);
  free (s->log);
}

void
plugin_start_fails (const char *text, int daemon, ...)
{
  CLEANUP_FREE char *pid_file = NULL, *said = NULL;
  struct plugin_server s;
  struct arguments a = server_arguments (&s, daemon, &pid_file);
  int status;
  va_list ap;

  va_start (ap, daemon);
  make_arguments (&a, ap);
  va_end (ap);
  s.pid = spawn (a.argv, s.log);
  cr_assert (eq (int, waitpid (s.pid, &status, 0), s.pid));
  said = read_text (s.log);
  cr_expect (eq (int, status, W_EXITCODE (1, 0)));
  cr_expect (ne (ptr, strstr (said, text), NULL), "said: %s", said);
  free (a.repository);
  free (s.socket);
  free (s.log);
}

bool
plugin_said (const struct plugin_server *s, const char *text)
{
  CLEANUP_FREE char *said = read_text (s->log);

  return strstr (said, text) != NULL;
}

struct nbd_handle *
plugin_try_connect (const struct plugin_server *s, const char *name)
{
  struct nbd_handle *nbd = nbd_create ();

  cr_assert (ne (ptr, nbd, NULL));
  if (nbd_set_export_name (nbd, name) == 0 &&
      nbd_set_full_info (nbd, true) == 0 &&
      nbd_add_meta_context (nbd, LIBNBD_CONTEXT_BASE_ALLOCATION) == 0 &&
      nbd_connect_unix (nbd, s->socket) == 0)
    return nbd;
  nbd_close (nbd);
  return NULL;
}

struct nbd_handle *
plugin_connect (const struct plugin_server *s, const char *name)
{
  struct nbd_handle *nbd = plugin_try_connect (s, name);

  cr_assert (ne (ptr, nbd, NULL), "%s: %s", name, nbd_get_error ());
  return nbd;
}

void
plugin_disconnect (struct nbd_handle *nbd)
{
  cr_expect (eq (int, nbd_shutdown (nbd, 0), 0), "%s", nbd_get_error ());
  nbd_close (nbd);
}
