#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The house keeps its shape: includes point down only, and each foreign library has its rooms."""

import os
import re

from tap import check, main
from tree import files, read

INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.MULTILINE)

# daemon -> report -> summary -> group/site/stack -> cgroup/kernel. A file may include its own rank and what is below.
RANKS = {
    "util": 0,
    "text": 1, "spec": 1, "filter": 1, "category": 1,
    "hierarchy": 2, "cgroup": 2, "memcg": 2, "kernel": 2, "ktypes": 2, "symbol": 2, "allocinfo": 2, "pins": 2,
    "gfp": 3, "tracker": 3, "group": 3, "site": 3, "stack": 3,
    "label": 3, "measure": 4, "names": 4, "sample": 4, "segment": 4, "engine": 4, "summary": 4, "reconcile": 4, "profile": 5,
    "report": 5,
}
ROOMS = ("daemon", "hooks", "ctl")

# Foreign headers: pattern -> where it may stand.
FOREIGN = {
    r"^bpf/(?!shared\.h)|\.skel\.h$": r"^plugin/(tracker-bpf(-group|-load|-pins)?\.[ch]|bpf/)",
    r"^jansson\.h$": r"^(plugin/(report\.[ch]|(segment|profile)-state\.[ch]|cgroup(-bundle)?\.c)|(hooks|ctl|daemon)/.*)$",
    r"^systemd/": r"^(daemon|hooks|ctl)/",
    r"^libcgroup\.h$": r"^plugin/",
}
PRINTING = re.compile(r"\b(printf|puts|putchar|perror|vprintf)\s*\(|\b(stdout|stderr)\b")
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
STRING = re.compile(r'"(\\.|[^"\\])*"')


def sources():
    return [n for n in files("*.c", "*.h") if n.startswith(("plugin/",) + tuple(r + "/" for r in ROOMS))]


def includes(name):
    return [(kind == '"', header) for kind, header in INCLUDE.findall(read(name))]


def rank(path):
    """A file's rank, or None: its noun's, or that of the noun before the dash (cgroup-find belongs to cgroup)."""
    noun = os.path.splitext(os.path.basename(path))[0]
    return RANKS.get(noun, RANKS.get(noun.split("-")[0]))


def plugin_points_down():
    wrong = []
    for name in sources():
        if not name.startswith("plugin/") or name.startswith("plugin/bpf/"):
            continue
        if rank(name) is None:
            wrong.append(f"{name}: has no rank yet; give it one in RANKS")
            continue
        for own, header in includes(name):
            if own and not header.startswith("bpf/") and not header.endswith(".skel.h"):
                if rank(header) is None or rank(header) > rank(name):
                    wrong.append(f"{name}: may not include {header}")
    check(not wrong, "\n".join(wrong))


def rooms_stay_apart():
    plugin_headers = {os.path.basename(n) for n in files("plugin/*.h")}
    wrong = []
    for name in sources():
        room = name.split("/")[0]
        for own, header in includes(name):
            if own and room in ROOMS and not header.endswith(".skel.h"):
                there = set(map(os.path.basename, files(f"{room}/*.h"))) | plugin_headers
                if os.path.basename(header) not in there:
                    wrong.append(f"{name}: {header} is neither its own nor plugin's")
    check(not wrong, "\n".join(wrong))


def foreign_in_their_rooms():
    wrong = []
    for name in sources():
        for _, header in includes(name):
            for pattern, where in FOREIGN.items():
                if re.search(pattern, header) and not re.search(where, name):
                    wrong.append(f"{name}: may not include {header}")
    check(not wrong, "\n".join(wrong))


def plugin_does_not_print():
    wrong = []
    for name in sources():
        if name.startswith("plugin/") and not name.startswith("plugin/bpf/"):
            code = STRING.sub('""', COMMENT.sub("", read(name)))
            wrong += [f"{name}: {m.group(0)}" for m in PRINTING.finditer(code)]
    check(not wrong, "\n".join(wrong))


def tests(tap):
    check(len(sources()) > 10, "the sources were not found")
    tap.case("includes of plugin/ point down", plugin_points_down)
    tap.case("daemon/, hooks/ and ctl/ know plugin/ and themselves only", rooms_stay_apart)
    tap.case("libbpf, jansson, sd-bus and libcgroup stand where they may", foreign_in_their_rooms)
    tap.case("plugin/ does not print", plugin_does_not_print)


main(tests)
