#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Profile objects: summaries and sites under every filter key, dumps, reset, properties, and the bound on replies."""

import fcntl
import os
import time

import dbus
from bus import PROFILE, Bus
from client import ERROR, INVALID, Client, refused
from group import Group
from tap import Failure, check, equal, main
from validate import validated

from fake import PIPES, ROWS, SOCKETS, Fake, row

F_GET_SEALS = 1034
ALL_SEALS = 0x1 | 0x2 | 0x4 | 0x8  # SEAL, SHRINK, GROW, WRITE
LOSSES = {"object_table_full": 1, "recursion_misses": 2}
SITES = "(sustssbxxba{sv})"


def summary(t, **filter):
    return validated(t.client.profile(t.path, "GetSummary", filter=filter), "memcgprof.summary")


def sites(t, **filter):
    return t.client.profile(t.path, "GetSites", filter=filter)


def functions(t, **filter):
    """Function of each row, by GetSummary and GetSites alike."""
    document = [s["function"] for s in summary(t, **filter)["sites"]]
    rows = [str(r[2]) for r in sites(t, **filter)]
    equal(rows, [f or "" for f in document], f"GetSites against GetSummary for {filter}")
    return document


def everything(t):
    document = summary(t)
    equal(document["profile"]["kind"], "cgroup", "kind")
    equal(document["profile"]["id"], t.group.path, "id")
    equal(document["profile"]["cgroup_id"], str(t.group.id), "cgroup_id")
    equal(document["profile"]["started_by"], "bus", "started_by")
    equal(document["profile"]["from_start"], False, "from_start")
    equal(document["profile"]["mode"], "single", "mode")
    equal(document["kernel"]["backend"], "fake", "backend")
    equal(document["total_sites"], 4, "total_sites")
    equal(document["filter"], {}, "filter")
    equal(document["totals"]["charged"]["slab"], 13000, "charged slab bytes")
    equal(document["totals"]["uncharged"]["slab"], 700, "uncharged slab bytes")


def rows_of_sites(t):
    rows = sites(t)
    equal(rows.signature, SITES, "signature")
    by_function = {str(r[2]): r for r in rows}
    equal(len(by_function), 4, "rows")
    file, line, function, offset, module, kind, charged, live, calls, accurate, more = by_function["alloc_pipe_info"]
    equal((str(file), int(line), str(module), str(kind)), ("", 0, "", "slab"), "the texts of a row")
    equal((bool(charged), int(live), int(calls), bool(accurate)), (True, 8000, 8, True), "the figures of a row")
    check(0 < int(offset) <= 0x10, f"offset {offset}")
    equal(str(more["key"]), f"alloc_pipe_info+0x{int(offset):x}", "key")
    equal([int(more[k]) for k in ("allocated_bytes", "allocated_calls", "freed_bytes", "freed_calls")], [9000, 9, 1000, 1], "cumulative figures")
    user = by_function["pte_alloc_one"]
    equal((int(user[7]), int(user[8]), bool(user[10]["blind"]), bool(user[10]["estimated"])), (0, 0, True, True), "what is not measured")
    equal(int(user[10]["allocated_bytes"]), 1 << 20, "cumulative user bytes")
    equal(bool(by_function["alloc_inode"][6]), False, "charged of an uncharged row")


def tagged_rows(t):
    """By alloc tags: a module's address that another module has by now is another site."""
    def tag(file, line, function, module="", **members):
        return {"type": "slab", "charged": True, "tag": {"file": file, "line": line, "function": function, "module": module}, **members}

    t.daemon.write([tag("fs/pipe.c", 789, "alloc_pipe_info", allocated=[9000, 9], freed=[1000, 1]),
                    tag("fs/pipe.c", 789, "alloc_pipe_info", allocated=[90, 1]),
                    tag("mm/memory.c", 440, "pte_alloc_one", type="page", allocated=[8192, 2]),
                    tag("made.c", 12, "make", "older", allocated=[100, 1]), tag("made.c", 12, "make", "newer", allocated=[200, 2]),
                    row("alloc_inode", charged=False, allocated=[700, 7])])
    document = summary(t)
    by_key = {s["key"]: s for s in document["sites"]}
    equal(len(by_key), 5, "rows")
    pipes = by_key["fs/pipe.c:789:alloc_pipe_info"]
    equal([pipes[k] for k in ("file", "line", "function", "offset", "module", "bytes", "estimated")],
          ["fs/pipe.c", 789, "alloc_pipe_info", None, "", 8090, False], "a row by a tag")
    equal((by_key["made.c:12:make[older]"]["bytes"], by_key["made.c:12:make[newer]"]["bytes"]), (100, 200), "modules")
    pages = by_key["mm/memory.c:440:pte_alloc_one"]
    equal((pages["bytes"], pages["estimated"], pages["error_bytes"]), (8192, False, None), "pages by a tag")
    equal((document["totals"]["charged"]["page"], document["totals"]["charged"]["vmalloc"]), (8192, None), "totals")
    equal([s["key"] for s in summary(t, filename="made.c", lineno=dbus.UInt32(12), modname="newer")["sites"]],
          ["made.c:12:make[newer]"], "filters of tags")
    equal([(s["key"], s["file"], s["bytes"]) for s in summary(t, group_by="file", charged=True)["sites"]],
          [("mm/memory.c", "mm/memory.c", 8192), ("fs/pipe.c", "fs/pipe.c", 8090), ("made.c", "made.c", 300)], "by file")
    rows = {str(r[10]["key"]): r for r in sites(t)}
    file, line, function, offset = rows["fs/pipe.c:789:alloc_pipe_info"][:4]
    equal((str(file), int(line), str(function), int(offset)), ("fs/pipe.c", 789, "alloc_pipe_info", 0), "GetSites")


def sampled_pages(t):
    """The rows of sampled pages add up to what was counted, here as in live totals."""
    t.daemon.write([row("pte_alloc_one", type="page", estimated=True, allocated=[60000, 15], error_bytes=10000),
                    row("alloc_inode", type="page", estimated=True, allocated=[20000, 5], freed=[4000, 1], error_bytes=5000)],
                   pages={"allocated": [90000, 22], "freed": [8192, 2]})
    document = summary(t)
    equal(document["totals"]["charged"]["page"], 81808, "charged pages")
    equal(document["totals"]["charged"]["estimated"], ["page"], "what is estimated")
    equal(document["totals"]["charged"]["error_bytes"], 0, "error of a sum that is counted")
    equal(sum(s["bytes"] for s in document["sites"]), 81808, "rows")
    equal(sum(s["allocated_bytes"] for s in document["sites"]), 90000, "allocated by rows")
    equal(t.client.live_bytes(t.path), 81808, "LiveBytes")
    check(all(s["estimated"] and s["error_bytes"] > 0 for s in document["sites"]), "rows are estimates")


def blind_rows(t):
    t.daemon.write([PIPES, row("alloc_inode", charged=False, allocated=[5000, 50], freed=[3000, 30], written_off=[100, 1])])
    document = summary(t)
    inodes = next(s for s in document["sites"] if s["function"] == "alloc_inode")
    equal((inodes["blind"], inodes["bytes"], inodes["calls"], inodes["accurate"]), (True, None, None, False), "a blind row")
    equal((inodes["blind_bytes"], inodes["blind_allocated_bytes"]), (1900, 5000), "what it hides")
    equal(document["totals"]["uncharged"]["kernel_bytes"], 0, "uncharged live")
    equal((document["totals"]["blind_bytes"], document["totals"]["blind_allocated_bytes"]), (1900, 5000), "totals")
    equal(t.client.live_bytes(t.path), 8000, "LiveBytes")
    group = summary(t, group_by="module", charged=False)["sites"][0]
    equal((group["blind"], group["bytes"]), (True, None), "a group of blind rows")


def flags_and_nodes(t):
    now = time.time_ns() // 1000  # a sweep from before the profile would not count
    t.daemon.write([row("alloc_inode", node=0, gfp_flags=0x400cc0, allocated=[600, 6]),
                    row("alloc_inode", node=1, gfp_flags=0x100, allocated=[900, 9], freed=[100, 1])],
                   kthread_bytes=77, charges_verified=5, charges_mismatched=1, swept_at_us=now)
    document = summary(t)
    site, = document["sites"]
    equal(site["gfp_flags"], ["GFP_KERNEL", "__GFP_ZERO", "__GFP_ACCOUNT"], "gfp_flags")
    equal([(n["node"], n["bytes"], n["calls"]) for n in site["nodes"]], [(0, 600, 6), (1, 800, 8)], "nodes")
    equal((site["bytes"], document["total_sites"]), (1400, 1), "the row")
    totals = document["totals"]
    equal((totals["kthread_bytes"], totals["charges_verified"], totals["charges_mismatched"], totals["unaccounted_bytes"]), (77, 5, 1, None), "totals")
    equal(document["swept_at_us"], now, "swept_at_us")
    more = sites(t)[0][10]
    equal([str(f) for f in more["gfp_flags"]], site["gfp_flags"], "gfp_flags of GetSites")
    equal([tuple(map(int, n)) for n in more["nodes"]], [(0, 600, 6), (1, 800, 8)], "nodes of GetSites")
    part, = summary(t, node=dbus.Int32(1))["sites"]
    equal((part["bytes"], part["allocated_bytes"], len(part["nodes"])), (800, 900, 1), "one node's part")
    equal([(s["key"], s["bytes"]) for s in summary(t, group_by="node")["sites"]], [("node1", 800), ("node0", 600)], "by node")


def filters_select(t):
    everything_ = {"alloc_pipe_info", "sk_prot_alloc", "alloc_inode", "pte_alloc_one"}
    for filter, wanted in (
            ({"function": "alloc_pipe_info"}, {"alloc_pipe_info"}),
            ({"function": "alloc_pipe"}, set()),
            ({"modname": ""}, everything_),
            ({"modname": "nf_tables"}, set()),
            ({"filename": "fs/pipe.c"}, set()),
            ({"lineno": dbus.UInt32(7)}, set()),
            ({"min_size": dbus.UInt32(5000)}, {"alloc_pipe_info", "sk_prot_alloc"}),
            ({"max_size": dbus.Int64(5000)}, {"sk_prot_alloc", "alloc_inode"}),
            ({"min_size": dbus.Byte(1), "max_size": dbus.UInt16(800)}, {"alloc_inode"}),
            ({"min_size": dbus.Int32(-5), "max_size": dbus.Int16(-1)}, set()),
            ({"inaccurate": True}, {"pte_alloc_one"}),
            ({"inaccurate": False}, everything_ - {"pte_alloc_one"}),
            ({"type": "user"}, {"pte_alloc_one"}),
            ({"type": "slab"}, everything_ - {"pte_alloc_one"}),
            ({"type": "percpu"}, set()),
            ({"charged": False}, {"alloc_inode"}),
            ({"category": "mm"}, {"pte_alloc_one"}),
            ({"category": "fs"}, {"alloc_inode"}),  # and not fs/pipe
            ({"category": "fs/pipe"}, {"alloc_pipe_info"}),
            ({"node": dbus.Byte(0)}, set()),
            ({"charged": True, "type": "slab", "min_size": dbus.UInt64(6000)}, {"alloc_pipe_info"})):
        try:
            got = functions(t, **filter)
        except dbus.DBusException as e:
            raise Failure(f"{filter}: {e}") from e
        equal(set(got), wanted, f"rows of {filter}")
    equal(summary(t, min_size=dbus.Int16(5000))["filter"], {"min_size": 5000}, "filter as applied")
    equal(summary(t, type="slab")["totals"], summary(t)["totals"], "totals are never filtered")


def filters_arrange(t):
    equal(functions(t, type="slab", sort="bytes"), ["alloc_pipe_info", "sk_prot_alloc", "alloc_inode"], "by bytes")
    equal(functions(t, type="slab", sort="calls"), ["alloc_pipe_info", "alloc_inode", "sk_prot_alloc"], "by calls")
    equal(functions(t, type="slab", sort="name"), ["alloc_inode", "alloc_pipe_info", "sk_prot_alloc"], "by name")
    for kind in (dbus.Byte, dbus.Int16, dbus.UInt16, dbus.Int32, dbus.UInt32, dbus.Int64, dbus.UInt64):
        equal(functions(t, limit=kind(1)), ["alloc_pipe_info"], f"limit as {kind.__name__}")
    for group in ("site", "function", "file", "module", "category", "type", "node"):
        document = summary(t, group_by=group)
        equal(len(sites(t, group_by=group)), len(document["sites"]), f"rows grouped by {group}")
        check(0 < len(document["sites"]) <= 4, f"rows grouped by {group}: {document['sites']}")
    equal(sum(s["allocated_bytes"] for s in summary(t, group_by="type")["sites"]),
          sum(s["allocated_bytes"] for s in summary(t)["sites"]), "bytes of groups against bytes of sites")
    equal({s["key"] for s in summary(t, group_by="category")["sites"]}, {"fs", "fs/pipe", "mm", "net"}, "categories")
    equal({str(s[10]["category"]) for s in sites(t)}, {"fs", "fs/pipe", "mm", "net"}, "categories of typed rows")


STRINGS = ("modname", "function", "filename", "type", "category", "sort", "group_by")
INTEGERS = ("lineno", "min_size", "max_size", "node", "pid", "older_than_us", "limit")
BOOLEANS = ("inaccurate", "charged")


def filters_refuse(t):
    wrong = {key: [dbus.Int32(1), True, 1.5, dbus.Array(["x"], signature="s"), dbus.ObjectPath("/")] for key in STRINGS}
    wrong |= {key: ["5", True, 1.5, dbus.UInt64(2**64 - 1), dbus.Array([1], signature="i")] for key in INTEGERS}
    wrong |= {key: ["true", dbus.Int32(1), 1.0, dbus.Struct((True,), signature="b")] for key in BOOLEANS}
    calls = [(t.client.profile, (t.path, "GetSummary")), (t.client.profile, (t.path, "GetSites")), (t.client.profile, (t.path, "Dump", "summary"))]
    for function, arguments in calls:
        for key, values in wrong.items():
            for value in values:
                refused(ERROR + "BadFilter", [key], function, *arguments, filter={key: value})
        for key, value in (("colour", "red"), ("colour", 1.5), ("Limit", dbus.Int32(1)), ("", "x"), ("x" * 4096, "x"), ("a\nb", True)):
            refused(ERROR + "BadFilter", [key[:20].split("\n")[0]], function, *arguments, filter={key: value})
        for key, value in (("type", "stack"), ("sort", "size"), ("group_by", "colour"), ("type", ""), ("function", "x" * 5000),
                           ("limit", dbus.Int32(-1)), ("lineno", dbus.Int32(-1))):
            refused(ERROR + "BadFilter", [key], function, *arguments, filter={key: value})
        refused(ERROR + "BadFilter", ["min_size", "max_size"], function, *arguments,
                filter={"min_size": dbus.Int64(2), "max_size": dbus.Int64(1)})
        # what selects stacks selects no rows
        for key, value in (("pid", dbus.Int32(1)), ("older_than_us", dbus.Int64(1))):
            refused(ERROR + "BadFilter", [key, "stacks"], function, *arguments, filter={key: value})
        for key, value in (("node", dbus.Int32(-1)), ("pid", dbus.Int32(0)), ("older_than_us", dbus.Int64(-1))):
            refused(ERROR + "BadFilter", [key], function, *arguments, filter={key: value})


def dump(t):
    fd = t.client.profile(t.path, "Dump", "summary", filter={"limit": dbus.Int32(2)}).take()
    try:
        equal(fcntl.fcntl(fd, F_GET_SEALS), ALL_SEALS, "seals")
        with open(fd, encoding="ascii", closefd=False) as f:
            document = validated(f.read(), "memcgprof.summary")
        equal(len(document["sites"]), 2, "rows")
        for change in (lambda: os.pwrite(fd, b"x", 0), lambda: os.ftruncate(fd, 0), lambda: os.ftruncate(fd, 1 << 20)):
            try:
                change()
                raise Failure("the sealed file can be changed")
            except OSError:
                pass
    finally:
        os.close(fd)
    refused(ERROR + "NotSupported", ["stacks"], t.client.profile, t.path, "Dump", "stacks")
    for document in ("", "report", "Summary", "x" * 5000):
        refused(INVALID, ["summary"], t.client.profile, t.path, "Dump", document)


def reset(t):
    refused(INVALID, ["hard"], t.client.profile, t.path, "Reset", filter={"hard": True})
    t.client.profile(t.path, "Reset")
    equal(t.client.live_bytes(t.path), 0, "LiveBytes after Reset")
    document = summary(t)
    equal(document["totals"]["allocated_bytes"], 0, "allocated bytes after Reset")
    check(document["reset_us"], "reset_us is not set")
    t.daemon.write([*ROWS[1:], {**PIPES, "allocated": [9500, 10]}], lost=LOSSES)
    equal(t.client.live_bytes(t.path), 500, "LiveBytes counts from the new baseline")
    t.daemon.write([*ROWS[1:], {**PIPES, "allocated": [9500, 10], "freed": [9000, 9]}], lost=LOSSES)
    equal(t.client.live_bytes(t.path), 500, "what was there before and is freed lowers no row")
    totals = summary(t)["totals"]
    equal((totals["freed_bytes"], totals["freed_unmatched"]), (0, 8000), "it is freed memory from before the baseline")
    t.daemon.write([*ROWS[1:], {**PIPES, "allocated": [9500, 10], "freed": [9200, 10]}], lost=LOSSES)
    equal(t.client.live_bytes(t.path), 300, "LiveBytes after a free of what came since")
    equal(sum(summary(t)["lost"].values()), 0, "losses since the new baseline")
    for _ in range(10):
        t.client.profile(t.path, "Reset")
    equal(t.client.live_bytes(t.path), 0, "LiveBytes after many resets")
    check(t.daemon.counting() <= 2, f"{t.daemon.counting()} groups are kept for one profile")


def properties(t):
    values = {str(k): v for k, v in t.client.get_all(t.path, PROFILE).items()}
    equal({k: str(v) for k, v in values.items()},
          {"Kind": "cgroup", "Id": t.group.path, "Cgroup": t.group.path, "State": "active", "Mode": "single", "CgroupId": str(t.group.id)},
          "GetAll, without the properties that read the kernel's tables")
    for name, signature, wanted in (("LiveBytes", "x", 13700), ("LiveCalls", "x", 20), ("LostEvents", "t", 3)):
        got = t.client.get(t.path, PROFILE, name)
        check(isinstance(got, dbus.Int64 if signature == "x" else dbus.UInt64), f"{name} is a {type(got).__name__}")
        equal(int(got), wanted, name)
    for name in values:
        refused("org.freedesktop.DBus.Error.PropertyReadOnly", [name], t.client.set, t.path, PROFILE, name, "x")
    for name in ("Stacks", "Unit", "Profile"):
        refused("org.freedesktop.DBus.Error.UnknownProperty", [name], t.client.get, t.path, PROFILE, name)
    losses = summary(t)["lost"]
    equal(sum(losses.values()), 3, f"lost {losses}")


def losses(t):
    """Each of them makes the document inaccurate, and whoever reads the counter sees it."""
    def told(lost):
        t.daemon.write(ROWS, lost=lost)
        document = summary(t)
        return document["accurate"], {k: v for k, v in document["lost"].items() if v}, int(t.client.get(t.path, PROFILE, "LostEvents"))

    equal(told({}), (True, {}, 0), "nothing is lost")
    for name in summary(t)["lost"]:
        # pages that are taken in bulk are billed to nobody and stand in no row: told, and no row is wrong for it
        equal(told({name: 7}), (name == "bulk_pages", {name: 7}, 7), f"seven of {name}")


def negative(t):
    t.daemon.write([row("alloc_inode", allocated=[100, 1], freed=[300, 3])])
    equal(t.client.live_bytes(t.path), -200, "LiveBytes")
    equal(int(sites(t)[0][7]), -200, "bytes of the row")
    equal(summary(t)["sites"][0]["calls"], -2, "calls of the row")


def too_large(t):
    t.daemon.write([row(f"many_sites_{i}", allocated=[64, 1], repeat=6000, step=8) for i in range(10)])
    for member in ("GetSummary", "GetSites"):
        message = refused(ERROR + "Limit", ["16 MiB", "Dump", "limit"], t.client.profile, t.path, member)
        check(len(message) < 300, f"{message!r}")
    equal(len(sites(t, limit=dbus.Int32(100))), 100, "rows with a limit")
    fd = t.client.profile(t.path, "Dump", "summary").take()
    try:
        check(os.fstat(fd).st_size > 16 << 20, f"the dump has {os.fstat(fd).st_size} bytes: the case tests nothing")
        with open(fd, encoding="ascii", closefd=False) as f:
            text = f.read()
    finally:
        os.close(fd)
    check(text.startswith('{"format":"memcgprof.summary"') and text.endswith("}\n"), "the dump is cut")
    equal(text.count('"key":'), 60000, "rows of the dump")
    # Just below the bound both still answer.
    fits = 16 * 1024 * 1024 // 700
    equal(len(sites(t, limit=dbus.Int32(fits))), fits, "rows below the bound")


class Test:
    """One profile for all cases; each begins with the same figures."""


CASES = (
    ("GetSummary without a filter", everything),
    ("GetSites: signature and members", rows_of_sites),
    ("rows by alloc tags", tagged_rows),
    ("sampled pages", sampled_pages),
    ("blind rows", blind_rows),
    ("flags and nodes", flags_and_nodes),
    ("filter keys that select", filters_select),
    ("filter keys that arrange", filters_arrange),
    ("BadFilter for every key and every wrong type", filters_refuse),
    ("Dump is sealed and complete", dump),
    ("properties", properties),
    ("losses are told", losses),
    ("Reset", reset),
    ("negative live figures", negative),
    ("replies above 16 MiB", too_large),
)


def tests(tap):
    with Bus() as bus, Fake(bus) as daemon, Client(bus) as client, Group() as group:
        t = Test()
        t.bus, t.daemon, t.client, t.group = bus, daemon, client, group
        for name, function in CASES:
            daemon.write()
            t.path = str(client.manager("StartProfile", f"cgroup:{group.path}"))
            daemon.write(ROWS, lost=LOSSES)
            tap.case(name, function, t)
            daemon.write()
            client.manager("StopProfile", dbus.ObjectPath(t.path))
        check(daemon.alive(), "the daemon is gone: " + daemon.log_text()[-2000:])


main(tests)
