#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The hook and the daemon behind it against those who would lead them astray: users without rights, tenants with wishes, states,
bundles, environments and working directories that lie. The daemon counts with the fake tracker; all else is real."""

import json
import os
import re
import socket

import validate
from bus import Bus
from client import Client
from group import Group, container_group, new_id
from proc import Scratch, built, need, need_root, run, stop
from tap import check, equal, main

from fake import ROWS, Fake, sleeper

SPEC = "org.memcgprof.profile"
UNPRIVILEGED = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]


def state(name, pid, spec="auto", **members):
    return {"ociVersion": "1.0.2", "id": name, "status": "creating", "pid": pid, "bundle": "/nonexistent", "annotations": {SPEC: spec}, **members}


def hook(t, document, prefix=(), **more):
    """Runs it; `document`: a state, or text that is none. Returns what subprocess.run does."""
    text = document if isinstance(document, str) else json.dumps(document)
    done = run([*prefix, built("hooks/memcgprof-hook"), f"--bus={t.bus.address}"], input=text, **more)
    check(done.stdout == "" and re.fullmatch(r"(memcgprof-hook: [^\x00-\x1f\x7f]+\n)?", done.stderr), f"output: {done.stdout!r} {done.stderr!r}")
    return done


def passed(done, *words):
    """It let the container start; with words: and said why it is not profiled."""
    equal(done.returncode, 0, f"exit status ({done.stderr.strip()})")
    check(bool(done.stderr) == bool(words), f"standard error: {done.stderr!r}")
    for word in words:
        check(word in done.stderr, f"{done.stderr!r} does not say {word!r}")


def profile(t, name):
    """The member `profile` of the summary of a container, as the daemon has it."""
    path = str(t.client.manager("GetProfile", f"container:{name}"))
    return validate.validated(str(t.client.profile(path, "GetSummary")), "memcgprof.summary")["profile"]


def end_all(t):
    while paths := t.client.paths():  # several may be names of one
        t.client.stop(paths[0])


def capped(t):
    """What a tenant asks for too much is lowered and reported, and the container starts."""
    cases = (("single", "auto", ["single"]), ("auto,stacks=all", "auto,stacks", ["stacks=all", "stacks"]), ("auto,sample=1", "auto,sample=64K", ["sample"]),
             ("auto,sample=64K", "auto,sample=64K", []), ("auto,required", "auto", ["required"]), ("auto,numa", "auto,numa", []),
             ("single,stacks=all,sample=1,numa,required", "auto,stacks,sample=64K,numa", ["single", "stacks=all", "sample", "required", "stacks"]))
    for spec, wanted, words in cases:
        name = new_id()
        with container_group(name) as g:
            passed(hook(t, state(name, g.pid, spec)))
            p = profile(t, name)
            equal((p["spec"], [gap["word"] for gap in p["unavailable"]], p["started_by"]), (wanted, words, "hook"), spec)
            equal(t.client.effective(), "single" if len(t.client.paths()) == 1 else "multi", "one alone is single, whatever it asked for")
            with Group() as other:  # it does not hold the engine
                t.client.start(other)
                equal(t.client.effective(), "multi", "mode with a second one")
            end_all(t)


def without_rights(t):
    """Rootless: the container starts, with a reason, at once; a profile that is required refuses it."""
    name = new_id()
    with container_group(name) as g:
        done = hook(t, state(name, g.pid), prefix=UNPRIVILEGED)
        passed(done, name, "Only root may call")
        done = hook(t, state(name, g.pid, "auto,required"), prefix=UNPRIVILEGED)
        equal((done.returncode, "Only root may call" in done.stderr), (1, True), f"required: {done.stderr!r}")
        passed(hook(t, {**state(name, g.pid), "status": "stopped"}, prefix=UNPRIVILEGED), "Only root may call")
        equal(t.client.paths(), [], "profiles")
    with Scratch() as closed:  # mode 0700: as a system bus out of sight, in a container's own namespace for example
        done = run([*UNPRIVILEGED, built("hooks/memcgprof-hook"), f"--bus=unix:path={closed}/bus"], input=json.dumps(state("x", os.getpid())))
        equal(done.returncode, 0, f"exit status: {done.stderr}")
        check("cannot be reached" in done.stderr, done.stderr)


def pids(t):
    """Which process a state names is the runtime's word; what is no container of its own is not profiled."""
    name, process = new_id(), sleeper()
    try:
        passed(hook(t, state(name, process.pid)), "no cgroup of its own")  # as pid 1 is, in most places
        passed(hook(t, state(name, os.getpid())), "no cgroup of its own")
        passed(hook(t, state(name, t.daemon.process.pid)), "no cgroup of its own")
    finally:
        stop(process)
    passed(hook(t, state(name, process.pid)), "gone")
    done = hook(t, state(name, 1))
    equal(done.returncode, 0, f"pid 1: {done.stderr}")
    end_all(t)
    for pid, word in ((-1, "-1"), (0, "0"), (-2**63, "which no process has"), (2**63 - 1, "which no process has"), (2**32 + 1, "4294967297")):
        passed(hook(t, state(name, pid)), word)
    for text, word in (("1e3", "not an integer"), ("99999999999999999999999", "not valid JSON"), ("1.0", "not an integer"), ('"7"', "not an integer"),
                       ("1" * 5000, "not valid JSON"), ("1e99999", "not valid JSON"), ("true", "not an integer"), ("[1]", "not an integer")):
        passed(hook(t, json.dumps(state(name, 0)).replace('"pid": 0', f'"pid": {text}')), word)
    equal(t.client.paths(), [], "profiles")


def another_containers(t):
    """A pid that is another container's by now: the profile says whose group it is, and it is one profile, not two."""
    mine, other = new_id(), new_id()
    with container_group(other) as g:
        passed(hook(t, state(other, g.pid)))
        passed(hook(t, state(mine, g.pid)))
        equal(profile(t, mine)["cgroup"], g.path, "cgroup by the other's pid")
        equal(len({str(row[5]["cgroup"]) for row in t.client.manager("ListProfiles")}), 1, "cgroups that are profiled")
        end_all(t)


def twice(t):
    """Of a member that is there twice the last one counts, as for runtimes; both are doubted like any other."""
    name = new_id()
    with container_group(name) as g:
        good = json.dumps(state(name, g.pid))
        passed(hook(t, good[:-1] + ', "pid": 0}'), "which no process has")
        passed(hook(t, good[:-1] + ', "id": "a/b"}'), "slash")
        passed(hook(t, good[:-1] + ', "annotations": {}}'))
        equal(t.client.paths(), [], "profiles")
        passed(hook(t, '{"pid": -5, "annotations": {"%s": "off"}, ' % SPEC + good[1:]))
        equal(profile(t, name)["spec"], "auto", "the last annotations")
        end_all(t)


def write_config(directory, path):
    with open(os.path.join(directory, "config.json"), "w", encoding="ascii") as f:
        json.dump({"ociVersion": "1.0.2", "linux": {"cgroupsPath": path}}, f)


def bundles(t):
    """A bundle only helps to find the cgroup: it can neither hold the daemon up nor make it read what is none."""
    with Scratch() as scratch:
        for i, kind in enumerate(("link", "pipe", "device", "directory", "loop", "endless", "text", "socket")):
            bundle, config, name = f"{scratch}/{kind}", f"{scratch}/{kind}/config.json", new_id()
            with Group() as g:  # its name says nothing: the bundle is asked
                os.mkdir(bundle)
                if kind == "link":
                    write_config(bundle, g.path)
                    os.symlink(bundle, f"{scratch}/to-{kind}")
                    bundle = f"{scratch}/to-{kind}"
                elif kind == "pipe":
                    os.mkfifo(config)
                elif kind == "directory":
                    os.mkdir(config)
                elif kind == "socket":
                    with socket.socket(socket.AF_UNIX) as s:
                        s.bind(config)
                elif kind == "text":
                    with open(config, "w", encoding="ascii") as f:
                        f.write('{"linux": {"cgroupsPath": "/' + "x" * 100)
                else:
                    os.symlink({"device": "/dev/tty", "loop": config, "endless": "/dev/zero"}[kind], config)
                done = hook(t, state(name, g.pid, bundle=bundle))
                passed(done)
                equal(profile(t, name)["cgroup"], g.path, f"cgroup with a bundle that is a {kind}")
                end_all(t)
        equal(i, 7, "kinds")


HOSTILE = ("/../../../etc", "../" * 50, "/", "//..//", "\n/x", "system.slice:..:/", ":::", "a:b:c\n", "/" + "x/" * 3000, "/dev/null", "\x1b[2J")


def paths_of_bundles(t):
    """linux.cgroupsPath may say anything: no group out of the hierarchy, and never the host as a container."""
    with Scratch() as bundle:
        for path in HOSTILE:
            name = new_id()
            write_config(bundle, path)
            with Group() as g:
                done = hook(t, state(name, g.pid, bundle=bundle))
                equal(done.returncode, 0, f"{path!r}: {done.stderr}")
                cgroups = [str(row[5]["cgroup"]) for row in t.client.manager("ListProfiles")]
                check(all(c == g.path for c in cgroups), f"{path!r}: profiled {cgroups}")
                end_all(t)
        with Group() as g, Group() as other:
            write_config(bundle, other.path)
            passed(hook(t, state(new_id(), g.pid, bundle=bundle)), other.path, "process is in")
            equal(t.client.paths(), [], "the group of somebody else")


RUBBISH = {
    **{name: "unix:path=/nonexistent" for name in ("DBUS_SYSTEM_BUS_ADDRESS", "DBUS_SESSION_BUS_ADDRESS", "DBUS_STARTER_ADDRESS")},
    "DBUS_STARTER_BUS_TYPE": "session", "SYSTEMD_BUS_TIMEOUT": "1us", "SYSTEMD_LOG_LEVEL": "debug", "SYSTEMD_LOG_TARGET": "console",
    "SYSTEMD_LOG_LOCATION": "1", "SYSTEMD_LOG_COLOR": "1", "SYSTEMD_COLORS": "1", "DEBUG_INVOCATION": "1", "NOTIFY_SOCKET": "/nonexistent",
    "JOURNAL_STREAM": "1:2", "LISTEN_FDS": "3", "LISTEN_PID": "self", "WATCHDOG_USEC": "1", "XDG_RUNTIME_DIR": "/nonexistent", "HOME": "/nonexistent",
    "TMPDIR": "/nonexistent", "PATH": "/nonexistent", "LANG": "nonsense", "LC_ALL": "nonsense", "LANGUAGE": "nonsense", "TZ": ":/dev/zero",
    "POSIXLY_CORRECT": "1", "MALLOC_PERTURB_": "165", "MALLOC_CHECK_": "3", "LISTEN_FDNAMES": "x", "container": "podman", "MEMCGPROF_BUS": "x",
}


def environment(t):
    """Neither what it does nor what it says depends on it, also where something fails."""
    name = new_id()
    with container_group(name) as g:
        for document in (state(name, g.pid, "nonsense"), state(name, 0), state("a/b", g.pid), "{", {**state(name, g.pid), "status": "x"}):
            with_it, without = (hook(t, document, env=env) for env in (RUBBISH, {}))
            equal((with_it.returncode, with_it.stderr), (without.returncode, without.stderr), "with and without an environment")
            check(without.stderr, "nothing failed")
        for bus in ("unix:path=/nonexistent", "unixexec:path=/bin/true", "tcp:host=localhost,port=1"):
            with_it, without = (run([built("hooks/memcgprof-hook"), f"--bus={bus}"], input=json.dumps(state(name, g.pid)), env=env) for env in (RUBBISH, {}))
            equal((with_it.returncode, with_it.stdout, with_it.stderr), (0, "", without.stderr), f"bus {bus}")
            check(without.stderr.count("\n") == 1, without.stderr)
        passed(hook(t, state(name, g.pid), env=RUBBISH))
        equal(profile(t, name)["spec"], "auto", "registered")
        end_all(t)


# Everything that the hook opens, connects to or asks the file system for. The loader's and libc's own beginnings end with the state.
MAY_OPEN = (r"/dev/null", r"/dev/urandom", r"/etc/machine-id", r"/run/systemd/journal/socket", r"/proc/(self|sys|[0-9]+)/.*", r"/sys/fs/.*")


def few_paths(t):
    """No path is relative to where it is started, and none comes from the state."""
    strace = need("strace")
    name = new_id()
    with container_group(name) as g, Scratch() as scratch:
        for where in ("config.json", "org.memcgprof1", "bundle", "state.json"):
            open(f"{scratch}/{where}", "w", encoding="ascii").close()
        for spec, bundle in (("auto", scratch), ("nonsense", scratch)):
            log = f"{scratch}/strace"
            hook(t, state(name, g.pid, spec, bundle=bundle), prefix=[strace, "-f", "-qq", "-o", log, "-e", "trace=%file,connect,process"], cwd=scratch,
                 env={"ASAN_OPTIONS": "detect_leaks=0"})  # which does not work under strace
            with open(log, encoding="utf-8", errors="backslashreplace") as f:
                lines = f.read().splitlines()
            check(not any(re.search(r"\b(v?fork|clone3?)\(", line) for line in lines), "it starts a process")
            equal(sum("execve(" in line for line in lines), 1, "execve")
            calls = [line for line in lines if re.search(r"\b(open|openat|openat2|stat|newfstatat|access|faccessat2?|readlink|readlinkat|connect|chdir|statfs)\(", line)]
            started = max((i for i, line in enumerate(calls) if re.search(r'"[^"]*\.so[."]', line)), default=-1)
            bus = t.bus.address.removeprefix("unix:path=").split(",")[0]
            check(len(calls) > started + 1, f"nothing was traced: {lines[-5:]}")
            for line in calls[started + 1:]:
                for path in re.findall(r'^[^"]*"([^"]*)"', line):  # the first one; another is an answer
                    check(path == bus or path == "" or any(re.fullmatch(p, path) for p in MAY_OPEN), f"it touches {path}: {line}")
        end_all(t)


def no_directory(t):
    """The runtime's working directory may be gone, or not be ours to read."""
    name = new_id()
    with container_group(name) as g, Scratch() as scratch:
        os.mkdir(f"{scratch}/gone")
        command = f"cd {scratch}/gone && rmdir {scratch}/gone && exec {built('hooks/memcgprof-hook')} --bus={t.bus.address}"
        passed(run(["sh", "-c", command], input=json.dumps(state(name, g.pid))))
        equal(profile(t, name)["cgroup"], g.path, "cgroup")
        end_all(t)


EVIL = "x\n\x1b[31mPRIORITY=0\r\nMESSAGE=forged\x00\u202e"


def hostile_text(t):
    """Control characters end in no line, no list and no document."""
    name = new_id()
    keys = ("io.kubernetes.pod.name", "io.kubernetes.pod.namespace", "io.kubernetes.pod.uid", "io.kubernetes.container.name", "io.kubernetes.cri-o.ImageName")
    with container_group(name) as g:
        before = len(t.daemon.log_text())
        passed(hook(t, state(name, g.pid, annotations={SPEC: "auto", **{k: EVIL.replace("\0", "") for k in keys}})))
        p = profile(t, name)
        shown = [p["pod"][k] for k in ("name", "namespace", "uid", "container", "image")]
        row, = t.client.manager("ListProfiles")
        shown += [str(row[5][k]) for k in ("pod", "namespace", "name")]
        for text in shown:
            check(text.startswith("x\\x0a\\x1b[31m"), f"{text!r}")
            check(not re.search(r"[\x00-\x1f\x7f\u202e]", text), f"{text!r}")
        for document in (state(EVIL, g.pid), state(name, g.pid, EVIL), state(name, g.pid, "auto," + EVIL), state(name, g.pid, status=EVIL),
                         state(name, g.pid, annotations={SPEC: EVIL * 5000})):
            done = hook(t, document)
            passed(done, "")
            check("\u202e" not in done.stderr, done.stderr)
        check(not re.search(r"^(PRIORITY|MESSAGE)", t.daemon.log_text()[before:], re.M), "a line of the log is forged")
        end_all(t)


class Test:
    """One bus, one daemon and one client for all cases."""


CASES = (
    ("what annotations ask for too much is capped and reported", capped),
    ("a user without rights", without_rights),
    ("pids that are no container's", pids),
    ("the pid of another container", another_containers),
    ("members that are there twice", twice),
    ("bundles that are links, pipes, devices", bundles),
    ("bundles whose cgroupsPath leads elsewhere", paths_of_bundles),
    ("the environment does not matter, also when something fails", environment),
    ("files that are touched: few, and none relative", few_paths),
    ("a working directory that is gone", no_directory),
    ("text that would forge lines", hostile_text),
)


def tests(tap):
    need_root()
    need("setpriv")
    with Bus() as bus, Fake(bus) as daemon, Client(bus) as client:
        daemon.write(ROWS)
        t = Test()
        t.bus, t.daemon, t.client = bus, daemon, client
        for name, function in CASES:
            tap.case(name, function, t)
            end_all(t)
        check(daemon.alive(), "the daemon is gone: " + daemon.log_text()[-2000:])


main(tests)
