#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""./dev demo: a container is profiled from its first instruction to its final report, with the commands a user would type.

Where systemd runs the daemon goes on the system bus, elsewhere on a private one. Nothing stays behind, on whatever way out.
demo.py [RUNTIME], runc unless told otherwise.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "harness"))

from bus import Bus, Signals, SystemBus  # noqa: E402
from container import Container, hook_entry, need_containers  # noqa: E402
from daemon import Daemon  # noqa: E402
from proc import built  # noqa: E402
from tap import Failure, Skip  # noqa: E402

HOLD = ("pipes 3000", "sockets 4000", "files 6000", f"memory {32 << 20}")

FIND = "PROFILE=$(busctl --address=$BUS --json=short call org.memcgprof1 /org/memcgprof1 org.memcgprof1.Manager \\\n" \
       "      GetProfile 'sa{sv}' container:$ID 0 | jq -r '.data[0]')"
SITES = "busctl --address=$BUS call org.memcgprof1 $PROFILE org.memcgprof1.Profile GetSites 'a{sv}' 1 limit u 3"
SUMMARY = "busctl --address=$BUS --json=short call org.memcgprof1 $PROFILE org.memcgprof1.Profile GetSummary 'a{sv}' 0 \\\n" \
          "    | jq -r '.data[0]' | jq -c '.reconcile | {growth_bytes, explained_bytes, explained_ratio, unattributed}'"


def say(text):
    print(f"\n== {text}", flush=True)


class Shell:
    """Shows commands and runs them; variables that they set are kept."""

    def __init__(self, **variables):
        self.variables = variables

    def run(self, command):
        print("$ " + command, flush=True)
        env = {**os.environ, **self.variables, "PATH": f"{os.path.dirname(built('ctl/memcgprof'))}:{os.environ['PATH']}"}
        status = subprocess.run(["bash", "-o", "pipefail", "-ec", command], env=env, stdin=subprocess.DEVNULL, check=False).returncode
        if status != 0:
            raise Failure(f"that command ended with status {status}")

    def set(self, command, name):
        """Runs an assignment `name`=$(...)."""
        print("$ " + command, flush=True)
        out = subprocess.run(["bash", "-o", "pipefail", "-ec", f"{command}; printf %s \"${name}\""], env={**os.environ, **self.variables},
                             stdin=subprocess.DEVNULL, check=True, stdout=subprocess.PIPE, text=True).stdout
        self.variables[name] = out


class Stopping:
    """Signals end the demo by unwinding it: once, and not between starting something and knowing how to end it."""

    NUMBERS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

    def __init__(self):
        self.held, self.pending = False, None
        for number in self.NUMBERS:
            signal.signal(number, self.come)

    def come(self, number, _):
        if self.held:
            self.pending = number
        else:
            self.leave(number)

    def leave(self, number):
        for each in self.NUMBERS:
            signal.signal(each, signal.SIG_IGN)
        sys.exit(128 + number)

    @contextlib.contextmanager
    def hold(self):
        self.held = True
        try:
            yield
        finally:
            self.held = False
        if self.pending:
            self.leave(self.pending)


def choose_bus():
    if os.path.isdir("/run/systemd/system"):
        bus = SystemBus()
        if not bus.taken():
            return bus, "systemd runs here: memcgprofd goes on the system bus, with a policy file for as long as this takes"
        return Bus(), "a memcgprofd is on the system bus already: this one gets a private bus"
    return Bus(), "systemd does not run here: memcgprofd gets a private bus"


def demo(stack, stopping, runtime):
    bus, why = choose_bus()
    say(why)
    with stopping.hold():
        stack.enter_context(bus)
        daemon = stack.enter_context(Daemon(bus))

    say(f"{runtime} starts a container; its hook has it profiled before its first instruction")
    hook = hook_entry(bus.address)
    box = Container(runtime=runtime, hooks={"createRuntime": [hook], "poststop": [hook]}, annotations={"org.memcgprof.profile": "auto"})
    print(f"  container {box.id}")
    print(f'  annotations: {{"org.memcgprof.profile": "auto"}}   hooks: createRuntime, poststop = {hook["path"]}', flush=True)
    with stopping.hold():
        stack.enter_context(box)
        box.start()
    for what in HOLD:
        box.tell("hold " + what, "ready")
    print("  the container now holds " + ", ".join(HOLD), flush=True)

    shell = Shell(BUS=bus.address, ID=box.id, STATE=daemon.state)
    say("who holds its kernel memory? With busctl, typed rows (file, line, function, offset, module, type, charged, bytes, calls ...)")
    shell.set(FIND, "PROFILE")
    shell.run(SITES)
    say("the same as JSON: how much of the kernel's own count do these sites explain?")
    shell.run(SUMMARY)
    say("and with the command line")
    shell.run("memcgprof --bus=$BUS show container:$ID -n 12")

    say("the container ends; its hook says so, and after a settle time the final report is there")
    with stopping.hold():
        finished = stack.enter_context(Signals(bus, "ProfileFinished"))
    box.end()
    _, path = finished.next(30)
    print(f"  ProfileFinished: {path}")
    shell.run("memcgprof --state-dir=$STATE report $ID -n 5")


def main(runtime="runc"):
    stopping = Stopping()
    begin = time.monotonic()
    try:
        with contextlib.ExitStack() as stack:
            need_containers()
            demo(stack, stopping, runtime)
            say("tidying up")
    except (Failure, Skip) as e:
        if stopping.pending:  # it reached what was being started first
            return 128 + stopping.pending
        print(f"demo: {e}", file=sys.stderr)
        return 1
    say(f"done in {time.monotonic() - begin:.0f} s, nothing is left behind")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
