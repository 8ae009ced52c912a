#!/usr/bin/env python3
"""Write a version into this checkout, and compare the pins with the newest versions.

    python3 interop/release.py VERSION        write the version everywhere, and print the table
    python3 interop/release.py                print a table of the pins and the newest versions
    python3 interop/release.py --write-pins   write the newest versions into kit/components.py

A version is three numbers, not lower than the last one. Everything must be committed, and
CHANGELOG.md must have an `unreleased` section, which gets the version and today's date. The newest
versions come from the npm registry, the Python index and Debian that this machine is set up for.
A component whose name ends in a number stays on that version line: `mcp-1` on 1.x.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kit import components
from kit.components import COMPONENTS, Apt, InstallError, installed, real, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[1]
JSON = r'(?m)^(\s*"version": ")([^"]+)(?=",$)'
PLACES = {  # pattern with two groups: the text before the version, and the version
    "aws_sso_mcp.py": r'(?m)^(__version__ = ")([^"]+)(?="$)',
    "plugin.json": JSON,
    ".claude-plugin/plugin.json": JSON,
    ".github/server.json": JSON,  # twice
    ".github/mcpb/manifest.json": JSON,
    "docs/alternatives.md": r"(this server, )(\d+\.\d+\.\d+)",
}
UNRELEASED = re.compile(
    r"(?m)^## (\d+\.\d+\.\d+ - unreleased|unreleased)$", re.IGNORECASE
)


# --- The version ------------------------------------------------------------------------


class RefusedError(Exception):
    """The release is refused; the message says why."""


def current() -> str:
    [found] = re.findall(
        PLACES["aws_sso_mcp.py"], (ROOT / "aws_sso_mcp.py").read_text("utf-8")
    )
    return str(found[1])


def numbers(version: str) -> tuple[int, ...]:
    """Return all numbers of a version, for comparing versions."""
    return tuple(map(int, re.findall(r"\d+", version)))


def set_version(version: str) -> list[str]:
    """Write a version everywhere; return the lines that still contain the last one."""
    last = current()
    if not re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}", version):
        raise RefusedError(f"{version!r} is not a version: three numbers, as in 1.2.3")
    if numbers(version) < numbers(last):
        raise RefusedError(f"{version} is lower than {last}")
    if git("status", "--porcelain"):
        raise RefusedError("there are uncommitted changes: see git status")
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    if not UNRELEASED.search(changes):
        raise RefusedError("CHANGELOG.md has no unreleased section: what is new?")
    heading = f"## {version} - {date.today().isoformat()}"  # noqa: DTZ011 - where the user is
    write("CHANGELOG.md", UNRELEASED.sub(heading, changes, count=1))
    for name, pattern in PLACES.items():
        text, count = re.subn(
            pattern, rf"\g<1>{version}", (ROOT / name).read_text(encoding="utf-8")
        )
        write(name, text)
        sys.stdout.write(
            f"{name}: {version}{f', {count} times' if count != 1 else ''}\n"
        )
    others = (":!CHANGELOG.md", ":!interop/pins")  # they have versions of their own
    found = git("grep", "-nwF", last, "--", *others).splitlines()
    return [] if version == last else found


def write(name: str, text: str) -> None:
    (ROOT / name).write_text(text, encoding="utf-8")


def git(*arguments: str) -> str:
    argv = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False).stdout


# --- The pins ---------------------------------------------------------------------------

PIN = re.compile(r"(\S+?)(==|@)(\d[\w.-]*)")  # of the Python index, or of npm


class Pin(NamedTuple):
    """A version that a component requires, or that was installed with it."""

    component: str
    package: str
    pinned: str
    newest: str
    written: bool = True
    """Whether it is written in kit/components.py."""


def pins() -> Iterator[Pin]:
    """Yield all pins, each with the newest version of its line."""
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(pins_of, COMPONENTS):
            yield from found


def pins_of(component: components.Component) -> list[Pin]:
    line = (re.findall(r"-(\d+(?:\.\d+)*)$", component.name) or [""])[0]
    found = []
    for package, sign, pinned in PIN.findall(component.asked):
        if sign == "==":
            versions = of_python_index(component, package)
        else:
            versions = of_npm(package, prereleases="-" in pinned)
        found.append(Pin(component.name, package, pinned, newest(versions, line)))
    if " of " in component.asked and installed(component.name):
        found.append(of_debian(component))
    return found


def newest(versions: Sequence[str], line: str) -> str:
    """Return the newest version of a line; of line `1` the newest 1.x."""
    return max(
        (
            each
            for each in versions
            if f"{each}.".startswith(f"{line}." if line else "")
        ),
        key=numbers,
        default="?",
    )


def of_python_index(component: components.Component, package: str) -> list[str]:
    # The component's own Python sees only versions that support it.
    python = real(component.name) / "bin" / "python"
    argv = (
        python if python.exists() else sys.executable,
        "-m",
        "pip",
        "index",
        "versions",
    )
    [told] = re.findall(r"(?m)^Available versions: (.+)$", run(*argv, package))
    return re.split(r",\s*", told)


def of_npm(package: str, *, prereleases: bool) -> list[str]:
    told = json.loads(run("npm", "view", package, "versions", "--json"))
    versions = [told] if isinstance(told, str) else told
    return [each for each in versions if prereleases or "-" not in each]


def of_debian(component: components.Component) -> Pin:
    package, _, suites = component.asked.partition(" of ")
    with tempfile.TemporaryDirectory() as folder:
        apt = Apt(Path(folder) / "apt", *suites.split(", "))
        names = apt.names(r"^python3\.[0-9]+$") if package == "python3" else [package]
        found = [apt.newest(name).partition("-")[0] for name in names]
    has = re.findall(r"\d+(?:\.\d+)+", components.version(component.name))
    return Pin(component.name, package, " ".join(has), " ".join(found), written=False)


def rewritten(source: str, pin: Pin) -> str:
    """Return the source of the table with a pin set to the newest version."""
    start = source.index(f'"{pin.component}"')
    old = re.compile(rf'(?<=[=@]){re.escape(pin.pinned)}(?=")')
    before = source[:start]
    after = source[start:]
    return before + old.sub(pin.newest, after, count=1)


def write_pins(found: Sequence[Pin]) -> None:
    """Write the newest versions into the table of components."""
    path = Path(components.__file__)
    source = path.read_text(encoding="utf-8")
    for pin in found:
        source = rewritten(source, pin)
    path.write_text(source, encoding="utf-8")
    sys.stdout.write("\nNext, for the hashes: python3 interop/lock.py\n")


def table(found: Sequence[Pin]) -> str:
    lines = [("component", "package", "here", "newest", ""), ("---",) * 5]
    for pin in found:
        if pin.pinned == pin.newest:
            advice = ""
        elif pin.written:
            advice = "old"
        else:
            advice = "install it again"
        lines.append((pin.component, pin.package, pin.pinned, pin.newest, advice))
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "".join(
        f"| {' | '.join(map(str.ljust, line, widths))} |\n" for line in lines
    )


# --- Main -------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("version", nargs="?", metavar="VERSION")
    parser.add_argument(
        "--write-pins", action="store_true", help="write the newest pins"
    )
    parser.add_argument("--no-pins", action="store_true", help="ask no registry")
    options = parser.parse_args()
    try:
        if options.version:
            for line in set_version(options.version):
                sys.stdout.write(f"still contains the last version, check it: {line}\n")
        found = [] if options.no_pins else list(pins())
    except (RefusedError, InstallError) as refused:
        sys.stderr.write(f"{refused}\n")
        return 1
    sys.stdout.write(table(found) if found else "")
    if options.write_pins:
        write_pins([pin for pin in found if pin.written and pin.newest != "?"])
    if options.version:
        tag = f"v{options.version}"
        sys.stdout.write(f"\nNext: git commit -am {tag} && .ci/run && git tag {tag}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
