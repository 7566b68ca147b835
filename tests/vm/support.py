# SPDX-License-Identifier: LGPL-2.1-or-later
"""Support documents of the kernels: recorded, and held against what the tool says of that kernel now."""

import difflib
import json
import os
import re

from tap import Failure, Skip, check

FIXTURES = os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "fixtures", "support")

# Whether some tag of the kernel's is inaccurate depends on how short of memory it has been.
CHANGING = {"allocinfo_accuracy"}


def lasting(document):
    """Lines of what stays the same from run to run and from version to version: not times, sizes, numbers within reasons."""
    kept = {"kernel": {k: v for k, v in document["kernel"].items() if k != "release"},
            "items": [{"name": item["name"]} if item["name"] in CHANGING else {**item, "reason": re.sub(r"[0-9]+", "N", item["reason"])} for item in document["items"]]}
    return json.dumps(kept, indent=1).splitlines()


def compare(path, name, record):
    fixture = os.path.join(FIXTURES, f"{name}.json")
    check(os.path.exists(path) and os.path.getsize(path) > 0, "memcgprof support --json said nothing")
    with open(path, encoding="utf-8") as f:
        got = json.load(f)
    if record:
        with open(fixture, "w", encoding="utf-8") as f:
            json.dump(got, f, indent=1)
            f.write("\n")
        return
    if not os.path.exists(fixture):
        raise Skip(f"none is recorded for {name}")
    with open(fixture, encoding="utf-8") as f:
        wanted = json.load(f)
    difference = list(difflib.unified_diff(lasting(wanted), lasting(got), "recorded", "now", lineterm="", n=4))
    if difference:
        raise Failure("./dev vm --record writes it anew:\n" + "\n".join(difference))
