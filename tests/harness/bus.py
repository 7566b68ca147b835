# SPDX-License-Identifier: LGPL-2.1-or-later
"""A private bus, and calls on it through busctl, as people make them."""

import json
import os
import select
import shutil
import signal
import subprocess
import time

from proc import PATIENCE, SOURCE, need, run, stop, Scratch
from tap import Failure

NAME = "org.memcgprof1"
PATH = "/org/memcgprof1"
MANAGER = "org.memcgprof1.Manager"
PROFILE = "org.memcgprof1.Profile"

CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=%s/bus</listen>
  <servicedir>%s/services</servicedir>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
    <allow user="*"/>
  </policy>
  %s
</busconfig>
"""


class BusError(Failure):
    """What the called side answered instead of a reply."""


class Bus:
    """A dbus-daemon of our own. Everybody may talk to everybody: who may do what is the daemon's own business."""

    def __init__(self, more="", service=None):
        """more: further elements of its configuration, e.g. limits. service: the command that the bus starts when somebody asks
        for our name; DIRECTORY in both is a directory of the bus's own, its socket is DIRECTORY/bus."""
        self.more, self.service = more, service

    def __enter__(self):
        daemon = need("dbus-daemon")
        need("busctl")
        self.scratch = Scratch()
        directory = self.scratch.__enter__()
        os.chmod(directory, 0o755)
        self.directory = directory
        self.services = f"{directory}/services"
        os.mkdir(self.services)
        if self.service:
            with open(f"{self.services}/{NAME}.service", "w", encoding="utf-8") as f:
                f.write(f"[D-BUS Service]\nName={NAME}\nExec={self.service.replace('DIRECTORY', directory)}\n")
        with open(f"{directory}/bus.conf", "w", encoding="utf-8") as f:
            f.write(CONFIG % (directory, directory, self.more.replace("DIRECTORY", directory)))
        with open(f"{directory}/log", "wb") as log:
            self.process = subprocess.Popen(
                [daemon, f"--config-file={directory}/bus.conf", "--nofork", "--nopidfile", "--print-address"],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True)
        self.address = self.process.stdout.readline().strip()
        if not self.address:
            with open(f"{directory}/log", encoding="utf-8", errors="backslashreplace") as log:
                words = log.read()
            self.__exit__()
            raise Failure(f"dbus-daemon did not start: {words}")
        return self

    def __exit__(self, *_):
        try:
            stop(self.process)
        finally:
            self.process.stdout.close()
            self.scratch.__exit__()

    def freeze(self):
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self):
        os.kill(self.process.pid, signal.SIGCONT)

    def activate(self, command):
        """From now on a call to the name starts this command, if nobody has the name."""
        with open(f"{self.services}/{NAME}.service", "w", encoding="utf-8") as f:
            f.write(f"[D-BUS Service]\nName={NAME}\nExec={' '.join(command)}\n")
        self.busctl("call", "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "ReloadConfig")

    def owner(self):
        """The process that has the name, or None. Starts nobody."""
        try:
            answer = self.busctl("--json=short", "call", "org.freedesktop.DBus", "/", "org.freedesktop.DBus", "GetConnectionUnixProcessID", "s", NAME)
        except BusError:
            return None
        return json.loads(answer)["data"][0]

    def busctl(self, *arguments, seconds=30):
        """busctl's standard output; BusError with its words when it fails."""
        done = run(["busctl", f"--address={self.address}", f"--timeout={seconds * PATIENCE:g}", *map(str, arguments)], seconds=seconds + 10)
        if done.returncode != 0:
            raise BusError(done.stderr.strip().removeprefix("Call failed: "))
        return done.stdout

    def call(self, path, interface, member, signature="", *arguments):
        """Calls a method; returns the list of its out arguments."""
        out = self.busctl("--json=short", "call", NAME, path, interface, member, *([signature] if signature else []), *arguments)
        return json.loads(out)["data"] if out.strip() else []

    def manager(self, member, signature="", *arguments):
        return self.call(PATH, MANAGER, member, signature, *arguments)

    def property(self, path, interface, name):
        return json.loads(self.busctl("--json=short", "get-property", NAME, path, interface, name))["data"]

    def profile_of(self, target):
        """Object path of a target's profile."""
        return self.manager("GetProfile", "sa{sv}", target, 0)[0]

    def summary_text(self, path, *filters):
        """The document as GetSummary returns it. filters: (key, signature, value)..."""
        flat = [word for triple in filters for word in triple]
        return self.call(path, PROFILE, "GetSummary", "a{sv}", len(filters), *flat)[0]


class SystemBus(Bus):
    """The machine's own bus. A daemon out of a build tree may own its name there only by a policy: one is put in place and
    taken away again, unless it is installed already."""

    POLICY = "/etc/dbus-1/system.d/org.memcgprof1.conf"
    INSTALLED = "/usr/share/dbus-1/system.d/org.memcgprof1.conf"
    address = "unix:path=/run/dbus/system_bus_socket"

    def __init__(self):
        self.made = False

    def taken(self):
        """True when somebody owns the name on this bus."""
        answer = self.busctl("--json=short", "call", "org.freedesktop.DBus", "/", "org.freedesktop.DBus", "NameHasOwner", "s", NAME)
        return json.loads(answer)["data"][0]

    def __enter__(self):
        if not os.path.exists(self.INSTALLED) and not os.path.exists(self.POLICY):
            self.made = True
            shutil.copy(os.path.join(SOURCE, "daemon/org.memcgprof1.conf"), self.POLICY)
            self._reload()
        return self

    def __exit__(self, *_):
        if self.made:
            os.unlink(self.POLICY)
            self._reload()

    def _reload(self):
        self.busctl("call", "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "ReloadConfig")


class Signals:
    """Listens for the daemon's signals from the moment it is entered."""

    def __init__(self, bus, member):
        self.bus, self.member = bus, member

    def __enter__(self):
        match = f"type='signal',interface='{MANAGER}',member='{self.member}'"
        self.process = subprocess.Popen(["busctl", f"--address={self.bus.address}", "--json=short", f"--match={match}", "monitor"],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        self.buffer = b""
        self._read_until(self.process.stderr, b"\n", 10)  # "Monitoring bus message stream."
        return self

    def __exit__(self, *_):
        stop(self.process)
        self.process.stdout.close()
        self.process.stderr.close()

    def _read_until(self, stream, mark, seconds):
        end = time.monotonic() + seconds * PATIENCE
        while mark not in self.buffer:
            ready, _, _ = select.select([stream], [], [], max(0, end - time.monotonic()))
            chunk = os.read(stream.fileno(), 65536) if ready else b""
            if not chunk:
                raise Failure(f"no signal {self.member} within {seconds} s")
            self.buffer += chunk
        line, self.buffer = self.buffer.split(mark, 1)
        return line

    def next(self, seconds=30):
        """Arguments of the next signal."""
        while True:
            message = json.loads(self._read_until(self.process.stdout, b"\n", seconds))
            if message.get("member") == self.member:
                return message["payload"]["data"]

    def of(self, path, seconds=30):
        """The rest of the arguments of the next signal about this object: those of others may still be on their way."""
        while True:
            about, *rest = self.next(seconds)
            if about == path:
                return rest[0] if len(rest) == 1 else rest
