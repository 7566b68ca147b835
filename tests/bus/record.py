#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The host's profile where the kernel keeps its own record of allocations: a recorded one, below a root of our own."""

import json
import os
import shutil

import dbus
from bus import PROFILE, Bus
from client import ERROR, INVALID, Client, refused
from group import Group
from proc import SOURCE, Scratch, eventually
from tap import check, equal, main
from validate import validated

from fake import ROWS, Fake

HOST = "/org/memcgprof1/host"
FIXTURE = os.path.join(SOURCE, "tests", "fixtures", "allocinfo", "7.2")


def summary(t, **keys):
    return validated(t.client.profile(HOST, "GetSummary", filter=keys), "memcgprof.summary")


def there_from_the_start(t):
    (path, kind, _, state, live, more), = t.client.manager("ListProfiles")
    equal((str(path), str(kind), str(state), [str(r) for r in more["requesters"]]), (HOST, "host", "active", ["kernel"]), "list")
    equal(int(live), summary(t)["record"]["bytes"], "live bytes")
    equal(t.client.live_bytes(HOST), int(live), "LiveBytes")
    equal((str(t.client.manager("GetProfile", "host")), str(t.client.manager("StartProfile", "host"))), (HOST, HOST), "asked for")
    equal(str(t.client.manager("StartProfile", "host", options={"spec": "single"})), HOST, "asked for with a spec")
    t.daemon.wait_counting(0)


def document(t):
    d = summary(t)
    equal((d["kernel"]["alloc_tags"], d["kernel"]["backend"], d["profile"]["kind"], d["profile"]["started_by"]),
          (True, "alloc-tags", "host", "kernel"), "head")
    equal({k: d["record"][k] for k in ("source", "content_id", "counting", "tags")},
          {"source": "text", "content_id": None, "counting": True, "tags": 17}, "record")
    equal((d["accurate"], d["total_sites"], len(d["sites"])), (False, 14, 14), "sites")
    equal(d["record"]["bytes"], sum(r["bytes"] for r in d["sites"]), "sum")
    equal({k: d["totals"][k] for k in ("allocated_bytes", "freed_bytes", "irq_bytes")},
          {"allocated_bytes": None, "freed_bytes": None, "irq_bytes": None}, "what it does not tell")
    equal((d["totals"]["charged"]["kernel_bytes"], d["reconcile"]["growth_bytes"]), (None, None), "what it is not")
    row = d["sites"][0]
    equal({k: row[k] for k in ("key", "file", "line", "module", "type", "charged", "allocated_bytes")},
          {"key": "mm/readahead.c:248:page_cache_ra_unbounded", "file": "mm/readahead.c", "line": 248, "module": "", "type": None,
           "charged": None, "allocated_bytes": None}, "a row")
    with os.fdopen(t.client.profile(HOST, "Dump", "summary").take()) as f:
        equal(json.load(f)["sites"], d["sites"], "Dump")


def filters(t):
    keys = [r["key"] for r in summary(t, filename="kernel/fork.c", min_size=dbus.Int64(1))["sites"]]
    equal(keys, ["kernel/fork.c:307:alloc_thread_stack_node"], "file and size")
    d = summary(t, group_by="module", limit=dbus.UInt32(2), sort="name")
    equal(([r["key"] for r in d["sites"]], d["filter"]), (["kernel", "nf_conntrack"], {"group_by": "module", "limit": 2, "sort": "name"}), "grouped")
    equal([r["key"] for r in summary(t, category="kernel", min_size=dbus.Int64(1))["sites"]], ["kernel/fork.c:307:alloc_thread_stack_node"], "category")
    for key, value in (("type", "slab"), ("charged", True), ("node", dbus.UInt32(0)), ("pid", dbus.UInt32(1)), ("group_by", "type")):
        refused(ERROR + "BadFilter", [key], t.client.profile, HOST, "GetSummary", filter={key: value})


def sites(t):
    rows = t.client.profile(HOST, "GetSites", filter={"modname": "nf_conntrack"})
    file, line, function, offset, module, kind, charged, size, calls, accurate, more = rows[0]
    equal((str(file), int(line), str(function), int(offset), str(module), str(kind), bool(charged), int(size), int(calls), bool(accurate)),
          ("include/linux/seq_file_net.h", 12, "seq_open_net", 0, "nf_conntrack", "", False, 12288, 3, False), "a site")
    equal({str(k): v for k, v in more.items()}, {"key": "include/linux/seq_file_net.h:12:seq_open_net[nf_conntrack]", "tags": 2}, "more")


def hostile(t):
    path = f"{t.root}/proc/allocinfo"
    with open(path, "ab") as f:
        f.write(b"           7        1 \xff\x1b[2J.c:1 [m\x80] func:f\xe2\x80\xae \n")
    try:
        row, = summary(t, max_size=dbus.Int64(7), min_size=dbus.Int64(7))["sites"]
        equal(row["key"], "\\xff\\x1b[2J.c:1:f\\xe2\\x80\\xae[m\\x80]", "key")
        site, = t.client.profile(HOST, "GetSites", filter={"max_size": dbus.Int64(7), "min_size": dbus.Int64(7)})
        equal((str(site[0]), str(site[4])), ("\\xff\\x1b[2J.c", "m\\x80"), "file and module")
        with open(path, "ab") as f:
            f.write(b"nonsense\n")
        refused("org.freedesktop.DBus.Error.Failed", ["Line 21", "nonsense"], t.client.profile, HOST, "GetSummary")
    finally:
        shutil.copy(f"{FIXTURE}/proc/allocinfo", path)


def never_ends(t):
    refused(ERROR + "NotSupported", ["own record"], t.client.manager, "StopProfile", dbus.ObjectPath(HOST))
    refused(ERROR + "NotSupported", ["own record"], t.client.profile, HOST, "Reset")
    with Group() as g:
        t.daemon.write(ROWS)
        path = str(t.client.manager("StartProfile", f"cgroup:{g.path}", options={"spec": "single"}))
        equal((t.client.paths(), t.client.has_record()), ([path], True), "single beside it")
        equal(str(t.client.get(HOST, PROFILE, "State")), "active", "State")
        t.client.manager("SetMode", "off")
        equal((t.client.paths(), t.client.has_record()), ([], True), "what off leaves")
        check(summary(t)["sites"], "no row while off")
        t.client.manager("SetMode", "auto")
    t.daemon.wait_counting(0)


def shut_down(t):
    """The kernel may take its record away at any time: a reason, not an empty table."""
    os.rename(f"{t.root}/proc/allocinfo", f"{t.root}/proc/gone")
    try:
        for member in ("GetSummary", "GetSites"):
            refused(ERROR + "NotSupported", ["/proc/allocinfo"], t.client.profile, HOST, member)
        (_, _, _, state, live, _), = t.client.manager("ListProfiles")
        equal((str(state), int(live)), ("failed", 0), "the list goes on")
    finally:
        os.rename(f"{t.root}/proc/gone", f"{t.root}/proc/allocinfo")
    check(summary(t)["sites"], "no row when it is back")
    equal(str(t.client.get(HOST, PROFILE, "State")), "active", "State when it is back")


def not_counting(directory):
    """Stale figures are no profile: there the tracker counts for the host, as everywhere else."""
    root = f"{directory}/off"
    shutil.copytree(FIXTURE, root)
    with open(f"{root}/proc/sys/vm/mem_profiling", "w", encoding="ascii") as f:
        f.write("0\n")
    with Bus() as bus, Fake(bus, root=root) as daemon, Client(bus) as client:
        equal((client.paths(), client.has_record()), ([], False), "profiles")
        client.manager("StartProfile", "host")
        daemon.wait_counting(1)
        client.manager("StopProfile", dbus.ObjectPath(HOST))
        daemon.wait_counting(0)


class Test:
    def __init__(self, daemon, client, root):
        self.daemon, self.client, self.root = daemon, client, root


def tests(tap):
    with Scratch() as directory:
        root = f"{directory}/root"
        shutil.copytree(FIXTURE, root)
        with Bus() as bus, Fake(bus, root=root) as daemon, Client(bus) as client:
            t = Test(daemon, client, root)
            tap.case("it is there from the start, and nothing is counted for it", there_from_the_start, t)
            tap.case("its summary names the source, and is null where that tells nothing", document, t)
            tap.case("filters choose tags, and what it cannot answer is refused", filters, t)
            tap.case("sites are typed rows", sites, t)
            tap.case("names and lines that nobody should choose", hostile, t)
            tap.case("no mode concerns it, and nothing ends it", never_ends, t)
            tap.case("a record that the kernel takes away is a reason", shut_down, t)
            check(daemon.alive(), "the daemon is gone: " + daemon.log_text()[-2000:])
        eventually(lambda: not os.listdir(f"{daemon.state}/reports") if os.path.isdir(f"{daemon.state}/reports") else True, 5, "no final report")
        tap.case("a kernel that does not count now has no record", not_counting, directory)


main(tests)
