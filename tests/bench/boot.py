# SPDX-License-Identifier: Apache-2.0
"""From the command to the guest's login prompt, under TCG: `livemount boot`
against QEMU on the raw disk with snapshot=on.

The other side's command line is taken from the QEMU that `livemount boot`
itself starts, with nothing but the disk and the paths exchanged."""

import json
import os
import subprocess
import time

from harness import Failure, Row, end_process, socket_owner
from livemount import Repository, images

GROUP = 'boot'
ROWS = ('boot',)

PROMPT = 'login:'
TIMEOUT = 300


def boot_ours(bench, repository, look=None):
    """Seconds; LOOK gets the session's folder while the machine runs."""
    start = time.perf_counter()
    bench.run(['livemount', 'boot', '--name', 'bench', '--accel', 'tcg',
               '--wait-for', PROMPT, '--timeout', str(TIMEOUT), 'guest'],
              env=repository.env)
    seconds = time.perf_counter() - start
    folder = os.path.join(repository.env['LIVEMOUNT_STATE_DIR'], 'sessions',
                          'bench')
    try:
        if look:
            look(folder)
    finally:
        bench.run(['livemount', 'unmount', '--yes', '--purge', 'bench'],
                  env=repository.env)
    return seconds


def plain_command(argv, folder, own, disk):
    """ARGV of our QEMU, for the raw DISK and with the paths of OWN."""
    out = []
    i = 0
    while i < len(argv):
        option = argv[i]
        value = argv[i + 1] if i + 1 < len(argv) else None
        if option == '-blockdev' and is_disk_node(value):
            i += 2
            continue
        out.append(option.replace(folder, own))
        i += 1
    out += ['-drive', f'if=none,id=disk0,format=raw,file={disk},'
            'snapshot=on']
    return out


def is_disk_node(value):
    """Is it one of the nodes that bring disk0 over NBD?"""
    try:
        node = json.loads(value)
    except ValueError:
        return False
    return 'disk0' in node.get('node-name', '') or \
        node.get('driver') == 'nbd'


def boot_plain(bench, argv, own):
    log = os.path.join(own, 'serial.log')
    bench.remove(log)
    with open(bench.log, 'ab') as out:
        start = time.perf_counter()
        process = subprocess.Popen(argv, stdout=out, stderr=out,
                                   stdin=subprocess.DEVNULL, cwd='/')
    try:
        deadline = time.monotonic() + TIMEOUT
        while True:
            if process.poll() is not None:
                raise Failure('QEMU ended: ' + bench.tail())
            if os.path.exists(log):
                with open(log, 'rb') as f:
                    if PROMPT.encode() in f.read():
                        return time.perf_counter() - start
            if time.monotonic() > deadline:
                raise Failure(f'no {PROMPT} within {TIMEOUT} s')
            time.sleep(0.01)
    finally:
        end_process(process)


def run(bench, _wanted):
    image, = images(bench, 'bios')
    disk = bench.path('guest.raw')
    bench.run(['cp', '--sparse=always', image, disk])
    repository = Repository(bench, 'guest')
    repository.init()
    bench.run(['livemount', 'backup', 'guest', f'disk0={disk}'],
              env=repository.env)

    own = bench.folder('plain-qemu')
    plain = []

    def look(folder):
        pid = socket_owner(os.path.join(folder, 'qmp.sock'))
        with open(f'/proc/{pid}/cmdline', 'rb') as f:
            argv = f.read().decode().split('\0')[:-1]
        plain.extend(plain_command(argv, folder, own, disk))

    boot_ours(bench, repository, look)
    mine, other = bench.interleave(
        lambda: boot_ours(bench, repository),
        lambda: boot_plain(bench, plain, own))
    return [Row('boot', 'command to login prompt, TCG',
                'QEMU, raw disk, snapshot=on', 's', mine, other, bar=1.1,
                aim=1.03)]
