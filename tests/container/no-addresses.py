#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Kernel addresses are shown to nobody: a session of hook, container, bus and command line on the real kernel, with the daemon's log
at debug. Every message of the bus, every document, line and file is searched for addresses, and for those of /proc/kallsyms."""

import os
import secrets

import dbus
from addresses import Capture, files_below, finds_what_it_looks_for, kallsyms, require_none, require_none_on_bus
from bus import MANAGER, PATH, PROFILE, Bus, Signals
from client import Client
from container import Container, hook_entry, need_containers
from daemon import Daemon
from proc import built, run
from summary import profiled
from tap import Skip, check, main

LOG = "/org/freedesktop/LogControl1", "org.freedesktop.LogControl1"
WORK = ("hold files 500", "hold sockets 100", "hold pipes 50")


def command_line(t, *words):
    done = run([built("ctl/memcgprof"), f"--bus={t.bus.address}", *words])
    t.texts[" ".join(words)] = done.stdout + done.stderr


def ask_for_all(t, path):
    for of in (path, str(t.client.manager("StartProfile", "host"))):
        for group in ("site", "function", "module", "category", "type"):
            t.client.profile(of, "GetSummary", filter={"group_by": group})
        check(len(t.client.profile(of, "GetSites")) > 5, "too few rows to tell")
        with os.fdopen(t.client.profile(of, "Dump", "summary").take(), encoding="utf-8") as f:
            t.texts[f"Dump {of}"] = f.read()
        t.client.get_all(of, PROFILE)
    t.client.get_all(PATH, MANAGER)
    t.client.manager("ListProfiles")
    t.client.manager("DescribeSupport")
    t.client.call(PATH, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", "")


def session(t):
    t.client.set(*LOG, "LogLevel", "debug")
    hooks = {stage: [hook_entry(t.bus.address)] for stage in ("createRuntime", "poststop")}
    annotations = {"org.memcgprof.profile": "auto,stacks=all,numa", "io.kubernetes.pod.name": "web"}
    with Signals(t.bus, "ProfileFinished") as finished, Container(hooks=hooks, annotations=annotations) as box:
        box.start()
        path = profiled(t.bus, box)
        for work in WORK:
            box.tell(work, "ready")
        ask_for_all(t, path)
        for words in (["support"], ["support", "--json"], ["list"], ["list", "--json"], ["show", f"container:{box.id}"], ["show", "--json", "host"],
                      ["top", "-o", f"container:{box.id}"], ["show", "-t", "host"], ["allocinfo"], ["show", "container:none"]):
            command_line(t, *words)
        box.end()
        finished.of(path)
    command_line(t, "report")
    t.client.manager("SetMode", "off")


def nothing(t):
    symbols = kallsyms()
    if not symbols:
        raise Skip("the kernel hides its symbol table from us")
    mark = "mark" + secrets.token_hex(8)
    with Capture(t.bus, os.path.join(t.bus.scratch.path, "capture")) as capture:
        session(t)
        try:
            t.client.manager("GetProfile", f"cgroup:/{mark}")
        except dbus.DBusException:
            pass
        messages = capture.messages(mark.encode())
    data = b"".join(messages)
    check(len(data) > 100000 and b"ProfileFinished" in data, f"the capture is incomplete: {len(data)} bytes")
    require_none_on_bus(messages, symbols)
    check(len(t.daemon.log_text()) > 200, "nothing was logged")
    require_none("the log", t.daemon.log_text(), symbols)
    for what, text in t.texts.items():
        check(text, f"{what} printed nothing")
        require_none(what, text, symbols)
    files = dict(files_below(t.daemon.state))
    check(any("memcgprof.report" in content for content in files.values()), f"no report among {list(files)}")
    for path, content in files.items():
        require_none(path, content, symbols)


class Test:
    """One bus, one daemon and one client for all cases."""


def tests(tap):
    need_containers()
    tap.case("the search finds addresses", finds_what_it_looks_for, kallsyms())
    with Bus() as bus, Daemon(bus) as daemon, Client(bus) as client:
        t = Test()
        t.bus, t.daemon, t.client, t.texts = bus, daemon, client, {}
        tap.case("a whole session shows none", nothing, t)


main(tests)
