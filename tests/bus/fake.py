# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of this room share: memcgprofd-fake with its script and symbols, memory cgroups with processes in them, and
typed calls on the bus."""

import json
import os
import secrets
import socket
import subprocess

import dbus
import dbus.bus

import bus as harness
from bus import MANAGER, NAME, PATH, PROFILE, Signals
from container import memory_cgroup, memory_hierarchy
from daemon import Daemon
from proc import built, eventually, need_root
from tap import Failure, Skip, check, equal

PROPERTIES = "org.freedesktop.DBus.Properties"
ERROR = "org.memcgprof1.Error."
INVALID = "org.freedesktop.DBus.Error.InvalidArgs"
DENIED = "org.freedesktop.DBus.Error.AccessDenied"
FAKE = os.environ.get("MEMCGPROF_FAKE", "tests/bus/memcgprofd-fake")

# A symbol table of our own: what a row is called does not depend on the running kernel.
BASE = 0xffffffff81000000
SYMBOLS = {"_stext": 0x0, "alloc_pipe_info": 0x1000, "sk_prot_alloc": 0x2000, "alloc_inode": 0x3000, "pte_alloc_one": 0x4000,
           **{f"many_sites_{i}": 0x100000 + i * 0x10000 for i in range(10)}, "_etext": 0x200000}


def kallsyms():
    return "".join(f"{BASE + offset:016x} T {name}\n" for name, offset in SYMBOLS.items())


def row(function, offset=0x10, **members):
    """One row of a script, charged slab memory unless said otherwise: row("alloc_pipe_info", allocated=[bytes, calls])."""
    return {"type": "slab", "charged": True, "frames": [hex(BASE + SYMBOLS[function] + offset)], **members}


PIPES = row("alloc_pipe_info", allocated=[9000, 9], freed=[1000, 1])
SOCKETS = row("sk_prot_alloc", allocated=[5000, 5])
UNCHARGED = row("alloc_inode", charged=False, allocated=[700, 7])
USER = row("pte_alloc_one", type="user", live_known=False, estimated=True, allocated=[1 << 20, 256], error_bytes=4096)
ROWS = [PIPES, SOCKETS, UNCHARGED, USER]


class Fake(Daemon):
    """memcgprofd-fake on `bus`, with a script that is changed by writing it."""

    def __init__(self, bus, *options, settle_ms=100):
        super().__init__(bus, f"--settle-ms={settle_ms}", *options)

    def start(self, seconds=60):
        self.script = os.path.join(self.directory, "script")
        symbols = os.path.join(self.directory, "kallsyms")
        with open(symbols, "w", encoding="ascii") as f:
            f.write(kallsyms())
        if not os.path.exists(self.script):
            self.write()
        path = os.path.join(self.directory, "notify")
        if os.path.exists(path):
            os.unlink(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, open(self.log, "ab") as log:
            ready.bind(path)
            self.process = subprocess.Popen(
                [built(FAKE), self.script, symbols, f"--bus={self.bus.address}", f"--state-dir={self.state}", *self.options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, "NOTIFY_SOCKET": path},
                start_new_session=True)
            self._wait_ready(ready, seconds)

    def write(self, rows=(), **members):
        """Writes the script: all at once, because the daemon may be reading it."""
        with open(self.script + ".new", "w", encoding="ascii") as f:
            json.dump({"rows": list(rows), **members}, f)
        os.rename(self.script + ".new", self.script)

    def tracked(self):
        """What the tracker was told, line by line."""
        with open(self.script + ".log", encoding="utf-8", errors="backslashreplace") as f:
            return f.read().splitlines()

    def counting(self):
        """How many groups count now."""
        lines = self.tracked()
        return sum(line.startswith(("begin", "renew")) for line in lines) - sum(line.startswith("end") for line in lines)

    def wait_counting(self, n):
        """Groups that are over are ended when the daemon has nothing else to do."""
        eventually(lambda: self.counting() == n, 10, f"{n} groups count, not {self.counting()}")


class Group:
    """A memory cgroup with processes that sleep; removed at the end with all of them."""

    def __init__(self, name=None, parent=None, processes=1):
        need_root()
        if not memory_hierarchy():
            raise Skip("no memory cgroup hierarchy is mounted")
        self.mount, version = memory_hierarchy()
        # On v2 a group that has processes of its own cannot have children with controllers: begin at the root.
        above = parent or (memory_cgroup("self") if version == "v1" else self.mount)
        if isinstance(name, str):
            name = name.encode()
        self.directory = os.path.join(os.fsencode(above), name or b"bus-" + secrets.token_hex(6).encode())
        self.wanted = processes
        self.processes = []

    def __enter__(self):
        try:
            os.mkdir(self.directory)
        except OSError as e:
            raise Skip(f"no memory cgroup can be made here: {e.strerror}") from e
        for _ in range(self.wanted):
            self.spawn()
        return self

    def spawn(self, command=("sleep", "1000")):
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
        self.processes.append(process)
        with open(os.path.join(self.directory, b"cgroup.procs"), "w", encoding="ascii") as f:
            f.write(str(process.pid))
        return process

    def __exit__(self, *_):
        self.remove()

    def kill(self):
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes = []

    def remove(self):
        """Ends its processes and takes the directory away, as a runtime does."""
        self.kill()
        if os.path.isdir(self.directory):
            os.rmdir(self.directory)

    @property
    def path(self):
        """Relative to the hierarchy, as the daemon shows it."""
        return os.fsdecode(self.directory.removeprefix(os.fsencode(self.mount)))

    @property
    def pid(self):
        return self.processes[0].pid

    @property
    def id(self):
        return os.stat(self.directory).st_ino


def container_group(container_id):
    """A group as a runtime makes it for a container: its name carries the id."""
    return Group(name=f"bus-{container_id}")


def new_id():
    return secrets.token_hex(8)


class Client:
    """Typed calls. An error reply is a dbus.DBusException."""

    def __init__(self, bus):
        self.connection = dbus.bus.BusConnection(bus.address)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def call(self, path, interface, member, signature, *arguments):
        return self.connection.call_blocking(NAME, path, interface, member, signature, arguments, timeout=60)

    def manager(self, member, *arguments, options=None):
        signature = {"StopProfile": "oa{sv}", "ListProfiles": "a{sv}", "DescribeSupport": "a{sv}"}.get(member, "sa{sv}")
        return self.call(PATH, MANAGER, member, signature, *arguments, dbus.Dictionary(options or {}, signature="sv"))

    def profile(self, path, member, *arguments, filter=None):
        signature = "sa{sv}" if member == "Dump" else "a{sv}"
        return self.call(path, PROFILE, member, signature, *arguments, dbus.Dictionary(filter or {}, signature="sv"))

    def get(self, path, interface, name):
        return self.call(path, PROPERTIES, "Get", "ss", interface, name)

    def get_all(self, path, interface):
        return self.call(path, PROPERTIES, "GetAll", "s", interface)

    def set(self, path, interface, name, value):
        return self.call(path, PROPERTIES, "Set", "ssv", interface, name, value)

    def live_bytes(self, path):
        return int(self.get(path, PROFILE, "LiveBytes"))

    def paths(self):
        """Object paths of all profiles, as ListProfiles gives them."""
        return [str(entry[0]) for entry in self.manager("ListProfiles")]


def refused(error, words, function, *arguments, **keywords):
    """Calls and requires the error of that name, its message naming all of `words`, one sentence and one line."""
    try:
        function(*arguments, **keywords)
    except dbus.DBusException as e:
        message = e.get_dbus_message()
        equal(e.get_dbus_name(), error, f"error name (message: {message})")
        for word in [words] if isinstance(words, str) else words:
            check(word in message, f"the message does not name {word!r}: {message!r}")
        check("\n" not in message and len(message) <= 1100, f"not one bounded line: {message!r}")
        return message
    raise Failure(f"no error, wanted {error}")


class Changes(Signals):
    """PropertiesChanged of all objects."""

    def __init__(self, bus):
        super().__init__(bus, "PropertiesChanged")

    def __enter__(self):
        # The harness matches the manager's own interface; the standard one has the same form.
        interface, harness.MANAGER = harness.MANAGER, PROPERTIES
        try:
            return super().__enter__()
        finally:
            harness.MANAGER = interface

    def next(self, seconds=10):
        """(path, {property: value}) of the next one."""
        while True:
            message = json.loads(self._read_until(self.process.stdout, b"\n", seconds))
            if message.get("member") != self.member:
                continue
            _, changed, invalidated = message["payload"]["data"]
            equal(invalidated, [], "invalidated")
            return message["path"], {k: v["data"] for k, v in changed.items()}

    def expect(self, *wanted):
        for path, values in wanted:
            equal(self.next(), (path, values), "PropertiesChanged")


def sleeper():
    """A process outside any test group: started, and ended by the caller with stop()."""
    return subprocess.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL, start_new_session=True)
