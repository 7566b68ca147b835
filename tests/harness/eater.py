# SPDX-License-Identifier: LGPL-2.1-or-later
"""Processes that take more memory than their group has, and are killed for it."""

import os
import subprocess
import sys

from proc import PATIENCE
from tap import check

# All at once and by the kernel itself: nothing but the limit ends it.
EAT = "import mmap; mmap.mmap(-1, {size}, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)"

# Children of a parent that stays outside, until a line comes; says how many were killed.
STORM = """
import mmap, os, select, signal, sys
directory, size, killed = sys.argv[1], int(sys.argv[2]), 0
while not select.select([sys.stdin], [], [], 0)[0]:
    child = os.fork()
    if child == 0:
        with open(directory + "/cgroup.procs", "w") as f:
            f.write("0")
        mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)
        os._exit(0)
    killed += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
print(killed, flush=True)
"""


def eat(group, size):
    """A process in `group` that is killed on taking `size` bytes: it has ended when this returns."""
    process = group.spawn((sys.executable, "-c", EAT.format(size=size)))
    status = process.wait(60 * PATIENCE)
    check(status == -9, f"a process that took {size} bytes ended with status {status}")


class Storm:
    """One kill after the other in each of the groups, as fast as they go: some thirty a second and group."""

    def __init__(self, groups, size):
        self.commands = [[sys.executable, "-c", STORM, os.fsdecode(g.directory), str(size)] for g in groups]
        self.processes = []

    def __enter__(self):
        for command in self.commands:
            self.processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                                   start_new_session=True))
        return self

    def stop(self):
        """Returns how many were killed in each."""
        for process in self.processes:
            process.stdin.write("enough\n")
            process.stdin.flush()
        return [int(process.communicate(timeout=60 * PATIENCE)[0]) for process in self.processes]

    def __exit__(self, *_):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.communicate()
