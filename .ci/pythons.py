#!/usr/bin/env python3
"""Print the paths of the oldest Python from 3.9 on, and of the newest.

Searches PATH, pyenv and interop's component `pythons`; leaves out the version that runs this.
Those in between would take minutes: .github/workflows/ci.yml has them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "interop"))
from kit.components import real

ASK = "import sys; print(*sys.version_info[:2], sys.executable)"


def pythons() -> dict[tuple[int, int], str]:
    folders = [
        Path(folder) for folder in os.environ["PATH"].split(os.pathsep) if folder
    ]
    folders += [
        *sorted(Path.home().glob(".pyenv/versions/*/bin")),
        real("pythons") / "deb/usr/bin",
    ]
    found = {sys.version_info[:2]: sys.executable}
    for folder in folders:
        for python in sorted(folder.glob("python3*")):
            if re.fullmatch(r"python3(\.\d+)?", python.name):
                argv = [python, "-IS", "-c", ASK]
                asked = subprocess.run(
                    argv, capture_output=True, text=True, check=False
                )
                if asked.returncode == 0:
                    major, minor, executable = asked.stdout.split()
                    found.setdefault((int(major), int(minor)), executable)
    return found


if __name__ == "__main__":
    found = pythons()
    supported = sorted(version for version in found if version >= (3, 9))
    for version in sorted({supported[0], supported[-1]} - {sys.version_info[:2]}):
        print(found[version])
