# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tables: which runs there are (file `matrix`) and which tests a set has (file `sets`)."""

import fnmatch
import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))


def lines(name):
    with open(os.path.join(HERE, name), encoding="utf-8") as f:
        return [line.split() for line in f if line.strip() and not line.startswith("#")]


def runs():
    """{name: {kernel, nodes, set, append}}"""
    return {name: {"kernel": kernel, "nodes": nodes, "set": which, "append": " ".join(more)}
            for name, kernel, nodes, which, *more in lines("matrix")}


def chosen(which, tests):
    """Those of `tests` that are in a set, in its order: what comes first is known first when a run breaks off."""
    patterns = [pattern for name, *words in lines("sets") if name == which for pattern in words]
    taken = []
    for pattern in patterns:
        name, _, case = pattern.partition(":")
        for test in tests:
            if not fnmatch.fnmatch(test["name"], name):
                continue
            if case:
                same = [t for t in taken if t["name"] == test["name"]]
                if not same:
                    taken.append({**test, "command": [*test["command"], case]})
                else:
                    same[0]["command"].append(case)
            elif test["name"] not in {t["name"] for t in taken}:
                taken.append(test)
    return taken


def main(words):
    """Prints the runs that are meant by names of runs or kernels, or all; with --kernels the kernels that they need."""
    kernels = "--kernels" in words
    words = [w for w in words if w != "--kernels"]
    table = runs()
    unknown = [w for w in words if w not in table and w not in {r["kernel"] for r in table.values()}]
    if unknown:
        print(f"no such kernel or run: {', '.join(unknown)} (there are {', '.join(table)})", file=sys.stderr)
        return 2
    taken = [name for name, r in table.items() if not words or name in words or r["kernel"] in words]
    print("\n".join(dict.fromkeys(table[name]["kernel"] for name in taken) if kernels else taken))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
