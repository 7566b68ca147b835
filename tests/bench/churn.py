#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Containers that come and go: what their starts cost with the hook, and what is left over afterwards.

usage: churn.py [--starts N] [--at-once M] [--quick]
       churn.py --minutes N

N containers in a row and then N with M at a time, each of them twice: without a hook, and with one that has it profiled, in
turns, so that what else the machine does falls on both. A container runs `true`; measured is `runc run`, from the call to the
container's removal. Before and after: what the daemon holds and what the kernel holds. Nothing is judged; figures of a busy
machine are those of a busy machine.
"""

import argparse
import os
import statistics
import sys
import time

from bus import Bus
from client import Client
from container import hook_entry, memory_hierarchy, need_containers
from crowd import Crowd
from daemon import Daemon
from rest import at_rest, descriptors, let_go
from tables import footprint, in_use
from tap import Failure, Skip

ON = {"org.memcgprof.profile": "auto"}
ARMS = ("without the hook", "with the hook")
STRETCH = 10  # starts of one arm in a row; parallel ones take turns by what is at once
SETTLE_MS = 200
MEMINFO = ("Slab", "SUnreclaim", "Percpu", "VmallocUsed", "KernelStack")


# What there is.


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def cpu_ms(pid):
    """Of all threads of the daemon."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        user, system = f.read().rsplit(") ", 1)[1].split()[11:13]
    return (int(user) + int(system)) * 1000 / os.sysconf("SC_CLK_TCK")


def memory_cgroups():
    """(that the kernel has, those of them that are directories): the rest is dying."""
    mount, version = memory_hierarchy()
    directories = sum(1 for _ in os.walk(mount))
    if version == "v2":
        with open(f"{mount}/cgroup.stat", encoding="ascii") as f:
            return directories + int(dict(line.split() for line in f)["nr_dying_descendants"]), directories
    with open("/proc/cgroups", encoding="ascii") as f:
        return next(int(line.split()[2]) for line in f if line.startswith("memory\t")), directories


def meminfo():
    with open("/proc/meminfo", encoding="ascii") as f:
        lines = dict(line.split(":", 1) for line in f)
    return {key: int(lines[key].split()[0]) for key in MEMINFO}


class State:
    """One look at the daemon and the kernel. tables: {map: how much is in use}, only where asked for: it takes a second."""

    def __init__(self, bus, daemon, tables=False):
        pid = daemon.process.pid
        with Client(bus) as client:
            self.profiles = len(client.paths())
        self.descriptors = sum(descriptors(pid).values())
        self.rss_kib = resident(pid)
        self.bpf_bytes = footprint(pid)
        self.cpu_ms = cpu_ms(pid)
        self.cgroups, self.directories = memory_cgroups()
        self.meminfo = meminfo()
        self.tables = in_use(pid) if tables else {}


ROWS = (
    ("profiles", lambda s: s.profiles),
    ("daemon: descriptors", lambda s: s.descriptors),
    ("daemon: resident KiB", lambda s: s.rss_kib),
    ("daemon: BPF maps and programs, bytes", lambda s: s.bpf_bytes),
    ("daemon: CPU ms so far", lambda s: round(s.cpu_ms)),
    ("kernel: memory cgroups", lambda s: s.cgroups),
    ("kernel: directories of them", lambda s: s.directories),
    *((f"kernel: {key} KiB", lambda s, key=key: s.meminfo[key]) for key in MEMINFO),
)


def print_states(states):
    print(f"{'':<42}" + "".join(f"{title:>16}" for title, _ in states))
    for what, figure in ROWS:
        print(f"  {what:<40}" + "".join(f"{figure(state):>16}" for _, state in states))
    tables = [(title, state.tables) for title, state in states if state.tables]
    print("In use in the tables (objects, sites and spilled objects; else 64-bit words that are not zero):")
    for name in sorted({name for _, found in tables for name in found}):
        print(f"  {name:<40}" + "".join(f"{state.tables.get(name, 0) if state.tables else '':>16}" for _, state in states))


# Starts.


class Churn:
    def __init__(self, bus, crowd):
        self.bus, self.crowd, self.serial = bus, crowd, 0
        self.hooks = {stage: [hook_entry(bus.address)] for stage in ("createRuntime", "poststop")}

    def prepared(self, arm):
        """Id of a new container, with its bundle."""
        self.serial += 1
        container_id = f"memcgproftestchurn{os.getpid()}x{self.serial}"
        self.crowd.bundle(container_id, *((self.hooks, ON) if arm == ARMS[1] else ()))
        return container_id

    def turns(self, starts, at_once, stretch):
        """{arm: seconds of each start}."""
        times = {arm: [] for arm in ARMS}
        while len(times[ARMS[0]]) < starts:
            n = min(stretch, starts - len(times[ARMS[0]]))
            for arm in ARMS:
                times[arm] += self.flow(arm, n, at_once)
        return times

    def flow(self, arm, n, at_once):
        """n starts, at most `at_once` of them at any moment."""
        ids, running, seconds = [self.prepared(arm) for _ in range(n)], {}, []
        while ids or running:
            while ids and len(running) < at_once:
                begin, process = time.monotonic(), self.crowd.spawn(ids.pop())
                running[process.pid] = (begin, process)
            pid, status = os.wait()
            if pid not in running:
                raise Failure(f"process {pid} is gone, status {status}")
            begin, process = running.pop(pid)
            seconds.append(time.monotonic() - begin)
            process.returncode = os.waitstatus_to_exitcode(status)
            if status != 0:
                raise Failure(f"a container ended with status {process.returncode}")
        return seconds


def quantiles(seconds):
    s = sorted(seconds)
    return [1000 * v for v in (statistics.median(s), s[min(len(s) - 1, int(len(s) * 0.99))], s[-1])]


def print_times(title, times):
    head = f"{title}, ms from the call to the removal:"
    print(f"{head:<50}{'p50':>10}{'p99':>10}{'max':>10}")
    figures = [quantiles(times[arm]) for arm in ARMS]
    for arm, row in (*zip(ARMS, figures), ("added", [b - a for a, b in zip(*figures)])):
        print(f"  {arm:<48}" + "".join(f"{v:>10.1f}" for v in row), flush=True)


def rested(bus, daemon):
    let_go(bus)
    at_rest(daemon.process.pid)
    seen = []
    while len(seen) < 3 or seen[-1] < seen[-3]:  # the kernel frees cgroups by work of its own
        time.sleep(1)
        seen.append(memory_cgroups()[0])


def told(daemon):
    """How many profiles have begun and how many final reports are written, as the daemon says."""
    log = daemon.log_text()
    return log.count(" begins (hook)"), log.count("Final report of")


def measure(bus, daemon, crowd, arguments):
    churn = Churn(bus, crowd)
    churn.turns(20, 1, STRETCH)
    churn.turns(2 * arguments.at_once, arguments.at_once, arguments.at_once)
    rested(bus, daemon)
    begin = told(daemon)
    states = [("before", State(bus, daemon, tables=True))]
    print_times(f"{arguments.starts} in a row", churn.turns(arguments.starts, 1, STRETCH))
    in_a_row = State(bus, daemon)
    print_times(f"{arguments.starts}, {arguments.at_once} at a time",
                churn.turns(arguments.starts, arguments.at_once, max(arguments.at_once, min(200, arguments.starts // 4))))
    time.sleep(SETTLE_MS / 1000 + 1)
    states += [("in a row", in_a_row), ("at a time", State(bus, daemon))]
    rested(bus, daemon)
    states.append(("all let go", State(bus, daemon, tables=True)))
    print_states(states)
    per_start = (states[2][1].cpu_ms - states[0][1].cpu_ms) / (2 * arguments.starts)
    print(f"CPU of the daemon per profiled container: {per_start:.2f} ms")
    begun, reports = (now - then for now, then in zip(told(daemon), begin))
    print(f"Of {2 * arguments.starts} containers with the hook {begun} were profiled (hooks of a busy machine run out of time, and then "
          f"containers as short as these are gone); final reports: {reports}")


def over_time(bus, daemon, crowd, minutes):
    """Flat, once as many ended profiles are kept as there may be."""
    churn = Churn(bus, crowd)
    print(f"{'minute':>6}{'profiles':>10}{'descriptors':>13}{'resident KiB':>14}{'BPF bytes':>12}{'containers':>12}{'CPU ms each':>13}")
    for minute in range(1, minutes + 1):
        end, n, before = time.monotonic() + 60, 0, cpu_ms(daemon.process.pid)
        while time.monotonic() < end:
            next_start = time.monotonic() + 0.5
            churn.flow(ARMS[1], 1, 1)
            n += 1
            time.sleep(max(0, next_start - time.monotonic()))
        s = State(bus, daemon)
        print(f"{minute:>6}{s.profiles:>10}{s.descriptors:>13}{s.rss_kib:>14}{s.bpf_bytes:>12}{n:>12}{(s.cpu_ms - before) / n:>13.2f}", flush=True)


def main(words):
    parser = argparse.ArgumentParser(prog="churn.py", allow_abbrev=False)
    parser.add_argument("--starts", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=20)
    parser.add_argument("--minutes", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="that it runs, not what it costs")
    arguments = parser.parse_args(words)
    if arguments.quick:
        arguments.starts, arguments.at_once = 20, 5
    if arguments.starts < 1 or arguments.at_once < 1:
        parser.error("both numbers begin at 1")
    try:
        need_containers()
        with Bus() as bus, Daemon(bus, f"--settle-ms={SETTLE_MS}") as daemon, Crowd() as crowd:
            if arguments.minutes:
                over_time(bus, daemon, crowd, arguments.minutes)
            else:
                measure(bus, daemon, crowd, arguments)
    except (Skip, Failure) as e:
        print(f"churn.py: {e}", file=sys.stderr)
        return 1
    return 0


sys.exit(main(sys.argv[1:]))
