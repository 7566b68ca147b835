#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The installed project on a machine with systemd as PID 1 and the real system bus: the unit, the policy, activation by name, and
podman with the hook where its directory puts it. Runs in a guest of the rig, VM or namespaces; skips on any other machine."""

import json
import os
import shutil

import validate
from bus import MANAGER, NAME, PATH, SystemBus
from container import memory_hierarchy, need_root
from proc import eventually, need, run
from tap import Failure, Skip, check, equal, main

UNIT = "memcgprofd.service"
REPORTS = "/var/lib/memcgprof/reports"


def command(*words, seconds=120):
    done = run(list(words), seconds=seconds)
    if done.returncode != 0:
        raise Failure(f"{' '.join(words)}: status {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def unit_property(name):
    return command("systemctl", "show", "--value", "--property", name, UNIT).strip()


def booted():
    equal(command("systemctl", "list-units", "--failed", "--plain", "--no-legend").strip(), "", "failed units")


def started(bus):
    command("systemctl", "start", UNIT)
    equal(unit_property("ActiveState"), "active", "ActiveState")
    check(bus.taken(), f"{NAME} has no owner on the system bus")


def owner_is_the_unit(bus):
    answer = bus.busctl("--json=short", "call", "org.freedesktop.DBus", "/", "org.freedesktop.DBus", "GetConnectionUnixProcessID", "s", NAME)
    equal(json.loads(answer)["data"][0], int(unit_property("MainPID")), "who owns the name")


def answers(bus):
    """Whatever the kernel can do: it says so in a document."""
    document = validate.validated(bus.manager("DescribeSupport", "a{sv}", 0)[0], "memcgprof.support")
    listed = json.loads(command("memcgprof", "support", "--json"))
    equal([i["name"] for i in listed["items"]], [i["name"] for i in document["items"]], "items of the command line's document")


def stranger(bus):
    """Anybody may look at properties, and nobody but root may call; who else may is in rights.py."""
    mode = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "busctl", "--system", "get-property", NAME, PATH, MANAGER, "Mode"]
    command(*mode)
    done = run([*mode[:6], "call", NAME, PATH, MANAGER, "ListProfiles", "a{sv}", "0"])
    check(done.returncode != 0 and "ListProfiles" in done.stderr, f"a stranger's call was not refused: {done.stderr.strip()}")


def activated(bus):
    """A call to the name starts the unit, whether or not it is enabled."""
    command("systemctl", "stop", UNIT)
    check(not bus.taken(), "the name has an owner after the unit was stopped")
    equal(run(["systemctl", "is-enabled", UNIT]).stdout.strip(), "disabled", "the unit's state")
    bus.manager("ListProfiles", "a{sv}", 0)
    equal(unit_property("ActiveState"), "active", "ActiveState after a call")


def need_memory_of_systemd():
    """What systemd starts has a memory cgroup of its own only where the controller is on v2."""
    if (memory_hierarchy() or (None, None))[1] != "v2":
        raise Skip("the memory controller is not on cgroup v2")


def slice_profile(bus):
    """Profiles a service of systemd by its cgroup, from the command line to the final report."""
    need_memory_of_systemd()
    command("systemd-run", "--unit=subject", "--property=MemoryAccounting=yes", "sleep", "600")
    try:
        command("memcgprof", "start", "cgroup:/system.slice/subject.service")
        shown = json.loads(command("memcgprof", "show", "--json", "cgroup:/system.slice/subject.service"))
        equal(shown["profile"]["state"], "active", "state")
    finally:
        command("systemctl", "stop", "subject.service")
    reports_come(1)


def reports_come(n):
    def enough():
        return os.path.isdir(REPORTS) and len([f for f in os.listdir(REPORTS) if f.endswith(".json")]) >= n
    eventually(enough, 30, f"{n} reports in {REPORTS}")


def podman(bus, runtime):
    """As a user does it: an annotation, nothing else. The hook is found in the directory that podman reads."""
    need("podman", runtime)
    need_memory_of_systemd()
    before = len(os.listdir(REPORTS)) if os.path.isdir(REPORTS) else 0
    root = "/var/tmp/busybox-root"
    os.makedirs(f"{root}/bin", exist_ok=True)
    shutil.copy(need("busybox"), f"{root}/bin/sh")
    command("podman", "--runtime", runtime, "run", "--rm", "--network=none", "--annotation", "org.memcgprof.profile=auto",
            "--rootfs", root, "/bin/sh", "-c", "i=0; while [ $i -lt 300 ]; do i=$((i+1)); : >/tmp$i; done; exit 0", seconds=240)
    reports_come(before + 1)
    newest = max((os.path.join(REPORTS, f) for f in os.listdir(REPORTS) if f.endswith(".json")), key=lambda f: os.stat(f).st_mtime_ns)
    with open(newest, encoding="utf-8") as f:
        end = json.load(f)["end"]
    equal((end["exit_code"], end["source"] in ("poststop", "cgroup-removed")), (0, True), f"how it ended, {end}")


def cases(tap):
    need_root()
    if not os.path.exists("/payload/run"):
        raise Skip("only in a guest of the test rig: it starts services")
    bus = SystemBus()
    tap.case("systemd has no failed units", booted)
    tap.case("the unit starts and owns its name", started, bus)
    tap.case("the name's owner is the unit's process", owner_is_the_unit, bus)
    tap.case("the daemon answers with its support document", answers, bus)
    tap.case("a stranger may look and not call", stranger, bus)
    tap.case("a call to the name starts the unit", activated, bus)
    tap.case("a service's profile ends with a report", slice_profile, bus)
    for runtime in "crun", "runc":
        tap.case(f"podman with {runtime} and an annotation leaves a report", podman, bus, runtime)
    tap.case("the unit stops", command, "systemctl", "stop", UNIT)


if __name__ == "__main__":
    main(cases)
