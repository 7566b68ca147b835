#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""That a run of the matrix can fail: what a kernel complains of is seen, and so is a test that gave no result or was never run."""

import json
import tempfile

import vm
from tap import Failure, check, equal, main

COMPLAINTS = (
    "[   12.345678] WARNING: CPU: 1 PID: 42 at mm/slub.c:4000 kfree+0x10/0x20",
    "[   12.345678] BUG: kernel NULL pointer dereference, address: 0000000000000008",
    "[   12.345678] Oops: Oops: 0002 [#1] SMP NOPTI",
    "[   60.000000] rcu: INFO: rcu_preempt self-detected stall on CPU",
    "[   60.000000] watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [runc:77]",
    "[  120.000000] INFO: task podman:99 blocked for more than 120 seconds.",
    "[    1.000000] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)",
)
HARMLESS = "[   19.424399] hrtimer: interrupt took 41142389 ns\n[    1.0] DEBUG_INFO is on\n"


class Results:
    """Stands for the stream that a run prints."""
    def __init__(self):
        self.failed, self.passed, self.skipped = [], [], []

    def result(self, ok, name):
        (self.passed if ok else self.failed).append(name)

    def skip(self, name, reason):
        self.skipped.append((name, reason))

    def diag(self, text):
        pass


def kernel(directory):
    def says(text):
        with open(f"{directory}/dmesg", "w", encoding="utf-8") as f:
            f.write(HARMLESS + text + "\n")
        try:
            vm.kernel_is_content(directory)
        except Failure:
            return False
        return True
    check(says(""), "harmless lines are taken for a complaint")
    for line in COMPLAINTS:
        check(not says(line), f"not seen: {line}")


def tests_without_results(directory):
    for name, text in (("good", "1..1\nok 1 - a\n"), ("bad", "1..1\nnot ok 1 - a\n"), ("mute", ""), ("late", "ok 1 - a\n"),
                       ("crashed", "ok 1 - a\n"), ("unable", "1..0 # SKIP no such thing\n")):
        with open(f"{directory}/{name}.tap", "w", encoding="utf-8") as f:
            f.write(text)
    statuses = {"good": 0, "bad": 1, "mute": 0, "late": None, "crashed": -11, "unable": 0}
    with open(f"{directory}/results.json", "w", encoding="utf-8") as f:
        json.dump([{"name": n, "status": s, "seconds": 1} for n, s in statuses.items()], f)
    got = Results()
    vm.results(got, directory, [{"name": n} for n in (*statuses, "forgotten")])
    equal(sorted(n.split(":")[0] for n in got.failed), ["bad", "crashed", "forgotten", "late", "mute"], "tests that failed")
    equal(sorted(got.passed), ["crashed: a", "good: a", "late: a"], "cases that passed")
    equal(got.skipped, [("unable", "no such thing")], "what was skipped")


def cases(tap):
    with tempfile.TemporaryDirectory(prefix="memcgprof-judge-") as directory:
        tap.case("a kernel's complaint fails a run", kernel, directory)
        tap.case("a test that gives no result fails a run", tests_without_results, directory)


if __name__ == "__main__":
    main(cases)
