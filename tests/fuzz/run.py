#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs one fuzz target: run.py [--max-len N] PROGRAM CORPUS... for a minute, or as often as MEMCGPROF_FUZZ_RUNS says.

What libFuzzer finds on the way stays in the build tree (fuzz/NAME/corpus), so that the next run begins where this one ended; an
input that breaks the target stays in fuzz/NAME/ as well, and its path is told. The corpus in the repository is read only.
"""

import argparse
import os
import re
import subprocess
import tempfile

from proc import BUILD
from tap import check, main

RUNS = int(os.environ.get("MEMCGPROF_FUZZ_RUNS") or 0)
MINUTE = 60
LEAST = 10000        # inputs: a run of fewer has tried nothing
INPUT_SECONDS = 20   # one input takes microseconds; this is a hang even on a busy machine
MEMORY_MIB = 2048
SHOWN = 4000         # bytes of a finding's log
# A small quarantine, because what was freed for one input is not looked at for the next: it takes half the time.
ENVIRONMENT = {
    "ASAN_OPTIONS": "detect_leaks=1:strict_string_checks=1:quarantine_size_mb=4",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
}


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--max-len", type=int, default=1000)
    parser.add_argument("program")
    parser.add_argument("corpus", nargs="+")
    return parser.parse_args()


def command(args, place):
    found = os.path.join(place, "corpus")
    os.makedirs(found, exist_ok=True)
    much = f"-runs={RUNS}" if RUNS else f"-max_total_time={MINUTE}"
    return [args.program, much, f"-max_len={args.max_len}", f"-timeout={INPUT_SECONDS}", f"-rss_limit_mb={MEMORY_MIB}",
            "-print_final_stats=1", f"-artifact_prefix={place}/", found, *args.corpus]


def figure(log, name):
    found = re.search(rf"^stat::{name}:\s+([0-9]+)", log, re.MULTILINE)
    return int(found.group(1)) if found else 0


def last_status(log):
    """(edges, features, inputs kept) of the last line that tells them."""
    found = re.findall(r"cov: ([0-9]+) ft: ([0-9]+) corp: ([0-9]+)", log)
    return found[-1] if found else ("?", "?", "?")


def fuzz(args, name, said):
    place = os.path.join(BUILD, "fuzz", name)
    with tempfile.TemporaryDirectory(prefix="memcgprof-fuzz-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as scratch:
        done = subprocess.run(command(args, place), env={**os.environ, **ENVIRONMENT, "TMPDIR": scratch}, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="backslashreplace", check=False)
    log = done.stdout
    with open(os.path.join(place, "log"), "w", encoding="utf-8") as f:
        f.write(log)
    check(done.returncode == 0, f"a finding (the whole log is {place}/log):\n{log[-SHOWN:]}")
    inputs = figure(log, "number_of_executed_units")
    edges, features, kept = last_status(log)
    said.append(f"{inputs} inputs, {figure(log, 'average_exec_per_sec')} a second, {edges} edges, {features} features, "
                f"{kept} inputs kept, {figure(log, 'peak_rss_mb')} MiB at most")
    check(inputs >= min(LEAST, RUNS or LEAST), f"only {inputs} inputs were tried")


def tests(tap):
    args, said = arguments(), []
    name = os.path.basename(args.program).removeprefix("fuzz-")
    tap.case(f"{name} keeps its promises, whatever comes", fuzz, args, name, said)
    for sentence in said:
        tap.diag(f"{name}: {sentence}")


main(tests)
