#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A container whose memory runs out: what it held at that moment is in its report, and the journal says where.

Real counting, real kills, on whichever hierarchy the machine has. The picture must be of before the kill: the kernel memory that
the container held on purpose is in it, although nothing of it is left a moment later.
"""

import re
import time

import validate
from bus import Bus, Signals
from container import Container, hook_entry, kernel_bytes, memory_hierarchy, need_containers
from daemon import Daemon
from eater import Storm, eat
from group import Group
from proc import PATIENCE, eventually, need
from summary import profiled
from tap import Skip, check, equal, main

LIMIT = 96 << 20
TRIES = 3
SHARE = 0.8  # of what was held, at least so much is in the snapshot


def limited(config):
    config["linux"]["resources"]["memory"] = {"limit": LIMIT, "swap": LIMIT}


def container(bus):
    hook = hook_entry(bus.address)
    return Container(hooks={"createRuntime": [hook], "poststop": [hook]}, annotations={"org.memcgprof.profile": "auto"}, edit=limited)


def report_of(daemon, finished, path):
    with open(finished.of(path), encoding="utf-8") as f:
        return validate.validated(f.read(), "memcgprof.report")


def run_out(bus, daemon, hold):
    """(bytes of kernel objects held, report) of a container that holds some and then wants more memory than there is."""
    with Signals(bus, "ProfileFinished") as finished, container(bus) as box:
        box.start()
        path = profiled(bus, box)
        before = kernel_bytes(box.cgroup())
        box.tell(hold, "ready")
        held = kernel_bytes(box.cgroup()) - before
        check(held > 1 << 20, f"{hold} holds {held} bytes only")
        box.process.stdin.write(f"hold memory {2 * LIMIT}\n".encode())
        box.process.stdin.flush()
        box.process.wait(60 * PATIENCE)
        document = report_of(daemon, finished, path)
    check(document["snapshots"], f"no snapshot: {daemon.log_text()[-2000:]}")
    snapshot = document["snapshots"][0]
    print(f"# {hold}: held {held} bytes in the kernel; snapshot {snapshot['reason']} ooms={snapshot['ooms']} "
          f"kills={snapshot['oom_kills']} kernel={kernel_of(snapshot['summary'])}", flush=True)
    equal((snapshot["reason"], document["end"]["oom_kills"]), ("oom-kill", 1), "reason, kills at the end")
    killed = "1" if PATIENCE == 1 else "[01]"  # an emulated CPU may take longer over the kill than the line waits
    line = re.findall(rf"Memory ran out in container {box.id} \({killed} tasks killed by now\)\. Largest sites: (.*)\n", daemon.log_text())
    equal(len(line), 1, "lines in the journal")
    equal(line[0].count(" KiB)"), 3, f"sites in {line[0]}")
    return held, document


def kernel_of(summary):
    return summary["totals"]["charged"]["kernel_bytes"]


def killed(bus, daemon, hold, site):
    """Nobody waits for us before he kills: of three pictures one has to be in time."""
    for _ in range(TRIES):
        held, document = run_out(bus, daemon, hold)
        summary = document["snapshots"][0]["summary"]
        if kernel_of(summary) >= SHARE * held:
            break
    check(kernel_of(summary) >= SHARE * held, f"the last of {TRIES} snapshots shows {kernel_of(summary)} bytes of kernel memory, {held} were held")
    functions = [s["function"] for s in summary["sites"]]
    check(any(re.search(site, f or "") for f in functions), f"{site} is not among {functions}")
    check(document["residue"]["bytes"] < held / 2, f"{document['residue']['bytes']} bytes are left of {held}")
    check(kernel_of(document["summary"]) < kernel_of(summary), "the last summary is not of after the kill")


def enough(bus, daemon):
    """No limit is reached: nothing is kept, and nothing told."""
    with Signals(bus, "ProfileFinished") as finished, container(bus) as box:
        box.start()
        path = profiled(bus, box)
        box.tell("hold pipes 2000", "ready")
        box.tell("release", "released")
        equal(box.end(), 0, "exit status")
        document = report_of(daemon, finished, path)
    equal((document["snapshots"], document["end"]["oom_kills"]), ([], 0), "snapshots and kills of a container that had enough")


# As ProtectControlGroups= of a unit has it.
READ_ONLY = ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"')


def read_only(bus):
    """Where the daemon cannot write to cgroups, v1 does not tell it; the look that comes round sees the kill."""
    need("unshare")
    with Daemon(bus, wrapper=(*READ_ONLY, memory_hierarchy()[0])) as daemon, Group(processes=0) as g:
        with Signals(bus, "ProfileFinished") as finished:
            path = bus.manager("StartProfile", "sa{sv}", f"cgroup:{g.path}", 0)[0]
            g.limit(16 << 20)
            eat(g, 32 << 20)
            eventually(lambda: f"Memory ran out in cgroup {g.path} (1 tasks" in daemon.log_text(), 10, "the journal is told")
            document = stopped_report(bus, path, finished)
    equal(([s["reason"] for s in document["snapshots"]], document["end"]["oom_kills"]), (["oom-kill"], 1), "snapshots, kills")
    if g.version == "v1":
        equal(document["snapshots"][0]["ooms"], 0, "how often the kernel told, which it cannot here")


def stopped_report(bus, path, finished):
    bus.manager("StopProfile", "oa{sv}", path, 0)
    with open(finished.of(path), encoding="utf-8") as f:
        return validate.validated(f.read(), "memcgprof.report")


def storm(bus, daemon):
    """Killed again and again: the first and the last snapshot, a line for each, and every kill is counted."""
    with Group(processes=0) as g, Signals(bus, "ProfileFinished") as finished:
        path = bus.manager("StartProfile", "sa{sv}", f"cgroup:{g.path}", 0)[0]
        g.limit(4 << 20)
        with Storm([g], 8 << 20) as s:
            time.sleep(4 * PATIENCE)
            killed, = s.stop()
        check(killed > 5, f"{killed} kills are no storm")
        equal(g.kills(), killed, "kills by the kernel's own count")
        document = stopped_report(bus, path, finished)
    snapshots = document["snapshots"]
    equal((document["end"]["oom_kills"], snapshots[-1]["oom_kills"]), (killed, killed), "oom_kills at the end, and of the last snapshot")
    check(2 <= len(snapshots) <= 3 + 4 * PATIENCE / 10, f"{len(snapshots)} snapshots of {killed} kills")
    equal(daemon.log_text().count(f"Memory ran out in cgroup {g.path} ("), len(snapshots), "lines in the journal")


def below(bus):
    """On v2 a profile's kills are those of all groups below it."""
    with Group(processes=0) as outer, Signals(bus, "ProfileFinished") as finished:
        if outer.version == "v1":
            raise Skip("v1 counts what happens in the very group only")
        path = bus.manager("StartProfile", "sa{sv}", f"cgroup:{outer.path}", 0)[0]
        with Group(name="inner", parent=outer.directory, processes=0) as inner:
            inner.limit(16 << 20)
            eat(inner, 32 << 20)
            time.sleep(0.5 * PATIENCE)
        document = stopped_report(bus, path, finished)
    equal(([s["reason"] for s in document["snapshots"]], document["end"]["oom_kills"]), (["oom-kill"], 1), "snapshots, kills")


def residue_is_closed(bus, daemon):
    """What is left is followed, and the report knows how that ended."""
    with Signals(bus, "ProfileFinished") as finished, container(bus) as box:
        box.start()
        path = profiled(bus, box)
        box.tell("hold files 2000", "ready")
        equal(box.end(), 0, "exit status")
        file = finished.of(path)
        with open(file, encoding="utf-8") as f:
            first = validate.validated(f.read(), "memcgprof.report")
    equal(first["residue"]["closed_by"], None, "closed_by while it is followed")
    check(first["residue"]["released_bytes"] is not None, "what was released since the end is not known")
    bus.manager("StopProfile", "oa{sv}", path, 0)

    def closed():
        with open(file, encoding="utf-8") as f:
            document = validate.validated(f.read(), "memcgprof.report")
        return document if document["residue"]["closed_by"] else None
    last = eventually(closed, 10, "the report is brought up to date")
    equal(last["residue"]["closed_by"], "stopped", "closed_by")
    equal(last["summary"], first["summary"], "the last summary")
    check(last["residue"]["bytes"] <= first["residue"]["bytes"] + 65536, f"residue grew from {first['residue']} to {last['residue']}")


def tests(tap):
    need_containers()
    with Bus() as bus, Daemon(bus, "--settle-ms=500") as daemon:
        tap.case("sockets, and then too much", killed, bus, daemon, "hold sockets 8000", "sock|sk_|unix")
        tap.case("pipes, and then too much", killed, bus, daemon, "hold pipes 4000", "pipe")
        tap.case("files on a tmpfs, and then too much", killed, bus, daemon, "hold files 8000", "inode|d_alloc|shmem")
        tap.case("enough memory is no trouble", enough, bus, daemon)
        tap.case("a storm of kills", storm, bus, daemon)
        tap.case("kills in a group below", below, bus)
        tap.case("the residue's end is in the report", residue_is_closed, bus, daemon)
        check(daemon.alive(), "the daemon is gone: " + daemon.log_text()[-2000:])
    with Bus() as bus:
        tap.case("cgroups that the daemon cannot write to", read_only, bus)


main(tests)
