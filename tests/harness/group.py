# SPDX-License-Identifier: LGPL-2.1-or-later
"""Memory cgroups of our own, with processes in them."""

import os
import secrets
import subprocess

from container import memory_cgroup, memory_hierarchy
from proc import need_root
from tap import Skip


class Group:
    """A memory cgroup with processes that sleep; removed at the end with all of them."""

    def __init__(self, name=None, parent=None, processes=1):
        need_root()
        if not memory_hierarchy():
            raise Skip("no memory cgroup hierarchy is mounted")
        self.mount, self.version = memory_hierarchy()
        self.parent = parent
        # On v2 a group that has processes of its own cannot have children with controllers: begin at the root.
        above = parent or (memory_cgroup("self") if self.version == "v1" else self.mount)
        if isinstance(name, str):
            name = name.encode()
        self.directory = os.path.join(os.fsencode(above), name or b"bus-" + secrets.token_hex(6).encode())
        self.wanted = processes
        self.processes = []

    def __enter__(self):
        if self.version == "v2" and self.parent:  # children have a memory controller where their parent hands it down
            with open(os.path.join(os.fsencode(self.parent), b"cgroup.subtree_control"), "w", encoding="ascii") as f:
                f.write("+memory")
        try:
            os.mkdir(self.directory)
        except OSError as e:
            raise Skip(f"no memory cgroup can be made here: {e.strerror}") from e
        for _ in range(self.wanted):
            self.spawn()
        return self

    def spawn(self, command=("sleep", "1000")):
        def enter():  # before its first instruction: moved by us, it might have made much by then that is not the group's
            with open(os.path.join(self.directory, b"cgroup.procs"), "w", encoding="ascii") as f:
                f.write("0")
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True,
                                   preexec_fn=enter)
        self.processes.append(process)
        return process

    def limit(self, size):
        """So many bytes, and no swap beyond them."""
        names = (("memory.max", "memory.swap.max"), ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"))[self.version == "v1"]
        for name, value in zip(names, (size, 0 if self.version == "v2" else size)):
            path = os.path.join(self.directory, name.encode())
            if os.path.exists(path):  # swap is not accounted everywhere
                with open(path, "w", encoding="ascii") as f:
                    f.write(str(value))

    def kills(self):
        """How many the kernel has killed here for want of memory, as it says itself."""
        name = b"memory.events" if self.version == "v2" else b"memory.oom_control"
        with open(os.path.join(self.directory, name), encoding="ascii") as f:
            return int(dict(line.split() for line in f)["oom_kill"])

    def __exit__(self, *_):
        self.remove()

    def kill(self):
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes = []

    def remove(self):
        """Ends its processes and takes the directory away, as a runtime does."""
        self.kill()
        if os.path.isdir(self.directory):
            os.rmdir(self.directory)

    @property
    def path(self):
        """Relative to the hierarchy, as the daemon shows it."""
        return os.fsdecode(self.directory.removeprefix(os.fsencode(self.mount)))

    @property
    def pid(self):
        return self.processes[0].pid

    @property
    def id(self):
        return os.stat(self.directory).st_ino


def container_group(container_id):
    """A group as a runtime makes it for a container: its name carries the id."""
    return Group(name=f"bus-{container_id}")


def new_id():
    return secrets.token_hex(8)
