#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The table of docs/kernels.md out of what the runs left: table.py [DIRECTORY]. Kernel by test: passed, failed, skipped, seconds."""

import json
import os
import re
import sys

import matrix
from tally import PLAN, RESULT
from vm import read


def counts(text):
    passed = failed = skipped = 0
    for line in text.splitlines():
        plan, match = PLAN.match(line), RESULT.match(line)
        if plan and plan.group(1) == "0":
            skipped += 1
        elif match and match.group(4):
            skipped += 1
        elif match:
            passed, failed = passed + (match.group(1) == "ok"), failed + (match.group(1) != "ok")
    return passed, failed, skipped


def cell(directory, result):
    passed, failed, skipped = counts(read(f"{directory}/{result['name']}.tap"))
    said = f"{passed}"
    if failed or (result["status"] and not failed):
        said = f"**{passed}, {max(failed, 1)} failed**"
    return said + (f", {skipped} skipped" if skipped else "") + f" ({result['seconds']:.0f} s)"


def release(directory):
    found = re.search(r'"release": ?"([^"]+)"', read(f"{directory}/support.json"))
    return found.group(1) if found else "?"


def row(name, cells):
    return f"| {name} | " + " | ".join(cells) + " |"


def main(where):
    done = [n for n in matrix.runs() if os.path.exists(f"{where}/{n}/results.json")]
    results = {n: {r["name"]: r for r in json.loads(read(f"{where}/{n}/results.json"))} for n in done}
    tests = list(dict.fromkeys(t for n in done for t in results[n]))
    print(row("", done))
    print(row("---", ["---"] * len(done)))
    print(row("release", [release(f"{where}/{n}") for n in done]))
    print(row("up after", [f"{read(f'{where}/{n}/up').strip()} s" for n in done]))
    print(row("boot to result", [f"{read(f'{where}/{n}/seconds').strip()} s" for n in done]))
    for test in tests:
        print(row(test, [cell(f"{where}/{n}", results[n][test]) if test in results[n] else "" for n in done]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "build-vm/vm"))
