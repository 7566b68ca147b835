#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every C file looks as clang-format 14 and .clang-format say (./dev fmt makes it so)."""

import os

from proc import SOURCE, need, run
from tap import Skip, check, main
from tree import files


def formatted():
    tool = need("clang-format")
    version = run([tool, "--version"]).stdout
    if "version 14." not in version:
        raise Skip(f"the style is that of clang-format 14, here is {version.strip()}")
    sources = files("*.c", "*.h")
    check(sources, "no C file found")
    done = run([tool, "--dry-run", "-Werror", *(os.path.join(SOURCE, s) for s in sources)])
    wrong = sorted({line.split(":")[0] for line in done.stderr.splitlines() if ": error:" in line})
    check(done.returncode == 0, "run ./dev fmt for: " + ", ".join(wrong) + done.stderr[-500:])


main(lambda tap: tap.case("C files are formatted", formatted))
