#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The exit on idle: when it comes and when not, and that no call is lost over it, on a bus that starts the daemon by its name."""

import contextlib
import os
import random
import signal
import threading
import time

import dbus
from bus import Bus
from client import Client
from group import Group
from proc import PATIENCE, SOURCE, ended_pid, eventually
from tap import check, equal, main

from fake import Fake

ROUNDS = 60


class Activated(Fake):
    """memcgprofd-fake that only the bus starts."""

    def __init__(self, bus, idle, root="/nonexistent"):
        self.idle = idle
        super().__init__(bus, root=root)

    def start(self, seconds=60):
        self.configure(f"[Daemon]\nIdleExit={self.idle}\n[Profiles]\nResidueKeep=0\n")
        self.bus.activate(self.command())

    def stop(self):
        """It ends by itself, now that nobody calls: or else it would outlive its files."""
        pid = self.bus.owner()
        if pid:
            os.kill(pid, signal.SIGTERM)
            ended_pid(pid, 20)


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


class Caller(threading.Thread):
    """One call on a connection of its own; what went wrong is kept."""

    def __init__(self, bus, g):
        super().__init__()
        self.bus, self.g, self.error = bus, g, None

    def run(self):
        try:
            with Client(self.bus) as client:
                if self.g is None:
                    client.paths()
                    return
                path = client.start(self.g)
                client.get(path, "org.memcgprof1.Profile", "State")
                client.stop(path)
        except dbus.DBusException as e:
            self.error = f"{e.get_dbus_name()}: {e.get_dbus_message()}"


def no_call_is_lost():
    """Calls at random moments around the exit, some that begin a profile. None fails, whoever answers it."""
    pids = set()
    with activated("20ms") as (bus, _, _), Group() as g:
        for i in range(ROUNDS):
            callers = [Caller(bus, g if i % 2 else None)] + ([Caller(bus, None)] if i % 3 == 0 else [])
            for caller in callers:
                caller.start()
                time.sleep(random.uniform(0, 0.005))
            pid = bus.owner()
            if pid:
                pids.add(pid)
            for caller in callers:
                caller.join(60 * PATIENCE)
                check(not caller.is_alive() and not caller.error, f"call {i}: {caller.error or 'not answered'}")
            time.sleep(random.uniform(0.01, 0.05))
    check(len(pids) > ROUNDS // 10, f"it exited only {len(pids)} times")


def cases(tap):
    tap.case("it exits when idle, and a call starts it again", exits_and_comes_back)
    tap.case("calls keep it", calls_keep_it)
    tap.case("a profile keeps it", a_profile_keeps_it)
    tap.case("what has ended keeps it only for ResidueKeep=", an_ended_one_does_not)
    tap.case("the kernel's own record does not keep it", the_record_does_not)
    tap.case("it stays where no call would start it again", stays_where_nobody_would_start_it)
    tap.case("a call that was waiting when the time had passed is answered", a_late_call_is_answered)
    tap.case("no call around an exit is lost", no_call_is_lost)


if __name__ == "__main__":
    main(cases)
