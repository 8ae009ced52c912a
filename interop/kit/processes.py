"""Which processes run for a HOME, and which are left, according to Linux's /proc."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Running(NamedTuple):
    """A process that has not ended."""

    pid: int
    argv: list[str]
    variables: list[str]
    """Its environment at its start."""


def soon(happened: Callable[[], bool], seconds: float = 20) -> bool:
    """Return whether `happened()` becomes true in time, by polling."""
    deadline = time.monotonic() + seconds
    while not (now := happened()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return now


def running() -> Iterator[Running]:
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            variables = (process / "environ").read_text(errors="replace").split("\0")
            argv = (process / "cmdline").read_text(errors="replace").split("\0")
            # A process without a command line is a zombie.
            if argv[0]:
                yield Running(int(process.name), argv[:-1], variables)


def processes(home: Path) -> Iterator[str]:
    """Yield the command lines of all processes of a HOME, without the user's browser."""
    for process in running():
        words = " ".join(process.argv)
        if f"HOME={home}" in process.variables and "person.py" not in words:
            yield words


def cli_processes(home: Path) -> Iterator[str]:
    """Yield the command line of every `aws` of a HOME."""
    for process in running():
        is_aws = any(word.endswith("/aws") for word in process.argv)
        if is_aws and f"HOME={home}" in process.variables:
            yield " ".join(process.argv)


def processes_left(home: Path) -> list[str]:
    """Return the command lines of the processes of a HOME that do not end soon."""
    # What opens the page waits for a user's browser, which may take seconds to end.
    soon(lambda: not list(processes(home)), 10)
    return list(processes(home))


def cli_left(home: Path) -> list[str]:
    """Return the command lines of the `aws` processes of a HOME that do not end soon."""
    soon(lambda: not list(cli_processes(home)), 2)
    return list(cli_processes(home))


def end_processes(home: Path, program: str) -> None:
    """Kill the processes of a program that a test left on purpose."""
    for process in running():
        is_meant = any(word.endswith(f"/{program}") for word in process.argv)
        if is_meant and f"HOME={home}" in process.variables:
            end(process)


def end(process: Running) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)


def of_folder(folder: Path) -> list[Running]:
    """Return the processes that use a folder as HOME, TMPDIR, argument or directory."""
    found = []
    for process in running():
        with contextlib.suppress(OSError):
            words = [
                *process.argv,
                *process.variables,
                str(Path(f"/proc/{process.pid}/cwd").readlink()),
            ]
            if process.pid != os.getpid() and any(
                str(folder) in word for word in words
            ):
                found.append(process)
    return found
