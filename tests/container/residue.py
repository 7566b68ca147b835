#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Figures: how much of what a container holds is explained, and how much stays at sites of what it has let go.

Nine workloads in containers through the daemon. Each holds much, lets it go, makes and drops more, one at a time. While held: at
least 99 % of the memcg's growth stands at named functions that are no wrappers. At the end: sites hold at most 0.1 % of all
that was allocated beyond what the memcg holds itself, and outside of blind rows nothing uncharged but an allowance.

One line each for grep: "explained: WORKLOAD growth=… named=…" and "residue: WORKLOAD allocated=… charged_left=…".
"""

import os

from bus import Bus
from container import need_containers
from daemon import Daemon
from figures import Explained, Reading, residue
from tap import check, main
from workloads import WORKLOADS, profiled_workload


def measure(tap, bus, name, hold, churn):
    with profiled_workload(bus, name) as box:
        before = Reading(bus, box)
        box.tell(hold, "ready")
        held = Reading(bus, box)
        box.tell("release", "released")
        if churn:
            box.tell(churn, "churned", seconds=120)
        after, left = residue(bus, box, before)
    explained = Explained(before, held)
    tap.diag(explained.line(name))
    tap.diag(left.line(name))
    for line in left.sites():
        tap.diag(line)
    tap.diag(f"lost: {after.summary.lost()}")
    return explained, left


def is_explained(explained):
    check(explained.growth > 1 << 16, f"the memcg grew by {explained.growth} only")
    check(abs(explained.growth - explained.named) <= explained.allowance,
          f"of {explained.growth} bytes of growth {explained.named} stand at named functions, allowance {explained.allowance}")


def charged_is_gone(left):
    check(left.charged <= left.charged_allowance,
          f"sites hold {left.charged} charged bytes that the memcg does not, of {left.allocated}; allowance {left.charged_allowance}")


def uncharged_is_gone(left):
    check(left.uncharged <= left.uncharged_allowance,
          f"{left.uncharged} uncharged bytes are left of {left.uncharged_allocated}; allowance {left.uncharged_allowance}")


def tests(tap):
    need_containers()
    wanted = os.environ.get("MEMCGPROF_WORKLOADS", "").split()
    with Bus() as bus, Daemon(bus):
        for name, (hold, churn) in WORKLOADS.items():
            if wanted and name not in wanted:
                continue
            figures = tap.case(f"{name}: held, released and churned in a container", measure, tap, bus, name, hold, churn)
            if figures is None:
                continue
            explained, left = figures
            tap.case(f"{name}: while held, 99 % of the growth stands at named functions", is_explained, explained)
            tap.case(f"{name}: at most 0.1 % of charged bytes is left that the memcg does not hold", charged_is_gone, left)
            tap.case(f"{name}: nothing uncharged is left outside of blind rows", uncharged_is_gone, left)


main(tests)
