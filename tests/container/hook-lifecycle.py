#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The hook under runc: what it does when all is well, and that a container starts whatever is not."""

import json
import os
import statistics
import time

import validate
from bus import Bus, BusError, Signals
from container import Container, hook_entry, memory_hierarchy, need_containers
from daemon import Daemon
from proc import eventually, run
from summary import Summary, profiled
from tap import check, equal, main

ON = {"org.memcgprof.profile": "auto"}
REQUIRED = {"org.memcgprof.profile": "auto,required"}
LATE_MAX = 1.2  # seconds that a container may start later than without a hook
STARTS = 60
ROUNDS_MAX = 3
ADDED_MAX = 0.010  # seconds by which registering may outlast a hook that is not asked to do anything

# Writes the hook's own time in microseconds, and leaves all else as it is.
TIMER = """#!/bin/bash
begin=${EPOCHREALTIME/./}
%s "$@"
status=$?
echo $((${EPOCHREALTIME/./} - begin)) >>%s
exit $status
"""


def hooked(address, *stages, path=None):
    entry = hook_entry(address, path=path)
    return {stage: [entry] for stage in stages or ("createRuntime", "poststop")}


def profiles(bus):
    return [row[2] for row in bus.manager("ListProfiles", "a{sv}", 0)[0]]


def whole_life(bus, daemon, stage):
    annotations = {**ON, "io.kubernetes.pod.namespace": "default", "io.kubernetes.pod.name": "web\x1b[31m",
                   "io.kubernetes.container.name": "nginx"}
    with Signals(bus, "ProfileFinished") as finished:
        with Container(hooks=hooked(bus.address, stage, "poststop"), annotations=annotations) as box:
            box.start()
            path = profiled(bus, box)
            pod = Summary.of(bus, box).document["profile"]["pod"]
            equal((pod["namespace"], pod["name"], pod["container"]), ("default", "web\\x1b[31m", "nginx"), "pod")
            equal(bus.property(path, "org.memcgprof1.Profile", "State"), "active", "State")
            box.tell("hold files 1000", "ready")
            equal(box.end(5), 5, "exit status of the container")
            file = finished.of(path)
        check(file in daemon.reports(), f"{file} is not among {daemon.reports()}")
        equal(os.stat(file).st_mode & 0o777, 0o600, "mode of the report")
        with open(file, encoding="utf-8") as f:
            report = validate.validated(f.read(), "memcgprof.report")
        equal(report["end"]["source"], "poststop", "end.source")
        equal((report["profile"]["id"], report["profile"]["from_start"]), (box.id, True), "profile of the report")
        check(report["summary"]["totals"]["allocated_bytes"] > 1000 * 500, "the report does not know the files")
        check(report["summary"]["reconcile"]["frozen"], "the counters of a cgroup that is gone are frozen")


def no_annotation(bus):
    with Container(hooks=hooked(bus.address)) as box:
        box.start()
        check(box.id not in profiles(bus), "profiled although no annotation asks for it")
        equal(box.end(), 0, "exit status")


def bad_annotation(bus):
    with Container(hooks=hooked(bus.address), annotations={"org.memcgprof.profile": "bananas"}) as box:
        box.start()
        check(box.id not in profiles(bus), "profiled although the annotation is not a spec")
        equal(box.end(), 0, "exit status")


def refused(address, annotation, *words):
    """A container whose annotation says required, and whose wish cannot be served, does not start."""
    with Container(("/bin/sh", "-c", "echo ran"), hooks=hooked(address), annotations={"org.memcgprof.profile": annotation}) as box:
        status, output, errors = box.run()
        check(status != 0 and "ran" not in output, "started although its profile is required")
        for word in words:
            check(word in errors, f"the refusal does not say {word!r}: {errors}")
        gone_without_trace(box)


def gone_without_trace(box):
    mount, _ = memory_hierarchy()
    left = run(["find", mount, "-name", f"*{box.id}*"]).stdout
    check(not left, f"cgroups are left: {left}")


def sandbox(bus):
    with Container(hooks=hooked(bus.address), annotations={**ON, "io.kubernetes.cri.container-type": "sandbox"}) as box:
        box.start()
        check(box.id not in profiles(bus), "a pod's sandbox is profiled")
        equal(box.end(), 0, "exit status")


def busy(bus):
    bus.manager("SetMode", "sa{sv}", "single", 0)
    with Container(hooks=hooked(bus.address), annotations=ON) as first, Container(hooks=hooked(bus.address), annotations=ON) as second:
        first.start()
        profiled(bus, first)
        second.start()
        check(second.id not in profiles(bus), "a second group is profiled in single mode")
        try:
            bus.manager("StartProfile", "sa{sv}", f"container:{second.id}", 0)
        except BusError as e:
            check(first.id[:12] in str(e), f"Busy does not name the holder: {e}")
        else:
            check(False, "a second group was admitted")
        equal(second.end(), 0, "exit status of the second")
        profiled(bus, first)
        equal(first.end(), 0, "exit status of the first")
    bus.manager("SetMode", "sa{sv}", "auto", 0)


def fails_to_start(bus, daemon):
    """The hook has registered it, then its command is not found."""
    known = set(daemon.reports())
    with Container(("/bin/nothing",), hooks=hooked(bus.address), annotations=ON) as box:
        status, _, errors = box.run()
        check(status != 0 and "nothing" in errors, f"status {status}: {errors}")
        gone_without_trace(box)
    new = eventually(lambda: set(daemon.reports()) - known, 30, "a report of the container that failed to start", 0.1)
    with open(new.pop(), encoding="utf-8") as f:
        report = validate.validated(f.read(), "memcgprof.report")
    check(report["end"]["source"] in ("poststop", "cgroup-removed"), f"end is {report['end']}")


def ends_at_once(bus):
    for _ in range(5):
        with Container(("/bin/busybox", "true"), hooks=hooked(bus.address), annotations=ON) as box:
            status, _, errors = box.run()
            equal(status, 0, f"exit status ({errors})")


def usual_start():
    times = []
    for _ in range(7):
        with Container() as box:
            times.append(box.start())
            box.end()
    return statistics.median(times)


def still_starts(tap, usual, address, what, extra=None):
    """runc run starts the container although `what`, and deleting it works as well."""
    times = []
    for _ in range(3):
        with Container(hooks=hooked(address), annotations={**ON, **(extra or {})}) as box:
            times.append(box.start())
            equal(box.end(), 0, "exit status")
    tap.diag(f"{what}: start takes {max(times):.3f} s at most, {usual:.3f} s without hook: {max(times) - usual:+.3f} s")
    check(max(times) - usual <= LATE_MAX, f"more than {LATE_MAX} s late")


def frozen(tap, usual, victim, address, what):
    victim.freeze()
    try:
        still_starts(tap, usual, address, what)
    finally:
        victim.thaw()


def timed_starts(bus, daemon, timer, times):
    """The hook's own times in seconds: of the first start after the daemon's, and of STARTS more, sorted; and of as many hooks in
    between that find no annotation, which is what starting a process costs on this machine now."""
    daemon.stop()
    daemon.start()
    open(times, "w", encoding="utf-8").close()
    for annotations in [ON, {}] * (STARTS + 1):
        with Container(("/bin/busybox", "true"), hooks=hooked(bus.address, "createRuntime", path=timer), annotations=annotations) as box:
            equal(box.run()[0], 0, "exit status")
        eventually(lambda: not [r for r in bus.manager("ListProfiles", "a{sv}", 0)[0] if r[3] == "active"], 10, "the profile ended")
    with open(times, encoding="utf-8") as f:
        seconds = [int(line) / 1e6 for line in f]
    first, *asked = seconds[0::2]
    equal(len(asked), STARTS, "hooks that ran")
    return first, sorted(asked), sorted(seconds[1::2])


def own_time(tap, bus, daemon, scratch):
    """Other load on the machine only adds to the time, so the best of a few rounds counts."""
    timer, times = f"{scratch}/timer", f"{scratch}/times"
    with open(timer, "w", encoding="utf-8") as f:
        f.write(TIMER % (hook_entry(bus.address)["path"], times))
    os.chmod(timer, 0o755)
    for _ in range(ROUNDS_MAX):
        first, asked, idle = timed_starts(bus, daemon, timer, times)
        median, p99, base = statistics.median(asked), asked[int(len(asked) * 0.99) - 1], statistics.median(idle)
        tap.diag(f"hook's own time over {len(asked)} starts: p50 {1000 * median:.2f} ms, p99 {1000 * p99:.2f} ms, "
                 f"largest {1000 * asked[-1]:.2f} ms; without an annotation p50 {1000 * base:.2f} ms; "
                 f"first start after the daemon's {1000 * first:.2f} ms")
        if median - base <= ADDED_MAX:
            return
    check(False, f"registering adds more than {1000 * ADDED_MAX:.0f} ms in each of {ROUNDS_MAX} rounds")


def tests(tap):
    need_containers()
    usual = usual_start()
    with Bus() as bus:
        tap.case("daemon absent: the container starts", still_starts, tap, usual, bus.address, "daemon absent")
        tap.case("no bus at all: the container starts", still_starts, tap, usual, "unix:path=/nonexistent/bus", "no bus")
        tap.case("daemon absent: a required profile refuses", refused, bus.address, "auto,required", "memcgprof")
        tap.case("a required profile that is no spec refuses, naming the word", refused, bus.address, "bananas,required", "bananas")
        with Daemon(bus) as daemon:
            tap.case("createRuntime to final report", whole_life, bus, daemon, "createRuntime")
            tap.case("prestart to final report", whole_life, bus, daemon, "prestart")
            tap.case("no annotation: nothing happens", no_annotation, bus)
            tap.case("a bad annotation: the container starts, unprofiled", bad_annotation, bus)
            tap.case("a pod's sandbox is left alone", sandbox, bus)
            tap.case("a second container starts unprofiled; Busy names the holder", busy, bus)
            tap.case("a container that fails to start leaves a report and nothing else", fails_to_start, bus, daemon)
            tap.case("containers that end at once", ends_at_once, bus)
            tap.case("daemon stopped by SIGSTOP: the container starts", frozen, tap, usual, daemon, bus.address, "daemon stopped")
            tap.case("bus stopped by SIGSTOP: the container starts", frozen, tap, usual, bus, bus.address, "bus stopped")
            tap.case("after all that the daemon serves", whole_life, bus, daemon, "createRuntime")
            tap.case("the hook's own time", own_time, tap, bus, daemon, daemon.directory)
            daemon.kill()
            tap.case("daemon killed: the container starts", still_starts, tap, usual, bus.address, "daemon killed")


main(tests)
