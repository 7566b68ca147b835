# SPDX-License-Identifier: LGPL-2.1-or-later
"""The files of the repository, as git sees them: tracked ones and new ones, not what is ignored."""

import os
import subprocess

from proc import SOURCE
from tap import Skip


def files(*patterns):
    """Paths relative to the source root, sorted. Whoever runs the tests need not own the checkout."""
    command = ["git", "-c", "safe.directory=*", "-C", SOURCE, "ls-files", "-co", "-z", "--exclude-standard", "--", *patterns]
    try:
        out = subprocess.run(command, check=True, capture_output=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError) as e:
        raise Skip("no git checkout to ask for its files") from e
    names = {n for n in out.decode().split("\0") if n}
    return sorted(n for n in names if os.path.isfile(os.path.join(SOURCE, n)))


def read(name):
    with open(os.path.join(SOURCE, name), encoding="utf-8") as f:
        return f.read()
