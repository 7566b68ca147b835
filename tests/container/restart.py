#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon is killed, with profiles that count: nothing counted is lost, and the next one finds everything again.

What is counted exactly is pipes: each passes every site of alloc_pipe_info once.
"""

import contextlib
import json
import os
import random
import threading
import time

import dbus

from bus import PROFILE, Bus
from client import Client
from daemon import Daemon
from figures import SLACK, settle
from group import Group
from proc import built, eventually, run
from summary import Summary
from tap import Failure, Skip, check, equal, main
from worker import Busy, Worker

PIPE_SITE = "alloc_pipe_info"
KILLS = int(os.environ.get("MEMCGPROF_KILLS") or 25)


class Machine:
    """A bus, a daemon on it that may be another one after a while, and a client."""

    def __init__(self, stack):
        self.bus = stack.enter_context(Bus())
        self.daemon = stack.enter_context(Daemon(self.bus))
        if not self.daemon.pins:
            raise Skip("no BPF file system can be mounted")
        self.client = Client(self.bus)

    def kill(self):
        self.daemon.kill()
        self.daemon.start()

    def document(self, path):
        return Summary(str(self.client.profile(path, "GetSummary")))

    def state(self, path):
        return {name: str(self.client.get(path, PROFILE, name)) for name in ("Kind", "Id", "Cgroup", "CgroupId", "State", "Mode")}


def pipes(summary, lens="allocated_calls"):
    counts = {row[lens] for row in summary.rows() if row["function"] == PIPE_SITE and row["type"] == "slab" and row["charged"]}
    check(len(counts) <= 1, f"sites of one pipe differ in {lens}: {counts}")
    return counts.pop() if counts else 0


def explains(machine, path, group):
    """What is not attributed is within the slack, once a sweep has found what no program saw."""
    def fine():
        settle(os.fsdecode(group.directory))
        account = machine.document(path).document["reconcile"]
        return abs(account["unattributed"]) <= account["slack_bytes"] + abs(account["growth_bytes"]) // 1000 + SLACK
    eventually(fine, 10, f"what is counted in {path} does not explain its growth", step=2.1)


def nothing_is_lost(machine):
    with Group(processes=0) as group, Worker(group) as worker:
        path = machine.client.start(group)
        worker.hold("pipes 300")
        before = machine.state(path)
        started = machine.document(path).document["profile"]
        machine.daemon.kill()
        worker.hold("pipes 400")
        machine.daemon.start()
        equal(machine.state(path), before, "the profile after the kill")
        summary = machine.document(path)
        equal(pipes(summary), 700, "pipes that were made")
        equal(summary.document["profile"], started, "what documents say of the profile")
        explains(machine, path, group)
        worker.release()
        eventually(lambda: pipes(machine.document(path), "calls") == 0, 10, "pipes that were dropped still live", step=0.5)
        explains(machine, path, group)
        lost = set(machine.document(path).lost())
        check(machine.document(path).document["accurate"] or "recursion_misses" in lost, f"not accurate, and lost {lost}")
        check("lease_expired" not in lost, "the lease ran out")
        machine.client.stop(path)


def nested_ones(machine):
    """One in another, the outer one begun later and reset: baselines hold over kills."""
    with Group(processes=0) as outer, Group(parent=os.fsdecode(outer.directory), processes=0) as inner, Worker(inner) as worker:
        below = machine.client.start(inner)
        worker.hold("pipes 100")
        above = machine.client.start(outer)
        worker.hold("pipes 20")
        machine.kill()
        equal([pipes(machine.document(p)) for p in (below, above)], [120, 20], "pipes, inner and outer")
        machine.client.profile(below, "Reset")
        worker.hold("pipes 3")
        machine.kill()
        equal([pipes(machine.document(p)) for p in (below, above)], [3, 23], "pipes after a reset")
        machine.client.stop(below)
        machine.kill()
        worker.hold("pipes 4")
        equal(pipes(machine.document(above)), 27, "pipes of the outer one, alone")
        explains(machine, above, outer)
        machine.client.stop(above)


def removed_meanwhile(machine):
    """The cgroup goes while there is no daemon: the next one writes the report."""
    with contextlib.ExitStack() as stack:
        group = stack.enter_context(Group(processes=0))
        worker = stack.enter_context(Worker(group))
        path = machine.client.start(group)
        worker.hold("pipes 50")
        machine.daemon.kill()
        stack.close()
        check(not os.path.exists(group.directory), "the cgroup is still there")
        machine.daemon.start()
        equal(machine.state(path)["State"], "ended", "its state")
        found = eventually(lambda: [r for r in machine.daemon.reports() if group.directory.decode().rsplit("/", 1)[1] in r], 10, "there is no report")
        with open(found[0], encoding="utf-8") as f:
            report = json.load(f)
        equal(report["end"]["source"], "daemon-start", "how it ended")
        equal(pipes(Summary(json.dumps(report["summary"])) if "summary" in report else Summary(json.dumps(report))), 50, "pipes in the report")
        machine.kill()
        equal(machine.state(path)["State"], "ended", "its state after another kill")
        machine.client.stop(path)


def names_and_requesters(machine):
    """A container with its annotations, whose cgroup was asked for as well: stop without the other's consent ends nothing."""
    with Group(processes=1) as group:
        pid = group.processes[0].pid
        annotations = {"io.kubernetes.pod.namespace": "shop", "io.kubernetes.pod.name": "till\n\u00fc", "org.memcgprof.profile": "auto,numa,stacks=all"}
        path, _ = machine.client.manager("RegisterContainer", "c1", options={
            "pid": dbus.UInt32(pid), "annotations": dbus.Dictionary(annotations, signature="ss")})
        other = machine.client.start(group)
        before = machine.document(path).document["profile"]
        machine.kill()
        equal(machine.document(path).document["profile"], before, "what documents say")
        equal(machine.state(other)["Kind"], "cgroup", "the other name")
        machine.client.manager("ContainerStopped", "c1")
        equal(machine.state(path)["State"], "active", "the state, with a requester left")
        machine.client.stop(path)
        machine.kill()
        equal(machine.client.paths(), [], "profiles after the end")


def modes_hold(machine):
    with Group(processes=1) as first, Group(processes=1) as second:
        path = machine.client.start(first, "single")
        machine.kill()
        equal(machine.state(path)["Mode"], "single", "the mode")
        try:
            machine.client.start(second)
        except dbus.DBusException as e:
            check("Busy" in e.get_dbus_name(), f"refused otherwise: {e}")
        else:
            raise Failure("a second one was admitted beside a single one")
        machine.client.stop(path)
        machine.client.stop(machine.client.start(second))


def another_version(machine):
    """What nobody can read: new baselines, and a word about it."""
    with Group(processes=0) as group, Worker(group) as worker:
        path = machine.client.start(group)
        worker.hold("pipes 30")
        machine.daemon.kill()
        old = [d for d in os.listdir(machine.daemon.pins) if d != "making"]
        os.rename(f"{machine.daemon.pins}/{old[0]}", f"{machine.daemon.pins}/1-of-an-older-one")
        machine.daemon.start()
        check("another version" in machine.daemon.log_text(), "the journal does not say so")
        worker.hold("pipes 5")
        equal(pipes(machine.document(path)), 5, "pipes since the new baseline")
        check(not machine.document(path).document["profile"]["from_start"], "it did not count from the start")
        machine.daemon.kill()
        with open(f"{machine.daemon.run_dir}/state", "w", encoding="utf-8") as f:
            f.write('{"format": "memcgprof.saved", "version": 99}\n')
        machine.daemon.start()
        check("version 99" in machine.daemon.log_text(), "the journal does not name the version")
        equal(machine.client.paths(), [], "profiles")
        equal([p for p in machine.daemon.pinned() if "/links/" in p], [], "links that are left")


def off_without_a_daemon(machine):
    """The kill switch: nothing is attached any more, and the next daemon begins nothing."""
    with Group(processes=1) as group:
        machine.client.start(group)
        off = [built("ctl/memcgprof"), f"--bus={machine.bus.address}", "off", f"--state-dir={machine.daemon.state}", f"--pins={machine.daemon.pins}"]
        machine.daemon.kill()
        check(any("/links/" in p for p in machine.daemon.pinned()), "nothing counts without the daemon")
        done = run(off)
        equal(done.returncode, 0, done.stderr)
        check("is detached" in done.stderr, f"it does not say so: {done.stderr!r}")
        check(not os.path.exists(machine.daemon.pins), f"left in the BPF file system: {machine.daemon.pinned()}")
        machine.daemon.start()
        equal((machine.client.paths(), machine.client.effective()), ([], "off"), "profiles and mode")
        machine.client.manager("SetMode", "auto")
        done = run([*off[:2], "off", f"--state-dir={machine.daemon.directory}/else", f"--pins={machine.daemon.pins}"])
        equal(done.returncode, 0, done.stderr)  # the daemon itself did it
        machine.client.manager("SetMode", "auto")


def one_daemon(machine):
    """Another one on the same pins goes away again, and takes nothing with it."""
    with Bus() as other:
        done = run([built("daemon/memcgprofd"), f"--bus={other.address}", f"--state-dir={machine.daemon.directory}/second",
                    f"--run-dir={machine.daemon.run_dir}", f"--pins={machine.daemon.pins}"])
        equal(done.returncode, 1, done.stderr)
        check("Another process" in done.stderr, f"it does not say why: {done.stderr!r}")


def killed_at_any_moment(machine):
    """Under load, while profiles come and go: the identity holds at the end."""
    seed = int(os.environ.get("SEED") or time.time())
    dice = random.Random(seed)
    with contextlib.ExitStack() as stack:
        group = stack.enter_context(Group(processes=0))
        worker = stack.enter_context(Worker(group))
        others = [stack.enter_context(Group(processes=1)) for _ in range(4)]
        inner = stack.enter_context(Group(parent=os.fsdecode(group.directory), processes=1)) if group.version == "v1" else None
        path = machine.client.start(group)
        targets = [*others, *([inner] if inner else [])]
        busy = stack.enter_context(contextlib.closing(Clock(worker)))
        for _ in range(KILLS):
            deadline = time.monotonic() + dice.random() * 0.25
            with contextlib.suppress(Exception):  # the daemon dies in the midst of it
                with Murder(machine.daemon, deadline):
                    while True:
                        some = machine.client.start(dice.choice(targets))
                        if dice.random() < 0.3:
                            machine.client.profile(some, "Reset")
                        if dice.random() < 0.6:
                            machine.client.stop(some)
                        machine.document(path)
            machine.daemon.reap()
            machine.daemon.start()
            check(machine.state(path)["State"] == "active", f"seed {seed}: the profile is gone")
        busy.close()
        made, summary = worker.pipes, machine.document(path)
        equal(pipes(summary), made, f"seed {seed}: pipes that were made")
        explains(machine, path, group)
        check(summary.document["lost"].get("lease_expired", 0) == 0, "the lease ran out")
        for profile in machine.client.paths():
            machine.client.stop(profile)
        return f"{KILLS} kills, {made} pipes, none lost"


class Clock(Busy):
    """Keeps a worker busy until it is closed."""

    def __init__(self, worker):
        super().__init__(worker)
        self.__enter__()
        self.open = True

    def close(self):
        if self.open:
            self.open = False
            self.__exit__(None, None, None)


class Murder:
    """Kills the daemon at a moment, whatever is going on."""

    def __init__(self, daemon, deadline):
        self.thread = threading.Thread(target=self._work, args=(daemon, deadline))

    def _work(self, daemon, deadline):
        time.sleep(max(0, deadline - time.monotonic()))
        daemon.process.kill()

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.thread.join()


def tests(tap):
    with contextlib.ExitStack() as stack:
        machine = Machine(stack)
        for what, case in (
                ("nothing counted is lost by a kill", nothing_is_lost),
                ("nested profiles keep their baselines", nested_ones),
                ("a cgroup that goes meanwhile is reported", removed_meanwhile),
                ("names, annotations and requesters are found again", names_and_requesters),
                ("modes hold", modes_hold),
                ("what another version left is taken away, and said", another_version),
                ("memcgprof off works with a dead daemon", off_without_a_daemon),
                ("there is one daemon at a time", one_daemon),
                (f"{KILLS} kills at random moments under load", killed_at_any_moment)):
            tap.case(what, lambda case=case: case(machine))


main(tests)
