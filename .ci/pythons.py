#!/usr/bin/env python3
"""Print the path of one Python per version from 3.9 on, oldest first.

Searches PATH, pyenv and interop's component `pythons`; leaves out the version that runs this.
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
    found: dict[tuple[int, int], str] = {}
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
    for version, executable in sorted(pythons().items()):
        if version >= (3, 9) and version != sys.version_info[:2]:
            print(executable)
