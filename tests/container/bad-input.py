#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Bad input, held against the real daemon and the real hook: one sentence that names what was wrong, and all goes on."""

import json
import os
import subprocess
import time

import dbus
import dbus.bus
from bus import MANAGER, NAME, PATH, PROFILE, Bus
from container import Container, hook_entry, memory_hierarchy, need_containers
from daemon import Daemon
from proc import PATIENCE, built, eventually, need, run
from summary import Summary
from tap import check, equal, main

ON = {"org.memcgprof.profile": "auto"}
SENTENCE_MAX = 1024


def state(**changes):
    """An OCI state as runc sends it, with changes; a value of None takes the member away."""
    whole = {"ociVersion": "1.0.2", "id": "memcgproftestbad", "status": "creating", "pid": 2**22 + 1, "bundle": "/nonexistent",
             "annotations": ON}
    whole.update(changes)
    return json.dumps({k: v for k, v in whole.items() if v is not None}).encode()


SLOWLY = ("did not end",) if PATIENCE > 1 else ()  # an emulated CPU does not read so much in the hook's time

STATES = {  # what: (bytes on standard input, words of which the line on standard error has one)
    "nothing": (b"", ("state",)),
    "no JSON": (b"{]", ("state", "JSON")),
    "a list": (b"[]", ("state", "object")),
    "cut short": (state()[:40], ("state", "JSON")),
    "binary": (bytes(range(256)) * 16, ("state", "JSON")),
    "zeros": (b"\0" * 4096, ("state", "JSON")),
    "1 MiB and one byte": (state(annotations={**ON, "x": "y" * (1 << 20)}), ("1", "long", "large")),
    "64 MiB": (b" " * (64 << 20), ("1", "long", "large", *SLOWLY)),
    "nested 100000 deep": (b'{"a":' + b"[" * 100000 + b"]" * 100000 + b"}", ("state", "deep", "JSON")),
    "no pid": (state(pid=None), ("pid",)),
    "pid 0": (state(pid=0), ("pid",)),
    "pid -1": (state(pid=-1), ("pid",)),
    "pid as text": (state(pid="12"), ("pid",)),
    "pid above any": (state(pid=2**40), ("pid",)),
    "a dead pid": (state(), ("gone", "ended", "process")),
    "no id": (state(id=None), ("id",)),
    "an empty id": (state(id=""), ("id",)),
    "an id of 4096 characters": (state(id="a" * 4096), ("id",)),
    "an id with slashes": (state(id="../../etc"), ("id", "gone", "ended")),
    "an id with newlines": (state(id="a\nb"), ("id", "gone", "ended")),
    "an id that is no UTF-8": (state(id="ID").replace(b"ID", b"\xff\xfe"), ("state", "UTF-8", "JSON", "id")),
    "status unknown": (state(status="dancing"), ("status", "dancing")),
    "annotation that is no text": (state(annotations={"org.memcgprof.profile": 7}), ("annotation", "profile")),
    "annotation that is no spec": (state(annotations={"org.memcgprof.profile": "bananas"}), ("bananas",)),
    "annotation of escape characters": (state(annotations={"org.memcgprof.profile": "\x1b[2J\n\n"}), ("x1b",)),
}


def feed_hook(address, text):
    begin = time.monotonic()
    done = subprocess.run([built("hooks/memcgprof-hook"), f"--bus={address}"], input=text, capture_output=True, timeout=10, check=False)
    return done.returncode, done.stderr, time.monotonic() - begin


def hook_state(address, text, words):
    status, errors, seconds = feed_hook(address, text)
    equal(status, 0, f"exit status ({errors})")
    check(errors.endswith(b"\n") and errors.count(b"\n") == 1, f"not one line: {errors}")
    check(len(errors) <= SENTENCE_MAX, f"a line of {len(errors)} bytes")
    printable(errors.decode()[:-1])
    check(any(w in errors.decode() for w in words), f"names none of {words}: {errors}")
    check(seconds < 1.2, f"took {seconds:.2f} s")


def printable(sentence):
    check(sentence.isprintable(), f"not printable: {sentence!r}")


class Caller:
    """Typed calls, for the names of errors."""

    def __init__(self, bus):
        self.connection = dbus.bus.BusConnection(bus.address)
        self.connection.set_exit_on_disconnect(False)

    def error(self, path, interface, member, signature, *arguments):
        """(name, sentence) of the error that a call must give."""
        try:
            self.connection.call_blocking(NAME, path, interface, member, signature, arguments, timeout=20)
        except dbus.DBusException as e:
            return e.get_dbus_name(), e.get_dbus_message()
        check(False, f"{member}{arguments} gave no error")
        return None

    def refused(self, name, words, path, interface, member, signature, *arguments):
        got, sentence = self.error(path, interface, member, signature, *arguments)
        equal(got.removeprefix("org.memcgprof1.Error."), name, f"error ({sentence})")
        check(len(sentence) <= SENTENCE_MAX and sentence.strip(), f"the sentence: {sentence!r}")
        printable(sentence)
        check(any(w in sentence for w in words), f"names none of {words}: {sentence}")


def options(**values):
    return dbus.Dictionary(values, signature="sv")


INVALID = "org.freedesktop.DBus.Error.InvalidArgs"

STARTS = {  # target: (error, words)
    "cgroup:/memcgprof-not-there": ("NoSuchTarget", ("memcgprof-not-there",)),
    "cgroup:/": ("NotSupported", ("host", "root")),
    "cgroup:/../..": ("NoSuchTarget", ("..",)),
    "cgroup:": (INVALID, ("cgroup",)),
    "container:memcgprofnotthere": ("NoSuchTarget", ("memcgprofnotthere",)),
    "container:" + "a" * 5000: (INVALID, ("container id", "1024")),
    "container:a/../b": ("NoSuchTarget", ("a/../b",)),
    "container:a\nb\x1b[2J": ("NoSuchTarget", ("x1b", "x0a")),
    "pid:0": (INVALID, ("0",)),
    "pid:-1": (INVALID, ("-1",)),
    "pid:99999999999999999999": (INVALID, ("99999",)),
    f"pid:{2**22 + 1}": ("NoSuchTarget", (str(2**22 + 1),)),
    "bananas:1": (INVALID, ("bananas",)),
    "": (INVALID, ("target",)),
}

FILTERS = {  # what: (filter, words)
    "an unknown key": ({"colour": "red"}, ("colour",)),
    "an empty key": ({"": "red"}, ("key", '""')),
    "a text for a number": ({"min_size": "many"}, ("min_size",)),
    "a number for a text": ({"function": dbus.Int32(7)}, ("function",)),
    "a list for a text": ({"function": dbus.Array(["a"], signature="s")}, ("function",)),
    "a number for a boolean": ({"charged": dbus.Int32(1)}, ("charged",)),
    "a word that sort does not know": ({"sort": "colour"}, ("sort",)),
    "a word that type does not know": ({"type": "colour"}, ("type",)),
    "min_size above max_size": ({"min_size": dbus.Int64(2), "max_size": dbus.Int64(1)}, ("min_size",)),
    "a limit below 0": ({"limit": dbus.Int64(-1)}, ("limit",)),
    "a number that fits no int64": ({"min_size": dbus.UInt64(2**64 - 1)}, ("min_size",)),
    "a text of 100000 bytes": ({"function": "a" * 100000}, ("function",)),
}


def filters(tap, bus, caller, box):
    path = bus.profile_of(f"container:{box.id}")
    for what, (given, words) in FILTERS.items():
        for member in ("GetSummary", "GetSites"):
            tap.case(f"{member} with {what}", caller.refused, "BadFilter", words, path, PROFILE, member, "a{sv}", options(**given))
    tap.case("Dump with an unknown document", caller.refused, INVALID, ("colour",), path, PROFILE, "Dump", "sa{sv}", "colour", options())
    tap.case("after all that it answers", Summary.of, bus, box, ("limit", "u", "1"))


def starts(tap, caller):
    for target, (error, words) in STARTS.items():
        shown = target[:40].encode("unicode_escape").decode()
        tap.case(f"StartProfile of {shown!r}", caller.refused, error, words, PATH, MANAGER, "StartProfile", "sa{sv}", target, options())
    spec = options(spec="bananas")
    tap.case("StartProfile with a spec that is none", caller.refused, "BadSpec", ("bananas",), PATH, MANAGER, "StartProfile", "sa{sv}",
             "pid:1", spec)
    tap.case("StopProfile of what is not profiled", caller.refused, "NoSuchProfile", ("nothing",), PATH, MANAGER, "StopProfile", "oa{sv}",
             dbus.ObjectPath("/org/memcgprof1/container/nothing"), options())
    tap.case("GetProfile of what is not profiled", caller.refused, "NoSuchProfile", (f"pid:{os.getpid()}",), PATH, MANAGER, "GetProfile",
             "sa{sv}", f"pid:{os.getpid()}", options())
    tap.case("SetMode to what is no mode", caller.refused, INVALID, ("bananas",), PATH, MANAGER, "SetMode",
             "sa{sv}", "bananas", options())


def removed_meanwhile(bus):
    """A cgroup that goes away while it is profiled: the profile ends, its counters stay readable."""
    mount, _ = memory_hierarchy()
    directory = f"{mount}/memcgprof-test-{os.getpid()}"
    os.mkdir(directory)
    try:
        path = bus.manager("StartProfile", "sa{sv}", f"cgroup:/{os.path.basename(directory)}", 0)[0]
        equal(bus.property(path, PROFILE, "State"), "active", "State")
    finally:
        os.rmdir(directory)
    state_now = eventually(lambda: "ended" in [r[3] for r in bus.manager("ListProfiles", "a{sv}", 0)[0]], 30, "the profile ended", 0.1)
    check(state_now, "the profile did not end")
    document = Summary(bus.summary_text(path)).document
    equal(document["reconcile"]["frozen"], True, "reconcile.frozen")


def name_not_utf8(bus):
    """A process and a cgroup whose names are bytes that no JSON and no D-Bus message takes."""
    mount, _ = memory_hierarchy()
    directory = f"{mount}/memcgprof-test-{os.getpid()}-".encode() + b"\xff\xfe\x1b"
    os.mkdir(directory)
    code = "import os,sys; open('/proc/self/comm','wb').write(b'\\xff\\xfe\\n\\x1b'); print('up', flush=True); sys.stdin.read()"
    process = subprocess.Popen(["/usr/bin/python3", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        with open(directory + b"/cgroup.procs", "w", encoding="ascii") as f:
            f.write(str(process.pid))
        path = bus.manager("StartProfile", "sa{sv}", f"pid:{process.pid}", 0)[0]
        document = Summary(bus.summary_text(path)).document
        check("\\xff\\xfe\\x1b" in document["profile"]["cgroup"], f"cgroup is {document['profile']['cgroup']}")
        bus.manager("StopProfile", "oa{sv}", path, 0)
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()
        eventually(lambda: not os.path.exists(directory) or remove(directory), 5, "the cgroup can be removed")


def remove(directory):
    try:
        os.rmdir(directory)
    except OSError:
        return False
    return True


def without_rights(bus, box):
    """Somebody who is not root may look who is profiled, but not at sites, and may change nothing."""
    path = bus.profile_of(f"container:{box.id}")
    calls = [
        (PATH, MANAGER, "StartProfile", "sa{sv}", "pid:1", "0"), (PATH, MANAGER, "StopProfile", "oa{sv}", path, "0"),
        (PATH, MANAGER, "SetMode", "sa{sv}", "off", "0"), (PATH, MANAGER, "RegisterContainer", "sa{sv}", "x", "0"),
        (path, PROFILE, "GetSummary", "a{sv}", "0"), (path, PROFILE, "Reset", "a{sv}", "0"),
    ]
    for call in calls:
        done = run([need("setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups", "busctl", f"--address={bus.address}", "call",
                    NAME, *call])
        check(done.returncode != 0 and "denied" in done.stderr.lower(), f"{call[2]}: status {done.returncode}, {done.stdout}{done.stderr}")
    equal(bus.property(path, PROFILE, "State"), "active", "State after that")


def tests(tap):
    need_containers()
    with Bus() as bus, Daemon(bus) as daemon:
        for what, (text, words) in STATES.items():
            tap.case(f"hook, state: {what}", hook_state, bus.address, text, words)
        caller = Caller(bus)
        starts(tap, caller)
        hook = hook_entry(bus.address)
        with Container(hooks={"createRuntime": [hook], "poststop": [hook]}, annotations=ON) as box:
            box.start()
            filters(tap, bus, caller, box)
            tap.case("a caller without rights", without_rights, bus, box)
            box.end()
        tap.case("a cgroup that is removed while it is profiled", removed_meanwhile, bus)
        tap.case("names that are no UTF-8", name_not_utf8, bus)
        tap.case("after all that the daemon lives", check, daemon.alive(), daemon.log_text()[-2000:])


main(tests)
