#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon as a service: what the configuration changes, what the journal is told, and that nobody who does not read can stop it."""

import contextlib
import fcntl
import json
import os
import socket
import time

import dbus
from bus import Bus, Signals
from client import ERROR, Client, refused
from group import Group, container_group, new_id
from proc import PATIENCE, built, eventually, run
from tap import check, equal, main

from fake import FAKE, ROWS, Fake

BEGUN, ENDED, REPORT = "0df6a8602cde41078ea4e869a7a5ed35", "5b208c26d919437c9b63c6127319a4fb", "0885067ec5f047f3a7df3c3cce84ee1c"
MODE, LOST, CONFIG = "1ef54c8b98934aa4bd1b4c9e9c2f2389", "cd2d6d97c13043a1ab3d1d99f5313cb5", "c772d24e9a884cbeb9ea12625c306c01"

LATE_MS = 5000  # whoever waits for a reader waits for good: this leaves room for a disk and a machine that are busy


class Service(Fake):
    """The daemon with a configuration, and with a journal that is ours to read, or not to read."""

    log_target = "auto"

    def __init__(self, bus, text="", journal=True, options=()):
        self.text, self.with_journal, self.journal, self.backlog = text, journal, None, []
        super().__init__(bus, *options)

    def start(self, seconds=60):
        self.configure(self.text)
        if self.with_journal:
            self.journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self.journal.bind(os.path.join(self.directory, "script.journal"))
        super().start(seconds)

    def stop(self):
        try:
            super().stop()
        finally:
            if self.journal:
                self.journal.close()
                self.journal = None

    def read(self):
        """What has been written since the last call, as dictionaries."""
        while True:
            try:
                text = self.journal.recv(65536, socket.MSG_DONTWAIT).decode()
            except BlockingIOError:
                return
            check(text.endswith("\n"), f"not a whole entry: {text!r}")
            self.backlog.append(dict(line.split("=", 1) for line in text.splitlines()))

    def entries(self):
        """All that nobody has looked at yet."""
        self.read()
        found, self.backlog = self.backlog, []
        return found

    def wait_entry(self, message):
        """The next entry with this message id; those before it are dropped."""
        def look():
            self.read()
            while self.backlog:
                entry = self.backlog.pop(0)
                if entry.get("MESSAGE_ID") == message:
                    return entry
            return None

        return eventually(look, 10, f"an entry {message}")


@contextlib.contextmanager
def service(text="", **keywords):
    with Bus() as bus, Service(bus, text, **keywords) as daemon, Client(bus) as client:
        yield bus, daemon, client


def annotated(client, name, g, spec):
    annotations = dbus.Dictionary({"org.memcgprof.profile": spec}, signature="ss")
    path, mode = client.manager("RegisterContainer", name, options={"pid": dbus.UInt32(g.pid), "annotations": annotations})
    return str(path), str(mode)


def annotations_are_capped():
    name = new_id()
    for text, mode, missing in ("", "auto", ["single"]), ("[Annotations]\nAllowSingle=yes\n", "single", []):
        with service(text) as (_, daemon, client), container_group(name) as g, Group() as other:
            path, _ = annotated(client, name, g, "single")
            profile = json.loads(client.profile(path, "GetSummary"))["profile"]
            equal([gap["word"] for gap in profile["unavailable"]], missing, f"with {text!r}")
            if mode == "single":
                refused(ERROR + "Busy", name[:12], client.start, other)
            else:
                client.start(other)


def pools_are_as_configured():
    with service("[Pools]\nGroupsMax=1\n") as (_, _, client), Group() as a, Group() as b:
        client.start(a)
        refused(ERROR + "Limit", "1", client.start, b)
    with service("[Pools]\nGroupsMax=1\n", options=["--groups-max=2"]) as (_, _, client), Group() as a, Group() as b:
        client.start(a)
        client.start(b)


def reports_are_capped():
    with service("[Reports]\nCountMax=1\n") as (bus, daemon, client), Signals(bus, "ProfileFinished") as finished:
        for _ in range(4):
            with Group() as g:
                path = client.start(g)
                client.stop(path)
                last = finished.of(path)
        # Of those of one second any may be the oldest; the one that was just written stays.
        eventually(lambda: len(daemon.reports()) <= 2, 10, "reports beyond the cap go")
        check(last in daemon.reports(), "the last one went")


def residue_is_kept_as_configured():
    with service("[Profiles]\nResidueKeep=0\n") as (bus, daemon, client), Signals(bus, "ProfileRemoved") as removed:
        with Group() as g:
            path = client.start(g)
        equal(removed.next(), [path], "what was removed after its report")
        equal(len(eventually(daemon.reports, 10, "the report")), 1, "reports")
    with service("[Profiles]\nResidueKeep=infinity\n") as (_, daemon, client):
        with Group() as g:
            path = client.start(g)
        eventually(daemon.reports, 10, "the report")
        equal(client.paths(), [path], "profiles after the report")


def a_wrong_line_is_told():
    with service("[Pools]\nGroupsMax=many\nGroupsMax=\n[Pools]\nSitesMax=\\\n\x1b[2Jx\n") as (_, daemon, client):
        client.paths()
        entries = [e for e in daemon.entries() if e.get("MESSAGE_ID") == CONFIG]
        equal([e["CONFIG_LINE"] for e in entries], ["2", "5"], "lines")
        file = daemon.config_root + "/etc/memcgprof/memcgprofd.conf"
        equal({e["CONFIG_FILE"] for e in entries}, {file}, "file")
        equal(entries[0]["MESSAGE"], f"{file}:2: GroupsMax= takes a number from 1 to 16384, not 'many'. The line is ignored.", "sentence")
        equal(entries[0]["PRIORITY"], "4", "priority")


def what_results_is_shown():
    with service("[Pools]\nGroupsMax=77\nSitesMax=x\n", options=["--sites-max=512"]) as (_, daemon, _):
        done = run([*daemon.command()[:4], *daemon.arguments(), "--show-config"])
        equal(done.returncode, 0, "status")
        check("\nGroupsMax=77\n" in done.stdout and "\nSitesMax=512\n" in done.stdout and "\nSettleTime=100ms\n" in done.stdout, done.stdout)
        check(":3: SitesMax= takes" in done.stderr, done.stderr)
    done = run([built(FAKE), "x", "x", "x", "--groups-max=0"])
    equal(done.returncode, 2, "status of a wrong option")
    check("--groups-max: GroupsMax= takes a number from 1 to 16384" in done.stderr, done.stderr)


def life_in_the_journal():
    name = new_id()
    with service() as (_, daemon, client):
        daemon.entries()
        with container_group(name) as g:
            path, _ = annotated(client, name, g, "auto")
            begun = daemon.wait_entry(BEGUN)
            subject = {"MEMCGPROF_CONTAINER": name, "MEMCGPROF_CGROUP": g.path, "MEMCGPROF_PROFILE": path}
            equal({k: v for k, v in begun.items() if k in subject}, subject, "the beginning")
            check("MEMCGPROF_REPORT" not in begun, "a report at the beginning")
            equal(begun["SYSLOG_IDENTIFIER"], "memcgprofd", "identifier")
            daemon.write(ROWS, lost={"recursion_misses": 12})
        ended = daemon.wait_entry(ENDED)
        equal({k: v for k, v in ended.items() if k in subject}, subject, "the end")
        subject["MEMCGPROF_REPORT"], = eventually(daemon.reports, 10, "a report")
        report = daemon.wait_entry(REPORT)
        equal({k: v for k, v in report.items() if k in subject}, subject, "the report")
        lost = daemon.wait_entry(LOST)
        equal({k: v for k, v in lost.items() if k in subject}, subject, "what was lost")
        check("recursion_misses 12" in lost["MESSAGE"] and lost["PRIORITY"] == "4", str(lost))
        client.manager("SetMode", "multi")
        mode = daemon.wait_entry(MODE)
        equal((mode["MESSAGE"], mode["PRIORITY"]), ("Mode is multi.", "5"), "the mode")


def a_name_stays_one_line():
    """What a container is called cannot forge a field."""
    name = f"{new_id()}\nMESSAGE_ID=forged"
    with service() as (_, daemon, client), Group() as g:
        client.manager("RegisterContainer", name, options={"cgroup": g.path})
        equal(daemon.wait_entry(BEGUN)["MEMCGPROF_CONTAINER"], name.replace("\n", "\\x0a"), "id")


def times(client, n):
    """Milliseconds, sorted, of n calls, each of which writes a line (and the mode to the disk)."""
    found = []
    for i in range(n):
        begin = time.monotonic()
        client.manager("SetMode", "multi" if i % 2 else "auto")
        found.append(1000 * (time.monotonic() - begin))
    return sorted(found)


def shown(t):
    return f"median {t[len(t) // 2]:.2f} ms, slowest {t[-1]:.1f} ms of {len(t)} calls"


def a_stopped_journal(tap):
    """Its socket is full and nobody reads: no call waits for it, and what was dropped is told afterwards."""
    with service() as (_, daemon, client):
        daemon.entries()
        read = []
        for _ in range(40):
            read += times(client, 5)
            daemon.entries()
        stopped = times(client, 500)
        tap.diag(f"journal that is read: {shown(sorted(read))}; stopped: {shown(stopped)}")
        check(stopped[-1] < LATE_MS * PATIENCE, f"a call took {stopped[-1]:.0f} ms")
        kept = len(daemon.entries())
        client.manager("SetMode", "multi")
        said = daemon.wait_entry(MODE)["MESSAGE"]
        equal(said, f"Mode is multi. ({500 - kept} earlier lines were dropped)", "the first line that gets through")
        client.manager("SetMode", "auto")
        equal(daemon.wait_entry(MODE)["MESSAGE"], "Mode is auto.", "the next line")


def a_stuck_terminal():
    """Without a journal lines go to standard error: here a pipe that nobody reads."""
    with Bus() as bus:
        daemon = Service(bus, journal=False)
        start = daemon.start

        def into_a_pipe(seconds=60):
            os.mkfifo(daemon.log)
            daemon.reader = os.open(daemon.log, os.O_RDONLY | os.O_NONBLOCK)
            fcntl.fcntl(daemon.reader, fcntl.F_SETPIPE_SZ, 4096)
            start(seconds)

        daemon.start = into_a_pipe
        daemon.log_text = lambda: ""
        with daemon, Client(bus) as client:
            taken = times(client, 500)
            check(taken[-1] < LATE_MS * PATIENCE, f"a call took {taken[-1]:.0f} ms")
            lines = os.read(daemon.reader, 1 << 20).count(b"\n")
            check(0 < lines < 400, f"{lines} lines in a pipe of one page: it was not full")
        os.close(daemon.reader)


def cases(tap):
    tap.case("annotations are capped as configured", annotations_are_capped)
    tap.case("tables are as large as configured, and options outrank it", pools_are_as_configured)
    tap.case("reports are capped as configured", reports_are_capped)
    tap.case("what has ended is kept as long as configured", residue_is_kept_as_configured)
    tap.case("a wrong line is told with its place, and the daemon runs", a_wrong_line_is_told)
    tap.case("--show-config prints what results", what_results_is_shown)
    tap.case("the life of a profile is in the journal, with fields", life_in_the_journal)
    tap.case("names cannot forge fields", a_name_stays_one_line)
    tap.case("a stopped journal holds nobody", a_stopped_journal, tap)
    tap.case("a stuck standard error holds nobody", a_stuck_terminal)


if __name__ == "__main__":
    main(cases)
