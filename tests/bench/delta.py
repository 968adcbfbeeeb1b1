# SPDX-License-Identifier: Apache-2.0
"""Random row updates in a database: what the next backup adds, and how
fast the changed places are read."""

import os
import random
import re
import shutil
import sqlite3

from harness import Failure, Row, data_chunks, stored_size, warm_up, \
    write_offsets
from livemount import Repository
from peers import Borg, Casync, Restic

GROUP = 'delta'
ROWS = ('delta-size', 'delta-read')

CHUNK = 65536
BLOCK = 4096
TABLE_ROWS = 1_500_000
UPDATES = 5_000
DATABASE = 'app.db'


def connect(path):
    db = sqlite3.connect(path, isolation_level=None)
    db.execute('pragma synchronous = off')
    db.execute('pragma journal_mode = off')
    return db


def fill(path, rows):
    """Accounts of people with names, an address and a note."""
    rnd = random.Random(815)
    syllables = ['ka', 'lo', 'mi', 'ren', 'sta', 'vo', 'the', 'an', 'dor',
                 'bel', 'qui', 'zar']

    def word():
        return ''.join(rnd.choices(syllables, k=rnd.randint(1, 4)))

    words = [word() for _ in range(20_000)]

    def row(i):
        return (i, ' '.join(rnd.choices(words, k=2)), f'{words[i % 20_000]}'
                f'{i}@example.com', rnd.random() * 1e5, f'{i:032x}',
                ' '.join(rnd.choices(words, k=10)))

    db = connect(path)
    db.execute('create table account (id integer primary key, name text, '
               'mail text, balance real, token text, note text)')
    db.execute('begin')
    db.executemany('insert into account values (?, ?, ?, ?, ?, ?)',
                   (row(i) for i in range(rows)))
    db.execute('commit')
    db.close()


def update(path, rows, updates):
    """New numbers and tokens in random rows."""
    rnd = random.Random(4711)
    db = connect(path)
    db.execute('begin')
    for i in rnd.sample(range(rows), updates):
        db.execute('update account set balance = ?, token = ? where id = ?',
                   (rnd.random() * 1e5, f'{rnd.getrandbits(128):032x}', i))
    db.execute('commit')
    db.close()


def extents(bench, image):
    """Where the file system has the database: lists of (block of the file,
    block of the image, blocks)."""
    text = bench.output(['debugfs', '-R', f'dump_extents -l /{DATABASE}',
                         image])
    found = re.findall(r'^ *\d+/ *\d+ +\d+/ *\d+ +(\d+) - +\d+ +(\d+) - +'
                       r'\d+ +(\d+)', text, re.M)
    if not found:
        raise Failure(f'debugfs does not say where {DATABASE} is:\n{text}')
    return [tuple(map(int, e)) for e in found]


def write_in_place(bench, image, before, after):
    """Bring what changed between two states of the database into the image,
    where the file's blocks are, as a guest's kernel does.  (Mounting it
    would take root.)"""
    with open(before, 'rb') as a, open(after, 'rb') as b, \
            open(image, 'r+b') as out:
        for logical, physical, count in extents(bench, image):
            for i in range(count):
                a.seek((logical + i) * BLOCK)
                b.seek((logical + i) * BLOCK)
                block = b.read(BLOCK)
                if a.read(BLOCK) != block:
                    out.seek((physical + i) * BLOCK)
                    out.write(block)


def disks(bench):
    """The disk before and after, made once a run."""
    if 'database' in bench.shared:
        return bench.shared['database']
    rows, updates = TABLE_ROWS, UPDATES
    if bench.quick:
        rows, updates = rows // 10, updates // 10
    tree = bench.folder('database', 'tree')
    before = os.path.join(tree, DATABASE)
    after = bench.path('database', 'after.db')
    images = [bench.path('database', f'{n}.raw') for n in ('before', 'after')]
    fill(before, rows)
    shutil.copyfile(before, after)
    update(after, rows, updates)
    if os.path.getsize(before) != os.path.getsize(after):
        raise Failure('the database grew: the updates are not in place')
    size = (os.path.getsize(before) >> 20) + 200
    bench.run(['mke2fs', '-q', '-t', 'ext4', '-b', str(BLOCK), '-d', tree,
               images[0], f'{size}M'])
    bench.run(['cp', '--sparse=always', images[0], images[1]])
    write_in_place(bench, images[1], before, after)
    bench.remove(tree)
    bench.remove(after)
    bench.shared['database'] = images
    return images


class Unassisted(Repository):
    """Ours without base chunks, to see what they do."""

    def backup(self, disk, _name=None):
        return self.bench.timed(['livemount', 'backup', '--no-base-chunks',
                                 'server', f'disk0={disk}'],
                                env=self.env, warm=[disk])


def sides(bench):
    return {
        'ours': Repository(bench, 'delta-ours'),
        'ours in full': Unassisted(bench, 'delta-full'),
        'borg': Borg(bench, 'delta-borg'),
        'borg fixed 64 KiB': Borg(bench, 'delta-borg-fixed',
                                  ['--chunker-params', 'fixed,65536']),
        'restic': Restic(bench, 'delta-restic'),
        'casync': Casync(bench, 'delta-casync'),
    }


def both_backups(bench, side):
    """(bytes that the second added, seconds that it took)."""
    disk = os.path.join(bench.folder('delta-source'), 'disk.raw')
    sizes = []
    seconds = None
    if hasattr(side, 'init'):
        side.init()
    for number, image in enumerate(disks(bench)):
        bench.remove(disk)
        os.link(image, disk)
        seconds = side.backup(disk, f'day{number + 1}')
        sizes.append(stored_size(side.repository)[0])
    bench.remove(disk)
    return sizes[1] - sizes[0], seconds


def size_row(bench):
    results = {name: both_backups(bench, side)
               for name, side in sides(bench).items()}
    mine = results['ours']
    best = min((name for name in results if not name.startswith('ours')),
               key=lambda name: results[name][0])
    row = Row('delta-size', 'added after random updates in a database', best,
              'MB', [mine[0] / 1e6], [results[best][0] / 1e6], bar=1 / 3,
              aim=1 / 5)
    for name, (added, seconds) in sorted(results.items(),
                                         key=lambda x: x[1][0]):
        row.notes.append(f'{name}: {added / 1e6:.2f} MB added in '
                         f'{seconds:.2f} s')
    return row


def offsets(bench):
    """A block of each chunk that changed, and as many of others: two
    files."""
    before, after = disks(bench)
    changed, others = [], []
    with open(before, 'rb') as a, open(after, 'rb') as b:
        for chunk in data_chunks(after, CHUNK):
            a.seek(chunk * CHUNK)
            b.seek(chunk * CHUNK)
            same = a.read(CHUNK) == b.read(CHUNK)
            (others if same else changed).append(chunk)
    n = min(len(changed), len(others))
    files = []
    for name, chunks in (('changed', changed), ('others', others)):
        places = [c * CHUNK + bench.random.randrange(CHUNK // BLOCK) * BLOCK
                  for c in bench.random.sample(chunks, n)]
        files.append(write_offsets(bench.path(f'delta-{name}.offsets'),
                                   places))
    return files


def read(bench, repository, places):
    """Microseconds a read by a fresh server."""
    warm_up(repository.repository)
    uri, server = repository.serve()
    with server:
        result = bench.load('read', uri, places)
    return 1e6 / result['passes'][0]['per_second']


def read_row(bench):
    repository = Repository(bench, 'delta-read')
    both_backups(bench, repository)
    changed, others = offsets(bench)
    mine, other = bench.interleave(
        lambda: read(bench, repository, changed),
        lambda: read(bench, repository, others))
    return Row('delta-read', 'cold random 4 KiB reads of changed chunks',
               'other chunks', 'us', mine, other, bar=1.6, aim=1.3)


def run(bench, wanted):
    rows = []
    if 'delta-size' in wanted:
        rows.append(size_row(bench))
    if 'delta-read' in wanted:
        rows.append(read_row(bench))
    return rows
