#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the daemon takes: resident memory by number of profiles, and calls on the bus as their caller sees them.

usage: resident.py [--quick] [--summary]        the last: GetSummary of many sites only
"""

import json
import statistics
import subprocess
import sys
import time

import dbus

from bus import Bus, MANAGER, PATH, PROFILE
from client import Client
from daemon import Daemon
from fake import Fake, row
from group import Group
from proc import built, need_root, stop
from tap import Failure, Skip

SIZES = (0, 1, 10, 100, 1000)
SITES = 3000
REPEATS = 21

# Lets a process allocate in one group after the other.
TOUCHER = 'while read -r group; do echo $$ >"$group/cgroup.procs" && /bin/true && echo done; done'


class Toucher:
    def __enter__(self):
        self.process = subprocess.Popen(["sh", "-c", TOUCHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        return self

    def touch(self, directory):
        self.process.stdin.write(directory + b"\n")
        self.process.stdin.flush()
        if self.process.stdout.readline() != b"done\n":
            raise Failure(f"no process can be moved to {directory}")

    def __exit__(self, *_):
        stop(self.process)
        self.process.stdin.close()
        self.process.stdout.close()


def resident(pid):
    """KiB by kind, as /proc/PID/status says."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        status = dict(line.split(":", 1) for line in f)
    return {key: int(status[key].split()[0]) for key in ("VmRSS", "RssAnon", "RssFile", "RssShmem")}


def print_resident(n, pid):
    r = resident(pid)
    print(f"  {n:>5} profiles {r['VmRSS'] / 1024:>10.1f} MiB  "
          f"({r['RssAnon'] / 1024:.1f} anonymous, {r['RssFile'] / 1024:.1f} of files, {r['RssShmem'] / 1024:.1f} shared)", flush=True)


def cpu_ms(pid):
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as f:
        return int(f.read().split()[0]) / 1e6


def middle_half(values):
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return f"{middle:.1f} ms ({low:.1f} to {high:.1f})"


def time_calls(bus, pid, path, interface, member, title, repeats):
    """Prints what a call takes as its caller sees it, and of that the daemon's CPU time."""
    caller = [built("tests/bench/caller"), bus.address, path, interface, member]
    subprocess.run([*caller, "2"], check=True, stdout=subprocess.DEVNULL)
    spent = cpu_ms(pid)
    took = subprocess.run([*caller, str(repeats)], check=True, stdout=subprocess.PIPE, text=True).stdout
    spent = (cpu_ms(pid) - spent) / repeats
    print(f"  {title:<44} {middle_half([float(line) for line in took.split()])}, CPU of the daemon {spent:.1f} ms", flush=True)


def time_summary(bus, client, pid, path, title, repeats):
    text = client.profile(path, "GetSummary")
    time_calls(bus, pid, path, PROFILE, "GetSummary", f"{title} ({json.loads(text)['total_sites']}; {len(text)} bytes)", repeats)


def measure_resident(bus, sizes, repeats):
    groups = []
    print("Resident memory of the daemon, and ListProfiles on the bus:")
    with Daemon(bus) as daemon, Client(bus) as client:
        try:
            fill(bus, client, daemon, groups, sizes, repeats)
            if groups:
                print("GetSummary on the bus:")
                time_summary(bus, client, daemon.process.pid, client.manager("GetProfile", f"cgroup:{groups[0].path}"), "as many sites as there are", repeats)
        finally:
            for group in groups:
                group.remove()


def fill(bus, client, daemon, groups, sizes, repeats):
    """Starts profiles up to each size; what the daemon refuses ends it, with its words."""
    with Toucher() as toucher:
        try:
            client.manager("SetMode", "multi")
        except dbus.DBusException as e:
            print(f"  mode multi: {e.get_dbus_message()}")
        for size in sizes:
            while len(groups) < size:
                group = Group(processes=0)
                group.__enter__()
                groups.append(group)
                try:
                    client.manager("StartProfile", f"cgroup:{group.path}")
                except dbus.DBusException as e:
                    print(f"  {size:>5} profiles: refused after {len(groups) - 1}: {e.get_dbus_message()}")
                    return
                toucher.touch(group.directory)
            print_resident(size, daemon.process.pid)
            time_calls(bus, daemon.process.pid, PATH, MANAGER, "ListProfiles", f"ListProfiles of {size}", repeats)


def measure_many_sites(bus, repeats):
    """Rows out of a script: naming, filtering, writing and the bus are real, the tables are not."""
    with Fake(bus) as daemon, Client(bus) as client, Group() as group:
        daemon.write([row("many_sites_0", allocated=[9000, 9], freed=[1000, 1], repeat=SITES, step=64)])
        path = client.manager("StartProfile", f"cgroup:{group.path}")
        time_summary(bus, client, daemon.process.pid, path, "as many sites as the target names", repeats)


def main(arguments):
    quick = "--quick" in arguments
    try:
        need_root()
        if "--summary" not in arguments:
            with Bus() as bus:
                measure_resident(bus, SIZES[:3] if quick else SIZES, 5 if quick else REPEATS)
        with Bus() as bus:
            print("GetSummary on the bus, scripted tracker:")
            measure_many_sites(bus, 5 if quick else REPEATS)
    except (Skip, Failure) as e:
        print(f"resident.py: {e}", file=sys.stderr)
        return 1
    return 0


sys.exit(main(sys.argv[1:]))
