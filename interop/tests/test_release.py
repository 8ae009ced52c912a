"""interop/release.py, on a copy of this checkout."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

import release
from kit import components
from kit.components import need
from kit.inside import VERSION
from release import Pin


@pytest.fixture
def copy(tmp_path: Path, checkout: Path) -> Path:
    """A clone with an unreleased section."""
    copy = tmp_path / "copy"
    subprocess.run(["git", "clone", "-q", checkout, copy], check=True)
    changes = copy / "CHANGELOG.md"
    news = f"## 9.0.0 - unreleased\n\nNew.\n\n## {VERSION} - 2026-11-25"
    changes.write_text(re.sub(r"(?m)^## .*$", news, changes.read_text(), count=1))
    commit(copy)
    return copy


def commit(copy: Path) -> None:
    author = ("-c", "user.name=t", "-c", "user.email=t@t")
    subprocess.run(["git", *author, "commit", "-qam", "t"], cwd=copy, check=True)


def run_release(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "interop/release.py", *arguments, "--no-pins"]
    return subprocess.run(argv, cwd=copy, capture_output=True, text=True, check=False)


def test_release_writes_the_version_everywhere(copy: Path) -> None:
    done = run_release(copy, "9.8.7")
    assert (done.returncode, done.stderr) == (0, "")
    assert "see whether it should" not in done.stdout
    written = subprocess.check_output(["git", "diff", "-U0"], cwd=copy, text=True)
    manifests = [f'"version": "{version}"' for version in (VERSION, "9.8.7")]
    assert [written.count(line) for line in manifests] == [5, 5]
    assert '+__version__ = "9.8.7"\n' in written
    assert f"+## 9.8.7 - {date.today().isoformat()}\n" in written  # noqa: DTZ011
    # The last version may remain in the history, and be one of another package.
    left = subprocess.run(
        ["git", "grep", "-lwF", VERSION, "--", ":!interop/pins"],
        cwd=copy,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert set(left.stdout.split()) <= {"CHANGELOG.md"}
    test = "test_aws_sso_mcp.PromiseTest.test_one_version_everywhere"
    subprocess.run([sys.executable, "-m", "unittest", "-q", test], cwd=copy, check=True)


@pytest.mark.parametrize(
    "version",
    ["", "1", "1.2", "v9.0.0", "9.0.0-rc1", "9.0.0\n", "9.01.0", "latest", "0.0.1"],
)
def test_invalid_version_is_refused(copy: Path, version: str) -> None:
    done = run_release(copy, version or " ")
    assert done.returncode == 1
    assert "is not a version" in done.stderr or "is lower than" in done.stderr
    assert subprocess.check_output(["git", "status", "--porcelain"], cwd=copy) == b""


def test_checkout_with_something_uncommitted_is_refused(copy: Path) -> None:
    (copy / "new").touch()
    done = run_release(copy, "9.8.7")
    assert (done.returncode, "uncommitted changes" in done.stderr) == (1, True)
    assert VERSION in (copy / "plugin.json").read_text()


def test_release_without_changelog_entries_is_refused(copy: Path) -> None:
    assert run_release(copy, "9.8.7").returncode == 0
    commit(copy)
    done = run_release(copy, "9.8.8")
    assert (done.returncode, "what is new" in done.stderr) == (1, True)


# --- Pins -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "newest"),
    [("", "2.10.0"), ("2", "2.10.0"), ("1", "1.30.0"), ("1.2", "1.2.1")],
)
def test_newest_version_of_a_line_is_found(line: str, newest: str) -> None:
    versions = ["1.2.0", "2.9.1", "2.10.0", "1.30.0", "1.2.1", "1.20.0"]
    assert release.newest(versions, line) == newest


def test_every_pin_can_be_updated() -> None:
    source = Path(components.__file__).read_text()
    found = []
    for component in components.COMPONENTS:
        for package, _, pinned in release.PIN.findall(component.asked):
            found.append(Pin(component.name, package, pinned, "9999.9"))
    assert len(found) > 15
    for pin in found:
        source = release.rewritten(source, pin)
    assert source.count("9999.9") == len(found)
    assert not re.search(r'(?:==|@)\d[^"]*(?<!9999\.9)"', source)


def test_release_workflow_uses_the_tested_build_tools() -> None:
    asked = " ".join(component.asked for component in components.COMPONENTS)
    requirements = (release.ROOT / ".github/build-requirements.txt").read_text()
    used = re.findall(r"(?m)^build==\S+", requirements)
    assert len(used) == 1
    assert used[0] in asked


def test_registries_tell_the_newest_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest versions do not matter here; that they can be looked up does."""
    one_of_each_kind = ("mcp-2", "codex", "aws-2.9")
    some = []
    for component in components.COMPONENTS:
        if component.name in one_of_each_kind:
            need(component.name)
            some.append(component)
    monkeypatch.setattr(release, "COMPONENTS", some)
    found = list(release.pins())
    assert len(found) == len(one_of_each_kind)
    assert [pin for pin in found if pin.newest == "?"] == []
    assert release.table(found).count("\n") == len(found) + 2
