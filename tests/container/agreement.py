#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Do the sites explain the memory? Four workloads of known size in a container, held against the kernel's own counters.

While held: growth of totals.charged.kernel_bytes equals growth of the memcg's kernel counter, read by this test itself, within
0.1 % or 16 KiB. After release: sites hold at most 0.1 % of what was allocated beyond what the memcg holds itself. The function
that is expected stands first.
"""

from bus import Bus
from container import Container, hook_entry, need_containers
from daemon import Daemon
from figures import Reading, residue
from summary import profiled
from tap import check, main

MAPPING = 64 << 20

# What to hold, and the functions that may hold most of it, by the kernels (6.1 to 7.3) in which they do.
WORKLOADS = {
    "9000 pipes": ("pipes 9000", ("alloc_inode", "new_inode_pseudo", "alloc_pipe_info")),
    "10000 unix sockets": ("sockets 10000", ("sk_prot_alloc", "sock_alloc_inode")),
    "10000 tmpfs files": ("files 10000", ("shmem_alloc_inode",)),
    "a mapping of 64 MiB": (f"memory {MAPPING}", ("pte_alloc_one", "__pte_alloc", "get_page_from_freelist")),
}


class Held:
    """One workload's figures: before, while held, after."""

    def __init__(self, bus, box, what):
        first = Reading(bus, box)
        box.tell("hold " + what, "ready")
        second = Reading(bus, box)
        box.tell("release", "released")
        third, self.residue = residue(bus, box, first)
        self.before, self.counter_before = first.summary, first.counter
        self.held, self.counter_held = second.summary, second.counter
        self.after, self.counter_after = third.summary, third.counter


def tests(tap):
    need_containers()
    with Bus() as bus, Daemon(bus):
        for name, (what, functions) in WORKLOADS.items():
            figures = tap.case(f"{name}: a container is profiled before, while held and after", measure, bus, what)
            if figures is None:
                continue
            tap.case(f"{name}: while held the sites explain the growth", agreement, tap, figures)
            tap.case(f"{name}: at least 99 % of charged slab bytes stand at named functions", named, tap, figures)
            tap.case(f"{name}: the expected function is the first row", first_row, tap, figures, functions)
            tap.case(f"{name}: rows add up to the totals", adds_up, figures)
            tap.case(f"{name}: after release nothing is held that was not there before", released, tap, figures)
            if what.startswith("memory"):
                tap.case(f"{name}: user pages within 1 %", user_pages, tap, figures)


def measure(bus, what):
    hook = hook_entry(bus.address)
    with Container(hooks={"createRuntime": [hook], "poststop": [hook]}, annotations={"org.memcgprof.profile": "auto"}) as box:
        box.start()
        profiled(bus, box)
        return Held(bus, box, what)


def agreement(tap, figures):
    truth = figures.counter_held - figures.counter_before
    ours = figures.held.charged("kernel_bytes") - figures.before.charged("kernel_bytes")
    tap.diag(f"memcg grew by {truth}, sites by {ours}, difference {ours - truth} ({100 * (ours - truth) / max(truth, 1):+.3f} %)")
    tap.diag(f"lost: {figures.held.lost()}")
    check(abs(ours - truth) <= max(0.001 * truth, 16384), "more than 0.1 % and more than 16 KiB apart")


def named(tap, figures):
    slab = [r for r in figures.held.rows() if r["charged"] and r["type"] == "slab"]
    total = sum(r["bytes"] or 0 for r in slab)
    known = sum(r["bytes"] or 0 for r in slab if r["function"])
    tap.diag(f"{known} of {total} bytes, {len(slab)} rows")
    check(total > 0 and known >= 0.99 * total, f"only {known} of {total} bytes have a function")


def first_row(tap, figures, functions):
    growth = figures.held.growth_since(figures.before)
    for key, size in growth[:6]:
        tap.diag(f"{size:>12} {key[0]} ({key[1]})")
    check(growth, "no row grew")
    function = figures.held.function_of(growth[0][0])
    check(function in functions, f"first is {function}, wanted one of {', '.join(functions)}")


def adds_up(figures):
    for document in (figures.before, figures.held, figures.after):
        for kind in ("slab", "page", "percpu"):
            rows = [r for r in document.rows() if r["charged"] and r["type"] == kind]
            said, added = document.charged(kind), sum(r["bytes"] or 0 for r in rows)
            # rows of pages may be samples, their total is none; a sample that was not taken has no error either
            off = 64 << 10 if any(r["estimated"] for r in rows) else 0
            off += 4 * int(sum((r["error_bytes"] or 0) ** 2 for r in rows) ** 0.5)
            check(said is None or abs(said - added) <= off, f"charged {kind} is {said} in totals, {added} in rows, allowed {off}")


def released(tap, figures):
    left = figures.residue
    tap.diag(f"memcg holds {left.memcg} more than before, sites {left.charged} more than that, of {left.allocated}")
    for line in left.sites():
        tap.diag(line)
    check(left.charged <= left.charged_allowance, f"sites hold {left.charged} bytes that the memcg does not")


def user_pages(tap, figures):
    grown = figures.held.charged("user") - figures.before.charged("user")
    tap.diag(f"user pages grew by {grown}, the mapping is {MAPPING} ({100 * (grown - MAPPING) / MAPPING:+.3f} %)")
    check(abs(grown - MAPPING) <= 0.01 * MAPPING, "more than 1 % apart")


main(tests)
