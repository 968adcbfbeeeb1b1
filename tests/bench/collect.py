# SPDX-License-Identifier: Apache-2.0
"""Marking for a collection: 31.6 million references, as many as Proxmox
Backup Server was seen to mark in 22.8 s (each of them touches a file there).

The repository is the synthetic one of the mount rows, larger; `gc --dry-run`
marks and decides, and changes nothing."""

import json
import os

from harness import Failure, Row, warm_up
from livemount import environment
from mount1t import repository

GROUP = 'gc'
ROWS = ('gc-mark', 'gc-memory')

REFERENCES = 31_600_000


def run(bench, wanted):
    base = repository(bench, (1 << 20) if bench.quick else REFERENCES)
    warm_up(base)
    env = environment(bench, base)
    env['XDG_STATE_HOME'] = bench.folder('gc-state')
    env['XDG_CACHE_HOME'] = bench.folder('gc-cache')
    out = bench.path('gc.json')
    seconds, resident, result = [], [], None
    # The first one builds the local index, and does not count.
    for number in range(bench.pairs + 1):
        with open(out, 'wb') as f:
            pid = os.posix_spawn(
                os.path.join(bench.build, 'livemount'),
                ['livemount', 'gc', '--dry-run', '--json', '-q'], env,
                file_actions=[(os.POSIX_SPAWN_DUP2, f.fileno(), 1)])
            _, status, usage = os.wait4(pid, 0)
        if status != 0:
            raise Failure(f'gc --dry-run ended with status {status}')
        with open(out, encoding='utf-8') as f:
            result = json.load(f)
        if number > 0:
            seconds.append(result['mark_seconds'])
            resident.append(usage.ru_maxrss / 1024)
    rows = [
        Row('gc-mark', f'marking {result["references"]:,} references, '
            'nothing shared', '-', 's', seconds, bar=20,
            notes=[f'{result["nodes"]:,} map nodes, '
                   f'{result["node_bytes"] / 1e6:.0f} MB of them read and '
                   'decrypted']),
        Row('gc-memory', 'the same, largest resident size', '-', 'MiB',
            resident, bar=512),
    ]
    return [row for row in rows if row.name in wanted]
