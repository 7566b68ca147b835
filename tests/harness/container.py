# SPDX-License-Identifier: LGPL-2.1-or-later
"""A container of runc (or crun) with a busybox root file system and the workload, controlled line by line."""

import json
import os
import secrets
import select
import shutil
import subprocess
import time

from proc import PATIENCE, built, ended, need, need_root, run, stop, Scratch
from tap import Failure, Skip

HOOK_PATH_ENV = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]


def need_containers():
    """Skips unless root, a container runtime and a memory cgroup are there. Returns the runtime's path."""
    need_root()
    need("busybox")
    runtime = need("runc")
    if not memory_hierarchy():
        raise Skip("no memory cgroup hierarchy is mounted")
    return runtime


def memory_hierarchy():
    """(mount point, "v1" or "v2") of the hierarchy that has the memory controller, or None."""
    with open("/proc/self/mounts", encoding="utf-8") as f:
        mounts = [line.split()[:4] for line in f]
    for _, mount, kind, options in mounts:
        if kind == "cgroup" and "memory" in options.split(","):
            return mount, "v1"
    for _, mount, kind, _ in mounts:
        if kind == "cgroup2":
            with open(f"{mount}/cgroup.controllers", encoding="utf-8") as f:
                if "memory" in f.read().split():
                    return mount, "v2"
    return None


def memory_cgroup(pid):
    """Directory of a process's memory cgroup."""
    mount, version = memory_hierarchy()
    with open(f"/proc/{pid}/cgroup", encoding="utf-8") as f:
        for line in f:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            if (controllers == "" if version == "v2" else "memory" in controllers.split(",")):
                return mount + path
    raise Failure(f"process {pid} has no memory cgroup")


def kernel_bytes(cgroup):
    """The kernel's own count of charged kernel memory: what the summary is held against."""
    if os.path.exists(f"{cgroup}/memory.kmem.usage_in_bytes"):
        with open(f"{cgroup}/memory.kmem.usage_in_bytes", encoding="utf-8") as f:
            return int(f.read())
    with open(f"{cgroup}/memory.stat", encoding="utf-8") as f:
        return int(dict(line.split() for line in f)["kernel"])


def hook_entry(bus_address, *more, path=None):
    """One entry of hooks.<stage> in config.json."""
    path = path or built("hooks/memcgprof-hook")
    return {"path": path, "args": ["memcgprof-hook", f"--bus={bus_address}", *more], "env": HOOK_PATH_ENV, "timeout": 5}


def config(args, hooks=None, annotations=None):
    """config.json of a container without capabilities and without network, on any hierarchy."""
    namespaces = [{"type": t} for t in ("pid", "ipc", "uts", "mount")]
    mounts = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=1777"]},
    ]
    process = {"terminal": False, "user": {"uid": 0, "gid": 0}, "args": args, "env": ["PATH=/bin"], "cwd": "/", "noNewPrivileges": True}
    return {
        "ociVersion": "1.0.2", "process": process, "root": {"path": "rootfs", "readonly": True}, "hostname": "memcgprof",
        "mounts": mounts, "hooks": hooks or {}, "annotations": annotations or {},
        "linux": {"namespaces": namespaces, "resources": {}},
    }


class Container:
    """Made by `with`, started by start(); removed at the end, whatever happened."""

    def __init__(self, args=("/bin/workload",), hooks=None, annotations=None, runtime="runc", container_id=None, edit=None):
        self.id = container_id or "memcgproftest" + secrets.token_hex(8)
        self.config = config(list(args), hooks, annotations)
        if (memory_hierarchy() or ("", ""))[1] == "v2":  # below the caller's own group a leaf could not have controllers
            self.config["linux"]["cgroupsPath"] = f"/{self.id}"
        if edit:
            edit(self.config)
        self.runtime = need(runtime)
        self.process = None
        self.buffer = b""

    def __enter__(self):
        self.scratch = Scratch()
        self.bundle = self.scratch.__enter__()
        try:
            self._make_bundle()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _make_bundle(self):
        root = f"{self.bundle}/rootfs"
        for directory in ("bin", "dev", "proc", "sys", "tmp", "etc"):
            os.makedirs(f"{root}/{directory}")
        shutil.copy(need("busybox"), f"{root}/bin/busybox")
        os.symlink("busybox", f"{root}/bin/sh")
        shutil.copy(built("tests/container/workload"), f"{root}/bin/workload")
        self.write_config()

    def write_config(self):
        with open(f"{self.bundle}/config.json", "w", encoding="utf-8") as f:
            json.dump(self.config, f)

    def command(self, *arguments):
        return [self.runtime, "--root", f"{self.bundle}/state", *arguments]

    def start(self, seconds=30):
        """Starts it in the foreground; returns the seconds until the workload says "up"."""
        begin = time.monotonic()
        self.errors = open(f"{self.bundle}/stderr", "w+b")
        self.process = subprocess.Popen(self.command("run", "--bundle", self.bundle, self.id),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
                                        start_new_session=True)
        line = self._line(seconds)
        if line != "up":
            raise Failure(f"the container's first word is {line!r}: {self.error_text()}")
        return time.monotonic() - begin

    def run(self, seconds=30):
        """Runs it to its end without talking to it; returns (exit status, output, errors)."""
        done = run(self.command("run", "--bundle", self.bundle, self.id), seconds)
        return done.returncode, done.stdout, done.stderr

    def error_text(self):
        self.errors.seek(0)
        return self.errors.read().decode(errors="backslashreplace").strip()

    def _line(self, seconds):
        end = time.monotonic() + seconds * PATIENCE
        while b"\n" not in self.buffer:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))
            chunk = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not ready:
                raise Failure(f"no answer from the container within {seconds} s: {self.error_text()}")
            if not chunk:
                raise Failure(f"the container ended: {self.error_text()}")
            self.buffer += chunk
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode()

    def tell(self, command, wanted=None, seconds=60):
        """Sends one line to the workload and returns its answer; fails unless it begins with `wanted`."""
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()
        answer = self._line(seconds)
        if answer.startswith("error: ") and "descriptors are needed" in answer:
            raise Skip(f"{command}: {answer}")
        if wanted and not answer.startswith(wanted):
            raise Failure(f"{command}: {answer}")
        return answer

    def end(self, status=0, seconds=30):
        """Lets the workload exit; returns the exit status that the runtime passes on."""
        self.process.stdin.write(f"exit {status}\n".encode())
        self.process.stdin.flush()
        if not ended(self.process, seconds):
            raise Failure(f"the container did not end within {seconds} s")
        return self.process.returncode

    def pid(self):
        """Pid of the container's first process, as the host sees it."""
        done = run(self.command("state", self.id))
        if done.returncode != 0:
            raise Failure(f"no state of {self.id}: {done.stderr.strip()}")
        return json.loads(done.stdout)["pid"]

    def cgroup(self):
        return memory_cgroup(self.pid())

    def __exit__(self, *_):
        try:
            if os.path.isdir(f"{self.bundle}/state/{self.id}"):
                run(self.command("delete", "--force", self.id))
            if self.process:
                if not ended(self.process, 10):
                    stop(self.process)
                self.process.stdin.close()
                self.process.stdout.close()
                self.errors.close()
        finally:
            self.scratch.__exit__()

