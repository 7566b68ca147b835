# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the daemon holds when nobody is profiled, and that it is the same after whatever a test does."""

import collections
import contextlib
import os
import re
import time

import dbus

from client import ERROR, Client
from proc import PATIENCE
from tap import Failure, equal

STILL = 1.0  # seconds without a change: longer than retired profiles wait to be detached


def descriptors(pid):
    """What a process holds open, by kind: {"anon_inode:bpf-map": 30, ...}."""
    found = collections.Counter()
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[re.sub(r"\d+", "N", os.readlink(f"/proc/{pid}/fd/{name}"))] += 1
    return found


def at_rest(pid):
    """Its descriptors once they have stood still."""
    seen, since = descriptors(pid), time.monotonic()
    while time.monotonic() - since < STILL:
        time.sleep(0.05)
        now = descriptors(pid)
        if now != seen:
            seen, since = now, time.monotonic()
    return seen


def let_go(bus):
    """Ends every profile, those of ended containers too. Some may go by themselves, or as a view of another."""
    with Client(bus) as client:
        for path in client.paths():
            try:
                client.stop(path)
            except dbus.DBusException as e:
                equal(e.get_dbus_name(), ERROR + "NoSuchProfile", "StopProfile of a profile that may be gone")


def difference(before, now):
    kinds = sorted(set(before) | set(now))
    return ", ".join(f"{kind}: {before[kind]} before, {now[kind]} now" for kind in kinds if before[kind] != now[kind])


@contextlib.contextmanager
def nothing_left(bus, daemon, seconds=20):
    """Holds what the daemon has open before and after against each other: cgroups, processes, links, maps, watches."""
    let_go(bus)
    before = at_rest(daemon.process.pid)
    yield
    let_go(bus)
    end = time.monotonic() + seconds * PATIENCE
    while (now := descriptors(daemon.process.pid)) != before:
        if time.monotonic() > end:
            raise Failure(f"the daemon still holds: {difference(before, now)}")
        time.sleep(0.05)
