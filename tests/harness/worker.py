# SPDX-License-Identifier: LGPL-2.1-or-later
"""The workload in a memory cgroup of ours, without a container: told line by line, or busy on its own until told to stop."""

import contextlib
import subprocess
import threading

from proc import built, ended, stop
from tap import Failure, check


class Worker:
    def __init__(self, group):
        self.group = group
        self.pipes = 0  # made so far

    def __enter__(self):
        self.process = subprocess.Popen([built("tests/container/workload"), "--dir", "/dev/shm"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, bufsize=1, start_new_session=True)
        self._answer("up")
        with open(self.group.directory + b"/cgroup.procs", "w", encoding="ascii") as f:
            f.write(str(self.process.pid))
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.process.stdin.write("release\n")  # its children too, so that the group can be removed
            self.process.stdin.close()
        if not ended(self.process, 10):
            stop(self.process)
        self.process.stdout.close()

    def _answer(self, wanted):
        line = self.process.stdout.readline().strip()
        check(line.startswith(wanted), f"the workload says {line!r}")

    def tell(self, command, wanted):
        verb, name, number = (command.split() + ["", "0"])[:3]
        if name == "pipes":
            self.pipes += int(number)
        self.process.stdin.write(command + "\n")
        self._answer(wanted)

    def hold(self, what):
        self.tell("hold " + what, "ready")

    def churn(self, what):
        self.tell("churn " + what, "churned")

    def release(self):
        self.tell("release", "released")


class Busy:
    """Has a worker make and drop things without pause."""

    def __init__(self, worker):
        self.worker = worker
        self.enough = threading.Event()
        self.error = None

    def _work(self):
        try:
            while not self.enough.is_set():
                self.worker.hold("pipes 150")
                self.worker.churn("pipes 300")
                self.worker.release()
        except (Failure, OSError, ValueError) as e:
            self.error = e

    def __enter__(self):
        self.thread = threading.Thread(target=self._work)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.enough.set()
        self.thread.join()
        if self.error:
            raise Failure(f"the workload ended: {self.error}")
