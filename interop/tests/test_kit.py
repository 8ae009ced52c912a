"""The kit itself: imports, where components are installed, which Python runs, what is left."""

from __future__ import annotations

import ast
import base64
import functools
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import threading
import zipfile
from concurrent.futures import wait
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import install
import lock
from kit import components
from kit.components import COMPONENTS, PINS, InstallError, find_python, real
from kit.workplace import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from kit.components import Component

INTEROP = ROOT / "interop"


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)


def test_no_test_imports_a_test() -> None:
    tests = list((INTEROP / "tests").glob("*.py"))
    assert len(tests) > 10
    names = {path.stem for path in tests}
    for path in tests:
        assert not names & set(imported(path)), path


def test_one_file_uses_the_unit_tests() -> None:
    using = {
        path.name
        for path in INTEROP.rglob("*.py")
        if "test_aws_sso_mcp" in imported(path)
    }
    assert using == {"desk.py", "test_guard.py"}  # the second one tests them


def test_one_file_knows_the_inside_of_the_server() -> None:
    knowing = {
        path for path in INTEROP.rglob("*.py") if "aws_sso_mcp" in imported(path)
    }
    # The fuzzer imports it first, to instrument it; the benchmark measures its functions.
    assert {path.name for path in knowing} == {
        "inside.py",
        "test_fuzz.py",
        "config_load.py",
    }


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({}, "{home}/.cache/aws-sso-mcp-interop"),
        ({"XDG_CACHE_HOME": "{home}/x"}, "{home}/x/aws-sso-mcp-interop"),
        ({"XDG_CACHE_HOME": "{home}/x", "AWS_SSO_MCP_REAL": "{home}/y"}, "{home}/y"),
    ],
)
def test_components_are_installed_in_the_cache_folder(
    tmp_path: Path, variables: dict[str, str], folder: str
) -> None:
    environment = {
        name: value.format(home=tmp_path) for name, value in variables.items()
    }
    said = subprocess.check_output(
        [sys.executable, INTEROP / "install.py", "--where", "tools"],
        env={"HOME": str(tmp_path), **environment},
        text=True,
    )
    assert said == folder.format(home=tmp_path) + "/tools\n"
    assert list(tmp_path.iterdir()) == []


def test_help_lists_the_components_and_installs_nothing(tmp_path: Path) -> None:
    argv = [sys.executable, str(INTEROP / "install.py"), "--help"]
    environment = {"HOME": str(tmp_path)}
    said = subprocess.check_output(argv, env=environment, text=True)
    assert "install.py [NAME ...]" in said
    assert "aws-newest" in said
    assert list(tmp_path.iterdir()) == []


def test_line_of_progress_is_printed_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = threading.Event()
    waits = []

    def wait_a_moment(coming: dict[Future[bool], str], timeout: float) -> Any:
        waits.append(timeout)
        if len(waits) == 3:
            ended.set()
        return wait(coming, timeout=0.05)

    def bring(_: Component) -> bool:
        return ended.wait(10)

    monkeypatch.setattr(install, "wait", wait_a_moment)
    monkeypatch.setattr(install, "bring", bring)
    monkeypatch.setenv("TMPDIR", os.environ["TMPDIR"])
    assert install.main(["shim"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "..." in line]
    assert len(waits) >= 3
    assert len(lines) == 1


@pytest.mark.parametrize(
    ("minors", "taken"),
    [
        ("3.9 3.10 3.11 3.14", "python3.11"),
        ("3.9 3.12", "python3.12"),
        ("3.14 3.15", "python3.14"),
        ("3.12-without-venv 3.15", "python3.15"),
        (
            "3.9 3.12-without-venv",
            "python3.12 makes no venvs: `apt install python3.12-venv`",
        ),
        ("3.9", "there is no Python of 3.10 or newer on PATH"),
    ],
)
def test_newer_python_is_better_than_none(
    minors: str, taken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for word in minors.split():
        version, _, without = word.partition("-")
        python = tmp_path / f"python{version}"
        code = 1 if without else 0
        python.write_text(f"#!/bin/sh\necho {version[2:]} $0\nexit {code}\n")
        python.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(python))
    if " " not in taken:
        assert find_python(13) == str(tmp_path / taken)
    else:
        with pytest.raises(InstallError, match=re.escape(taken)):
            find_python(13)


def test_each_python_version_is_listed_once() -> None:
    argv = [sys.executable, str(ROOT / ".ci" / "pythons.py")]
    listed = subprocess.check_output(argv, text=True).split()
    ask = "import sys; print(sys.version_info[1])"
    told = [
        subprocess.check_output([python, "-IS", "-c", ask], text=True)
        for python in listed
    ]
    minors = [int(minor) for minor in told]
    assert minors == sorted(set(minors) - {sys.version_info[1]})
    if (real("pythons") / ".version").exists():
        assert max(minors) >= 15


LEAVING = """\
import os, subprocess, sys

def test_left(tmp_path):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"],
                     env={"HOME": str(tmp_path)}, start_new_session=True)

def test_not_left():
    subprocess.Popen([sys.executable, "-c", ""], start_new_session=True)
"""


@pytest.mark.parametrize(("test", "code"), [("test_left", 1), ("test_not_left", 0)])
def test_process_left_by_a_test_fails_the_run(
    tmp_path: Path, test: str, code: int
) -> None:
    path = tmp_path / "test_leaving.py"
    path.write_text(LEAVING)
    folders = (INTEROP / "tests", INTEROP, ROOT)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "conftest", f"{path}::{test}"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout
    assert ("LEFT BEHIND by a test: " in done.stdout) is bool(code)


# --- What is downloaded -----------------------------------------------------------------

# What has no pins: the shim is built from our own source.
UNPINNED = {"shim"}


def test_every_component_has_pins() -> None:
    names = {component.name for component in COMPONENTS}
    assert {path.name for path in PINS.iterdir()} == names - UNPINNED


@pytest.mark.parametrize(
    "path", sorted(PINS.glob("*/*.txt")), ids=lambda path: str(path.relative_to(PINS))
)
def test_every_python_package_has_a_version_and_hashes(path: Path) -> None:
    text = path.read_text().replace("\\\n", "")
    lines = [line for line in text.splitlines() if not line.strip().startswith("#")]
    assert lines
    for line in lines:
        start = r"[\w.\[\]-]+==[\w.]+( ; [^#]+?)?"
        assert re.fullmatch(start + r"(\s+--hash=sha256:[0-9a-f]{64})+", line), line


@pytest.mark.parametrize(
    "path", sorted(PINS.glob("*/package-lock.json")), ids=lambda path: path.parent.name
)
def test_every_npm_package_has_a_version_and_a_hash(path: Path) -> None:
    packages = json.loads(path.read_text())["packages"]
    del packages[""]  # what package.json asks for
    assert packages
    for name, package in packages.items():
        assert package["version"], name
        assert package["integrity"].startswith("sha512-") or "inBundle" in package, name


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: component.name)
def test_pins_are_those_of_the_table(component: components.Component) -> None:
    """After a change of the table: python3 interop/lock.py."""
    texts = [path.read_text() for path in PINS.glob(f"{component.name}/*")]
    for package, version in re.findall(r"(\S+)==(\S+)", component.asked):
        assert any(f"{package.lower()}=={version}" in text for text in texts), package
    for package, version in re.findall(r"(\S+)@(\d\S*)", component.asked):
        assert any(f'"{package}": "{version}"' in text for text in texts), package


def test_python_package_that_was_changed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / "thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        metadata = "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n"
        file.writestr("thing-1.0.dist-info/METADATA", metadata)
        file.writestr("thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n")
        file.writestr("thing-1.0.dist-info/RECORD", "")
    pins = tmp_path / "requirements.txt"
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    pins.write_text(f"thing==1.0 --hash=sha256:{digest}\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    python = Path(sys.executable)
    components.pip(python, "download", pins, "--dest", tmp_path / "good")
    with zipfile.ZipFile(wheel, "a") as file:
        file.writestr("thing.py", "evil = True")
    with pytest.raises(InstallError, match=f"(?s)Expected sha256 {digest}.*Got"):
        components.pip(python, "download", pins, "--dest", tmp_path / "changed")
    assert list((tmp_path / "changed").iterdir()) == []


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """An npm registry: its folder, and its URL."""
    folder = tmp_path / "registry"
    folder.mkdir()
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def publish(folder: Path, url: str, script: str) -> None:
    """Publish version 1.0.0 of the npm package `thing` with a script."""
    archive = folder / "thing.tgz"
    metadata = {"name": "thing", "version": "1.0.0"}
    with tarfile.open(archive, "w:gz") as file:
        for name, text in (("package.json", json.dumps(metadata)), ("x.js", script)):
            content = text.encode()
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(content)
            file.addfile(entry, io.BytesIO(content))
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest())
    dist = {"tarball": f"{url}/thing.tgz", "integrity": f"sha512-{digest.decode()}"}
    about = {
        "name": "thing",
        "dist-tags": {"latest": "1.0.0"},
        "versions": {"1.0.0": {**metadata, "dist": dist}},
    }
    (folder / "thing").write_text(json.dumps(about))


def test_npm_package_that_was_changed_is_refused(
    tmp_path: Path, registry: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, url = registry
    monkeypatch.setattr(components, "PINS", tmp_path / "pins")
    monkeypatch.setattr(components, "REAL", tmp_path / "real")
    monkeypatch.setenv("npm_config_registry", url)
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "first cache"))
    publish(folder, url, "good()")
    component = components.npm_package("thing", "thing@1.0.0")
    for pins in component.pins():
        lock.lock(pins)
    components.install(component)
    installed = tmp_path / "real" / "thing" / "node_modules" / "thing"
    assert (installed / "x.js").read_text() == "good()"
    publish(folder, url, "evil()")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "second cache"))
    with pytest.raises(InstallError, match="Integrity checksum failed"):
        components.install(component)
    assert not installed.exists()


def test_debian_archive_that_nobody_has_signed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "archive" / "dists" / "sid"
    archive.mkdir(parents=True)
    (archive / "Release").write_text("Suite: sid\nComponents: main\n")
    mirror = f"file:{tmp_path}/archive"
    monkeypatch.setattr(components, "debian_mirror", lambda: mirror)
    with pytest.raises(InstallError, match="is not signed"):
        components.Apt(tmp_path / "apt", "sid")
