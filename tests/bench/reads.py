# SPDX-License-Identifier: Apache-2.0
"""Reads over NBD: a few bytes of each chunk by a fresh server, the same
again when it is cached, and the whole disk."""

from harness import Failure, Row, data_chunks, warm_up, write_offsets
from livemount import days, first_day
from peers import nbdkit_file, qemu_nbd, uri_of, zstd_qcow2

GROUP = 'reads'
ROWS = ('cold-1', 'cold-32', 'cached-1', 'cached-32', 'nbdcopy')

CHUNK = 65536
BLOCK = 4096
CACHED_CHUNKS = 128             # 8 MiB: less than any default cache
CACHED_PASSES = 8


def cold_offsets(bench, disk):
    """One 4 KiB block, anywhere in it, of each chunk that has data, in
    random order: nothing is decoded twice or for nothing."""
    chunks = data_chunks(disk, CHUNK)
    bench.random.shuffle(chunks)
    if bench.quick:
        chunks = chunks[:4000]
    return [c * CHUNK + bench.random.randrange(CHUNK // BLOCK) * BLOCK
            for c in chunks]


def cached_offsets(bench, disk):
    chunks = data_chunks(disk, CHUNK)
    start = bench.random.randrange(len(chunks) - CACHED_CHUNKS)
    blocks = [c * CHUNK + i * BLOCK
              for c in chunks[start:start + CACHED_CHUNKS]
              for i in range(CHUNK // BLOCK)]
    bench.random.shuffle(blocks)
    return blocks


def ours(bench):
    repository = first_day(bench)
    warm_up(repository.repository)
    return repository.serve()


def theirs(bench, disk):
    image = zstd_qcow2(bench, disk)
    warm_up(image)
    sock, server = qemu_nbd(bench, image)
    return uri_of(sock), server


def raw(bench, disk):
    warm_up(disk)
    sock, server = nbdkit_file(bench, disk)
    return uri_of(sock), server


def read(bench, start, offsets, in_flight, passes=1):
    """Reads a second by a fresh server; of several passes, the median of
    all but the first.  Everybody must read the same bytes."""
    uri, server = start()
    with server:
        result = bench.load('read', uri, offsets, in_flight, passes)
    done = result['passes']
    digests = bench.shared.setdefault('digests', {})
    for p in done:
        if digests.setdefault(offsets, p['digest']) != p['digest']:
            raise Failure(f'{uri}: the bytes read are not those that '
                          'another server gave')
    rates = sorted(p['per_second'] for p in (done[1:] or done))
    return rates[len(rates) // 2]


def copy(bench, start):
    """Seconds for nbdcopy to read all of it."""
    uri, server = start()
    with server:
        return bench.timed(['nbdcopy', uri, 'null:'])


def run(bench, wanted):
    disk = days(bench)[0]
    rows = []

    def rates(name, what, against, in_flight, offsets, peer, passes, bar,
              aim):
        if name not in wanted:
            return
        mine, other = bench.interleave(
            lambda: read(bench, lambda: ours(bench), offsets, in_flight,
                         passes),
            lambda: read(bench, lambda: peer(bench, disk), offsets,
                         in_flight, passes))
        rows.append(Row(name, what, against, 'reads/s', mine, other, bar=bar,
                        aim=aim, more_is_better=True))

    cold = write_offsets(bench.path('cold.offsets'),
                         cold_offsets(bench, disk))
    cached = write_offsets(bench.path('cached.offsets'),
                           cached_offsets(bench, disk))
    zstd = 'qemu-nbd, zstd qcow2'
    rates('cold-1', 'cold random 4 KiB reads, 1 in flight', zstd, 1, cold,
          theirs, 1, 1.0, 1.3)
    rates('cold-32', 'cold random 4 KiB reads, 32 in flight', zstd, 32, cold,
          theirs, 1, 1.5, 2.5)
    rates('cached-1', 'cached random 4 KiB reads, 1 in flight',
          'nbdkit file, raw', 1, cached, raw, CACHED_PASSES, 0.9, 1.0)
    rates('cached-32', 'cached random 4 KiB reads, 32 in flight',
          'nbdkit file, raw', 32, cached, raw, CACHED_PASSES, 0.9, 1.0)
    if 'nbdcopy' in wanted:
        mine, other = bench.interleave(
            lambda: copy(bench, lambda: ours(bench)),
            lambda: copy(bench, lambda: theirs(bench, disk)))
        rows.append(Row('nbdcopy', 'nbdcopy of the disk to null:', zstd, 's',
                        mine, other, bar=1 / 1.5, aim=1 / 2))
    return rows
