# SPDX-License-Identifier: LGPL-2.1-or-later
"""Processes and temporary places of tests: started here, ended here, by pid; and where the built programs are."""

import os
import select
import shutil
import signal
import subprocess
import tempfile
import time

from tap import Failure, Skip

SOURCE = os.environ.get("MEMCGPROF_SOURCE") or os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
PATIENCE = float(os.environ.get("MEMCGPROF_PATIENCE") or 1)  # emulated machines: how many times longer what may hang is waited for
BUILD = os.environ.get("MEMCGPROF_BUILD") or os.path.join(SOURCE, "build")


def built(path):
    """Path of a built program, e.g. built("daemon/memcgprofd")."""
    full = os.path.join(BUILD, path)
    if not os.path.exists(full):
        raise Failure(f"{path} is not built in {BUILD}")
    return full


def need(*programs):
    """Paths of programs of the system; Skip names what is missing."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    found = [shutil.which(p, path=path) for p in programs]
    missing = [p for p, f in zip(programs, found) if not f]
    if missing:
        raise Skip("not installed: " + ", ".join(missing))
    return found[0] if len(found) == 1 else found


def need_root():
    if os.geteuid() != 0:
        raise Skip("needs root")


def ended(process, seconds):
    """True when `process` ends within `seconds`; wakes on its end, through a pidfd."""
    if process.poll() is not None:
        return True
    fd = os.pidfd_open(process.pid)
    try:
        select.select([fd], [], [], max(0, seconds * PATIENCE))
    finally:
        os.close(fd)
    return process.poll() is not None


def stop(process, seconds=10):
    """Ends a process that a test started: SIGTERM, then SIGKILL. Returns its exit status; tolerates one that is stopped."""
    if process is None or process.poll() is not None:
        return None if process is None else process.returncode
    process.send_signal(signal.SIGCONT)
    process.send_signal(signal.SIGTERM)
    if not ended(process, seconds):
        process.kill()
        process.wait()
        raise Failure(f"{process.args[0]} (pid {process.pid}) did not end on SIGTERM within {seconds} s and was killed")
    return process.returncode


def ended_pid(pid, seconds):
    """Waits for the end of a process that is not our child; Failure when it does not come."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if not select.select([pidfd], [], [], seconds * PATIENCE)[0]:
            raise Failure(f"process {pid} did not end within {seconds} s")
    finally:
        os.close(pidfd)


def run(command, seconds=60, **kwargs):
    """subprocess.run with captured text; ends the child when it takes too long."""
    kwargs.setdefault("stdin", subprocess.DEVNULL)
    if "input" in kwargs:
        del kwargs["stdin"]
    try:
        return subprocess.run(command, capture_output=True, text=True, errors="backslashreplace", timeout=seconds * PATIENCE, **kwargs)
    except subprocess.TimeoutExpired as e:
        raise Failure(f"{' '.join(map(str, command))} took more than {seconds * PATIENCE:g} s") from e


def eventually(condition, seconds, what, step=0.02):
    """Waits for what no event announces, e.g. for RCU to free. Returns condition()'s first true value."""
    end = time.monotonic() + seconds * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"not within {seconds} s: {what}")
        time.sleep(step)


class Scratch:
    """A temporary directory, removed at the end."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="memcgprof-test-")
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path)
