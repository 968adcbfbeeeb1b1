/* SPDX-License-Identifier: Apache-2.0
 *
 * A repository on disk with a few backups, real nbdkit processes that
 * serve it through our plugin, and connections to them.  Everything fails
 * the Criterion test when it can't be done.
 */
#ifndef LM_TESTS_SUPPORT_PLUGIN_RIG_H
#define LM_TESTS_SUPPORT_PLUGIN_RIG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <libnbd.h>

/* web01's first snapshot: disk0 with 1 MiB of zeros at 2 MiB, and disk1.
 * Both hold memory_disk_pattern otherwise. */
#define PLUGIN_DISK0_SIZE (40 * 1024 * 1024 + 777)
#define PLUGIN_DISK1_SIZE (4 * 1024 * 1024)
#define PLUGIN_ZERO_OFFSET (2 << 20)
#define PLUGIN_ZERO_LEN (1 << 20)

/* Skips the test when nbdkit is not there or can't load the plugin. */
extern void plugin_rig_make (bool encrypted);

/* Another snapshot, of a VM with one disk, all of it BYTE. */
extern void plugin_rig_backup (const char *vm, uint64_t size, uint8_t byte);

/* disk0 as it was backed up; PLUGIN_DISK0_SIZE bytes, to be freed. */
extern uint8_t *plugin_disk0_content (void);

/* The folders and files of the rig. */
extern const char *plugin_repository (void);
extern const char *plugin_path (void);

struct plugin_server {
  pid_t pid;
  bool daemon;
  char *socket;
  char *log;                    /* what it said */
};

/* nbdkit [ARGUMENT…] PLUGIN repository=… [PARAMETER…]: the arguments that
 * begin with - are for nbdkit.  NULL at the end. */
extern void plugin_start (struct plugin_server *s, int daemon, ...)
  __attribute__ ((sentinel));
/* Ends it with that signal and waits until it is gone. */
extern void plugin_end (struct plugin_server *s, int signum);

/* It must fail to start, and say TEXT. */
extern void plugin_start_fails (const char *text, int daemon, ...)
  __attribute__ ((sentinel));

/* Does its log contain this? */
extern bool plugin_said (const struct plugin_server *s, const char *text);

/* A connection to an export, with base:allocation. */
extern struct nbd_handle *plugin_connect (const struct plugin_server *s,
                                          const char *name);
/* The same, or NULL when the server refuses. */
extern struct nbd_handle *plugin_try_connect (const struct plugin_server *s,
                                              const char *name);
/* Ends it properly. */
extern void plugin_disconnect (struct nbd_handle *nbd);

#endif
