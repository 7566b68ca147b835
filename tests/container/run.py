#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""memcgprof run: a command profiled from its first instruction, without a daemon and without a container."""

import os
import signal
import subprocess

import validate
from container import memory_hierarchy, need_root
from proc import Scratch, built, ended, eventually, run
from tap import Skip, check, equal, main

FILES = 5000


def groups():
    mount, _ = memory_hierarchy()
    return {d for d, _, _ in os.walk(mount) if "memcgprof" in os.path.basename(d)}


def profiled_run(*command, options=(), **kwargs):
    """Runs it; returns (exit status, output, errors). The group must be gone afterwards."""
    before = groups()
    done = run([built("ctl/memcgprof"), "run", *options, "--", *command], 60, **kwargs)
    left = groups() - before
    check(not left, f"cgroups are left: {left}")
    return done.returncode, done.stdout, done.stderr


def exit_status(command, wanted):
    status, _, errors = profiled_run(*command)
    equal(status, wanted, f"exit status of {command} ({errors[-300:]})")


def not_found():
    status, _, errors = profiled_run("/nonexistent/command")
    check(status not in (0, 2), f"exit status {status}")
    check("/nonexistent/command" in errors, f"the sentence does not name it: {errors}")


def document_of(*command, **kwargs):
    with Scratch() as scratch:
        file = f"{scratch}/summary.json"
        status, output, errors = profiled_run(*command, options=(f"--output={file}",), **kwargs)
        equal(status, 0, f"exit status ({errors[-500:]})")
        with open(file, encoding="utf-8") as f:
            return validate.validated(f.read(), "memcgprof.summary"), output


def from_first_instruction():
    """What the command leaves on a tmpfs outlives it, so its site stands first in the last summary."""
    directory = "/dev/shm/memcgprof-run-test"
    os.mkdir(directory)
    try:
        document, output = document_of(built("tests/container/workload"), "--dir", directory, input=f"hold files {FILES}\n")
        equal(output.split(), ["up", "ready"], "what the command itself wrote to standard output")
        profile = document["profile"]
        equal((profile["kind"], profile["from_start"], profile["started_by"]), ("run", True, "cli"), "profile")
        rows = [r for r in document["sites"] if r["charged"] and r["type"] == "slab"]
        equal(rows[0]["function"], "shmem_alloc_inode", "function of the first row")
        check(FILES <= rows[0]["calls"] <= FILES + 10, f"it holds {rows[0]['calls']} objects, {FILES} files are there")
    finally:
        for name in os.listdir(directory):
            os.unlink(f"{directory}/{name}")
        os.rmdir(directory)


def json_on_request():
    status, output, errors = profiled_run("/bin/true", options=("--json",))
    equal(status, 0, f"exit status ({errors})")
    validate.validated(output, "memcgprof.summary")


def table_for_people():
    _, output, errors = profiled_run("/bin/sh", "-c", "echo from the command")
    check("from the command" in output, "the command's own output is missing")
    check("single" in output + errors or "auto" in output + errors, f"no header that names the mode: {output}{errors}")


def interrupted():
    """Ctrl-C on a terminal goes to the whole foreground group: the command ends by it, the summary still comes."""
    before = groups()
    with Scratch() as scratch:
        file = f"{scratch}/summary.json"
        process = subprocess.Popen([built("ctl/memcgprof"), "run", f"--output={file}", "--", "/bin/sh", "-c", "echo up; exec sleep 60"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        try:
            equal(process.stdout.readline(), b"up\n", "the command's first line")
            os.killpg(process.pid, signal.SIGINT)
            check(ended(process, 20), "it did not end within 20 s")
            equal(process.returncode, 128 + signal.SIGINT, "exit status")
            with open(file, encoding="utf-8") as f:
                validate.validated(f.read(), "memcgprof.summary")
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            process.stdout.close()
            process.stderr.close()
    eventually(lambda: not groups() - before, 2, "the group is removed")


def leaves_a_child_behind():
    """The command ends, a child of it goes on: the group is removed all the same, and the child lives."""
    with Scratch() as scratch:
        profiled_run("/bin/sh", "-c", f"sleep 30 >/dev/null 2>&1 & echo $! >{scratch}/pid")
        with open(f"{scratch}/pid", encoding="utf-8") as f:
            pid = int(f.read())
        os.kill(pid, signal.SIGKILL)  # fails when it does not live


def tests(tap):
    need_root()
    if not memory_hierarchy():
        raise Skip("no memory cgroup hierarchy is mounted")
    tap.case("exit status 0 is passed on", exit_status, ("/bin/true",), 0)
    tap.case("exit status 7 is passed on", exit_status, ("/bin/sh", "-c", "exit 7"), 7)
    tap.case("a signal's status is 128 and its number", exit_status, ("/bin/sh", "-c", "kill -TERM $$"), 128 + signal.SIGTERM)
    tap.case("a command that is not there is named", not_found)
    tap.case("profiled from the first instruction, with the expected first row", from_first_instruction)
    tap.case("--json prints the document", json_on_request)
    tap.case("the table has a header", table_for_people)
    tap.case("Ctrl-C reaches the command, the summary still comes", interrupted)
    tap.case("a child that goes on does not hold the group", leaves_a_child_behind)


main(tests)
