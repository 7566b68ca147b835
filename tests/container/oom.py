#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A container whose memory runs out: what it held at that moment is in its report, and the journal says where.

Real counting, real kills, on whichever hierarchy the machine has. The picture must be of before the kill: the kernel memory that
the container held on purpose is in it, although nothing of it is left a moment later.
"""

import re

import validate
from bus import Bus, Signals
from container import Container, hook_entry, kernel_bytes, need_containers
from daemon import Daemon
from proc import eventually
from summary import profiled
from tap import check, equal, main

LIMIT = 96 << 20
SHARE = 0.8  # of what was held, at least so much is in the snapshot


def limited(config):
    config["linux"]["resources"]["memory"] = {"limit": LIMIT, "swap": LIMIT}


def container(bus):
    hook = hook_entry(bus.address)
    return Container(hooks={"createRuntime": [hook], "poststop": [hook]}, annotations={"org.memcgprof.profile": "auto"}, edit=limited)


def report_of(daemon, finished, path):
    with open(finished.of(path), encoding="utf-8") as f:
        return validate.validated(f.read(), "memcgprof.report")


def killed(bus, daemon, hold, site):
    """Holds kernel objects of one kind, and then wants more memory than there is."""
    with Signals(bus, "ProfileFinished") as finished, container(bus) as box:
        box.start()
        path = profiled(bus, box)
        before = kernel_bytes(box.cgroup())
        box.tell(hold, "ready")
        held = kernel_bytes(box.cgroup()) - before
        check(held > 1 << 20, f"{hold} holds {held} bytes only")
        box.process.stdin.write(f"hold memory {2 * LIMIT}\n".encode())
        box.process.stdin.flush()
        box.process.wait(60)
        document = report_of(daemon, finished, path)
    check(document["snapshots"], f"no snapshot: {daemon.log_text()[-2000:]}")
    snapshot = document["snapshots"][0]
    print(f"# {hold}: held {held} bytes in the kernel, snapshot {snapshot['reason']} ooms={snapshot['ooms']} "
          f"kills={snapshot['oom_kills']} kernel={snapshot['summary']['totals']['charged']['kernel_bytes']} "
          f"sweep_us={snapshot['summary']['sweep_us']}", flush=True)
    equal((snapshot["reason"], document["end"]["oom_kills"]), ("oom-kill", 1), "reason, kills at the end")
    kernel = snapshot["summary"]["totals"]["charged"]["kernel_bytes"]
    check(kernel >= SHARE * held, f"the snapshot shows {kernel} bytes of kernel memory, {held} were held")
    functions = [s["function"] for s in snapshot["summary"]["sites"]]
    check(any(re.search(site, f or "") for f in functions), f"{site} is not among {functions}")
    line = re.findall(rf"Memory ran out in container {box.id} \(1 tasks killed by now\)\. Largest sites: (.*)\n", daemon.log_text())
    equal(len(line), 1, "lines in the journal")
    equal(line[0].count(" KiB)"), 3, f"sites in {line[0]}")
    left = document["residue"]
    check(left["bytes"] < held / 2, f"{left['bytes']} bytes are left of {held}")
    check(document["summary"]["totals"]["charged"]["kernel_bytes"] < kernel, "the last summary is of after the kill")


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
        tap.case("the residue's end is in the report", residue_is_closed, bus, daemon)
        check(daemon.alive(), "the daemon is gone: " + daemon.log_text()[-2000:])


main(tests)
