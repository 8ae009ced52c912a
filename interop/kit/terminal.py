"""A terminal for programs that users run in one: a pty, and what its screen shows."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from typing import TYPE_CHECKING

import pyte
from ptyprocess import PtyProcess

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

ROWS = 50
TIMEOUT_S = 30  # a host takes seconds to start on a busy machine
QUIET_S = 0.3

ENTER = "\r"
ESCAPE = "\x1b"
RIGHT = "\x1b[C"
DOWN = "\x1b[B"


class Terminal:
    """A program in a terminal of so many columns.

    A thread reads what the program writes and draws it; `_drawn` guards the screen and is
    notified of each change. The thread ends with the program; `close` waits for it.
    """

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        columns: int,
    ) -> None:
        self._screen = pyte.Screen(columns, ROWS)
        self._stream = pyte.ByteStream(self._screen)
        self._drawn = threading.Condition()
        self._drawn_at = time.monotonic()
        self._has_ended = False
        self._process = PtyProcess.spawn(
            list(argv),
            cwd=str(folder),
            env={"TERM": "xterm-256color", "COLORTERM": "truecolor", **environment},
            dimensions=(ROWS, columns),
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                written = self._process.read(65536)
                with self._drawn:
                    self._stream.feed(written)
                    self._drawn_at = time.monotonic()
                    self._drawn.notify_all()
        with self._drawn:
            self._has_ended = True
            self._drawn.notify_all()

    # --- What it shows

    def text(self) -> str:
        """Return the screen, without blanks at the ends of lines and blank lines at its end."""
        with self._drawn:
            return self._text()

    def _text(self) -> str:
        lines = [line.rstrip() for line in self._screen.display]
        return "\n".join(lines).rstrip()

    def wait_for(self, *wanted: str, timeout_s: float = TIMEOUT_S) -> str:
        """Return the screen once it shows all these texts. Raises AssertionError."""
        return self._wait(wanted, timeout_s, shown=True)

    def wait_until_gone(self, text: str, timeout_s: float = TIMEOUT_S) -> str:
        """Return the screen once it does not show a text any more. Raises AssertionError."""
        return self._wait([text], timeout_s, shown=False)

    def _wait(self, wanted: Sequence[str], timeout_s: float, *, shown: bool) -> str:
        def is_there() -> bool:
            # Where a line was broken is the host's business.
            words = " ".join(self._text().split())
            return all((text in words) is shown for text in wanted)

        with self._drawn:
            self._drawn.wait_for(lambda: is_there() or self._has_ended, timeout_s)
            assert is_there(), f"{wanted} (shown: {shown}) is not so:\n{self._text()}"
            return self._text()

    # --- What the user does

    def press(self, *keys: str) -> None:
        """Type keys. Each is a write of its own, as a host takes one write for one key."""
        for key in keys:
            self._wait_until_quiet()
            self._process.write(key.encode())

    def _wait_until_quiet(self) -> None:
        """Wait until nothing was drawn for a moment: a host that draws reads no keys.

        Some hosts draw an animation all the time. So this ends after some moments.
        """
        deadline = time.monotonic() + 5 * QUIET_S
        with self._drawn:
            while time.monotonic() < deadline:
                changed = self._drawn.wait(QUIET_S)
                if not changed:
                    return

    def close(self) -> None:
        """End the program."""
        with contextlib.suppress(OSError):
            self._process.kill(signal.SIGHUP)
        self._thread.join(5)
        if self._thread.is_alive():
            self._process.kill(signal.SIGKILL)
            self._thread.join(5)
        self._process.close(force=True)
