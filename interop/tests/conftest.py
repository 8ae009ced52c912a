"""Fixtures: an Identity Center, and a workplace with one of the real AWS CLIs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kit.components import need
from kit.desk import Desk
from kit.identity_center import IdentityCenter
from kit.processes import cli_left, processes_left
from kit.wire import recordings
from kit.workplace import Workplace
from matrix import Matrix

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AWS_V2 = ("aws-2.9", "aws-2.23", "aws-newest")


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
    """A workplace; in the end no secret stands in what the server wrote, and no login runs."""
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
    """Where tests of clients write what they measured; `matrix.py` prints it."""
    matrix = Matrix()
    yield matrix
    matrix.save()


@pytest.fixture
def recorded(newest: Workplace) -> Iterator[Workplace]:
    """As `newest`; in the end no process is left, and what the server wrote is as MCP wants it.

    Nobody answers a page by himself.
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
    """A throw-away HOME with stand-ins for `aws` and the browser; in the end no `aws` runs."""
    desk = Desk()
    desk.setUp()
    home = desk.home.path
    yield desk
    desk.doCleanups()
    assert cli_left(home) == []
