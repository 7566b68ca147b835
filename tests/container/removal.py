#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A cgroup that is removed while the daemon looks away, and leaves memory behind: its last counters are those of the removal."""

import os
import shutil
import tempfile
import time

from bus import PROFILE, Bus
from container import memory_hierarchy
from daemon import Daemon
from group import Group
from proc import eventually, need_root
from summary import Summary
from tap import check, equal, main

FILES = 3000
MAKER = """
import os, sys, time
for i in range(int(sys.argv[2])):
    os.close(os.open(f"{sys.argv[1]}/{i}", os.O_CREAT | os.O_WRONLY))
print("made", flush=True)
pipes = [os.pipe() for _ in range(200)]
time.sleep(1000)
"""
SLACK = 64 << 10


def kernel_counter(group):
    directory = os.fsdecode(group.directory)
    if memory_hierarchy()[1] == "v1":
        with open(f"{directory}/memory.kmem.usage_in_bytes", encoding="ascii") as f:
            return int(f.read())
    with open(f"{directory}/memory.stat", encoding="ascii") as f:
        return int(dict(line.split() for line in f)["kernel"])


def at_rest(group):
    """The counter when it has not moved for a second: nothing waits for RCU any more."""
    seen = [kernel_counter(group)]

    def still():
        seen.append(kernel_counter(group))
        return len(seen) > 20 and len(set(seen[-20:])) == 1
    eventually(still, 30, "the counter stands still", 0.05)
    return seen[-1]


def removed_unseen(tap, bus, daemon, directory):
    with Group(processes=0) as group:
        path = bus.manager("StartProfile", "sa{sv}", f"cgroup:{group.path}", 0)[0]
        daemon.freeze()
        try:
            group.spawn(("/usr/bin/python3", "-c", MAKER, directory, str(FILES)))
            eventually(lambda: len(os.listdir(directory)) == FILES, 20, "the files are there")
            group.kill()
            kernel = at_rest(group)
            group.remove()
            time.sleep(1)
        finally:
            daemon.thaw()
    eventually(lambda: bus.property(path, PROFILE, "State") == "ended", 10, "the profile ended")
    first = Summary(bus.summary_text(path)).document
    account = first["reconcile"]
    tap.diag(f"counter before rmdir {kernel}; frozen: {account}")
    equal(account["frozen_by"]["kernel"], "rmdir", "who read the counter of kernel memory")
    equal(account["frozen_by"]["current"], "rmdir", "who read the counter of all memory")
    check(kernel > FILES * 500, f"the files take {kernel} bytes only")
    allowed = 0 if memory_hierarchy()[1] == "v1" else SLACK
    check(abs(account["counters"]["kernel"] - kernel) <= allowed, f"{account['counters']['kernel']} is not {kernel}")
    check(abs(account["unattributed"]) <= SLACK, f"unattributed is {account['unattributed']}")
    check(account["explained_us"] > account["at_us"] > account["read_us"], f"times are {account}")
    check(first["totals"]["charged"]["kernel_bytes"] > kernel / 2, "what is left behind is not there")
    shutil.rmtree(directory)
    time.sleep(2.5)  # a sweep is due again
    second = Summary(bus.summary_text(path)).document
    for key in ("counters", "growth_bytes", "explained_bytes", "unattributed", "at_us"):
        equal(second["reconcile"][key], account[key], f"{key} after what was left is freed")
    left = second["totals"]["charged"]["kernel_bytes"]
    check(abs(left) <= SLACK, f"{left} bytes are left")


def tests(tap):
    need_root()
    with Bus() as bus, Daemon(bus) as daemon:
        directory = tempfile.mkdtemp(prefix="memcgprof-test-", dir="/dev/shm")
        try:
            tap.case("removed while the daemon is stopped: counters are of the moment of removal", removed_unseen, tap, bus, daemon, directory)
        finally:
            shutil.rmtree(directory, ignore_errors=True)


main(tests)
