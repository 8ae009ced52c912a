"""Fixtures: an Identity Center, a workplace with a real AWS CLI; no process is left after a run."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kit.components import need, real
from kit.desk import Desk
from kit.identity_center import IdentityCenter
from kit.machine import Machine
from kit.processes import cli_left, end, of_folder, processes_left, soon
from kit.wire import recordings
from kit.workplace import AWS_V2, ROOT, Workplace
from matrix import Matrix

if TYPE_CHECKING:
    from collections.abc import Iterator

# --- Nothing outlives pytest ------------------------------------------------------------


def is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")  # of pytest-xdist


def pytest_configure(config: pytest.Config) -> None:
    """Put all temporary files of a run, each HOME too, into one folder that identifies them."""
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(real("hypothesis"))
    if not is_worker(config):
        os.environ["TMPDIR"] = tempfile.mkdtemp(prefix="interop-")
        tempfile.tempdir = None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the test file that takes minutes, so that no worker runs it alone at the end."""
    items.sort(key=lambda item: item.path.name != "test_windows_units.py")


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Fail a run that leaves a process, and kill that; remove the files of a successful run."""
    yield
    if is_worker(session.config):
        return
    folder = Path(os.environ["TMPDIR"])
    soon(lambda: not of_folder(folder), 5)
    for process in of_folder(folder):
        print(f"\nLEFT BEHIND by a test: {process.pid} {process.argv}")
        end(process)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if session.exitstatus == pytest.ExitCode.OK:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"\nWhat the tests wrote is in {folder}")


# --- Fixtures ---------------------------------------------------------------------------


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def centre() -> Iterator[IdentityCenter]:
    with IdentityCenter() as centre:
        yield centre


@pytest.fixture(params=AWS_V2)
def aws(request: pytest.FixtureRequest) -> str:
    return need(request.param)


@pytest.fixture
def place(tmp_path: Path, centre: IdentityCenter, aws: str) -> Iterator[Workplace]:
    """A workplace; at the end, no secret is in the server's output and no login runs."""
    place = Workplace(tmp_path, centre, aws)
    yield place
    assert place.secrets_written() == set()
    assert cli_left(place.home) == []


@pytest.fixture
def newest(tmp_path: Path, centre: IdentityCenter) -> Iterator[Workplace]:
    """As `place`, with the newest AWS CLI only."""
    place = Workplace(tmp_path, centre, need("aws-newest"))
    yield place
    assert place.secrets_written() == set()
    assert cli_left(place.home) == []


@pytest.fixture(scope="session")
def matrix() -> Iterator[Matrix]:
    """The results of the client tests, which `matrix.py` prints."""
    matrix = Matrix()
    yield matrix
    matrix.save()


@pytest.fixture
def recorded(newest: Workplace) -> Iterator[Workplace]:
    """As `newest`; at the end, no process is left and all messages match MCP's schemas.

    The simulated user answers no page without being told to.
    """
    for component in ("mcp-1.2", "node-22", "schemas"):
        need(component)
    newest.centre.approval = "ignore"
    yield newest
    assert processes_left(newest.home) == []
    for recording in recordings(newest.wrote):
        for message in recording.messages():
            message.check()


@pytest.fixture
def desk() -> Iterator[Desk]:
    """A temporary HOME with stand-ins for `aws` and the browser; at the end no `aws` runs."""
    desk = Desk()
    desk.setUp()
    home = desk.home.path
    yield desk
    desk.doCleanups()
    assert cli_left(home) == []


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A committed copy of all tracked and new files, and a bare clone as if on GitHub."""
    folder = tmp_path_factory.mktemp("git")
    copy = folder / "aws-sso-mcp"
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(
        listed, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    commands = (
        "git init -q -b main && git add -A && git -c user.name=t -c user.email=t@t commit -qm t",
        f"git clone -q --bare . {folder}/OWNER/aws-sso-mcp.git",
    )
    for command in commands:
        subprocess.run(command, shell=True, cwd=copy, check=True)
    (folder / "gitconfig").write_text(
        f'[url "file://{folder}/"]\n\tinsteadOf = https://github.com/\n[safe]\n\tdirectory = *\n'
    )
    return copy


@pytest.fixture
def machine(tmp_path: Path, checkout: Path) -> Machine:
    machine = Machine(tmp_path, checkout)
    for name in ("home", "bin", "work"):
        (tmp_path / name).mkdir()
    return machine
