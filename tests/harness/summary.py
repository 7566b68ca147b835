# SPDX-License-Identifier: LGPL-2.1-or-later
"""Summaries as tests read them: every one is validated before anything is looked up in it."""

import validate
from tap import check


def profiled(bus, box):
    """Object path of a container's profile; fails when it did not begin before the container's first instruction."""
    path = bus.profile_of(f"container:{box.id}")
    document = Summary(bus.summary_text(path)).document
    profile = document["profile"]
    check(profile["from_start"] is True, f"from_start is {profile['from_start']}")
    check((profile["kind"], profile["id"], profile["started_by"]) == ("container", box.id, "hook"), f"profile is {profile}")
    return path


class Summary:
    def __init__(self, text, wanted="memcgprof.summary"):
        self.document = validate.validated(text, wanted)

    @classmethod
    def of(cls, bus, box, *filters):
        return cls(bus.summary_text(bus.profile_of(f"container:{box.id}"), *filters))

    def charged(self, what):
        return self.document["totals"]["charged"][what]

    def lost(self):
        return {k: v for k, v in self.document["lost"].items() if v} or "nothing"

    def rows(self):
        return self.document["sites"]

    def _live(self):
        return {(r["key"], r["type"]): r["bytes"] or 0 for r in self.rows() if r["charged"] and r["type"] != "user"}

    def growth_since(self, older):
        """((key, type), bytes) of charged kernel rows that hold more than in `older`, largest first."""
        then = older._live()
        grown = {k: v - then.get(k, 0) for k, v in self._live().items()}
        return sorted(((k, v) for k, v in grown.items() if v > 0), key=lambda kv: -kv[1])

    def function_of(self, key):
        return next(r["function"] for r in self.rows() if (r["key"], r["type"]) == key)
