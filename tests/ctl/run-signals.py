#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""memcgprof run between a terminal, signals and pipes: every signal reaches the command once, the group always goes."""

import os
import pty
import select
import signal
import subprocess
import time

import validate
from container import memory_cgroup, memory_hierarchy, need_root
from proc import Scratch, built, ended, eventually, need, run
from tap import Failure, Skip, check, equal, main

# Says when it is ready and which signals it gets, and does what it reads. Its child waits so long that its end is no hurry.
# A signal interrupts its reading; the end of the terminal ends it.
COMMAND = """for s in INT TERM HUP QUIT USR1; do trap "echo got $s; signal=yes" $s; done
echo ready
while :; do
  signal=
  read word || { [ "$signal" ] && continue; exit 6; }
  case $word in
  end) exit 5;;
  group) kill -INT 0;;
  child) sh -c 'trap "" INT; kill -INT 0; sleep 2' & ;;
  esac
done"""


def groups():
    """Those of memcgprof run that may be ours: on v1 they are made below this process's own cgroup, on v2 perhaps higher up."""
    mount, version = memory_hierarchy()
    top = memory_cgroup("self") if version == "v1" else mount
    return {d for d, _, _ in os.walk(top) if "memcgprof-run-" in os.path.basename(d)}


class Run:
    """memcgprof run of COMMAND on a terminal of its own, as the foreground process group."""

    def __init__(self, *options, command=COMMAND, shell=()):
        self.arguments = [*shell, built("ctl/memcgprof"), "run", *options, "--", "/bin/sh", "-c", command]

    def __enter__(self):
        self.before = groups()
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execv(self.arguments[0], self.arguments)
        self.seen = b""
        return self

    def __exit__(self, *_):
        os.close(self.terminal)
        if self.pid:  # the case failed; nothing of it may stay
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            for group in groups() - self.before:
                self.clear(group)

    def clear(self, group):
        if not group.endswith(f"memcgprof-run-{self.pid}"):
            return
        with open(f"{group}/cgroup.procs", encoding="ascii") as f:
            pids = [int(line) for line in f]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: not open(f"{group}/cgroup.procs", encoding="ascii").read(), 10, "the group is empty")
        os.rmdir(group)

    def read_until(self, mark, seconds=30):
        end = time.monotonic() + seconds
        while mark not in self.seen:
            ready, _, _ = select.select([self.terminal], [], [], max(0, end - time.monotonic()))
            try:
                chunk = os.read(self.terminal, 65536) if ready else b""
            except OSError:  # EIO: nobody has the terminal any more
                chunk = b""
            if not chunk:
                raise Failure(f"{mark!r} did not come: {self.seen[-1500:]!r}")
            self.seen += chunk

    def type(self, text):
        os.write(self.terminal, text)

    def finish(self):
        """Ends the command by its input; returns the exit status, with everything that came on the terminal in self.seen."""
        self.type(b"end\n")
        self.read_until(b"rows ")
        return self.wait()

    def wait(self):
        pid, self.pid = self.pid, 0
        _, status = os.waitpid(pid, 0)
        left = groups() - self.before
        check(not left, f"groups are left: {left}")
        return os.waitstatus_to_exitcode(status)

    def command_pid(self):
        with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="ascii") as f:
            return int(f.read().split()[0])


def once(what, send):
    """`send` makes signal `what` come about; the command gets it exactly once."""
    with Run() as r:
        r.read_until(b"ready")
        send(r)
        r.read_until(b"got " + what)
        equal(r.finish(), 5, "exit status of the command")
        equal(r.seen.count(b"got "), 1, f"signals that the command got: {r.seen!r}")
        check(b"Kernel memory of the memcg" in r.seen, "the summary is missing")


def once_although_late(what, send):
    """As once(), but this program looks at its own copy of the signal only when the command has handled its: one that is sent
    back arrives as a second one. The SIGTERM behind it is passed on later, so that its arrival says that all was looked at."""
    with Run() as r:
        r.read_until(b"ready")
        os.kill(r.pid, signal.SIGSTOP)
        send(r)
        r.read_until(b"got " + what)
        os.kill(r.pid, signal.SIGTERM)
        os.kill(r.pid, signal.SIGCONT)
        r.read_until(b"got TERM")
        equal(r.finish(), 5, "exit status of the command")
        equal(r.seen.count(b"got " + what), 1, f"signals that the command got: {r.seen!r}")


def after_the_end():
    """Signals that are still waiting when the command has ended do not end this program before its summary and status."""
    with Run(command="echo ready; exec sleep 60") as r:
        r.read_until(b"ready")
        os.kill(r.pid, signal.SIGSTOP)
        command = r.command_pid()
        r.type(b"\x03")
        pidfd = os.pidfd_open(command)
        select.select([pidfd], [], [], 30)
        os.close(pidfd)
        os.kill(r.pid, signal.SIGTERM)
        os.kill(r.pid, signal.SIGCONT)
        r.read_until(b"rows ")
        equal(r.wait(), 128 + signal.SIGINT, "exit status")


def by_kill(number):
    return lambda r: os.kill(r.pid, number)


def to_the_command_only(r):
    os.kill(r.command_pid(), signal.SIGTERM)


def stopped_and_continued():
    """Ctrl-Z under a shell with job control stops both; they go on together."""
    bash = need("bash")
    shell = [bash, "-c", 'set -m; "$@"; echo "job $?"; fg >/dev/null; echo "end $?"', "bash"]
    with Run(command="echo ready; read w; exit 5", shell=shell) as r:
        r.read_until(b"ready")
        r.type(b"\x1a")
        r.read_until(b"job %d" % (128 + signal.SIGTSTP))
        r.type(b"end\n")
        r.read_until(b"end 5")
        check(b"Kernel memory of the memcg" in r.seen, "the summary is missing")
        r.wait()


def keeps_standard_streams():
    done = run([built("ctl/memcgprof"), "run", "--json", "--", "/bin/cat"], 60, input="from standard input\n")
    equal(done.returncode, 0, f"exit status ({done.stderr})")
    first, document = done.stdout.split("\n", 1)
    equal(first, "from standard input", "what cat wrote")
    validate.validated(document, "memcgprof.summary")
    equal(done.stderr, "", "standard error with --json")
    done = run([built("ctl/memcgprof"), "run", "--", "/bin/sh", "-c", "echo out; echo err >&2"], 60)
    equal(done.stdout, "out\n", "standard output without --json is the command's")
    check(done.stderr.startswith("err\n") and "Kernel memory" in done.stderr, f"standard error: {done.stderr[:200]!r}")


def broken_pipe():
    """Nobody reads the summary: the group goes all the same."""
    before = groups()
    reading, writing = os.pipe()
    process = subprocess.Popen([built("ctl/memcgprof"), "run", "--", "/bin/echo", "ran"], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=writing)
    os.close(writing)
    os.close(reading)
    equal(process.stdout.read(), b"ran\n", "output of the command")
    process.stdout.close()
    check(ended(process, 60), "it did not end")
    check(not groups() - before, f"groups are left: {groups() - before}")


def output_that_cannot_be():
    before = groups()
    with Scratch() as directory:
        done = run([built("ctl/memcgprof"), "run", f"--output={directory}/no/file", "--", "touch", f"{directory}/ran"])
        equal(done.returncode, 1, "exit status")
        check(f"{directory}/no/file" in done.stderr and done.stderr.count("\n") == 1, f"sentence: {done.stderr!r}")
        check(not os.path.exists(f"{directory}/ran"), "the command ran without a profile")
        done = run([built("ctl/memcgprof"), "run", "--output=/dev/full", "--", "/bin/true"])
        equal(done.returncode, 1, "exit status when the document could not be written")
        done = run([built("ctl/memcgprof"), "run", "--output=/dev/full", "--", "/bin/sh", "-c", "exit 9"])
        equal(done.returncode, 9, "the command's own status comes first")
        with open(f"{directory}/old", "w", encoding="ascii") as f:
            f.write("x" * 1000000)
        done = run([built("ctl/memcgprof"), "run", f"--output={directory}/old", "--", "/bin/true"])
        with open(f"{directory}/old", encoding="utf-8") as f:
            validate.validated(f.read(), "memcgprof.summary")
    check(not groups() - before, f"groups are left: {groups() - before}")


def refused_before_it_runs():
    before = groups()
    with Scratch() as directory:
        for spec, word in (("multi,stacks=all,required", "stacks=all"), ("off", "off"), ("auto,stacks,required", "stacks")):
            done = run([built("ctl/memcgprof"), "run", f"--spec={spec}", "--", "touch", f"{directory}/ran"])
            equal(done.returncode, 1, f"exit status with the spec {spec}")
            check(word in done.stderr and done.stderr.count("\n") == 1, f"sentence: {done.stderr!r}")
            check(not os.path.exists(f"{directory}/ran"), f"the command ran with the spec {spec}")
    check(not groups() - before, f"groups are left: {groups() - before}")


def inherited_dispositions():
    """nohup's and a shell's background jobs' ignored signals stay ignored for the command, and no mask is left on it."""
    done = subprocess.run([built("ctl/memcgprof"), "run", "--", "grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60,
                          preexec_fn=lambda: [signal.signal(s, signal.SIG_IGN) for s in (signal.SIGHUP, signal.SIGCHLD)])
    equal(done.returncode, 0, f"exit status ({done.stderr})")
    fields = dict(line.split() for line in done.stdout.splitlines())
    equal(int(fields["SigBlk:"], 16), 0, "blocked signals of the command")
    check(int(fields["SigIgn:"], 16) & 1 << (signal.SIGHUP - 1), "SIGHUP is not ignored any more")


def tests(tap):
    need_root()
    if not memory_hierarchy():
        raise Skip("no memory cgroup hierarchy is mounted")
    tap.case("Ctrl-C reaches the command", once, b"INT", lambda r: r.type(b"\x03"))
    tap.case("Ctrl-C is not sent twice", once_although_late, b"INT", lambda r: r.type(b"\x03"))
    tap.case("Ctrl-\\ is not sent twice", once_although_late, b"QUIT", lambda r: r.type(b"\x1c"))
    for name in ("INT", "TERM", "HUP", "USR1"):
        tap.case(f"SIG{name} to memcgprof alone is passed on", once, name.encode(), by_kill(getattr(signal, "SIG" + name)))
    tap.case("SIGTERM to the command alone is its own", once, b"TERM", to_the_command_only)
    tap.case("a signal that the command sends its group is not sent back", once_although_late, b"INT", lambda r: r.type(b"group\n"))
    tap.case("one from a child of the command is not sent back", once_although_late, b"INT", lambda r: r.type(b"child\n"))
    tap.case("signals after the command's end change nothing", after_the_end)
    tap.case("Ctrl-Z stops both", stopped_and_continued)
    tap.case("the command keeps its standard streams", keeps_standard_streams)
    tap.case("the command keeps ignored signals and the mask", inherited_dispositions)
    tap.case("the group goes when nobody reads the summary", broken_pipe)
    tap.case("an output file that cannot be written", output_that_cannot_be)
    tap.case("what cannot be profiled is not run", refused_before_it_runs)


main(tests)
