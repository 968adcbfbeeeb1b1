# SPDX-License-Identifier: Apache-2.0
"""`livemount mount` of a 1 TiB disk of which every chunk is stored, from the
command to the first block, and the memory that its proxy takes.

The repository is synthetic and kept beside the guest images."""

import os
import time

from harness import (Row, anonymous_memory, say,
                     socket_owner, warm_up, write_offsets)
from livemount import environment

GROUP = 'mount'
ROWS = ('mount', 'mount-memory', 'mount-memory-read')

VM = 'huge'
CHUNK = 65536
READS = 10000


def cache_folder():
    if os.environ.get('LIVEMOUNT_CACHE'):
        return os.environ['LIVEMOUNT_CACHE']
    if os.geteuid() == 0:
        return '/var/cache/livemount-images'
    return os.path.join(os.environ.get('XDG_CACHE_HOME') or
                        os.path.expanduser('~/.cache'), 'livemount-images')


def repository(bench, chunks):
    """Its folder; made if it is missing.  The program's version of what it
    makes is in the name."""
    program = bench.program('make-huge-repository')
    version = bench.output([program, '--version']).strip()
    folder = os.path.join(cache_folder(), f'huge-{chunks}-{version}')
    if not os.path.isdir(folder):
        os.makedirs(cache_folder(), exist_ok=True)
        making = f'{folder}.making'
        bench.remove(making)
        say(f'bench: making a repository of {chunks} chunks (once) ...')
        started = time.monotonic()
        bench.run([program, making, str(chunks)])
        os.rename(making, folder)
        say(f'bench: made it in {time.monotonic() - started:.0f} s')
    return folder


class Mount:
    def __init__(self, bench, base, first):
        self.bench = bench
        self.env = environment(bench, base)
        # The repository is kept, what this run does with it is not.
        self.env['LIVEMOUNT_STATE_DIR'] = bench.folder('state')
        self.env['XDG_STATE_HOME'] = bench.folder('xdg-state')
        self.env['XDG_CACHE_HOME'] = bench.folder('index-cache')
        self.first = first
        self.uri = None

    def __enter__(self):
        """Mount and read the first block; self.seconds is what it took."""
        start = time.perf_counter()
        self.uri = self.bench.output(['livemount', 'mount', '--print-uri',
                                      '--name', VM, VM], env=self.env).strip()
        self.bench.load('read', self.uri, self.first)
        self.seconds = time.perf_counter() - start
        self.proxy = socket_owner(self.uri.split('socket=', 1)[1])
        return self

    def __exit__(self, *_):
        self.bench.run(['livemount', 'unmount', '--yes', '--purge', VM],
                       env=self.env)


def run(bench, wanted):
    chunks = (1 << 20) if bench.quick else (1 << 24)
    base = repository(bench, chunks)
    warm_up(base)
    size = chunks * CHUNK
    first = write_offsets(bench.path('first.offsets'),
                          [bench.random.randrange(chunks) * CHUNK])
    many = write_offsets(
        bench.path('huge.offsets'),
        [bench.random.randrange(size // 4096) * 4096 for _ in range(READS)])

    with Mount(bench, base, first) as mount:
        cold = mount.seconds
    times, opened, after = [], [], []
    for _ in range(bench.pairs):
        with Mount(bench, base, first) as mount:
            times.append(mount.seconds * 1000)
            opened.append(anonymous_memory(mount.proxy) / (1 << 20))
            bench.load('read', mount.uri, many, 32)
            after.append(anonymous_memory(mount.proxy) / (1 << 20))
    rows = [
        Row('mount', f'mount of {size >> 40 or size / (1 << 40):g} TiB, '
            'fully mapped, to its first block', '-', 'ms', times, bar=100,
            aim=30, notes=[f'the first mount on a machine, which builds the '
                           f'local index: {cold:.1f} s']),
        Row('mount-memory', 'the same, anonymous memory of the proxy', '-',
            'MiB', opened, bar=64, aim=32),
        Row('mount-memory-read', f'the same after {READS} random reads', '-',
            'MiB', after, bar=64, aim=32),
    ]
    return [row for row in rows if row.name in wanted]
