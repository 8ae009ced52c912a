"""Print one Python for each version from 3.9 on that this machine has, oldest first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FOLDERS = [Path(folder) for folder in os.environ["PATH"].split(os.pathsep) if folder]
FOLDERS += sorted(Path.home().glob(".pyenv/versions/*/bin"))
ASK = "import sys; print(*sys.version_info[:2], sys.executable)"

found: dict[tuple[int, int], str] = {}
for folder in FOLDERS:
    for python in sorted(folder.glob("python3*")):
        if (
            not python.name.removeprefix("python3").lstrip(".").isdigit()
            and python.name != "python3"
        ):
            continue
        asked = subprocess.run(
            [python, "-IS", "-c", ASK], capture_output=True, text=True, check=False
        )
        if asked.returncode == 0:
            major, minor, executable = asked.stdout.split()
            found.setdefault((int(major), int(minor)), executable)
for version, executable in sorted(found.items()):
    if version >= (3, 9) and version != sys.version_info[:2]:
        print(executable)
