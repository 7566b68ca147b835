#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which part of the kernel holds the memory? Of no workload more than 5 % of the bytes stand under "other".

The workloads of the residue test, each in a container of its own, and then all of them in one. While held and after the churn:
of what lives and of what was ever allocated (kernel and user pages, charged or not) at most 5 % has no category; the
category that the workload is about is the first of those that grew; and what stands under categories adds up to the totals.

One line each for grep: "categories: WORKLOAD live=… other=… allocated=… other=…", then what the categories hold.
"""

from bus import Bus
from container import need_containers
from daemon import Daemon
from figures import settle
from summary import Summary
from tap import check, main
from workloads import WORKLOADS, profiled_workload

LIMIT = 0.05

# The categories of which one has to hold the most of what a workload makes the kernel hold.
ABOUT = {
    "pipes": {"fs/pipe", "fs"},
    "unix-sockets": {"net", "net/unix"},
    "tmpfs-files": {"fs/tmpfs"},
    "mapping": {"mm"},
    "processes": {"mm", "kernel"},
    "disk-files": {"fs", "fs/ext4", "fs/xfs", "fs/btrfs", "fs/overlayfs", "fs/tmpfs"},
    "epoll": {"fs"},
    "threads": {"kernel"},
    "tcp-connections": {"net", "net/ipv4"},
    "mix": {"mm", "net", "kernel", "fs", "fs/tmpfs", "fs/pipe"},
}
# Several of each kind, in one container that lives on.
MIX = [("hold pipes 2000", "churn pipes 2000"), ("hold sockets 3000", None), ("hold files 3000", "churn files 1000"),
       (f"hold memory {16 << 20}", None), ("hold processes 20", "churn processes 200"), ("hold epoll 1000", "churn epoll 5000"),
       ("hold threads 100", "churn threads 200"), ("hold connections 200", "churn connections 1000")]


def steps():
    for name, step in WORKLOADS.items():
        yield name, [step]
    yield "mix", MIX


class Categories:
    """{category: bytes} of one document that is grouped by them."""

    def __init__(self, bus, box):
        settle(box.cgroup())
        self.summary = Summary.of(bus, box, ("group_by", "s", "category"))
        rows = self.summary.rows()
        self.live = self._sum(rows, "bytes")
        self.allocated = self._sum(rows, "allocated_bytes")
        # by the memcg's own word, and without user pages: what the kernel took for the workload
        self.kernel = self._sum([r for r in rows if r["charged"] and r["type"] != "user"], "bytes")

    @staticmethod
    def _sum(rows, member):
        sums = {}
        for r in rows:
            sums[r["key"]] = sums.get(r["key"], 0) + (r[member] or 0)
        return sums

    def share(self, sums):
        return sums.get("other", 0) / max(sum(sums.values()), 1)


def shown(sums):
    return " ".join(f"{k}={v}" for k, v in sorted(sums.items(), key=lambda kv: -kv[1])[:12])


def measure(tap, bus, name, todo):
    with profiled_workload(bus, name) as box:
        before = Categories(bus, box)
        for hold, _ in todo:
            box.tell(hold, "ready")
        held = Categories(bus, box)
        box.tell("release", "released")
        for _, churn in todo:
            if churn:
                box.tell(churn, "churned", seconds=120)
        after = Categories(bus, box)
        sites = Summary.of(bus, box, ("category", "s", "other")).rows()
    tap.diag(f"categories: {name} live={sum(held.live.values())} other={100 * held.share(held.live):.2f} % "
             f"allocated={sum(after.allocated.values())} other={100 * after.share(after.allocated):.2f} %")
    tap.diag(f"held: {shown(held.live)}")
    tap.diag(f"allocated: {shown(after.allocated)}")
    for r in sorted(sites, key=lambda r: -r["allocated_bytes"])[:6]:
        tap.diag(f"other: {r['allocated_bytes']:>10} {r['type']} {r['key']}")
    return before, held, after


def mostly_known(held, after):
    for what, figures, sums in (("held", held, held.live), ("ever allocated", after, after.allocated)):
        check(figures.share(sums) <= LIMIT, f"{100 * figures.share(sums):.2f} % of what was {what} is under other")


def first(name, before, held):
    grown = {k: v - before.kernel.get(k, 0) for k, v in held.kernel.items()}
    largest = max(grown, key=grown.get)
    check(largest in ABOUT[name], f"most is held by {largest}, wanted one of {', '.join(sorted(ABOUT[name]))}: {shown(grown)}")


def adds_up(*readings):
    for reading in readings:
        totals = reading.summary.document["totals"]
        kernel = [r for r in reading.summary.rows() if r["type"] != "user"]
        for lens, charged in (("charged", True), ("uncharged", False)):
            added = sum(r["bytes"] or 0 for r in kernel if r["charged"] == charged)
            check(added == totals[lens]["kernel_bytes"], f"{lens}: {added} in rows, {totals[lens]['kernel_bytes']} in totals")
        for member in ("allocated_bytes", "allocated_calls", "freed_bytes", "freed_calls", "untracked_bytes", "blind_bytes"):
            added = sum(r[member] for r in kernel if member in r)
            check(added == totals[member], f"{member}: {added} in rows, {totals[member]} in totals")


def tests(tap):
    need_containers()
    with Bus() as bus, Daemon(bus):
        for name, todo in steps():
            readings = tap.case(f"{name}: held, released and churned in a container", measure, tap, bus, name, todo)
            if readings is None:
                continue
            before, held, after = readings
            tap.case(f"{name}: at most 5 % of bytes are under other", mostly_known, held, after)
            tap.case(f"{name}: the category that it is about holds the most", first, name, before, held)
            tap.case(f"{name}: categories add up to the totals", adds_up, before, held, after)


main(tests)
