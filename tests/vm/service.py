#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The unit as it is installed, with all its confinement, under systemd as PID 1: whatever the daemon does still works, it exits when
idle and comes back, its log level can be set, and a stopped journal holds nobody. Runs in a guest of the rig; skips elsewhere."""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time

import dbus
from bus import MANAGER, NAME, PATH, PROFILE, SystemBus
from client import Client
from container import need_root
from group import Group, new_id
from proc import PATIENCE, eventually, run
from system import UNIT, command, unit_property
from tap import Failure, Skip, check, equal, main

DROPIN = "/etc/memcgprof/memcgprofd.conf.d/50-test.conf"
EXPOSURE_MAX = 2.5
BEGUN, MODE = "0df6a8602cde41078ea4e869a7a5ed35", "1ef54c8b98934aa4bd1b4c9e9c2f2389"
PIPES = 400


def entries(*matches):
    command("journalctl", "--sync")
    return [json.loads(line) for line in command("journalctl", "-o", "json", "--no-pager", "--unit", UNIT, *matches).splitlines()]


@contextlib.contextmanager
def configured(text):
    """A drop-in, for a daemon that is started anew; without it the daemon is started anew once more."""
    os.makedirs(os.path.dirname(DROPIN), exist_ok=True)
    with open(DROPIN, "w", encoding="utf-8") as f:
        f.write(text)
    try:
        command("systemctl", "restart", UNIT)
        yield
    finally:
        os.unlink(DROPIN)
        command("systemctl", "restart", UNIT)


def exposure():
    text = command("systemd-analyze", "security", "--no-pager", UNIT)
    value = float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", text).group(1))
    check(value <= EXPOSURE_MAX, text)


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f)


def confined(_):
    """As systemd has made it, not as the file says."""
    pid = unit_property("MainPID")
    status = status_of(pid)
    equal((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"), "no new privileges, and a filter of system calls")
    capabilities = command("capsh", f"--decode={status['CapEff']}") if shutil.which("capsh") else status["CapEff"]
    equal(int(status["CapEff"], 16), sum(1 << n for n in (2, 21, 34, 38, 39)), f"capabilities ({capabilities.strip()})")
    equal(status["CapBnd"], status["CapEff"], "bounding set")
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8") as f:
        mounts = {line.split()[4]: line.split()[5].split(",") for line in f}
    for path in "/", "/sys", "/proc/sys":
        check("ro" in mounts[path], f"{path} can be written: {mounts[path]}")
    for path in "/var/lib/memcgprof", "/run/memcgprof", "/sys/fs/bpf":
        check("rw" in mounts.get(path, ()), f"{path} cannot be written: {mounts.get(path)}")
    links = {kind: os.readlink(f"/proc/{pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}") for kind in ("mnt", "net")}
    equal(links, {"mnt": True, "net": True}, "namespaces of its own")


def support_is_whole(client):
    """The confined daemon finds what the unconfined command line finds, but for how many functions there are just now."""
    def items(text):
        return {i["name"]: (i["available"], re.sub(r"names \d+ functions", "names functions", i["reason"])) for i in json.loads(text)["items"]}

    equal(items(client.manager("DescribeSupport")), items(command("memcgprof", "support", "--json")), "support")


class Worker:
    """Makes pipes in a group when told to."""

    PROGRAM = f"import os,sys; sys.stdin.readline(); p=[os.pipe() for _ in range({PIPES})]; print(len(p),flush=True); sys.stdin.readline()"

    def __init__(self, g):
        def enter():
            with open(os.path.join(g.directory, b"cgroup.procs"), "w", encoding="ascii") as f:
                f.write("0")
        self.process = subprocess.Popen(["/usr/bin/python3", "-c", self.PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        preexec_fn=enter)

    def work(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        equal(self.process.stdout.readline(), f"{PIPES}\n", "what the worker says")

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def profiles(client):
    """Real programs count, and sites have names: neither of the two ways in which they would have none is taken."""
    with Group() as g:
        worker = Worker(g)
        try:
            path = client.start(g)
            worker.work()
            document = json.loads(client.profile(path, "GetSummary"))
            keys = {row["key"]: row for row in document["sites"]}
            found = [row for key, row in keys.items() if "alloc_pipe_info" in key]
            check(found and sum(row["calls"] for row in found) >= PIPES, f"pipes among {list(keys)[:20]}")
            begun = entries(f"MESSAGE_ID={BEGUN}")[-1]
            equal((begun["MEMCGPROF_PROFILE"], begun["MEMCGPROF_CGROUP"]), (path, g.path), "the journal's fields")
        finally:
            worker.end()
        client.stop(path)
    eventually(lambda: [f for f in os.listdir("/var/lib/memcgprof/reports") if f.endswith(".json")], 30, "a report")


def bundle_in(directory, client):
    """A bundle that a user keeps for himself, wherever."""
    with Group() as g:
        bundle = os.path.join(directory, "bundle-" + new_id())
        os.makedirs(bundle)
        try:
            with open(f"{bundle}/config.json", "w", encoding="ascii") as f:
                json.dump({"ociVersion": "1.0.2", "linux": {"cgroupsPath": g.path}}, f)
            os.chown(f"{bundle}/config.json", 65534, 65534)
            os.chmod(f"{bundle}/config.json", 0o600)
            os.chown(bundle, 65534, 65534)
            os.chmod(bundle, 0o700)
            path, _ = client.manager("RegisterContainer", new_id(), options={"pid": dbus.UInt32(g.pid), "bundle": bundle})
            equal(str(client.get(path, PROFILE, "Cgroup")), g.path, f"cgroup by a bundle in {directory}")
            client.stop(path)
        finally:
            shutil.rmtree(bundle)


def log_level(_):
    equal(command("systemctl", "service-log-level", UNIT).strip(), "info", "log level")
    command("systemctl", "service-log-level", UNIT, "debug")
    equal(command("systemctl", "service-log-level", UNIT).strip(), "debug", "log level after it was set")
    command("systemctl", "service-log-level", UNIT, "info")
    equal(command("systemctl", "service-log-target", UNIT).strip(), "auto", "log target")
    command("systemctl", "service-log-target", UNIT, "journal")
    command("systemctl", "service-log-target", UNIT, "auto")
    done = run(["systemctl", "service-log-level", UNIT, "loud"])
    check(done.returncode != 0, "a level that does not exist is taken")


def stopped_journal(client, tap):
    """journald under SIGSTOP: no call waits for it, and afterwards it hears what it missed."""
    pid = int(command("systemctl", "show", "--value", "--property", "MainPID", "systemd-journald.service"))
    read, stopped = [], []
    for into, n in (read, 100), (stopped, 1500):
        if into is stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            for i in range(n):
                begin = time.monotonic()
                client.manager("SetMode", "multi" if i % 2 else "auto")
                into.append(1000 * (time.monotonic() - begin))
        finally:
            os.kill(pid, signal.SIGCONT)
    tap.diag(f"a call that writes a line: median {sorted(read)[50]:.2f} ms, slowest {max(read):.1f} ms; "
             f"with journald stopped {sorted(stopped)[750]:.2f} ms, {max(stopped):.1f} ms")
    check(max(stopped) < 5000 * PATIENCE, f"a call took {max(stopped):.0f} ms")
    eventually(lambda: len(entries(f"MESSAGE_ID={MODE}")) >= 100, 30, "journald has read what waited")
    client.manager("SetMode", "auto")
    last = entries(f"MESSAGE_ID={MODE}")[-1]["MESSAGE"]
    check("earlier lines were dropped" in last, f"{1500} lines fitted into a socket: {last}")


def idle_exit(bus):
    """It exits, the unit is at rest and not failed, and calls start it again: also those that come just then."""
    with configured("[Daemon]\nIdleExit=1s\n"), Client(bus) as client:
        client.paths()
        check(bus.taken(), "not started")
        eventually(lambda: not bus.taken() and unit_property("ActiveState") == "inactive", 20, "it exits")
        equal((unit_property("Result"), unit_property("ExecMainStatus")), ("success", "0"), "how")
        client.paths()
        equal(unit_property("ActiveState"), "active", "after a call")
    with configured("[Daemon]\nIdleExit=30ms\n"), Client(bus) as client:
        pids = set()
        with Group() as g:
            wanted = 6 if PATIENCE < 2 else 2  # on an emulated CPU each start takes ten seconds
            for i in range(60):
                if i % 2:
                    client.paths()
                else:
                    path = client.start(g)
                    client.get(path, PROFILE, "State")
                    client.stop(path)
                pids.add(bus.owner())
                if len(pids) >= wanted:
                    break
                time.sleep(random.uniform(0, 0.1))
        check(len(pids) >= wanted, f"there were only {len(pids)} daemons in 60 calls")
        equal(unit_property("Result"), "success", "the unit's result")


def restart_is_asked_for(bus):
    """The status by which a daemon that said goodbye too early asks to be started again."""
    pid = int(unit_property("MainPID"))
    equal(unit_property("RestartForceExitStatus"), "75", "RestartForceExitStatus")
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: bus.taken() and int(unit_property("MainPID")) not in (0, pid), 20, "it is started again after a crash")


def restart_keeps(bus):
    """systemctl restart and a crash keep every count, systemctl stop leaves nothing attached."""
    pins = "/sys/fs/bpf/memcgprof"
    if subprocess.run(["findmnt", "-n", "-t", "bpf", "/sys/fs/bpf"], stdout=subprocess.DEVNULL, check=False).returncode != 0:
        raise Skip("no BPF file system is mounted here")
    with Group() as g:
        worker = Worker(g)
        try:
            client = Client(bus)
            path = client.start(g)
            worker.work()
            started = json.loads(client.profile(path, "GetSummary"))["started_us"]
            command("systemctl", "restart", UNIT)
            after_restart = json.loads(Client(bus).profile(path, "GetSummary"))
            pid = int(unit_property("MainPID"))
            os.kill(pid, signal.SIGKILL)
            eventually(lambda: unit_property("MainPID") not in ("0", str(pid)) and unit_property("ActiveState") == "active", 60, "a new daemon")
            after_crash = json.loads(Client(bus).profile(path, "GetSummary"))
            for document in after_restart, after_crash:
                equal(document["started_us"], started, "when it began")
                pipes = sum(row["calls"] for row in document["sites"] if "alloc_pipe_info" in row["key"])
                check(pipes >= PIPES, f"pipes afterwards: {pipes}")
            check(os.path.isdir(pins), "nothing is pinned while it counts")
            reports = len(os.listdir("/var/lib/memcgprof/reports"))
            command("systemctl", "stop", UNIT)
            check(not os.path.exists(pins), "systemctl stop left something pinned")
            check(not os.path.exists("/run/memcgprof/state"), "systemctl stop left the state of profiles")
            equal(len(os.listdir("/var/lib/memcgprof/reports")), reports + 1, "reports after the stop")
            command("systemctl", "start", UNIT)
            equal(Client(bus).paths(), [], "profiles after stop and start")
        finally:
            worker.end()


def kept_in_run(_):
    os.makedirs("/run/memcgprof/memcgprofd.conf.d", exist_ok=True)
    with open("/run/memcgprof/memcgprofd.conf.d/1.conf", "w", encoding="ascii") as f:
        f.write("")
    command("systemctl", "stop", UNIT)
    check(os.path.exists("/run/memcgprof/memcgprofd.conf.d/1.conf"), "drop-ins in /run went with the daemon")
    shutil.rmtree("/run/memcgprof")
    shutil.rmtree("/var/lib/memcgprof")
    command("systemd-tmpfiles", "--create", "memcgprof.conf")
    modes = {path: oct(os.stat(path).st_mode & 0o777) for path in ("/run/memcgprof", "/var/lib/memcgprof", "/var/lib/memcgprof/reports")}
    equal(modes, {"/run/memcgprof": "0o755", "/var/lib/memcgprof": "0o700", "/var/lib/memcgprof/reports": "0o700"}, "modes")
    command("systemctl", "start", UNIT)


def catalog(_):
    command("journalctl", "--update-catalog")
    check("A memory profile has begun" in command("journalctl", "--dump-catalog", BEGUN), "not in the catalog")


def cases(tap):
    need_root()
    if not os.path.exists("/payload/run"):
        raise Skip("only in a guest of the test rig: it starts services")
    bus = SystemBus()
    command("systemctl", "start", UNIT)
    with Client(bus) as client:
        tap.case(f"systemd's exposure level is {EXPOSURE_MAX} at most", exposure)
        tap.case("the daemon is confined", confined, client)
        tap.case("the confined daemon supports what the machine does", support_is_whole, client)
        tap.case("it profiles a cgroup, and sites have names", profiles, client)
        for directory in "/tmp", "/run", "/home", "/root", "/var/lib":
            tap.case(f"it reads a user's bundle in {directory}", bundle_in, directory, client)
        tap.case("systemctl service-log-level", log_level, client)
        tap.case("a stopped journald holds nobody", stopped_journal, client, tap)
    tap.case("it exits when idle, and no call is lost", idle_exit, bus)
    tap.case("a crash is followed by a start", restart_is_asked_for, bus)
    tap.case("restart and crash keep profiles, stop detaches", restart_keeps, bus)
    tap.case("what is in /run stays, and tmpfiles makes the directories", kept_in_run, bus)
    tap.case("the journal's catalog explains the messages", catalog, bus)
    command("systemctl", "stop", UNIT)


if __name__ == "__main__":
    main(cases)
