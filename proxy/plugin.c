/* SPDX-License-Identifier: Apache-2.0
 *
 * The nbdkit plugin: adapts nbdkit's callbacks, and does nothing else.
 *
 * Debian 12's nbdkit aborts the process when .extents reports beyond the
 * request (CVE-2025-47711), also through its own merging of neighbours:
 * add_extent below never does.
 */
#include <config.h>

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "common/cleanup.h"
#include "common/secret.h"
#include "proxy/cache.h"
#include "proxy/exports.h"
#include "proxy/overlay.h"
#include "proxy/proxy-config.h"
#include "proxy/readahead.h"
#include "proxy/plugin-report.h"
#include "common/banned.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

/* The largest request that is advertised. */
#define REQUEST_MAX (UINT32_C (32) << 20)
/* A client asks again for the rest. */
#define EXTENTS_MAX 4096

/* The one configuration of the process, and what was made of it. */
static struct lm_proxy_config config = LM_PROXY_CONFIG_INIT;
static struct lm_exports *exports;

struct handle {
  struct lm_export *export;
  bool readonly;
  struct lm_readahead_stream stream;
};

static void
livemount_load (void)
{
  lm_secret_harden_process ();
  /* Sixteen threads would each get an arena of their own, and keep in it
   * what they once needed. */
  mallopt (M_ARENA_MAX, 2);
  mallopt (M_MMAP_THRESHOLD, 128 * 1024);
  mallopt (M_TRIM_THRESHOLD, 256 * 1024);
}

static void
livemount_unload (void)
{
  lm_proxy_config_release (&config);
}

static int
livemount_config (const char *key, const char *value)
{
  struct lm_error err = LM_ERROR_INIT;

  if (lm_proxy_config_set (&config, key, value, &err) == -1)
    return lm_proxy_report (&err);
  return 0;
}

static int
livemount_config_complete (void)
{
  struct lm_error err = LM_ERROR_INIT;

  if (lm_proxy_config_complete (&config, &err) == -1)
    return lm_proxy_report (&err);
  return 0;
}

static int
livemount_get_ready (void)
{
  struct lm_error err = LM_ERROR_INIT;

  exports = lm_exports_new (&config, &err);
  if (exports == NULL)
    return lm_proxy_report (&err);
  lm_credentials_release (&config.credentials);
  return 0;
}

static int
livemount_after_fork (void)
{
  struct lm_error err = LM_ERROR_INIT;

  if (lm_exports_start (exports, &err) == -1)
    return lm_proxy_report (&err);
  return 0;
}

static void
livemount_cleanup (void)
{
  lm_exports_free (exports);
  exports = NULL;
}

static int
add_export (void *opaque, const char *name, const char *description,
            struct lm_error *err)
{
  if (nbdkit_add_export (opaque, name, description) == -1)
    return lm_error_set (err, LM_ERR_NOMEM, "export %s cannot be listed",
                         name);
  return 0;
}

static int
livemount_list_exports (int readonly, int is_tls,
                        struct nbdkit_exports *list)
{
  struct lm_error err = LM_ERROR_INIT;

  (void) readonly;
  (void) is_tls;
  if (lm_exports_list (exports, add_export, list, &err) == -1)
    return lm_proxy_report (&err);
  return 0;
}

static const char *
livemount_default_export (int readonly, int is_tls)
{
  const char *name = lm_exports_default (exports);

  (void) readonly;
  (void) is_tls;
  return name ? name : "";
}

static void *
livemount_open (int readonly)
{
  struct lm_error err = LM_ERROR_INIT;
  struct handle *h = calloc (1, sizeof *h);
  const char *name = nbdkit_export_name ();

  if (h == NULL || name == NULL) {
    nbdkit_error ("out of memory");
    free (h);
    return NULL;
  }
  h->export = lm_exports_open (exports, name, &err);
  if (h->export == NULL) {
    lm_proxy_report (&err);
    free (h);
    return NULL;
  }
  h->readonly = readonly;
  lm_readahead_stream_init (&h->stream);
  return h;
}

static void
livemount_close (void *handle)
{
  struct handle *h = handle;

  lm_readahead_stream_release (&h->stream);
  lm_exports_close (exports, h->export);
  free (h);
}

static const char *
livemount_export_description (void *handle)
{
  struct handle *h = handle;

  return nbdkit_strdup_intern (h->export->description);
}

static int64_t
livemount_get_size (void *handle)
{
  struct handle *h = handle;

  return h->export->disk->size;
}

static int
livemount_block_size (void *handle, uint32_t *minimum, uint32_t *preferred,
                      uint32_t *maximum)
{
  struct handle *h = handle;

  *minimum = 1;
  /* Preferred is what costs no read-modify-write, or no chunk twice. */
  *preferred = h->export->writable && !h->readonly
    ? 4096 : h->export->disk->preferred_block;
  *maximum = REQUEST_MAX;
  return 0;
}

static int
livemount_can_write (void *handle)
{
  struct handle *h = handle;

  return h->export->writable && !h->readonly;
}

static int
livemount_can_zero (void *handle)
{
  return livemount_can_write (handle);
}

static int
livemount_can_fua (void *handle)
{
  return livemount_can_write (handle) ? NBDKIT_FUA_NATIVE : NBDKIT_FUA_NONE;
}

static int
livemount_yes (void *handle)
{
  (void) handle;
  return 1;
}

static int
livemount_no (void *handle)
{
  (void) handle;
  return 0;
}

static int
livemount_can_cache (void *handle)
{
  (void) handle;
  return NBDKIT_CACHE_NATIVE;
}

static int
livemount_pread (void *handle, void *buf, uint32_t count, uint64_t offset,
                 uint32_t flags)
{
  struct handle *h = handle;
  struct lm_error err = LM_ERROR_INIT;

  (void) flags;
  lm_readahead_note (lm_exports_readahead (exports), &h->stream,
                     h->export->cached, offset, count);
  if (lm_disk_pread (h->export->disk, buf, count, offset, &err) == -1)
    return lm_proxy_report (&err);
  return 0;
}

static int
flush_if (struct handle *h, uint32_t flags, struct lm_error *err)
{
  return flags & NBDKIT_FLAG_FUA
    ? lm_overlay_disk_flush (h->export->disk, err) : 0;
}

static int
livemount_pwrite (void *handle, const void *buf, uint32_t count,
                  uint64_t offset, uint32_t flags)
{
  struct handle *h = handle;
  struct lm_error err = LM_ERROR_INIT;

  if (lm_overlay_disk_pwrite (h->export->disk, buf, count, offset,
                              &err) == -1 ||
      flush_if (h, flags, &err) == -1)
    return lm_proxy_report (&err);
  return 0;
}

static int
livemount_flush (void *handle, uint32_t flags)
{
  struct handle *h = handle;
  struct lm_error err = LM_ERROR_INIT;

  (void) flags;
  /* Also who may only read can have seen what others wrote. */
  if (h->export->writable &&
      lm_overlay_disk_flush (h->export->disk, &err) == -1)
    return lm_proxy_report (&err);
  return 0;
}

static int
livemount_trim (void *handle, uint32_t count, uint64_t offset,
                uint32_t flags)
{
  struct handle *h = handle;
  struct lm_error err = LM_ERROR_INIT;

  if (lm_overlay_disk_zero (h->export->disk, count, offset, true,
                            &err) == -1 ||
      flush_if (h, flags, &err) == -1)
    return lm_proxy_report (&err);
  return 0;
}

static int
livemount_zero (void *handle, uint32_t count, uint64_t offset,
                uint32_t flags)
{
  struct handle *h = handle;
  struct lm_error err = LM_ERROR_INIT;
  bool may_trim = flags & NBDKIT_FLAG_MAY_TRIM;

  /* Zeros that have to stay allocated are written one by one. */
  if ((flags & NBDKIT_FLAG_FAST_ZERO) && !may_trim) {
    nbdkit_set_error (EOPNOTSUPP);
    return -1;
  }
  if (lm_overlay_disk_zero (h->export->disk, count, offset, may_trim,
                            &err) == -1 ||
      flush_if (h, flags, &err) == -1)
    return lm_proxy_report (&err);
  return 0;
}

struct extents {
  struct nbdkit_extents *list;
  uint64_t end;
  unsigned count, max;
  bool stopped;                 /* by us: no error */
};

static int
add_extent (void *opaque, uint64_t offset, uint64_t len,
            enum lm_extent_type type, struct lm_error *err)
{
  struct extents *e = opaque;

  if (offset >= e->end)
    len = 0;
  else if (len > e->end - offset)
    len = e->end - offset;
  if (len > 0 &&
      nbdkit_add_extent (e->list, offset, len, type == LM_EXTENT_ZERO
                         ? NBDKIT_EXTENT_HOLE | NBDKIT_EXTENT_ZERO
                         : 0) == -1)
    return lm_error_set (err, LM_ERR_NOMEM, "extents: out of memory");
  if (++e->count >= e->max) {
    e->stopped = true;
    return -1;
  }
  return 0;
}

static int
livemount_extents (void *handle, uint32_t count, uint64_t offset,
                   uint32_t flags, struct nbdkit_extents *list)
{
  struct handle *h = handle;
  struct lm_error err = LM_ERROR_INIT;
  struct extents e = {
    .list = list,
    .end = offset + count,
    .max = flags & NBDKIT_FLAG_REQ_ONE ? 1 : EXTENTS_MAX,
  };

  if (lm_disk_extents (h->export->disk, offset, count, add_extent, &e,
                       &err) == -1 && !e.stopped)
    return lm_proxy_report (&err);
  return 0;
}

static int
livemount_cache (void *handle, uint32_t count, uint64_t offset,
                 uint32_t flags)
{
  struct handle *h = handle;
  struct lm_error err = LM_ERROR_INIT;

  (void) flags;
  if (lm_cache_disk_prefetch (h->export->cached, offset, count, &err) == -1)
    return lm_proxy_report (&err);
  return 0;
}

static struct nbdkit_plugin plugin = {
  .name = "livemount",
  .longname = "Livemount backup proxy",
  .version = PACKAGE_VERSION,
  .description = "VM backups as disks: read at once, written through a "
                 "copy-on-write overlay",
  .load = livemount_load,
  .unload = livemount_unload,
  .config = livemount_config,
  .config_complete = livemount_config_complete,
  .config_help = lm_proxy_config_help,
  .magic_config_key = "repository",
  .dump_plugin = lm_proxy_dump,
  .get_ready = livemount_get_ready,
  .after_fork = livemount_after_fork,
  .cleanup = livemount_cleanup,
  .list_exports = livemount_list_exports,
  .default_export = livemount_default_export,
  .open = livemount_open,
  .close = livemount_close,
  .export_description = livemount_export_description,
  .get_size = livemount_get_size,
  .block_size = livemount_block_size,
  .can_write = livemount_can_write,
  .can_flush = livemount_yes,
  .is_rotational = livemount_no,
  .can_trim = livemount_can_write,
  .can_zero = livemount_can_zero,
  .can_fast_zero = livemount_can_write,
  .can_fua = livemount_can_fua,
  .can_multi_conn = livemount_yes,
  .can_extents = livemount_yes,
  .can_cache = livemount_can_cache,
  .pread = livemount_pread,
  .pwrite = livemount_pwrite,
  .flush = livemount_flush,
  .trim = livemount_trim,
  .zero = livemount_zero,
  .extents = livemount_extents,
  .cache = livemount_cache,
};

/* The macro defines it without a prototype, which clang remarks. */
extern struct nbdkit_plugin *plugin_init (void);

NBDKIT_REGISTER_PLUGIN (plugin)
