#!/usr/bin/env python3
"""Write the pins: the version and the hashes of every file that install.py downloads.

    python3 interop/lock.py [NAME ...]   of all components of kit/components.py, or those named

They are in interop/pins/. The newest versions that kit/components.py allows come from the Python
index and the npm registry of this machine. It needs the component `packaging`, which has uv.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from kit.components import COMPONENTS, InstallError, real, run, say

if TYPE_CHECKING:
    from pathlib import Path

    from kit.components import Pins


def lock(pins: Pins) -> None:
    """Write one file of pins."""
    say(str(pins.path))
    pins.path.parent.mkdir(parents=True, exist_ok=True)
    if pins.path.suffix == ".json":
        lock_npm(pins)
    else:
        lock_python(pins)


def lock_python(pins: Pins) -> None:
    uv = real("packaging") / "bin" / "uv"
    wanted = pins.path.with_suffix(".in")
    wanted.write_text("\n".join(pins.wanted) + "\n")
    options = ["--quiet", "--upgrade", "--generate-hashes", "--no-header"]
    options += ["--annotation-style=line", *pins.target]
    options += [wanted.name, "--output-file", pins.path.name]
    try:
        run(uv, "pip", "compile", *options, cwd=wanted.parent)
    finally:
        wanted.unlink()


def lock_npm(pins: Pins) -> None:
    versions = {}
    for package in pins.wanted:
        name, _, version = package.rpartition("@")
        versions[name] = version
    kind = "dependencies"
    if len(versions) > 1:  # npm leaves out those that are made for another machine
        kind = "optionalDependencies"
    text = json.dumps({"private": True, kind: versions}, indent=2)
    pins.path.with_name("package.json").write_text(text + "\n")
    pins.path.unlink(missing_ok=True)
    options = ["--package-lock-only", "--ignore-scripts", "--no-audit", "--no-fund"]
    # Without the address of the registry: each machine has its own.
    options += ["--omit-lockfile-registry-resolved", "--loglevel=error"]
    run("npm", "install", "--prefix", pins.path.parent, *options)
    drop_missing_packages(pins.path)


def drop_missing_packages(path: Path) -> None:
    """Remove what a package could use but the registry does not have: `npm ci` would want it."""
    content = json.loads(path.read_text())
    packages = content["packages"]
    names = {place.rpartition("node_modules/")[2] for place in packages}
    for package in packages.values():
        optional = package.get("optionalDependencies", {})
        for name in set(optional) - names:
            del optional[name]
    path.write_text(json.dumps(content, indent=2) + "\n")


def main(names: list[str]) -> int:
    """Write the pins of the named components, or of all; return the exit code."""
    try:
        for component in COMPONENTS:
            if component.name in names or not names:
                for pins in component.pins():
                    lock(pins)
    except InstallError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
