#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tests that can fail: with the engine broken in a known way, a named test has to notice."""

import re

from container import need_root
from proc import built, run
from tap import Skip, check, main

# The mutation, the program and the tests of which one has to notice. What is said instead of a failure counts too: checking
# objects is switched off, with the reason, when the canary finds the layout to be another one.
MUTATIONS = {
    "no-cache-free": ("test-traps", ("test_free_hooks",)),
    "no-second-programs": ("test-losses", ("test_not_lost_to_recursion",)),
    "swap-groups": ("test-groups", ("test_task_moves", "test_passed_descriptors")),
    "shift-stride": ("test-traps", ("test_object_check",)),
}
RESULT = re.compile(r"^(ok|not ok) [0-9]+ - (\S+)(?: # SKIP (.*))?$", re.MULTILINE)


def results(tap, program, tests, *options):
    """{test: "ok", "not ok" or the reason of a skip} of one run."""
    done = run([built(f"tests/container/{program}"), *options, *tests], 120)
    skipped = re.search(r"^1\.\.0 # SKIP (.*)$", done.stdout, re.MULTILINE)
    if skipped:
        raise Skip(skipped.group(1))
    tap.diag("\n".join(line.lstrip("# ") for line in done.stdout.splitlines() + done.stderr.splitlines()))
    found = {name: reason or word for word, name, reason in RESULT.findall(done.stdout)}
    check(set(found) == set(tests), f"{program} gave results for {sorted(found)} of {sorted(tests)}")
    return found


def noticed(tap, mutation, program, tests):
    sound = results(tap, program, tests)
    check("not ok" not in sound.values(), f"without a mutation: {sound}")
    tests = [t for t in tests if sound[t] == "ok"]
    if not tests:
        raise Skip("without a mutation: " + "; ".join(f"{t}: {said}" for t, said in sound.items()))
    broken = results(tap, program, tests, "--mutation", mutation)
    failed = [t for t in tests if broken[t] == "not ok"]
    said = {t: broken[t] for t in tests if broken[t] not in ("ok", "not ok")}
    tap.diag(f"mutation: {mutation} failed={','.join(failed) or 'none'} said={said or 'nothing'}")
    if mutation == "shift-stride":
        check(failed or said, "the canary took a wrong layout for right")
        check(not said or len(said[tests[0]].split()) > 3, f"checking is off, for no reason that says anything: {said}")
    else:
        check(failed, f"no test noticed: {broken}")


def tests(tap):
    need_root()
    for mutation, (program, names) in MUTATIONS.items():
        tap.case(f"{mutation} is noticed by one of {', '.join(names)}", noticed, tap, mutation, program, names)


main(tests)
