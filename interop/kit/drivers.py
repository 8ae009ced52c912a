"""The table of real MCP clients, and how tests control one."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from kit.components import real
from kit.wire import LEGACY, MODERN, node, recordings
from kit.workplace import KIT, SERVER

if TYPE_CHECKING:
    from kit.workplace import Workplace

DEADLINE_S = 20


class McpClient(NamedTuple):
    """A row of the table: a client library or a host, driven by a program of `clients/`."""

    name: str
    component: str
    mode: str | dict[str, str]
    revision: str
    """The MCP revision that it uses with this server."""
    shows: str = "schemas"
    """What it shows of a tool: "schemas", or only "names"."""
    hears: str = "progress"
    """Whether it reports "progress", or "nothing"."""
    cancels: str = "by notification"
    """How it cancels a call: "by notification", "in silence", or "never"."""

    def argv(self) -> list[str]:
        driver = {
            "ts": "drive.mjs",
            "claude": "drive_host.py",
            "codex": "drive_host.py",
        }
        name = driver.get(self.component.split("-")[0], "drive.py")
        runner = {"drive.mjs": node(), "drive_host.py": sys.executable}
        python = real(self.component) / "bin" / "python"
        return [str(runner.get(name, python)), str(KIT / "clients" / name)]


CLIENTS = [
    McpClient("Python SDK 2, auto", "mcp-2", "auto", MODERN),
    McpClient("Python SDK 2, legacy", "mcp-2", "legacy", LEGACY),
    McpClient("Python SDK 2, pinned", "mcp-2", MODERN, MODERN),
    McpClient("Python SDK 1", "mcp-1", "", LEGACY),
    McpClient(
        "Python SDK 1.2",
        "mcp-1.2",
        "",
        "2024-11-05",
        hears="nothing",
        cancels="in silence",
    ),
    McpClient("fastmcp", "fastmcp", "", MODERN),
    McpClient("TypeScript SDK 1", "ts-sdk-1", "", LEGACY),
    McpClient("TypeScript client 2", "ts-client-2", "", LEGACY),
    McpClient("TypeScript client 2, auto", "ts-client-2", "auto", MODERN),
    McpClient("TypeScript client 2, pinned", "ts-client-2", {"pin": MODERN}, MODERN),
    McpClient("Claude Code", "claude-code", "", MODERN, shows="names", hears="nothing"),
    McpClient("Codex", "codex", "", "2025-06-18", hears="nothing", cancels="never"),
]


def recorded_server(place: Workplace) -> list[str]:
    """Return the command that starts the server, recorded in `place.wrote`."""
    record = str(KIT / "clients" / "record.sh")
    return [record, str(place.wrote), sys.executable, "-IS", str(SERVER)]


class Driver:
    """A running client; the end of a `with` closes it as a user would."""

    def __init__(
        self,
        client: McpClient,
        place: Workplace,
        *,
        more: Any = None,
        **environment: str,
    ) -> None:
        options = {
            "command": recorded_server(place),
            "env": place.environment(**environment),
            "mode": client.mode,
            "library": str(real(client.component)),
            **(more or {}),
        }
        self.errors = place.wrote / "client"
        with self.errors.open("a") as errors:
            self.process = subprocess.Popen(
                [*client.argv(), json.dumps(options)],
                env={"HOME": str(place.home), "PATH": "/usr/bin:/bin"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._calls = 0
        self._events: list[dict[str, Any]] = []
        self._heard = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            with self._heard:
                self._events.append(json.loads(line))
                self._heard.notify_all()
        with self._heard:
            self._ended = True
            self._heard.notify_all()

    def __enter__(self) -> Driver:  # noqa: PYI034 (Self is of 3.11)
        self.revision = self.wait_for("connected")["connected"]
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self.process.kill()
        self.close()

    def close(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self.process.wait(DEADLINE_S)
        self._thread.join(DEADLINE_S)
        self.process.stdout.close()

    def wait_for(self, *kinds: str, call: int | None = None) -> dict[str, Any]:
        """Return the first event of these kinds, optionally of one call."""

        with self._heard:
            self._heard.wait_for(
                lambda: self._first(kinds, call) or self._ended, DEADLINE_S
            )
            event = self._first(kinds, call)
        assert event, (
            f"no {kinds} among {self._events}; {self.errors.read_text()[-2000:]}"
        )
        return event

    def _first(self, kinds: tuple[str, ...], call: int | None) -> dict[str, Any] | None:
        for event in self._events:
            for kind in kinds:
                if kind in event and call in (None, event[kind]):
                    return event
        return None

    def tell(self, **what: Any) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()

    def tools(self) -> list[dict[str, Any]]:
        self.tell(do="list")
        tools: list[dict[str, Any]] = self.wait_for("tools")["tools"]
        return tools

    def call(self, tool: str = "refresh_aws_sso_token", **arguments: Any) -> int:
        self._calls += 1
        self.tell(do="call", call=self._calls, tool=tool, arguments=arguments)
        return self._calls

    def cancel(self, call: int) -> None:
        self.tell(do="cancel", call=call)
        self.wait_for("failed", call=call)

    def answer(self, call: int) -> dict[str, Any]:
        """Return the tool's answer, from the text where a client has no structured content."""
        event = self.wait_for("answer", "failed", call=call)
        assert "answer" in event, event
        text: dict[str, Any] = json.loads(event["result"]["content"][0]["text"])
        assert event["result"].get("structuredContent", text) == text
        return text

    def refresh(self) -> dict[str, Any]:
        return self.answer(self.call(profile="dev"))

    def outcome(self, call: int | None = None) -> dict[str, Any]:
        """Return the login's outcome; call again after `pending` or a timeout."""
        call = self.call(profile="dev") if call is None else call
        event = self.wait_for("answer", "failed", call=call)
        if "failed" in event:
            assert "timed out" in event["error"].lower(), event
            return self.outcome()
        answer = self.answer(call)
        return self.outcome() if answer["status"] == "pending" else answer

    def until_elicited(self) -> str:
        """Return the URL of the elicitation, calling again as a model does."""
        call = self.call(profile="dev")
        with self._heard:
            self._heard.wait_for(
                lambda: self.elicited() or self._first(("answer", "failed"), call),
                DEADLINE_S,
            )
        if not self.elicited():
            assert self.answer(call)["status"] == "pending"
            return self.until_elicited()
        return str(self.elicited()[0]["url"])

    def progress(self) -> list[str]:
        return [str(event["message"]) for event in self._events if "progress" in event]

    def elicited(self) -> list[dict[str, Any]]:
        return [event["elicited"] for event in self._events if "elicited" in event]


def revisions_spoken(place: Workplace) -> set[str]:
    """Return the revisions in which clients listed or called tools."""
    revisions: set[str] = set()
    for recording in recordings(place.wrote):
        revisions.update(recording.spoken())
    return revisions
