/* SPDX-License-Identifier: Apache-2.0
 *
 * Names of snapshots and disks as people write them; declared in
 * repository.h.
 *
 * A name comes from a command line or an NBD client.  It is looked at
 * byte by byte before anything is compared, and only ever shown cut
 * short.
 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/timestamp.h"
#include "formats/native/repository-internal.h"
#include "common/banned.h"

#define NAME_MAX_LEN 128        /* of a VM or a disk, bytes */
#define NAME_CHARS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" \
  "0123456789._+@-"
#define CANDIDATES 5            /* shown in a hint */

int
lm_name_check (const char *what, const char *name, struct lm_error *err)
{
  size_t len = strnlen (name, NAME_MAX_LEN + 1);

  if (len == 0)
    return lm_error_set (err, LM_ERR_USAGE, "the name of a %s is empty",
                         what);
  if (len > NAME_MAX_LEN)
    return lm_error_set (err, LM_ERR_USAGE, "%s '%.40s…': a name has at most "
                         "%d bytes", what, name, NAME_MAX_LEN);
  if (strspn (name, NAME_CHARS) != len || name[0] == '.' || name[0] == '-') {
    lm_error_set (err, LM_ERR_USAGE, "'%.*s' is not a name for a %s",
                  NAME_MAX_LEN, name, what);
    return lm_error_hint (err, "Names are made of letters, digits and "
                          "._+@- and do not begin with . or -");
  }
  return 0;
}

/* The three parts of a name; those that are not there are NULL. */
struct parts {
  char *vm, *time, *disk;
};

static void
parts_release (struct parts *p)
{
  free (p->vm);
  free (p->time);
  free (p->disk);
}

static int
check_time (const char *time, struct lm_error *err)
{
  size_t len = strnlen (time, LM_TIMESTAMP_LEN + 1);

  if (strcmp (time, "latest") == 0)
    return 0;
  if (len > 0 && len <= LM_TIMESTAMP_LEN &&
      strspn (time, "0123456789-:TZ") == len)
    return 0;
  lm_error_set (err, LM_ERR_USAGE, "'%.40s' is not the time of a snapshot",
                time);
  return lm_error_hint (err, "A time is 'latest', or the beginning of one "
                        "like 2026-11-22T06:30:00Z");
}

static int
split (const char *name, struct parts *p, struct lm_error *err)
{
  const char *rest = name;
  char **const fields[] = { &p->vm, &p->time, &p->disk };
  size_t i, n = sizeof fields / sizeof fields[0];

  for (i = 0; i < n && rest; i++) {
    const char *slash = strchr (rest, '/');
    size_t len = slash ? (size_t) (slash - rest) : strlen (rest);

    *fields[i] = strndup (rest, len);
    if (*fields[i] == NULL)
      return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    rest = slash ? slash + 1 : NULL;
  }
  if (rest) {
    lm_error_set (err, LM_ERR_USAGE, "'%.80s' has too many parts", name);
    return lm_error_hint (err, "A disk of a snapshot is named VM/TIME/DISK");
  }
  if (lm_name_check ("VM", p->vm, err) == -1 ||
      (p->time && check_time (p->time, err) == -1) ||
      (p->disk && lm_name_check ("disk", p->disk, err) == -1))
    return -1;
  return 0;
}

/* Append ITEM to a hint under construction, "a, b". */
static void
add_candidate (char *text, size_t size, size_t n, const char *item)
{
  size_t len = strlen (text);

  if (n < CANDIDATES)
    snprintf (text + len, size - len, "%s%.64s", n ? ", " : "", item);
  else if (n == CANDIDATES)
    snprintf (text + len, size - len, ", …");
}

static bool
vm_seen_later (const struct lm_snapshot_entry *list, size_t i, size_t n)
{
  size_t k;

  for (k = i + 1; k < n; k++)
    if (strcmp (list[i].vm, list[k].vm) == 0)
      return true;
  return false;
}

/* The VMs whose newest snapshots are the newest. */
static int
unknown_vm (const struct lm_snapshot_entry *list, size_t n, const char *vm,
            struct lm_error *err)
{
  char text[384] = "";
  size_t i, shown = 0;

  lm_error_set (err, LM_ERR_NOT_FOUND, "there is no snapshot of a VM '%s'",
                vm);
  for (i = n; i > 0 && shown <= CANDIDATES; i--)
    if (!vm_seen_later (list, i - 1, n))
      add_candidate (text, sizeof text, shown++, list[i - 1].vm);
  return lm_error_hint (err, shown ? "There are: %s"
                        : "The repository has no snapshots%s", text);
}

/* MATCH is what the time began with, or NULL for those of the VM. */
static void
hint_times (const struct lm_snapshot_entry *list, size_t n, const char *vm,
            const char *match, const char *lead, struct lm_error *err)
{
  char text[320] = "", time[LM_TIMESTAMP_LEN + 1];
  size_t i, shown = 0;

  for (i = n; i > 0 && shown <= CANDIDATES; i--) {
    if (strcmp (list[i - 1].vm, vm) != 0)
      continue;
    lm_timestamp_format (list[i - 1].time, time);
    if (match == NULL || strncmp (time, match, strlen (match)) == 0)
      add_candidate (text, sizeof text, shown++, time);
  }
  lm_error_hint (err, "%s %s", lead, text);
}

static const struct lm_snapshot_entry *
find (const struct lm_snapshot_entry *list, size_t n, const struct parts *p,
      struct lm_error *err)
{
  const bool latest = p->time == NULL || strcmp (p->time, "latest") == 0;
  const struct lm_snapshot_entry *found = NULL;
  char time[LM_TIMESTAMP_LEN + 1];
  bool vm_known = false;
  size_t i, matches = 0;

  /* From the newest on. */
  for (i = n; i > 0; i--) {
    if (strcmp (list[i - 1].vm, p->vm) != 0)
      continue;
    vm_known = true;
    if (latest)
      return &list[i - 1];
    lm_timestamp_format (list[i - 1].time, time);
    if (strncmp (time, p->time, strlen (p->time)) == 0) {
      found = &list[i - 1];
      matches++;
    }
  }
  if (matches == 1)
    return found;
  if (!vm_known)
    unknown_vm (list, n, p->vm, err);
  else if (matches == 0) {
    lm_error_set (err, LM_ERR_NOT_FOUND, "there is no snapshot %s/%s", p->vm,
                  p->time);
    hint_times (list, n, p->vm, NULL, "Its newest are:", err);
  }
  else {
    lm_error_set (err, LM_ERR_USAGE, "%s/%s is ambiguous: %zu snapshots "
                  "begin like that", p->vm, p->time, matches);
    hint_times (list, n, p->vm, p->time, "There are:", err);
  }
  return NULL;
}

const struct lm_snapshot_entry *
lm_repository_resolve (const struct lm_repository *repo, const char *name,
                       char **ret_disk, struct lm_error *err)
{
  CLEANUP (parts_release) struct parts p = { NULL, NULL, NULL };
  const struct lm_snapshot_entry *list, *found;
  size_t n;

  if (split (name, &p, err) == -1)
    return NULL;
  list = lm_repository_snapshots (repo, &n);
  found = find (list, n, &p, err);
  if (found)
    *ret_disk = lm_steal (p.disk);
  return found;
}
