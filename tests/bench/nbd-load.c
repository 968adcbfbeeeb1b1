/* SPDX-License-Identifier: Apache-2.0
 *
 * An NBD client for the benchmark: small reads or writes at the offsets
 * that a file lists, a given number of them in flight on one connection,
 * as a guest's disk would send them.
 *
 * It prints one JSON object: what was done, the seconds it took from the
 * first request to the last answer, and for reads a digest of what was
 * read, which does not depend on the order of the answers: two servers of
 * the same disk must give the same.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <getopt.h>
#include <libnbd.h>

#include "common/cleanup.h"
#include "common/random.h"
#include "common/banned.h"

#define IN_FLIGHT_MAX 1024

struct slot {
  struct load *load;
  uint8_t *buf;
  uint64_t offset;
};

struct load {
  struct nbd_handle *nbd;
  bool write;
  size_t size;                  /* bytes of one request */
  unsigned in_flight;           /* at most */
  unsigned flush_every;         /* writes; 0: never */
  uint64_t *offsets;
  size_t nr_offsets;

  struct slot slots[IN_FLIGHT_MAX];
  unsigned idle[IN_FLIGHT_MAX]; /* stack of slots without a request */
  unsigned nr_idle;
  bool flushed;
  int error;                    /* errno of the first that failed */
  uint64_t error_offset;
  uint64_t digest;
  uint64_t random;              /* state of what is written */
  uint64_t flushes;
};

static void __attribute__ ((noreturn, format (printf, 1, 2)))
die (const char *fmt, ...)
{
  va_list ap;

  fprintf (stderr, "nbd-load: ");
  va_start (ap, fmt);
  vfprintf (stderr, fmt, ap);
  va_end (ap);
  fprintf (stderr, "\n");
  exit (1);
}

static void *
must_alloc (void *p)
{
  if (p == NULL)
    die ("out of memory");
  return p;
}

static void
read_offsets (struct load *l, const char *path)
{
  CLEANUP_FCLOSE FILE *fp = fopen (path, "re");
  size_t alloc = 0;
  uint64_t offset;

  if (fp == NULL)
    die ("%s: %s", path, strerror (errno));
  while (fscanf (fp, "%" SCNu64, &offset) == 1) {
    if (l->nr_offsets == alloc) {
      alloc = alloc ? 2 * alloc : 4096;
      l->offsets = must_alloc (realloc (l->offsets,
                                        alloc * sizeof *l->offsets));
    }
    l->offsets[l->nr_offsets++] = offset;
  }
  if (l->nr_offsets == 0)
    die ("%s: no offsets", path);
}

/* One multiplication a word: cheap beside a request. */
static uint64_t
digest (const uint8_t *buf, size_t len, uint64_t offset)
{
  uint64_t h = offset * UINT64_C (0x9e3779b97f4a7c15) + len;
  size_t i;

  for (i = 0; i + 8 <= len; i += 8) {
    uint64_t v;

    memcpy (&v, buf + i, 8);
    h = (h ^ v) * UINT64_C (0xff51afd7ed558ccd);
    h ^= h >> 32;
  }
  return h;
}

/* Fresh bytes for each write, which nothing can compress or share. */
static void
fill (struct load *l, uint8_t *buf)
{
  size_t i;

  for (i = 0; i + 8 <= l->size; i += 8) {
    l->random ^= l->random << 13;
    l->random ^= l->random >> 7;
    l->random ^= l->random << 17;
    memcpy (buf + i, &l->random, 8);
  }
}

static int
completed (void *opaque, int *error)
{
  struct slot *s = opaque;
  struct load *l = s->load;

  if (*error && !l->error) {
    l->error = *error;
    l->error_offset = s->offset;
  }
  if (!l->write)
    l->digest += digest (s->buf, l->size, s->offset);
  l->idle[l->nr_idle++] = s - l->slots;
  return 1;
}

static int
flush_completed (void *opaque, int *error)
{
  struct load *l = opaque;

  if (*error && !l->error)
    l->error = *error;
  l->flushed = true;
  return 1;
}

static void
start (struct load *l, uint64_t offset)
{
  struct slot *s = &l->slots[l->idle[--l->nr_idle]];
  nbd_completion_callback done = { .callback = completed, .user_data = s };
  int64_t cookie;

  s->offset = offset;
  if (l->write) {
    fill (l, s->buf);
    cookie = nbd_aio_pwrite (l->nbd, s->buf, l->size, offset, done, 0);
  }
  else
    cookie = nbd_aio_pread (l->nbd, s->buf, l->size, offset, done, 0);
  if (cookie == -1)
    die ("request at 0x%" PRIx64 ": %s", offset, nbd_get_error ());
}

static void
poll_once (struct load *l)
{
  if (nbd_poll (l->nbd, -1) == -1)
    die ("%s", nbd_get_error ());
  if (l->error)
    die ("request at 0x%" PRIx64 ": the server says: %s", l->error_offset,
         strerror (l->error));
}

static void
drain (struct load *l)
{
  while (l->nr_idle < l->in_flight)
    poll_once (l);
}

static void
flush (struct load *l)
{
  nbd_completion_callback done = { .callback = flush_completed,
                                   .user_data = l };

  drain (l);
  l->flushed = false;
  if (nbd_aio_flush (l->nbd, done, 0) == -1)
    die ("flush: %s", nbd_get_error ());
  while (!l->flushed)
    poll_once (l);
  l->flushes++;
}

static double
pass (struct load *l)
{
  uint64_t begin = lm_clock_monotonic ();
  size_t i;

  l->digest = 0;
  for (i = 0; i < l->nr_offsets; i++) {
    while (l->nr_idle == 0)
      poll_once (l);
    start (l, l->offsets[i]);
    if (l->flush_every && (i + 1) % l->flush_every == 0)
      flush (l);
  }
  drain (l);
  return (lm_clock_monotonic () - begin) / 1e9;
}

static void
usage (FILE *fp)
{
  fprintf (fp,
           "usage: nbd-load read|write [OPTION...] URI OFFSETS\n"
           "  -n N  requests in flight (default 1)\n"
           "  -s N  bytes of a request (default 4096)\n"
           "  -f N  flush after every N writes (default never)\n"
           "  -p N  go through the list N times, print all (default 1)\n"
           "OFFSETS is a file with one offset in bytes a line.\n");
}

static unsigned
number (const char *text, unsigned max)
{
  char *end;
  unsigned long v;

  errno = 0;
  v = strtoul (text, &end, 10);
  if (errno || *end || end == text || v == 0 || v > max)
    die ("%s: a number from 1 to %u is expected", text, max);
  return v;
}

int
main (int argc, char *argv[])
{
  struct load l = { .size = 4096, .in_flight = 1,
                    .random = UINT64_C (0x2545f4914f6cdd1d) };
  unsigned passes = 1, i;
  int c;

  while ((c = getopt (argc, argv, "n:s:f:p:h")) != -1)
    switch (c) {
    case 'n': l.in_flight = number (optarg, IN_FLIGHT_MAX); break;
    case 's': l.size = number (optarg, 32 << 20); break;
    case 'f': l.flush_every = number (optarg, 1 << 30); break;
    case 'p': passes = number (optarg, 1000); break;
    case 'h': usage (stdout); return 0;
    default: usage (stderr); return 2;
    }
  if (argc - optind != 3 || (strcmp (argv[optind], "read") != 0 &&
                             strcmp (argv[optind], "write") != 0)) {
    usage (stderr);
    return 2;
  }
  l.write = strcmp (argv[optind], "write") == 0;
  read_offsets (&l, argv[optind + 2]);
  for (i = 0; i < l.in_flight; i++) {
    l.slots[i].load = &l;
    l.slots[i].buf = must_alloc (calloc (1, l.size));
    l.idle[l.nr_idle++] = i;
  }

  l.nbd = nbd_create ();
  if (l.nbd == NULL ||
      nbd_set_uri_allow_local_file (l.nbd, true) == -1 ||
      nbd_connect_uri (l.nbd, argv[optind + 1]) == -1)
    die ("%s: %s", argv[optind + 1], nbd_get_error ());

  printf ("{\"%s\": %zu, \"in_flight\": %u, \"passes\": [",
          l.write ? "writes" : "reads", l.nr_offsets, l.in_flight);
  for (i = 0; i < passes; i++) {
    double seconds = pass (&l);

    printf ("%s{\"seconds\": %.6f, \"per_second\": %.1f", i ? ", " : "",
            seconds, l.nr_offsets / seconds);
    if (l.write)
      printf (", \"flushes\": %" PRIu64 "}", l.flushes);
    else
      printf (", \"digest\": \"%016" PRIx64 "\"}", l.digest);
  }
  printf ("]}\n");

  nbd_shutdown (l.nbd, 0);
  nbd_close (l.nbd);
  for (i = 0; i < l.in_flight; i++)
    free (l.slots[i].buf);
  free (l.offsets);
  return 0;
}
