# SPDX-License-Identifier: Apache-2.0
"""The tools that Livemount is compared with, as their manuals start them.

borg and restic sync what they write before they exit (seen with strace);
qemu-img and casync do not, so they are timed with a `sync -f`."""

import os

from harness import Failure

# program -> (package, arguments that print its version)
TOOLS = {
    'borg': ('borgbackup', ['--version']),
    'restic': ('restic', ['version']),
    'casync': ('casync', ['--version']),
    'qemu-img': ('qemu-utils', ['--version']),
    'qemu-nbd': ('qemu-utils', ['--version']),
    'qemu-system-x86_64': ('qemu-system-x86', ['--version']),
    'nbdkit': ('nbdkit', ['--version']),
    'nbdcopy': ('libnbd-bin', ['--version']),
    'strace': ('strace', ['--version']),
    'mke2fs': ('e2fsprogs', ['-V']),
    'debugfs': ('e2fsprogs', ['-V']),
}

PASSWORD = 'livemount'


class Borg:
    def __init__(self, bench, name, options=()):
        self.bench = bench
        self.base = bench.folder(name)
        self.repository = os.path.join(self.base, 'repository')
        self.options = list(options)
        self.env = dict(os.environ, BORG_PASSPHRASE=PASSWORD,
                        BORG_BASE_DIR=self.base, BORG_REPO=self.repository)

    def init(self):
        self.bench.run(['borg', 'init', '--encryption=repokey'],
                       env=self.env)

    def backup(self, disk, name):
        return self.bench.timed(
            ['borg', 'create', '--compression', 'zstd,3', *self.options,
             f'::{name}', os.path.basename(disk)],
            env=self.env, cwd=os.path.dirname(disk), warm=[disk])

    def remove(self):
        self.bench.remove(self.base)


class Restic:
    def __init__(self, bench, name):
        self.bench = bench
        self.base = bench.folder(name)
        self.repository = os.path.join(self.base, 'repository')
        self.env = dict(os.environ, RESTIC_PASSWORD=PASSWORD,
                        RESTIC_REPOSITORY=self.repository,
                        RESTIC_CACHE_DIR=os.path.join(self.base, 'cache'))

    def init(self):
        self.bench.run(['restic', 'init'], env=self.env)

    def backup(self, disk, _name):
        return self.bench.timed(['restic', 'backup', os.path.basename(disk)],
                                env=self.env, cwd=os.path.dirname(disk),
                                warm=[disk])

    def remove(self):
        self.bench.remove(self.base)


class Casync:
    def __init__(self, bench, name):
        self.bench = bench
        self.repository = bench.folder(name)

    def backup(self, disk, name):
        # Blobs need a regular file or a block device; zstd is the default
        # compression of later versions and asked for here.
        store = os.path.join(self.repository, 'store.castr')
        index = os.path.join(self.repository, f'{name}.caibx')
        return self.bench.timed(
            ['casync', 'make', '--compression=zstd', f'--store={store}',
             index, disk], warm=[disk], sync=self.repository)

    def remove(self):
        self.bench.remove(self.repository)


def convert(bench, disk, out):
    """qemu-img's fastest compressed copy; seconds."""
    bench.remove(out)
    return bench.timed(
        ['qemu-img', 'convert', '-c', '-W', '-m', '2', '-f', 'raw', '-O',
         'qcow2', '-o', 'compression_type=zstd', disk, out],
        warm=[disk], sync=os.path.dirname(out))


def zstd_qcow2(bench, disk):
    """The zstd qcow2 of a disk, made once a run."""
    made = bench.shared.setdefault('qcow2', {})
    if disk not in made:
        out = bench.path(f'peer-{len(made)}.qcow2')
        convert(bench, disk, out)
        made[disk] = out
    return made[disk]


def uri_of(sock, export=''):
    return f'nbd+unix:///{export}?socket={sock}'


def qemu_nbd(bench, image, *options):
    """A server of a qcow2 image, read-only unless OPTIONS say more.  It is
    allowed several clients, because only then it offers multi-conn."""
    sock = bench.path('qemu-nbd.sock')
    options = options or ('-r',)
    argv = ['qemu-nbd', '-f', 'qcow2', '-k', sock, '-t', '-e', '8',
            *options, image]
    return sock, bench.server(argv, sock)


def nbdkit_file(bench, disk):
    sock = bench.path('nbdkit-file.sock')
    argv = ['nbdkit', '-f', '-r', '-U', sock, 'file', disk]
    return sock, bench.server(argv, sock)


def versions(bench):
    found = {}
    for tool, (_, arguments) in TOOLS.items():
        try:
            text = bench.output([tool, *arguments]).strip()
        except (Failure, OSError):
            continue
        found[tool] = text.splitlines()[0] if text else ''
    return found
