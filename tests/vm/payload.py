# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a run takes along: the installed project, the sources that tests read, the programs of the tests, and which to run.

The programs that a package would hold are taken from `meson install`: in the guest the build directory has links to the
installed ones, so that tests written for a build tree run what users run.
"""

import json
import os
import shutil
import subprocess

HERE = os.path.dirname(os.path.realpath(__file__))
SOURCE = os.path.realpath(os.path.join(HERE, "..", ".."))
INSIDE = "/payload"
INSTALLED = {"daemon/memcgprofd": "libexec/memcgprofd", "hooks/memcgprof-hook": "libexec/memcgprof-hook", "ctl/memcgprof": "bin/memcgprof"}
OTHERS = ("daemon/memcgprofd.service",)


def meson(*arguments):
    return subprocess.run(["meson", *arguments], check=True, capture_output=True, text=True).stdout


def tests_of(build):
    """Tests of the container tier as meson knows them, with the places they have in the guest."""
    found = []
    for test in json.loads(meson("introspect", "--tests", build)):
        suites = {s.split(":")[-1] for s in test["suite"]}
        if not suites & {"container", "rig"}:
            continue
        inside = [place(word, build) for word in test["cmd"]]
        env = {k: place(v, build) for k, v in test["env"].items()}
        found.append({"name": test["name"], "command": inside, "env": env, "timeout": test["timeout"], "rig": "rig" in suites})
    return found


def place(word, build):
    word = os.path.normpath(word) if word.startswith("/") else word  # meson writes BUILD/../tests/...
    return word.replace(build, f"{INSIDE}/build").replace(SOURCE, f"{INSIDE}/src")


def copy_sources(destination):
    names = subprocess.run(["git", "-c", "safe.directory=*", "-C", SOURCE, "ls-files", "-co", "-z", "--exclude-standard", "--",
                            "tests", "schemas", "daemon/*.conf", "docs"], check=True, capture_output=True).stdout
    for name in filter(None, names.decode().split("\0")):
        target = os.path.join(destination, name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if os.path.isfile(os.path.join(SOURCE, name)):
            shutil.copy(os.path.join(SOURCE, name), target)


def copy_programs(build, destination):
    """What the tests run: executables of meson that are not installed, stripped."""
    targets = json.loads(meson("introspect", "--targets", build))
    for target in targets:
        if target["type"] != "executable" or "/tests/" not in target["filename"][0] or "/tests/unit/" in target["filename"][0]:
            continue
        path = os.path.join(destination, os.path.relpath(target["filename"][0], build))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        subprocess.run(["strip", "-o", path, target["filename"][0]], check=True)
    for built, installed in INSTALLED.items():
        os.makedirs(os.path.dirname(os.path.join(destination, built)), exist_ok=True)
        os.symlink(f"/usr/{installed}", os.path.join(destination, built))
    for name in OTHERS:
        shutil.copy(os.path.join(build, name), os.path.join(destination, name))


def make(build, directory, tests):
    """Fills `directory`. tests: entries of tests_of()."""
    environment = {**os.environ, "DESTDIR": f"{directory}/install"}
    subprocess.run(["meson", "install", "-C", build, "--no-rebuild", "--quiet", "--strip"], check=True, env=environment,
                   stdout=subprocess.DEVNULL)
    copy_sources(f"{directory}/src")
    copy_programs(build, f"{directory}/build")
    with open(f"{directory}/tests.json", "w", encoding="utf-8") as f:
        json.dump(tests, f)
    shutil.copy(f"{HERE}/guest/run", f"{directory}/run")
