#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Kernel addresses are shown to nobody, also where an address has no name: the symbol table of these tests knows few. What a whole
session puts on the bus, in its log and on the disk is searched; with real BPF programs in tests/container/no-addresses.py."""

import os
import secrets

import dbus
from addresses import Capture, files_below, finds_what_it_looks_for, kallsyms, require_none, require_none_on_bus
from bus import MANAGER, PATH, PROFILE, Bus
from client import Client
from group import Group
from proc import need_root
from tap import check, equal, main

from fake import BASE, ROWS, Fake

LOG = "/org/freedesktop/LogControl1", "org.freedesktop.LogControl1"

# Out of every module and of the kernel: below its text, above it, in the direct map, in modules, and no address at all.
NAMELESS = [{"type": "slab", "charged": True, "frames": [hex(a)], "allocated": [4096 + i, 1 + i]} for i, a in enumerate((
    BASE - 0x1000, BASE + 0x300000, 0xffff888100000000, 0xffffffffc0123456, 0xffffc90000001234, 0x1234))]
DEEP = {"type": "page", "charged": True, "frames": [hex(BASE + 0x400000 + i) for i in range(4)], "allocated": [8192, 2]}


def session(t):
    """Everything that can be asked for, once; nothing of it may be empty."""
    t.client.set(*LOG, "LogLevel", "debug")
    t.daemon.write([*ROWS, *NAMELESS, DEEP])
    with Group() as g:
        path = t.client.start(g)
        host = t.client.start("host")
        for of in (path, host):
            summary = str(t.client.profile(of, "GetSummary"))
            check(len(summary) > 3000, f"a short summary: {summary}")
            equal(len(t.client.profile(of, "GetSites")) > 0, True, "rows")
            for group in ("site", "function", "file", "module", "category", "type"):
                t.client.profile(of, "GetSummary", filter={"group_by": group})
            with os.fdopen(t.client.profile(of, "Dump", "summary").take(), encoding="utf-8") as f:
                t.texts.append(f.read())
            t.client.get_all(of, PROFILE)
        t.client.get_all(PATH, MANAGER)
        t.client.manager("ListProfiles")
        t.client.manager("DescribeSupport")
        t.client.call(PATH, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", "")
        for bad in ({"function": "\xff" * 9}, {"lineno": "x"}, {"nonsense": 1}, {"min_size": -1}):
            try:
                t.client.profile(path, "GetSummary", filter=bad)
            except dbus.DBusException as e:
                t.texts.append(str(e))
        t.client.profile(path, "Reset")
        t.client.stop(path, host)
    check(t.daemon.log_text(), "nothing was logged")


def nothing(t):
    symbols = kallsyms() | kallsyms(os.path.join(t.daemon.directory, "kallsyms"))
    mark = "mark" + secrets.token_hex(8)
    with Capture(t.bus, os.path.join(t.bus.scratch.path, "capture")) as capture:
        session(t)
        try:
            t.client.manager("GetProfile", mark)
        except dbus.DBusException:
            pass
        messages = capture.messages(mark.encode())
    data = b"".join(messages)
    check(len(data) > 50000 and b"sk_prot_alloc" in data, f"the capture is incomplete: {len(data)} bytes")
    require_none_on_bus(messages, symbols)
    require_none("the log", t.daemon.log_text(), symbols)
    for text in t.texts:
        require_none("a document", text, symbols)
    files = dict(files_below(t.daemon.state))
    check(any("memcgprof.report" in content for content in files.values()), f"no report among {list(files)}")
    for path, content in files.items():
        require_none(path, content, symbols)


class Test:
    """One bus, one daemon and one client for all cases."""


def tests(tap):
    need_root()
    tap.case("the search finds addresses", finds_what_it_looks_for, kallsyms())
    with Bus() as bus, Fake(bus) as daemon, Client(bus) as client:
        t = Test()
        t.bus, t.daemon, t.client, t.texts = bus, daemon, client, []
        tap.case("a whole session shows none", nothing, t)
        check(daemon.alive(), "the daemon is gone: " + daemon.log_text()[-2000:])


main(tests)
