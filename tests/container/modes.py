#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Modes, nested profiles and the host's, with the real engine behind the daemon: nothing is lost or counted twice while profiles
come and go, and every document tells the truth about itself.

What is counted exactly is pipes: each passes every site of alloc_pipe_info once.
"""

import contextlib
import os
import time

from bus import PATH, PROFILE, Bus
from client import ERROR, Changes, Client, refused
from container import kernel_bytes, need_containers
from daemon import Daemon
from figures import SLACK, settle
from group import Group
from proc import eventually
from summary import Summary
from tap import Failure, Skip, check, equal, main
from worker import Busy, Worker

HOST = "/org/memcgprof1/host"
SWITCHES = 100
PIPE_SITE = "alloc_pipe_info"


class Test:
    def __init__(self, tap, bus, daemon, client):
        self.tap, self.bus, self.daemon, self.client = tap, bus, daemon, client

    def mode(self, path):
        return str(self.client.get(path, PROFILE, "Mode"))

    def document(self, path, mode=None):
        """A valid summary, which is one whose account balances, and which tells the mode that is in force."""
        told = set()
        while len(told) != 1:  # it may change while we ask
            told = {self.mode(path)}
            summary = Summary(str(self.client.profile(path, "GetSummary")))
            told.add(self.mode(path))
        told.add(summary.document["profile"]["mode"])
        check(len(told) == 1 and mode in (None, *told), f"{path} is in mode {told}, wanted {mode}")
        accurate = summary.document["accurate"]
        blind = any(row["blind"] for row in summary.rows())
        lost = {k for k, v in summary.document["lost"].items() if v and k != "bulk_pages"}  # pages that stand in no row anywhere
        check(accurate or lost, f"{path} is not accurate, and nothing is lost")
        check(not accurate or not lost or (blind and lost == {"missed_frees"}), f"{path} is accurate, and lost {summary.lost()}")
        return summary


def pipes(summary, lens="allocated_calls"):
    """How many pipes were made ("allocated_calls"), freed, or live ("calls"): every site of a pipe says the same."""
    rows = [row for row in summary.rows() if row["function"] == PIPE_SITE and row["type"] == "slab" and row["charged"]]
    counts = {row[lens] for row in rows}
    check(len(counts) <= 1, f"sites of one pipe differ in {lens}: {rows}")
    return counts.pop() if counts else 0


def explains(t, path, mode=None, cgroup=None):
    """What is not attributed is within the slack; frees that no program saw are found by a sweep, at most one in two seconds."""
    readings = []

    def fine():
        if cgroup:
            settle(cgroup)
        summary = t.document(path, mode)
        account = summary.document["reconcile"]
        allowed = account["slack_bytes"] + abs(account["growth_bytes"]) // 1000
        readings.append(f"{account['unattributed']} of {account['growth_bytes']} bytes are not attributed, allowed {allowed}")
        return summary if abs(account["unattributed"]) <= allowed else None

    try:
        return eventually(fine, 7, "explained", step=1)
    except Failure as e:
        raise Failure(f"{path}: {e}: " + "; ".join(readings)) from e


# ---- modes --------------------------------------------------------------------------------------------------------------------


def switches(t):
    """One allocates without pause, others come and go: stopped, or removed with what they hold."""
    with Group(processes=0) as group, Worker(group) as worker, Changes(t.bus) as changes:
        begun = kernel_bytes(os.fsdecode(group.directory))
        first = t.client.start(group)
        changes.expect((PATH, {"EffectiveMode": "single"}))
        began, modes = time.monotonic(), 0
        with Busy(worker):
            for i in range(SWITCHES):
                modes += one_switch(t, changes, first, i)
        t.tap.diag(f"{modes} changes in {time.monotonic() - began:.1f} s, {worker.pipes} pipes made meanwhile")
        equal(modes, 2 * SWITCHES, "changes of EffectiveMode")
        with contextlib.suppress(Failure):
            raise AssertionError(f"one change more: {changes.next(seconds=0.2)}")
        summary = explains(t, first, "single", os.fsdecode(group.directory))
        equal(pipes(summary), worker.pipes, "pipes counted")
        equal(pipes(summary, "calls"), 0, "pipes alive")
        account = summary.document["reconcile"]
        growth = kernel_bytes(os.fsdecode(group.directory)) - begun
        t.tap.diag(f"the memcg grew by {growth}: growth {account['growth_bytes']}, explained {account['explained_bytes']}, "
                   f"freed_unmatched {account['freed_unmatched']}, unattributed {account['unattributed']}, slack {account['slack_bytes']}; "
                   f"accurate {summary.document['accurate']}, lost {summary.lost()}")
        check(abs(growth - account["growth_bytes"]) <= SLACK, f"the memcg grew by {growth}, the document says {account['growth_bytes']}")
        t.client.stop(first)


def one_switch(t, changes, first, i):
    """Another one comes and goes. Returns how often EffectiveMode changed."""
    modes = [(PATH, {"EffectiveMode": "multi"}), (first, {"Mode": "multi"}), (PATH, {"EffectiveMode": "single"}), (first, {"Mode": "single"})]
    with Group(processes=0) as group:
        path = t.client.start(group)
        if i % 10 == 9:
            with Worker(group) as worker:
                worker.hold("pipes 100")
                summary = explains(t, path, "multi")
                equal(pipes(summary), 100, "pipes of the other")
                explains(t, first, "multi")
        if i % 2:
            t.client.stop(path)
        else:
            group.remove()
            eventually(lambda: str(t.client.get(path, PROFILE, "State")) == "ended", 10, f"{path} is ended")
            equal(t.document(path, "multi").document["profile"]["state"], "ended", "state")
            modes.insert(2, (path, {"State": "ended"}))
            t.client.stop(path)
    changes.expect(*modes)
    return sum(1 for _, values in modes if "EffectiveMode" in values)


# ---- nested -------------------------------------------------------------------------------------------------------------------


class Nest:
    """A slice with a container in it, which works, and a sibling that nobody profiles."""

    def __init__(self, stack):
        self.slice = stack.enter_context(Group(name=f"modes-{os.getpid()}.slice", processes=0))
        above = os.fsdecode(self.slice.directory)
        self.container = stack.enter_context(Group(name="container", parent=above, processes=0))
        self.sibling = stack.enter_context(Group(name="sibling", parent=above, processes=0))
        self.inner = stack.enter_context(Worker(self.container))
        self.beside = stack.enter_context(Worker(self.sibling))


def counts(t, path, made, alive, what):
    summary = explains(t, path)
    equal((pipes(summary), pipes(summary, "calls")), (made, alive), f"pipes made and alive, {what}")
    return summary


def nested(t, outer_first):
    with contextlib.ExitStack() as stack:
        nest = Nest(stack)
        if outer_first:
            outer, inner = t.client.start(nest.slice), t.client.start(nest.container)
        else:
            inner, outer = t.client.start(nest.container), t.client.start(nest.slice)
        nest.inner.hold("pipes 300")
        nest.beside.hold("pipes 200")
        counts(t, inner, 300, 300, "inner")
        counts(t, outer, 500, 500, "outer, with the inner one's")

        # A new baseline of the inner one is none of the outer one's business, and the other way round.
        t.client.profile(inner, "Reset")
        counts(t, inner, 0, 0, "inner, reset")
        nest.inner.hold("pipes 50")
        counts(t, inner, 50, 50, "inner, since the reset")
        counts(t, outer, 550, 550, "outer, beside a reset")
        t.client.profile(outer, "Reset")
        nest.inner.hold("pipes 20")
        nest.beside.hold("pipes 10")
        counts(t, inner, 70, 70, "inner, beside a reset")
        counts(t, outer, 30, 30, "outer, reset")

        # What is freed of older memory lowers no row.
        nest.inner.release()
        settle(os.fsdecode(nest.slice.directory))
        summary = counts(t, inner, 70, 0, "inner, released")
        check(summary.document["reconcile"]["freed_unmatched"] > 300 * 1000, f"inner: {summary.document['reconcile']}")
        summary = counts(t, outer, 30, 10, "outer, the inner one released")
        check(summary.document["reconcile"]["freed_unmatched"] > 350 * 1000, f"outer: {summary.document['reconcile']}")

        # Stopped, what the inner one knew stays with the outer one, and what it would have counted goes there.
        nest.inner.hold("pipes 40")
        t.client.stop(inner)
        counts(t, outer, 70, 50, "outer, the inner one stopped")
        nest.inner.hold("pipes 5")
        counts(t, outer, 75, 55, "outer, alone")
        nest.inner.release()
        nest.beside.release()
        settle(os.fsdecode(nest.slice.directory))
        counts(t, outer, 75, 0, "outer, all released")
        t.client.stop(outer)


def inner_later_again(t):
    """An outer one that was there all the while has it all, whatever comes and goes below it, cgroups too."""
    with Group(processes=0) as outer_group:
        outer, made = t.client.start(outer_group), 0
        for i in range(5):
            with Group(name=f"container-{i}", parent=os.fsdecode(outer_group.directory), processes=0) as group, Worker(group) as worker:
                worker.hold("pipes 30")
                inner = t.client.start(group)
                worker.hold("pipes 70")
                made += 100
                counts(t, inner, 70, 70, "inner")
                counts(t, outer, made, 100, "outer")
                if i % 2:
                    t.client.stop(inner)
                worker.release()
            counts(t, outer, made, 0, "outer, the inner cgroup removed")
        t.client.stop(*t.client.paths())


# ---- the host -----------------------------------------------------------------------------------------------------------------


def need_counted_host(t):
    if t.client.has_record():
        raise Skip("the host's profile is the kernel's own record here, and nothing of ours")


def host(t, host_first):
    need_counted_host(t)
    with Group(processes=0) as a, Group(processes=0) as b, Worker(a) as first, Worker(b) as second:
        paths = [t.client.start("host")] if host_first else []
        paths += [t.client.start(a), t.client.start(b)]
        paths += [] if host_first else [t.client.start("host")]
        equal(t.client.effective(), "multi", "EffectiveMode")
        first.hold("pipes 400")
        second.hold("pipes 600")
        first.churn("connections 100")  # the softirqs that answer allocate for nobody
        with open("/var/tmp/memcgprof-modes", "wb") as f:
            os.unlink(f.name)
            f.write(b"x" * (1 << 20))
            os.fsync(f.fileno())  # kernel threads allocate
        documents = [explains(t, t.client.start(g), "multi", os.fsdecode(g.directory)) for g in (a, b)]
        whole = t.document(HOST, "multi")
        equal([pipes(d) for d in documents], [400, 600], "pipes of the groups")
        check(pipes(whole) >= 1000, f"the host has {pipes(whole)} pipes of 1000")
        check(pipes(whole, "calls") >= 1000, f"of the host's pipes {pipes(whole, 'calls')} of 1000 live")
        totals = [d.document["totals"] for d in (*documents, whole)]
        for key in ("allocated_bytes", "allocated_calls", "irq_bytes", "kthread_bytes"):
            t.tap.diag(f"{key}: groups {totals[0][key]} and {totals[1][key]}, host {totals[2][key]}")
        for key in ("allocated_bytes", "allocated_calls", "irq_bytes"):
            check(totals[2][key] >= totals[0][key] + totals[1][key], f"{key}: {[each[key] for each in totals]}")
        check(totals[0]["irq_bytes"] > 0, "interrupts allocate nothing in a group")
        check(totals[2]["kthread_bytes"] > 0, "kernel threads allocate nothing on the host")
        equal(totals[0]["kthread_bytes"] + totals[1]["kthread_bytes"], 0, "what kernel threads allocate in groups")
        for kind in ("slab", "page"):
            sums = [each["charged"][kind] for each in totals]
            check(sums[2] >= sums[0] + sums[1] - SLACK, f"charged {kind}: {sums}")
        if host_first:
            t.client.stop(HOST)
            first.hold("pipes 10")
            equal(pipes(explains(t, paths[1], "multi")), 410, "pipes, the host stopped")
        t.client.stop(*t.client.paths())


def single_and_host(t):
    need_counted_host(t)
    with Group(processes=0) as group, Worker(group) as worker:
        t.client.start("host")
        t.document(HOST, "single")
        path = t.client.start(group, "single")
        equal((t.client.paths(), t.client.effective()), ([path], "single"), "who is left, and the mode")
        worker.hold("pipes 100")
        equal(pipes(explains(t, path, "single")), 100, "pipes")
        refused(ERROR + "Busy", [group.path], t.client.start, "host")
        equal(pipes(explains(t, path, "single")), 100, "pipes after a refusal")
        t.client.stop(path)
        t.client.start("host", "single")
        refused(ERROR + "Busy", ["host"], t.client.start, group, "auto")
        t.document(HOST, "single")
        t.client.stop(HOST)


# ---- limits, and what a quiet one says ----------------------------------------------------------------------------------------


def quiet(t):
    """Beside one whose frees are missed and whose programs are skipped, or not: a quiet one has lost nothing of its own."""
    with Group(processes=0) as a, Group(processes=0) as b, Worker(a) as worker, Worker(b) as calm:
        busy_path, path = t.client.start(a), t.client.start(b)
        calm.hold("pipes 20")
        worker.churn("processes 300")
        worker.churn("epoll 2000")
        worker.hold("pipes 1000")
        worker.release()
        busy, document = t.document(busy_path), t.document(path)
        t.tap.diag(f"busy: accurate {busy.document['accurate']}, lost {busy.lost()}; quiet: accurate {document.document['accurate']}, lost {document.lost()}")
        equal([document.document["lost"][k] for k in ("missed_frees", "object_table_full")], [0, 0], "what the quiet one lost")
        skipped = [k for k in ("recursion_misses", "irq_unseen") if document.document["lost"][k]]
        check(document.document["accurate"] or skipped, f"the quiet one is not accurate: lost {document.lost()}")
        t.client.stop(busy_path, path)


def limited(tap, bus_type, options, function):
    with bus_type() as bus, Daemon(bus, *options) as daemon, Client(bus) as client:
        function(Test(tap, bus, daemon, client))


def few_groups(t):
    with Group(processes=0) as a, Group(processes=0) as b, Group(processes=0) as c, Worker(a) as worker:
        paths = [t.client.start(a), t.client.start(b)]
        worker.hold("pipes 100")
        refused(ERROR + "Limit", ["2", "--groups-max"], t.client.start, c)
        if not t.client.has_record():
            refused(ERROR + "Limit", ["2", "--groups-max"], t.client.start, "host")
        equal(pipes(explains(t, paths[0], "multi")), 100, "pipes after a refusal")
        t.client.stop(paths[1])
        t.client.start(c)


def few_sites(t):
    """A full table refuses the next one, and what runs goes on: without names, and without losing a byte."""
    with contextlib.ExitStack() as stack:
        groups = [stack.enter_context(Group(processes=0)) for _ in range(9)]
        workers = [stack.enter_context(Worker(group)) for group in groups[:8]]
        paths = [t.client.start(group) for group in groups[:8]]
        for worker in workers:
            worker.hold("epoll 20")
            worker.churn("connections 5")
            worker.hold("pipes 100")
        message = refused(ERROR + "Limit", ["sites"], t.client.start, groups[8])
        t.tap.diag(message)
        documents = [explains(t, path, "multi") for path in paths]
        lost = [d.document["lost"]["site_table_full"] for d in documents]
        t.tap.diag(f"site_table_full {lost}, rows {[len(d.rows()) for d in documents]}")
        check(lost[-1] > 0, "nothing says that the table is full")
        check(lost[0] < lost[-1], "who came first has lost as many names as who came last")
        accurate = [d.document["accurate"] for d in documents]
        check(not any(n and a for n, a in zip(lost, accurate)), f"a document is accurate although names are missing: {accurate}")


def few_objects(t):
    """Objects that find no room are told: by the totals, their rows, and their own document only."""
    with Group(processes=0) as a, Group(processes=0) as b, Worker(a) as worker:
        path, other = t.client.start(a), t.client.start(b)
        worker.hold("pipes 2000")
        summary, quiet_one = t.document(path), t.document(other)
        totals, lost = summary.document["totals"], summary.document["lost"]["object_table_full"]
        untracked = [row for row in summary.rows() if row["untracked_calls"]]
        t.tap.diag(f"object_table_full {lost}, untracked {totals['untracked_bytes']} bytes at {len(untracked)} rows; "
                   f"unattributed {summary.document['reconcile']['unattributed']}; beside it {quiet_one.lost()}")
        equal(pipes(summary), 2000, "pipes counted")
        check(lost > 2000 and totals["untracked_bytes"] > 1000000, f"lost {lost}, untracked {totals['untracked_bytes']}")
        check(not summary.document["accurate"], "a document is accurate although objects were refused")
        check(all(not row["accurate"] for row in untracked), "a row is accurate although objects were refused")
        kernel = [row for row in summary.rows() if not row["estimated"]]
        check(sum(row["untracked_calls"] for row in kernel) <= lost, "rows tell of more refused objects than the document")
        equal(quiet_one.document["lost"]["object_table_full"], 0, "what the quiet one lost")
        account, charged = summary.document["reconcile"], sum(r["untracked_bytes"] for r in summary.rows() if r["charged"] and r["type"] != "user")
        check(abs(account["unattributed"] - charged) <= account["slack_bytes"] + charged // 100,
              f"{account['unattributed']} bytes are not attributed, {charged} charged ones not tracked")
        worker.release()


def few_stacks(t):
    """Pages whose stacks find no room stay in the totals."""
    with Group(processes=0) as a, Worker(a) as worker:
        path = t.client.start(a, "auto,stacks=all")
        worker.hold("memory 33554432")
        worker.hold("processes 20")
        summary = explains(t, path)
        lost = summary.document["lost"]
        t.tap.diag(f"lost {summary.lost()}; pages {summary.charged('page')}, of them named "
                   f"{sum(r['bytes'] for r in summary.rows() if r['charged'] and r['type'] == 'page' and r['function'])}")
        check(lost["stack_table_full"] > 0 and not summary.document["accurate"], f"lost {summary.lost()}")
        worker.release()


CASES = (
    ("auto switches a hundred times under load", switches),
    ("nested profiles, the outer one first", nested, True),
    ("nested profiles, the inner one first", nested, False),
    ("containers come and go below a profile", inner_later_again),
    ("the host beside two groups, started before them", host, True),
    ("the host beside two groups, started after them", host, False),
    ("single and the host", single_and_host),
    ("a quiet profile loses nothing to a busy one", quiet),
)

LIMITED = (
    ("too few places for groups", ("--groups-max=2",), few_groups),
    ("too few places for sites", ("--sites-max=128",), few_sites),
    ("too few places for objects", ("--objects-max=1024",), few_objects),
    ("too few places for stacks", ("--stacks-max=1",), few_stacks),
)


def tests(tap):
    need_containers()
    wanted = os.environ.get("MEMCGPROF_CASES", "")
    with Bus() as bus, Daemon(bus) as daemon, Client(bus) as client:
        t = Test(tap, bus, daemon, client)
        for name, function, *arguments in CASES:
            if wanted not in name:
                continue
            began = time.monotonic()
            tap.case(name, function, t, *arguments)
            tap.diag(f"{time.monotonic() - began:.1f} s")
            t.client.stop(*client.paths())
    for name, options, function in LIMITED:
        if wanted not in name:
            continue
        began = time.monotonic()
        tap.case(name, limited, tap, Bus, options, function)
        tap.diag(f"{time.monotonic() - began:.1f} s")


main(tests)
