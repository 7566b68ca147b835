#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The Manager: every method, property and signal, every way to name a target, and every wrong call."""

import os
import re

import dbus
from bus import MANAGER, PATH, PROFILE, Bus, Signals
from client import ERROR, INVALID, Changes, Client, refused
from group import Group, container_group, new_id
from proc import run, stop
from tap import Failure, check, equal, main
from validate import validated

from fake import ROWS, Fake, sleeper


def started(t, target, **options):
    return str(t.client.manager("StartProfile", target, options=options))


def start_by_path(t):
    with Group() as g, Signals(t.bus, "ProfileAdded") as added:
        path = started(t, f"cgroup:{g.path}")
        equal(path, f"/org/memcgprof1/cgroup/_{ord(str(g.id)[0]):02x}{str(g.id)[1:]}", "object path")
        equal(added.next(), [path], "ProfileAdded")
        for again in (f"cgroup:{g.path}", f"cgroup:{g.mount}{g.path}", f"cgroup:{g.path}/", f"pid:{g.pid}"):
            equal(started(t, again), path, f"StartProfile {again}")
            equal(str(t.client.manager("GetProfile", again)), path, f"GetProfile {again}")
        equal(t.client.paths(), [path], "one measurement per memcg")
        t.daemon.wait_counting(1)
        with Signals(t.bus, "ProfileRemoved") as removed:
            t.client.manager("StopProfile", dbus.ObjectPath(path))
            equal(removed.next(), [path], "ProfileRemoved")
        equal(t.client.paths(), [], "profiles after StopProfile")
        t.daemon.wait_counting(0)


def start_by_container(t):
    name = "c" + new_id()
    with container_group(name) as g:
        # Named *-ID but no scope: nobody finds that by name alone.
        message = refused(ERROR + "NoSuchTarget", [name], t.client.manager, "StartProfile", f"container:{name}")
        check("/run/runc" in message, f"it does not say what was tried: {message}")
    name = new_id() * 4
    with Group(name=f"libpod-{name}.scope") as g:
        path = started(t, f"container:{name}")
        equal(path, "/org/memcgprof1/container/" + dbus_label(name), "object path")
        for target in (f"container:{name}", f"container:{name[:12]}", f"cgroup:{g.path}", f"pid:{g.pid}"):
            equal(str(t.client.manager("GetProfile", target)), path, f"GetProfile {target}")
        # Another name of the same group is a second view of one measurement.
        view = started(t, f"cgroup:{g.path}")
        equal(sorted(t.client.paths()), sorted([path, view]), "views")
        t.daemon.wait_counting(1)
        equal(str(t.client.get(view, PROFILE, "Kind")), "cgroup", "Kind of the second view")
        equal(str(t.client.get(path, PROFILE, "Kind")), "container", "Kind of the first view")
        t.client.manager("StopProfile", dbus.ObjectPath(view))
        equal(t.client.paths(), [], "an operator's stop ends all views")


def dbus_label(text):
    """sd_bus_path_encode(), as interface-traps has it: a leading digit and all that is not alphanumeric is _XX."""
    return "".join(c if c.isascii() and c.isalnum() and not (i == 0 and c.isdigit()) else "".join(f"_{b:02x}" for b in c.encode())
                   for i, c in enumerate(text)) or "_"


def spec_words(t):
    with Group() as g:
        target = f"cgroup:{g.path}"
        for bad, word in (("sometimes", "sometimes"), ("auto,stack", "stack"), ("auto,sample=lots", "sample"), ("", ""), ("auto," * 100, "256"),
                          ("off", "off")):
            refused(ERROR + "BadSpec", [word], t.client.manager, "StartProfile", target, options={"spec": bad})
        for word in ("stacks", "stacks=all"):
            refused(ERROR + "NotSupported", [word], t.client.manager, "StartProfile", target, options={"spec": f"auto,{word},required"})
        equal(t.client.paths(), [], "nothing began")
        for spec in ("multi,required", "auto,numa,sample=1M,required"):
            t.client.manager("StopProfile", dbus.ObjectPath(started(t, target, spec=spec)))
        path = started(t, target, spec="single,required")
        started(t, target, spec="auto,stacks")
        document = validated(t.client.profile(path, "GetSummary"), "memcgprof.summary")
        equal([gap["word"] for gap in document["profile"]["unavailable"]], ["stacks"], "unavailable after the second spec")
        started(t, target)
        document = validated(t.client.profile(path, "GetSummary"), "memcgprof.summary")
        equal([gap["word"] for gap in document["profile"]["unavailable"]], ["stacks"], "a call without a spec leaves it")
        t.client.manager("StopProfile", dbus.ObjectPath(path))


def wrong_targets(t):
    manager = t.client.manager
    gone = sleeper()
    stop(gone)
    for method in ("StartProfile", "GetProfile"):
        for target in ("", "nonsense", "container:", "cgroup:", "pid:", "Container:x", "/path"):
            refused(INVALID, ["container:ID"], manager, method, target)
        for target, word in (("unit:ssh.service", "unit"),):
            refused(ERROR + "NotSupported", [word], manager, method, target)
        for target in ("cgroup:/", "cgroup:///", f"cgroup:{Group().mount}", f"cgroup:{Group().mount}/"):
            refused(ERROR + "NotSupported", ["host"], manager, method, target)
        for target, words in (("cgroup:/does/not/exist", ["/does/not/exist"]), ("cgroup:/..", [".."]), ("cgroup:/../../etc", [".."]),
                              ("cgroup:/" + "x" * 5000, []), (f"pid:{gone.pid}", [str(gone.pid)]),
                              ("container:nobody-knows-this", ["nobody-knows-this"]), ("container:a/../b\nc", []),
                              ("container:deadbeefdead", ["deadbeefdead"])):
            refused(ERROR + "NoSuchTarget", words, manager, method, target)
        for target, word in (("pid:0", "0"), ("pid:-1", "-1"), ("pid:1x", "1x"), ("pid:99999999999", "99999999999"), ("pid:99999999999999999999", ""),
                             ("container:" + "x" * 4096, "1024")):
            refused(INVALID, [word], manager, method, target)
    with Group() as g:
        refused(ERROR + "NoSuchProfile", [g.path], manager, "GetProfile", f"cgroup:{g.path}")
        refused(ERROR + "NoSuchProfile", [str(g.pid)], manager, "GetProfile", f"pid:{g.pid}")
    for path in ("/", PATH, "/org/memcgprof1/container/nobody", "/org/memcgprof1/cgroup/_31"):
        refused(ERROR + "NoSuchProfile", [path], manager, "StopProfile", dbus.ObjectPath(path))
    # A file of a cgroup and a directory elsewhere are no groups.
    with Group() as g:
        refused(ERROR + "NoSuchTarget", [], manager, "StartProfile", f"cgroup:{g.path}/cgroup.procs")
    t.daemon.wait_counting(0)


def tracker_failures(t):
    with Group() as g:
        for error, name in ((28, ERROR + "Limit"), (19, ERROR + "Gone"), (95, ERROR + "NotSupported")):
            t.daemon.write(begin_error=error)
            try:
                t.client.manager("StartProfile", f"cgroup:{g.path}")
                check(False, f"no error for errno {error}")
            except dbus.DBusException as e:
                check(e.get_dbus_name().startswith(name), f"errno {error}: {e.get_dbus_name()}, wanted {name}")
        t.daemon.write()
        path = started(t, f"cgroup:{g.path}")
        t.daemon.write(read_error=5)
        for function, arguments in ((t.client.profile, (path, "GetSummary")), (t.client.profile, (path, "GetSites")),
                                    (t.client.live_bytes, (path,))):
            try:
                function(*arguments)
                check(False, f"{arguments}: no error although the tracker cannot be read")
            except dbus.DBusException:
                pass
        t.daemon.write()
        equal(t.client.live_bytes(path), 0, "it goes on")
        t.client.manager("StopProfile", dbus.ObjectPath(path))


def option_keys(t):
    calls = {"RegisterContainer": ["x"], "ContainerStopped": ["x"], "StartProfile": ["cgroup:/x"], "StopProfile": [dbus.ObjectPath("/x")],
             "GetProfile": ["cgroup:/x"], "ListProfiles": [], "DescribeSupport": [], "SetMode": ["auto"]}
    for method, arguments in calls.items():
        refused(INVALID, ["no-such-option"], t.client.manager, method, *arguments, options={"no-such-option": True})
    refused(INVALID, ["spec", "'i'", "'s'"], t.client.manager, "StartProfile", "cgroup:/x", options={"spec": dbus.Int32(1)})
    wrong = {"pidfd": dbus.UInt32(3), "pid": "1", "cgroup": dbus.Int32(1), "spec": True, "bundle": 1.5, "deadline_us": "soon",
             "annotations": dbus.Dictionary({"a": dbus.Int32(1)}, signature="si")}
    for key, value in wrong.items():
        refused(INVALID, [f"'{key}'"], t.client.manager, "RegisterContainer", "x", options={key: value})
    for key, value in (("pid", dbus.Int32(-1)), ("deadline_us", dbus.Int64(-1)), ("deadline_us", dbus.UInt64(2**64 - 1))):
        refused(INVALID, [f"'{key}'", "range"], t.client.manager, "RegisterContainer", "x", options={key: value})
    # The same key twice, which python3-dbus cannot write.
    twice = run(["busctl", f"--address={t.bus.address}", "call", "org.memcgprof1", PATH, MANAGER, "StartProfile", "sa{sv}", "cgroup:/x", "2",
                 "spec", "s", "auto", "spec", "s", "auto"])
    check(twice.returncode != 0 and "twice" in twice.stderr, f"twice the same key: {twice.stderr}")
    with Group() as g:
        for kind in (dbus.Byte, dbus.Int16, dbus.UInt16):
            refused(ERROR + "NoSuchTarget", [], t.client.manager, "RegisterContainer", "x", options={"pid": kind(250)})
        for kind in (dbus.Int32, dbus.UInt32, dbus.Int64, dbus.UInt64):
            path, _ = t.client.manager("RegisterContainer", os.path.basename(g.path), options={"pid": kind(g.pid)})
        t.client.manager("StopProfile", path)


def list_profiles(t):
    equal(t.client.manager("ListProfiles"), [], "the empty list")
    with Group() as g:
        path = started(t, f"cgroup:{g.path}")
        t.daemon.write(ROWS)
        reply = t.client.manager("ListProfiles")
        equal(reply.signature, "(osssxa{sv})", "signature")
        (object_path, kind, name, state, live, more), = reply
        equal((object_path, kind, name, state), (path, "cgroup", g.path, "active"), "the row")
        equal(int(live), t.client.live_bytes(path), "live bytes")
        equal(int(more["cgroup_id"]), g.id, "cgroup_id")
        equal(str(more["cgroup"]), g.path, "cgroup")
        equal(str(more["mode"]), "single", "mode")
        equal([str(r) for r in more["requesters"]], [f"bus:cgroup:{g.path}"], "requesters")
        t.client.manager("StopProfile", dbus.ObjectPath(path))
        t.daemon.write()


def properties(t):
    values = t.client.get_all(PATH, MANAGER)
    equal({str(k): str(v) for k, v in values.items()},
          {"Mode": "auto", "EffectiveMode": "auto", "Backend": "fake", "Version": str(values["Version"])}, "properties")
    check(re.fullmatch(r"\d+\.\d+\.\d+", values["Version"]), f"Version is {values['Version']}")
    for name in ("EffectiveMode", "Backend", "Version"):
        refused("org.freedesktop.DBus.Error.PropertyReadOnly", [name], t.client.set, PATH, MANAGER, name, "x")
    with Group() as g:
        path = started(t, f"cgroup:{g.path}")
        equal(str(t.client.get(PATH, MANAGER, "EffectiveMode")), "single", "EffectiveMode while one is measured")
        t.client.manager("StopProfile", dbus.ObjectPath(path))
    equal(str(t.client.get(PATH, MANAGER, "EffectiveMode")), "auto", "EffectiveMode afterwards")


def describe_support(t):
    document = validated(t.client.manager("DescribeSupport"), "memcgprof.support")
    check(len(document["items"]) > 3 and all(item["reason"] for item in document["items"]), "items without a reason")
    items = {item["name"]: (item["available"], item["reason"]) for item in document["items"]}
    equal(items["multi"][0], True, "several groups at once")
    equal(items["fake_ability"], (False, "this is a script"), "what the tracker says of itself")
    memory = document["memory"]
    check({2, 64, 256} <= {entry["cpus"] for entry in memory}, f"sizes of machines: {memory}")
    here = os.sysconf("SC_NPROCESSORS_CONF")
    equal([entry["cpus"] for entry in memory if entry["here"]], [here], "this machine")
    equal(sorted(entry["cpus"] for entry in memory), [entry["cpus"] for entry in memory], "order")
    check(all(entry["total_bytes"] > entry["groups"] * entry["bytes_per_group"] > 0 for entry in memory), f"figures: {memory}")
    # A profile takes a second group when one above it begins.
    equal({entry["groups"] for entry in memory}, {2048}, "groups")


def no_tracker(t):
    """A machine that cannot be measured is still told about; what may pass is a failure of the start."""
    t.daemon.stop()
    try:
        t.daemon.write(new_error=95)
        t.daemon.start()
        equal(str(t.client.get(PATH, MANAGER, "Backend")), "none", "Backend")
        document = validated(t.client.manager("DescribeSupport"), "memcgprof.support")
        engine, = [item for item in document["items"] if item["name"] == "engine"]
        check(not engine["available"] and "no tracker" in engine["reason"], f"{engine}")
        with Group() as g:
            refused(ERROR + "NotSupported", ["DescribeSupport", "no tracker"], t.client.manager, "StartProfile", f"cgroup:{g.path}")
            refused(ERROR + "NotSupported", ["DescribeSupport"], t.client.manager, "RegisterContainer", os.path.basename(g.path),
                    options={"pid": dbus.UInt32(g.pid)})
        equal(t.client.paths(), [], "profiles")
        equal(str(t.client.get(PATH, MANAGER, "EffectiveMode")), "auto", "EffectiveMode after a refusal")
        t.daemon.stop()
        t.daemon.write(new_error=12)
        try:
            t.daemon.start()
            check(False, "it started without memory")
        except Failure as e:
            check("no tracker" in str(e), f"{e}")
            t.daemon.process.wait()
            equal(t.daemon.process.returncode, 1, "exit status")
            t.daemon.process = None
    finally:
        t.daemon.write()
    t.daemon.start()


def modes(t):
    manager, words = t.client.manager, ["off, auto, single or multi"]
    for bad in ("", "on", "sometimes", "OFF", "x" * 5000):
        refused(INVALID, words, manager, "SetMode", bad)
    refused(INVALID, words, t.client.set, PATH, MANAGER, "Mode", "never")
    with Changes(t.bus) as changes:
        manager("SetMode", "single")
        changes.expect((PATH, {"Mode": "single"}), (PATH, {"EffectiveMode": "single"}))
        manager("SetMode", "single")
        t.client.set(PATH, MANAGER, "Mode", "multi")
        # None without a change.
        changes.expect((PATH, {"Mode": "multi"}), (PATH, {"EffectiveMode": "multi"}))
        manager("SetMode", "auto")
        changes.expect((PATH, {"Mode": "auto"}), (PATH, {"EffectiveMode": "auto"}))
        with Group() as g:
            path = started(t, f"cgroup:{g.path}")
            changes.expect((PATH, {"EffectiveMode": "single"}))
            g.remove()
            changes.expect((path, {"State": "ended"}), (PATH, {"EffectiveMode": "auto"}))
            manager("StopProfile", dbus.ObjectPath(path))
    # busctl's way of writing it, which needs no signature knowledge
    t.bus.busctl("set-property", "org.memcgprof1", PATH, MANAGER, "Mode", "s", "single")
    equal(str(t.client.get(PATH, MANAGER, "Mode")), "single", "Mode after busctl set-property")
    manager("SetMode", "auto")


def off(t):
    with Group() as g, Signals(t.bus, "ProfileFinished") as finished, Signals(t.bus, "ProfileRemoved") as removed:
        path = started(t, f"cgroup:{g.path}")
        t.client.manager("SetMode", "off")
        equal(removed.next(), [path], "ProfileRemoved")
        equal(finished.next()[0], path, "ProfileFinished")
        t.daemon.wait_counting(0)
        equal(str(t.client.get(PATH, MANAGER, "EffectiveMode")), "off", "EffectiveMode")
        refused(ERROR + "NotReady", ["off", "SetMode"], t.client.manager, "StartProfile", f"cgroup:{g.path}")
        refused(ERROR + "NotReady", ["off", "SetMode"], t.client.manager, "RegisterContainer", os.path.basename(g.path),
                options={"pid": dbus.UInt32(g.pid)})
        t.daemon.stop()
        t.daemon.start()
        equal(str(t.client.get(PATH, MANAGER, "Mode")), "off", "Mode after a restart")
        refused(ERROR + "NotReady", ["off"], t.client.manager, "StartProfile", f"cgroup:{g.path}")
        t.client.manager("SetMode", "auto")
        t.daemon.kill()
        t.daemon.start()
        equal(str(t.client.get(PATH, MANAGER, "Mode")), "auto", "Mode after a crash")
        t.client.manager("StopProfile", dbus.ObjectPath(started(t, f"cgroup:{g.path}")))


def damaged_mode(t):
    for content in (b"", b"\xff\xfe\n", b"x" * 100000, b"always\n"):
        t.daemon.stop()
        with open(os.path.join(t.daemon.state, "mode"), "wb") as f:
            f.write(content)
        t.daemon.start()
        equal(str(t.client.get(PATH, MANAGER, "Mode")), "off", f"the kill switch fails closed ({content[:10]})")
    t.client.manager("SetMode", "auto")


def mode_not_saved(t):
    # A directory in the way cannot be replaced by rename: the mode holds, and the caller learns that it will not last.
    os.unlink(os.path.join(t.daemon.state, "mode"))
    os.mkdir(os.path.join(t.daemon.state, "mode"))
    try:
        refused("org.freedesktop.DBus.Error.Failed", ["saved"], t.client.manager, "SetMode", "single")
        equal(str(t.client.get(PATH, MANAGER, "Mode")), "single", "Mode")
    finally:
        os.rmdir(os.path.join(t.daemon.state, "mode"))
    t.client.manager("SetMode", "auto")


def many_requesters(t):
    with Group(processes=40) as g:
        path = started(t, f"cgroup:{g.path}")
        done = 0
        try:
            for process in g.processes:
                equal(started(t, f"pid:{process.pid}"), path, "object path")
                done += 1
            check(False, "no bound on requesters")
        except dbus.DBusException as e:
            equal(e.get_dbus_name(), ERROR + "Limit", "error name")
            equal(done, 15, "requesters before the bound")
        t.client.manager("StopProfile", dbus.ObjectPath(path))


def strange_names(t):
    """A cgroup and a process whose names are not UTF-8: nothing vanishes, everything is escaped."""
    with Group(name=b"bus-\xff\xfe\x1b[1m", processes=0) as g:
        g.spawn(["/usr/bin/python3", "-c", "import ctypes, time; ctypes.CDLL(None).prctl(15, b'\\xff\\xc3\\n\"', 0, 0, 0); time.sleep(1000)"])
        path = started(t, f"pid:{g.pid}")
        shown = str(t.client.get(path, PROFILE, "Cgroup"))
        check(shown.endswith("bus-\\xff\\xfe\\x1b[1m"), f"Cgroup is {shown!r}")
        equal(str(t.client.get(path, PROFILE, "Id")), shown, "Id")
        t.daemon.write(ROWS)
        document = validated(t.client.profile(path, "GetSummary"), "memcgprof.summary")
        equal(document["profile"]["cgroup"], shown, "cgroup of the document")
        equal([str(e[2]) for e in t.client.manager("ListProfiles")], [shown], "id of the list")
        equal(str(t.client.manager("GetProfile", f"pid:{g.pid}")), path, "GetProfile by pid")
        with Group() as other:
            started(t, f"pid:{g.pid}", spec="single")
            refused(ERROR + "Busy", ["\\xff"], t.client.manager, "StartProfile", f"cgroup:{other.path}")
        with Signals(t.bus, "ProfileFinished") as finished:
            t.client.manager("StopProfile", dbus.ObjectPath(path))
            report = finished.next()[1]
        validated(open(report, encoding="ascii").read(), "memcgprof.report")
        t.daemon.write()


class Test:
    """One bus, one daemon and one client for all cases."""

    def wait_state(self, path, state):
        from proc import eventually
        eventually(lambda: str(self.client.get(path, PROFILE, "State")) == state, 10, f"{path} is {state}")


CASES = (
    ("StartProfile, GetProfile and StopProfile by path and pid", start_by_path),
    ("StartProfile by container id: prefix, views, what was tried", start_by_container),
    ("specs: bad words, unavailable words, required, applied to an active profile", spec_words),
    ("targets that are none, are not there or are not served", wrong_targets),
    ("failures of the tracker reach the caller and nothing breaks", tracker_failures),
    ("a machine that cannot be measured", no_tracker),
    ("unknown options, wrong types, twice the same, any integer type", option_keys),
    ("ListProfiles", list_profiles),
    ("properties of the manager", properties),
    ("DescribeSupport", describe_support),
    ("SetMode, writable Mode, change signals", modes),
    ("mode off ends all, refuses, survives restart and crash", off),
    ("a damaged mode file keeps profiling off", damaged_mode),
    ("a mode that cannot be saved holds and says so", mode_not_saved),
    ("requesters are bounded", many_requesters),
    ("names that are not UTF-8", strange_names),
)


def tests(tap):
    with Bus() as bus, Fake(bus) as daemon, Client(bus) as client:
        t = Test()
        t.bus, t.daemon, t.client = bus, daemon, client
        for name, function in CASES:
            tap.case(name, function, t)
        check(daemon.alive(), "the daemon is gone: " + daemon.log_text()[-2000:])


main(tests)
