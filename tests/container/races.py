#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Races of real containers with the daemon, the bus and the journal. After each: the container was as it is without a hook, it
was not later than the hook's deadline, the daemon holds what it held before, and what was counted is in a report."""

import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import tempfile
import threading
import time

import dbus
from bus import NAME, Bus
from client import ERROR, Client
from container import Container, hook_entry, memory_hierarchy, need_containers
from crowd import Crowd
from daemon import Daemon
from group import Group
from proc import PATIENCE, built, ended, eventually, need, run, stop
from rest import let_go, nothing_left
from summary import Summary
from tap import Skip, check, equal, main
from validate import validated

KEY = "org.memcgprof.profile"
ON, REQUIRED = {KEY: "auto"}, {KEY: "auto,required"}
TRUE = ("/bin/busybox", "true")
DEADLINE = 1.0  # seconds that one run of the hook may take in all
REQUIRED_DEADLINE = 4.0
SLACK = 0.5  # for the noise of two runs of runc
AT_ONCE = 200
READERS = 3

# Hooks in front of ours. They read the OCI state.
KILLER = """#!/bin/sh
state=$(cat); pid=${state#*\\"pid\\":}; pid=${pid%%[!0-9]*}
kill -9 $pid
while mode=$(cut -d' ' -f3 /proc/$pid/stat 2>/dev/null) && [ "$mode" != Z ]; do sleep 0.01; done
"""
NOTER = """#!/bin/sh
cat >DIRECTORY/noted.new; mv DIRECTORY/noted.new DIRECTORY/noted
"""
WAITER = """#!/bin/sh
cat >/dev/null; touch DIRECTORY/waits
while [ ! -e DIRECTORY/go ]; do sleep 0.01; done
"""
TELLER = """#!/bin/sh
exec "HOOK" "$@" 2>>DIRECTORY/said
"""


def hook_script(directory, name, text):
    """An entry for hooks.<stage> out of a script; DIRECTORY and HOOK stand for the scratch directory and our hook."""
    path = f"{directory}/{name}"
    with open(path, "w", encoding="ascii") as f:
        f.write(text.replace("DIRECTORY", directory).replace("HOOK", built("hooks/memcgprof-hook")))
    os.chmod(path, 0o755)
    return {"path": path, "args": [name], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], "timeout": 20}


def at_most(usual, delay=0.0):
    """Seconds: twice what it takes without a hook, for a machine that has become busier meanwhile, and what the hook may take."""
    return 2 * usual + delay + SLACK * PATIENCE


def timed(function, *arguments):
    begin = time.monotonic()
    value = function(*arguments)
    return value, time.monotonic() - begin


class World:
    """A bus, a daemon and the time that a container takes without a hook."""

    def __init__(self, tap, bus, daemon, usual):
        self.tap, self.bus, self.daemon, self.usual = tap, bus, daemon, usual

    def place(self):
        """A directory of its own for what a case needs."""
        return tempfile.mkdtemp(dir=self.daemon.directory)

    def ours(self):
        return [hook_entry(self.bus.address)]

    def known(self, container_id):
        """Its row of ListProfiles, or None."""
        return next((row for row in self.bus.manager("ListProfiles", "a{sv}", 0)[0] if row[2] == container_id), None)

    def report_files(self, container_id):
        files = [f for f in self.daemon.reports() if os.path.basename(f).startswith(container_id + "-")]
        return sorted(files, key=lambda f: int(f.rsplit("-", 1)[1].removesuffix(".json")))

    def reports(self, container_id, n=1):
        """Its reports, oldest first, when there are `n`."""
        eventually(lambda: len(self.report_files(container_id)) >= n, 20, f"{n} reports of {container_id}", 0.05)
        documents = []
        for file in self.report_files(container_id):
            with open(file, encoding="utf-8") as f:
                documents.append(validated(f.read(), "memcgprof.report"))
        equal(len(documents), n, f"reports of {container_id}")
        return documents

    def unknown(self, container_id):
        check(self.known(container_id) is None, f"{container_id} is profiled")
        equal(self.report_files(container_id), [], f"reports of {container_id}")


def as_without(w, make, delay=0.0):
    """make(ours) is run without our hook and with it: status and output are the same, `delay` is all that it may take longer.
    Returns the box of the run with it."""
    with make([]) as plain:
        (status, output, errors), usual = timed(plain.run)
    with make(w.ours()) as box:
        (got, text, said), seconds = timed(box.run)
        equal((got, text), (status, output), f"exit status and output ({errors!r}, {said!r})")
        check(seconds <= at_most(usual, delay), f"{seconds:.2f} s, and {usual:.2f} s without the hook")
        check(not os.path.exists(f"{box.bundle}/state/{box.id}"), "the runtime has kept it")
    return box


def scripted(w, text, ours):
    """A container with a script's hook in front of ours."""
    directory = w.place()
    front = hook_script(directory, "front", text)
    box = Container(TRUE, annotations=ON, hooks={"createRuntime": [front, *ours], "poststop": ours})
    box.noted = f"{directory}/noted"
    return box


def hook_waits(runtime):
    """Waits until our hook, a child of this runtime, sleeps in its call. Returns its pid."""
    def sleeping():
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            with contextlib.suppress(OSError):
                with open(f"/proc/{name}/stat", encoding="utf-8") as f:
                    pid, rest = f.read().split(" (", 1)
                comm, rest = rest.rsplit(") ", 1)
                state, parent = rest.split()[:2]
                if comm == "memcgprof-hook" and int(parent) == runtime and state == "S":
                    return int(pid)
        return None
    pid = eventually(sleeping, 20, "the hook waits for the daemon", 0.005)
    time.sleep(0.1)  # it sleeps for the bus first, which does not take so long
    return pid


# Death and failure around the hook.


def dead_before_connecting(w):
    box = as_without(w, lambda ours: scripted(w, KILLER, ours))
    w.unknown(box.id)


def dies_while_the_call_waits(w):
    """The daemon reads a call whose process is a zombie by then."""
    with scripted(w, NOTER, w.ours()) as box:
        w.daemon.freeze()
        try:
            process = subprocess.Popen(box.command("run", "--bundle", box.bundle, box.id), stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)
            hook_waits(process.pid)
            with open(box.noted, encoding="utf-8") as f:
                os.kill(json.load(f)["pid"], signal.SIGKILL)
            time.sleep(0.05)
        finally:
            w.daemon.thaw()
        check(ended(process, 10), "runc did not end")
        process.stderr.close()
        check(process.returncode != 0, "it started although it was killed")
        w.bus.property("/org/memcgprof1", "org.memcgprof1.Manager", "Mode")  # it has worked off what came before
        w.unknown(box.id)


def second_hook_fails(w):
    def make(ours):
        return Container(TRUE, annotations=ON, hooks={"createRuntime": [*ours, {"path": "/bin/false"}], "poststop": ours})
    box = as_without(w, make)
    end = w.reports(box.id)[0]["end"]
    check(end["source"] in ("poststop", "cgroup-removed"), f"end is {end}")


def no_such_program(w):
    def make(ours):
        return Container(("/bin/nothing",), annotations=ON, hooks={"createRuntime": ours, "poststop": ours})
    box = as_without(w, make)
    end = w.reports(box.id)[0]["end"]
    check(end["source"] in ("poststop", "cgroup-removed"), f"end is {end}")


def runtime_killed(w):
    """Nobody starts it and nobody stops it: the profile is there until somebody takes the cgroup away."""
    with Container(TRUE, annotations=ON, hooks={"createRuntime": w.ours(), "poststop": w.ours()}) as box:
        w.daemon.freeze()
        try:
            process = subprocess.Popen(box.command("run", "--bundle", box.bundle, box.id), stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
            hook = hook_waits(process.pid)
            process.kill()
            process.wait()
        finally:
            w.daemon.thaw()
        eventually(lambda: not os.path.exists(f"/proc/{hook}"), 5, "the hook has ended")
        mount, _ = memory_hierarchy()
        directory = run(["find", mount, "-depth", "-type", "d", "-name", f"*{box.id}*"]).stdout.splitlines()
        check(directory, "runc has left no cgroup, so there is nothing to test")
        for name in directory:
            eventually(lambda n=name: remove(n), 10, f"{name} is empty")
        if w.known(box.id):
            equal(w.reports(box.id)[0]["end"]["source"], "cgroup-removed", "source")


def remove(directory):
    try:
        os.rmdir(directory)
    except OSError:
        return False
    return True


def start_without_stop(w):
    box = as_without(w, lambda ours: Container(("/bin/sh", "-c", "exit 3"), annotations=ON, hooks={"createRuntime": ours}))
    end = w.reports(box.id)[0]["end"]
    equal(end["source"], "cgroup-removed", "source")
    check(end["exit_code"] == 3 or end["exit_code"] is None and end["exit_code_reason"], f"end is {end}")


def stop_without_start(w):
    box = as_without(w, lambda ours: Container(("/bin/sh", "-c", "exit 4"), annotations=ON, hooks={"poststop": ours}))
    w.unknown(box.id)


def one_millisecond(w):
    """Each of them is in a report, from its start on, with what it allocated."""
    for _ in range(10):
        box = as_without(w, lambda ours: Container(TRUE, annotations=ON, hooks={"createRuntime": ours, "poststop": ours}))
        report = w.reports(box.id)[0]
        equal((report["profile"]["from_start"], report["end"]["source"]), (True, "poststop"), "from_start and source")
        check(report["end"]["exit_code"] in (0, None), f"end is {report['end']}")
        check(report["summary"]["totals"]["allocated_calls"] > 100, f"totals are {report['summary']['totals']}")


# Many.


def line_of(process, seconds):
    fd = process.stdout.fileno()
    end = time.monotonic() + seconds * PATIENCE
    text = b""
    os.set_blocking(fd, False)
    while b"\n" not in text:
        check(time.monotonic() < end and process.poll() is None, f"no first word, status {process.returncode}: {text}")
        with contextlib.suppress(BlockingIOError):
            text += os.read(fd, 4096)
        time.sleep(0.005)
    return text.decode().strip()


def started_at_once(w, crowd, ids):
    """Starts all, waits until all run, and lets all exit. Returns how long the starts took and the rows of those that run."""
    begin = time.monotonic()
    boxes = {i: crowd.spawn(i, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for i in ids}
    try:
        for i, process in boxes.items():
            equal(line_of(process, 120), "up", f"first word of {i}")
        took = time.monotonic() - begin
        rows = {row[2]: row for row in w.bus.manager("ListProfiles", "a{sv}", 0)[0] if row[3] == "active"}
        for process in boxes.values():
            process.stdin.write(b"exit 7\n")
            process.stdin.flush()
        for i, process in boxes.items():
            check(ended(process, 60), f"{i} did not end")
            equal(process.returncode, 7, f"exit status of {i}")
    finally:
        for process in boxes.values():
            if process.poll() is None:
                process.kill()
                process.wait()
            process.stdin.close()
            process.stdout.close()
    return took, rows


def at_once(w):
    """All of them run, with their exit status; and whose hook did not say that it gave up is measured from its start."""
    ids = [f"memcgproftestcrowd{os.getpid()}x{i:03}" for i in range(AT_ONCE)]
    with Crowd(("/bin/workload",)) as crowd:
        for i in ids:
            crowd.bundle(i)
        bare, _ = started_at_once(w, crowd, ids)
        teller = hook_script(crowd.directory, "teller", TELLER)
        teller["args"] = ["teller", f"--bus={w.bus.address}"]
        for i in ids:
            crowd.bundle(i, {"createRuntime": [teller], "poststop": [teller]}, ON)
        took, rows = started_at_once(w, crowd, ids)
        equal(crowd.left(), [], "containers that the runtime still knows")
        said = ""
        with contextlib.suppress(FileNotFoundError), open(f"{crowd.directory}/said", encoding="utf-8") as f:
            said = f.read()
    late = {i for i in ids if f"memcgprof-hook: {i}: " in said}
    measured = {i for i in ids if i in rows}
    w.tap.diag(f"{AT_ONCE} starts at once: {bare:.2f} s without a hook, {took:.2f} s with it; {len(measured)} are profiled, "
               f"{len(late)} hooks gave up")
    check(set(ids) == measured | late, f"neither profiled nor told: {sorted(set(ids) - measured - late)}")
    check(took <= bare * 2 + DEADLINE + SLACK, f"{took:.2f} s, and {bare:.2f} s without the hook")
    for i in sorted(measured):
        report = w.reports(i)[0]
        check(report["end"]["exit_code"] in (7, None), f"end is {report['end']}")
        if i not in late:
            equal(report["profile"]["from_start"], True, f"from_start of {i}")
            check(report["summary"]["totals"]["allocated_calls"] > 100, f"totals of {i}")


# The same id.


def same_id_again(w):
    """Five lives in a row, each with a report of its own."""
    with Container(("/bin/workload",), annotations=ON, hooks={"createRuntime": w.ours(), "poststop": w.ours()}) as box:
        for life in range(5):
            box.start()
            equal(box.end(life), life, "exit status")
            box.process.stdin.close()
            box.process.stdout.close()
            box.errors.close()
        ends = [report["end"] for report in w.reports(box.id, 5)]
    equal([end["source"] for end in ends], ["poststop"] * 5, "sources")
    check(all(end["exit_code"] in (i, None) for i, end in enumerate(ends)), f"ends are {ends}")


def late_poststop(w):
    """A runtime frees the id before it runs poststop: the word about the first life comes when the second is under way."""
    directory = w.place()
    waiter = hook_script(directory, "waiter", WAITER)
    with Container(annotations=ON, hooks={"createRuntime": w.ours(), "poststop": [waiter, *w.ours()]}) as box:
        box.start()
        first = box.process
        first.stdin.write(b"exit 1\n")
        first.stdin.flush()
        eventually(lambda: os.path.exists(f"{directory}/waits"), 10, "the first life's poststop")
        errors = box.errors
        box.start()
        row = w.known(box.id)
        equal(row and row[3], "active", "state of the second life")
        open(f"{directory}/go", "w", encoding="ascii").close()
        check(ended(first, 10), "the first life's runtime did not end")
        equal(first.returncode, 1, "exit status of the first")
        equal(w.known(box.id)[3], "active", "state of the second life after the poststop of the first")
        box.tell("hold files 100", "ready")
        equal(box.end(2), 2, "exit status of the second")
        for stream in (first.stdin, first.stdout, errors):
            stream.close()
        reports = w.reports(box.id, 2)
    equal(reports[1]["end"]["source"], "poststop", "source of the second")
    check(reports[1]["end"]["exit_code"] in (2, None), f"end is {reports[1]['end']}")
    check(reports[1]["summary"]["totals"]["allocated_bytes"] > 100 * 500, "the files of the second are not in its report")


@contextlib.contextmanager
def other_place(directory):
    """For a cgroup whose name is taken where containers usually go."""
    mount, version = memory_hierarchy()
    try:
        yield f"/{directory}"
    finally:
        for place in [mount] if version == "v2" else [os.path.join("/sys/fs/cgroup", d) for d in os.listdir("/sys/fs/cgroup")]:
            with contextlib.suppress(OSError):
                os.rmdir(os.path.join(place, directory))


def two_roots(w):
    """Two containers of one id under two runtime roots: both run undisturbed, the second has the name, and the end of the first
    is not taken for the second's."""
    hooks = {"createRuntime": w.ours(), "poststop": w.ours()}
    with Container(annotations=ON, hooks=hooks) as first, other_place(f"memcgproftest-{os.getpid()}") as place:
        def elsewhere(config):
            config["linux"]["cgroupsPath"] = f"{place}/{first.id}"
        with Container(annotations=ON, hooks=hooks, container_id=first.id, edit=elsewhere) as second:
            first.start()
            mine = w.known(first.id)[5]["cgroup_id"]["data"]
            first.tell("hold files 100", "ready")
            second.start()
            row = w.known(first.id)
            check(row[3] == "active" and row[5]["cgroup_id"]["data"] != mine, f"the second has not taken the name: {row}")
            first.tell("hold files 100", "ready")
            equal(first.end(1), 1, "exit status of the first")
            equal(w.known(first.id)[3], "active", "state of the second after the end of the first")
            second.tell("hold files 200", "ready")
            equal(second.end(2), 2, "exit status of the second")
        reports = {r["profile"]["cgroup_id"]: r for r in w.reports(first.id, 2)}
    older = reports.pop(str(mine))
    newer, = reports.values()
    equal((older["end"]["source"], newer["end"]["source"]), ("stopped", "poststop"), "sources")
    for report, files in (older, 100), (newer, 200):
        check(report["summary"]["totals"]["allocated_bytes"] > files * 500, f"the {files} files are not in the report")


# A cgroup that goes away while it is read.


def reader(w, enough, faults, counts):
    """Reads whatever there is, as fast as it can."""
    with Client(w.bus) as client:
        while not enough.is_set():
            try:
                for path in client.paths():
                    document = json.loads(client.profile(path, "GetSummary"))
                    counts[document["profile"]["state"]] = counts.get(document["profile"]["state"], 0) + 1
                    client.profile(path, "Reset") if random.random() < 0.3 else client.live_bytes(path)
            except dbus.DBusException as e:
                if e.get_dbus_name() not in (ERROR + "NoSuchProfile", ERROR + "Gone", "org.freedesktop.DBus.Error.UnknownObject"):
                    faults.append(str(e))
            except Exception as e:
                faults.append(repr(e))
                return


def removed_while_read(w):
    """Groups with a process come and go, while three clients read and reset and a fourth asks for them by path."""
    enough, faults, counts = threading.Event(), [], {}
    readers = [threading.Thread(target=reader, args=(w, enough, faults, counts)) for _ in range(READERS)]
    for thread in readers:
        thread.start()
    outcomes = {}
    try:
        with Client(w.bus) as client:
            for i in range(150):
                with Group(processes=0) as group:
                    group.spawn(("sleep", "0.02"))
                    remover = threading.Timer(random.random() * 0.05, group.remove)
                    remover.start()
                    try:
                        path, outcome = client.start(group), "begun"
                    except dbus.DBusException as e:
                        path, outcome = None, e.get_dbus_name()
                    outcomes[outcome] = outcomes.get(outcome, 0) + 1
                    remover.join()
                if path and i % 3:
                    client.stop(path)
    finally:
        enough.set()
        for thread in readers:
            thread.join()
    w.tap.diag(f"StartProfile: {outcomes}; read: {counts}")
    equal(faults, [], "answers to readers")
    check(set(outcomes) <= {"begun", ERROR + "NoSuchTarget", ERROR + "Gone"}, f"StartProfile: {outcomes}")
    check(counts.get("active") and counts.get("ended"), f"not read at the right moments: {counts}")
    with Client(w.bus) as client:
        eventually(lambda: not [r for r in client.manager("ListProfiles") if r[3] == "active"], 20, "all profiles have ended", 0.1)


# The daemon, the bus and the journal standing still or gone.


def stale_call(w):
    """The daemon stands still beyond the hook's deadline; what it reads then is late, but of a container that lives."""
    with Container(annotations=ON, hooks={"createRuntime": w.ours(), "poststop": w.ours()}) as box:
        w.daemon.freeze()
        try:
            seconds = box.start()
            check(seconds <= at_most(w.usual, DEADLINE), f"started after {seconds:.2f} s")
            time.sleep(0.2)
        finally:
            w.daemon.thaw()
        row = eventually(lambda: w.known(box.id), 10, "the late call is served")
        equal((row[3], row[5]["from_start"]["data"]), ("active", False), "state and from_start")
        box.tell("hold files 100", "ready")
        equal(box.end(5), 5, "exit status")
        report = w.reports(box.id)[0]
    equal((report["profile"]["from_start"], report["end"]["source"]), (False, "poststop"), "from_start and source")
    check(report["summary"]["totals"]["allocated_bytes"] > 100 * 500, "the files are not in the report")


def stale_required(w):
    """A required profile that does not come in time refuses the container, and what is read later begins nothing."""
    with Container(TRUE, annotations=REQUIRED, hooks={"createRuntime": w.ours()}) as box:
        w.daemon.freeze()
        try:
            (status, _, errors), seconds = timed(box.run)
        finally:
            w.daemon.thaw()
        check(status != 0 and "did not answer" in errors, f"status {status}: {errors}")
        check(seconds <= at_most(w.usual, REQUIRED_DEADLINE), f"refused after {seconds:.2f} s")
        w.bus.property("/org/memcgprof1", "org.memcgprof1.Manager", "Mode")  # it has worked off what came before
        w.unknown(box.id)


def stale_stop(w):
    """The daemon stands still when the container ends: the end is not held up, and is learnt afterwards."""
    with Container(annotations=ON, hooks={"createRuntime": w.ours(), "poststop": w.ours()}) as box:
        box.start()
        w.daemon.freeze()
        try:
            status, seconds = timed(box.end, 6)
        finally:
            w.daemon.thaw()
        equal(status, 6, "exit status")
        check(seconds <= at_most(w.usual, DEADLINE), f"ended after {seconds:.2f} s")
        end = w.reports(box.id)[0]["end"]
    check(end["source"] in ("poststop", "cgroup-removed") and end["exit_code"] in (6, None), f"end is {end}")


def bus_stands_still(w):
    """Start and end with a bus that does not answer; afterwards all goes on, and the bus holds no connection more."""
    before = len(os.listdir(f"/proc/{w.bus.process.pid}/fd"))
    with Container(annotations=ON, hooks={"createRuntime": w.ours(), "poststop": w.ours()}) as box:
        w.bus.freeze()
        try:
            seconds = box.start()
            status, more = timed(box.end, 8)
        finally:
            w.bus.thaw()
        equal(status, 8, "exit status")
        check(max(seconds, more) <= at_most(w.usual, DEADLINE), f"started after {seconds:.2f} s, ended after {more:.2f} s")
        w.unknown(box.id)
    eventually(lambda: len(os.listdir(f"/proc/{w.bus.process.pid}/fd")) <= before, 10, "the bus forgets the hooks")
    one_start(w)


def one_start(w):
    """All is well: a container is profiled from its start."""
    box = as_without(w, lambda ours: Container(TRUE, annotations=ON, hooks={"createRuntime": ours, "poststop": ours}))
    equal(w.reports(box.id)[0]["profile"]["from_start"], True, "from_start")


def killed_while_the_hook_waits(w):
    """The daemon is killed with the call in its queue: the hook hears of it at once and lets the container go."""
    with Container(annotations=ON, hooks={"createRuntime": w.ours(), "poststop": w.ours()}) as box:
        w.daemon.freeze()
        killer = threading.Timer(0.2, w.daemon.kill)
        killer.start()
        seconds = box.start()
        killer.join()
        check(seconds <= at_most(w.usual, DEADLINE), f"started after {seconds:.2f} s")
        equal(box.end(9), 9, "exit status")
    w.daemon.start()
    one_start(w)


def killed_at_random(w):
    """Containers start and end while the daemon is killed and started again; none is late or fails."""
    enough, faults, times = threading.Event(), [], []

    def restarts():
        try:
            while not enough.is_set():
                time.sleep(random.random() * 0.5)
                w.daemon.kill()
                time.sleep(random.random() * 0.2)
                w.daemon.start()
        except Exception as e:
            faults.append(repr(e))
    thread = threading.Thread(target=restarts)
    thread.start()
    try:
        for i in range(25):
            with Container(("/bin/sh", "-c", f"exit {i}"), annotations=ON, hooks={"createRuntime": w.ours(), "poststop": w.ours()}) as box:
                (status, _, errors), seconds = timed(box.run)
                equal(status, i, f"exit status ({errors})")
                times.append(seconds)
    finally:
        enough.set()
        thread.join()
    equal(faults, [], "what went wrong with the daemon")
    w.tap.diag(f"beside a daemon that is killed again and again: median {statistics.median(times):.2f} s, largest {max(times):.2f} s, "
               f"usually {w.usual:.2f} s")
    check(max(times) <= at_most(w.usual, 2 * DEADLINE), f"one took {max(times):.2f} s")
    for _ in range(3):
        one_start(w)


def owner(bus):
    answer = bus.busctl("--json=short", "call", "org.freedesktop.DBus", "/", "org.freedesktop.DBus", "GetConnectionUnixProcessID", "s", NAME)
    return json.loads(answer)["data"][0]


def serves(bus):
    answer = bus.busctl("--json=short", "call", "org.freedesktop.DBus", "/", "org.freedesktop.DBus", "NameHasOwner", "s", NAME)
    return json.loads(answer)["data"][0]


def activation(tap, usual):
    """No daemon, and then a killed one: the hook's call has the bus start one, the container does not wait longer than for any
    other call, and is profiled as soon as the daemon is there."""
    with Bus(service=f"{built('daemon/memcgprofd')} --bus=unix:path=DIRECTORY/bus --state-dir=DIRECTORY/state --run-dir=DIRECTORY/run --pins=none --settle-ms=200") as bus:
        hook = hook_entry(bus.address)
        for what in ("absent", "killed"):
            with Container(annotations=ON, hooks={"createRuntime": [hook], "poststop": [hook]}) as box:
                check(not serves(bus), "a daemon is there already")
                seconds = box.start()
                check(seconds <= at_most(usual, DEADLINE), f"daemon {what}: started after {seconds:.2f} s")
                eventually(lambda: serves(bus), 60, "a daemon is started")
                row, = [r for r in bus.manager("ListProfiles", "a{sv}", 0)[0] if r[2] == box.id]
                tap.diag(f"daemon {what}: started after {seconds:.2f} s (usually {usual:.2f} s), from_start {row[5]['from_start']['data']}")
                box.tell("hold files 100", "ready")
                equal(Summary.of(bus, box).document["profile"]["state"], "active", "state")
                equal(box.end(3), 3, "exit status")
            pidfd = os.pidfd_open(owner(bus))
            signal.pidfd_send_signal(pidfd, signal.SIGKILL if what == "absent" else signal.SIGTERM)
            os.close(pidfd)
            eventually(lambda: not serves(bus), 20, "the daemon is gone")


def bus_killed(tap, usual):
    """The bus goes while a container runs: its end and the next starts are not held up, whether the socket is left or not."""
    with Bus() as bus, Daemon(bus, "--settle-ms=200") as daemon:
        hooks = {"createRuntime": [hook_entry(bus.address)], "poststop": [hook_entry(bus.address)]}
        w = World(tap, bus, daemon, usual)
        with Container(annotations=ON, hooks=hooks) as box:
            box.start()
            check(w.known(box.id), "not profiled")
            bus.process.kill()
            bus.process.wait()
            box.tell("hold files 100", "ready")
            status, seconds = timed(box.end, 2)
            equal(status, 2, "exit status")
            check(seconds <= at_most(usual), f"ended after {seconds:.2f} s")
        check(ended(daemon.process, 20), "the daemon goes on without its bus")
        daemon.process = None  # its status is not 0, on purpose
        path = f"{bus.directory}/bus"
        check(os.path.exists(path), "the bus has taken its socket away, so there is nothing to test")
        for there in (True, False):
            if not there:
                os.unlink(path)
            with Container(("/bin/sh", "-c", "exit 6"), annotations=ON, hooks=hooks) as box:
                (status, _, errors), seconds = timed(box.run)
                equal(status, 6, f"exit status ({errors})")
                check(seconds <= at_most(usual), f"socket there: {there}: {seconds:.2f} s")


JOURNAL = """
import os, socket, subprocess, sys
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
os.makedirs("/run/systemd/journal")
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("/run/systemd/journal/socket")
print("up", flush=True)
while True:
    text = s.recv(1 << 20)
    if b"fill" not in text:
        with open(sys.argv[1], "ab") as f:
            f.write(text)
"""
FILL = """
import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.setblocking(False)
s.connect("/run/systemd/journal/socket")
try:
    while True:
        s.send(b"fill")
except BlockingIOError:
    print("full")
"""


class Journaled(Daemon):
    log_target = "journal"


class Journal:
    """Something that reads the journal's socket, in a mount namespace of its own, and can be stopped."""

    def __init__(self, directory):
        self.log = f"{directory}/journal"

    def __enter__(self):
        open(self.log, "wb").close()
        self.process = subprocess.Popen([need("unshare"), "--mount", "--propagation", "private", "/usr/bin/python3", "-c", JOURNAL, self.log],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        if self.process.stdout.readline() != "up\n":
            self.__exit__()
            raise Skip("no mount namespace with a journal of its own can be made here")
        self.inside = [need("nsenter"), f"--mount=/proc/{self.process.pid}/ns/mnt"]
        return self

    def freeze(self):
        """Stopped, and with a queue that takes nothing more."""
        self.process.send_signal(signal.SIGSTOP)
        equal(run([*self.inside, "/usr/bin/python3", "-c", FILL]).stdout, "full\n", "the journal's queue")

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def text(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def __exit__(self, *_):
        stop(self.process)
        self.process.stdout.close()


def journal_stands_still(tap, usual):
    """The daemon goes on and drops lines; a hook that has something to say is ended by its alarm."""
    with Bus() as bus, Crowd(("/bin/busybox", "true")) as crowd, Journal(crowd.directory) as journal, \
            Journaled(bus, "--settle-ms=200", wrapper=journal.inside) as daemon:
        w = World(tap, bus, daemon, usual)
        check("Ready" in eventually(journal.text, 5, "the daemon writes to the journal"), "not the daemon's line")
        journal.freeze()
        try:
            for container_id, spec, delay in ("memcgproftestquiet", "auto", 0.0), ("memcgproftestloud", "bananas", DEADLINE):
                container_id += str(os.getpid())
                crowd.bundle(container_id, {"createRuntime": w.ours(), "poststop": w.ours()}, {KEY: spec})
                command = crowd.command("run", "--bundle", f"{crowd.directory}/bundles/{container_id}", container_id)
                done, seconds = timed(run, [*journal.inside, *command])
                equal(done.returncode, 0, f"exit status ({done.stderr})")
                check(seconds <= at_most(usual, delay), f"spec {spec}: {seconds:.2f} s, usually {usual:.2f} s")
                check(delay == 0 or seconds > delay / 2, f"the hook did not wait for the journal: {seconds:.2f} s")
                if spec == "auto":
                    equal(w.reports(container_id)[0]["profile"]["from_start"], True, "from_start")
        finally:
            journal.thaw()
        let_go(bus)
        eventually(lambda: "earlier lines were dropped" in journal.text(), 10, "the journal is told that lines are missing")


def usual_run():
    times = []
    for _ in range(5):
        with Container(TRUE) as box:
            times.append(timed(box.run)[1])
    return statistics.median(times)


CASES = (
    ("dead before the hook connects", dead_before_connecting),
    ("dies while the call waits to be read", dies_while_the_call_waits),
    ("a second hook fails after ours", second_hook_fails),
    ("its program is not there", no_such_program),
    ("the runtime is killed while the hook waits", runtime_killed),
    ("start without stop", start_without_stop),
    ("stop without start", stop_without_start),
    ("containers that live one millisecond", one_millisecond),
    (f"{AT_ONCE} starts at once", at_once),
    ("the same id five times in a row", same_id_again),
    ("poststop of the life before, during the next", late_poststop),
    ("the same id in two runtime roots", two_roots),
    ("cgroups that are removed while they are read", removed_while_read),
    ("daemon stopped: the late call of a container that lives", stale_call),
    ("daemon stopped: the late call of a required profile", stale_required),
    ("daemon stopped: the container ends", stale_stop),
    ("bus stopped: the container starts and ends", bus_stands_still),
)
RESTARTS = (
    ("daemon killed while the hook waits", killed_while_the_hook_waits),
    ("daemon killed at random", killed_at_random),
)
ALONE = (
    ("daemon absent, daemon killed: bus activation", activation),
    ("bus killed, socket left, socket missing", bus_killed),
    ("journal stopped", journal_stands_still),
)


def undisturbed(w, function):
    with nothing_left(w.bus, w.daemon):
        function(w)
    check(w.daemon.alive(), "the daemon is gone: " + w.daemon.log_text()[-2000:])


def wanted(cases):
    words = os.environ.get("MEMCGPROF_RACES", "").split(",")
    return [case for case in cases if any(word in case[0] for word in words)]


def tests(tap):
    need_containers()
    usual = usual_run()
    with Bus() as bus, Daemon(bus, "--settle-ms=200") as daemon:
        w = World(tap, bus, daemon, usual)
        one_start(w)  # what is opened once and kept is open now
        for name, function in wanted(CASES):
            tap.case(name, undisturbed, w, function)
        for name, function in wanted(RESTARTS):
            tap.case(name, function, w)
    for name, function in wanted(ALONE):
        tap.case(name, function, tap, usual)


main(tests)
