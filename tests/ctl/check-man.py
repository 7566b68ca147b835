#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Manual pages against the programs: what --help lists, and it is made of the tables that parse, stands in the page; and
nothing stands in the page that the program does not know. The interface's page is held against the introspection data."""

import os
import re
import subprocess
import xml.etree.ElementTree as ElementTree

from proc import SOURCE, built, need, run, Scratch
from tap import check, equal, main

PROGRAMS = {"memcgprof.8": "ctl/memcgprof", "memcgprofd.8": "daemon/memcgprofd", "memcgprof-hook.8": "hooks/memcgprof-hook"}
WIDTH = 80


def page(name):
    """The page as text, escapes resolved as far as names need it."""
    with open(os.path.join(SOURCE, "docs", name), encoding="utf-8") as f:
        return f.read().replace("\\-", "-").replace("\\ ", " ").replace("\\fR", "").replace("\\fB", "").replace("\\fI", "")


def help_of(program):
    done = run([built(program), "--help"])
    equal((done.returncode, done.stderr), (0, ""), f"{program} --help")
    return done.stdout


def long_options(text):
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))


def listed_verbs(text):
    section = text.split("Verbs:\n", 1)[1].split("\n\n", 1)[0]
    return set(re.findall(r"^  ([a-z]+)", section, re.M))


def options_of(name):
    helped, written = long_options(help_of(PROGRAMS[name])), page(name)
    described = written.split(".SH OPTIONS", 1)[1].split(".SH ", 1)[0]
    missing = sorted(helped - long_options(described))
    check(not missing, f"{name} says nothing about {missing}")
    unknown = sorted(long_options(described) - helped)
    check(not unknown, f"{name} describes options that the program does not have: {unknown}")


def short_options():
    letters = re.findall(r"^  (-[a-z]), --([a-z-]+)", help_of(PROGRAMS["memcgprof.8"]), re.M)
    check(len(letters) >= 4, f"the help lists too few short options: {letters}")
    for letter, name in letters:
        lines = [line for line in page("memcgprof.8").splitlines() if f"--{name}" in line and letter in line.split("--")[0]]
        check(lines, f"memcgprof.8 does not have {letter} beside --{name}")


def verbs():
    helped = listed_verbs(help_of(PROGRAMS["memcgprof.8"]))
    section = page("memcgprof.8").split(".SH VERBS", 1)[1].split(".SH ", 1)[0]
    written = set(re.findall(r'^\.TP\n\.[BIR]+ "?([a-z]+)', section, re.M))
    equal(written, helped, "verbs in memcgprof.8")


def interface(name):
    """Every member of the introspection data is in the page's section of that interface, and no other."""
    root = ElementTree.parse(os.path.join(SOURCE, "schemas", f"{name}.xml")).getroot()
    members = {e.get("name") for e in root.find("interface") if e.tag in ("method", "signal", "property")}
    section = page("org.memcgprof1.5").split(f".SH INTERFACE {name}", 1)[1].split(".SH ", 1)[0]
    titles = " ".join(re.findall(r"^\.TP\n(\.BR .*)$", section, re.M))
    written = {w for w in re.findall(r"\b[A-Z][A-Za-z]+\b", titles) if w not in ("BR", "TP")}
    equal(written, members, f"members of {name} in org.memcgprof1.5")


def signatures(name):
    """The signatures in the page are those of the introspection data."""
    text = " ".join(page("org.memcgprof1.5").split())
    root = ElementTree.parse(os.path.join(SOURCE, "schemas", f"{name}.xml")).getroot()
    for method in root.iter("method"):
        arguments = ", ".join(f"{a.get('direction')} {a.get('type')} {a.get('name')}" for a in method.iter("arg"))
        check(f'{method.get("name")} "({arguments})"' in text, f"{method.get('name')}: the page does not say ({arguments})")


def filter_keys():
    section = help_of(PROGRAMS["memcgprof.8"]).split("Filter (", 1)[1]
    keys = {o.strip("-").replace("-", "_") for o in re.findall(r"--[a-z-]+", section)}
    written = page("org.memcgprof1.5").split(".SH FILTER", 1)[1].split(".SH ", 1)[0]
    for key in sorted(keys):
        check(re.search(rf"\b{key}\b", written), f"org.memcgprof1.5 does not have the filter key {key}")


def configuration():
    """memcgprofd.conf.5 has the keys of the table that parses, in their sections, with their defaults."""
    with Scratch() as empty:
        done = run([built("daemon/memcgprofd"), "--show-config", f"--config-root={empty}"])
    equal((done.returncode, done.stderr), (0, ""), "memcgprofd --show-config")
    section, wanted = None, {}
    for line in done.stdout.splitlines():
        if line.startswith("["):
            section = line.strip("[]").upper()
        elif line:
            key, value = line.split("=", 1)
            wanted[section, key] = value or "the daemon chooses"
    check(len(wanted) >= 16, f"too few keys: {sorted(wanted)}")
    written = {}
    for title, text in re.findall(r"^\.SH \[([A-Z]+)\] SECTION$(.*?)(?=^\.SH )", page("memcgprofd.conf.5"), re.M | re.S):
        for key, words in re.findall(r"^\.TP\n\.B (\w+)=$(.*?)(?=^\.TP|\Z)", text, re.M | re.S):
            found = re.search(r"^Default:(?:\n\.BR (\S+) \.| ([\w ]+))", words, re.M)
            written[title, key] = (found.group(1) or found.group(2)) if found else None
    equal(written, wanted, "keys and defaults")


def journal():
    """memcgprofd.8 and the catalog describe the messages of daemon/journal.c."""
    ids = re.compile(r"\b[0-9a-f]{32}\b")
    with open(os.path.join(SOURCE, "daemon/journal.c"), encoding="utf-8") as f:
        source = f.read()
    with open(os.path.join(SOURCE, "daemon/memcgprofd.catalog"), encoding="utf-8") as f:
        catalog = f.read()
    known = ids.findall(source)
    section = page("memcgprofd.8").split(".SH JOURNAL", 1)[1].split(".SH ", 1)[0]
    check(len(known) >= 7 and len(set(known)) == len(known), f"message ids: {known}")
    equal(re.findall(r"^\.B ([0-9a-f]{32})$", section, re.M), known, "messages in memcgprofd.8")
    systemds = "c772d24e9a884cbeb9ea12625c306c01"
    equal(re.findall(r"^-- ([0-9a-f]{32})$", catalog, re.M), [i for i in known if i != systemds], "messages in the catalog")
    fields = set(re.findall(r'"([A-Z_]+)", (?:s->|file|number)', source))
    check("MEMCGPROF_CONTAINER" in fields, f"fields: {fields}")
    for field in sorted(fields) + re.findall(r"@(\w+)@", catalog):
        check(f".B {field}=" in section or f".BR {field}= " in section, f"memcgprofd.8 does not have the field {field}")


def help_width(name):
    wide = [line for line in help_of(PROGRAMS[name]).splitlines() if len(line) > WIDTH]
    check(not wide, f"wider than {WIDTH}: {wide}")


def version(name):
    said = run([built(PROGRAMS[name]), "--version"]).stdout.split()[-1]
    check(f'"memcgprof {said}"' in page(name).splitlines()[1], f"{name} is not of version {said}")


def formats(name):
    groff = need("groff")
    done = subprocess.run([groff, "-man", "-Tutf8", "-ww", "-z", os.path.join(SOURCE, "docs", name)], capture_output=True, text=True,
                          check=False)
    equal((done.returncode, done.stderr), (0, ""), f"groff on {name}")


def tests(tap):
    for name in PROGRAMS:
        tap.case(f"{name} has the options of its program", options_of, name)
        tap.case(f"{name} is of the program's version", version, name)
    tap.case("memcgprof.8 has the verbs of the program", verbs)
    tap.case("memcgprof.8 has the short options beside the long ones", short_options)
    tap.case(f"memcgprof --help fits {WIDTH} columns", help_width, "memcgprof.8")
    tap.case(f"memcgprofd --help fits {WIDTH} columns", help_width, "memcgprofd.8")
    for name in ("org.memcgprof1.Manager", "org.memcgprof1.Profile"):
        tap.case(f"org.memcgprof1.5 has the members of {name}", interface, name)
        tap.case(f"org.memcgprof1.5 has the signatures of {name}", signatures, name)
    tap.case("org.memcgprof1.5 has the filter keys", filter_keys)
    tap.case("memcgprofd.conf.5 has the keys and defaults of memcgprofd", configuration)
    tap.case("memcgprofd.8 and the catalog have the messages of the journal", journal)
    for name in [*PROGRAMS, "memcgprofd.conf.5", "org.memcgprof1.5"]:
        tap.case(f"{name} formats without a warning", formats, name)


main(tests)
