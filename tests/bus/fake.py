# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of this room share: memcgprofd-fake with its script and symbols."""

import json
import os
import socket
import subprocess

from daemon import Daemon
from proc import built, eventually

FAKE = os.environ.get("MEMCGPROF_FAKE", "tests/bus/memcgprofd-fake")

# A symbol table of our own: what a row is called does not depend on the running kernel.
BASE = 0xffffffff81000000
SYMBOLS = {"_stext": 0x0, "alloc_pipe_info": 0x1000, "sk_prot_alloc": 0x2000, "alloc_inode": 0x3000, "pte_alloc_one": 0x4000,
           **{f"many_sites_{i}": 0x100000 + i * 0x10000 for i in range(10)}, "_etext": 0x200000}


def kallsyms():
    return "".join(f"{BASE + offset:016x} T {name}\n" for name, offset in SYMBOLS.items())


def row(function, offset=0x10, **members):
    """One row of a script, charged slab memory unless said otherwise: row("alloc_pipe_info", allocated=[bytes, calls])."""
    return {"type": "slab", "charged": True, "frames": [hex(BASE + SYMBOLS[function] + offset)], **members}


PIPES = row("alloc_pipe_info", allocated=[9000, 9], freed=[1000, 1])
SOCKETS = row("sk_prot_alloc", allocated=[5000, 5])
UNCHARGED = row("alloc_inode", charged=False, allocated=[700, 7])
USER = row("pte_alloc_one", type="user", live_known=False, estimated=True, allocated=[1 << 20, 256], error_bytes=4096)
ROWS = [PIPES, SOCKETS, UNCHARGED, USER]


class Fake(Daemon):
    """memcgprofd-fake on `bus`, with a script that is changed by writing it."""

    def __init__(self, bus, *options, settle_ms=100, root="/nonexistent"):
        self.root = root  # of the kernel's files
        super().__init__(bus, f"--settle-ms={settle_ms}", *options)

    def command(self):
        """How it is started, with its files in place."""
        self.script = os.path.join(self.directory, "script")
        symbols = os.path.join(self.directory, "kallsyms")
        with open(symbols, "w", encoding="ascii") as f:
            f.write(kallsyms())
        if not os.path.exists(self.script):
            self.write()
        return [built(FAKE), self.script, symbols, self.root, *self.arguments()]

    def start(self, seconds=60):
        command = self.command()
        path = os.path.join(self.directory, "notify")
        if os.path.exists(path):
            os.unlink(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, open(self.log, "ab") as log:
            ready.bind(path)
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, "NOTIFY_SOCKET": path},
                start_new_session=True)
            self._wait_ready(ready, seconds)

    def write(self, rows=(), **members):
        """Writes the script: all at once, because the daemon may be reading it."""
        with open(self.script + ".new", "w", encoding="ascii") as f:
            json.dump({"rows": list(rows), **members}, f)
        os.rename(self.script + ".new", self.script)

    def tracked(self):
        """What the tracker was told, line by line."""
        with open(self.script + ".log", encoding="utf-8", errors="backslashreplace") as f:
            return f.read().splitlines()

    def counting(self):
        """How many groups count now."""
        lines = self.tracked()
        return sum(line.startswith(("begin", "renew")) for line in lines) - sum(line.startswith("end") for line in lines)

    def wait_counting(self, n):
        """Groups that are over are ended when the daemon has nothing else to do."""
        eventually(lambda: self.counting() == n, 10, f"{n} groups count, not {self.counting()}")


def sleeper():
    """A process outside any test group: started, and ended by the caller with stop()."""
    return subprocess.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL, start_new_session=True)
