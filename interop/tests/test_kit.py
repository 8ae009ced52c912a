"""The kit itself: imports, where components are installed, which Python runs, what is left."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import threading
from concurrent.futures import wait
from typing import TYPE_CHECKING, Any

import pytest

import install
from kit.components import InstallError, find_python, real
from kit.workplace import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

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
    for path in tests:
        if path.name == "test_guard.py":  # it tests what the unit tests find
            continue
        assert not [
            name for name in imported(path) if name.startswith(("test_", "conftest"))
        ], path


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
