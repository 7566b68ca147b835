#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Containers from registration to the final report: what the hook calls, what happens to cgroups, what is written."""

import contextlib
import json
import os
import platform
import re
import signal
import stat
import statistics
import time

import dbus
import dbus.lowlevel
from bus import MANAGER, NAME, PATH, PROFILE, Bus, Signals
from client import ERROR, INVALID, Client, refused
from group import Group, container_group, new_id
from proc import eventually, run, stop
from tap import Skip, check, equal, main
from validate import validated

from fake import ROWS, Fake, sleeper

CRIO = {"io.kubernetes.pod.name": "web-0", "io.kubernetes.pod.namespace": "shop", "io.kubernetes.pod.uid": "1-2-3",
        "io.kubernetes.container.name": "nginx", "io.kubernetes.cri-o.ImageName": "registry/nginx:1"}
CONTAINERD = {"io.kubernetes.cri.sandbox-name": "web-0", "io.kubernetes.cri.sandbox-namespace": "shop",
              "io.kubernetes.cri.sandbox-uid": "1-2-3", "io.kubernetes.cri.container-name": "nginx",
              "io.kubernetes.cri.image-name": "registry/nginx:1"}
POD = {"name": "web-0", "namespace": "shop", "uid": "1-2-3", "container": "nginx", "image": "registry/nginx:1"}


def now_us():
    return time.time_ns() // 1000


def register(t, name, pid=None, **options):
    if pid is not None:
        options["pid"] = dbus.UInt32(pid)
    if "annotations" in options:
        options["annotations"] = dbus.Dictionary(options["annotations"], signature="ss")
    path, mode = t.client.manager("RegisterContainer", name, options=options)
    return str(path), str(mode)


def profile_of(t, path):
    return validated(t.client.profile(path, "GetSummary"), "memcgprof.summary")["profile"]


def end_all(t):
    for path in t.client.paths():
        try:
            t.client.manager("StopProfile", dbus.ObjectPath(path))
        except dbus.DBusException as e:
            equal(e.get_dbus_name(), ERROR + "NoSuchProfile", "StopProfile of a view that went with another")


def report(path):
    with open(path, encoding="utf-8") as f:
        return validated(f.read(), "memcgprof.report")


def wait_state(t, path, state):
    eventually(lambda: str(t.client.get(path, PROFILE, "State")) == state, 10, f"{path} is {state}")


def as_the_hook(t):
    name = new_id()
    with container_group(name) as g:
        pidfd = os.pidfd_open(g.pid)
        options = {"pidfd": dbus.types.UnixFd(pidfd), "pid": dbus.UInt32(g.pid), "spec": "auto", "bundle": "/nowhere",
                   "deadline_us": dbus.UInt64(now_us() + 1000000), "annotations": dbus.Dictionary(CRIO, signature="ss")}
        reply = t.client.manager("RegisterContainer", name, options=options)
        os.close(pidfd)
        path, mode = str(reply[0]), str(reply[1])
        check(path.startswith("/org/memcgprof1/container/"), path)
        equal(mode, "single", "mode")
        profile = profile_of(t, path)
        equal((profile["kind"], profile["id"], profile["cgroup"]), ("container", name, g.path), "who it is")
        equal((profile["started_by"], profile["from_start"]), ("hook", True), "how it began")
        equal(profile["pod"], POD, "pod from CRI-O's annotations")
        more = t.client.manager("ListProfiles")[0][5]
        equal([str(more[k]) for k in ("namespace", "pod", "name")], ["shop", "web-0", "nginx"], "pod in the list")
        equal(register(t, name, g.pid), (path, "single"), "registration is idempotent")
        t.daemon.wait_counting(1)
        equal([str(r) for r in t.client.manager("ListProfiles")[0][5]["requesters"]], ["hook"], "requesters")
        equal(profile_of(t, path)["from_start"], True, "from_start after a second call without a deadline")


def by_pid_by_cgroup(t):
    name = new_id()
    for options in ({"pid": True}, {"cgroup": True}):
        with container_group(name) as g:
            path, _ = register(t, name, g.pid) if "pid" in options else register(t, name, cgroup=g.path, annotations=CONTAINERD)
            profile = profile_of(t, path)
            equal((profile["cgroup"], profile["from_start"]), (g.path, False), "cgroup, and no promise without a deadline")
            if "cgroup" in options:
                equal(profile["pod"], POD, "pod from containerd's annotations")
            end_all(t)


def nested_scope(t):
    """The process may sit below its container's directory: the topmost one that carries the id is the scope."""
    name = new_id()
    with container_group(name) as outer, Group(name="payload", parent=outer.directory.decode()) as inner:
        path, _ = register(t, name, inner.pid)
        equal(profile_of(t, path)["cgroup"], outer.path, "scope")


def by_bundle(t):
    name = new_id()
    with Group() as g:
        bundle = os.path.join(t.daemon.directory, "bundle")
        os.makedirs(bundle, exist_ok=True)
        with open(os.path.join(bundle, "config.json"), "w", encoding="ascii") as f:
            json.dump({"ociVersion": "1.0.2", "linux": {"cgroupsPath": g.path}}, f)
        path, _ = register(t, name, g.pid, bundle=bundle)
        equal(profile_of(t, path)["cgroup"], g.path, "cgroup by linux.cgroupsPath")


def no_own_cgroup(t):
    process = sleeper()
    try:
        message = refused(ERROR + "NotSupported", ["cgroup"], register, t, new_id(), process.pid)
        check("own" in message, message)
    finally:
        stop(process)


def bad_calls(t):
    name = new_id()
    gone = sleeper()
    pidfd = os.pidfd_open(gone.pid)
    stop(gone)
    with container_group(name) as g, open("/dev/null", "rb") as null:
        for bad, word in (("", "empty"), ("x" * 4096, "1024")):
            refused(INVALID, [word], register, t, bad, g.pid)
            refused(INVALID, [word], t.client.manager, "ContainerStopped", bad)
        refused(INVALID, ["pidfd", "pid", "cgroup"], register, t, name)
        refused(INVALID, ["0"], register, t, name, 0)
        refused(INVALID, ["pidfd"], register, t, name, pidfd=dbus.types.UnixFd(null.fileno()))
        refused(ERROR + "NoSuchTarget", ["gone"], register, t, name, pidfd=dbus.types.UnixFd(pidfd), pid=g.pid)
        refused(ERROR + "NoSuchTarget", [str(gone.pid)], register, t, name, gone.pid)
        refused(ERROR + "NoSuchTarget", ["/no/such"], register, t, name, cgroup="/no/such")
        refused(ERROR + "NotSupported", ["host"], register, t, name, cgroup="/")
        for spec in ("", "sometimes", "auto,,", "auto\n", "\x01"):
            refused(ERROR + "BadSpec", [], register, t, name, g.pid, spec=spec)
            refused(ERROR + "BadSpec", [], register, t, name, g.pid, annotations={"org.memcgprof.profile": spec})
        refused(ERROR + "BadSpec", ["off"], register, t, name, g.pid, spec="off")
    os.close(pidfd)
    equal(t.client.paths(), [], "nothing began")
    t.daemon.wait_counting(0)


def strange_ids(t):
    for name in ("a/b", "../../etc/passwd", "line\nbreak", "x" * 1024, "sp ace", "\u00e9\u202e", "_", "%s%n", "\\x41"):
        with Group() as g, Signals(t.bus, "ProfileFinished") as finished:
            path, _ = register(t, name, cgroup=g.path)
            equal(str(t.client.manager("GetProfile", f"container:{name}")), path, "GetProfile")
            shown = str(t.client.get(path, PROFILE, "Id"))
            check("\n" not in shown and "\u202e" not in shown, f"Id is {shown!r}")
            equal(profile_of(t, path)["id"], shown, "id of the document")
            equal(str(t.client.manager("GetProfile", f"container:{shown}")), path, "GetProfile by the id as shown")
            t.client.manager("ContainerStopped", name)
            file = finished.next()[1]
            equal(os.path.dirname(file), os.path.join(t.daemon.state, "reports"), "directory")
            check(re.fullmatch(r"[A-Za-z0-9_.-]{1,100}-\d{8}T\d{6}Z-\d+\.json", os.path.basename(file)), file)
            equal(report(file)["profile"]["cgroup"], g.path, "cgroup of the report")
            end_all(t)


def deadlines(t):
    name = new_id()
    with container_group(name) as g:
        late = dbus.UInt64(now_us() - 1000)
        for spec in ("auto,required", "required"):
            error = ERROR + ("NotReady" if "auto" in spec else "BadSpec")
            refused(error, [], register, t, name, g.pid, spec=spec, deadline_us=late)
        equal(t.client.paths(), [], "a required call that came late registers nothing")
        path, _ = register(t, name, g.pid, spec="auto", deadline_us=late)
        equal(profile_of(t, path)["from_start"], False, "from_start after the deadline")
        end_all(t)
        path, _ = register(t, name, g.pid, spec="auto,required", deadline_us=dbus.UInt64(now_us() + 10**7))
        equal(profile_of(t, path)["from_start"], True, "from_start in time")


def caps(t):
    name = new_id()
    with container_group(name) as g:
        for spec in ("single,stacks=all,sample=1K,required", None):
            options = {"spec": spec} if spec else {"annotations": {"org.memcgprof.profile": "single,stacks=all,sample=1K,required"}}
            path, _ = register(t, name, g.pid, **options)
            profile = profile_of(t, path)
            equal(profile["spec"], "auto,stacks,sample=64K", "what an annotation gets of it")
            words = [gap["word"] for gap in profile["unavailable"]]
            for word in ("single", "stacks=all", "sample", "required", "stacks"):
                check(word in words, f"{word} is not reported: {words}")
            end_all(t)


def same_id_other_cgroup(t):
    name = new_id()
    with container_group(name) as first, Group(name=f"again-{name}") as second, Signals(t.bus, "ProfileFinished") as finished:
        path, _ = register(t, name, first.pid)
        t.daemon.write(ROWS)
        equal(register(t, name, second.pid)[0], path, "the newer one takes the object path")
        equal(str(t.client.get(path, PROFILE, "CgroupId")), str(second.id), "CgroupId")
        equal(t.client.paths(), [path], "profiles")
        t.daemon.wait_counting(1)
        done, file = finished.next()
        equal(done, path, "ProfileFinished of the older one")
        equal(report(file)["profile"]["cgroup_id"], str(first.id), "the older one's report")
        equal(report(file)["end"]["source"], "stopped", "its source")


def exit_status_known():
    major, minor = platform.release().split(".")[:2]
    return (int(major), int(re.match(r"\d+", minor).group())) >= (6, 15)


def whole_life(t):
    name = new_id()
    with container_group(name) as g, Signals(t.bus, "ProfileFinished") as finished:
        path, _ = register(t, name, g.pid, annotations=CRIO)
        t.daemon.write(ROWS)
        started = now_us()
        os.kill(g.pid, signal.SIGKILL)
        g.kill()
        time.sleep(0.2)
        equal(str(t.client.get(path, PROFILE, "State")), "active", "the exit of the first process ends nothing")
        cgroup_id = g.id
        g.remove()
        wait_state(t, path, "ended")
        equal(t.client.live_bytes(path), 13700, "counters go on after the cgroup is gone")
        done, file = finished.next()
        equal(done, path, "object of ProfileFinished")
        document = report(file)
        end = document["end"]
        equal(end["source"], "cgroup-removed", "source")
        check(started - 10**7 < end["at_us"] <= now_us(), f"at_us is {end['at_us']}")
        if exit_status_known():
            equal(end["exit_code"], 137, "exit code")
        else:
            check(end["exit_code"] is None and end["exit_code_reason"], f"{end}")
        equal(end["oom_kills"], 0, "oom_kills")
        equal(document["profile"]["pod"], POD, "pod")
        equal(document["summary"]["totals"]["charged"]["slab"], 13000, "the last summary")
        equal(document["summary"]["reconcile"]["frozen"], True, "the memcg's counters are the last good reading")
        equal(os.path.basename(file).split("-")[0] + ".json", f"{name}.json", "file name")
        check(file.endswith(f"-{cgroup_id}.json"), file)
        equal(stat.S_IMODE(os.stat(file).st_mode), 0o600, "mode of the report")
        equal(stat.S_IMODE(os.stat(os.path.dirname(file)).st_mode), 0o700, "mode of the directory")
        # It stays readable, by its names, until somebody ends it.
        for target in (f"container:{name}", f"cgroup:{g.path}"):
            equal(str(t.client.manager("GetProfile", target)), path, f"GetProfile {target}")
        equal(str(t.client.manager("ListProfiles")[0][5]["report"]), file, "report in the list")
        refused(ERROR + "Gone", [], t.client.profile, path, "Reset")
        refused(ERROR + "NoSuchTarget", [name], t.client.manager, "StartProfile", f"container:{name}")
        t.client.manager("StopProfile", dbus.ObjectPath(path))
        equal(t.client.paths(), [], "profiles")
        equal(t.daemon.reports(), [file], "one report, not two")
        eventually(lambda: t.daemon.tracked()[-1] == "clean", 10, "the engine is cleaned when idle")


def stopped_by_the_hook(t):
    t.client.manager("ContainerStopped", "nobody-knows-this")
    for order in ("removal first", "call only"):
        name = new_id()
        with container_group(name) as g, Signals(t.bus, "ProfileFinished") as finished:
            path, _ = register(t, name, g.pid)
            if order == "removal first":
                g.remove()
                wait_state(t, path, "ended")
            t.client.manager("ContainerStopped", name)
            equal(str(t.client.get(path, PROFILE, "State")), "ended", "State")
            equal(report(finished.next()[1])["end"]["source"], "poststop", f"source ({order})")
            t.client.manager("ContainerStopped", name)
            end_all(t)


def other_requesters_hold(t):
    name = new_id()
    with container_group(name) as g:
        path, _ = register(t, name, g.pid)
        t.client.manager("StartProfile", f"cgroup:{g.path}")
        t.client.manager("ContainerStopped", name)
        equal(str(t.client.get(path, PROFILE, "State")), "active", "State while somebody else holds it and the cgroup is there")
        equal([str(r) for r in t.client.manager("ListProfiles")[0][5]["requesters"]], [f"bus:cgroup:{g.path}"], "requesters")
        g.remove()
        wait_state(t, path, "ended")
    name = new_id()
    with container_group(name) as g:
        path, _ = register(t, name, g.pid)
        t.client.manager("StartProfile", f"container:{name}")
        t.client.manager("ContainerStopped", name)
        equal(str(t.client.get(path, PROFILE, "State")), "ended", "State: an operator who named the container meant its life")


def joined_by_the_hook(t):
    """An operator was first: the hook joins, and the document says which container it is."""
    name = new_id()
    with container_group(name) as g:
        cgroup = str(t.client.manager("StartProfile", f"cgroup:{g.path}"))
        path, _ = register(t, name, g.pid, annotations=CRIO, deadline_us=dbus.UInt64(now_us() + 10**6))
        check(path != cgroup, "the container has no object of its own")
        profile = profile_of(t, path)
        equal((profile["kind"], profile["id"], profile["pod"]), ("container", name, POD), "who it is")
        equal((profile["started_by"], profile["from_start"]), ("bus", False), "how it began")
        t.daemon.wait_counting(1)


def stopped_by_an_operator(t):
    name = new_id()
    with container_group(name) as g, Signals(t.bus, "ProfileFinished") as finished:
        path, _ = register(t, name, g.pid)
        t.client.manager("StopProfile", dbus.ObjectPath(path))
        equal(t.client.paths(), [], "profiles")
        end = report(finished.next()[1])["end"]
        equal((end["source"], end["exit_code"]), ("stopped", None), "end")
        check("not exited" in end["exit_code_reason"], f"{end}")
        # The same container can be registered again: the same cgroup, a new measurement.
        equal(register(t, name, g.pid)[0], path, "object path")


def replaced_before_settling(t):
    """An ended profile that has to go before its settle time is over leaves its report all the same."""
    a, b = new_id(), new_id()
    with Bus() as bus, Fake(bus, "--groups-max=1", settle_ms=60000) as daemon, Client(bus) as client, Signals(bus, "ProfileFinished") as finished:
        other = type("", (), {"bus": bus, "daemon": daemon, "client": client})
        with container_group(a) as first, container_group(b) as second:
            path, _ = register(other, a, first.pid)
            first.remove()
            wait_state(other, path, "ended")
            register(other, b, second.pid)
            equal(finished.next(10)[0], path, "ProfileFinished")
            equal(report(daemon.reports()[0])["profile"]["id"], a, "id")


def same_cgroup_again(t):
    """A runtime may keep the directory: the same id in the same cgroup after ContainerStopped is a new life."""
    name = new_id()
    with container_group(name) as g:
        path, _ = register(t, name, g.pid)
        t.client.manager("ContainerStopped", name)
        equal(register(t, name, g.pid)[0], path, "object path")
        equal(str(t.client.get(path, PROFILE, "State")), "active", "State")
        t.daemon.wait_counting(1)
        eventually(lambda: len(t.daemon.reports()) == 1, 10, "the first life's report")


def send(t, member, signature, *arguments):
    """A call that nobody waits for: the daemon finds the next one already there, and has no idle moment in between."""
    message = dbus.lowlevel.MethodCallMessage(NAME, PATH, MANAGER, member)
    message.append(*arguments, signature=signature)
    message.set_no_reply(True)
    t.client.connection.send_message(message)


def without_idle_moments(t):
    """More groups in a row than there may be, none of which the tracker has ended before the next one begins."""
    with Bus() as bus, Fake(bus, "--groups-max=4", settle_ms=60000) as daemon, Client(bus) as client, contextlib.ExitStack() as stack:
        other = type("", (), {"client": client})
        groups = [stack.enter_context(Group(processes=0)) for _ in range(12)]
        daemon.freeze()
        try:
            for g in groups:
                send(other, "RegisterContainer", "sa{sv}", "x" + str(g.id), {"cgroup": g.path})
                send(other, "ContainerStopped", "sa{sv}", "x" + str(g.id), dbus.Dictionary(signature="sv"))
            client.connection.flush()
        finally:
            daemon.thaw()
        equal(client.paths(), [f"/org/memcgprof1/container/x{g.id}" for g in groups[-4:]], "what ended first made room")
        lines = [line for line in daemon.tracked() if line.startswith("begin")]
        equal([line.split(" ", 2)[2] for line in lines], [g.path for g in groups], "all of them were measured")
        eventually(lambda: len(daemon.reports()) == 8, 10, "a report of each that made room")


def again_at_once(t):
    """One cgroup is never two groups: the older one ends before the newer one begins, idle or not."""
    with Group() as g:
        path = str(t.client.manager("StartProfile", f"cgroup:{g.path}"))
        t.daemon.wait_counting(1)  # what earlier cases left
        before = len(t.daemon.tracked())
        t.daemon.freeze()
        try:
            for _ in range(3):
                send(t, "StopProfile", "oa{sv}", dbus.ObjectPath(path), dbus.Dictionary(signature="sv"))
                send(t, "StartProfile", "sa{sv}", f"cgroup:{g.path}", dbus.Dictionary(signature="sv"))
            t.client.connection.flush()
        finally:
            t.daemon.thaw()
        equal(t.client.paths(), [path], "profiles")
        order = [line.split()[0] for line in t.daemon.tracked()[before:] if line != "clean"]
        equal(order, ["end", "begin"] * 3, "what the tracker was told")


def removed_meanwhile(t):
    """Cgroups that go away at any moment around StartProfile."""
    for _ in range(30):
        with Group() as g:
            path = str(t.client.manager("StartProfile", f"cgroup:{g.path}"))
            g.remove()
            try:
                t.client.profile(path, "Reset")
            except dbus.DBusException as e:
                equal(e.get_dbus_name(), ERROR + "Gone", "error of Reset")
            wait_state(t, path, "ended")
            refused(ERROR + "NoSuchTarget", [g.path], t.client.manager, "StartProfile", f"cgroup:{g.path}")
    validated(t.client.profile(path, "GetSummary"), "memcgprof.summary")


def clean_stop(t):
    for number in (signal.SIGTERM, signal.SIGINT):
        name = new_id()
        before = set(t.daemon.reports())
        with container_group(name) as g, Signals(t.bus, "ProfileFinished") as finished:
            path, _ = register(t, name, g.pid)
            t.daemon.write(ROWS)
            t.daemon.process.send_signal(number)
            t.daemon.stop()
            # What earlier cases left may still have waited for an idle moment, and ends here too.
            equal(t.daemon.counting(), 0, "groups that still count")
            equal(t.daemon.tracked()[-1], "free", "what the tracker was told last")
            file, = set(t.daemon.reports()) - before
            equal(report(file)["end"]["source"], "stopped", "source")
            equal(finished.next(), [path, file], "ProfileFinished")
        t.daemon.write()
        t.daemon.start()


def crash_leaves_nothing_half(t):
    reports = os.path.join(t.daemon.state, "reports")
    for place in (reports, t.daemon.state):
        with open(os.path.join(place, ".tmp-left"), "w", encoding="ascii") as f:
            f.write("half a rep")
    t.daemon.kill()
    t.daemon.start()
    equal([f for place in (reports, t.daemon.state) for f in os.listdir(place) if f.startswith(".")], [], "unfinished files")


def full_disk(t):
    with Bus() as bus:
        daemon = Fake(bus)
        with daemon:
            daemon.stop()
            if run(["mount", "-t", "tmpfs", "-o", "size=16k,mode=0700", "tmpfs", daemon.state]).returncode != 0:
                raise Skip("no tmpfs can be mounted here")
            try:
                daemon.start()
                with Client(bus) as client, Group() as g, Signals(bus, "ProfileFinished") as finished:
                    path = str(client.manager("StartProfile", f"cgroup:{g.path}"))
                    daemon.write([{**ROWS[0], "repeat": 1000}])
                    client.manager("StopProfile", dbus.ObjectPath(path))
                    equal(finished.next(), [path, ""], "ProfileFinished without a report")
                    equal(os.listdir(os.path.join(daemon.state, "reports")), [], "what is left of it")
                    check(re.search(r"No final report for /\S+: Cannot write \S+\.json: No space left on device\.\n", daemon.log_text()),
                          "the operator is not told what it was: " + daemon.log_text()[-1000:])
                    equal(client.paths(), [], "it goes on")
                    daemon.write()
                    path = str(client.manager("StartProfile", f"cgroup:{g.path}"))
                    client.manager("StopProfile", dbus.ObjectPath(path))
                    equal(finished.next(), [path, daemon.reports()[0]], "a report that has room")
                daemon.stop()
            finally:
                run(["umount", daemon.state])


def reports_are_bounded(t):
    reports = os.path.join(t.daemon.state, "reports")
    now = time.time()
    for i in range(1010):
        name = os.path.join(reports, f"old{i:04}-20260101T000000Z-7.json")
        open(name, "w", encoding="ascii").close()
        os.utime(name, (now - 1000 - i, now - 1000 - i))
    ancient = os.path.join(reports, "ancient-20260101T000000Z-7.json")
    open(ancient, "w", encoding="ascii").close()
    os.utime(ancient, (now - 100 * 86400,) * 2)
    other = os.path.join(reports, "notes.json")
    open(other, "w", encoding="ascii").close()
    os.utime(other, (now - 100 * 86400,) * 2)
    with Group() as g, Signals(t.bus, "ProfileFinished") as finished:
        t.client.manager("StopProfile", t.client.manager("StartProfile", f"cgroup:{g.path}"))
        file = finished.next()[1]
    eventually(lambda: len(t.daemon.reports()) <= 1001, 10, "at most 1000 reports, and notes.json")
    check(os.path.exists(file), "the newest one went")
    check(os.path.exists(os.path.join(reports, "old0000-20260101T000000Z-7.json")) and
          not os.path.exists(os.path.join(reports, "old1009-20260101T000000Z-7.json")), "not the oldest went")
    check(not os.path.exists(ancient) and os.path.exists(other), "age, or somebody else's file")
    for name in t.daemon.reports():
        os.unlink(name)


def always_whole(t):
    """Whoever looks at any moment sees whole reports only."""
    seen = set()
    with Group() as g:
        for _ in range(20):
            path = str(t.client.manager("StartProfile", f"cgroup:{g.path}"))
            t.daemon.write([{**ROWS[0], "repeat": 2000}])
            t.client.manager("StopProfile", dbus.ObjectPath(path))
            t.daemon.write()
            for _ in range(50):
                for file in set(t.daemon.reports()) - seen:
                    report(file)
                    seen.add(file)
    eventually(lambda: len(t.daemon.reports()) > 0, 10, "a report")
    check(seen or t.daemon.reports(), "no report was seen")


def fast(t):
    """The hook's budget: the daemon's part of it, without BPF."""
    name, times = new_id(), []
    with container_group(name) as g:
        for _ in range(50):
            begin = time.perf_counter()
            path, _ = register(t, name, g.pid, annotations=CRIO, spec="auto", deadline_us=dbus.UInt64(now_us() + 10**6))
            times.append(time.perf_counter() - begin)
            t.client.manager("StopProfile", dbus.ObjectPath(path))
    median = statistics.median(times) * 1000
    print(f"# RegisterContainer: median {median:.2f} ms, largest {max(times) * 1000:.2f} ms of {len(times)}", flush=True)
    # The budget of 10 ms is the hook's and is held where the hook is measured; this one survives a noisy machine.
    check(median < 50, f"median {median:.2f} ms")


def unfinished(daemon):
    """How many profiles have been removed without a word about their report yet."""
    log = daemon.log_text()
    return log.count(" is removed.") - log.count("inal report of ") - log.count("No final report for ")


class Test:
    """One bus, one daemon and one client for all cases."""


CASES = (
    ("RegisterContainer as the hook calls it", as_the_hook),
    ("RegisterContainer by pid alone, by cgroup, with containerd's annotations", by_pid_by_cgroup),
    ("the scope is the topmost directory with the id", nested_scope),
    ("the scope by linux.cgroupsPath of the bundle", by_bundle),
    ("a container without a cgroup of its own", no_own_cgroup),
    ("bad ids, pids, pidfds, cgroups and specs", bad_calls),
    ("ids that are no file names, no labels, no terminal text", strange_ids),
    ("deadlines", deadlines),
    ("what annotations may not ask for", caps),
    ("the same id in another cgroup", same_id_other_cgroup),
    ("from registration to the final report", whole_life),
    ("ContainerStopped", stopped_by_the_hook),
    ("other requesters hold a profile", other_requesters_hold),
    ("the hook joins an operator's profile", joined_by_the_hook),
    ("StopProfile is an operator's word", stopped_by_an_operator),
    ("a profile that is replaced before its settle time", replaced_before_settling),
    ("a second life in the same cgroup", same_cgroup_again),
    ("more groups in a row than the tracker holds", without_idle_moments),
    ("the same cgroup stopped and started at once", again_at_once),
    ("cgroups that are removed meanwhile", removed_meanwhile),
    ("SIGTERM and SIGINT end all with reports", clean_stop),
    ("unfinished files are removed at start", crash_leaves_nothing_half),
    ("a full disk", full_disk),
    ("reports are bounded", reports_are_bounded),
    ("reports are whole at any moment", always_whole),
    ("RegisterContainer is fast", fast),
)


def tests(tap):
    with Bus() as bus, Fake(bus) as daemon, Client(bus) as client:
        t = Test()
        t.bus, t.daemon, t.client = bus, daemon, client
        for name, function in CASES:
            daemon.write()
            tap.case(name, function, t)
            end_all(t)
            # Reports are written when the daemon has nothing else to do: no case shall see those of another.
            eventually(lambda: unfinished(daemon) == 0, 10, "all reports are written")
            for file in daemon.reports():
                os.unlink(file)
        check(daemon.alive(), "the daemon is gone: " + daemon.log_text()[-2000:])


main(tests)
