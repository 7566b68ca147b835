#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The unit file: as much confined as systemd can tell without running it, what must be there, and nothing that systemd does not know."""

import os
import re
import shutil

from proc import SOURCE, Scratch, built, need, run
from tap import Failure, Skip, check, equal, main

EXPOSURE_MAX = 2.5
UNIT = "memcgprofd.service"


def lines():
    with open(built(f"daemon/{UNIT}"), encoding="utf-8") as f:
        return [line.strip() for line in f]


def exposure():
    """As `systemd-analyze security` has it, out of the file."""
    analyze = need("systemd-analyze")
    with Scratch() as directory:
        path = shutil.copy(built(f"daemon/{UNIT}"), directory)
        done = run([analyze, "security", "--offline=true", "--no-pager", path])
    if "offline" in done.stderr and done.returncode != 0:
        raise Skip(f"systemd-analyze cannot do it offline: {done.stderr.strip()}")
    found = re.search(r"Overall exposure level for memcgprofd\.service: ([0-9.]+)", done.stdout)
    if not found:
        raise Failure(f"no exposure in what systemd-analyze says: {done.stdout[-500:]}{done.stderr}")
    check(float(found.group(1)) <= EXPOSURE_MAX, f"exposure {found.group(1)}, wanted {EXPOSURE_MAX} at most:\n" + done.stdout)
    return float(found.group(1))


def known():
    """systemd-analyze verify, but for programs and pages that are not installed where the file says."""
    analyze = need("systemd-analyze")
    with Scratch() as directory:
        path = os.path.join(directory, UNIT)
        with open(path, "w", encoding="utf-8") as f:
            f.write("\n".join("ExecStart=/bin/true" if line.startswith("ExecStart=") else line for line in lines()) + "\n")
        done = run([analyze, "verify", "--man=no", "--recursive-errors=no", path])
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if UNIT in line]
    equal(complaints, [], "what systemd says of the unit")


def needs():
    """Exit codes and times that the daemon counts on."""
    unit = lines()
    with open(os.path.join(SOURCE, "daemon/idle.h"), encoding="utf-8") as f:
        again = re.search(r"#define EXIT_AGAIN (\d+)", f.read()).group(1)
    for line in "Type=notify", "BusName=org.memcgprof1", "WatchdogSec=3min", "Restart=on-failure", f"RestartForceExitStatus={again}":
        check(line in unit, f"no {line}")


def names_stay_readable():
    """What either of these does to /proc/kallsyms leaves all sites without a name."""
    unit = lines()
    for key in "ProtectKernelLogs", "ProtectKernelTunables":
        check(not any(re.match(rf"{key}=(yes|true|on|1)", line) for line in unit), f"{key}= hides /proc/kallsyms")
    check(any(line.startswith("CapabilityBoundingSet=") and "CAP_SYSLOG" in line.split("=")[1].split() for line in unit), "no CAP_SYSLOG")


def tests(tap):
    value = tap.case(f"the exposure is {EXPOSURE_MAX} at most", exposure)
    if value is not None:
        tap.diag(f"exposure {value}")
    tap.case("systemd knows every line", known)
    tap.case("the daemon finds what it counts on", needs)
    tap.case("symbols stay readable", names_stay_readable)


main(tests)
