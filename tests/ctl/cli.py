#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command line as a program, without a daemon: help, wrong usage, exit statuses, and the verbs that go on without one."""

import json
import os
import shutil
import socket

import validate
from proc import SOURCE, Scratch, built, run
from tap import Skip, check, equal, main

FIXTURES = os.path.join(SOURCE, "tests", "fixtures", "ctl")
VERBS = ("support", "list", "start", "stop", "off", "show", "report", "run", "allocinfo", "help")


def cli(*arguments, **kwargs):
    return run([built("ctl/memcgprof"), *arguments], 60, **kwargs)


def sentence(done, status, *words):
    """One line on standard error that begins with our name, and nothing on standard output."""
    equal(done.returncode, status, f"exit status ({done.stderr!r})")
    equal(done.stdout, "", "standard output")
    check(done.stderr.startswith("memcgprof: ") and done.stderr.count("\n") == 1, f"not one line of ours: {done.stderr!r}")
    for word in words:
        check(word in done.stderr, f"{word!r} is not named: {done.stderr!r}")


def usage(words, *arguments):
    sentence(cli(*arguments), 2, words)


USAGE = [
    ("verb",),
    ("frobnicate", "frobnicate"),
    ("--frob", "--frob", "list"),
    ("-x", "list", "-x"),
    ("--bus", "list", "--bus"),
    ("no argument", "list", "all"),
    ("TARGET", "show"),
    ("TARGET", "start"),
    ("TARGET", "stop"),
    ("COMMAND", "run", "--"),
    ("--json", "stop", "x", "--json"),
    ("-n", "list", "-n", "5"),
    ("limit", "show", "x", "-n", "0"),
    ("min_size", "show", "x", "-m", "lots"),
    ("sort", "show", "x", "-s", "size"),
    ("min_size", "show", "x", "--min-size=2K", "--max-size=1K"),
    ("bogus", "run", "--spec=bogus", "true"),
    ("needs an ID", "report", "--json"),
    ("needs an ID", "report", "-t"),
    ("--limit", "report", "--type=slab"),
    ("no argument", "allocinfo", "host"),
    ("type", "allocinfo", "--type=slab"),
    ("node", "allocinfo", "--group-by=node"),
    ("--json", "allocinfo", "--tree", "--json"),
    ("--group-by", "show", "x", "-t", "--group-by=file"),
    ("--root", "list", "--root=/"),
    ("frobnicate", "help", "frobnicate"),
    ("\\x1b[2J", "\x1b[2J\n"),
]


def help_texts():
    whole = cli("--help")
    equal((whole.returncode, whole.stderr), (0, ""), "--help")
    for other in (("-h",), ("help",)):
        equal(cli(*other).stdout, whole.stdout, f"help by {other}")
    for verb in VERBS:
        check(f"\n  {verb} " in whole.stdout or f"\n  {verb}\n" in whole.stdout, f"--help does not list {verb}")
        own = cli("help", verb)
        equal((own.returncode, own.stderr), (0, ""), f"help {verb}")
        equal(cli(verb, "--help").stdout, own.stdout, f"help of {verb} both ways")
        check(f"--bus={'ADDRESS'}" in own.stdout, f"the help of {verb} lacks the common options")
        wide = [line for line in own.stdout.splitlines() if len(line) > 80]
        check(not wide, f"wider than 80: {wide}")
    check("--limit" not in cli("help", "list").stdout, "the help of list shows options that list does not take")


def version():
    done = cli("--version")
    equal((done.returncode, done.stderr), (0, ""), "--version")
    check(done.stdout.startswith("memcgprof ") and done.stdout.count("\n") == 1, f"--version says {done.stdout!r}")


def full_device():
    if not os.path.exists("/dev/full"):
        raise Skip("there is no /dev/full")
    done = run(["/bin/sh", "-c", 'exec "$0" --help >/dev/full', built("ctl/memcgprof")])
    sentence(done, 1, "Standard output")


def no_bus(bus):
    for verb in (("list",), ("start", "x"), ("stop", "x"), ("show", "x")):
        sentence(cli(bus, *verb), 1, "no bus", bus.split("=", 2)[2])


def bad_address():
    for address in ("", "tcp:host=localhost,port=1", "unixexec:path=/bin/true", "unix:path=/a;unix:path=/b", "nonsense"):
        sentence(cli(f"--bus={address}", "list"), 1, "address")


def silent_bus(directory):
    """A bus that accepts and says nothing must not hold anybody for ever."""
    path = f"{directory}/silent"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.bind(path)
        s.listen(1)
        sentence(cli(f"--bus=unix:path={path}", "list"), 1, "does not answer")


def support(bus):
    table = cli(bus, "support")
    equal(table.returncode, 0, f"exit status ({table.stderr})")
    check("Probed here" in table.stderr and table.stderr.count("\n") == 1, f"it does not say who probed: {table.stderr!r}")
    check(table.stdout.split("\n\n")[1].startswith("ITEM"), f"no table: {table.stdout!r}")
    document = validate.validated(cli(bus, "support", "--json").stdout, "memcgprof.support")
    for item in document["items"]:
        check(f"\n{item['name']} " in table.stdout, f"the table lacks {item['name']}")


def off(bus, directory):
    state = f"{directory}/off"
    done = cli(bus, "off", f"--state-dir={state}")
    sentence(done, 0, "no bus", "Nothing is attached", state)
    with open(f"{state}/mode", encoding="ascii") as f:
        equal(f.read(), "off\n", "the mode that was noted")
    with open(f"{directory}/file", "w", encoding="ascii"):
        pass
    sentence(cli(bus, "off", f"--state-dir={directory}/file"), 1, f"{directory}/file")


def store(directory, fixture, name, mtime, **profile):
    """Puts a report where the daemon would; later ones are newer."""
    with open(os.path.join(FIXTURES, fixture), encoding="utf-8") as f:
        document = json.load(f)
    document["profile"].update(profile)
    document["summary"]["profile"].update(profile)
    path = f"{directory}/reports/{name}.json"
    with open(path, "w", encoding="utf-8") as f:
        f.write(json.dumps(document) + "\n")
    os.utime(path, (mtime, mtime))
    return json.dumps(document) + "\n"


LONG = "34fc9a6b1c2d" + 52 * "0"
OTHER = "34fc9a6b1c2d" + 52 * "1"


def reports(directory):
    state = f"--state-dir={directory}"
    equal(cli("report", f"--state-dir={directory}/absent").stdout.count("\n"), 1, "a table without rows where there is nothing")
    os.mkdir(f"{directory}/reports")
    store(directory, "report.json", f"{LONG}-20260101T000000Z-11", 1000, id=LONG)
    newest = store(directory, "report.json", f"{LONG}-20260102T000000Z-12", 2000, id=LONG, mode="auto")
    store(directory, "report.json", "a-b-20260101T000000Z-13", 1500, id="a-b")
    store(directory, "report.json", "_2fbox-20260101T000000Z-14", 3000, id="/box", kind="cgroup")
    with open(f"{directory}/reports/broken-20260101T000000Z-15.json", "w", encoding="ascii") as f:
        f.write("{")
    with open(f"{directory}/reports/.tmp-x-20260101T000000Z-15.json", "w", encoding="ascii") as f:
        f.write("{")
    equal(cli("report", LONG, "--json", state).stdout, newest, "the newest report, unchanged")
    equal(cli("report", LONG[:12], "--json", state).stdout, newest, "the same by the first 12 digits")
    equal(cli("report", f"container:{LONG}", "--json", state).stdout, newest, "the same with its kind")
    check("box" in cli("report", "cgroup:/box", state).stdout, "a report of a cgroup")
    equal(cli("report", "a-b", state).returncode, 0, "an id with dashes")
    sentence(cli("report", "a", state), 1, "no report of a")
    sentence(cli("report", LONG[:11], state), 1, "no report")
    sentence(cli("report", f"cgroup:{LONG}", state), 1, "no report")
    sentence(cli("report", "../../etc/passwd", state), 1, "no report")
    sentence(cli("report", "broken", state), 1, "broken")
    store(directory, "report.json", f"{OTHER}-20260101T000000Z-16", 1200, id=OTHER)
    sentence(cli("report", LONG[:12], state), 1, "several")


def report_list(directory):
    state = f"--state-dir={directory}"
    done = cli("report", state)
    equal(done.returncode, 0, f"exit status ({done.stderr})")
    check("broken-20260101T000000Z-15.json" in done.stderr, f"the broken one is not named: {done.stderr!r}")
    rows = [line.split()[-1] for line in done.stdout.splitlines()[1:]]
    equal(rows, ["/box", LONG, "a-b", OTHER, LONG], "ids, newest first")
    cut = cli("report", "-n", "3", state).stdout
    check("3 older ones" in cut or "4 older ones" in cut, f"it does not say how many are hidden: {cut}")


def report_page(directory):
    done = cli("report", LONG, f"--state-dir={directory}", env={**os.environ, "TZ": "UTC"})
    with open(os.path.join(FIXTURES, "report.txt"), encoding="utf-8") as f:
        wanted = f.read().replace("container box", f"container {LONG}").replace("mode          single", "mode          auto")
    equal(done.stdout, wanted, "the page of a report")
    filtered = json.loads(cli("report", LONG, "--function=sk_prot_alloc", "--json", f"--state-dir={directory}").stdout)
    equal([r["function"] for r in filtered["summary"]["sites"]], ["sk_prot_alloc"], "rows that pass the filter")
    equal(filtered["summary"]["filter"], {"function": "sk_prot_alloc"}, "filter as applied")
    equal(validate.errors(filtered), [], "the filtered document")


TAGS = os.path.join(SOURCE, "tests", "fixtures", "allocinfo")


def allocinfo_of(*arguments, kernel="7.2"):
    return validate.validated(cli("allocinfo", "--json", f"--root={TAGS}/{kernel}", *arguments).stdout, "memcgprof.allocinfo")


def allocinfo():
    document = allocinfo_of()
    equal((document["source"], document["content_id"], document["counting"], document["accurate"]), ("text", None, True, False), "head")
    equal((document["total_sites"], len(document["sites"]), document["totals"]["tags"]), (14, 14, 17), "sites, rows and tags")
    row = next(r for r in document["sites"] if r["key"] == "include/linux/seq_file_net.h:12:seq_open_net[nf_conntrack]")
    equal(row, {"key": row["key"], "file": "include/linux/seq_file_net.h", "line": 12, "function": "seq_open_net",
                "module": "nf_conntrack", "category": "net/netfilter", "bytes": 12288, "calls": 3, "accurate": False, "tags": 2}, "a row")
    check(allocinfo_of(kernel="6.12")["accurate"], "format 1.0 knows nothing inaccurate")
    page = cli("allocinfo", f"--root={TAGS}/7.2", "--function=seq_open_net", "-m", "1K").stdout
    check("seq_file_net.h:12 seq_open_net [nf_conntrack] (inaccurate)" in page, f"the page lacks its row: {page}")
    check("min_size=1024" in page and "12.0 KiB in 3 calls, 2 tags" in page, f"the page lacks filter or sum: {page}")


def allocinfo_tree():
    """As alloctop's -t: directories with the sums of what is below, the largest first; -o is taken and changes nothing."""
    page = cli("allocinfo", "-t", "-o", f"--root={TAGS}/7.2").stdout
    rows = [line[22:] for line in page.split("TREE\n")[1].split("\n\n")[0].splitlines()]
    equal(rows[:5], ["mm", "  readahead.c:248 page_cache_ra_unbounded", "  slub.c:2451 alloc_slab_page", "fs", "  dcache.c:1690 __d_alloc"],
          "branches")
    check("78.0 KiB        20  drivers\n  76.0 KiB        19    block\n" in page, f"a branch is not the sum of its rows: {page}")


def allocinfo_filters():
    """Every option does what its name says, and totals are those of what matched."""
    for options, keys in (
            (("--filename=kernel/fork.c",), ["kernel/fork.c:307:alloc_thread_stack_node", "kernel/fork.c:1702:dup_mm"]),
            (("--function=dup_mm",), ["kernel/fork.c:1702:dup_mm"]),
            (("--modname=vmlinux", "-m", "600K", "-s", "c"), ["fs/dcache.c:1690:__d_alloc", "mm/readahead.c:248:page_cache_ra_unbounded",
                                                            "mm/slub.c:2451:alloc_slab_page"]),
            (("--modname=virtio_blk", "--lineno=888"), ["drivers/block/virtio_blk.c:888:virtblk_probe[virtio_blk]"]),
            (("--max-size=-1",), ["kernel/fork.c:1702:dup_mm"]),
            (("--inaccurate=yes", "-n", "1"), ["mm/slub.c:2451:alloc_slab_page"]),
            (("--group-by=file", "-s", "t", "-n", "1"), ["drivers/block/virtio_blk.c"]),
            (("--group-by=category", "-n", "2"), ["mm", "slab"]),
            (("--category=drivers/block",), ["drivers/block/virtio_blk.c:888:virtblk_probe[virtio_blk]"]),
            (("--function=nobody",), [])):
        document = allocinfo_of(*options)
        equal([r["key"] for r in document["sites"]], keys, f"rows for {options}")
        if "-n" not in options:
            equal(document["totals"]["bytes"], sum(r["bytes"] for r in document["sites"]), f"total for {options}")


def allocinfo_refused(directory):
    """Whatever there is not to read, it is one sentence with the reason."""
    def machine(name, files):
        for path, text in files.items():
            os.makedirs(os.path.dirname(f"{directory}/{name}{path}"), exist_ok=True)
            with open(f"{directory}/{name}{path}", "w", encoding="ascii") as f:
                f.write(text)
        return f"--root={directory}/{name}"

    sysctl = "/proc/sys/vm/mem_profiling"
    head = "allocinfo - version: 2.0\n"
    sentence(cli("allocinfo", f"--root={directory}/none"), 1, "CONFIG_MEM_ALLOC_PROFILING")
    sentence(cli("allocinfo", machine("never", {sysctl: "0\n", "/proc/cmdline": "sysctl.vm.mem_profiling=never\n"})), 1, "never")
    sentence(cli("allocinfo", machine("shut", {sysctl: "0\n", "/proc/cmdline": "sysctl.vm.mem_profiling=1\n"})), 1, "shut")
    sentence(cli("allocinfo", machine("wrong", {sysctl: "1\n", "/proc/allocinfo": head + "1 1 a.c:1 func:f \n\x1b[2J\n"})), 1,
             "Line 3", "\\x1b[2J")
    off = cli("allocinfo", machine("off", {sysctl: "0\n", "/proc/allocinfo": head + "1 1 a.c:1 func:f \n"}))
    check("vm.mem_profiling is 0" in off.stdout and "a.c:1 f" in off.stdout, f"it does not say that it is off: {off.stdout!r}")


def not_root(directory):
    """Without root, run says so in one sentence and does not run the command."""
    if os.geteuid() != 0:
        command = [built("ctl/memcgprof")]
    else:
        setpriv = shutil.which("setpriv")
        check(setpriv, "setpriv is not there")
        copy = f"{directory}/memcgprof"  # a place that everybody can reach
        shutil.copy(built("ctl/memcgprof"), copy)
        command = [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", copy]
        os.chmod(directory, 0o755)
    sentence(run([*command, "run", "--", "echo", "ran"]), 1, "root")


def tests(tap):
    for case in USAGE:
        tap.case(f"usage: {ascii(' '.join(case[1:]))}", usage, *case)
    tap.case("help is the same by all its names, of every verb", help_texts)
    tap.case("--version", version)
    tap.case("what could not be written is a failure", full_device)
    with Scratch() as directory:
        bus = f"--bus=unix:path={directory}/nobus"
        tap.case("verbs that need a daemon say that there is no bus", no_bus, bus)
        tap.case("what is no address of a bus is refused", bad_address)
        tap.case("a bus that does not answer is given up", silent_bus, directory)
        tap.case("support without a daemon probes itself and says so", support, bus)
        tap.case("off without a daemon notes the mode", off, bus, directory)
    with Scratch() as directory:
        tap.case("report finds the newest one of an id", reports, directory)
        tap.case("report lists what there is", report_list, directory)
        tap.case("report shows a page, and filters like the daemon", report_page, directory)
    tap.case("allocinfo reads a saved text, as a document and as a page", allocinfo)
    tap.case("allocinfo shows a tree", allocinfo_tree)
    tap.case("allocinfo filters, sorts and groups", allocinfo_filters)
    with Scratch() as directory:
        tap.case("allocinfo says what there is not to read", allocinfo_refused, directory)
    with Scratch() as directory:
        tap.case("run needs root and says so", not_root, directory)


main(tests)
