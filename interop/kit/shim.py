"""Let calls of libc fail in one started process: how kit/shim.c is built, controlled and read."""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import shutil
import struct
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).with_name("shim.c")
LIBRARY = "shim.so"
KILL = "KILL"
NO_COMPILER = "not built: no C compiler (cc) on PATH"

# struct control in shim.c: armed, error, first, times, function, failed; then the rows of `seen`.
HEADER = struct.Struct("<4i24si")
ROW = struct.Struct("<24si")
MAX_FUNCTIONS = 40
SIZE = HEADER.size + MAX_FUNCTIONS * ROW.size
ARMED = struct.Struct("<i")


def fingerprint() -> str:
    """Return what identifies the source, so that a changed one is built anew."""
    return hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]


def build(folder: Path) -> str:
    """Build the library into a folder, and return what was built or why it was not."""
    from kit.components import run

    compiler = shutil.which("cc")
    if compiler is None:
        return NO_COMPILER
    options = ("-shared", "-fPIC", "-O1", "-fno-builtin", "-Wall", "-Wextra")
    run(compiler, *options, "-o", folder / LIBRARY, SOURCE, "-ldl", "-lpthread")
    return f"{LIBRARY} {fingerprint()}"


class Fault(NamedTuple):
    """Which calls fail, and how."""

    function: str
    """As in FUNCTIONS of shim.c."""
    error: str
    """The name of an errno, or KILL: then the process is killed at the call."""
    first: int
    """The first call that fails, counted from 1 since the shim was armed."""
    times: int = 1
    """How many calls in a row fail."""

    def __str__(self) -> str:
        """Return a text for messages: `open 3 EMFILE`."""
        text = f"{self.function} {self.first} {self.error}"
        if self.times > 1:
            text += " and all that follow"
        return text


class Shim:
    """The control file of one process, which counts calls only while it is armed."""

    def __init__(self, library: Path, path: Path) -> None:
        self._library = library
        self._path = path
        path.write_bytes(bytes(SIZE))
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), SIZE)

    def environment(self, arm_at: Path | None = None) -> dict[str, str]:
        """Return the variables that load the library, which removes them from the process.

        With `arm_at` it is armed as soon as the process opens this script.
        """
        variables = {"LD_PRELOAD": str(self._library), "SHIM_CONTROL": str(self._path)}
        if arm_at is not None:
            variables["SHIM_ARM_AT"] = str(arm_at)
        return variables

    def prepare(self, fault: Fault) -> None:
        """Choose the calls that fail once the shim is armed."""
        number = 0
        if fault.error != KILL:
            number = getattr(errno, fault.error)
        name = os.fsencode(fault.function)
        HEADER.pack_into(self._shared, 0, 0, number, fault.first, fault.times, name, 0)

    def arm(self) -> None:
        ARMED.pack_into(self._shared, 0, 1)

    def disarm(self) -> None:
        ARMED.pack_into(self._shared, 0, 0)

    def failed(self) -> int:
        """Return how many calls have failed."""
        count: int = HEADER.unpack_from(self._shared, 0)[-1]
        return count

    def calls(self) -> dict[str, int]:
        """Return for each function how often it was called while the shim was armed."""
        counted = {}
        for index in range(MAX_FUNCTIONS):
            name, count = ROW.unpack_from(self._shared, HEADER.size + index * ROW.size)
            if name[0]:
                counted[os.fsdecode(name.rstrip(b"\0"))] = count
        return counted

    def close(self) -> None:
        self._shared.close()
