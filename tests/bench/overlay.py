# SPDX-License-Identifier: Apache-2.0
"""Random 4 KiB writes into an overlay, with a flush after every 32, and how
many times each flush reaches the disk."""

import os

from harness import Row, data_chunks, warm_up, write_offsets
from livemount import days, first_day
from peers import qemu_nbd, uri_of, zstd_qcow2

GROUP = 'overlay'
ROWS = ('overlay-1', 'overlay-32')

CHUNK = 65536
BLOCK = 4096
FLUSH_EVERY = 32
SYNCS = ('fdatasync', 'fsync', 'sync_file_range', 'msync', 'syncfs')


def offsets_file(bench, disk):
    """Blocks anywhere in the chunks that have data, as a guest that works
    on its files would write them."""
    chunks = data_chunks(disk, CHUNK)
    count = 2048 if bench.quick else 8192
    return write_offsets(
        bench.path('overlay.offsets'),
        [bench.random.choice(chunks) * CHUNK +
         bench.random.randrange(CHUNK // BLOCK) * BLOCK
         for _ in range(count)])


def ours(bench):
    repository = first_day(bench)
    warm_up(repository.repository)
    overlay = bench.path('overlay')
    bench.remove(overlay)
    os.mkdir(overlay, 0o700)
    return repository.serve(f'overlay={overlay}', read_only=False)


def theirs(bench):
    backing = zstd_qcow2(bench, days(bench)[0])
    warm_up(backing)
    image = bench.path('overlay.qcow2')
    bench.remove(image)
    bench.run(['qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'qcow2',
               '-b', backing, image])
    sock, server = qemu_nbd(bench, image, '--cache=writeback')
    return uri_of(sock), server


def write(bench, start, offsets, in_flight):
    uri, server = start(bench)
    os.sync()
    with server:
        result = bench.load('write', uri, offsets, in_flight,
                            flush=FLUSH_EVERY)
    return result['passes'][0]['per_second']


def count_syncs(bench, start, offsets):
    """(flushes, {system call: count}) of an untimed run under strace."""
    uri, server = start(bench)
    out = bench.path('strace.out')
    with server as process:
        # As a second process, so that the server is started as ever.
        argv = ['strace', '-f', '-c', '-U', 'name,calls', '-o', out, '-e',
                'trace=' + ','.join(SYNCS), '-p', str(process.pid)]
        with bench.traced(argv, process.pid):
            result = bench.load('write', uri, offsets, 32, flush=FLUSH_EVERY)
    counts = {}
    with open(out, encoding='utf-8') as f:
        for line in f:
            words = line.split()
            if len(words) == 2 and words[0] in SYNCS:
                counts[words[0]] = int(words[1])
    return result['passes'][0]['flushes'], counts


def run(bench, wanted):
    offsets = offsets_file(bench, days(bench)[0])
    rows = []
    for name, in_flight in (('overlay-1', 1), ('overlay-32', 32)):
        if name not in wanted:
            continue
        mine, other = bench.interleave(
            lambda n=in_flight: write(bench, ours, offsets, n),
            lambda n=in_flight: write(bench, theirs, offsets, n))
        rows.append(Row(
            name, 'random 4 KiB overlay writes, flush every '
            f'{FLUSH_EVERY}, {in_flight} in flight',
            'qemu-nbd, qcow2 overlay', 'writes/s', mine, other, bar=1.0,
            aim=1.5, more_is_better=True))
    for who, start in (('ours', ours), ('qemu-nbd', theirs)):
        flushes, counts = count_syncs(bench, start, offsets)
        said = ', '.join(f'{n} {call}' for call, n in counts.items())
        rows[0].notes.append(f'{who}: {flushes} flushes, {said or "none"}')
    return rows
