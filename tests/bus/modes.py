#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who may be measured beside whom: the modes of the machine and of specs, the host, the bound on groups, and many profiles."""

import contextlib
import os
import time

import dbus
from bus import MANAGER, PATH, PROFILE, Bus, Signals
from client import ERROR, Changes, Client, refused
from group import Group, container_group, new_id
from proc import eventually
from tap import check, equal, main
from validate import validated

from fake import ROWS, Fake

HOST = "/org/memcgprof1/host"
MANY = 200  # more than fs.inotify.max_user_instances


def busy(t, target, holder, spec=None):
    """Refused, naming the holder, and nothing has changed."""
    before = t.client.manager("ListProfiles"), t.client.effective()
    refused(ERROR + "Busy", [holder if isinstance(holder, str) else holder.path], t.client.start, target, spec)
    equal((t.client.manager("ListProfiles"), t.client.effective()), before, "what a refused call changed")


def shown(t, path):
    """The mode of a profile, which every way of asking tells alike."""
    words = {str(t.client.get(path, PROFILE, "Mode")),
             validated(t.client.profile(path, "GetSummary"), "memcgprof.summary")["profile"]["mode"],
             *(str(entry[5]["mode"]) for entry in t.client.manager("ListProfiles") if entry[0] == path)}
    equal(len(words), 1, f"mode of {path}: {words}")
    return words.pop()


def set_mode(t, mode):
    t.client.manager("SetMode", mode)


def gaps(t, path):
    profile = validated(t.client.profile(path, "GetSummary"), "memcgprof.summary")["profile"]
    return profile["spec"], [gap["word"] for gap in profile["unavailable"]]


def autos_share(t):
    with Group() as a, Group() as b, Group() as c, Changes(t.bus) as changes:
        first = t.client.start(a)
        changes.expect((PATH, {"EffectiveMode": "single"}))
        equal((t.client.effective(), shown(t, first)), ("single", "single"), "one alone")
        second = t.client.start(b)
        changes.expect((PATH, {"EffectiveMode": "multi"}), (first, {"Mode": "multi"}))
        equal((t.client.effective(), shown(t, first), shown(t, second)), ("multi",) * 3, "two")
        third = t.client.start(c)
        t.daemon.wait_counting(3)
        t.client.stop(first)
        equal((t.client.effective(), shown(t, second)), ("multi", "multi"), "two are left")
        # A removed cgroup does not count any more, and keeps the mode that it ended in.
        c.remove()
        t.wait_state(third, "ended")
        changes.expect((third, {"State": "ended"}), (PATH, {"EffectiveMode": "single"}), (second, {"Mode": "single"}))
        equal((t.client.effective(), shown(t, second), shown(t, third)), ("single", "single", "multi"), "one is left")
        t.client.stop(second)
        changes.expect((PATH, {"EffectiveMode": "auto"}))
        equal((t.client.effective(), shown(t, third)), ("auto", "multi"), "none is left")
        t.client.stop(third)


def switches_often(t):
    with Group() as a, Group() as b:
        first = t.client.start(a)
        for _ in range(100):
            second = t.client.start(b)
            equal((t.client.effective(), str(t.client.get(first, PROFILE, "Mode"))), ("multi", "multi"), "two")
            t.client.stop(second)
            equal((t.client.effective(), str(t.client.get(first, PROFILE, "Mode"))), ("single", "single"), "one")
        t.client.stop(first)


def containers_share(t):
    """What the hook is told is what is in force."""
    ids = [new_id() for _ in range(3)]
    with contextlib.ExitStack() as stack:
        groups = [stack.enter_context(container_group(i)) for i in ids]
        for name, g, mode in zip(ids, groups, ("single", "multi", "multi")):
            _, told = t.client.manager("RegisterContainer", name, options={"pid": dbus.UInt32(g.pid)})
            equal(str(told), mode, "mode of the reply")
        t.daemon.wait_counting(3)
        t.client.stop(*t.client.paths())


def multi_from_the_start(t):
    with Group() as a, Group() as b:
        path = t.client.start(a, "multi")
        equal((t.client.effective(), shown(t, path)), ("multi", "multi"), "alone")
        busy(t, b, a, "single")
        t.client.stop(path, t.client.start(b, "multi"))


def single_holds(t):
    with Group() as a, Group() as b, Group() as c:
        path = t.client.start(a, "single")
        equal(shown(t, path), "single", "mode")
        for spec in (None, "auto", "multi", "single"):
            busy(t, b, a, spec)
            busy(t, "host", a, spec)
        equal(t.client.start(a), path, "it may be asked for again")
        t.daemon.wait_counting(1)
        t.client.stop(path)
        paths = [t.client.start(a), t.client.start(b)]
        busy(t, c, a, "single")
        t.client.stop(*paths)


def ended_holds_nothing(t):
    with Group() as a, Group() as b, Group() as c:
        ended = t.client.start(a, "single")
        a.remove()
        t.wait_state(ended, "ended")
        equal(t.client.effective(), "auto", "EffectiveMode")
        other = t.client.start(b, "single")
        equal(sorted(t.client.paths()), sorted([ended, other]), "it stays readable")
        busy(t, c, b)
        equal((shown(t, ended), shown(t, other)), ("single", "single"), "modes")
        set_mode(t, "single")
        set_mode(t, "auto")
        t.client.stop(ended, other)


def report_of(finished, path):
    """The profile as its next report has it; reports of earlier cases may still come in."""
    done, file = finished.next()
    while done != path:
        done, file = finished.next()
    with open(file, encoding="utf-8") as f:
        return validated(f.read(), "memcgprof.report")["profile"]


def reports_tell_the_mode(t):
    with Group() as a, Group() as b, Signals(t.bus, "ProfileFinished") as finished:
        first, second = t.client.start(a), t.client.start(b)
        a.remove()
        equal(report_of(finished, first)["mode"], "multi", "mode of the report of one of two")
        t.client.stop(second)
        equal(report_of(finished, second)["mode"], "single", "mode of the report of the one that was left")
        t.client.stop(first)


def host_profile(t):
    with Signals(t.bus, "ProfileAdded") as added, Signals(t.bus, "ProfileRemoved") as removed, Signals(t.bus, "ProfileFinished") as finished:
        refused(ERROR + "NoSuchProfile", ["host"], t.client.manager, "GetProfile", "host")
        refused("org.freedesktop.DBus.Error.UnknownObject", [HOST], t.client.profile, HOST, "GetSummary")
        equal(t.client.start("host"), HOST, "object path")
        equal(added.next(), [HOST], "ProfileAdded")
        equal((t.client.start("host"), str(t.client.manager("GetProfile", "host"))), (HOST, HOST), "asked for again")
        t.daemon.wait_counting(1)
        equal([line.split() for line in t.daemon.tracked() if line.startswith("begin")][-1][2], "/", "what is measured")
        t.daemon.write(ROWS)
        (path, kind, name, state, live, more), = t.client.manager("ListProfiles")
        equal((path, kind, name, state), (HOST, "host", "host", "active"), "the row of the list")
        equal(int(live), t.client.live_bytes(HOST), "live bytes")
        equal((str(more["cgroup"]), int(more["cgroup_id"])), ("/", os.stat(Group().mount).st_ino), "cgroup")
        equal([str(r) for r in more["requesters"]], ["bus:host"], "requesters")
        equal({str(k): str(v) for k, v in t.client.get_all(HOST, PROFILE).items()},
              {"Kind": "host", "Id": "host", "Cgroup": "/", "State": "active", "Mode": "single", "CgroupId": str(more["cgroup_id"])}, "properties")
        document = validated(t.client.profile(HOST, "GetSummary"), "memcgprof.summary")
        equal((document["profile"]["kind"], document["profile"]["id"], document["totals"]["charged"]["slab"]), ("host", "host", 13000), "document")
        t.client.profile(HOST, "Reset")
        check(HOST in t.bus.busctl("tree", "org.memcgprof1", "--list").split(), "busctl tree does not show it")
        with Group() as g:
            # Its own object stays the only way to it.
            for target in ("cgroup:/", f"cgroup:{g.mount}"):
                refused(ERROR + "NotSupported", ["host"], t.client.start, target)
            refused(ERROR + "NotSupported", ["host"], t.client.manager, "RegisterContainer", new_id(), options={"cgroup": "/"})
            refused("org.freedesktop.DBus.Error.InvalidArgs", ["host"], t.client.start, "host:")
        t.client.stop(HOST)
        equal(removed.next(), [HOST], "ProfileRemoved")
        equal(report_of(finished, HOST)["kind"], "host", "kind of the report")
        t.daemon.wait_counting(0)
    t.daemon.write()


def host_in_auto(t):
    with Group() as a, Group() as b, Changes(t.bus) as changes:
        t.client.start("host")
        changes.expect((PATH, {"EffectiveMode": "single"}))
        path = t.client.start(a)
        changes.expect((PATH, {"EffectiveMode": "multi"}), (HOST, {"Mode": "multi"}))
        equal((shown(t, HOST), shown(t, path)), ("multi", "multi"), "modes")
        # It does not go for somebody who cannot come anyway.
        busy(t, b, a, "single")
        t.client.stop(path)
        changes.expect((PATH, {"EffectiveMode": "single"}), (HOST, {"Mode": "single"}))
        with Signals(t.bus, "ProfileRemoved") as removed, Signals(t.bus, "ProfileFinished") as finished:
            path = t.client.start(a, "single")
            equal(removed.next(), [HOST], "what single ends")
            equal(report_of(finished, HOST)["kind"], "host", "its report")
        equal(t.client.paths(), [path], "profiles")
        equal((t.client.effective(), shown(t, path)), ("single", "single"), "mode")
        t.daemon.wait_counting(1)
        busy(t, "host", a)
        t.client.stop(path)
        # A failed start sends nobody away.
        t.client.start("host")
        t.daemon.write(begin_error=19)
        refused(ERROR + "Gone", [], t.client.start, a, "single")
        t.daemon.write()
        equal((t.client.paths(), t.client.effective()), ([HOST], "single"), "the host's profile is untouched")
        # What it asked for itself, it holds.
        equal(t.client.start("host", "single"), HOST, "another spec")
        busy(t, a, "host", "single")
        busy(t, a, "host")
        t.client.stop(HOST)


def host_in_multi_and_single(t):
    with Group() as a, Group() as b:
        set_mode(t, "multi")
        paths = [t.client.start(a), t.client.start("host"), t.client.start(b)]
        equal([shown(t, path) for path in paths], ["multi"] * 3, "modes")
        a.remove()
        t.wait_state(paths[0], "ended")
        equal(str(t.client.get(HOST, PROFILE, "State")), "active", "State of the host's profile")
        t.client.stop(*paths)
    with Group() as a, Group() as b:
        set_mode(t, "single")
        t.client.start("host")
        path = t.client.start(a)
        equal(t.client.paths(), [path], "every request in the mode single ends the host's profile")
        busy(t, "host", a)
        busy(t, b, a, "multi")
        t.client.stop(path)
    set_mode(t, "auto")


def modes_against_what_runs(t):
    def against(mode, holder):
        before = [str(t.client.get(PATH, MANAGER, name)) for name in ("Mode", "EffectiveMode")]
        refused(ERROR + "Busy", [holder.path], t.client.manager, "SetMode", mode)
        refused(ERROR + "Busy", [holder.path], t.client.set, PATH, MANAGER, "Mode", mode)
        equal([str(t.client.get(PATH, MANAGER, name)) for name in ("Mode", "EffectiveMode")], before, "modes after a refusal")
        with open(os.path.join(t.daemon.state, "mode"), encoding="ascii") as f:
            equal(f.read().strip(), before[0], "what is saved after a refusal")

    set_mode(t, "auto")
    with Group() as a, Group() as b:
        paths = [t.client.start(a), t.client.start(b)]
        against("single", a)
        set_mode(t, "multi")
        against("single", a)
        set_mode(t, "auto")
        t.client.stop(paths[0], t.client.start("host"))
        set_mode(t, "single")
        equal(shown(t, paths[1]), "single", "one is no contradiction")
        busy(t, a, b)
        set_mode(t, "multi")
        equal(shown(t, paths[1]), "multi", "it is told about the mode")
        refused(ERROR + "NotReady", ["multi", "SetMode"], t.client.start, a, "single")
        t.client.stop(paths[1])
        refused(ERROR + "NotReady", ["multi", "SetMode"], t.client.start, a, "single")
        equal(t.client.paths(), [], "nothing began")
        set_mode(t, "auto")
        path = t.client.start(a, "single")
        against("multi", a)
        set_mode(t, "single")
        set_mode(t, "auto")
        t.client.stop(path)


def another_spec(t):
    with Group() as a, Group() as b:
        first, second = t.client.start(a, "auto,numa,sample=64K"), t.client.start(b)
        refused(ERROR + "Busy", [b.path], t.client.start, a, "single")
        equal(gaps(t, first), ("auto,sample=64K,numa", []), "a refused spec is not applied")
        t.client.stop(second)
        equal(t.client.start(a, "single"), first, "alone it may hold")
        busy(t, b, a)
        equal(gaps(t, first), ("single,sample=64K,numa", []), "what it counts by stays")
        t.client.start(a, "auto,sample=1M,numa")
        equal(gaps(t, first), ("auto,sample=64K,numa", ["sample"]), "what cannot be changed any more is told")
        second = t.client.start(b)
        t.client.start(b, "multi,numa,stacks=all,sample=4K")
        equal(gaps(t, second), ("multi", ["stacks=all", "numa", "sample", "stacks=all"]), "nor can be added")
        refused(ERROR + "NotSupported", ["numa"], t.client.start, b, "auto,numa,required")
        equal(gaps(t, second)[0], "multi", "the spec after a refusal")
        t.client.stop(first, second)
        # An annotation is a spec as well, and may not hold.
        name = new_id()
        with container_group(name) as c:
            path = t.client.start(c)
            t.client.manager("RegisterContainer", name, options={"pid": dbus.UInt32(c.pid), "spec": "single"})
            t.client.stop(t.client.start(a), path)


def specs_reach_the_tracker(t):
    with Group() as g:
        for spec, words in (("auto", []), ("auto,numa", ["numa"]), ("auto,sample=64K", ["page_sample=65536"]), ("multi,stacks=all", ["page_sample=1"]),
                            ("single,stacks=all,sample=1M,numa", ["page_sample=1", "numa"])):
            path = t.client.start(g, spec)
            line = [line for line in t.daemon.tracked() if line.startswith("begin")][-1]
            equal(line.split(" ")[3:], words, f"what the tracker was told for {spec}")
            t.client.stop(path)


def off_ends_all(t):
    with Group() as a, Group() as b, Changes(t.bus) as changes, Signals(t.bus, "ProfileFinished") as finished:
        paths = [t.client.start(a), t.client.start(b), t.client.start("host")]
        changes.expect((PATH, {"EffectiveMode": "single"}), (PATH, {"EffectiveMode": "multi"}), (paths[0], {"Mode": "multi"}))
        set_mode(t, "off")
        changes.expect((PATH, {"Mode": "off"}), (PATH, {"EffectiveMode": "off"}))
        equal(t.client.paths(), [], "profiles")
        t.daemon.wait_counting(0)
        for path in paths:
            equal(report_of(finished, path)["mode"], "multi", "mode that it ran in")
        refused(ERROR + "NotReady", ["off", "SetMode"], t.client.start, "host")
        set_mode(t, "auto")
        changes.expect((PATH, {"Mode": "auto"}), (PATH, {"EffectiveMode": "auto"}))


def restarts_keep_the_mode(t):
    for mode in ("multi", "single", "off", "auto"):
        set_mode(t, mode)
        for end in (t.daemon.stop, t.daemon.kill):
            end()
            t.daemon.start()
            equal((str(t.client.get(PATH, MANAGER, "Mode")), t.client.effective()), (mode, mode), "modes after a restart")


def limit(t):
    with Bus() as bus, Fake(bus, "--groups-max=3", settle_ms=60000) as daemon, Client(bus) as client, contextlib.ExitStack() as stack:
        other = Test(bus, daemon, client)
        groups = [stack.enter_context(Group(processes=0)) for _ in range(6)]
        paths = [other.client.start(groups[0]), other.client.start("host"), other.client.start(groups[2])]
        refused(ERROR + "Limit", ["3", "--groups-max", "stop"], other.client.start, groups[3])
        equal(sorted(client.paths()), sorted(paths), "profiles after a refusal")
        # Who ended first makes room, and only when room is needed.
        for i in (2, 0):
            groups[i].remove()
            other.wait_state(paths[i], "ended")
        paths += [other.client.start(groups[3])]
        equal(sorted(client.paths()), sorted([paths[0], paths[1], paths[3]]), "one had to go")
        paths += [other.client.start(groups[4])]
        equal(sorted(client.paths()), sorted([paths[1], paths[3], paths[4]]), "and another")
        refused(ERROR + "Limit", ["3"], other.client.start, groups[5])
        # Sites run out in the tracker: that is a limit as well.
        other.client.stop(paths[3])
        daemon.write(begin_error=28)
        refused(ERROR + "Limit", [], other.client.start, groups[5])
        daemon.write()
        other.client.start(groups[5])
    with Bus() as bus, Fake(bus, "--groups-max=1") as daemon, Client(bus) as client, Group() as g:
        other = Test(bus, daemon, client)
        other.client.start("host")
        path = other.client.start(g, "single")
        equal(client.paths(), [path], "the one place is given over")


def inotify_instances(t):
    directory = f"/proc/{t.daemon.process.pid}/fd"
    links = []
    for fd in os.listdir(directory):
        with contextlib.suppress(OSError):
            links.append(os.readlink(f"{directory}/{fd}"))
    return links.count("anon_inode:inotify")


def many_profiles(t):
    """As many as a machine has inotify instances, and more: they begin, are listed, and their ends are all seen."""
    with contextlib.ExitStack() as stack:
        above = stack.enter_context(Group(processes=0))
        groups = [stack.enter_context(Group(parent=os.fsdecode(above.directory), processes=0)) for _ in range(MANY)]
        begin = time.perf_counter()
        paths = [t.client.start(g) for g in groups]
        print(f"# StartProfile: {(time.perf_counter() - begin) / MANY * 1000:.2f} ms each of {MANY}", flush=True)
        for what, call in (("ListProfiles", lambda: t.client.manager("ListProfiles")),
                           ("GetManagedObjects", lambda: t.client.call(PATH, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", ""))):
            begin = time.perf_counter()
            found = len(call())
            print(f"# {what}: {(time.perf_counter() - begin) * 1000:.1f} ms", flush=True)
            equal(found, MANY, what)
        check(inotify_instances(t) <= 1, f"{inotify_instances(t)} inotify instances")
        equal({shown(t, path) for path in paths[:3] + paths[-3:]}, {"multi"}, "modes")
        for g in groups:
            g.remove()
        eventually(lambda: all(str(entry[3]) == "ended" for entry in t.client.manager("ListProfiles")), 20, "the end of each is seen")
        equal(t.client.effective(), "auto", "EffectiveMode")
        t.client.manager("SetMode", "off")
        equal(t.client.paths(), [], "profiles")
        t.client.manager("SetMode", "auto")
        t.daemon.wait_counting(0)


class Test:
    """One bus, one daemon and one client for all cases but those that want a daemon of their own."""

    def __init__(self, bus, daemon, client):
        self.bus, self.daemon, self.client = bus, daemon, client

    def wait_state(self, path, state):
        eventually(lambda: str(self.client.get(path, PROFILE, "State")) == state, 10, f"{path} is {state}")


CASES = (
    ("autos share: single, multi, and back", autos_share),
    ("a hundred switches", switches_often),
    ("containers share, and their hooks are told", containers_share),
    ("multi is multi from the start", multi_from_the_start),
    ("single holds, is named, and needs to be alone", single_holds),
    ("an ended profile holds nothing", ended_holds_nothing),
    ("reports tell the mode that was in force", reports_tell_the_mode),
    ("the host's profile", host_profile),
    ("the host in auto", host_in_auto),
    ("the host in multi and in single", host_in_multi_and_single),
    ("a mode against what runs changes nothing", modes_against_what_runs),
    ("another spec for an active profile", another_spec),
    ("specs reach the tracker", specs_reach_the_tracker),
    ("off ends all", off_ends_all),
    ("restarts keep the mode", restarts_keep_the_mode),
    ("groups are bounded", limit),
    ("many profiles", many_profiles),
)


def tests(tap):
    with Bus() as bus, Fake(bus) as daemon, Client(bus) as client:
        t = Test(bus, daemon, client)
        for name, function in CASES:
            tap.case(name, function, t)
            # What a case that failed left behind is no concern of the next one.
            left = client.paths()
            t.client.stop(*left)
            set_mode(t, "auto")
            daemon.write()
        check(daemon.alive(), "the daemon is gone: " + daemon.log_text()[-2000:])


main(tests)
