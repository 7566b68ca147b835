# SPDX-License-Identifier: LGPL-2.1-or-later
"""Many containers: their bundles share one root file system and one state directory of the runtime."""

import json
import os
import shutil
import subprocess

from container import config, memory_hierarchy
from proc import Scratch, built, need, run


class Crowd:
    def __init__(self, args=("/bin/busybox", "true"), runtime="runc"):
        self.args, self.runtime = list(args), need(runtime)

    def __enter__(self):
        self.scratch = Scratch()
        self.directory = self.scratch.__enter__()
        self.root = f"{self.directory}/rootfs"
        for directory in ("bin", "dev", "proc", "sys", "tmp", "etc"):
            os.makedirs(f"{self.root}/{directory}")
        shutil.copy(need("busybox"), f"{self.root}/bin/busybox")
        shutil.copy(built("tests/container/workload"), f"{self.root}/bin/workload")
        return self

    def bundle(self, container_id, hooks=None, annotations=None):
        """Makes a container's bundle; it is started by spawn()."""
        text = config(self.args, hooks, annotations)
        text["root"]["path"] = self.root
        if memory_hierarchy()[1] == "v2":  # below the caller's own group a leaf could not have controllers
            text["linux"]["cgroupsPath"] = f"/{container_id}"
        os.makedirs(self._bundle(container_id), exist_ok=True)
        with open(f"{self._bundle(container_id)}/config.json", "w", encoding="utf-8") as f:
            json.dump(text, f)

    def _bundle(self, container_id):
        return f"{self.directory}/bundles/{container_id}"

    def command(self, *arguments):
        return [self.runtime, "--root", f"{self.directory}/state", *arguments]

    def spawn(self, container_id, **popen):
        """`run` in the foreground: its status is the container's."""
        popen = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True, **popen}
        return subprocess.Popen(self.command("run", "--bundle", self._bundle(container_id), container_id), **popen)

    def left(self):
        """Ids that the runtime still knows."""
        directory = f"{self.directory}/state"
        return sorted(os.listdir(directory)) if os.path.isdir(directory) else []

    def __exit__(self, *_):
        try:
            for container_id in self.left():
                run(self.command("delete", "--force", container_id))
        finally:
            self.scratch.__exit__()
