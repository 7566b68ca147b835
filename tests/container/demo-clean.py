#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The demo works, and leaves nothing behind: not when it ends, and not when it is interrupted.

What is the demo's own is told from what others do meanwhile: its processes carry a mark in their environment, its files stand
in a directory of their own, its cgroups and mounts carry the container's id.
"""

import glob
import json
import os
import re
import secrets
import signal
import subprocess
import time

from container import memory_hierarchy, need_containers
from proc import SOURCE, Scratch, ended, eventually, need, run
from tap import check, equal, main

SECONDS_MAX = 60
CONTAINER = re.compile(r"memcgproftest[0-9a-f]{16}")
SHOWN = ("GetSites", "explained_ratio", "memcgprof --bus", "ProfileFinished", "memcgprof --state-dir")


class Demo:
    """One run of the demo, and what is left of it."""

    def __init__(self, directory):
        self.directory, self.output = directory, ""
        self.mark = "MEMCGPROF_TEST_MARK=" + secrets.token_hex(8)
        self.programs = programs()
        name, value = self.mark.split("=")
        self.process = subprocess.Popen(
            ["/usr/bin/python3", "-B", os.path.join(SOURCE, "tests/container/demo.py")], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
            env={**os.environ, name: value, "TMPDIR": directory})

    def read_until(self, words):
        for line in self.process.stdout:
            self.output += line
            if words in line:
                return
        check(False, f"it never said {words!r}: {self.output[-2000:]}")

    def wait(self, seconds):
        self.output += self.process.stdout.read()
        check(ended(self.process, seconds), f"it did not end within {seconds} s")
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process.stdout.close()

    def left(self):
        ids = set(CONTAINER.findall(self.output))
        with open("/proc/self/mounts", encoding="utf-8") as f:
            mounts = [line for line in f if self.directory in line or any(i in line for i in ids)]
        found = {
            "processes": [p for p in map(int, filter(str.isdigit, os.listdir("/proc"))) if marked(p, self.mark)],
            "files": os.listdir(self.directory),
            "cgroups": [d for d, _, _ in os.walk(cgroup_mount()) if CONTAINER.search(d) and CONTAINER.search(d).group(0) in ids],
            "mounts": mounts,
            "BPF objects": [o for o in programs() - self.programs],
        }
        return {k: v for k, v in found.items() if v}

    def check_clean(self):
        """The kernel frees programs and cgroups in its own time: wait a little for those."""
        try:
            eventually(lambda: not self.left(), 5, "nothing is left", 0.1)
        finally:
            left = self.left()
            check(not left, f"left behind: {left}")


def marked(pid, mark):
    try:
        with open(f"/proc/{pid}/environ", "rb") as f:
            return mark.encode() in f.read().split(b"\0")
    except OSError:
        return False


def cgroup_mount():
    mount, _ = memory_hierarchy()
    return os.path.dirname(mount) if mount.startswith("/sys/fs/cgroup/") else mount


def held_programs():
    """Ids of the BPF programs that some process holds by a program's or a link's descriptor."""
    held = set()
    for info in glob.iglob("/proc/[0-9]*/fdinfo/*"):
        try:
            with open(info, encoding="ascii", errors="replace") as f:
                held.update(int(line.split()[1]) for line in f if line.startswith("prog_id:"))
        except OSError:
            continue
    return held


def programs():
    """BPF programs that no process holds: pinned, or left behind in some other way. Those of processes are their business."""
    listed = json.loads(run([need("bpftool"), "-j", "prog", "list"]).stdout or "[]")
    held = held_programs() if listed else set()
    return {f"{p['id']} {p.get('name')}" for p in listed if p["id"] not in held}


def whole(tap):
    with Scratch() as directory:
        begin = time.monotonic()
        demo = Demo(directory)
        try:
            status = demo.wait(2 * SECONDS_MAX)
            seconds = time.monotonic() - begin
            equal(status, 0, "exit status: " + demo.output[-3000:])
            for words in SHOWN:
                check(words in demo.output, f"the demo does not show {words}")
            tap.diag(f"{seconds:.1f} s")
            check(seconds < SECONDS_MAX, f"it took {seconds:.0f} s")
            demo.check_clean()
        finally:
            demo.close()


def interrupted(number, words):
    """A signal to the whole foreground group, as a terminal sends it, as soon as `words` appear."""
    with Scratch() as directory:
        demo = Demo(directory)
        try:
            demo.read_until(words)
            os.killpg(demo.process.pid, number)
            equal(demo.wait(30), 128 + number, "exit status")
            demo.check_clean()
        finally:
            demo.close()


def tests(tap):
    need_containers()
    tap.case("the whole demo, in under a minute", whole, tap)
    tap.case("SIGTERM while the daemon starts", interrupted, signal.SIGTERM, "systemd")
    tap.case("SIGINT while the container holds memory", interrupted, signal.SIGINT, "the container now holds")
    tap.case("SIGHUP while commands run", interrupted, signal.SIGHUP, "and with the command line")


main(tests)
