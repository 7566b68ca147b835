#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What holds for every file: a licence line, a bounded length, nothing left for later, clean ends."""

import re

from tap import check, main
from tree import files, read

LINES_MAX = 800
LICENCE = re.compile(r"SPDX-License-Identifier: (\S+)")
NO_COMMENTS = re.compile(r"^(LICENSE$|tests/fixtures/|tests/fuzz/corpus/|oci-hooks\.d/.*\.json(\.in)?$)")
LATER = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")


def all_text():
    """(name, text) of every file that is ours and is text."""
    for name in files():
        if name == "LICENSE" or name.startswith(("tests/fixtures/", "tests/fuzz/corpus/")):
            continue
        yield name, read(name)


def licences():
    wrong = []
    for name in files():
        if NO_COMMENTS.match(name):
            continue
        found = LICENCE.search("\n".join(read(name).splitlines()[:8]))
        wanted = "GPL-2.0-only" if name.endswith(".bpf.c") else "LGPL-2.1-or-later"
        said = found.group(1).rstrip('",') if found else "none"
        both = name.startswith("plugin/bpf/") and said in ("GPL-2.0-only", "LGPL-2.1-or-later")
        if said != wanted and not both:
            wrong.append(f"{name}: {said}, wanted {wanted}")
    check(not wrong, "\n".join(wrong))


def lengths():
    wrong = [f"{n}: {t.count(chr(10))} lines" for n, t in all_text() if t.count("\n") > LINES_MAX]
    check(not wrong, "\n".join(wrong))


def nothing_left():
    wrong = [f"{n}: {m.group(0)}" for n, t in all_text() if (m := LATER.search(t))]
    check(not wrong, "\n".join(wrong))


def ends():
    wrong = []
    for name, text in all_text():
        if text and not text.endswith("\n"):
            wrong.append(f"{name}: no newline at the end")
        wrong += [f"{name}:{i}: white space at the end" for i, line in enumerate(text.split("\n"), 1) if line != line.rstrip()]
    check(not wrong, "\n".join(wrong[:50]))


def tests(tap):
    tap.case("every file has its licence line", licences)
    tap.case(f"no file is longer than {LINES_MAX} lines", lengths)
    tap.case("nothing is left for later", nothing_left)
    tap.case("lines and files end cleanly", ends)


main(tests)
