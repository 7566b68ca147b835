#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Adds up what meson's tests said: tally.py (BUILD-DIRECTORY LOG SUITE-OR-=TEST,...)...

Counts TAP subtests. What gave no result counts as failed: a test that meson knows and the log does not, one that printed no
subtest, one that ended badly although no subtest failed. Prints what was skipped and why, what failed, and one closing line.
"""

import json
import os
import re
import subprocess
import sys

RESULT = re.compile(r"^(ok|not ok)\b *([0-9]*)[ -]*(.*?)(?:\s*#\s*(SKIP)\S*\s*(.*))?$", re.IGNORECASE)
PLAN = re.compile(r"^1\.\.([0-9]+)(?:\s*#\s*SKIP\S*\s*(.*))?$", re.IGNORECASE)


class Tally:
    def __init__(self):
        self.passed, self.failed, self.skipped = 0, [], []

    def add_tap(self, name, text, result):
        """One test's output. `result` is meson's verdict: it knows of crashes and timeouts."""
        planned, seen, bad = None, 0, 0
        for line in text.splitlines():
            plan = PLAN.match(line)
            if plan:
                planned = int(plan.group(1))
                if planned == 0 and plan.group(2) is not None:
                    self.skipped.append((name, plan.group(2)))
                    seen += 1
                continue
            match = RESULT.match(line)
            if not match:
                continue
            seen += 1
            ok, _, title, directive, reason = match.groups()
            if directive and directive.upper() == "SKIP" and ok == "ok":
                self.skipped.append((f"{name}: {title}", reason))
            elif ok == "ok":
                self.passed += 1
            else:
                bad += 1
                self.failed.append(f"{name}: {title}")
        self._verdict(name, result, planned, seen, bad)

    def _verdict(self, name, result, planned, seen, bad):
        if seen == 0:
            self.failed.append(f"{name}: gave no result ({result})")
        elif bad == 0 and result not in ("OK", "SKIP"):
            self.failed.append(f"{name}: {result}" + (f" after {seen} of {planned} results" if planned else ""))
        elif planned is None:
            self.failed.append(f"{name}: printed no plan")

    def print(self):
        if self.skipped:
            print("\nSkipped:")
            for name, reason in self.skipped:
                print(f"  {name}: {reason or 'no reason given'}")
        if self.failed:
            print("\nFailed:")
            for sentence in self.failed:
                print(f"  {sentence}")
        print(f"\n{self.passed} passed, {len(self.failed)} failed, {len(self.skipped)} skipped")
        return 1 if self.failed or self.passed == 0 else 0


def expected(directory, suites):
    """Names of the tests that meson has in `suites` (=NAME: the test itself); of a sanitizer tree not those of the repository."""
    known = json.loads(subprocess.run(["meson", "introspect", "--tests", directory], check=True, capture_output=True).stdout)
    skip_repository = directory.endswith("-asan")
    names = []
    for test in known:
        its = {s.split(":")[-1] for s in test["suite"]}
        its.add("=" + test["name"])
        if its & set(suites) and not (skip_repository and "repository" in its):
            names.append(test["name"])
    return names


def main(arguments):
    tally = Tally()
    for directory, log, suites in zip(*[iter(arguments)] * 3):
        waiting = expected(directory, suites.split(","))
        try:
            with open(f"{directory}/meson-logs/{log}.json", encoding="utf-8") as f:
                entries = [json.loads(line) for line in f]
        except FileNotFoundError:
            entries = []
        for entry in entries:
            name = entry["name"].split(" / ")[-1]
            if name in waiting:
                waiting.remove(name)
            tally.add_tap(f"{name} ({log})", entry["stdout"] or "", entry["result"])
        tally.failed += [f"{name} ({log}): was not run" for name in waiting]
    return tally.print()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
