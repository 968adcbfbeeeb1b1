/* SPDX-License-Identifier: Apache-2.0
 * An NBD server that misbehaves; see fake-nbd.h.  Only as much of the
 * protocol as libnbd uses.
 */
#include <config.h>

#include "tests/support/fake-nbd.h"

#include <endian.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/memory-disk.h"
#include "common/banned.h"

#define MAGIC UINT64_C (0x4e42444d41474943)
#define IHAVEOPT UINT64_C (0x49484156454f5054)
#define OPTION_REPLY UINT64_C (0x3e889045565a9)
#define MAX_GATHER 64

struct wire_request {
  uint32_t magic;
  uint16_t flags, type;
  uint64_t handle, offset;
  uint32_t len;
} __attribute__ ((packed));

static bool
get (struct fake_nbd *s, void *buf, size_t len)
{
  char *p = buf;

  while (len > 0) {
    ssize_t r = read (s->sock, p, len);

    if (r <= 0)
      return false;
    p += r;
    len -= r;
  }
  return true;
}

static bool
put (struct fake_nbd *s, const void *buf, size_t len)
{
  const char *p = buf;

  while (len > 0) {
    ssize_t r = send (s->sock, p, len, MSG_NOSIGNAL);

    if (r <= 0)
      return false;
    p += r;
    len -= r;
  }
  return true;
}

static bool
put16 (struct fake_nbd *s, uint16_t n)
{
  n = htobe16 (n);
  return put (s, &n, 2);
}

static bool
put32 (struct fake_nbd *s, uint32_t n)
{
  n = htobe32 (n);
  return put (s, &n, 4);
}

static bool
put64 (struct fake_nbd *s, uint64_t n)
{
  n = htobe64 (n);
  return put (s, &n, 8);
}

static bool
option_reply (struct fake_nbd *s, uint32_t option, uint32_t type,
              uint32_t len)
{
  return put64 (s, OPTION_REPLY) && put32 (s, option) && put32 (s, type) &&
    put32 (s, len);
}

/* True when the client has chosen its export. */
static bool
handshake (struct fake_nbd *s)
{
  static char data[65536];
  uint32_t flags, opt, len;
  uint64_t magic;

  if (!put64 (s, MAGIC) || !put64 (s, IHAVEOPT) || !put16 (s, 3) ||
      !get (s, &flags, 4))
    return false;
  for (;;) {
    if (!get (s, &magic, 8) || !get (s, &opt, 4) || !get (s, &len, 4))
      return false;
    opt = be32toh (opt);
    len = be32toh (len);
    if (be64toh (magic) != IHAVEOPT || len > sizeof data ||
        !get (s, data, len))
      return false;
    switch (opt) {
    case 8:                             /* structured replies */
      option_reply (s, opt, 1, 0);
      break;
    case 10:                            /* set meta context */
      if (s->block_status) {
        option_reply (s, opt, 4, 4 + 15);
        put32 (s, 1);
        put (s, "base:allocation", 15);
      }
      option_reply (s, opt, 1, 0);
      break;
    case 7:                             /* go */
      option_reply (s, opt, 3, 12);
      put16 (s, 0);
      put64 (s, s->size);
      put16 (s, s->writable ? 1 | 4 | 64 : 1 | 2);
      if (s->max_block) {
        option_reply (s, opt, 3, 14);
        put16 (s, 3);
        put32 (s, s->min_block);
        put32 (s, s->preferred_block);
        put32 (s, s->max_block);
      }
      return option_reply (s, opt, 1, 0);
    default:
      option_reply (s, opt, UINT32_C (0x80000001), 0);
    }
  }
}

static bool
chunk (struct fake_nbd *s, const struct wire_request *r, uint16_t type,
       uint32_t len)
{
  return put32 (s, 0x668e33ef) && put16 (s, 1) && put16 (s, type) &&
    put (s, &r->handle, 8) && put32 (s, len);
}

static bool
answer_error (struct fake_nbd *s, const struct wire_request *r, uint32_t n)
{
  return chunk (s, r, 0x8001, 6) && put32 (s, n) && put16 (s, 0);
}

static bool
answer_read (struct fake_nbd *s, const struct wire_request *r)
{
  uint64_t offset = be64toh (r->offset);
  uint32_t len = be32toh (r->len);
  uint8_t *data;
  bool ok;

  if (len > s->longest)
    s->longest = len;
  if (s->min_block && ((offset | len) & (s->min_block - 1)))
    s->misaligned = true;
  if (s->bad_len && offset < s->bad_offset + s->bad_len &&
      offset + len > s->bad_offset)
    return answer_error (s, r, EIO);
  data = malloc (len);
  if (data == NULL)
    abort ();
  memory_disk_pattern (data, len, offset);
  ok = chunk (s, r, 1, 8 + len) && put64 (s, offset) && put (s, data, len);
  free (data);
  return ok;
}

static bool
answer_status (struct fake_nbd *s, const struct wire_request *r)
{
  uint32_t pairs[128];
  size_t n, i;

  if (s->status_fails)
    return answer_error (s, r, EIO);
  n = s->block_status (be64toh (r->offset), be32toh (r->len), pairs);
  if (!chunk (s, r, 5, 4 + 8 * n) || !put32 (s, 1))
    return false;
  for (i = 0; i < 2 * n; i++)
    if (!put32 (s, pairs[i]))
      return false;
  return true;
}

static void *
serve (void *opaque)
{
  struct fake_nbd *s = opaque;
  struct wire_request r, gathered[MAX_GATHER];
  unsigned n = 0;
  char c;

  if (s->no_handshake) {
    get (s, &c, 1);
    goto out;
  }
  if (!handshake (s))
    goto out;
  while (get (s, &r, sizeof r)) {
    s->requests++;
    if (be16toh (r.type) == 2)          /* disconnect */
      break;
    if (s->requests == s->hang_at) {
      while (get (s, &c, 1))
        ;
      break;
    }
    if (s->requests == s->close_at)
      break;
    if (s->requests == s->torn_at) {
      chunk (s, &r, 1, 8 + be32toh (r.len));
      put64 (s, be64toh (r.offset));
      put (s, "half", 4);
      break;
    }
    if (be16toh (r.type) == 0 && s->gather) {
      gathered[n++] = r;
      if (n < s->gather)
        continue;
      while (n > 0)
        if (!answer_read (s, &gathered[--n]))
          goto out;
    }
    else if (be16toh (r.type) == 0 ? !answer_read (s, &r)
             : be16toh (r.type) == 7 ? !answer_status (s, &r)
             : !answer_error (s, &r, EINVAL))
      break;
  }
out:
  close (s->sock);
  return NULL;
}

int
fake_nbd_start (struct fake_nbd *s)
{
  int pair[2];

  if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == -1)
    abort ();
  s->sock = pair[1];
  if (pthread_create (&s->thread, NULL, serve, s) != 0)
    abort ();
  return pair[0];
}

void
fake_nbd_wait (struct fake_nbd *s)
{
  pthread_join (s->thread, NULL);
}
