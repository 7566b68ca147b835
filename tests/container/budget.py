#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the programs cost is held against CpuBudget=: a profile with all stacks takes samples, then none, says so, and counts on."""

import contextlib
import os

from bus import Bus
from client import Client
from daemon import Daemon
from figures import SLACK, settle
from group import Group
from proc import eventually
from summary import Summary
from tap import Failure, check, equal, main
from worker import Busy, Worker

NAMED = "alloc_pipe_info"


def unavailable(summary):
    return [item["word"] for item in summary.document["profile"].get("unavailable", []) if "CpuBudget" in item["reason"]]


def nameless(summary):
    """Charged pages that no stack names, allocated."""
    return sum(r["allocated_bytes"] for r in summary.rows() if r["type"] == "page" and r["charged"] and not r["function"])


def pages(summary, named):
    """Without kernel stacks, which are known by their tasks."""
    return [r for r in summary.rows() if r["type"] == "page" and r["charged"] and bool(r["function"]) == named
            and r["function"] != "alloc_thread_stack_node"]


class Test:
    def __init__(self, stack, budget):
        self.bus = stack.enter_context(Bus())
        self.daemon = stack.enter_context(Daemon(self.bus))
        self.daemon.stop()
        self.daemon.configure(f"[Profiles]\nCpuBudget={budget}\n")
        self.daemon.start()
        self.client = Client(self.bus)

    def document(self, path):
        return Summary(str(self.client.profile(path, "GetSummary")))


class Forking(Busy):
    """Processes come and go, with their page tables."""

    def _work(self):
        try:
            while not self.enough.is_set():
                self.worker.churn("processes 10")
        except (Failure, OSError, ValueError) as e:
            self.error = e


def explains(t, path, group):
    def fine():
        settle(os.fsdecode(group.directory))
        account = t.document(path).document["reconcile"]
        return abs(account["unattributed"]) <= account["slack_bytes"] + abs(account["growth_bytes"]) // 1000 + SLACK
    eventually(fine, 10, "what is counted does not explain the growth", step=2.1)


def steps_down():
    with contextlib.ExitStack() as stack:
        t = Test(stack, "0.01%")
        group = stack.enter_context(Group(processes=0))
        worker = stack.enter_context(Worker(group))
        path = t.client.start(group, "auto,stacks=all")
        worker.hold("processes 5")  # page tables
        equal(unavailable(t.document(path)), [], "what is missing at first")
        check(pages(t.document(path), True), "no page has a name")
        check(not any(r["estimated"] for r in pages(t.document(path), True)), "with all stacks no row is an estimate")
        with Forking(worker):
            eventually(lambda: "stacks=all" in unavailable(t.document(path)), 60, "it does not step down to samples", step=0.5)
            eventually(lambda: any(r["estimated"] for r in pages(t.document(path), True)), 5, "no page is an estimate", step=0.5)
            eventually(lambda: "stacks" in unavailable(t.document(path)), 60, "it does not step down to none", step=0.5)
        explains(t, path, group)
        before = t.document(path)
        t.daemon.kill()
        t.daemon.start()
        worker.hold("processes 5")
        worker.hold("pipes 400")
        summary = t.document(path)
        equal(unavailable(summary), ["stacks=all", "stacks"], "what is missing, over a restart")
        named = [sum(r["allocated_bytes"] for r in pages(d, True)) for d in (before, summary)]
        equal(named[1], named[0], "bytes of pages with names, which no stack was taken for")
        check(nameless(summary) > nameless(before), "pages without a name are not counted")
        explains(t, path, group)
        slab = {r["calls"] for r in summary.rows() if r["function"] == NAMED and r["type"] == "slab" and r["charged"]}
        check(slab and all(n >= 400 for n in slab), f"objects have their names still, pipes: {slab}")
        words = t.daemon.log_text()
        check("samples instead of all stacks" in words and "no stacks of pages" in words and "CpuBudget=" in words, f"the journal: {words}")
        t.client.stop(path)


def stays():
    """Within its budget nothing is taken away; without one nothing is measured."""
    with contextlib.ExitStack() as stack:
        t = Test(stack, "90%")
        group = stack.enter_context(Group(processes=0))
        worker = stack.enter_context(Worker(group))
        path = t.client.start(group, "auto,stacks=all")
        with Busy(worker):
            with contextlib.suppress(Exception):
                eventually(lambda: unavailable(t.document(path)), 13, "nothing", step=1)
        equal(unavailable(t.document(path)), [], "what is missing")
        t.client.stop(path)


def tests(tap):
    tap.case("all stacks, samples, none", steps_down)
    tap.case("within the budget", stays)


main(tests)
