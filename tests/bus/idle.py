#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The exit on idle: when it comes and when not, and that no call is lost over it, on a bus that starts the daemon by its name."""

import contextlib
import os
import random
import shlex
import signal
import socket
import threading
import time

import dbus
from bus import Bus
from client import Client
from group import Group
from proc import PATIENCE, SOURCE, ended_pid, eventually
from tap import Failure, check, equal, main

from fake import Fake

ROUNDS = 200
FAREWELLS = 8


class Activated(Fake):
    """memcgprofd-fake that only the bus starts. `through`: the address that it has its bus at; systemd: it is told that there is one."""

    def __init__(self, bus, idle, root="/nonexistent", through=None, systemd=False):
        self.idle, self.systemd = idle, systemd
        super().__init__(bus, *([f"--bus={through}"] if through else []), root=root)

    def start(self, seconds=60):
        self.configure(f"[Daemon]\nIdleExit={self.idle}\n[Profiles]\nResidueKeep=0\n")
        starter, self.starts, self.status = (f"{self.directory}/{name}" for name in ("starter", "starts", "status"))
        notify = f"NOTIFY_SOCKET={self.directory}/notify " if self.systemd else ""
        with open(starter, "w", encoding="ascii") as f:
            f.write(f"#!/bin/sh\necho $$ >>{self.starts}\n{notify}{shlex.join(self.command())}\necho $? >>{self.status}\n")
        os.chmod(starter, 0o700)
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notified.bind(f"{self.directory}/notify")
        self.bus.activate([starter])

    def stop(self):
        """It ends by itself, now that nobody calls: or else it would outlive its files."""
        self.notified.close()
        pid = self.bus.owner()
        if pid and pid != os.getpid():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        eventually(lambda: len(self.words(self.starts)) == len(self.statuses()), 20, "all that were started have ended")

    @staticmethod
    def words(path):
        with contextlib.suppress(FileNotFoundError), open(path, encoding="ascii") as f:
            return f.read().split()
        return []

    def statuses(self):
        """Exit statuses of those that have ended."""
        return self.words(self.status)


class Relay:
    """Stands between the daemon and its bus. When the daemon says a certain word for the first time, a call is made, and the bus
    hears the word only after the daemon has got the call."""

    def __init__(self, bus, word, call):
        self.bus, self.word, self.call, self.heard = bus, word, call, 0
        self.delivered = threading.Event()
        self.path = f"{bus.services}/relay"
        self.address = f"unix:path={self.path}"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(self.bus.address.split("=", 1)[1].split(",")[0])
                for pair in (near, far, True), (far, near, False):
                    threading.Thread(target=self.forward, args=pair, daemon=True).start()

    def forward(self, from_, to, watched):
        with contextlib.suppress(OSError):
            while data := from_.recv(1 << 16):
                if watched and self.word in data:
                    self.heard += 1
                    if self.heard == 1:
                        threading.Thread(target=self.call, daemon=True).start()
                        self.delivered.wait(20 * PATIENCE)
                to.sendall(data)
                if not watched and b"StartProfile" in data:
                    self.delivered.set()
        for s in from_, to:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def activated(idle, **options):
    with Bus() as bus, Activated(bus, idle, **options) as daemon, Client(bus) as client:
        yield bus, daemon, client


def gone(bus, pid, seconds=10):
    ended_pid(pid, seconds)
    equal(bus.owner(), None, "who has the name after the exit")


def exits_and_comes_back():
    with activated("200ms") as (bus, _, client):
        client.paths()
        first = bus.owner()
        check(first, "a call did not start it")
        gone(bus, first)
        client.paths()
        second = bus.owner()
        check(second and second != first, f"after the exit: {second}, before: {first}")


def calls_keep_it():
    with activated("600ms") as (bus, _, client):
        client.paths()
        pid = bus.owner()
        for _ in range(8):
            time.sleep(0.2)
            client.paths()
        equal(bus.owner(), pid, "who answers after 1.6 s of calls")
        gone(bus, pid)


def a_profile_keeps_it():
    with activated("200ms") as (bus, _, client), Group() as g:
        path = client.start(g)
        pid = bus.owner()
        time.sleep(1.5)
        equal(bus.owner(), pid, "who has the name while something is profiled")
        equal(client.paths(), [path], "profiles")
        client.stop(path)
        gone(bus, pid)


def an_ended_one_does_not():
    """ResidueKeep=0: what has ended is gone with its report, and the report is on disk."""
    with activated("200ms") as (bus, daemon, client):
        with Group() as g:
            client.start(g)
            pid = bus.owner()
        gone(bus, pid)
        equal(len(daemon.reports()), 1, "reports")


def the_record_does_not():
    """The kernel's own record is the host's profile, and it costs nothing."""
    with activated("200ms", root=os.path.join(SOURCE, "tests/fixtures/allocinfo/7.2")) as (bus, _, client):
        check(client.has_record(), "the fixture is not taken for the kernel's record")
        gone(bus, bus.owner())


def stays_where_nobody_would_start_it():
    with Bus() as bus:
        daemon = Fake(bus)
        start = daemon.start

        def configured(seconds=60):
            daemon.configure("[Daemon]\nIdleExit=100ms\n")
            start(seconds)

        daemon.start = configured
        with daemon:
            eventually(lambda: "Not exiting when idle" in daemon.log_text(), 10, "it says that it stays")
            time.sleep(0.5)
            check(daemon.alive(), "it exited")
            equal(bus.owner(), daemon.process.pid, "who has the name")


def a_late_call_is_answered():
    """Calls that wait in its socket when the time has passed: it looks at both at once."""
    with activated("200ms") as (bus, _, client), Group() as g:
        client.paths()
        pid = bus.owner()
        os.kill(pid, signal.SIGSTOP)
        answers = []
        thread = threading.Thread(target=lambda: answers.append(Client(bus).start(g)))
        thread.start()
        time.sleep(0.6)
        os.kill(pid, signal.SIGCONT)
        thread.join(20 * PATIENCE)
        check(answers, "the call was not answered")
        equal(client.paths(), answers, "profiles")
        client.stop(*answers)


def a_call_during_the_farewell():
    """The bus stands still while the daemon asks whether it may go, and has a call for it when it moves again."""
    stayed = 0
    with activated("250ms") as (bus, _, client), Group() as g, Client(bus) as other:
        for i in range(FAREWELLS):
            client.paths()
            pid = bus.owner()
            bus.freeze()
            answers = []
            thread = threading.Thread(target=lambda: answers.append(other.start(g)))
            thread.start()
            time.sleep(0.5)
            bus.thaw()
            thread.join(20 * PATIENCE)
            check(answers, f"call {i} was not answered")
            equal(client.paths(), answers, "profiles after it")
            stayed += bus.owner() == pid
            client.stop(*answers)
    check(stayed > 0, "none of the calls reached the daemon that was about to go")


def a_profile_begins_after_the_goodbye(systemd):
    """The name is about to be released, and the last call that comes by it begins a profile."""
    begun = []
    with Bus() as bus, Group() as g, Client(bus) as client, Client(bus) as late:
        with Relay(bus, b"ReleaseName", lambda: begun.append(late.start(g))) as relay, \
                Activated(bus, "100ms", through=relay.address, systemd=systemd) as daemon:
            client.paths()
            eventually(lambda: begun, 20, "the daemon says goodbye")
            if systemd:  # it cannot go back: whoever started it is asked to do so again
                eventually(daemon.statuses, 20, "it exits")
                equal(daemon.statuses(), ["75"], "exit statuses")
                check(daemon.reports(), "what had begun left no report")
                return
            eventually(lambda: bus.owner() is not None, 20, "the name has an owner again")
            equal((client.paths(), daemon.statuses()), (begun, []), "profiles and exits")
            client.stop(*begun)
            eventually(daemon.statuses, 20, "it exits, now that nothing is profiled")
            equal((daemon.statuses(), relay.heard), (["0"], 2), "exit statuses and goodbyes")


def no_call_is_lost():
    """Calls around the moment of the exit, some of which begin a profile. None fails, whoever answers it."""
    with activated("20ms") as (_, daemon, client), Group() as g:
        for i in range(ROUNDS):
            try:
                if i % 2:
                    path = client.start(g)
                    client.get(path, "org.memcgprof1.Profile", "State")
                    client.stop(path)
                else:
                    client.paths()
            except dbus.DBusException as e:
                raise Failure(f"call {i}: {e.get_dbus_name()}: {e.get_dbus_message()}") from e
            time.sleep(random.uniform(0.018, 0.028))
        exits = len(daemon.statuses())
    check(exits > ROUNDS // 20, f"it exited only {exits} times")


def cases(tap):
    tap.case("it exits when idle, and a call starts it again", exits_and_comes_back)
    tap.case("calls keep it", calls_keep_it)
    tap.case("a profile keeps it", a_profile_keeps_it)
    tap.case("what has ended keeps it only for ResidueKeep=", an_ended_one_does_not)
    tap.case("the kernel's own record does not keep it", the_record_does_not)
    tap.case("it stays where no call would start it again", stays_where_nobody_would_start_it)
    tap.case("a call that was waiting when the time had passed is answered", a_late_call_is_answered)
    tap.case("calls that come while it says goodbye are answered", a_call_during_the_farewell)
    tap.case("a profile that begins after the goodbye is kept", a_profile_begins_after_the_goodbye, False)
    tap.case("where systemd knows of the goodbye, the daemon asks to be started again", a_profile_begins_after_the_goodbye, True)
    tap.case("no call around an exit is lost", no_call_is_lost)


if __name__ == "__main__":
    main(cases)
