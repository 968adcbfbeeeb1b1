# SPDX-License-Identifier: Apache-2.0
"""Livemount as the rows use it: repositories with a key file, the plugin as
a server, and the disks that are backed up."""

import os
import statistics
import subprocess

from harness import Failure, say
from peers import uri_of

VM = 'server'


def environment(bench, base):
    """The build tree's program and plugin, with all private state in BASE."""
    env = dict(os.environ)
    for name in list(env):
        if name.startswith('LIVEMOUNT_') and name != 'LIVEMOUNT_CACHE':
            del env[name]
    env.update(
        PATH=f'{bench.build}:{env["PATH"]}',
        LIVEMOUNT_PLUGIN=plugin(bench),
        LIVEMOUNT_REPOSITORY=os.path.join(base, 'repository'),
        LIVEMOUNT_KEY_FILE=os.path.join(base, 'key'),
        LIVEMOUNT_STATE_DIR=os.path.join(base, 'state'),
        XDG_CACHE_HOME=os.path.join(base, 'cache'),
        XDG_STATE_HOME=os.path.join(base, 'xdg-state'))
    return env


def plugin(bench):
    return os.path.join(bench.build, '.libs', 'nbdkit-livemount-plugin.so')


class Repository:
    """An encrypted repository, opened with a key file."""

    def __init__(self, bench, name):
        self.bench = bench
        self.base = bench.folder(name)
        self.repository = os.path.join(self.base, 'repository')
        self.key = os.path.join(self.base, 'key')
        self.env = environment(bench, self.base)

    def init(self):
        # It makes the key file, too.
        self.bench.run(['livemount', 'init'], env=self.env)

    def backup(self, disk, _name=None):
        return self.bench.timed(['livemount', 'backup', VM, f'disk0={disk}'],
                                env=self.env, warm=[disk])

    def serve(self, *parameters, read_only=True):
        """A server of the newest snapshot's only disk, with the plugin's
        default settings.  Returns (URI, context manager)."""
        sock = self.bench.path('livemount.sock')
        argv = ['nbdkit', '-f', '-U', sock]
        if read_only:
            argv.append('-r')
        argv += [plugin(self.bench), f'repository={self.repository}',
                 f'snapshot={VM}/latest', f'key-file={self.key}',
                 *parameters]
        return uri_of(sock), self.bench.server(argv, sock, env=self.env)

    def remove(self):
        self.bench.remove(self.base)


def scrypt_seconds(bench):
    """What a passphrase costs a command beyond a key file."""
    fast = Repository(bench, 'key-file')
    slow = Repository(bench, 'passphrase')
    passphrase = os.path.join(slow.base, 'passphrase')
    with open(passphrase, 'w', encoding='ascii') as f:
        f.write('livemount\n')
    os.chmod(passphrase, 0o600)
    del slow.env['LIVEMOUNT_KEY_FILE']
    slow.env['LIVEMOUNT_PASSPHRASE_FILE'] = passphrase
    fast.init()
    slow.init()
    command = ['livemount', 'snapshots']
    with_key, with_passphrase = bench.interleave(
        lambda: bench.timed(command, env=fast.env),
        lambda: bench.timed(command, env=slow.env))
    return statistics.median(b - a
                             for a, b in zip(with_key, with_passphrase))


def images(bench, *kinds):
    """Paths of guest images, made if they are missing."""
    script = os.path.join(bench.source, 'tests', 'support', 'make-image')
    done = subprocess.run([script, '--path', *kinds], stdout=subprocess.PIPE,
                          check=False)
    if done.returncode != 0:
        say(f'bench: making the images {" ".join(kinds)} (once) ...')
        done = subprocess.run([script, *kinds], stdout=subprocess.PIPE,
                              check=False)
        if done.returncode != 0:
            raise Failure(f'{script} {" ".join(kinds)} failed')
    return done.stdout.decode().split()


def days(bench):
    """Three states of a server's disk, a day apart, as files of our own:
    the images in the cache may be in use by others."""
    if 'days' not in bench.shared:
        found = bench.shared.get('disks') or images(bench, 'server')
        folder = bench.folder('days')
        copies = []
        for n, image in enumerate(found):
            copy = os.path.join(folder, f'day{n + 1}.raw')
            bench.run(['cp', '--sparse=always', image, copy])
            copies.append(copy)
        bench.shared['days'] = copies
    return bench.shared['days']


def put_day(bench, number):
    """The disk as it is on a day, always under the same name: (path, name
    of the day)."""
    disk = os.path.join(bench.folder('source'), 'disk.raw')
    bench.remove(disk)
    os.link(days(bench)[number], disk)
    return disk, f'day{number + 1}'


def first_day(bench):
    """A repository with the first day in it, made once a run."""
    if 'repository' not in bench.shared:
        repository = Repository(bench, 'first-day')
        repository.init()
        repository.backup(days(bench)[0])
        bench.shared['repository'] = repository
    return bench.shared['repository']
