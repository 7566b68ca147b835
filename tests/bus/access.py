#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who may do what, what introspection shows, the object manager, LogControl1, the shipped files and the command line."""

import json
import os
import re
import signal
import sys
import xml.etree.ElementTree as ElementTree

import dbus
from bus import MANAGER, NAME, PATH, PROFILE, Bus, Signals
from client import DENIED, ERROR, INVALID, PROPERTIES, Client, refused
from group import Group
from proc import SOURCE, built, need, need_root, run, stop
from tap import Skip, check, equal, main

from fake import FAKE, Fake, sleeper

LOG_CONTROL = "org.freedesktop.LogControl1"
LOG_PATH = "/org/freedesktop/LogControl1"
OBJECT_MANAGER = "org.freedesktop.DBus.ObjectManager"
EMITS = "org.freedesktop.DBus.Property.EmitsChangedSignal"
EXPLICIT = "org.freedesktop.systemd1.Explicit"

MANAGER_MEMBERS = {
    "RegisterContainer": ("sa{sv}", "os"), "ContainerStopped": ("sa{sv}", ""), "StartProfile": ("sa{sv}", "o"),
    "StopProfile": ("oa{sv}", ""), "GetProfile": ("sa{sv}", "o"), "ListProfiles": ("a{sv}", "a(osssxa{sv})"),
    "DescribeSupport": ("a{sv}", "s"), "SetMode": ("sa{sv}", ""),
}
MANAGER_PROPERTIES = {"Mode": ("s", "readwrite", "true"), "EffectiveMode": ("s", "read", "true"), "Backend": ("s", "read", "const"),
                      "Version": ("s", "read", "const")}
MANAGER_SIGNALS = {"ProfileAdded": "o", "ProfileRemoved": "o", "ProfileFinished": "os"}
PROFILE_MEMBERS = {"GetSummary": ("a{sv}", "s"), "GetSites": ("a{sv}", "a(sustssbxxba{sv})"), "Dump": ("sa{sv}", "h"), "Reset": ("a{sv}", "")}
PROFILE_PROPERTIES = {"Kind": ("s", "read", "const"), "Id": ("s", "read", "const"), "Cgroup": ("s", "read", "const"),
                      "State": ("s", "read", "true"), "Mode": ("s", "read", "true"), "CgroupId": ("t", "read", "const"),
                      "LiveBytes": ("x", "read", "false"), "LiveCalls": ("x", "read", "false"), "LostEvents": ("t", "read", "false")}


def introspected(t, path, interface):
    xml = ElementTree.fromstring(t.client.call(path, "org.freedesktop.DBus.Introspectable", "Introspect", ""))
    found, = [i for i in xml.findall("interface") if i.get("name") == interface]
    methods = {m.get("name"): tuple("".join(a.get("type") for a in m.findall("arg") if a.get("direction") == d) for d in ("in", "out"))
               for m in found.findall("method")}
    unnamed = [m.get("name") for m in found.findall("method") + found.findall("signal") for a in m.findall("arg") if not a.get("name")]
    equal(unnamed, [], "members with arguments without a name")
    properties = {}
    for p in found.findall("property"):
        notes = {a.get("name"): a.get("value") for a in p.findall("annotation")}
        properties[p.get("name")] = (p.get("type"), p.get("access"), notes.get(EMITS, "true"))
        equal(notes.get(EXPLICIT) == "true", notes.get(EMITS) == "false", f"{p.get('name')}: given on request only")
    signals = {s.get("name"): "".join(a.get("type") for a in s.findall("arg")) for s in found.findall("signal")}
    return methods, properties, signals


def introspection(t):
    """Exactly the contract of this version: what later versions bring is absent."""
    equal(introspected(t, PATH, MANAGER), (MANAGER_MEMBERS, MANAGER_PROPERTIES, MANAGER_SIGNALS), "the manager")
    equal(introspected(t, t.path, PROFILE), (PROFILE_MEMBERS, PROFILE_PROPERTIES, {}), "a profile")
    for member, signature, arguments in (("GetStacks", "a{sv}", ({},)), ("CaptureStacks", "ba{sv}", (True, {})), ("SetStacks", "sa{sv}", ("off", {}))):
        refused("org.freedesktop.DBus.Error.UnknownMethod", [member], t.client.call, t.path, PROFILE, member, signature, *arguments)
    refused("org.freedesktop.DBus.Error.UnknownMethod", ["GetUnit"], t.client.call, PATH, MANAGER, "GetUnit", "sa{sv}", "x.service", {})


def busctl_introspect(t):
    need("busctl")
    text = t.bus.busctl("introspect", NAME, PATH)
    for name in [*MANAGER_MEMBERS, *MANAGER_PROPERTIES, *MANAGER_SIGNALS]:
        check(re.search(rf"^\.{name} ", text, re.MULTILINE), f"busctl introspect does not show {name}")
    text = t.bus.busctl("introspect", NAME, t.path)
    for name in [*PROFILE_MEMBERS, *PROFILE_PROPERTIES]:
        check(re.search(rf"^\.{name} ", text, re.MULTILINE), f"busctl introspect does not show {name}")
    tree = t.bus.busctl("tree", NAME, "--list").split()
    for path in (PATH, t.path, LOG_PATH):
        check(path in tree, f"busctl tree does not show {path}: {tree}")
    # The two lines that people are told to type.
    path = json.loads(t.bus.busctl("--json=short", "call", NAME, PATH, MANAGER, "GetProfile", "sa{sv}", f"cgroup:{t.group.path}", "0"))["data"][0]
    equal(path, t.path, "GetProfile by busctl")
    text = json.loads(t.bus.busctl("--json=short", "call", NAME, path, PROFILE, "GetSummary", "a{sv}", "1", "limit", "i", "5"))["data"][0]
    equal(json.loads(text)["format"], "memcgprof.summary", "GetSummary by busctl")


def object_manager(t):
    objects = t.client.call(PATH, OBJECT_MANAGER, "GetManagedObjects", "")
    equal(list(objects), [t.path], "managed objects")
    values = objects[t.path][PROFILE]
    equal(sorted(map(str, values)), ["Cgroup", "CgroupId", "Id", "Kind", "Mode", "State"], "properties, but for those that cost")
    import bus as harness
    name, harness.MANAGER = harness.MANAGER, OBJECT_MANAGER
    try:
        with Group(processes=0) as g, Signals(t.bus, "InterfacesRemoved") as removed, Signals(t.bus, "InterfacesAdded") as added:
            t.client.manager("StopProfile", dbus.ObjectPath(t.path))
            path, interfaces = removed.next()
            equal(path, t.path, "InterfacesRemoved")
            check(PROFILE in interfaces, f"interfaces {interfaces}")
            other = str(t.client.manager("StartProfile", f"cgroup:{g.path}"))
            path, interfaces = added.next()
            equal((path, interfaces[PROFILE]["State"]["data"]), (other, "active"), "InterfacesAdded")
            t.client.manager("StopProfile", dbus.ObjectPath(other))
    finally:
        harness.MANAGER = name
    equal(t.client.call(PATH, OBJECT_MANAGER, "GetManagedObjects", ""), {}, "managed objects when there are none")
    t.begin()


# Runs as another user: every call in turn, its error name or what it returned, as one JSON object.
STRANGER = """
import json, sys, dbus, dbus.bus
address, path, group = sys.argv[1:4]
connection = dbus.bus.BusConnection(address)
def attempt(where, interface, member, signature="", *arguments):
    try:
        return [None, str(connection.call_blocking("org.memcgprof1", where, interface, member, signature, arguments))]
    except dbus.DBusException as e:
        return [e.get_dbus_name(), e.get_dbus_message()]
M, P, S = "org.memcgprof1.Manager", "org.memcgprof1.Profile", "org.freedesktop.DBus.Properties"
E = dbus.Dictionary({}, signature="sv")
print(json.dumps({
    "RegisterContainer": attempt("/org/memcgprof1", M, "RegisterContainer", "sa{sv}", "x", dbus.Dictionary({"cgroup": group}, signature="sv")),
    "ContainerStopped": attempt("/org/memcgprof1", M, "ContainerStopped", "sa{sv}", "x", E),
    "StartProfile": attempt("/org/memcgprof1", M, "StartProfile", "sa{sv}", "cgroup:" + group, E),
    "StopProfile": attempt("/org/memcgprof1", M, "StopProfile", "oa{sv}", dbus.ObjectPath(path), E),
    "GetProfile": attempt("/org/memcgprof1", M, "GetProfile", "sa{sv}", "cgroup:" + group, E),
    "ListProfiles": attempt("/org/memcgprof1", M, "ListProfiles", "a{sv}", E),
    "DescribeSupport": attempt("/org/memcgprof1", M, "DescribeSupport", "a{sv}", E),
    "SetMode": attempt("/org/memcgprof1", M, "SetMode", "sa{sv}", "off", E),
    "Set Mode": attempt("/org/memcgprof1", S, "Set", "ssv", M, "Mode", "off"),
    "GetSummary": attempt(path, P, "GetSummary", "a{sv}", E),
    "GetSites": attempt(path, P, "GetSites", "a{sv}", E),
    "Dump": attempt(path, P, "Dump", "sa{sv}", "summary", E),
    "Reset": attempt(path, P, "Reset", "a{sv}", E),
    "Set LogLevel": attempt("/org/freedesktop/LogControl1", S, "Set", "ssv", "org.freedesktop.LogControl1", "LogLevel", "emerg"),
    "read Mode": attempt("/org/memcgprof1", S, "Get", "ss", M, "Mode"),
    "read LiveBytes": attempt(path, S, "Get", "ss", P, "LiveBytes"),
    "read all": attempt(path, S, "GetAll", "s", P),
    "introspect": attempt(path, "org.freedesktop.DBus.Introspectable", "Introspect"),
    "managed": attempt("/org/memcgprof1", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects"),
}))
"""


def stranger(t):
    need_root()
    setpriv = need("setpriv")
    done = run([setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", sys.executable, "-c", STRANGER,
                t.bus.address, t.path, t.group.path])
    equal(done.returncode, 0, f"the stranger's own failure: {done.stderr}")
    answers = json.loads(done.stdout)
    for what, (error, text) in answers.items():
        if what.startswith("read") or what in ("introspect", "managed"):
            equal(error, None, f"{what}: {text}")
        else:
            equal(error, DENIED, f"{what}: {text}")
    equal(answers["read Mode"][1], "auto", "Mode as read by a stranger")
    equal(str(t.client.get(PATH, MANAGER, "Mode")), "auto", "Mode afterwards")
    equal(t.client.paths(), [t.path], "profiles afterwards")
    equal(str(t.client.get(LOG_PATH, LOG_CONTROL, "LogLevel")), "info", "LogLevel afterwards")


def log_control(t):
    equal(str(t.client.get(LOG_PATH, LOG_CONTROL, "SyslogIdentifier")), "memcgprofd", "SyslogIdentifier")
    refused("org.freedesktop.DBus.Error.PropertyReadOnly", [], t.client.set, LOG_PATH, LOG_CONTROL, "SyslogIdentifier", "x")
    for name, bad in (("LogLevel", "loud"), ("LogTarget", "printer"), ("LogLevel", ""), ("LogTarget", "x" * 5000)):
        refused(INVALID, [bad[:32]], t.client.set, LOG_PATH, LOG_CONTROL, name, bad)
    before = t.daemon.log_text()
    for level in ("emerg", "alert", "crit", "err", "warning", "notice", "debug"):
        t.client.set(LOG_PATH, LOG_CONTROL, "LogLevel", level)
        equal(str(t.client.get(LOG_PATH, LOG_CONTROL, "LogLevel")), level, "LogLevel")
    for target in ("journal", "console", "null", "auto"):
        t.client.set(LOG_PATH, LOG_CONTROL, "LogTarget", target)
        equal(str(t.client.get(LOG_PATH, LOG_CONTROL, "LogTarget")), target, "LogTarget")
    t.client.set(LOG_PATH, LOG_CONTROL, "LogTarget", "console")
    t.client.set(LOG_PATH, LOG_CONTROL, "LogLevel", "err")
    t.client.manager("SetMode", "single")
    equal(t.daemon.log_text(), before, "a notice below the level is not written")
    t.client.set(LOG_PATH, LOG_CONTROL, "LogLevel", "notice")
    t.client.manager("SetMode", "auto")
    check("Mode is auto." in t.daemon.log_text()[len(before):], "a notice at the level is written")
    t.client.set(LOG_PATH, LOG_CONTROL, "LogLevel", "info")
    t.client.set(LOG_PATH, LOG_CONTROL, "LogTarget", "auto")


def unknown_objects(t):
    for path in ("/org/memcgprof1/container/nobody", "/org/memcgprof1/cgroup/_31", "/org/memcgprof1/host", "/org/memcgprof1/unit/x", "/",
                 "/org/memcgprof1/container", "/org/memcgprof1/cgroup"):
        refused("org.freedesktop.DBus.Error.UnknownObject", [path], t.client.profile, path, "GetSummary")


def one_name(t):
    """A second daemon on the same bus says what is wrong and goes; the first one stays."""
    done = run([built(FAKE), t.daemon.script, "/nowhere", "/nonexistent", f"--bus={t.bus.address}", f"--state-dir={t.daemon.directory}/second"])
    equal(done.returncode, 1, "exit status")
    check("org.memcgprof1 is taken" in done.stderr and done.stderr.count("\n") == 1, done.stderr)
    equal(t.client.paths(), [t.path], "the first one")


def command_line(t):
    program = [built(FAKE), t.daemon.script, "/nowhere", "/nonexistent"]
    for arguments in (["--help"], ["-h"]):
        done = run(program + arguments)
        equal((done.returncode, done.stderr), (0, ""), f"{arguments}")
        for option in ("--bus", "--state-dir", "--settle-ms", "--groups-max", "--objects-max", "--sites-max", "--stacks-max", "--help", "--version"):
            check(option in done.stdout, f"the help lacks {option}")
        check(max(map(len, done.stdout.splitlines())) <= 80, "the help is wider than 80 columns")
    check(re.fullmatch(r"memcgprof \d+\.\d+\.\d+\n", run(program + ["--version"]).stdout), "version")
    for arguments in (["--nonsense"], ["argument"], ["--bus"], ["--settle-ms=soon"], ["--settle-ms=-1"], ["--settle-ms=99999999999"],
                      ["--groups-max=0"], ["--groups-max=-1"], ["--groups-max=many"], ["--groups-max=16385"], ["--objects-max=0"],
                      ["--sites-max=some"], ["--stacks-max=4194305"]):
        done = run(program + arguments)
        equal((done.returncode, done.stdout), (2, ""), f"{arguments}")
        check(done.stderr, f"{arguments}: nothing is said")
    for arguments, word in ((["--bus=unix:path=/nowhere", f"--state-dir={t.daemon.directory}/a"], "/nowhere"), (["--state-dir=/proc/x"], "/proc/x"),
                            (["--bus=nonsense", f"--state-dir={t.daemon.directory}/b"], "nonsense")):
        done = run(program + arguments)
        equal(done.returncode, 1, f"{arguments}: {done.stderr}")
        check(word in done.stderr and done.stderr.count("\n") == 1, f"{arguments}: {done.stderr}")


def no_environment(t):
    """The address of a bus comes from the command line, never from the environment."""
    done = run([built(FAKE), t.daemon.script, "/nowhere", "/nonexistent", f"--state-dir={t.daemon.directory}/c"],
               env={**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": t.bus.address, "DBUS_STARTER_ADDRESS": t.bus.address})
    if os.path.exists("/run/dbus/system_bus_socket"):
        raise Skip("this machine has a system bus")
    equal(done.returncode, 1, "exit status")
    check("/run/dbus/system_bus_socket" in done.stderr, done.stderr)


def bus_goes_away(t):
    """Without its bus the daemon ends, with a report for what it measured."""
    with Bus() as bus, Fake(bus) as daemon, Client(bus) as client, Group() as g:
        client.manager("StartProfile", f"cgroup:{g.path}")
        bus.process.kill()
        bus.process.wait()
        stopped = daemon.process.wait(timeout=10)
        daemon.process = None
        check(stopped != 0, "the loss of the bus is not a success")
        equal(len(daemon.reports()), 1, "reports")
        equal(daemon.tracked()[-1], "free", "what the tracker was told last")


def shipped_files(t):
    policy = ElementTree.parse(os.path.join(SOURCE, "daemon/org.memcgprof1.conf")).getroot()
    rules = {p.get("user") or p.get("context"): list(p) for p in policy.findall("policy")}
    check(any(r.tag == "allow" and r.get("own") == NAME for r in rules["root"]), "root may not own the name")
    check(not any(r.get("own") for r in rules["default"]), "everybody may own the name")
    check(any(r.tag == "deny" and r.get("send_destination") == NAME for r in rules["default"]), "no default")
    with open(os.path.join(SOURCE, "daemon/org.memcgprof1.service"), encoding="ascii") as f:
        activation = dict(line.strip().split("=", 1) for line in f if "=" in line)
    with open(built("daemon/memcgprofd.service"), encoding="ascii") as f:
        unit = [line.strip() for line in f]
    equal(activation["SystemdService"], "memcgprofd.service", "the unit that a call starts")
    check(f"BusName={activation['Name']}" in unit and "Type=notify" in unit, "the unit's type")
    check(not any(re.search("@[a-z]+@", line) for line in unit), "something was not filled in")


def policy_holds(t):
    """The shipped policy on a bus of its own: a stranger may look, and is refused by the daemon or by the bus for the rest."""
    need_root()
    setpriv = need("setpriv")
    with Bus() as bus:
        config = os.path.join(bus.scratch.path, "bus.conf")
        with open(config, encoding="ascii") as f:
            text = f.read()
        text = text.replace('<allow send_destination="*" eavesdrop="true"/>', "").replace('<allow eavesdrop="true"/>', "").replace(
            '<allow own="*"/>', '<allow send_destination="org.freedesktop.DBus"/><deny own="*"/><deny send_type="method_call"/>'
            '<allow send_type="method_return"/><allow send_type="error"/><allow send_type="signal"/><allow receive_sender="*"/>'
            '<allow send_destination="org.freedesktop.DBus"/><allow send_destination="org.freedesktop.PolicyKit1"/>')
        text = text.replace("</busconfig>", f"<include>{SOURCE}/daemon/org.memcgprof1.conf</include></busconfig>")
        with open(config, "w", encoding="ascii") as f:
            f.write(text)
        run(["busctl", f"--address={bus.address}", "call", "org.freedesktop.DBus", "/", "org.freedesktop.DBus", "ReloadConfig"])
        with Fake(bus), Client(bus) as client, Group() as g:
            path = str(client.manager("StartProfile", f"cgroup:{g.path}"))
            done = run([setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c", STRANGER, bus.address, path, g.path])
            equal(done.returncode, 0, f"the stranger's own failure: {done.stderr}")
            for what, (error, text) in json.loads(done.stdout).items():
                allowed = what.startswith("read") or what in ("introspect", "managed")
                equal(error, None if allowed else DENIED, f"{what}: {text}")
                # What polkit guards reaches the daemon, which finds no polkit here; all else the bus refuses.
                by_bus = what.startswith("Set ") or what in ("RegisterContainer", "ContainerStopped")
                check(allowed or ("rejected" in text.lower()) == by_bus, f"{what} was refused by the wrong side: {text}")
            taken = run([setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", "busctl", f"--address={bus.address}", "call",
                         "org.freedesktop.DBus", "/", "org.freedesktop.DBus", "RequestName", "su", NAME, "2"])
            check(taken.returncode != 0 and "denied" in taken.stderr.lower(), f"a stranger may own the name: {taken.stdout}{taken.stderr}")


class Test:
    """One profile for all cases."""

    def begin(self):
        self.path = str(self.client.manager("StartProfile", f"cgroup:{self.group.path}"))


CASES = (
    ("introspection is the contract, no more and no less", introspection),
    ("busctl: introspect, tree and the two lines for a summary", busctl_introspect),
    ("ObjectManager", object_manager),
    ("a caller without rights", stranger),
    ("LogControl1", log_control),
    ("objects that are not there", unknown_objects),
    ("a second daemon", one_name),
    ("command line", command_line),
    ("no address from the environment", no_environment),
    ("the bus goes away", bus_goes_away),
    ("policy, activation and unit files", shipped_files),
    ("the shipped policy on a bus", policy_holds),
)


def tests(tap):
    with Bus() as bus, Fake(bus) as daemon, Client(bus) as client, Group() as group:
        t = Test()
        t.bus, t.daemon, t.client, t.group = bus, daemon, client, group
        t.begin()
        for name, function in CASES:
            tap.case(name, function, t)
        client.manager("StopProfile", dbus.ObjectPath(t.path))
        check(daemon.alive(), "the daemon is gone: " + daemon.log_text()[-2000:])


main(tests)
