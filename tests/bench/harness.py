# SPDX-License-Identifier: Apache-2.0
"""What all rows of the benchmark share: a place to work in, timed commands,
servers that end with us, interleaved pairs, the table and the JSON.

Fairness is kept here: before each timed command everything dirty is written
out and the data it will read is in the page cache, and what does not sync by
itself is timed with a `sync -f` at its end."""

import json
import os
import platform
import random
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field


class Failure(Exception):
    """Something that ends the benchmark, with a message for a person."""


def say(text):
    print(text, file=sys.stderr, flush=True)


class Seconds(float):
    """Wall time, and the processor time that went into it."""
    cpu = None


@dataclass
class Row:
    """One line of the table.

    With a peer, `ours` and `theirs` are lists of equal length: one value a
    pair, and the row is judged by the median of the pairs' ratios.  Without
    one, it is judged by the median of `ours` itself."""
    name: str
    what: str
    against: str
    unit: str
    ours: list
    theirs: list = None
    bar: float = None
    aim: float = None
    more_is_better: bool = False
    notes: list = field(default_factory=list)

    def ratio(self):
        if self.theirs is None:
            return None
        return statistics.median(a / b
                                 for a, b in zip(self.ours, self.theirs))

    def value(self):
        """What is compared with bar and aim."""
        return statistics.median(self.ours) if self.theirs is None \
            else self.ratio()

    def verdict(self):
        def reached(mark):
            return self.value() >= mark if self.more_is_better \
                else self.value() <= mark
        if self.bar is None:
            return '-'
        if self.aim is not None and reached(self.aim):
            return 'met, aim too'
        return 'met' if reached(self.bar) else 'MISSED'

    def as_json(self):
        return {
            'name': self.name, 'what': self.what, 'against': self.against,
            'unit': self.unit, 'ours': self.ours, 'theirs': self.theirs,
            'ours_cpu': cpu_of(self.ours), 'theirs_cpu': cpu_of(self.theirs),
            'ratio': self.ratio(), 'bar': self.bar, 'aim': self.aim,
            'more_is_better': self.more_is_better,
            'verdict': self.verdict(), 'notes': self.notes,
        }


def cpu_of(values):
    """Processor seconds of timed commands; None for other values."""
    if not values or getattr(values[0], 'cpu', None) is None:
        return None
    return [round(v.cpu, 3) for v in values]


def table(rows):
    """The rows as text, and their notes below."""
    def number(x):
        if x is None:
            return '-'
        if x >= 1e6:
            return f'{x:,.0f}'
        return f'{x:.0f}' if x >= 1000 else f'{x:.3g}'

    def mark(row, x):
        # Bars below one are fractions in people's heads: "five times".
        if x is None:
            return '-'
        if row.theirs is not None and not row.more_is_better and x < 0.9:
            return f'1/{1 / x:.3g}'
        return number(x)

    head = ('row', 'what', 'against', 'ours', 'theirs', 'unit', 'ratio',
            'bar', 'aim', '')
    lines = [head]
    for r in rows:
        theirs = None if r.theirs is None else statistics.median(r.theirs)
        lines.append((r.name, r.what, r.against,
                      number(statistics.median(r.ours)), number(theirs),
                      r.unit, mark(r, r.ratio()), mark(r, r.bar),
                      mark(r, r.aim), r.verdict()))
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    right = {3, 4, 6, 7, 8}
    out = []
    for line in lines:
        out.append('  '.join(
            text.rjust(w) if i in right else text.ljust(w)
            for i, (text, w) in enumerate(zip(line, widths))).rstrip())
    out.insert(1, '-' * max(map(len, out)))
    notes = [f'{r.name}: {note}' for r in rows for note in r.notes]
    return '\n'.join(out + ([''] + notes if notes else []))


def file_system_of(path):
    """The type of the file system, from the kernel's table: statfs has one
    number for ext2, ext3 and ext4."""
    path = os.path.realpath(path)
    best = ('', 'unknown')
    with open('/proc/self/mounts', encoding='utf-8') as f:
        for line in f:
            _, where, kind = line.split()[:3]
            inside = path == where or where == '/' or \
                path.startswith(where.rstrip('/') + '/')
            if inside and len(where) >= len(best[0]):
                best = (where, kind)
    return best[1]


class Bench:
    """One run: options, the work folder, what has to be ended with it."""

    def __init__(self, build, source, work_parent, pairs, quick):
        self.build = build
        self.source = source
        self.pairs = pairs
        self.quick = quick
        self.work = tempfile.mkdtemp(prefix='lm-bench-', dir=work_parent)
        self.log = os.path.join(self.work, 'commands.log')
        self.cleanups = []
        self.shared = {}        # what one row made and another can use
        self.random = random.Random(4711)

    # -- the work folder --

    def path(self, *names):
        return os.path.join(self.work, *names)

    def folder(self, *names):
        path = self.path(*names)
        os.makedirs(path, exist_ok=True)
        return path

    def remove(self, path):
        if os.path.isdir(path):
            shutil.rmtree(path)
        elif os.path.lexists(path):
            os.unlink(path)

    def at_end(self, function, *args):
        self.cleanups.append((function, args))

    def close(self):
        while self.cleanups:
            function, args = self.cleanups.pop()
            try:
                function(*args)
            except (Failure, OSError) as e:
                say(f'bench: while cleaning up: {e}')
        shutil.rmtree(self.work, ignore_errors=True)

    # -- commands --

    def run(self, argv, env=None, cwd=None, stdin=subprocess.DEVNULL):
        """Run to the end, its output to our log; a failure ends all."""
        with open(self.log, 'ab') as log:
            log.write(f'$ {" ".join(argv)}\n'.encode())
            log.flush()
            start = log.tell()
            status = subprocess.call(argv, stdout=log, stderr=log,
                                     stdin=stdin, env=env, cwd=cwd)
        if status != 0:
            raise Failure(f'{argv[0]} failed ({status}): {" ".join(argv)}\n'
                          + self.tail(start))

    def tail(self, start=0):
        with open(self.log, 'rb') as log:
            log.seek(start)
            return log.read()[-2000:].decode(errors='replace')

    def output(self, argv, env=None, cwd=None):
        """Run and return standard output as text."""
        with open(self.log, 'ab') as log:
            log.write(f'$ {" ".join(argv)}\n'.encode())
            log.flush()
            start = log.tell()
            done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=log,
                                  stdin=subprocess.DEVNULL, env=env, cwd=cwd,
                                  check=False)
        if done.returncode != 0:
            raise Failure(f'{argv[0]} failed ({done.returncode}): '
                          f'{" ".join(argv)}\n' + self.tail(start))
        return done.stdout.decode()

    def timed(self, argv, env=None, cwd=None, warm=(), sync=None):
        """Seconds of wall time; SYNC names a folder that the command left
        dirty."""
        for path in warm:
            warm_up(path)
        os.sync()
        before = os.times()
        start = time.perf_counter()
        self.run(argv, env=env, cwd=cwd)
        if sync:
            self.run(['sync', '-f', sync])
        seconds = Seconds(time.perf_counter() - start)
        after = os.times()
        seconds.cpu = after.children_user + after.children_system - \
            before.children_user - before.children_system
        return seconds

    @contextmanager
    def server(self, argv, sock, env=None):
        """A process that listens on the socket SOCK; ended afterwards."""
        self.remove(sock)
        with open(self.log, 'ab') as log:
            log.write(f'$ {" ".join(argv)} &\n'.encode())
            log.flush()
            start = log.tell()
            process = subprocess.Popen(argv, stdout=log, stderr=log,
                                       stdin=subprocess.DEVNULL, env=env)
        try:
            deadline = time.monotonic() + 60
            while not os.path.exists(sock):
                if process.poll() is not None:
                    raise Failure(f'{argv[0]} ended: {" ".join(argv)}\n'
                                  + self.tail(start))
                if time.monotonic() > deadline:
                    raise Failure(f'{argv[0]} does not listen on {sock}')
                time.sleep(0.01)
            yield process
        finally:
            end_process(process)

    @contextmanager
    def traced(self, argv, pid):
        """Run a tracer ARGV (strace -p PID) around something."""
        with open(self.log, 'ab') as log:
            tracer = subprocess.Popen(argv, stdout=log, stderr=log,
                                      stdin=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 30
            while not is_traced(pid):
                if tracer.poll() is not None or time.monotonic() > deadline:
                    raise Failure(f'{argv[0]} could not attach')
                time.sleep(0.01)
            yield
        finally:
            # It writes its summary when it is interrupted.
            tracer.send_signal(signal.SIGINT)
            tracer.wait(30)

    def program(self, name):
        return os.path.join(self.build, 'tests', 'bench', name)

    def load(self, what, uri, offsets, in_flight=1, passes=1, flush=0):
        """Run the NBD client; returns its JSON."""
        argv = [self.program('nbd-load'), what, '-n', str(in_flight), '-p',
                str(passes)]
        if flush:
            argv += ['-f', str(flush)]
        return json.loads(self.output(argv + [uri, offsets]))

    # -- pairs --

    def interleave(self, *sides):
        """Call each of SIDES once a pair; returns a list of results for
        each.  Which one begins alternates, so that none always follows
        the same other."""
        results = [[] for _ in sides]
        for pair in range(self.pairs):
            order = list(range(len(sides)))
            if pair % 2:
                order.reverse()
            for i in order:
                results[i].append(sides[i]())
        return results


def end_process(process, timeout=30):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def is_traced(pid):
    """Are all threads of a process traced?"""
    for thread in os.listdir(f'/proc/{pid}/task'):
        with open(f'/proc/{pid}/task/{thread}/status', encoding='ascii') as f:
            if 'TracerPid:\t0\n' in f.read():
                return False
    return True


def end_pid(pid):
    """End a process that is not our child."""
    for number, seconds in ((signal.SIGTERM, 20), (signal.SIGKILL, 5)):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not os.path.exists(f'/proc/{pid}'):
                return
            time.sleep(0.02)


def socket_owner(path):
    """The process that listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.connect(path)
        cred = s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return struct.unpack('3i', cred)[0]


def anonymous_memory(pid):
    """RssAnon of a process, in bytes."""
    with open(f'/proc/{pid}/status', encoding='ascii') as f:
        for line in f:
            if line.startswith('RssAnon:'):
                return int(line.split()[1]) * 1024
    raise Failure(f'no RssAnon in /proc/{pid}/status')


def warm_up(path):
    """Read everything in PATH, so that it comes from memory next time."""
    buf = bytearray(1 << 20)
    paths = [path]
    if os.path.isdir(path):
        paths = [os.path.join(d, f) for d, _, files in os.walk(path)
                 for f in files]
    for p in paths:
        with open(p, 'rb', buffering=0) as f:
            while f.readinto(buf):
                pass


def stored_size(path):
    """Bytes of all files, and bytes of all blocks that they take."""
    apparent = blocks = 0
    for d, _, files in os.walk(path):
        for name in files:
            st = os.lstat(os.path.join(d, name))
            apparent += st.st_size
            blocks += st.st_blocks * 512
    return apparent, blocks


def data_chunks(path, size=65536):
    """Numbers of the chunks of a raw disk that are not all zeros."""
    chunks = []
    zeros = bytes(size)
    fd = os.open(path, os.O_RDONLY)
    try:
        end = os.fstat(fd).st_size
        offset = 0
        while offset < end:
            try:
                data = os.lseek(fd, offset, os.SEEK_DATA)
            except OSError:
                break
            offset = os.lseek(fd, data, os.SEEK_HOLE)
            first = data // size
            if chunks and chunks[-1] == first:
                first += 1
            for n in range(first, (offset + size - 1) // size):
                piece = os.pread(fd, size, n * size)
                if piece != zeros[:len(piece)]:
                    chunks.append(n)
    finally:
        os.close(fd)
    return chunks


def write_offsets(path, offsets):
    with open(path, 'w', encoding='ascii') as f:
        f.writelines(f'{n}\n' for n in offsets)
    return path


def machine():
    """What this was measured on."""
    model = ''
    with open('/proc/cpuinfo', encoding='utf-8') as f:
        for line in f:
            if line.startswith('model name'):
                model = line.split(':', 1)[1].strip()
                break
    return {
        'processors': os.cpu_count(), 'processor': model,
        'memory_bytes': os.sysconf('SC_PAGE_SIZE') *
        os.sysconf('SC_PHYS_PAGES'),
        'kernel': platform.release(),
        'load_average_at_start': os.getloadavg()[0],
    }
