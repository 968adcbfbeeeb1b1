/* SPDX-License-Identifier: Apache-2.0
 *
 * Progress; see progress.h.
 *
 * The rate is that of the last ten seconds or so (an exponential average),
 * so that the time left follows a source that gets slower.
 */
#include <config.h>

#include "mount/progress.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/random.h"
#include "common/size.h"
#include "common/banned.h"

#define SECOND UINT64_C (1000000000)
#define BAR_EVERY (SECOND / 5)
#define LINE_EVERY (5 * SECOND)

struct lm_progress {
  pthread_mutex_t lock;         /* protects what is not const */
  char *what;
  bool silent, terminal;        /* const */
  uint64_t started;             /* const; ns, monotonic */
  _Atomic uint64_t next;        /* when to print again */
  uint64_t last_time, last_done;
  double rate;                  /* bytes a second */
};

/* Is there a bar on the screen?  There is only one terminal. */
static atomic_bool bar_shown;

void
lm_progress_interrupt (void)
{
  if (atomic_exchange (&bar_shown, false)) {
    fputs ("\r\033[K", stderr);
    fflush (stderr);
  }
}

void
lm_duration_format (double seconds, char out[LM_DURATION_LEN])
{
  unsigned long s;

  if (!(seconds >= 0) || seconds > 1e8) {
    snprintf (out, LM_DURATION_LEN, "-");
    return;
  }
  s = lrint (seconds);
  if (s >= 3600)
    snprintf (out, LM_DURATION_LEN, "%lu:%02lu:%02lu", s / 3600,
              s / 60 % 60, s % 60);
  else
    snprintf (out, LM_DURATION_LEN, "%lu:%02lu", s / 60, s % 60);
}

struct lm_progress *
lm_progress_new (const struct lm_cli *cli, const char *what)
{
  struct lm_progress *p = calloc (1, sizeof *p);

  if (p == NULL)
    return NULL;
  p->what = strdup (what);
  if (p->what == NULL) {
    free (p);
    return NULL;
  }
  pthread_mutex_init (&p->lock, NULL);
  p->silent = cli->quiet;
  p->terminal = isatty (STDERR_FILENO) && !cli->json;
  p->started = p->last_time = lm_clock_monotonic ();
  atomic_init (&p->next, p->started + (p->terminal ? BAR_EVERY
                                                   : LINE_EVERY));
  return p;
}

void
lm_progress_free (struct lm_progress *p)
{
  if (p == NULL)
    return;
  lm_progress_interrupt ();
  pthread_mutex_destroy (&p->lock);
  free (p->what);
  free (p);
}

static unsigned
columns (void)
{
  struct winsize w;

  if (ioctl (STDERR_FILENO, TIOCGWINSZ, &w) == -1 || w.ws_col < 20)
    return 80;
  return w.ws_col;
}

static void
print_bar (const struct lm_progress *p, const char *text, double part)
{
  unsigned width = columns () - 1, used = strlen (p->what) + strlen (text) + 4;
  unsigned bar, full, i;
  char line[512];
  size_t n = 0;

  if (width > sizeof line - 16)
    width = sizeof line - 16;
  bar = used + 10 < width ? width - used : 0;
  if (bar > 40)
    bar = 40;
  full = part * bar;
  for (i = 0; i < bar; i++)
    line[n++] = i < full ? '#' : '.';
  line[n] = '\0';
  fprintf (stderr, "\r%.*s %s%s%s%.*s\033[K", (int) width, p->what,
           bar ? "[" : "", line, bar ? "] " : "",
           (int) (width - strnlen (p->what, width)), text);
  fflush (stderr);
  atomic_store (&bar_shown, true);
}

static void
print (struct lm_progress *p, uint64_t done, uint64_t total,
       const char *detail)
{
  char of[40] = "", size[LM_SIZE_LEN], rate[LM_SIZE_LEN],
       left[LM_DURATION_LEN + 8] = "", text[256];
  double part = total ? (double) done / total : 0;

  if (part > 1)
    part = 1;
  lm_size_format (done, size);
  lm_size_format (p->rate, rate);
  if (total) {
    char total_size[LM_SIZE_LEN], duration[LM_DURATION_LEN];

    lm_size_format (total, total_size);
    snprintf (of, sizeof of, " of %s, %d%%", total_size, (int) (part * 100));
    if (p->rate > 0 && total >= done) {
      lm_duration_format ((total - done) / p->rate, duration);
      snprintf (left, sizeof left, ", %s left", duration);
    }
  }
  snprintf (text, sizeof text, "%s%s, %s/s%s%s%s", size, of, rate, left,
            detail ? ", " : "", detail ? detail : "");
  if (p->terminal)
    print_bar (p, text, part);
  else
    fprintf (stderr, "%s: %s\n", p->what, text);
}

void
lm_progress_update (struct lm_progress *p, uint64_t done, uint64_t total,
                    const char *detail)
{
  uint64_t now, every;

  if (p == NULL || p->silent)
    return;
  now = lm_clock_monotonic ();
  if (now < atomic_load_explicit (&p->next, memory_order_relaxed))
    return;

  LM_LOCK_FOR_SCOPE (&p->lock);
  if (now < p->next)
    return;                     /* another thread was faster */
  every = p->terminal ? BAR_EVERY : LINE_EVERY;
  if (done >= p->last_done && now > p->last_time) {
    double seconds = (double) (now - p->last_time) / SECOND;
    double rate = (done - p->last_done) / seconds;
    double weight = p->rate > 0 ? 1 - exp (-seconds / 10) : 1;

    p->rate += weight * (rate - p->rate);
  }
  p->last_done = done;
  p->last_time = now;
  p->next = now + every;
  print (p, done, total, detail);
}
