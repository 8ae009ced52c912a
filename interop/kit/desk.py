"""A temporary HOME with stand-ins for `aws` and the browser, and clients on plain pipes.

The stand-ins are those of the unit tests. The unit tests do not use interop/, and this is the only
file of interop/ that uses them; test_guard.py tests some of them.
"""

from __future__ import annotations

import contextlib
import unittest
from typing import TYPE_CHECKING, Any

from kit.processes import cli_left
from kit.wire import META, MODERN, Message, Recording
from test_aws_sso_mcp import (
    CASES,
    CONFIG,
    DEADLINE_S,
    DEVICE_PROMPT,
    DEVICE_URL,
    FULL_DEVICE_URL,
    IDENTITY,
    NO_BROWSER,
    NOT_ASSIGNED,
    PKCE_PROMPT,
    PKCE_URL,
    SECRETS,
    SESSION_EXPIRED,
    V1_ERROR,
    Client,
    Run,
    iso,
)
from test_aws_sso_mcp import ProcessTest as Desk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kit.workplace import Workplace

__all__ = [
    "CASES",
    "CONFIG",
    "DEADLINE_S",
    "DEVICE_PROMPT",
    "DEVICE_URL",
    "FULL_DEVICE_URL",
    "IDENTITY",
    "NOT_ASSIGNED",
    "NO_BROWSER",
    "PKCE_PROMPT",
    "PKCE_URL",
    "SECRETS",
    "SESSION_EXPIRED",
    "TOOL",
    "V1_ERROR",
    "Client",
    "Desk",
    "RecordedClient",
    "Run",
    "iso",
    "opened",
    "outcome",
    "server",
    "written",
]

TOOL = "refresh_aws_sso_token"


def written(client: Client) -> list[bytes]:
    """Return the lines that the server has written so far."""
    return client._lines  # noqa: SLF001


def opened(desk: Desk) -> list[str]:
    """Return the URLs that were opened so far."""
    return [argv[1] for argv in desk.stand_ins.seen if argv[0] == "page"]


@contextlib.contextmanager
def server(place: Workplace, **environment: str | None) -> Iterator[Client]:
    """Start the server at a workplace; at the end, assert what must hold after any fault."""
    test = unittest.TestCase()
    try:
        client = Client(test, place.environment(**environment))
        client.initialize()
        yield client
        assert client.ask("ping")["result"] == {}
        assert client.close() == ""
        (place.wrote / f"{client.process.pid}").write_bytes(b"".join(written(client)))
        assert cli_left(place.home) == []
    finally:
        test.doCleanups()


def outcome(client: Client, **arguments: Any) -> dict[str, Any]:
    """Return the outcome of a login that the user answers."""
    while (answer := client.refresh(**arguments))["status"] == "pending":
        pass
    return answer


class RecordedClient(Client):
    """A client of one MCP revision on plain pipes that records all messages."""

    def __init__(self, desk: Desk, revision: str, **environment: str) -> None:
        self.sent: list[bytes] = []
        self.meta: dict[str, Any] = {}
        if revision == MODERN:
            self.meta = {
                f"{META}protocolVersion": MODERN,
                f"{META}clientCapabilities": {},
            }
        super().__init__(desk, desk.stand_ins.environment(**environment))

    def write(self, line: bytes) -> None:
        self.sent.append(line + b"\n")
        super().write(line)

    def request(self, method: str, meta: Any = None, **params: Any) -> Any:
        """Send a request in the client's revision and return its id."""
        meta = {**self.meta, **(meta or {})}
        return self.send(method, {**params, **({"_meta": meta} if meta else {})})

    def refresh_with_progress(self, **arguments: Any) -> Any:
        token = {"progressToken": f"token-{len(self.sent)}"}
        return self.request("tools/call", token, name=TOOL, arguments=arguments)

    def error(self, method: str, meta: Any = None, **params: Any) -> int:
        code: int = self.answer(self.request(method, meta, **params))["error"]["code"]
        return code

    def messages(self) -> list[Message]:
        """End the server and return all that it wrote."""
        self.close()
        return list(Recording(b"".join(self.sent), b"".join(written(self))).messages())
