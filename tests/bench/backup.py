# SPDX-License-Identifier: Apache-2.0
"""Backups of a server's disk on three successive days: wall time of the
first and the second, and what is stored after the third."""

import statistics

from harness import Row, cpu_of, stored_size
from livemount import Repository, put_day, scrypt_seconds
from peers import Borg, Casync, Restic, convert

GROUP = 'backup'
ROWS = ('full-borg', 'full-restic', 'full-qemu-img', 'next-borg',
        'next-restic', 'size')

FULL = 'first full backup, wall'
NEXT = "next day's backup, wall"


class Pair:
    """Fresh repositories of everybody, for one pair."""

    def __init__(self, bench, number, wanted):
        self.bench = bench
        self.reverse = number % 2 == 1
        self.sides = {'ours': Repository(bench, 'ours')}
        if wanted & {'full-borg', 'next-borg', 'size'}:
            self.sides['borg'] = Borg(bench, 'borg')
        if wanted & {'full-restic', 'next-restic', 'size'}:
            self.sides['restic'] = Restic(bench, 'restic')
        for side in self.sides.values():
            side.init()

    def day(self, number):
        """One backup by each; seconds."""
        disk, name = put_day(self.bench, number)
        order = list(self.sides)
        if self.reverse:
            order.reverse()
        return {side: self.sides[side].backup(disk, name) for side in order}

    def remove(self):
        for side in self.sides.values():
            side.remove()


def measure(bench, wanted):
    """All pairs; returns lists of seconds for each side and day, and the
    last pair, its repositories still there."""
    full, following = [], []
    last = None
    for number in range(bench.pairs):
        if last:
            last.remove()
        last = Pair(bench, number, wanted)
        seconds = last.day(0)
        if 'full-qemu-img' in wanted:
            disk, _ = put_day(bench, 0)
            seconds['qemu-img'] = convert(bench, disk,
                                          bench.path('convert.qcow2'))
        full.append(seconds)
        if wanted & {'next-borg', 'next-restic', 'size'}:
            following.append(last.day(1))
    return full, following, last


def others_for_size(bench):
    """The peers that only the size row has."""
    return {
        'borg fixed 64 KiB': Borg(bench, 'borg-fixed',
                                  ['--chunker-params', 'fixed,65536']),
        'casync': Casync(bench, 'casync'),
    }


def size_row(bench, pair):
    pair.day(2)
    stores = {'ours': pair.sides['ours'], 'borg': pair.sides['borg'],
              'restic': pair.sides['restic']}
    for name, side in others_for_size(bench).items():
        if name.startswith('borg'):
            side.init()
        for number in range(3):
            side.backup(*put_day(bench, number))
        stores[name] = side
    sizes = {name: stored_size(side.repository)
             for name, side in stores.items()}
    mine = sizes['ours']
    peers = {name: size for name, size in sizes.items() if name != 'ours'}
    best = min(peers, key=lambda name: peers[name][0])
    row = Row('size', 'stored after three days', best, 'MB',
              [mine[0] / 1e6], [peers[best][0] / 1e6], bar=1.02, aim=0.97)
    for name, (apparent, blocks) in sorted(sizes.items(),
                                           key=lambda x: x[1][0]):
        row.notes.append(f'{name}: {apparent / 1e6:.1f} MB in files, '
                         f'{blocks / 1e6:.1f} MB of blocks')
    return row


def run(bench, wanted):
    wanted = set(wanted)
    full, following, last = measure(bench, wanted)
    rows = []

    def row(name, what, seconds, peer, against, bar, aim):
        if name in wanted:
            new = Row(name, what, against, 's',
                      [s['ours'] for s in seconds],
                      [s[peer] for s in seconds], bar=bar, aim=aim)
            new.notes.append('processor time: ours '
                             f'{statistics.median(cpu_of(new.ours)):.1f} s, '
                             f'theirs '
                             f'{statistics.median(cpu_of(new.theirs)):.1f} s')
            rows.append(new)

    row('full-borg', FULL, full, 'borg', 'borg', 1 / 5, 1 / 8)
    row('full-restic', FULL, full, 'restic', 'restic', 1 / 5, 1 / 8)
    row('full-qemu-img', FULL, full, 'qemu-img', 'qemu-img convert, zstd',
        1 / 1.5, 1 / 2)
    row('next-borg', NEXT, following, 'borg', 'borg', 1 / 7, 1 / 10)
    row('next-restic', NEXT, following, 'restic', 'restic', 1 / 7, 1 / 10)
    if rows:
        extra = scrypt_seconds(bench)
        ours = statistics.median(s['ours'] for s in full)
        rows[0].notes.append(
            f'with a passphrase in place of the key file, scrypt adds '
            f'{extra:.2f} s to every command of ours '
            f'({100 * extra / ours:.0f} % of this one)')
    if 'size' in wanted:
        rows.append(size_row(bench, last))
    last.remove()
    return rows
