# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a container held and what it let go, by the kernel's own counter and by the sites: readings at rest, and figures of two."""

import re
import time

from container import kernel_bytes
from proc import eventually
from summary import Summary

SLACK = 16384

# Uncharged memory that the kernel itself keeps for a while, and nobody counts: areas of vmalloc whose stacks are gone (purged by
# the thousand), owners' lists of slabs that are partly in use.
KEPT = 192 << 10

# What does live on, by the kernel's own design, and rightly stands there: areas of stacks that vmalloc gives back lazily (1000
# threads: 225 KB), owner vectors of slabs that are used by others too, the caches' own sheaves and lists.
LIVING = re.compile(r"(alloc_vmap_area|__get_vm_area_node|alloc_slab_obj_exts|alloc_empty_sheaf|memcg_list_lru_alloc)\+")

# The allocator itself and what only passes on: a row that names one of these names nobody.
NOBODY = re.compile(
    r"^(_*kv?[mz]?alloc(_\w+)?|_*kvfree\w*|_*krealloc\w*|_*kmem_cache_alloc\w*|_*alloc_(frozen_)?pages\w*|_*folio_alloc\w*"
    r"|vma_alloc_folio\w*|_*get_free_pages|get_zeroed_page|get_page_from_freelist|post_alloc_hook|_*slab_alloc\w*|allocate_slab"
    r"|new_slab|alloc_slab_\w+|_*kmalloc_\w+|_*v[mz]alloc\w*|vm_area_alloc_pages|k?v?memdup\w*|kstr\w*dup\w*|strndup_user"
    r"|mempool_\w*alloc\w*)(_noprof)?$")


def settle(cgroup):
    """Until RCU has freed what it will: the counter stands still for a second."""
    readings = []

    def still():
        readings.append(kernel_bytes(cgroup))
        return len(readings) > 50 and len(set(readings[-50:])) == 1

    eventually(still, 20, "the kernel counter stands still")


class Reading:
    """Both sides at rest: what RCU frees between the two readings would look like a difference."""

    def __init__(self, bus, box):
        cgroup = box.cgroup()
        settle(cgroup)
        self.summary = Summary.of(bus, box)
        self.counter = kernel_bytes(cgroup)
        self.totals = self.summary.document["totals"]
        self.reconcile = self.summary.document["reconcile"]

    def charged(self):
        return self.summary.charged("kernel_bytes")


def by_site(reading, charged):
    """{(key, type): bytes} of kernel rows of one lens whose live bytes are known; estimates are told by their error."""
    rows = {}
    for r in reading.summary.rows():
        if r["charged"] == charged and r["type"] != "user" and not r["blind"] and r["bytes"] is not None:
            key = (r["key"], r["type"])
            rows[key] = rows.get(key, 0) + r["bytes"]
    return rows


def error(reading, charged):
    """Two sigma of all estimated kernel rows of a lens together."""
    squares = sum((r["error_bytes"] or 0) ** 2 for r in reading.summary.rows() if r["charged"] == charged and r["type"] != "user")
    return 2 * int(squares ** 0.5)


def grown(before, after, charged):
    """((key, type), bytes) of what changed, by size."""
    old, new = by_site(before, charged), by_site(after, charged)
    changes = {k: new.get(k, 0) - old.get(k, 0) for k in old.keys() | new.keys()}
    return sorted(((k, v) for k, v in changes.items() if v), key=lambda kv: -abs(kv[1]))


def allocated(before, after, charged):
    def total(reading):
        return sum(r["allocated_bytes"] for r in reading.summary.rows() if r["charged"] == charged and r["type"] != "user")

    return total(after) - total(before)


class Explained:
    """Of the growth between two readings, how much stands at functions that wanted the memory."""

    def __init__(self, before, held):
        self.growth = held.counter - before.counter
        self.named = self._named(held) - self._named(before)
        self.ratio = self.named / self.growth if self.growth else 1.0
        self.unattributed = held.reconcile["unattributed"] - before.reconcile["unattributed"]
        self.allowance = max(SLACK, abs(self.growth) // 100) + error(held, True)

    @staticmethod
    def _named(reading):
        return sum(r["bytes"] or 0 for r in reading.summary.rows()
                   if r["charged"] and r["type"] != "user" and r["function"] and not NOBODY.match(r["function"]))

    def line(self, workload):
        return (f"explained: {workload} growth={self.growth} named={self.named} ratio={self.ratio:.4f} "
                f"unattributed={self.unattributed}")


class Residue:
    """What the sites still hold of what was let go, beyond what the memcg holds itself (caches, negative dentries)."""

    def __init__(self, before, after):
        self.allocated = allocated(before, after, True)
        self.memcg = after.counter - before.counter
        self.charged_sites = grown(before, after, True)
        self.uncharged_sites = grown(before, after, False)
        self.unmatched = after.totals["freed_unmatched"] - before.totals["freed_unmatched"]
        self.charged = after.charged() - before.charged() - self.memcg
        self.uncharged = sum(v for (key, _), v in self.uncharged_sites if v > 0 and not LIVING.match(key))
        self.uncharged_allocated = allocated(before, after, False)
        self.blind = sum(1 for r in after.summary.rows() if r["blind"])
        self.ratio = self.charged / max(self.allocated, 1)
        self.charged_allowance = SLACK + self.allocated // 1000
        self.uncharged_allowance = KEPT + self.uncharged_allocated // 1000 + error(after, False)

    def line(self, workload):
        return (f"residue: {workload} allocated={self.allocated} charged_left={self.charged} ratio={self.ratio:.5f} "
                f"uncharged_left={self.uncharged} blind_rows={self.blind} memcg_left={self.memcg} "
                f"unmatched={self.unmatched} "
                f"uncharged_allocated={self.uncharged_allocated}")

    def sites(self):
        """The sites that hold what is left, as lines."""
        for lens, rows in (("charged", self.charged_sites), ("uncharged", self.uncharged_sites)):
            for (key, kind), size in rows[:6]:
                yield f"left: {size:>10} {lens} {kind} {key}"

    def fine(self):
        return self.charged <= self.charged_allowance and self.uncharged <= self.uncharged_allowance


def residue(bus, box, before, seconds=8):
    """The residue after everything was let go. Some frees are put off by seconds (kfree_rcu), and sweeps come at most every
    two: it is read again until it is fine, or for so long."""
    end = time.monotonic() + seconds
    while True:
        after = Reading(bus, box)
        found = Residue(before, after)
        if found.fine() or time.monotonic() > end:
            return after, found
        time.sleep(1)
