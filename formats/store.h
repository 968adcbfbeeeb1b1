/* SPDX-License-Identifier: Apache-2.0
 *
 * Named immutable objects, wherever they live.
 *
 * A name is one or more components of [a-z0-9.-] joined by '/', at most
 * LM_STORE_NAME_MAX bytes, no component empty or starting with '.'.  No
 * object's name may be a leading part of another's ("a" and "a/b"), and
 * none starts with "tmp/", which belongs to the directory store.
 * Every function may be called from any thread at once, except close.
 *
 * Durability: when put or put_if_absent has returned 0, the object
 * survives power loss, whole and under its name; when it failed or the
 * machine died, the name either does not exist or holds a whole object
 * (for put: the old one or the new one).  A put_if_absent that failed
 * with anything but LM_ERR_EXISTS may so have happened nevertheless: who
 * needs to know reads the object back.
 */
#ifndef LM_FORMATS_STORE_H
#define LM_FORMATS_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "common/error.h"

#define LM_STORE_NAME_MAX 200

/* Only objects up to this size can be replaced (put).  A larger one never
 * changes under its name, so a store may keep it open or cached. */
#define LM_STORE_PUT_MAX (64 * 1024)

struct lm_store;

/* Called once per object below the prefix, in no order, with its full
 * name and size in bytes.  Return -1 (with *err set) to stop. */
typedef int (*lm_store_list_cb) (void *opaque, const char *name,
                                 uint64_t size, struct lm_error *err);

struct lm_store_ops {
  const char *name;             /* "dir", for messages */

  /* All are required but for the last one. */

  /* Store the concatenation of IOV, at most LM_STORE_PUT_MAX bytes, under
   * NAME, replacing what is there: only for the few objects that may be
   * replaced (leases).  Other processes see it at their next read. */
  int (*put) (struct lm_store *store, const char *name,
              const struct iovec *iov, int iovcnt, struct lm_error *err);

  /* The same, but LM_ERR_EXISTS when the name exists already; it is then
   * durable, whoever put it.  Of several at once exactly one succeeds:
   * the journal rests on this. */
  int (*put_if_absent) (struct lm_store *store, const char *name,
                        const struct iovec *iov, int iovcnt,
                        struct lm_error *err);

  /* Read exactly LEN bytes at OFFSET.  LM_ERR_NOT_FOUND when there is no
   * such object, LM_ERR_CORRUPT when it is shorter. */
  int (*get_range) (struct lm_store *store, const char *name, void *buf,
                    size_t len, uint64_t offset, struct lm_error *err);

  /* The size in bytes, or LM_ERR_NOT_FOUND. */
  int (*stat) (struct lm_store *store, const char *name,
               uint64_t *ret_size, struct lm_error *err);

  /* Durable when it returns 0.  LM_ERR_NOT_FOUND when there is none. */
  int (*remove) (struct lm_store *store, const char *name,
                 struct lm_error *err);

  /* PREFIX is a whole number of components, e.g. "packs" or "packs/ab".
   * A prefix that does not exist is an empty list. */
  int (*list) (struct lm_store *store, const char *prefix,
               lm_store_list_cb cb, void *opaque, struct lm_error *err);

  void (*close) (struct lm_store *store);

  /* Optional.  What is removed makes room for what is put, and there may
   * be none left: a file system. */
  bool bounded;
};

/* Implementations embed this as their first member. */
struct lm_store {
  const struct lm_store_ops *ops;
  char *location;               /* for messages; freed by close */
};

/* The checked entry points: these verify the name. */
extern int lm_store_put (struct lm_store *s, const char *name,
                         const struct iovec *iov, int iovcnt,
                         struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
extern int lm_store_put_if_absent (struct lm_store *s, const char *name,
                                   const struct iovec *iov, int iovcnt,
                                   struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
extern int lm_store_get_range (struct lm_store *s, const char *name,
                               void *buf, size_t len, uint64_t offset,
                               struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
extern int lm_store_stat (struct lm_store *s, const char *name,
                          uint64_t *ret_size, struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
extern int lm_store_remove (struct lm_store *s, const char *name,
                            struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));
extern int lm_store_list (struct lm_store *s, const char *prefix,
                          lm_store_list_cb cb, void *opaque,
                          struct lm_error *err)
  __attribute__ ((nonnull (1, 2, 3, 5), warn_unused_result));

/* Read a whole object of at most LIMIT bytes (LM_ERR_LIMIT beyond).
 * *ret_data is to be freed. */
extern int lm_store_get (struct lm_store *s, const char *name, size_t limit,
                         uint8_t **ret_data, size_t *ret_len,
                         struct lm_error *err)
  __attribute__ ((nonnull, warn_unused_result));

/* NULL is fine. */
extern void lm_store_close (struct lm_store *s);

/* 0 if NAME is well-formed. */
extern int lm_store_check_name (const char *name, struct lm_error *err)
  __attribute__ ((nonnull));

#endif
