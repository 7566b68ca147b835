#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""One run of the matrix as a test: vm.py NAME boots, and prints what the tests in the guest said as one TAP stream.

Cases are named "TEST: CASE"; two more say whether the kernel complained and whether `memcgprof support` is as recorded in
tests/fixtures/support. Leaves all it got in build-vm/vm/NAME.
MEMCGPROF_VM_BUILD=1: what is missing in the cache may be made.
MEMCGPROF_VM_EVERY=1: every test of the container tier, not the run's set. MEMCGPROF_VM_RECORD=1: write the support document.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile

import matrix
import payload
from support import compare
from tally import PLAN, RESULT
from tap import Failure, Skip, Tap, check, main

HERE = os.path.dirname(os.path.realpath(__file__))
UNAVAILABLE = 77  # of the rig's scripts
COMPLAINTS = re.compile(r"\bBUG\b|Oops|WARNING:|general protection|soft lockup|hard LOCKUP|blocked for more than|rcu.*(stall|self-detected)"
                        r"|Kernel panic|Bad page|KASAN|UBSAN|unregister_netdevice: waiting")
# What a kernel may say here: (pattern, why).
HARMLESS = ()


def boot(tap, name, run, build, which):
    """Boots; returns (directory of what came back, tests that were to run)."""
    out = f"{build}/vm/{name}"
    tests = matrix.chosen(which or run["set"], payload.tests_of(build))
    environment = {**os.environ, "VM_APPEND": run["append"], "VM_NODES": run["nodes"], "VM_SECONDS": "3000" if which else "900"}
    with tempfile.TemporaryDirectory(prefix="memcgprof-vm-") as directory:
        payload.make(build, directory, tests)
        done = subprocess.run([f"{HERE}/boot", run["kernel"], directory, out], env=environment, stdin=subprocess.DEVNULL, check=False)
    tap.case("the machine ran to its end", check, done.returncode == 0,
             {124: "too late", 125: "nothing came back: " + tail(f"{out}/console")}.get(done.returncode, f"status {done.returncode}: " + tail(f"{out}/log")))
    return out, tests


def read(path):
    try:
        with open(path, encoding="utf-8", errors="backslashreplace") as f:
            return f.read()
    except FileNotFoundError:
        return ""


def tail(path):
    return read(path)[-3000:]


def pass_on(tap, test, text, status):
    """A test's own results under its name. What gave none, or ended badly without a failed result, failed."""
    cases, failed = 0, 0
    for line in text.splitlines():
        plan, match = PLAN.match(line), RESULT.match(line)
        if plan and plan.group(1) == "0" and plan.group(2) is not None:
            tap.skip(test, plan.group(2))
            cases += 1
        elif match:
            ok, _, title, directive, reason = match.groups()
            name = f"{test}: {title}"
            cases += 1
            if directive and ok == "ok":
                tap.skip(name, reason or "no reason given")
            else:
                failed += ok != "ok"
                tap.result(ok == "ok", name)
        elif not plan:
            tap.diag(line.removeprefix("# "))
    if status is None:
        tap.result(False, f"{test}: ended in time")
    elif cases == 0 or (status != 0 and not failed):
        tap.result(False, f"{test}: gave its results (status {status}, {cases} results)")


def results(tap, out, tests):
    got = {r["name"]: r for r in json.loads(read(f"{out}/results.json") or "[]")}
    for test in tests:
        name = test["name"]
        if name not in got:
            tap.result(False, f"{name}: was run")
            continue
        pass_on(tap, name, read(f"{out}/{name}.tap"), got[name]["status"])
        tap.diag(f"{name}: {got[name]['seconds']} s")


def kernel_is_content(out):
    said = read(f"{out}/console") + read(f"{out}/dmesg")
    bad = {line for line in said.splitlines() if COMPLAINTS.search(line) and not any(re.search(p, line) for p, _ in HARMLESS)}
    check(not bad, "the kernel complained: " + "\n".join(sorted(bad)[:20]))


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=sorted(matrix.runs()))
    return parser.parse_args()


def have(*what):
    """Skips unless a script of the rig has its thing in the cache. With MEMCGPROF_VM_BUILD it may make it: then only what is not to be
    had is skipped, and what cannot be built is a failure."""
    may = bool(os.environ.get("MEMCGPROF_VM_BUILD"))
    done = subprocess.run([f"{HERE}/{what[0]}", *what[1:], *([] if may else ["--where"])], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, errors="backslashreplace", check=False)
    if done.returncode == UNAVAILABLE:
        raise Skip(done.stderr.strip().split("\n")[-1].removeprefix("vm: "))
    if done.returncode and may:
        raise Failure(f"{' '.join(what)}: {done.stderr[-3000:]}")
    if done.returncode:
        raise Skip(f"{' '.join(what)} is not in the cache; ./dev vm makes it")


def build_directory():
    """The tree whose installation goes into a guest: one with prefix /usr, for the bus and systemd look nowhere else."""
    build = os.path.join(payload.SOURCE, "build-vm")
    if not os.path.exists(f"{build}/build.ninja"):
        raise Skip("build-vm is not there; ./dev vm makes it")
    os.makedirs(f"{build}/vm", exist_ok=True)
    return build


def all_of(tap):
    given = arguments()
    if os.geteuid() != 0:
        raise Skip("needs root, for the files of the image and the payload")
    run = matrix.runs()[given.name]
    build = build_directory()
    have("qemu")
    have("image", run["kernel"])
    out, tests = boot(tap, given.name, run, build, "all" if os.environ.get("MEMCGPROF_VM_EVERY") else None)
    results(tap, out, tests)
    tap.case("the kernel did not complain", kernel_is_content, out)
    tap.case("the support document is as recorded", compare, f"{out}/support.json", given.name, bool(os.environ.get("MEMCGPROF_VM_RECORD")))
    tap.diag(f"{given.name}: up after {read(f'{out}/up').strip()} s, {read(f'{out}/seconds').strip()} s in all")


if __name__ == "__main__":
    main(all_of)
