#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Races of the real hook with the daemon and the bus: many at once, processes that are gone or are somebody else's, calls that
are read late, a bus that is full. The tracker is a script; tests/container/races.py has real containers."""

import contextlib
import ctypes
import json
import os
import platform
import re
import signal
import socket
import subprocess
import time
import types

import dbus
import dbus.bus
import dbus.lowlevel
from bus import MANAGER, NAME, PATH, Bus
from client import ERROR, Client, refused
from group import container_group, new_id
from proc import PATIENCE, Scratch, built, eventually
from rest import let_go, nothing_left
from tap import Skip, check, equal, main
from validate import validated

from fake import ROWS, Fake

KEY = "org.memcgprof.profile"
AT_ONCE = 200
DEADLINE = 1.1 if "asan" not in os.environ.get("MEMCGPROF_BUILD", "") else 2.0  # seconds of a hook, its start and end included
REQUIRED_DEADLINE = DEADLINE + 3


class Hook:
    """One run of the hook."""

    def __init__(self, bus, container_id, pid, spec="auto", status="creating"):
        state = {"ociVersion": "1.0.2", "id": container_id, "status": status, "pid": pid, "bundle": "/nowhere", "annotations": {KEY: spec}}
        self.begin = time.monotonic()
        self.process = subprocess.Popen([built("hooks/memcgprof-hook"), f"--bus={bus.address}"], stdin=subprocess.PIPE,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.process.stdin.write(json.dumps(state))
        self.process.stdin.close()

    def end(self):
        """(exit status, what it said, seconds)."""
        with self.process.stderr as f:
            said = f.read()
        return self.process.wait(), said, time.monotonic() - self.begin

    def silent(self):
        status, said, _ = self.end()
        equal((status, said), (0, ""), "exit status and words of the hook")

    def gave_up(self, words, status=0, limit=DEADLINE):
        got, said, seconds = self.end()
        equal(got, status, f"exit status of the hook ({said!r})")
        check(any(word in said for word in words), f"the hook says none of {words}: {said!r}")
        check(seconds <= limit * PATIENCE, f"the hook took {seconds:.2f} s")


def row_of(t, container_id):
    return next((row for row in t.client.manager("ListProfiles") if str(row[2]) == container_id), None)


def state_of(t, container_id):
    row = row_of(t, container_id)
    return str(row[3]) if row else None


def report_of(t, container_id):
    def file():
        return next((f for f in t.daemon.reports() if os.path.basename(f).startswith(container_id + "-")), None)
    with open(eventually(file, 10, f"a report of {container_id}"), encoding="utf-8") as f:
        return validated(f.read(), "memcgprof.report")


def register(t, container_id, pid, **options):
    """As the hook calls it, with the process as pidfd."""
    pidfd = os.pidfd_open(pid)
    try:
        return str(t.client.manager("RegisterContainer", container_id, options={"pidfd": dbus.types.UnixFd(pidfd), **options})[0])
    finally:
        os.close(pidfd)


def at_once(t):
    """Two hundred hooks register at once and two hundred tell the end at once: each is served, in time."""
    with contextlib.ExitStack() as stack:
        groups = [stack.enter_context(container_group(new_id())) for _ in range(AT_ONCE)]
        ids = [os.path.basename(g.path).removeprefix("bus-") for g in groups]
        t.daemon.write(ROWS)
        begin = time.monotonic()
        for hook in [Hook(t.bus, i, g.pid) for i, g in zip(ids, groups)]:
            hook.silent()
        t.tap.diag(f"{AT_ONCE} registrations at once took {time.monotonic() - begin:.2f} s")
        rows = {str(row[2]): row for row in t.client.manager("ListProfiles")}
        equal(set(rows), set(ids), "who is profiled")
        equal({bool(row[5]["from_start"]) for row in rows.values()}, {True}, "from_start")
        for g in groups:
            g.remove()
        for hook in [Hook(t.bus, i, 0, status="stopped") for i in ids]:
            hook.silent()
        for i, g in zip(ids, groups):
            report = report_of(t, i)
            equal(report["profile"]["cgroup"], g.path, f"cgroup of {i}")


# Whose process it is.


class CloneArguments(ctypes.Structure):
    """struct clone_args of clone3(2), up to set_tid_size."""
    _fields_ = [(name, ctypes.c_uint64) for name in ("flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "stack_size",
                                                     "tls", "set_tid", "set_tid_size")]


CLONE3 = 435


def impostor(pid, group):
    """A process of exactly this pid, which must be free, in the group. The caller ends it."""
    tid = (ctypes.c_int * 1)(pid)
    arguments = CloneArguments(exit_signal=signal.SIGCHLD, set_tid=ctypes.addressof(tid), set_tid_size=1)
    libc = ctypes.PyDLL(None, use_errno=True)
    got = libc.syscall(ctypes.c_long(CLONE3), ctypes.byref(arguments), ctypes.sizeof(arguments))
    if got == 0:
        try:
            with open(os.path.join(group.directory, b"cgroup.procs"), "w", encoding="ascii") as f:
                f.write("0")
            os.execvp("sleep", ["sleep", "1000"])
        finally:
            os._exit(1)
    if got < 0:
        raise Skip(f"no process of a chosen pid can be made here: {os.strerror(ctypes.get_errno())}")
    return got


def pid_reused(t):
    """The container's process is gone, and its pid another's, in the very same cgroup: the pidfd decides."""
    name = new_id()
    with container_group(name) as g:
        pid = g.pid
        pidfd = os.pidfd_open(pid)
        g.kill()
        equal(impostor(pid, g), pid, "the other process's pid")
        try:
            eventually(lambda: str(pid) in open(os.path.join(g.directory, b"cgroup.procs"), encoding="ascii").read().split(), 5, "it is there")
            options = {"pidfd": dbus.types.UnixFd(pidfd), "pid": dbus.UInt32(pid)}
            refused(ERROR + "NoSuchTarget", ["gone"], t.client.manager, "RegisterContainer", name, options=options)
            equal(row_of(t, name), None, "the other process's group in the list")
            # By its number alone it is a container like any: so the pidfd made the difference.
            del options["pidfd"]
            t.client.manager("RegisterContainer", name, options=options)
            equal(state_of(t, name), "active", "State")
        finally:
            os.close(pidfd)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def word_of_an_earlier_life(t):
    """ContainerStopped about a container of the same id: whose registered process lives has not stopped."""
    name = new_id()
    with container_group(name) as g:
        register(t, name, g.pid)
        Hook(t.bus, name, 0, status="stopped").silent()
        equal(state_of(t, name), "active", "State while the process lives")
        equal([str(r) for r in row_of(t, name)[5]["requesters"]], ["hook"], "requesters")
        g.kill()
        Hook(t.bus, name, 0, status="stopped").silent()
        equal(state_of(t, name), "ended", "State when it does not")
        equal(report_of(t, name)["end"]["source"], "poststop", "source")


def second_life_in_the_same_cgroup(t):
    """The runtime keeps the directory and says nothing of the first life's end: the exit code is the second's."""
    major, minor = (int(re.match(r"\d+", n).group()) for n in platform.release().split(".")[:2])
    if (major, minor) < (6, 15):
        raise Skip("this kernel keeps no exit codes for pidfds (6.15 and later do)")
    name = new_id()
    with container_group(name) as g:
        path = register(t, name, g.pid)
        g.kill()
        second = g.spawn()
        equal(register(t, name, second.pid), path, "object path")
        equal(state_of(t, name), "active", "State")
        second.terminate()
        second.wait()
        g.remove()
        report = report_of(t, name)
        equal((report["end"]["source"], report["end"]["exit_code"]), ("cgroup-removed", 128 + signal.SIGTERM), "source and exit code")


# Calls that are read late.


@contextlib.contextmanager
def frozen(victim):
    victim.freeze()
    try:
        yield
    finally:
        victim.thaw()


def answered(t):
    """What was sent before has been read when this returns. A queue that was full has room for the question after a while."""
    def asked():
        try:
            return t.client.get(PATH, MANAGER, "Mode")
        except dbus.DBusException as e:
            if e.get_dbus_name() != "org.freedesktop.DBus.Error.LimitsExceeded":
                raise
            return None
    eventually(asked, 20, "the daemon answers")


def late_calls(t):
    """Read after the hook's deadline: of a living container, of one that is gone, of one that was refused, and of an end."""
    alive, gone, required, over = (new_id() for _ in range(4))
    with container_group(alive) as a, container_group(gone) as g, container_group(required) as r, container_group(over) as o:
        register(t, over, o.pid)
        with frozen(t.daemon):
            hooks = [Hook(t.bus, alive, a.pid), Hook(t.bus, gone, g.pid)]
            refusal = Hook(t.bus, required, r.pid, "auto,required")
            o.remove()
            hooks.append(Hook(t.bus, over, 0, status="stopped"))
            for hook in hooks:
                hook.gave_up(["did not answer"])
            refusal.gave_up(["did not answer"], 1, REQUIRED_DEADLINE)
            g.remove()
        answered(t)
        equal((state_of(t, alive), bool(row_of(t, alive)[5]["from_start"])), ("active", False), "the living one")
        equal((state_of(t, gone), state_of(t, required)), (None, None), "the one that is gone and the one that was refused")
        equal(state_of(t, over), "ended", "the one whose end came late")


def flooded(t):
    """The daemon stands still and the bus keeps no more for it: the hook hears so at once, and all goes on afterwards."""
    with Bus('<limit name="max_outgoing_bytes">65536</limit>') as bus, Fake(bus) as daemon, Client(bus) as client, \
            container_group(new_id()) as g:
        name = os.path.basename(g.path).removeprefix("bus-")
        other = World(t.tap, bus, daemon, client)
        with nothing_left(bus, daemon):
            with frozen(daemon):
                for _ in range(2000):
                    message = dbus.lowlevel.MethodCallMessage(NAME, PATH, MANAGER, "ContainerStopped")
                    message.append("x" * 1000, dbus.Dictionary(signature="sv"), signature="sa{sv}")
                    message.set_no_reply(True)
                    client.connection.send_message(message)
                client.connection.flush()
                Hook(bus, name, g.pid).gave_up(["did not answer", "limit", "Limit", "full"])
            answered(other)
            let_go(bus)
            Hook(bus, name, g.pid).silent()
            equal(state_of(other, name), "active", "State")


def killed_with_calls(t):
    """The daemon is killed with twenty calls in its queue: the hooks hear so, those that were quick enough before their deadline."""
    with Bus() as bus, Fake(bus) as daemon, contextlib.ExitStack() as stack:
        groups = [stack.enter_context(container_group(new_id())) for _ in range(20)]
        daemon.freeze()
        hooks = [Hook(bus, os.path.basename(g.path).removeprefix("bus-"), g.pid) for g in groups]
        time.sleep(0.3)
        daemon.kill()
        said = []
        for hook in hooks:
            status, words, seconds = hook.end()
            equal(status, 0, f"exit status of the hook ({words!r})")
            check(seconds <= DEADLINE * PATIENCE, f"the hook took {seconds:.2f} s")
            said.append("disconnected" in words or "No daemon" in words)
        check(sum(said) > len(said) / 2, f"only {sum(said)} hooks heard of it")
        daemon.start()
        with Client(bus) as client:
            equal(client.paths(), [], "profiles of the new daemon")


# A bus that is full.


def full_bus(t, limits, fill, words):
    """The hook of a full bus gives up in time, the daemon lives, and when the bus has room again the hook is served."""
    with Bus(limits) as bus, Fake(bus) as daemon, container_group(new_id()) as g, contextlib.ExitStack() as stack:
        name = os.path.basename(g.path).removeprefix("bus-")
        fill(bus, stack)
        Hook(bus, name, g.pid).gave_up(words)
        Hook(bus, name, g.pid, "auto,required").gave_up(words, 1, REQUIRED_DEADLINE)
        Hook(bus, name, 0, status="stopped").gave_up(words)
        check(daemon.alive(), "the daemon is gone: " + daemon.log_text()[-2000:])
        if fill is nothing:
            return
        stack.close()
        eventually(lambda: Hook(bus, name, g.pid).end()[:2] == (0, ""), 10, "the hook is served again")
        with Client(bus) as client:
            equal(state_of(World(t.tap, bus, daemon, client), name), "active", "State")


def clients(bus, stack):
    with contextlib.suppress(dbus.DBusException):
        while True:
            stack.callback(dbus.bus.BusConnection(bus.address).close)


def strangers(path, stack):
    """Connections that say nothing: more than are let in, or as many as the queue of the socket takes."""
    with contextlib.suppress(BlockingIOError):
        for _ in range(100):
            s = stack.enter_context(socket.socket(socket.AF_UNIX))
            s.setblocking(False)
            s.connect(path)


def silent_clients(bus, stack):
    strangers(f"{bus.directory}/bus", stack)


def nothing(bus, stack):
    pass


def no_connections(t):
    full_bus(t, '<limit name="max_completed_connections">6</limit>', clients, ["bus", "Limit"])


def no_logins(t):
    """Connections that do not authenticate take all places, and then the queue of the socket."""
    full_bus(t, '<limit name="max_incomplete_connections">4</limit><limit name="auth_timeout">60000</limit>', silent_clients, ["bus"])


def no_replies(t):
    full_bus(t, '<limit name="max_replies_per_connection">0</limit>', nothing, ["repl", "Limit", "limit"])


def queue_in_between(t):
    """The socket's queue is full for a moment, as when many start at once: the hook tries again. Ours stands in for the bus's."""
    name = new_id()
    with container_group(name) as g, Scratch() as directory, contextlib.ExitStack() as stack:
        path = f"{directory}/bus"
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(path)
        listener.listen(0)
        strangers(path, stack)
        hook = Hook(types.SimpleNamespace(address=f"unix:path={path}"), name, g.pid)
        time.sleep(0.3)
        check(hook.process.poll() is None, "the hook has given up already")
        os.symlink(f"{t.bus.directory}/bus", f"{path}.new")
        os.rename(f"{path}.new", path)
        hook.silent()
        equal((state_of(t, name), bool(row_of(t, name)[5]["from_start"])), ("active", True), "State and from_start")


class World:
    def __init__(self, tap, bus, daemon, client):
        self.tap, self.bus, self.daemon, self.client = tap, bus, daemon, client


CASES = (
    (f"{AT_ONCE} hooks at once", at_once),
    ("a pid that is another process's by now", pid_reused),
    ("ContainerStopped about an earlier life", word_of_an_earlier_life),
    ("a second life in the same cgroup", second_life_in_the_same_cgroup),
    ("calls that are read after their deadline", late_calls),
    ("a full queue in between", queue_in_between),
    ("a stopped daemon's queue is full", flooded),
    ("a daemon that is killed with calls in its queue", killed_with_calls),
    ("a bus without a free connection", no_connections),
    ("a bus that lets nobody log in", no_logins),
    ("a bus that takes no more calls", no_replies),
)


def undisturbed(t, function):
    with nothing_left(t.bus, t.daemon):
        function(t)
    t.daemon.wait_counting(0)
    check(t.daemon.alive(), "the daemon is gone: " + t.daemon.log_text()[-2000:])


def tests(tap):
    with Bus() as bus, Fake(bus) as daemon, Client(bus) as client:
        t = World(tap, bus, daemon, client)
        with container_group("first") as group:  # what is opened once and kept is open now
            register(t, "first", group.pid)
            group.remove()
            report_of(t, "first")
        words = os.environ.get("MEMCGPROF_RACES", "").split(",")
        for name, function in (case for case in CASES if any(word in case[0] for word in words)):
            daemon.write()
            tap.case(name, undisturbed, t, function)


main(tests)
