#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Rootless runc with the hook: the container starts, is not profiled, and the hook says why. A profile that is required refuses it."""

import json
import os
import secrets
import shutil

from bus import Bus
from container import HOOK_PATH_ENV, config, need_containers
from daemon import Daemon
from proc import Scratch, built, need, run
from tap import Skip, check, equal, main

USER = 65534
AS_USER = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]

# Runtimes show what a hook writes only when it fails.
WRAPPER = """#!/bin/sh
exec %s "$@" 2>>%s
"""


def bundle_of(directory, bus, annotations, hooked=True):
    """A bundle that belongs to the user: a namespace of users with one of them in it, and no cgroup."""
    root = f"{directory}/rootfs"
    for name in ("bin", "dev", "proc", "sys", "tmp"):
        os.makedirs(f"{root}/{name}")
    shutil.copy(need("busybox"), f"{root}/bin/busybox")
    os.symlink("busybox", f"{root}/bin/sh")
    with open(f"{directory}/hook", "w", encoding="utf-8") as f:
        f.write(WRAPPER % (built("hooks/memcgprof-hook"), f"{directory}/said"))
    os.chmod(f"{directory}/hook", 0o755)
    entry = {"path": f"{directory}/hook", "args": ["memcgprof-hook", f"--bus={bus.address}"], "env": HOOK_PATH_ENV, "timeout": 5}
    document = config(["/bin/sh", "-c", "echo ran as $(busybox id -u)"], {"createRuntime": [entry], "poststop": [entry]} if hooked else {}, annotations)
    document["linux"]["namespaces"].append({"type": "user"})
    mapping = [{"containerID": 0, "hostID": USER, "size": 1}]
    document["linux"].update(uidMappings=mapping, gidMappings=mapping)
    document["linux"].pop("resources")
    # /dev as it is: device nodes cannot be made without rights, and a mount of tmpfs in the way would want them.
    with open(f"{directory}/config.json", "w", encoding="utf-8") as f:
        json.dump(document, f)
    for where, _, names in os.walk(directory):
        for path in [where, *(os.path.join(where, n) for n in names)]:
            os.chown(path, USER, USER, follow_symlinks=False)


def run_rootless(bus, annotations, hooked=True):
    """(exit status, output, errors of the runtime, what the hook said)"""
    with Scratch() as scratch:
        os.chmod(scratch, 0o755)
        directory = f"{scratch}/bundle"
        os.mkdir(directory)
        bundle_of(directory, bus, annotations, hooked)
        environment = {"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": directory, "HOME": directory}
        done = run([*AS_USER, need("runc"), "--root", f"{directory}/state", "run", "--bundle", directory, "box" + secrets.token_hex(6)], env=environment)
        said = ""
        if os.path.exists(f"{directory}/said"):
            with open(f"{directory}/said", encoding="utf-8") as f:
                said = f.read()
        return done.returncode, done.stdout, done.stderr, said


def starts(bus):
    status, output, errors, said = run_rootless(bus, {"org.memcgprof.profile": "auto"})
    equal((status, output), (0, "ran as 0\n"), f"the container: {errors}")
    lines = said.splitlines()
    equal(len(lines), 2, f"lines of the hook, one at the beginning and one at the end: {said!r}")
    for line in lines:
        check(line.startswith("memcgprof-hook: box") and "Only root may call" in line, line)
    equal(bus.manager("ListProfiles", "a{sv}", 0)[0], [], "profiles")


def required(bus):
    status, output, errors, said = run_rootless(bus, {"org.memcgprof.profile": "auto,required"})
    check(status != 0 and "ran" not in output, f"it ran although its profile is required: {output} {errors}")
    check("Only root may call" in said, f"the hook says {said!r}")


def without_annotation(bus):
    status, output, errors, said = run_rootless(bus, {})
    equal((status, output), (0, "ran as 0\n"), f"the container: {errors}")
    check(all("Only root may call" in line for line in said.splitlines()), said)


def tests(tap):
    need_containers()
    need("setpriv")
    with Bus() as bus:
        status, _, errors, _ = run_rootless(bus, {}, hooked=False)
        if status != 0:
            raise Skip(f"no rootless container can be made here: {errors.strip()[-300:]}")
        with Daemon(bus):
            tap.case("a rootless container starts, and the hook says why it is not profiled", starts, bus)
            tap.case("with required it is refused", required, bus)
            tap.case("without the annotation", without_annotation, bus)


main(tests)
