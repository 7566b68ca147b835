#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What comes after the end, and what memory that runs out leaves in a report: with real groups and scripted figures."""

import contextlib
import os
import re
import time

import dbus
from bus import MANAGER, PATH, PROFILE, Bus, Signals
from client import Client
from eater import Storm, eat
from group import Group, container_group, new_id
from proc import PATIENCE, eventually, run
from tap import Failure, Skip, check, equal, main
from validate import validated

from fake import PIPES, ROWS, SOCKETS, UNCHARGED, USER, Fake, row

LIVE = 13700
PIPES_GONE = {**PIPES, "freed": [9000, 9]}
LIMIT = 32 << 20
STORM_LIMIT = 1 << 20
STORM_SECONDS = 6
TICKS = os.sysconf("SC_CLK_TCK")


def report(path):
    with open(path, encoding="utf-8") as f:
        return validated(f.read(), "memcgprof.report")


class World:
    """A daemon of its own for each case: they end it, and give it little room or time."""

    def __init__(self, *options, settle_ms=100):
        self.options, self.settle_ms = options, settle_ms

    def __enter__(self):
        self.bus = Bus().__enter__()
        self.daemon = Fake(self.bus, *self.options, settle_ms=self.settle_ms).__enter__()
        self.client = Client(self.bus).__enter__()
        return self

    def __exit__(self, *_):
        self.client.__exit__()
        try:
            self.daemon.__exit__()
        finally:
            self.bus.__exit__()

    def register(self, group, name=None):
        return str(self.client.manager("RegisterContainer", name or new_id(), options={"cgroup": group.path})[0])

    def ended(self):
        """(object, report) of a profile whose group has gone, with its first report on disk."""
        with container_group(new_id()) as g, Signals(self.bus, "ProfileFinished") as finished:
            path = self.register(g)
            self.daemon.write(ROWS)
            g.remove()
            done, file = finished.next()
            equal(done, path, "ProfileFinished")
        return path, file

    def closed(self, file):
        """The report when it says why its residue is followed no longer."""
        eventually(lambda: report(file)["residue"]["closed_by"], 10, "the report is brought up to date")
        equal(self.daemon.reports(), [file], "reports")
        return report(file)


def check_first(document):
    residue = document["residue"]
    equal((residue["bytes"], residue["charged_bytes"], residue["uncharged_bytes"], residue["calls"]), (LIVE, 13000, 700, 20), "residue")
    equal((residue["closed_by"], residue["released_bytes"]), (None, 0), "it is still followed")
    equal([s["bytes"] for s in residue["sites"]], [8000, 5000, 700], "its sites: kernel memory, largest first")
    check(residue["at_us"] >= document["end"]["at_us"], "the residue is older than the end")


def check_last(first, last, why, released=8000):
    residue = last["residue"]
    equal(residue["closed_by"], why, "closed_by")
    equal((residue["bytes"], residue["released_bytes"]), (LIVE - released, released), "what remained, and what went since the end")
    equal([s["bytes"] for s in residue["sites"]], [5000, 700] if released else [8000, 5000, 700], "its sites")
    check(residue["at_us"] > first["residue"]["at_us"], "when it was read")
    for member in first:
        if member != "residue":
            equal(last[member], first[member], f"{member} of a report that was brought up to date")


def by_time():
    with World("--residue-keep-ms=1500") as w:
        path, file = w.ended()
        first, written = report(file), os.stat(file).st_mtime_ns
        check_first(first)
        w.daemon.write([PIPES_GONE, SOCKETS, UNCHARGED, USER])
        equal(str(w.client.get(path, PROFILE, "State")), "ended", "it is readable while it is followed")
        with Signals(w.bus, "ProfileFinished") as finished:
            check_last(first, w.closed(file), "residue-keep")
            equal(w.client.paths(), [], "profiles")
            equal(os.stat(file).st_mtime_ns, written, "a report is as old as it was")
            try:
                check(False, f"ProfileFinished comes once: {finished.next(seconds=0.5)}")
            except Failure as e:
                check("no signal" in str(e), str(e))
        w.daemon.wait_counting(0)


def no_time():
    with World("--residue-keep-ms=0") as w:
        path, file = w.ended()
        equal(w.closed(file)["residue"]["closed_by"], "residue-keep", "closed_by")
        eventually(lambda: path not in w.client.paths(), 10, "the profile is gone")


def by_need():
    with World("--groups-max=1") as w:
        _, file = w.ended()
        first = report(file)
        w.daemon.write([PIPES_GONE, SOCKETS, UNCHARGED, USER])
        with Group() as g:
            path = w.register(g)
            check_last(first, w.closed(file), "needed")
            equal(w.client.paths(), [path], "who has its place")


def by_word():
    for why, act in (("stopped", lambda w, path: w.client.stop(path)),
                     ("mode-off", lambda w, path: w.client.manager("SetMode", "off")),
                     ("daemon-stop", lambda w, path: w.daemon.stop())):
        with World() as w:
            path, file = w.ended()
            first = report(file)
            w.daemon.write([PIPES_GONE, SOCKETS, UNCHARGED, USER])
            act(w, path)
            check_last(first, w.closed(file), why)


def at_once():
    """Whoever is stopped before the settle time has one report, which says all."""
    with World(settle_ms=60000) as w, Group() as g, Signals(w.bus, "ProfileFinished") as finished:
        path = w.register(g)
        w.daemon.write(ROWS)
        w.client.stop(path)
        document = report(finished.next()[1])
        equal((document["residue"]["closed_by"], document["residue"]["bytes"], document["residue"]["released_bytes"]),
              ("stopped", LIVE, 0), "residue")
        w.daemon.wait_counting(0)
        equal(report(w.daemon.reports()[0]), document, "the report, later")


def many_at_once():
    """A hundred that are over at the same time: each is brought up to date, and nobody waits for all of them."""
    with World("--residue-keep-ms=1500") as w:
        w.daemon.write([{**ROWS[0], "repeat": 100}])
        groups = [Group(processes=0).__enter__() for _ in range(100)]
        for g in groups:
            w.register(g)
        for g in groups:
            g.remove()
        eventually(lambda: len(w.daemon.reports()) == 100, 60, "first reports")
        slowest = 0
        while w.client.paths():
            begin = time.monotonic()
            w.client.get(PATH, MANAGER, "Mode")
            slowest = max(slowest, time.monotonic() - begin)
        begin = time.monotonic()
        for file in w.daemon.reports():
            eventually(lambda: report(file)["residue"]["closed_by"] == "residue-keep", 60, f"{file} is brought up to date")
        print(f"# slowest answer {slowest * 1000:.1f} ms, up to date after {time.monotonic() - begin:.1f} s more", flush=True)
        check(slowest < 1, f"an answer took {slowest:.1f} s")


def gone_report():
    """A report that somebody took away does not come back as half of one."""
    with World() as w:
        path, file = w.ended()
        os.unlink(file)
        w.client.stop(path)
        w.daemon.wait_counting(0)
        time.sleep(0.3)
        equal(w.daemon.reports(), [], "reports")
        check("stays as it was" not in w.daemon.log_text(), "that is no trouble: " + w.daemon.log_text())
        check(w.daemon.alive(), "the daemon")


def full_disk():
    """What cannot be brought up to date stays as it was, whole."""
    with Bus() as bus:
        daemon = Fake(bus)
        with daemon:
            daemon.stop()
            if run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", daemon.state]).returncode != 0:
                raise Skip("no tmpfs can be mounted here")
            try:
                daemon.start()
                w = World()
                w.bus, w.daemon = bus, daemon
                with Client(bus) as w.client:
                    path, file = w.ended()
                    first = report(file)
                    filler = os.path.join(daemon.state, "filler")
                    with open(filler, "wb", buffering=0) as f:
                        try:
                            while f.write(b"x" * 4096):
                                pass
                        except OSError:
                            pass
                    w.client.stop(path)
                    eventually(lambda: "stays as it was" in daemon.log_text(), 10, "the operator is told")
                    check("No space left on device" in daemon.log_text(), "and why: " + daemon.log_text()[-1000:])
                    equal(report(file), first, "the report")
                    equal(os.listdir(os.path.dirname(file)), [os.path.basename(file)], "what lies beside it")
                    os.unlink(filler)
                    path, again = w.ended()
                    w.client.stop(path)
                    eventually(lambda: report(again)["residue"]["closed_by"] == "stopped", 10, "it goes on")
                daemon.stop()
            finally:
                run(["umount", daemon.state])


# Memory that runs out

def told(daemon, name):
    return re.findall(rf"Memory ran out in \w+ {re.escape(name)} \((\d+) tasks killed by now\)\. Largest sites: (.*)\.\n", daemon.log_text())


def one_kill():
    with World() as w, container_group(new_id()) as g, Signals(w.bus, "ProfileFinished") as finished:
        name = new_id()
        path = w.register(g, name)
        w.daemon.write(ROWS)
        g.limit(LIMIT)
        eat(g, 2 * LIMIT)
        eventually(lambda: told(w.daemon, name), 10, "the journal is told: " + w.daemon.log_text())
        time.sleep(0.5)
        equal(told(w.daemon, name), [("1", "alloc_pipe_info+0x10 (8 KiB), sk_prot_alloc+0x10 (5 KiB), alloc_inode+0x10 (1 KiB)")], "the journal")
        w.client.stop(path)
        document = report(finished.next()[1])
        equal(document["end"]["oom_kills"], g.kills(), "oom_kills at the end")
        snapshot, = document["snapshots"]
        equal((snapshot["reason"], snapshot["oom_kills"]), ("oom-kill", 1), "reason and kills")
        check(snapshot["ooms"] >= 1, f"ooms: {snapshot['ooms']}")
        equal(snapshot["at_us"], snapshot["summary"]["at_us"], "at_us")
        equal(snapshot["summary"]["profile"]["state"], "active", "state at that moment")
        equal(snapshot["summary"]["filter"], {"limit": 10}, "filter")
        check(snapshot["at_us"] < document["end"]["at_us"], "a snapshot after the end")


def dies_of_it():
    """The first process is killed and the runtime takes the group away at once, as often as not before we have looked."""
    seen = 0
    for _ in range(5):
        with World() as w, container_group(new_id()) as g, Signals(w.bus, "ProfileFinished") as finished:
            w.register(g)
            w.daemon.write(ROWS)
            g.limit(LIMIT)
            g.kill()
            eat(g, 2 * LIMIT)
            time.sleep(0.05)  # runtimes need as long to notice
            g.remove()
            document = report(finished.next()[1])
            equal([s["reason"] for s in document["snapshots"]], ["oom-kill"], "snapshots")
            equal(document["end"]["oom_kills"], 1, "oom_kills")
            seen += 1
    equal(seen, 5, "containers")


def hostile_names():
    """What containers and kernel strings may hold does not reach the journal as it is."""
    evil = "evil\n\x1b[2J%s\u202e"
    with World() as w, Group() as g:
        w.register(g, "box\nMemory ran out in container other\x1b[2J")
        w.daemon.write([{"type": "slab", "charged": True, "tag": {"file": evil, "line": 1, "function": evil, "module": "m" * 900},
                         "allocated": [1 << 30, 1]}, *[row("alloc_pipe_info", i, allocated=[4096 * i, 1]) for i in range(1, 20)]])
        g.limit(LIMIT)
        eat(g, 2 * LIMIT)
        line = eventually(lambda: [l for l in w.daemon.log_text().split("\n") if "Memory ran out" in l and "Largest" in l], 10, "the journal is told")
        equal(len(line), 1, "lines")
        check(all(0x20 <= ord(c) < 0x7f for c in line[0]), f"not printable: {line[0]!r}")
        check("box\\x0aMemory ran out in container other\\x1b[2J (1 tasks" in line[0], line[0])
        check("evil\\x0a\\x1b[2J%s" in line[0] and len(line[0]) < 1000, line[0])
        equal(line[0].count(" KiB)"), 3, f"three sites: {line[0]}")


def before_the_profile():
    """What was killed before it began is none of its business."""
    with World() as w, Group() as g, Signals(w.bus, "ProfileFinished") as finished:
        g.limit(LIMIT)
        eat(g, 2 * LIMIT)
        path = w.register(g)
        time.sleep(2.5)  # the look, where the kernel does not tell
        w.client.stop(path)
        document = report(finished.next()[1])
        equal((document["snapshots"], document["end"]["oom_kills"]), ([], 1), "snapshots, kills")


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def storm():
    """Hundreds of kills a second, in eight groups: what it costs us is bounded, and the last snapshot has the last word."""
    with World() as w, contextlib.ExitStack() as stack:
        groups = [stack.enter_context(Group(processes=0)) for _ in range(8)]
        w.daemon.write([{**ROWS[0], "repeat": 1000}])
        names = [new_id() for _ in groups]
        paths = [w.register(g, name) for g, name in zip(groups, names)]
        for g in groups:
            g.limit(STORM_LIMIT)
        slowest, pid = 0, w.daemon.process.pid
        with Storm(groups, 2 * STORM_LIMIT) as s:
            begin, before, end = time.monotonic(), cpu_seconds(pid), time.monotonic() + STORM_SECONDS
            while time.monotonic() < end:
                asked = time.monotonic()
                w.client.get(paths[0], PROFILE, "State")
                slowest = max(slowest, time.monotonic() - asked)
                time.sleep(0.05)
            spent, took = cpu_seconds(pid) - before, time.monotonic() - begin
            killed = s.stop()
        kills = [g.kills() for g in groups]
        equal(kills, killed, "kills by the kernel's own count")
        print(f"# {sum(killed) / took:.0f} kills a second cost {spent / took:.1%} of a CPU; slowest answer {slowest * 1000:.1f} ms", flush=True)
        check(sum(killed) > 20 * took / PATIENCE, f"no storm: {killed} kills in {took:.0f} s")
        check(spent / took < 0.15, f"{sum(killed)} kills in {took:.1f} s cost the daemon {spent:.2f} s of CPU time")
        with Signals(w.bus, "ProfileFinished") as finished:
            w.client.stop(*paths)
            documents = dict((path, report(file)) for path, file in (finished.next() for _ in paths))
        for path, name, n in zip(paths, names, kills):
            snapshots = documents[path]["snapshots"]
            equal(documents[path]["end"]["oom_kills"], n, "oom_kills at the end")
            check(2 <= len(snapshots) <= 2 + took // 10, f"{len(snapshots)} snapshots of {took:.0f} s")
            equal(snapshots[-1]["oom_kills"], n, "kills of the last snapshot")
            equal([s["at_us"] for s in snapshots], sorted(s["at_us"] for s in snapshots), "order")
            equal(len(told(w.daemon, name)), len(snapshots), "lines in the journal")


def tests(tap):
    for name, function in (
            ("residue is followed for residue_keep", by_time),
            ("residue_keep may be nothing", no_time),
            ("residue is followed until another needs the place", by_need),
            ("StopProfile, the mode off and the end of the daemon bring the report up to date", by_word),
            ("a profile that is stopped at once", at_once),
            ("a hundred residues at a time", many_at_once),
            ("a report that is gone stays gone", gone_report),
            ("a full disk leaves the first report as it was", full_disk),
            ("memory runs out and a process is killed", one_kill),
            ("a container that dies of it", dies_of_it),
            ("hostile names", hostile_names),
            ("kills from before the profile", before_the_profile),
            ("a storm of kills", storm)):
        tap.case(name, function)


main(tests)
