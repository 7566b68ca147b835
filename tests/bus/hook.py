#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""End to end: memcgprof-hook against a private bus with a service of our own in the daemon's place.

Takes the build directory from MEMCGPROF_BUILD or the first argument, prints TAP. Every process it signals is its own child.
"""

import contextlib
import json
import os
import pathlib
import pty
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
FIXTURES = HERE.parent / "fixtures" / "oci"
KEY = "org.memcgprof.profile"
# Seconds of wall time, start and exit of the process included; a sanitized one takes more for both, and looks for leaks at its end.
SLACK = 0.1 if "asan" not in os.environ.get("MEMCGPROF_BUILD", "") else 1.0
LIMIT, LIMIT_REQUIRED = 1.0 + SLACK, 4.1 + SLACK

BUS_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={dir}/bus</listen>
  <auth>EXTERNAL</auth>
  {services}
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/><allow receive_sender="*"/><allow own="*"/>
  </policy>
</busconfig>
"""


# The service in the daemon's place, a process of its own so that it can be stopped. One JSON line per call.


def fake_service(address, log):
    import dbus
    import dbus.bus
    import dbus.mainloop.glib
    import dbus.service
    from gi.repository import GLib

    class Refusal(dbus.DBusException):
        _dbus_error_name = "org.memcgprof1.Error.Busy"

    def plain(value):
        if isinstance(value, dbus.types.UnixFd):
            fd = value.take()
            info = pathlib.Path(f"/proc/self/fdinfo/{fd}").read_text()
            os.close(fd)
            return re.search(r"^Pid:\s*(-?\d+)$", info, re.M).group(1)
        if isinstance(value, dict):
            return {str(k): plain(v) for k, v in value.items()}
        return int(value) if isinstance(value, int) else str(value)

    def types(options):
        names = {dbus.types.UnixFd: "h", dbus.UInt32: "u", dbus.UInt64: "t", dbus.String: "s"}
        return {str(k): f"a{{{v.signature}}}" if isinstance(v, dbus.Dictionary) else names[type(v)] for k, v in options.items()}

    class Manager(dbus.service.Object):
        def record(self, member, ident, options):
            line = {"member": member, "id": str(ident), "types": types(options), "options": plain(options), "at": time.time()}
            with open(log, "a") as f:
                f.write(json.dumps(line) + "\n")

        @dbus.service.method("org.memcgprof1.Manager", in_signature="sa{sv}", out_signature="os")
        def RegisterContainer(self, ident, options):
            self.record("RegisterContainer", ident, options)
            if ident.startswith("refuse"):
                raise Refusal("The engine is held by \x1b[31mbox\nmemcgprof-hook: forged line " + "x" * 5000)
            return "/org/memcgprof1/container/x", "auto"

        @dbus.service.method("org.memcgprof1.Manager", in_signature="sa{sv}", out_signature="")
        def ContainerStopped(self, ident, options):
            self.record("ContainerStopped", ident, options)

    dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
    bus = dbus.bus.BusConnection(address)
    name = dbus.service.BusName("org.memcgprof1", bus)
    manager = Manager(bus, "/org/memcgprof1")
    print("ready", flush=True)
    GLib.MainLoop().run()
    del name, manager


# What the tests are made of.


class Skip(Exception):
    pass


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def end(process):
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait()


@contextlib.contextmanager
def private_bus(activatable=False):
    """Yields (address, process, path that exists once the bus has started the service)."""
    with tempfile.TemporaryDirectory(prefix="memcgprof-hook-") as d:
        marker = pathlib.Path(d) / "activated"
        services = ""
        if activatable:
            services = f"<servicedir>{d}</servicedir>"
            pathlib.Path(d, "org.memcgprof1.service").write_text(
                f"[D-BUS Service]\nName=org.memcgprof1\nExec=/bin/touch {marker}\n")
        config = pathlib.Path(d, "bus.conf")
        config.write_text(BUS_CONFIG.format(dir=d, services=services))
        bus = subprocess.Popen(["dbus-daemon", f"--config-file={config}", "--nofork", "--print-address"],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            bus.stdout.readline()
            yield f"unix:path={d}/bus", bus, marker
        finally:
            end(bus)


class Service:
    def __init__(self, address, directory):
        self.log = pathlib.Path(directory, f"calls-{time.monotonic_ns()}")
        self.log.touch()
        self.process = subprocess.Popen([sys.executable, __file__, "--fake-service", address, str(self.log)],
                                        stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            raise AssertionError("the fake service did not start")

    def calls(self):
        lines = self.log.read_text().splitlines()
        self.log.write_text("")
        return [json.loads(line) for line in lines]

    def call(self):
        calls = self.calls()
        check(len(calls) == 1, f"one call expected, not {calls}")
        return calls[0]


@contextlib.contextmanager
def stopped(process):
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


class Result:
    def __init__(self, status, out, err, seconds):
        self.status, self.out, self.err, self.seconds = status, out, err, seconds

    def silent(self):
        check(self.status == 0 and not self.err and not self.out, f"status {self.status}, output {self.err!r} {self.out!r}")

    def failed(self, status=0, saying="", limit=LIMIT):
        check(self.status == status, f"status {self.status}, not {status}: {self.err!r}")
        check(self.seconds <= limit, f"{self.seconds:.3f} s")
        check(not self.out, "standard output is written")
        check(re.fullmatch(r"memcgprof-hook: [^\n\x00-\x1f\x7f]+\n", self.err), f"not one clean line: {self.err!r}")
        check(len(self.err.encode()) <= 1024, "the line is too long")
        check(saying in self.err, f"{self.err!r} does not say {saying!r}")


class Hook:
    def __init__(self, path, container):
        self.path, self.container = path, container

    def run(self, state, bus=None, args=(), **popen):
        """`state`: bytes, a dictionary, or something to pass as standard input as it is (a file, a number)."""
        command = [self.path, *([f"--bus={bus}"] if bus else []), *args]
        if isinstance(state, dict):
            state = json.dumps(state).encode()
        piped = isinstance(state, bytes)
        popen.setdefault("stderr", subprocess.PIPE)
        start = time.monotonic()
        p = subprocess.Popen(command, stdin=subprocess.PIPE if piped else state, stdout=subprocess.PIPE, **popen)
        if piped:
            p.stdin.write(state)  # a broken pipe is a failure of the test
            p.stdin.close()
        status = p.wait()
        seconds = time.monotonic() - start
        read = lambda f: f.read().decode() if f else ""
        return Result(status, read(p.stdout), read(p.stderr), seconds)

    def state(self, spec="on", **members):
        s = {"ociVersion": "1.0.2-dev", "id": "box", "status": "creating", "pid": self.container, "bundle": "/srv/box",
             "annotations": {KEY: spec}}
        s.update(members)
        return {k: v for k, v in s.items() if v is not ...}

    def fixture(self, name):
        s = json.loads((FIXTURES / f"{name}.json").read_text())
        return {**s, "pid": self.container}


class World:
    """What most tests share: a bus, the service on it, the hook, a process that stands for a container."""

    def __init__(self, hook, address, bus, service):
        self.hook, self.address, self.bus, self.service = hook, address, bus, service

    def run(self, state, **kw):
        return self.hook.run(state, bus=self.address, **kw)


TESTS = []


def test(f):
    TESTS.append(f)
    return f


# Registration.


@test
def registers_with_the_right_arguments(w):
    before = time.time()
    w.run(w.hook.state("auto,stacks")).silent()
    c = w.service.call()
    o = c["options"]
    check(c["member"] == "RegisterContainer" and c["id"] == "box", c)
    check(c["types"] == {"pidfd": "h", "pid": "u", "spec": "s", "annotations": "a{ss}", "bundle": "s", "deadline_us": "t"},
          c["types"])
    check(o["pidfd"] == str(w.hook.container), "the pidfd is another process's")
    check(o["pid"] == w.hook.container and o["spec"] == "auto,stacks" and o["bundle"] == "/srv/box", o)
    check(o["annotations"] == {KEY: "auto,stacks"}, o)
    check(c["at"] < o["deadline_us"] / 1e6 < before + 1.0, "the deadline is not within a second")


@test
def required_has_a_later_deadline(w):
    before = time.time()
    w.run(w.hook.state("on,required")).silent()
    deadline = w.service.call()["options"]["deadline_us"] / 1e6
    check(before + 3.5 < deadline < before + 4.0, deadline - before)


@test
def sends_pod_annotations_of_every_engine(w):
    w.run(w.hook.fixture("crio-container")).silent()
    crio = w.service.call()["options"]["annotations"]
    check(set(crio) == {KEY, "io.kubernetes.pod.name", "io.kubernetes.pod.namespace", "io.kubernetes.pod.uid",
                        "io.kubernetes.container.name", "io.kubernetes.cri-o.ImageName"}, crio)
    w.run(w.hook.fixture("containerd-container")).silent()
    containerd = w.service.call()["options"]["annotations"]
    check(set(containerd) == {KEY, "io.kubernetes.cri.sandbox-name", "io.kubernetes.cri.sandbox-namespace",
                              "io.kubernetes.cri.sandbox-uid", "io.kubernetes.cri.container-name",
                              "io.kubernetes.cri.image-name"}, containerd)
    w.run(w.hook.fixture("podman-created")).silent()
    check(w.service.call()["options"]["annotations"] == {KEY: "on"}, "podman")


@test
def cuts_and_escapes_annotations(w):
    w.run(w.hook.fixture("annotations-odd")).silent()
    a = w.service.call()["options"]["annotations"]
    check(a["io.kubernetes.pod.name"] == "x" * 1021 + "...", len(a["io.kubernetes.pod.name"]))
    check(a["io.kubernetes.pod.namespace"] == r"a\x0ab\xef\xbf\xbe\xc2\x9b\\x41", a)  # a noncharacter: D-Bus takes it escaped only
    check(a["io.kubernetes.container.name"] == "grün", a)
    check(not any("secret" in k or "uid" in k for k in a), a)


@test
def runc_and_crun_states(w):
    for name in "runc-creating", "crun-created":
        w.run(w.hook.fixture(name)).silent()
        check(w.service.call()["member"] == "RegisterContainer", name)


@test
def odd_bundle_is_not_sent(w):
    w.run(w.hook.state(bundle="/a\nb")).silent()
    check("bundle" not in w.service.call()["options"], "bundle")
    w.run(w.hook.state(bundle=r"/srv/a\x2db")).silent()
    check(w.service.call()["options"]["bundle"] == r"/srv/a\x2db", "a backslash is no control character")


@test
def longest_id(w):
    w.run(w.hook.state(id="i" * 1024)).silent()
    check(w.service.call()["id"] == "i" * 1024, "id")


@test
def nothing_to_do(w):
    for state in (w.hook.state(annotations=...), w.hook.state("off"), w.hook.state("off,required"), w.hook.state(annotations=None),
                  w.hook.state(annotations={"other": "on"}), w.hook.fixture("crio-sandbox"),
                  w.hook.fixture("containerd-sandbox")):
        w.run(state).silent()
    # Not even looked at without an annotation, and nothing is needed of the bus.
    w.hook.run(w.hook.state(annotations=..., pid="x", id=""), bus="unix:path=/nonexistent").silent()
    check(w.service.calls() == [], "a call was made")


# States that are wrong.


@test
def bad_states_fail_open(w):
    expected = {
        "bad-empty": "empty", "bad-malformed": "not valid JSON", "bad-binary": "not valid JSON", "bad-array": "not a JSON object",
        "bad-deep": "deeper", "bad-pid-none": "no pid", "bad-pid-zero": "pid", "bad-pid-dead": "gone", "bad-pid-string": "integer",
        "bad-pid-negative": "-1", "bad-pid-huge": "4294967296", "bad-pid-real": "integer", "bad-id-none": "no id",
        "bad-id-empty": "empty", "bad-id-number": "string", "bad-id-long": "4096", "bad-id-slash": "slash",
        "bad-id-newline": r"box\x0a", "bad-id-nul": r"bo\x00x", "bad-id-utf8": "not valid JSON", "bad-status-none": "status",
        "bad-status-running": "running", "bad-status-number": "status", "bad-annotations-array": "annotations",
        "bad-annotations-string": "annotations", "bad-annotation-number": "not a string", "bad-annotation-nul": "NUL",
        "bad-spec": "stakcs"}
    check(set(expected) | {"bad-spec-required"} == {p.stem for p in FIXTURES.glob("bad-*.json")}, "a fixture is not tested")
    for name, saying in expected.items():
        try:
            w.run((FIXTURES / f"{name}.json").read_bytes()).failed(saying=saying)
        except AssertionError as e:
            raise AssertionError(f"{name}: {e}") from e
    check(w.service.calls() == [], "a call was made")


@test
def bad_states_refuse_when_required(w):
    w.run((FIXTURES / "bad-spec-required.json").read_bytes()).failed(1, "stakcs")
    for members in {"pid": ...}, {"pid": 0}, {"pid": "1"}, {"pid": 2**31 - 1}, {"id": ""}, {"id": "a/b"}:
        w.run(w.hook.state("on,required", **members)).failed(1)
    check(w.service.calls() == [], "a call was made")


@test
def process_that_ended_but_is_not_reaped(w):
    zombie = subprocess.Popen(["true"])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    w.run(w.hook.state(pid=zombie.pid)).failed(saying="has ended")
    zombie.wait()


@test
def too_large_state_is_read_to_its_end(w):
    for size in 1 << 20, 5 << 20:
        w.run(w.hook.state(padding="x" * size)).failed(saying="larger than 1048576 bytes")
    state = w.hook.state(padding="")
    state["padding"] = "x" * ((1 << 20) - len(json.dumps(state)))
    w.run(state).silent()
    check(w.service.call()["id"] == "box", "the largest state that fits")


@test
def standard_input_that_never_ends(w):
    r, wr = os.pipe()
    os.write(wr, b'{"id":')
    w.run(r).failed(saying="did not end")
    os.close(r)
    os.close(wr)
    with open("/dev/zero", "rb") as zero:
        w.run(zero).failed(saying="did not end")


@test
def closed_standard_files(w):
    for redirect, reads in ("<&-", False), ("2>&-", True), (">&-", True), ("0<&- 1>&- 2>&-", False):
        command = f'exec "$0" "$@" {redirect}'
        p = subprocess.run(["sh", "-c", command, w.hook.path, f"--bus={w.address}"], input=json.dumps(w.hook.state()).encode(),
                           stderr=subprocess.PIPE)
        check(p.returncode == 0, f"{redirect}: {p.returncode}")
        check(len(w.service.calls()) == reads, redirect)


# A standard error that is in the way.


@test
def standard_error_without_a_reader(w):
    r, wr = os.pipe()
    os.close(r)
    result = w.run(w.hook.state("nonsense"), stderr=wr)
    os.close(wr)
    check(result.status == 0, f"status {result.status}")


@test
def standard_error_that_is_full(w):
    r, wr = os.pipe()
    os.set_blocking(wr, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(wr, b"x" * 65536)
    os.set_blocking(wr, True)
    result = w.run(w.hook.state("nonsense,required"), stderr=wr)
    os.close(r)
    os.close(wr)
    check(result.status == 1 and result.seconds <= LIMIT, f"status {result.status}, {result.seconds:.3f} s")


# The other side in the way.


@test
def error_reply(w):
    w.run(w.hook.state(id="refuse")).failed(saying=r"memcgprof-hook: refuse: The engine is held by \x1b[31mbox\x0amemcgprof")
    w.run(w.hook.state("on,required", id="refuse")).failed(1, "held by")
    w.service.calls()


@test
def daemon_absent(w):
    with private_bus() as (address, _, _):
        w.hook.run(w.hook.state(), bus=address).failed(saying="No daemon")
        w.hook.run(w.hook.state("on,required"), bus=address).failed(1, "No daemon")


@test
def daemon_stopped(w):
    with stopped(w.service.process):
        result = w.run(w.hook.state())
    result.failed(saying="did not answer")
    check(w.service_settled()[0]["options"]["deadline_us"] < time.time() * 1e6, "a stale call can be told by its deadline")


@test
def daemon_stopped_required(w):
    with stopped(w.service.process):
        result = w.run(w.hook.state("on,required"))
    result.failed(1, "did not answer within 3", LIMIT_REQUIRED)
    check(result.seconds > 3, "it did not wait")
    w.service_settled()


@test
def bus_stopped(w):
    with stopped(w.bus):
        w.run(w.hook.state()).failed(saying="The bus did not answer")


@test
def bus_stopped_required(w):
    with stopped(w.bus):
        w.run(w.hook.state("on,required")).failed(1, "The bus did not answer", LIMIT_REQUIRED)


@test
def bus_absent(w):
    with tempfile.TemporaryDirectory() as d:
        w.hook.run(w.hook.state(), bus=f"unix:path={d}/bus").failed(saying="cannot be reached: No such file")
        w.hook.run(w.hook.state("on,required"), bus=f"unix:path={d}/bus").failed(1, "cannot be reached")
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(f"{d}/dead")
        w.hook.run(w.hook.state(), bus=f"unix:path={d}/dead").failed(saying="refused")


@test
def bus_with_a_full_queue(w):
    with tempfile.TemporaryDirectory() as d, contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(f"{d}/bus")
        listener.listen(0)
        w.hook.run(w.hook.state(), bus=f"unix:path={d}/bus").failed(saying="did not answer")
        with contextlib.suppress(BlockingIOError):
            while True:
                c = stack.enter_context(socket.socket(socket.AF_UNIX))
                c.setblocking(False)
                c.connect(f"{d}/bus")
        w.hook.run(w.hook.state(), bus=f"unix:path={d}/bus").failed(saying="cannot be reached")


@test
def addresses_that_are_no_socket(w):
    with tempfile.TemporaryDirectory() as d:
        for address in f"unixexec:path=/bin/touch,argv1={d}/started", "tcp:host=localhost,port=1", "nonsense", \
                f"unix:path={d}/none;unixexec:path=/bin/touch,argv1={d}/started", "unix:", "unix:path=":
            w.hook.run(w.hook.state(), bus=address).failed(saying="cannot be reached")
        check(not os.listdir(d), "a program was started")


# The end of a container.


@test
def poststop(w):
    for name in "runc-stopped", "runc-stopped-plain", "crun-stopped":
        state = (FIXTURES / f"{name}.json").read_bytes()
        w.run(state).silent()
        c = w.service.call()
        check(c["member"] == "ContainerStopped" and c["options"] == {}, c)
        check(c["id"] == json.loads(state)["id"], c)


@test
def poststop_always_exits_0(w):
    state = w.hook.state("on,required", status="stopped")
    w.hook.run(state, bus="unix:path=/nonexistent").failed(0, "cannot be reached")
    w.run(w.hook.state("on,required", status="stopped", id="a/b")).failed(0, "slash")
    with stopped(w.service.process):
        result = w.run(state)
    result.failed(0, "did not answer")
    w.service_settled()


@test
def poststop_starts_no_daemon(w):
    with private_bus(activatable=True) as (address, _, marker):
        w.hook.run(w.hook.state(status="stopped"), bus=address).failed(0, "No daemon")
        time.sleep(0.2)
        check(not marker.exists(), "a daemon was started")
        w.hook.run(w.hook.state(), bus=address).failed(0)
        check(marker.exists(), "registration does start one")


# By hand, and with a strange environment.


@test
def by_hand(w):
    leader, follower = pty.openpty()
    w.hook.run(follower).failed(64, "--help")
    os.close(leader)
    os.close(follower)
    for args in ["--nonsense"], ["file"], ["--bus"], ["--help=x"]:
        w.hook.run(subprocess.DEVNULL, args=args).failed(64, "--help")  # ends before it reads
    w.hook.run(subprocess.DEVNULL).failed(0, "empty")


@test
def help_and_version(w):
    for args, text in (["--help"], "--bus=ADDRESS"), (["--version"], "memcgprof-hook "):
        result = w.hook.run(subprocess.DEVNULL, args=args)
        check(result.status == 0 and text in result.out and not result.err, f"{args}: {result.out!r} {result.err!r}")


@test
def environment_does_not_matter(w):
    rubbish = {name: "unix:path=/nonexistent" for name in (
        "DBUS_SYSTEM_BUS_ADDRESS", "DBUS_SESSION_BUS_ADDRESS", "DBUS_STARTER_ADDRESS", "DBUS_STARTER_BUS_TYPE", "NOTIFY_SOCKET",
        "JOURNAL_STREAM", "XDG_RUNTIME_DIR", "HOME", "PATH")}
    rubbish.update(SYSTEMD_BUS_TIMEOUT="1us", SYSTEMD_LOG_LEVEL="debug", SYSTEMD_LOG_TARGET="console", POSIXLY_CORRECT="1",
                   LC_ALL="nonsense", TZ="nonsense")
    for env in rubbish, {}:
        w.run(w.hook.state(), env=env).silent()
        check(w.service.call()["id"] == "box", "no call")


# Inside a mount namespace with an empty /run: what has fixed paths there.


def in_private_run(w, name):
    prefix = ["unshare", "--mount", "--propagation", "private"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
    if subprocess.run([*prefix, "mount", "-t", "tmpfs", "tmpfs", "/run"], capture_output=True).returncode != 0:
        raise Skip("no mount namespace can be made here")
    p = subprocess.run([*prefix, sys.executable, __file__, "--in-private-run", name, w.hook.path, str(w.hook.container), w.address],
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    check(p.returncode == 0, (p.stdout + p.stderr).strip().splitlines()[-1:])


def private_system_bus(hook, address):
    os.mkdir("/run/dbus")
    os.symlink(address.removeprefix("unix:path="), "/run/dbus/system_bus_socket")
    hook.run(hook.state(), env={"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent"}).silent()


def private_system_bus_absent(hook, address):
    hook.run(hook.state(), env={"DBUS_SYSTEM_BUS_ADDRESS": address}).failed(0, "/run/dbus/system_bus_socket cannot be reached")


def journal_socket():
    os.makedirs("/run/systemd/journal")
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind("/run/systemd/journal/socket")
    s.setblocking(False)
    return s


def private_journal(hook, address):
    with journal_socket() as s:
        for spec, status, priority in ("nonsense", 0, "4"), ("nonsense,required", 1, "3"):
            result = hook.run(hook.state(spec))
            result.failed(status, "nonsense")
            fields = dict(line.split("=", 1) for line in s.recv(65536).decode().splitlines() if "=" in line)
            check("memcgprof-hook: " + fields["MESSAGE"] + "\n" == result.err, fields)
            check(fields["PRIORITY"] == priority and fields["CONTAINER_ID"] == "box", fields)
            check(fields["SYSLOG_IDENTIFIER"] == "memcgprof-hook", fields)
        evil = "on,x\nPRIORITY=0\nMESSAGE=forged\x1b[31m"
        for state in hook.state(evil), hook.state(id=evil), hook.state(status=evil):
            hook.run(state).failed(0, r"\x0aPRIORITY=0")
            lines = s.recv(65536).decode().split("\n")
            check(all("=" in line for line in lines[:-1]), f"a field of several lines: {lines}")
            check([line for line in lines if line.startswith("PRIORITY=")] == ["PRIORITY=4"], lines)
            check(len([line for line in lines if line.startswith("MESSAGE=")]) == 1, lines)
        hook.run(b"").failed(0, "empty")
        check(b"CONTAINER_ID" not in s.recv(65536), "an id out of nothing")


def private_journal_blocked(hook, address):
    block_alarm = lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    ignore_alarm = lambda: signal.signal(signal.SIGALRM, signal.SIG_IGN)
    with journal_socket(), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                s.sendto(b"x", "/run/systemd/journal/socket")
        for preexec in None, block_alarm, ignore_alarm:
            result = hook.run(hook.state("nonsense"), preexec_fn=preexec)
            result.failed(0, "nonsense")
            check(result.seconds > 0.5, "the journal did not block")
        result = hook.run(hook.state("on,required", pid=0))
        result.failed(1, "pid", LIMIT_REQUIRED)
        check(result.seconds > 3, "the journal did not block")


@test
def system_bus_by_its_fixed_path(w):
    in_private_run(w, "private_system_bus")
    check(w.service.call()["id"] == "box", "no call")
    in_private_run(w, "private_system_bus_absent")
    check(w.service.calls() == [], "the environment was asked")


@test
def journal(w):
    in_private_run(w, "private_journal")


@test
def journal_blocked(w):
    in_private_run(w, "private_journal_blocked")


# What is installed, and what it costs.


@test
def installed_hook_configuration(w):
    path = pathlib.Path(w.build, "oci-hooks.d", "memcgprof.json")
    if not path.exists():
        raise Skip("this build directory has no oci-hooks.d/memcgprof.json")
    c = json.loads(path.read_text())
    check(set(c) == {"version", "hook", "when", "stages"} and c["version"] == "1.0.0", c)
    check(c["hook"]["path"].startswith("/") and c["hook"]["path"].endswith("/memcgprof-hook"), c)
    check(c["hook"]["timeout"] == 5 and c["hook"]["env"] == ["PATH=/usr/sbin:/usr/bin"], c)
    check(c["stages"] == ["createRuntime", "poststop"], c)
    ((key, value),) = c["when"]["annotations"].items()
    check(re.search(key, KEY) and not re.search(key, "orgxmemcgprof.profile") and not re.search(key, KEY + "s"), key)
    check(re.search(value, "anything"), value)


@test
def wall_time_of_a_hundred_runs(w):
    times = {}
    for name, state in ("registered", w.hook.state()), ("no annotation", w.hook.state(annotations=...)):
        results = [w.run(state) for _ in range(100)]
        for result in results:
            result.silent()
        t = sorted(r.seconds * 1000 for r in results)
        times[name] = f"{name}: p50 {t[49]:.1f} ms, p99 {t[98]:.1f} ms"
    check(len(w.service.calls()) == 100, "calls are missing")
    print("# wall time, " + "; ".join(times.values()))


def run_tests(build, names):
    hook_path = os.path.join(build, "hooks", "memcgprof-hook")
    chosen = [t for t in TESTS if not names or t.__name__ in names]
    bad = 0
    container = subprocess.Popen(["sleep", "600"])
    with tempfile.TemporaryDirectory() as d, private_bus() as (address, bus, _):
        service = Service(address, d)
        w = World(Hook(hook_path, container.pid), address, bus, service)
        w.build = build

        def settled():
            for _ in range(500):
                calls = service.calls()
                if calls:
                    return calls
                time.sleep(0.02)
            raise AssertionError("the call of before never came")

        w.service_settled = settled
        for number, t in enumerate(chosen, 1):
            name = t.__name__.replace("_", " ")
            try:
                t(w)
                print(f"ok {number} - {name}", flush=True)
            except Skip as e:
                print(f"ok {number} - {name} # SKIP {e}", flush=True)
            except Exception as e:
                bad += 1
                print(f"not ok {number} - {name}", flush=True)
                print(f"# {type(e).__name__}: {e}".replace("\n", "\n# "), flush=True)
                service.calls()
        end(service.process)
    end(container)
    print(f"1..{len(chosen)}")
    return 1 if bad else 0


def main():
    args = sys.argv[1:]
    if args[:1] == ["--fake-service"]:
        return fake_service(args[1], args[2])
    if args[:1] == ["--in-private-run"]:
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
        return globals()[args[1]](Hook(args[2], int(args[3])), args[4])
    build = os.environ.get("MEMCGPROF_BUILD") or (args.pop(0) if args else None)
    if not build:
        print("1..0 # SKIP no build directory given")
        return 0
    try:
        import dbus.mainloop.glib  # noqa: F401
        from gi.repository import GLib  # noqa: F401
        subprocess.run(["dbus-daemon", "--version"], stdout=subprocess.DEVNULL, check=True)
    except (ImportError, OSError) as e:
        print(f"1..0 # SKIP {e}")
        return 0
    return run_tests(build, args)


if __name__ == "__main__":
    sys.exit(main())
