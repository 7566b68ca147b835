#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The bench runs, measures what it says and leaves nothing behind. No figure is judged: that is for people on a quiet machine."""

import glob
import os
import re

from container import memory_hierarchy
from proc import SOURCE, built, need_root, run
from tap import Skip, check, equal, main

NUMBER = r"-?(?:[0-9]+(?:\.[0-9]+)?|nan|inf)"
ROW = re.compile(rf"^  (\S.*?) +({NUMBER})(?: +({NUMBER}) +({NUMBER})(?: +({NUMBER})  \(({NUMBER}) to ({NUMBER})\) +({NUMBER}).*)?)?$")
MISSING = re.compile(r"^  (\S.*?) +not measured: (\S.*)$")
TABLE = re.compile(rf"^(\S.*): ({NUMBER}) allocation events an operation, ([0-9]+) operations, best of ([0-9]+), ([0-9]+) rounds$")

COST = ("no programs", "floor: empty programs, hooks of counting", "floor: empty programs, all hooks",
        "task outside all groups, to its floor", "in the group, counting only, to its floor",
        "in the group, live tracking, to its floor")


def bench(*arguments):
    done = run([built("tests/bench/bench"), *arguments], seconds=150)
    if "The kernel does not take the BPF programs" in done.stderr or "no BTF" in done.stderr:
        raise Skip(done.stderr.strip())
    equal(done.returncode, 0, f"exit status (it says: {done.stderr.strip()})")
    return done.stdout


def tables(text):
    """{loop: (events, {setting: figures, or why there are none})}."""
    found, rows = {}, None
    for line in text.splitlines():
        table = TABLE.match(line)
        if table:
            rows = {}
            found[table.group(1)] = (float(table.group(2)), rows)
        elif rows is not None and (missing := MISSING.match(line)):
            rows[missing.group(1)] = missing.group(2)
        elif rows is not None and (figures := ROW.match(line)):
            rows[figures.group(1)] = [float(f) for f in figures.groups()[1:] if f is not None]
        elif not line.strip():
            rows = None
    return found


def cost(tap):
    found = tables(bench("cost", "--quick", "--rounds", "1"))
    equal(len(found), 7, f"loops: {', '.join(found)}")
    for loop, (events, rows) in found.items():
        check(events > 0, f"{loop}: no allocation events were counted")
        for setting in COST:
            check(isinstance(rows.get(setting), list), f"{loop}: {setting}: {rows.get(setting, 'no row')}")
            check(rows[setting][0] > 0, f"{loop}: {setting}: no time")
        for setting, figures in rows.items():
            if isinstance(figures, str):
                tap.diag(f"{loop}: {setting}: not measured: {figures}")


def pipe_events():
    """The count of events is the kernel's: nine for a pipe on all kernels we know, give or take what others allocate."""
    events, _ = tables(bench("cost", "--rounds", "1", "--ops", "2000", "--loops", "pipe"))["pipe create/close"]
    check(6 <= events <= 30, f"{events} allocation events for a pipe")


def peers(tap):
    found = tables(bench("peers", "--quick", "--rounds", "1", "--loops", "pipe"))
    _, rows = found["pipe create/close"]
    check(len(rows) == 7, f"settings: {', '.join(rows)}")
    for setting, figures in rows.items():
        if isinstance(figures, str):
            check("memcgprof" not in setting, f"{setting}: not measured: {figures}")
            tap.diag(f"{setting}: not measured: {figures}")


def scale(tap):
    text = bench("scale", "--quick", "--rounds", "1", "--loops", "pipe", "--groups", "20")
    for part in ("Loaded and idle", "1 group", "Memory of tables", "A sweep", "made up to 3000 sites"):
        check(part in text, f"no part {part!r}")
    for line in text.splitlines():
        if "not measured" in line:
            tap.diag(line.strip())


def churn(tap):
    """Every container of a short churn is in a report, and the tables are as they were but for names."""
    done = run(["/usr/bin/python3", os.path.join(SOURCE, "tests/bench/churn.py"), "--quick"], seconds=150)
    if done.returncode != 0 and "not installed" in done.stderr:
        raise Skip(done.stderr.strip())
    equal(done.returncode, 0, f"exit status (it says: {done.stderr.strip()})")
    profiled, reports = re.search(r"hook (\d+) were profiled .*final reports: (\d+)", done.stdout).groups()
    check(profiled == reports and int(profiled) > 20, f"{profiled} were profiled, {reports} reports")
    for title in ("in a row, ms", "5 at a time, ms"):
        rows = done.stdout.split(title)[1].splitlines()[1:4]
        equal([re.match(r"  (\D+?) +-?[0-9]", r).group(1) for r in rows], ["without the hook", "with the hook", "added"], f"rows of {title}")
    for row in ("daemon: descriptors", "kernel: memory cgroups"):
        figures = next(line for line in done.stdout.splitlines() if row in line).split()[-4:]
        tap.diag(f"{row}: {figures}")
        check(row != "daemon: descriptors" or figures[0] == figures[3], f"{row}: {figures}")


def usage():
    for arguments in (["nothing"], ["--rounds", "0"], ["--loops", "nothing"], ["cost", "more"]):
        done = run([built("tests/bench/bench"), *arguments])
        equal(done.returncode, 2, f"exit status of {' '.join(arguments)}")
        check("usage: bench" in done.stderr, "no usage")


def there():
    mount, _ = memory_hierarchy()
    return set(glob.glob(f"{mount}/**/memcgprof-bench-*", recursive=True) + glob.glob("/tmp/memcgprof-bench-*"))


def leftovers(before):
    left = sorted(there() - before)
    check(not left, f"left behind: {', '.join(left[:5])}")


def tests(tap):
    tap.case("what it does not understand is told", usage)
    need_root()
    if not memory_hierarchy():
        raise Skip("no memory cgroup hierarchy is mounted")
    before = there()
    tap.case("cost: every loop has every setting", cost, tap)
    tap.case("events are those of the loop", pipe_events)
    tap.case("peers: ours is measured, and what is not says why", peers, tap)
    tap.case("scale: every part is there", scale, tap)
    tap.case("churn: every container is in a report, the daemon holds what it held", churn, tap)
    tap.case("nothing is left behind", leftovers, before)


main(tests)
