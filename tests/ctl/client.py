#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command line as a client: memcgprofd on a private bus, with a tracker that reads its figures from a script."""

import json
import os
import sys

import validate
from bus import Bus
from group import Group, new_id
from proc import SOURCE, built, eventually, need, run
from tap import check, equal, main

sys.path.insert(0, os.path.join(SOURCE, "tests", "bus"))
from fake import PIPES, ROWS, SOCKETS, Fake, row  # noqa: E402


def cli(bus, *arguments, **kwargs):
    return run([built("ctl/memcgprof"), f"--bus={bus.address}", *arguments], 90, **kwargs)


def good(bus, *arguments):
    done = cli(bus, *arguments)
    equal((done.returncode, done.stderr), (0, ""), " ".join(arguments))
    return done.stdout


def refused(bus, words, *arguments, **kwargs):
    done = cli(bus, *arguments, **kwargs)
    equal((done.returncode, done.stdout), (1, ""), f"{arguments} ({done.stderr!r})")
    check(done.stderr.startswith("memcgprof: ") and done.stderr.count("\n") == 1, f"not one line of ours: {done.stderr!r}")
    for word in [words] if isinstance(words, str) else words:
        check(word in done.stderr, f"{word!r} is not named: {done.stderr!r}")


def lists(bus):
    equal(good(bus, "list").count("\n"), 1, "a table without rows")
    with Group() as group:
        path = good(bus, "start", f"cgroup:{group.path}").strip()
        check(path.startswith("/org/memcgprof1/cgroup/"), f"start prints {path!r}")
        table = good(bus, "list").splitlines()
        equal(len(table), 2, "lines of the table")
        check(group.path in table[1] and "active" in table[1] and "single" in table[1], f"row: {table[1]}")
        document = validate.validated(good(bus, "list", "--json"), "memcgprof.list")
        equal([p["object"] for p in document["profiles"]], [path], "objects")
        equal(document["profiles"][0]["cgroup_id"], str(group.id), "cgroup_id")
        good(bus, "stop", f"cgroup:{group.path}")


def every_target(bus):
    """All words for one cgroup lead to one profile; a bare word is a container's id."""
    cid = new_id()
    with Group(name=cid) as group:
        path = good(bus, "start", cid).strip()
        check(path.startswith("/org/memcgprof1/container/"), f"start prints {path!r}")
        for word in (cid, f"container:{cid}"):
            check(f"container {cid}" in good(bus, "show", word), f"show {word}")
        check(group.path in good(bus, "show", f"pid:{group.pid}"), "show of the process")
        good(bus, "stop", f"pid:{group.pid}")


def shows(bus, daemon):
    daemon.write(ROWS)
    with Group() as group:
        target = f"cgroup:{group.path}"
        good(bus, "start", target)
        text = good(bus, "show", target, "--json")
        document = validate.validated(text, "memcgprof.summary")
        equal(len(document["sites"]), len(ROWS), "rows")
        page = good(bus, "show", target)
        for word in ("alloc_pipe_info+0x10", "sk_prot_alloc+0x10", "~1.0 MiB", f"cgroup {group.path}"):
            check(word in page, f"{word} is not in the page: {page}")
        cut = json.loads(good(bus, "show", target, "-n", "1", "-s", "t", "--type=slab", "--charged=yes", "--json"))
        equal([s["function"] for s in cut["sites"]], ["alloc_pipe_info"], "rows by name, cut")
        equal(cut["filter"], {"type": "slab", "charged": True, "sort": "name", "limit": 1}, "filter as applied")
        big = json.loads(good(bus, "show", target, "-m", "6K", "--charged=yes", "--json"))
        equal([s["function"] for s in big["sites"]], ["alloc_pipe_info"], "rows of at least 6 KiB")
        good(bus, "stop", target)


def large(bus, daemon):
    """What is too large for a reply comes through a memfd, and is the same document."""
    daemon.write([row(f"many_sites_{i}", allocated=[64, 1], repeat=6000, step=8) for i in range(10)])
    with Group() as group:
        good(bus, "start", f"cgroup:{group.path}")
        document = json.loads(good(bus, "show", f"cgroup:{group.path}", "--json"))
        equal(len(document["sites"]), 60000, "rows")
        check(len(json.dumps(document, separators=(",", ":"))) > 16 << 20, "the document is too small for this test")
        good(bus, "stop", f"cgroup:{group.path}")
    daemon.write(ROWS)


def losses(bus, daemon):
    daemon.write([PIPES, SOCKETS], lost={"recursion_misses": 7})
    with Group() as group:
        good(bus, "start", f"cgroup:{group.path}")
        daemon.write([PIPES, SOCKETS], lost={"recursion_misses": 7})
        page = good(bus, "show", f"cgroup:{group.path}")
        check("lost          7 recursion_misses: " in page, f"no loss in the page: {page}")
        good(bus, "stop", f"cgroup:{group.path}")
    daemon.write(ROWS)


def words_that_are_not_built(bus):
    with Group() as group:
        done = cli(bus, "start", f"cgroup:{group.path}", "auto,stacks")
        equal(done.returncode, 0, done.stderr)
        check("stacks" in done.stderr and done.stderr.count("\n") == 1, f"whoever asked is not told: {done.stderr!r}")
        check("\nunavailable   stacks: " in good(bus, "show", f"cgroup:{group.path}"), "the page does not say it")
        good(bus, "stop", f"cgroup:{group.path}")


def errors(bus):
    refused(bus, "nosuch", "show", "nosuch")
    refused(bus, "/nosuch", "start", "cgroup:/nosuch")
    refused(bus, "frobnicate", "start", "cgroup:/nosuch", "auto,frobnicate")
    refused(bus, "UTF-8", "show", b"\xff\xfe".decode("utf-8", "surrogateescape"))
    refused(bus, "unit", "start", "unit:x.service")
    with Group() as holder, Group() as second:
        good(bus, "start", f"cgroup:{holder.path}", "single")
        refused(bus, holder.path, "start", f"cgroup:{second.path}")
        refused(bus, holder.path, "start", "host")
        refused(bus, second.path, "show", f"cgroup:{second.path}")
        good(bus, "stop", f"cgroup:{holder.path}")
        refused(bus, holder.path, "stop", f"cgroup:{holder.path}")


def several(bus):
    """Groups beside each other and beside the host, with the mode that is in force."""
    with Group() as first, Group() as second:
        targets = [f"cgroup:{first.path}", f"cgroup:{second.path}", "host"]
        equal(good(bus, "start", targets[0]) and good(bus, "show", targets[0]).count("single"), 1, "mode of one alone")
        for target in targets[1:]:
            good(bus, "start", target)
        lines = [line.split() for line in good(bus, "list").splitlines()]
        equal([line[3] for line in lines if line[0] in ("cgroup", "host")], ["multi"] * 3, "modes in the list")
        check(["host", "host"] in [line[:2] for line in lines], f"the host is not in the list: {lines}")
        document = validate.validated(good(bus, "show", "host", "--json"), "memcgprof.summary")
        equal((document["profile"]["kind"], document["profile"]["mode"]), ("host", "multi"), "the host's document")
        for target in targets:
            good(bus, "stop", target)


def ended_and_reported(bus, daemon):
    cid = new_id()
    with Group(name=cid) as group:
        good(bus, "start", cid)
        group.remove()
        reports = f"--state-dir={daemon.state}"
        eventually(lambda: cid in good(bus, "report", reports), 20, "the report is listed")
        page = good(bus, "report", cid, reports)
        for word in (f"container {cid}", "ended", "residue", "alloc_pipe_info"):
            check(word in page, f"{word} is not in the report: {page}")
        validate.validated(good(bus, "report", cid, "--json", reports), "memcgprof.report")
        check("state         ended" in good(bus, "show", cid), "an ended profile can be shown")
        good(bus, "stop", cid)


def support(bus):
    document = validate.validated(good(bus, "support", "--json"), "memcgprof.support")
    check(all(i["name"] in good(bus, "support") for i in document["items"]), "the table has all items")


def unprivileged(bus):
    setpriv = need("setpriv")
    done = run([setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", "/bin/sh", "-c", 'exec "$@" </dev/null', "sh",
                built("ctl/memcgprof"), f"--bus={bus.address}", "off"])
    equal((done.returncode, done.stdout, done.stderr.count("\n")), (1, "", 1), f"off by nobody: {done.stderr!r}")


def off(bus, daemon):
    with Group() as group:
        good(bus, "start", f"cgroup:{group.path}")
        equal(good(bus, "off"), "", "off says nothing when all went well")
        equal(daemon.counting(), 0, "groups that count after off")
        refused(bus, "off", "start", f"cgroup:{group.path}")
        with open(f"{daemon.state}/mode", encoding="ascii") as f:
            equal(f.read().strip(), "off", "the mode that was kept")


def off_with_a_stopped_daemon(bus, daemon):
    """The switch answers soon, notes the mode, and does not call it done."""
    state = os.path.join(daemon.directory, "other-state")
    daemon.freeze()
    try:
        refused(bus, ["does not answer", state], "off", f"--state-dir={state}")
    finally:
        daemon.thaw()
    with open(f"{state}/mode", encoding="ascii") as f:
        equal(f.read(), "off\n", "the mode that was noted")


def off_is_read_by_the_next_daemon(bus, daemon):
    """Without a daemon the mode is noted where the next one reads it."""
    daemon.stop()
    os.unlink(f"{daemon.state}/mode")
    done = cli(bus, "off", f"--state-dir={daemon.state}")
    equal(done.returncode, 0, done.stderr)
    check("No memcgprofd runs" in done.stderr, f"it does not say so: {done.stderr!r}")
    daemon.start()
    equal(bus.property("/org/memcgprof1", "org.memcgprof1.Manager", "Mode"), "off", "mode of the next daemon")


def tests(tap):
    with Bus() as bus, Fake(bus) as daemon:
        tap.case("list, as a table and as a document", lists, bus)
        tap.case("every word for a target", every_target, bus)
        tap.case("show, with the filter's options", shows, bus, daemon)
        tap.case("show of what is larger than a reply", large, bus, daemon)
        tap.case("losses are told with their meaning", losses, bus, daemon)
        tap.case("words that this version does not serve are told", words_that_are_not_built, bus)
        tap.case("errors are one sentence", errors, bus)
        tap.case("several groups and the host", several, bus)
        tap.case("an ended container and its report", ended_and_reported, bus, daemon)
        tap.case("support asks the daemon", support, bus)
        tap.case("nobody may not switch off", unprivileged, bus)
        tap.case("off with a daemon that is stopped", off_with_a_stopped_daemon, bus, daemon)
        tap.case("off ends everything", off, bus, daemon)
        tap.case("off without a daemon holds for the next one", off_is_read_by_the_next_daemon, bus, daemon)


main(tests)
