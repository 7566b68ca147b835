# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the container's program is told to hold, and to make and drop, where tests go through many workloads."""

import contextlib
import tempfile

from container import Container, hook_entry
from summary import profiled

# What to hold and what to make and drop; /data is a directory of the host's disk.
WORKLOADS = {
    "pipes": ("hold pipes 9000", "churn pipes 20000"),
    "unix-sockets": ("hold sockets 10000", None),
    "tmpfs-files": ("hold files 10000", "churn files 5000"),
    "mapping": (f"hold memory {64 << 20}", None),
    "processes": ("hold processes 100", "churn processes 2000"),
    "disk-files": ("hold files 5000", "churn files 5000"),
    "epoll": ("hold epoll 5000", "churn epoll 50000"),
    "threads": ("hold threads 1000", "churn threads 2000"),
    "tcp-connections": ("hold connections 1000", "churn connections 20000"),
}


def data_mount(directory):
    def edit(config):
        config["mounts"].append({"destination": "/data", "type": "bind", "source": directory, "options": ["bind", "rw"]})
    return edit


@contextlib.contextmanager
def profiled_workload(bus, name):
    """A started container of the workload's program, with a profile; files go where the name says."""
    hook = hook_entry(bus.address)
    with tempfile.TemporaryDirectory(prefix="memcgprof-test-", dir="/var/tmp") as disk:
        directory = "/data" if name.startswith("disk") else "/tmp"
        with Container(args=("/bin/workload", "--dir", directory), edit=data_mount(disk),
                       hooks={"createRuntime": [hook], "poststop": [hook]}, annotations={"org.memcgprof.profile": "auto"}) as box:
            box.start()
            profiled(bus, box)
            yield box
