/* SPDX-License-Identifier: Apache-2.0
 *
 * Retention; see retention.h.
 *
 * Seen from the newest on, the snapshots of one period lie together, so
 * each rule is one walk over runs of equal periods.
 */
#include <config.h>

#include "formats/native/retention.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/banned.h"

#define KEY_LEN 48

const char *
lm_retention_reason_name (unsigned i)
{
  static const char *const names[LM_STAYS_REASONS] = {
    "last", "hourly", "daily", "weekly", "monthly", "yearly", "within",
    "tag", "unreadable", "newest", "protected", "pinned",
  };

  return i < LM_STAYS_REASONS ? names[i] : "?";
}

static int
compare (const void *a_, const void *b_)
{
  const struct lm_snapshot_entry *a =
    ((const struct lm_retention_item *) a_)->entry;
  const struct lm_snapshot_entry *b =
    ((const struct lm_retention_item *) b_)->entry;
  int r = strcmp (a->vm, b->vm);

  if (r != 0)
    return r;
  if (a->time != b->time)
    return a->time > b->time ? -1 : 1;
  if (a->sequence != b->sequence)
    return a->sequence > b->sequence ? -1 : 1;
  return 0;
}

/* What all times of one period have in common, and no others.  An hour
 * that comes twice, when summer time ends, counts as two: hence %z. */
static void
period_of (enum lm_retention_period period,
           const struct lm_retention_item *item, char out[KEY_LEN])
{
  const time_t t = item->entry->time;
  size_t n = 0;
  struct tm tm;

  if (localtime_r (&t, &tm))
    switch (period) {
    case LM_KEEP_HOURLY: n = strftime (out, KEY_LEN, "%Y-%j %H %z", &tm);
      break;
    case LM_KEEP_DAILY: n = strftime (out, KEY_LEN, "%Y-%j", &tm); break;
    case LM_KEEP_WEEKLY: n = strftime (out, KEY_LEN, "%G-%V", &tm); break;
    case LM_KEEP_MONTHLY: n = strftime (out, KEY_LEN, "%Y-%m", &tm); break;
    case LM_KEEP_YEARLY: n = strftime (out, KEY_LEN, "%Y", &tm); break;
    case LM_KEEP_LAST:
    case LM_KEEP_PERIODS:
      break;
    }
  if (n == 0)
    out[0] = '\0';
}

/* How many of the N items at the front are of one period? */
static size_t
run_length (enum lm_retention_period period,
            const struct lm_retention_item *items, size_t n)
{
  char first[KEY_LEN], other[KEY_LEN];
  size_t i;

  if (period == LM_KEEP_LAST)
    return 1;
  period_of (period, &items[0], first);
  for (i = 1; i < n; i++) {
    period_of (period, &items[i], other);
    if (strcmp (first, other) != 0)
      break;
  }
  return i;
}

/* The one that a rule would keep of these, all of one period; NULL when
 * there is none or the period is covered. */
static struct lm_retention_item *
choose (struct lm_retention_item *items, size_t n)
{
  struct lm_retention_item *newest = NULL;
  size_t i;

  for (i = 0; i < n; i++) {
    if (items[i].reasons & LM_STAYS_PROTECTED)
      continue;
    if (items[i].reasons)
      return NULL;
    if (newest == NULL)
      newest = &items[i];
  }
  return newest;
}

static void
apply_period (enum lm_retention_period period, uint64_t keep,
              struct lm_retention_item *items, size_t n)
{
  struct lm_retention_item *item;
  size_t i, len;

  for (i = 0; i < n && keep > 0; i += len) {
    len = run_length (period, &items[i], n - i);
    item = choose (&items[i], len);
    if (item) {
      item->reasons = 1 << period;
      keep--;
    }
  }
}

/* The snapshots of one VM, the newest first. */
static void
apply_to_vm (const struct lm_retention_rules *rules, int64_t now,
             struct lm_retention_item *items, size_t n)
{
  const int64_t newest = items[0].entry->time;
  const int64_t from = newest < now ? newest : now;
  unsigned p;
  size_t i;

  for (i = 0; i < n; i++)
    items[i].reasons = items[i].entry->is_protected ? LM_STAYS_PROTECTED : 0;
  for (p = 0; p < LM_KEEP_PERIODS; p++)
    apply_period (p, rules->keep[p], items, n);
  for (i = 0; i < n; i++) {
    struct lm_retention_item *item = &items[i];

    if (rules->within && (item->entry->time >= from ||
                          (uint64_t) (from - item->entry->time) <=
                          rules->within))
      item->reasons |= LM_STAYS_WITHIN;
    if (item->has_tag)
      item->reasons |= LM_STAYS_TAG;
    if (item->unreadable)
      item->reasons |= LM_STAYS_UNREADABLE;
    if (item->is_pinned)
      item->reasons |= LM_STAYS_PINNED;
  }
  if (items[0].reasons == 0)
    items[0].reasons = LM_STAYS_NEWEST;
}

void
lm_retention_apply (const struct lm_retention_rules *rules, int64_t now,
                    struct lm_retention_item *items, size_t n)
{
  size_t i, len;

  if (n == 0)
    return;
  tzset ();
  qsort (items, n, sizeof *items, compare);
  for (i = 0; i < n; i += len) {
    for (len = 1; i + len < n; len++)
      if (strcmp (items[i].entry->vm, items[i + len].entry->vm) != 0)
        break;
    apply_to_vm (rules, now, &items[i], len);
  }
}
