/* SPDX-License-Identifier: Apache-2.0
 * Which snapshots stay: calendars, order of the rules, clocks that jumped.
 */
#include <config.h>

#include "formats/native/retention.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/duration.h"
#include "common/random.h"
#include "common/timestamp.h"

#define BERLIN "CET-1CEST,M3.5.0,M10.5.0/3"
#define NOW "2030-01-01T00:00:00Z"

#define LAST(n) .rules.keep[LM_KEEP_LAST] = (n)
#define HOURLY(n) .rules.keep[LM_KEEP_HOURLY] = (n)
#define DAILY(n) .rules.keep[LM_KEEP_DAILY] = (n)
#define WEEKLY(n) .rules.keep[LM_KEEP_WEEKLY] = (n)
#define MONTHLY(n) .rules.keep[LM_KEEP_MONTHLY] = (n)
#define YEARLY(n) .rules.keep[LM_KEEP_YEARLY] = (n)
#define WITHIN(days) .rules.within = (uint64_t) (days) * 86400

enum { TAG = 1, UNREADABLE = 2, PINNED = 4, PROTECTED = 8 };

struct row {
  const char *name;
  struct lm_retention_rules rules;
  const char *tz;               /* NULL: UTC */
  const char *now;              /* NULL: NOW */
  /* In the order in which they are given to the function; what is
   * expected are the reasons, "" when it goes. */
  struct { const char *time, *reasons; unsigned flags; } list[10];
};

static const struct row rows[] = {
  { "the last two, in whatever order they come", LAST (2),
    .list = { { "2026-11-20T00:00:00Z", "" },
              { "2026-11-22T00:00:00Z", "last" },
              { "2026-11-19T00:00:00Z", "" },
              { "2026-11-21T00:00:00Z", "last" } } },
  { "more are wanted than there are", LAST (5), DAILY (5),
    .list = { { "2026-11-22T00:00:00Z", "last" },
              { "2026-11-21T00:00:00Z", "last" } } },
  { "the newest of each day", DAILY (2),
    .list = { { "2026-11-22T23:59:59Z", "daily" },
              { "2026-11-22T00:00:00Z", "" },
              { "2026-11-21T12:00:00Z", "daily" },
              { "2026-11-21T11:59:59Z", "" },
              { "2026-11-20T12:00:00Z", "" } } },
  { "a covered day does not count", LAST (2), DAILY (2),
    .list = { { "2026-11-22T12:00:00Z", "last" },
              { "2026-11-22T11:00:00Z", "last" },
              { "2026-11-22T10:00:00Z", "" },
              { "2026-11-21T12:00:00Z", "daily" },
              { "2026-11-20T12:00:00Z", "daily" },
              { "2026-11-19T12:00:00Z", "" } } },
  { "days without a snapshot do not count", DAILY (3),
    .list = { { "2026-11-22T12:00:00Z", "daily" },
              { "2026-10-01T12:00:00Z", "daily" },
              { "2025-01-01T12:00:00Z", "daily" },
              { "2024-01-01T12:00:00Z", "" } } },
  { "each rule sees what the earlier ones left", LAST (1), HOURLY (1),
    DAILY (1), WEEKLY (1), MONTHLY (1), YEARLY (1),
    .list = { { "2026-11-26T12:30:00Z", "last" },
              { "2026-11-26T12:10:00Z", "" },
              { "2026-11-26T11:30:00Z", "hourly" },
              { "2026-11-26T10:30:00Z", "" },
              { "2026-11-25T10:30:00Z", "daily" },
              { "2026-11-22T10:30:00Z", "weekly" },
              { "2026-11-15T10:30:00Z", "" },
              { "2026-10-15T10:30:00Z", "monthly" },
              { "2025-10-15T10:30:00Z", "yearly" },
              { "2024-10-15T10:30:00Z", "" } } },
  /* 2020 has 53 weeks; the last one goes from 28 December to 3 January. */
  { "week 53 lies in two years", WEEKLY (2),
    .list = { { "2021-01-04T00:00:00Z", "weekly" },
              { "2021-01-03T23:59:59Z", "weekly" },
              { "2021-01-01T00:00:00Z", "" },
              { "2020-12-28T00:00:00Z", "" },
              { "2020-12-27T23:59:59Z", "" } } },
  { "week 1 begins in the old year", WEEKLY (2),
    .list = { { "2025-01-05T12:00:00Z", "weekly" },
              { "2024-12-30T12:00:00Z", "" },
              { "2024-12-29T12:00:00Z", "weekly" } } },
  { "the same week of another year is another week", WEEKLY (3),
    .list = { { "2026-11-22T12:00:00Z", "weekly" },
              { "2025-11-22T12:00:00Z", "weekly" },
              { "2024-11-22T12:00:00Z", "weekly" } } },
  { "a year ends at midnight", YEARLY (2),
    .list = { { "2026-01-01T00:00:00Z", "yearly" },
              { "2025-12-31T23:59:59Z", "yearly" },
              { "2025-01-01T00:00:00Z", "" } } },
  { "a leap day is a day", DAILY (9), MONTHLY (9),
    .list = { { "2024-03-01T12:00:00Z", "daily" },
              { "2024-02-29T12:00:00Z", "daily" },
              { "2024-02-28T12:00:00Z", "daily" } } },
  { "a leap day belongs to its month", MONTHLY (2),
    .list = { { "2024-03-01T12:00:00Z", "monthly" },
              { "2024-02-29T23:59:59Z", "monthly" },
              { "2024-02-01T00:00:00Z", "" } } },
  { "day 366 of a leap year is no day of the next", DAILY (2),
    .list = { { "2025-01-01T00:00:00Z", "daily" },
              { "2024-12-31T23:00:00Z", "daily" } } },
  { "1900 was no leap year, 2000 was one", DAILY (4),
    .list = { { "2000-03-01T00:00:00Z", "daily" },
              { "2000-02-29T00:00:00Z", "daily" },
              { "1900-03-01T00:00:00Z", "daily" },
              { "1900-02-28T00:00:00Z", "daily" } } },
  { "a month whose only snapshot is in a week of the next", WEEKLY (1),
    MONTHLY (2),
    .list = { { "2024-02-02T12:00:00Z", "weekly" },
              { "2024-01-31T12:00:00Z", "monthly" },
              { "2023-12-24T12:00:00Z", "monthly" } } },
  { "days are those of the time zone", DAILY (2), .tz = BERLIN,
    .list = { { "2026-11-22T23:30:00Z", "daily" },      /* the 23rd */
              { "2026-11-22T22:30:00Z", "daily" },
              { "2026-11-21T23:30:00Z", "" } } },
  { "an hour that comes twice is two", HOURLY (9), .tz = BERLIN,
    .list = { { "2026-10-25T01:30:00Z", "hourly" },     /* 02:30 CET */
              { "2026-10-25T01:10:00Z", "" },
              { "2026-10-25T00:30:00Z", "hourly" },     /* 02:30 CEST */
              { "2026-10-24T23:30:00Z", "hourly" } } },
  { "a day of 25 hours is one", DAILY (2), .tz = BERLIN,
    .list = { { "2026-10-25T22:59:59Z", "daily" },
              { "2026-10-24T22:00:00Z", "" },
              { "2026-10-24T21:59:59Z", "daily" } } },
  { "an hour that is left out harms nothing", HOURLY (9), .tz = BERLIN,
    .list = { { "2026-03-29T01:30:00Z", "hourly" },     /* 03:30 CEST */
              { "2026-03-29T00:30:00Z", "hourly" } } }, /* 01:30 CET */
  { "a day of 23 hours is one", DAILY (2), .tz = BERLIN,
    .list = { { "2026-03-29T21:59:59Z", "daily" },
              { "2026-03-28T23:00:00Z", "" },
              { "2026-03-28T22:59:59Z", "daily" } } },
  { "protected ones stay and are not seen", LAST (1), DAILY (1),
    .list = { { "2026-11-22T12:00:00Z", "protected", PROTECTED },
              { "2026-11-22T11:00:00Z", "last" },
              { "2026-11-21T12:00:00Z", "protected", PROTECTED },
              { "2026-11-21T11:00:00Z", "daily" },
              { "2026-11-20T11:00:00Z", "" } } },
  { "pinned ones stay and are seen", LAST (2),
    .list = { { "2026-11-22T12:00:00Z", "last+pinned", PINNED },
              { "2026-11-22T11:00:00Z", "last" },
              { "2026-11-21T12:00:00Z", "pinned", PINNED },
              { "2026-11-21T11:00:00Z", "" } } },
  { "tags keep in addition", LAST (1), DAILY (1),
    .list = { { "2026-11-22T12:00:00Z", "last" },
              { "2026-11-22T11:00:00Z", "tag", TAG },
              { "2026-11-21T12:00:00Z", "daily+tag", TAG },
              { "2026-11-20T11:00:00Z", "" } } },
  { "the newest stays whatever the rules say",
    .list = { { "2026-11-22T12:00:00Z", "newest" },
              { "2026-11-21T12:00:00Z", "tag", TAG },
              { "2026-11-20T11:00:00Z", "" } } },
  { "who can't be asked stays",
    .list = { { "2026-11-22T12:00:00Z", "unreadable", UNREADABLE },
              { "2026-11-21T12:00:00Z", "unreadable", UNREADABLE },
              { "2026-11-20T11:00:00Z", "" } } },
  { "within, to the second", WITHIN (1),
    .list = { { "2026-11-22T12:00:00Z", "within" },
              { "2026-11-21T12:00:00Z", "within" },
              { "2026-11-21T11:59:59Z", "" } } },
  { "within is in addition", WITHIN (1), DAILY (2),
    .list = { { "2026-11-22T12:00:00Z", "daily+within" },
              { "2026-11-22T11:00:00Z", "within" },
              { "2026-11-21T11:00:00Z", "daily" },
              { "2026-11-20T11:00:00Z", "" } } },
  { "a machine that is backed up no more keeps its last", WITHIN (7),
    .now = "2029-01-01T00:00:00Z",
    .list = { { "2026-11-22T12:00:00Z", "within" },
              { "2026-11-16T12:00:00Z", "within" },
              { "2026-11-14T12:00:00Z", "" } } },
  { "a backup's clock was a year ahead", WITHIN (7),
    .now = "2026-11-23T00:00:00Z",
    .list = { { "2027-11-22T12:00:01Z", "within" },
              { "2027-11-22T12:00:00Z", "within" },
              { "2026-11-22T12:00:00Z", "within" },
              { "2026-11-17T12:00:00Z", "within" },
              { "2026-11-15T12:00:00Z", "" } } },
  { "our clock is a year ahead", WITHIN (7),
    .now = "2027-11-23T00:00:00Z",
    .list = { { "2026-11-22T12:00:00Z", "within" },
              { "2026-11-17T12:00:00Z", "within" } } },
  { "our clock is a year behind", WITHIN (7), .now = "2025-11-23T00:00:00Z",
    .list = { { "2026-11-22T12:00:00Z", "within" },
              { "2026-01-17T12:00:00Z", "within" } } },
  { "clocks do not matter to counts", LAST (1), DAILY (2),
    .now = "1970-01-01T00:00:00Z",
    .list = { { "2099-11-22T12:00:00Z", "last" },
              { "2026-11-21T12:00:00Z", "daily" },
              { "2026-11-20T12:00:00Z", "daily" },
              { "2026-11-19T12:00:00Z", "" } } },
  { "the ends of the calendar", HOURLY (9), DAILY (9), WEEKLY (9),
    MONTHLY (9), YEARLY (9), .tz = BERLIN,
    .list = { { "9999-12-31T23:59:59Z", "hourly" },
              { "0001-01-01T00:00:00Z", "hourly" } } },
};

static int64_t
seconds (const char *text)
{
  int64_t t;

  cr_assert (eq (int, lm_timestamp_parse (text, &t), 0), "%s", text);
  return t;
}

static void
reasons_text (unsigned reasons, char out[128])
{
  size_t len = 0;
  unsigned i;

  out[0] = '\0';
  for (i = 0; i < LM_STAYS_REASONS; i++)
    if (reasons & (1u << i))
      len += snprintf (out + len, 128 - len, "%s%s", len ? "+" : "",
                       lm_retention_reason_name (i));
}

static void
run (const struct row *row)
{
  struct lm_snapshot_entry entries[10] = { { .vm = NULL } };
  struct lm_retention_item items[10] = { { .entry = NULL } };
  char text[128];
  size_t i, n;

  setenv ("TZ", row->tz ? row->tz : "UTC0", 1);
  for (n = 0; n < 10 && row->list[n].time; n++) {
    const unsigned flags = row->list[n].flags;

    entries[n].vm = (char *) "vm";
    entries[n].time = seconds (row->list[n].time);
    entries[n].sequence = n;
    entries[n].is_protected = flags & PROTECTED;
    items[n].entry = &entries[n];
    items[n].has_tag = flags & TAG;
    items[n].unreadable = flags & UNREADABLE;
    items[n].is_pinned = flags & PINNED;
  }
  lm_retention_apply (&row->rules, seconds (row->now ? row->now : NOW),
                      items, n);
  for (i = 0; i < n; i++) {
    const size_t k = items[i].entry - entries;

    reasons_text (items[i].reasons, text);
    cr_expect (eq (str, text, (char *) row->list[k].reasons), "%s: %s",
               row->name, row->list[k].time);
    cr_expect (i == 0 || items[i - 1].entry->time > items[i].entry->time);
  }
}

Test (retention, rules_and_calendars)
{
  size_t i;

  for (i = 0; i < sizeof rows / sizeof rows[0]; i++)
    run (&rows[i]);
}

Test (retention, nothing_is_nothing)
{
  const struct lm_retention_rules rules = { .within = 1 };
  struct lm_retention_item none = { .entry = NULL };

  lm_retention_apply (&rules, 0, &none, 0);
}

Test (retention, each_vm_by_itself)
{
  struct lm_snapshot_entry e[4] = {
    { .vm = (char *) "b", .time = 1000 }, { .vm = (char *) "a", .time = 5 },
    { .vm = (char *) "b", .time = 999 }, { .vm = (char *) "a", .time = 7 },
  };
  const struct lm_retention_rules rules = { .keep[LM_KEEP_LAST] = 1 };
  struct lm_retention_item items[4];
  size_t i;

  for (i = 0; i < 4; i++)
    items[i] = (struct lm_retention_item) { .entry = &e[i] };
  lm_retention_apply (&rules, 0, items, 4);
  cr_expect (eq (ptr, (void *) items[0].entry, &e[3]));
  cr_expect (eq (ptr, (void *) items[1].entry, &e[1]));
  cr_expect (eq (ptr, (void *) items[2].entry, &e[0]));
  cr_expect (eq (ptr, (void *) items[3].entry, &e[2]));
  cr_expect (items[0].reasons != 0 && items[2].reasons != 0);
  cr_expect (items[1].reasons == 0 && items[3].reasons == 0);
}

/* Whatever the times are: never more than the rules say, never fewer than
 * there are periods for, always the newest, and pruning again changes
 * nothing. */
Test (retention, random_times)
{
  enum { N = 400 };
  static struct lm_snapshot_entry e[N];
  static struct lm_retention_item items[N], again[N];
  const uint8_t seed[32] = "retention";
  int round;

  lm_random_set_test_seed (seed);
  setenv ("TZ", BERLIN, 1);
  for (round = 0; round < 20; round++) {
    struct lm_retention_rules rules = { .within = 0 };
    size_t counts[LM_KEEP_PERIODS] = { 0 }, i, n = 0;
    unsigned p;

    for (p = 0; p < LM_KEEP_PERIODS; p++) {
      uint8_t r;

      lm_random_bytes (&r, 1);
      rules.keep[p] = r % 12;
    }
    for (i = 0; i < N; i++) {
      uint32_t r;

      lm_random_bytes (&r, sizeof r);
      e[i] = (struct lm_snapshot_entry) {
        .vm = (char *) "vm", .time = 1700000000 + r % (3 * 365 * 86400),
        .sequence = i,
      };
      items[i] = (struct lm_retention_item) { .entry = &e[i] };
    }
    lm_retention_apply (&rules, INT64_MAX, items, N);
    cr_expect (items[0].reasons != 0);
    for (i = 0; i < N; i++) {
      for (p = 0; p < LM_KEEP_PERIODS; p++)
        counts[p] += (items[i].reasons >> p) & 1;
      if (items[i].reasons)
        again[n++] = (struct lm_retention_item) { .entry = items[i].entry };
    }
    for (p = 0; p < LM_KEEP_PERIODS; p++)
      cr_expect (counts[p] <= rules.keep[p]);
    cr_expect (eq (sz, counts[LM_KEEP_LAST], rules.keep[LM_KEEP_LAST]));
    lm_retention_apply (&rules, INT64_MAX, again, n);
    for (i = 0; i < n; i++)
      cr_expect (again[i].reasons != 0, "round %d", round);
  }
}

Test (retention, spans_of_time)
{
  static const struct { const char *text; uint64_t seconds; } good[] = {
    { "1h", 3600 }, { "36h", 129600 }, { "30d", 2592000 },
    { "2w", 1209600 }, { "1m", 2678400 }, { "1y", 31622400 },
    { "1y6m", 31622400 + 6 * 2678400 }, { "0h1d", 86400 },
    { "1000y", UINT64_C (31622400000) },
  };
  static const struct { const char *text, *message; } bad[] = {
    { "", "'' is not a span of time" }, { "7", "'7' is not a span of time" },
    { "d", "'d' is not a span of time" },
    { "0d", "'0d' is not a span of time" },
    { "-1d", "'-1d' is not a span of time" },
    { "1 d", "'1 d' is not a span of time" },
    { "1d ", "'1d ' is not a span of time" },
    { "1D", "'1D' is not a span of time" },
    { "1s", "'1s' is not a span of time" },
    { "1001y", "'1001y' is more than 1000 years" },
    { "1000y1h", "'1000y1h' is more than 1000 years" },
    { "99999999999999999999999d",
      "'99999999999999999999999d' is more than 1000 years" },
  };
  uint64_t s;
  size_t i;

  for (i = 0; i < sizeof good / sizeof good[0]; i++) {
    struct lm_error err = LM_ERROR_INIT;

    cr_assert (eq (int, lm_duration_parse (good[i].text, &s, &err), 0), "%s",
               good[i].text);
    cr_expect (eq (u64, s, good[i].seconds), "%s", good[i].text);
  }
  for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    struct lm_error err = LM_ERROR_INIT;

    s = 42;
    cr_expect (eq (int, lm_duration_parse (bad[i].text, &s, &err), -1), "%s",
               bad[i].text);
    cr_expect (eq (u64, s, 42));
    cr_expect (eq (int, err.kind, LM_ERR_USAGE));
    cr_expect (eq (str, err.message, (char *) bad[i].message));
  }
}
