/* SPDX-License-Identifier: Apache-2.0
 *
 * Which snapshots stay when old ones are pruned.
 *
 * Nothing is read and nothing is changed here: from the rules, the entries
 * and the time follows what stays and why.  Days, weeks and so on are
 * those of the process's time zone (TZ).
 */
#ifndef LM_FORMATS_NATIVE_RETENTION_H
#define LM_FORMATS_NATIVE_RETENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/native/repository.h"

/* In the order in which they are applied. */
enum lm_retention_period {
  LM_KEEP_LAST,
  LM_KEEP_HOURLY,
  LM_KEEP_DAILY,
  LM_KEEP_WEEKLY,               /* ISO 8601: from Monday on */
  LM_KEEP_MONTHLY,
  LM_KEEP_YEARLY,
  LM_KEEP_PERIODS,
};

struct lm_retention_rules {
  uint64_t keep[LM_KEEP_PERIODS];       /* how many; 0: no such rule */
  uint64_t within;              /* seconds; 0: no such rule */
};

/* Why a snapshot stays, as bits.  Those of the periods come first. */
enum lm_retention_reason {
  LM_STAYS_WITHIN = 1 << LM_KEEP_PERIODS,
  LM_STAYS_TAG = LM_STAYS_WITHIN << 1,
  LM_STAYS_UNREADABLE = LM_STAYS_WITHIN << 2,
  LM_STAYS_NEWEST = LM_STAYS_WITHIN << 3,
  LM_STAYS_PROTECTED = LM_STAYS_WITHIN << 4,
  LM_STAYS_PINNED = LM_STAYS_WITHIN << 5,
};
#define LM_STAYS_REASONS (LM_KEEP_PERIODS + 6)

/* "daily", "protected": of bit number I. */
extern const char *lm_retention_reason_name (unsigned i);

struct lm_retention_item {
  const struct lm_snapshot_entry *entry;        /* borrowed */
  bool has_tag;                 /* one that is to be kept */
  bool unreadable;              /* its tags are not known */
  bool is_pinned;

  unsigned reasons;             /* the result: 0 means that it goes */
};

/* Decide, for each VM by itself, and put ITEMS in order: by VM, the newest
 * first.
 *
 * Each period rule keeps the newest snapshot of each period, until there
 * are as many as it says.  A period of which an earlier rule keeps a
 * snapshot already is passed over and does not count.  What an earlier
 * rule did not keep is seen by the later ones.  (Proxmox Backup Server
 * hides it from them, so that a month whose only snapshot lies in a week of
 * the next month can lose it.)
 *
 * Protected snapshots stay, and the periods do not see them.  Pinned ones
 * are seen like others, and stay in any case.  `within` counts from NOW or
 * from the VM's newest snapshot, whatever is earlier: a machine that is
 * backed up no more keeps its last snapshots, and a clock that ran ahead,
 * ours or that of a backup, costs none.  It and tags keep in addition; the
 * periods do not see them.  The newest snapshot of a VM always stays. */
extern void lm_retention_apply (const struct lm_retention_rules *rules,
                                int64_t now,
                                struct lm_retention_item *items, size_t n)
  __attribute__ ((nonnull (1)));

#endif
