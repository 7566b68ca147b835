#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The installed project under systemd and a real system bus, in namespaces on the running kernel: the suite `rig` in the `namespace` rig."""

import os
import subprocess
import tempfile

import payload
import vm
from tap import Skip, check, main

HERE = os.path.dirname(os.path.realpath(__file__))


def cases(tap):
    if os.geteuid() != 0:
        raise Skip("needs root")
    build = vm.build_directory()
    vm.have("root")
    out = f"{build}/vm/namespaces"
    tests = [t for t in payload.tests_of(build) if t["rig"]]
    with tempfile.TemporaryDirectory(prefix="memcgprof-vm-") as directory:
        payload.make(build, directory, tests)
        done = subprocess.run([f"{HERE}/namespace", directory, out], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode == vm.UNAVAILABLE:
        raise Skip(done.stderr.strip().removeprefix("vm: "))
    tap.case("systemd ran to its end", check, done.returncode == 0, f"status {done.returncode}: {vm.tail(f'{out}/console')} {vm.tail(f'{out}/log')}")
    vm.results(tap, out, tests)
    tap.diag(f"{vm.read(f'{out}/seconds').strip()} s in all")


if __name__ == "__main__":
    main(cases)
