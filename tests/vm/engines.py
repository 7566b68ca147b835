#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Containers that come and go by each engine, with the hook as it is installed: all of them have a report, and nothing is left over, in
the daemon and in the kernel. Runs in a guest of the rig with the memory controller on cgroup v2; skips elsewhere.

MEMCGPROF_STARTS says how many by each engine (5)."""

import json
import os
import shutil
import time

from bus import SystemBus
from client import Client
from container import memory_hierarchy, need_root
from proc import eventually, need, run
from rest import at_rest, let_go
from system import REPORTS, UNIT, command, unit_property
from tap import Skip, check, equal, main

STARTS = int(os.environ.get("MEMCGPROF_STARTS") or 5)
ROOT = "/var/tmp/engines-root"
BUNDLE = "/var/tmp/engines-bundle"
ANNOTATION = "org.memcgprof.profile"
HOOK = "/usr/libexec/memcgprof-hook"


def rootfs():
    os.makedirs(f"{ROOT}/bin", exist_ok=True)
    shutil.copy(need("busybox"), f"{ROOT}/bin/sh")


def bundle(runtime, annotated):
    """A raw runtime reads no directory of hooks: they stand in the bundle, and without the annotation they do nothing."""
    shutil.rmtree(BUNDLE, ignore_errors=True)
    os.makedirs(BUNDLE)
    command(runtime, "spec", *(["--bundle", BUNDLE] if runtime == "runc" else [f"--bundle={BUNDLE}"]))
    with open(f"{BUNDLE}/config.json", encoding="utf-8") as f:
        config = json.load(f)
    config["root"] = {"path": ROOT, "readonly": True}
    config["process"].update(terminal=False, args=["/bin/sh", "-c", "exit 0"])
    config["hooks"] = {stage: [{"path": HOOK, "args": ["memcgprof-hook"]}] for stage in ("createRuntime", "poststop")}
    config["annotations"] = {ANNOTATION: "auto"} if annotated else {}
    with open(f"{BUNDLE}/config.json", "w", encoding="utf-8") as f:
        json.dump(config, f)


def raw(runtime):
    def start(n, annotated):
        if n == 0 or n == STARTS:
            bundle(runtime, annotated)
        command(runtime, "run", "--bundle", BUNDLE, f"engines-{runtime}-{n}")
    return start


def podman(runtime):
    def start(n, annotated):
        command("podman", "--runtime", runtime, "run", "--rm", "--network=none", *(["--annotation", f"{ANNOTATION}=auto"] if annotated else []),
                "--rootfs", ROOT, "/bin/sh", "-c", "exit 0", seconds=240)
    return start


def dying():
    with open("/sys/fs/cgroup/cgroup.stat", encoding="ascii") as f:
        return int(dict(line.split() for line in f)["nr_dying_descendants"])


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def reports():
    return len([f for f in os.listdir(REPORTS) if f.endswith(".json")]) if os.path.isdir(REPORTS) else 0


def quantiles(seconds):
    s = sorted(seconds)
    return "p50 {:.0f}, p99 {:.0f}, max {:.0f}".format(*(1000 * v for v in (s[len(s) // 2], s[min(len(s) - 1, int(len(s) * 0.99))], s[-1])))


def timed(start, first, annotated):
    times = []
    for n in range(first, first + STARTS):
        begin = time.monotonic()
        start(n, annotated)
        times.append(time.monotonic() - begin)
    return times


def engine(tap, bus, start):
    pid = int(unit_property("MainPID"))
    timed_without = timed(start, 0, False)
    let_go(bus)
    before, reports_before, dying_before, rss = at_rest(pid), reports(), dying(), resident(pid)
    times = timed(start, STARTS, True)
    eventually(lambda: reports() >= reports_before + STARTS, 60, "a report of each")
    equal(reports(), reports_before + STARTS, "reports")
    let_go(bus)
    equal(at_rest(pid), before, "descriptors")
    equal(int(unit_property("MainPID")), pid, "the daemon's pid")
    with Client(bus) as client:
        equal(client.paths(), [], "profiles")
    eventually(lambda: dying() <= dying_before + 2, 60, f"cgroups that are dying, {dying_before} before", step=1)
    tap.diag(f"{STARTS} starts, ms: without the annotation {quantiles(timed_without)}; profiled {quantiles(times)}; "
             f"daemon {rss} KiB before, {resident(pid)} after")


def cases(tap):
    need_root()
    if not os.path.exists("/payload/run"):
        raise Skip("only in a guest of the test rig: it starts services")
    if (memory_hierarchy() or (None, None))[1] != "v2":
        raise Skip("the memory controller is not on cgroup v2")
    rootfs()
    bus = SystemBus()
    command("systemctl", "start", UNIT)
    engines = {f"raw {r}": (raw(r), (r,)) for r in ("runc", "crun")} | {f"podman with {r}": (podman(r), ("podman", r)) for r in ("crun", "runc")}
    for name, (start, programs) in engines.items():
        def case(start=start, programs=programs):
            need(*programs)
            engine(tap, bus, start)
        tap.case(f"{name}: {STARTS} containers, nothing left over", case)
    command("systemctl", "stop", UNIT)
    check(not os.path.exists("/sys/fs/bpf/memcgprof"), "left in the BPF file system")


main(cases)
