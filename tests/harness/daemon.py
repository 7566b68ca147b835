# SPDX-License-Identifier: LGPL-2.1-or-later
"""memcgprofd of the build tree on a private bus, with directories of its own: state, run, and as root a BPF file system."""

import ctypes
import os
import select
import signal
import socket
import subprocess

from proc import PATIENCE, built, ended, stop, Scratch
from tap import Failure


LIBC = ctypes.CDLL(None)
MNT_DETACH = 2


class Daemon:
    log_target = "console"  # tests read what it says, and a machine of the rig has a journal

    def __init__(self, bus, *options, wrapper=()):
        """options: further arguments; wrapper: a command in front, e.g. ("setpriv", ...)."""
        self.bus, self.options, self.wrapper = bus, list(options), list(wrapper)
        self.process = None
        self.killed = False  # and nobody came after it: what it had attached stays

    def __enter__(self):
        self.scratch = Scratch()
        self.directory = self.scratch.__enter__()
        self.state = os.path.join(self.directory, "state")
        os.mkdir(self.state, 0o700)
        self.log = os.path.join(self.directory, "log")
        self.run_dir = os.path.join(self.directory, "run")
        self.bpf = os.path.join(self.directory, "bpf")
        self.pins = None
        self.config_root = os.path.join(self.directory, "root")  # what the machine has in /etc/memcgprof is not the test's
        try:
            self.pins = self._mount()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        try:
            self.stop()
            if self.pins and os.path.exists(self.pins) and not self.killed:
                raise Failure(f"memcgprofd left something in its BPF file system: {self.pinned()[:5]}")
        finally:
            LIBC.umount2(os.fsencode(self.bpf), MNT_DETACH)
            self.scratch.__exit__()

    def _mount(self):
        """A BPF file system of its own, so that no other daemon is met; None where none can be had. By the system call, and not by
        mount(8): a signal to the foreground group would meet that one in the midst of it."""
        os.mkdir(self.bpf, 0o700)
        if LIBC.mount(b"bpf", os.fsencode(self.bpf), b"bpf", 0, None) != 0:
            return None
        return os.path.join(self.bpf, "memcgprof")

    def pinned(self):
        """What is pinned, as paths below the daemon's directory."""
        return sorted(os.path.relpath(os.path.join(d, f), self.pins) for d, _, files in os.walk(self.pins) for f in files)

    def start(self, seconds=60):
        """Starts it and waits for READY=1, which it says when its name is on the bus."""
        self.killed = False
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            path = os.path.join(self.directory, "notify")
            if os.path.exists(path):
                os.unlink(path)
            ready.bind(path)
            with open(self.log, "ab") as log:
                self.process = subprocess.Popen(
                    [*self.wrapper, built("daemon/memcgprofd"), *self.arguments()],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, "NOTIFY_SOCKET": path},
                    start_new_session=True)
            self._wait_ready(ready, seconds)

    def arguments(self):
        return [f"--bus={self.bus.address}", f"--state-dir={self.state}", f"--config-root={self.config_root}",
                f"--log-target={self.log_target}", f"--run-dir={self.run_dir}", f"--pins={self.pins or 'none'}", *self.options]

    def configure(self, text, path="/etc/memcgprof/memcgprofd.conf"):
        """A configuration file, for the next start."""
        full = self.config_root + path
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as f:
            f.write(text)

    def _wait_ready(self, ready, seconds):
        pidfd = os.pidfd_open(self.process.pid)
        try:
            while True:
                readable, _, _ = select.select([ready, pidfd], [], [], seconds * PATIENCE)
                if ready in readable and b"READY=1" in ready.recv(65536):
                    return
                if not readable or pidfd in readable:
                    self.process.poll()
                    raise Failure("memcgprofd did not get ready: " + self.log_text()[-2000:])
        finally:
            os.close(pidfd)

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="backslashreplace") as f:
            return f.read()

    def stop(self):
        """Ends it; a status other than 0 is a failure, with the log."""
        if self.process is None:
            return
        process, self.process = self.process, None
        status = stop(process, 20)
        if status not in (0, None):
            raise Failure(f"memcgprofd ended with status {status}: " + self.log_text()[-4000:])

    def kill(self):
        process, self.process = self.process, None
        self.killed = True
        process.kill()
        process.wait()

    def reap(self):
        """After somebody else has killed it."""
        process, self.process = self.process, None
        self.killed = True
        process.wait()

    def freeze(self):
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self):
        os.kill(self.process.pid, signal.SIGCONT)

    def alive(self):
        return self.process is not None and not ended(self.process, 0)

    def reports(self):
        """Paths of the final reports on disk."""
        directory = os.path.join(self.state, "reports")
        if not os.path.isdir(directory):
            return []
        return sorted(os.path.join(directory, f) for f in os.listdir(directory) if f.endswith(".json"))
